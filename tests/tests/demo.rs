//! The demo as people run it: on a machine that stands still, and ended by Ctrl-C.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// For whatever comes, on however busy a machine.
const LONG: Duration = Duration::from_secs(180);
/// For an end in good order.
const SOON: Duration = Duration::from_secs(20);
/// From a step's title to the middle of what it does.
const BEGUN: Duration = Duration::from_millis(100);
/// How long the machine stands still: longer than anything that the step promises.
const FROZEN: Duration = Duration::from_secs(3);

/// A running demo.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Demo {
    /// With a place of its own for temporary files.
    fn start(scratch: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel-demo"))
            .env("TMPDIR", scratch)
            .env("RUST_BACKTRACE", "1")
            .env_remove("EVENKEEL_LAB_KEEP")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the demo starts");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)).ok();
        });
        Self { child, lines, said: Vec::new() }
    }

    /// The next line that has this in it.
    fn wait(&mut self, text: &str) -> String {
        let until = Instant::now() + LONG;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.said.push(line),
                Err(error) => {
                    let complaints = self.complaints();
                    panic!("no `{text}`: {error}: {:#?}\n{complaints}", self.said)
                }
            }
        }
    }

    /// The first process of its kernel, which leads the kernel's group.
    fn kernel(&self) -> Pid {
        let demo = self.child.id().to_string();
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let is_its = |id: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // Behind the name: state, parent, group. Others of its processes may have lower numbers once
            // these begin again.
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let fields: Vec<&str> = rest.split(' ').take(3).collect();
            fields.get(1) == Some(&demo.as_str()) && fields.get(2) == Some(&id.to_string().as_str())
        };
        Pid::from_raw(ids.into_iter().find(is_its).expect("a kernel"))
    }

    fn wait_end(&mut self) -> ExitStatus {
        let until = Instant::now() + SOON;
        loop {
            match self.child.try_wait().expect("wait") {
                Some(status) => return status,
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                None => panic!("it does not end: {:#?}", self.said),
            }
        }
    }

    fn complaints(&mut self) -> String {
        self.child.kill().ok();
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut text).expect("what it complains of");
        }
        text
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_machine_that_stood_still_is_told_with_figures_and_ctrl_c_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a directory");
    let mut demo = Demo::start(scratch.path());
    demo.wait("== Stop evenkeeld on dir1");
    let kernel = demo.kernel();
    // What it has announced has begun by then, and takes six times as long.
    std::thread::sleep(BEGUN);
    // The kernel alone: it would take a stop of its own processes, which it traces, for something else.
    kill(kernel, Signal::SIGSTOP).expect("the kernel stops");
    std::thread::sleep(FROZEN);
    kill(kernel, Signal::SIGCONT).expect("the kernel goes on");
    let line = demo.wait("not judged: ");
    println!("{line}");
    assert!(
        line.contains("the machine itself stood still for 3.") && line.contains("0.70 s is promised"),
        "{line}"
    );
    // It goes on after that.
    demo.wait("== Start evenkeeld on dir1 again");

    kill(Pid::from_raw(demo.child.id().cast_signed()), Signal::SIGINT).expect("Ctrl-C");
    let status = demo.wait_end();
    let complaints = demo.complaints();
    assert_eq!(status.code(), Some(130), "{complaints}");
    assert_eq!(complaints, "error: interrupted by SIGINT; the kernel is ended and nothing is left behind\n");
    assert_eq!(kill(kernel, None), Err(Errno::ESRCH), "the kernel runs still");
    let left: Vec<_> = std::fs::read_dir(scratch.path()).expect("the directory").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(demo.said.iter().all(|line| !line.contains("panicked")), "{:#?}", demo.said);
}
