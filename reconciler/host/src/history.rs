//! The last drifts, for status and log. Their number is bounded, and a drift that is found again is counted
//! instead of listed again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use evenkeel_schemas::status::{DriftCount, DriftOutcome, DriftRecord};
use evenkeel_schemas::time::MonoTime;

use crate::pass::Drift;

/// Most drifts that are remembered.
const MAX_RECORDS: usize = 64;
/// Least time between two log lines about one drift.
const SAME: Duration = Duration::from_secs(60);
/// Most log lines about different drifts in one [`BURST`].
const MAX_LINES: u32 = 20;
/// Length of the interval in which [`MAX_LINES`] are counted.
const BURST: Duration = Duration::from_secs(10);

struct Entry {
    record: DriftRecord,
    logged: MonoTime,
}

/// The last drifts.
#[derive(Default)]
pub(crate) struct DriftHistory {
    entries: VecDeque<Entry>,
    burst_ends: MonoTime,
    lines: u32,
    suppressed: u64,
    /// All drift by kind and outcome.
    counts: BTreeMap<(&'static str, DriftOutcome), u64>,
}

impl DriftHistory {
    /// Records a drift found at `now`; `at` is the same time for people, RFC 3339. Returns a line for the
    /// log, or none when the drift was logged within [`SAME`] or the burst is used up.
    pub(crate) fn record(&mut self, drift: Drift, now: MonoTime, at: &str) -> Option<String> {
        let Drift { kind, object, found, outcome, reason } = drift;
        *self.counts.entry((kind, outcome)).or_default() += 1;
        let same = |entry: &Entry| {
            let record = &entry.record;
            (record.kind.as_str(), &record.object, &record.found, record.outcome, &record.reason)
                == (kind, &object, &found, outcome, &reason)
        };
        let known = self.entries.iter().position(same).and_then(|index| self.entries.remove(index));
        let again = known.as_ref().is_some_and(|entry| now < entry.logged + SAME);
        let mut entry = known.unwrap_or_else(|| {
            let record = DriftRecord {
                at: at.to_owned(),
                first: at.to_owned(),
                count: 0,
                kind: kind.to_owned(),
                object: object.clone(),
                found: found.clone(),
                outcome,
                reason: reason.clone(),
            };
            Entry { record, logged: MonoTime::ZERO }
        });
        entry.record.count += 1;
        at.clone_into(&mut entry.record.at);
        let line = if again { None } else { self.line(&entry.record, now) };
        // A line that was suppressed is not the last one logged: the next one may come at once when the burst
        // ends.
        if line.is_some() {
            entry.logged = now;
        } else {
            self.suppressed += 1;
        }
        if self.entries.len() == MAX_RECORDS {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        line
    }

    fn line(&mut self, record: &DriftRecord, now: MonoTime) -> Option<String> {
        if now >= self.burst_ends {
            (self.burst_ends, self.lines) = (now + BURST, 0);
        }
        if self.lines == MAX_LINES {
            return None;
        }
        self.lines += 1;
        let mut line = format!("drift: {}", text(record));
        if record.count > 1 {
            line.push_str(&format!(", {} times since {}", record.count, record.first));
        }
        match std::mem::take(&mut self.suppressed) {
            0 => {}
            suppressed => line.push_str(&format!(" (since the last such line, {suppressed} more drifts)")),
        }
        Some(line)
    }

    /// The number of all drifts, by kind and outcome.
    pub(crate) fn counts(&self) -> Vec<DriftCount> {
        let count = |(&(kind, outcome), &count): (&(&'static str, DriftOutcome), &u64)| DriftCount {
            kind: kind.to_owned(),
            outcome,
            count,
        };
        self.counts.iter().map(count).collect()
    }

    /// All drifts that are remembered, newest last.
    pub(crate) fn records(&self) -> Vec<DriftRecord> {
        self.entries.iter().map(|entry| entry.record.clone()).collect()
    }
}

/// A drift as one line: object, what was found, outcome.
pub fn text(record: &DriftRecord) -> String {
    let DriftRecord { kind, object, found, outcome, reason, .. } = record;
    let kind = kind.replace('_', " ");
    let reason = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match outcome {
        DriftOutcome::Repaired => format!("{kind} {object} was {found}: {outcome}"),
        DriftOutcome::Reported | DriftOutcome::Failed => {
            format!("{kind} {object} is {found}: {outcome}{reason}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(object: &str) -> Drift {
        let (object, found) = (object.to_owned(), "missing".to_owned());
        Drift { kind: "virtual_server", object, found, outcome: DriftOutcome::Repaired, reason: None }
    }

    fn seconds(seconds: u64) -> MonoTime {
        MonoTime::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_drift_is_counted_and_rarely_logged() {
        let mut history = DriftHistory::default();
        let line = history.record(drift("tcp 192.0.2.1:80"), seconds(100), "T0");
        assert_eq!(line.as_deref(), Some("drift: virtual server tcp 192.0.2.1:80 was missing: repaired"));
        for second in 101..160 {
            assert_eq!(history.record(drift("tcp 192.0.2.1:80"), seconds(second), "T1"), None);
        }
        let line = history.record(drift("tcp 192.0.2.1:80"), seconds(160), "T2").expect("a minute is over");
        assert!(line.ends_with("61 times since T0 (since the last such line, 59 more drifts)"), "{line}");
        let records = history.records();
        assert_eq!(records.len(), 1);
        assert_eq!((records[0].count, records[0].at.as_str(), records[0].first.as_str()), (61, "T2", "T0"));
        let failed = Drift { outcome: DriftOutcome::Failed, reason: Some("EPERM".to_owned()), ..drift("x") };
        let line = history.record(failed, seconds(161), "T3").expect("another one");
        assert_eq!(line, "drift: virtual server x is missing: not repaired: EPERM");
    }

    #[test]
    fn many_different_drifts_are_bounded() {
        let mut history = DriftHistory::default();
        let lines =
            (0..1000).filter_map(|n| history.record(drift(&n.to_string()), seconds(100), "T")).count();
        assert_eq!(lines, 20);
        let all =
            DriftCount { kind: "virtual_server".to_owned(), outcome: DriftOutcome::Repaired, count: 1000 };
        assert_eq!(history.counts(), [all], "also of those that are not remembered");
        let records = history.records();
        assert_eq!(records.len(), MAX_RECORDS);
        assert_eq!(records.last().map(|record| record.object.as_str()), Some("999"));
        let line = history.record(drift("later"), seconds(110), "T").expect("a new burst");
        assert!(line.contains("980 more drifts"), "{line}");
    }
}
