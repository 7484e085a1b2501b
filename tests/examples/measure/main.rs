//! Measurements of the election and of convergence beside keepalived; run by `tests/measure`, which says how.
//! Each is a file.

mod checks;
mod converge;
mod fast;
mod flapping;
mod flips;
mod gap;
mod many;
mod processes;
mod raw;
mod strangers;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use lab::{Options, run_here, run_main};

/// Longer than any measurement takes.
const HOURS: Duration = Duration::from_secs(2 * 3600);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |default: u32| words.get(1).and_then(|word| word.parse().ok()).unwrap_or(default);
    let options = Options { time_limit: HOURS, ..Options::default() };
    match words.first().map(String::as_str) {
        Some("gap") => run_main(options, |lab| gap::measure(lab, number(20))),
        Some("many") => {
            run_main(Options { memory_megabytes: 3072, ..options }, |lab| many::measure(lab, true))
        }
        Some("converge") => {
            let sizes = [(1_000, 10), (10_000, 10)];
            // With a number, only the table of so many services.
            let only = words.get(1).and_then(|word| word.parse::<u32>().ok());
            let sizes: Vec<(u32, u32)> =
                sizes.into_iter().filter(|(services, _)| only.is_none_or(|only| only == *services)).collect();
            run_main(Options { memory_megabytes: 3072, ..options }, |lab| converge::measure(lab, &sizes))
        }
        Some("verdict") => run_main(Options { memory_megabytes: 3072, ..options }, |lab| {
            verdict::measure(lab, number(10_000));
        }),
        Some("removal") => run_main(options, |lab| checks::removal(lab, number(50))),
        Some("checks") => run_main(Options { memory_megabytes: 3072, ..options }, |lab| {
            checks::load(lab, number(10_000));
        }),
        Some("flips") => run_main(Options { memory_megabytes: 3072, ..options }, |lab| {
            flips::measure(lab, number(10_000));
        }),
        Some("flapping") => run_main(options, |lab| flapping::measure(lab, number(600))),
        Some("strangers") => {
            run_main(options, |lab| strangers::measure(lab, number(60), words.get(2).map(String::as_str)))
        }
        Some("many-here") => run_here(|lab| many::measure(lab, false)),
        Some(word @ ("fast" | "fast-realtime")) => {
            let quiet = Duration::from_secs(u64::from(number(600)));
            run_here(|lab| fast::measure(lab, quiet, word == "fast-realtime"))
        }
        _ => {
            eprintln!(
                "usage: tests/measure gap|converge|verdict|removal|checks|flips|flapping|many|many-here|fast|\
                 fast-realtime|strangers [NUMBER] [KIND]"
            );
            ExitCode::from(2)
        }
    }
}
