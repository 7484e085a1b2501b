//! EK03xx, second part: the addresses of hosts.

use super::{Context, Findings, Rule, duplicates, reserved_in, unusable};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::at;

pub(super) const RULES: &[Rule] =
    &[duplicate_host_address, host_outside, host_network_address, loopback_interface, unusable_host_address];

fn duplicate_host_address(cx: &Context<'_>, out: &mut Findings) {
    duplicates(
        cx.addressed().map(|(name, host)| (host.address, (name, host.address))),
        |(name, _)| cx.value(at!["hosts", name, "address"]),
        |((other, _), first), ((name, address), again)| {
            out.push(
                Diagnostic::new(
                    &codes::DUPLICATE_HOST_ADDRESS,
                    again,
                    format!("hosts `{other}` and `{name}` have the same address {address}"),
                    format!("`{name}`"),
                )
                .also(first, format!("`{other}`"))
                .hint("give each host its own address; a host with two tasks is written once"),
            );
        },
    );
}

fn host_outside(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_subnets() {
        return;
    }
    for (name, host) in cx.addressed() {
        let plain = host.address.0.is_ipv4() && unusable(host.address).is_none();
        if plain && cx.segment(host.address).is_none() {
            out.push(
                Diagnostic::new(
                    &codes::HOST_OUTSIDE,
                    cx.value(at!["hosts", name, "address"]),
                    format!("host `{name}` is on no segment"),
                    format!("no subnet holds {}", host.address),
                )
                .hint("correct the address, or add its subnet to `subnets` of a segment"),
            );
        }
    }
}

fn host_network_address(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in cx.addressed() {
        let Some((_, subnet)) = cx.subnets.of(host.address) else {
            continue;
        };
        if let Some(kind) = reserved_in(subnet, host.address) {
            out.push(
                Diagnostic::new(
                    &codes::HOST_NETWORK_ADDRESS,
                    cx.value(at!["hosts", name, "address"]),
                    format!("host `{name}` has the {kind} address of its subnet"),
                    format!("{kind} address of {}/{}", subnet.network(), subnet.prefix()),
                )
                .hint("choose another address of the subnet, or correct the prefix length of the subnet"),
            );
        }
    }
}

fn loopback_interface(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in &cx.cluster.hosts {
        if host.interface.as_str() != "lo" || !cx.knows(at!["hosts", name, "interface"]) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::LOOPBACK_INTERFACE,
                cx.value(at!["hosts", name, "interface"]),
                format!("the interface of host `{name}` is the loopback"),
                "not on any segment",
            )
            .hint("name the network card that has the host's address, such as \"eth0\""),
        );
    }
}

fn unusable_host_address(cx: &Context<'_>, out: &mut Findings) {
    for (name, host) in cx.addressed() {
        if let Some(kind) = unusable(host.address) {
            out.push(
                Diagnostic::new(
                    &codes::UNUSABLE_ADDRESS,
                    cx.value(at!["hosts", name, "address"]),
                    format!("host `{name}` cannot have the address {}", host.address),
                    kind,
                )
                .hint("write the address that the host's interface has on the segment"),
            );
        }
    }
}
