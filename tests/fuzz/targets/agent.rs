//! Any bytes as the line of an agent: no panic, bounds that hold, and one verdict however they come.
#![no_main]

use evenkeel_health::ask::agent::Agent;

#[path = "../shared/dialogue.rs"]
mod dialogue;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dialogue::judge(bytes, || Agent::new(Vec::new()));
});
