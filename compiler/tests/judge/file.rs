//! A configuration as the judge looks at it: which words stand on which line in which block. It knows no
//! keyword's meaning and shares nothing with the importer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A configuration file of keepalived.
pub(crate) struct File {
    pub(crate) name: String,
    /// Where it is on the disk; empty for one in memory.
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: Vec<Line>,
    /// The lines that close a block, and the first line of the statement that it belongs to.
    pub(crate) closed: BTreeMap<usize, usize>,
    /// The files that it includes, each once, in the order of reading.
    pub(crate) included: Vec<PathBuf>,
    /// Which director it is of.
    pub(crate) director: &'static str,
    /// The configuration of the cluster's other director.
    pub(crate) other: Option<PathBuf>,
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
        let path: PathBuf = path.into();
        let mut parser = Parser::default();
        parser.file(&String::from_utf8_lossy(&bytes), 0, &path);
        let Parser { out: lines, closed, included, .. } = parser;
        let director = super::ours::DIRECTOR;
        Self {
            name: name.into(),
            path,
            bytes,
            lines,
            closed,
            included,
            director,
            other: None,
            parts: Vec::new(),
        }
    }

    /// What is added to the numbers of the lines of a file: of the file itself nothing. `None`: no such file
    /// is included.
    /// keepalived and the importer say a file's path in ways of their own.
    pub(crate) fn base(&self, path: &str) -> Option<usize> {
        let at = self.included.iter().position(|known| !path.is_empty() && known.ends_with(path));
        match at {
            Some(at) => Some((at + 1) * INCLUDED),
            None => self.other.as_ref().is_none_or(|other| Path::new(path) != other).then_some(0),
        }
    }

    /// The director's configuration in a folder of a cluster, `dir1.conf` or `dir2.conf`, and the other one
    /// beside it.
    pub(crate) fn of_cluster(folder: &Path, director: &'static str) -> Option<Self> {
        let path = folder.join(director).with_extension("conf");
        let bytes = std::fs::read(&path).ok()?;
        let cluster = folder.file_name()?.to_str()?;
        let mut file = Self::new(format!("{cluster}/{director}"), path, bytes);
        let other = folder.join(if director == "dir1" { "dir2.conf" } else { "dir1.conf" });
        file.director = director;
        file.other = other.exists().then_some(other);
        Some(file)
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

/// Number of the first line of the file that is included `n`th, less one: no file of the judge has more
/// lines.
const INCLUDED: usize = 100_000;

/// Reads a file, and what it includes in its place.
#[derive(Default)]
struct Parser {
    out: Vec<Line>,
    closed: BTreeMap<usize, usize>,
    blocks: Vec<(Vec<String>, usize)>,
    /// The statement before.
    last: (Vec<String>, usize),
    included: Vec<PathBuf>,
}

impl Parser {
    fn file(&mut self, text: &str, base: usize, path: &Path) {
        for (index, text) in text.lines().enumerate() {
            let number = base + index + 1;
            let mut words: Vec<String> = Vec::new();
            for word in split(text) {
                match word.as_str() {
                    "{" => {
                        self.flush(&mut words, number);
                        self.blocks.push(std::mem::take(&mut self.last));
                    }
                    "}" => {
                        self.flush(&mut words, number);
                        if let Some((_, opened)) = self.blocks.pop() {
                            self.closed.insert(number, opened);
                        }
                    }
                    _ => words.push(word),
                }
            }
            self.flush(&mut words, number);
            let last = self.out.last().filter(|line| line.number == number && line.keyword() == "include");
            // keepalived takes quotation marks for a part of the path.
            let pattern = last.filter(|_| !text.contains('"')).and_then(|line| line.words.get(1).cloned());
            if let (Some(pattern), Some(folder)) = (pattern, path.parent()) {
                self.include(&folder.join(pattern));
            }
        }
    }

    fn include(&mut self, pattern: &Path) {
        for path in glob::glob(pattern.to_str().expect("UTF-8")).expect("a pattern") {
            let path = path.expect("readable");
            let at = self.included.iter().position(|known| *known == path).unwrap_or_else(|| {
                self.included.push(path.clone());
                self.included.len() - 1
            });
            let base = (at + 1) * INCLUDED;
            let text = std::fs::read_to_string(&path).expect("readable");
            self.file(&text, base, &path);
        }
    }

    fn flush(&mut self, words: &mut Vec<String>, number: usize) {
        if words.is_empty() {
            return;
        }
        let words = std::mem::take(words);
        self.out.push(Line {
            number,
            words: words.clone(),
            blocks: self.blocks.iter().map(|(words, _)| words.clone()).collect(),
            within: self.blocks.last().map_or(0, |(_, number)| *number),
        });
        self.last = (words, number);
    }
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
