//! Probes against servers that behave, and that do not: every kind over TCP with every fault.

mod datagrams;
mod faults;
mod h2_server;
mod handshakes;
mod name_server;
mod programs;
mod servers;

use std::time::{Duration, Instant};

use evenkeel_health::{Found, Says};
use evenkeel_schemas::plan::Check;

use super::{Tools, run};

/// Time of a probe in these tests.
const LIMIT: Duration = Duration::from_millis(400);

/// The outcome in words, with the time that it took replaced: `up`, or label and reason.
fn words(found: &Found) -> String {
    let text = match found {
        Found::Healthy(says) if *says == Says::default() => "up".to_owned(),
        Found::Healthy(says) => format!("up: {}", says.remark.as_deref().unwrap_or("asks for a share")),
        Found::Failed(fault) => format!("{}: {}", fault.label, fault.reason),
        Found::Silent(why) => format!("silent: {why}"),
        Found::Ails(ailment) => format!("ails: {ailment}"),
    };
    match text.rsplit_once(", after ") {
        Some((before, time)) if time.ends_with(" ms") => format!("{before}, after _ ms"),
        _ => text,
    }
}

/// A check with these keys.
fn check(target: std::net::SocketAddr, keys: &str) -> Check {
    let (address, port) = (target.ip(), target.port());
    let ms = LIMIT.as_millis();
    let text = format!(
        "address = \"{address}\"\nport = {port}\ninterval = \"5s\"\ntimeout = \"{ms}ms\"\nretries = 0\n\
         retry_delay = \"1s\"\n{keys}"
    );
    toml::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Makes a probe; the outcome in words. It ends in its time.
async fn probe(check: &Check, tools: &Tools) -> String {
    let began = Instant::now();
    let found = run(check, tools).await;
    let took = began.elapsed();
    // The machine may be busy.
    assert!(took < LIMIT + Duration::from_secs(2), "{took:?}: {found:?}");
    words(&found)
}
