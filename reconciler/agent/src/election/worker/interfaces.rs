//! The interfaces of the election: their links, the sources of advertisements, which router hears what.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_converge::{AddressKey, KernelState, Kind};
use evenkeel_kernel::{KernelError, Scope, clock};
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_vrrp::{Family, Received, RouterKey};

use super::super::port::Port;
use super::Worker;
use super::routers::Routers;

/// The interfaces that routers speak on or have VIPs on.
#[derive(Default)]
pub(super) struct Ports {
    /// By name.
    pub(super) open: BTreeMap<String, Port>,
    /// The link-local address of each interface on which IPv6 routers speak, by the interface's name.
    link_local: BTreeMap<String, IpAddr>,
    /// Interfaces that were replaced, or got another hardware address: their VIPs must be announced again.
    replaced: BTreeSet<String>,
    /// Why the interfaces cannot be read, as reported last.
    unreadable: Option<String>,
    /// Routers and destinations whose last advertisement could not be sent: each failure is reported once.
    failing_sends: BTreeSet<(RouterKey, IpAddr)>,
}

impl Ports {
    /// The address that IPv6 routers of an interface speak from.
    pub(super) fn link_local(&self, interface: &InterfaceName) -> Option<IpAddr> {
        self.link_local.get(interface.as_str()).copied()
    }

    /// Whether an event of the kernel, about the interface with this index or name, is about one of these.
    pub(super) fn concern(&self, index: u32, name: Option<&str>) -> bool {
        self.open.values().any(|port| port.concerns(index, name))
    }

    /// An advertisement could not be sent. Returns whether that is new.
    pub(super) fn send_fails(&mut self, key: &RouterKey, destination: IpAddr) -> bool {
        self.failing_sends.insert((key.clone(), destination))
    }

    /// An advertisement was sent. Returns whether the one before could not be.
    pub(super) fn sends_again(&mut self, key: &RouterKey, destination: IpAddr) -> bool {
        !self.failing_sends.is_empty() && self.failing_sends.remove(&(key.clone(), destination))
    }

    /// Forgets the failed sends of all but these routers.
    pub(super) fn retain_sends(&mut self, keys: &BTreeSet<RouterKey>) {
        self.failing_sends.retain(|(key, _)| keys.contains(key));
    }

    /// A VIP was removed: what waits to be announced of it is not announced any more.
    pub(super) fn withdraw(&mut self, gone: &AddressKey) {
        if let Some(port) = self.open.get_mut(&gone.interface) {
            port.announcements.withdraw(gone.address.address());
        }
    }

    /// Replaces the reason for which interfaces cannot be read. Returns it when it is a new one.
    fn replace_unreadable(&mut self, problem: Option<String>) -> Option<String> {
        let new = problem.clone().filter(|_| problem != self.unreadable);
        self.unreadable = problem;
        new
    }

    /// Finds out whether the host still has the sources of its routers.
    fn check_sources(&mut self, routers: &Routers) {
        let mut sources: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut senders: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for (key, setup) in &routers.setups {
            let Some((_, router)) = routers.election.get(key) else { continue };
            let source = router.config().source;
            sources.entry(key.interface.as_str()).or_default().insert(source);
            senders.entry(setup.via.as_str()).or_default().insert(source);
        }
        let none = BTreeSet::new();
        for (name, port) in &mut self.open {
            port.find_missing(sources.get(name.as_str()).unwrap_or(&none));
            port.keep_senders(senders.get(name.as_str()).unwrap_or(&none));
        }
    }

    /// The link-local address of each of these interfaces, as far as there is a usable one. An address in use
    /// stays as long as it can.
    fn usable_link_local(
        &self,
        interfaces: &BTreeSet<String>,
        observed: &KernelState,
        routers: &Routers,
    ) -> BTreeMap<String, IpAddr> {
        let vips = routers.setups.values().flat_map(|setup| setup.vips.keys());
        let vips: BTreeSet<IpAddr> = vips.map(|vip| vip.address.address()).collect();
        let mut found = BTreeMap::new();
        for name in interfaces {
            let Some(port) = self.open.get(name) else { continue };
            let here = observed.addresses.keys().filter(|key| key.interface == *name);
            let here = here.map(|key| key.address.address());
            let usable: Vec<IpAddr> = here
                .filter(|ip| is_link_local(*ip) && !vips.contains(ip) && port.source_works(*ip))
                .collect();
            let before = self.link_local.get(name).copied();
            let stays = before.filter(|before| usable.contains(before));
            // Without any the router is reported to miss the one before, and priority 0 leaves from it.
            let source = stays.or_else(|| usable.first().copied()).or(before);
            found.extend(source.map(|ip| (name.clone(), ip)));
        }
        found
    }
}

impl Worker {
    /// Makes a port for each interface that a router speaks on or has VIPs on, and drops all others.
    pub(super) fn open_ports(&mut self) {
        let mut listening: BTreeMap<String, BTreeSet<Family>> = BTreeMap::new();
        let setups = &self.routers.setups;
        for setup in setups.values() {
            let on = |name: &str| name.to_owned();
            listening.entry(on(setup.key.interface.as_str())).or_default().insert(setup.key.family);
            if let Some(interface) = &setup.virtual_mac {
                listening.entry(on(interface.as_str())).or_default().insert(setup.key.family);
            }
            for vip in setup.vips.keys() {
                listening.entry(on(&vip.interface)).or_default();
            }
        }
        self.ports.open.retain(|name, _| listening.contains_key(name));
        let virtual_macs: BTreeSet<InterfaceName> =
            setups.values().filter_map(|setup| setup.virtual_mac.clone()).collect();
        for (name, families) in listening {
            let pause = setups.values().filter(|setup| setup.vips.keys().any(|vip| vip.interface == name));
            let pause = pause.map(|setup| setup.garp_pause).max().unwrap_or(Duration::ZERO);
            let Ok(interface) = name.parse::<InterfaceName>() else { continue };
            let port = self.ports.open.entry(name).or_insert_with(|| Port::new(interface));
            port.listen(families, virtual_macs.contains(port.name()));
            port.announcements.set_pause(pause);
        }
    }

    /// The interface of the router that a packet on port `name` is for; `None` when no router here is to hear
    /// it.
    ///
    /// A router with a virtual MAC address hears the group on the interface of that address, and unicast
    /// where it speaks. Both interfaces may get the same packet.
    pub(super) fn listener(&self, name: &InterfaceName, received: &Received<'_>) -> Option<InterfaceName> {
        let family = Family::of(received.src);
        let vrid = received.payload.get(1).copied().unwrap_or(0);
        let is_it = |key: &RouterKey| key.family == family && key.vrid.get() == vrid;
        let mut apart = self
            .routers
            .setups
            .values()
            .filter(|setup| is_it(&setup.key))
            .filter_map(|setup| Some((setup, setup.virtual_mac.as_ref()?)));
        let multicast = received.dst.is_multicast();
        match apart.find(|(setup, interface)| setup.key.interface == *name || *interface == name) {
            Some((setup, interface)) => {
                (multicast == (interface == name)).then(|| setup.key.interface.clone())
            }
            // The kernel copies packets of other routers to the interfaces of virtual MAC addresses, too.
            None => {
                let speaks_here = self.routers.setups.keys().any(|key| key.interface == *name);
                speaks_here.then(|| name.clone())
            }
        }
    }

    /// Makes ports follow their links, and routers the addresses that they speak from.
    pub(super) fn follow_links(&mut self) {
        if self.ports.open.is_empty() {
            return;
        }
        let links = match self.kernel.links() {
            Ok(links) => links,
            Err(error) => {
                self.resync.links = true;
                self.report_unreadable(Some(format!("cannot read the interfaces: {error}")));
                return;
            }
        };
        for (name, port) in &mut self.ports.open {
            let followed = port.follow(links.iter().find(|link| link.name == *name));
            if followed.replaced {
                self.ports.replaced.insert(name.clone());
                // A new interface has none of the old one's addresses.
                self.resync.vips = true;
            }
            let problem = followed.problem.map(|error| format!("cannot open sockets on {name}: {error}"));
            if let Some(news) = port.new_link_problem(problem) {
                self.outbox.problem(news);
            }
        }
        self.resync.links_were_read();
        let found = self.find_link_local();
        self.resync.links |= found.is_err();
        self.report_unreadable(found.err().map(|error| error.to_string()));
        self.ports.check_sources(&self.routers);
    }

    fn report_unreadable(&mut self, problem: Option<String>) {
        if let Some(news) = self.ports.replace_unreadable(problem) {
            self.outbox.problem(news);
        }
    }

    /// Finds the link-local addresses that IPv6 routers speak from (RFC 9568 §5.1.2.1), and whether the host
    /// forwards IPv6.
    fn find_link_local(&mut self) -> Result<(), KernelError> {
        let v6 = self.routers.setups.values().filter(|setup| setup.key.family == Family::V6);
        let interfaces: BTreeSet<String> = v6
            .flat_map(|setup| {
                let vips = setup.vips.keys().map(|vip| vip.interface.clone());
                vips.chain([setup.key.interface.to_string()])
            })
            .collect();
        if interfaces.is_empty() {
            return Ok(());
        }
        let forwarding = |name: &str| format!("net/ipv6/conf/{name}/forwarding");
        let scope = Scope {
            kinds: BTreeSet::from([Kind::Addresses, Kind::Sysctls]),
            sysctls: interfaces.iter().map(|name| forwarding(name)).collect(),
            interfaces: interfaces.clone(),
            ..Scope::default()
        };
        let observed = self.kernel.observe(&scope)?;
        for name in &interfaces {
            if let Some(port) = self.ports.open.get_mut(name) {
                let forwards = observed.sysctls.get(&forwarding(name)).is_some_and(|value| value == "1");
                port.announcements.set_forwards(forwards);
            }
        }
        let found = self.ports.usable_link_local(&interfaces, &observed, &self.routers);
        if found != self.ports.link_local {
            self.ports.link_local = found;
            self.reconfigure();
        }
        Ok(())
    }

    /// Announces VIPs on replaced interfaces: the neighbours know a hardware address that is no longer ours.
    pub(super) fn announce_replaced(&mut self) {
        if self.ports.replaced.is_empty() {
            return;
        }
        let replaced = std::mem::take(&mut self.ports.replaced);
        let setups = self.routers.setups.values();
        let on_it = setups.filter(|setup| setup.vips.keys().any(|vip| replaced.contains(&vip.interface)));
        for key in on_it.map(|setup| setup.key.clone()).collect::<Vec<_>>() {
            self.announce(&key, self.routers.garp_repeat(&key));
        }
    }

    /// Listens for others who claim VIPs of our routers, whoever is Master: to listen for more addresses
    /// takes the kernel milliseconds, which a new Master has not when its clients wait.
    pub(super) fn watch_vips(&mut self) {
        let mut vips: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for vip in self.routers.setups.values().flat_map(|setup| setup.vips.keys()) {
            vips.entry(vip.interface.as_str()).or_default().insert(vip.address.address());
        }
        let mut failed = None;
        for (name, port) in &mut self.ports.open {
            if let Err(error) = port.watch(vips.remove(name.as_str()).unwrap_or_default()) {
                failed = Some(format!("cannot listen for others with our VIPs on {name}: {error}"));
            }
        }
        if let Some(failed) = failed {
            self.outbox.problem(failed);
        }
        self.conflicts.forget(clock::now());
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
