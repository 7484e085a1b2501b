//! Lines of each event. `lines.txt` has them as the daemons write them, and under each its event and fields.
//! That the daemons can say every sentence is seen in `tests/tests/tidy.rs`.

use std::collections::BTreeSet;

use super::*;

const LINES: &str = include_str!("lines.txt");

fn read(text: &str) -> Line {
    Line::read(Instant::now(), text)
}

#[test]
fn a_line_of_each_event_is_read_with_its_fields() {
    let mut line = read("");
    let mut seen = BTreeSet::new();
    for text in LINES.lines() {
        match text.strip_prefix("    ").map(|expected| (expected, expected.split_once(" = "))) {
            None => {
                line = read(text);
                seen.extend(line.event());
            }
            Some((event, None)) => {
                assert_eq!(format!("{:?}", line.event()), format!("Some({event})"), "{line:?}")
            }
            Some((_, Some((name, value)))) => assert_eq!(line.field(name), value, "{name} of {line:?}"),
        }
    }
    let all: BTreeSet<LogEvent> = SENTENCES.iter().map(|row| row.event).collect();
    assert_eq!(seen, all);
}

#[test]
fn what_is_no_event_is_a_line_all_the_same() {
    for text in
        ["", "cannot watch files: looking every 2s instead error=EMFILE", "Entering MASTER STATE", "2026"]
    {
        let line = read(text);
        assert_eq!((line.event(), format!("{line:?}")), (None, format!("{text:?}")));
    }
}

#[test]
fn a_wanted_event_is_told_from_others_by_its_fields() {
    let line = read("2026-01-02T03:04:05.678901Z  INFO (r61) Entering MASTER STATE router=r61 priority=100");
    assert!(line.is(LogEvent::Master) && line.is(LogEvent::Master.of("r61")) && line.enters_a_state());
    assert!(!line.is(LogEvent::Backup) && !line.is(LogEvent::Master.of("r6")));
    let claim = read("(r61) Sending gratuitous ARPs on eth0 for 10.1.1.61");
    let wanted = LogEvent::Announced.of("r61").with("vips", "10.1.1.6");
    assert!(claim.is(wanted.clone()) && !claim.is(wanted.clone().with("what", "Neighbour")));
    assert_eq!(wanted.to_string(), "Announced, router = `r61`, vips with `10.1.1.6`");
}

#[test]
#[should_panic(expected = "Master has no field vip")]
fn a_field_that_no_sentence_has_is_a_mistake_of_the_test() {
    let _ = LogEvent::Master.with("vip", "10.1.1.61");
}
