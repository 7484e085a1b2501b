//! Hooks: programs of the plan that are told of changes of virtual routers and sync groups.
//!
//! ```text
//!   notices of the election --> states --changes--> a line each router and group --> one program at a time
//! ```
//!
//! Nobody waits for a program: what comes faster than it runs waits in its line, which is short; when
//! it is full the oldest change goes, so the last one is always told. A state that flaps is told twenty times a minute, and how it
//! ends. What a state is is decided in
//! `states`, who runs next in `line`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::plan::{Hook, Plan};
use evenkeel_schemas::scalars::Name;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::programs::run::{self, Program};
use crate::system::files::Trust;
use evenkeel_host::election::Notice;

use evenkeel_host::hooks::line::{Change, Line};
use evenkeel_host::hooks::states::States;
use evenkeel_host::hooks::states::Subject;

/// How long the daemon waits for programs when it stops: less than service managers wait for it.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// A program of this router or group has ended; the next one may run.
pub(crate) struct Done(Subject);

/// Tells that a run is over, however it ended.
struct Finish {
    subject: Option<Subject>,
    done: mpsc::UnboundedSender<Done>,
}

impl Finish {
    fn nothing_ran(mut self) {
        self.subject = None;
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(subject) = self.subject.take() {
            self.done.send(Done(subject)).ok();
        }
    }
}

/// The hooks of a host. Lives within a tokio runtime.
pub(crate) struct Hooks {
    states: States,
    lines: BTreeMap<Subject, Line>,
    running: BTreeMap<Subject, JoinHandle<()>>,
    /// Of these, those where nothing runs: a state that flaps is not told each time.
    pausing: BTreeSet<Subject>,
    /// Changes that were never told to subjects that are gone.
    dropped: u64,
    /// Whose programs are run.
    trust: Trust,
    /// At most one word a line waits here.
    done: mpsc::UnboundedSender<Done>,
}

impl Hooks {
    /// No hooks yet, and the channel on which lines say that they are free.
    pub(crate) fn new(trust: Trust) -> (Self, mpsc::UnboundedReceiver<Done>) {
        let (done, receiver) = mpsc::unbounded_channel();
        let hooks = Self {
            states: States::default(),
            lines: BTreeMap::new(),
            running: BTreeMap::new(),
            pausing: BTreeSet::new(),
            dropped: 0,
            trust,
            done,
        };
        (hooks, receiver)
    }

    /// These routers were Master when the daemon before ended, and go on: their programs know.
    pub(crate) fn adopting(&mut self, routers: BTreeSet<Name>) {
        self.states.adopting(routers);
    }

    /// Changes that were never told because programs did not keep up, or because there were too many.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped + self.lines.values().map(|line| line.dropped).sum::<u64>()
    }

    /// Logs how many changes were not told, a line a minute for each router and group.
    pub(crate) fn log_dropped(&mut self) {
        let now = clock::now();
        for (subject, line) in &mut self.lines {
            if let Some(changes) = line.unsaid(now) {
                let dropped = line.dropped;
                warn!(
                    "hooks of {subject} were not told {changes} changes, which came too fast ({dropped} so far): \
                     the last state is always told"
                );
            }
        }
    }

    /// Takes a new plan. What leaves it is told when it has stopped.
    pub(crate) fn configure(&mut self, plan: &Plan) {
        self.states.configure(plan);
    }

    /// The election was given the routers of the plan in force.
    pub(crate) fn settled(&mut self) {
        let changes = self.states.settled();
        self.tell(changes);
    }

    /// Takes what the election has to say.
    pub(crate) fn noticed(&mut self, notice: &Notice) {
        let changes = self.states.noticed(notice);
        self.tell(changes);
    }

    fn tell(&mut self, changes: Vec<(Subject, Change)>) {
        for (subject, change) in changes {
            let line = self.lines.entry(subject.clone()).or_default();
            line.push(change);
            if self.pausing.contains(&subject) && line.pause(clock::now()).is_none() {
                // It stops: that is told now.
                self.end_pause(&subject);
            } else {
                self.next(&subject);
            }
        }
    }

    /// Starts what waits in a line if nothing of it runs.
    fn next(&mut self, subject: &Subject) {
        if self.running.contains_key(subject) {
            return;
        }
        let now = clock::now();
        let finish = Finish { subject: Some(subject.clone()), done: self.done.clone() };
        if let Some(until) = self.lines.get(subject).and_then(|line| line.pause(now)) {
            let pause = async move {
                let _finish = finish;
                tokio::time::sleep(now.until(until)).await;
            };
            self.pausing.insert(subject.clone());
            self.running.insert(subject.clone(), tokio::spawn(pause));
            return;
        }
        let Some(change) = self.lines.get_mut(subject).and_then(|line| line.take(now)) else {
            finish.nothing_ran();
            // Who left the plan and has been told is forgotten.
            if !self.states.knows(subject) {
                self.dropped += self.lines.remove(subject).map_or(0, |line| line.dropped);
            }
            return;
        };
        let (subject_, trust) = (subject.clone(), self.trust);
        let run = async move {
            let _finish = finish;
            for hook in &change.hooks {
                run(&subject_, &change, hook, trust).await;
            }
        };
        self.running.insert(subject.clone(), tokio::spawn(run));
    }

    /// A pause is over before its time: that is told as if it had passed.
    fn end_pause(&self, subject: &Subject) {
        if let Some(pause) = self.running.get(subject) {
            pause.abort();
        }
    }

    /// The programs of a change have ended, or a pause.
    pub(crate) fn done(&mut self, Done(subject): Done) {
        self.running.remove(&subject);
        self.pausing.remove(&subject);
        self.next(&subject);
    }

    /// The daemon stops: everything is told that it has stopped, in place of what still waits. Waits
    /// for programs, but not for long.
    pub(crate) async fn stop(mut self, mut done: mpsc::UnboundedReceiver<Done>) {
        let deadline = Instant::now() + STOP_LIMIT;
        for line in self.lines.values_mut() {
            line.keep_stop();
        }
        let changes = self.states.stop();
        self.tell(changes);
        self.log_dropped();
        for subject in &self.pausing {
            self.end_pause(subject);
        }
        while !self.running.is_empty() {
            match timeout_at(deadline, done.recv()).await {
                Ok(Some(free)) => self.done(free),
                Ok(None) => break,
                Err(_) => {
                    let late: Vec<String> = self.running.keys().map(ToString::to_string).collect();
                    warn!("hooks of {} are still running and are killed", late.join(", "));
                    break;
                }
            }
        }
        for run in self.running.into_values() {
            run.abort();
            // Its program ends with it, and all that the program started.
            run.await.ok();
        }
    }
}

async fn run(subject: &Subject, change: &Change, hook: &Hook, trust: Trust) {
    let Hook { command, user, timeout, state_arguments } = hook;
    let state = if *state_arguments { &subject.arguments(change)[..] } else { &[] };
    let environment = subject.environment(change);
    let began = clock::now();
    let limit = timeout.as_duration();
    let user = user.as_deref();
    let program = Program { command, arguments: state, environment: &environment, user, limit, trust };
    let ended = run::run(program).await;
    // Its arguments may be nobody's business.
    let program = command.first().map(String::as_str).unwrap_or_default();
    let took = clock::now().since(began).as_millis();
    let state = change.state;
    if ended.is_success() {
        info!("hook of {subject} for {state}: {program}: {ended} after {took} ms");
    } else {
        warn!("hook of {subject} for {state}: {program}: {ended} after {took} ms");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use evenkeel_host::election::StateChange;
    use evenkeel_schemas::status::RouterState;

    use super::*;

    /// A plan with one router and its hooks, in a group with hooks.
    fn plan(log: &Path, slow: &str) -> Plan {
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("user").name;
        let hook = |what: &str| {
            let script = format!(
                "{slow}; echo {what} $0 $1 $2 $3 r=$EVENKEEL_ROUTER g=$EVENKEEL_GROUP s=$EVENKEEL_STATE \
                 p=$EVENKEEL_PRIORITY w=$EVENKEEL_REASON >> {}",
                log.display()
            );
            format!("{{ command = [\"/bin/sh\", \"-c\", {script:?}], user = {me:?}, timeout = \"5s\" }}")
        };
        let text = format!(
            "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n\
             [[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\nvrid = 1\n\
             priority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\ngarp_delay = \"0s\"\n\
             vips = [\"192.0.2.9/32\"]\nsync_group = \"G\"\n\
             [router.hooks]\nmaster = {}\nbackup = {}\nstop = {}\nany = {}\n\
             [[sync_group]]\nname = \"G\"\n[sync_group.hooks]\nany = {}\n",
            hook("master"),
            hook("backup"),
            hook("stop"),
            hook("any"),
            hook("group"),
        );
        toml::from_str(&text).expect("plan")
    }

    fn notice(to: RouterState, why: &str) -> Notice {
        let (router, group) = ("VI_1".parse::<Name>().expect("name"), "G".parse().ok());
        Notice::State(StateChange {
            label: router.to_string(),
            router,
            group,
            to,
            fault: false,
            priority: 100,
            why: why.to_owned(),
        })
    }

    fn lines(log: &Path) -> Vec<String> {
        std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn programs_are_told_in_order_with_arguments_and_environment() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let (mut hooks, mut done) = Hooks::new(Trust::Owned);
        hooks.configure(&plan(&log, "true"));
        hooks.noticed(&notice(RouterState::Backup, "started"));
        hooks.noticed(&notice(RouterState::Master, "timeout"));
        while !hooks.running.is_empty() {
            let free = tokio::time::timeout(Duration::from_secs(30), done.recv()).await.expect("in time");
            hooks.done(free.expect("a run"));
        }
        hooks.stop(done).await;
        let all = lines(&log);
        let of = |kind: &str| all.iter().filter(|line| line.contains(kind)).cloned().collect::<Vec<_>>();
        let router = |what: &str, state: &str, why: &str| {
            format!("{what} INSTANCE VI_1 {state} 100 r=VI_1 g=G s={state} p=100 w={why}")
        };
        let stop = "the daemon stops";
        assert_eq!(
            of("INSTANCE"),
            [
                router("backup", "BACKUP", "started"),
                router("any", "BACKUP", "started"),
                router("master", "MASTER", "timeout"),
                router("any", "MASTER", "timeout"),
                router("stop", "STOP", stop),
                router("any", "STOP", stop),
            ]
        );
        let group = |state: &str, why: &str| format!("group GROUP G {state} 0 r= g=G s={state} p=0 w={why}");
        assert_eq!(
            of("GROUP"),
            [group("BACKUP", "started"), group("MASTER", "timeout"), group("STOP", stop)]
        );
    }

    /// keepalived 2.2.7 runs `notify_master "P start 'a b'"` with two arguments, and `notify` with four more.
    #[tokio::test]
    async fn a_hook_without_state_arguments_gets_its_own_and_no_more() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let mut plan = plan(&log, "true");
        let script = format!("{{ printf '%s' $#; printf ' [%s]' \"$@\"; echo; }} >> {}", log.display());
        let words = ["/bin/sh", "-c", &script, "/bin/sh", "start", "a b", ""];
        let hooks = &mut plan.routers[0].hooks;
        for (hook, state_arguments) in [(&mut hooks.master, false), (&mut hooks.any, true)] {
            let hook = hook.as_mut().expect("the plan has it");
            hook.command = words.map(str::to_owned).to_vec();
            hook.state_arguments = state_arguments;
        }
        plan.sync_groups.clear();
        let (mut hooks, mut done) = Hooks::new(Trust::Owned);
        hooks.configure(&plan);
        hooks.noticed(&notice(RouterState::Master, "timeout"));
        while !hooks.running.is_empty() {
            let free = tokio::time::timeout(Duration::from_secs(30), done.recv()).await.expect("in time");
            hooks.done(free.expect("a run"));
        }
        assert_eq!(
            lines(&log),
            ["3 [start] [a b] []", "7 [start] [a b] [] [INSTANCE] [VI_1] [MASTER] [100]"]
        );
    }

    #[tokio::test]
    async fn a_flapping_router_with_a_slow_program_loses_the_oldest_and_never_the_last() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let (mut hooks, mut done) = Hooks::new(Trust::Owned);
        hooks.configure(&plan(&log, "sleep 0.01"));
        for n in 0..200 {
            let to = if n % 2 == 0 { RouterState::Backup } else { RouterState::Master };
            hooks.noticed(&notice(to, &n.to_string()));
        }
        assert!(hooks.lines.values().all(|line| line.dropped > 100), "200 changes, a short line");
        assert_eq!(hooks.dropped(), hooks.lines.values().map(|line| line.dropped).sum::<u64>());
        while !hooks.running.is_empty() {
            let free = tokio::time::timeout(Duration::from_secs(30), done.recv()).await.expect("in time");
            hooks.done(free.expect("a run"));
        }
        let told = lines(&log);
        assert!(told.len() < 100, "{} lines", told.len());
        let last = told.iter().rfind(|line| line.starts_with("any")).expect("told");
        assert!(last.ends_with("w=199"), "{last}");
        let numbers: Vec<u32> = told
            .iter()
            .filter(|line| line.starts_with("any"))
            .map(|line| line.rsplit('=').next().expect("why").parse().expect("number"))
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}
