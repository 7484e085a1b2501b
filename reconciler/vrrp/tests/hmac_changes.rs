//! HMAC while a pair of directors runs: rotation of keys and the three sweeps, second after second.
//!
//! What a single packet does is in `hmac`.

#[path = "support/signed.rs"]
mod signed;
#[path = "support/support.rs"]
mod support;

use std::sync::Arc;

use evenkeel_vrrp::{Config, Hmac, HmacMode, Input, RejectKind, State, VirtualRouter};
use signed::{THEN, hand, hmac, key, receiver, sender, started, transmitted, with};
use support::at;

/// Director 0 as Master and the others beside it, each with its configuration, second after second.
struct Pair {
    routers: Vec<VirtualRouter>,
    millis: u64,
}

impl Pair {
    fn new(mut configs: Vec<Config>) -> Self {
        configs.iter_mut().for_each(|config| config.preempt = true);
        let routers = configs.into_iter().map(|config| started(config, THEN)).collect();
        let mut pair = Self { routers, millis: 0 };
        pair.run(10);
        assert_eq!(pair.routers[0].state(), State::Master);
        pair
    }

    /// Lets seconds pass.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 100 {
            self.millis += 10;
            let now = at(self.millis);
            for index in 0..self.routers.len() {
                if self.routers[index].poll_timeout().is_some_and(|(due, _)| due <= now) {
                    self.routers[index].handle(Input::Timer, now);
                }
                let src = self.routers[index].config().source;
                for bytes in transmitted(&mut self.routers[index]) {
                    for other in (0..self.routers.len()).filter(|other| *other != index) {
                        hand(&mut self.routers[other], &bytes, src, now);
                    }
                }
            }
        }
    }

    /// One change, director by director in this order, with three seconds after each.
    fn change(&mut self, order: &[usize], change: impl Fn(&Config) -> Config) {
        for index in order {
            let config = change(self.routers[*index].config());
            self.routers[*index].handle(Input::Reconfigure(config), at(self.millis));
            self.run(3);
        }
        let masters = self.routers.iter().map(|router| router.counters().became_master).sum::<u64>();
        let rejected = self.routers.iter().map(|router| router.counters().rejected_total()).sum::<u64>();
        assert_eq!((masters, rejected), (1, 0));
        assert_eq!(self.routers[0].state(), State::Master);
    }
}

fn directors(v6: bool, hmac: Option<Hmac>) -> Vec<Config> {
    let hmac = hmac.map(Arc::new);
    [sender(v6), receiver(v6)].map(|config| Config { hmac: hmac.clone(), ..config }).into()
}

#[test]
fn a_rotation_costs_no_advert() {
    for v6 in [false, true] {
        for order in [[0, 1], [1, 0]] {
            let mut pair = Pair::new(directors(v6, Some(hmac(HmacMode::Enforce))));
            pair.change(&order, |config| with(config, |hmac| drop(hmac.keys.insert(2, key(100)))));
            pair.change(&order, |config| with(config, |hmac| hmac.active = 2));
            pair.change(&order, |config| with(config, |hmac| drop(hmac.keys.remove(&1))));
            let sent = pair.routers[1].counters().hmac_verified;
            assert!(sent > 20, "{sent}");
        }
    }
}

#[test]
fn three_sweeps_cost_no_advert() {
    for v6 in [false, true] {
        for order in [[0, 1], [1, 0]] {
            let mut pair = Pair::new(directors(v6, None));
            for mode in [HmacMode::ReceiveOnly, HmacMode::Permissive, HmacMode::Enforce] {
                pair.change(&order, |config| Config { hmac: Some(Arc::new(hmac(mode))), ..config.clone() });
            }
            // And back.
            for mode in [HmacMode::Permissive, HmacMode::ReceiveOnly] {
                pair.change(&order, |config| with(config, |hmac| hmac.mode = mode));
            }
            pair.change(&order, |config| Config { hmac: None, ..config.clone() });
        }
    }
}

#[test]
fn a_key_that_becomes_active_too_early_loses_the_adverts_of_its_sender() {
    let mut pair = Pair::new(directors(false, Some(hmac(HmacMode::Enforce))));
    let config = with(pair.routers[0].config(), |hmac| {
        hmac.keys.insert(2, key(100));
        hmac.active = 2;
    });
    pair.routers[0].handle(Input::Reconfigure(config), at(pair.millis));
    pair.run(5);
    assert!(pair.routers[1].counters().rejected(RejectKind::HmacUnknownKey) > 0);
    assert_eq!(pair.routers[1].state(), State::Master, "why `plan` warns of it");
}
