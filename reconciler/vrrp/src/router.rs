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
//!    +->|               |   higher advert       |               |<-+   Announce (rival)
//!       +---------------+                       +---------------+
//!    advert >= ours, or no preemption: wait again for the master-down interval
//!    lower advert: discard          priority 0: wait for the skew time only
//! ```
//!
//! Where this machine does more than the RFCs, or less, the place says "Ours:" and why.

mod admission;
mod config;
mod counters;
mod group;
mod io;
mod notice;
mod phase;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, Priority};
use evenkeel_schemas::time::MonoTime;

use crate::packet::{Advert, TTL, Version, encode};

use admission::admit;
pub use config::{Config, Delivery, master_down_interval, skew_time};
pub use counters::Counters;
pub use group::{GroupEvent, MemberName};
pub use io::{AdvertKind, Cause, FaultCause, Input, Output, Received, State, Why};
use notice::Limiter;
pub use notice::{Event, Notice, NoticeKind};
use phase::{Backup, Master, Phase, Wait};

/// Least time between two immediate advertisements against rivals. Ours: the protocol's smallest
/// interval, so that a flood of lower adverts is not answered packet by packet.
const ASSERT_GAP: Duration = Duration::from_millis(10);
/// Most time between two announcements against rivals while they go on; less if the interval is.
const RIVAL_BURST_GAP: Duration = Duration::from_secs(1);

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
    queue: VecDeque<Queued>,
}

#[derive(Debug, Clone)]
struct Queued {
    output: Output,
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
            queue: VecDeque::new(),
        }
    }

    /// Takes one input at time `now`. Never panics, whatever a packet holds.
    pub fn handle(&mut self, input: Input<'_>, now: MonoTime) {
        match input {
            Input::Startup => self.start(now),
            Input::Adopt => self.adopt(now),
            Input::Shutdown => self.leave(Cause::Shutdown, true, now),
            Input::Fault(fault) => self.leave(Cause::Fault(fault), fault.link_works(), now),
            Input::Timer => self.timer(now),
            Input::Packet(received) => self.packet(&received, now),
            Input::Reconfigure(config) => self.reconfigure(config, now),
            Input::VipsRepaired => self.vips_repaired(now),
        }
    }

    /// The next thing to do; `None` when all is done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let Queued { output, lease } = self.queue.pop_front()?;
        if let (Phase::Master(master), Some(lease)) = (&mut self.phase, lease) {
            master.lease = Some(lease);
        }
        Some(output)
    }

    /// When to call again with [`Input::Timer`], and what for.
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
            Phase::Master(master) => match master.second_burst {
                Some(burst) if burst < master.advert_due => Some((burst, Why::SecondBurst)),
                Some(_) | None => Some((master.advert_due, Why::AdvertDue)),
            },
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

    /// When the state was entered; `None` before the first change.
    #[must_use]
    pub const fn since(&self) -> Option<MonoTime> {
        self.since
    }

    /// Why it is in its state.
    #[must_use]
    pub const fn reason(&self) -> Cause {
        self.cause
    }

    /// How long this router waits for a Master in force now: from the Master's interval when it is a
    /// version 3 Backup that has heard one, else from our own.
    #[must_use]
    pub fn master_down_interval(&self) -> Duration {
        let interval = match &self.phase {
            Phase::Backup(backup) => backup.adopted,
            Phase::Initialize | Phase::Master(_) => None,
        };
        self.waiting_time(Wait::MasterDown, interval)
    }

    /// Until when no Backup of lower or equal priority can have claimed, provided that our last
    /// advertisement reached it: from the input that made the last advertisement handed out, three
    /// intervals and our own skew time. `None` unless Master.
    ///
    /// A Backup's timer starts no earlier and its skew time is no shorter. So a guardian process
    /// that finds the daemon dead retracts the VIPs at this time, before anybody else holds them, and
    /// a daemon that is back before it may go on as Master ([`Input::Adopt`]). A Backup with a
    /// *higher* priority, which exists beside a Master only without preemption, may claim up to the
    /// difference of the skew times earlier.
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
            Phase::Initialize if self.config.priority == Priority::OWNER => {
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

    /// The Shutdown event of RFC 9568 §6.4.2 and §6.4.3. Ours: the state changes before priority 0 is
    /// sent, so that our VIPs are gone when the Backup's appear.
    fn leave(&mut self, cause: Cause, tell: bool, now: MonoTime) {
        match &self.phase {
            Phase::Initialize => self.cause = cause,
            Phase::Backup(_) => self.change_state(Phase::Initialize, cause, now),
            Phase::Master(_) => {
                self.change_state(Phase::Initialize, cause, now);
                if tell {
                    self.transmit(AdvertKind::PriorityZero, now, now);
                }
            }
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

    /// RFC 9568 §6.4.3: Adver_Timer fires; and the repetition of gratuitous ARP.
    fn master_timer(&mut self, now: MonoTime) {
        let interval = self.config.effective_interval().as_duration();
        let Phase::Master(master) = &mut self.phase else { return };
        let due = master.advert_due;
        let overslept = master.lease.is_some_and(|lease| now > lease);
        let repeat_burst = master.second_burst.is_some_and(|burst| now >= burst);
        if repeat_burst {
            master.second_burst = None;
        }
        if now >= due {
            // From the deadline, not from now: lateness must not add up. But never in the past.
            let next = due + interval;
            master.advert_due = if next > now { next } else { now + interval };
            self.transmit(AdvertKind::Periodic, due, now);
        }
        if overslept {
            // Ours: somebody may have claimed, announced and yielded unheard while we were stopped.
            self.notice(Notice::Overslept { late: now.since(due) }, self.config.source, now);
            self.announce(now);
        } else if repeat_burst {
            self.push(Output::Announce { repeat: self.config.garp_repeat });
        }
    }

    fn vips_repaired(&mut self, now: MonoTime) {
        match &self.phase {
            Phase::Initialize | Phase::Backup(_) => {}
            Phase::Master(_) => {
                self.counters.vip_repairs += 1;
                self.announce(now);
            }
        }
    }

    fn reconfigure(&mut self, config: Config, now: MonoTime) {
        if config.version != self.config.version || config.vrid != self.config.vrid || config == self.config {
            return;
        }
        let vips = sorted(&config.vips);
        let old = std::mem::replace(&mut self.config, config);
        let old_vips = std::mem::replace(&mut self.sorted_vips, vips);
        match &self.phase {
            Phase::Initialize => {}
            Phase::Backup(_) => self.rearm_backup(now),
            Phase::Master(_) => {
                if !self.config.advertises_like(&old) {
                    self.advertise_change(now);
                }
                if self.sorted_vips.iter().any(|vip| old_vips.binary_search(vip).is_err()) {
                    self.announce(now);
                }
            }
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
        }
        self.transmit(AdvertKind::Immediate, now, now);
    }

    fn packet(&mut self, received: &Received<'_>, now: MonoTime) {
        // RFC 9568 §6.4.1: Initialize knows the Startup event only.
        if matches!(self.phase, Phase::Initialize) {
            return;
        }
        match admit(&self.config, received) {
            Ok((advert, interval)) => self.advert(&advert, interval, received.src, now),
            Err(rejection) => {
                self.counters.count_rejected(rejection.kind());
                self.notice(Notice::Rejected(rejection), received.src, now);
            }
        }
    }

    fn advert(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        self.counters.adverts_received += 1;
        self.counters.priority_zero_received += u64::from(advert.priority == 0);
        if sorted(&advert.addresses) != self.sorted_vips {
            self.counters.vip_list_mismatch += 1;
            let (expected, received) = (self.sorted_vips.len(), advert.addresses.len());
            self.notice(Notice::VipListMismatch { expected, received }, src, now);
        }
        match &self.phase {
            Phase::Initialize => {}
            Phase::Backup(_) => self.advert_as_backup(advert, interval, src, now),
            Phase::Master(_) => self.advert_as_master(advert, interval, src, now),
        }
    }

    /// RFC 9568 §6.4.2 (RFC 3768 §6.4.2).
    fn advert_as_backup(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let Phase::Backup(backup) = &mut self.phase else { return };
        if advert.priority == 0 {
            backup.master = None;
            let skew = skew_time(
                self.config.version,
                self.config.priority,
                backup.adopted.unwrap_or(self.config.effective_interval()),
            );
            // Ours: it never makes the timer later, or a stream of these would put off the election.
            backup.deadline = backup.deadline.min(now + skew);
            backup.armed = now;
            backup.wait = Wait::Skew;
            self.notice(Notice::PriorityZero { as_master: false }, src, now);
            return;
        }
        backup.master = Some(src);
        if advert.priority < self.config.priority.get() && self.config.preempt {
            return;
        }
        let adopted = self.adopt_interval(interval, src, now);
        let deadline = now + self.waiting_time(Wait::MasterDown, adopted);
        self.phase = Phase::Backup(Backup {
            armed: now,
            wait: Wait::MasterDown,
            deadline,
            adopted,
            master: Some(src),
        });
    }

    /// RFC 9568 §6.4.3 (RFC 3768 §6.4.3).
    fn advert_as_master(&mut self, advert: &Advert, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let ours = self.config.priority.get();
        let priority = advert.priority;
        if priority == 0 {
            let next = now + self.config.effective_interval().as_duration();
            if let Phase::Master(master) = &mut self.phase {
                master.advert_due = next;
            }
            self.transmit(AdvertKind::Immediate, now, now);
            self.notice(Notice::PriorityZero { as_master: true }, src, now);
            // Ours: it was Master beside us, so ARP caches may hold its address.
            self.announce_against_rival(now);
        } else if priority > ours {
            self.yield_to(Cause::HigherPriority { from: src, priority, ours }, interval, src, now);
        } else if priority == ours && is_higher(src, self.config.source) {
            self.yield_to(Cause::HigherAddress { from: src, priority }, interval, src, now);
        } else {
            self.answer_rival(priority, src, now);
        }
    }

    fn yield_to(&mut self, cause: Cause, interval: AdvertInterval, src: IpAddr, now: MonoTime) {
        let adopted = self.adopt_interval(interval, src, now);
        self.become_backup(cause, adopted, Some(src), now);
    }

    /// A Master that must yield to us. RFC 9568 §6.4.3: advertise immediately, leaving `Adver_Timer`
    /// alone, which also keeps our adverts on time whatever arrives.
    fn answer_rival(&mut self, priority: u8, src: IpAddr, now: MonoTime) {
        let Phase::Master(master) = &mut self.phase else { return };
        if master.last_assert.is_none_or(|last| now.since(last) >= ASSERT_GAP) {
            master.last_assert = Some(now);
            self.transmit(AdvertKind::Immediate, now, now);
        }
        self.notice(Notice::RivalMaster { priority, ours: self.config.priority.get() }, src, now);
        self.announce_against_rival(now);
    }

    /// Ours: the rival has announced the VIPs as its own; announce them again, now and, since it may
    /// still be at it, after the delay. While rivals go on, one burst an interval.
    fn announce_against_rival(&mut self, now: MonoTime) {
        let gap = self.config.effective_interval().as_duration().min(RIVAL_BURST_GAP);
        let again = self.second_burst_at(now);
        let Phase::Master(master) = &mut self.phase else { return };
        if master.last_rival_burst.is_some_and(|last| now.since(last) < gap) {
            master.second_burst = again.or(master.second_burst);
        } else {
            master.last_rival_burst = Some(now);
            self.announce(now);
        }
    }

    /// Version 3 uses the Master's interval (RFC 9568 §6.4.2); in version 2 it equals ours.
    fn adopt_interval(
        &mut self,
        theirs: AdvertInterval,
        src: IpAddr,
        now: MonoTime,
    ) -> Option<AdvertInterval> {
        let ours = self.config.effective_interval();
        match self.config.version {
            Version::V2 => None,
            Version::V3 => {
                if theirs != ours {
                    self.notice(Notice::IntervalAdopted { theirs, ours }, src, now);
                }
                Some(theirs)
            }
        }
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
        let backup = Backup { armed: now, wait: Wait::MasterDown, deadline, adopted, master };
        self.change_state(Phase::Backup(backup), cause, now);
    }

    /// Advert first, then the state and with it the VIPs, then gratuitous ARP.
    fn become_master(&mut self, cause: Cause, due: MonoTime, now: MonoTime) {
        self.counters.became_master += 1;
        self.transmit(AdvertKind::Claim, due, now);
        let advert_due = now + self.config.effective_interval().as_duration();
        let master =
            Master { advert_due, second_burst: None, lease: None, last_assert: None, last_rival_burst: None };
        self.change_state(Phase::Master(master), cause, now);
        self.announce(now);
    }

    fn change_state(&mut self, to: Phase, cause: Cause, now: MonoTime) {
        let from = self.state();
        self.phase = to;
        self.cause = cause;
        self.since = Some(now);
        self.push(Output::StateChanged { from, to: self.state(), cause });
    }

    fn announce(&mut self, now: MonoTime) {
        let again = self.second_burst_at(now);
        if let Phase::Master(master) = &mut self.phase {
            master.second_burst = again;
        }
        self.push(Output::Announce { repeat: self.config.garp_repeat });
    }

    fn second_burst_at(&self, now: MonoTime) -> Option<MonoTime> {
        (!self.config.garp_delay.is_zero()).then(|| now + self.config.garp_delay)
    }

    fn transmit(&mut self, kind: AdvertKind, due: MonoTime, now: MonoTime) {
        let config = &self.config;
        let (priority, lease) = match kind {
            AdvertKind::PriorityZero => (0, None),
            AdvertKind::Claim | AdvertKind::Periodic | AdvertKind::Immediate => {
                (config.priority.get(), Some(now + self.waiting_time(Wait::MasterDown, None)))
            }
        };
        let advert = Advert {
            version: config.version,
            vrid: config.vrid,
            priority,
            interval: config.wire_interval(),
            auth: config.wire_auth(),
            addresses: config.vips.clone(),
        };
        let (src, dst) = (config.source, config.destination());
        let mut bytes = Vec::new();
        encode(&advert, src, dst, config.checksum, &mut bytes);
        self.counters.adverts_sent += 1;
        if kind == AdvertKind::Periodic {
            self.counters.count_lateness(now.since(due));
        }
        self.queue
            .push_back(Queued { output: Output::Transmit { bytes, src, dst, ttl: TTL, kind, due }, lease });
    }

    fn notice(&mut self, notice: Notice, source: IpAddr, now: MonoTime) {
        if let Some(event) = self.limiter.admit(notice, source, now) {
            self.push(Output::Event(event));
        }
    }

    fn push(&mut self, output: Output) {
        self.queue.push_back(Queued { output, lease: None });
    }
}

fn sorted(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let mut sorted = addresses.to_vec();
    sorted.sort_unstable();
    sorted
}

/// RFC 9568 §6.4.3: addresses compare as unsigned integers in network byte order. Of one family,
/// which is checked before, that is what the standard library's order does.
fn is_higher(theirs: IpAddr, ours: IpAddr) -> bool {
    theirs > ours
}
