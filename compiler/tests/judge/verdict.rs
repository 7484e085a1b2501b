//! The laws: what keepalived says of a file and how it understands it, against what import says and writes.
//!
//! 1. What keepalived warns of has an effect in the report: it is not called the same.
//! 2. What keepalived understands is what import has written, but where the report gives a governing line an
//!    effect.
//! 3. Of a keyword that stands twice in a block, one line has an effect.
//! 4. Every line is in the report.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::file::{File, Line};
use super::governs::keywords;
use super::ours::{Entry, Ours};
use super::room::Heard;
use super::tables::{HOST, SINGLE};

/// What was found wrong with one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    pub(crate) file: String,
    /// 0 where no line is to blame.
    pub(crate) line: usize,
    /// With the keyword, and without names and numbers of the file, so that like ones can be counted.
    pub(crate) kind: String,
    pub(crate) what: String,
}

/// Judges one file.
pub(crate) fn judge(file: &File, heard: &Heard, theirs: Option<&Facts>, ours: &Ours) -> Vec<Difference> {
    let programs_missing = heard.words.iter().any(|words| {
        words.contains("not found")
            || words.contains("cannot be accessed")
            || words.contains("Unable to access")
            || words.contains("Failed to set uid/gid for")
    });
    if ours.foreign {
        return Vec::new();
    }
    let ports_reset = heard.words.iter().any(|words| words.contains("ports don't match - resetting"));
    let court = Court { file, ours, programs_missing, ports_reset, effects: effects(&ours.entries) };
    let mut out = Vec::new();
    court.words(heard, &mut out);
    if let Some(theirs) = theirs {
        court.facts(theirs, &mut out);
    }
    court.doubled(&mut out);
    court.every_line(&mut out);
    out.sort();
    out.dedup();
    out
}

/// The number of the first line that governs a property, 0 where none does.
pub(crate) fn governing(file: &File, object: &str, property: &str) -> usize {
    let ours = Ours::default();
    let court =
        Court { file, ours: &ours, programs_missing: false, ports_reset: false, effects: BTreeMap::new() };
    court.governing(object, property).first().map_or(0, |line| line.number)
}

/// The keyword of a line; the keyword of the block around it, where its own words are values.
pub(crate) fn keyword_of(file: &File, number: usize) -> &str {
    let at = file.lines.iter().find(|line| line.number == number);
    at.map_or("", |line| {
        let values =
            line.blocks.iter().rev().find(|block| VALUES.contains(&block.first().map_or("", String::as_str)));
        values.and_then(|block| block.first()).map_or(line.keyword(), String::as_str)
    })
}

/// What the report says has an effect, by line.
fn effects(entries: &[Entry]) -> BTreeMap<usize, Vec<&str>> {
    let mut out: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.same) {
        out.entry(entry.line).or_default().push(&entry.text);
    }
    out
}

struct Court<'a> {
    file: &'a File,
    ours: &'a Ours,
    /// Whether keepalived has left out programs that are not on this machine, or whose users are not.
    programs_missing: bool,
    /// Whether it has given real servers the port of their virtual server.
    ports_reset: bool,
    effects: BTreeMap<usize, Vec<&'a str>>,
}

impl Court<'_> {
    fn difference(&self, line: usize, kind: impl Into<String>, what: impl Into<String>) -> Difference {
        let kind = kind.into();
        let kind = format!("{kind} @ {}", keyword_of(self.file, line).replace('\u{a0}', "~"));
        Difference { file: self.file.name.clone(), line, kind, what: what.into() }
    }

    fn has_effect(&self, line: &Line) -> bool {
        self.effects.contains_key(&line.number)
    }

    fn words(&self, heard: &Heard, out: &mut Vec<Difference>) {
        for words in &heard.words {
            if HOST.iter().any(|(part, _)| words.contains(part)) {
                continue;
            }
            let (number, said) = numbered(self.file, words);
            if let Some(number) = number {
                // A brace on a line of its own is of the statement before it.
                let stated = self.file.lines.iter().rev().find(|line| line.number <= number);
                let number = match stated {
                    Some(line) if said.starts_with("Unexpected '{'") => line.number,
                    _ => number,
                };
                // What is said at the end of a block is about all of it.
                let of_block = self
                    .file
                    .closed
                    .get(&number)
                    .is_some_and(|opened| self.effects.range(*opened..=number).next().is_some());
                if !self.effects.contains_key(&number) && !of_block {
                    let text = self.file.text(number);
                    let kind = format!("warned of: {}", alike(said));
                    out.push(self.difference(number, kind, format!("`{text}`: keepalived: {said}")));
                }
                continue;
            }
            let about: Vec<&Line> = self.about(said);
            // What does not compile is told by the compiler.
            if self.ours.left_out.iter().any(|words| {
                about
                    .iter()
                    .any(|line| line.object().get(1).is_some_and(|name| words.contains(name.as_str())))
            }) {
                continue;
            }
            if !about.iter().any(|line| self.has_effect(line)) {
                let line = about.first().map_or(0, |line| line.number);
                out.push(self.difference(
                    line,
                    format!("warned of: {}", alike(said)),
                    format!("keepalived: {said}"),
                ));
            }
        }
    }

    /// The lines that words without a number are about: those of the objects that they name, or all.
    fn about(&self, said: &str) -> Vec<&Line> {
        let names: BTreeSet<&str> = said
            .split(|char: char| char.is_whitespace() || "()[]'\"`,;".contains(char))
            .map(|word| word.trim_end_matches([':', '.']))
            .collect();
        let of_named: Vec<&Line> = self
            .file
            .lines
            .iter()
            .filter(|line| {
                let object = line.object();
                object.len() > 1
                    && object[0] != "global_defs"
                    && object.get(1).is_some_and(|name| names.contains(name.as_str()))
            })
            .collect();
        if of_named.is_empty() { self.file.lines.iter().collect() } else { of_named }
    }

    fn facts(&self, theirs: &Facts, out: &mut Vec<Difference>) {
        let tracked = |object: &str| {
            let property = format!("track {object}");
            theirs.0.values().any(|values| values.contains_key(&property))
        };
        let objects: BTreeSet<&String> = theirs.0.keys().chain(self.ours.facts.0.keys()).collect();
        for object in objects {
            let watched = ["script ", "process ", "file "].iter().any(|kind| object.starts_with(kind));
            if watched && !tracked(object) {
                continue;
            }
            match (theirs.has(object), self.ours.facts.has(object)) {
                (true, false) if object != "global" && !(object.starts_with("file ")) => {
                    if self.parent_differs(theirs, object) {
                        continue;
                    }
                    self.object_differs(object, "keepalived has it, the cluster file does not", out);
                }
                (false, true) if object != "global" => {
                    // 2.2.7 and 2.3 crash while they write files that checks read, too.
                    if watched || self.parent_differs(theirs, object) || self.lacks_program(object) {
                        continue;
                    }
                    self.object_differs(object, "the cluster file has it, keepalived does not", out);
                }
                _ => self.values(theirs, object, out),
            }
        }
    }

    /// Whether an object around this one is on one side only, which is told already.
    fn parent_differs(&self, theirs: &Facts, object: &str) -> bool {
        [" check ", " -> "].iter().any(|mark| {
            let parent = object.rsplit_once(mark).map(|(parent, _)| parent);
            parent.is_some_and(|parent| theirs.has(parent) != self.ours.facts.has(parent))
        })
    }

    fn object_differs(&self, object: &str, how: &str, out: &mut Vec<Difference>) {
        let lines = self.lines_of(object);
        if !lines.iter().any(|line| self.has_effect(line)) {
            let kind = object.split(' ').next().unwrap_or_default();
            let kind = if object.contains(" check ") {
                "check"
            } else if object.contains(" -> ") {
                "real server"
            } else {
                kind
            };
            let line = lines.first().map_or(0, |line| line.number);
            out.push(self.difference(line, format!("{kind}: {how}"), format!("{object}: {how}")));
        }
    }

    fn values(&self, theirs: &Facts, object: &str, out: &mut Vec<Difference>) {
        let empty = BTreeMap::new();
        let their_values = theirs.0.get(object).unwrap_or(&empty);
        let our_values = self.ours.facts.0.get(object).unwrap_or(&empty);
        let properties: BTreeSet<&String> = their_values.keys().chain(our_values.keys()).collect();
        let own = theirs.get(object, "interface").unwrap_or_default();
        // Checks of two kinds have nothing else to compare.
        let kind = "type".to_owned();
        let other_kind = object.contains(" check ") && their_values.get(&kind) != our_values.get(&kind);
        for property in properties {
            if other_kind && *property != kind {
                continue;
            }
            let their = their_values.get(property).map(String::as_str);
            let our = our_values.get(property).map(|value| if value == "(own)" { own } else { value });
            // Where keepalived says no interface of a router there is none to compare.
            if our.is_some_and(str::is_empty) && our_values[property] == "(own)" {
                continue;
            }
            if their == our
                || !comparable(theirs, object, property, their, our)
                || (their.is_none() && self.is_missing(our_values, property))
            {
                continue;
            }
            // A route names the interface in its own name.
            if property.starts_with("route ")
                && our_values.contains_key(&property.replace(&format!("dev {own}"), "dev (own)"))
                || property.contains("dev (own)")
                    && their_values.contains_key(&property.replace("dev (own)", &format!("dev {own}")))
            {
                continue;
            }
            // Where nobody asks for other bursts evenkeel has one kind of them, as its manual says.
            let burst = match property.as_str() {
                "garp lower priority delay" => Some("garp_lower_prio_delay"),
                "garp lower priority repeat" => Some("garp_lower_prio_repeat"),
                "garp refresh repeat" => Some("garp_master_refresh_repeat"),
                _ => None,
            };
            let mut asked = self
                .lines_of(object)
                .into_iter()
                .chain(self.file.lines.iter().filter(|line| line.object()[0] == "global_defs"));
            if burst.is_some_and(|keyword| !asked.any(|line| line.keyword().ends_with(keyword))) {
                continue;
            }
            if self.named(object, property) {
                continue;
            }
            let line = self.governing(object, property).first().map_or(0, |line| line.number);
            let shown =
                |value: Option<&str>| value.map_or("nothing".to_owned(), |value| format!("`{value}`"));
            let what = format!("{object}: {property}: keepalived {}, evenkeel {}", shown(their), shown(our));
            out.push(self.difference(line, format!("{}: {}", alike(object), alike(property)), what));
        }
    }

    /// Whether keepalived has left out a check because its program or its user is not on this machine.
    fn lacks_program(&self, check: &str) -> bool {
        let command = self.ours.facts.get(check, "command").unwrap_or_default();
        let path = command.trim_start_matches('\'').split('\'').next().unwrap_or_default();
        !path.is_empty() && (self.programs_missing || !std::path::Path::new(path).exists())
    }

    /// Whether keepalived has not got this because a program is not on this machine.
    fn is_missing(&self, ours: &BTreeMap<String, String>, property: &str) -> bool {
        let hook = property.trim_end_matches(" user").trim_end_matches(" appends");
        let absent = ours.get(hook).and_then(|command| command.trim_start_matches('\'').split('\'').next());
        property.starts_with("hook ") && absent.is_some_and(|path| !std::path::Path::new(path).exists())
            || property.starts_with("track script") && self.programs_missing
    }

    /// Whether the report gives an effect to a line that governs this property.
    fn named(&self, object: &str, property: &str) -> bool {
        if self.governing(object, property).iter().any(|line| self.has_effect(line)) {
            return true;
        }
        // What is said of a whole object, or of no line, must name the property.
        let words = keywords(object, property);
        let of_object = self.lines_of(object).first().map(|line| line.number);
        [Some(0), of_object].into_iter().flatten().any(|line| {
            let texts = self.effects.get(&line).into_iter().flatten();
            texts.into_iter().any(|text| words.iter().any(|word| text.contains(word.trim_start_matches('@'))))
        })
    }

    fn governing(&self, object: &str, property: &str) -> Vec<&Line> {
        let words = keywords(object, property);
        let governs = |line: &&Line| {
            // The weight of what is tracked is that of its own definition.
            let other = property.starts_with("track ") && line.keyword() == "weight";
            if other && line.object().get(1).is_none_or(|name| !property.ends_with(&format!(" {name}"))) {
                return false;
            }
            words.iter().any(|word| match word.strip_prefix('@') {
                Some(block) => line.is_in(block),
                None => line.keyword() == *word,
            })
        };
        let mine = self.lines_of(object).into_iter();
        let general = self.file.lines.iter().filter(|line| {
            [
                "global_defs",
                "vrrp_script",
                "vrrp_sync_group",
                "vrrp_track_process",
                "track_process",
                "track_file",
                "vrrp_track_file",
                "garp_group",
            ]
            .contains(&line.object().first().map_or("", String::as_str))
        });
        mine.chain(general).filter(governs).collect()
    }

    /// The lines of an object; all, where its name is not in the file as such.
    fn lines_of(&self, object: &str) -> Vec<&Line> {
        let named = |keywords: &[&str], name: &str| -> Vec<&Line> {
            let lines = self.file.lines.iter().filter(|line| {
                let object = line.object();
                object.first().is_some_and(|word| keywords.contains(&word.as_str()))
                    && object.get(1).is_some_and(|word| word == name)
            });
            lines.collect()
        };
        let (kind, name) = object.split_once(' ').unwrap_or((object, ""));
        let found = match kind {
            "router" => named(&["vrrp_instance"], name),
            "group" => named(&["vrrp_sync_group"], name),
            "script" => named(&["vrrp_script"], name),
            "process" => named(&["vrrp_track_process", "track_process"], name),
            "file" => named(&["track_file", "vrrp_track_file"], name),
            "service" => {
                let service = name.split(" -> ").next().unwrap_or(name);
                let real =
                    name.split_once(" -> ").map(|(_, rest)| rest.split(" check ").next().unwrap_or(rest));
                self.lines_of_service(service, real)
            }
            _ => self.file.lines.iter().filter(|line| line.object()[0] == "global_defs").collect(),
        };
        if found.is_empty() { self.file.lines.iter().collect() } else { found }
    }

    fn lines_of_service(&self, service: &str, real: Option<&str>) -> Vec<&Line> {
        let of_front = |words: &[String]| {
            let word = |at: usize| words.get(at).map_or("", String::as_str);
            let (protocol, target) = service.split_once(' ').unwrap_or((service, ""));
            match word(0) {
                "virtual_server" if word(1) == "fwmark" => {
                    protocol == "fwmark" && target.split(' ').next() == Some(word(2))
                }
                "virtual_server" if word(1) == "group" => true,
                "virtual_server" => same_socket(target, word(1), word(2)),
                "virtual_server_group" => true,
                _ => false,
            }
        };
        let exact: Vec<&Line> = self
            .file
            .lines
            .iter()
            .filter(|line| {
                let in_real = line.blocks.get(1).or((line.blocks.len() == 1).then_some(&line.words));
                let other_real = real.is_some_and(|real| {
                    in_real.is_some_and(|words| {
                        words[0] == "real_server"
                            && !same_socket(
                                real,
                                words.get(1).map_or("", String::as_str),
                                words.get(2).filter(|_| !self.ports_reset).map_or("", String::as_str),
                            )
                    })
                });
                of_front(line.object()) && !other_real
            })
            .collect();
        let of_its_own = |line: &&Line| {
            let object = line.object();
            object[0] == "virtual_server" && object.get(1).is_some_and(|word| word != "group")
        };
        let alone = exact.iter().any(of_its_own);
        exact.into_iter().filter(|line| !alone || of_its_own(line)).collect()
    }

    fn doubled(&self, out: &mut Vec<Difference>) {
        let mut seen: BTreeMap<(usize, &str), Vec<&Line>> = BTreeMap::new();
        for line in &self.file.lines {
            if SINGLE.contains(&line.keyword()) {
                seen.entry((line.within, line.keyword())).or_default().push(line);
            }
        }
        for ((_, keyword), lines) in seen {
            let [first, rest @ ..] = lines.as_slice() else { continue };
            let differ = rest.iter().any(|line| line.words != first.words);
            // A line with a condition may not count.
            let told = lines.iter().any(|line| self.has_effect(line)) || self.is_conditional(&lines);
            if differ && !told {
                let what = format!(
                    "`{keyword}` stands {} times in its block, and all are called the same",
                    lines.len()
                );
                out.push(self.difference(first.number, format!("doubled: {keyword}"), what));
            }
        }
    }

    fn is_conditional(&self, lines: &[&Line]) -> bool {
        let text = String::from_utf8_lossy(&self.file.bytes);
        let all: Vec<&str> = text.lines().collect();
        lines
            .iter()
            .any(|line| all.get(line.number - 1).is_some_and(|text| text.trim_start().starts_with('@')))
    }

    fn every_line(&self, out: &mut Vec<Difference>) {
        let told: BTreeSet<usize> = self.ours.entries.iter().map(|entry| entry.line).collect();
        for line in &self.file.lines {
            if !told.contains(&line.number)
                && !self.is_conditional(&[line])
                && !line.words[0].starts_with(['$', '~'])
            {
                let what = format!("`{}` is not in the report", line.words.join(" "));
                out.push(self.difference(
                    line.number,
                    format!("not in the report: {}", line.keyword()),
                    what,
                ));
            }
        }
    }
}

/// Blocks whose lines begin with a value.
const VALUES: [&str; 14] = [
    "virtual_ipaddress",
    "virtual_ipaddress_excluded",
    "unicast_peer",
    "virtual_routes",
    "virtual_rules",
    "track_interface",
    "track_script",
    "track_process",
    "track_file",
    "track_bfd",
    "group",
    "notification_email",
    "static_ipaddress",
    "virtual_server_group",
];

/// The number of the line that words are about, and the words.
pub(crate) fn numbered<'a>(file: &File, words: &'a str) -> (Option<usize>, &'a str) {
    let inner = words.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    let Some((place, said)) = inner else { return (None, words) };
    let number = place.rsplit_once("Line ").and_then(|(path, number)| {
        let number: usize = number.trim().parse().ok()?;
        Some(file.base(path.trim_end_matches(": "))? + number)
    });
    if number.is_some() { (number, said) } else { (None, words) }
}

/// Words without the names and numbers in them.
pub(crate) fn alike(text: &str) -> String {
    let mut out = String::new();
    for word in text.split(' ') {
        let named = word.chars().any(|char| char.is_ascii_digit())
            || word.contains(['.', ':', '/', '\''])
            || word.starts_with('(');
        out.push_str(if named && word.len() > 1 { "…" } else { word });
        out.push(' ');
    }
    out.trim_end().to_owned()
}

fn same_socket(target: &str, address: &str, port: &str) -> bool {
    let (known, number) = target.rsplit_once(':').unwrap_or((target, ""));
    let known = known.trim_matches(['[', ']']);
    let same = match (known.parse::<std::net::IpAddr>(), address.parse::<std::net::IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => known == address,
    };
    same && (number == port || ["", "0"].contains(&port) || port.parse::<u16>().is_err() || number == "0")
}

/// Whether a property can be compared at all.
fn comparable(theirs: &Facts, object: &str, property: &str, their: Option<&str>, our: Option<&str>) -> bool {
    match property {
        // keepalived's own choice is not written; ours is a guess that the report names.
        "source" => their.is_some() && our.is_some(),
        "unicast ttl" => their != Some("255") || our.is_some(),
        "persistence prefix" | "persistence engine" => {
            theirs.get(object, "persistence").is_some() || their.is_some()
        }
        "timeout tcp" | "timeout udp" | "initially" | "sync id" | "sync router" => their.is_some(),
        _ if property.starts_with("garp ") && property != "garp refresh" => their.is_some() && our.is_some(),
        // The peers of a director that nobody imports are asked for.
        _ if property.ends_with(" dev") => their.is_some() && our.is_some(),
        // Without a name keepalived shows the host's.
        "helo" => our.is_some(),
        // The cluster file leaves it out where it is that of the router.
        "sync interface" => our.is_some(),
        // keepalived's schema fills these; the cluster file leaves them out where they are the usual.
        "interface" => our.is_some() && their.is_some(),
        "host" => true,
        _ => true,
    }
}
