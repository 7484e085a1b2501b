//! Things that the subjects share: sizes, plans written as an operator's tool would, the daemon's status,
//! patience.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use evenkeel_schemas::plan::testing::PlanText;
use lab::{Host, Lab};

/// Time for anything that takes no more than a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many: from the environment, or else what fits the normal run.
pub(crate) fn size(variable: &str, normal: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => normal,
    }
}

/// Time for a guest whose work was made larger by [`size`].
pub(crate) fn time_limit(normal: Duration, size: usize, normal_size: usize) -> lab::Options {
    let times = u32::try_from(size.div_ceil(normal_size)).unwrap_or(u32::MAX);
    lab::Options { time_limit: normal * times, ..lab::Options::default() }
}

/// The head of a plan.
pub(crate) fn head(host: &Host, resync: &str) -> String {
    let plan = PlanText::of(host.name()).cluster("proof").host_address(host.ip()).resync(resync);
    plan.text() + "\n"
}

/// Seals a plan and puts it where the host's daemon finds it; the file.
#[track_caller]
pub(crate) fn deliver(lab: &Lab, host: &Host, text: &str) -> PathBuf {
    lab.write(format!("plans/{}.plan.toml", host.name()), evenkeel_schemas::seal::seal(text))
}

/// The status document of a host's daemon, without starting a process; none while it does not answer.
pub(crate) fn status(host: &Host) -> Option<serde_json::Value> {
    let mut stream = UnixStream::connect(host.scratch().join("evenkeeld.sock")).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /status HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// Waits until the daemon has made the plan that was delivered true: in force, and every kind as wanted.
#[track_caller]
pub(crate) fn wait_converged(host: &Host, plan: &str) {
    let sealed = evenkeel_schemas::seal::seal(plan);
    let generation =
        sealed.split('"').nth(1).and_then(|digest| digest.strip_prefix("sha256:")).expect("a seal");
    let mut seen = None;
    let started = std::time::Instant::now();
    loop {
        let now = status(host);
        if let Some(now) = &now
            && now["plan"]["generation"] == generation
            && now["convergence"]["converged"] == true
        {
            return;
        }
        seen = now.or(seen);
        assert!(started.elapsed() < PATIENCE, "{} did not converge: {seen:#?}", host.name());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Lines that only one of two sorted texts has.
pub(crate) fn difference(wanted: &[String], found: &[String]) -> String {
    let missing = wanted.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}\n"));
    let surplus = found.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}\n"));
    missing.chain(surplus).collect()
}
