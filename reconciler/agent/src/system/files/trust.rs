//! Owners whose files are obeyed, decided by the kernel's properties of each part of a path. Nothing here
//! reads a file.
//!
//! The rule is sshd's (`StrictModes`): root or the daemon's user owns the file, every directory on the way to
//! it and every symbolic link that leads there, and no other user may write to any of them. One thing
//! differs: a directory may lie in one that all may write to and that has the sticky bit, such as `/tmp`.
//! There nobody can rename or remove another user's files, and a directory has no second name, so a directory
//! of ours in it was made by us. Files and links in such a place are refused: another user may have given an
//! old file of ours that name (link(2)).
//!
//! A read-only mount changes nothing: what is read-only for a unit with `ProtectSystem=strict`, others may
//! write to.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Most of a program that is read to find its interpreter, bytes: as much as the kernel reads.
pub(super) const FIRST_LINE: u64 = 256;
/// The group's and everybody's right to write.
const OTHERS_WRITE: u32 = 0o022;
/// The sticky bit.
const STICKY: u32 = 0o1000;
/// Programs that run the first file among their arguments, and the letters of options that give the program
/// itself instead: its text, or a module's name.
const INTERPRETERS: [(&str, &[char]); 9] = [
    ("sh", &['c']),
    ("bash", &['c']),
    ("dash", &['c']),
    ("ash", &['c']),
    ("ksh", &['c']),
    ("zsh", &['c']),
    ("python", &['c', 'm']),
    ("perl", &['e', 'E']),
    ("ruby", &['e']),
];

/// Owners whose files are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Trust {
    /// Root and the daemon's own user.
    #[default]
    Owned,
    /// Anybody: `--allow-insecure-files`.
    Anybody,
}

/// Kind of a part of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A directory on the way.
    Directory,
    /// The directory at the end of the path.
    Last,
    /// A symbolic link on the way.
    Link,
    /// The file at the end of the path.
    File,
}

/// Properties of a part of a path, from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathPart {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) owner: u32,
    /// The bits of chmod(1). Rights by access control lists show in the group's.
    pub(super) mode: u32,
}

/// Reason why another user could have written a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Insecure {
    path: PathBuf,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Owner { owner: u32, ours: u32 },
    Writable { mode: u32 },
    AmongOthers,
}

impl fmt::Display for Insecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.fault {
            Fault::Owner { owner, ours: 0 } => {
                write!(
                    f,
                    "{path} belongs to uid {owner}, and only root's files are obeyed: `chown root {path}`"
                )
            }
            Fault::Owner { owner, ours } => write!(
                f,
                "{path} belongs to uid {owner}, and only files of root and of uid {ours} are obeyed: `chown \
                    {ours} {path}`"
            ),
            Fault::Writable { mode } => {
                write!(f, "others may write to {path} (mode {mode:04o}): `chmod go-w {path}`")
            }
            Fault::AmongOthers => write!(
                f,
                "{path} is in a directory that all may write to: move it into one that only root may write to"
            ),
        }?;
        f.write_str("; or run with --allow-insecure-files")
    }
}

/// Judges the parts of one path, in their order.
#[derive(Debug)]
pub(super) struct Judge {
    trust: Trust,
    /// The daemon's user.
    ours: u32,
    /// Whether all users may make files in the last directory.
    among_others: bool,
}

impl Judge {
    pub(super) const fn new(trust: Trust, ours: u32) -> Self {
        Self { trust, ours, among_others: false }
    }

    /// When the part is refused, with the reason.
    pub(super) fn next(&mut self, part: &PathPart) -> Result<(), Insecure> {
        if self.trust == Trust::Anybody {
            return Ok(());
        }
        let refused = |fault| Err(Insecure { path: part.path.clone(), fault });
        if part.owner != 0 && part.owner != self.ours {
            return refused(Fault::Owner { owner: part.owner, ours: self.ours });
        }
        // A link has no mode: a user who may write to its directory can replace it.
        let writable = part.mode & OTHERS_WRITE != 0 && part.kind != Kind::Link;
        let sticky = part.mode & STICKY != 0 && part.kind == Kind::Directory;
        if writable && !sticky {
            return refused(Fault::Writable { mode: part.mode & 0o7777 });
        }
        if self.among_others && matches!(part.kind, Kind::Link | Kind::File) {
            return refused(Fault::AmongOthers);
        }
        if matches!(part.kind, Kind::Directory | Kind::Last) {
            self.among_others = writable;
        }
        Ok(())
    }
}

/// The program that the first line of a script names.
pub(super) fn interpreter(beginning: &[u8]) -> Option<&str> {
    let line = beginning.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?;
    line.split_ascii_whitespace().next().filter(|path| path.starts_with('/'))
}

/// Words among an interpreter's arguments of which one may be its script: the first that is a file. (Another
/// one may be the value of an option, as in `bash -o errexit /opt/a`.) A relative one is below `/`, where
/// programs run.
pub(super) fn scripts<'a>(program: &str, arguments: &'a [String]) -> Vec<&'a str> {
    let name = Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // `python3.11`
    let name = if name.starts_with("python") { "python" } else { name };
    let Some((_, text)) = INTERPRETERS.iter().find(|(known, _)| *known == name) else { return Vec::new() };
    let is_option = |word: &&String| word.starts_with(['-', '+']);
    // After an option with the program itself no word is a script.
    let is_text = |word: &&String| is_option(word) && !word.starts_with("--") && word.contains(*text);
    let words = arguments.iter().take_while(|word| !is_text(word));
    words.filter(|word| !is_option(word) && !word.is_empty()).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(ours: u32, parts: &[(&str, Kind, u32, u32)]) -> Result<(), String> {
        let mut judge = Judge::new(Trust::Owned, ours);
        for (path, kind, owner, mode) in parts {
            let part = PathPart { path: PathBuf::from(path), kind: *kind, owner: *owner, mode: *mode };
            judge.next(&part).map_err(|why| why.to_string())?;
        }
        Ok(())
    }

    #[test]
    fn only_root_and_the_daemons_user_are_obeyed() {
        use Kind::{Directory, File, Last, Link};
        let root = ("/", Directory, 0, 0o755);
        let etc = ("/etc", Directory, 0, 0o755);
        let tmp = ("/tmp", Directory, 0, 0o1777);
        let home = ("/home/ek", Directory, 1000, 0o700);
        let plan = ("/etc/p", File, 0, 0o644);
        for (ours, parts, want) in [
            (0, vec![root, etc, plan], ""),
            (0, vec![root, etc, ("/etc/p", File, 0, 0o600)], ""),
            (0, vec![root, home, ("/home/ek/p", File, 0, 0o600)], "/home/ek belongs to uid 1000"),
            (1000, vec![root, home, ("/home/ek/p", File, 1000, 0o600)], ""),
            (1000, vec![root, etc, plan], ""),
            (1000, vec![root, etc, ("/etc/p", File, 1001, 0o600)], "of root and of uid 1000"),
            (0, vec![root, etc, ("/etc/p", File, 1001, 0o600)], "`chown root /etc/p`"),
            (0, vec![root, etc, ("/etc/p", File, 0, 0o664)], "`chmod go-w /etc/p`"),
            (0, vec![root, etc, ("/etc/p", File, 0, 0o602)], "mode 0602"),
            (0, vec![root, ("/etc", Directory, 0, 0o775), plan], "`chmod go-w /etc`"),
            (0, vec![("/", Directory, 0, 0o777), etc, plan], "`chmod go-w /`"),
            // Links have all mode bits, without a meaning; their owner counts.
            (0, vec![root, etc, ("/etc/l", Link, 0, 0o777), plan], ""),
            (0, vec![root, etc, ("/etc/l", Link, 7, 0o777), plan], "uid 7"),
            // A directory in a sticky directory, but nothing else.
            (0, vec![root, tmp, ("/tmp/d", Directory, 0, 0o700), ("/tmp/d/p", File, 0, 0o600)], ""),
            (0, vec![root, tmp, ("/tmp/d", Directory, 9, 0o700)], "uid 9"),
            (0, vec![root, tmp, ("/tmp/p", File, 0, 0o600)], "that all may write to"),
            (0, vec![root, tmp, ("/tmp/l", Link, 0, 0o777)], "that all may write to"),
            (0, vec![root, ("/tmp", Directory, 9, 0o1777)], "uid 9"),
            // The sticky bit means nothing for a file, nor for a directory in which everything counts.
            (0, vec![root, etc, ("/etc/p", File, 0, 0o1666)], "`chmod go-w /etc/p`"),
            (0, vec![root, ("/tmp", Last, 0, 0o1777)], "`chmod go-w /tmp`"),
            (0, vec![root, tmp, ("/tmp/d", Last, 0, 0o755)], ""),
        ] {
            match judged(ours, &parts) {
                Ok(()) => assert_eq!(want, "", "{parts:?}"),
                Err(why) => {
                    assert!(!want.is_empty() && why.contains(want), "{parts:?}: {why}");
                    assert!(why.contains("--allow-insecure-files"), "{why}");
                }
            }
        }
        let mut anybody = Judge::new(Trust::Anybody, 0);
        let part = PathPart { path: PathBuf::from("/"), kind: File, owner: 9, mode: 0o666 };
        assert_eq!(anybody.next(&part), Ok(()));
    }

    #[test]
    fn interpreters_and_their_scripts_are_found() {
        for (text, want) in [
            (&b"#!/bin/sh\necho"[..], Some("/bin/sh")),
            (b"#!  /usr/bin/env python3\n", Some("/usr/bin/env")),
            (b"#!/bin/sh -eu", Some("/bin/sh")),
            (b"#!sh\n", None),
            (b"#!\n/bin/sh", None),
            (b"\x7fELF", None),
            (b"", None),
        ] {
            assert_eq!(interpreter(text), want, "{}", String::from_utf8_lossy(text));
        }
        for (words, want) in [
            (&["/bin/sh", "/opt/a"][..], &["/opt/a"][..]),
            (&["/bin/bash", "-eu", "/opt/a", "/opt/b"], &["/opt/a", "/opt/b"]),
            (&["/bin/bash", "-o", "errexit", "/opt/a"], &["errexit", "/opt/a"]),
            (&["/bin/bash", "--rcfile", "/opt/r", "-x", "opt/a"], &["/opt/r", "opt/a"]),
            (&["/bin/sh", "-c", "/opt/a"], &[]),
            (&["/bin/sh", "-ec", "/opt/a"], &[]),
            (&["/usr/bin/python3.11", "-u", "/opt/a.py"], &["/opt/a.py"]),
            (&["/usr/bin/python3", "-W", "ignore", "/opt/a.py"], &["ignore", "/opt/a.py"]),
            (&["/usr/bin/python3", "-c", "/opt/a.py"], &[]),
            (&["/usr/bin/python3", "-m", "http.server"], &[]),
            (&["/usr/bin/perl", "-ne", "print", "/etc/motd"], &[]),
            (&["/usr/bin/perl", "-w", "/opt/a.pl"], &["/opt/a.pl"]),
            (&["/bin/sh", "a"], &["a"]),
            (&["/usr/bin/test", "-e", "/tmp/flag"], &[]),
            (&["/bin/sh"], &[]),
        ] {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (program, arguments) = words.split_first().expect("a program");
            assert_eq!(scripts(program, arguments), want, "{words:?}");
        }
    }
}
