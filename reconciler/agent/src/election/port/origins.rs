//! Hardware addresses from which others advertise on one interface: found only while somebody asks.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::Family;

use super::super::sockets::Buffer;
use super::super::sockets::Origins;
use super::super::sockets::frames::Mac;

/// Most frames read for one question.
const MAX_FRAMES: usize = 256;
/// Most addresses remembered.
const MAX_KNOWN: usize = 32;
/// How long after the last question it listens on and remembers addresses.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// The hardware addresses known so far, and the sockets that show more of them.
#[derive(Debug, Default)]
pub(crate) struct OriginCache {
    listening: BTreeMap<Family, Origins>,
    known: BTreeMap<IpAddr, (Mac, MonoTime)>,
    /// When somebody asked last.
    asked: MonoTime,
}

impl OriginCache {
    /// The hardware address from which `address` advertises, if a frame has shown it. Listens for such frames
    /// from now on.
    pub(crate) fn find(
        &mut self,
        index: u32,
        address: IpAddr,
        buffer: &mut Buffer,
        now: MonoTime,
    ) -> Option<Mac> {
        self.asked = now;
        let family = Family::of(address);
        let origins = match self.listening.entry(family) {
            Entry::Occupied(found) => found.into_mut(),
            // Without a socket a stranger is reported without its hardware address.
            Entry::Vacant(free) => free.insert(Origins::open(index, family).ok()?),
        };
        for _ in 0..MAX_FRAMES {
            match origins.next(buffer) {
                Some(Some((source, mac))) => {
                    if self.known.contains_key(&source) || self.known.len() < MAX_KNOWN || source == address {
                        self.known.insert(source, (mac, now));
                    }
                }
                Some(None) => {}
                None => break,
            }
        }
        while self.known.len() > MAX_KNOWN {
            let oldest = self.known.iter().filter(|(ip, _)| **ip != address).min_by_key(|(_, (_, at))| *at);
            let Some(oldest) = oldest.map(|(ip, _)| *ip) else { break };
            self.known.remove(&oldest);
        }
        self.known(address)
    }

    /// The hardware address from which `address` advertised, as found by the last [`Self::find`].
    pub(crate) fn known(&self, address: IpAddr) -> Option<Mac> {
        self.known.get(&address).map(|(mac, _)| *mac)
    }

    /// Stops listening when nobody has asked for [`MEMORY`].
    pub(crate) fn rest(&mut self, now: MonoTime) {
        if now.since(self.asked) >= MEMORY {
            std::mem::take(&mut self.listening).into_values().for_each(Origins::close);
            self.known.clear();
        }
    }

    /// The interface is another one: nothing known holds for it.
    pub(crate) fn clear(&mut self) {
        std::mem::take(&mut self.listening).into_values().for_each(Origins::close);
        self.known.clear();
    }
}
