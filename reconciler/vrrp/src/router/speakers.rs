//! Who speaks for our VRID: the directors of the plan, those that were learnt, and strangers.
//!
//! Memory and the one decision whether a source counts. What follows from an advertisement that counts is the
//! state machine's; one that does not changes nothing there.

use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use super::config::{Config, Strangers};

/// Sources that are remembered beside the plan's directors. There is hardly ever one, and addresses can be
/// invented.
const MOST: usize = 8;
/// Silence after which a remembered source makes room for another.
const STALE: Duration = Duration::from_secs(60);

/// A source of advertisements with our VRID that is none of our directors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranger {
    /// Address of the source.
    pub address: IpAddr,
    /// Number of its advertisements.
    pub adverts: u64,
    /// The VIPs of the last one.
    pub vips: usize,
    /// Number of those VIPs that are ours.
    pub ours: usize,
    /// Whether its advertisements count: it has exactly our VIPs, or everybody's count.
    pub counts: bool,
    /// Time of its first advertisement.
    pub first: MonoTime,
    /// Time of its last advertisement.
    pub last: MonoTime,
}

/// Kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    /// A director of ours, or everybody counts.
    Director,
    /// Unknown, with our VIPs: it counts, and is reported.
    Taken,
    /// Nobody of ours: it moves nothing.
    Stranger,
}

/// The VIPs of an advertisement beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vips {
    /// Number of VIPs.
    pub(super) all: usize,
    /// Number of those VIPs that we have, too.
    pub(super) ours: usize,
    /// Whether both have the same, and any.
    pub(super) same: bool,
}

impl Vips {
    /// Compares the VIPs of an advertisement with ours, which are sorted.
    pub(super) fn compare(theirs: &[IpAddr], ours: &[IpAddr]) -> Self {
        let mut sorted = theirs.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let shared = sorted.iter().filter(|vip| ours.binary_search(vip).is_ok()).count();
        Self { all: theirs.len(), ours: shared, same: !ours.is_empty() && sorted == ours }
    }
}

#[derive(Debug, Clone)]
struct Learnt {
    address: IpAddr,
    heard: MonoTime,
    /// Whether it is one of [`Directors::unnamed`]; else it was [`Speaker::Taken`].
    unnamed: bool,
}

/// Sources that were heard.
#[derive(Debug, Default, Clone)]
pub(super) struct Speakers {
    learnt: Vec<Learnt>,
    strangers: Vec<Stranger>,
}

impl Speakers {
    /// Kind of the source of an advertisement whose password, version and interval are right.
    ///
    /// A source that was learnt stays so when its VIPs are no longer ours: a plan with other VIPs comes to
    /// one director after another.
    pub(super) fn speaker(&mut self, config: &Config, src: IpAddr, vips: Vips, now: MonoTime) -> Speaker {
        let Some(directors) = &config.directors else { return Speaker::Director };
        if directors.addresses.contains(&src) {
            return Speaker::Director;
        }
        if let Some(learnt) = self.learnt.iter_mut().find(|learnt| learnt.address == src) {
            learnt.heard = now;
            return if learnt.unnamed { Speaker::Director } else { Speaker::Taken };
        }
        if vips.ours > 0 && is_link_local(src) && self.learn(src, true, directors.unnamed, now) {
            return Speaker::Director;
        }
        match directors.strangers {
            Strangers::SameVips if vips.same => {
                self.learn(src, false, MOST, now);
                Speaker::Taken
            }
            Strangers::SameVips | Strangers::Reject => Speaker::Stranger,
        }
    }

    /// Remembers a source; false when there is no room.
    fn learn(&mut self, address: IpAddr, unnamed: bool, most: usize, now: MonoTime) -> bool {
        if self.learnt.iter().filter(|learnt| learnt.unnamed == unnamed).count() >= most {
            let stale = |learnt: &Learnt| learnt.unnamed == unnamed && now.since(learnt.heard) >= STALE;
            let Some(index) = self.learnt.iter().position(stale) else { return false };
            self.learnt.remove(index);
        }
        self.learnt.push(Learnt { address, heard: now, unnamed });
        true
    }

    /// Another configuration is in force: what its directors have is no longer learnt.
    pub(super) fn reconfigured(&mut self, config: &Config) {
        let directors = config.directors.clone().unwrap_or_default();
        self.learnt.retain(|learnt| {
            let may = if learnt.unnamed {
                directors.unnamed > 0
            } else {
                directors.strangers == Strangers::SameVips
            };
            config.directors.is_some() && may && !directors.addresses.contains(&learnt.address)
        });
        while self.learnt.iter().filter(|learnt| learnt.unnamed).count() > directors.unnamed {
            let Some(index) = self.learnt.iter().position(|learnt| learnt.unnamed) else { break };
            self.learnt.remove(index);
        }
        self.strangers.retain(|stranger| !directors.addresses.contains(&stranger.address));
    }

    /// Keeps account of a stranger.
    pub(super) fn record(&mut self, address: IpAddr, vips: Vips, counts: bool, now: MonoTime) {
        let (all, ours) = (vips.all, vips.ours);
        if let Some(known) = self.strangers.iter_mut().find(|known| known.address == address) {
            known.adverts += 1;
            (known.vips, known.ours, known.counts, known.last) = (all, ours, counts, now);
            return;
        }
        if self.strangers.len() >= MOST {
            let stale = |known: &Stranger| now.since(known.last) >= STALE;
            let Some(index) = self.strangers.iter().position(stale) else { return };
            self.strangers.remove(index);
        }
        self.strangers.push(Stranger { address, adverts: 1, vips: all, ours, counts, first: now, last: now });
    }

    /// Strangers that were heard, the first eight of a minute.
    pub(super) fn strangers(&self) -> &[Stranger] {
        &self.strangers
    }
}

/// Whether an address is one that a host gives itself.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
