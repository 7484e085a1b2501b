//! Kernel settings of a host: what its duties need, and nothing else.
//!
//! What each setting does is in the kernel's Documentation/networking/ip-sysctl.rst.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::Host;
use evenkeel_schemas::plan::{self, Router};
use evenkeel_schemas::scalars::{InterfaceName, Ip};

use super::paths::Answers;
use super::real_server;
use super::tasks::Duties;
use crate::expiry::{self, Habits};
use crate::resolve::Resolved;

/// A director routes the packets of its clients.
const DIRECTOR: [(&str, &str); 1] = [("net/ipv4/ip_forward", "1")];

/// With masquerade the answers of real servers are for clients, not for the director: it must forward
/// them. Only then, because IPVS itself sends on what comes to a VIP without asking this setting, and a
/// host that forwards no longer takes addresses and routes from router advertisements, unless its
/// `accept_ra` is 2. Forwarding of single interfaces does not make the kernel forward.
const MASQUERADES_V6: [(&str, &str); 1] = [("net/ipv6/conf/all/forwarding", "1")];

/// Answers of real servers that are on the segment of the VIP leave by the interface that they came in
/// on. The director would tell the real server to take the shorter way, past it, and the client would get
/// answers from an address that it did not ask. The kernel sends redirects when either of `all` and the
/// interface says so.
const NO_REDIRECTS: (&str, &str) = ("send_redirects", "0");

/// The same of IPv6, which cannot be told not to send redirects: the real server does not believe them.
const BELIEVES_NO_REDIRECTS_V6: (&str, &str) = ("accept_redirects", "0");

/// What comes out of a tunnel is from a client, and the way to clients leads through another interface: the
/// strict check, 1, would drop it. The kernel takes the larger of `all` and the interface, so 0 would be
/// overruled by a host's `all` of 1, and 2, the loose check, is not; but it wants an address on the interface
/// (`real_server`). IPv6 has no such check.
const TUNNEL_END: (&str, &str) = ("rp_filter", "2");

/// A real server keeps quiet about the VIPs it holds: it answers ARP only for addresses of the
/// interface the question came in on (1), and never names a VIP as the asker (2). The kernel takes
/// the larger of `all` and the interface. A director that is a real server of its own VIP has it on its
/// interface as well while it is Master, and then answers.
///
/// IPv6 needs none of it: neighbours are told only of addresses of the interface on which they ask, `lo`
/// has no neighbours to announce an address to, and duplicates are not looked for there.
const REAL_SERVER: [(&str, &str); 4] = [
    ("net/ipv4/conf/all/arp_announce", "2"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/lo/arp_announce", "2"),
    ("net/ipv4/conf/lo/arp_ignore", "1"),
];

/// An interface with a virtual MAC address sees the same broadcasts as the interface below it, so both
/// get every question by ARP. Each is to answer, and ask, with addresses of its own only:
/// - `arp_ignore` 1: only for an address of the interface that the question came in on. Else the
///   interface below answers for the VIP with the host's MAC, or this one for the host's address with
///   the virtual MAC, which all directors have;
/// - `arp_announce` 2: a question names an address of the interface that it leaves by. Answers to
///   clients leave by the interface below, from the VIP: with 0 its question for the client's MAC
///   would tell the segment the VIP with the host's MAC. With 1 too, since the VIP is of its subnet;
/// - `arp_filter` 0: the way back to whoever asks leads through the interface below, and with 1 this
///   one would not answer at all;
/// - `rp_filter` 2: for the same reason the strict check, 1, would drop whatever comes in here. The
///   kernel takes the larger of `all` and the interface, so 0 would be overruled by a host's `all` of
///   1, and 2, the loose check, is not.
///
/// `accept_local` stays off: from an address of the host itself nothing comes in but a rival's
/// gratuitous ARP for the VIP, which is not to be answered.
const VIRTUAL_MAC: [(&str, &str); 4] =
    [("arp_announce", "2"), ("arp_filter", "0"), ("arp_ignore", "1"), ("rp_filter", "2")];

/// The interface below; see above.
const BELOW_VIRTUAL_MAC: [(&str, &str); 2] = [("arp_announce", "2"), ("arp_ignore", "1")];

/// IPv6 answers only for addresses of the interface without being told. But it must not take an address
/// from router advertisements: all directors would make the same one of the virtual MAC.
const VIRTUAL_MAC_V6: [(&str, &str); 1] = [("accept_ra", "0")];

/// When the first address of a subnet goes, the kernel removes the others of that subnet, unless it may
/// promote them: a VIP with the prefix of a subnet must not take others along.
const PROMOTE: (&str, &str) = ("promote_secondaries", "1");

/// The settings of a host with these virtual routers, duties and services. What the file says of IPVS
/// stands over what services ask for.
pub(super) fn sysctls(
    cluster: &Resolved,
    host: &Host,
    routers: &[Router],
    duties: &Duties,
    services: &[Habits],
    answers: &Answers<'_>,
) -> Vec<plan::Sysctl> {
    let director = !routers.is_empty();
    let real_server = duties.accepted.iter().any(|vip| vip.0.is_ipv4());
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let fixed = [
        (director, &DIRECTOR[..]),
        (real_server, &REAL_SERVER[..]),
        (duties.masquerades_v6, &MASQUERADES_V6[..]),
    ];
    for (key, value) in fixed.into_iter().filter(|(applies, _)| *applies).flat_map(|(_, settings)| settings) {
        all.insert((*key).to_owned(), (*value).to_owned());
    }
    all.extend(expiry::settings(services).map(|key| (format!("net/ipv4/vs/{key}"), "1".to_owned())));
    let ipvs = cluster.ipvs.sysctls.iter().filter(|_| director);
    all.extend(ipvs.map(|(key, value)| (format!("net/ipv4/vs/{key}"), value.to_string())));
    for router in routers {
        of_router(router, &mut all);
        if duties.masquerades_beside_vip && router.source.0.is_ipv4() {
            let others = router.vip_settings.iter().filter_map(|settings| settings.interface.as_ref());
            let own = others.chain([&router.interface]).map(InterfaceName::as_str);
            for interface in own.chain(["all"]) {
                set(&mut all, "ipv4", interface, NO_REDIRECTS);
            }
        }
    }
    for (interface, _) in real_server::names(host, duties).iter().filter(|(_, end)| end.carries_v4) {
        set(&mut all, "ipv4", interface.as_str(), TUNNEL_END);
    }
    for (interface, setting) in answers {
        set(&mut all, "ipv4", interface.as_str(), *setting);
    }
    let v6 = |(ip, _): &(Ip, _)| ip.0.is_ipv6() && duties.masqueraded_beside_vip.contains(ip);
    for (_, interface) in host.all_addresses().filter(v6) {
        set(&mut all, "ipv6", interface.as_str(), BELIEVES_NO_REDIRECTS_V6);
    }
    all.into_iter().map(|(key, value)| plan::Sysctl { key, value }).collect()
}

fn set(all: &mut BTreeMap<String, String>, family: &str, interface: &str, (key, value): (&str, &str)) {
    all.insert(format!("net/{family}/conf/{interface}/{key}"), value.to_owned());
}

fn of_router(router: &Router, all: &mut BTreeMap<String, String>) {
    let mut set = |family: &str, interface: &str, settings: &[(&str, &str)]| {
        settings.iter().for_each(|setting| set(all, family, interface, *setting));
    };
    if let Some(mac) = &router.virtual_mac {
        if router.source.0.is_ipv6() {
            set("ipv6", mac.interface.as_str(), &VIRTUAL_MAC_V6);
        } else {
            set("ipv4", mac.interface.as_str(), &VIRTUAL_MAC);
            set("ipv4", router.interface.as_str(), &BELOW_VIRTUAL_MAC);
        }
    }
    for vip in router.vips.iter().chain(&router.unadvertised_vips) {
        if vip.address().is_ipv4() && vip.prefix() < 32 {
            let address = Ip(vip.address());
            let placed = router.vip_settings.iter().find(|settings| settings.address == address);
            let usual = router.virtual_mac.as_ref().map_or(&router.interface, |mac| &mac.interface);
            let interface = placed.and_then(|settings| settings.interface.as_ref()).unwrap_or(usual);
            set("ipv4", interface.as_str(), &[PROMOTE]);
        }
    }
}
