//! Connections to the socket: their number, the step of each, and the choice of the one that is closed when
//! another one needs a place.
//!
//! A client that sends its request slowly, or does not read its answer, keeps nobody out for long: each step
//! has a deadline. When all places are taken, the connection that has been in its step for longest is closed,
//! one that still sends first. A connection that the daemon works for is left alone until its deadline.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Most connections at a time.
pub(in crate::api) const MAX_CONNECTIONS: usize = 64;
/// Time for a step when another connection needs the place: much longer than a healthy client takes.
pub(in crate::api) const FAIR: Duration = Duration::from_millis(200);

/// Step of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::api) enum Step {
    /// The client sends its request.
    Request,
    /// The client reads its answer.
    Answer,
    /// The daemon works for the connection.
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
pub(in crate::api) struct Connections(Arc<Mutex<Table>>);

/// A connection's place, which is free again when this is dropped.
#[derive(Debug)]
pub(in crate::api) struct ConnectionPlace {
    number: u64,
    connections: Connections,
}

/// Decision about one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    /// A place is free.
    Free,
    /// This connection has used up its time.
    Close(u64),
    /// No connection uses up its time before this.
    Wait(Instant),
}

impl Connections {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere cannot leave the table half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more connection. Returns the time to ask again when there is none yet.
    pub(in crate::api) fn make_room(&self, now: Instant) -> Option<Instant> {
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
    pub(in crate::api) fn open(&self) -> ConnectionPlace {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.open.insert(number, Connection { step: Step::Request, since: Instant::now(), task: None });
        ConnectionPlace { number, connections: self.clone() }
    }

    /// Sets the task that serves a connection; a connection that has ended has no place any more.
    pub(in crate::api) fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.table().open.get_mut(&number) {
            connection.task = Some(task);
        }
    }
}

impl ConnectionPlace {
    pub(in crate::api) const fn number(&self) -> u64 {
        self.number
    }

    /// Sets the step of the connection, which begins now.
    pub(in crate::api) fn enter(&self, step: Step) {
        if let Some(connection) = self.connections.table().open.get_mut(&self.number) {
            connection.step = step;
            connection.since = Instant::now();
        }
    }
}

impl Drop for ConnectionPlace {
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
        // The daemon works for all of them.
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
    fn a_slow_connection_is_closed_first_and_one_being_served_stays() {
        // A time far from the machine's start, so that subtractions below stay after it.
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
