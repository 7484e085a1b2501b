//! Answers of git, read. Pure.

use crate::source::memory::Commit;

/// Longest reason, characters.
const MAX_REASON: usize = 300;
/// Most of all files of a copy, KiB. It is made anew beyond that.
const MAX_SIZE_KIB: u64 = 512 * 1024;
/// Most of what fetches that were ended have left behind, KiB.
const MAX_GARBAGE_KIB: u64 = 16 * 1024;
/// Most packs: each change brings two, and git looks into all of them.
const MAX_PACKS: u64 = 200;

/// A file in a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TreeEntry {
    /// Mode as git writes it, such as `100644`.
    pub(super) mode: String,
    /// Name of the object.
    pub(super) object: Commit,
}

/// The one commit of an answer.
pub(super) fn commit(answer: &[u8]) -> Option<Commit> {
    Commit::parse(std::str::from_utf8(answer).ok()?.trim_end_matches('\n'))
}

/// Number of an answer.
pub(super) fn number(answer: &[u8]) -> Option<u64> {
    std::str::from_utf8(answer).ok()?.trim_end_matches('\n').parse().ok()
}

/// The commit of a reference in the answer of git-ls-remote(1), which may have more: names are compared from
/// their end there.
pub(super) fn tip(answer: &[u8], reference: &str) -> Option<Commit> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.find(|(_, name)| *name == reference).and_then(|(commit, _)| Commit::parse(commit))
}

/// The entry of exactly this path in the answer of `git ls-tree -z`.
pub(super) fn entry(answer: &[u8], path: &str) -> Option<TreeEntry> {
    let entries = answer.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
    let mut found = entries.filter_map(|line| line.split_once('\t')).filter(|(_, name)| *name == path);
    let (head, _) = found.next()?;
    let mut words = head.split(' ');
    let (mode, _kind, object) = (words.next()?, words.next()?, words.next()?);
    Some(TreeEntry { mode: mode.to_owned(), object: Commit::parse(object)? })
}

/// Room that the copy of a repository takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CopySize {
    /// No more than it may.
    Fine,
    /// It has many packs: it is made anew when nothing else is to do.
    Worn,
    /// More than it may.
    TooLarge,
}

/// Room by the answer of `git count-objects -v`.
pub(super) fn room(answer: &[u8]) -> CopySize {
    let size = figure(answer, "size").saturating_add(figure(answer, "size-pack"));
    if size > MAX_SIZE_KIB || figure(answer, "size-garbage") > MAX_GARBAGE_KIB {
        CopySize::TooLarge
    } else if figure(answer, "packs") > MAX_PACKS {
        CopySize::Worn
    } else {
        CopySize::Fine
    }
}

/// A figure of `git count-objects -v`; 0 when it is missing.
fn figure(answer: &[u8], name: &str) -> u64 {
    let text = String::from_utf8_lossy(answer);
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap_or_default()
}

/// The reason in what git and its helpers complain: the first line that says so, with the line before, which
/// often is the cause (of ssh, of the server).
pub(super) fn reason(complaints: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaints);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>())
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with("warning: "))
        .collect();
    let says = |line: &&String| line.starts_with("fatal: ") || line.starts_with("error: ");
    let at = lines.iter().position(|line| says(&line));
    let words = match at {
        Some(at) => lines.get(at.saturating_sub(1)..=at).unwrap_or_default().join("; "),
        None => lines.last().cloned().unwrap_or_default(),
    };
    words.chars().take(MAX_REASON).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn only_the_reference_that_was_asked_for_is_the_tip() {
        let (a, b) = (id('a'), id('b'));
        let text = format!("{b}\trefs/heads/x/refs/heads/main\n{a}\trefs/heads/main\n");
        assert_eq!(tip(text.as_bytes(), "refs/heads/main"), Commit::parse(&a));
        assert_eq!(tip(text.as_bytes(), "refs/heads/x"), None);
        assert_eq!(tip(b"nonsense\trefs/heads/main\n", "refs/heads/main"), None);
        assert_eq!(tip(b"\xff\xfe", "refs/heads/main"), None);
    }

    #[test]
    fn an_entry_is_that_of_the_whole_path() {
        let a = id('a');
        let text = format!("160000 commit {a}\tplans\0100644 blob {a}\tplans/h.plan.toml\0");
        let found = entry(text.as_bytes(), "plans/h.plan.toml").expect("there");
        assert_eq!((found.mode.as_str(), found.object.as_str()), ("100644", a.as_str()));
        assert_eq!(entry(text.as_bytes(), "h.plan.toml"), None);
        assert_eq!(entry(b"100644 blob x\tp\0", "p"), None);
    }

    #[test]
    fn figures_and_numbers_are_read() {
        let text = b"count: 1\nsize-pack: 12\nsize-garbage: 3\n";
        assert_eq!([figure(text, "size-pack"), figure(text, "size-garbage"), figure(text, "no")], [12, 3, 0]);
        assert_eq!((number(b"12\n"), number(b"x"), number(b"")), (Some(12), None, None));
    }

    #[test]
    fn room_is_judged_by_files_of_all_kinds() {
        for (text, want) in [
            ("size: 1\nsize-pack: 2\npacks: 200\nsize-garbage: 0\n", CopySize::Fine),
            ("size: 1\nsize-pack: 2\npacks: 201\nsize-garbage: 0\n", CopySize::Worn),
            ("size: 1\nsize-pack: 524288\npacks: 1\nsize-garbage: 0\n", CopySize::TooLarge),
            ("size: 1\nsize-pack: 2\npacks: 201\nsize-garbage: 16385\n", CopySize::TooLarge),
        ] {
            assert_eq!(room(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn the_cause_is_in_the_reason() {
        let ssh =
            b"git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n\
                    Please make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(
            reason(ssh),
            "git@h: Permission denied (publickey).; fatal: Could not read from remote repository."
        );
        assert_eq!(reason(b"warning: filtering not recognized\nfatal: no\n"), "fatal: no");
        assert_eq!(reason(b"one\ntwo\x1b[31m\n"), "two [31m");
        assert_eq!(reason(&b"x".repeat(5000)).len(), MAX_REASON);
        assert_eq!(reason(b""), "");
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(answer: Vec<u8>) {
            tip(&answer, "refs/heads/main");
            entry(&answer, "p");
            reason(&answer);
            figure(&answer, "size");
        }
    }
}
