//! Asking whether another router would take over, without letting go of the VIPs first. Ours: no RFC has it.
//!
//! Backups are silent, so a Master cannot know whether there is one. It finds out as it leaves: at priority 0
//! every Backup claims after its skew time. But it stays Master until one has, as a Master does that is
//! preempted; where there is none, nobody has noticed.

use std::net::IpAddr;

use evenkeel_schemas::scalars::AdvertInterval;
use evenkeel_schemas::time::MonoTime;

use super::VirtualRouter;
use super::io::{AdvertKind, Cause, OFFER_INTERVALS};
use super::phase::{Leaving, Next, Parting, Phase};
use crate::packet::Advert;

impl VirtualRouter {
    /// See [`super::Input::Offer`].
    pub(super) fn offer(&mut self, now: MonoTime) {
        if !matches!(&self.phase, Phase::Master(master) if master.parting.is_none()) {
            return;
        }
        // The lease lasts until an answer comes or the next advertisement leaves.
        self.transmit(AdvertKind::Immediate, now, now);
        self.transmit(AdvertKind::Offer, now, now);
        let end = now + self.config.effective_interval().as_duration() * OFFER_INTERVALS;
        if let Phase::Master(master) = &mut self.phase {
            master.parting = Some(Parting::Offered);
            master.advert_due = end;
        }
    }

    /// Whether an offer to the Backups goes on ([`Input::Offer`]).
    #[must_use]
    pub const fn is_offered(&self) -> bool {
        match &self.phase {
            Phase::Master(master) => matches!(master.parting, Some(Parting::Offered)),
            Phase::Initialize | Phase::Backup(_) => false,
        }
    }

    /// Another Master of our VIPs was heard, perhaps.
    pub(super) fn observe_other(&mut self, advert: &Advert, now: MonoTime) {
        if advert.priority > 0 {
            self.other_heard = Some(now);
        }
    }

    /// The parting that what was heard at `now` ends; `None` when it ends none.
    pub(super) fn answered(&self, now: MonoTime) -> Option<Parting> {
        match &self.phase {
            Phase::Master(master) => master.parting.filter(|_| self.other_heard == Some(now)),
            Phase::Initialize | Phase::Backup(_) => None,
        }
    }

    /// Without last words: with our priority they would be a rival's to the new Master.
    pub(super) fn accept_answer(
        &mut self,
        parting: Parting,
        interval: AdvertInterval,
        src: IpAddr,
        now: MonoTime,
    ) {
        let (cause, next) = match parting {
            Parting::Offered => (Cause::Handover, Next::Backup),
            Parting::Leaving(Leaving { cause, next, .. }) => (cause, next),
        };
        self.make_way(Leaving { cause, next, heard: Some((interval, src)) }, now);
    }
}
