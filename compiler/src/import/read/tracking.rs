//! Scripts, processes and files that are tracked; the lists that refer to them; and sync groups.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::keywords::{TRACK_FILE, TRACK_PROCESS, VRRP_SCRIPT, VRRP_SYNC_GROUP};
use super::super::model::{At, Draft, Group, Tracker};
use super::super::notes::{Fate, Finding, Owner};
use super::super::source::Spot;
use super::super::tree::Statement;
use super::super::versions;
use super::values::{MICROS_IN_U32, Reading, leading_number, span};
use super::{Reader, named, shorten};
use crate::codes;

/// Most things that one director tracks. Names are looked for among all of them, so there is an end to them.
const MAX_TRACKERS: usize = 5000;

/// Weight of a file that says none.
const FILE_WEIGHT: i64 = 1;

/// A line of `track_interface`, `track_script` and so on.
#[derive(Debug)]
pub(super) struct Tracked {
    kind: &'static str,
    /// Name of the tracker in the cluster file.
    name: String,
    /// Name of what is tracked, to keepalived.
    theirs: String,
    /// None and 0: its failure is a fault.
    weight: Option<i64>,
    reverse: bool,
    spot: Spot,
    /// Number of its note.
    note: usize,
}

/// All that is tracked, and where each thing is tracked first.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    list: Vec<Tracked>,
    first: BTreeMap<(&'static str, String), Spot>,
}

/// Treatment by keepalived of the weights of what an instance tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Burden {
    /// Weights that count.
    None,
    /// The instance owns its VIPs, and its priority does not change.
    Owner,
    /// Its sync group has one priority for all.
    Grouped,
}

impl Reader<'_> {
    pub(super) fn script(&mut self, block: &Statement) {
        let Some(mut tracker) = self.tracker(block, "script") else { return };
        let owner = Owner::Tracker(self.director, self.config.trackers.len());
        let mark = self.notes.items.len();
        self.object(block, owner);
        let mut command = None;
        let mut user = None;
        for statement in block.inside() {
            if self.known(&VRRP_SCRIPT, statement, owner).is_none() {
                continue;
            }
            let spot = statement.spot;
            match statement.keyword() {
                "script" => {
                    if let Some(words) = self.program(statement) {
                        self.says("script");
                        tracker.draft.set("command", words.clone(), spot);
                        command = Some((words, self.note));
                    }
                }
                key @ ("interval" | "timeout") => {
                    let thing = if key == "interval" { "interval" } else { "timeout" };
                    if let Some(mut millis) = self.script_time(statement) {
                        self.says(thing);
                        if millis == 0 {
                            self.bad(statement, format!("`{key}` is at least 1 s"), "keepalived takes 1 s");
                            millis = 1000;
                        }
                        tracker.draft.set(key, span(millis), spot);
                    }
                }
                key @ ("rise" | "fall") => {
                    let thing = if key == "rise" { "rise" } else { "fall" };
                    let range = 1..=i64::from(i32::MAX);
                    let number = match statement.value() {
                        Some(_) => self
                            .number_or(statement, 0, range, Reading::Loose, "keepalived takes 1")
                            .unwrap_or(1),
                        None => {
                            self.lacks_value(statement);
                            continue;
                        }
                    };
                    self.says(thing);
                    if number > 100 {
                        self.instead(Fate::Changed, "at most 100");
                    }
                    tracker.draft.set(key, number.min(100), spot);
                }
                "user" => {
                    if let Some(name) = self.user(statement) {
                        self.says("user");
                        user = Some((name, spot));
                    }
                }
                "init_fail" => tracker.draft.set("initially", "down", spot),
                "weight" => self.script_weight(statement, &mut tracker),
                _ => {}
            }
        }
        let Some((words, note)) = command else {
            self.leave_out(mark, "a script without `script` is left out");
            return self.missing(
                block.spot,
                format!("`{}` has no `script`", shorten(&tracker.name)),
                "left out",
            );
        };
        let user = user.or_else(|| Some((self.default_user()?, block.spot)));
        self.settle_program(note, &words, user.as_ref().map(|(user, _)| user.as_str()));
        if let Some((user, spot)) = user {
            tracker.draft.set("user", user, spot);
        }
        self.add_tracker("script", block, tracker);
    }

    /// A time of a script: whole seconds, and fractions where keepalived knows them.
    fn script_time(&mut self, statement: &Statement) -> Option<u32> {
        let fraction = statement.value().is_some_and(|text| text.contains('.'));
        if fraction && self.newer(&versions::SCRIPT_FRACTION, statement.spot) {
            let longest = u64::try_from(*MICROS_IN_U32.end()).unwrap_or_default() * 1_000_000;
            return self.millis(statement, 0..=longest, "keepalived takes 1 s");
        }
        self.seconds(statement, MICROS_IN_U32)
    }

    /// A weight of a script: beyond the scale keepalived complains and takes it all the same.
    fn script_weight(&mut self, statement: &Statement, tracker: &mut Tracker) {
        let Some(text) = statement.value().map(ToOwned::to_owned) else {
            return self.lacks_value(statement);
        };
        let (number, whole) = leading_number(&text);
        let number = number.unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
        let weight = number.clamp(-253, 253);
        self.says("weight");
        if !whole || weight != number {
            let message = format!("a weight is a number from -253 to 253, not `{}`", shorten(&text));
            self.bad(statement, message, &format!("{weight} was taken"));
        }
        tracker.weight = Some(weight);
        self.reverse(statement, tracker);
    }

    fn reverse(&mut self, statement: &Statement, tracker: &mut Tracker) {
        match statement.values().nth(1) {
            None => {}
            Some("reverse") => tracker.reverse = true,
            Some(other) => {
                let message = format!("`{}` is no option of a weight", shorten(other));
                self.bad_word(statement, Some(other), message, "keepalived drops the word");
            }
        }
    }

    pub(super) fn process(&mut self, block: &Statement) {
        let Some(mut tracker) = self.tracker(block, "process") else { return };
        let owner = Owner::Tracker(self.director, self.config.trackers.len());
        let mark = self.notes.items.len();
        self.object(block, owner);
        for statement in block.inside() {
            if self.known(&TRACK_PROCESS, statement, owner).is_none() {
                continue;
            }
            match statement.keyword() {
                "process" => {
                    let Some(name) = self.word(statement) else { continue };
                    if !self.says_first("process", statement) {
                        continue;
                    }
                    if statement.values().nth(1).is_some() {
                        self.instead(Fate::Changed, "its arguments are not looked at");
                    }
                    tracker.draft.set("process", name, statement.spot);
                }
                "quorum" => {
                    if let Some(number) = self.loose(statement, 1..=65_535) {
                        self.says("quorum");
                        tracker.draft.set("quorum", number, statement.spot);
                    }
                }
                "weight" => {
                    if tracker.weight.is_none_or(|weight| weight == 0) {
                        if let Some(weight) =
                            self.weight(statement, 0, Reading::Exact, "keepalived ignores the line")
                        {
                            self.says("weight");
                            tracker.weight = Some(weight);
                            self.reverse(statement, &mut tracker);
                        }
                    } else {
                        self.says_first("weight", statement);
                    }
                }
                _ => {}
            }
        }
        if tracker.draft.get("process").is_none() {
            self.leave_out(mark, "a process without `process` is left out");
            return self.missing(
                block.spot,
                format!("`{}` has no `process`", shorten(&tracker.name)),
                "left out",
            );
        }
        self.add_tracker("process", block, tracker);
    }

    pub(super) fn track_file(&mut self, block: &Statement) {
        let Some(mut tracker) = self.tracker(block, "file") else { return };
        tracker.weight = Some(FILE_WEIGHT);
        let owner = Owner::Tracker(self.director, self.config.trackers.len());
        let mark = self.notes.items.len();
        self.object(block, owner);
        for statement in block.inside() {
            if self.known(&TRACK_FILE, statement, owner).is_none() {
                continue;
            }
            match statement.keyword() {
                "file" => {
                    let Some(path) = self.word(statement) else { continue };
                    if self.says_first("file", statement) {
                        tracker.draft.set("path", path, statement.spot);
                    }
                }
                "weight" => {
                    if tracker.weight == Some(FILE_WEIGHT) {
                        let taken = "keepalived takes weight 1";
                        if statement.value().is_some() {
                            self.says("weight");
                            tracker.weight =
                                self.weight(statement, 0, Reading::Loose, taken).or(Some(FILE_WEIGHT));
                            self.reverse(statement, &mut tracker);
                        } else {
                            self.bad(
                                statement,
                                "`weight` needs a value".to_owned(),
                                "keepalived ignores the line",
                            );
                        }
                    } else {
                        self.says_first("weight", statement);
                    }
                }
                _ => {}
            }
        }
        if tracker.draft.get("path").is_none() {
            self.leave_out(mark, "a file without `file` is left out");
            return self.missing(
                block.spot,
                format!("`{}` has no `file`", shorten(&tracker.name)),
                "left out",
            );
        }
        self.add_tracker("file", block, tracker);
    }

    fn tracker(&mut self, block: &Statement, kind: &'static str) -> Option<Tracker> {
        let name = self.first_name(block)?;
        if self.config.trackers.len() >= MAX_TRACKERS {
            let message = format!("there are more than {MAX_TRACKERS} scripts, processes and files");
            self.skip(block, "there are too many trackers");
            self.notes.finding(Finding::new(&codes::IMPORT_EXPANSION, block.spot, message, "left out"));
            return None;
        }
        let known = self.trackers.get(&(kind, name.clone())).and_then(|at| self.config.trackers.get(*at));
        if let Some(before) = known.map(|tracker| tracker.spot) {
            let message = format!("`{}` is defined twice", shorten(&name));
            self.skip(block, "without effect in keepalived, which finds the first of the name");
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            self.notes.finding(finding.at(name).also(before, "first here"));
            return None;
        }
        // Scripts, processes and files have names of their own in keepalived, and together here.
        let other = ["script", "process", "file"]
            .iter()
            .any(|other| self.trackers.contains_key(&(*other, name.clone())));
        let name = if other { format!("{kind}-{name}") } else { name };
        let mut draft = Draft::default();
        draft.set("type", kind, block.spot);
        Some(Tracker { name, spot: block.spot, weight: None, reverse: false, checked: false, draft })
    }

    fn add_tracker(&mut self, kind: &'static str, block: &Statement, tracker: Tracker) {
        let theirs = block.value().unwrap_or_default().to_owned();
        self.trackers.insert((kind, theirs), self.config.trackers.len());
        self.config.trackers.push(tracker);
    }

    /// The file that a check of a real server reads.
    pub(super) fn checked_file(&mut self, name: &str) -> Option<(Value, i64, bool)> {
        let index = self.trackers.get(&("file", name.to_owned())).copied()?;
        let tracker = self.config.trackers.get_mut(index)?;
        tracker.checked = true;
        let weight = tracker.weight.unwrap_or(FILE_WEIGHT);
        Some((tracker.draft.get("path").cloned()?, weight, tracker.reverse))
    }

    /// A weight at the place `index` of the values, from -254 to 254, which keepalived takes for 253.
    fn weight(&mut self, statement: &Statement, index: usize, reading: Reading, taken: &str) -> Option<i64> {
        let weight = self.number_or(statement, index, -254..=254, reading, taken)?;
        if weight.abs() == 254 {
            self.instead(Fate::Changed, "a weight is -253 to 253; the nearest was taken");
        }
        Some(weight.clamp(-253, 253))
    }

    /// The lines of `track_interface`, `track_script` and so on: `NAME [weight N [reverse]]`.
    pub(super) fn track(&mut self, block: &Statement, owner: Owner, tracks: &mut Tracks) {
        let kind = match block.keyword() {
            "track_interface" => "interface",
            "track_script" => "script",
            "track_process" => "process",
            _ => "file",
        };
        for line in block.inside() {
            self.line_item(line, owner, block.keyword(), Some("track"));
            let theirs = line.keyword().to_owned();
            let Some(index) = self.tracked(kind, &theirs, line, block) else { continue };
            let Some(tracker) = self.config.trackers.get(index) else { continue };
            let ours = named(&tracker.name);
            let (mut weight, mut reverse) = (tracker.weight, tracker.reverse);
            if let Some(first) = tracks.first.get(&(kind, ours.clone())).copied() {
                self.instead(Fate::NotCarried, "keepalived keeps the first and ignores this one");
                let message = format!("`{}` is tracked twice", shorten(&theirs));
                let finding = Finding::new(&codes::IMPORT_DUPLICATE, line.spot, message, "ignored");
                self.notes.finding(finding.at(theirs).also(first, "first here"));
                continue;
            }
            let words: Vec<&str> = line.values().collect();
            match words.as_slice() {
                [] => {}
                ["weight", _, options @ ..] => {
                    let taken = "keepalived takes the weight of its definition";
                    weight = self.weight(line, 1, Reading::Loose, taken).or(weight);
                    match options.first().copied() {
                        None => {}
                        Some("reverse") => reverse = true,
                        Some("noreverse") if kind != "interface" => reverse = false,
                        Some(other) => {
                            let message = format!("`{}` is no option of a weight", shorten(other));
                            let taken = if kind == "file" {
                                "keepalived ignores the line"
                            } else {
                                "keepalived drops the word"
                            };
                            self.bad_word(line, Some(other), message, taken);
                            if kind == "file" {
                                continue;
                            }
                        }
                    }
                }
                [word, ..] => {
                    let message = "a tracked thing has `weight` and a number, or nothing".to_owned();
                    self.bad_word(line, Some(word), message, "keepalived ignores the line");
                    continue;
                }
            }
            tracks.first.insert((kind, ours.clone()), line.spot);
            tracks.list.push(Tracked {
                kind,
                name: ours,
                theirs,
                weight,
                reverse,
                spot: line.spot,
                note: self.note,
            });
        }
    }

    /// Number of the tracker that a line names.
    fn tracked(
        &mut self,
        kind: &'static str,
        theirs: &str,
        line: &Statement,
        block: &Statement,
    ) -> Option<usize> {
        if kind == "interface" {
            return self.interface_tracker(theirs, line);
        }
        let known = self.trackers.get(&(kind, theirs.to_owned())).copied();
        if known.is_none() {
            self.instead(
                Fate::NotCarried,
                "it refers to nothing that is defined before it, and keepalived ignores it",
            );
            let message =
                format!("`{}` in `{}` is defined nowhere before it", shorten(theirs), block.keyword());
            let finding =
                Finding::new(&codes::IMPORT_REFERENCE, line.spot, message, "keepalived ignores the line");
            self.notes.finding(finding.at(theirs).hint("a definition stands before what refers to it"));
        }
        known
    }

    /// Interfaces need no definition in keepalived, and are trackers here.
    fn interface_tracker(&mut self, name: &str, line: &Statement) -> Option<usize> {
        let key = ("interface", name.to_owned());
        if let Some(index) = self.trackers.get(&key) {
            return Some(*index);
        }
        let index = self.config.trackers.len();
        if index >= MAX_TRACKERS {
            self.instead(Fate::NotCarried, "there are too many trackers");
            return None;
        }
        let mut draft = Draft::default();
        draft.set("type", "interface", line.spot);
        draft.set("interface", name, line.spot);
        self.trackers.insert(key, index);
        self.config.trackers.push(Tracker {
            name: format!("interface-{name}"),
            spot: line.spot,
            weight: None,
            reverse: false,
            checked: false,
            draft,
        });
        Some(index)
    }

    /// Writes down what is tracked, with the weights that keepalived leaves.
    pub(super) fn settle_tracked(
        &mut self,
        draft: &mut Draft,
        tracks: Tracks,
        burden: Burden,
        own: Option<&str>,
    ) {
        for Tracked { kind, name, theirs, mut weight, reverse, spot, note } in tracks.list {
            if kind == "interface" && own == Some(theirs.as_str()) {
                let why =
                    "keepalived tracks its own interface anyway and ignores the line; so does the daemon";
                self.notes.instead_at(note, Fate::NotCarried, why);
                continue;
            }
            let heavy = weight.is_some_and(|weight| weight != 0);
            let whose = match burden {
                Burden::Owner => "of an instance with priority 255",
                _ => "of a sync group's members",
            };
            let (gone, why) = match (burden, kind) {
                (Burden::None, _) | (_, "process") => (false, ""),
                _ if !heavy => (false, ""),
                (Burden::Grouped, "interface") => {
                    (false, "keepalived ignores the weight, and takes a failure for a fault")
                }
                (_, "file") if weight == Some(FILE_WEIGHT) => {
                    (false, "keepalived ignores the weight, and takes a failure for a fault")
                }
                _ => (true, "keepalived ignores what has a weight"),
            };
            if !why.is_empty() {
                let why = format!("{why}: the priorities {whose} do not change");
                self.notes.instead_at(note, if gone { Fate::NotCarried } else { Fate::Changed }, &why);
                let message = format!("the weight of `{}` does not count here", shorten(&theirs));
                let finding =
                    Finding::new(&codes::IMPORT_VALUE, spot, message, "ignored by keepalived".to_owned());
                self.notes.finding(finding.at(theirs).hint(why));
                if gone {
                    continue;
                }
                weight = None;
            }
            let mut entry = Map::new();
            entry.insert("tracker".to_owned(), Value::String(name));
            // Without a weight, or with 0, its failure is a fault.
            if let Some(weight) = weight.filter(|weight| *weight != 0) {
                entry.insert("weight".to_owned(), Value::from(weight));
            }
            if reverse {
                entry.insert("reverse".to_owned(), Value::Bool(true));
            }
            draft.push("track", Value::Object(entry), spot);
        }
    }

    /// Which instances a sync group has: it must be known before they are read.
    pub(super) fn members_of(&mut self, block: &Statement) {
        let (Some(name), None) = (block.value(), block.values().nth(1)) else { return };
        if self.group_names.contains_key(name) {
            return;
        }
        self.group_names.insert(name.to_owned(), block.spot);
        let keeps = ["global_tracking", "sync_group_tracking_weight"];
        let kept = block.inside().iter().any(|line| keeps.contains(&line.keyword()));
        let group = block.inside().iter().find(|line| line.keyword() == "group");
        for member in group.into_iter().flat_map(Statement::inside).flat_map(|line| &line.words) {
            self.in_group.entry(member.clone()).or_insert_with(|| (name.to_owned(), kept));
        }
    }

    pub(super) fn sync_group(&mut self, block: &Statement) {
        let Some(name) = self.name(block) else { return };
        if let Some(first) = self.group_names.get(&name).copied().filter(|first| *first != block.spot) {
            let message = format!("the sync group `{}` is defined twice", shorten(&name));
            self.skip(block, "keepalived keeps the first sync group of a name and skips this one");
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            return self.notes.finding(finding.at(name).also(first, "first here"));
        }
        let owner = Owner::Group(self.director, self.config.groups.len());
        self.object(block, owner);
        let mut group = Group { name, spot: block.spot, members: Vec::new(), draft: Draft::default() };
        let mut tracks = Tracks::default();
        for statement in block.inside() {
            if self.known(&VRRP_SYNC_GROUP, statement, owner).is_none() {
                continue;
            }
            match statement.keyword() {
                "group" if self.says_first("group", statement) => self.members(statement, &mut group),
                "track_interface" | "track_script" | "track_process" | "track_file" => {
                    self.track(statement, owner, &mut tracks);
                }
                "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop" => {
                    self.router_hook(statement, &mut group.draft);
                }
                _ => {}
            }
        }
        self.settle_tracked(&mut group.draft, tracks, Burden::None, None);
        self.config.groups.push(group);
    }

    fn members(&mut self, statement: &Statement, group: &mut Group) {
        let owner = Owner::Group(self.director, self.config.groups.len());
        for line in statement.inside() {
            self.line_item(line, owner, statement.keyword(), Some("virtual_routers"));
            for member in &line.words {
                match self.in_group.get(member) {
                    Some((first, _)) if *first != group.name => {
                        let message = format!(
                            "`{}` is in the sync group `{}` already",
                            shorten(member),
                            shorten(first)
                        );
                        let finding = Finding::new(
                            &codes::IMPORT_DUPLICATE,
                            line.spot,
                            message,
                            "keepalived ignores it here",
                        );
                        self.notes.finding(finding.at(member));
                        self.instead(
                            Fate::NotCarried,
                            "it is in another group already, and keepalived ignores it here",
                        );
                    }
                    _ => group.members.push(At { value: member.clone(), spot: line.spot }),
                }
            }
        }
    }

    /// `notify…` of an instance or a group.
    pub(super) fn router_hook(&mut self, statement: &Statement, draft: &mut Draft) {
        let (thing, key) = match statement.keyword() {
            "notify_master" => ("notify_master", "hooks.master"),
            "notify_backup" => ("notify_backup", "hooks.backup"),
            "notify_fault" => ("notify_fault", "hooks.fault"),
            "notify_stop" => ("notify_stop", "hooks.stop"),
            "notify_deleted" => ("notify_deleted", "hooks.stop"),
            _ => ("notify", "hooks.any"),
        };
        if thing == "notify_deleted" && statement.value().is_none() {
            return;
        }
        let Some(command) = self.notified(statement) else { return };
        if !self.says_first(thing, statement) {
            return;
        }
        if thing == "notify_deleted" && draft.get(key).is_some() {
            return self.instead(Fate::NotCarried, "one program is told of both: that of `notify_stop`");
        }
        draft.set(key, command.hook(statement.keyword()), statement.spot);
    }
}
