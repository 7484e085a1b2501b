//! From files to lines: includes, conditional lines, definitions, sequences. Statements are not known here.
//!
//! The order is keepalived's: `include` is seen before anything is substituted; then a line's condition, its
//! definition or its sequence, then its first parameter, and what comes of that from the beginning again.

use std::collections::BTreeMap;

use super::foreign;
use super::notes::{Fate, Finding, Notes, Use};
use super::sequence::{self, Sequence};
use super::source::{ExpandedLine, ImportFiles, Source, Spot};
use super::versions::{self, Version};
use super::words::{comment_continues, is_blank, trimmed, without_comment};
use crate::codes;

/// Largest depth of files that include files, and of definitions and sequences within each other.
const MAX_DEPTH: usize = 32;
/// Lines that the files of one director may have: each is in the report. A virtual server has about ten.
const MAX_INPUT_LINES: usize = 500_000;
/// Lines that one director's configuration may have when everything in it is expanded.
const MAX_LINES: usize = 1_000_000;
/// Bytes of one line when everything in it is expanded.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Bytes of one line as keepalived reads it: a longer one is several lines to it, and a parameter that would
/// make one longer is left as it is.
const LINE_BYTES: usize = 1023;
/// Where a director has its configuration. What it includes from there is read from the copy that is
/// imported: the machine of the import may have a keepalived of its own.
const HOME: &str = "/etc/keepalived/";
/// Bytes that a step of expanding counts as, however short the line.
const STEP: usize = 256;
/// Bytes that are looked at altogether: what bounds time and memory.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// Whose configuration is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose<'a> {
    /// Number of the director.
    pub(super) director: usize,
    /// Names that its conditional lines are compared with.
    pub(super) id: &'a str,
    /// The keepalived that it runs.
    pub(super) version: Version,
}

/// Reads the file at `path` and all that it includes. `None` when that file itself cannot be read.
pub(super) fn expand(
    files: &dyn ImportFiles,
    path: &str,
    whose: Whose<'_>,
    sources: &mut Vec<Source>,
    notes: &mut Notes,
) -> Result<Vec<ExpandedLine>, String> {
    let text = files.read(path)?;
    let mut reader = Expander {
        files,
        whose,
        sources,
        notes,
        definitions: BTreeMap::new(),
        collecting: None,
        home: path.rsplit_once('/').map_or("", |(home, _)| home).to_owned(),
        open: Vec::new(),
        lines: Vec::new(),
        bytes: 0,
        input_lines: 0,
        over: false,
    };
    reader.file(path, text);
    Ok(reader.lines)
}

/// A definition whose lines are being read.
struct Collecting {
    /// `None` when a condition has left it out.
    name: Option<String>,
    lines: Vec<String>,
    spot: Spot,
}

struct Expander<'a> {
    files: &'a dyn ImportFiles,
    whose: Whose<'a>,
    sources: &'a mut Vec<Source>,
    notes: &'a mut Notes,
    definitions: BTreeMap<String, Vec<String>>,
    collecting: Option<Collecting>,
    /// Directory of the main file.
    home: String,
    /// Paths of the files being read, each included by the one before it.
    open: Vec<String>,
    lines: Vec<ExpandedLine>,
    bytes: usize,
    /// Lines of the files that were read.
    input_lines: usize,
    over: bool,
}

impl Expander<'_> {
    fn file(&mut self, path: &str, bytes: Vec<u8>) {
        // Comments in old encodings are common; what is not UTF-8 elsewhere shows up as a wrong value.
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        let file = self.sources.len();
        // Text behind the limit is not read, so the report has no lines of it.
        let left = MAX_INPUT_LINES.saturating_sub(self.input_lines);
        if let Some((end, _)) = text.match_indices('\n').nth(left) {
            text.truncate(end);
            self.notes.finding(
                Finding::new(
                    &codes::IMPORT_EXPANSION,
                    Spot { file, line: left + 1 },
                    format!("the configuration has more than {MAX_INPUT_LINES} lines"),
                    "nothing is read from here on",
                )
                .hint("is this the director's configuration?"),
            );
        }
        self.input_lines += text.bytes().filter(|byte| *byte == b'\n').count();
        self.sources.push(Source {
            path: path.to_owned(),
            director: self.whose.director,
            text: text.clone(),
        });
        if let Some(finding) = foreign::binary(&text, file) {
            return self.notes.refuse(file, finding);
        }
        self.open.push(path.to_owned());
        for (index, line) in text.split('\n').enumerate() {
            if self.over {
                break;
            }
            self.line(line, Spot { file, line: index + 1 });
        }
        if let Some(open) = self.collecting.take() {
            self.notes.finding(
                Finding::new(
                    &codes::IMPORT_DEFINITION,
                    open.spot,
                    "a definition goes on to the end of the file",
                    "begins here",
                )
                .hint("its last line must not end with a backslash"),
            );
        }
        self.open.pop();
    }

    /// A line of a file, in the pieces that keepalived reads.
    fn line(&mut self, line: &str, spot: Spot) {
        if line.len() <= LINE_BYTES {
            return self.physical(line, spot);
        }
        let message = format!("a line of {} bytes", line.len());
        let label = format!("keepalived reads it as lines of {LINE_BYTES} bytes");
        let finding = Finding::new(&codes::IMPORT_DEFINITION, spot, message, label);
        self.notes.finding(finding.hint("make several lines of it"));
        let mut rest = line;
        while !rest.is_empty() && !self.over {
            // A letter is never cut: to keepalived it would be no letter either.
            let end = rest.floor_char_boundary(LINE_BYTES).max(1);
            let (piece, after) = rest.split_at(end);
            self.physical(piece, spot);
            rest = after;
        }
    }

    fn physical(&mut self, line: &str, spot: Spot) {
        let text = without_comment(line);
        let text = text.as_ref();
        if comment_continues(line)
            && self.collecting.is_none()
            && self.whose.version < versions::COMMENT_END.since
        {
            if !text.is_empty() {
                self.notes.in_version(spot, versions::COMMENT_END.since, versions::COMMENT_END.text);
                let why =
                    "keepalived puts it behind what stands before the comment, and here it does not count";
                self.notes.say(Fate::Changed, vec![spot], "the backslash at the end of a comment", why);
            }
            let finding = Finding::new(
                &codes::IMPORT_ESCAPE,
                spot,
                "a comment ends with a backslash",
                "versions before 2.4.0 put the backslash behind what stands before the comment",
            );
            self.notes.finding(finding.at("\\").hint("take the backslash out of the comment"));
        }
        if let Some(mut collecting) = self.collecting.take() {
            self.notes.used(spot, Use::InDefinition);
            let (body, more) = text.strip_suffix('\\').map_or((text, false), |body| (trimmed(body), true));
            if !body.is_empty() {
                collecting.lines.push(body.to_owned());
            }
            // A comment alone does not end a definition.
            if more || (text.is_empty() && !trimmed(line).is_empty()) {
                self.collecting = Some(collecting);
            } else if let Some(name) = collecting.name {
                self.definitions.insert(name, collecting.lines);
            }
            return;
        }
        if text.is_empty() {
            return;
        }
        match included(text) {
            Some((word, pattern)) => {
                self.notes.used(spot, Use::Include);
                self.include(word, pattern, spot);
            }
            None => self.logical(text.to_owned(), spot, 0),
        }
    }

    fn include(&mut self, word: &str, pattern: &str, spot: Spot) {
        let finding = |message: String, hint: &str| {
            Finding::new(&codes::IMPORT_INCLUDE, spot, message, "included here").at(pattern).hint(hint)
        };
        if pattern.is_empty() {
            return self.notes.finding(finding(format!("`{word}` names no file"), "name a file"));
        }
        if self.open.len() >= MAX_DEPTH {
            let message = format!("files include each other more than {MAX_DEPTH} deep");
            return self.notes.finding(finding(message, "look for a file that includes itself"));
        }
        let directory = self.open.last().and_then(|path| path.rsplit_once('/')).map_or("", |(path, _)| path);
        let mut found = Vec::new();
        for pattern in braces(pattern) {
            let of_copy =
                pattern.strip_prefix(HOME).filter(|_| !self.home.starts_with(HOME.trim_end_matches('/')));
            let full = match of_copy {
                Some(rest) => join(&self.home, rest),
                None => join(directory, &pattern),
            };
            match self.files.matching(&full) {
                Ok(paths)
                    if paths.is_empty()
                        && !(word == "include" && of_copy.is_none() && pattern.contains(['*', '?', '['])) =>
                {
                    let hint =
                        "keepalived reads on without it; copy the director's whole configuration directory";
                    self.notes.finding(finding(format!("`{full}` is not there"), hint));
                }
                Ok(paths) => found.extend(paths),
                Err(error) => self
                    .notes
                    .finding(finding(format!("`{full}` cannot be followed: {error}"), "check the pattern")),
            }
        }
        for path in found {
            if self.open.contains(&path) {
                let message = format!("`{path}` includes itself");
                self.notes.finding(finding(message, "take the include out of one of the files"));
                continue;
            }
            match self.files.read(&path) {
                Ok(bytes) => self.file(&path, bytes),
                Err(error) => {
                    self.notes
                        .finding(finding(format!("`{path}` cannot be read: {error}"), "check the file"));
                }
            }
        }
    }

    /// One line, until nothing is left in it to expand.
    fn logical(&mut self, mut text: String, spot: Spot, depth: usize) {
        let mut expanded = depth > 0;
        loop {
            // Lines of files are bounded by the files.
            self.bytes += text.len() + if expanded { STEP } else { 1 };
            expanded = true;
            if self.over || self.too_much(&text, spot, depth) {
                return;
            }
            let line = trimmed(&text);
            if line.is_empty() {
                return;
            }
            if let Some(rest) = line.strip_prefix('@') {
                let (meets, rest) = condition(rest, self.whose.id);
                if !meets {
                    self.notes.used(spot, Use::OtherDirector);
                    self.leave_out(rest, spot);
                    return;
                }
                text = rest.to_owned();
                continue;
            }
            if let Some((name, value)) = definition(line) {
                self.notes.used(spot, Use::Definition);
                self.define(name, value, spot);
                return;
            }
            if line.starts_with("~SEQ") || line.starts_with("~LST") {
                return match sequence::parse(line) {
                    Ok((sequence, rest)) => self.repeat(&sequence, rest, spot, depth),
                    Err(message) => self.notes.finding(
                        Finding::new(&codes::IMPORT_DEFINITION, spot, message, "cannot be followed").hint(
                            "~SEQ(name, first, step, last) or ~LST(name, value, value), then the line \
                                to repeat",
                        ),
                    ),
                };
            }
            match self.substitute(line, spot) {
                Substituted::Nothing => {
                    self.lines.push(ExpandedLine { spot, text: line.to_owned() });
                    return;
                }
                Substituted::Line(line) => text = line,
                Substituted::Lines(lines) => {
                    for line in lines {
                        self.logical(line, spot, depth + 1);
                    }
                    return;
                }
            }
        }
    }

    fn too_much(&mut self, text: &str, spot: Spot, depth: usize) -> bool {
        let what = if depth > MAX_DEPTH {
            format!("definitions stand in each other more than {MAX_DEPTH} deep")
        } else if text.len() > MAX_LINE_BYTES {
            format!("this line becomes longer than {MAX_LINE_BYTES} bytes")
        } else if self.lines.len() >= MAX_LINES {
            format!("this configuration becomes longer than {MAX_LINES} lines")
        } else if self.bytes > MAX_BYTES {
            "expanding this configuration takes too long".to_owned()
        } else {
            return false;
        };
        self.over = true;
        self.notes.finding(
            Finding::new(&codes::IMPORT_EXPANSION, spot, what, "nothing is read from here on")
                .hint("look for a definition that uses itself, or for a sequence with a mistyped end"),
        );
        true
    }

    /// A line whose condition is not met takes the definition that it begins with it.
    fn leave_out(&mut self, rest: &str, spot: Spot) {
        if definition(trimmed(rest)).is_some_and(|(_, value)| value.ends_with('\\')) {
            self.collecting = Some(Collecting { name: None, lines: Vec::new(), spot });
        }
    }

    fn define(&mut self, name: &str, value: &str, spot: Spot) {
        match value.strip_suffix('\\') {
            Some(first) => {
                let lines = Some(trimmed(first).to_owned()).filter(|line| !line.is_empty());
                let lines = lines.into_iter().collect();
                self.collecting = Some(Collecting { name: Some(name.to_owned()), lines, spot });
            }
            None => {
                self.definitions.insert(name.to_owned(), vec![value.to_owned()]);
            }
        }
    }

    fn repeat(&mut self, sequence: &Sequence, rest: &str, spot: Spot, depth: usize) {
        for index in 0..sequence.len() {
            for (name, value) in sequence.values(index) {
                self.definitions.insert(name, vec![value]);
            }
            self.logical(rest.to_owned(), spot, depth + 1);
            if self.over {
                return;
            }
        }
    }

    /// `line` with its first parameter replaced.
    fn substitute(&mut self, line: &str, spot: Spot) -> Substituted {
        let mut from = 0;
        while let Some(at) = line[from..].find('$').map(|at| at + from) {
            from = at + 1;
            let after = &line[from..];
            let (inside, rest, braced) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}'))
            {
                Some((inside, rest)) => (inside, rest, true),
                None => {
                    let end = after.find(|char| !word_char(char)).unwrap_or(after.len());
                    (&after[..end], &after[end..], false)
                }
            };
            let whole = braced || rest.is_empty() || rest.starts_with(is_blank);
            if !whole || inside.is_empty() {
                continue;
            }
            let before = &line[..at];
            match self.value(inside, spot, braced) {
                Some(lines)
                    if lines.len() == 1 && before.len() + lines[0].len() + rest.len() > LINE_BYTES =>
                {
                    let message =
                        format!("`${{{inside}}}` would make this line longer than {LINE_BYTES} bytes");
                    let finding = Finding::new(
                        &codes::IMPORT_PARAMETER,
                        spot,
                        message,
                        "keepalived leaves it as it is",
                    );
                    self.notes.finding(finding.at(inside));
                }
                Some(lines) if lines.len() == 1 => {
                    return Substituted::Line(format!("{before}{}{rest}", lines[0]));
                }
                Some(mut lines) => {
                    if let Some(first) = lines.first_mut() {
                        first.insert_str(0, before);
                    } else {
                        lines.push(before.to_owned());
                    }
                    if let Some(last) = lines.last_mut() {
                        last.push_str(rest);
                    }
                    return Substituted::Lines(lines);
                }
                None => {}
            }
        }
        Substituted::Nothing
    }

    /// The text that a parameter stands for; `None` leaves it as it is.
    fn value(&mut self, inside: &str, spot: Spot, braced: bool) -> Option<Vec<String>> {
        if let Some(lines) = self.definitions.get(inside) {
            return Some(lines.clone());
        }
        let mut words = inside.split_whitespace();
        let name = words.next().unwrap_or_default();
        let unknown = |label: &str, hint: &str| {
            Finding::new(
                &codes::IMPORT_PARAMETER,
                spot,
                format!("`${{{inside}}}` is not known here"),
                label.to_owned(),
            )
            .at(inside)
            .hint(hint)
        };
        match name {
            "_PWD" => {
                let path = self.open.last().and_then(|path| path.rsplit_once('/'));
                Some(vec![path.map_or(".", |(path, _)| path).to_owned()])
            }
            "_INSTANCE" => Some(vec![self.whose.id.to_owned()]),
            "_HASH" => Some(vec!["\\#".to_owned()]),
            "_BANG" => Some(vec!["\\!".to_owned()]),
            "_RANDOM" => {
                let least = words.next().unwrap_or("0");
                if words.next() != Some(least) {
                    let hint = "write the number that the director is to have; the least one was taken";
                    self.notes.finding(unknown("a random number", hint));
                }
                Some(vec![least.to_owned()])
            }
            "_ENV" => {
                let hint = "write the value that keepalived's environment has on the director";
                self.notes.finding(unknown("comes from the environment", hint));
                Some(vec![String::new()])
            }
            _ if braced && inside.chars().all(word_char) => {
                let hint = format!("define it with `${inside}=…` before it is used");
                self.notes.finding(unknown("never defined", &hint));
                None
            }
            _ => None,
        }
    }
}

enum Substituted {
    Nothing,
    Line(String),
    Lines(Vec<String>),
}

const fn word_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

/// The word and the pattern of an include.
fn included(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    let known = ["include", "includer", "includem", "includew", "includeb", "includea"];
    known.contains(&word).then(|| (word, trimmed(rest)))
}

/// Whether the condition after `@` is met, and the text after it.
fn condition<'a>(text: &'a str, id: &str) -> (bool, &'a str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    match word.strip_prefix('^') {
        Some(word) => (word != id, rest),
        None => (word == id, rest),
    }
}

/// The name and the value of `$NAME=value`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let named =
        !name.is_empty() && name.chars().all(word_char) && !name.starts_with(|c: char| c.is_ascii_digit());
    named.then(|| (name, trimmed(value)))
}

/// The files that a pattern with `{a,b}` stands for, at most a few hundred.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let inner = pattern.rfind('{').and_then(|start| {
            let end = pattern[start..].find('}')? + start;
            Some((start, end))
        });
        match inner {
            Some((start, end)) if open.len() + done.len() < 256 => {
                let choices = pattern[start + 1..end].split(',').rev();
                open.extend(
                    choices.map(|choice| format!("{}{choice}{}", &pattern[..start], &pattern[end + 1..])),
                );
            }
            _ => done.push(pattern),
        }
    }
    done
}

fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') || directory.is_empty() {
        path.to_owned()
    } else {
        format!("{directory}/{path}")
    }
}
