//! A real bare repository with plans of one host, keys that sign, and a daemon that pulls from it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::plan::Router;
use evenkeel_schemas::plan::testing::{PlanText, router};
use evenkeel_schemas::scalars::Priority;
use evenkeel_schemas::seal;
use evenkeel_schemas::status::{GitStatus, Status};

use crate::support::alone;

/// Longest wait for anything.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Rights of the unit, as setpriv(1) takes them.
const UNIT_RIGHTS: &str = "-all,+net_admin,+net_raw,+sys_nice,+setuid,+setgid,+kill";

/// A repository, and a host whose daemon pulls from it.
pub(crate) struct Scene {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
    /// Whether the daemon has only the rights that the unit gives it.
    pub(crate) as_by_unit: bool,
}

/// The generation of a plan whose router has this priority.
pub(crate) fn generation(priority: u8) -> String {
    let sealed = plan(priority);
    let (generation, _) = seal::open(sealed.as_bytes()).expect("sealed");
    generation.to_string()
}

/// A plan whose router has this priority.
pub(crate) fn plan(priority: u8) -> String {
    let priority = Priority::new(priority).expect("a priority");
    let router = Router { priority, ..router("VI_1", 1, &["192.0.2.10/32"]) };
    PlanText::of("h").router(&router).sealed()
}

#[allow(dead_code, reason = "not every test needs everything")]
impl Scene {
    /// A repository without commits, and an empty file of allowed signers.
    pub(crate) fn new() -> Self {
        for program in ["git", "ssh-keygen", "gpg"] {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
            assert!(found.is_ok_and(|found| found.status.success()), "install git, openssh-client and gnupg");
        }
        let scene =
            Self { directory: tempfile::tempdir().expect("tempdir"), daemon: None, as_by_unit: false };
        // The user that git runs as has to come through.
        let open = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(scene.directory.path(), open).expect("chmod");
        std::fs::create_dir(scene.path("keys")).expect("keys");
        scene.run("git", &["init", "--quiet", "--bare", "--initial-branch=main", "up.git"], ".");
        scene.run("git", &["init", "--quiet", "--initial-branch=main", "work"], ".");
        scene.git(&["remote", "add", "origin", &scene.path("up.git").display().to_string()]);
        scene.allow("");
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a program in a directory of the scene, with settings of its own, and returns its output.
    pub(crate) fn run(&self, program: &str, arguments: &[&str], directory: &str) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.path(directory))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@example")])
            .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@example")])
            .output()
            .expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {told}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.run("git", arguments, "work")
    }

    /// Makes a key and returns its public half.
    pub(crate) fn key(&self, name: &str) -> String {
        let file = self.path("keys").join(name).display().to_string();
        self.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", &file], ".");
        std::fs::read_to_string(format!("{file}.pub")).expect("a key").trim().to_owned()
    }

    /// Replaces the file of allowed signers.
    pub(crate) fn allow(&self, lines: &str) {
        std::fs::write(self.path("signers"), lines).expect("write");
    }

    /// Commits what is in the work tree, signed by a key, without a push.
    pub(crate) fn commit_all(&self, key: Option<&str>, more: &[&str]) -> String {
        self.git(&["add", "--all"]);
        let signing = key.map(|key| format!("user.signingKey={}", self.path("keys").join(key).display()));
        let mut words = vec!["-c", "gpg.format=ssh"];
        if let Some(signing) = &signing {
            words.extend(["-c", signing]);
        }
        words.extend(["commit", "--quiet", "--allow-empty", "--message=change"]);
        words.push(if key.is_some() { "--gpg-sign" } else { "--no-gpg-sign" });
        words.extend(more);
        self.git(&words);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Puts a plan with this priority into the work tree.
    pub(crate) fn write_plan(&self, priority: u8) {
        std::fs::create_dir_all(self.path("work/plans")).expect("plans");
        std::fs::write(self.path("work/plans/h.plan.toml"), plan(priority)).expect("write");
    }

    /// Commits a plan with this priority, signed by a key, and pushes it.
    pub(crate) fn commit(&self, priority: u8, key: Option<&str>) -> String {
        self.write_plan(priority);
        let commit = self.commit_all(key, &[]);
        self.push();
        commit
    }

    pub(crate) fn push(&self) {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD:main"]);
    }

    /// The address of the repository.
    pub(crate) fn address(&self) -> String {
        format!("git+file://{}#main:plans", self.path("up.git").display())
    }

    /// Starts the daemon with the repository as its source, and does not wait for it.
    pub(crate) fn start(&mut self, address: &str, options: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).expect("log");
        let mut daemon = if self.as_by_unit {
            let mut limited = alone("setpriv");
            limited.args(["--bounding-set", UNIT_RIGHTS, "--no-new-privs", env!("CARGO_BIN_EXE_evenkeeld")]);
            limited
        } else {
            alone(env!("CARGO_BIN_EXE_evenkeeld"))
        };
        daemon.args(["run", "--host", "h", "--source", address]).args(options);
        self.places(&mut daemon);
        daemon.arg("--plan").arg(self.path("etc"));
        self.daemon = Some(daemon.stdin(Stdio::null()).stderr(log).spawn().expect("start"));
        let deadline = Instant::now() + LONG;
        while !self.path("sock").exists() {
            assert!(Instant::now() < deadline, "it does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts the daemon with the allowed signers and a poll that no test waits for.
    pub(crate) fn start_signed(&mut self, options: &[&str]) {
        let signers = self.path("signers").display().to_string();
        let mut all = vec!["--allowed-signers", signers.as_str(), "--poll", "1h"];
        all.extend(options);
        self.start(&self.address(), &all);
    }

    fn places(&self, command: &mut Command) {
        command.arg("--state-dir").arg(self.path("state"));
        command.arg("--socket").arg(self.path("sock"));
    }

    pub(crate) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signal");
        daemon.wait().expect("wait");
        std::fs::remove_file(self.path("sock")).ok();
    }

    /// Number of the daemon's process.
    pub(crate) fn process(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").id()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = self.daemon.as_ref().expect("a daemon").id().cast_signed();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).expect("signal");
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs a command of the daemon's socket.
    pub(crate) fn evenkeeld(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
        command.args(words).arg("--socket").arg(self.path("sock"));
        command.output().expect("it runs")
    }

    /// `evenkeeld pull`: whether it succeeded, and its words.
    pub(crate) fn pull(&self) -> (bool, String) {
        let output = self.evenkeeld(&["pull"]);
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(told).expect("text"))
    }

    /// `evenkeeld pull` that must fail with these words, which status and log have as well, while the plan
    /// with this priority stays.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &str, stays: u8) {
        let (done, told) = self.pull();
        assert!(!done && told.contains(words), "want {words:?}: {told}");
        let (status, git) = (self.status(), self.source());
        let trouble = git.trouble.expect("trouble in the status");
        assert!(trouble.reason.contains(words), "{trouble:?}");
        assert!(self.log().contains(words), "{}", self.log());
        assert_eq!(status.plan.generation, Some(generation(stays)), "what stays in force");
    }

    pub(crate) fn status(&self) -> Status {
        let output = self.evenkeeld(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error}: {}{}", String::from_utf8_lossy(&output.stderr), self.log())
        })
    }

    pub(crate) fn source(&self) -> GitStatus {
        self.status().source.and_then(|source| source.git).expect("a repository")
    }

    #[track_caller]
    pub(crate) fn wait(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let deadline = Instant::now() + LONG;
        loop {
            let status = self.status();
            if is(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what}: {status:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the plan with this priority is in force.
    #[track_caller]
    pub(crate) fn wait_plan(&self, priority: u8) {
        let want = Some(generation(priority));
        self.wait(&format!("priority {priority} in force"), |status| status.plan.generation == want);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

/// Lines of allowed signers for one key.
pub(crate) fn allowed(key: &str, options: &str) -> String {
    format!("a@example {options}{key}\n")
}
