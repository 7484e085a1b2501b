//! One virtual router: the state machine of RFC 3768 §6.4 and RFC 9568 §6.4.
//!
//! No packet format (see the codec) and no knowledge of other routers lives here.
//!
//! ```text
//!                        +---------------+
//!             +--------->|  Initialize   |<-------------+
//!             |          +---------------+              |
//!             |  Shutdown   |         |   Startup (255) |  Shutdown: StateChanged, priority 0
//!             |  Fault      |         |   Adopt         |  Fault: the same if the link works
//!             |             | Startup |                 |
//!             |             v         v                 |
//!       +---------------+   timer: advert,      +---------------+
//!       |               |   StateChanged,       |               |
//!       |               |   Announce            |               |--+ timer: advert
//!    +--|    Backup     |---------------------->|    Master     |  | priority 0: advert now
//!    |  |               |<----------------------|               |  | lower advert: advert now,
//!    +->|               |   higher advert:      |               |<-+   Announce (rival)
//!       |               |   last words,         |               |
//!       +---------------+   StateChanged        +---------------+
//!                           Handover: StateChanged, priority 0
//!                           after Offer: any advert but priority 0: StateChanged
//!    advert >= ours, no preemption, preempt delay, or not ready: wait again for the master-down interval
//!    lower advert: discard          priority 0: wait for the skew time only
//! ```
//!
//! Where this machine does more than the RFCs, or less, the place says "Ours:" and why.

mod admission;
mod config;
mod counters;
mod damping;
mod group;
mod hear;
mod io;
mod leave;
mod notice;
mod offer;
mod phase;
mod rivals;
mod send;
mod signing;
mod speakers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority};
use evenkeel_schemas::time::MonoTime;

pub use config::{Config, Delivery, Directors, Strangers, master_down_interval, skew_time};
pub use counters::Counters;
use damping::Damping;
pub use io::{
    AdvertKind, Cause, FaultCause, GroupEvent, Input, MemberName, OFFER_INTERVALS, Output, Received, State,
    Why,
};
use notice::Limiter;
pub use notice::{Dropped, Event, Notice, NoticeKind};
use phase::{Backup, Master, Next, Parting, Phase, Wait};
use rivals::Rivals;
use signing::Signing;
pub use signing::Skew;
use speakers::Speakers;
pub use speakers::Stranger;

use crate::wall::WallClock;

/// A virtual router.
///
/// After each [`VirtualRouter::handle`], drain [`VirtualRouter::poll_output`], then ask
/// [`VirtualRouter::poll_timeout`] again. Outputs are kept until then; nothing else grows.
#[derive(Debug, Clone)]
pub struct VirtualRouter {
    config: Config,
    /// Our VIPs in ascending order, to compare lists without regard to order.
    sorted_vips: Vec<IpAddr>,
    phase: Phase,
    since: Option<MonoTime>,
    cause: Cause,
    counters: Counters,
    limiter: Limiter,
    speakers: Speakers,
    signing: Signing,
    /// Unix time, for trailers alone.
    wall: WallClock,
    damping: Damping,
    /// The interval before the one in force, if longer, until a Master is heard with one no longer than ours:
    /// a change comes to one director after another.
    earlier_interval: Option<AdvertInterval>,
    last_words: Option<MonoTime>,
    /// See [`Self::other_heard`].
    other_heard: Option<MonoTime>,
    queue: VecDeque<Queued>,
}

#[derive(Debug, Clone)]
struct Queued {
    /// `None` for an advertisement to nobody.
    output: Option<Output>,
    /// For an advertisement of a Master: the lease that it gives once it is handed out.
    lease: Option<MonoTime>,
}

impl VirtualRouter {
    /// A router in Initialize.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let sorted_vips = sorted(&config.vips);
        Self {
            config,
            sorted_vips,
            phase: Phase::Initialize,
            since: None,
            cause: Cause::Configured,
            counters: Counters::default(),
            limiter: Limiter::default(),
            speakers: Speakers::default(),
            signing: Signing::default(),
            wall: WallClock::default(),
            damping: Damping::default(),
            earlier_interval: None,
            last_words: None,
            other_heard: None,
            queue: VecDeque::new(),
        }
    }

    /// Takes one input at time `now`. Never panics, whatever a packet holds.
    pub fn handle(&mut self, input: Input<'_>, now: MonoTime) {
        match input {
            Input::Startup => self.start(now),
            Input::Adopt => self.adopt(now),
            Input::Handover => self.part(Cause::Handover, Next::Backup, now),
            Input::Offer => self.offer(now),
            Input::Shutdown => self.leave(Cause::Shutdown, now),
            Input::Fault(fault) => self.leave(Cause::Fault(fault), now),
            Input::Timer => self.timer(now),
            Input::Packet(received) => self.packet(&received, now),
            Input::Reconfigure(config) => self.reconfigure(config, now),
            Input::VipsRepaired => self.vips_repaired(now),
        }
    }

    /// The next thing to do; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        while let Some(Queued { output, lease }) = self.queue.pop_front() {
            if let (Phase::Master(master), Some(lease)) = (&mut self.phase, lease)
                && !matches!(master.parting, Some(Parting::Leaving(_)))
            {
                master.lease = Some(lease);
            }
            if output.is_some() {
                return output;
            }
        }
        None
    }

    /// Time and purpose of the next [`Input::Timer`]; none while nothing is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(MonoTime, Why)> {
        match &self.phase {
            Phase::Initialize => None,
            Phase::Backup(backup) => Some((
                backup.deadline,
                match backup.wait {
                    Wait::MasterDown => Why::MasterDown,
                    Wait::Skew => Why::MasterLeft,
                },
            )),
            Phase::Master(master) if matches!(master.parting, Some(Parting::Leaving(_))) => {
                Some((master.advert_due, Why::LeavingOver))
            }
            Phase::Master(master) => {
                let second = master.second_burst.map(|at| (at, Why::SecondBurst));
                let refresh = master.refresh_due.map(|at| (at, Why::GarpRefresh));
                let silent = master.rivals.next_end().map(|at| (at, Why::RivalSilent));
                let advert = Some((master.advert_due, Why::AdvertDue));
                [advert, second, refresh, silent].into_iter().flatten().min()
            }
        }
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        match &self.phase {
            Phase::Initialize => State::Initialize,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
        }
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Counters since the router was made.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The Master as last heard; our own source address while Master.
    #[must_use]
    pub const fn master(&self) -> Option<IpAddr> {
        match &self.phase {
            Phase::Initialize => None,
            Phase::Backup(backup) => backup.master,
            Phase::Master(_) => Some(self.config.source),
        }
    }

    /// Whether a Master with a lower priority stays Master only because we are not ready to take over
    /// ([`Config::unready`]).
    #[must_use]
    pub const fn is_unready(&self) -> bool {
        match &self.phase {
            Phase::Initialize | Phase::Master(_) => false,
            Phase::Backup(backup) => backup.waits,
        }
    }

    /// Sets the clock that trailers are made and judged by; no timer follows from it.
    pub const fn set_wall_clock(&mut self, wall: WallClock) {
        self.wall = wall;
    }

    /// The clock of the director that was last heard with a right trailer, beside ours.
    #[must_use]
    pub const fn skew(&self) -> Option<Skew> {
        self.signing.skew()
    }

    /// Sources of our VRID that are none of our directors, as far as they are remembered.
    #[must_use]
    pub fn strangers(&self) -> &[Stranger] {
        self.speakers.strangers()
    }

    /// Summary of notices that were left out, once a minute. The driver asks for it from time to time.
    pub fn dropped_notices(&mut self, now: MonoTime) -> Option<Dropped> {
        self.limiter.dropped(now)
    }

    /// Time at which the state was entered; `None` before the first change.
    #[must_use]
    pub const fn since(&self) -> Option<MonoTime> {
        self.since
    }

    /// Time of the last advertisement of another Master of this virtual router: one with a priority other
    /// than 0 and with VIPs of ours; `None` when there was none since the router was made. Backups are
    /// silent, so a Master hears nobody while all is well.
    #[must_use]
    pub const fn other_heard(&self) -> Option<MonoTime> {
        self.other_heard
    }

    /// Why it is in its state.
    #[must_use]
    pub const fn reason(&self) -> Cause {
        self.cause
    }

    /// Master-down interval in force now: from the Master's interval when this is a version 3 Backup that has
    /// heard one, else from our own.
    #[must_use]
    pub fn master_down_interval(&self) -> Duration {
        let interval = match &self.phase {
            Phase::Backup(backup) => backup.adopted,
            Phase::Initialize | Phase::Master(_) => None,
        };
        self.waiting_time(Wait::MasterDown, interval)
    }

    /// End of the lease: until then no Backup of lower or equal priority can have claimed, provided that our
    /// last advertisement reached it. Three intervals and our own skew time from the input that made the last
    /// advertisement handed out. `None` unless Master.
    ///
    /// A Backup's timer starts no earlier and its skew time is no shorter. So a guardian process that finds
    /// the daemon dead retracts the VIPs at this time, before anybody else holds them, and a daemon that is
    /// back before it may go on as Master ([`Input::Adopt`]). A Backup with a *higher* priority may claim up
    /// to the difference of the skew times earlier. There is one beside a Master if it does not preempt,
    /// waits for its preempt delay or its checks, or has handed over; its settings, not ours, say so.
    #[must_use]
    pub const fn lease_until(&self) -> Option<MonoTime> {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) => None,
            Phase::Master(master) => master.lease,
        }
    }

    /// RFC 9568 §6.4.1 (RFC 3768 §6.4.1).
    fn start(&mut self, now: MonoTime) {
        match &self.phase {
            Phase::Initialize if self.config.priority == Priority::OWNER && self.config.preempt => {
                self.become_master(Cause::Owner, now, now);
            }
            Phase::Initialize => self.become_backup(Cause::Startup, None, None, now),
            Phase::Backup(_) | Phase::Master(_) => {}
        }
    }

    fn adopt(&mut self, now: MonoTime) {
        match &self.phase {
            Phase::Initialize => self.become_master(Cause::Adopted, now, now),
            Phase::Backup(_) | Phase::Master(_) => {}
        }
    }

    fn timer(&mut self, now: MonoTime) {
        match &self.phase {
            Phase::Initialize => {}
            // RFC 9568 §6.4.2: Active_Down_Timer fires.
            Phase::Backup(backup) if now >= backup.deadline => {
                let cause = match backup.wait {
                    Wait::MasterDown => Cause::MasterDown,
                    Wait::Skew => Cause::MasterLeft,
                };
                self.become_master(cause, backup.deadline, now);
            }
            Phase::Backup(_) => {}
            Phase::Master(_) => self.master_timer(now),
        }
    }

    /// RFC 9568 §6.4.3: Adver_Timer fires; and what else a Master has planned.
    fn master_timer(&mut self, now: MonoTime) {
        let interval = self.config.effective_interval().as_duration();
        let refresh = self.config.refresh();
        let Phase::Master(master) = &mut self.phase else { return };
        let due = master.advert_due;
        if let Some(Parting::Leaving(leaving)) = master.parting {
            if now >= due {
                self.depart(leaving, now);
            }
            return;
        }
        let overslept = master.lease.is_some_and(|lease| now > lease);
        let burst = take_due(&mut master.second_burst, now).is_some();
        let refreshed = take_due(&mut master.refresh_due, now);
        master.parting.take_if(|_| now >= due);
        if let (Some(at), Some(refresh)) = (refreshed, refresh) {
            master.refresh_due = Some(next_due(at, refresh, now));
        }
        if now >= due {
            master.advert_due = next_due(due, interval, now);
            self.transmit(AdvertKind::Periodic, due, now);
        }
        if overslept {
            // Ours: somebody may have claimed, announced and yielded unheard while we were stopped.
            if let Phase::Master(master) = &mut self.phase {
                master.rivals.was_deaf(now);
            }
            self.notice(Notice::Overslept { late: now.since(due) }, self.config.source, now);
            self.announce(now);
        } else if self.rivals_gone(now) {
            self.announce(now);
        } else if burst || refreshed.is_some() {
            self.burst();
        }
    }

    /// Forgets the rivals that are gone. Returns whether there was one: ARP caches may still hold its
    /// address.
    fn rivals_gone(&mut self, now: MonoTime) -> bool {
        let mut any = false;
        while let Phase::Master(master) = &mut self.phase
            && let Some(rival) = master.rivals.take_ended(now)
        {
            any = true;
            self.notice(Notice::RivalGone { rival, address: self.config.source }, rival, now);
        }
        any
    }

    fn vips_repaired(&mut self, now: MonoTime) {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) => {}
            Phase::Master(_) => {
                self.counters.vip_repairs += 1;
                if !self.is_leaving() {
                    self.announce(now);
                }
            }
        }
    }

    fn reconfigure(&mut self, config: Config, now: MonoTime) {
        if !config.is_same_router(&self.config) || config == self.config {
            return;
        }
        let vips = sorted(&config.vips);
        if config.unready && !self.config.unready {
            self.limiter.forget(NoticeKind::NotReady);
        }
        self.speakers.reconfigured(&config);
        self.signing.reconfigured(&config);
        let before = self.config.effective_interval();
        if config.effective_interval() < before {
            self.earlier_interval = self.earlier_interval.max(Some(before));
        }
        let old = std::mem::replace(&mut self.config, config);
        let old_vips = std::mem::replace(&mut self.sorted_vips, vips);
        match &self.phase {
            Phase::Initialize => {}
            Phase::Backup(_) => {
                self.rearm_backup(now);
                let still = self.config.unready && self.config.preempt;
                if let Phase::Backup(backup) = &mut self.phase {
                    backup.waits &= still;
                }
            }
            // The Backups have been told; what would be sent now would hold them back.
            Phase::Master(_) if self.is_leaving() => {}
            Phase::Master(_) => {
                self.plan_refresh(now);
                if !self.config.sends_like(&old) {
                    self.advertise_change(now);
                }
                if self.sorted_vips.iter().any(|vip| old_vips.binary_search(vip).is_err()) {
                    self.announce(now);
                }
            }
        }
    }

    /// A Master's regular bursts after a change: the next is no later than the old or the new time between
    /// two has it, so that no series of changes puts it off.
    fn plan_refresh(&mut self, now: MonoTime) {
        let next = self.config.refresh().map(|refresh| now + refresh);
        if let Phase::Master(master) = &mut self.phase {
            master.refresh_due = next.map(|next| master.refresh_due.map_or(next, |due| due.min(next)));
        }
    }

    /// A Backup's timer after a change of priority or interval, computed again from its base. It may
    /// become later. It becomes earlier only so far that a Master, which may be about to get the same
    /// change, has one whole new waiting time from now on: so no change causes an election, and as the
    /// timer never passes the later of both values, no series of changes puts one off.
    fn rearm_backup(&mut self, now: MonoTime) {
        let Phase::Backup(Backup { armed, wait, deadline, adopted, .. }) = self.phase else { return };
        let waiting = self.waiting_time(wait, adopted);
        let computed = armed + waiting;
        let Phase::Backup(backup) = &mut self.phase else { return };
        backup.deadline = if computed >= deadline { computed } else { deadline.min(now + waiting) };
    }

    /// Tells a Master's change at once. The next advertisement is no later than either the old or the
    /// new interval has it, so that Backups which missed this one hear another in time.
    fn advertise_change(&mut self, now: MonoTime) {
        let next = now + self.config.effective_interval().as_duration();
        if let Phase::Master(master) = &mut self.phase {
            master.advert_due = master.advert_due.min(next);
            // Backups that hear it begin their master-down interval again.
            master.parting = None;
        }
        self.transmit(AdvertKind::Immediate, now, now);
    }

    /// Brings the next advertisement forward, by less than an interval, to where this one of so many equal
    /// parts of the interval begins; the parts are counted from the beginning of time, the same for all
    /// routers. Those after it follow at the interval as ever. No Backup minds an advertisement that comes
    /// early.
    pub(crate) fn take_place(&mut self, place: usize, places: usize, now: MonoTime) {
        let interval = self.config.effective_interval().as_duration();
        let Phase::Master(master) = &mut self.phase else { return };
        if master.parting.is_some() {
            return;
        }
        let nanoseconds = |duration: Duration| duration.as_nanos();
        let (place, places) = (place as u128, places.max(1) as u128);
        let beginning = nanoseconds(interval) * place / places;
        let since = nanoseconds(master.advert_due.since(MonoTime::ZERO)) + nanoseconds(interval) - beginning;
        let ahead = since.checked_rem(nanoseconds(interval)).unwrap_or(0);
        let ahead = Duration::from_nanos(u64::try_from(ahead).unwrap_or(0));
        master.advert_due = (master.advert_due - ahead).max(now);
    }

    fn waiting_time(&self, wait: Wait, adopted: Option<AdvertInterval>) -> Duration {
        let interval = adopted.unwrap_or(self.config.effective_interval());
        match wait {
            Wait::MasterDown => master_down_interval(self.config.version, self.config.priority, interval),
            Wait::Skew => skew_time(self.config.version, self.config.priority, interval),
        }
    }

    fn become_backup(
        &mut self,
        cause: Cause,
        adopted: Option<AdvertInterval>,
        master: Option<IpAddr>,
        now: MonoTime,
    ) {
        let deadline = now + self.waiting_time(Wait::MasterDown, adopted);
        let backup = Backup {
            armed: now,
            wait: Wait::MasterDown,
            deadline,
            adopted,
            master,
            lower_since: None,
            waits: false,
        };
        self.change_state(Phase::Backup(backup), cause, now);
    }

    /// Advert first, then the state and with it the VIPs, then gratuitous ARP.
    fn become_master(&mut self, cause: Cause, due: MonoTime, now: MonoTime) {
        self.counters.became_master += 1;
        if matches!(cause, Cause::MasterDown | Cause::MasterLeft) {
            self.count_claim(now);
        }
        self.transmit(AdvertKind::Claim, due, now);
        let master = Master {
            advert_due: now + self.config.effective_interval().as_duration(),
            second_burst: None,
            refresh_due: self.config.refresh().map(|refresh| now + refresh),
            lease: None,
            last_assert: None,
            last_farewell: None,
            last_rival_burst: None,
            parting: None,
            claimed: (cause != Cause::Adopted).then_some(now),
            rivals: Rivals::default(),
        };
        self.change_state(Phase::Master(master), cause, now);
        self.announce(now);
    }

    /// A claim after a Master that did not last.
    fn count_claim(&mut self, now: MonoTime) {
        let wait = self.waiting_time(Wait::MasterDown, None);
        let last = self.master().unwrap_or(self.config.source);
        if let (Some(claims), Some(proof)) = (self.damping.claimed(wait, now), self.damping.proof(now)) {
            self.notice(Notice::Damped { claims, proof }, last, now);
        }
    }

    fn change_state(&mut self, to: Phase, cause: Cause, now: MonoTime) {
        let from = self.state();
        self.phase = to;
        self.cause = cause;
        self.since = Some(now);
        self.push(Output::StateChanged { from, to: self.state(), cause });
    }
}

/// Takes a time that has come.
fn take_due(at: &mut Option<MonoTime>, now: MonoTime) -> Option<MonoTime> {
    at.take_if(|at| now >= *at)
}

/// The time after `due`: from the deadline, not from now, since lateness must not add up. But never in
/// the past.
fn next_due(due: MonoTime, interval: Duration, now: MonoTime) -> MonoTime {
    let next = due + interval;
    if next > now { next } else { now + interval }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}
