//! Every command whose output nobody reads, or which cannot be written: nobody panics, and what was to be
//! done is done.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::pipe;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const CLUSTER: &str = include_str!("../../examples/lvs-dr/cluster.toml");
const KEEPALIVED: &str = "vrrp_instance VI_1 {\n  interface eth0\n  virtual_router_id 51\n  \
    virtual_ipaddress {\n    192.0.2.1\n  }\n}\n";

/// Every command, each way in which it prints something else; file names are those of [`place`].
const RUNS: [&[&str]; 25] = [
    &["--version"],
    &["--help"],
    &["help", "apply"],
    &["validate", "cluster.toml"],
    &["validate", "cluster.toml", "--format", "json"],
    &["validate", "cluster.toml", "--format", "github"],
    &["validate", "wrong.toml", "--format", "github"],
    &["validate", "wrong.toml", "--format", "sarif"],
    &["compile", "cluster.toml", "--out", "plans"],
    &["plan", "cluster.toml", "--against", "none"],
    &["plan", "cluster.toml", "--against", "none", "--format", "json", "--save", "change.plan"],
    &["plan", "cluster.toml", "--against", "none", "--format", "diff", "--detailed-exitcode"],
    &["plan", "cluster.toml", "--against", "none", "--format", "markdown"],
    &["apply", "cluster.toml", "--to", "plans"],
    &["import", "dir1=keepalived.conf"],
    &["import", "dir1=keepalived.conf", "--out", "imported.toml"],
    &["import", "dir1=keepalived.conf", "--format", "json"],
    &["explain"],
    &["explain", "EK0305"],
    &["graph", "cluster.toml"],
    &["fmt", "-"],
    &["schema"],
    &["schema", "plan"],
    &["completions", "bash"],
    &["man", "man"],
];

/// A directory with all files that the commands read.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("directory");
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("write");
    write("cluster.toml", CLUSTER);
    write("wrong.toml", &CLUSTER.replace("vrid = 51", "vrid = 0"));
    write("keepalived.conf", KEEPALIVED);
    place
}

/// How a command ended, and what it left.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: Option<i32>,
    stderr: String,
    files: BTreeSet<String>,
}

fn run(arguments: &[&str], stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> (Ended, Output) {
    let place = place();
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(arguments)
        .current_dir(place.path())
        .stdin(File::open(place.path().join("cluster.toml")).expect("open"))
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("run evenkeel");
    let mut files = BTreeSet::new();
    list(place.path(), &mut files);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (Ended { code: output.status.code(), stderr, files }, output)
}

fn list(directory: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.insert(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
}

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().expect("pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

#[test]
fn every_command_is_among_those_that_are_tried() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_evenkeel")).arg("--help").output().expect("run evenkeel").stdout;
    let help = String::from_utf8(help).expect("UTF-8");
    let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        assert!(RUNS.iter().any(|run| run.first() == Some(&command)), "evenkeel {command} is not tried");
    }
}

#[test]
fn a_reader_that_has_gone_changes_nothing() {
    for arguments in RUNS {
        let (usual, output) = run(arguments, Stdio::piped(), Stdio::piped());
        assert!(!output.stdout.is_empty(), "{arguments:?} prints nothing: {usual:?}");
        let (ended, _) = run(arguments, closed(), Stdio::piped());
        assert_eq!(ended, usual, "{arguments:?}");
        let (ended, _) = run(arguments, Stdio::piped(), closed());
        assert_eq!((ended.code, ended.files), (usual.code, usual.files), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_an_error_when_all_else_is_done() {
    for arguments in RUNS {
        let (usual, _) = run(arguments, Stdio::piped(), Stdio::piped());
        let (ended, _) = run(arguments, full(), Stdio::piped());
        assert_eq!((ended.code, &ended.files), (Some(1), &usual.files), "{arguments:?}");
        let told =
            ended.stderr.strip_prefix(&usual.stderr).unwrap_or_else(|| panic!("{arguments:?}: {ended:?}"));
        assert_eq!(
            told, "error: cannot write to standard output: No space left on device (os error 28)\n",
            "{arguments:?}"
        );
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_or_not_and_is_no_panic() {
    for arguments in [&["bogus"][..], &["validate"], &[]] {
        for stderr in [Stdio::piped(), closed(), full()] {
            assert_eq!(run(arguments, Stdio::piped(), stderr).0.code, Some(2), "{arguments:?}");
        }
    }
}
