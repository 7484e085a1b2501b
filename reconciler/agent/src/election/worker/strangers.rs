//! Strangers on the segment, who use our VRIDs: reported with their hardware address as soon as it is known,
//! and how many reports were left out.
//!
//! Anybody on the segment can cause these lines: all are bounded. Who is a stranger is decided by the
//! routers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_host::election::Notice;
use evenkeel_host::line_limit::LineLimit;
use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Event, Notice as RouterNotice, RouterKey, Stranger, VirtualRouter};

use super::super::sockets::Buffer;
use super::super::sockets::frames::{Mac, mac_text};
use super::Worker;

/// How long a report waits for a frame that shows a stranger's hardware address. Advertisements come every
/// second.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Most reports that wait. More are made without a hardware address.
const MAX_WAITING: usize = 16;
/// Lines a minute about what others sent, of all routers together.
const MAX_LINES: u32 = 100;
/// How long a stranger that is silent is still in the status.
const SHOWN: Duration = Duration::from_secs(60 * 60);

/// Reports about what others send.
#[derive(Debug)]
pub(super) struct Strangers {
    /// Reports that wait for a hardware address, with the time at which they are made without it.
    waiting: Vec<(RouterKey, Event, MonoTime)>,
    lines: LineLimit,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { waiting: Vec::new(), lines: LineLimit::new(MAX_LINES) }
    }
}

impl Strangers {
    /// When the next report is made without a hardware address.
    pub(super) fn due(&self) -> Option<MonoTime> {
        self.waiting.iter().map(|(.., until)| *until).min()
    }

    /// Forgets the reports of all but these routers.
    pub(super) fn retain(&mut self, keys: &BTreeSet<RouterKey>) {
        self.waiting.retain(|(key, ..)| keys.contains(key));
    }
}

impl Worker {
    /// Reports what a router says about what others sent, or lets the report wait for a hardware address.
    pub(super) fn report_event(&mut self, key: &RouterKey, event: Event) {
        let now = clock::now();
        if !self.strangers.lines.admit(now) {
            return;
        }
        let is_stranger = matches!(event.notice, RouterNotice::VridInUse { .. });
        if is_stranger && self.strangers.waiting.len() < MAX_WAITING {
            self.strangers.waiting.push((key.clone(), event, now + PATIENCE));
        } else {
            self.outbox.about(&self.routers, key, event.to_string());
        }
    }

    /// Reports the strangers whose hardware address is known now, and those whose time is over.
    pub(super) fn report_strangers(&mut self) {
        if self.strangers.waiting.is_empty() {
            return;
        }
        let now = clock::now();
        let mut buffer = std::mem::replace(&mut self.buffer, Buffer::empty());
        for (key, mut event, until) in std::mem::take(&mut self.strangers.waiting) {
            let found = self.find_origin(&key, event.source, &mut buffer, now);
            if found.is_none() && now < until {
                self.strangers.waiting.push((key, event, until));
                continue;
            }
            if let RouterNotice::VridInUse { mac, .. } = &mut event.notice {
                *mac = found;
            }
            let Some(setup) = self.routers.setup(&key) else { continue };
            let (label, address, mac) = (self.routers.label(setup), event.source, found.map(mac_text));
            self.outbox.push(Notice::Stranger { label, address, mac, text: event.to_string() });
        }
        self.buffer = buffer;
    }

    /// The names of the interfaces on which a router hears others.
    fn heard_on(&self, key: &RouterKey) -> impl Iterator<Item = String> + use<> {
        let apart = self.routers.setup(key).and_then(|setup| setup.virtual_mac.as_ref());
        [Some(key.interface.to_string()), apart.map(ToString::to_string)].into_iter().flatten()
    }

    /// The hardware address from which `address` advertises to a router, if a frame has shown it.
    fn find_origin(
        &mut self,
        key: &RouterKey,
        address: IpAddr,
        buffer: &mut Buffer,
        now: MonoTime,
    ) -> Option<Mac> {
        let mut found = None;
        for name in self.heard_on(key) {
            let here = self.ports.open.get_mut(&name).and_then(|port| port.find_origin(address, buffer, now));
            found = found.or(here);
        }
        found
    }

    /// The strangers of a router that were heard within the last hour, with their hardware addresses as far
    /// as known.
    pub(super) fn strangers_of(
        &self,
        key: &RouterKey,
        router: &VirtualRouter,
    ) -> Vec<(Stranger, Option<String>)> {
        let now = clock::now();
        let heard = router.strangers().iter().filter(|stranger| now.since(stranger.last) < SHOWN);
        let origin = |address: IpAddr| {
            let known = |name: String| self.ports.open.get(&name)?.origins.known(address);
            self.heard_on(key).find_map(known).map(mac_text)
        };
        heard.map(|stranger| (*stranger, origin(stranger.address))).collect()
    }

    /// Reports how many lines were left out, and ends the search for hardware addresses that nobody asks for
    /// any more.
    pub(super) fn report_dropped(&mut self, now: MonoTime) {
        for (key, dropped) in self.routers.election.dropped_notices(now) {
            if self.strangers.lines.admit(now) {
                self.outbox.about(&self.routers, &key, dropped.to_string());
            }
        }
        if let Some((lines, seconds)) = self.strangers.lines.dropped(now) {
            self.outbox.problem(format!(
                "election: {lines} more lines in the last {seconds} s about what others on the segment sent"
            ));
        }
        for (key, claims) in self.conflicts.dropped(now) {
            let text = format!("its VIPs were claimed by others {claims} more times in the last minute");
            self.outbox.about(&self.routers, &key, text);
        }
        for port in self.ports.open.values_mut() {
            port.origins.rest(now);
        }
    }
}
