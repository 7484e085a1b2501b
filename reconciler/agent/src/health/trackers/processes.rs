//! Running processes, counted once a second: proc(5), two small files a process at most.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use evenkeel_health::tracker::{is_process, processes};
use evenkeel_schemas::plan::{Tracker, Watch};
use nix::errno::Errno;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Reporter;

/// Time from one count to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most of `stat` that is read, bytes: process id, command name and state are at its beginning.
const STAT_MAX: u64 = 128;
/// Most of a command line that is read, bytes: the longest path and its end.
const CMDLINE_MAX: u64 = 4097;

/// Watches processes until nobody listens. A count that fails changes nothing.
pub(super) async fn watch(trackers: Vec<Tracker>, reporter: Reporter) {
    let wanted: Vec<String> = trackers
        .iter()
        .filter_map(|tracker| match &tracker.watch {
            Watch::Process { process, .. } => Some(process.clone()),
            _ => None,
        })
        .collect();
    let mut failed = false;
    loop {
        let next = Instant::now() + INTERVAL;
        let names = wanted.clone();
        let counts = tokio::task::spawn_blocking(move || count(Path::new("/proc"), &names)).await;
        match counts.map_err(io::Error::other).flatten() {
            Ok(counts) => {
                failed = false;
                for (tracker, running) in trackers.iter().zip(counts) {
                    let Watch::Process { quorum, .. } = &tracker.watch else { continue };
                    if reporter.report(&tracker.name, processes(running, *quorum)).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!(%error, "cannot count processes: trackers stay as they are");
                }
            }
        }
        sleep_until(next).await;
    }
}

/// Number of running processes of each name.
fn count(proc: &Path, wanted: &[String]) -> io::Result<Vec<u32>> {
    let mut counts = vec![0; wanted.len()];
    let by_argument = wanted.iter().any(|name| name.contains('/'));
    let (mut stat, mut line) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(proc)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let directory = entry.path();
        if !read(&directory.join("stat"), STAT_MAX, &mut stat)? {
            continue;
        }
        let Some((comm, true)) = parse_stat(&stat) else { continue };
        line.clear();
        if by_argument && !read(&directory.join("cmdline"), CMDLINE_MAX, &mut line)? {
            continue;
        }
        let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
        for (count, name) in counts.iter_mut().zip(wanted) {
            *count += u32::from(is_process(name, comm, first));
        }
    }
    Ok(counts)
}

/// Reads the beginning of a file of a process. Returns false when the process is gone.
fn read(path: &Path, limit: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    match std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(bytes)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The command name, and whether the process runs: neither a zombie nor dead. A command name may have blanks
/// and parentheses in it.
fn parse_stat(stat: &[u8]) -> Option<(&[u8], bool)> {
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let state = stat.get(close + 2)?;
    Some((stat.get(open + 1..close)?, !matches!(state, b'Z' | b'X' | b'x')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_command_name_is_read() {
        assert_eq!(parse_stat(b"12 (nginx) S 1 12"), Some((&b"nginx"[..], true)));
        assert_eq!(parse_stat(b"12 (a) R (b) Z 1"), Some((&b"a) R (b"[..], false)));
        assert_eq!(parse_stat(b"12 () X"), Some((&b""[..], false)));
        for broken in [&b""[..], b"12", b"12 (x", b"12 (x)", b"12 )x( S", b"12 (x) "] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn processes_that_vanish_are_no_error() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let make = |pid: &str, files: &[(&str, &[u8])]| {
            let directory = scratch.path().join(pid);
            std::fs::create_dir(&directory).expect("mkdir");
            for (name, content) in files {
                std::fs::write(directory.join(name), content).expect("write");
            }
        };
        make("1", &[("stat", b"1 (init) S 0"), ("cmdline", b"/sbin/init\0splash\0")]);
        make("2", &[("stat", b"2 (web) S 0"), ("cmdline", b"/opt/web\0")]);
        make("3", &[("stat", b"3 (web) Z 0"), ("cmdline", b"")]);
        make("4", &[]);
        make("5", &[("stat", b"5 (web) S 0")]);
        make("sys", &[]);
        let count = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
            count(scratch.path(), &wanted).expect("count")
        };
        assert_eq!(count(&["web", "init", "none"]), [2, 1, 0]);
        assert_eq!(count(&["web", "/opt/web", "/sbin/init"]), [1, 1, 1], "5 is gone before its second file");
    }
}
