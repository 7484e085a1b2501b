//! A daemon killed after each operation of a large change, and started again: nothing that must hold at every
//! moment is broken, the next one converges, and connections of services that the change does not touch live.

use std::time::{Duration, Instant};

use lab::{Daemon, Host, Lab, Trap};

use crate::look::{Settings, assert_same, look};
use crate::random::Random;
use crate::support::{PATIENCE, deliver, status, wait_converged};

mod director;
mod real_server;

/// Kills of each test in the normal run; `EVENKEEL_CRASHES` sets another number, and as many as there are
/// operations is enough for all.
const NORMAL: usize = 6;
/// The daemon's thread that changes everything but VIPs.
const THREAD: &str = "converge";

/// A host between two plans.
struct Case<'l> {
    lab: &'l Lab,
    host: Host,
    plans: [String; 2],
    settings: Settings,
    /// Law that must hold at every moment; it panics with the context when it does not.
    invariants: &'l dyn Fn(&str),
    /// Something besides the look that shows that a plan is wholly in force, such as a VIP.
    complete: &'l dyn Fn(usize) -> bool,
}

impl Case<'_> {
    fn start(&self) -> Daemon {
        let daemon = self.lab.plans("plans").start(&self.host);
        lab::eventually(PATIENCE, "the daemon answers", || status(&self.host).is_some());
        daemon
    }

    /// Delivers a plan and waits until it is in force.
    fn turn_to(&self, plan: usize) {
        deliver(self.lab, &self.host, &self.plans[plan]);
        self.wait_for(plan);
    }

    fn wait_for(&self, plan: usize) {
        wait_converged(&self.host, &self.plans[plan]);
        lab::eventually(PATIENCE, "the plan is wholly in force", || (self.complete)(plan));
    }

    fn look(&self) -> Vec<String> {
        look(&self.host, &self.settings)
    }

    /// Kills at up to `most` places in each direction.
    fn run(&self, random: &mut Random, most: usize) {
        // What each plan looks like, and how many operations lie between them.
        deliver(self.lab, &self.host, &self.plans[0]);
        let mut daemon = self.start();
        self.wait_for(0);
        let mut looks = [self.look(), Vec::new()];
        let counter = daemon.trap(THREAD, None);
        self.turn_to(1);
        looks[1] = self.look();
        let there = counter.done();
        self.turn_to(0);
        assert_same(&looks[0], &self.look(), "there and back");
        let back = counter.done().split_off(there.len());
        for (direction, operations) in [("there", &there), ("back", &back)] {
            self.lab.log(format!("{direction}: {} operations", operations.len()));
            for operation in operations {
                self.lab.log(format!("    {}", operation.what));
            }
        }
        daemon.kill9();
        counter.wait();

        let mut places = [there.len(), back.len()].map(|operations| spread(random, operations, most));
        let mut current = 0;
        daemon = self.start();
        self.wait_for(current);
        while places.iter().any(|places| !places.is_empty()) {
            let Some(limit) = places[current].pop() else {
                current = 1 - current;
                self.turn_to(current);
                continue;
            };
            let next = 1 - current;
            let context = format!("killed after {limit} operations to plan {next} (seed {})", random.seed());
            let trap = daemon.trap(THREAD, Some(limit));
            deliver(self.lab, &self.host, &self.plans[next]);
            let done = self.await_death(&daemon, trap, next);
            self.lab.log(format!("{context}; last: {:?}", done.last()));
            (self.invariants)(&context);

            // Half of the time somebody takes the plan back before the daemon is started again.
            current = if random.once_in(2) { next } else { current };
            deliver(self.lab, &self.host, &self.plans[current]);
            daemon = self.start();
            self.wait_for(current);
            let mut last = Vec::new();
            let started = Instant::now();
            while started.elapsed() < PATIENCE && last != looks[current] {
                last = self.look();
            }
            assert_same(&looks[current], &last, &format!("{context}, then started with plan {current}"));
            (self.invariants)(&context);
        }
    }

    /// Until it is dead, by the trap or, when there was less to do than the trap waits for, by hand.
    fn await_death(&self, daemon: &Daemon, trap: Trap, plan: usize) -> Vec<String> {
        let started = Instant::now();
        let mut done_at = None;
        while daemon.is_running() {
            assert!(started.elapsed() < PATIENCE, "neither killed nor done: {:?}", trap.done());
            let operations = trap.done().len();
            if status(&self.host).is_some_and(|status| status["convergence"]["converged"] == true)
                && (self.complete)(plan)
            {
                let (at, then) = *done_at.get_or_insert((Instant::now(), operations));
                if then != operations {
                    done_at = None;
                } else if at.elapsed() > Duration::from_secs(1) {
                    daemon.kill9();
                }
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        trap.wait().into_iter().map(|record| record.what.0).collect()
    }
}

/// At most `most` places between `operations`, before the first and after the last included, last ones first.
fn spread(random: &mut Random, operations: usize, most: usize) -> Vec<usize> {
    let all = operations + 1;
    if most >= all {
        return (0..all).rev().collect();
    }
    // One of each equal part, so that all phases are met.
    (0..most).map(|part| (part * all + random.below(all)) / most).rev().collect()
}
