//! Places: the files that were read, and lines in them. Reading is left to the caller.

use std::collections::BTreeMap;

/// The importer's view of the world: files, and files whose names match a pattern.
pub trait ImportFiles {
    /// The bytes of a file.
    ///
    /// # Errors
    /// Why it cannot be read, in words for people.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The files whose names match a shell pattern, in order; none is no error.
    ///
    /// # Errors
    /// Why the pattern cannot be followed, in words for people.
    fn matching(&self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Files in memory: what a test or a service reads from. A `*` in a pattern stands for anything but `/`.
#[derive(Debug, Default, Clone)]
pub struct FilesInMemory(pub BTreeMap<String, Vec<u8>>);

impl ImportFiles for FilesInMemory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "the file does not exist".to_owned())
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        Ok(self.0.keys().filter(|path| matches(pattern, path)).cloned().collect())
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == path;
    };
    let Some(rest) = path.strip_prefix(before) else {
        return false;
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.take_while(|at| !rest[..*at].contains('/')).any(|at| matches(after, &rest[at..]))
}

/// A line of a file that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Which file, in the order of reading.
    pub file: usize,
    /// Which line, from 1.
    pub line: usize,
}

/// A line with nothing left to expand, and without its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExpandedLine {
    pub(super) spot: Spot,
    pub(super) text: String,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its path as it was opened.
    pub path: String,
    /// Which of the directors it belongs to.
    pub director: usize,
    /// Its text.
    pub text: String,
}

impl Source {
    /// The bytes of each line, without its newline.
    #[must_use]
    pub fn lines(&self) -> Vec<std::ops::Range<usize>> {
        let mut start = 0;
        let line = |text: &str| {
            let line = start..start + text.trim_end_matches('\r').len();
            start += text.len() + 1;
            line
        };
        self.text.split('\n').map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_number() {
        let source = Source { path: String::new(), director: 0, text: "ab\r\n\ncd".to_owned() };
        assert_eq!(source.lines(), [0..2, 4..4, 5..7]);
    }

    #[test]
    fn patterns_stay_in_a_directory() {
        for (pattern, path, matched) in [
            ("/a/*.conf", "/a/b.conf", true),
            ("/a/*.conf", "/a/b/c.conf", false),
            ("/a/*/*.conf", "/a/b/c.conf", true),
            ("/a/b.conf", "/a/b.conf", true),
            ("/a/*", "/a/", true),
            ("/a*b*", "/axbyb", true),
        ] {
            assert_eq!(matches(pattern, path), matched, "{pattern} {path}");
        }
    }
}
