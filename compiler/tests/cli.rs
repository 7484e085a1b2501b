//! The command as people and scripts run it: exit codes, streams, and what it does to a directory.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const CLUSTER: &str = include_str!("../../examples/lvs-dr/cluster.toml");

fn evenkeel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "xterm").stdin(Stdio::null());
    command
}

#[track_caller]
fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("run evenkeel");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("not killed"), text(stdout), text(stderr))
}

/// A directory with a cluster file.
struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self { root: tempfile::tempdir().expect("directory") };
        place.write(text);
        place
    }

    fn write(&self, text: &str) {
        fs::write(self.cluster(), text).expect("write cluster");
    }

    fn cluster(&self) -> PathBuf {
        self.root.path().join("cluster.toml")
    }

    fn plans(&self) -> PathBuf {
        self.root.path().join("plans")
    }

    fn compile(&self, more: &[&str]) -> (i32, String, String) {
        run(evenkeel().arg("compile").arg(self.cluster()).arg("--out").arg(self.plans()).args(more))
    }

    fn files(&self) -> Vec<String> {
        names(&self.plans())
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("directory")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .collect();
    names.sort();
    names
}

#[test]
fn validate_says_what_it_found() {
    let place = Place::new(CLUSTER);
    let (code, out, err) = run(evenkeel().arg("validate").arg(place.cluster()));
    assert_eq!(
        (code, out.as_str()),
        (0, "lvs-dr is valid: 4 hosts, 1 virtual router, 1 service (1 warning).\n")
    );
    assert!(err.starts_with("warning[EK0406]"), "{err}");
    assert!(!err.contains("hell>com"), "a secret in a log: {err}");
    place.write(&CLUSTER.replace("vrid = 51", "vrid = 0"));
    let (code, out, err) = run(evenkeel().arg("validate").arg(place.cluster()).args(["--format", "human"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("error[EK0105]"), "{err}");
    assert!(err.ends_with("is not valid: 1 error, 1 warning.\n"), "{err}");
}

#[test]
fn validate_reads_standard_input() {
    let mut child = evenkeel()
        .args(["validate", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run evenkeel");
    child.stdin.take().expect("stdin").write_all(b"version = 1\n").expect("write");
    let output = child.wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--> <stdin>:1:1"));
}

#[test]
fn files_that_cannot_be_read_are_errors_not_crashes() {
    let place = Place::new(CLUSTER);
    for (path, words) in [
        (place.root.path().join("missing.toml"), "the file does not exist"),
        (place.root.path().to_owned(), "this is a directory"),
        (PathBuf::from("/dev/zero"), "at most 16 MiB"),
        (PathBuf::from("/dev/null"), "the file is empty"),
    ] {
        for command in ["validate", "compile"] {
            let mut evenkeel = evenkeel();
            evenkeel.arg(command).arg(&path);
            if command == "compile" {
                evenkeel.arg("--out").arg(place.plans());
            }
            let (code, out, err) = run(&mut evenkeel);
            assert_eq!((code, out.as_str()), (1, ""), "{err}");
            assert!(err.contains(words), "{err}");
        }
    }
    assert!(!place.plans().exists(), "nothing is written for a cluster that is wrong");
}

#[test]
fn wrong_usage_is_two_and_help_shows_examples() {
    for arguments in [&["valdate"][..], &["compile", "x"], &["validate", "x", "--format", "rtf"], &[]] {
        assert_eq!(run(evenkeel().args(arguments)).0, 2, "{arguments:?}");
    }
    for arguments in
        [&["--help"][..], &["validate", "--help"], &["compile", "--help"], &["explain", "--help"]]
    {
        let (code, out, _) = run(evenkeel().args(arguments));
        assert_eq!(code, 0);
        assert!(out.contains("Examples:"), "{out}");
    }
    assert_eq!(run(evenkeel().arg("--version")).0, 0);
}

#[test]
fn a_picture_is_drawn_as_its_name_says() {
    let place = Place::new(CLUSTER);
    let graph = |more: &[&str]| {
        let mut command = evenkeel();
        run(command.current_dir(place.root.path()).args(["graph", "cluster.toml"]).args(more))
    };
    for (name, begins) in
        [("a.svg", "<svg "), ("a.SVG", "<svg "), ("a.mmd", "flowchart"), ("b.mermaid", "flowchart")]
    {
        assert_eq!(graph(&["--out", name]).0, 0, "{name}");
        let text = fs::read_to_string(place.root.path().join(name)).expect("a picture");
        assert!(text.starts_with(begins), "{name}: {text}");
    }
    assert!(graph(&[]).1.starts_with("flowchart"), "standard output has no name");
    for (name, words) in
        [("a.png", "no PNG is drawn"), ("a.dot", ".svg, .mmd"), ("picture", "--format"), (".svg", ".mmd")]
    {
        let (code, out, err) = graph(&["--out", name]);
        assert!(code == 1 && out.is_empty() && err.contains(words), "{name}: {err}");
        assert!(!place.root.path().join(name).exists(), "{name}");
    }
    assert_eq!(graph(&["--out", "picture", "--format", "svg"]).0, 0, "said and not guessed");
}

/// What may be left out stands in brackets, also where something else is wrong.
#[test]
fn usage_lines_are_those_of_the_help() {
    for (arguments, usage) in [
        (&["compile", "x", "--check"][..], "evenkeel compile [OPTIONS] --out <DIR> <CLUSTER>"),
        (&["fmt", "--check"], "evenkeel fmt [OPTIONS] <FILE>..."),
        (&["plan", "x", "--nope"], "evenkeel plan [OPTIONS] <CLUSTER>"),
        (&["apply", "x", "--stage", "next"], "evenkeel apply [OPTIONS] --to <DIR> <CLUSTER|FILE>"),
        (&["graph", "--format", "svg"], "evenkeel graph [OPTIONS] <CLUSTER>"),
        (&["validate"], "evenkeel validate [OPTIONS] <CLUSTER>"),
    ] {
        let (code, _, err) = run(evenkeel().args(arguments));
        let (_, help, _) = run(evenkeel().args([arguments[0], "--help"]));
        assert!(code == 2 && err.contains(&format!("Usage: {usage}\n")), "{err}");
        assert!(help.contains(&format!("Usage: {usage}\n")), "{help}");
    }
}

#[test]
fn schemas_are_listed_and_printed_by_name() {
    let (code, list, _) = run(evenkeel().arg("schema"));
    assert_eq!(code, 0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/json");
    assert_eq!(list.lines().count(), names(&folder).len(), "{list}");
    for line in list.lines() {
        let (name, about) = line.split_once(' ').expect("a name and what it is");
        assert!(about.trim().len() > 10, "{line}");
        let (code, text, _) = run(evenkeel().args(["schema", name]));
        let committed = fs::read_to_string(folder.join(format!("{name}.schema.json"))).expect("committed");
        assert!(code == 0 && text == committed, "{name} is not the committed one");
    }
    let (code, out, err) = run(evenkeel().args(["schema", "clutser"]));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("'cluster'"), "{err}");
}

/// Every complaint has a place that editors can jump to, also of what cannot be read.
#[test]
fn what_cannot_be_read_has_a_place_too() {
    let place = Place::new(CLUSTER);
    let path = |name: &str| place.root.path().join(name);
    fs::write(path("latin.toml"), b"version = 1\nname = \"caf\xe9\"\n").expect("write");
    fs::write(path("nul.toml"), b"version = 1\n\xc3\xa9 \0\n").expect("write");
    fs::write(path("empty.toml"), b"").expect("write");
    fs::write(path("with.toml"), b"version = 1\ninclude = [\"latin.toml\"]\n").expect("write");
    fs::create_dir(path("folder.toml")).expect("create");
    for (name, at) in [
        ("latin.toml", "latin.toml:2:12"),
        ("nul.toml", "nul.toml:2:3"),
        ("empty.toml", "empty.toml:1:1"),
        ("missing.toml", "missing.toml:1:1"),
        ("folder.toml", "folder.toml:1:1"),
        ("with.toml", "latin.toml:2:12"),
    ] {
        let (code, _, err) = run(evenkeel().arg("validate").arg(path(name)));
        assert!(code == 1 && err.contains(&format!("--> {}\n", path(at).display())), "{name}: {err}");
        let (_, out, _) = run(evenkeel().arg("validate").arg(path(name)).args(["--format", "github"]));
        let (line, column) = at.split_once(':').and_then(|(_, at)| at.split_once(':')).expect("a place");
        assert!(out.contains(&format!(",line={line},endLine={line},col={column},")), "{name}: {out}");
    }
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let place = Place::new(CLUSTER);
    let validate = |when: &[&str], no_color: bool| {
        let mut command = evenkeel();
        command.arg("validate").arg(place.cluster()).args(when);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        run(&mut command).2.contains('\u{1b}')
    };
    assert!(!validate(&[], false));
    assert!(validate(&["--color", "always"], false));
    assert!(validate(&["--color", "always"], true), "asked for on the command line");
    assert!(!validate(&["--color=never"], false));
}

#[test]
fn explain_knows_every_code() {
    let (code, list, _) = run(evenkeel().arg("explain"));
    assert_eq!(code, 0);
    assert!(list.lines().count() > 50, "{list}");
    for line in list.lines() {
        let id = &line[..6];
        let (code, out, _) = run(evenkeel().args(["explain", &id.to_lowercase()]));
        assert_eq!(code, 0, "{id}");
        assert!(out.starts_with(id), "{out}");
        assert!(out.lines().skip(1).all(|line| line.chars().count() <= 80), "{out}");
    }
    let (code, _, err) = run(evenkeel().args(["explain", "EK9999"]));
    assert_eq!(code, 1);
    assert!(err.contains("there is no code `EK9999`"), "{err}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let mut child =
        evenkeel().arg("explain").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("output");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn compile_writes_once_and_then_leaves_alone() {
    let place = Place::new(CLUSTER);
    let (code, out, _) = place.compile(&[]);
    assert_eq!(code, 0);
    assert!(
        out.ends_with(
            "plans/: 4 plans (4 written, 0 unchanged, 0 removed). Secrets: 2 written, 0 removed.\n"
        )
    );
    let expected = names(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lvs-dr/plans"));
    assert_eq!(place.files(), expected, "no temporary file stays behind");
    let secrets = fs::metadata(place.plans().join("dir1.secrets.toml")).expect("secrets");
    assert_eq!(secrets.permissions().mode() & 0o777, 0o600);
    let inode = |name: &str| fs::metadata(place.plans().join(name)).expect("plan").ino();
    let before: Vec<u64> = expected.iter().map(|name| inode(name)).collect();
    let (code, out, _) = place.compile(&[]);
    assert_eq!(code, 0);
    assert!(out.ends_with("plans/: 4 plans (0 written, 4 unchanged, 0 removed).\n"), "{out}");
    place.write(
        &CLUSTER.replace("rs1  = { address = \"192.168.188.107\"", "rs1  = { address = \"192.168.188.17\""),
    );
    let (_, out, _) = place.compile(&[]);
    assert!(out.contains("(3 written, 1 unchanged, 0 removed)"), "{out}");
    for (name, before) in expected.iter().zip(before) {
        let touched = matches!(name.as_str(), "dir1.plan.toml" | "dir2.plan.toml" | "rs1.plan.toml");
        assert_eq!(inode(name) != before, touched, "{name}: replaced by a new file or left alone");
    }
}

#[test]
fn a_host_that_is_gone_takes_its_files_with_it() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    for (name, text) in [
        ("notes.txt", "mine"),
        ("old.plan.toml", "format = 1\n"),
        (
            "other.secrets.toml",
            "# Secrets compiled by evenkeel from cluster `other`. Do not edit; keep private.\n",
        ),
    ] {
        fs::write(place.plans().join(name), text).expect("write");
    }
    place.write(&CLUSTER.replace("dir2 = { address", "dir3 = { address").replace("\"dir2\"]", "\"dir3\"]"));
    let (code, out, err) = place.compile(&[]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.ends_with("4 plans (1 written, 3 unchanged, 1 removed). Secrets: 1 written, 1 removed.\n"),
        "{out}"
    );
    assert!(err.contains("old.plan.toml is not a plan of lvs-dr"), "{err}");
    let files = place.files();
    for present in ["dir3.plan.toml", "dir3.secrets.toml", "notes.txt", "old.plan.toml", "other.secrets.toml"]
    {
        assert!(files.iter().any(|name| name == present), "{present} in {files:?}");
    }
    assert!(!files.iter().any(|name| name.starts_with("dir2")), "{files:?}");
}

#[test]
fn the_last_good_plans_stay_when_the_cluster_is_wrong() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    let before = fs::read(place.plans().join("dir1.plan.toml")).expect("plan");
    place.write("version = 1\n");
    assert_eq!(place.compile(&[]).0, 1);
    assert_eq!(place.files().len(), 6);
    assert_eq!(fs::read(place.plans().join("dir1.plan.toml")).expect("plan"), before);
}

#[test]
fn damaged_plans_are_repaired_and_foreign_ones_refused() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    let plan = place.plans().join("dir1.plan.toml");
    let text = fs::read_to_string(&plan).expect("plan");
    for damaged in [text.replace("weight = 100", "weight = 0"), text[..200].to_owned(), String::new()] {
        fs::write(&plan, damaged).expect("write");
        assert_eq!(place.compile(&["--check"]).0, 1);
        assert_eq!(place.compile(&[]).0, 0);
        assert_eq!(fs::read_to_string(&plan).expect("plan"), text);
    }
    fs::set_permissions(place.plans().join("dir1.secrets.toml"), fs::Permissions::from_mode(0o644))
        .expect("chmod");
    assert!(place.compile(&[]).1.ends_with("Secrets: 1 written, 0 removed.\n"));
    fs::write(&plan, "my own notes\n").expect("write");
    let (code, _, err) = place.compile(&[]);
    assert_eq!(code, 1);
    assert!(err.contains("was not written by evenkeel; nothing was written"), "{err}");
}

#[test]
fn two_clusters_cannot_share_a_directory() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    place.write(&CLUSTER.replace("name = \"lvs-dr\"", "name = \"other\""));
    let (code, _, err) = place.compile(&[]);
    assert_eq!(code, 1);
    assert!(err.contains("belongs to cluster `lvs-dr`; nothing was written"), "{err}");
    place.write(CLUSTER);
    let (code, out, _) = place.compile(&["--check"]);
    assert_eq!((code, out.contains("is up to date with lvs-dr: 4 plans.")), (0, true), "{out}");
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let place = Place::new(CLUSTER);
    let (code, _, err) =
        run(evenkeel().arg("compile").arg(place.cluster()).arg("--out").arg(place.cluster().join("plans")));
    assert_eq!(code, 1);
    assert!(err.starts_with("warning[EK0406]") && err.contains("error: cannot "), "{err}");
}

#[test]
fn what_a_killed_run_left_is_removed_and_nothing_else() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    let old = SystemTime::now() - Duration::from_secs(3600);
    let make = |name: &str, modified: SystemTime| {
        let file = fs::File::create(place.plans().join(name)).expect("create");
        file.set_modified(modified).expect("set time");
    };
    make(".evenkeel-aB3dE6", old);
    make(".evenkeel-aB3dE7", SystemTime::now());
    make(".evenkeel-aB3dE8", SystemTime::now() + Duration::from_secs(3600));
    make(".evenkeel-notes.txt", old);
    make(".other-aB3dE6", old);
    fs::create_dir(place.plans().join(".evenkeel-folder")).expect("create");
    std::os::unix::fs::symlink(place.cluster(), place.plans().join(".evenkeel-symlnk")).expect("link");
    let before = place.files();
    assert_eq!(place.compile(&["--check"]).0, 0);
    assert_eq!(place.files(), before, "--check writes nothing");
    let (code, _, err) = place.compile(&[]);
    assert_eq!(code, 0);
    assert!(err.contains("/.evenkeel-aB3dE6, which a run that was killed had left."), "{err}");
    assert_eq!(err.matches("Removed").count(), 1, "{err}");
    let gone: Vec<String> = before.into_iter().filter(|name| !place.files().contains(name)).collect();
    assert_eq!(gone, [".evenkeel-aB3dE6"]);
}

/// A cluster in three files and an overlay.
fn in_files() -> Place {
    let (head, tail) = CLUSTER.split_at(CLUSTER.find("[services.web]").expect("the service"));
    let place =
        Place::new(&head.replace("name = \"lvs-dr\"", "name = \"lvs-dr\"\ninclude = [\"services/*.toml\"]"));
    fs::create_dir(place.root.path().join("services")).expect("create");
    fs::write(place.root.path().join("services/web.toml"), tail).expect("write");
    fs::create_dir(place.root.path().join("overlays")).expect("create");
    fs::write(place.root.path().join("overlays/low.toml"), "[services.web]\nport = 8080\n").expect("write");
    place
}

#[test]
fn several_files_compile_to_the_plans_of_one() {
    let place = Place::new(CLUSTER);
    place.compile(&[]);
    let parts = in_files();
    let (code, _, err) = parts.compile(&[]);
    assert_eq!(code, 0, "{err}");
    let plan = |place: &Place, name: &str| fs::read(place.plans().join(name)).expect("plan");
    for name in place.files() {
        assert_eq!(plan(&place, &name), plan(&parts, &name), "{name}");
    }
    let overlay = parts.root.path().join("overlays/low.toml").display().to_string();
    let (code, out, err) = parts.compile(&["--overlay", &overlay]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("(2 written, 2 unchanged"), "{out}");
    assert!(String::from_utf8_lossy(&plan(&parts, "dir1.plan.toml")).contains("port = 8080"));
    let gone = parts.root.path().join("overlays/gone.toml").display().to_string();
    let (code, _, err) = parts.compile(&["--overlay", &overlay, "--overlay", &gone]);
    assert_eq!(code, 1);
    assert!(err.contains("the file does not exist") && err.contains("overlays/gone.toml"), "{err}");
}

#[test]
fn what_is_included_must_be_a_file_of_the_directory() {
    let place = in_files();
    let odd = place.root.path().join("services/odd.toml");
    let outside = tempfile::tempdir().expect("directory");
    fs::write(outside.path().join("secret"), "password = 1\n").expect("write");
    let attempt = |words: &str| {
        let (code, out, err) = run(evenkeel().arg("validate").arg(place.cluster()));
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(
            err.contains("error[EK0001]: `") && err.contains("services/odd.toml`: ") && err.contains(words),
            "{err}"
        );
        fs::remove_file(&odd).expect("remove");
    };
    std::os::unix::fs::symlink(outside.path().join("secret"), &odd).expect("link");
    attempt("symbolic link that leads out");
    std::os::unix::fs::symlink("/dev/zero", &odd).expect("link");
    attempt("symbolic link that leads out");
    std::os::unix::fs::symlink(&odd, &odd).expect("link");
    attempt("cannot be read");
    assert!(Command::new("mkfifo").arg(&odd).status().expect("mkfifo").success());
    attempt("it is a device or a pipe");
    fs::create_dir(&odd).expect("create");
    assert_eq!(run(evenkeel().arg("validate").arg(place.cluster())).0, 0, "a directory is no file to match");
    fs::remove_dir(&odd).expect("remove");
    std::os::unix::fs::symlink("../overlays/low.toml", &odd).expect("link");
    let (_, _, err) = run(evenkeel().arg("validate").arg(place.cluster()));
    assert!(
        err.contains("error[EK0007]: `services.web.port` is defined in two files"),
        "inside it may lead: {err}"
    );
}

#[test]
fn a_pipe_may_be_the_cluster_file_and_standard_input_includes_nothing() {
    let place = in_files();
    let fifo = place.root.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let child = evenkeel()
        .arg("validate")
        .arg(&fifo)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run");
    fs::write(&fifo, CLUSTER).expect("write");
    assert_eq!(child.wait_with_output().expect("output").status.code(), Some(0));
    let text = fs::File::open(place.cluster()).expect("cluster");
    let (code, _, err) = run(evenkeel().args(["validate", "-"]).stdin(text));
    assert_eq!(code, 1);
    assert!(err.contains("error[EK0009]") && err.contains("name the cluster file instead of `-`"), "{err}");
}

#[test]
fn documents_have_standard_output_to_themselves() {
    let place = Place::new(CLUSTER);
    for (format, begins) in
        [("json", "{\n  \"format\": 1,"), ("sarif", "{\n  \"$schema\""), ("github", "::warning file=")]
    {
        let (code, out, err) =
            run(evenkeel().arg("validate").arg(place.cluster()).args(["--format", format]));
        assert_eq!(code, 0);
        assert!(out.starts_with(begins), "{out}");
        assert!(err.starts_with("lvs-dr is valid") && err.lines().count() == 1, "{err}");
        let (code, compiled, err) = place.compile(&["--format", format]);
        assert_eq!((code, compiled), (0, out), "{err}");
        assert!(err.starts_with("Compiled lvs-dr") && err.lines().count() == 1, "{err}");
    }
    fs::remove_file(place.cluster()).expect("remove");
    for format in ["json", "sarif", "github"] {
        let (code, out, err) =
            run(evenkeel().arg("validate").arg(place.cluster()).args(["--format", format]));
        assert_eq!(code, 1);
        assert!(out.contains("EK0001"), "{out}");
        assert!(err.ends_with("is not valid: 1 error.\n"), "{err}");
    }
}

#[test]
fn fmt_rewrites_files_once_and_keeps_their_mode() {
    let untidy = CLUSTER.replace("vrid = 51\n", "").replace("version = 2 ", "version=2 ") + "\n\n";
    let untidy = untidy.replace("[services.web]", "# last\n[services.web]");
    let place = Place::new(&untidy);
    fs::set_permissions(place.cluster(), fs::Permissions::from_mode(0o640)).expect("chmod");
    let fmt = |more: &[&str]| run(evenkeel().arg("fmt").args(more).arg(place.cluster()));
    let (code, out, err) = fmt(&["--check"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("is not in canonical layout; run `evenkeel fmt`"), "{err}");
    let (code, out, _) = fmt(&["--diff"]);
    assert_eq!(code, 0);
    assert!(out.contains("-version=2 ") && out.contains("+version = 2 "), "{out}");
    assert!(!out.contains("hell>com"), "a secret in a diff: {out}");
    assert_eq!(fs::read_to_string(place.cluster()).expect("cluster"), untidy, "nothing is written so far");
    let (code, out, _) = fmt(&[]);
    assert_eq!((code, out.as_str()), (0, "Laid out 1 of 1 files.\n"));
    let tidy = fs::read_to_string(place.cluster()).expect("cluster");
    assert!(tidy.contains("version = 2 ") && tidy.contains("hell>com"), "{tidy}");
    assert_eq!(fs::metadata(place.cluster()).expect("cluster").permissions().mode() & 0o777, 0o640);
    assert_eq!(fmt(&[]).1, "Laid out 0 of 1 files.\n");
    assert_eq!(fmt(&["--check"]).0, 0);
    assert_eq!(names(place.root.path()), ["cluster.toml"], "no temporary file stays behind");
    let stdin = fs::File::open(place.cluster()).expect("cluster");
    assert_eq!(run(evenkeel().args(["fmt", "-"]).stdin(stdin)), (0, tidy, String::new()));
}

#[test]
fn fmt_leaves_alone_what_it_cannot_read() {
    let place = Place::new("a = \n");
    let good = place.root.path().join("good.toml");
    fs::write(&good, "a=1\n").expect("write");
    let (code, out, err) = run(evenkeel().arg("fmt").arg(place.cluster()).arg("missing.toml").arg(&good));
    assert_eq!((code, out.as_str()), (1, "Laid out 1 of 1 files.\n"));
    assert!(err.contains("error[EK0006]") && err.contains("cluster.toml was left as it is"), "{err}");
    assert!(err.contains("error[EK0001]: the file does not exist"), "{err}");
    assert_eq!(fs::read_to_string(good).expect("good"), "a = 1\n", "the others are laid out all the same");
}

#[test]
fn completions_and_manual_pages_are_there() {
    for (shell, word) in
        [("bash", "complete -F"), ("zsh", "#compdef evenkeel"), ("fish", "complete -c evenkeel")]
    {
        let (code, out, _) = run(evenkeel().args(["completions", shell]));
        assert_eq!(code, 0);
        assert!(out.contains(word) && out.contains("overlay"), "{out}");
    }
    let folder = tempfile::tempdir().expect("directory");
    let (code, _, err) = run(evenkeel().arg("man").arg(folder.path()));
    assert_eq!(code, 0, "{err}");
    let pages = names(&folder.path().join("man1"));
    for page in ["evenkeel.1", "evenkeel-validate.1", "evenkeel-fmt.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
    let page = fs::read_to_string(folder.path().join("man5/evenkeel.toml.5")).expect("page");
    assert!(page.contains("virtual_routers.<name>.vrid") && page.contains("EK0305"), "{page}");
}
