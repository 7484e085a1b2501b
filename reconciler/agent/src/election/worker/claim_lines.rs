//! The log lines for the announcement of a claim: keepalived's words, which operators look for, one line an
//! interface and family.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most VIPs that a line names.
const MAX_NAMED: usize = 8;
/// Most lines of one turn; more are counted in one. A host may take over hundreds of routers at once.
pub(super) const MAX_LINES: usize = 64;

/// The lines for the VIPs of the router `label`, given with their interfaces.
pub(super) fn lines<'a>(label: &str, vips: impl Iterator<Item = (&'a str, IpAddr)>) -> Vec<String> {
    let mut by_interface: BTreeMap<(&str, bool), Vec<IpAddr>> = BTreeMap::new();
    for (interface, vip) in vips {
        by_interface.entry((interface, vip.is_ipv6())).or_default().push(vip);
    }
    let line = |((interface, v6), vips): ((&str, bool), Vec<IpAddr>)| {
        let what = if v6 { "Unsolicited Neighbour Adverts" } else { "gratuitous ARPs" };
        let named: Vec<String> = vips.iter().take(MAX_NAMED).map(ToString::to_string).collect();
        let more = match vips.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("({label}) Sending {what} on {interface} for {}{more}", named.join(", "))
    };
    by_interface.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_an_interface_and_family_names_a_few() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("address");
        let lines = super::lines("VI_1", [("eth0", ip("192.168.188.120"))].into_iter());
        assert_eq!(lines, ["(VI_1) Sending gratuitous ARPs on eth0 for 192.168.188.120"]);
        let many = (1..=20).map(|last| ("eth1", IpAddr::from([10, 9, 0, last])));
        let lines = super::lines("VI_1 IPv6", many.chain([("eth0", ip("fd00::1")), ("eth0", ip("fd00::2"))]));
        assert_eq!(
            lines,
            [
                "(VI_1 IPv6) Sending Unsolicited Neighbour Adverts on eth0 for fd00::1, fd00::2",
                "(VI_1 IPv6) Sending gratuitous ARPs on eth1 for 10.9.0.1, 10.9.0.2, 10.9.0.3, \
                 10.9.0.4, 10.9.0.5, 10.9.0.6, 10.9.0.7, 10.9.0.8 and 12 more",
            ]
        );
        assert_eq!(super::lines("VI_1", std::iter::empty()), Vec::<String>::new());
    }
}
