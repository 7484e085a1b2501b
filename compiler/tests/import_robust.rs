//! No bytes make the importer panic or hang, and what it writes is TOML in the language of cluster files.

use std::collections::BTreeMap;

use evenkeel::import::Spot;
use evenkeel::import::report::{self, Detail};
use evenkeel::import::{Director, FilesInMemory, Import, Request, import, is_significant};
use proptest::prelude::*;

/// Configurations to be broken: those of the cases.
const CASES: [&str; 6] = [
    include_str!("import/vrrp-options/dir1.conf"),
    include_str!("import/tracking/dir1.conf"),
    include_str!("import/checks/dir1.conf"),
    include_str!("import/groups/dir1.conf"),
    include_str!("import/old-style/dir1.conf"),
    include_str!("import/language/keepalived.conf"),
];

/// Imports two directors and draws all there is to say; a panic is the failure.
fn whole(first: &[u8], second: &[u8]) -> Import {
    let files =
        BTreeMap::from([("/a.conf".to_owned(), first.to_vec()), ("/b.conf".to_owned(), second.to_vec())]);
    let director = |name: &str, path: &str| Director {
        name: name.to_owned(),
        path: path.to_owned(),
        id: name.to_owned(),
        addresses: Vec::new(),
    };
    let request = Request {
        name: "x".to_owned(),
        directors: vec![director("dir1", "/a.conf"), director("dir2", "/b.conf")],
        ..Request::default()
    };
    let done = import(&request, &FilesInMemory(files)).expect("both are there");
    let _ = report::human(&request, &done, Detail::Short, true);
    let _ = report::human(&request, &done, Detail::Full, true);
    every_line_once(&done);
    let json = report::json(&request, &done, true);
    serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
    done.cluster.text().parse::<toml::Table>().expect("TOML");
    for diagnostic in &done.compilation.diagnostics {
        let id = diagnostic.code.id;
        // Syntax, duplicate keys, unknown keys: mistakes of the writer, whatever it was given.
        let ours = id.starts_with("EK00") || id.starts_with("EK09") || diagnostic.message.contains("unknown");
        assert!(!ours, "{id} {} in\n{}", diagnostic.message, done.cluster.text());
    }
    done
}

/// Every line with a statement is in the report once, whatever it is; a file that is refused has none there.
fn every_line_once(done: &Import) {
    let said: Vec<_> = done.lines.iter().map(|line| line.spot).collect();
    let mut expected = Vec::new();
    for (file, source) in done.sources.iter().enumerate() {
        let refused =
            done.findings.iter().any(|finding| finding.spot.file == file && finding.code.id == "EK1113");
        let lines = source.text.split('\n').enumerate().filter(|(_, line)| !refused && is_significant(line));
        expected.extend(lines.map(|(line, _)| Spot { file, line: line + 1 }));
    }
    assert_eq!(said, expected);
}

fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at % (text.len() + 1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        whole(&bytes, &bytes);
    }

    #[test]
    fn text_that_looks_like_keepalived(
        text in "((vrrp_instance|virtual_server|real_server|priority|interface|virtual_ipaddress\
            |~SEQ\\(A,1,3\\)|~LST|\\$A=|\\$\\{A\\}|@x|include|TCP_CHECK|[0-9.:/]{1,9}\
            |[{}\"'\\\\#!]|[a-z]{1,4})[ \n]){0,60}"
    ) {
        whole(text.as_bytes(), b"");
    }

    #[test]
    fn a_cut_piece(case in 0..CASES.len(), a in any::<usize>(), b in any::<usize>()) {
        let text = CASES[case];
        let (a, b) = (boundary(text, a), boundary(text, b));
        let (a, b) = (a.min(b), a.max(b));
        let rest = format!("{}{}", &text[..a], &text[b..]);
        whole(rest.as_bytes(), text.as_bytes());
    }

    #[test]
    fn an_inserted_piece(
        case in 0..CASES.len(),
        at in any::<usize>(),
        piece in "([{}\"'\\\\#!@~$ \n0-9./:-]|-1|99999999999|::1|💥|\u{0}|[a-z]{1,3}){1,4}",
    ) {
        let text = CASES[case];
        let at = boundary(text, at);
        let text = format!("{}{piece}{}", &text[..at], &text[at..]);
        whole(text.as_bytes(), text.as_bytes());
    }

    #[test]
    fn a_value_of_another_kind(
        case in 0..CASES.len(),
        line in any::<usize>(),
        value in prop::sample::select(vec![
            "", "0", "-1", "1.5", "256", "65536", "4294967296", "1e9", "x", "eth0", "10.0.0.1", "10.0.0.1/33",
            "::1", "\"\"", "\"a b\"", "off", "DR", "UDP", "999999", "0.0000001", "100000",
        ]),
    ) {
        let lines: Vec<&str> = CASES[case].lines().collect();
        let chosen = line % lines.len();
        let change = |(number, content): (usize, &&str)| match content.trim_start().split_once(' ') {
            Some((key, rest)) if number == chosen && !rest.contains('{') => format!("{key} {value}\n"),
            _ => format!("{content}\n"),
        };
        let text: String = lines.iter().enumerate().map(change).collect();
        whole(text.as_bytes(), CASES[case].as_bytes());
    }

    #[test]
    fn lines_in_any_order(case in 0..CASES.len(), seed in any::<u64>()) {
        let mut lines: Vec<&str> = CASES[case].lines().collect();
        let mut state = seed | 1;
        for at in (1..lines.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            lines.swap(at, usize::try_from(state >> 33).expect("31 bits") % (at + 1));
        }
        let text = lines.join("\n");
        whole(text.as_bytes(), CASES[case].as_bytes());
    }
}

/// Two directors with one configuration agree about everything but who they are.
#[test]
fn a_director_agrees_with_itself() {
    for text in CASES {
        let done = whole(text.as_bytes(), text.as_bytes());
        let reasons = done.lines.iter().flat_map(|line| &line.reasons);
        let differ = reasons.filter(|reason| reason.text.contains("differ in")).count();
        assert_eq!(differ, 0, "{:#?}", done.lines);
    }
}

#[test]
fn equal_inputs_give_equal_bytes() {
    for text in CASES {
        let texts = [whole(text.as_bytes(), b""), whole(text.as_bytes(), b"")]
            .map(|done| done.cluster.text().to_owned());
        assert_eq!(texts[0], texts[1]);
    }
}
