//! The virtual routers of a host and the order in which their outputs come out.
//!
//! No rule about who may do what lives here.

use std::collections::{BTreeMap, VecDeque};

use evenkeel_schemas::scalars::Name;

use super::key::RouterKey;
use crate::router::{FaultCause, Input, Output, State, VirtualRouter};

/// Part that a router may play, as the driver has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, or only that it is too early since the daemon started.
    New,
    /// The router may take part.
    Ready,
    /// The router may not take part: a fault, or it was shut down.
    Obstructed,
}

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) name: Name,
    pub(super) router: VirtualRouter,
    pub(super) standing: Standing,
    /// The place of its sync group in the election's list.
    pub(super) group: Option<usize>,
    /// Whether a fault of the router is one of its group: it has taken part since it came into the group.
    pub(super) counts: bool,
    /// Whether its key is in [`Slots::ready`]; it need not stand there twice.
    queued: bool,
}

impl Slot {
    pub(super) fn new(name: Name, router: VirtualRouter) -> Self {
        Self { name, router, standing: Standing::New, group: None, counts: false, queued: false }
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.router.state() == state
    }

    /// Whether it is Master and means to stay so.
    pub(super) fn holds(&self) -> bool {
        self.is(State::Master) && !self.router.is_leaving()
    }

    /// Whether it takes no part, or will not when what it waits for has come.
    pub(super) fn is_out(&self) -> bool {
        self.is(State::Initialize) || self.router.leaves_election()
    }

    /// Whether it is Backup, or will be.
    pub(super) fn is_backup(&self) -> bool {
        self.is(State::Backup) || (self.router.is_leaving() && !self.router.leaves_election())
    }

    /// Records whether an input lets the router take part.
    pub(super) fn observe(&mut self, input: &Input<'_>) {
        self.standing = match input {
            Input::Startup | Input::Adopt => Standing::Ready,
            Input::Fault(FaultCause::NotConverged | FaultCause::StartupDelay)
                if self.is(State::Initialize) =>
            {
                Standing::New
            }
            Input::Fault(_) | Input::Shutdown => Standing::Obstructed,
            _ => self.standing,
        };
    }
}

#[derive(Debug, Default, Clone)]
pub(super) struct Slots {
    pub(super) map: BTreeMap<RouterKey, Slot>,
    /// Routers that may have outputs, in the order of their inputs. A key that is gone is skipped.
    ready: VecDeque<RouterKey>,
}

impl Slots {
    /// Does something to a router that may have outputs.
    pub(super) fn act(&mut self, key: &RouterKey, act: impl FnOnce(&mut VirtualRouter)) {
        let Some(slot) = self.map.get_mut(key) else { return };
        act(&mut slot.router);
        if !slot.queued {
            slot.queued = true;
            self.ready.push_back(key.clone());
        }
    }

    /// The same to every router for which it is `wanted`.
    pub(super) fn act_where(
        &mut self,
        wanted: impl Fn(&Slot) -> bool,
        mut act: impl FnMut(&RouterKey, &mut Slot),
    ) {
        for (key, slot) in &mut self.map {
            if wanted(slot) {
                act(key, slot);
                if !slot.queued {
                    slot.queued = true;
                    self.ready.push_back(key.clone());
                }
            }
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<(RouterKey, Output)> {
        while let Some(key) = self.ready.front() {
            if let Some(slot) = self.map.get_mut(key) {
                if let Some(output) = slot.router.poll_output() {
                    return Some((key.clone(), output));
                }
                slot.queued = false;
            }
            self.ready.pop_front();
        }
        None
    }
}
