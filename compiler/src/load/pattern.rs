//! Patterns of `include`: where they lead, and which files they match.

use std::io::ErrorKind;

use super::{ENDING, Files, unreadable};
use crate::codes;
use crate::limits::MAX_FILES;
use crate::source::Fault;

/// Most directories that one pattern may look into.
const MAX_LISTED: usize = 1000;

/// Files that a pattern matches.
pub(super) struct Matched {
    /// In the order of their names.
    pub(super) paths: Vec<String>,
    /// Whether it has wildcards: then what is not there is no mistake.
    pub(super) wild: bool,
}

/// The paths that `pattern` in the file `by` may mean, from the top of the tree.
pub(super) fn expand(files: &dyn Files, by: &str, pattern: &str) -> Result<Matched, Fault> {
    let directory = by.rsplit_once('/').map_or("", |(directory, _)| directory);
    let parts = normal(directory, pattern)?;
    let mut walk = Walk { files, listed: 0, paths: Vec::new() };
    walk.down(String::new(), &parts)?;
    Ok(Matched { paths: walk.paths, wild: parts.iter().any(|part| is_wild(part)) })
}

/// The parts of a path without `.` and `..`.
fn normal<'a>(directory: &'a str, pattern: &'a str) -> Result<Vec<&'a str>, Fault> {
    let bad = |cause: &str, hint: &str| Err(Fault::new(&codes::BAD_INCLUDE, cause, hint));
    if pattern.is_empty() || pattern.ends_with('/') {
        return bad("this names no file", "write a path such as \"services/*.toml\"");
    }
    if pattern.starts_with('/') {
        return bad(
            "an include cannot be an absolute path",
            "write a path relative to the file that it stands in, below the directory of the cluster file",
        );
    }
    if pattern.contains(['\\', '\0', '\n']) {
        return bad("this is no path", "separate the parts of a path with `/`");
    }
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return bad(
                        "this leads out of the directory of the cluster file",
                        "a cluster is one directory: move the file into it",
                    );
                }
            }
            part if part.contains("**") => {
                return bad("`**` is no wildcard here", "write `*` for each directory: \"sites/*/*.toml\"");
            }
            part => parts.push(part),
        }
    }
    let Some(last) = parts.last() else {
        return bad("this names no file", "write a path such as \"services/*.toml\"");
    };
    if !last.ends_with(ENDING) {
        return bad(
            "the name of a cluster file ends in `.toml`",
            "write a path such as \"services/*.toml\"; other files are not read",
        );
    }
    Ok(parts)
}

fn is_wild(part: &str) -> bool {
    part.contains(['*', '?'])
}

struct Walk<'a> {
    files: &'a dyn Files,
    listed: usize,
    paths: Vec<String>,
}

impl Walk<'_> {
    fn down(&mut self, at: String, parts: &[&str]) -> Result<(), Fault> {
        let Some((part, rest)) = parts.split_first() else {
            if self.paths.len() > MAX_FILES {
                let cause = format!("the pattern matches more than {MAX_FILES} files");
                return Err(Fault::new(&codes::INCLUDE_LIMIT, cause, "narrow it"));
            }
            self.paths.push(at);
            return Ok(());
        };
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        if !is_wild(part) {
            return self.down(below(part), rest);
        }
        self.listed += 1;
        if self.listed > MAX_LISTED {
            let cause = format!("the pattern looks into more than {MAX_LISTED} directories");
            return Err(Fault::new(&codes::INCLUDE_LIMIT, cause, "narrow it"));
        }
        let mut names = match self.files.list(&at) {
            Ok(names) => names,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Vec::new()
            }
            Err(error) => return Err(unreadable(&error)),
        };
        names.sort();
        for name in names.iter().filter(|name| matches(part, name)) {
            self.down(below(name), rest)?;
        }
        Ok(())
    }
}

/// Whether `name` is what `pattern` stands for. Hidden files are only matched by a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*`, and how far the name was when it was met: the one place to go back to.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match star {
                Some((back, taken)) => {
                    star = Some((back, taken + 1));
                    p = back + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.toml", "web.toml", true),
            ("*.toml", ".hidden.toml", false),
            (".*.toml", ".hidden.toml", true),
            ("*.toml", "web.toml~", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("?.toml", "é.toml", true),
            ("?.toml", ".toml", false),
            ("**", "x", true),
            ("a", "a", true),
            ("a", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let stars = "*a".repeat(200);
        assert!(!matches(&stars, &"a".repeat(199)), "and in bounded time");
    }

    #[test]
    fn paths_stay_in_the_tree() {
        let parts = |by: &str, pattern: &str| normal(by, pattern).map(|parts| parts.join("/")).ok();
        assert_eq!(parts("", "hosts.toml").as_deref(), Some("hosts.toml"));
        assert_eq!(parts("sites/a", "./x//*.toml").as_deref(), Some("sites/a/x/*.toml"));
        assert_eq!(parts("sites/a", "../../hosts.toml").as_deref(), Some("hosts.toml"));
        for outside in ["../../../hosts.toml", "/etc/passwd", "", "a/", "..", "a/**/b", "a\\b"] {
            assert_eq!(parts("sites/a", outside).filter(|path| path != "sites"), None, "{outside}");
        }
    }
}
