//! Connections to the socket: how many there are, how far each has come, and which one goes when another one wants its place.
//!
//! Who sends its request slowly, or does not read its answer, takes nobody's place for long: each step has a deadline, and when all places
//! are taken the connection goes that has been in its step for longest, the one that still sends first. One that the daemon works for is left
//! alone until its deadline.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections at a time.
pub(super) const MAX_CONNECTIONS: usize = 64;
/// How long a step may take when another connection wants the place: much longer than one takes that does not dawdle.
pub(super) const FAIR: Duration = Duration::from_millis(200);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// It sends its request.
    Request,
    /// It takes its answer.
    Answer,
    /// The daemon works for it.
    Work,
}

#[derive(Debug)]
struct Connection {
    step: Step,
    since: Instant,
    task: Option<AbortHandle>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Connection>,
}

/// All connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<Table>>);

/// A connection's place: free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    connections: Connections,
}

/// What is to be done for one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// There is a place.
    Free,
    /// This one has had its time.
    Close(u64),
    /// Nobody has had its time before then.
    Wait(Instant),
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic in between leaves a whole table.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more connection. Returns when to ask again if there is none yet.
    pub(super) fn make_room(&self, now: Instant) -> Option<Instant> {
        let mut table = self.table();
        match room(&table, now) {
            Room::Free => None,
            Room::Close(number) => {
                if let Some(Connection { task: Some(task), .. }) = table.open.remove(&number) {
                    task.abort();
                }
                None
            }
            Room::Wait(until) => Some(until),
        }
    }

    /// Takes a place for a connection that was just accepted.
    pub(super) fn take(&self) -> Place {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Connection { step: Step::Request, since: Instant::now(), task: None });
        Place { number, connections: self.clone() }
    }

    /// Notes which task serves a connection; one that has ended already has no place any more.
    pub(super) fn serves(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.table().open.get_mut(&number) {
            connection.task = Some(task);
        }
    }
}

impl Place {
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Notes that the connection has come to a step.
    pub(super) fn comes_to(&self, step: Step) {
        if let Some(connection) = self.connections.table().open.get_mut(&self.number) {
            connection.step = step;
            connection.since = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.table().open.remove(&self.number);
    }
}

fn room(table: &Table, now: Instant) -> Room {
    if table.open.len() < MAX_CONNECTIONS {
        return Room::Free;
    }
    let waiting = table.open.iter().filter(|(_, connection)| connection.step != Step::Work);
    let since = |connection: &Connection| connection.since + FAIR;
    let late = waiting.clone().filter(|(_, connection)| since(connection) <= now);
    let first = late.min_by_key(|(_, connection)| (connection.step, connection.since));
    match (first, waiting.map(|(_, connection)| since(connection)).min()) {
        (Some((number, _)), _) => Room::Close(*number),
        (None, Some(next)) => Room::Wait(next),
        // All are worked for.
        (None, None) => Room::Wait(now + FAIR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections: impl IntoIterator<Item = (Step, u64)>, now: Instant) -> Table {
        let connection =
            |(step, age_ms)| Connection { step, since: now - Duration::from_millis(age_ms), task: None };
        let open = connections.into_iter().map(connection);
        Table { next: 0, open: (0..).zip(open).collect() }
    }

    #[test]
    fn who_dawdles_goes_first_and_who_is_worked_for_stays() {
        // Long since the machine's start, so that everything below lies after it.
        let now = Instant::now() + Duration::from_secs(3600);
        let with = |more: &[(Step, u64)], step: Step, age: u64| {
            let rest = std::iter::repeat_n((step, age), MAX_CONNECTIONS - more.len());
            room(&table(more.iter().copied().chain(rest), now), now)
        };
        let few = table([(Step::Request, 9999)], now);
        assert_eq!(room(&few, now), Room::Free);
        assert_eq!(with(&[(Step::Request, 500), (Step::Request, 900)], Step::Request, 300), Room::Close(1));
        assert_eq!(with(&[(Step::Request, 250)], Step::Answer, 9999), Room::Close(0), "who sends goes first");
        assert_eq!(with(&[(Step::Request, 0), (Step::Answer, 800)], Step::Answer, 300), Room::Close(1));
        assert_eq!(with(&[(Step::Answer, 300)], Step::Work, 9999), Room::Close(0));
        let next = |age: u64| Room::Wait(now + FAIR - Duration::from_millis(age));
        assert_eq!(with(&[(Step::Request, 50)], Step::Request, 10), next(50), "nobody has had its time");
        assert_eq!(with(&[(Step::Request, 50)], Step::Work, 9999), next(50));
        assert_eq!(with(&[], Step::Work, 9999), next(0));
    }
}
