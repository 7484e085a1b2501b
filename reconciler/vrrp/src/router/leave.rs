//! Leaving by will without a wait for the clients. Ours: no RFC has it.
//!
//! RFC 9568 §6.4.3 has a Master send priority 0 and stop. Its Backups claim after their skew times, and
//! until then nobody serves. Here the Master sends priority 0 and goes on serving, silently, until another
//! Master is heard, or until no Backup can have failed to claim. Then it changes its state, and its VIPs go.
//!
//! Two hosts hold the VIPs from the other one's claim until [`LINGER`] after its first advertisement was
//! heard here. Neighbours are not misled meanwhile: a Master that leaves announces nothing.
//!
//! A Master that can no longer serve, or not send, leaves at once: see [`FaultCause::serves`].

use std::time::Duration;

use evenkeel_schemas::scalars::Priority;
use evenkeel_schemas::time::MonoTime;

use super::VirtualRouter;
use super::config::{Config, Delivery, skew_time};
use super::io::{AdvertKind, Cause, FaultCause};
use super::phase::{Leaving, Next, Parting, Phase};

/// Time that a Backup of the lowest priority gets beside its skew time: for the way of two packets, and for a
/// host that is slow.
const MARGIN: Duration = Duration::from_millis(250);
/// Time for which a Master serves on after it has heard the new one, which sends its first advertisement
/// before it has the VIPs, and its announcement after that. Half of what two hosts may hold the VIPs for;
/// shorter than the time until the announcement is repeated.
const LINGER: Duration = Duration::from_millis(10);
/// Longest time for which a Master leaves: service managers wait for it. Only with intervals above it a
/// Backup may claim later.
const LONGEST: Duration = Duration::from_secs(20);

impl VirtualRouter {
    /// Whether this Master leaves: it serves until another one is heard, and sends nothing.
    #[must_use]
    pub const fn is_leaving(&self) -> bool {
        match &self.phase {
            Phase::Master(master) => matches!(master.parting, Some(Parting::Leaving(_))),
            Phase::Initialize | Phase::Backup(_) => false,
        }
    }

    /// Whether this Master leaves the election.
    pub(crate) const fn leaves_election(&self) -> bool {
        match &self.phase {
            Phase::Master(master) => {
                matches!(master.parting, Some(Parting::Leaving(Leaving { next: Next::Initialize, .. })))
            }
            Phase::Initialize | Phase::Backup(_) => false,
        }
    }

    /// The Shutdown event of RFC 9568 §6.4.2 and §6.4.3, for whatever reason.
    pub(super) fn leave(&mut self, cause: Cause, now: MonoTime) {
        let fault = match cause {
            Cause::Fault(fault) => Some(fault),
            _ => None,
        };
        match &self.phase {
            Phase::Initialize => self.cause = cause,
            Phase::Backup(_) => self.change_state(Phase::Initialize, cause, now),
            Phase::Master(_) if fault.is_none_or(FaultCause::serves) => {
                self.part(cause, Next::Initialize, now);
            }
            Phase::Master(_) => self.leave_at_once(cause, fault.is_none_or(FaultCause::link_works), now),
        }
    }

    /// As [`Self::leave`], but a Master does not wait for another one: its VIPs go before the Backups are
    /// told, if they can be.
    pub(crate) fn leave_at_once(&mut self, cause: Cause, tell: bool, now: MonoTime) {
        let was_master = matches!(self.phase, Phase::Master(_));
        if matches!(self.phase, Phase::Initialize) {
            self.cause = cause;
        } else {
            self.change_state(Phase::Initialize, cause, now);
        }
        if was_master && tell {
            self.transmit(AdvertKind::PriorityZero, now, now);
        }
    }

    /// A Master begins to leave. One that leaves already goes on to its end, which no series of reasons puts
    /// off; to leave the election outweighs becoming Backup.
    pub(super) fn part(&mut self, cause: Cause, next: Next, now: MonoTime) {
        let Phase::Master(master) = &mut self.phase else { return };
        if let Some(Parting::Leaving(leaving)) = &mut master.parting {
            if next == Next::Initialize {
                *leaving = Leaving { cause, next, ..*leaving };
            }
            return;
        }
        let lease = master.lease;
        let end = now + longest_leave(&self.config);
        let end = lease.map_or(end, |lease| end.min(lease));
        let leaving = Leaving { cause, next, heard: None };
        if is_alone(&self.config) || end <= now {
            self.depart(leaving, now);
            self.transmit(AdvertKind::PriorityZero, now, now);
            return;
        }
        self.transmit(AdvertKind::PriorityZero, now, now);
        self.leave_until(end, leaving);
    }

    fn leave_until(&mut self, end: MonoTime, leaving: Leaving) {
        if let Phase::Master(master) = &mut self.phase {
            master.parting = Some(Parting::Leaving(leaving));
            master.advert_due = end;
            master.lease = Some(end);
            master.second_burst = None;
            master.refresh_due = None;
        }
    }

    /// Another Master is to have the VIPs. It was heard before it has them: they stay for the moment that it
    /// needs.
    pub(super) fn make_way(&mut self, leaving: Leaving, now: MonoTime) {
        let Phase::Master(master) = &self.phase else { return };
        if let Some(Parting::Leaving(Leaving { heard: Some(_), .. })) = master.parting {
            return;
        }
        let end = now + linger(&self.config);
        let end = match master.parting {
            Some(Parting::Leaving(_)) => end.min(master.advert_due),
            Some(Parting::Offered) | None => end,
        };
        self.leave_until(end, leaving);
    }

    /// The end of [`Self::part`] and [`Self::make_way`].
    pub(super) fn depart(&mut self, leaving: Leaving, now: MonoTime) {
        let Leaving { cause, next, heard } = leaving;
        match next {
            Next::Initialize => self.change_state(Phase::Initialize, cause, now),
            Next::Backup => {
                let adopted = heard.and_then(|(interval, src)| self.adopt_interval(interval, src, now));
                self.become_backup(cause, adopted, heard.map(|(_, src)| src), now);
            }
        }
    }
}

/// [`LINGER`], or a quarter of an interval that is short.
fn linger(config: &Config) -> Duration {
    LINGER.min(config.effective_interval().as_duration() / 4)
}

/// Time after which every Backup that lives has claimed, whatever its priority.
fn longest_leave(config: &Config) -> Duration {
    let lowest = Priority::new(1).unwrap_or(config.priority);
    (skew_time(config.version, lowest, config.effective_interval()) + MARGIN).min(LONGEST)
}

/// Whether nobody can claim.
fn is_alone(config: &Config) -> bool {
    match &config.delivery {
        Delivery::Unicast { peers, .. } => peers.is_empty(),
        Delivery::Multicast => false,
    }
}
