//! The floor plan as a test: which crate may know which, which module may know which, what types are called,
//! how a file begins and how wide it is.
//!
//! ARCHITECTURE.md explains; this compares. A new arrow is made there first. How circles, names and widths
//! are found stands in `tidy/`, a file each. There are no exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/sentences.rs"]
mod sentences;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/width.rs"]
mod width;

/// Longest source file, in lines.
const MAX_LINES: usize = 600;

/// Which crates of ours a crate may depend on (not counting its tests).
const ARROWS: [(&str, &[&str]); 8] = [
    ("evenkeel-schemas", &[]),
    ("evenkeel", &["evenkeel-schemas"]),
    ("evenkeel-vrrp", &["evenkeel-schemas"]),
    ("evenkeel-health", &["evenkeel-schemas"]),
    ("evenkeel-converge", &["evenkeel-schemas"]),
    ("evenkeel-kernel", &["evenkeel-converge", "evenkeel-schemas"]),
    ("evenkeel-host", &["evenkeel-converge", "evenkeel-health", "evenkeel-schemas", "evenkeel-vrrp"]),
    (
        "evenkeel-agent",
        &[
            "evenkeel-converge",
            "evenkeel-health",
            "evenkeel-host",
            "evenkeel-kernel",
            "evenkeel-schemas",
            "evenkeel-vrrp",
        ],
    ),
];

/// Crates that a pure crate must not depend on, at any distance: runtimes, sockets, netlink, file watching.
const IMPURE: [&str; 7] = ["tokio", "socket2", "nix", "netlink-sys", "rtnetlink", "notify", "mio"];
const PURE: [&str; 5] =
    ["evenkeel-schemas", "evenkeel-vrrp", "evenkeel-health", "evenkeel-converge", "evenkeel-host"];

/// All libraries and programs, read once for all tests.
static CRATES: LazyLock<Vec<source::Crate>> = LazyLock::new(|| source::crates(&root()));

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace").to_owned()
}

/// Direct dependencies of every package in the lock file's graph, dev-dependencies left out.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let normal = |dependency: &&serde_json::Value| {
        dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
    };
    nodes
        .iter()
        .map(|node| {
            let dependencies = node["deps"].as_array().expect("deps").iter().filter(normal);
            let dependencies = dependencies
                .filter_map(|dependency| names.get(dependency["pkg"].as_str()?))
                .map(|name| (*name).to_owned());
            (names[node["id"].as_str().expect("id")].to_owned(), dependencies.collect())
        })
        .collect()
}

#[test]
fn arrows_between_crates_are_those_of_the_floor_plan() {
    let dependencies = dependencies();
    let ours: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let found: BTreeSet<&str> = dependencies[name]
            .iter()
            .map(String::as_str)
            .filter(|dependency| ours.contains(dependency))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert_eq!(found, allowed, "arrows of {name}");
    }
}

#[test]
fn pure_crates_reach_no_runtime_socket_or_file_watcher() {
    let dependencies = dependencies();
    for name in PURE {
        let mut reached = BTreeSet::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            for dependency in dependencies.get(next).into_iter().flatten() {
                if reached.insert(dependency.as_str()) {
                    open.push(dependency);
                }
            }
        }
        for impure in IMPURE {
            assert!(!reached.contains(impure), "{name} reaches {impure}");
        }
    }
}

#[test]
fn every_source_file_says_what_lives_there_and_is_short() {
    let mut faults = Vec::new();
    for file in tracked(".rs") {
        let text = std::fs::read_to_string(root().join(&file)).expect("read source");
        if !text.starts_with("//!") {
            faults.push(format!("{file}: does not begin with //!"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            faults.push(format!("{file}: {lines} lines, more than {MAX_LINES}"));
        }
        for word in ["todo!(", "unimplemented!(", "#[ignore"] {
            if text.contains(word) && !file.ends_with("tidy.rs") {
                faults.push(format!("{file}: {word}"));
            }
        }
        if file.starts_with("reconciler/") && text.contains("schemas::cluster::Cluster") {
            faults.push(format!("{file}: the reconciler knows plans, not cluster files"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn modules_form_no_circles() {
    let mut faults = Vec::new();
    for of in CRATES.iter() {
        for circle in circles::circles(of) {
            faults.push(format!("{}: {}\n    in it: {:?}", of.name, circle.path, circle.members));
        }
    }
    assert!(faults.is_empty(), "circles of modules:\n{}", faults.join("\n"));
}

#[test]
fn a_circle_is_found_whatever_way_it_takes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tidy/samples");
    for (sample, wanted) in [
        ("siblings", Some("a → b → a")),
        ("inline_path", Some("a → b → a")),
        ("in_a_macro", Some("a → b → a")),
        ("over_three", Some("a → b → c → a")),
        ("through_a_re_export", Some("a → b → a")),
        ("through_a_glob", Some("a → b → a")),
        ("below", Some("top::a → top::b → top::a")),
        ("of_folders", Some("a → b → a")),
        ("parent_and_child", None),
        ("in_tests_and_docs", None),
    ] {
        let of = source::read(&root, sample, &root.join(sample).join("lib.rs"));
        let found = circles::circles(&of);
        let ways: Vec<&str> = found.iter().filter_map(|circle| circle.path.lines().next()).collect();
        assert_eq!(ways, wanted.into_iter().collect::<Vec<_>>(), "{sample}: {found:?}");
    }
}

#[test]
fn a_name_stands_for_one_type_in_a_crate() {
    let mut faults = Vec::new();
    for of in CRATES.iter() {
        let doubled = names::doubled(of).into_iter();
        faults.extend(doubled.map(|(name, places)| format!("{}: {name} at {}", of.name, places.join(", "))));
    }
    assert!(faults.is_empty(), "names of several types:\n{}", faults.join("\n"));
}

#[test]
fn no_file_is_called_mod_rs_and_no_line_is_too_wide() {
    let limit = width::limit(&root());
    let mut faults = Vec::new();
    for file in tracked(".rs") {
        if Path::new(&file).file_name().is_some_and(|name| name == "mod.rs") {
            faults.push(format!("{file}: call it after its module, beside its folder"));
        }
        let text = std::fs::read_to_string(root().join(&file)).expect("read source");
        let wide = width::wide(&text, limit).into_iter();
        faults.extend(
            wide.map(|(line, width)| format!("{file}:{line}: {width} characters, more than {limit}")),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A program that prints past them panics when nobody reads (`| head`), or waits for a log that takes
/// nothing.
#[test]
fn programs_print_in_one_place_each() {
    const PLACES: [&str; 5] = [
        "compiler/src/cli/terminal.rs",
        // The line of progress, to a terminal only; what cannot be written is left.
        "compiler/src/cli/progress.rs",
        "reconciler/agent/src/system/out.rs",
        "reconciler/agent/src/system/logging.rs",
        // Speaks to the daemon by its standard output.
        "reconciler/agent/src/source/read/helper.rs",
    ];
    // `eprintln!` among them.
    let words = ["print!(", "println!(", "dbg!(", "stdout()", "stderr()"];
    let mut faults = Vec::new();
    for file in
        tracked(".rs").into_iter().filter(|file| file.contains("/src/") && !PLACES.contains(&file.as_str()))
    {
        let text = std::fs::read_to_string(root().join(&file)).expect("read source");
        let found = words.iter().filter(|word| text.contains(**word));
        faults.extend(found.map(|word| format!("{file}: {word}")));
    }
    assert!(faults.is_empty(), "printed past the places for it:\n{}", faults.join("\n"));
}

/// The demo would build and boot a kernel for a person who only asks.
#[test]
fn the_demo_explains_itself() {
    let run = |argument: &str| {
        let output = Command::new(root().join("examples/demo")).arg(argument).output().expect("run the demo");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    for flag in ["--help", "-h"] {
        let (code, out, _) = run(flag);
        assert!(
            code == Some(0) && out.contains("throwaway kernel") && out.contains("Usage: examples/demo"),
            "{out}"
        );
    }
    assert_eq!(run("nonsense").0, Some(2));
}

/// A person who opens the repository sees what it is for.
#[test]
fn the_top_level_has_what_users_look_for_and_nothing_else() {
    let folders = ["compiler", "reconciler", "schemas", "examples", "tests", "docs"];
    let mut faults = BTreeSet::new();
    for file in tracked("") {
        if let Some((folder, _)) = file.split_once('/')
            && !folders.contains(&folder)
            && !folder.starts_with('.')
        {
            faults.insert(folder.to_owned());
        }
    }
    assert!(faults.is_empty(), "at the top level: {faults:?}");
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for file in tracked("Cargo.toml") {
        let text = std::fs::read_to_string(root().join(&file)).expect("read manifest");
        // The fuzz targets are no part of the workspace: they are built with flags of their own.
        assert!(
            file == "Cargo.toml"
                || file == "tests/fuzz/Cargo.toml"
                || text.contains("[lints]\nworkspace = true"),
            "{file}: no [lints] workspace"
        );
    }
}

#[test]
fn pure_crates_ban_clocks_and_files() {
    for file in ["schemas", "compiler", "reconciler/vrrp", "reconciler/health", "reconciler/converge"] {
        let text = std::fs::read_to_string(root().join(file).join("clippy.toml")).expect(file);
        for banned in [
            "std::time::Instant::now",
            "std::time::SystemTime::now",
            "std::fs::",
            "std::collections::HashMap",
        ] {
            assert!(text.contains(banned), "{file}/clippy.toml does not ban {banned}");
        }
    }
}

/// Files of the work tree that git knows or would take, by their ending.
fn tracked(ending: &str) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git ls-files");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files: Vec<String> = String::from_utf8(output.stdout)
        .expect("UTF-8")
        .lines()
        .filter(|file| file.ends_with(ending) && root().join(file).exists())
        .map(str::to_owned)
        .collect();
    assert!(!files.is_empty(), "no {ending} file found");
    files
}

#[test]
fn every_sentence_that_the_lab_waits_for_is_one_that_a_daemon_can_say() {
    let all = lab::SENTENCES.iter().flat_map(|row| row.before.iter().chain([&row.words]).copied());
    let unsaid = sentences::unsaid(&root(), &CRATES, all.chain(["(nobody) says this"]));
    assert_eq!(unsaid, ["(nobody) says this"], "tests/lab/event.rs and the daemon differ");
}
