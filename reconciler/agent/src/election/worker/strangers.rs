//! What is told of others on the segment: who uses our VRIDs, and how much was left out.
//!
//! Anybody on the segment can cause these lines: all are bounded. Who is a stranger is decided by the routers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Event, Notice as Said, RouterKey, Stranger, VirtualRouter};

use super::super::sockets::Buffer;
use super::super::sockets::frames::Mac;
use super::Worker;
use evenkeel_host::election::Notice;
use evenkeel_host::line_limit::LineLimit;

/// How long it is waited for a frame that shows where a stranger is, before it is told of without. Advertisements come every second.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Strangers that are waited for.
const MAX_WAITING: usize = 16;
/// Lines a minute about what others sent, of all routers together.
const MAX_LINES: u32 = 100;
/// How long a stranger that is silent is still shown.
const SHOWN: Duration = Duration::from_secs(60 * 60);

/// What is still to be told, and how much was.
#[derive(Debug)]
pub(super) struct Telling {
    waiting: Vec<(RouterKey, Event, MonoTime)>,
    pub(super) lines: LineLimit,
}

impl Default for Telling {
    fn default() -> Self {
        Self { waiting: Vec::new(), lines: LineLimit::new(MAX_LINES) }
    }
}

impl Telling {
    /// When a stranger is told of at the latest.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.waiting.iter().map(|(.., until)| *until).min()
    }

    /// Routers that are gone have nothing more to tell.
    pub(super) fn keep(&mut self, keys: &BTreeSet<RouterKey>) {
        self.waiting.retain(|(key, ..)| keys.contains(key));
    }
}

impl Worker {
    /// A router has something to tell of what others sent.
    pub(super) fn tell_event(&mut self, key: &RouterKey, event: Event) {
        let now = clock::now();
        if !self.telling.lines.admit(now) {
            return;
        }
        if matches!(event.notice, Said::VridInUse { .. }) && self.telling.waiting.len() < MAX_WAITING {
            self.telling.waiting.push((key.clone(), event, now + PATIENCE));
        } else {
            self.tell_router(key, event.to_string());
        }
    }

    /// Tells of strangers as soon as it is known where they are, or can no longer be waited for.
    pub(super) fn tell_strangers(&mut self) {
        if self.telling.waiting.is_empty() {
            return;
        }
        let now = clock::now();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for (key, mut event, until) in std::mem::take(&mut self.telling.waiting) {
            let found = self.find_stranger(&key, event.source, &mut buffer, now);
            if found.is_none() && now < until {
                self.telling.waiting.push((key, event, until));
                continue;
            }
            if let Said::VridInUse { mac, .. } = &mut event.notice {
                *mac = found;
            }
            let Some(setup) = self.routers.get(&key) else { continue };
            let (label, address, mac) = (self.label(setup), event.source, found.map(text));
            self.tell(Notice::Stranger { label, address, mac, text: event.to_string() });
        }
        self.buffer = buffer;
    }

    /// The ports on which a router hears others.
    fn heard_on(&self, key: &RouterKey) -> impl Iterator<Item = String> + use<> {
        let apart = self.routers.get(key).and_then(|setup| setup.virtual_mac.as_ref());
        [Some(key.interface.to_string()), apart.map(ToString::to_string)].into_iter().flatten()
    }

    fn find_stranger(
        &mut self,
        key: &RouterKey,
        address: IpAddr,
        buffer: &mut Buffer,
        now: MonoTime,
    ) -> Option<Mac> {
        let mut found = None;
        for name in self.heard_on(key) {
            let here = self.ports.get_mut(&name).and_then(|port| port.find(address, buffer, now));
            found = found.or(here);
        }
        found
    }

    /// The strangers of a router that were heard within the last hour, and where they are.
    pub(super) fn strangers(
        &self,
        key: &RouterKey,
        router: &VirtualRouter,
    ) -> Vec<(Stranger, Option<String>)> {
        let now = clock::now();
        let heard = router.strangers().iter().filter(|stranger| now.since(stranger.last) < SHOWN);
        let place = |address: IpAddr| {
            self.heard_on(key).find_map(|name| self.ports.get(&name)?.origins.known(address)).map(text)
        };
        heard.map(|stranger| (*stranger, place(stranger.address))).collect()
    }

    /// Tells how much was left out, and listens no longer than anybody asks.
    pub(super) fn tell_dropped(&mut self, now: MonoTime) {
        for (key, dropped) in self.election.dropped_notices(now) {
            if self.telling.lines.admit(now) {
                self.tell_router(&key, dropped.to_string());
            }
        }
        if let Some((lines, seconds)) = self.telling.lines.dropped(now) {
            self.tell(Notice::Problem(format!(
                "election: {lines} more lines in the last {seconds} s about what others on the segment sent"
            )));
        }
        for (key, claims) in self.conflicts.dropped(now) {
            self.tell_router(
                &key,
                format!("its VIPs were claimed by others {claims} more times in the last minute"),
            );
        }
        for port in self.ports.values_mut() {
            port.origins.rest(now);
        }
    }
}

/// `02:00:00:00:00:01`
pub(super) fn text(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac;
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}
