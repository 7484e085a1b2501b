//! Every folder of `tests/import/` is a cluster of keepalived's configurations and what `evenkeel import`
//! makes of it: `args.txt` has the arguments, `expected.toml` the cluster file, `report.txt` the report but
//! for the compiler's part.
//!
//! `UPDATE=1 cargo test -p evenkeel --test import` writes the expectations anew; read the diff as the
//! operator who moves a cluster with it.
#![allow(clippy::disallowed_methods, reason = "reads its cases and runs the command")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel::import::report::{self, Detail};
use evenkeel::import::{Director, Fate, FilesInMemory, Request, UNSAID, import, keywords, versions};
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

/// A report without what the compiler says of the result: that has cases of its own, and changes with its
/// rules.
fn own_words(report: &str) -> String {
    let (own, _) = report.split_once("The compiler says of the result:").unwrap_or((report, ""));
    // What the compiler says is in the summary, and in the exit code.
    let (summary, rest) = own.split_once('\n').unwrap_or((own, ""));
    let counts = summary.split("; the result").next().unwrap_or_default();
    let rest = rest.split("\nexit code").next().unwrap_or_default().trim_end();
    let code = report.lines().last().unwrap_or_default();
    format!("{counts}\n{rest}\n\n{code}\n")
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

/// Diagnostics of a result are about decisions, never about its shape.
#[test]
fn what_is_written_is_in_the_language() {
    for case in cases() {
        let text = std::fs::read_to_string(case.join("expected.toml")).expect("expected.toml");
        if text.is_empty() {
            let report = std::fs::read_to_string(case.join("report.txt")).expect("report.txt");
            assert!(report.contains("nothing was imported."), "{}", case.display());
            continue;
        }
        let parsed: toml::Table = text.parse().expect("TOML");
        assert!(parsed.contains_key("version"), "{}", case.display());
        let compilation = compile(&SourceFile::new("cluster.toml", text));
        for diagnostic in &compilation.diagnostics {
            let id = diagnostic.code.id;
            let shape = id.starts_with("EK00") || id.starts_with("EK09") || id.starts_with("EK01");
            // A service whose protocol is to be decided lacks a key on purpose, and so does a router without
            // VIPs.
            let meant = diagnostic.message.contains("protocol") || diagnostic.message.contains("vips");
            assert!(!shape || meant, "{}: {id} {}", case.display(), diagnostic.message);
        }
    }
}

#[test]
fn a_director_pair_like_the_example_gives_the_plans_of_the_example() {
    let (text, report) = run(&root().join("lvs-dr"), &[]);
    assert!(
        report.starts_with("0 behave otherwise, 5 to decide, 60 the same; the result compiles.\n"),
        "{report}"
    );
    assert!(
        report.ends_with("exit code 3\n"),
        "the interface of the real servers is a guess, and `nb_get_retry` is no keyword of TCP_CHECK: \
        {report}"
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

/// Whether a line of a configuration has a statement: a comment ends it, braces and blanks are none. Written
/// apart from the importer's.
fn has_statement(line: &str) -> bool {
    let mut escaped = false;
    for char in line.chars() {
        match char {
            _ if escaped => return true,
            '\\' => escaped = true,
            '#' | '!' => return false,
            _ if !char.is_ascii_whitespace() && !matches!(char, '\u{b}' | '{' | '}') => return true,
            _ => {}
        }
    }
    escaped
}

/// Every line of the files of a report that has a statement, as `FILE:LINE`.
fn lines_of(case: &Path, files: &BTreeSet<String>) -> Vec<String> {
    let mut out = Vec::new();
    for file in files {
        let bytes = std::fs::read(case.join(file)).expect("a file that was read");
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.split('\n').enumerate().filter(|(_, line)| has_statement(line));
        out.extend(lines.map(|(at, _)| format!("{file}:{}", at + 1)));
    }
    out.sort();
    out
}

/// The lines that are said to be the same, to behave otherwise and so on, with their numbers and what is said
/// of them.
#[test]
fn every_line_with_a_statement_is_in_the_report_once() {
    for case in cases() {
        let (text, _) = run(&case, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let lines = report["lines"].as_array().expect("lines");
        let files: BTreeSet<String> =
            lines.iter().map(|line| line["file"].as_str().expect("file").to_owned()).collect();
        let mut said: Vec<String> = lines
            .iter()
            .map(|line| format!("{}:{}", line["file"].as_str().expect("file"), line["line"]))
            .collect();
        said.sort();
        assert_eq!(said, lines_of(&case, &files), "{}", case.display());
        // All files of the case but those that are refused, which no line is of.
        assert!(!files.is_empty() || report["cluster"].is_null(), "{}", case.display());
        assert!(!text.contains(UNSAID), "{}: {text}", case.display());

        // The long report for people has the same lines, once each.
        let (_, human) = run(&case, &["--full"]);
        let (own, _) = human.split_once("The compiler says of the result:").unwrap_or((&human, ""));
        let places =
            own.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let mut listed: Vec<String> = places
            .filter_map(|line| line.split_once("  ").map(|(place, _)| place))
            .filter(|place| place.rsplit_once(':').is_some_and(|(file, _)| files.contains(file)))
            .map(str::to_owned)
            .collect();
        listed.sort();
        assert_eq!(listed, said, "{}: {human}", case.display());

        let count = |fate: &str| {
            let of = |list: &str| {
                let list = report[list].as_array().expect("a list");
                list.iter().filter(|item| item["fate"] == fate).count()
            };
            of("lines") + of("general")
        };
        for fate in ["changed", "not_carried", "decide", "same"] {
            assert_eq!(report["counts"][fate], count(fate), "{} {fate}", case.display());
        }
        let summary = report["summary"].as_str().expect("summary");
        let start = format!("{} behave otherwise", count("changed") + count("not_carried"));
        let end = format!(", {} to decide, {} the same; ", count("decide"), count("same"));
        assert!(summary.starts_with(&start) && summary.contains(&end), "{summary}");
        assert!(human.starts_with(summary), "{human}");
    }
}

/// A sum of lines is listed where the short report makes several one: none is there twice, and none is
/// missing.
#[test]
fn the_short_report_has_the_places_of_all_lines_once() {
    for case in cases() {
        let (text, human) = run(&case, &["--format", "json"]);
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let all: BTreeSet<String> = report["lines"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| format!("{}:{}", line["file"].as_str().expect("file"), line["line"]))
            .collect();
        drop(human);
        let (_, human) = run(&case, &[]);
        let (own, _) = human.split_once("The compiler says of the result:").unwrap_or((&human, ""));
        let entries =
            own.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
        let mut listed: Vec<String> = Vec::new();
        let mut hidden = 0;
        for entry in entries {
            let Some((places, _)) = entry.split_once("  ") else { continue };
            let (places, more) = places.split_once(" and ").unwrap_or((places, "0 more"));
            let mut file = String::new();
            let mut of_entry = Vec::new();
            for place in places.split(", ").flat_map(|of_file| of_file.split(',')) {
                let range = match place.rsplit_once(':') {
                    Some((name, range)) => {
                        file = name.to_owned();
                        range
                    }
                    None => place,
                };
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { continue };
                of_entry.extend((first..=last).map(|line| format!("{file}:{line}")));
            }
            if of_entry.iter().all(|place| all.contains(place)) && !of_entry.is_empty() {
                hidden +=
                    more.split(' ').next().and_then(|more| more.parse::<usize>().ok()).unwrap_or_default();
                listed.extend(of_entry);
            }
        }
        let once: BTreeSet<&String> = listed.iter().collect();
        assert_eq!(once.len(), listed.len(), "{}: a line twice in {human}", case.display());
        assert_eq!(listed.len() + hidden, all.len(), "{}: {human}", case.display());
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

/// `docs/keepalived/keywords.md` is made from the importer's own table.
#[test]
fn the_book_has_the_table_of_keywords() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keepalived/keywords.md");
    let page = "# Every keyword\n\nWhere a keyword of keepalived goes, or why it is refused and what to do \
        instead. The importer's own table, written by \
                a test.\n";
    assert_eq!(compare(&file, &format!("{page}{}", table())), None);
}

fn table() -> String {
    let mut out = String::new();
    for block in keywords::blocks() {
        out.push_str(&format!("\n## {}\n\n| keepalived | evenkeel | |\n|---|---|---|\n", block.name));
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
    out.push_str("\n## Versions of keepalived\n\n");
    out.push_str(&format!("What is younger than {}:\n\n", versions::Version::OLDEST));
    out.push_str("| since | block | keywords |\n|---|---|---|\n");
    for row in versions::KEYWORDS {
        let names: Vec<String> = row.names.split(' ').map(|name| format!("`{name}`")).collect();
        out.push_str(&format!("| {} | {} | {} |\n", row.since, row.block, names.join(", ")));
    }
    out.push_str("\nWhat a later version reads otherwise:\n\n");
    out.push_str("| since | line | |\n|---|---|---|\n");
    for fact in versions::FACTS {
        let end = if fact.read { "" } else { "; with such a version to be decided" };
        out.push_str(&format!("| {} | {} | {}{end} |\n", fact.since, fact.line, fact.text));
    }
    out
}

/// Every fact of the table is told of a line of some case, for the version before it and for one that has it.
#[test]
fn every_fact_about_versions_has_a_case() {
    let told =
        |case: &str| std::fs::read_to_string(root().join(case).join("report.txt")).expect("report.txt");
    let (before, after) = (told("versions"), told("versions-2.3.4"));
    for fact in versions::FACTS {
        let line = format!("keepalived {} and later: {}", fact.since, fact.text);
        assert!(before.contains(&line), "{line}");
        let later = fact.since > "2.3.4".parse().expect("a version");
        assert_eq!(after.contains(&line), later, "{line}");
        let decide = after.contains(&format!("with keepalived 2.3.4: {}", fact.text));
        assert_eq!(decide, !fact.read && !later, "{line}");
    }
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

/// Whatever behaves otherwise is listed, and an option has answered what no configuration says.
#[test]
fn an_import_with_all_answers_ends_with_0() {
    let case = root().join("answers");
    let (_, report) = run(&case, &[]);
    assert!(report.contains(" 0 to decide, "), "{report}");
    assert!(report.ends_with("exit code 0\n"), "{report}");
    // Each option answers something.
    let arguments = std::fs::read_to_string(case.join("args.txt")).expect("args.txt");
    let words: Vec<&str> = arguments.split_whitespace().collect();
    // `--checks-as-tcp` says how a check is imported, which could be imported otherwise as well.
    let answers = words.iter().enumerate().filter(|(_, word)| word.starts_with("--"));
    for at in answers.filter(|(_, word)| **word != "--checks-as-tcp").map(|(at, _)| at) {
        let rest: Vec<&str> = words[..at].iter().chain(&words[at + 2..]).copied().collect();
        let output = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .arg("import")
            .args(&rest)
            .current_dir(&case)
            .output()
            .expect("evenkeel");
        assert_ne!(output.status.code(), Some(0), "without {}", words[at]);
    }
}

/// A pipe waits for whoever writes into it, and a device never ends.
#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let pipe = folder.path().join("keepalived.conf");
    make_pipe(&pipe);
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("socket");
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&pipe, &link).expect("link");
    for path in
        [pipe.as_path(), &socket, &link, Path::new("/dev/zero"), Path::new("/dev/null"), folder.path()]
    {
        let argument = format!("dir1={}", path.display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["import", &argument])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("evenkeel");
        let begun = std::time::Instant::now();
        while child.try_wait().expect("a child").is_none() {
            if begun.elapsed() > std::time::Duration::from_secs(60) {
                child.kill().expect("killed");
                panic!("{argument} blocks");
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let output = child.wait_with_output().expect("output");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{argument}: {error}");
        assert!(error.contains("it is a device or a pipe") || error.contains("it is a directory"), "{error}");
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo is in coreutils");
    assert!(made.success());
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
        (&["--real-server", "web/a b=192.0.2.1"], "--real-server: "),
        (&["--script-user", "a b"], "`a b` can be no user"),
        (&["--program", "killall=killall"], "`killall` is no absolute path"),
    ] {
        let (_, report) = run(&case, more);
        assert!(report.contains(words) && report.ends_with("exit code 1\n"), "{report}");
    }
    let (_, report) = run(&case, &["--real-server", "web9=192.0.2.9", "--service", "x=192.0.2.9:1"]);
    assert!(report.contains("--real-server web9=192.0.2.9: it fits nothing"), "{report}");
    assert!(report.contains("--service x=192.0.2.9:1: it fits nothing"), "{report}");
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
    assert!(!report::human(&request, &done, Detail::Short, false).is_empty());
    done
}

/// One file with `@` lines: each line once, and what is for one director is not said to be for another.
#[test]
fn a_file_of_two_directors_has_its_lines_once() {
    let text = "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    @high priority \
        150\n    \
                @low priority 100\n    @other nopreempt\n    virtual_ipaddress {\n        \
                192.0.2.100/24\n    }\n}\n";
    let files = FilesInMemory([("/k.conf".to_owned(), text.as_bytes().to_vec())].into());
    let director = |name: &str| Director {
        name: name.to_owned(),
        path: "/k.conf".to_owned(),
        id: name.to_owned(),
        ..Director::default()
    };
    let request = Request { directors: vec![director("high"), director("low")], ..Request::default() };
    let done = import(&request, &files).expect("readable");
    let said: Vec<(usize, usize, Vec<&str>)> = done
        .lines
        .iter()
        .map(|line| {
            let reasons = line.reasons.iter().filter(|reason| reason.text.contains("another director"));
            (line.spot.line, line.directors.len(), reasons.map(|reason| reason.text.as_str()).collect())
        })
        .collect();
    let other = "its condition is not met: it is for another director";
    let expected: Vec<(usize, usize, Vec<&str>)> =
        (1..=8).map(|line| (line, 2, if line == 6 { vec![other] } else { vec![] })).collect();
    assert_eq!(said, expected, "{:#?}", done.lines);
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
    // More lines than a report has: an error, and no more memory than for those.
    let done = quick(&format!("vrrp_instance V {{\n{}", "$A=1\n".repeat(600_000)));
    assert!(done.findings.iter().any(|finding| finding.message.contains("more than 500000 lines")));
    assert_eq!(done.lines.len(), 500_001);
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
