//! What `plan` shows of a change and what it leaves out, in every format; progress at a terminal; and guards
//! of plans that are there, which `compile` keeps as `apply` does.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

struct Place {
    root: tempfile::TempDir,
}

/// A cluster with real servers in a row; services of these ports, each with all real servers.
fn cluster(real_servers: usize, ports: impl IntoIterator<Item = usize>) -> String {
    let mut text = "version = 1\nname = \"row\"\nsegments.front.subnets = [\"192.0.2.0/24\"]\n\n[hosts]\n\
         dir1 = { address = \"192.0.2.11\", interface = \"eth0\" }\ndir2 = { address = \"192.0.2.12\", \
         interface = \"eth0\" }\n"
        .to_owned();
    for number in 1..=real_servers {
        let _ = writeln!(
            text,
            "rs{number} = {{ address = \"192.0.2.{}\", interface = \"eth0\", labels = [\"web\"] }}",
            100 + number
        );
    }
    text.push_str(
        "\n[virtual_routers.VI_1]\nvrid = 51\nvips = [\"192.0.2.100\"]\ndirectors = [\"dir1\", \"dir2\"]\n",
    );
    for port in ports {
        let _ = writeln!(
            text,
            "\n[services.s{port}]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nport = {port}\nreal_servers = [{{ \
            label = \"web\" }}]"
        );
    }
    text
}

impl Place {
    /// With plans of this cluster in `plans`.
    fn new(text: &str) -> Self {
        let place = Self { root: tempfile::tempdir().expect("directory") };
        place.write(text);
        place.done(&["compile", "cluster.toml", "--out", "plans"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("cluster.toml"), text).expect("write");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(arguments).current_dir(self.root.path()).env_remove("NO_COLOR").env("TERM", "xterm");
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("run evenkeel");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code().expect("not killed"), text(stdout), text(stderr))
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// `plan` against the plans that are there.
    #[track_caller]
    fn plan(&self, more: &[&str]) -> String {
        self.done(&[&["plan", "cluster.toml", "--against", "plans"], more].concat())
    }

    fn plans(&self) -> BTreeMap<String, String> {
        let entries =
            fs::read_dir(self.path("plans")).expect("plans").map(|entry| entry.expect("entry").path());
        let name = |path: &PathBuf| path.file_name().expect("name").to_string_lossy().into_owned();
        entries.map(|path| (name(&path), fs::read_to_string(&path).expect("text"))).collect()
    }
}

#[test]
fn what_is_the_same_on_several_hosts_is_told_once() {
    let place = Place::new(&cluster(3, [80]));
    place.write(
        &cluster(3, [80, 81]).replace("vrid = 51", "vrid = 51\npriorities = { dir1 = 100, dir2 = 80 }"),
    );
    let text = place.plan(&[]);
    assert!(
        text.starts_with("dir1, dir2\n  + virtual server s81 (tcp 192.0.2.100:81)  # cluster.toml:"),
        "{text}"
    );
    assert_eq!(text.matches("+ destination tcp 192.0.2.100:81 -> 192.0.2.101:81 (rs1)").count(), 1, "{text}");
    assert!(text.contains("\n\ndir2\n  ~ virtual router VI_1 (vrid 51 on eth0)"), "{text}");
    assert!(
        !text.contains("scheduler") && !text.contains("port: 81"),
        "defaults, and what the line tells: {text}"
    );
    // New hosts are told together, and by the numbers that they are called by.
    place.write(&cluster(12, [80]));
    let text = place.plan(&[]);
    assert!(text.contains("\nrs4 to rs12 (new hosts)\n  + host"), "{text}");
    assert!(text.contains("     rs4 to rs12: adds "), "{text}");
    let lines = text.lines().filter(|line| line.contains("+ address 192.0.2.100/32 on lo")).count();
    assert_eq!(lines, 1, "{text}");
    // In full each host has its own addresses.
    let full = place.plan(&["--full"]);
    assert_eq!(full.matches("      host_addresses: [").count(), 9, "{full}");
    assert!(full.contains("      scheduler: \"wlc\"") || full.contains("      forwarding: \"dr\""), "{full}");
}

#[test]
fn like_warnings_are_one_with_a_count() {
    let place = Place::new(&cluster(1, 1..=1000));
    place.write(&cluster(1, [1]));
    let text = place.plan(&[]);
    let warnings: Vec<&str> = text.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert!(warnings[0].starts_with("warning: s"), "{warnings:?}");
    assert!(warnings[0].ends_with("(and 998 more like this; --full tells each)"), "{warnings:?}");
    let full = place.plan(&["--full"]);
    assert_eq!(full.lines().filter(|line| line.starts_with("warning: ")).count(), 999);
    let json: serde_json::Value = serde_json::from_str(&place.plan(&["--format", "json"])).expect("JSON");
    assert_eq!(json["warnings"].as_array().expect("warnings").len(), 999, "programs read each");
    let comment = place.plan(&["--format", "markdown"]);
    assert_eq!(comment.matches("warning: s").count(), 1, "{comment}");
    // Three are told each.
    place.write(&cluster(1, 4..=1000));
    assert_eq!(place.plan(&[]).matches("warning: s").count(), 3);
}

#[test]
fn a_summary_is_a_line_for_hosts_that_do_the_same() {
    let place = Place::new(&cluster(3, [80]));
    place.write(&cluster(5, [80, 81, 82]));
    let text = place.plan(&["--summary"]);
    assert!(
        text.starts_with(
            "dir1, dir2: adds 2 virtual servers, adds 12 destinations\n\
             rs4, rs5 (new hosts): adds host, adds address 192.0.2.100/32 on lo, "
        ),
        "{text}"
    );
    assert!(text.ends_with(" to add, 0 to change, 0 to remove on 4 of 7 hosts.\n"), "{text}");
    assert!(!text.contains("+ destination"), "{text}");
    let comment = place.plan(&["--summary", "--format", "markdown"]);
    assert!(
        comment.contains("dir1, dir2: adds 2 virtual servers") && !comment.contains("+ destination"),
        "{comment}"
    );
    assert_eq!(place.run(&["plan", "cluster.toml", "--against", "plans", "--summary", "--full"]).0, 2);
}

#[test]
fn a_host_that_is_asked_for_is_shown_alone() {
    let place = Place::new(&cluster(3, [80]));
    place.write(&cluster(5, [80, 81]));
    let all = place.plan(&[]);
    let last = all.lines().last().expect("a summary");
    let text = place.plan(&["--host", "rs4"]);
    assert!(text.starts_with("rs4 (new host)\n  + host rs4  # cluster.toml:"), "{text}");
    assert!(!text.contains("dir1") && !text.contains("rs5"), "{text}");
    assert_eq!(text.lines().last(), Some(last), "of all hosts");
    let text = place.plan(&["--host", "dir1", "--host", "rs5", "--summary"]);
    assert!(
        text.starts_with("dir1: adds virtual server s81, adds 7 destinations\nrs5 (new host): "),
        "{text}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&place.plan(&["--host", "rs4", "--format", "json"])).expect("JSON");
    let hosts = json["hosts"].as_array().expect("hosts");
    assert!(hosts.len() == 1 && hosts[0]["host"] == "rs4", "{hosts:?}");
    assert_eq!(json["summary"]["hosts_changed"], 4);
    assert!(!place.plan(&["--host", "rs4", "--format", "diff"]).contains("dir1.plan.toml"));
    // Nothing changes there, and there is no such host.
    assert!(place.plan(&["--host", "rs1"]).starts_with("In 3 stages"));
    let (code, out, err) = place.run(&["plan", "cluster.toml", "--against", "plans", "--host", "rs9"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("there is no host rs9"), "{err}");
}

#[test]
fn programs_and_saved_plans_get_everything_whatever_is_shown() {
    let place = Place::new(&cluster(3, [80]));
    place.write(&cluster(5, [80, 81]));
    for format in ["json", "diff"] {
        let plain = place.plan(&["--format", format]);
        assert_eq!(place.plan(&["--format", format, "--full"]), plain);
        assert_eq!(place.plan(&["--format", format, "--summary"]), plain);
    }
    let json: serde_json::Value = serde_json::from_str(&place.plan(&["--format", "json"])).expect("JSON");
    let objects: usize = json["hosts"]
        .as_array()
        .expect("hosts")
        .iter()
        .map(|host| host["objects"].as_array().map_or(0, Vec::len))
        .sum();
    let summary = &json["summary"];
    let counted: u64 =
        ["add", "change", "remove"].iter().map(|key| summary[key].as_u64().expect("a number")).sum();
    assert_eq!(objects as u64, counted, "each object of each host");
    assert!(json.to_string().contains("\"one_packet\""), "defaults too");
    place.plan(&["--host", "rs4", "--summary", "--save", "change.plan"]);
    place.done(&["apply", "change.plan", "--to", "plans"]);
    place.done(&["compile", "cluster.toml", "--out", "plans", "--check"]);
}

/// Both ends of a terminal.
#[expect(unsafe_code, reason = "the standard library makes no terminals")]
fn terminal() -> (File, File) {
    use std::os::fd::FromRawFd;
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: two places for numbers; no name, no settings and no size are given.
    let made = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(made, 0, "openpty: {}", std::io::Error::last_os_error());
    // SAFETY: the system has just opened both, and nobody else has them.
    unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) }
}

/// Time for a line that comes after a second, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands on a terminal as standard error while the command waits for its cluster: until the text says
/// enough, or for the time after which a line would have come.
fn watched(place: &Place, terminal_type: &str, enough: Option<fn(&str) -> bool>) -> String {
    let (mut ours, theirs) = terminal();
    let mut command = place.command(&["plan", "-", "--against", "none"]);
    command.env("TERM", terminal_type).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(theirs);
    let mut child = command.spawn().expect("run evenkeel");
    drop(command);
    let (pieces, read) = std::sync::mpsc::channel();
    // A terminal that nobody has any more gives an error behind the last byte.
    std::thread::spawn(move || {
        let mut piece = [0; 256];
        while let Ok(length @ 1..) = ours.read(&mut piece) {
            if pieces.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut bytes = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match enough {
        Some(enough) => {
            while !enough(&text(&bytes)) {
                bytes.extend(read.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{:?}", text(&bytes))));
            }
        }
        // There is nothing to wait for where nothing is to come.
        None => std::thread::sleep(NO_LINE_AFTER),
    }
    child.stdin.take().expect("stdin").write_all(cluster(1, [80]).as_bytes()).expect("write");
    assert!(child.wait().expect("ends").success());
    bytes.extend(read.iter().flatten());
    text(&bytes)
}

/// Longer than a command works before people see what it does.
const NO_LINE_AFTER: Duration = Duration::from_millis(1500);

#[test]
fn people_at_a_terminal_see_what_takes_long() {
    let place = Place::new(&cluster(1, [80]));
    let doing = "\r\u{1b}[KReading the cluster file … ";
    let text = watched(
        &place,
        "xterm",
        Some(|text| {
            let seconds = text.split("… ").skip(1).filter_map(|rest| Some(rest.split_once(" s")?.0));
            seconds.collect::<std::collections::BTreeSet<_>>().len() > 1
        }),
    );
    assert!(text.starts_with(doing), "{text:?}");
    let last = text.rsplit("\r\u{1b}[K").next().unwrap_or_default();
    assert!(!last.contains('…'), "the line is gone at the end: {text:?}");
    assert!(!watched(&place, "dumb", None).contains('…'));
    // Into a file or a pipe nothing of it goes.
    let mut command = place.command(&["plan", "-", "--against", "none"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("run evenkeel");
    std::thread::sleep(NO_LINE_AFTER);
    child.stdin.take().expect("stdin").write_all(cluster(1, [80]).as_bytes()).expect("write");
    let output = child.wait_with_output().expect("ends");
    assert!(!String::from_utf8_lossy(&output.stderr).contains('…'));
}

#[test]
fn compile_keeps_the_guards_of_plans_that_are_there() {
    let guarded = cluster(2, [80, 81]).replace("port = 80\n", "port = 80\nprevent_removal = true\n");
    let place = Place::new(&guarded);
    let compile = ["compile", "cluster.toml", "--out", "plans"];
    let refused = |more: &[&str], codes: &[&str]| {
        let before = place.plans();
        let (code, out, err) = place.run(&[&compile[..], more].concat());
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        for code in codes {
            assert!(err.contains(&format!("error[{code}]")), "{code} in {err}");
        }
        assert!(err.ends_with("Nothing was written.\n"), "{err}");
        assert_eq!(place.plans(), before, "nothing is written");
        err
    };
    let max_change = |text: &str| format!("{text}\n[policy]\nmax_change = 10\n");
    place.write(&max_change(&cluster(2, [81])));
    let err = refused(&[], &["EK1001", "EK1002"]);
    assert!(err.contains("--override prevent_removal=services.s80"), "{err}");
    let err =
        refused(&["--override", "max_change", "--override", "prevent_removal=services.s81"], &["EK1002"]);
    assert!(err.contains("--override prevent_removal=services.s81 was not needed"), "{err}");
    // What only says whether plans are current writes nothing, so nothing stands in its way.
    let (code, _, err) = place.run(&[&compile[..], &["--check"]].concat());
    assert!(code == 1 && err.contains("is out of date"), "{err}");
    let both = ["--override", "max_change", "--override", "prevent_removal=services.s80"];
    let (code, out, err) = place.run(&[&compile[..], &both].concat());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("(2 written, 2 unchanged, 0 removed)"), "{out}");
    assert!(err.contains("Overridden: services.s80 would be removed"), "{err}");
    // What comes, and what stays, stands in no guard's way.
    place.done(&compile);
    place.write(&max_change(&cluster(2, [81, 82, 83, 84, 85])));
    place.done(&compile);
    // Nothing of what is there would be left.
    let others = cluster(2, [90]).replace("dir1", "a1").replace("dir2", "a2").replace("\nrs", "\nb");
    place.write(&others);
    refused(&[], &["EK1003"]);
    place.done(&[&compile[..], &["--override", "empty"]].concat());
    for wrong in [&["--override", "everything"][..], &["--check", "--override", "empty"]] {
        assert_eq!(place.run(&[&compile[..], wrong].concat()).0, 2, "{wrong:?}");
    }
}

#[test]
fn compile_removes_no_protected_host_and_mends_what_it_cannot_read() {
    let protected = cluster(3, [80]).replace("rs3 = { address", "rs3 = { prevent_removal = true, address");
    let place = Place::new(&protected);
    place.write(&cluster(2, [80]));
    let compile = ["compile", "cluster.toml", "--out", "plans"];
    let (code, _, err) = place.run(&compile);
    assert!(code == 1 && err.contains("--override prevent_removal=hosts.rs3"), "{err}");
    assert!(place.path("plans/rs3.plan.toml").exists());
    // A plan that was cut off is written anew; it is told that what it protected is not known.
    let plan = place.path("plans/dir1.plan.toml");
    let whole = fs::read_to_string(&plan).expect("plan");
    fs::write(&plan, &whole[..whole.len() / 2]).expect("write");
    place.write(&protected);
    let (code, _, err) = place.run(&compile);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("dir1.plan.toml cannot be read, so nothing of it is protected"), "{err}");
    assert_eq!(fs::read_to_string(&plan).expect("plan"), whole);
}
