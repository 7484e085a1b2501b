//! A log that takes nothing: a pipe that nobody reads, a closed one, a full disk, a slow reader. Whatever
//! becomes of the log, a director does all of its work in time, and so does its guardian.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{Daemon, Host, Lab, Reference, eventually, guest, mark};
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::support::{PATIENCE, TOLERANCE, find_guardian, watch};

/// dir2's skew time with advertisements every 200 ms.
const SHORT_SKEW: Duration = Duration::from_micros(129_688);
/// Three intervals and the skew time.
const SHORT_MASTER_DOWN: Duration = Duration::from_micros(729_688);
/// How long a daemon that is told to stop may take.
const END: Duration = Duration::from_secs(5);
/// Read at once by a slow reader, and how often.
const SLOW: (usize, Duration) = (64, Duration::from_millis(200));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    Unread,
    Closed,
    Full,
    Slow,
}

impl Log {
    /// Problem that status tells of it after a while: of a slow reader one thing or the other.
    fn problem(self) -> Option<&'static str> {
        match self {
            Self::Unread => Some("it has taken no line for"),
            Self::Closed => Some("Broken pipe"),
            Self::Full => Some("No space left on device"),
            Self::Slow => None,
        }
    }
}

#[test]
fn a_log_that_takes_nothing_makes_nothing_late() {
    guest(|lab| {
        // Hosts see what is mounted when they are made.
        let disk = full_disk(lab);
        let mut reference = Reference::new(lab);
        reference.compile_text(&cluster(100));
        let (dir1, dir2) = (reference.hosts.dir1.clone(), reference.hosts.dir2.clone());
        let _others = [&dir2, &reference.hosts.rs1, &reference.hosts.rs2].map(|host| reference.start(host));
        let vip = watch(&reference);
        vip.wait_holder(&dir2, PATIENCE);

        for log in [Log::Unread, Log::Closed, Log::Full, Log::Slow] {
            // These are soon done or never; the bound is that of the waiting.
            let told = |what: &str, took: Duration| lab.log(format!("{log:?}: {what} after {took:?}"));
            let (daemon, reader) = start(&reference, &dir1, log, &disk);
            vip.wait_holder(&dir1, PATIENCE);
            let _reader = reader.filter(|_| log != Log::Closed);

            let dead = mark();
            reference.web1.stop();
            eventually(PATIENCE, "rs1 is taken out", || {
                !dir1.ipvsadm().iter().any(|line| line.contains("192.168.188.107"))
            });
            told("dead real server taken out", dead.elapsed());

            let planned = mark();
            reference.compile_text(&cluster(50));
            eventually(PATIENCE, "rs2 has its new weight", || {
                dir1.ipvsadm().iter().any(|line| line.contains("192.168.188.110") && line.ends_with("-w 50"))
            });
            told("new plan", planned.elapsed());

            let asked = mark();
            let status = reference.status(&dir1);
            told("status", asked.elapsed());
            let problem = status["log"]["problem"].as_str().unwrap_or_default();
            let as_expected = log.problem().is_none_or(|wanted| problem.starts_with(wanted));
            assert!(as_expected, "{log:?}: {}", status["log"]);

            let stopped = mark();
            daemon.signal(Signal::SIGTERM);
            vip.wait_holder(&dir2, PATIENCE);
            told("handed over", stopped.elapsed());
            lab.assert_within("handed over", vip.none_since(stopped), SHORT_SKEW + TOLERANCE, stopped);
            assert!(daemon.wait(PATIENCE).success(), "{log:?}");
            lab.assert_within("ended", stopped.elapsed(), END, stopped);

            reference.web1.start();
            reference.compile_text(&cluster(100));
            let (daemon, reader) = start(&reference, &dir1, log, &disk);
            vip.wait_holder(&dir1, PATIENCE);
            let _reader = reader.filter(|_| log != Log::Closed);
            let guardian = find_guardian(&reference, daemon.pid()).expect("a guardian");
            assert_harmless(&guardian);
            let killed = mark();
            daemon.kill9();
            vip.wait_holder(&dir2, PATIENCE);
            told("taken over", killed.elapsed());
            lab.assert_within("VIP on both", vip.both_since(killed), TOLERANCE, killed);
            lab.assert_within("taken over", killed.elapsed(), SHORT_MASTER_DOWN + TOLERANCE, killed);
            eventually(PATIENCE, "the guardian ends", || {
                !lab.output(["kill", "-0", &guardian]).status.success()
            });
        }
    });
}

fn cluster(weight: u16) -> String {
    Reference::cluster_file()
        .replace("advert_interval = \"1s\"\nversion = 2", "advert_interval = \"200ms\"\nversion = 3")
        .replace("auth = {", "# auth = {")
        .replace("host = \"rs2\", weight = 100", &format!("host = \"rs2\", weight = {weight}"))
        .replace(
            "interval = \"5s\", timeout = \"10s\", retries = 3, retry_delay = \"3s\"",
            "interval = \"1s\", timeout = \"1s\", retries = 1, retry_delay = \"500ms\"",
        )
}

/// A file on a file system without room.
fn full_disk(lab: &Lab) -> PathBuf {
    let directory = lab.path("full");
    std::fs::create_dir_all(&directory).expect("a directory");
    lab.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", &directory.display().to_string()]);
    let mut fill = File::create(directory.join("fill")).expect("a file");
    while fill.write(&[0; 4096]).is_ok() {}
    directory.join("log")
}

/// Process that has the other end of a pipe.
struct Reader {
    _end: File,
    stop: Arc<AtomicBool>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Starts the daemon of a host with such a log; its guardian has the same one.
fn start(
    reference: &Reference<'_>,
    host: &Host,
    log: Log,
    disk: &std::path::Path,
) -> (Daemon, Option<Reader>) {
    let lab = reference.lab();
    let (path, reader) = if log == Log::Full {
        (disk.to_owned(), None)
    } else {
        let path = lab.path(format!("log-{log:?}-{}", lab.elapsed().as_millis()));
        lab.run(["mkfifo", &path.display().to_string()]);
        // Both ends, so that opening it does not wait for the other one.
        let end =
            OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
        let mut end = end.expect("a pipe");
        if log != Log::Closed {
            for piece in [&[b'x'; 4096][..], b"x"] {
                while end.write(piece).is_ok() {}
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        if log == Log::Slow {
            let (mut end, stop) = (end.try_clone().expect("a descriptor"), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut some = vec![0; SLOW.0];
                while !stop.load(Ordering::SeqCst) {
                    let _ = end.read(&mut some);
                    std::thread::sleep(SLOW.1);
                }
            });
        }
        (path, Some(Reader { _end: end, stop }))
    };
    let text = |path: PathBuf| path.display().to_string();
    let daemon = host.spawn(
        "evenkeeld",
        [
            "sh",
            "-c",
            "exec \"$@\" 2>>\"$0\"",
            &text(path),
            &text(lab.program("evenkeeld", "evenkeel-agent")),
            "run",
            "--plan",
            &text(reference.plans.directory().to_owned()),
            "--host",
            host.name(),
            "--state-dir",
            &text(host.scratch().join("state")),
            "--socket",
            &text(host.scratch().join("evenkeeld.sock")),
        ],
        &[],
    );
    (daemon, reader)
}

/// No thread of the guardian may do more than change addresses (CAP_NET_ADMIN, bit 12), or is ended by
/// SIGTERM.
#[track_caller]
fn assert_harmless(guardian: &str) {
    let tasks: Vec<PathBuf> = std::fs::read_dir(format!("/proc/{guardian}/task"))
        .expect("threads")
        .map(|task| task.expect("a thread").path())
        .collect();
    assert_eq!(tasks.len(), 2, "the guardian and its log");
    for task in tasks {
        let status = std::fs::read_to_string(task.join("status")).expect("status");
        assert!(status.contains("CapPrm:\t0000000000001000\n"), "{status}");
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).expect("a mask");
        let blocked = u64::from_str_radix(blocked, 16).expect("a mask");
        assert_ne!(blocked & (1 << (Signal::SIGTERM as u64 - 1)), 0, "{status}");
    }
}
