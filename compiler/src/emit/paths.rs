//! Checks that go through IPVS: which mark stands for which way, from which address of a director they come,
//! and what a director needs to hear the answers.
//!
//! A way is a real server, the family of the VIP, how packets are forwarded, and with masquerade the port
//! that they get. Its mark is taken by a hash of all that, so that a real server more or less leaves the
//! marks of others as they are: the daemon would make their services and begin their checks anew.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Check, CheckMarks, Forwarding, Host};
use evenkeel_schemas::plan::Through;
use evenkeel_schemas::scalars::{FirewallMark, InterfaceName, Ip, Name, Port};

use crate::attach::{Subnets, is_link_local};
use crate::resolve::{Balanced, Front, RealServer, Resolved, Taken};
use crate::unknown::Unknowns;

/// What a director needs to hear the answers of real servers that have the VIP as well: while it is Master
/// they come from an address of its own, which the kernel takes for forged.
const HEARS_ITSELF: (&str, &str) = ("accept_local", "1");

/// Where the VIP is on another interface than the one that answers come in by, the way back leads there, and
/// the strict check, 1, would drop them. The kernel takes the larger of `all` and the interface.
const HEARS_BESIDE: (&str, &str) = ("rp_filter", "2");

/// The checks of a cluster that go through IPVS. There is one at least.
pub(super) struct Paths<'a> {
    hosts: &'a BTreeMap<Name, Host>,
    subnets: Subnets<'a>,
    marks: BTreeMap<String, FirewallMark>,
}

/// The settings that let a director hear answers from its own VIPs: interface, key and value.
pub(super) type Answers<'s> = BTreeSet<(&'s InterfaceName, (&'static str, &'static str))>;

/// A director whose checks go through IPVS.
pub(super) struct Asker<'p> {
    paths: &'p Paths<'p>,
    /// Addresses that checks may come from, the main one first.
    own: Vec<(Ip, &'p InterfaceName)>,
}

/// Whether a check of one of its real servers goes through IPVS.
pub(super) fn is_asked(service: &Balanced) -> bool {
    let servers = service.fronts.iter().flat_map(|front| &front.real_servers);
    let own = servers.flat_map(|server| &server.checks);
    service.checks.iter().chain(own).any(Check::is_through_service)
}

/// The checks of a real server.
pub(super) fn checks_of<'s>(service: &'s Balanced, server: &'s RealServer) -> &'s [Check] {
    if server.checks.is_empty() { &service.checks } else { &server.checks }
}

/// A way in words, one for each.
fn way(server: &RealServer, vip: Ip, port: Option<Port>) -> String {
    let family = if vip.0.is_ipv6() { 6 } else { 4 };
    let (address, forwarding) = (server.address, server.forwarding);
    let mut words = format!("{family} {address} {forwarding:?} {:?}", server.encapsulation);
    // Otherwise packets keep the port that they came to.
    if let Some(port) = port.filter(|_| forwarding == Forwarding::Nat) {
        words.push_str(&format!(" {port}"));
    }
    words
}

/// FNV-1a: the same on every machine and in every version.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// A mark for each way, as far as there are marks.
fn marks(ways: BTreeSet<String>, pool: CheckMarks) -> BTreeMap<String, FirewallMark> {
    let (mut taken, mut marks) = (BTreeSet::new(), BTreeMap::new());
    let number = pool.len();
    for way in ways {
        let first = hash(&way).checked_rem(number).unwrap_or(0);
        let mut places = (first..number).chain(0..first);
        if let Some(place) = places.find(|place| !taken.contains(place)) {
            taken.insert(place);
            marks.extend(pool.at(place).map(|mark| (way, mark)));
        }
    }
    marks
}

/// The VIP that checks go to instead of this one: one of each family will do.
fn vip_asked(front: &Front, vip: Ip) -> Ip {
    let mut same = front.vips.iter().filter(|other| other.0.is_ipv6() == vip.0.is_ipv6());
    same.find(|vip| !is_link_local(**vip)).copied().unwrap_or(vip)
}

impl<'a> Paths<'a> {
    /// Those of a cluster, if it has any.
    pub(super) fn new(cluster: &'a Resolved) -> Option<Self> {
        let mut ways = BTreeSet::new();
        for service in cluster.services.values().filter(|service| is_asked(service)) {
            let ports: Vec<Option<Port>> = match &service.taken {
                Taken::Transport { ports, .. } => ports.iter().copied().map(Some).collect(),
                Taken::Mark { .. } => vec![None],
            };
            for front in &service.fronts {
                for server in &front.real_servers {
                    let checks = checks_of(service, server).iter().filter(|check| check.is_through_service());
                    for check in checks {
                        for vip in &front.vips {
                            ways.extend(
                                ports
                                    .iter()
                                    .map(|port| way(server, *vip, check.port.or(server.port).or(*port))),
                            );
                        }
                    }
                }
            }
        }
        let marks = marks(ways, cluster.ipvs.check_marks);
        let subnets = || Subnets::of_segments(&cluster.segments, &Unknowns::default());
        (!marks.is_empty()).then(|| Self { hosts: &cluster.hosts, subnets: subnets(), marks })
    }

    /// A director of the cluster.
    pub(super) fn asker(&self, director: &Name) -> Option<Asker<'_>> {
        let own = self.hosts.get(director)?.all_addresses();
        Some(Asker { paths: self, own: own.filter(|(ip, _)| !is_link_local(*ip)).collect() })
    }
}

impl Asker<'_> {
    /// Own address that a check comes from: one that the real server answers to directly, or else one on the
    /// VIP's segment, or else the main one. It is of the VIP's family.
    fn origin(&self, server: &RealServer, vip: Ip) -> Option<(Ip, &InterfaceName)> {
        let segment = |address: Ip| self.paths.subnets.of(address).map(|(segment, _)| segment);
        let own = || self.own.iter().filter(|(ip, _)| ip.0.is_ipv6() == vip.0.is_ipv6());
        let beside = |address: Ip| {
            let on = segment(address)?;
            own().find(|(ip, _)| segment(*ip) == Some(on))
        };
        let found = beside(server.address).or_else(|| beside(vip)).or_else(|| own().next())?;
        Some((found.0, found.1))
    }

    /// Origin and way of a check of a destination of a virtual server with this VIP; none where it goes to
    /// the real server's own address.
    pub(super) fn through(
        &self,
        check: &Check,
        server: &RealServer,
        (front, vip): (&Front, Ip),
        (vip_port, own_port): (Option<Port>, Option<Port>),
    ) -> Option<(Ip, Through)> {
        if !check.is_through_service() {
            return None;
        }
        let vip = vip_asked(front, vip);
        let way = way(server, vip, check.port.or(own_port));
        let mark = *self.paths.marks.get(&way)?;
        let (source, _) = self.origin(server, vip)?;
        let port = check.port.or(vip_port).or(own_port)?;
        Some((source, Through { vip, port, mark }))
    }

    /// The settings that let the director hear answers from its own VIPs. `is_apart` says whether a VIP of a
    /// service is on another interface than the one that answers come in by.
    pub(super) fn settings<'s>(
        &'s self,
        services: impl Iterator<Item = &'s Balanced>,
        accepted: &BTreeSet<Ip>,
        is_apart: impl Fn(&Balanced, Ip, &InterfaceName) -> bool,
    ) -> Answers<'s> {
        let mut settings = BTreeSet::new();
        for service in services.filter(|service| is_asked(service)) {
            for front in &service.fronts {
                for server in &front.real_servers {
                    let asked = checks_of(service, server).iter().any(Check::is_through_service);
                    // What is masqueraded comes back from the real server's own address, and IPv6 asks
                    // nothing of where packets come from.
                    let vips = front.vips.iter().filter(|vip| vip.0.is_ipv4());
                    for vip in vips.filter(|_| asked && server.forwarding != Forwarding::Nat) {
                        let Some((_, interface)) = self.origin(server, *vip) else { continue };
                        settings.insert((interface, HEARS_ITSELF));
                        if accepted.contains(vip) || is_apart(service, *vip, interface) {
                            settings.insert((interface, HEARS_BESIDE));
                        }
                    }
                }
            }
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(first: u32, last: u32) -> CheckMarks {
        let mark = |mark| FirewallMark::new(mark).expect("a mark");
        CheckMarks { first: mark(first), last: mark(last) }
    }

    #[test]
    fn marks_are_different_in_the_pool_and_the_same_with_one_way_more() {
        let ways = |number: u32| -> BTreeSet<String> { (0..number).map(|way| format!("4 {way}")).collect() };
        let full = marks(ways(8), pool(10, 17));
        let used: BTreeSet<u32> = full.values().map(|mark| mark.get()).collect();
        assert_eq!(used, (10..=17).collect(), "every one is taken, and none twice");
        assert_eq!(marks(ways(9), pool(10, 17)).len(), 8, "and no more than there are");
        assert!(marks(ways(1), pool(17, 10)).is_empty());

        let before = marks(ways(1000), CheckMarks::default());
        let after = marks(ways(1001), CheckMarks::default());
        let moved = before.iter().filter(|(way, mark)| after.get(*way) != Some(mark)).count();
        assert!(moved <= 2, "{moved} marks of 1000 moved");
    }
}
