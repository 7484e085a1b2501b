//! A configuration as the judge looks at it: which words stand on which line in which block. It knows no
//! keyword's meaning and shares nothing with the importer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A configuration file of keepalived.
pub(crate) struct File {
    pub(crate) name: String,
    /// Where it is on the disk; empty for one in memory.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: Vec<Line>,
    /// The lines that close a block, and the first line of the statement that it belongs to.
    pub(crate) closed: BTreeMap<usize, usize>,
    /// The file in smaller ones, for when keepalived does not read it to its end.
    pub(crate) parts: Vec<File>,
}

/// A line that holds a word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) words: Vec<String>,
    /// The words before each block around it, the outermost first.
    pub(crate) blocks: Vec<Vec<String>>,
    /// Which block it is in: the line that opened it; 0 at the top.
    pub(crate) within: usize,
}

impl Line {
    pub(crate) fn keyword(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Whether a block with this keyword is around it.
    pub(crate) fn is_in(&self, keyword: &str) -> bool {
        self.blocks.iter().any(|block| block.first().is_some_and(|word| word == keyword))
    }

    /// The words before the outermost block around it, or its own at the top.
    pub(crate) fn object(&self) -> &[String] {
        self.blocks.first().unwrap_or(&self.words)
    }
}

impl File {
    pub(crate) fn new(name: impl Into<String>, path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        let (lines, closed) = lines(&String::from_utf8_lossy(&bytes));
        Self { name: name.into(), path: path.into(), bytes, lines, closed, parts: Vec::new() }
    }

    /// The words of a line.
    pub(crate) fn text(&self, number: usize) -> String {
        let lines = self.lines.iter().filter(|line| line.number == number);
        lines.map(|line| line.words.join(" ")).collect::<Vec<_>>().join(" ")
    }

    /// How many statements: lines with words.
    pub(crate) fn statements(&self) -> usize {
        self.lines.len()
    }

    /// Names of interfaces in it.
    pub(crate) fn interfaces(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for line in &self.lines {
            if line.is_in("track_interface") || line.keyword() == "lvs_sync_daemon" {
                names.extend(line.words.get(usize::from(!line.is_in("track_interface"))).cloned());
            }
            for pair in line.words.windows(2) {
                let [word, name] = pair else { continue };
                let names_one = [
                    "interface",
                    "dev",
                    "oif",
                    "iif",
                    "bind_if",
                    "lvs_sync_daemon_interface",
                    "default_interface",
                ];
                if names_one.contains(&word.as_str()) {
                    names.insert(name.clone());
                }
            }
        }
        let possible = |name: &String| {
            (1..=15).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':')
                && !name.starts_with(['-', '.'])
        };
        names.retain(possible);
        names
    }

    /// Names of users in it.
    pub(crate) fn users(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for line in &self.lines {
            match line.keyword() {
                "script_user" | "user" => names.extend(line.words.get(1).cloned()),
                word if word.starts_with("notify") || word.starts_with("quorum_") => {
                    names.extend(line.words.get(2).cloned());
                }
                _ => {}
            }
        }
        names.retain(|name| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && name.starts_with(|first: char| first.is_ascii_lowercase())
        });
        names
    }
}

fn lines(text: &str) -> (Vec<Line>, BTreeMap<usize, usize>) {
    let mut closed = BTreeMap::new();
    let mut out: Vec<Line> = Vec::new();
    let mut blocks: Vec<(Vec<String>, usize)> = Vec::new();
    let mut last: (Vec<String>, usize) = (Vec::new(), 0);
    for (index, text) in text.lines().enumerate() {
        let number = index + 1;
        let mut words: Vec<String> = Vec::new();
        let mut flush = |words: &mut Vec<String>, blocks: &[(Vec<String>, usize)]| {
            if words.is_empty() {
                return None;
            }
            let words = std::mem::take(words);
            let line = Line {
                number,
                words: words.clone(),
                blocks: blocks.iter().map(|(words, _)| words.clone()).collect(),
                within: blocks.last().map_or(0, |(_, number)| *number),
            };
            out.push(line);
            Some((words, number))
        };
        for word in split(text) {
            match word.as_str() {
                "{" => {
                    if let Some(opened) = flush(&mut words, &blocks) {
                        last = opened;
                    }
                    blocks.push(std::mem::take(&mut last));
                }
                "}" => {
                    flush(&mut words, &blocks);
                    if let Some((_, opened)) = blocks.pop() {
                        closed.insert(number, opened);
                    }
                }
                _ => words.push(word),
            }
        }
        if let Some(done) = flush(&mut words, &blocks) {
            last = done;
        }
    }
    (out, closed)
}

/// Words, braces and quoted texts of a line, up to a comment; a condition before them is left out.
fn split(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut quoted = false;
    for char in line.chars() {
        match quote {
            Some(open) if char == open => quote = None,
            Some(_) => word.push(char),
            None if char == '"' || char == '\'' => {
                quote = Some(char);
                quoted = true;
            }
            None if char == '#' || char == '!' => break,
            None if char.is_ascii_whitespace() || char == '{' || char == '}' => {
                if !word.is_empty() || quoted {
                    out.push(std::mem::take(&mut word));
                    quoted = false;
                }
                if char == '{' || char == '}' {
                    out.push(char.to_string());
                }
            }
            None => word.push(char),
        }
    }
    if !word.is_empty() || quoted {
        out.push(word);
    }
    if out.first().is_some_and(|first| first.starts_with('@')) {
        out.remove(0);
    }
    out
}

/// `text` with a program of this machine in place of those that are not on it: keepalived leaves out what it
/// cannot run, and that would hide everything else.
pub(crate) fn with_programs(text: &str) -> String {
    let runs = |line: &str| {
        let first = line.split_whitespace().next().unwrap_or_default();
        ["script", "misc_path", "startup_script", "shutdown_script"].contains(&first)
            || first.starts_with("notify")
            || first.starts_with("quorum_")
            || first.ends_with("_fifo_script")
    };
    let line = |line: &str| {
        if !runs(line) {
            return line.to_owned();
        }
        let mut words = line.split_inclusive([' ', '\t', '"', '\'']).map(|piece| {
            let path = piece.trim_end_matches([' ', '\t', '"', '\'']);
            let there = !path.starts_with('/') || path.len() < 2 || std::path::Path::new(path).exists();
            if there { piece.to_owned() } else { piece.replacen(path, "/usr/bin/true", 1) }
        });
        // Only the program itself.
        let mut out = String::new();
        for piece in words.by_ref() {
            let done = piece.starts_with('/');
            out.push_str(&piece);
            if done {
                break;
            }
        }
        let rest = &line[line.len().min(original_length(line))..];
        out.push_str(rest);
        out
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

/// Length of a line up to the end of its first absolute path.
fn original_length(line: &str) -> usize {
    let mut length = 0;
    for piece in line.split_inclusive([' ', '\t', '"', '\'']) {
        length += piece.len();
        if piece.starts_with('/') {
            break;
        }
    }
    length
}
