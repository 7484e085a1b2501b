//! Any bytes as an answer that an expression is to match: no panic, bounds that hold, and one verdict however
//! they come.
#![no_main]

use std::sync::{Arc, LazyLock};

use evenkeel_health::ask::expect::Expect;
use evenkeel_health::ask::pattern::Pattern;

static PATTERNS: LazyLock<[Arc<Pattern>; 4]> = LazyLock::new(|| {
    [r"^\+PONG", r"(?m)^(a|b)*c$", r"(?-u)\x30.{2,8}\x0a\x01\x00", r"\bok\b"]
        .map(|text| Arc::new(Pattern::new(text).expect("an expression")))
});

#[path = "../shared/dialogue.rs"]
mod dialogue;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for pattern in PATTERNS.iter() {
        dialogue::judge(bytes, || Expect::new(Vec::new(), Arc::clone(pattern)));
    }
});
