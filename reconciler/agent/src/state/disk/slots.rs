//! Wanted content of the disk, file by file: the newest content, the content that is there, the time since
//! when they differ, and the next write. No I/O and no clock: `disk` writes.
//!
//! Level, not edge: a file has one slot, so content that comes faster than a disk writes takes no more room
//! than the newest one. A content that is *kept* is written again until it is there. A content that is
//! *attempted* has one try, and the old content is wanted again when that fails or is withdrawn.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;

use super::content::{Content, File};

/// First wait before a file that could not be written is tried again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(200);
/// Longest wait before a file that could not be written is tried again: the time until everything is kept
/// after there is space again.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Number of a content in its slot: a later content has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Revision(u64);

/// Reason why a content is not on the disk.
#[derive(Debug, Clone)]
pub(crate) struct WriteError(Arc<io::Error>);

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl std::fmt::Display for WriteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A file whose wanted content is not on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The file.
    pub(crate) file: File,
    /// Start of this state.
    pub(crate) since: MonoTime,
    /// Reason of the disk; none while the disk does not answer.
    pub(crate) reason: Option<String>,
}

/// A change to report of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The file is not kept, with the reason.
    Trouble(Waiting),
    /// The file is kept again, with the time during which it was not.
    Over(File, Duration),
}

#[derive(Debug)]
struct Slot {
    revision: Revision,
    wanted: Content,
    /// Content on the disk; none when it is not known.
    held: Option<Content>,
    held_revision: Revision,
    /// Whether `wanted` has one try only.
    attempt: bool,
    /// Time since when `wanted` is not on the disk; none when it is.
    since: Option<MonoTime>,
    failed: Option<(Revision, WriteError)>,
    retry: Option<(MonoTime, Duration)>,
    /// Start of the trouble that was reported, until its end is reported.
    reported: Option<MonoTime>,
}

/// All slots, by file.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: BTreeMap<File, Slot>,
    last: Revision,
    /// The write under way, with its start.
    writing: Option<(File, Revision, MonoTime)>,
}

impl Slots {
    /// Sets a content that was found on the disk, before anything was put into its slot.
    pub(super) fn found(&mut self, content: Content) {
        let file = content.file();
        self.slots.entry(file).or_insert_with(|| Slot {
            revision: Revision::default(),
            held: Some(content.clone()),
            wanted: content,
            held_revision: Revision::default(),
            attempt: false,
            since: None,
            failed: None,
            retry: None,
            reported: None,
        });
    }

    /// Puts a content into its slot.
    pub(super) fn put(&mut self, content: Content, attempt: bool, now: MonoTime) -> Revision {
        self.last.0 += 1;
        let (file, revision) = (content.file(), self.last);
        match self.slots.get_mut(&file) {
            Some(slot) => {
                slot.revision = revision;
                slot.wanted = content;
                slot.attempt = attempt;
                slot.since.get_or_insert(now);
                // An attempt is answered: it does not wait for the next try of another content.
                slot.retry = slot.retry.filter(|_| !attempt);
            }
            None => {
                let slot = Slot {
                    revision,
                    wanted: content,
                    held: None,
                    held_revision: Revision::default(),
                    attempt,
                    since: Some(now),
                    failed: None,
                    retry: None,
                    reported: None,
                };
                self.slots.insert(file, slot);
            }
        }
        revision
    }

    /// Withdraws an attempt. If it is being written, the old content is written after it.
    pub(super) fn withdraw(&mut self, file: File, revision: Revision) {
        if let Some(slot) = self.slots.get_mut(&file).filter(|slot| slot.revision == revision) {
            let written_now = self.writing.is_some_and(|(writing, of, _)| writing == file && of == revision);
            slot.give_up(&mut self.last, written_now);
        }
    }

    /// The next write: among the files whose time has come, the one that waits longest.
    pub(super) fn next(&mut self, now: MonoTime) -> Option<(Revision, Content)> {
        let due = |slot: &&Slot| slot.since.is_some() && slot.retry.is_none_or(|(at, _)| at <= now);
        let (_, slot) = self.slots.iter().filter(|(_, slot)| due(slot)).min_by_key(|(_, slot)| slot.since)?;
        self.writing = Some((slot.wanted.file(), slot.revision, now));
        Some((slot.revision, slot.wanted.clone()))
    }

    /// Time when [`Slots::next`] has a write, if nothing else happens.
    pub(super) fn due(&self) -> Option<MonoTime> {
        let waiting = self.slots.values().filter(|slot| slot.since.is_some());
        waiting.map(|slot| slot.retry.map_or(MonoTime::ZERO, |(at, _)| at)).min()
    }

    /// Sets the result of a write.
    pub(super) fn written(
        &mut self,
        revision: Revision,
        content: Content,
        result: io::Result<()>,
        now: MonoTime,
    ) {
        self.writing = None;
        let Some(slot) = self.slots.get_mut(&content.file()) else { return };
        match result {
            Ok(()) => {
                slot.held = Some(content);
                slot.held_revision = revision;
                slot.retry = None;
                if slot.revision == revision {
                    slot.since = None;
                    slot.failed = None;
                }
            }
            Err(error) => {
                slot.failed = Some((revision, error.into()));
                if slot.attempt && slot.revision == revision {
                    slot.give_up(&mut self.last, false);
                } else {
                    let wait = slot.retry.map_or(RETRY_MIN, |(_, wait)| (wait * 2).min(RETRY_MAX));
                    slot.retry = Some((now + wait, wait));
                }
            }
        }
    }

    /// Files are not on the disk any more: the content known of them is written again.
    pub(super) fn lost(&mut self, files: &[File], now: MonoTime) {
        for file in files {
            if let Some(slot) = self.slots.get_mut(file) {
                slot.since.get_or_insert(now);
                slot.retry = None;
            }
        }
    }

    /// All files with a slot.
    pub(super) fn files(&self) -> Vec<File> {
        self.slots.keys().copied().collect()
    }

    /// Contents that are on the disk as far as is known, and are not to be replaced.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Content> {
        let settled = self.slots.values().filter(|slot| slot.since.is_none());
        settled.filter_map(|slot| slot.held.as_ref().filter(|content| content.has_file()))
    }

    /// Result of writing a content; none while it is not known.
    pub(super) fn outcome(&self, file: File, revision: Revision) -> Option<Result<(), WriteError>> {
        let slot = self.slots.get(&file)?;
        match &slot.failed {
            // After an attempt that failed, the disk has a later revision: the old content.
            Some((of, error)) if *of == revision => Some(Err(error.clone())),
            _ if slot.held_revision >= revision => Some(Ok(())),
            Some((of, error)) if *of > revision => Some(Err(error.clone())),
            Some(_) | None => None,
        }
    }

    /// Content that is known to be on the disk.
    pub(super) fn held(&self, file: File) -> Option<&Content> {
        self.slots.get(&file)?.held.as_ref()
    }

    /// Whether the wanted content of a file is on the disk.
    pub(super) fn is_held(&self, file: File) -> bool {
        self.slots.get(&file).is_none_or(|slot| slot.since.is_none())
    }

    /// Whether the disk has refused a file, or takes longer than `patience` for any write.
    pub(super) fn in_trouble(&self, file: File, patience: Duration, now: MonoTime) -> bool {
        self.hangs(patience, now) || self.waiting(patience, now).any(|waiting| waiting.file == file)
    }

    /// Whether a write has been under way for longer than `patience`.
    pub(super) fn hangs(&self, patience: Duration, now: MonoTime) -> bool {
        self.writing.is_some_and(|(_, _, since)| now.since(since) >= patience)
    }

    /// Whether no write is left but those that have failed.
    pub(super) fn at_rest(&self) -> bool {
        self.writing.is_none()
            && self.slots.values().all(|slot| slot.since.is_none() || slot.failed.is_some())
    }

    /// Files whose wanted content is not on the disk: the disk refuses it, or has not answered for
    /// `patience`.
    pub(super) fn waiting(&self, patience: Duration, now: MonoTime) -> impl Iterator<Item = Waiting> {
        self.slots.iter().filter_map(move |(file, slot)| {
            let since = slot.since?;
            let reason = slot.failed.as_ref().map(|(_, error)| error.to_string());
            (reason.is_some() || now.since(since) >= patience).then_some(Waiting {
                file: *file,
                since,
                reason,
            })
        })
    }

    /// Changes of trouble, each reported once.
    pub(super) fn news(&mut self, patience: Duration, now: MonoTime) -> Vec<News> {
        let troubled: Vec<Waiting> = self.waiting(patience, now).collect();
        let mut news = Vec::new();
        for waiting in troubled {
            if let Some(slot) = self.slots.get_mut(&waiting.file).filter(|slot| slot.reported.is_none()) {
                slot.reported = Some(waiting.since);
                news.push(News::Trouble(waiting));
            }
        }
        for (file, slot) in &mut self.slots {
            if let Some(since) = slot.reported.take_if(|_| slot.since.is_none()) {
                news.push(News::Over(*file, now.since(since)));
            }
        }
        news
    }
}

impl Slot {
    /// Wants the old content again.
    fn give_up(&mut self, last: &mut Revision, being_written: bool) {
        let Some(held) = self.held.clone() else {
            // There was no content of ours to go back to, so nothing is kept.
            self.since = None;
            self.attempt = false;
            return;
        };
        last.0 += 1;
        self.revision = *last;
        self.wanted = held;
        self.attempt = false;
        self.retry = None;
        if being_written {
            // The attempt may be written after all, and has to be written over then.
            return;
        }
        // A replacement that was refused leaves the file as it was.
        self.held_revision = self.revision;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_host::orders::routers::Orders;

    const LONG: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_millis(ms)
    }

    fn orders(routers: &[&str]) -> Content {
        let given = routers.iter().map(|name| format!(r#""{name}":{{"order":"hold","since":"T"}}"#));
        let text = format!("{{{}}}", given.collect::<Vec<_>>().join(","));
        Content::Orders(serde_json::from_str(&text).expect("orders"))
    }

    fn text(content: &Content) -> String {
        match content {
            Content::Orders(orders) => serde_json::to_string(orders).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    fn full() -> io::Error {
        io::Error::from(io::ErrorKind::StorageFull)
    }

    /// Makes the next write with that result. Returns its content.
    fn write(slots: &mut Slots, result: io::Result<()>, now: MonoTime) -> Option<String> {
        let (revision, content) = slots.next(now)?;
        let what = text(&content);
        slots.written(revision, content, result, now);
        Some(what)
    }

    #[test]
    fn kept_content_is_written_until_it_is_there_and_only_the_latest() {
        let mut slots = Slots::default();
        let first = slots.put(orders(&["a"]), false, at(0));
        assert!(slots.outcome(File::Orders, first).is_none());
        assert!(write(&mut slots, Err(full()), at(1)).is_some());
        assert!(matches!(slots.outcome(File::Orders, first), Some(Err(_))));
        assert_eq!((slots.due(), slots.next(at(100)).is_none()), (Some(at(201)), true), "backs off");
        let second = slots.put(orders(&["b"]), false, at(150));
        let waiting: Vec<Waiting> = slots.waiting(LONG, at(160)).collect();
        assert_eq!((waiting[0].since, waiting[0].reason.is_some()), (at(0), true), "{waiting:?}");
        for n in 0..20 {
            let now = at(10_000 * (n + 1));
            assert_eq!(write(&mut slots, Err(full()), now), Some(text(&orders(&["b"]))));
            let wait = slots.due().expect("again").since(now);
            assert!(wait >= RETRY_MIN && wait <= RETRY_MAX, "{wait:?}");
        }
        assert!(slots.at_rest() && !slots.is_held(File::Orders));
        assert!(write(&mut slots, Ok(()), at(999_000)).is_some());
        assert!(matches!(slots.outcome(File::Orders, first), Some(Ok(()))), "the later word stands for it");
        assert!(matches!(slots.outcome(File::Orders, second), Some(Ok(()))));
        assert!(slots.is_held(File::Orders) && slots.due().is_none() && slots.next(at(999_001)).is_none());
        assert_eq!(slots.waiting(Duration::ZERO, at(999_001)).count(), 0);
    }

    #[test]
    fn an_attempt_has_one_try_and_the_old_content_stays() {
        let mut slots = Slots::default();
        slots.found(Content::Orders(Orders::default()));
        let refused = slots.put(orders(&["a"]), true, at(0));
        write(&mut slots, Err(full()), at(1));
        assert!(matches!(slots.outcome(File::Orders, refused), Some(Err(_))));
        assert!(slots.is_held(File::Orders) && slots.next(at(100_000)).is_none(), "nothing is left to do");
        let taken = slots.put(orders(&["b"]), true, at(2));
        write(&mut slots, Ok(()), at(3));
        assert!(matches!(slots.outcome(File::Orders, taken), Some(Ok(()))));
        assert_eq!(slots.held(File::Orders).map(text), Some(text(&orders(&["b"]))));
    }

    /// The disk hangs in the middle of an attempt, which is withdrawn: whether it is written in the end or
    /// not, the file has the old content again.
    #[test]
    fn an_attempt_that_was_taken_back_is_written_over() {
        for (result, again) in [(Ok(()), true), (Err(full()), true)] {
            let mut slots = Slots::default();
            slots.found(orders(&["before"]));
            let revision = slots.put(orders(&["a"]), true, at(0));
            let (writing, content) = slots.next(at(0)).expect("due");
            assert_eq!(writing, revision);
            assert!(slots.hangs(LONG, at(2_000)) && !slots.hangs(LONG, at(1_999)));
            slots.withdraw(File::Orders, revision);
            slots.written(writing, content, result, at(60_000));
            assert_eq!(slots.is_held(File::Orders), !again);
            assert_eq!(write(&mut slots, Ok(()), at(70_000)), Some(text(&orders(&["before"]))));
            assert!(slots.is_held(File::Orders));
        }
        // An attempt whose write has not begun is dropped.
        let mut slots = Slots::default();
        slots.found(orders(&["before"]));
        let revision = slots.put(orders(&["a"]), true, at(0));
        slots.withdraw(File::Orders, revision);
        assert!(slots.next(at(1)).is_none());
    }

    #[test]
    fn trouble_is_reported_once_and_so_is_its_end() {
        let mut slots = Slots::default();
        slots.put(orders(&["a"]), false, at(0));
        assert!(slots.news(LONG, at(1_000)).is_empty(), "a disk may take its time");
        let reported = slots.news(LONG, at(2_000));
        assert!(matches!(reported.as_slice(), [News::Trouble(Waiting { reason: None, .. })]), "{reported:?}");
        write(&mut slots, Err(full()), at(3_000));
        assert!(slots.news(LONG, at(3_000)).is_empty(), "it is still the same trouble");
        write(&mut slots, Ok(()), at(9_000));
        assert_eq!(slots.news(LONG, at(9_000)), [News::Over(File::Orders, Duration::from_secs(9))]);
        assert!(slots.news(LONG, at(9_000)).is_empty());
    }

    #[test]
    fn a_lost_file_is_written_again() {
        let mut slots = Slots::default();
        slots.found(Content::Orders(Orders::default()));
        let kept = |slots: &Slots| slots.kept().map(Content::file).collect::<Vec<_>>();
        assert!(kept(&slots).is_empty(), "no orders need no file");
        slots.put(orders(&["a"]), false, at(0));
        write(&mut slots, Ok(()), at(1));
        assert_eq!(kept(&slots), [File::Orders]);
        slots.lost(&[File::Orders], at(5_000));
        assert!(kept(&slots).is_empty());
        assert_eq!(write(&mut slots, Ok(()), at(5_000)), Some(text(&orders(&["a"]))));
    }
}
