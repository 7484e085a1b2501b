//! A plan in a file, read again when it may have changed.
//!
//! Events are hints. Directories are watched, never the file itself, so that a rename over it, a symlink
//! swapped to another directory and a write in place are all seen. A comparison of the file's identity every
//! few seconds is the net below that. Other events in those directories cost such a comparison, no reading.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Name;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::source::kept::{Kept, wall_text};
use crate::source::read::{self, Keep, plan_path};
use crate::source::{Keeping, Loaded, Look, Pulled};
use crate::system::files::{self, Trust};
use crate::system::moment;
use evenkeel_host::loaded::LoadedPlan;

/// Quiet time after the last event before the file is compared.
const QUIET: Duration = Duration::from_millis(20);
/// Longest time that a change waits for quiet.
const NOISY_LIMIT: Duration = Duration::from_millis(500);
/// Time between two comparisons of the file's identity without an event.
const POLL: Duration = Duration::from_secs(5);

/// Identity of a file's content as far as `stat` shows it, and the reason why the file is refused if others
/// may write to it or on the way to it.
type Stamp = (Option<(u64, u64, i64, i64, u64)>, Option<String>);

/// A file, or a host's file in a directory.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
    host: Name,
    trust: Trust,
}

impl Directory {
    /// `path` is the file itself or the directory.
    pub(super) const fn new(path: PathBuf, host: Name, trust: Trust) -> Self {
        Self { path, host, trust }
    }

    /// The plan file.
    pub(super) fn file(&self) -> PathBuf {
        plan_path(&self.path, &self.host)
    }

    /// Reads the file, in a thread that gives way to all others.
    ///
    /// A refusal, whatever is wrong with the plan.
    pub(super) fn read(&self, keep: Keep<'_>) -> Loaded {
        let file = self.file();
        read::load_aside(&file, &read::secrets_beside(&file, &self.host), &self.host, keep, self.trust)
    }

    /// Reads the file whenever it may have changed, in a task of its own.
    pub(super) fn watch(
        self,
        copies: PathBuf,
        keep: impl Keeping,
        kept: Kept,
        mut look: mpsc::Receiver<Look>,
    ) -> mpsc::Receiver<Box<Loaded>> {
        let (send, plans) = mpsc::channel(1);
        let mut watcher = Watched::new(self);
        tokio::spawn(async move {
            let mut asked = None;
            loop {
                // A pause that begins now holds up a file that changes later.
                while let Some(until) = kept.paused_until(moment::now().wall_ms) {
                    answer(&mut asked, Pulled::Paused(wall_text(until)));
                    tokio::select! {
                        () = kept.unpaused() => {}
                        Some(next) = look.recv() => asked = asked_by(next),
                    }
                }
                let (directory, copies, keep) = (watcher.directory.clone(), copies.clone(), keep.clone());
                // Checking a large plan takes time: not on a thread of the runtime.
                let load = move || directory.read(keep.keep(&copies));
                let Ok(loaded) = tokio::task::spawn_blocking(load).await else { return };
                watcher.secret_files = loaded.as_ref().map(LoadedPlan::secret_files).unwrap_or_default();
                let refused = loaded.as_ref().err().map(|why| Pulled::Failed(why.to_string()));
                if send.send(Box::new(loaded)).await.is_err() {
                    return;
                }
                answer(&mut asked, refused.unwrap_or(Pulled::Read));
                tokio::select! {
                    () = watcher.changed() => {}
                    Some(next) = look.recv() => asked = asked_by(next),
                }
            }
        });
        plans
    }
}

/// Whoever waits for the result of a look.
fn asked_by(look: Look) -> Option<oneshot::Sender<Pulled>> {
    match look {
        Look::Pull(reply) => Some(reply),
        Look::Due | Look::Now => None,
    }
}

fn answer(asked: &mut Option<oneshot::Sender<Pulled>>, pulled: Pulled) {
    if let Some(reply) = asked.take() {
        // Whoever asked may have gone.
        reply.send(pulled).ok();
    }
}

/// A plan file that is watched.
struct Watched {
    directory: Directory,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
    /// Filter of events about the plan.
    ours: Arc<Ours>,
    /// Files of secrets that the plan names.
    secret_files: Vec<PathBuf>,
    stamps: Vec<Stamp>,
}

/// Filter that tells events of the plan from those of its neighbours.
#[derive(Default)]
struct Ours {
    /// Names of the plan and its secrets.
    names: Mutex<BTreeSet<OsString>>,
    /// Whether an event concerned one of them.
    met: AtomicBool,
}

impl Ours {
    fn observe(&self, event: &notify::Result<notify::Event>) {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
        let met = event.as_ref().map_or(true, |event| event.paths.is_empty() || event.paths.iter().any(ours));
        self.met.fetch_or(met, Ordering::AcqRel);
    }

    fn know<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let names = paths.filter_map(Path::file_name).map(OsString::from).collect();
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }
}

impl Watched {
    fn new(directory: Directory) -> Self {
        let (tell, events) = mpsc::channel(1);
        let ours = Arc::new(Ours::default());
        let observed = Arc::clone(&ours);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the file causes these: they would trigger the next reading.
            if !event.as_ref().is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                observed.observe(&event);
                tell.try_send(()).ok();
            }
        });
        let watcher = watcher
            .inspect_err(|error| warn!(%error, "cannot watch files: looking every {POLL:?} instead"))
            .ok();
        let mut source = Self {
            directory,
            watcher,
            watched: BTreeSet::new(),
            events,
            ours,
            secret_files: Vec::new(),
            stamps: Vec::new(),
        };
        source.compare();
        source
    }

    fn file(&self) -> PathBuf {
        self.directory.file()
    }

    /// Waits until the plan may have changed. Dropping the future loses nothing: a change whose event was
    /// taken from the watcher is then found by comparing the stamps.
    async fn changed(&mut self) {
        loop {
            tokio::select! {
                event = self.events.recv(), if self.watcher.is_some() => {
                    if event.is_none() {
                        self.watcher = None;
                        continue;
                    }
                    self.wait_for_quiet().await;
                    // A stamp shows most changes, but not one within the clock's grain.
                    let met = self.ours.met.swap(false, Ordering::AcqRel);
                    if self.compare() || met {
                        return;
                    }
                }
                () = sleep(POLL) => {
                    if self.compare() {
                        return;
                    }
                }
            }
        }
    }

    async fn wait_for_quiet(&mut self) {
        let limit = Instant::now() + NOISY_LIMIT;
        while Instant::now() < limit {
            if timeout_at(limit.min(Instant::now() + QUIET), self.events.recv()).await.is_err() {
                return;
            }
        }
    }

    /// Updates the file's identity and watches the directories that it is in by now. Returns whether the
    /// identity has changed.
    fn compare(&mut self) -> bool {
        let file = self.file();
        let secrets = file.with_file_name(plan::secrets_file_name(&self.directory.host));
        let read: Vec<&Path> =
            [&file, &secrets].into_iter().chain(&self.secret_files).map(PathBuf::as_path).collect();
        let stamps =
            read.iter().map(|path| (stamp(path), files::state_of(path, self.directory.trust))).collect();
        let changed = std::mem::replace(&mut self.stamps, stamps) != self.stamps;
        let real: Vec<PathBuf> = read
            .iter()
            .chain([&self.directory.path.as_path()])
            .filter_map(|path| path.canonicalize().ok())
            .collect();
        self.ours.know(
            read.into_iter().chain([self.directory.path.as_path()]).chain(real.iter().map(PathBuf::as_path)),
        );
        let Some(watcher) = &mut self.watcher else { return changed };
        let wanted = directories(&self.directory.path, &file);
        for gone in self.watched.difference(&wanted) {
            watcher.unwatch(gone).ok();
        }
        let mut watched = BTreeSet::new();
        for directory in wanted {
            // Watching a directory again renews the watch: the directory may have been replaced.
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(watched.insert(directory)),
                Err(error) => {
                    debug!(directory = %directory.display(), "cannot watch {}: {error}", directory.display())
                }
            }
        }
        self.watched = watched;
        changed
    }
}

fn stamp(path: &Path) -> Option<(u64, u64, i64, i64, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
}

/// Directories whose entries lead to the plan file: of the path as written, of the file, and of the real
/// paths of both.
fn directories(path: &Path, file: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        Some(parent) => Some(parent.to_owned()),
        None => None,
    };
    let mut found: BTreeSet<PathBuf> = [parent(path), parent(file)].into_iter().flatten().collect();
    for real in [path.canonicalize(), file.canonicalize()].into_iter().flatten() {
        found.extend(parent(&real));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn watched(path: PathBuf) -> Watched {
        Watched::new(Directory::new(path, "dir1".parse().expect("name"), Trust::Owned))
    }

    async fn sees(source: &mut Watched, what: &str) {
        tokio::time::timeout(Duration::from_secs(3), source.changed())
            .await
            .unwrap_or_else(|_| panic!("{what}"));
    }

    #[tokio::test]
    async fn every_way_to_replace_a_plan_is_seen_at_once() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let root = scratch.path();
        for release in ["one", "two"] {
            fs::create_dir(root.join(release)).expect("mkdir");
            fs::write(root.join(release).join("dir1.plan.toml"), release).expect("write");
        }
        symlink("one", root.join("current")).expect("symlink");
        let mut source = watched(root.join("current"));
        assert_eq!(fs::read_to_string(source.file()).expect("read"), "one");

        fs::write(source.file(), "in place").expect("write");
        sees(&mut source, "write in place").await;

        fs::write(root.join("one/.new"), "renamed").expect("write");
        fs::rename(root.join("one/.new"), root.join("one/dir1.plan.toml")).expect("rename");
        sees(&mut source, "rename").await;

        symlink("two", root.join("next")).expect("symlink");
        fs::rename(root.join("next"), root.join("current")).expect("swap");
        sees(&mut source, "symlink swap").await;
        assert_eq!(fs::read_to_string(source.file()).expect("read"), "two");

        fs::write(root.join("two/dir1.plan.toml"), "after the swap").expect("write");
        sees(&mut source, "write after the swap").await;
    }

    /// A plan as Kubernetes puts configuration in place.
    #[tokio::test]
    async fn a_link_in_the_middle_of_the_way_may_be_swapped() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let root = scratch.path();
        for release in ["one", "two"] {
            fs::create_dir(root.join(release)).expect("mkdir");
            fs::write(root.join(release).join("dir1.plan.toml"), release).expect("write");
        }
        symlink("one", root.join("..data")).expect("symlink");
        symlink("..data/dir1.plan.toml", root.join("dir1.plan.toml")).expect("symlink");
        let mut source = watched(root.to_owned());
        assert_eq!(fs::read_to_string(source.file()).expect("read"), "one");
        symlink("two", root.join("..next")).expect("symlink");
        fs::rename(root.join("..next"), root.join("..data")).expect("swap");
        sees(&mut source, "swap").await;
        assert_eq!(fs::read_to_string(source.file()).expect("read"), "two");
    }

    /// Directories further up are not watched: changes of them are found by the regular comparison.
    #[tokio::test]
    async fn rights_that_change_anywhere_on_the_way_are_a_reason_to_read_the_plan() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let up = scratch.path().join("up");
        fs::create_dir_all(up.join("plans")).expect("mkdir");
        let plan = up.join("plans/dir1.plan.toml");
        fs::write(&plan, "a plan").expect("write");
        for path in [&up, &up.join("plans"), &plan] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        let mut source = watched(up.join("plans"));
        for path in [&up, &up.join("plans"), &plan] {
            for mode in [0o777, 0o755] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
                assert!(source.compare(), "{} {mode:o}", path.display());
                assert!(!source.compare());
            }
        }
    }

    #[tokio::test]
    async fn a_change_of_neighbouring_files_does_not_read_the_plan() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let root = scratch.path();
        fs::create_dir(root.join("plans")).expect("mkdir");
        let plan = root.join("plans/dir1.plan.toml");
        fs::write(&plan, "a plan").expect("write");
        let mut source = watched(root.join("plans"));
        for neighbour in ["log", "plans/dir2.plan.toml"] {
            fs::write(root.join(neighbour), "something").expect("write");
            let changed = tokio::time::timeout(QUIET * 10, source.changed()).await;
            assert!(changed.is_err(), "{neighbour}");
        }
        // The same text may have come with the same stamp.
        fs::write(&plan, "a plan").expect("write");
        sees(&mut source, "write").await;
    }
}
