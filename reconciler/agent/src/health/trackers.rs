//! Tasks that observe what trackers watch.
//!
//! ```text
//!   program, file -- a task each --+
//!   processes ------ one task -----+-- findings --> the head of the host
//!   interfaces ----- one task -----+
//! ```
//!
//! The meaning of an observation is decided in the health crate, its consequences by the head. Observations
//! of one task never overlap.

mod interfaces;
mod looks;
mod processes;

use std::collections::BTreeMap;

use evenkeel_health::Finding;
use evenkeel_host::Input;
use evenkeel_schemas::plan::{Tracker, Watch};
use evenkeel_schemas::scalars::Name;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::system::files::Trust;

/// Finding of a task.
#[derive(Debug)]
pub(crate) struct TrackerFinding {
    /// The task; a task that was replaced reports nothing any more.
    task: u64,
    name: Name,
    finding: Finding,
}

/// A task's way to report findings.
#[derive(Clone)]
struct Reporter {
    task: u64,
    found: mpsc::Sender<TrackerFinding>,
}

impl Reporter {
    /// Reports a finding. Fails when nobody listens any more.
    async fn report(
        &self,
        name: &Name,
        finding: Finding,
    ) -> Result<(), mpsc::error::SendError<TrackerFinding>> {
        self.found.send(TrackerFinding { task: self.task, name: name.clone(), finding }).await
    }
}

/// Subject of a task.
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

/// The tasks of a host's trackers. Lives within a tokio runtime.
pub(crate) struct Watching {
    tasks: BTreeMap<Subject, Task>,
    next_task: u64,
    /// Owners whose programs are run.
    trust: Trust,
    found: mpsc::Sender<TrackerFinding>,
}

impl Watching {
    /// No trackers; tasks will send their findings to `found`.
    pub(crate) fn new(found: mpsc::Sender<TrackerFinding>, trust: Trust) -> Self {
        Self { tasks: BTreeMap::new(), next_task: 0, trust, found }
    }

    /// Sets the trackers, other than those of services. A task whose trackers have not changed continues.
    pub(crate) fn configure(&mut self, trackers: Vec<Tracker>) {
        let mut wanted: BTreeMap<Subject, Vec<Tracker>> = BTreeMap::new();
        for tracker in trackers {
            let subject = match &tracker.watch {
                Watch::Interface { .. } => Subject::Interfaces,
                Watch::Process { .. } => Subject::Processes,
                Watch::Script { .. } | Watch::File { .. } => Subject::One(tracker.name.clone()),
                Watch::Service { .. } => continue,
            };
            wanted.entry(subject).or_default().push(tracker);
        }
        // A task that is dropped is aborted.
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
        let reporter = Reporter { task: id, found: self.found.clone() };
        let handle = match (&subject, trackers.first()) {
            (Subject::Interfaces, _) => tokio::spawn(interfaces::watch(trackers.clone(), reporter)),
            (Subject::Processes, _) => tokio::spawn(processes::watch(trackers.clone(), reporter)),
            (Subject::One(_), Some(tracker)) => {
                tokio::spawn(looks::watch(tracker.clone(), n, self.trust, reporter))
            }
            (Subject::One(_), None) => return,
        };
        self.tasks.insert(subject, Task { id, trackers, handle });
    }

    /// A finding as an input; none when its task was replaced meanwhile.
    pub(crate) fn found(&self, TrackerFinding { task, name, finding }: TrackerFinding) -> Option<Input> {
        let runs = self.tasks.values().any(|running| running.id == task);
        runs.then_some(Input::Tracker(name, finding))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_health::Trackers;
    use evenkeel_kernel::clock;
    use evenkeel_schemas::plan::Initially;
    use evenkeel_schemas::scalars::{Retries, Span};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
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

    /// Tasks, and the states that follow from their findings.
    struct Followed {
        watching: Watching,
        found: mpsc::Receiver<TrackerFinding>,
        states: Trackers,
    }

    impl Followed {
        fn new(trackers: &[Tracker]) -> Self {
            let (sender, found) = mpsc::channel(16);
            let mut states = Trackers::new();
            states.configure(trackers);
            let mut watching = Watching::new(sender, Trust::Owned);
            watching.configure(trackers.to_vec());
            Self { watching, found, states }
        }

        fn state(&self, tracker: &str) -> Option<(bool, Option<i64>)> {
            self.states.get(&name(tracker)).map(|state| (state.up, state.value))
        }

        /// Handles findings until the tracker has the wanted state.
        async fn until(&mut self, tracker: &str, wanted: (bool, Option<i64>)) {
            let wait = async {
                while self.state(tracker) != Some(wanted) {
                    let found = self.found.recv().await.expect("tasks run");
                    if let Some(Input::Tracker(name, finding)) = self.watching.found(found) {
                        self.states.found(&name, finding, clock::now());
                    }
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok();
            assert!(in_time, "{tracker} never became {wanted:?}");
        }
    }

    #[tokio::test]
    async fn files_and_programs_are_followed_and_a_task_that_was_replaced_says_nothing() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("number");
        let flag = scratch.path().join("flag");
        let all = [file(&path.to_string_lossy()), script(&format!("[ -e {} ]", flag.display()))];
        let mut followed = Followed::new(&all);
        assert_eq!(followed.state("file"), Some((true, None)), "as the plan begins");
        followed.until("file", (false, None)).await;
        followed.until("script", (false, None)).await;
        std::fs::write(&path, "12\n").expect("write");
        std::fs::write(&flag, "").expect("write");
        followed.until("file", (true, Some(12))).await;
        followed.until("script", (true, None)).await;
        std::fs::write(&path, "-1\n").expect("write");
        followed.until("file", (false, Some(-1))).await;
        let tasks = |watching: &Watching| watching.tasks.values().map(|task| task.id).collect::<Vec<_>>();
        let before = tasks(&followed.watching);
        followed.watching.configure(all.to_vec());
        assert_eq!(before, tasks(&followed.watching), "nothing new");
        let late = TrackerFinding { task: before[0], name: name("file"), finding: Finding::success("late") };
        followed.watching.configure(Vec::new());
        assert!(followed.watching.found(late).is_none() && followed.watching.tasks.is_empty());
    }

    #[tokio::test]
    async fn the_loopback_interface_is_up_and_a_missing_one_is_down() {
        let one = |tracker: &str, interface: &str, initially| Tracker {
            name: name(tracker),
            initially,
            watch: Watch::Interface { interface: interface.parse().expect("interface") },
        };
        let trackers = vec![one("lo", "lo", Initially::Down), one("none", "no-such-if0", Initially::Up)];
        let mut followed = Followed::new(&trackers);
        followed.until("none", (false, None)).await;
        followed.until("lo", (true, None)).await;
    }

    #[tokio::test]
    async fn processes_are_counted() {
        let one = |tracker: &str, process: &str| Tracker {
            name: name(tracker),
            initially: Initially::Up,
            watch: Watch::Process { process: process.to_owned(), quorum: 1 },
        };
        let scratch = tempfile::tempdir().expect("tempdir");
        let program = scratch.path().join("ek-tracked");
        std::fs::copy("/bin/sleep", &program).expect("copy");
        let path = program.to_string_lossy().into_owned();
        let mut followed = Followed::new(&[one("comm", "ek-tracked"), one("path", &path)]);
        followed.until("comm", (false, None)).await;
        followed.until("path", (false, None)).await;
        let mut child = std::process::Command::new(&program).arg("300").spawn().expect("start");
        followed.until("comm", (true, None)).await;
        followed.until("path", (true, None)).await;
        // Not reaped: a zombie does not run.
        child.kill().expect("kill");
        followed.until("comm", (false, None)).await;
        child.wait().expect("wait");
    }
}
