//! Whether other directors would take routers over: asked for before an operator's order takes them out.
//!
//! A Master asks for it (`Input::Offer`) and stays Master until somebody has claimed; a Backup listens for its Master. What was
//! heard before the question counts for nothing: who spoke then may be dead now. One question at a time, and each ends.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Input, OFFER_INTERVALS, RouterKey, State, VirtualRouter};
use tokio::sync::oneshot;

use super::Worker;
use evenkeel_host::election::{Question, Unanswered};

/// Most time for an answer: somebody waits for it. Masters with intervals of over 10 s listen for longer, but a Backup has claimed
/// after one, so that only those with intervals of over 20 s may be refused for want of patience.
const LONGEST: Duration = Duration::from_secs(20);
/// How long what was answered keeps a router from taking back what it has handed over: until the order is on the disk.
const LINGER: Duration = Duration::from_secs(5);

/// Routers that others are asked to take over.
pub(super) struct Offer {
    routers: BTreeSet<Name>,
    /// See [`Question::partly`].
    partly: bool,
    since: MonoTime,
    /// When it ends: first the question, then what is left of it.
    until: MonoTime,
    /// Those that were asked for as Master.
    asked: BTreeSet<RouterKey>,
    /// None when it was answered.
    reply: Option<oneshot::Sender<Vec<Unanswered>>>,
}

impl Offer {
    /// When to look at it.
    pub(super) const fn due(&self) -> MonoTime {
        self.until
    }

    /// Whether another director was heard that serves, or this host does not.
    fn is_answered(&self, router: &VirtualRouter) -> bool {
        match router.state() {
            State::Initialize => true,
            State::Backup => router.other_heard().is_some_and(|at| at >= self.since),
            State::Master => false,
        }
    }
}

/// How long an answer takes at most. A Backup whose Master is dead claims first, and then asks as Master.
fn patience(router: &VirtualRouter) -> Duration {
    let asking = router.config().effective_interval().as_duration() * OFFER_INTERVALS;
    let waiting = match router.state() {
        State::Backup => router.master_down_interval(),
        State::Initialize | State::Master => Duration::ZERO,
    };
    waiting + asking
}

impl Worker {
    /// Asks for all routers of these names. A question that is not answered yet is dropped.
    pub(super) fn offer(&mut self, question: Question, reply: oneshot::Sender<Vec<Unanswered>>) {
        let Question { routers, partly } = question;
        let now = clock::now();
        let meant = self.election.iter().filter(|(_, name, _)| routers.contains(*name));
        let longest = meant.map(|(.., router)| patience(router)).max().unwrap_or_default();
        let until = now + longest.min(LONGEST);
        let asked = BTreeSet::new();
        self.offer = Some(Offer { routers, partly, since: now, until, asked, reply: Some(reply) });
        // None of them takes back what another has claimed.
        self.reconfigure();
        self.look_at_offer(now);
    }

    /// Whether a router is asked for.
    pub(super) fn offers(&self, router: &Name) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.routers.contains(router))
    }

    /// Asks for those that have become Master, and answers when there is an answer for all or the time is over.
    pub(super) fn look_at_offer(&mut self, now: MonoTime) {
        let Some(offer) = &mut self.offer else { return };
        let meant = self.election.iter().filter(|(_, name, _)| offer.routers.contains(*name));
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
                    self.election.handle(&key, Input::Offer, now);
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
            // Those that were taken over do not take it back, until what was asked for is ordered.
            let stays_away = |name: &Name| partly && !left.iter().any(|left| self.moves_with(name, left));
            let away: BTreeSet<Name> = routers.into_iter().filter(stays_away).collect();
            if let Some(offer) = &mut self.offer {
                offer.routers = away;
            }
            self.offer.take_if(|offer| offer.routers.is_empty());
            self.reconfigure();
        }
        // Fails when nobody waits for it any more.
        reply.send(unanswered).ok();
    }

    fn unanswered(
        &self,
        key: &RouterKey,
        state: State,
        since: MonoTime,
        now: MonoTime,
    ) -> Option<Unanswered> {
        let (setup, (_, router)) = (self.routers.get(key)?, self.election.get(key)?);
        Some(Unanswered {
            router: setup.name.clone(),
            label: self.label(setup),
            master: state == State::Master,
            waited: now.since(since),
            heard: router.other_heard(),
        })
    }

    /// Whether two routers are one, or of one group.
    fn moves_with(&self, one: &Name, other: &Name) -> bool {
        let group = |name: &Name| {
            let mut setups = self.routers.values().filter(|setup| setup.name == *name);
            setups.find_map(|setup| setup.group.as_ref())
        };
        one == other || group(one).is_some_and(|shared| group(other) == Some(shared))
    }

    /// The order that was asked for has come, or another one.
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

    /// Who held the router before the question may be dead by now: a Backup has to hear its Master once more.
    #[test]
    fn only_who_is_heard_after_the_question_answers_a_backup() {
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
