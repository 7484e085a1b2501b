//! Random drift: a running daemon, and mutations of every kind by `ipvsadm`, `ip` and writes to settings, one
//! after another. Each is repaired, or reported as the plan's mode says; what is not ours is never touched.

use std::time::{Duration, Instant};

use lab::{Daemon, Host, Lab, eventually, guest_with};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::look::{assert_same, look};
use crate::random::Random;
use crate::support::{PATIENCE, deliver, difference, size, status, time_limit, wait_converged};

mod mutation;
mod world;

use mutation::{Mutation, What};
use world::World;

/// Mutations of the normal run; `EVENKEEL_MUTATIONS` sets another number.
const NORMAL: usize = 30;
/// One of so many is made while the plan says to report.
const REPORTED: usize = 10;
/// Longest time between two full looks of the daemon.
const RESYNC: Duration = Duration::from_secs(1);
/// The election looks at the rules and routes of VIPs as often, whatever the plan says.
const ELECTION_RESYNC: Duration = Duration::from_secs(5);
/// Time that a repair may take beyond the resync time on a machine that is busy with other things.
const BUSY: Duration = Duration::from_secs(4);

#[test]
fn whatever_is_changed_by_hand_is_repaired_or_reported_and_what_is_not_ours_is_never_touched() {
    let mutations = size("EVENKEEL_MUTATIONS", NORMAL);
    guest_with(time_limit(Duration::from_secs(150), mutations, NORMAL), |lab| {
        let mut random = Random::from_environment();
        let host = lab.host("dir1", "192.168.188.108/24");
        let mut world = World::new(&mut random);
        let plans = [world.plan(&host, false), world.plan(&host, true)];
        lab.artefact("plan.toml", &plans[0]);
        deliver(lab, &host, &plans[0]);
        let daemon = lab.plans("plans").start(&host);
        eventually(PATIENCE, "the daemon answers", || status(&host).is_some());
        wait_converged(&host, &plans[0]);
        eventually(PATIENCE, "the VIPs are there", || world.announced(&host));
        let mut proof =
            Proof { lab, host: host.clone(), daemon, plans, wanted: Vec::new(), took: Vec::new() };
        proof.wanted = proof.look();

        let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
        for number in 0..mutations {
            let reporting = number % REPORTED == REPORTED - 1;
            let mutation = mutation::choose(&mut random, &mut world, reporting);
            let context = format!(
                "mutation {number} of seed {}: {} ({:?})",
                random.seed(),
                mutation.name,
                mutation.commands
            );
            *kinds.entry(mutation.name).or_default() += 1;
            lab.log(&context);
            match mutation.what {
                _ if reporting => proof.reported(&mutation, &context),
                What::Ours => proof.repaired(&mutation, &context),
                What::Everything => {
                    // What others have in the table goes with it, and nobody brings it back.
                    let foreign = std::mem::take(&mut world.foreign_services);
                    let gone = |line: &String| foreign.iter().any(|front| line.contains(front.as_str()));
                    proof.wanted.retain(|line| !gone(line));
                    world.foreign.retain(|(name, _)| !foreign.contains(name));
                    proof.repaired(&mutation, &context);
                }
                What::Foreign { ref object } => proof.foreign(&mutation, object, &context),
                What::InTheWay { ref object, ref undo } => {
                    proof.in_the_way(&mutation, object, undo, &context)
                }
            }
        }
        std::thread::sleep(RESYNC + RESYNC);
        assert_same(&proof.wanted, &proof.look(), "at the end");
        assert!(proof.daemon.is_running());
        let mut took = proof.took;
        took.sort();
        lab.log(format!("{kinds:?}"));
        if let (Some(median), Some(longest)) = (took.get(took.len() / 2), took.last()) {
            lab.log(format!("{} repairs: half within {median:?}, all within {longest:?}", took.len()));
        }
    });
}

struct Proof<'l> {
    lab: &'l Lab,
    host: Host,
    daemon: Daemon,
    /// That repairs, and that reports.
    plans: [String; 2],
    /// Look of the host while nobody meddles, foreign objects included.
    wanted: Vec<String>,
    took: Vec<Duration>,
}

impl Proof<'_> {
    fn look(&self) -> Vec<String> {
        look(&self.host, &world::settings())
    }

    fn status(&self) -> Value {
        let mut found = None;
        eventually(PATIENCE, "the daemon answers", || {
            found = status(&self.host);
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// One of several commands is made as a whole: the daemon would repair the first before the second comes.
    fn make(&self, mutation: &Mutation) {
        let several = mutation.commands.len() > 1;
        if several {
            self.daemon.signal(Signal::SIGSTOP);
        }
        mutation.make(&self.host);
        if several {
            self.daemon.signal(Signal::SIGCONT);
        }
    }

    /// Looks again until the host is as wanted; what is still different when that takes too long.
    fn back_within(&self, limit: Duration) -> Result<Duration, String> {
        let began = Instant::now();
        loop {
            let asked = began.elapsed();
            let now = self.look();
            if now == self.wanted {
                return Ok(asked);
            }
            if asked > limit {
                return Err(difference(&self.wanted, &now));
            }
        }
    }

    fn repaired(&mut self, mutation: &Mutation, context: &str) {
        let before = self.status()["convergence"]["drifts"].clone();
        self.make(mutation);
        let limit = if mutation.name.ends_with("of a VIP deleted") { ELECTION_RESYNC } else { RESYNC };
        match self.back_within(limit + BUSY) {
            Ok(took) => self.took.push(took),
            Err(difference) => {
                panic!("{context}: not repaired:\n{difference}{:#}", self.status()["convergence"])
            }
        }
        // It was seen and told, so it was a change at all.
        eventually(PATIENCE, &format!("{context}: it is in the history of drift"), || {
            self.status()["convergence"]["drifts"] != before
        });
    }

    /// With the other plan: told and left, until the first plan is back.
    fn reported(&mut self, mutation: &Mutation, context: &str) {
        deliver(self.lab, &self.host, &self.plans[1]);
        wait_converged(&self.host, &self.plans[1]);
        let before = self.status()["convergence"]["drifts"].as_array().cloned().unwrap_or_default();
        self.make(mutation);
        let mutated = self.look();
        assert_ne!(mutated, self.wanted, "{context}: changed nothing");
        eventually(RESYNC + BUSY, &format!("{context}: it is reported"), || {
            let convergence = &self.status()["convergence"];
            let drifts = convergence["drifts"].as_array().cloned().unwrap_or_default();
            let fresh = |drift: &&Value| !before.contains(drift) && drift["outcome"] == "reported";
            convergence["reported_drift"].as_u64() > Some(0) && drifts.iter().any(|drift| fresh(&drift))
        });
        std::thread::sleep(RESYNC + RESYNC / 2);
        assert_same(&mutated, &self.look(), &format!("{context}: to be left"));
        deliver(self.lab, &self.host, &self.plans[0]);
        wait_converged(&self.host, &self.plans[0]);
        if let Err(difference) = self.back_within(RESYNC + BUSY) {
            panic!("{context}: not repaired once the plan said so:\n{difference}");
        }
    }

    /// Added, removed or changed by others: from then on it is to stay so.
    fn foreign(&mut self, mutation: &Mutation, object: &str, context: &str) {
        self.make(mutation);
        let now = self.look();
        let gone = self.wanted.iter().filter(|line| !now.contains(line));
        let come = now.iter().filter(|line| !self.wanted.contains(line));
        let touched: Vec<&String> = gone.chain(come).collect();
        let only_it = touched.iter().all(|line| line.contains(object));
        assert!(only_it && !touched.is_empty(), "{context}: {touched:#?}");
        self.wanted = now;
    }

    /// Others' things in the place of ours are left and told; ours comes back when they go.
    fn in_the_way(&mut self, mutation: &Mutation, object: &str, undo: &[String], context: &str) {
        self.make(mutation);
        eventually(RESYNC + BUSY, &format!("{context}: the conflict is told"), || {
            let errors = self.status()["convergence"]["errors"].as_array().cloned().unwrap_or_default();
            errors.iter().any(|error| {
                error["class"] == "conflict"
                    && error["operation"].as_str().is_some_and(|text| text.contains(object))
            })
        });
        let mutated = self.look();
        std::thread::sleep(RESYNC + RESYNC / 2);
        assert_same(&mutated, &self.look(), &format!("{context}: to be left"));
        self.host.run(undo);
        // What failed is tried again with growing pauses.
        if let Err(difference) = self.back_within(RESYNC + BUSY) {
            panic!(
                "{context}: not repaired after `{undo:?}`:\n{difference}{:#}",
                self.status()["convergence"]
            );
        }
    }
}
