//! EK03xx, third part: VIPs.

use super::{Context, Findings, Rule, duplicates, reserved_in, unusable};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::at;

pub(super) const RULES: &[Rule] =
    &[duplicate_vip, vip_is_host, vip_outside, vips_apart, vip_network_address, unusable_vip];

fn duplicate_vip(cx: &Context<'_>, out: &mut Findings) {
    duplicates(
        cx.vips().map(|(router, index, vip)| (vip, (router, index, vip))),
        |(router, index, _)| cx.vip_place(router, index),
        |((other, _, _), first), ((router, _, vip), again)| {
            let (message, hint) = if other == router {
                (format!("VIP {vip} is listed twice in `{router}`"), "remove one of them".to_owned())
            } else {
                (
                    format!("VIP {vip} belongs to two virtual routers, `{other}` and `{router}`"),
                    format!(
                        "keep it in one; services of both can use that router, such as `router = \"{other}\"`"
                    ),
                )
            };
            out.push(
                Diagnostic::new(&codes::DUPLICATE_VIP, again, message, "listed again here")
                    .also(first, "first listed here")
                    .hint(hint),
            );
        },
    );
}

fn vip_is_host(cx: &Context<'_>, out: &mut Findings) {
    let hosts = cx.hosts_by_address();
    for (router, index, vip) in cx.vips() {
        if let Some(host) = hosts.get(&vip) {
            out.push(
                Diagnostic::new(
                    &codes::VIP_IS_HOST,
                    cx.vip_place(router, index),
                    format!("VIP {vip} of `{router}` is host `{host}`'s own address"),
                    "a VIP",
                )
                .also(cx.value(at!["hosts", *host, "address"]), format!("own address of `{host}`"))
                .hint("choose a VIP that no host has as its own address"),
            );
        }
    }
}

fn vip_outside(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_subnets() {
        return;
    }
    for (router, index, vip) in cx.vips() {
        if vip.0.is_ipv4() && unusable(vip).is_none() && cx.segment(vip).is_none() {
            out.push(
                Diagnostic::new(
                    &codes::VIP_OUTSIDE,
                    cx.vip_place(router, index),
                    format!("VIP {vip} of `{router}` is on no segment"),
                    format!("no subnet holds {vip}"),
                )
                .hint("correct the VIP, or add its subnet to `subnets` of the directors' segment"),
            );
        }
    }
}

fn vips_apart(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let Some((first, home)) = cx.home(name, router) else {
            continue;
        };
        for (index, vip) in cx.vips_of(name, router).filter(|(index, _)| *index > first) {
            let Some(segment) = cx.segment(vip).filter(|segment| *segment != home) else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::VIPS_APART,
                    cx.vip_place(name, index),
                    format!("VIP {vip} of `{name}` is on another segment than its first VIP"),
                    format!("on segment `{segment}`"),
                )
                .also(cx.vip_place(name, first), format!("on segment `{home}`"))
                .hint("make a virtual router of its own for the VIPs of each segment"),
            );
        }
    }
}

fn vip_network_address(cx: &Context<'_>, out: &mut Findings) {
    for (router, index, vip) in cx.vips() {
        let Some((_, subnet)) = cx.subnets.of(vip) else {
            continue;
        };
        if let Some(kind) = reserved_in(subnet, vip) {
            out.push(
                Diagnostic::new(
                    &codes::VIP_NETWORK_ADDRESS,
                    cx.vip_place(router, index),
                    format!("VIP {vip} of `{router}` is the {kind} address of its subnet"),
                    format!("{kind} address of {}/{}", subnet.network(), subnet.prefix()),
                )
                .hint("choose another address of the subnet"),
            );
        }
    }
}

fn unusable_vip(cx: &Context<'_>, out: &mut Findings) {
    for (router, index, vip) in cx.vips() {
        if let Some(kind) = unusable(vip) {
            out.push(
                Diagnostic::new(
                    &codes::UNUSABLE_ADDRESS,
                    cx.vip_place(router, index),
                    format!("{vip} cannot be a VIP of `{router}`"),
                    kind,
                )
                .hint("choose an address of the directors' subnet"),
            );
        }
    }
}
