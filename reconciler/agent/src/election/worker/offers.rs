//! Whether other directors would take routers over: found out before an order takes the routers out here.
//!
//! A Master offers its VIPs (`Input::Offer`) and stays Master until another director has claimed them; a
//! Backup listens for its Master. What was heard before the question counts for nothing: its sender may be
//! dead now. There is one question at a time, and each ends.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Input, OFFER_INTERVALS, RouterKey, State, VirtualRouter};
use tokio::sync::oneshot;

use super::Worker;
use evenkeel_host::election::{Question, Unanswered};

/// Longest time for an answer, since a person waits for it. Masters with intervals of over 10 s would listen
/// for longer. A Backup claims after one interval, so only routers with intervals of over 20 s may be refused
/// although a Backup lives.
const LONGEST: Duration = Duration::from_secs(20);
/// How long after the answer a router does not take back what another director has claimed: the order is on
/// its way to the disk.
const LINGER: Duration = Duration::from_secs(5);

/// A question to other directors, and after its answer what is left of it.
pub(super) struct Offer {
    /// The routers in question, by name. After the answer: those that stay away.
    routers: BTreeSet<Name>,
    /// See [`Question::partly`].
    partly: bool,
    /// When the question was asked.
    since: MonoTime,
    /// The end of the question, then of what is left of it.
    until: MonoTime,
    /// Routers that have offered their VIPs as Master.
    asked: BTreeSet<RouterKey>,
    /// Takes the answer; `None` once it was given.
    reply: Option<oneshot::Sender<Vec<Unanswered>>>,
}

impl Offer {
    /// When to call [`Worker::advance_offer`].
    pub(super) const fn due(&self) -> MonoTime {
        self.until
    }

    /// Whether a serving director was heard since the question, or the router takes no part here anyway.
    fn is_answered(&self, router: &VirtualRouter) -> bool {
        match router.state() {
            State::Initialize => true,
            State::Backup => router.other_heard().is_some_and(|at| at >= self.since),
            State::Master => false,
        }
    }
}

/// Longest time that an answer takes. A Backup whose Master is dead claims first and then asks as Master.
fn patience(router: &VirtualRouter) -> Duration {
    let offering = router.config().effective_interval().as_duration() * OFFER_INTERVALS;
    let claiming = match router.state() {
        State::Backup => router.master_down_interval(),
        State::Initialize | State::Master => Duration::ZERO,
    };
    claiming + offering
}

impl Worker {
    /// Asks other directors about routers. A question that is not answered yet is dropped.
    pub(super) fn offer(&mut self, question: Question, reply: oneshot::Sender<Vec<Unanswered>>) {
        let Question { routers, partly } = question;
        let now = clock::now();
        let meant = self.routers.election.iter().filter(|(_, name, _)| routers.contains(*name));
        let longest = meant.map(|(.., router)| patience(router)).max().unwrap_or_default();
        let until = now + longest.min(LONGEST);
        let asked = BTreeSet::new();
        self.offer = Some(Offer { routers, partly, since: now, until, asked, reply: Some(reply) });
        // From now on none of them takes back what another director claims.
        self.reconfigure();
        self.advance_offer(now);
    }

    /// Whether a router is in question.
    pub(super) fn is_offered(&self, router: &Name) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.routers.contains(router))
    }

    /// Makes routers that have become Master offer their VIPs, and answers when all are answered or the time
    /// is over.
    pub(super) fn advance_offer(&mut self, now: MonoTime) {
        let Some(offer) = &mut self.offer else { return };
        let meant = self.routers.election.iter().filter(|(_, name, _)| offer.routers.contains(*name));
        let open: Vec<(RouterKey, State)> = meant
            .filter(|(.., router)| !offer.is_answered(router))
            .map(|(key, _, router)| (key.clone(), router.state()))
            .collect();
        let is_new =
            |(key, state): &&(RouterKey, State)| *state == State::Master && !offer.asked.contains(key);
        let masters: Vec<RouterKey> = open.iter().filter(is_new).map(|(key, _)| key.clone()).collect();
        let over = now >= offer.until;
        if offer.reply.is_none() || (!open.is_empty() && !over) {
            offer.asked.extend(masters.iter().cloned());
            if over {
                self.offer = None;
                self.reconfigure();
            } else if offer.reply.is_some() {
                for key in masters {
                    self.routers.election.handle(&key, Input::Offer, now);
                }
                self.drain();
            }
            return;
        }
        let since = offer.since;
        let Some(reply) = offer.reply.take() else { return };
        offer.until = now + LINGER;
        let (partly, routers) = (offer.partly, offer.routers.clone());
        let unanswered: Vec<Unanswered> =
            open.iter().filter_map(|(key, state)| self.unanswered(key, *state, since, now)).collect();
        if !unanswered.is_empty() {
            let left: BTreeSet<&Name> = unanswered.iter().map(|one| &one.router).collect();
            // Routers that were taken over stay away until the order comes that was asked for.
            let stays_away =
                |name: &Name| partly && !left.iter().any(|left| self.routers.move_together(name, left));
            let away: BTreeSet<Name> = routers.into_iter().filter(stays_away).collect();
            if let Some(offer) = &mut self.offer {
                offer.routers = away;
            }
            self.offer.take_if(|offer| offer.routers.is_empty());
            self.reconfigure();
        }
        // Fails when nobody waits for the answer any more.
        reply.send(unanswered).ok();
    }

    fn unanswered(
        &self,
        key: &RouterKey,
        state: State,
        since: MonoTime,
        now: MonoTime,
    ) -> Option<Unanswered> {
        let (setup, (_, router)) = (self.routers.setup(key)?, self.routers.election.get(key)?);
        Some(Unanswered {
            router: setup.name.clone(),
            label: self.routers.label(setup),
            master: state == State::Master,
            waited: now.since(since),
            heard: router.other_heard(),
        })
    }

    /// Orders have come: an answered question has had its effect.
    pub(super) fn end_answered_offer(&mut self) {
        self.offer.take_if(|offer| offer.reply.is_none());
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_vrrp::{Election, Member, Output, Received};

    use super::super::super::RouterSetup;
    use super::*;
    use crate::source::read::plain_tests::ALL;

    /// The Master that was heard before the question may be dead: a Backup has to hear it once more.
    #[test]
    fn a_backup_is_answered_by_a_master_that_it_hears_after_the_question() {
        let at = |seconds: u64| MonoTime::from_millis(seconds * 1000);
        let plan = evenkeel_schemas::plain::plan(ALL).expect("a plan");
        let setup = RouterSetup::new(&plan.routers[0], &[], None, false).expect("a router");
        let election = || {
            let (key, name) = (setup.key.clone(), setup.name.clone());
            let mut election = Election::new();
            election.configure(vec![Member { key, name, group: None, config: setup.config.clone() }], at(0));
            election.handle(&setup.key, Input::Startup, at(0));
            election
        };
        let mut advert = None;
        let mut other = election();
        other.handle_timers(at(200));
        while let Some((_, output)) = other.poll_output() {
            if let Output::Transmit { bytes, dst, ttl, .. } = output {
                advert = Some((bytes, dst, ttl));
            }
        }
        let (bytes, dst, ttl) = advert.expect("an advertisement");
        // From another address of the family, the one that a peer has.
        let src = match &setup.config.delivery {
            evenkeel_vrrp::Delivery::Unicast { peers, .. } => peers[0],
            evenkeel_vrrp::Delivery::Multicast => "192.0.2.200".parse().expect("an address"),
        };
        let mut config = setup.config.clone();
        config.directors = None;
        let mut backup = election();
        let key = setup.key.clone();
        backup.configure(vec![Member { key, name: setup.name.clone(), group: None, config }], at(0));
        let hear = |backup: &mut Election, now| {
            backup.handle_packet(&setup.key.interface, Received { payload: &bytes, src, dst, ttl }, now);
        };
        let asked = |since: u64| Offer {
            routers: BTreeSet::new(),
            partly: false,
            since: at(since),
            until: at(since + 10),
            asked: BTreeSet::new(),
            reply: None,
        };
        let answered = |backup: &Election, since| {
            let (_, router) = backup.get(&setup.key).expect("there");
            assert_eq!(router.state(), State::Backup);
            asked(since).is_answered(router)
        };
        assert!(!answered(&backup, 0), "nobody was heard");
        hear(&mut backup, at(1));
        assert!(answered(&backup, 1));
        assert!(!answered(&backup, 2), "it was heard before");
        hear(&mut backup, at(3));
        assert!(answered(&backup, 2));
    }
}
