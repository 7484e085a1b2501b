//! Programs of hooks: those of one change run one after the other, those of different subjects beside each
//! other. The head decides when a change is run.

use std::collections::BTreeMap;

use evenkeel_host::hooks::line::HookChange;
use evenkeel_host::hooks::states::Subject;
use evenkeel_kernel::clock;
use evenkeel_schemas::plan::Hook;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::programs::run::{self, Program};
use crate::system::files::Trust;

/// Reports the end of a run, however it ends.
struct Finish {
    subject: Option<Subject>,
    ended: mpsc::UnboundedSender<Subject>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        if let Some(subject) = self.subject.take() {
            self.ended.send(subject).ok();
        }
    }
}

/// Runs programs of hooks. Lives within a tokio runtime.
pub(crate) struct Runner {
    /// Tasks by router or group: the head has one change of each run at a time.
    running: BTreeMap<Subject, JoinHandle<()>>,
    /// Owners whose programs are run.
    trust: Trust,
    ended: mpsc::UnboundedSender<Subject>,
}

impl Runner {
    /// `ended` gets the router or group of each change whose programs have ended.
    pub(crate) const fn new(trust: Trust, ended: mpsc::UnboundedSender<Subject>) -> Self {
        Self { running: BTreeMap::new(), trust, ended }
    }

    /// Runs the programs of a change, in their order.
    pub(crate) fn run(&mut self, subject: Subject, change: HookChange) {
        let finish = Finish { subject: Some(subject.clone()), ended: self.ended.clone() };
        let (trust, of) = (self.trust, subject.clone());
        let programs = async move {
            // Dropped at the end, also when the task is aborted or panics: the head would wait for it for
            // ever.
            let _finish = finish;
            for hook in &change.hooks {
                program(&of, &change, hook, trust).await;
            }
        };
        self.running.insert(subject, tokio::spawn(programs));
    }

    /// Ends the programs that still run.
    pub(crate) async fn stop(self) {
        for run in self.running.into_values() {
            run.abort();
            // Its program ends with it, and everything that the program started.
            run.await.ok();
        }
    }
}

async fn program(subject: &Subject, change: &HookChange, hook: &Hook, trust: Trust) {
    let Hook { command, user, timeout, state_arguments } = hook;
    let state = if *state_arguments { subject.arguments(change) } else { Vec::new() };
    let environment = subject.environment(change);
    let began = clock::now();
    let limit = timeout.as_duration();
    let user = user.as_deref();
    let ended =
        run::run(Program { command, arguments: &state, environment: &environment, user, limit, trust }).await;
    // Arguments are not logged: they may hold secrets.
    let program = command.first().map(String::as_str).unwrap_or_default();
    let took = clock::now().since(began).as_millis();
    let took = u64::try_from(took).unwrap_or(u64::MAX);
    let state = change.state;
    if ended.is_success() {
        info!(%subject, %state, program, took_ms = took, "hook of {subject} for {state}: {program}: {ended} \
            after {took} ms");
    } else {
        warn!(%subject, %state, program, took_ms = took, "hook of {subject} for {state}: {program}: {ended} \
            after {took} ms");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use evenkeel_host::hooks::line::HookState;
    use evenkeel_schemas::scalars::{Name, Span};

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    fn hook(words: &[&str], state_arguments: bool) -> Hook {
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("user").name;
        Hook {
            command: words.iter().map(|word| (*word).to_owned()).collect(),
            user: Some(me),
            timeout: Span::from_secs(5),
            state_arguments,
        }
    }

    fn change(state: HookState, priority: u8, group: Option<Name>, hooks: Vec<Hook>) -> HookChange {
        HookChange { state, priority, reason: "because".to_owned(), group, hooks }
    }

    async fn runs(changes: Vec<(Subject, HookChange)>) {
        let (ended, mut ends) = mpsc::unbounded_channel();
        let mut runner = Runner::new(Trust::Owned, ended);
        for (subject, change) in changes {
            runner.run(subject.clone(), change);
            let end = tokio::time::timeout(Duration::from_secs(30), ends.recv()).await.expect("in time");
            assert_eq!(end, Some(subject));
        }
        runner.stop().await;
    }

    fn lines(log: &Path) -> Vec<String> {
        std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn programs_run_in_order_with_arguments_and_environment() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let hook = |what: &str, slow: &str| {
            let script = format!(
                "{slow}; echo {what} $0 $1 $2 $3 r=$EVENKEEL_ROUTER g=$EVENKEEL_GROUP s=$EVENKEEL_STATE \
                 p=$EVENKEEL_PRIORITY w=$EVENKEEL_REASON >> {}",
                log.display()
            );
            hook(&["/bin/sh", "-c", &script], true)
        };
        let hooks = vec![hook("first", "sleep 0.2"), hook("then", "true")];
        let router = change(HookState::Master, 100, Some(name("G")), hooks);
        let group = change(HookState::Backup, 0, None, vec![hook("group", "true")]);
        runs(vec![(Subject::Router(name("VI_1")), router), (Subject::Group(name("G")), group)]).await;
        assert_eq!(
            lines(&log),
            [
                "first INSTANCE VI_1 MASTER 100 r=VI_1 g=G s=MASTER p=100 w=because",
                "then INSTANCE VI_1 MASTER 100 r=VI_1 g=G s=MASTER p=100 w=because",
                "group GROUP G BACKUP 0 r= g=G s=BACKUP p=0 w=because",
            ]
        );
    }

    /// keepalived 2.2.7 runs `notify_master "P start 'a b'"` with two arguments, and `notify` with four more.
    #[tokio::test]
    async fn a_hook_without_state_arguments_gets_its_own_and_no_more() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let script = format!("{{ printf '%s' $#; printf ' [%s]' \"$@\"; echo; }} >> {}", log.display());
        let words = ["/bin/sh", "-c", &script, "/bin/sh", "start", "a b", ""];
        let hooks = vec![hook(&words, false), hook(&words, true)];
        runs(vec![(Subject::Router(name("VI_1")), change(HookState::Master, 100, None, hooks))]).await;
        assert_eq!(
            lines(&log),
            ["3 [start] [a b] []", "7 [start] [a b] [] [INSTANCE] [VI_1] [MASTER] [100]"]
        );
    }

    #[tokio::test]
    async fn programs_of_hooks_are_ended_when_the_daemon_stops() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let log = scratch.path().join("log");
        let script = format!("echo began >> {0}; sleep 60; echo ended >> {0}", log.display());
        let (ended, _ends) = mpsc::unbounded_channel();
        let mut runner = Runner::new(Trust::Owned, ended);
        let hooks = vec![hook(&["/bin/sh", "-c", &script], true)];
        runner.run(Subject::Router(name("VI_1")), change(HookState::Master, 100, None, hooks));
        let began = async {
            while lines(&log).is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), began).await.expect("it runs");
        tokio::time::timeout(Duration::from_secs(30), runner.stop()).await.expect("in time");
        assert_eq!(lines(&log), ["began"]);
    }
}
