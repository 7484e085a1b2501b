//! EK03xx, third part: VIPs.

use evenkeel_schemas::scalars::{Name, Priority};

use super::{Context, Findings, RouterVip, Rule, duplicates, places, reserved_in, unusable};
use crate::attach::is_link_local;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] =
    &[duplicate_vip, vip_is_host, vip_outside, link_local_only, vip_network_address, unusable_vip];

fn duplicate_vip(cx: &Context<'_>, out: &mut Findings) {
    duplicates(
        cx.all_vips().map(|vip| (vip.ip, vip)),
        |vip| cx.value(&vip.path()),
        |(other, first), (vip, again)| {
            let (ip, router) = (vip.ip, vip.router);
            let (message, hint) = if other.router == router {
                (format!("VIP {ip} is listed twice in `{router}`"), "remove one of them".to_owned())
            } else {
                let other = other.router;
                (
                    format!("VIP {ip} belongs to two virtual routers, `{other}` and `{router}`"),
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

/// Whether `host` may be meant to be the owner of the VIPs of its router: it has priority 255.
fn may_be_owner(cx: &Context<'_>, vip: &RouterVip<'_>, host: &Name) -> bool {
    let path = at!["virtual_routers", vip.router, "priorities"];
    let entry = at!["virtual_routers", vip.router, "priorities", host];
    let priorities = cx.cluster.virtual_routers.get(vip.router).map(|router| &router.priorities);
    let owner = priorities.and_then(|priorities| priorities.get(host.as_str())) == Some(&Priority::OWNER);
    owner || !cx.knows(path) || !cx.knows(entry)
}

fn vip_is_host(cx: &Context<'_>, out: &mut Findings) {
    let hosts = cx.hosts_by_address();
    for vip in cx.all_vips() {
        let mut hosts = hosts.get(&vip.ip).into_iter().flatten();
        let Some(address) = hosts.find(|address| !may_be_owner(cx, &vip, address.host)) else {
            continue;
        };
        let host = address.host;
        out.push(
            Diagnostic::new(
                &codes::VIP_IS_HOST,
                cx.value(&vip.path()),
                format!("VIP {} of `{}` is host `{host}`'s own address", vip.ip, vip.router),
                "a VIP",
            )
            .also(cx.value(&address.path()), format!("own address of `{host}`"))
            .hint("choose a VIP that no host has as its own address"),
        );
    }
}

fn vip_outside(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_subnets() {
        return;
    }
    for vip in cx.all_vips().filter(|vip| places(vip.ip) && cx.segment(vip.ip).is_none()) {
        out.push(
            Diagnostic::new(
                &codes::VIP_OUTSIDE,
                cx.value(&vip.path()),
                format!("VIP {} of `{}` is on no segment", vip.ip, vip.router),
                format!("no subnet holds {}", vip.ip),
            )
            .hint("correct the VIP, or add its subnet to `subnets` of the directors' segment"),
        );
    }
}

/// Link-local VIPs go with the others; alone they do not say on which segment they are.
fn link_local_only(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let alone = router.vips.iter().all(|vip| is_link_local(*vip) && cx.segment(*vip).is_none());
        let named = router.segment.is_some() || !cx.knows(at!["virtual_routers", name, "segment"]);
        if alone && !named && cx.knows_subnets() && cx.knows_all(at!["virtual_routers", name, "vips"]) {
            out.push(
                Diagnostic::new(
                    &codes::VIP_OUTSIDE,
                    cx.value(at!["virtual_routers", name, "vips"]),
                    format!("the VIPs of `{name}` do not say on which segment they are"),
                    "link-local: the same on every segment",
                )
                .hint("add a VIP of the segment's subnet, or name it: `segment = …`"),
            );
        }
    }
}

fn vip_network_address(cx: &Context<'_>, out: &mut Findings) {
    for vip in cx.all_vips() {
        let Some((_, subnet)) = cx.subnets.of(vip.ip) else {
            continue;
        };
        if let Some(kind) = reserved_in(subnet, vip.ip) {
            out.push(
                Diagnostic::new(
                    &codes::VIP_NETWORK_ADDRESS,
                    cx.value(&vip.path()),
                    format!("VIP {} of `{}` is the {kind} address of its subnet", vip.ip, vip.router),
                    format!("{kind} address of {}/{}", subnet.network(), subnet.prefix()),
                )
                .hint("choose another address of the subnet"),
            );
        }
    }
}

fn unusable_vip(cx: &Context<'_>, out: &mut Findings) {
    for vip in cx.all_vips() {
        if let Some(kind) = unusable(vip.ip) {
            out.push(
                Diagnostic::new(
                    &codes::UNUSABLE_ADDRESS,
                    cx.value(&vip.path()),
                    format!("{} cannot be a VIP of `{}`", vip.ip, vip.router),
                    kind,
                )
                .hint("choose an address of the directors' subnet"),
            );
        }
    }
}
