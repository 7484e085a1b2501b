//! Files that others put there: opened only when they are regular, read only up to a limit, and only from
//! owners that a daemon with root's rights may obey. `trust` decides about owners, `way` follows paths.
//!
//! Every file that the agent reads goes through here, except the kernel's files of processes and locks in
//! `/proc`.

mod trust;
mod way;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

pub(crate) use trust::{Insecure, Trust};

/// Most bytes that are read of each kind of file: many times what the largest plan leads to.
pub(crate) mod limit {
    use evenkeel_schemas::seal;

    /// A plan: the limit of the seal.
    pub(crate) const PLAN: u64 = seal::MAX_BYTES as u64;
    /// Compiled secrets, a file with one secret, a systemd credential.
    pub(crate) const SECRETS: u64 = 1024 * 1024;
    /// Secrets of the last good plan: eight numbers a router, of which a host has thousands at most, or 64
    /// for each of its keys.
    pub(crate) const PASSWORDS: u64 = 16 * 1024 * 1024;
    /// Orders for routers and destinations: one short record each.
    pub(crate) const ORDERS: u64 = 64 * 1024 * 1024;
    /// Drains under way: one short record a destination.
    pub(crate) const DRAINS: u64 = 64 * 1024 * 1024;
    /// The record of probations: failed destinations, and the reason of a rollback.
    pub(crate) const PROBATION: u64 = 64 * 1024 * 1024;
    /// The record of a source, and files of allowed and of revoked keys.
    pub(crate) const SOURCE: u64 = 1024 * 1024;
    /// The ledger, and digests of verified state: as JSON an object takes about as much as in a plan, and a
    /// host may still have objects of several plans.
    pub(crate) const LEDGER: u64 = 4 * PLAN;
    /// A file of the kernel with one line, such as the boot's identity.
    pub(super) const KERNEL: u64 = 4096;
}

/// Reason why a file is not read.
#[derive(Debug)]
pub(crate) enum FileError {
    /// The system's reason.
    Io(io::Error),
    /// A FIFO, a device, a socket or a directory.
    NotRegular,
    /// The file has more bytes than this limit.
    TooLarge(u64),
    /// Another user could have written it.
    Insecure(Insecure),
}

impl FileError {
    /// Whether there is no such file.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::NotFound => f.write_str("no such file"),
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => f.write_str(
                "permission denied (under systemd the daemon has no CAP_DAC_OVERRIDE: root must be allowed \
                    to read it)",
            ),
            Self::Io(error) => error.fmt(f),
            Self::NotRegular => f.write_str("not a regular file"),
            Self::TooLarge(limit) => write!(f, "larger than {limit} bytes"),
            Self::Insecure(why) => why.fmt(f),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<nix::Error> for FileError {
    fn from(error: nix::Error) -> Self {
        Self::Io(error.into())
    }
}

/// `InvalidData` for every reason that is no error of the system: such a file of the state directory is put
/// aside, as a damaged one is.
impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

/// A regular file that was opened, and its length at that time, bytes.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) length: u64,
}

/// Opens a regular file of at most `limit` bytes. Never waits for a writer of a FIFO.
///
/// # Errors
/// [`FileError`].
pub(crate) fn open(path: &Path, limit: u64, trust: Trust) -> Result<Opened, FileError> {
    let opened = way::open(path, trust)?;
    if opened.length > limit { Err(FileError::TooLarge(limit)) } else { Ok(opened) }
}

/// Reads a regular file of at most `limit` bytes. A file with length 0 is not read: files of the kernel have
/// that length, and some of those never end.
///
/// # Errors
/// [`FileError`].
pub(crate) fn read(path: &Path, limit: u64, trust: Trust) -> Result<Vec<u8>, FileError> {
    let Opened { file, length } = open(path, limit, trust)?;
    if length == 0 {
        return Ok(Vec::new());
    }
    // One more byte, to find that there is no more.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    // The file may grow while it is read.
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(FileError::TooLarge(limit)) } else { Ok(bytes) }
}

/// The first `limit` bytes of a regular file that anybody may write and that may be the kernel's, such as a
/// file that a tracker watches.
///
/// [`FileError`], but never `TooLarge` or `Insecure`.
pub(crate) fn read_beginning(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    way::open(path, Trust::Anybody)?.file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The one line of a file of the kernel; empty when there is none.
pub(crate) fn kernel_line(path: &Path) -> String {
    let bytes = read_beginning(path, limit::KERNEL).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Checks a directory whose content decides what this process does.
///
/// [`FileError::Insecure`], or an error of the system.
pub(crate) fn check_directory(path: &Path, trust: Trust) -> Result<(), FileError> {
    way::directory(path, trust)
}

/// Checks a program that is about to be run, and the program or script that goes with it: the interpreter of
/// its first line, or the script that an interpreter is given.
///
/// The path of the file that is refused, and [`FileError`].
pub(crate) fn check_program(command: &[String], trust: Trust) -> Result<(), (String, FileError)> {
    let Some((program, arguments)) = command.split_first() else { return Ok(()) };
    let check = |path: &str| way::open_path(Path::new(path), trust).map_err(|error| (path.to_owned(), error));
    check(program)?;
    if trust == Trust::Anybody {
        return Ok(());
    }
    // A program that may be run but not read cannot be a script.
    let first = read_beginning(Path::new(program), trust::FIRST_LINE).unwrap_or_default();
    if let Some(interpreter) = trust::interpreter(&first) {
        check(interpreter)?;
    }
    // A relative path is looked up in `/`, where programs run.
    let scripts = trust::scripts(program, arguments).into_iter().map(|script| Path::new("/").join(script));
    match scripts.map(|script| script.display().to_string()).find(|script| Path::new(script).exists()) {
        Some(script) => check(&script),
        None => Ok(()),
    }
}

/// Reason why the way to a file is insecure now, as text that changes when the reason does; none when it is
/// secure.
pub(crate) fn state_of(path: &Path, trust: Trust) -> Option<String> {
    match way::open_path(path, trust) {
        Err(FileError::Insecure(why)) => Some(why.to_string()),
        Ok(()) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// A directory of ours with a file in it, both with right modes.
    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().expect("tempdir");
        let directory = scratch.path().join("plans");
        fs::create_dir(&directory).expect("mkdir");
        mode(&directory, 0o755);
        let file = directory.join("plan");
        fs::write(&file, "text").expect("write");
        mode(&file, 0o644);
        (scratch, file)
    }

    fn taken(path: &Path) -> Result<Vec<u8>, String> {
        read(path, 100, Trust::Owned).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_that_others_may_write_to_is_refused_with_the_remedy() {
        let (_scratch, file) = scratch();
        let directory = file.parent().expect("a directory");
        assert_eq!(taken(&file).expect("ours"), b"text");
        for bits in [0o664, 0o646, 0o666] {
            mode(&file, bits);
            let why = taken(&file).expect_err("refused");
            assert!(why.contains(&format!("`chmod go-w {}`", file.display())), "{why}");
            assert_eq!(read(&file, 100, Trust::Anybody).expect("asked for"), b"text");
        }
        mode(&file, 0o600);
        for bits in [0o775, 0o757, 0o777, 0o1777] {
            mode(directory, bits);
            let why = taken(&file).expect_err("refused");
            assert!(why.contains(&directory.display().to_string()), "{why}");
        }
        mode(directory, 0o755);
        assert!(taken(&file).is_ok());
        if nix::unistd::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12_345), None).expect("chown");
            let why = taken(&file).expect_err("refused");
            assert!(
                why.contains("uid 12345") && why.contains(&format!("`chown root {}`", file.display())),
                "{why}"
            );
        }
    }

    #[test]
    fn links_are_followed_and_their_targets_are_held_to_the_same() {
        let (scratch, file) = scratch();
        let open = scratch.path().join("open");
        fs::create_dir(&open).expect("mkdir");
        fs::copy(&file, open.join("plan")).expect("copy");
        mode(&open, 0o777);
        // Files laid out as by Kubernetes, and a link that leads out by `..` and by an absolute path.
        let plans = file.parent().expect("a directory");
        fs::create_dir(plans.join("..2026")).expect("mkdir");
        mode(&plans.join("..2026"), 0o755);
        fs::rename(&file, plans.join("..2026/plan")).expect("rename");
        symlink("..2026", plans.join("..data")).expect("link");
        symlink("..data/plan", &file).expect("link");
        assert_eq!(taken(&file).expect("links of ours"), b"text");
        for target in ["../open", &open.display().to_string()] {
            fs::remove_file(plans.join("..data")).expect("remove");
            symlink(target, plans.join("..data")).expect("link");
            let why = taken(&file).expect_err("refused");
            assert!(why.contains(&format!("`chmod go-w {}`", open.display())), "{why}");
        }
        // From an open place to a closed one: the link itself may be replaced.
        mode(&plans.join("..2026/plan"), 0o644);
        symlink(plans.join("..2026/plan"), open.join("link")).expect("link");
        assert!(taken(&open.join("link")).expect_err("refused").contains(&open.display().to_string()));
        symlink(&open, open.join("round")).expect("link");
        fs::remove_file(open.join("round")).expect("remove");
        symlink("round", open.join("round")).expect("link");
        assert!(read(&open.join("round"), 100, Trust::Anybody).is_err(), "a link to itself");
    }

    #[test]
    fn only_regular_files_within_the_limit_are_read_and_nothing_is_waited_for() {
        let (scratch, file) = scratch();
        let fifo = scratch.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRUSR).expect("fifo");
        symlink(&fifo, scratch.path().join("link")).expect("link");
        let begun = Instant::now();
        for path in [&fifo, &scratch.path().join("link"), &PathBuf::from("/dev/zero"), scratch.path()] {
            for trust in [Trust::Owned, Trust::Anybody] {
                assert!(matches!(read(path, 100, trust), Err(FileError::NotRegular)), "{}", path.display());
                assert!(matches!(open(path, 100, trust), Err(FileError::NotRegular)), "{}", path.display());
            }
            assert!(matches!(read_beginning(path, 100), Err(FileError::NotRegular)), "{}", path.display());
        }
        fs::write(&file, [b'x'; 101]).expect("write");
        assert!(matches!(read(&file, 100, Trust::Owned), Err(FileError::TooLarge(100))));
        assert_eq!(read_beginning(&file, 100).expect("its beginning").len(), 100);
        assert_eq!(read(&file, 101, Trust::Owned).expect("all").len(), 101);
        // A sparse file is as long as its length says, and is not read to find out.
        File::options().write(true).open(&file).and_then(|file| file.set_len(1 << 40)).expect("grow");
        assert!(matches!(read(&file, limit::PLAN, Trust::Owned), Err(FileError::TooLarge(_))));
        // Files of the kernel have length 0, and some never end.
        assert_eq!(read(Path::new("/proc/self/maps"), 100, Trust::Anybody).expect("empty"), b"");
        if Path::new("/proc/kcore").exists() && nix::unistd::geteuid().is_root() {
            assert!(read(Path::new("/proc/kcore"), limit::PLAN, Trust::Owned).is_err());
        }
        assert!(!kernel_line(Path::new("/proc/sys/kernel/ostype")).is_empty());
        assert!(read(&scratch.path().join("none"), 1, Trust::Owned).expect_err("none").is_absence());
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn programs_are_checked_with_their_interpreters_and_scripts() {
        let (scratch, file) = scratch();
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let check = |words: &[&str]| check_program(&argv(words), Trust::Owned).map_err(|(path, _)| path);
        let script = file.display().to_string();
        assert_eq!(check(&["/bin/sh", "-c", "/tmp/anything"]), Ok(()));
        assert_eq!(check(&["/bin/sh", &script]), Ok(()));
        mode(&file, 0o777);
        for words in [
            &["/bin/sh", "-e", &script][..],
            &["/bin/bash", "-o", "errexit", &script],
            &["/usr/bin/python3", "-W", "ignore", &script],
            // Programs run in `/`.
            &["/bin/sh", script.trim_start_matches('/')],
        ] {
            assert_eq!(check(words), Err(script.clone()), "{words:?}");
        }
        assert_eq!(check(&["/usr/bin/test", "-e", &script]), Ok(()), "what a program looks at is no program");
        assert_eq!(check(&[&script]), Err(script.clone()));
        assert_eq!(check_program(&argv(&[&script]), Trust::Anybody).map_err(|(path, _)| path), Ok(()));
        let other = scratch.path().join("other");
        fs::write(&other, format!("#! {script} -x\n")).expect("write");
        mode(&other, 0o755);
        assert_eq!(check(&[&other.display().to_string()]), Err(script), "its interpreter");
    }

    #[test]
    fn a_state_directory_that_others_may_write_to_is_refused() {
        let (_scratch, file) = scratch();
        let directory = file.parent().expect("a directory");
        assert!(check_directory(directory, Trust::Owned).is_ok());
        mode(directory, 0o1777);
        let why = check_directory(directory, Trust::Owned).expect_err("refused").to_string();
        assert!(why.contains("chmod go-w"), "{why}");
        assert!(check_directory(directory, Trust::Anybody).is_ok());
        assert!(check_directory(&file, Trust::Owned).is_err(), "no directory");
    }
}
