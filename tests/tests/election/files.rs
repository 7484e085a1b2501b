//! Files that others may write to, files that are none, programs that leave something behind, clients that
//! dawdle: what the daemon is asked to obey stays what root gave it, and nothing of it holds the daemon up.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use lab::{Host, Kind, LogEvent, Pair, Router, eventually, guest, mark};

use crate::support::PATIENCE;

const VRID: u8 = 61;
/// How long the sleep of a program that leaves one behind is: tells it from others.
const LEFT_BEHIND: &str = "424242";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Processes that the tracker's program left behind.
fn left_behind() -> usize {
    let all = fs::read_dir("/proc").expect("proc").flatten();
    let theirs = all.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(LEFT_BEHIND) && line.starts_with(b"sleep")
    });
    theirs.count()
}

/// Why the plan file is not in force, if it is not.
fn refused(pair: &Pair<'_>, host: &Host) -> Option<String> {
    pair.plans.status(host)["plan"]["rejected"]["reason"].as_str().map(ToOwned::to_owned)
}

#[test]
fn what_others_may_write_or_is_no_file_is_not_obeyed_and_holds_nothing_up() {
    guest(|lab| {
        let mut pair = Pair::new(lab, Kind::Evenkeeld, vec![Router::new(VRID, 3)]);
        let script =
            format!("#!/bin/sh\nsetsid sh -c 'sleep {LEFT_BEHIND} & exit 0' </dev/null >/dev/null 2>&1\n");
        let program = lab.write("tracked", script);
        mode(&program, 0o755);
        let more = format!(
            "track = [{{ tracker = \"local\", weight = 5 }}]\n\
             [trackers.local]\ntype = \"script\"\ncommand = [\"{}\"]\ninterval = \"1s\"\ntimeout \
             = \"900ms\"\nfall = 3\n",
            program.display()
        );
        pair.configure(vec![Router::new(VRID, 3)], &more);
        let host = pair.first.clone();
        let (vip, plan) = (pair.first_vip(), pair.plans.plan(&host));
        let directory = pair.plans.directory().to_owned();
        let daemon = pair.start(&host);
        eventually(PATIENCE, "it is Master", || host.has_address("eth0", vip));
        let tracker = || pair.plans.status(&host)["trackers"][0].clone();
        eventually(PATIENCE, "the program was run", || tracker()["reason"] == "exit code 0");

        // Whatever is done to the plan's file or its directory, the one in force stays, and status tells why
        // and what to do.
        let wait_refused_by_any = |what: &str, words: &[&str]| {
            let why = || refused(&pair, &host).unwrap_or_default();
            eventually(PATIENCE, what, || words.iter().any(|words| why().contains(words)));
            assert!(host.has_address("eth0", vip), "{what}");
        };
        let wait_refused = |what: &str, words: &str| wait_refused_by_any(what, &[words]);
        let wait_taken = |what: &str| eventually(PATIENCE, what, || refused(&pair, &host).is_none());
        for (path, good) in [(&plan, 0o644), (&directory, 0o755)] {
            for bad in [good | 0o020, good | 0o002] {
                mode(path, bad);
                wait_refused("others may write", &format!("`chmod go-w {}`", path.display()));
                mode(path, good);
                wait_taken("it is put right");
            }
        }
        chown(&plan, Some(12_345), None).expect("chown");
        wait_refused("somebody else's", "uid 12345");
        for command in ["diff", "converge"] {
            let output = pair.plans.evenkeeld(&host, command, &[]);
            assert!(
                !output.status.success() && output.stderr.contains("`chown root "),
                "{command}: {}",
                output.stderr
            );
        }
        let socket = host.scratch().join("evenkeeld.sock").display().to_string();
        let diff = ["--allow-insecure-files", "--socket", &socket];
        pair.plans.evenkeeld(&host, "diff", &diff).expect_success();
        chown(&plan, Some(0), None).expect("chown");
        wait_taken("root's again");
        let kept = plan.with_extension("kept");
        fs::rename(&plan, &kept).expect("rename");
        // Some kernels say that the memory is a file of 128 TiB, some that it is empty.
        let strange: [(&str, &[&str]); 3] = [
            ("/proc/kcore", &["larger than", "empty"]),
            ("/dev/zero", &["not a regular file"]),
            ("/proc/kmsg", &["empty"]),
        ];
        for (target, words) in strange {
            if !Path::new(target).exists() {
                continue;
            }
            symlink(target, &plan).expect("link");
            wait_refused_by_any(target, words);
            fs::remove_file(&plan).expect("remove");
        }
        lab.run(["mkfifo", &plan.display().to_string()]);
        wait_refused("a FIFO", "not a regular file");
        fs::rename(&kept, &plan).expect("rename");
        wait_taken("a file again");

        // Programs: what they leave behind goes with them; one that others may write to is not run.
        std::thread::sleep(Duration::from_secs(3));
        let left = left_behind();
        assert!(left <= 1, "{left} are left");
        mode(&program, 0o777);
        eventually(PATIENCE, "the program is not run", || {
            tracker()["reason"].as_str().is_some_and(|why| why.contains("`chmod go-w "))
        });
        mode(&program, 0o755);
        eventually(PATIENCE, "the program is run", || tracker()["up"] == true);

        // Clients that take all places of the socket.
        let dawdlers: Vec<UnixStream> = (0..150)
            .map(|number| {
                let mut stream = UnixStream::connect(&socket).expect("connect");
                stream
                    .write_all(if number % 2 == 0 { b"" } else { b"GET /status HTTP/1.1\r\n" })
                    .expect("write");
                stream
            })
            .collect();
        let asked = mark();
        pair.plans.status(&host);
        lab.assert_within("status", asked.elapsed(), Duration::from_secs(3), asked);
        drop(dawdlers);

        // Its state: a FIFO is put aside, a directory that all may write to is not used.
        daemon.stop(PATIENCE);
        eventually(PATIENCE, "nothing outlives the daemon", || left_behind() == 0);
        let state = host.scratch().join("state");
        let orders = state.join("orders.json");
        lab.run(["mkfifo", &orders.display().to_string()]);
        let daemon = pair.start(&host);
        daemon.wait_told(LogEvent::OrdersPutAside.with("error", "not a regular file"), PATIENCE);
        eventually(PATIENCE, "it is Master", || host.has_address("eth0", vip));
        daemon.stop(PATIENCE);
        mode(&state, 0o777);
        let daemon = pair.start(&host);
        let ended = daemon.wait(PATIENCE);
        assert!(
            !ended.success() && daemon.log().contains(&format!("`chmod go-w {}`", state.display())),
            "{}",
            daemon.log()
        );
        let daemon = host.evenkeeld(&directory, ["--allow-insecure-files"]);
        daemon.wait_told(LogEvent::InsecureFiles, PATIENCE);
        eventually(PATIENCE, "status tells", || pair.plans.status(&host)["insecure_files"] == true);
        daemon.stop(PATIENCE);
    });
}
