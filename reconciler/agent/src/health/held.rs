//! Held connections: of each check that holds one, and how it ends.
//!
//! An idle connection costs a descriptor and a task, and nothing is sent over it but the kernel's keepalives.
//! Bytes that come over it are read and dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel_health::{CheckId, Fault, Found};
use evenkeel_schemas::plan::{Check, CheckKind};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::lookout::Lookout;
use super::probe::Wire;

/// Ends of connections that were not handled yet.
pub(super) const BREAKS: usize = 1024;

/// A connection that has ended.
#[derive(Debug)]
pub(super) struct Broke {
    id: CheckId,
    number: u64,
    /// Why; none when it was closed in order.
    pub(super) fault: Option<Fault>,
    /// Whether it was held for an interval. A target that closes at once would be asked without end.
    lasted: bool,
}

/// All held connections.
pub(super) struct Held {
    connections: BTreeMap<CheckId, HeldConnection>,
    /// The checks that hold one.
    wanted: BTreeSet<CheckId>,
    /// Number of the last one.
    number: u64,
    breaks: mpsc::Sender<Broke>,
    lookout: Lookout,
}

struct HeldConnection {
    number: u64,
    check: Arc<Check>,
    /// Finding of the probe that opened it.
    found: Found,
    task: AbortHandle,
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Whether a check holds a connection.
pub(super) fn holds(check: &Check) -> bool {
    matches!(&check.kind, CheckKind::Tcp(tcp) if tcp.hold)
}

impl Held {
    pub(super) fn new(breaks: mpsc::Sender<Broke>, lookout: Lookout) -> Self {
        Self { connections: BTreeMap::new(), wanted: BTreeSet::new(), number: 0, breaks, lookout }
    }

    /// Finding of a check whose connection is open: that of the probe that opened it.
    pub(super) fn found(&self, id: CheckId) -> Option<Found> {
        self.connections.get(&id).map(|held| held.found.clone())
    }

    /// Holds a connection that is open.
    pub(super) fn add(&mut self, id: CheckId, check: Arc<Check>, found: Found, wire: Wire) {
        // The check may have gone while it was opened.
        if !self.wanted.contains(&id) {
            return;
        }
        self.number += 1;
        let (number, breaks, lookout) = (self.number, self.breaks.clone(), self.lookout.clone());
        let (address, interval) = (check.address(), check.times.interval.as_duration());
        let task = tokio::spawn(async move {
            let began = Instant::now();
            let mut fault = wire.broken().await;
            let held = began.elapsed();
            if let Some(fault) = &mut fault {
                let reason = format!("held connection: {}, {} after it opened", fault.reason, words(held));
                *fault = fault.clone().worded(reason);
                // As with probes: this host may be at fault, and the event of it on its way.
                if let Some(address) = address {
                    lookout.look(address.0).await;
                }
            }
            breaks.send(Broke { id, number, fault, lasted: held >= interval }).await.ok();
        });
        self.connections.insert(id, HeldConnection { number, check, found, task: task.abort_handle() });
    }

    /// Forgets a connection that has ended; the check that is to be told of it.
    pub(super) fn broke(&mut self, broke: &Broke) -> Option<CheckId> {
        let of = self.connections.get(&broke.id)?;
        if of.number != broke.number {
            return None;
        }
        self.connections.remove(&broke.id);
        (broke.fault.is_some() || broke.lasted).then_some(broke.id)
    }

    /// Lets go of the connections of these checks, of which nobody knows whether they are open still.
    pub(super) fn let_go(&mut self, checks: &BTreeSet<CheckId>) {
        self.connections.retain(|id, _| !checks.contains(id));
    }

    /// Lets go of the connections of checks that are none of these.
    pub(super) fn keep<'c>(&mut self, checks: impl Iterator<Item = (CheckId, &'c Check)>) {
        let mut before = std::mem::take(&mut self.connections);
        self.wanted.clear();
        for (id, check) in checks.filter(|(_, check)| holds(check)) {
            self.wanted.insert(id);
            if let Some(held) = before.remove(&id).filter(|held| *held.check == *check) {
                self.connections.insert(id, held);
            }
        }
    }
}

fn words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use evenkeel_health::{CheckNews, CheckState, FaultLabel, Verdict};
    use tokio::sync::mpsc::Receiver;
    use tokio::time::timeout;

    use super::super::thread::Health;
    use super::*;
    use crate::system::files::Trust;

    const LONG: Duration = Duration::from_secs(30);

    /// A check that would find out after minutes, with retries.
    fn start(listener: &TcpListener, interval: &str) -> (Health, Receiver<Vec<CheckNews>>) {
        let address = listener.local_addr().expect("an address");
        let check = format!(
            "type = \"tcp\"\naddress = \"{}\"\nport = {}\ninterval = \"{interval}\"\ntimeout = \"2s\"\n\
             retries = 3\nretry_delay = \"20s\"\nhold = true\n",
            address.ip(),
            address.port()
        );
        let check: Check = toml::from_str(&check).expect("a check");
        let (ways_in, ways) = mpsc::channel(16);
        let lookout = Lookout::start(ways_in).expect("netlink");
        let (news_in, news) = mpsc::channel(16);
        let health = Health::start(lookout, ways, news_in, Trust::Owned).expect("a thread");
        health.configure(vec![(CheckId(7), check, Verdict::Up)]);
        (health, news)
    }

    async fn next(news: &mut Receiver<Vec<CheckNews>>) -> CheckState {
        let state = async {
            loop {
                let news = news.recv().await.expect("the thread runs");
                let state = news.into_iter().find_map(|one| match one {
                    CheckNews::State(_, state) => Some(state),
                    _ => None,
                });
                if let Some(state) = state {
                    return state;
                }
            }
        };
        timeout(LONG, state).await.expect("in time")
    }

    async fn accept(listener: &TcpListener) -> TcpStream {
        let listener = listener.try_clone().expect("a descriptor");
        let accept = tokio::task::spawn_blocking(move || listener.accept().expect("a connection").0);
        timeout(LONG, accept).await.expect("in time").expect("no panic")
    }

    fn reset(stream: TcpStream) {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    #[tokio::test]
    async fn a_held_connection_that_is_reset_is_a_failure_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let (_health, mut news) = start(&listener, "60s");
        let held = accept(&listener).await;
        assert_eq!(next(&mut news).await.verdict, Verdict::Up);
        reset(held);
        // A failure that is tried again would be told first, with the verdict as it was.
        let state = next(&mut news).await;
        let fault = state.fault.expect("a fault");
        assert_eq!((state.verdict, fault.label), (Verdict::Down, FaultLabel::Reset), "{fault}");
        assert!(fault.reason.starts_with("held connection: connection reset, "), "{fault}");
    }

    /// A server that ends closes in order, and does not listen any more. One that only closes does.
    #[tokio::test]
    async fn a_held_connection_that_is_closed_is_tried_again_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let (_health, mut news) = start(&listener, "1s");
        let held = accept(&listener).await;
        assert_eq!(next(&mut news).await.verdict, Verdict::Up);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        drop(held);
        let held = accept(&listener).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        drop(listener);
        drop(held);
        let state = next(&mut news).await;
        assert_eq!(state.verdict, Verdict::Down, "and nothing in between");
        assert_eq!(state.fault.expect("a fault").label, FaultLabel::Refused);
    }

    /// One that closes each connection soon is connected to once an interval, and is healthy.
    #[tokio::test]
    async fn a_target_that_closes_soon_is_not_asked_without_end() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let (_health, mut news) = start(&listener, "1s");
        let began = Instant::now();
        for _ in 0..3 {
            drop(accept(&listener).await);
        }
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
        assert_eq!(next(&mut news).await.verdict, Verdict::Up);
    }
}
