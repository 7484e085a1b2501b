//! Trackers: what one look means, and when looks change a tracker's state. No look is made here.
//!
//! ```text
//!   definition --configure--> Trackers <--found-- the agent's looks (files, processes, programs, interfaces)
//!                                |
//!                                +--> up or down, and a number: what an election makes a priority of
//! ```

use std::collections::BTreeMap;

use evenkeel_schemas::plan::{Initially, Tracker, Watch};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::time::MonoTime;

/// Longest part of a command name that the kernel keeps (`TASK_COMM_LEN` less the terminator, proc(5)).
pub const COMM_MAX: usize = 15;

/// Finding of one examination of a tracker's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it succeeded.
    pub up: bool,
    /// The number in the file; none for other trackers, and when there is none in it.
    pub value: Option<i64>,
    /// Reason, for people.
    pub reason: String,
}

impl Finding {
    /// A success, and why, for people.
    #[must_use]
    pub fn success(reason: impl Into<String>) -> Self {
        Self { up: true, value: None, reason: reason.into() }
    }

    /// A failure, and why, for people.
    #[must_use]
    pub fn failure(reason: impl Into<String>) -> Self {
        Self { up: false, value: None, reason: reason.into() }
    }
}

/// Finding about an interface. `link` is whether it is set up (`IFF_UP`) and has a carrier (`IFF_LOWER_UP`);
/// none when there is no such interface.
#[must_use]
pub fn interface(link: Option<(bool, bool)>) -> Finding {
    match link {
        None => Finding::failure("there is no such interface"),
        Some((false, _)) => Finding::failure("the interface is set down"),
        Some((true, false)) => Finding::failure("the interface has no carrier"),
        Some((true, true)) => Finding::success("up, with carrier"),
    }
}

/// Finding about so many running processes.
#[must_use]
pub fn processes(running: u32, quorum: u32) -> Finding {
    let text = format!("{running} running, {quorum} needed");
    if running >= quorum { Finding::success(text) } else { Finding::failure(text) }
}

/// Whether a process is the one that is meant: by its command name, of which the kernel keeps
/// [`COMM_MAX`] bytes, or, when a slash is in it, by its first argument.
#[must_use]
pub fn is_process(wanted: &str, comm: &[u8], first_argument: &[u8]) -> bool {
    if wanted.contains('/') {
        first_argument == wanted.as_bytes()
    } else {
        let wanted = wanted.as_bytes();
        comm == wanted.get(..COMM_MAX).unwrap_or(wanted)
    }
}

/// Finding about a file: the whole number in its first line. `content` is its beginning, or the reason why it
/// cannot be read.
#[must_use]
pub fn file(content: Result<&[u8], &str>) -> Finding {
    let content = match content {
        Ok(content) => content,
        Err(reason) => return Finding::failure(reason),
    };
    let line = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii();
    match std::str::from_utf8(line).ok().and_then(|line| line.parse::<i64>().ok()) {
        Some(value) => {
            Finding { up: value >= 0, value: Some(value), reason: format!("the number is {value}") }
        }
        None if line.is_empty() => Finding::failure("the first line is empty: no number"),
        None => Finding::failure("the first line is no whole number"),
    }
}

/// Destinations of one virtual server by their state, those of weight 0 left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destinations {
    /// Known to be healthy, or not checked.
    pub healthy: u32,
    /// Not checked yet since the daemon started.
    pub unknown: u32,
    /// Known to have failed.
    pub failed: u32,
}

/// Finding about the virtual servers of a service: each needs its quorum. None while it depends on checks
/// that have not been made yet.
#[must_use]
pub fn service(servers: &[Destinations], quorum: u32) -> Option<Finding> {
    let short = servers.iter().map(|server| server.healthy.saturating_add(server.unknown)).min();
    let sure = servers.iter().map(|server| server.healthy).min();
    match (sure, short) {
        (None, _) | (_, None) => Some(Finding::failure("there is no virtual server of this service")),
        (Some(sure), _) if sure >= quorum => {
            Some(Finding::success(format!("{sure} healthy, {quorum} needed")))
        }
        (_, Some(short)) if short < quorum => {
            Some(Finding::failure(format!("{short} healthy, {quorum} needed")))
        }
        _ => None,
    }
}

/// Numbers of equal findings in a row that change a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hysteresis {
    rise: u8,
    fall: u8,
}

/// One tracker as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether it counts as succeeding.
    pub up: bool,
    /// Number in the file at the last examination.
    pub value: Option<i64>,
    /// Reason of the last finding, for people.
    pub reason: String,
    /// End of the last examination; none before the first.
    pub looked: Option<MonoTime>,
    /// Looks in a row that found something else than `up`.
    against: u8,
}

impl State {
    fn new(initially: Initially) -> Self {
        Self {
            up: initially == Initially::Up,
            value: None,
            reason: "not looked at yet".to_owned(),
            looked: None,
            against: 0,
        }
    }

    /// Takes a finding; whether what an election sees of it changed.
    fn found(&mut self, finding: Finding, hysteresis: Hysteresis, now: MonoTime) -> bool {
        let before = (self.up, self.value);
        self.looked = Some(now);
        self.reason = finding.reason;
        self.value = finding.value;
        if finding.up == self.up {
            self.against = 0;
        } else {
            self.against = self.against.saturating_add(1);
            let needed = if finding.up { hysteresis.rise } else { hysteresis.fall };
            if self.against >= needed.max(1) {
                self.up = finding.up;
                self.against = 0;
            }
        }
        before != (self.up, self.value)
    }
}

/// All trackers of a host, by name.
#[derive(Debug, Clone, Default)]
pub struct Trackers {
    trackers: BTreeMap<Name, (Tracker, State)>,
}

impl Trackers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the trackers of a new plan. One that still watches the same keeps its state, whatever
    /// else of it changed; others begin as their definition says.
    pub fn configure(&mut self, trackers: &[Tracker]) {
        let mut before = std::mem::take(&mut self.trackers);
        for tracker in trackers {
            let kept = before.remove(&tracker.name);
            let state = match kept {
                Some((old, state)) if watches_the_same(&old.watch, &tracker.watch) => state,
                _ => State::new(tracker.initially),
            };
            self.trackers.insert(tracker.name.clone(), (tracker.clone(), state));
        }
    }

    /// Records a finding. Returns the tracker's state when the part of it that an election sees has changed.
    /// An unknown name is ignored.
    pub fn found(&mut self, name: &Name, finding: Finding, now: MonoTime) -> Option<&State> {
        let (tracker, state) = self.trackers.get_mut(name)?;
        let hysteresis = match &tracker.watch {
            Watch::Script { rise, fall, .. } => Hysteresis { rise: rise.get(), fall: fall.get() },
            _ => Hysteresis { rise: 1, fall: 1 },
        };
        state.found(finding, hysteresis, now).then_some(state)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Tracker, &State)> {
        self.trackers.iter().map(|(name, (tracker, state))| (name, tracker, state))
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&State> {
        self.trackers.get(name).map(|(_, state)| state)
    }
}

/// Whether a finding of one says something about the other.
fn watches_the_same(before: &Watch, after: &Watch) -> bool {
    match (before, after) {
        (Watch::Interface { interface: a }, Watch::Interface { interface: b }) => a == b,
        (Watch::Script { command: a, user: c, .. }, Watch::Script { command: b, user: d, .. }) => {
            a == b && c == d
        }
        (Watch::Process { process: a, .. }, Watch::Process { process: b, .. }) => a == b,
        (Watch::File { path: a, .. }, Watch::File { path: b, .. }) => a == b,
        (Watch::Service { service: a, .. }, Watch::Service { service: b, .. }) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::scalars::{Retries, Span};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    fn script(name_: &str, rise: u8, fall: u8, initially: Initially) -> Tracker {
        let watch = Watch::Script {
            command: vec!["/bin/true".to_owned()],
            user: Some("nobody".to_owned()),
            interval: Span::from_secs(1),
            timeout: Span::from_secs(1),
            rise: Retries::new(rise).expect("rise"),
            fall: Retries::new(fall).expect("fall"),
        };
        Tracker { name: name(name_), initially, watch }
    }

    #[test]
    fn numbers_in_files() {
        let cases: [(&[u8], bool, Option<i64>); 10] = [
            (b"5\n", true, Some(5)),
            (b"  +7 \r\nnot read", true, Some(7)),
            (b"0", true, Some(0)),
            (b"-3\n", false, Some(-3)),
            (b"", false, None),
            (b"\n5\n", false, None),
            (b"5 apples\n", false, None),
            (b"\xff\xfe", false, None),
            (b"9223372036854775808", false, None),
            (b"1.5", false, None),
        ];
        for (content, up, value) in cases {
            let found = file(Ok(content));
            assert_eq!((found.up, found.value), (up, value), "{content:?}: {}", found.reason);
        }
        let missing = file(Err("no such file"));
        assert_eq!((missing.up, missing.value, missing.reason.as_str()), (false, None, "no such file"));
    }

    #[test]
    fn processes_are_found_by_command_name_or_first_argument() {
        assert!(is_process("nginx", b"nginx", b"nginx: master process"));
        assert!(!is_process("nginx", b"nginx2", b"nginx"));
        assert!(is_process("a-very-long-program-name", b"a-very-long-pro", b"/x"), "comm is cut");
        assert!(!is_process("a-very-long-pro", b"a-very-long-pr", b"/x"));
        assert!(is_process("/usr/sbin/nginx", b"other", b"/usr/sbin/nginx"));
        assert!(!is_process("/usr/sbin/nginx", b"nginx", b"nginx"));
        assert!(processes(2, 2).up && processes(3, 2).up && !processes(1, 2).up);
    }

    #[test]
    fn an_interface_needs_to_be_there_up_and_to_have_a_carrier() {
        assert!(interface(Some((true, true))).up);
        for link in [None, Some((false, true)), Some((false, false)), Some((true, false))] {
            assert!(!interface(link).up, "{link:?}");
        }
    }

    #[test]
    fn every_virtual_server_needs_its_quorum_and_unknown_destinations_decide_nothing() {
        let server = |healthy, unknown, failed| Destinations { healthy, unknown, failed };
        let up = |servers: &[Destinations], quorum| service(servers, quorum).map(|found| found.up);
        assert_eq!(up(&[server(2, 0, 1)], 2), Some(true));
        assert_eq!(up(&[server(1, 0, 2)], 2), Some(false));
        assert_eq!(up(&[server(1, 1, 1)], 2), None);
        assert_eq!(up(&[server(2, 1, 0)], 2), Some(true));
        assert_eq!(up(&[server(0, 1, 5)], 2), Some(false));
        assert_eq!(up(&[server(2, 0, 0), server(1, 0, 1)], 2), Some(false), "each of them");
        assert_eq!(up(&[server(2, 0, 0), server(1, 1, 0)], 2), None);
        assert_eq!(up(&[], 1), Some(false));
    }

    #[test]
    fn scripts_rise_and_fall_after_equal_findings_in_a_row() {
        let mut all = Trackers::new();
        all.configure(&[script("s", 2, 3, Initially::Down)]);
        let mut look = |up: bool| {
            let finding = if up { Finding::success("") } else { Finding::failure("") };
            all.found(&name("s"), finding, MonoTime::ZERO).map(|state| state.up)
        };
        assert_eq!(look(true), None, "one of two");
        assert_eq!(look(false), None);
        assert_eq!(look(true), None, "begins again");
        assert_eq!(look(true), Some(true));
        assert_eq!((look(false), look(false), look(true)), (None, None, None));
        assert_eq!((look(false), look(false)), (None, None));
        assert_eq!(look(false), Some(false));
    }

    #[test]
    fn a_plan_keeps_the_state_of_what_is_still_watched() {
        let mut all = Trackers::new();
        all.configure(&[script("kept", 1, 1, Initially::Up), script("other", 1, 1, Initially::Up)]);
        all.found(&name("kept"), Finding::failure("gone"), MonoTime::ZERO);
        all.found(&name("other"), Finding::failure("gone"), MonoTime::ZERO);
        let mut other = script("other", 1, 1, Initially::Up);
        if let Watch::Script { user, .. } = &mut other.watch {
            *user = Some("somebody".to_owned());
        }
        all.configure(&[script("kept", 1, 5, Initially::Up), other]);
        assert!(!all.get(&name("kept")).expect("kept").up, "another number of failures is no success");
        assert!(all.get(&name("other")).expect("other").up, "runs as somebody else");
        all.configure(&[]);
        assert!(all.found(&name("kept"), Finding::success(""), MonoTime::ZERO).is_none());
        assert_eq!(all.iter().count(), 0);
    }

    proptest! {
        /// A state is that of the last run of equal findings that was long enough; only such a run changes
        /// it.
        #[test]
        fn a_state_is_that_of_the_last_run_that_was_long_enough(
            looks in prop::collection::vec(any::<bool>(), 0..60), rise in 1_u8..5, fall in 1_u8..5, up: bool,
        ) {
            let initially = if up { Initially::Up } else { Initially::Down };
            let mut all = Trackers::new();
            all.configure(&[script("s", rise, fall, initially)]);
            let (mut expected, mut run, mut last) = (up, 0_u8, None);
            for look in looks {
                run = if last == Some(look) { run.saturating_add(1) } else { 1 };
                last = Some(look);
                if run >= if look { rise } else { fall } {
                    expected = look;
                }
                let finding = if look { Finding::success("") } else { Finding::failure("") };
                all.found(&name("s"), finding, MonoTime::ZERO);
                prop_assert_eq!(all.get(&name("s")).map(|state| state.up), Some(expected));
            }
        }

        #[test]
        fn any_file_is_read_without_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let found = file(Ok(&content));
            prop_assert_eq!(found.up, found.value.is_some_and(|value| value >= 0));
        }
    }
}
