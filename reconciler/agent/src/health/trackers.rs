//! Trackers at work: a task for each thing that is looked at, and all of their states.
//!
//! ```text
//!   program, file -- a task each --+
//!   processes ------ one task -----+-- findings --> states --> election (all of them, at each change)
//!   interfaces ----- one task -----+                  ^
//!   services ---------- verdicts of health checks ----+
//! ```
//!
//! What a look means is the health crate's. Looks of one task never overlap.

mod interfaces;
mod looks;
mod processes;
mod services;

use std::collections::BTreeMap;

use evenkeel_health::{Board, Finding, Trackers};
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Initially, Plan, Tracker, Watch};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::TrackerStatus;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::TrackerState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::system::files::Trust;

/// What a task found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Which task; one that was replaced says nothing any more.
    task: u64,
    name: Name,
    finding: Finding,
}

/// A task's way to tell what it found.
#[derive(Clone)]
struct Teller {
    task: u64,
    found: mpsc::Sender<Found>,
}

impl Teller {
    /// Tells it. Fails when nobody listens any more.
    async fn tell(&self, name: &Name, finding: Finding) -> Result<(), mpsc::error::SendError<Found>> {
        self.found.send(Found { task: self.task, name: name.clone(), finding }).await
    }
}

/// What a task looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Interfaces,
    Processes,
    One(Name),
}

struct Task {
    id: u64,
    trackers: Vec<Tracker>,
    handle: JoinHandle<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The trackers of a host. Lives within a tokio runtime.
pub(crate) struct Watching {
    states: Trackers,
    tasks: BTreeMap<Subject, Task>,
    /// What the trackers of the plan before said last: the election has its routers until it gets
    /// the new ones.
    leaving: BTreeMap<Name, TrackerState>,
    services: Vec<Tracker>,
    next_task: u64,
    /// Whose programs are run.
    trust: Trust,
    found: mpsc::Sender<Found>,
}

impl Watching {
    /// No trackers; tasks will tell `found`.
    pub(crate) fn new(found: mpsc::Sender<Found>, trust: Trust) -> Self {
        Self {
            states: Trackers::new(),
            tasks: BTreeMap::new(),
            leaving: BTreeMap::new(),
            services: Vec::new(),
            next_task: 0,
            trust,
            found,
        }
    }

    /// An earlier daemon was Master until just now: until their first look, trackers count as
    /// succeeding, whatever else they begin with. A restart is no reason to hand over.
    pub(crate) fn go_on(&mut self, plan: &Plan) {
        let mut trackers = plan.trackers.clone();
        trackers.iter_mut().for_each(|tracker| tracker.initially = Initially::Up);
        self.states.configure(&trackers);
    }

    /// Takes the trackers of a new plan. Tasks whose trackers did not change go on.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        self.leaving = self.all();
        self.states.configure(&plan.trackers);
        self.services.clear();
        let mut wanted: BTreeMap<Subject, Vec<Tracker>> = BTreeMap::new();
        for tracker in &plan.trackers {
            let subject = match &tracker.watch {
                Watch::Interface { .. } => Subject::Interfaces,
                Watch::Process { .. } => Subject::Processes,
                Watch::Script { .. } | Watch::File { .. } => Subject::One(tracker.name.clone()),
                Watch::Service { .. } => {
                    self.services.push(tracker.clone());
                    continue;
                }
            };
            wanted.entry(subject).or_default().push(tracker.clone());
        }
        self.tasks.retain(|subject, task| wanted.get(subject) == Some(&task.trackers));
        let mut new = 0;
        for (subject, trackers) in wanted {
            if !self.tasks.contains_key(&subject) {
                self.start(subject, trackers, new);
                new += 1;
            }
        }
    }

    /// Starts a task, the `n`-th of several at once.
    fn start(&mut self, subject: Subject, trackers: Vec<Tracker>, n: u32) {
        let id = self.next_task;
        self.next_task += 1;
        let teller = Teller { task: id, found: self.found.clone() };
        let handle = match (&subject, trackers.first()) {
            (Subject::Interfaces, _) => tokio::spawn(interfaces::watch(trackers.clone(), teller)),
            (Subject::Processes, _) => tokio::spawn(processes::watch(trackers.clone(), teller)),
            (Subject::One(_), Some(tracker)) => {
                tokio::spawn(looks::watch(tracker.clone(), n, self.trust, teller))
            }
            (Subject::One(_), None) => return,
        };
        self.tasks.insert(subject, Task { id, trackers, handle });
    }

    /// The election has the routers of the plan in force: what left the plan is forgotten.
    pub(crate) fn settled(&mut self) {
        self.leaving.clear();
    }

    /// Takes what a task found; whether what the election sees has changed.
    pub(crate) fn found(&mut self, Found { task, name, finding }: Found) -> bool {
        self.tasks.values().any(|running| running.id == task) && self.take(&name, finding, clock::now())
    }

    /// Whether a service is tracked: verdicts then matter here.
    pub(crate) fn track_services(&self) -> bool {
        !self.services.is_empty()
    }

    /// Looks at the verdicts; whether what the election sees has changed.
    pub(crate) fn look_at_services(&mut self, plan: &Plan, board: &Board) -> bool {
        let now = clock::now();
        let findings: Vec<(Name, Finding)> = self
            .services
            .iter()
            .filter_map(|tracker| Some((tracker.name.clone(), services::look(tracker, plan, board, now)?)))
            .collect();
        // No short-circuit: each of them is to be taken.
        findings.into_iter().fold(false, |changed, (name, finding)| self.take(&name, finding, now) | changed)
    }

    fn take(&mut self, name: &Name, finding: Finding, now: MonoTime) -> bool {
        let before = self.states.get(name).map(|state| state.up);
        let Some(state) = self.states.found(name, finding, now) else { return false };
        match (before, state.up) {
            (Some(true), false) => warn!("tracker {name} fails: {}", state.reason),
            (Some(false), true) => info!("tracker {name} succeeds: {}", state.reason),
            _ => info!("tracker {name}: {}", state.reason),
        }
        true
    }

    /// What the election has to know: all states by name.
    pub(crate) fn all(&self) -> BTreeMap<Name, TrackerState> {
        let mut all = self.leaving.clone();
        let states = self.states.iter();
        all.extend(states.map(|(name, _, s)| (name.clone(), TrackerState { up: s.up, value: s.value })));
        all
    }

    /// For status.
    pub(crate) fn status(&self) -> Vec<TrackerStatus> {
        let now = clock::now();
        let age = |at: MonoTime| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let states = self.states.iter();
        states
            .map(|(name, _, state)| TrackerStatus {
                name: name.clone(),
                up: state.up,
                value: state.value,
                reason: state.reason.clone(),
                last_look_age_ms: state.looked.map(age),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_schemas::scalars::{Retries, Span};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    fn plan(trackers: Vec<Tracker>) -> Plan {
        let text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
                    [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n";
        Plan { trackers, ..toml::from_str(text).expect("plan") }
    }

    fn file(path: &str) -> Tracker {
        let watch = Watch::File { path: path.to_owned(), interval: "50ms".parse().expect("span") };
        Tracker { name: name("file"), initially: Initially::Up, watch }
    }

    fn script(command: &str) -> Tracker {
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("user").name;
        let watch = Watch::Script {
            command: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
            user: Some(me),
            interval: "50ms".parse().expect("span"),
            timeout: Span::from_secs(30),
            rise: Retries::new(1).expect("rise"),
            fall: Retries::new(2).expect("fall"),
        };
        Tracker { name: name("script"), initially: Initially::Up, watch }
    }

    /// Takes findings until the tracker is as wanted.
    async fn until(
        watching: &mut Watching,
        found: &mut mpsc::Receiver<Found>,
        tracker: &str,
        wanted: TrackerState,
    ) {
        let wait = async {
            while watching.all().get(&name(tracker)) != Some(&wanted) {
                let found = found.recv().await.expect("tasks run");
                watching.found(found);
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| {
            panic!("{tracker} never became {wanted:?}: {:?}", watching.status());
        });
    }

    const fn state(up: bool, value: Option<i64>) -> TrackerState {
        TrackerState { up, value }
    }

    #[tokio::test]
    async fn files_and_programs_are_followed_and_what_leaves_stays_until_the_election_knows() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("number");
        let flag = scratch.path().join("flag");
        let (sender, mut found) = mpsc::channel(16);
        let mut watching = Watching::new(sender, Trust::Owned);
        let all = [file(&path.to_string_lossy()), script(&format!("[ -e {} ]", flag.display()))];
        watching.configure(&plan(all.to_vec()));
        assert_eq!(watching.all().get(&name("file")), Some(&state(true, None)), "as the plan begins");
        until(&mut watching, &mut found, "file", state(false, None)).await;
        until(&mut watching, &mut found, "script", state(false, None)).await;
        std::fs::write(&path, "12\n").expect("write");
        std::fs::write(&flag, "").expect("write");
        until(&mut watching, &mut found, "file", state(true, Some(12))).await;
        until(&mut watching, &mut found, "script", state(true, None)).await;
        std::fs::write(&path, "-1\n").expect("write");
        until(&mut watching, &mut found, "file", state(false, Some(-1))).await;
        let task = watching.tasks.values().map(|task| task.id).collect::<Vec<_>>();
        watching.configure(&plan(all.to_vec()));
        assert_eq!(task, watching.tasks.values().map(|task| task.id).collect::<Vec<_>>(), "nothing new");
        watching.configure(&plan(Vec::new()));
        assert_eq!(watching.all().get(&name("file")), Some(&state(false, Some(-1))));
        watching.settled();
        assert!(watching.all().is_empty() && watching.status().is_empty() && watching.tasks.is_empty());
    }

    #[tokio::test]
    async fn after_a_restart_as_master_nothing_fails_before_it_was_looked_at() {
        let (sender, _found) = mpsc::channel(16);
        let down = Tracker { initially: Initially::Down, ..file("/no/such/file") };
        let plan = plan(vec![down]);
        let mut watching = Watching::new(sender.clone(), Trust::Owned);
        watching.configure(&plan);
        assert_eq!(watching.all().get(&name("file")), Some(&state(false, None)));
        let mut watching = Watching::new(sender, Trust::Owned);
        watching.go_on(&plan);
        watching.configure(&plan);
        assert_eq!(watching.all().get(&name("file")), Some(&state(true, None)));
    }

    #[tokio::test]
    async fn the_loopback_interface_is_up_and_one_that_is_not_there_is_down() {
        let (sender, mut found) = mpsc::channel(16);
        let mut watching = Watching::new(sender, Trust::Owned);
        let one = |tracker: &str, interface: &str, initially| Tracker {
            name: name(tracker),
            initially,
            watch: Watch::Interface { interface: interface.parse().expect("interface") },
        };
        let trackers = vec![one("lo", "lo", Initially::Down), one("none", "no-such-if0", Initially::Up)];
        watching.configure(&plan(trackers));
        until(&mut watching, &mut found, "none", state(false, None)).await;
        until(&mut watching, &mut found, "lo", state(true, None)).await;
    }

    #[tokio::test]
    async fn processes_are_counted() {
        let (sender, mut found) = mpsc::channel(16);
        let mut watching = Watching::new(sender, Trust::Owned);
        let one = |tracker: &str, process: &str| Tracker {
            name: name(tracker),
            initially: Initially::Up,
            watch: Watch::Process { process: process.to_owned(), quorum: 1 },
        };
        let scratch = tempfile::tempdir().expect("tempdir");
        let program = scratch.path().join("ek-tracked");
        std::fs::copy("/bin/sleep", &program).expect("copy");
        let path = program.to_string_lossy().into_owned();
        watching.configure(&plan(vec![one("comm", "ek-tracked"), one("path", &path)]));
        until(&mut watching, &mut found, "comm", state(false, None)).await;
        until(&mut watching, &mut found, "path", state(false, None)).await;
        let mut child = std::process::Command::new(&program).arg("300").spawn().expect("start");
        until(&mut watching, &mut found, "comm", state(true, None)).await;
        until(&mut watching, &mut found, "path", state(true, None)).await;
        // Not reaped: a zombie does not run.
        child.kill().expect("kill");
        until(&mut watching, &mut found, "comm", state(false, None)).await;
        child.wait().expect("wait");
    }
}
