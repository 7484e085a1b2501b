//! Scripts, processes and files that are tracked; the lists that refer to them; and sync groups.

use serde_json::{Map, Value};

use super::super::keywords::{TRACK_FILE, TRACK_PROCESS, VRRP_SCRIPT, VRRP_SYNC_GROUP};
use super::super::model::{At, Draft, Group, Tracker};
use super::super::notes::{Fate, Finding, Item, Owner};
use super::super::tree::Statement;
use super::{Reader, named, shorten};
use crate::codes;

/// Most things that one director tracks. Names are looked for among all of them, so there is an end to them.
const MAX_TRACKERS: usize = 5000;

impl Reader<'_> {
    pub(super) fn script(&mut self, block: &Statement) {
        let Some(mut tracker) = self.tracker(block, "script") else { return };
        let owner = Owner::Tracker(self.director, self.config.trackers.len());
        let mark = self.notes.items.len();
        self.object(block, owner);
        let mut user = None;
        for statement in block.inside() {
            if self.known(&VRRP_SCRIPT, statement, owner).is_none() {
                continue;
            }
            let spot = statement.spot;
            match statement.keyword() {
                "script" => {
                    // The user stands on a line of its own, before or after.
                    let later = block.inside().iter().find(|line| line.keyword() == "user");
                    let kept = self.script_user.clone();
                    if let Some(later) = later.and_then(Statement::value) {
                        self.script_user = Some(later.to_owned());
                    }
                    if let Some(command) = self.program(statement) {
                        tracker.draft.set("command", command.words, spot);
                        user = command.user.map(|user| (user, spot));
                    }
                    self.script_user = kept;
                }
                key @ ("interval" | "timeout") => {
                    if let Some(time) = self.some_time(statement) {
                        tracker.draft.set(key, super::span(time), spot);
                    }
                }
                key @ ("rise" | "fall") => {
                    if let Some(number) = self.number(statement, 1..=i64::from(u16::MAX)) {
                        if number > 100 {
                            self.notes.instead(Fate::Changed, "at most 100");
                        }
                        tracker.draft.set(key, number.min(100), spot);
                    }
                }
                "user" => user = self.user(statement).map(|user| (user, spot)),
                "init_fail" => tracker.draft.set("initially", "down", spot),
                "weight" => self.tracker_weight(statement, &mut tracker),
                _ => {}
            }
        }
        if let Some((user, spot)) = user {
            tracker.draft.set("user", user, spot);
        }
        if tracker.draft.get("command").is_none() {
            self.leave_out(mark);
            return self.missing(
                block.spot,
                format!("`{}` has no `script`", shorten(&tracker.name)),
                "left out",
            );
        }
        self.config.trackers.push(tracker);
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
                    if let Some(name) = self.word(statement) {
                        if statement.values().nth(1).is_some() {
                            self.notes.instead(Fate::Changed, "its arguments are not looked at");
                        }
                        tracker.draft.set("process", name, statement.spot);
                    }
                }
                "quorum" => {
                    if let Some(number) = self.number(statement, 1..=65_535) {
                        tracker.draft.set("quorum", number, statement.spot);
                    }
                }
                "weight" => self.tracker_weight(statement, &mut tracker),
                _ => {}
            }
        }
        if tracker.draft.get("process").is_none() {
            self.leave_out(mark);
            return self.missing(
                block.spot,
                format!("`{}` has no `process`", shorten(&tracker.name)),
                "left out",
            );
        }
        self.config.trackers.push(tracker);
    }

    pub(super) fn track_file(&mut self, block: &Statement) {
        let Some(mut tracker) = self.tracker(block, "file") else { return };
        tracker.weight = Some(1);
        let owner = Owner::Tracker(self.director, self.config.trackers.len());
        let mark = self.notes.items.len();
        self.object(block, owner);
        for statement in block.inside() {
            if self.known(&TRACK_FILE, statement, owner).is_none() {
                continue;
            }
            match statement.keyword() {
                "file" => {
                    if let Some(path) = self.word(statement) {
                        tracker.draft.set("path", path, statement.spot);
                    }
                }
                "weight" => self.tracker_weight(statement, &mut tracker),
                _ => {}
            }
        }
        if tracker.draft.get("path").is_none() {
            self.leave_out(mark);
            return self.missing(
                block.spot,
                format!("`{}` has no `file`", shorten(&tracker.name)),
                "left out",
            );
        }
        self.config.trackers.push(tracker);
    }

    fn tracker(&mut self, block: &Statement, kind: &str) -> Option<Tracker> {
        let name = self.word(block)?;
        if self.config.trackers.len() >= MAX_TRACKERS {
            let message = format!("there are more than {MAX_TRACKERS} scripts, processes and files");
            self.notes.finding(Finding::new(&codes::IMPORT_EXPANSION, block.spot, message, "left out"));
            return None;
        }
        if let Some(before) = self.config.trackers.iter().find(|tracker| tracker.name == name) {
            let message = format!("`{}` is defined twice", shorten(&name));
            let finding = Finding::new(&codes::IMPORT_DUPLICATE, block.spot, message, "left out");
            self.notes.finding(finding.at(name).also(before.spot, "first here"));
            return None;
        }
        let mut draft = Draft::default();
        draft.set("type", kind, block.spot);
        Some(Tracker { name, spot: block.spot, weight: None, reverse: false, checked: false, draft })
    }

    fn tracker_weight(&mut self, statement: &Statement, tracker: &mut Tracker) {
        if let Some(weight) = self.weight(statement, 0) {
            tracker.weight = Some(weight);
            tracker.reverse = statement.values().nth(1) == Some("reverse");
        }
    }

    /// A weight at the place `index` of the values. What is beyond keepalived's scale it ignores, and so does this.
    fn weight(&mut self, statement: &Statement, index: usize) -> Option<i64> {
        let weight = self.number_at(statement, index, -254..=254)?;
        if weight.abs() == 254 {
            self.notes.instead(Fate::Changed, "a weight is -253 to 253; the nearest was taken");
        }
        Some(weight.clamp(-253, 253))
    }

    /// The lines of `track_interface`, `track_script` and so on.
    pub(super) fn track(&mut self, block: &Statement, owner: Owner, draft: &mut Draft) {
        let interfaces = block.keyword() == "track_interface";
        for line in block.inside() {
            let name = line.keyword().to_owned();
            self.notes.item(
                owner,
                Item {
                    fate: Fate::Carried,
                    spots: vec![line.spot],
                    what: format!("{} {}", block.keyword(), shorten(&line.text())),
                    ours: Some("track".to_owned()),
                    why: None,
                },
            );
            if interfaces {
                self.interface_tracker(&name, line);
            }
            let known = |tracker: &Tracker| tracker.name == tracker_key(interfaces, &name);
            let Some(tracker) = self.config.trackers.iter().find(|tracker| known(tracker)) else {
                self.notes.instead(Fate::NotCarried, "it refers to nothing");
                let message = format!("`{}` in `{}` is defined nowhere", shorten(&name), block.keyword());
                let finding = Finding::new(&codes::IMPORT_REFERENCE, line.spot, message, "left out");
                self.notes.finding(finding.at(name));
                continue;
            };
            let ours = named(&tracker.name);
            let (mut weight, mut reverse) = (tracker.weight, tracker.reverse);
            if let Some(at) = line.values().position(|word| word == "weight") {
                weight = self.weight(line, at + 1).or(weight);
                reverse = line.values().any(|word| word == "reverse");
            }
            let mut entry = Map::new();
            entry.insert("tracker".to_owned(), Value::String(ours));
            // Without a weight, or with 0, its failure is a fault.
            if let Some(weight) = weight.filter(|weight| *weight != 0) {
                entry.insert("weight".to_owned(), Value::from(weight));
            }
            if reverse {
                entry.insert("reverse".to_owned(), Value::Bool(true));
            }
            draft.push("track", Value::Object(entry), line.spot);
        }
    }

    /// Interfaces need no definition in keepalived, and are trackers here.
    fn interface_tracker(&mut self, name: &str, line: &Statement) {
        let key = tracker_key(true, name);
        let full = self.config.trackers.len() >= MAX_TRACKERS;
        if full || self.config.trackers.iter().any(|tracker| tracker.name == key) {
            return;
        }
        let mut draft = Draft::default();
        draft.set("type", "interface", line.spot);
        draft.set("interface", name, line.spot);
        self.config.trackers.push(Tracker {
            name: key,
            spot: line.spot,
            weight: None,
            reverse: false,
            checked: false,
            draft,
        });
    }

    pub(super) fn sync_group(&mut self, block: &Statement) {
        let Some(name) = self.word(block) else { return };
        let owner = Owner::Group(self.director, self.config.groups.len());
        self.object(block, owner);
        let mut group = Group { name, spot: block.spot, members: Vec::new(), draft: Draft::default() };
        for statement in block.inside() {
            if self.known(&VRRP_SYNC_GROUP, statement, owner).is_none() {
                continue;
            }
            match statement.keyword() {
                "group" => {
                    let lines = std::iter::once(statement).flat_map(|group| group.inside());
                    for line in lines {
                        self.value_of(line, owner, "virtual_routers");
                        let words = line.words.iter().map(|word| word.text.clone());
                        group.members.extend(words.map(|value| At { value, spot: line.spot }));
                    }
                }
                "track_interface" | "track_script" | "track_process" | "track_file" => {
                    self.track(statement, owner, &mut group.draft);
                }
                "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop" => {
                    self.router_hook(statement, &mut group.draft);
                }
                _ => {}
            }
        }
        self.config.groups.push(group);
    }

    /// `notify…` of an instance or a group.
    pub(super) fn router_hook(&mut self, statement: &Statement, draft: &mut Draft) {
        let key = match statement.keyword() {
            "notify_master" => "hooks.master",
            "notify_backup" => "hooks.backup",
            "notify_fault" => "hooks.fault",
            "notify_stop" | "notify_deleted" => "hooks.stop",
            _ => "hooks.any",
        };
        if statement.keyword() == "notify_deleted"
            && (statement.value().is_none() || draft.get(key).is_some())
        {
            return;
        }
        if let Some(command) = self.notified(statement) {
            draft.set(key, command.hook(statement.keyword()), statement.spot);
        }
    }
}

/// Interfaces have names of their own, beside those of scripts.
fn tracker_key(interface: bool, name: &str) -> String {
    if interface { format!("interface-{name}") } else { name.to_owned() }
}
