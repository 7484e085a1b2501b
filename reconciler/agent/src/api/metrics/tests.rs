//! Pages of documents, judged by promtool; the examples and the book, compared with what is served.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use super::*;

/// A status document from its JSON.
pub(in crate::api) fn document(json: &str) -> Status {
    serde_json::from_str(json).expect("a status document")
}

const DIRECTOR: &str = include_str!("tests/director.json");

fn page(detail: Detail, format: Format) -> String {
    render(document(DIRECTOR), ProcessFigures::default(), detail, format).expect("a page")
}

/// A document of a daemon that has just started, without a plan.
fn empty() -> Status {
    document(
        r#"{ "version": 1, "daemon": "0.2.0", "pid": 7, "started": "2026-01-01T00:00:00Z", "host": null,
            "plan": { "path": "/etc/p", "generation": null, "since": null, "from_last_good": false,
                      "rejected": null },
            "routers": [], "trackers": [], "virtual_servers": [],
            "election": { "realtime_priority": null, "memory_locked": false, "timer_lateness": [],
                          "max_timer_lateness_us": 0, "lost_notices": 0 },
            "convergence": { "converged": false, "passes": 0, "operations": 0, "last_pass_age_ms": null,
                             "last_pass_us": null, "recent_operations": [], "errors": [] },
            "guarded": false, "foreign": [] }"#,
    )
}

/// Prometheus' own judge of a page.
fn judge(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool: install the package prometheus");
    promtool.stdin.take().expect("its input").write_all(page.as_bytes()).expect("written");
    let judged = promtool.wait_with_output().expect("ended");
    let said =
        String::from_utf8_lossy(&judged.stdout).into_owned() + &String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success() && said.is_empty(), "{said}\n{page}");
}

#[test]
fn promtool_finds_nothing_in_pages() {
    for detail in [Detail::Services, Detail::Destinations] {
        judge(&page(detail, Format::Prometheus));
    }
    let started = render(empty(), ProcessFigures::read(), Detail::Destinations, Format::Prometheus);
    judge(&started.expect("a page"));
}

#[test]
fn samples_say_what_the_document_says() {
    let page = page(Detail::Destinations, Format::Prometheus);
    for line in [
        r#"evenkeel_build_info{version="0.2.0",host="dir1"} 1"#,
        "evenkeel_plan_rejected 1",
        "evenkeel_plan_since_timestamp_seconds 1767225601.5",
        "evenkeel_probation_remaining_seconds 4.25",
        "evenkeel_source_age_seconds 61.5",
        "evenkeel_paused 1",
        r#"evenkeel_router_state{router="VI_1",state="master"} 1"#,
        r#"evenkeel_router_state{router="VI_1",state="backup"} 0"#,
        r#"evenkeel_router_master{router="VI_6"} 0"#,
        r#"evenkeel_router_adverts_rejected_total{router="VI_1",reason="checksum"} 3"#,
        r#"evenkeel_drift_total{kind="address",outcome="repaired"} 8"#,
        r#"evenkeel_convergence_errors{class="permanent"} 1"#,
        r#"evenkeel_convergence_errors{class="transient"} 0"#,
        r#"evenkeel_service_connections_total{service="web",address="tcp 192.0.2.120:80"} 18446744073709551615"#,
        r#"evenkeel_service_received_bytes_total{service="web",address="tcp 192.0.2.120:80"} 3000"#,
        r#"evenkeel_service_healthy_destinations{service="web",address="tcp 192.0.2.120:80"} 1"#,
        r#"evenkeel_service_below_floor{service="web",address="tcp 192.0.2.120:80"} 1"#,
        r#"evenkeel_timer_lateness_seconds_bucket{le="0.001"} 99"#,
        r#"evenkeel_timer_lateness_seconds_bucket{le="+Inf"} 100"#,
        "evenkeel_timer_lateness_seconds_sum 0.0125",
        "evenkeel_timer_lateness_seconds_count 100",
        r#"evenkeel_own_fault{link="eth0"} 1"#,
        "process_start_time_seconds 1767225600.0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\nis not in\n{page}");
    }
    let rs1 = r#"service="web",address="tcp 192.0.2.120:80",host="rs1",destination="192.0.2.7:80"}"#;
    for sample in ["up{", "active_connections{", "check_duration_seconds{", "transitions_total{"]
        .map(|name| format!("evenkeel_destination_{name}{rs1} "))
    {
        assert!(page.contains(&sample), "{sample}\nis not in\n{page}");
    }
}

#[test]
fn destinations_can_be_left_out() {
    assert!(page(Detail::Destinations, Format::Prometheus).contains("192.0.2.7:80"));
    assert!(!page(Detail::Services, Format::Prometheus).contains("192.0.2.7:80"));
}

#[test]
fn the_client_chooses_the_format() {
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    assert_eq!(Format::of(Some(prometheus)), Format::OpenMetrics);
    assert_eq!(Format::of(Some("*/*")), Format::Prometheus);
    assert_eq!(Format::of(None), Format::Prometheus);
    let open = page(Detail::Services, Format::OpenMetrics);
    assert!(open.ends_with("# EOF\n"), "{open}");
    assert!(open.contains("# TYPE evenkeel_checks counter\n"), "{open}");
    let own = page(Detail::Services, Format::Prometheus);
    assert!(own.contains("# TYPE evenkeel_checks_total counter\n"), "{own}");
}

#[test]
fn names_are_one_of_a_kind_and_helps_are_sentences() {
    let rendering = Rendering(
        Arc::new(Document { status: empty(), process: ProcessFigures::default() }),
        Detail::Destinations,
    );
    let mut names = BTreeSet::new();
    for metric in rendering.metrics() {
        assert!(names.insert(metric.name), "{} twice", metric.name);
        assert!(metric.help.ends_with('.'), "{}: {}", metric.name, metric.help);
    }
}

#[test]
fn text_of_others_cannot_break_a_page() {
    let mut status = document(DIRECTOR);
    let source = status.source.as_mut().expect("a source");
    source.address = "a\"} 1\nevil{x=\"\\".to_owned();
    let page = render(status, ProcessFigures::default(), Detail::Services, Format::Prometheus);
    let page = page.expect("a page");
    assert!(page.contains(r#"address="a\"} 1\nevil{x=\"\\""#), "{page}");
    judge(&page);
}

/// Names of the page's samples and families.
fn names() -> BTreeSet<String> {
    let page = page(Detail::Destinations, Format::Prometheus);
    let of_samples = page.lines().filter(|line| !line.starts_with('#'));
    let of_samples = of_samples.filter_map(|line| line.split(['{', ' ']).next());
    let of_families = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    of_samples.chain(of_families).map(str::to_owned).collect()
}

/// Labels of each sample of the page, by name.
fn labels() -> std::collections::BTreeMap<String, BTreeSet<String>> {
    let mut found: std::collections::BTreeMap<String, BTreeSet<String>> = std::collections::BTreeMap::new();
    for line in page(Detail::Destinations, Format::Prometheus).lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap_or_default(), ""));
        let labels = labels_in(rest);
        found.entry(name.to_owned()).or_default().extend(labels);
    }
    found
}

/// Names before `="` in the braces of a sample.
fn labels_in(text: &str) -> impl Iterator<Item = String> {
    text.split("=\"").filter_map(|before| {
        let name: String = before.chars().rev().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        let name: String = name.chars().rev().collect();
        (!name.is_empty()).then_some(name)
    })
}

fn example(file: &str) -> String {
    let path = root().join("examples/monitoring").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Each word of a text that is a name of ours, with what follows it.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let starts = ["evenkeel_", "process_"];
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(move |word| starts.iter().any(|start| word.starts_with(start)))
}

#[test]
fn names_of_the_dashboard_the_rules_and_the_book_exist() {
    let names = names();
    let pages = ["docs/evenkeeld/metrics.md", "docs/evenkeeld/every-metric.md"];
    let pages = pages.map(|page| std::fs::read_to_string(root().join(page)).expect(page));
    let examples = ["dashboard.json", "evenkeel.rules.yml", "evenkeel.rules.test.yml"].map(example);
    let mut seen = 0;
    for text in examples.iter().chain(&pages) {
        for name in mentioned(text) {
            seen += 1;
            assert!(names.contains(name), "{name} is not served");
        }
    }
    assert!(seen > 100, "{seen} names");
}

/// Labels that the scraper adds.
const ADDED: [&str; 3] = ["job", "instance", "le"];

#[test]
fn labels_of_the_dashboard_and_the_rules_exist() {
    let all: BTreeSet<String> = labels().into_values().flatten().collect();
    let mut seen = 0;
    for text in ["dashboard.json", "evenkeel.rules.yml"].map(example) {
        let by = text.match_indices("by (").map(|(at, by)| &text[at + by.len()..]);
        let by = by.filter_map(|rest| rest.split(')').next()).flat_map(|list| list.split(','));
        let shown = text.match_indices("$labels.").map(|(at, word)| &text[at + word.len()..]);
        let legend = text.match_indices("{{").map(|(at, open)| &text[at + open.len()..]);
        let word =
            |rest: &str| rest.trim_start().chars().take_while(|c| c.is_ascii_lowercase()).collect::<String>();
        let legend = legend.map(word).filter(|word| !word.is_empty());
        for label in by.map(|label| label.trim().to_owned()).chain(shown.map(word)).chain(legend) {
            seen += 1;
            assert!(all.contains(&label) || ADDED.contains(&label.as_str()), "no sample has a label {label}");
        }
    }
    assert!(seen > 50, "{seen} labels");
}

#[test]
fn promtool_finds_nothing_in_the_rules_and_each_fires() {
    let run = |arguments: &[&str]| {
        let ran = Command::new("promtool")
            .args(arguments)
            .current_dir(root().join("examples/monitoring"))
            .output()
            .expect("promtool: install the package prometheus");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{said}");
    };
    run(&["check", "rules", "evenkeel.rules.yml"]);
    run(&["check", "config", "prometheus.yml"]);
    run(&["test", "rules", "evenkeel.rules.test.yml"]);
    let (rules, tests) = (example("evenkeel.rules.yml"), example("evenkeel.rules.test.yml"));
    let alerts = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for alert in alerts {
        for outcome in ["fires", "does not"] {
            assert!(tests.contains(&format!("- name: {alert} {outcome}\n")), "{alert} {outcome}: not tested");
        }
    }
}

/// `UPDATE=1` writes the page of the book that lists all metrics.
#[test]
fn the_list_in_the_book_is_current() {
    let page = page(Detail::Destinations, Format::Prometheus);
    let labels = labels();
    let mut list = String::from("# Every metric\n\nMade from the daemon's own list by a test.\n\n");
    list.push_str("| name | type | labels | meaning |\n|---|---|---|---|\n");
    let mut help = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let sample = if kind == "histogram" { format!("{name}_bucket") } else { name.to_owned() };
            let own = labels.get(&sample).into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
            list.push_str(&format!("| `{name}` | {kind} | {own} | {help} |\n"));
        }
    }
    let path = root().join("docs/evenkeeld/every-metric.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &list).expect("write the page");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == list,
        "docs/evenkeeld/every-metric.md is stale: run UPDATE=1 cargo test -p evenkeel-agent --lib metrics"
    );
}
