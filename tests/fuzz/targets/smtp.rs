//! Any bytes as what a mail server says: no panic, bounds that hold, and one verdict however they come.
#![no_main]

use evenkeel_health::ask::smtp::Smtp;

#[path = "../shared/dialogue.rs"]
mod dialogue;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    dialogue::judge(bytes, || Smtp::new("lb.example"));
});
