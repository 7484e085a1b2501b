//! The election's session with its guardian: what the guardian knows, and what it still has to hear. It may
//! be slow, gone or new.
//!
//! Nothing here waits, except at the end, when nothing else is left to do.

use evenkeel_host::election::Lost;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use evenkeel_converge::{AddressKey, ServiceKey};
use evenkeel_schemas::time::MonoTime;

use crate::guard::{Bound, Guardian, Lease};

/// Time between two beats, which the guardian answers.
const BEAT: Duration = Duration::from_millis(300);
/// Beats in a row without an answer after which the guardian counts as hanging: it is then ended and
/// replaced, less than a second after its last answer.
const MISSED: u32 = 2;
/// A beat that is sent later than this does not count: whatever held this thread up held up the guardian as
/// well...
const LATE: Duration = Duration::from_millis(100);
/// ...but so many in a row do, late or not.
const MISSED_LATE: u32 = 10;
/// Time between two requests to main for a guardian while there is none.
const ASK_GAP: Duration = Duration::from_secs(1);
/// Longest wait for room with a slow guardian when the election ends.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Most leases renewed in one message: under half of what a message can hold.
const RENEWALS: usize = 300;
/// Most VIPs in one message about VIPs that are to be removed: half of what a message can hold.
const CHUNK: usize = 300;

/// The session with a guardian, or the wait for one.
pub(super) struct GuardianSession {
    /// `None` while there is none.
    guardian: Option<Guardian>,
    /// The leases that the guardian knows, by name.
    known: BTreeMap<String, Lease>,
    /// New ends of known leases, by name: sent together at the end of a turn.
    renewals: BTreeMap<String, MonoTime>,
    /// Names of leases that are over, which the guardian has not heard.
    releases: BTreeSet<String>,
    /// VIPs that were left to the guardian to remove, by the name of their lease.
    removals: BTreeMap<String, Vec<AddressKey>>,
    /// Virtual services that go with the VIPs of a router, by the name of its lease.
    bound: BTreeMap<String, Vec<ServiceKey>>,
    /// Names of leases whose services the guardian has not heard.
    unbound: BTreeSet<String>,
    /// The VIPs of the plan, and others that may be leased.
    vips: BTreeSet<AddressKey>,
    /// How many of these VIPs the guardian has heard; `None` when it has heard all.
    named: Option<usize>,
    /// Whether the last message found no room.
    full: bool,
    /// The number of the last beat.
    beat: u64,
    /// When the next beat is due; `None` before the first.
    beat_at: Option<MonoTime>,
    /// The number of the last beat that was answered.
    answered: u64,
    /// Beats in a row without an answer, not counting late ones.
    missed: u32,
    /// Beats in a row without an answer.
    unanswered: u32,
    /// What became of the last guardian.
    lost: Lost,
    /// When to ask main for a guardian next.
    ask_at: MonoTime,
}

impl GuardianSession {
    pub(super) const fn new(guardian: Guardian) -> Self {
        Self {
            guardian: Some(guardian),
            known: BTreeMap::new(),
            renewals: BTreeMap::new(),
            releases: BTreeSet::new(),
            removals: BTreeMap::new(),
            bound: BTreeMap::new(),
            unbound: BTreeSet::new(),
            vips: BTreeSet::new(),
            named: None,
            full: false,
            beat: 0,
            beat_at: None,
            answered: 0,
            missed: 0,
            unanswered: 0,
            lost: Lost::Gone,
            ask_at: MonoTime::ZERO,
        }
    }

    /// Whether there is a guardian that answers and has room for messages.
    pub(super) const fn guarded(&self) -> bool {
        self.guardian.is_some() && !self.full && self.missed == 0
    }

    /// The guardian's connection. It can be read when the guardian has answered or is gone
    /// ([`Self::read_answers`]).
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.guardian.as_ref().map(AsFd::as_fd)
    }

    /// Begins a session with another guardian, which knows nothing.
    pub(super) fn replace(&mut self, guardian: Guardian) {
        let bound = std::mem::take(&mut self.bound);
        let unbound = bound.iter().filter(|(_, services)| !services.is_empty());
        let unbound = unbound.map(|(router, _)| router.clone()).collect();
        let vips = std::mem::take(&mut self.vips);
        let named = (!vips.is_empty()).then_some(0);
        *self = Self { bound, unbound, vips, named, ..Self::new(guardian) };
    }

    fn lost(&mut self, why: Lost) {
        self.guardian = None;
        self.known.clear();
        self.renewals.clear();
        (self.beat, self.answered, self.beat_at) = (0, 0, None);
        (self.full, self.missed, self.unanswered) = (false, 0, 0);
        self.lost = why;
    }

    /// Whether to ask main for a guardian now, and what became of the last one. Once a second while there is
    /// none, since a notice may get lost.
    pub(super) fn request(&mut self, now: MonoTime) -> Option<Lost> {
        if self.guardian.is_some() || now < self.ask_at {
            return None;
        }
        self.ask_at = now + ASK_GAP;
        Some(self.lost)
    }

    /// When to call [`Self::request`] and [`Self::beat_if_due`] again.
    pub(super) fn due(&self) -> MonoTime {
        if self.guardian.is_some() { self.beat_at.unwrap_or(MonoTime::ZERO) } else { self.ask_at }
    }

    /// Sends a beat when it is time. A guardian that has left too many unanswered is ended.
    pub(super) fn beat_if_due(&mut self, now: MonoTime) {
        let Some(guardian) = self.guardian.as_ref().filter(|_| self.beat_at.is_none_or(|at| now >= at))
        else {
            return;
        };
        let answered = guardian.answered();
        self.answered(answered);
        let Some(guardian) = &self.guardian else { return };
        if self.answered < self.beat {
            self.unanswered += 1;
            self.missed += u32::from(self.beat_at.is_some_and(|at| now.since(at) < LATE));
        }
        if self.missed >= MISSED || self.unanswered >= MISSED_LATE {
            let harmless = guardian.end();
            return self.lost(Lost::Hung { harmless });
        }
        self.beat += 1;
        self.beat_at = Some(now + BEAT);
        let number = self.beat;
        self.send(|guardian| guardian.beat(number));
    }

    /// Reads the guardian's answers.
    pub(super) fn read_answers(&mut self) {
        if let Some(answered) = self.guardian.as_ref().map(Guardian::answered) {
            self.answered(answered);
        }
    }

    fn answered(&mut self, answered: io::Result<Option<u64>>) {
        match answered {
            Ok(Some(number)) => {
                self.answered = number;
                (self.missed, self.unanswered) = (0, 0);
            }
            Ok(None) => {}
            Err(_) => self.lost(Lost::Gone),
        }
    }

    /// Names all VIPs that may be leased from now on, also those of earlier plans that may still be: the
    /// guardian refuses leases of any others.
    pub(super) fn name_vips(&mut self, vips: BTreeSet<AddressKey>) {
        if vips != self.vips {
            self.vips = vips;
            self.named = Some(0);
        }
    }

    /// Sends the names of VIPs that the guardian has not heard. Returns whether it had room for all.
    fn send_names(&mut self) -> bool {
        while let Some(sent) = self.named {
            let some: Vec<AddressKey> = self.vips.iter().skip(sent).take(CHUNK).cloned().collect();
            let next = sent + some.len();
            if !self.send(|guardian| guardian.name_vips(some, sent > 0)) {
                return false;
            }
            self.named = (next < self.vips.len()).then_some(next);
        }
        true
    }

    /// Binds virtual services to the VIPs of a router: they go with them. The guardian hears of it at the end
    /// of the turn ([`Self::flush`]).
    pub(super) fn bind(&mut self, router: &str, services: &[ServiceKey]) {
        let bound = self.bound.get(router).map(Vec::as_slice).unwrap_or_default();
        if bound != services {
            self.bound.insert(router.to_owned(), services.to_vec());
            self.unbound.insert(router.to_owned());
        }
    }

    /// Sends the services that the guardian has not heard. Returns whether it had room for all.
    fn send_bound(&mut self) -> bool {
        while let Some(router) = self.unbound.first().cloned() {
            let services = self.bound.get(&router).cloned().unwrap_or_default();
            let count = services.len().div_ceil(CHUNK).max(1);
            for number in 0..count {
                let some = services.iter().skip(number * CHUNK).take(CHUNK).copied().collect();
                let bound = Bound { router: router.clone(), services: some, more: number > 0 };
                if !self.send(|guardian| guardian.bind(bound)) {
                    return false;
                }
            }
            self.unbound.remove(&router);
        }
        true
    }

    /// Takes or renews a lease and returns whether the guardian has heard: a slow one hears with the next
    /// renewal. Where only the end is new it hears at the end of the turn ([`Self::flush`]).
    pub(super) fn lease(&mut self, lease: Lease) -> bool {
        let parts = parts(lease);
        let names: BTreeSet<String> = parts.iter().map(|part| part.router.clone()).collect();
        let Some(first) = parts.first().map(|first| first.router.clone()) else { return true };
        for over in self.parts_of(&first).into_iter().filter(|known| !names.contains(known)) {
            self.release_part(over);
        }
        let mut heard = true;
        for part in parts {
            heard &= self.lease_part(part);
        }
        heard
    }

    /// Renews a router's lease if the guardian knows it with exactly these VIPs, and returns whether it does.
    /// It hears at the end of the turn.
    pub(super) fn renew_known<'a>(
        &mut self,
        router: &str,
        vips: impl Iterator<Item = &'a AddressKey>,
        until: MonoTime,
    ) -> bool {
        // A longer lease may be in parts.
        let same = |known: &Lease| known.addresses.len() < CHUNK && known.addresses.iter().eq(vips);
        let known = self.known.get(router).is_some_and(same);
        if known {
            match self.renewals.get_mut(router) {
                Some(renewal) => *renewal = until,
                None => drop(self.renewals.insert(router.to_owned(), until)),
            }
        }
        known
    }

    /// The names under which the guardian knows a router's lease: one, or one a part.
    fn parts_of(&self, router: &str) -> Vec<String> {
        let part = format!("{router}{PART}");
        let is_one = |name: &&String| **name == router || name.starts_with(&part);
        self.known.keys().filter(is_one).cloned().collect()
    }

    fn lease_part(&mut self, lease: Lease) -> bool {
        self.releases.remove(&lease.router);
        if self.known.get(&lease.router).is_some_and(|known| known.addresses == lease.addresses) {
            self.renewals.insert(lease.router, lease.until);
            return true;
        }
        self.take(lease)
    }

    fn take(&mut self, lease: Lease) -> bool {
        self.renewals.remove(&lease.router);
        self.known.remove(&lease.router);
        let heard = self.send_names() && self.send(|guardian| guardian.take(lease.clone()));
        if heard && self.guardian.is_some() {
            self.known.insert(lease.router.clone(), lease);
        }
        heard
    }

    /// Ends a lease: its VIPs are gone.
    pub(super) fn release(&mut self, router: String, now: MonoTime) {
        self.release_later(router);
        self.flush(now);
    }

    /// [`Self::release`], of which the guardian hears at the end of the turn ([`Self::flush`]).
    pub(super) fn release_later(&mut self, router: String) {
        for part in self.parts_of(&router) {
            self.release_part(part);
        }
        self.release_part(router);
    }

    fn release_part(&mut self, part: String) {
        self.known.remove(&part);
        self.renewals.remove(&part);
        self.releases.insert(part);
    }

    /// Sends the renewals of this turn, and whatever found no room before.
    pub(super) fn flush(&mut self, now: MonoTime) {
        while let Some(router) = self.releases.first().cloned() {
            if !self.send(|guardian| guardian.release(&router)) {
                return;
            }
            self.releases.remove(&router);
        }
        if self.send_names() && self.send_bound() {
            self.renew(now);
        }
    }

    fn renew(&mut self, now: MonoTime) {
        // The guardian has forgotten leases that have run out: they are sent in full.
        let over = |router: &String| self.known.get(router).is_none_or(|known| known.until <= now);
        for router in self.renewals.keys().filter(|router| over(router)).cloned().collect::<Vec<_>>() {
            let until = self.renewals.remove(&router);
            let lease = self.known.remove(&router).zip(until).map(|(known, until)| Lease { until, ..known });
            if lease.is_some_and(|lease| !self.take(lease)) {
                return;
            }
        }
        while !self.renewals.is_empty() {
            let some: BTreeMap<String, MonoTime> =
                self.renewals.iter().take(RENEWALS).map(|(router, until)| (router.clone(), *until)).collect();
            if !self.send(|guardian| guardian.renew(some.clone())) {
                return;
            }
            for (router, until) in some {
                self.renewals.remove(&router);
                if let Some(known) = self.known.get_mut(&router) {
                    known.until = until;
                }
            }
        }
    }

    /// Leaves it to the guardian to remove these VIPs, again and again, whatever becomes of this process.
    /// VIPs that were left to it before and are not among these are removed.
    pub(super) fn remove(&mut self, vips: &BTreeSet<AddressKey>, now: MonoTime) {
        if vips.is_empty() && self.removals.is_empty() {
            return;
        }
        let all: Vec<AddressKey> = vips.iter().cloned().collect();
        // Not the name of a removal that an earlier daemon asked for.
        let name = |number: usize| format!("removal {number} of process {}", std::process::id());
        let chunks = all.chunks(CHUNK).enumerate();
        let wanted: BTreeMap<String, Vec<AddressKey>> =
            chunks.map(|(number, chunk)| (name(number), chunk.to_vec())).collect();
        let before = std::mem::take(&mut self.removals);
        for (router, _) in before.iter().filter(|(router, _)| !wanted.contains_key(*router)) {
            self.release(router.clone(), now);
        }
        for (router, addresses) in wanted {
            let known = before.get(&router) == Some(&addresses);
            let lease = || Lease { router: router.clone(), addresses: addresses.clone(), until: now };
            if known || self.lease(lease()) {
                self.removals.insert(router, addresses);
            }
        }
    }

    /// The end of the election: the guardian hears which VIPs are left to remove and which leases are over.
    /// Waits for up to [`LAST_WORDS`] if it is slow. Returns whether there is a guardian that does the rest.
    pub(super) fn finish(&mut self, left: &BTreeSet<AddressKey>, now: MonoTime) -> bool {
        self.remove(left, now);
        self.flush(now);
        if let Some(guardian) = self.guardian.as_ref().filter(|_| self.full) {
            guardian.wait_for_room(LAST_WORDS);
            self.remove(left, now);
            self.flush(now);
        }
        self.guarded()
    }

    /// Sends something and returns whether there was room. Without a guardian there is: the next one hears
    /// everything anew.
    fn send(&mut self, what: impl FnOnce(&Guardian) -> io::Result<()>) -> bool {
        let Some(guardian) = &self.guardian else { return true };
        let sent = what(guardian);
        self.full = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        if sent.is_err() && !self.full {
            self.lost(Lost::Gone);
        }
        !self.full
    }
}

/// Stands between the name of a router and the number of a part of its lease.
const PART: &str = ", part ";

/// Divides a lease into parts that fit into a message each. The first has the router's own name.
fn parts(lease: Lease) -> Vec<Lease> {
    let Lease { router, addresses, until } = lease;
    if addresses.len() <= CHUNK {
        return vec![Lease { router, addresses, until }];
    }
    let name = |number: usize| if number == 0 { router.clone() } else { format!("{router}{PART}{number}") };
    let part = |(number, some): (usize, &[AddressKey])| Lease {
        router: name(number),
        addresses: some.to_vec(),
        until,
    };
    addresses.chunks(CHUNK).enumerate().map(part).collect()
}

/// Joins the parts of leases.
pub(super) fn joined(leases: Vec<Lease>) -> Vec<Lease> {
    let mut whole: BTreeMap<String, Lease> = BTreeMap::new();
    for mut lease in leases {
        let router = lease.router.split(PART).next().unwrap_or_default().to_owned();
        match whole.get_mut(&router) {
            Some(found) => {
                found.addresses.append(&mut lease.addresses);
                found.until = found.until.min(lease.until);
            }
            None => drop(whole.insert(router.clone(), Lease { router, ..lease })),
        }
    }
    whole.into_values().collect()
}

#[cfg(test)]
mod tests;
