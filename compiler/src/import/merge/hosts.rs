//! Hosts: directors from the source addresses of their instances, real servers from their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::super::model::Vip;
use super::super::notes::{Fate, Owner};
use super::super::source::Spot;
use super::Merger;
use super::segments::{Finished, dashed};

/// The interface of a real server, of which keepalived's configuration says nothing.
const INTERFACE: &str = "eth0";

/// A host: its interfaces in the order in which they became known, and their addresses.
#[derive(Debug, Clone, Default)]
pub(super) struct Host {
    pub(super) interfaces: Vec<(String, Vec<IpAddr>)>,
    pub(super) director: bool,
}

impl Host {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.interfaces.iter().flat_map(|(_, addresses)| addresses.iter().copied())
    }

    fn add(&mut self, interface: &str, address: Option<IpAddr>) {
        let at = self.interfaces.iter().position(|(name, _)| name == interface);
        let at = at.unwrap_or_else(|| {
            self.interfaces.push((interface.to_owned(), Vec::new()));
            self.interfaces.len() - 1
        });
        let list = &mut self.interfaces[at].1;
        list.extend(address.filter(|address| !list.contains(address)));
    }
}

impl Merger<'_> {
    pub(super) fn directors(&mut self) {
        for (director, config) in self.configs.iter().enumerate() {
            let name = self.request.directors[director].name.clone();
            let mut host = Host { director: true, ..Host::default() };
            let mut needs: BTreeMap<(String, bool), Spot> = BTreeMap::new();
            for instance in &config.instances {
                let interface = match &instance.interface {
                    Some(at) => at.value.clone(),
                    None => {
                        let why = format!("it has no `interface`: `{INTERFACE}` was taken");
                        let what = format!("the interface of `{}` on {name}", instance.name);
                        self.notes.say(Fate::Decide, vec![instance.spot], what, why);
                        INTERFACE.to_owned()
                    }
                };
                host.add(&interface, instance.source.as_ref().map(|at| at.value));
                needs.entry((interface, instance.is_v6())).or_insert(instance.spot);
            }
            for (interface, address) in &self.request.directors[director].addresses {
                let main =
                    host.interfaces.first().map_or_else(|| INTERFACE.to_owned(), |(name, _)| name.clone());
                host.add(interface.as_ref().unwrap_or(&main), Some(*address));
            }
            if host.interfaces.is_empty() {
                host.add(INTERFACE, None);
                needs.insert((INTERFACE.to_owned(), false), Spot { file: 0, line: 0 });
            }
            for ((interface, v6), spot) in needs {
                let known = host.interfaces.iter().find(|(name, _)| *name == interface);
                if known.is_some_and(|(_, addresses)| addresses.iter().any(|address| address.is_ipv6() == v6))
                {
                    continue;
                }
                let placeholder: IpAddr =
                    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
                host.add(&interface, Some(placeholder));
                let main = host.interfaces.first().is_some_and(|(name, _)| *name == interface);
                let which = if main { name.clone() } else { format!("{name}/{interface}") };
                let family = if v6 { "IPv6" } else { "IPv4" };
                let why = format!(
                    "no configuration says it: give it with `--address {which}=ADDRESS`; `{placeholder}` \
                    stands there, which does not compile"
                );
                let spots = if spot.line > 0 { vec![spot] } else { Vec::new() };
                self.notes.say(
                    Fate::Decide,
                    spots,
                    format!("the {family} address of {name} on {interface}"),
                    why,
                );
                let comment = format!("decide: the address of {name} on {interface}");
                self.merged.comments.insert(("hosts".to_owned(), name.clone()), comment);
            }
            for address in host.addresses() {
                self.reals.insert(address, name.clone());
            }
            self.hosts.insert(name, host);
        }
        self.links();
    }

    /// Which interfaces are on one segment: those of one virtual router.
    fn links(&mut self) {
        for at in 0..self.routers.len() {
            let members = self.routers[at].members.clone();
            let ends: Vec<(usize, String)> = members
                .iter()
                .map(|member| {
                    let interface = self.instance(*member).interface.as_ref();
                    (member.0, interface.map_or_else(|| INTERFACE.to_owned(), |at| at.value.clone()))
                })
                .collect();
            self.routers[at].link = self.segments.link(&ends);
        }
        for at in 0..self.routers.len() {
            let link = self.segments.root(self.routers[at].link);
            self.routers[at].link = link;
            let members = self.routers[at].members.clone();
            for (director, index) in members {
                let instance = self.configs[director].instances[index].clone();
                for vip in instance.vips.iter().chain(&instance.excluded) {
                    // A VIP with an interface of its own is on that one's segment.
                    let link = match &vip.interface {
                        Some(interface) => {
                            let link = self.segments.link(&[(director, interface.clone())]);
                            self.segments.root(link)
                        }
                        None => link,
                    };
                    self.segments.add(link, vip.address, vip.prefix);
                }
            }
        }
        for (director, config) in self.request.directors.iter().enumerate() {
            let Some(host) = self.hosts.get(&config.name).cloned() else { continue };
            for (interface, addresses) in &host.interfaces {
                let link = self.segments.link(&[(director, interface.clone())]);
                let link = self.segments.root(link);
                for address in addresses {
                    self.segments.add(link, *address, None);
                }
            }
        }
    }

    /// Instances whose VIPs are in a network that is on another interface of the director.
    pub(super) fn astray(&mut self, addresses: &BTreeSet<(usize, IpAddr)>) {
        for router in &self.routers {
            for (director, index) in &router.members {
                let instance = &self.configs[*director].instances[*index];
                let link = self.segments.root(router.link);
                let own = |vip: &&Vip| vip.interface.is_none() && addresses.contains(&(link, vip.address));
                let vips = instance.vips.iter().chain(&instance.excluded).filter(own);
                let interface = instance.interface.iter();
                let spots: Vec<Spot> = vips.map(|vip| vip.spot).collect();
                if spots.is_empty() {
                    continue;
                }
                let spots = interface.map(|at| at.spot).chain(spots).collect();
                let why = "a network is on one segment, where a director has one interface: keepalived has \
                    the VIPs on the \
                           interface that is written, the daemon on that of their network; give each \
                           interface a network \
                           of its own with `--subnet NETWORK/PREFIX`";
                let what =
                    format!("the interface of `{}`, whose VIPs are in the network of another", instance.name);
                self.notes.say(Fate::Decide, spots, what, why);
            }
        }
    }

    /// Names the segment of each router that advertises elsewhere than on that of its first VIP.
    pub(super) fn name_segments(&mut self, segments: &Finished) {
        let Some(Value::Object(routers)) = self.merged.cluster.get_mut("virtual_routers") else { return };
        for router in &self.routers {
            let Some(Value::Object(out)) = routers.get_mut(&router.name) else { continue };
            let vips = out.get("vips").and_then(Value::as_array).into_iter().flatten();
            let vips = vips.filter_map(|vip| vip.as_str()?.parse().ok());
            // Link-local VIPs are on whatever segment the router is.
            let vips = vips.filter(|vip| !matches!(vip, IpAddr::V6(vip) if vip.is_unicast_link_local()));
            if let Some(segment) = segments.to_name(self.segments.root(router.link), vips).cloned() {
                out.insert("segment".to_owned(), json!(segment));
            }
        }
    }

    /// The host of a real server.
    pub(super) fn real_host(&mut self, address: IpAddr) -> String {
        if let Some(name) = self.reals.get(&address) {
            return name.clone();
        }
        let given = self.request.real_servers.iter().find(|(_, given)| *given == address);
        let mut name = match given {
            Some((name, _)) => name.clone(),
            None => format!("rs-{}", dashed(address)),
        };
        while self.hosts.get(&name).is_some_and(|host| host.director) {
            name.push_str("-rs");
        }
        let host = self.hosts.entry(name.clone()).or_default();
        let given = self.request.real_interfaces.iter().find(|(given, _)| *given == address);
        host.add(given.map_or(INTERFACE, |(_, interface)| interface), Some(address));
        self.reals.insert(address, name.clone());
        name
    }

    /// Options that fit nothing are slips of the one who gave them.
    fn unused_options(&mut self) {
        let reals = self.request.real_servers.iter().filter(|(_, address)| !self.reals.contains_key(address));
        let reals = reals.map(|(name, address)| format!("--real-server {name}={address}"));
        let services = self.merged.cluster.get("services");
        let named = |name: &str| services.is_some_and(|services| services.get(name).is_some());
        let services = self.request.services.iter().filter(|(name, ..)| !named(name));
        let services = services.map(|(name, vip, port)| format!("--service {name}={vip}:{port}"));
        let unused: Vec<String> = reals.chain(services).collect();
        for option in unused {
            self.notes.say(Fate::Decide, Vec::new(), option, "it fits nothing in the configurations");
        }
    }

    pub(super) fn finish_hosts(&mut self) {
        let directors = self.request.directors.iter().map(|director| director.name.clone());
        let mut order: Vec<String> = directors.collect();
        order.extend(self.hosts.iter().filter(|(_, host)| !host.director).map(|(name, _)| name.clone()));
        let mut guessed = false;
        for name in order {
            let Some(host) = self.hosts.get(&name).cloned() else { continue };
            let given =
                |address: &IpAddr| self.request.real_interfaces.iter().any(|(given, _)| given == address);
            guessed |= !host.director && !host.addresses().all(|address| given(&address));
            let mut out = Map::new();
            let mut interfaces = host.interfaces.iter();
            let Some((interface, addresses)) = interfaces.next() else { continue };
            let mut addresses = addresses.iter();
            out.insert("address".to_owned(), json!(addresses.next()));
            out.insert("interface".to_owned(), json!(interface));
            let more: Vec<&IpAddr> = addresses.collect();
            if !more.is_empty() {
                out.insert("addresses".to_owned(), json!(more));
            }
            let further: Map<String, Value> = interfaces
                .filter(|(_, addresses)| !addresses.is_empty())
                .map(|(name, addresses)| (name.clone(), json!({ "addresses": addresses })))
                .collect();
            if !further.is_empty() {
                out.insert("interfaces".to_owned(), Value::Object(further));
            }
            self.put("hosts", &name, out);
        }
        self.unused_options();
        if guessed {
            let why = format!(
                "keepalived's configuration does not say it: `{INTERFACE}` was taken; give it with \
                `--real-server NAME/INTERFACE=ADDRESS`"
            );
            self.notes.say(Fate::Decide, Vec::new(), "the interface of the real servers", why);
        }
        for director in 0..self.configs.len() {
            // A thing without an owner of its own stands with the director's host.
            self.merged
                .names
                .insert(Owner::Router(director, usize::MAX), self.request.directors[director].name.clone());
        }
    }
}
