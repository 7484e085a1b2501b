//! Every folder of `tests/import/` is a cluster of keepalived's configurations and what `evenkeel import` makes of it:
//! `args.txt` has the arguments, `expected.toml` the cluster file, `report.txt` the report but for the compiler's part.
//!
//! `UPDATE=1 cargo test -p evenkeel --test import` writes the expectations anew; read the diff as the operator who
//! moves a cluster with it.
#![allow(clippy::disallowed_methods, reason = "reads its cases and runs the command")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel::import::{Director, Fate, FilesInMemory, Request, import, keywords, report};
use evenkeel::{SourceFile, codes, compile, emit};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<_> =
        std::fs::read_dir(root()).expect("cases").map(|entry| entry.expect("entry").path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    assert!(cases.len() > 10, "the cases have gone");
    cases
}

/// What the command writes: the cluster file, and the report with the exit code.
fn run(case: &Path, more: &[&str]) -> (String, String) {
    let arguments = std::fs::read_to_string(case.join("args.txt")).expect("args.txt");
    let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("import")
        .args(arguments.split_whitespace())
        .args(more)
        .current_dir(case)
        .output()
        .expect("evenkeel");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("no signal");
    (text(output.stdout), format!("{}exit code {code}\n", text(output.stderr)))
}

/// A report without what the compiler says of the result: that has cases of its own, and changes with its rules.
fn own_words(report: &str) -> String {
    let (before, _) = report.split_once("The compiler says of the result:").unwrap_or((report, ""));
    let summary = report.lines().find(|line| line.starts_with("Imported ")).unwrap_or_default();
    let counts = summary.split_once(';').map_or(summary, |(counts, _)| counts);
    let before = before.split_once("\nImported ").map_or(before, |(before, _)| before);
    format!("{}\n\n{counts}\n", before.trim_end())
}

fn compare(file: &Path, actual: &str) -> Option<String> {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, actual).expect("write");
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    (actual != expected).then(|| format!("{}: expected\n{expected}\nbut got\n{actual}", file.display()))
}

#[test]
fn imports_are_as_expected() {
    let mut wrong = Vec::new();
    for case in cases() {
        let (cluster, report) = run(&case, &[]);
        wrong.extend(compare(&case.join("expected.toml"), &cluster));
        wrong.extend(compare(&case.join("report.txt"), &own_words(&report)));
    }
    assert!(wrong.is_empty(), "{} files differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The sections of a cluster file that are about elections.
const ELECTION: [&str; 3] = ["virtual_routers", "sync_groups", "trackers"];

/// What the compiler says of a result is about decisions and what the daemon cannot do, never about its shape.
#[test]
fn what_is_written_is_in_the_language() {
    for case in cases() {
        let text = std::fs::read_to_string(case.join("expected.toml")).expect("expected.toml");
        let parsed: toml::Table = text.parse().expect("TOML");
        assert!(parsed.contains_key("version"), "{}", case.display());
        let compilation = compile(&SourceFile::new("cluster.toml", text));
        for diagnostic in &compilation.diagnostics {
            let id = diagnostic.code.id;
            let shape = id.starts_with("EK00") || id.starts_with("EK09") || id.starts_with("EK01");
            // A service whose protocol is to be decided lacks a key on purpose, and so does a router without VIPs.
            let meant = diagnostic.message.contains("protocol") || diagnostic.message.contains("vips");
            assert!(!shape || meant, "{}: {id} {}", case.display(), diagnostic.message);
            // All that keepalived's elections have, the daemon has too.
            let path = diagnostic.notes.iter().find_map(|note| note.strip_prefix('`'));
            let of_election = |path: &str| ELECTION.iter().any(|section| path.starts_with(section));
            let refused = id == "EK0801" && path.is_some_and(of_election);
            assert!(!refused, "{}: {} {:?}", case.display(), diagnostic.message, diagnostic.notes);
        }
    }
}

#[test]
fn a_director_pair_like_the_example_gives_the_plans_of_the_example() {
    let (text, report) = run(&root().join("lvs-dr"), &[]);
    assert!(
        report.ends_with(
            "0 changed in meaning, 0 not carried, 1 to decide; the result compiles.\nexit code 0\n"
        )
    );
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    let cluster = compilation.cluster.expect("compiles");
    let plans = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/lvs-dr/plans");
    let made = emit(&cluster);
    assert_eq!(made.len(), 4);
    for plan in made {
        let example = std::fs::read_to_string(plans.join(format!("{}.plan.toml", plan.host))).expect("plan");
        assert_eq!(plan.text, example, "{}", plan.host);
    }
}

#[test]
fn the_json_report_has_all_that_the_human_one_has() {
    for case in cases() {
        let (text, _) = run(&case, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(report["version"], 1);
        let cluster = std::fs::read_to_string(case.join("expected.toml")).expect("expected.toml");
        assert_eq!(report["cluster"], cluster);
        let human = std::fs::read_to_string(case.join("report.txt")).expect("report.txt");
        let summary = report["summary"].as_str().expect("summary");
        let (counts, _) = summary.split_once(';').expect("counts; verdict");
        assert!(human.contains(counts), "{}", case.display());
        let carried =
            report["items"].as_array().expect("items").iter().filter(|item| item["fate"] == "carried");
        assert!(human.contains(&format!("Carried ({})", carried.count())), "{}", case.display());
    }
}

#[test]
fn no_password_is_in_a_report() {
    let case = root().join("lvs-dr");
    for format in
        [&["--format", "human"][..], &["--format", "json", "--secret-file", "/etc/evenkeel/vrrp.pass"]]
    {
        let (out, err) = run(&case, format);
        let report = if format.contains(&"json") { out } else { err };
        assert!(!report.contains("hell>com"), "{report}");
    }
}

#[test]
fn every_code_of_an_import_has_a_case() {
    let reports: Vec<String> = cases()
        .iter()
        .map(|case| std::fs::read_to_string(case.join("report.txt")).expect("report.txt"))
        .collect();
    let missing: Vec<&str> = codes::all()
        .map(|code| code.id)
        .filter(|id| id.starts_with("EK11") && !reports.iter().any(|report| report.contains(id)))
        .collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
}

/// Every keyword of the table stands in a case, so that none is only promised.
#[test]
fn every_keyword_has_a_case() {
    let mut words = BTreeSet::new();
    for case in cases() {
        for entry in std::fs::read_dir(&case).expect("case") {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                let text = String::from_utf8_lossy(&std::fs::read(&path).expect("conf")).into_owned();
                words.extend(text.split(|c: char| c.is_whitespace() || c == '{').map(ToOwned::to_owned));
            }
        }
    }
    let names = keywords::blocks().into_iter().flat_map(|block| block.names());
    let missing: BTreeSet<&str> = names.filter(|name| !words.contains(*name)).collect();
    assert!(missing.is_empty(), "no case has {missing:?}");
}

/// The names of all keywords of keepalived 2.4.3, one a line: what the table must know.
#[test]
fn the_table_knows_every_keyword_of_keepalived() {
    let list = std::fs::read_to_string(root().join("keywords.txt")).expect("keywords.txt");
    let known: BTreeSet<&str> = keywords::blocks().into_iter().flat_map(|block| block.names()).collect();
    let missing: Vec<&str> = list.lines().filter(|name| !known.contains(name)).collect();
    assert!(list.lines().count() > 350 && missing.is_empty(), "unknown: {missing:?}");
}

/// `docs/keepalived.md` has the table of keywords between two marks, made from the importer's own.
#[test]
fn the_manual_has_the_table_of_keywords() {
    const MARKS: (&str, &str) = ("<!-- table: begin -->\n", "<!-- table: end -->\n");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keepalived.md");
    let text = std::fs::read_to_string(&file).expect("docs/keepalived.md");
    let (before, rest) = text.split_once(MARKS.0).expect("begin of the table");
    let (_, after) = rest.split_once(MARKS.1).expect("end of the table");
    let whole = format!("{before}{}{}{}{after}", MARKS.0, table(), MARKS.1);
    assert_eq!(compare(&file, &whole), None);
}

fn table() -> String {
    let mut out = String::new();
    for block in keywords::blocks() {
        out.push_str(&format!("\n### {}\n\n| keepalived | evenkeel | |\n|---|---|---|\n", block.name));
        for row in block.rows {
            let names: Vec<String> = row.names.split(' ').map(|name| format!("`{name}`")).collect();
            let absolute = [
                "virtual_routers.",
                "services.",
                "hosts.",
                "trackers",
                "connection_sync",
                "ipvs.",
                "policy.",
                "hooks,",
            ];
            let below = !block.place.is_empty() && !absolute.iter().any(|start| row.ours.starts_with(start));
            let place = match (row.ours, row.fate) {
                ("", Fate::NotCarried) => "refused".to_owned(),
                ("", _) => "–".to_owned(),
                (ours, _) if below => format!("`{}.{ours}`", block.place),
                (ours, _) => format!("`{ours}`"),
            };
            out.push_str(&format!("| {} | {place} | {} |\n", names.join(", "), row.why));
        }
    }
    out.push('\n');
    out
}

#[test]
fn files_are_written_whole_and_foreign_ones_left() {
    let folder = tempfile::tempdir().expect("folder");
    let out = folder.path().join("cluster.toml");
    let path = out.to_str().expect("UTF-8");
    let case = root().join("lvs-dr");
    let expected = std::fs::read_to_string(case.join("expected.toml")).expect("expected.toml");
    for _ in 0..2 {
        let (report, _) = run(&case, &["--out", path]);
        assert!(report.contains("the result compiles") && report.contains("Written: "), "{report}");
        assert_eq!(std::fs::read_to_string(&out).expect("written"), expected);
    }
    std::fs::write(&out, "version = 1\n").expect("write");
    let (_, error) = run(&case, &["--out", path]);
    assert!(
        error.contains("was not written by `evenkeel import`") && error.ends_with("exit code 1\n"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&out).expect("kept"), "version = 1\n");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("folder").count(),
        1,
        "no temporary file stays behind"
    );
}

#[test]
fn wrong_options_are_told() {
    let case = root().join("lvs-dr");
    for (more, words) in [
        (&["dir1=dir2.conf"][..], "the director dir1 is named twice"),
        (&["dir3=nowhere.conf"], "cannot read nowhere.conf: "),
        (&["--address", "dir9=192.0.2.1"], "`dir9` is none of the directors"),
        (&["--address", "dir1=here"], "`here` is no IP address"),
        (&["--subnet", "192.0.2.0"], "is not a network in CIDR form"),
        (&["--service", "web=192.0.2.1"], "NAME=VIP:PORT"),
        (&["--real-server", "192.0.2.1"], "write NAME=VALUE"),
    ] {
        let (_, report) = run(&case, more);
        assert!(report.contains(words) && report.ends_with("exit code 1\n"), "{report}");
    }
    let (_, report) = run(&case, &["--real-server", "web9=192.0.2.9", "--service", "x=192.0.2.9:1"]);
    assert!(report.contains("--real-server web9=192.0.2.9\n      it fits nothing"), "{report}");
    assert!(report.contains("--service x=192.0.2.9:1\n      it fits nothing"), "{report}");
    let (_, report) = run(&case, &["--format", "rtf"]);
    assert!(report.ends_with("exit code 2\n"), "{report}");
}

fn quick(text: &str) -> evenkeel::import::Import {
    let files = FilesInMemory([("/k.conf".to_owned(), text.as_bytes().to_vec())].into());
    let director = Director {
        name: "dir1".to_owned(),
        path: "/k.conf".to_owned(),
        id: "dir1".to_owned(),
        addresses: Vec::new(),
    };
    let request = Request { name: "x".to_owned(), directors: vec![director], ..Request::default() };
    let done = import(&request, &files).expect("readable");
    assert!(!report::human(&request, &done, false).is_empty());
    done
}

#[test]
fn bombs_are_errors_and_take_no_time() {
    let deep = |open: &str| open.repeat(20_000);
    for text in [
        "$A=$A\n$A\n".to_owned(),
        "$A=${B}${B}\n$B=${A}${A}\n$A\n".to_owned(),
        "$A= \\\n$A \\\n$A\n$A\n".to_owned(),
        "~SEQ(A,1,99999) ~SEQ(B,1,99999) ~SEQ(C,1,99999) x\n".to_owned(),
        "~SEQ(A,1,4294967295) x\n".to_owned(),
        "include /k.conf\n".to_owned(),
    ] {
        let done = quick(&text);
        assert!(done.findings.iter().any(|finding| finding.code.id.starts_with("EK11")), "{text}");
    }
    for text in [
        deep("a {\n"),
        deep("}\n"),
        deep("{"),
        deep("\""),
        "@".repeat(100_000),
        deep("vrrp_instance {\n"),
        "~SEQ(N,1,65024) vrrp_instance V${N} { virtual_router_id 1\n interface eth0\n }\n".to_owned(),
    ] {
        quick(&text);
    }
}
