//! EK03xx, second part: the addresses of hosts.

use super::{Context, Findings, Rule, duplicates, reserved_in, unusable};
use crate::attach::is_link_local;
use crate::codes;
use crate::diagnostic::Diagnostic;

pub(super) const RULES: &[Rule] =
    &[duplicate_host_address, host_outside, host_network_address, unusable_host_address];

fn duplicate_host_address(cx: &Context<'_>, out: &mut Findings) {
    duplicates(
        cx.addresses().map(|address| (address.ip, address)),
        |address| cx.value(&address.path()),
        |(other, first), (address, again)| {
            let ip = address.ip;
            out.push(if other.host == address.host {
                let host = address.host;
                Diagnostic::new(
                    &codes::OWN_ADDRESS_TWICE,
                    again,
                    format!("host `{host}` has the address {ip} twice"),
                    "listed again here",
                )
                .also(first, "first listed here")
                .hint("remove one of them; `address` need not be repeated in `addresses`")
            } else {
                let (host, other) = (address.host, other.host);
                Diagnostic::new(
                    &codes::DUPLICATE_HOST_ADDRESS,
                    again,
                    format!("hosts `{other}` and `{host}` have the same address {ip}"),
                    format!("`{host}`"),
                )
                .also(first, format!("`{other}`"))
                .hint("give each host its own address; a host with two tasks is written once")
            });
        },
    );
}

/// A host's main address must be on a segment. Further ones may be of no concern to the cluster,
/// so they are only asked about.
fn host_outside(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_subnets() {
        return;
    }
    for address in cx.addresses() {
        let (host, ip) = (address.host, address.ip);
        let asks = unusable(ip).is_none() && (address.is_main() || !is_link_local(ip));
        if !asks || cx.segment(ip).is_some() {
            continue;
        }
        out.push(if address.is_main() {
            Diagnostic::new(
                &codes::HOST_OUTSIDE,
                cx.value(&address.path()),
                format!("host `{host}` is on no segment"),
                format!("no subnet holds {ip}"),
            )
            .hint("correct the address, or add its subnet to `subnets` of a segment")
        } else {
            Diagnostic::new(
                &codes::FURTHER_ADDRESS_OUTSIDE,
                cx.value(&address.path()),
                format!("address {ip} of host `{host}` is on no segment"),
                format!("no subnet holds {ip}"),
            )
            .hint(
                "correct the address, or add its subnet to a segment; leave it if the cluster does not use \
                it",
            )
        });
    }
}

fn host_network_address(cx: &Context<'_>, out: &mut Findings) {
    for address in cx.addresses() {
        let Some((_, subnet)) = cx.subnets.of(address.ip) else {
            continue;
        };
        if let Some(kind) = reserved_in(subnet, address.ip) {
            out.push(
                Diagnostic::new(
                    &codes::HOST_NETWORK_ADDRESS,
                    cx.value(&address.path()),
                    format!("host `{}` has the {kind} address of its subnet", address.host),
                    format!("{kind} address of {}/{}", subnet.network(), subnet.prefix()),
                )
                .hint("choose another address of the subnet, or correct the prefix length of the subnet"),
            );
        }
    }
}

fn unusable_host_address(cx: &Context<'_>, out: &mut Findings) {
    for address in cx.addresses() {
        if let Some(kind) = unusable(address.ip) {
            out.push(
                Diagnostic::new(
                    &codes::UNUSABLE_ADDRESS,
                    cx.value(&address.path()),
                    format!("host `{}` cannot have the address {}", address.host, address.ip),
                    kind,
                )
                .hint("write the address that the host's interface has on the segment"),
            );
        }
    }
}
