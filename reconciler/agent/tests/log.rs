//! The real daemon with a log that takes nothing: a pipe that nobody reads, a closed one, a full disk, a slow reader. It starts, answers,
//! takes plans and ends as always. What clients notice of it is in the lab's tests.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::seal;
use evenkeel_schemas::status::Status;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest wait for anything but the end.
const LONG: Duration = Duration::from_secs(60);
/// How long a daemon that is told to stop may take.
const END: Duration = Duration::from_secs(5);

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

    /// Puts a plan in place: a virtual router on an interface that does not exist, so that there is something to say.
    fn plan(&self, vrid: u8) {
        let body = format!(
            "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n\
             [[router]]\nname = \"VI_1\"\ninterface = \"no-such-if0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
             vrid = {vrid}\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
             garp_delay = \"0s\"\nvips = [\"192.0.2.10/32\"]\n"
        );
        let new = self.path("new");
        std::fs::write(&new, seal::seal(&body)).expect("write");
        std::fs::rename(new, self.path("h.plan.toml")).expect("rename");

    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeeld"));
        command.args(["run", "--host", "h", "--plan"]).arg(self.path("h.plan.toml"));
        command.arg("--state-dir").arg(self.path("state")).arg("--socket").arg(self.path("sock"));
        command.env_remove("EVENKEEL_LOG").stdin(Stdio::null());
        command
    }

    fn start(&mut self, log: impl Into<Stdio>) {
        self.daemon = Some(self.command().stderr(log).spawn().expect("start"));
    }

    /// The status document; none while the daemon does not answer.
    fn status(&self) -> Option<Status> {
        let Output { status, stdout, .. } = Command::new("timeout")
            .args(["5", env!("CARGO_BIN_EXE_evenkeeld"), "status", "--json", "--socket"])
            .arg(self.path("sock"))
            .output()
            .expect("run");
        status.success().then(|| serde_json::from_slice(&stdout).expect("status"))
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            match self.status() {
                Some(status) if is_so(&status) => return status,
                status if began.elapsed() > LONG => panic!("no {what}: {status:#?}"),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn wait_vrid(&self, vrid: u8) -> Status {
        self.wait("plan in force", |status| status.routers.iter().any(|router| router.vrid == vrid))
    }

    /// Tells the daemon to stop, and waits for its end.
    fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("a daemon");
        let told = Instant::now();
        kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).expect("SIGTERM");
        loop {
            match daemon.try_wait().expect("wait") {
                Some(status) => return assert!(status.success(), "{status}"),
                None if told.elapsed() > END => {
                    daemon.kill().expect("kill");
                    daemon.wait().expect("wait");
                    panic!("still runs {END:?} after SIGTERM");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

/// A pipe that has room for nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("pipe");
    let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).expect("flags"));
    fcntl(&writer, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).expect("flags");
    for piece in [&[b'x'; 4096][..], b"x"] {
        while writer.write(piece).is_ok() {}
    }
    fcntl(&writer, FcntlArg::F_SETFL(flags)).expect("flags");
    (reader, writer)
}

/// Starts, takes two plans, and ends, all in time.
fn works(log: impl Into<Stdio>) -> Status {
    let mut host = Host::new();
    host.plan(51);
    host.start(log);
    host.wait_vrid(51);
    host.plan(52);
    let status = host.wait_vrid(52);
    host.stop();
    status
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let (_reader, writer) = full_pipe();
    works(writer);
}

#[test]
fn a_log_whose_reader_has_gone_holds_nothing_up() {
    let (reader, writer) = pipe().expect("pipe");
    drop(reader);
    works(writer);
}

#[test]
fn a_log_on_a_full_disk_holds_nothing_up() {
    works(File::options().write(true).open("/dev/full").expect("/dev/full"));
}

#[test]
fn a_log_whose_reader_is_slow_holds_nothing_up() {
    let (mut reader, writer) = full_pipe();
    let slow = std::thread::spawn(move || {
        let mut some = [0; 100];
        while reader.read(&mut some).is_ok_and(|length| length > 0) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    works(writer);
    drop(slow);
}
