//! The one desk for content that must be on the disk: every write of the state directory, by a thread of its
//! own.
//!
//! A caller puts content into the file's slot (`slots`) and goes on, waits for a bounded time, or is woken. A
//! disk that is full, read-only or does not answer delays nobody: content that cannot be written is tried
//! again until it is there, or was an attempt and is answered. The thread also checks whether the directory
//! and its files are still there, and makes them again.

mod content;
mod slots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel_kernel::clock;
use evenkeel_schemas::time::MonoTime;
use tracing::{error, warn};

use super::place::{Stamp, stamp};
use super::{Looked, StateDir};
use slots::Slots;

pub(crate) use content::{Content, File};
pub(crate) use slots::{News, Revision, Waiting, WriteError};

/// Time that a disk may take before it is reported and nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time between two checks whether the directory and its files are still there.
const LOOK: Duration = Duration::from_secs(5);

/// An event that others may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// An attempt has ended, or a file is kept that was not.
    Changed,
    /// The wanted ledger is on the disk, after a caller had given up waiting for it.
    Named,
}

struct Shared {
    slots: Mutex<DiskState>,
    changed: Condvar,
    wake: Box<dyn Fn(Wake) + Send + Sync>,
}

#[derive(Default)]
struct DiskState {
    slots: Slots,
    /// Whether a caller gave up waiting for the ledger.
    given_up: bool,
    stop: bool,
}

/// A handle to the disk thread.
#[derive(Clone)]
pub(crate) struct Disk(Arc<Shared>);

impl Disk {
    /// Starts the thread; `wake` is called from it and must not wait for anything.
    ///
    /// # Errors
    /// When no thread can be made.
    pub(crate) fn start(
        state: Arc<StateDir>,
        wake: impl Fn(Wake) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Shared { slots: Mutex::default(), changed: Condvar::new(), wake: Box::new(wake) };
        let shared = Arc::new(shared);
        let writer = Arc::clone(&shared);
        // Never joined: it may wait for a disk that does not answer.
        std::thread::Builder::new().name("disk".to_owned()).spawn(move || writer.run(&state))?;
        Ok(Self(shared))
    }

    fn lock(&self) -> MutexGuard<'_, DiskState> {
        self.0.lock()
    }

    /// Sets the content that was found on the disk at the start.
    pub(crate) fn found(&self, content: Content) {
        self.lock().slots.found(content);
    }

    /// Has content kept: it is written until it is there. Replaces content of the same file that was not
    /// written yet.
    pub(crate) fn keep(&self, content: Content) -> Revision {
        self.put(content, false)
    }

    /// Has content attempted: it is written once, and the old content stays when that fails.
    pub(crate) fn attempt(&self, content: Content) -> Revision {
        self.put(content, true)
    }

    fn put(&self, content: Content, attempt: bool) -> Revision {
        let revision = self.lock().slots.put(content, attempt, clock::now());
        self.0.changed.notify_all();
        revision
    }

    /// Withdraws an attempt.
    pub(crate) fn withdraw(&self, file: File, revision: Revision) {
        self.lock().slots.withdraw(file, revision);
        self.0.changed.notify_all();
    }

    /// Result of writing a content; none while it is not known.
    pub(crate) fn outcome(&self, file: File, revision: Revision) -> Option<Result<(), WriteError>> {
        self.lock().slots.outcome(file, revision)
    }

    /// Waits until the wanted content of a file is on the disk, for `patience` at most, and not at all where
    /// the disk has refused it or not answered for as long. Returns whether it is there.
    pub(crate) fn wait(&self, file: File, patience: Duration) -> bool {
        let deadline = clock::now() + patience;
        let mut state = self.lock();
        loop {
            let now = clock::now();
            if state.slots.is_held(file) {
                return true;
            }
            if now >= deadline || state.slots.in_trouble(file, patience, now) {
                state.given_up |= file == File::Ledger;
                return false;
            }
            let wait = now.until(deadline);
            state = self.0.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Content that is known to be on the disk.
    pub(crate) fn held(&self, file: File) -> Option<Content> {
        self.lock().slots.held(file).cloned()
    }

    /// Whether the disk refuses a file or does not answer.
    pub(crate) fn in_trouble(&self, file: File) -> bool {
        self.lock().slots.in_trouble(file, PATIENCE, clock::now())
    }

    /// Whether the disk has not answered for long.
    pub(crate) fn hangs(&self) -> bool {
        self.lock().slots.hangs(PATIENCE, clock::now())
    }

    /// Files whose wanted content is not on the disk.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        self.lock().slots.waiting(PATIENCE, clock::now()).collect()
    }

    /// Changes of trouble with files, each reported once.
    pub(crate) fn news(&self) -> Vec<News> {
        self.lock().slots.news(PATIENCE, clock::now())
    }

    /// Waits until everything is written that can be, for `patience` at most; nothing is written after that.
    /// Returns the files whose wanted content is not on the disk.
    pub(crate) fn stop(&self, patience: Duration) -> Vec<Waiting> {
        let deadline = clock::now() + patience;
        let mut state = self.lock();
        while !state.slots.at_rest() && clock::now() < deadline {
            let wait = clock::now().until(deadline);
            state = self.0.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stop = true;
        self.0.changed.notify_all();
        state.slots.waiting(Duration::ZERO, clock::now()).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, DiskState> {
        // A panic elsewhere leaves the slots whole: none of their changes calls anything that panics.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, directory: &StateDir) {
        let mut look_at = clock::now() + LOOK;
        let mut seen = Seen::default();
        while let Some(work) = self.next(look_at) {
            match work {
                Work::Look => self.look(directory, &mut seen),
                Work::Write(revision, content) => {
                    let mut result = content.write(directory);
                    // The directory has gone since the last check: made again now, not at the next check.
                    if result.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
                        self.look(directory, &mut seen);
                        result = content.write(directory);
                    }
                    if result.is_ok() {
                        seen.written(&content, directory);
                    }
                    let ledger = content.file() == File::Ledger;
                    let mut state = self.lock();
                    state.slots.written(revision, content, result, clock::now());
                    let named = ledger && state.slots.is_held(File::Ledger);
                    let named = named && std::mem::take(&mut state.given_up);
                    drop(state);
                    self.changed.notify_all();
                    (self.wake)(Wake::Changed);
                    if named {
                        (self.wake)(Wake::Named);
                    }
                }
            }
            if clock::now() >= look_at {
                look_at = clock::now() + LOOK;
            }
        }
    }

    fn next(&self, look_at: MonoTime) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.stop {
                return None;
            }
            let now = clock::now();
            // Before the writes: where the directory is gone none of them succeeds.
            if now >= look_at {
                return Some(Work::Look);
            }
            if let Some((revision, content)) = state.slots.next(now) {
                return Some(Work::Write(revision, content));
            }
            let wait = now.until(state.slots.due().map_or(look_at, |due| due.min(look_at)));
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Makes the directory and files again that are gone or changed.
    fn look(&self, directory: &StateDir, seen: &mut Seen) {
        match directory.look() {
            Ok(Looked::Same) => {
                seen.complained = false;
                let other = self.other(directory, seen);
                if !other.is_empty() {
                    let files: Vec<String> = other.iter().map(ToString::to_string).collect();
                    let files = files.join(", ");
                    warn!(
                        %files,
                        "somebody removed or changed in the state directory, and it is written again: {files}"
                    );
                    self.lock().slots.lost(&other, clock::now());
                }
            }
            Ok(Looked::MadeAgain) => {
                seen.complained = false;
                warn!(
                    directory = %directory.path().display(),
                    "somebody removed the state directory {}: it is made again",
                    directory.path().display()
                );
                let mut state = self.lock();
                let all = state.slots.files();
                state.slots.lost(&all, clock::now());
            }
            Err(error) => {
                if !std::mem::replace(&mut seen.complained, true) {
                    error!("{error}");
                }
                // None of it is kept now, and status says so.
                let mut state = self.lock();
                let kept: Vec<File> = state.slots.kept().map(Content::file).collect();
                state.slots.lost(&kept, clock::now());
            }
        }
    }

    /// Files that are not on the disk any more as they were written.
    fn other(&self, directory: &StateDir, seen: &mut Seen) -> Vec<File> {
        // Paths only: the lock is not held while the disk is asked.
        let kept: Vec<(File, Vec<PathBuf>)> =
            self.lock().slots.kept().map(|content| (content.file(), content.files(directory))).collect();
        kept.into_iter().filter(|(file, paths)| !seen.is_same(*file, paths)).map(|(file, _)| file).collect()
    }
}

/// Memory of the disk thread about the directory.
#[derive(Debug, Default)]
struct Seen {
    /// Whether it was logged that the directory cannot be made.
    complained: bool,
    /// Stamps of the files as they were written, or first found.
    stamps: BTreeMap<File, Vec<Stamp>>,
}

impl Seen {
    fn written(&mut self, content: &Content, directory: &StateDir) {
        let stamps: Option<Vec<Stamp>> = content.files(directory).iter().map(|path| stamp(path)).collect();
        match stamps {
            Some(stamps) => drop(self.stamps.insert(content.file(), stamps)),
            None => drop(self.stamps.remove(&content.file())),
        }
    }

    /// Whether these are the files that were written. For files found at the start, the first check sets the
    /// stamps.
    fn is_same(&mut self, file: File, paths: &[PathBuf]) -> bool {
        let now: Option<Vec<Stamp>> = paths.iter().map(|path| stamp(path)).collect();
        now.is_some_and(|now| *self.stamps.entry(file).or_insert_with(|| now.clone()) == now)
    }
}

enum Work {
    Look,
    Write(Revision, Content),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::files::Trust;
    use evenkeel_host::orders::routers::Orders;

    const SOON: Duration = Duration::from_secs(20);

    fn orders() -> Content {
        let orders = serde_json::from_str(r#"{"VI_1":{"order":"hold","since":"2026-01-01T00:00:00Z"}}"#);
        Content::Orders(orders.expect("orders"))
    }

    /// The directory is removed under a running daemon, then one of its files: both are made again.
    #[test]
    fn a_removed_directory_or_file_is_made_again() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = Arc::new(StateDir::open(&path, Trust::Owned).expect("open"));
        let disk = Disk::start(Arc::clone(&state), |_| ()).expect("disk");
        disk.keep(orders());
        assert!(disk.wait(File::Orders, SOON));
        let there = || path.join("orders.json").exists() && path.join("lock").exists();
        let wait = || {
            (0..200).any(|_| {
                there() || {
                    std::thread::sleep(SOON / 200);
                    false
                }
            })
        };
        fs::remove_dir_all(&path).expect("remove");
        assert!(wait(), "the directory");
        assert!(StateDir::open(&path, Trust::Owned).is_err(), "and it is locked");
        fs::remove_file(path.join("orders.json")).expect("remove");
        assert!(wait(), "the file");
        assert_eq!(disk.stop(SOON), []);
    }

    /// Whatever others do to a file of ours, the next check finds it: removed, emptied, cut off, another one
    /// under its name, a directory, a link to nothing, other text of the same length.
    #[test]
    fn a_changed_file_is_written_again() {
        type Change = fn(&std::path::Path, &[u8]);
        const CHANGES: [(&str, Change); 8] = [
            ("removed", |path, _| fs::remove_file(path).expect("removed")),
            ("emptied", |path, _| fs::write(path, "").expect("written")),
            ("cut off", |path, text| fs::write(path, &text[..text.len() / 2]).expect("written")),
            ("longer", |path, text| fs::write(path, [text, b"x"].concat()).expect("written")),
            ("of the same length", |path, text| fs::write(path, vec![b'x'; text.len()]).expect("written")),
            ("another file", |path, _| {
                let other = path.with_extension("other");
                fs::write(&other, "{}").and_then(|()| fs::rename(&other, path)).expect("renamed");
            }),
            ("a directory", |path, _| {
                fs::remove_file(path).and_then(|()| fs::create_dir(path)).expect("made")
            }),
            ("a link to nothing", |path, _| {
                fs::remove_file(path).expect("removed");
                std::os::unix::fs::symlink("/nowhere/at-all", path).expect("linked");
            }),
        ];
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = Arc::new(StateDir::open(&path, Trust::Owned).expect("open"));
        let loaded = crate::state::last_good::tests::loaded(scratch.path());
        let contents = [orders(), Content::LastGood(Arc::new(loaded))];
        let shared = Shared { slots: Mutex::default(), changed: Condvar::new(), wake: Box::new(|_| ()) };
        let mut seen = Seen::default();
        let write = |seen: &mut Seen| {
            while let Some((revision, content)) = {
                let mut state = shared.lock();
                state.slots.next(clock::now())
            } {
                let result = content.write(&state);
                assert!(result.is_ok(), "{content:?}: {result:?}");
                seen.written(&content, &state);
                shared.lock().slots.written(revision, content, result, clock::now());
            }
        };
        for content in &contents {
            shared.lock().slots.put(content.clone(), false, clock::now());
        }
        write(&mut seen);
        shared.look(&state, &mut seen);
        assert!(shared.lock().slots.at_rest(), "nothing was changed");
        let files: Vec<(File, PathBuf)> = contents
            .iter()
            .flat_map(|content| content.files(&state).into_iter().map(|path| (content.file(), path)))
            .collect();
        assert_eq!(files.len(), 3, "the orders, the plan, its passwords: {files:?}");
        for (what, change) in CHANGES {
            for (file, path) in &files {
                let text = fs::read(path).expect("there");
                change(path, &text);
                shared.look(&state, &mut seen);
                assert!(!shared.lock().slots.is_held(*file), "{}: {what}", path.display());
                write(&mut seen);
                assert_eq!(fs::read(path).expect("there again"), text, "{}: {what}", path.display());
                shared.look(&state, &mut seen);
                assert!(shared.lock().slots.at_rest(), "{}: {what}, and nothing since", path.display());
            }
        }
        // Files found at the start are known from the first check on.
        let (file, path) = &files[0];
        let mut seen = Seen::default();
        assert!(seen.is_same(*file, std::slice::from_ref(path)));
        fs::write(path, "{}").expect("written");
        assert!(!seen.is_same(*file, std::slice::from_ref(path)));
    }

    /// An object in the way of a file is put aside, whatever it is, and content that cannot be written is
    /// reported with its path.
    #[test]
    fn an_object_in_the_way_of_a_file_is_put_aside() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = StateDir::open(&path, Trust::Owned).expect("open");
        let last_good = Content::LastGood(Arc::new(crate::state::last_good::tests::loaded(scratch.path())));
        // A regular file where the directory of the last good plan belongs.
        fs::write(path.join("last-good"), "what is this").expect("written");
        last_good.write(&state).expect("written");
        assert_eq!(fs::read(path.join("last-good.unreadable-1")).expect("kept"), b"what is this");
        // Directories where its files belong, and one that is in no file's way.
        let [plan, passwords] = [0, 1].map(|n| last_good.files(&state)[n].clone());
        for (n, file) in [(2, &plan), (3, &passwords)] {
            fs::remove_file(file).and_then(|()| fs::create_dir(file)).expect("made");
            last_good.write(&state).expect("written");
            assert!(file.is_file() && path.join(format!("last-good.unreadable-{n}")).is_dir());
        }
        fs::create_dir(path.join("last-good/old")).expect("made");
        fs::remove_file(&plan).expect("removed");
        last_good.write(&state).expect("written");
        assert!(path.join("last-good/old").is_dir());
        // A directory where a file belongs.
        fs::create_dir_all(path.join("orders.json/x")).expect("made");
        orders().write(&state).expect("written");
        assert!(path.join("orders.json.unreadable-1/x").is_dir() && path.join("orders.json").is_file());
        // Cleaning up does not stumble over it either.
        fs::remove_dir_all(path.join("last-good")).expect("removed");
        fs::write(path.join("last-good"), "what is this").expect("written");
        state.forget().expect("forgotten");
        assert!(!path.join("last-good").exists());
        fs::remove_dir_all(&path).expect("removed");
        for content in [orders(), last_good] {
            let error = content.write(&state).expect_err("there is no directory");
            let name = state.place_of(content.file()).display().to_string();
            if content.file() == File::Orders {
                assert!(error.to_string().starts_with(&name), "{error}");
                fs::write(&path, "a file where the directory was").expect("written");
            } else {
                assert!(error.to_string().starts_with(&name), "{error}");
            }
        }
    }

    /// A file that can neither be parsed nor put aside is not lost when its place is needed.
    #[test]
    fn a_damaged_file_is_put_aside_before_it_is_replaced() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("state");
        let state = Arc::new(StateDir::open(&path, Trust::Owned).expect("open"));
        fs::write(path.join("orders.json"), "{").expect("damage");
        // No free name is left to rename it to.
        let names: Vec<_> = (1..1000).map(|n| path.join(format!("orders.json.unreadable-{n}"))).collect();
        names.iter().for_each(|name| fs::write(name, "older").expect("write"));
        assert_eq!(state.orders_or_put_aside().expect("none"), Orders::default());
        let disk = Disk::start(Arc::clone(&state), |_| ()).expect("disk");
        disk.keep(orders());
        assert!(!disk.wait(File::Orders, Duration::from_millis(500)), "it would be lost");
        assert_eq!(fs::read_to_string(path.join("orders.json")).expect("read"), "{");
        fs::remove_file(&names[7]).expect("remove");
        assert!(
            disk.wait(File::Orders, Duration::ZERO)
                || (0..200).any(|_| {
                    std::thread::sleep(SOON / 200);
                    disk.wait(File::Orders, Duration::ZERO)
                })
        );
        assert_eq!(fs::read_to_string(&names[7]).expect("read"), "{");
        assert_eq!(disk.stop(SOON), []);
    }
}
