//! Commands that run once, on a state directory with damaged files: they name the way on, or go on without
//! files that they cannot parse, as a daemon does. In a network namespace of their own, where nothing is
//! evenkeel's.

#[path = "support/support.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use evenkeel_schemas::plan::testing::PlanText;
use support::alone;

const DAMAGE: &str = "{\"version\":1,\"addr";

fn run(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let output: Output = alone(env!("CARGO_BIN_EXE_evenkeeld"))
        .args(arguments)
        .arg("--state-dir")
        .arg(directory.join("state"))
        .output()
        .expect("run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A state directory with these damaged files.
fn damaged(names: &[&str]) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().expect("tempdir");
    fs::create_dir(scratch.path().join("state")).expect("made");
    for name in names {
        fs::write(scratch.path().join("state").join(name), DAMAGE).expect("written");
    }
    fs::write(scratch.path().join("h.plan.toml"), PlanText::of("h").sealed()).expect("written");
    scratch
}

#[test]
fn cleanup_says_the_way_on_from_a_damaged_ledger() {
    let scratch = damaged(&["ledger.json"]);
    let state = scratch.path().join("state");
    let (done, said) = run(scratch.path(), &["cleanup"]);
    assert!(!done && said.contains("ledger.json: damaged") && said.contains("--without-ledger"), "{said}");
    assert_eq!(fs::read_to_string(state.join("ledger.json")).expect("still there"), DAMAGE);
    let (done, said) = run(scratch.path(), &["cleanup", "--without-ledger"]);
    assert!(done && said.contains("ipvsadm -Ln") && said.contains("ledger.json.unreadable-1"), "{said}");
    assert_eq!(fs::read_to_string(state.join("ledger.json.unreadable-1")).expect("kept"), DAMAGE);
    assert!(!state.join("ledger.json").exists());
    // Where nothing is damaged it is no different.
    let (done, said) = run(scratch.path(), &["cleanup", "--without-ledger"]);
    assert!(done && !said.contains("ipvsadm"), "{said}");
}

#[test]
fn diff_and_converge_go_on_without_damaged_files() {
    let names = ["ledger.json", "drain-orders.json", "drains.json"];
    let scratch = damaged(&names);
    let plan = scratch.path().join("h.plan.toml").display().to_string();
    let socket = scratch.path().join("none").display().to_string();
    let (done, said) = run(scratch.path(), &["diff", "--host", "h", "--plan", &plan, "--socket", &socket]);
    assert!(done, "{said}");
    for name in names {
        assert!(said.contains(name), "it does not tell of {name}: {said}");
        assert!(scratch.path().join("state").join(name).exists(), "diff changes nothing");
    }
    let (done, said) = run(scratch.path(), &["converge", "--host", "h", "--plan", &plan]);
    assert!(done, "{said}");
    for name in names {
        let aside = scratch.path().join("state").join(format!("{name}.unreadable-1"));
        assert_eq!(fs::read_to_string(aside).expect("kept"), DAMAGE, "{name}");
    }
}
