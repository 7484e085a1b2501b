//! Segments: which addresses are on one Ethernet, and in which networks.

use std::collections::BTreeMap;
use std::net::IpAddr;

use evenkeel_schemas::scalars::Cidr;
use serde_json::{Map, Value, json};

use super::super::notes::{Fate, Notes};
use super::super::source::Spot;

/// Prefix lengths that are guessed where nothing says one.
const GUESS_V4: u8 = 24;
const GUESS_V6: u8 = 64;

/// Links, each a set of interfaces that are on one Ethernet, and the addresses on them.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// Each link's representative: links become one when they share an interface.
    parents: Vec<usize>,
    /// Interfaces of directors, and their link.
    ends: BTreeMap<(usize, String), usize>,
    /// Addresses with the prefix length that is known, and where it stands.
    addresses: Vec<(Option<usize>, IpAddr, Option<u8>, Option<Spot>)>,
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

    pub(super) fn add(&mut self, link: usize, address: IpAddr, prefix: Option<u8>, spot: Option<Spot>) {
        if !address.is_unspecified() {
            self.addresses.push((Some(link), address, prefix, spot));
        }
    }

    /// An address that is routed to: on whatever segment has its network, or on one of its own.
    pub(super) fn add_anywhere(&mut self, address: IpAddr) {
        if !address.is_unspecified() {
            self.addresses.push((None, address, None, None));
        }
    }

    /// The section of the cluster file.
    pub(super) fn finish(&self, given: &[Cidr], notes: &mut Notes) -> Map<String, Value> {
        let mut nets: Vec<(Option<usize>, Cidr)> = Vec::new();
        let mut guesses: Vec<Cidr> = Vec::new();
        for (link, address, prefix, _) in &self.addresses {
            let link = link.map(|link| self.root(link));
            let of_given = given.iter().copied().find(|net| net.contains(*address));
            let of_mask = prefix.and_then(|prefix| network(*address, prefix));
            if let Some(net) = of_given.or(of_mask) {
                join(&mut nets, link, net);
            }
        }
        // Those on a link first: they may hold addresses that are on none.
        let order =
            |on_link: bool| self.addresses.iter().filter(move |(link, ..)| link.is_some() == on_link);
        for (link, address, ..) in order(true).chain(order(false)) {
            if nets.iter().any(|(_, net)| net.contains(*address)) {
                continue;
            }
            let guess = if address.is_ipv4() { GUESS_V4 } else { GUESS_V6 };
            let Some(net) = network(*address, guess) else { continue };
            // A guess that would swallow a network that is known is no better than the address alone.
            let swallows = nets.iter().any(|(other, known)| {
                net.contains(known.address())
                    && known.prefix() > guess
                    && *other != link.map(|link| self.root(link))
            });
            let net = if swallows { Cidr::host(*address) } else { net };
            guesses.push(net);
            join(&mut nets, link.map(|link| self.root(link)), net);
        }
        for net in &guesses {
            let why =
                "no configuration says how large the network is: give it with `--subnet NETWORK/PREFIX`";
            notes.say(Fate::Decide, Vec::new(), format!("the network {net} is a guess"), why);
        }
        self.named(&nets)
    }

    fn named(&self, nets: &[(Option<usize>, Cidr)]) -> Map<String, Value> {
        let mut groups: Vec<(Option<usize>, Vec<Cidr>)> = Vec::new();
        for (link, net) in nets {
            match groups.iter_mut().find(|(other, _)| link.is_some() && other == link) {
                Some((_, list)) => list.push(*net),
                None => groups.push((*link, vec![*net])),
            }
        }
        let mut out = Map::new();
        let alone = groups.len() == 1;
        for (_, mut list) in groups {
            list.sort_unstable();
            let name = match list.first() {
                Some(_) if alone => "front".to_owned(),
                Some(net) => {
                    format!("net-{}", net.address().to_string().replace(['.', ':'], "-").trim_matches('-'))
                }
                None => continue,
            };
            out.insert(name, json!({ "subnets": list }));
        }
        out
    }
}

/// Adds a network, unless one that is there holds it; takes out those that it holds.
fn join(nets: &mut Vec<(Option<usize>, Cidr)>, link: Option<usize>, net: Cidr) {
    let holds =
        |outer: Cidr, inner: Cidr| outer.prefix() <= inner.prefix() && outer.contains(inner.address());
    if let Some((owner, _)) = nets.iter_mut().find(|(_, known)| holds(*known, net)) {
        *owner = owner.or(link);
        return;
    }
    nets.retain(|(_, known)| !holds(net, *known));
    nets.push((link, net));
}

fn network(address: IpAddr, prefix: u8) -> Option<Cidr> {
    let cidr = Cidr::new(address, prefix).ok()?;
    Cidr::new(cidr.network(), prefix).ok()
}
