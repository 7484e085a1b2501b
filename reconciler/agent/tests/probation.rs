//! The real daemon and the real commands, without any network: plans that are put on probation, confirmed,
//! rolled back, and the state after a kill. The only virtual routers are on an interface that does not exist.

#[path = "support/in_the_way.rs"]
mod in_the_way;
#[path = "support/support.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::plan::testing::{PlanText, router};
use evenkeel_schemas::plan::{Auth, Router, SecretReference};
use evenkeel_schemas::scalars::Priority;
use evenkeel_schemas::seal;
use evenkeel_schemas::status::{ProbationStatus, Status};

use support::alone;

/// Longest wait for anything.
const LONG: Duration = Duration::from_secs(60);
/// A probation whose end no test waits for.
const LONG_PROBATION: &str = "probation = { timeout = \"600s\", confirm = \"operator\" }\n";
/// The shortest probation.
const SHORT_PROBATION: &str = "probation = { timeout = \"5s\", confirm = \"operator\" }\n";

struct Host {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("tempdir"), daemon: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a plan in place with one router of this priority, and returns its generation.
    fn plan(&self, priority: u8, policy: &str) -> String {
        let password = self.path("password");
        let password = password.display().to_string();
        let router = Router {
            version: 2,
            priority: Priority::new(priority).expect("a priority"),
            auth: Some(Auth::Pass { secret: SecretReference::File(password) }),
            ..router("VI_1", 1, &["192.0.2.10/32"])
        };
        let sealed = PlanText::of("h").policy(policy).router(&router).sealed();
        let (new, (generation, _)) = (self.path("new"), seal::open(sealed.as_bytes()).expect("sealed"));
        std::fs::write(&new, &sealed).expect("write");
        std::fs::rename(new, self.path("h.plan.toml")).expect("rename");
        generation.to_string()
    }

    fn password(&self, text: &str) {
        std::fs::write(self.path("password"), text).expect("write");
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).expect("log");
        let daemon = alone(env!("CARGO_BIN_EXE_evenkeeld"))
            .args(["run", "--host", "h", "--plan"])
            .arg(self.path("h.plan.toml"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--socket")
            .arg(self.path("sock"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start");
        self.daemon = Some(daemon);
        self.wait("a plan in force", |status| status.plan.generation.is_some());
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = i32::try_from(daemon.id()).expect("pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).ok();
        daemon.wait().expect("wait");
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("kill");
            daemon.wait().expect("wait");
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_evenkeeld");
        Command::new(program).args(arguments).arg("--socket").arg(self.path("sock")).output().expect("run")
    }

    /// Output of a command, which must end with this code.
    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}\n{}", self.log());
        said
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let output = self.run(&["status", "--json"]);
            let status: Option<Status> =
                output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("status"));
            match status {
                Some(status) if is_so(&status) => return status,
                status if began.elapsed() > LONG => panic!("no {what}: {status:#?}\n{}", self.log()),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until this generation is in force, on probation or not.
    fn wait_for(&self, generation: &str, on_probation: bool) -> Option<ProbationStatus> {
        let what = format!("{generation} in force, on probation: {on_probation}");
        let is_so = |status: &Status| {
            status.plan.generation.as_deref() == Some(generation)
                && status.plan.probation.is_some() == on_probation
        };
        self.wait(&what, is_so).plan.probation
    }

    /// Waits until the plan in the file is refused because it was rolled back.
    fn wait_refused(&self, generation: &str) -> String {
        let text = format!("generation {} was rolled back", &generation[..12]);
        let refused = |status: &Status| {
            status.plan.rejected.as_ref().is_some_and(|rejected| rejected.reason.starts_with(&text))
        };
        self.wait("refusal of what was rolled back", refused).plan.rejected.expect("refused").reason
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn kept(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("state/last-good").join(name)).expect("kept")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A host whose plan of priority 100 has been in force, and the plan's generation.
fn running() -> (Host, String) {
    let mut host = Host::new();
    host.password("hell>com\n");
    let old = host.plan(100, LONG_PROBATION);
    host.start();
    assert!(host.wait_for(&old, false).is_none(), "the first plan ever is not on probation");
    (host, old)
}

#[test]
fn a_confirmed_plan_stays_and_an_unconfirmed_one_is_rolled_back() {
    let (mut host, old) = running();
    host.says(&["confirm"], 1);
    let new = host.plan(90, LONG_PROBATION);
    let probation = host.wait_for(&new, true).expect("probation");
    assert_eq!(probation.before, old);
    assert!(probation.remaining_ms <= 600_000 && probation.remaining_ms > 500_000, "{probation:?}");
    let page = host.says(&["status"], 0);
    assert!(
        page.contains("ON PROBATION until") && page.contains(&format!("evenkeeld confirm {}", &new[..12])),
        "{page}"
    );
    assert!(host.says(&["confirm", &old[..12]], 1).contains(&format!("it is generation {}", &new[..12])));
    assert!(host.says(&["confirm", "zzzzzz"], 1).contains("first digits"));
    assert!(host.says(&["confirm", &new[..12]], 0).contains("is confirmed and stays"));
    assert!(host.says(&["confirm", &new[..12]], 0).contains("was confirmed already"));
    assert!(host.wait_for(&new, false).is_none());
    host.kill();
    host.start();
    assert!(host.wait_for(&new, false).is_none(), "confirmed for good");

    let third = host.plan(80, SHORT_PROBATION);
    let began = Instant::now();
    host.wait_for(&third, true);
    host.wait_for(&new, false);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "rolled back after {took:?}");
    let why = host.wait_refused(&third);
    assert!(why.contains("not confirmed within 5s"), "{why}");
    assert!(host.says(&["confirm", &third[..12]], 1).contains("was rolled back at"));

    // Over restarts, and while the file has those bytes.
    host.kill();
    host.start();
    host.wait_for(&new, false);
    assert_eq!(host.wait_refused(&third), why, "the same time and reason");
    host.plan(80, SHORT_PROBATION);
    std::thread::sleep(Duration::from_secs(1));
    host.wait_for(&new, false);

    // Another plan is taken as usual, and then this one may come again.
    host.plan(90, LONG_PROBATION);
    host.wait("nothing refused", |status| status.plan.rejected.is_none() && !status.plan.from_last_good);
    host.plan(80, SHORT_PROBATION);
    host.wait_for(&third, true);
    assert!(host.says(&["rollback"], 0).contains(&format!("generation {} is in force", &new[..12])));
    assert!(host.says(&["rollback"], 1).contains("was rolled back at"));
    assert!(host.wait_refused(&third).contains("an operator said so"));
}

#[test]
fn a_killed_daemon_keeps_the_deadline_and_rolls_back_an_expired_plan() {
    let (mut host, old) = running();
    let new = host.plan(90, "probation = { timeout = \"8s\", confirm = \"operator\" }\n");
    let before = host.wait_for(&new, true).expect("probation");
    host.kill();
    host.start();
    let after = host.wait_for(&new, true).expect("probation still");
    assert_eq!((&after.since, &after.before), (&before.since, &before.before));
    assert!(after.remaining_ms < before.remaining_ms, "{before:?} {after:?}");
    // The password changes meanwhile, and goes altogether: the plan before keeps its own.
    host.password("xyzzy42\n");
    host.wait_for(&old, false);
    host.wait_refused(&new);
    std::fs::remove_file(host.path("password")).expect("remove");
    host.kill();
    host.start();
    host.wait_for(&old, false);
    host.password("hell>com\n");

    let third = host.plan(80, SHORT_PROBATION);
    host.wait_for(&third, true);
    host.kill();
    std::thread::sleep(Duration::from_secs(6));
    host.start();
    let status = host.wait("a plan in force", |status| status.plan.generation.is_some());
    assert_eq!(status.plan.generation.as_deref(), Some(old.as_str()), "rolled back before anything else");
    assert!(status.plan.probation.is_none());
    host.wait_refused(&third);
    let log = host.log();
    let (_, since) = log.rsplit_once("evenkeeld 0.1.0 started").expect("started");
    assert!(!since.contains(&format!("plan is in force generation=\"{}\"", &third[..12])), "{since}");
    assert!(!log.contains("hell") && !log.contains("xyzzy"), "{log}");
}

#[test]
fn a_further_plan_is_rolled_back_to_the_confirmed_one() {
    let (mut host, old) = running();
    let second = host.plan(90, LONG_PROBATION);
    let first_deadline = host.wait_for(&second, true).expect("probation").deadline;
    let third = host.plan(80, LONG_PROBATION);
    let probation = host.wait_for(&third, true).expect("probation");
    assert_eq!(probation.before, old);
    assert!(probation.deadline > first_deadline, "it has its own time");
    assert_eq!(host.kept("h.plan.toml"), sealed_file(&host, 100, LONG_PROBATION));
    // The one that was confirmed needs no confirmation.
    host.plan(100, LONG_PROBATION);
    assert!(host.wait_for(&old, false).is_none());
    let status = host.wait("not the last good one", |status| !status.plan.from_last_good);
    assert!(status.plan.rejected.is_none());
    host.plan(80, LONG_PROBATION);
    host.wait_for(&third, true);
    // Nor does one that does not ask for it, and then it is what the next goes back to.
    let plain = host.plan(70, "");
    assert!(host.wait_for(&plain, false).is_none());
    host.plan(80, LONG_PROBATION);
    assert_eq!(host.wait_for(&third, true).expect("probation").before, plain);

    // One that comes while the daemon is away is on probation, too.
    host.kill();
    let fourth = host.plan(60, LONG_PROBATION);
    host.start();
    assert_eq!(host.wait_for(&fourth, true).expect("probation").before, plain);
    // A file that is bad when the daemon starts is no confirmation.
    host.kill();
    std::fs::write(host.path("h.plan.toml"), "").expect("write");
    host.start();
    host.wait_for(&plain, false);
    host.plan(60, LONG_PROBATION);
    host.wait_refused(&fourth);
}

/// The plan file that [`Host::plan`] writes.
fn sealed_file(host: &Host, priority: u8, policy: &str) -> Vec<u8> {
    let now = std::fs::read(host.path("h.plan.toml")).expect("plan");
    host.plan(priority, policy);
    let wanted = std::fs::read(host.path("h.plan.toml")).expect("plan");
    std::fs::write(host.path("new"), now).expect("write");
    std::fs::rename(host.path("new"), host.path("h.plan.toml")).expect("rename");
    wanted
}

#[test]
fn a_damaged_record_confirms_nothing_and_an_unwritable_one_begins_no_probation() {
    let (mut host, old) = running();
    let new = host.plan(90, LONG_PROBATION);
    host.wait_for(&new, true);
    host.kill();
    std::fs::write(host.path("state/probation.json"), "{\"version\":1,\"tri").expect("damage");
    host.start();
    host.wait_for(&old, false);
    assert!(host.wait_refused(&new).contains("the record was damaged"));
    assert!(host.path("state/probation.json.unreadable-1").exists());
    assert!(host.log().contains("may not have been confirmed"), "{}", host.log());

    // Back to the first plan, so that the record goes; then nothing can be written in its place.
    host.plan(100, LONG_PROBATION);
    host.wait("nothing refused", |status| status.plan.rejected.is_none());
    let gone = |host: &Host| !host.path("state/probation.json").exists();
    host.wait("no record", |_| gone(&host));
    in_the_way::block(&host.path("state/probation.json"));
    let third = host.plan(80, LONG_PROBATION);
    let refused = host.wait("refusal", |status| status.plan.rejected.is_some());
    assert_eq!(refused.plan.generation.as_deref(), Some(old.as_str()), "the kernel was not touched");
    assert!(refused.plan.rejected.expect("refused").reason.contains("tried again"));
    std::fs::remove_dir(host.path("state/probation.json")).expect("rmdir");
    host.wait_for(&third, true);
    // Nor can it be confirmed then, and the deadline still holds.
    std::fs::rename(host.path("state/last-good"), host.path("elsewhere")).expect("rename");
    in_the_way::keep(&host.path("state/last-good"));
    std::fs::write(host.path("state/last-good"), "in the way").expect("write");
    assert!(host.says(&["confirm"], 1).contains("not confirmed: "));
    host.wait_for(&third, true);
    assert!(host.says(&["rollback"], 0).contains(&old[..12]), "the plan before is in memory");
    host.wait_for(&old, false);
}

#[test]
fn checks_confirm_when_all_is_as_well_as_before() {
    let (host, old) = running();
    let new = host.plan(90, "probation = { timeout = \"6s\", confirm = \"checks\" }\n");
    // The router did not take part before, since its interface does not exist: it need not now.
    let probation = host.wait_for(&new, true).expect("probation");
    assert_eq!(probation.before, old);
    host.wait_for(&new, false);
    assert!(host.log().contains("is confirmed by its checks"), "{}", host.log());
    let log = host.log();
    assert!(!log.contains("rolled back"), "{log}");
}
