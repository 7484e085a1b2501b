//! No text makes the compiler panic, and whatever compiles gives plans that can be read.

use std::fmt::Write;

use evenkeel::{SourceFile, compile, emit, render};
use proptest::prelude::*;

const CLUSTER: &str = r#"version = 1
name = "demo"
[segments.front]
subnets = ["192.0.2.0/24", "198.51.100.0/24"]
[hosts]
dir1 = { address = "192.0.2.11", interface = "eth0" }
dir2 = { address = "192.0.2.12", interface = "eth0" }
rs1 = { address = "192.0.2.21", interface = "eth0" }
[virtual_routers.VI_1]
vrid = 51
version = 2
vips = ["192.0.2.100", "192.0.2.101"]
directors = ["dir1", "dir2"]
priorities = { dir1 = 100, dir2 = 90 }
auth = { type = "pass", secret = { literal = "secret" } }
[services.web]
router = "VI_1"
vip = "192.0.2.100"
protocol = "tcp"
port = 80
real_servers = [{ host = "rs1", weight = 1 }]
check = { type = "tcp", interval = "5s" }
[policy]
resync = "5s"
"#;

/// Compiles, draws and emits; a panic is the failure.
fn whole(text: &str) {
    let source = SourceFile::new("cluster.toml", text);
    let compilation = compile(&source);
    let drawn = render::human(&source, &compilation.diagnostics, true);
    assert_eq!(compilation.cluster.is_some(), compilation.counts().0 == 0, "{drawn}");
    if let Some(cluster) = &compilation.cluster {
        for plan in emit(cluster) {
            evenkeel_schemas::seal::open(plan.text.as_bytes()).expect("sealed");
        }
    }
}

fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at % (text.len() + 1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(source) = SourceFile::decode("cluster.toml", bytes) {
            whole(source.text());
        }
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        whole(&text);
    }

    #[test]
    fn text_that_looks_like_toml(
        text in "([a-z\\[\\]{}=\",.#\n 0-9_'\\\\-]|version|hosts|literal|é){0,120}",
    ) {
        whole(&text);
    }

    #[test]
    fn a_cut_piece(a in any::<usize>(), b in any::<usize>()) {
        let (a, b) = (boundary(CLUSTER, a), boundary(CLUSTER, b));
        let (a, b) = (a.min(b), a.max(b));
        whole(&format!("{}{}", &CLUSTER[..a], &CLUSTER[b..]));
        whole(&CLUSTER[a..b]);
    }

    #[test]
    fn an_inserted_piece(at in any::<usize>(), piece in "([\\[\\]{}=\",.#\n \
        0-9'\\\\]|true|1e5|1979-05-27|99999999999999999999|::1|💥|\u{0}|[a-z]{1,3}){1,4}") {
        let at = boundary(CLUSTER, at);
        whole(&format!("{}{piece}{}", &CLUSTER[..at], &CLUSTER[at..]));
    }

    #[test]
    fn a_value_of_another_type(line in 0usize..22, value in prop::sample::select(vec![
        "1", "-1", "1.5", "true", "\"\"", "\"x\"", "[]", "{}", "[{}]", "[[]]", "1979-05-27", "nan",
        "99999999999999999999", "{ a = 1 }", "[\"dir1\", 2]", "\"::1\"", "\"0.0.0.0/0\"", "[\"192.0.2.255\"]",
    ])) {
        let mut text = String::new();
        for (number, content) in CLUSTER.lines().enumerate() {
            match content.split_once(" = ") {
                Some((key, _)) if number == line => writeln!(text, "{key} = {value}").expect("write"),
                _ => writeln!(text, "{content}").expect("write"),
            }
        }
        whole(&text);
    }

    #[test]
    fn lines_in_any_order(order in Just((0..CLUSTER.lines().count()).collect::<Vec<_>>()).prop_shuffle()) {
        let lines: Vec<&str> = CLUSTER.lines().collect();
        let text: Vec<&str> = order.iter().map(|index| lines[*index]).collect();
        whole(&text.join("\n"));
    }
}

#[test]
fn the_unharmed_cluster_compiles() {
    let compilation = compile(&SourceFile::new("cluster.toml", CLUSTER));
    assert!(compilation.cluster.is_some(), "{:#?}", compilation.diagnostics);
}

#[test]
fn deep_and_wide_files_are_refused_without_a_crash() {
    let deep = 5000;
    let keys = vec!["a"; 75].join(".");
    for text in [
        format!("a = {}", "[".repeat(deep)),
        format!("a = {}{}", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}", "{ a = ".repeat(deep)),
        format!("{} = 1", vec!["a"; deep].join(".")),
        format!("[{}]", vec!["a"; deep].join(".")),
        format!("{keys} = {}1{}", format!("{{ {keys} = ").repeat(75), "}".repeat(75)),
        "[[services]]\n".repeat(deep),
        "a = 1\n".repeat(deep),
        "[hosts]\n".repeat(deep),
        "\"\n".repeat(deep),
        "]\n\n\n\n\n".repeat(deep),
        format!("version = 1\r\nname = \"x\"\r\n{}", "[hosts]\r\n"),
        "\u{feff}version = 1".to_owned(),
        "version = 1 # \u{7f}".to_owned(),
    ] {
        whole(&text);
    }
}

/// What grows with the square of these sizes takes minutes.
#[test]
fn what_is_long_is_looked_at_once() {
    let many = |piece: fn(usize) -> String, count: usize| (0..count).map(piece).collect::<String>();
    for text in [
        format!("x = \"{}\"", "literal = ".repeat(100_000)),
        format!("x = [{}", "\"xxxxxxx\", ".repeat(30_000)),
        format!("hosts = {{ {} z = 1 }}", many(|n| format!("h{n} = {{ adress = 1 }}, "), 5000)),
        format!("policy = {{ {} z = 1 }}", many(|n| format!("k{n} = 1.5, "), 20_000)),
        many(|n| format!("[t{n}]\na = 1979-05-27\n"), 10_000),
        "a = 1\n".repeat(20_000),
    ] {
        whole(&text);
    }
}

#[test]
fn many_errors_take_no_more_than_a_moment() {
    let mut text = CLUSTER.to_owned();
    for number in 0..3000 {
        let _ = writeln!(
            text,
            "[services.s{number}]\nrouter = \"nowhere{number}\"\nprotocol = \"tcp\"\nport = 80\nreal_servers \
            = [{{ host = \"rs1\" }}]"
        );
    }
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    assert_eq!((compilation.counts().0, compilation.stopped), (100, true));
}
