//! Who does what: the routers and services of a director, and what a real server needs to be one.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{self, Forwarding};
use evenkeel_schemas::plan::{Encapsulation, Gue, TunnelMode};
use evenkeel_schemas::scalars::{Ip, Name};

use super::paths::{Asker, Paths};
use crate::resolve::{Balanced, Recipient, Resolved, Router};

/// All of a cluster.
#[derive(Default)]
pub(super) struct Tasks<'a> {
    /// By director.
    routers: BTreeMap<&'a Name, Vec<(&'a Name, &'a Router)>>,
    /// By router.
    services: BTreeMap<&'a Name, Vec<(&'a Name, &'a Balanced)>>,
    /// By host.
    duties: BTreeMap<&'a Name, Duties>,
    /// Checks that go through IPVS, if there are any.
    paths: Option<Paths<'a>>,
}

/// Duties of a host besides virtual routers and virtual servers.
#[derive(Default)]
pub(super) struct Duties {
    /// VIPs that it accepts as its own, as a real server by direct routing or tunnel.
    pub(super) accepted: BTreeSet<Ip>,
    /// Ends of its tunnels.
    pub(super) tunnels: BTreeSet<TunnelEnd>,
    /// Ports at which it unwraps.
    pub(super) gue: BTreeSet<(cluster::Family, u16)>,
    /// Addresses of the host to which packets for a VIP of the same segment are masqueraded.
    pub(super) masqueraded_beside_vip: BTreeSet<Ip>,
    /// As a director: whether it masquerades IPv6.
    pub(super) masquerades_v6: bool,
    /// As a director: whether it masquerades to real servers on the VIP's own segment.
    pub(super) masquerades_beside_vip: bool,
}

/// The end of a tunnel on a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TunnelEnd {
    pub(super) local: Ip,
    pub(super) mode: TunnelMode,
    /// GRE: whether packets have a checksum.
    pub(super) checksum: bool,
    /// Whether packets of IPv4 come out of it.
    pub(super) carries_v4: bool,
}

impl<'a> Tasks<'a> {
    pub(super) fn new(cluster: &'a Resolved) -> Self {
        let mut tasks = Self { paths: Paths::new(cluster), ..Self::default() };
        for (name, router) in &cluster.routers {
            for director in router.directors.keys() {
                tasks.routers.entry(director).or_default().push((name, router));
            }
        }
        for (name, service) in &cluster.services {
            tasks.services.entry(&service.router).or_default().push((name, service));
            let (mut v6, mut beside_vip) = (false, false);
            for front in &service.fronts {
                for target in front.targets() {
                    if target.forwarding == Forwarding::Nat {
                        v6 |= target.address.0.is_ipv6();
                        beside_vip |= target.beside_vip;
                        if !target.beside_vip {
                            continue;
                        }
                    }
                    tasks.duties.entry(target.host).or_default().add(target, &front.vips);
                }
                // Masquerade to an address outside the cluster asks something of directors only.
                let sorry = front.sorry_server.iter().filter(|sorry| sorry.host.is_none());
                for sorry in sorry.filter(|sorry| sorry.forwarding == Forwarding::Nat) {
                    v6 |= sorry.address.0.is_ipv6();
                    beside_vip |= sorry.beside_vip;
                }
            }
            if v6 || beside_vip {
                let directors = cluster.routers.get(&service.router).into_iter();
                for director in directors.flat_map(|router| router.directors.keys()) {
                    let duties = tasks.duties.entry(director).or_default();
                    duties.masquerades_v6 |= v6;
                    duties.masquerades_beside_vip |= beside_vip;
                }
            }
        }
        tasks
    }

    /// The virtual routers of a director, by name.
    pub(super) fn routers(&self, director: &Name) -> &[(&'a Name, &'a Router)] {
        self.routers.get(director).map_or(&[], Vec::as_slice)
    }

    /// The services of a director.
    pub(super) fn services(&self, director: &Name) -> impl Iterator<Item = (&'a Name, &'a Balanced)> {
        let services = self.routers(director).iter().filter_map(|(router, _)| self.services.get(router));
        services.flatten().copied()
    }

    /// A director, if checks go through IPVS.
    pub(super) fn asker(&self, director: &Name) -> Option<Asker<'_>> {
        self.paths.as_ref()?.asker(director)
    }

    /// Duties of a host besides virtual routers and virtual servers.
    pub(super) fn duties(&self, host: &Name) -> &Duties {
        self.duties.get(host).unwrap_or(const { &Duties::NONE })
    }
}

impl Duties {
    const NONE: Self = Self {
        accepted: BTreeSet::new(),
        tunnels: BTreeSet::new(),
        gue: BTreeSet::new(),
        masqueraded_beside_vip: BTreeSet::new(),
        masquerades_v6: false,
        masquerades_beside_vip: false,
    };

    /// Adds the duties of a target of packets for these VIPs.
    fn add(&mut self, target: Recipient<'_>, vips: &[Ip]) {
        if target.forwarding == Forwarding::Nat {
            self.masqueraded_beside_vip.insert(target.address);
            return;
        }
        self.accepted.extend(vips);
        let Some(encapsulation) = target.encapsulation else { return };
        let outer = target.address;
        for v6 in [false, true].into_iter().filter(|v6| vips.iter().any(|vip| vip.0.is_ipv6() == *v6)) {
            // One device carries both families.
            let mode = TunnelMode::unwrapping(encapsulation, outer.0.is_ipv6(), v6);
            let known = self.tunnels.iter().find(|end| end.local == outer && end.mode == mode);
            let carries_v4 = !v6 || known.is_some_and(|end| end.carries_v4);
            if let Some(known) = known.copied() {
                self.tunnels.remove(&known);
            }
            let checksum = encapsulation.is_gre_with_checksum();
            self.tunnels.insert(TunnelEnd { local: outer, mode, checksum, carries_v4 });
        }
        if let Encapsulation::Gue { port, .. } = encapsulation {
            self.gue.insert((family(outer), port.get()));
        }
    }

    /// The ports at which it unwraps.
    pub(super) fn gue_ports(&self) -> impl Iterator<Item = Gue> + '_ {
        let port = |(family, port): &(cluster::Family, u16)| {
            Some(Gue { family: *family, port: evenkeel_schemas::scalars::Port::new(*port).ok()? })
        };
        self.gue.iter().filter_map(port)
    }
}

const fn family(address: Ip) -> cluster::Family {
    if address.0.is_ipv6() { cluster::Family::Ipv6 } else { cluster::Family::Ipv4 }
}
