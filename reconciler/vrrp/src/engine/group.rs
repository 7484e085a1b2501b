//! Sync groups: the routers of one group are Master together or not at all.
//!
//! Only what follows for one router from the others of its group on the same host; the protocol and
//! the wire are the router's. No RFC has this: keepalived's `vrrp_sync_group` and its users' pains
//! are the source.
//!
//! - *Start*: members start together, when none of them has an obstacle. A member that comes into a
//!   group that runs starts as Backup beside it.
//! - *Claim*: a Backup whose timer is over claims when every other member is Master or its timer is
//!   over too; then all do in one turn.
//! - *Yield*: when one goes from Master to Backup, so do all, with priority 0.
//! - *Fault*: when one leaves the election, so do all. One that has never taken part since it came into
//!   the group holds the others' start and claims back, but takes no Master out: a plan that adds a
//!   member cannot take the others' service away.
//! - *Mixed*: a group that is Master in part for longer than a master-down interval follows its leader.
//!   Where the leader obeys another host's Master, the other Masters yield.

use std::time::Duration;

use evenkeel_schemas::scalars::{Name, Priority};
use evenkeel_schemas::time::MonoTime;

use super::key::RouterKey;
use super::slot::{Slot, Slots, Standing};
use crate::router::{Cause, GroupEvent, Input, State, Why};

/// Whether some are Master and some are Backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mixed {
    No,
    /// The group becomes [`Mixed::Lasting`] at this time.
    Until(MonoTime),
    Lasting,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: Name,
    /// The leader first.
    members: Vec<RouterKey>,
    mixed: Mixed,
    /// Time of the last claim.
    claimed: Option<MonoTime>,
    /// Time before which the group does not claim.
    not_before: Option<MonoTime>,
}

impl Group {
    /// Hosts must agree on the leader, and interfaces may have other names on each: so the VRID
    /// counts first.
    pub(super) fn new(name: Name, mut members: Vec<RouterKey>) -> Self {
        members.sort_by(|a, b| (a.vrid, a.family, &a.interface).cmp(&(b.vrid, b.family, &b.interface)));
        Self { name, members, mixed: Mixed::No, claimed: None, not_before: None }
    }

    /// Goes on where the group of this name was.
    pub(super) const fn inherit(&mut self, before: &Self) {
        self.mixed = before.mixed;
        self.claimed = before.claimed;
        self.not_before = before.not_before;
    }

    /// An input for one member, and what follows from it for the others.
    pub(super) fn handle(&mut self, slots: &mut Slots, key: &RouterKey, input: Input<'_>, now: MonoTime) {
        let Some(slot) = slots.map.get_mut(key) else { return };
        slot.observe(&input);
        let (before, held) = (slot.router.state(), slot.holds());
        let aligns = match input {
            Input::Timer => return self.timers(slots, now),
            // The start depends on the other members.
            Input::Startup => true,
            Input::Adopt => {
                // All members were Master together before the restart.
                for member in &self.members {
                    if let Some(slot) = slots.map.get_mut(member) {
                        slot.counts = true;
                    }
                }
                slots.act(key, |router| router.handle(Input::Adopt, now));
                true
            }
            input => {
                let leaves = matches!(input, Input::Fault(_) | Input::Shutdown);
                slots.act(key, |router| router.handle(input, now));
                leaves
            }
        };
        let after = slots.map.get(key).map(|slot| slot.router.state());
        if held && has(slots, key, Slot::is_backup) {
            self.yielded(slots, key, now);
        }
        if aligns || after != Some(before) {
            self.align(slots, now);
        }
        self.follow_leader(slots, now);
    }

    /// Claims that are due, and the end of a mixed group's time. Members that are Master have their
    /// own timers.
    pub(super) fn timers(&mut self, slots: &mut Slots, now: MonoTime) {
        if let Some((due, _)) = self.claim_at(slots).filter(|(due, _)| *due <= now) {
            for member in &self.members {
                if has(slots, member, |slot| slot.is(State::Backup)) {
                    slots.act(member, |router| router.claim_with_group(due, now));
                }
            }
            self.claimed = Some(now);
            self.not_before = None;
            self.align(slots, now);
        }
        if let Mixed::Until(end) = self.mixed
            && end <= now
        {
            self.mixed = Mixed::Lasting;
        }
        self.follow_leader(slots, now);
    }

    /// Time and purpose of the group's next step; none while nothing is due.
    pub(super) fn poll_timeout(&self, slots: &Slots) -> Option<(MonoTime, Why)> {
        let end = match self.mixed {
            Mixed::Until(end) => Some((end, Why::GroupMixed)),
            Mixed::No | Mixed::Lasting => None,
        };
        [self.claim_at(slots), end].into_iter().flatten().min()
    }

    /// Time of the group's claim: when the last of its Backups' timers is over; none while a member takes no
    /// part.
    fn claim_at(&self, slots: &Slots) -> Option<(MonoTime, Why)> {
        let mut last = None;
        for member in &self.members {
            let router = &slots.map.get(member)?.router;
            match router.state() {
                State::Initialize => return None,
                // Then it is Backup or out.
                State::Master if router.is_leaving() => return None,
                State::Backup => last = last.max(router.poll_timeout()),
                State::Master => {}
            }
        }
        last.map(|(at, why)| (self.not_before.map_or(at, |not_before| at.max(not_before)), why))
    }

    /// A member has gone from Master to Backup: so do the others.
    fn yielded(&mut self, slots: &mut Slots, key: &RouterKey, now: MonoTime) {
        let Some(cause) = cause(slots, key, GroupEvent::Yielded) else { return };
        self.yield_all(slots, cause, now);
        // Two hosts that claim together and are each outdone in another member both yield, and would
        // claim together again and again. The one that is outdone in the leader, which is the same for
        // both, gives the other an interval's start.
        let outdone = self.members.first() == Some(key)
            && has(slots, key, |slot| {
                matches!(slot.router.reason(), Cause::HigherPriority { .. } | Cause::HigherAddress { .. })
            });
        let interval = slots.map.get(key).map(|slot| slot.router.config().effective_interval().as_duration());
        let interval = interval.unwrap_or_default();
        if outdone && self.members.len() > 1 && self.claimed.is_some_and(|at| now.since(at) < interval) {
            self.not_before = Some(now + self.longest_wait(slots) + interval);
        }
    }

    fn longest_wait(&self, slots: &Slots) -> Duration {
        let members = self.members.iter().filter_map(|member| slots.map.get(member));
        members.map(|slot| slot.router.master_down_interval()).max().unwrap_or_default()
    }

    fn yield_all(&self, slots: &mut Slots, cause: Cause, now: MonoTime) {
        for member in &self.members {
            if has(slots, member, |slot| slot.is(State::Master)) {
                slots.act(member, |router| router.yield_with_group(cause, now));
            }
        }
    }

    /// Brings the members in line with who takes part.
    pub(super) fn align(&mut self, slots: &mut Slots, now: MonoTime) {
        for member in &self.members {
            if let Some(slot) = slots.map.get_mut(member) {
                // A member that has taken part in the group takes it out with it from now on.
                slot.counts |= !slot.is(State::Initialize);
            }
        }
        self.leave_with_the_obstructed(slots, now);
        self.start_together(slots, now);
        let is = |state| self.members.iter().any(|member| has(slots, member, |slot| slot.is(state)));
        // Claims of members follow one another, so Master in part is normal for as long as the longest of
        // them waits.
        self.mixed = match self.mixed {
            _ if !is(State::Master) || !is(State::Backup) => Mixed::No,
            Mixed::No => Mixed::Until(now + self.longest_wait(slots)),
            Mixed::Until(_) | Mixed::Lasting => self.mixed,
        };
    }

    fn leave_with_the_obstructed(&self, slots: &mut Slots, now: MonoTime) {
        let master = self.members.iter().any(|member| has(slots, member, Slot::holds));
        // A router that comes into the group and is not ready yet does not take VIPs from clients.
        let obstructed = self.members.iter().find(|member| {
            has(slots, member, |slot| {
                slot.is_out() && slot.standing == Standing::Obstructed && (slot.counts || !master)
            })
        });
        let Some(cause) = obstructed.and_then(|member| cause(slots, member, GroupEvent::Out)) else { return };
        for member in &self.members {
            if has(slots, member, |slot| !slot.is_out()) {
                slots.act(member, |router| router.leave_with_group(cause, now));
            }
        }
    }

    fn start_together(&self, slots: &mut Slots, now: MonoTime) {
        let out = |slot: &Slot| slot.is(State::Initialize);
        let unready = |slot: &Slot| slot.is_out() && slot.standing != Standing::Ready;
        let waits = self.members.iter().find(|member| has(slots, member, unready));
        let waits = waits.and_then(|member| cause(slots, member, GroupEvent::Out));
        // An owner starts as Master (RFC 9568 §6.4.1), but not ahead of its group.
        let claims = |slot: &Slot| {
            slot.is(State::Master)
                || (out(slot)
                    && slot.router.config().priority == Priority::OWNER
                    && slot.router.config().preempt)
        };
        let all_claim = self.members.iter().all(|member| has(slots, member, claims));
        for member in &self.members {
            if !has(slots, member, |slot| out(slot) && slot.standing == Standing::Ready) {
                continue;
            }
            slots.act(member, |router| match waits {
                Some(cause) => router.wait_for_group(cause),
                None if all_claim => router.handle(Input::Startup, now),
                None => router.start_with_group(now),
            });
        }
    }

    fn follow_leader(&mut self, slots: &mut Slots, now: MonoTime) {
        if self.mixed != Mixed::Lasting {
            return;
        }
        // The leader is the same on all hosts, so that all of them decide alike.
        let Some(leader) = self.members.first() else { return };
        if !has(slots, leader, |slot| slot.router.obeys_master(now)) {
            return;
        }
        if let Some(cause) = cause(slots, leader, GroupEvent::Follows) {
            self.yield_all(slots, cause, now);
            self.align(slots, now);
        }
    }
}

fn has(slots: &Slots, key: &RouterKey, what: impl Fn(&Slot) -> bool) -> bool {
    slots.map.get(key).is_some_and(what)
}

fn cause(slots: &Slots, member: &RouterKey, event: GroupEvent) -> Option<Cause> {
    slots.map.get(member).map(|slot| Cause::Group { member: (&slot.name).into(), event })
}
