//! `plan` and `apply` as people and CI run them: bases, formats, saved plans, guards, locks, stages.
#![allow(clippy::disallowed_methods, reason = "runs the command on files")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CLUSTER: &str = include_str!("../../examples/lvs-dr/cluster.toml");

/// The cluster without a secret in it.
fn public() -> String {
    CLUSTER.replace("{ literal = \"hell>com\" }", "{ file = \"/etc/evenkeel/vrrp.pass\" }")
}

/// A change that needs three stages.
fn with_rs3(text: &str) -> String {
    let text =
        text.replace("rs2  = {", "rs3  = { address = \"192.168.188.111\", interface = \"eth0\" }\nrs2  = {");
    let with = text
        .replace("{ host = \"rs2\", weight = 100 }", "{ host = \"rs2\", weight = 100 }, { host = \"rs3\" }");
    assert_ne!(with, text);
    with
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new(text: &str) -> Self {
        let place = Self { root: tempfile::tempdir().expect("directory") };
        place.write("cluster.toml", text);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("write");
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.args(arguments).current_dir(self.root.path()).env_remove("NO_COLOR").stdin(Stdio::null());
        let Output { status, stdout, stderr } = command.output().expect("run evenkeel");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (status.code().expect("not killed"), text(stdout), text(stderr))
    }

    /// Runs a command that must succeed; gives its last line.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{out}{err}");
        out.lines().last().unwrap_or_default().to_owned()
    }

    /// Runs a command that must be refused, with `code` in what it says.
    #[track_caller]
    fn refused(&self, arguments: &[&str], code: &str) -> String {
        let before = self.plans();
        let (status, out, err) = self.run(arguments);
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(&format!("error[{code}]")), "{code} in {err}");
        assert_eq!(self.plans(), before, "nothing is written");
        err
    }

    #[track_caller]
    fn git(&self, arguments: &[&str]) {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=test",
                "-c",
                "user.email=test@example.org",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(self.root.path())
            .output()
            .expect("run git");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn commit(&self) {
        self.git(&["init", "--quiet"]);
        self.git(&["add", "cluster.toml"]);
        self.git(&["commit", "--quiet", "--message", "cluster"]);
    }

    fn plans(&self) -> BTreeMap<String, String> {
        files(&self.path("plans"))
    }
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return BTreeMap::new();
    };
    let entries = entries.map(|entry| entry.expect("entry"));
    entries
        .map(|entry| {
            let text = fs::read_to_string(entry.path()).expect("text");
            (entry.file_name().into_string().expect("name"), text)
        })
        .collect()
}

#[test]
fn plan_compares_with_the_last_commit_unless_told_otherwise() {
    let place = Place::new(CLUSTER);
    place.commit();
    assert_eq!(place.done(&["plan", "cluster.toml"]), "No changes. 4 hosts as wanted.");
    assert_eq!(place.run(&["plan", "cluster.toml", "--detailed-exitcode"]).0, 0);
    place.write("cluster.toml", &with_rs3(CLUSTER));
    let summary = "Plan: 9 to add, 0 to change, 0 to remove on 3 of 5 hosts.";
    for against in [&[][..], &["--against", "git:HEAD"], &["--against", "git:main:cluster.toml"]] {
        let (code, out, _) = place.run(&[&["plan", "cluster.toml", "--detailed-exitcode"], against].concat());
        assert_eq!((code, out.lines().last()), (2, Some(summary)));
        assert!(
            out.contains(
                "+ destination tcp 192.168.188.120:80 -> 192.168.188.111:80 (rs3)  # cluster.toml:29"
            )
        );
        assert!(!out.contains('\u{1b}'), "colour is for terminals");
        assert_eq!(place.done(&[&["plan", "cluster.toml"], against].concat()), summary, "0 without the flag");
    }
    let none = place.done(&["plan", "cluster.toml", "--against", "none"]);
    assert!(
        none.starts_with("Plan: ") && none.ends_with(" 0 to change, 0 to remove on 5 of 5 hosts."),
        "{none}"
    );
    place.done(&["compile", "cluster.toml", "--out", "plans"]);
    assert_eq!(place.done(&["plan", "cluster.toml", "--against", "plans"]), "No changes. 5 hosts as wanted.");
    assert!(place.run(&["plan", "cluster.toml", "--color", "always"]).1.contains("\u{1b}[32m+ "));
}

/// A cluster in several files below a directory of the repository, with an overlay from beside it.
#[test]
fn revisions_have_their_included_files_and_overlays() {
    let place = Place::new("");
    let (head, services) = CLUSTER.split_once("[services.web]").expect("the example's service");
    let service = format!("[services.web]{services}");
    for folder in ["sites/one/services", "sites/overlays"] {
        fs::create_dir_all(place.path(folder)).expect("directory");
    }
    let head = head.replace("version = 1\n", "version = 1\ninclude = [\"services/*.toml\"]\n");
    place.write("sites/one/cluster.toml", &head);
    place.write("sites/one/services/web.toml", &service);
    place.write("sites/overlays/test.toml", "[services.web]\nscheduler = \"rr\"\n");
    place.git(&["init", "--quiet"]);
    place.git(&["add", "sites"]);
    place.git(&["commit", "--quiet", "--message", "cluster"]);
    let plan = ["plan", "sites/one/cluster.toml"];
    let overlay = ["--overlay", "sites/overlays/test.toml"];
    assert_eq!(place.done(&plan), "No changes. 4 hosts as wanted.");
    assert_eq!(place.done(&[&plan[..], &overlay].concat()), "No changes. 4 hosts as wanted.");

    place.write(
        "sites/one/services/web.toml",
        &service.replace("\"rs1\", weight = 100", "\"rs1\", weight = 50"),
    );
    place.write("sites/overlays/test.toml", "[services.web]\nscheduler = \"sh\"\n");
    let (code, out, err) = place.run(&plan);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("# sites/one/services/web.toml:7"), "the line of the file that it stands in: {out}");
    assert!(out.ends_with("Plan: 0 to add, 2 to change, 0 to remove on 2 of 4 hosts.\n"), "{out}");
    let (_, out, _) = place.run(&[&plan[..], &overlay].concat());
    assert!(
        out.contains("scheduler: \"rr\" -> \"sh\""),
        "an overlay of the revision is laid over the revision: {out}"
    );
    assert!(out.contains("# sites/overlays/test.toml:2"), "{out}");
    let err = place.refused(&[&plan[..], &["--overlay", "sites/overlays/none.toml"]].concat(), "EK0001");
    assert!(err.contains("sites/overlays/none.toml"), "{err}");
}

#[test]
fn a_base_that_cannot_be_used_says_so() {
    let place = Place::new(&public());
    place.refused(&["plan", "cluster.toml"], "EK1009");
    place.commit();
    let err = place.refused(&["plan", "cluster.toml", "--against", "git:nowhere"], "EK1009");
    assert!(err.contains("revision `nowhere`"), "{err}");
    for against in ["git:--help", "git:HEAD:--help", "git:", "git::", "missing", "cluster.toml"] {
        place.refused(&["plan", "cluster.toml", "--against", against], "EK1009");
    }
    fs::create_dir(place.path("new")).expect("directory");
    fs::rename(place.path("cluster.toml"), place.path("new/cluster.toml")).expect("move");
    let err = place.refused(&["plan", "new/cluster.toml"], "EK1009");
    assert!(err.contains("there is no new/cluster.toml in"), "{err}");
    place.done(&["plan", "new/cluster.toml", "--against", "git:HEAD:cluster.toml"]);
    place.write("cluster.toml", "version = 1\n");
    place.commit();
    let err = place.refused(&["plan", "new/cluster.toml", "--against", "git:HEAD:cluster.toml"], "EK1009");
    assert!(err.contains("git:HEAD:cluster.toml:1:1") && err.contains("is not valid"), "{err}");
    place.done(&["plan", "new/cluster.toml", "--against", "git:HEAD~:cluster.toml"]);
    place.done(&["compile", "new/cluster.toml", "--out", "plans"]);
    let plan = place.path("plans/dir1.plan.toml");
    let text = fs::read_to_string(&plan).expect("plan");
    fs::write(&plan, text.replace("weight = 100", "weight = 1")).expect("write");
    let err = place.refused(&["plan", "new/cluster.toml", "--against", "plans"], "EK1009");
    assert!(err.contains("dir1.plan.toml cannot be read"), "{err}");
    place.write("new/cluster.toml", &public().replace("name = \"lvs-dr\"", "name = \"other\""));
    fs::write(&plan, text).expect("write");
    let err = place.refused(&["plan", "new/cluster.toml", "--against", "plans"], "EK1009");
    assert!(err.contains("has plans of `lvs-dr` and none of `other`"), "{err}");
}

#[test]
fn the_diff_is_one_that_git_applies() {
    let place = Place::new(&public());
    place.done(&["compile", "cluster.toml", "--out", "plans"]);
    place.git(&["init", "--quiet"]);
    let changed = with_rs3(&public()).replace("dir2 = {", "dir9 = {").replace("\"dir2\"", "\"dir9\"");
    place.write("cluster.toml", &changed);
    let (code, diff, _) = place.run(&["plan", "cluster.toml", "--against", "plans", "--format", "diff"]);
    assert_eq!(code, 0);
    place.write("change.diff", &diff);
    place.git(&["apply", "--directory=plans", "change.diff"]);
    let patched = place.plans();
    place.done(&["compile", "cluster.toml", "--out", "fresh"]);
    assert_eq!(patched, files(&place.path("fresh")));
    assert_eq!(place.run(&["plan", "cluster.toml", "--against", "fresh", "--format", "diff"]).1, "");
}

#[test]
fn json_is_what_its_schema_says_and_markdown_is_a_comment() {
    let place = Place::new(CLUSTER);
    place.commit();
    place.write("cluster.toml", &with_rs3(CLUSTER).replace("hell>com", "hell.com"));
    let (_, text, _) = place.run(&["plan", "cluster.toml", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let schema = jsonschema::draft202012::options().build(&evenkeel_schemas::json::change()).expect("schema");
    let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(value["format"], 1);
    assert!(value["stages"].as_array().expect("stages").len() > 2);
    let (_, comment, _) = place.run(&["plan", "cluster.toml", "--format", "markdown"]);
    assert!(comment.starts_with("<!-- evenkeel plan -->\n### Plan: "), "{comment}");
    assert!(comment.contains("<details><summary>dir1, dir2: 1 to add, 1 to change"), "{comment}");
    for text in [text, comment] {
        assert!(!text.contains("hell>com") && !text.contains("hell.com"), "a secret: {text}");
    }
}

#[test]
fn a_saved_plan_does_exactly_what_it_showed() {
    let place = Place::new(&public());
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    place.write("cluster.toml", &with_rs3(&public()));
    place.done(&["plan", "cluster.toml", "--against", "plans", "--save", "change.plan"]);
    // Whatever the cluster file says by now.
    place.write("cluster.toml", "version = 1\n");
    let line = place.done(&["apply", "change.plan", "--to", "plans"]);
    assert_eq!(line, "Applied lvs-dr to plans: 9 added, 0 changed, 0 removed on 3 of 5 hosts.");
    let line = place.done(&["apply", "change.plan", "--to", "plans"]);
    assert_eq!(line, "No changes. plans has lvs-dr as wanted.");
    place.write("cluster.toml", &with_rs3(&public()));
    place.done(&["compile", "cluster.toml", "--out", "fresh"]);
    assert_eq!(place.plans(), files(&place.path("fresh")), "byte for byte, and no lock is left");
}

#[test]
fn a_saved_plan_that_no_longer_fits_is_refused() {
    let place = Place::new(&public());
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    place.write("cluster.toml", &with_rs3(&public()));
    place.done(&["plan", "cluster.toml", "--against", "plans", "--save", "change.plan"]);
    place.write("cluster.toml", &public().replace("scheduler = \"wlc\"", "scheduler = \"rr\""));
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    let err = place.refused(&["apply", "change.plan", "--to", "plans"], "EK1004");
    assert!(err.contains("dir1, dir2 changed since"), "{err}");
    assert!(err.contains("scheduler: \"wlc\" -> \"rr\""), "object by object: {err}");

    let saved = fs::read_to_string(place.path("change.plan")).expect("saved");
    for damaged in [saved.replace("weight = 1\n", "weight = 9\n"), saved[..saved.len() - 1].to_owned()] {
        assert_ne!(damaged, saved);
        place.write("damaged.plan", &damaged);
        place.refused(&["apply", "damaged.plan", "--to", "plans"], "EK1007");
    }
    let (_, body) = saved.split_once('\n').expect("seal");
    let newer = body.replacen("tool = \"", "tool = \"9", 1);
    assert_ne!(newer, body);
    place.write("newer.plan", &evenkeel_schemas::seal::seal(&newer));
    place.refused(&["apply", "newer.plan", "--to", "plans"], "EK1006");

    place.write("other.toml", &public().replace("name = \"lvs-dr\"", "name = \"other\""));
    place.done(&["apply", "other.toml", "--to", "elsewhere"]);
    let err = place.refused(&["apply", "change.plan", "--to", "elsewhere"], "EK1005");
    assert!(err.contains("it is for cluster `lvs-dr`; elsewhere has plans of `other`"), "{err}");
}

#[test]
fn secrets_are_never_saved_and_come_from_the_cluster_file() {
    let place = Place::new(CLUSTER);
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    let changed = CLUSTER.replace("hell>com", "hell.com");
    place.write("cluster.toml", &changed);
    let (_, _, err) = place.run(&["plan", "cluster.toml", "--against", "plans", "--save", "change.plan"]);
    assert!(err.contains("apply it with --secrets-from cluster.toml"), "{err}");
    let saved = fs::read_to_string(place.path("change.plan")).expect("saved");
    assert!(!saved.contains("hell>com") && !saved.contains("hell.com"), "{saved}");
    let err = place.refused(&["apply", "change.plan", "--to", "plans"], "EK1008");
    assert!(err.contains("--secrets-from cluster.toml"), "{err}");
    place.write("wrong.toml", &with_rs3(&changed));
    place.refused(&["apply", "change.plan", "--to", "plans", "--secrets-from", "wrong.toml"], "EK1004");
    let stage =
        ["apply", "change.plan", "--to", "plans", "--secrets-from", "cluster.toml", "--stage", "next"];
    let secret = |host: &str| place.plans()[&format!("{host}.secrets.toml")].contains("hell.com");
    assert!(place.done(&stage).starts_with("Applied stage 1 of 3 (let go)"));
    assert!(!place.plans().contains_key("dir2.secrets.toml") && !secret("dir1"), "the Backup leaves");
    assert!(place.done(&stage).starts_with("Applied stage 2 of 3 (preferred directors)"));
    assert!(secret("dir1"), "a stage may bring nothing but a password");
    assert!(place.done(&stage).starts_with("Applied stage 3 of 3 (rejoin)"));
    assert_eq!(place.done(&stage), "No changes. plans has lvs-dr as wanted.");
    assert!(secret("dir1") && secret("dir2"));
}

#[test]
fn stages_are_applied_one_at_a_time() {
    let place = Place::new(&public());
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    let start = place.plans();
    place.write("cluster.toml", &with_rs3(&public()));
    place.done(&["plan", "cluster.toml", "--against", "plans", "--save", "change.plan"]);
    let (code, _, err) = place.run(&["apply", "change.plan", "--to", "plans", "--stage", "2"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("stage 2 of 3 is not due: no stage was taken yet, and stage 1 is due in plans"),
        "{err}"
    );
    assert_eq!(place.plans(), start, "nothing was written");
    for (number, hosts) in [(1, &["rs3"][..]), (2, &["rs3", "dir2"]), (3, &["rs3", "dir2", "dir1"])] {
        let number = number.to_string();
        for _ in 0..2 {
            place.done(&["apply", "change.plan", "--to", "plans", "--stage", &number]);
            let now = place.plans();
            let changed: Vec<&String> =
                now.keys().filter(|name| now.get(*name) != start.get(*name)).collect();
            assert_eq!(changed.len(), hosts.len(), "{changed:?}");
        }
        let (other, words) = match number.as_str() {
            "1" => ("3", "stage 3 of 3 is not due: stage 1 was taken last, and stage 2 is due"),
            "2" => ("1", "stage 1 of 3 is over: stage 2 was taken last, and stage 3 is due"),
            _ => ("1", "stage 1 is over: all 3 stages were taken"),
        };
        let (code, _, err) = place.run(&["apply", "change.plan", "--to", "plans", "--stage", other]);
        assert!(code == 1 && err.contains(words), "{err}");
    }
    let end = place.plans();
    assert_eq!(place.run(&["apply", "change.plan", "--to", "plans", "--stage", "4"]).0, 1);
    assert_eq!(place.run(&["apply", "change.plan", "--to", "plans", "--stage", "0"]).0, 2);
    // The same without a saved plan, starting anew each time.
    for (name, text) in &start {
        place.write(&format!("plans/{name}"), text);
    }
    fs::remove_file(place.path("plans/rs3.plan.toml")).expect("remove");
    let stage = ["apply", "cluster.toml", "--to", "plans", "--stage", "next"];
    let line = place.done(&stage);
    assert!(line.starts_with("Applied the next of 3 stages (prepare real servers) of lvs-dr"), "{line}");
    assert!(line.ends_with("2 stages are left."), "{line}");
    assert!(place.done(&stage).ends_with("1 stage is left."));
    assert!(place.done(&stage).starts_with("Applied the next of 1 stages (preferred directors)"));
    assert_eq!(place.done(&stage), "No changes. plans has lvs-dr as wanted.");
    assert_eq!(place.plans(), end);
    assert_eq!(place.run(&["apply", "cluster.toml", "--to", "plans", "--stage", "1"]).0, 1);
}

#[test]
fn guards_refuse_until_they_are_overridden_by_name() {
    let guarded = public().replace("port = 80\n", "port = 80\nprevent_removal = true\n");
    let place = Place::new(&guarded);
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    let start = guarded.find("[services.web]").expect("service");
    let without = format!("{}[policy]\nmax_change = 10\n", &guarded[..start]);
    place.write("cluster.toml", &without);
    let apply = ["apply", "cluster.toml", "--to", "plans"];
    let err = place.refused(&apply, "EK1002");
    assert!(
        err.contains("error[EK1001]") && err.contains("--override prevent_removal=services.web"),
        "{err}"
    );
    let one =
        [&apply[..], &["--override", "max_change", "--override", "prevent_removal=services.dns"]].concat();
    let err = place.refused(&one, "EK1002");
    assert!(err.contains("--override prevent_removal=services.dns was not needed"), "{err}");
    // A saved plan is guarded when it is applied.
    place.done(&["plan", "cluster.toml", "--against", "plans", "--save", "change.plan"]);
    place.refused(&["apply", "change.plan", "--to", "plans"], "EK1002");
    // Unlocking first is another way.
    place.write("cluster.toml", &public());
    place.done(&apply);
    place.write("cluster.toml", &without);
    place.refused(&apply, "EK1001");
    let line = place.done(&[&apply[..], &["--override", "max_change"]].concat());
    assert!(line.contains("removed on 4 of 4 hosts"), "{line}");

    let hosts_only = &guarded[..guarded.find("[virtual_routers").expect("routers")];
    place.write("cluster.toml", hosts_only);
    place.refused(&apply, "EK1003");
    place.done(&[&apply[..], &["--override", "empty"]].concat());
    for wrong in ["everything", "prevent_removal", "prevent_removal=web", "max_change=3"] {
        assert_eq!(place.run(&[&apply[..], &["--override", wrong]].concat()).0, 2, "{wrong}");
    }
}

#[test]
fn one_apply_at_a_time() {
    let place = Place::new(&public());
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    let path = place.path("plans/.evenkeel.lock");
    assert!(!path.exists());
    let mut file = fs::File::create_new(&path).expect("lock file");
    writeln!(file, "evenkeel apply, process 4711").expect("write");
    file.lock().expect("lock");
    let err = place.refused(&["apply", "cluster.toml", "--to", "plans"], "EK1010");
    assert!(err.contains("plans is locked by evenkeel apply, process 4711"), "{err}");
    place.refused(&["apply", "cluster.toml", "--to", "plans", "--lock-timeout", "200ms"], "EK1010");
    let waiting = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["apply", "cluster.toml", "--to", "plans", "--lock-timeout", "1h"])
        .current_dir(place.root.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run evenkeel");
    fs::remove_file(&path).expect("as its holder does");
    drop(file);
    let output = waiting.wait_with_output().expect("output");
    assert!(output.status.success());
    assert!(!path.exists());
    // A holder that was killed leaves the file, and no lock.
    place.write("plans/.evenkeel.lock", "evenkeel apply, process 1\n");
    place.done(&["apply", "cluster.toml", "--to", "plans"]);
    assert_eq!(place.run(&["apply", "cluster.toml", "--to", "plans", "--lock-timeout", "soon"]).0, 2);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let place = Place::new(&public());
    fs::create_dir(place.path("plans")).expect("directory");
    place.write("plans/notes.txt", "mine");
    place.write("plans/old.plan.toml", "format = 1\n");
    let (code, _, err) = place.run(&["apply", "cluster.toml", "--to", "plans"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("Left alone: plans/old.plan.toml is not a plan of lvs-dr."), "{err}");
    assert_eq!(place.plans()["notes.txt"], "mine");
    place.write("plans/dir1.plan.toml", "my own notes\n");
    let (code, _, err) = place.run(&["apply", "cluster.toml", "--to", "plans"]);
    assert_eq!(code, 1);
    assert!(err.contains("was not written by evenkeel; nothing was written"), "{err}");
}

#[test]
fn a_cluster_file_that_is_wrong_is_never_applied() {
    let place = Place::new("version = 1\n");
    assert_eq!(place.run(&["apply", "cluster.toml", "--to", "plans"]).0, 1);
    assert_eq!(place.run(&["plan", "cluster.toml", "--against", "none"]).0, 1);
    assert!(!place.path("plans").exists());
}
