//! The interfaces of the election: their links, the sources of advertisements, whom to listen for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_converge::Kind;
use evenkeel_kernel::{KernelError, Scope, clock};
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_vrrp::{Family, Received, RouterKey};

use super::super::port::Port;
use super::Worker;
use evenkeel_host::election::Notice;

impl Worker {
    /// A port for each interface that a router speaks on or has VIPs on, and no others.
    pub(super) fn open_ports(&mut self) {
        let mut listening: BTreeMap<String, BTreeSet<Family>> = BTreeMap::new();
        for setup in self.routers.values() {
            let on = |name: &str| name.to_owned();
            listening.entry(on(setup.key.interface.as_str())).or_default().insert(setup.key.family);
            if let Some(interface) = &setup.virtual_mac {
                listening.entry(on(interface.as_str())).or_default().insert(setup.key.family);
            }
            for vip in setup.vips.keys() {
                listening.entry(on(&vip.interface)).or_default();
            }
        }
        self.ports.retain(|name, _| listening.contains_key(name));
        let virtual_macs: BTreeSet<InterfaceName> =
            self.routers.values().filter_map(|setup| setup.virtual_mac.clone()).collect();
        for (name, families) in listening {
            let pause =
                self.routers.values().filter(|setup| setup.vips.keys().any(|vip| vip.interface == name));
            let pause = pause.map(|setup| setup.garp_pause).max().unwrap_or(Duration::ZERO);
            let Ok(interface) = name.parse::<InterfaceName>() else { continue };
            let port = self.ports.entry(name).or_insert_with(|| Port::new(interface));
            port.listen(families, virtual_macs.contains(port.name()));
            port.announcements.pause(pause);
        }
    }

    /// The interface of the router that a packet on port `name` is for; none when it is nobody's here.
    ///
    /// A router with a virtual MAC address hears the group on the interface of that address, and unicast where it
    /// speaks. Both interfaces may get the same packet.
    pub(super) fn listener(&self, name: &InterfaceName, received: &Received<'_>) -> Option<InterfaceName> {
        let family = Family::of(received.src);
        let vrid = received.payload.get(1).copied().unwrap_or(0);
        let is_it = |key: &RouterKey| key.family == family && key.vrid.get() == vrid;
        let mut apart = self
            .routers
            .values()
            .filter(|setup| is_it(&setup.key))
            .filter_map(|setup| Some((setup, setup.virtual_mac.as_ref()?)));
        let multicast = received.dst.is_multicast();
        match apart.find(|(setup, interface)| setup.key.interface == *name || *interface == name) {
            Some((setup, interface)) => {
                (multicast == (interface == name)).then(|| setup.key.interface.clone())
            }
            // Others' packets are copied to the interfaces of virtual MAC addresses, too.
            None => self.routers.keys().any(|key| key.interface == *name).then(|| name.clone()),
        }
    }

    /// Makes ports follow their interfaces.
    pub(super) fn follow_links(&mut self) {
        if self.ports.is_empty() {
            return;
        }
        let links = match self.kernel.links() {
            Ok(links) => links,
            Err(error) => {
                self.links_dirty = true;
                self.unreadable(Some(format!("cannot read the interfaces: {error}")));
                return;
            }
        };
        let mut news = Vec::new();
        let mut replaced: BTreeSet<String> = BTreeSet::new();
        for (name, port) in &mut self.ports {
            let followed = port.follow(links.iter().find(|link| link.name == *name));
            if followed.replaced {
                replaced.insert(name.clone());
            }
            let problem = followed.problem.map(|error| format!("cannot open sockets on {name}: {error}"));
            news.extend(port.news(problem));
        }
        for text in news {
            self.tell(Notice::Problem(text));
        }
        self.links_dirty = false;
        let found = self.find_link_local();
        self.links_dirty |= found.is_err();
        self.unreadable(found.err().map(|error| error.to_string()));
        self.look_at_sources();
        self.links_read = true;
        // A new interface has none of the old one's addresses.
        self.vips_dirty |= !replaced.is_empty();
        self.replaced.extend(replaced);
    }

    /// Tells once that the kernel cannot be read, until it can be again.
    fn unreadable(&mut self, problem: Option<String>) {
        if problem != self.unreadable {
            self.unreadable.clone_from(&problem);
            problem.into_iter().for_each(|text| self.tell(Notice::Problem(text)));
        }
    }

    /// The link-local addresses that IPv6 routers speak from (RFC 9568 §5.1.2.1), and whether the host
    /// forwards IPv6. An address in use stays as long as it can.
    fn find_link_local(&mut self) -> Result<(), KernelError> {
        let interfaces: BTreeSet<String> = self
            .routers
            .values()
            .filter(|setup| setup.key.family == Family::V6)
            .flat_map(|setup| setup.vips.keys().map(|vip| vip.interface.clone()))
            .chain(
                self.routers
                    .keys()
                    .filter(|key| key.family == Family::V6)
                    .map(|key| key.interface.to_string()),
            )
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
        let vips: BTreeSet<IpAddr> = self
            .routers
            .values()
            .flat_map(|setup| setup.vips.keys())
            .map(|vip| vip.address.address())
            .collect();
        let mut found = BTreeMap::new();
        for name in &interfaces {
            let Some(port) = self.ports.get_mut(name) else { continue };
            port.announcements
                .forwards(observed.sysctls.get(&forwarding(name)).is_some_and(|value| value == "1"));
            let mut usable = observed
                .addresses
                .keys()
                .filter(|key| key.interface == *name)
                .map(|key| key.address.address())
                .filter(|ip| is_link_local(*ip) && !vips.contains(ip) && port.source_works(*ip))
                .collect::<Vec<_>>()
                .into_iter();
            let before = self.link_local.get(name);
            let stays = before.filter(|before| usable.clone().any(|ip| ip == **before)).copied();
            // Without any, the one before is told to be missing, and priority 0 leaves from it.
            let source = stays.or_else(|| usable.next()).or(before.copied());
            found.extend(source.map(|ip| (name.clone(), ip)));
        }
        if found != self.link_local {
            self.link_local = found;
            self.reconfigure();
        }
        Ok(())
    }

    /// Whether the host still has the sources of its routers.
    fn look_at_sources(&mut self) {
        let mut sources: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut senders: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for (key, setup) in &self.routers {
            let Some((_, router)) = self.election.get(key) else { continue };
            let source = router.config().source;
            sources.entry(key.interface.as_str()).or_default().insert(source);
            senders.entry(setup.via.as_str()).or_default().insert(source);
        }
        let none = BTreeSet::new();
        for (name, port) in &mut self.ports {
            port.look_at_sources(sources.get(name.as_str()).unwrap_or(&none));
            port.keep_senders(senders.get(name.as_str()).unwrap_or(&none));
        }
    }

    /// Announces VIPs where the neighbours know a hardware address that is no longer ours.
    pub(super) fn announce_replaced(&mut self) {
        if self.replaced.is_empty() {
            return;
        }
        let replaced = std::mem::take(&mut self.replaced);
        let on_it = |key: &&RouterKey| {
            let setup = self.routers.get(*key);
            setup.is_some_and(|setup| setup.vips.keys().any(|vip| replaced.contains(&vip.interface)))
        };
        for key in self.routers.keys().filter(on_it).cloned().collect::<Vec<_>>() {
            let repeat = self.routers.get(&key).map_or(0, |setup| setup.config.garp_repeat);
            self.announce(&key, repeat);
        }
    }

    /// Listens for others who claim the VIPs of our routers, whoever is Master: to listen for more takes the kernel
    /// milliseconds, which a Master has not when its clients wait.
    pub(super) fn watch_claims(&mut self) {
        let mut vips: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        for vip in self.routers.values().flat_map(|setup| setup.vips.keys()) {
            vips.entry(vip.interface.as_str()).or_default().insert(vip.address.address());
        }
        let mut failed = None;
        for (name, port) in &mut self.ports {
            if let Err(error) = port.watch(vips.remove(name.as_str()).unwrap_or_default()) {
                failed = Some(format!("cannot listen for others with our VIPs on {name}: {error}"));
            }
        }
        if let Some(failed) = failed {
            self.tell(Notice::Problem(failed));
        }
        self.conflicts.forget(clock::now());
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
