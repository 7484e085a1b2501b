//! Segments: which addresses are on one Ethernet, and in which networks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::scalars::Cidr;
use serde_json::{Map, Value, json};

use super::super::notes::{Fate, Notes};

/// Prefix lengths that are guessed where nothing says one.
const GUESS_V4: u8 = 24;
const GUESS_V6: u8 = 64;

/// An address, its link where it is on a certain one, and the prefix length where that is known.
type Address = (Option<usize>, IpAddr, Option<u8>);

/// Links, each a set of interfaces that are on one Ethernet, and the addresses on them.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// Each link's representative: links become one when they share an interface.
    parents: Vec<usize>,
    /// Interfaces of directors, and their link.
    ends: BTreeMap<(usize, String), usize>,
    addresses: Vec<Address>,
}

impl Segments {
    /// The link that all of `ends` are on; a new one when none is on any yet.
    pub(super) fn link(&mut self, ends: &[(usize, String)]) -> usize {
        let mut link = None;
        for end in ends {
            let Some(known) = self.ends.get(end).copied() else { continue };
            let known = self.root(known);
            match link {
                None => link = Some(known),
                Some(link) => self.parents[known] = link,
            }
        }
        let link = link.unwrap_or_else(|| {
            self.parents.push(self.parents.len());
            self.parents.len() - 1
        });
        for end in ends {
            self.ends.insert(end.clone(), link);
        }
        link
    }

    pub(super) fn root(&self, link: usize) -> usize {
        let mut link = link;
        while self.parents.get(link).is_some_and(|parent| *parent != link) {
            link = self.parents[link];
        }
        link
    }

    pub(super) fn add(&mut self, link: usize, address: IpAddr, prefix: Option<u8>) {
        if !address.is_unspecified() {
            self.addresses.push((Some(link), address, prefix));
        }
    }

    /// An address that is routed to: on whatever segment has its network, or on one of its own.
    pub(super) fn add_anywhere(&mut self, address: IpAddr) {
        if !address.is_unspecified() {
            self.addresses.push((None, address, None));
        }
    }

    /// The segments of the cluster file.
    pub(super) fn finish(&self, given: &[Cidr], notes: &mut Notes) -> Finished {
        let mut nets = Nets::default();
        let root = |link: &Option<usize>| link.map(|link| self.root(link));
        for (link, address, prefix) in &self.addresses {
            let of_given = given.iter().copied().find(|net| net.contains(*address));
            let of_mask = prefix.and_then(|prefix| network(*address, prefix));
            if let Some(net) = of_given.or(of_mask) {
                nets.add(root(link), net);
            }
        }
        // Addresses on a link first: their networks may hold addresses that are on none.
        let order = |on_link: bool| self.addresses.iter().filter(move |(link, ..)| link.is_some() == on_link);
        for (link, address, _) in order(true).chain(order(false)) {
            if nets.holding(*address).is_some() {
                continue;
            }
            let guess = if address.is_ipv4() { GUESS_V4 } else { GUESS_V6 };
            let Some(net) = network(*address, guess) else { continue };
            // A guess that would swallow a network of another link is no better than the address alone.
            let net = if nets.swallows(net, root(link)) { Cidr::host(*address) } else { net };
            nets.add(root(link), net);
            let why =
                "no configuration says how large the network is: give it with `--subnet NETWORK/PREFIX`";
            notes.say(Fate::Decide, Vec::new(), format!("the network {net} is a guess"), why);
        }
        let astray = self.addresses.iter().filter_map(|(link, address, _)| {
            let link = self.root((*link)?);
            let owner = nets.owner(*address)?;
            (owner != link).then_some((link, *address))
        });
        let astray = astray.collect();
        let (section, names) = nets.section();
        Finished { section, names, astray, nets }
    }
}

/// Segments that links and addresses were put into.
#[derive(Debug)]
pub(super) struct Finished {
    /// The section of the cluster file.
    pub(super) section: Map<String, Value>,
    /// By link, the name of its segment.
    names: BTreeMap<usize, String>,
    /// Of addresses on a link those whose network is on another one.
    pub(super) astray: BTreeSet<(usize, IpAddr)>,
    nets: Nets,
}

impl Finished {
    /// The segment of a link that a router with these VIPs must name: the first of them is on another one.
    pub(super) fn to_name(&self, link: usize, mut vips: impl Iterator<Item = IpAddr>) -> Option<&String> {
        let first = vips.find_map(|vip| self.nets.owner(vip));
        self.names.get(&link).filter(|_| first != Some(link))
    }
}

/// Networks with their links, found by the address that they hold.
#[derive(Debug, Default)]
struct Nets {
    by_prefix: BTreeMap<u8, BTreeMap<IpAddr, Option<usize>>>,
}

impl Nets {
    /// The network that holds an address, the largest one.
    fn holding(&self, address: IpAddr) -> Option<(u8, IpAddr)> {
        self.by_prefix.iter().find_map(|(prefix, nets)| {
            let first = network(address, *prefix)?.address();
            nets.contains_key(&first).then_some((*prefix, first))
        })
    }

    /// The link of the network that holds an address.
    fn owner(&self, address: IpAddr) -> Option<usize> {
        let (prefix, first) = self.holding(address)?;
        *self.by_prefix.get(&prefix)?.get(&first)?
    }

    /// Adds a network, unless one that is there holds it.
    fn add(&mut self, link: Option<usize>, net: Cidr) {
        let (prefix, first) = match self.holding(net.address()) {
            Some((prefix, first)) if prefix <= net.prefix() => (prefix, first),
            _ => (net.prefix(), net.address()),
        };
        let owner = self.by_prefix.entry(prefix).or_default().entry(first).or_default();
        *owner = owner.or(link);
    }

    /// Whether a network holds a smaller one of another link.
    fn swallows(&self, net: Cidr, link: Option<usize>) -> bool {
        let inside = |nets: &BTreeMap<IpAddr, Option<usize>>| {
            let mut nets = nets.range(net.address()..).take_while(|(first, _)| net.contains(**first));
            nets.any(|(_, owner)| *owner != link)
        };
        self.by_prefix.range(net.prefix() + 1..).any(|(_, nets)| inside(nets))
    }

    /// The section of the cluster file, and the name of each link's segment.
    fn section(&self) -> (Map<String, Value>, BTreeMap<usize, String>) {
        let mut groups: Vec<(Option<usize>, Vec<Cidr>)> = Vec::new();
        let mut place: BTreeMap<usize, usize> = BTreeMap::new();
        for (prefix, nets) in &self.by_prefix {
            for (first, link) in nets {
                let Ok(net) = Cidr::new(*first, *prefix) else { continue };
                // A network that came later may be inside a larger one.
                if self.holding(*first).is_some_and(|(larger, _)| larger < *prefix) {
                    continue;
                }
                match link.and_then(|link| place.get(&link)).and_then(|at| groups.get_mut(*at)) {
                    Some((_, list)) => list.push(net),
                    None => {
                        place.extend(link.map(|link| (link, groups.len())));
                        groups.push((*link, vec![net]));
                    }
                }
            }
        }
        let (mut out, mut names) = (Map::new(), BTreeMap::new());
        let alone = groups.len() == 1;
        for (link, mut list) in groups {
            list.sort_unstable();
            let name = match list.first() {
                Some(_) if alone => "front".to_owned(),
                Some(net) => format!("net-{}", dashed(net.address())),
                None => continue,
            };
            names.extend(link.map(|link| (link, name.clone())));
            out.insert(name, json!({ "subnets": list }));
        }
        (out, names)
    }
}

/// An address as part of a name.
pub(super) fn dashed(address: IpAddr) -> String {
    let text = address.to_string().replace(['.', ':'], "-");
    text.trim_matches('-').to_owned()
}

fn network(address: IpAddr, prefix: u8) -> Option<Cidr> {
    let cidr = Cidr::new(address, prefix).ok()?;
    Cidr::new(cidr.network(), prefix).ok()
}
