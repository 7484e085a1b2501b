//! The room in which keepalived is heard: namespaces of its own for network and mounts, the interfaces and
//! users that a file names, and the library that lets it write what it has understood. Nothing in it outlives
//! the test.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use evenkeel::import::versions::Version;

use super::file::File;

/// What is missing when the room cannot be made.
const NEEDS: &str = "the judge needs root and the Debian packages gcc, iproute2, util-linux and keepalived";

/// How long keepalived may compute: it takes a hundredth of this, unless it never ends.
const PROCESSOR_SECONDS: u32 = 3;

/// What keepalived said of a file, and what it understood.
pub(crate) struct Heard {
    /// Its words, a line each, none twice.
    pub(crate) words: Vec<String>,
    /// Its own description of what it would run with.
    pub(crate) dump: String,
    /// Whether it came to an end.
    pub(crate) ended: bool,
}

pub(crate) struct Room {
    holder: Child,
    folder: tempfile::TempDir,
    keepalived: PathBuf,
    /// What keepalived it is.
    pub(crate) version: Version,
    /// Interfaces that are there.
    interfaces: Mutex<BTreeSet<String>>,
    /// Users that are there.
    users: Mutex<BTreeSet<String>>,
}

impl Room {
    /// Opens a room for the keepalived that `EVENKEEL_JUDGE_KEEPALIVED` names, Debian's without it.
    pub(crate) fn open() -> Self {
        let given = std::env::var_os("EVENKEEL_JUDGE_KEEPALIVED");
        Self::of(given.map_or_else(|| PathBuf::from("/usr/sbin/keepalived"), PathBuf::from))
    }

    /// Opens a room for a keepalived.
    pub(crate) fn of(keepalived: PathBuf) -> Self {
        assert!(keepalived.exists(), "no {}: {NEEDS}", keepalived.display());
        let folder = tempfile::tempdir().expect("a folder");
        build(folder.path());
        // It ends when its input does, so also when the test is killed.
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("unshare: {error}: {NEEDS}"));
        let mut echo = [0];
        let asked = holder.stdin.as_mut().expect("a pipe").write_all(b".");
        let answered = holder.stdout.as_mut().expect("a pipe").read_exact(&mut echo);
        assert!(asked.is_ok() && answered.is_ok(), "no namespaces: {NEEDS}");
        let room = Self {
            holder,
            folder,
            version: version_of(&keepalived),
            keepalived,
            interfaces: Mutex::new(BTreeSet::from(["lo".to_owned()])),
            users: Mutex::new(BTreeSet::new()),
        };
        for file in ["passwd", "group"] {
            let own = room.folder.path().join(file);
            std::fs::copy(Path::new("/etc").join(file), &own).expect("a copy");
            room.run("mount", &["--bind", own.to_str().expect("UTF-8"), &format!("/etc/{file}")]);
        }
        room
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let target = self.holder.id().to_string();
        command.args(["--target", &target, "--net", "--mount", "--", program]);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let output = self.inside(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}: {NEEDS}"));
        output.status.success()
    }

    /// Makes the interfaces and users that a file names.
    fn furnish(&self, file: &File) {
        for name in file.interfaces() {
            let mut there = self.interfaces.lock().expect("no panic");
            if there.insert(name.clone()) {
                // The second is for kernels without the first.
                let made = ["dummy", "bridge"]
                    .iter()
                    .any(|kind| self.run("ip", &["link", "add", "name", &name, "type", kind]));
                if made {
                    assert!(self.run("ip", &["link", "set", &name, "up"]), "{name} cannot be set up");
                }
            }
        }
        for name in file.users() {
            let mut there = self.users.lock().expect("no panic");
            if there.insert(name.clone()) {
                let number = 60_000 + there.len();
                for (list, line) in [
                    ("passwd", format!("{name}:x:{number}:{number}::/:/usr/sbin/nologin\n")),
                    ("group", format!("{name}:x:{number}:\n")),
                ] {
                    let path = self.folder.path().join(list);
                    let text = std::fs::read_to_string(&path).expect("readable");
                    if !text.lines().any(|known| known.split(':').next() == Some(name.as_str())) {
                        let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("ours");
                        file.write_all(line.as_bytes()).expect("written");
                    }
                }
            }
        }
    }

    /// Name of a user, as keepalived in the room knows it.
    pub(crate) fn user(&self, number: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("passwd")).expect("readable");
        let entry = text.lines().find(|line| line.split(':').nth(2) == Some(number));
        entry.and_then(|line| line.split(':').next()).unwrap_or(number).to_owned()
    }

    /// What keepalived says of a file and how it understands it.
    pub(crate) fn hear(&self, file: &File) -> Heard {
        self.furnish(file);
        let dump = tempfile::NamedTempFile::new_in(self.folder.path()).expect("a file");
        let path = if file.path.exists() {
            file.path.clone()
        } else {
            let path = dump.path().with_extension("conf");
            std::fs::write(&path, &file.bytes).expect("written");
            path
        };
        // Some files make keepalived itself run for ever.
        let output = self
            .inside("prlimit")
            .arg(format!("--cpu={PROCESSOR_SECONDS}"))
            .arg(&self.keepalived)
            .args(["--config-test", "--dont-fork", "--log-console", "--config-id", file.director])
            .arg("--use-file")
            .arg(&path)
            .env("LD_PRELOAD", self.folder.path().join("dump.so"))
            .env("JUDGE_DUMP", dump.path())
            .env("LC_ALL", "C")
            .output()
            .expect("nsenter");
        let mut words: Vec<String> = Vec::new();
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            if !words.iter().any(|known| known == line) {
                words.push(line.to_owned());
            }
        }
        let text = String::from_utf8_lossy(&std::fs::read(dump.path()).expect("readable")).into_owned();
        if path != file.path {
            std::fs::remove_file(&path).expect("ours");
        }
        let ended = !matches!(output.status.signal(), Some(libc::SIGXCPU | libc::SIGKILL));
        Heard { words, dump: text, ended }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The namespaces go with the last process in them.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The version of a keepalived.
fn version_of(keepalived: &Path) -> Version {
    let output = Command::new(keepalived).arg("--version").output().expect("keepalived runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix('v')?.parse().ok());
    version.unwrap_or_else(|| panic!("{} says no version: {text}", keepalived.display()))
}

/// Builds the library from `dump.c`.
fn build(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judge/dump.c");
    let output = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .arg(folder.join("dump.so"))
        .arg(source)
        .arg("-ldl")
        .output()
        .unwrap_or_else(|error| panic!("gcc: {error}: {NEEDS}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
