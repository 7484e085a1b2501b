//! Any bytes as the answer of a web server: no panic, bounds that hold, and one verdict however they come.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use evenkeel_health::ask::body::Wanted;
use evenkeel_health::ask::http::HttpDialogue;
use evenkeel_health::ask::pattern::Pattern;
use evenkeel_schemas::cluster::HttpMethod;
use evenkeel_schemas::plan::{HttpDrain, HttpRequest};

/// Answers of which nothing of the body is wanted, a text in it, and all of it.
static WANTED: LazyLock<[Wanted; 3]> = LazyLock::new(|| {
    let plain = HttpRequest {
        method: HttpMethod::Get,
        path: "/".to_owned(),
        host: None,
        headers: BTreeMap::new(),
        status: vec!["200-299".parse().expect("a range")],
        body: None,
        body_not: None,
        digest: None,
    };
    let text = HttpRequest { body: Some("a.?b".to_owned()), ..plain.clone() };
    let whole =
        HttpRequest { body_not: Some("c$".to_owned()), digest: Some("0".repeat(32)), ..plain.clone() };
    let drain =
        HttpDrain { status: vec!["404".parse().expect("a range")], header: Some("x-drain".to_owned()) };
    [plain, text, whole].map(|request| {
        Wanted::new(&request, &drain, |text| Pattern::new(text).map(Arc::new)).expect("expressions")
    })
});

#[path = "../shared/dialogue.rs"]
mod dialogue;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for wanted in WANTED.iter() {
        dialogue::judge(bytes, || HttpDialogue::new(Vec::new(), wanted));
    }
});
