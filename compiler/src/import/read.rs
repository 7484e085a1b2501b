//! From statements to the model. This file has what all blocks share: the order in which they are read, and
//! noting what becomes of a keyword. Values are read in `read/values.rs`; the other files below `read/` know
//! one kind of block each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Request;
use super::keywords::{Block, Row};
use super::model::{At, Config, Draft, Target};
use super::notes::{Fate, Finding, Item, Notes, Owner};
use super::source::Spot;
use super::tree::Statement;
use super::versions::{self, Fact, Version};
use super::words::shorten;
use crate::codes;
use crate::suggest::Suggester;

mod address;
mod as_tcp;
mod certificate;
mod check;
mod command;
mod datagrams;
mod expression;
mod file_check;
mod global;
mod instance;
mod ip;
mod real_server;
mod server_group;
mod service;
mod settle;
mod settle_service;
mod tracking;
mod url;
mod values;

/// Reads one director's statements.
pub(super) fn read(
    director: usize,
    request: &Request,
    statements: &[Statement],
    notes: &mut Notes,
) -> Config {
    let mut reader = Reader {
        director,
        request,
        notes,
        note: 0,
        spoken: BTreeMap::new(),
        config: Config::default(),
        strict: false,
        routers: Draft::default(),
        script_user: None,
        garp_groups: BTreeMap::new(),
        certificate: certificate::Certificate::default(),
        server_groups: BTreeMap::new(),
        trackers: BTreeMap::new(),
        instances: BTreeMap::new(),
        virtual_routers: BTreeMap::new(),
        targets: BTreeMap::new(),
        in_group: BTreeMap::new(),
        group_names: BTreeMap::new(),
        next_rules: (FIRST_PREFERENCE, FIRST_PREFERENCE),
        suggester: Suggester::new(),
    };
    reader.run(statements);
    reader.config
}

struct Reader<'a> {
    director: usize,
    request: &'a Request,
    notes: &'a mut Notes,
    /// Number of the note of the statement that is read.
    note: usize,
    /// What was said in the block that is read, and the number of the note of who said it.
    spoken: BTreeMap<&'static str, usize>,
    config: Config,
    /// `vrrp_strict`.
    strict: bool,
    /// Settings of `global_defs` for every instance.
    routers: Draft,
    /// User of programs that name none.
    script_user: Option<String>,
    /// Pause between announcements, by interface.
    garp_groups: BTreeMap<String, At<Value>>,
    /// Certificate and key that checks by TLS show.
    certificate: certificate::Certificate,
    /// Targets of a group, and which notes are about it until something uses it.
    server_groups: BTreeMap<String, (Vec<Target>, std::ops::Range<usize>)>,
    /// Numbers of trackers by kind and name.
    trackers: BTreeMap<(&'static str, String), usize>,
    /// Numbers of instances by name.
    instances: BTreeMap<String, usize>,
    /// Instances that are one virtual router to the network.
    virtual_routers: BTreeMap<instance::Identity, usize>,
    /// Virtual servers by what they balance and their protocol.
    targets: BTreeMap<(Vec<Target>, String), usize>,
    /// Names of instances that a sync group has, the first such group, and whether it keeps the weights of
    /// what its members track.
    in_group: BTreeMap<String, (String, bool)>,
    /// Names of sync groups, and where the first of each is.
    group_names: BTreeMap<String, Spot>,
    /// Preferences of the next rule that says none, of IPv4 and of IPv6.
    next_rules: (u32, u32),
    suggester: Suggester,
}

/// keepalived's preference of the first rule that says none.
const FIRST_PREFERENCE: u32 = 16_384;

impl Reader<'_> {
    /// keepalived knows a name only after its definition. What it reads before all else, or puts together at
    /// the end, comes first here: `global_defs`, groups of interfaces and addresses, and which instances are
    /// in a group.
    fn run(&mut self, statements: &[Statement]) {
        let known: Vec<&Statement> = statements
            .iter()
            .filter(|statement| self.known(&super::keywords::TOP, statement, Owner::Cluster).is_some())
            .collect();
        let mut keys = known.iter().filter(|statement| statement.keyword() == "SSL").map(|block| block.spot);
        if let (Some(_), Some(last)) = (keys.next(), keys.next_back()) {
            let why = "keepalived takes the last alone, and so does the import";
            self.notes.say(Fate::Changed, vec![last], "a further `SSL`", why);
        }
        let first = ["global_defs", "garp_group", "virtual_server_group", "SSL", "bfd_instance"];
        for statement in &known {
            match statement.keyword() {
                keyword if first.contains(&keyword) => self.top(statement),
                "vrrp_sync_group" => self.members_of(statement),
                _ => {}
            }
        }
        for statement in &known {
            if !first.contains(&statement.keyword()) {
                self.top(statement);
            }
        }
        self.all_ports();
        self.unused_certificate();
        for (_, notes) in std::mem::take(&mut self.server_groups).into_values() {
            self.left_out(notes, "no virtual server uses its group");
        }
    }

    fn top(&mut self, statement: &Statement) {
        self.spoken.clear();
        match statement.keyword() {
            "global_defs" => self.global_defs(statement),
            "garp_group" => self.garp_group(statement),
            "vrrp_script" => self.script(statement),
            "vrrp_track_process" => self.process(statement),
            "track_file" | "vrrp_track_file" => self.track_file(statement),
            "virtual_server_group" => self.server_group(statement),
            "vrrp_instance" => self.instance(statement),
            "vrrp_sync_group" => self.sync_group(statement),
            "virtual_server" => self.virtual_server(statement),
            "SSL" => self.ssl(statement),
            "bfd_instance" => self.each(&super::keywords::BFD_INSTANCE, statement),
            "static_rules" => {
                for line in statement.inside() {
                    self.next_preference(line);
                }
            }
            _ => {}
        }
    }

    /// Notes the keywords of a block of which nothing is carried.
    fn each(&mut self, block: &'static Block, statement: &Statement) {
        for inside in statement.inside() {
            self.known(block, inside, Owner::Cluster);
        }
    }

    /// Looks a statement up and notes what becomes of it; `None` when the block does not have it.
    fn known(&mut self, block: &'static Block, statement: &Statement, owner: Owner) -> Option<&'static Row> {
        self.known_in(&[block], block.name, statement, owner)
    }

    /// The same in a block whose keywords are in several tables.
    fn known_in(
        &mut self,
        blocks: &[&'static Block],
        name: &str,
        statement: &Statement,
        owner: Owner,
    ) -> Option<&'static Row> {
        let keyword = statement.keyword();
        let found = blocks.iter().find_map(|block| Some((*block, block.find(keyword)?)));
        let Some((block, row)) = found else {
            let names = blocks.iter().flat_map(|block| block.names());
            let near = self.suggester.closest(keyword, names);
            let finding = Finding::new(
                &codes::IMPORT_UNKNOWN,
                statement.spot,
                format!("`{}` is no keyword of {name}", shorten(keyword)),
                "without effect in keepalived",
            )
            .at(keyword);
            self.notes.finding(match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding,
            });
            // A file with more than this is no configuration.
            if self.notes.is_full() {
                return None;
            }
            let item = Item {
                fate: Fate::NotCarried,
                spots: vec![statement.spot],
                what: shown(statement),
                ours: None,
                why: Some(format!("it is no keyword of {name}, and keepalived ignores it")),
            };
            self.note = self.notes.items.len();
            self.notes.item(Owner::Cluster, item);
            return None;
        };
        if let Some(since) =
            versions::since(block.name, keyword).filter(|since| *since > self.request.keepalived)
        {
            self.too_young(statement, since);
            return None;
        }
        // Below the object: `services.*.check` is `check` of its service.
        let below = block.place.splitn(3, '.').nth(2).map_or_else(String::new, |below| format!("{below}."));
        let ours = (!row.ours.is_empty()).then(|| format!("{below}{}", row.ours));
        let why = (!row.why.is_empty()).then(|| row.why.to_owned());
        let what = shown(statement);
        self.note = self.notes.items.len();
        self.notes.item(owner, Item { fate: row.fate, spots: vec![statement.spot], what, ours, why });
        if row.fate == Fate::Carried && row.ours.is_empty() {
            self.idle(statement);
        }
        if statement.value().is_none() && needs_value(keyword) {
            self.lacks_value(statement);
        }
        Some(row)
    }

    /// A keyword that is younger than the directors' keepalived, which ignores the line.
    fn too_young(&mut self, statement: &Statement, since: Version) {
        let (keyword, version) = (statement.keyword(), self.request.keepalived);
        let message = format!("`{keyword}` is no keyword of keepalived {version}: {since} and later have it");
        let hint = format!("if the directors run a later version, say which: --keepalived-version {since}");
        let finding =
            Finding::new(&codes::IMPORT_UNKNOWN, statement.spot, message, "without effect in keepalived");
        self.notes.finding(finding.at(keyword).hint(hint));
        let item = Item {
            fate: Fate::NotCarried,
            spots: vec![statement.spot],
            what: shown(statement),
            ours: None,
            why: Some(format!("keepalived {version} does not know it and ignores it")),
        };
        self.note = self.notes.items.len();
        self.notes.item(Owner::Cluster, item);
        self.notes.in_version(statement.spot, since, &format!("`{keyword}` is a keyword"));
    }

    /// Whether the directors' keepalived reads a line in the newer of two ways. Of what the import does not
    /// read so, somebody must
    /// decide; of what only later versions do, the report tells.
    fn newer(&mut self, fact: &Fact, spot: Spot) -> bool {
        if self.request.keepalived < fact.since {
            self.notes.in_version(spot, fact.since, fact.text);
            return false;
        }
        if !fact.read {
            let what = format!("with keepalived {}", self.request.keepalived);
            self.notes.say(
                Fate::Decide,
                vec![spot],
                what,
                format!("{}; that is not in the cluster file", fact.text),
            );
        }
        true
    }

    /// Looks at the value of a keyword that needs nothing here: keepalived may ignore it.
    fn idle(&mut self, statement: &Statement) {
        let value = statement.value();
        let known = match statement.keyword() {
            "log_all_failures"
            | "checker_log_all_failures"
            | "fast_recovery"
            | "skip_check_adv_addr"
            | "vrrp_skip_check_adv_addr" => {
                self.switch(statement);
                true
            }
            "dynamic_interfaces" => matches!(value, None | Some("allow_if_changes")),
            "old_unicast_checksum" => matches!(value, None | Some("never")),
            "router_id" => value.is_some(),
            "random_seed" => value.is_some_and(|text| text.parse::<u32>().is_ok()),
            "debug" => value.is_some_and(|text| text.parse::<u8>().is_ok_and(|level| level <= 4)),
            "reload_time_file" => statement.values().count() == 1,
            "include_check" => statement
                .values()
                .all(|word| matches!(word, "readable" | "match" | "wildcard_match" | "brace_match")),
            _ => true,
        };
        if !known {
            let message = format!("this is no value of `{}`", statement.keyword());
            self.bad(statement, message, "keepalived ignores the line");
        }
    }

    /// Notes a block that becomes an object of the cluster file.
    fn object(&mut self, statement: &Statement, owner: Owner) {
        let item = Item {
            fate: Fate::Carried,
            spots: vec![statement.spot],
            what: shown(statement),
            ours: Some(String::new()),
            why: None,
        };
        self.note = self.notes.items.len();
        self.notes.item(owner, item);
    }

    /// What the statement that is read says counts, and what the block said of the same thing before does
    /// not.
    fn says(&mut self, thing: &'static str) {
        let Some(before) = self.spoken.insert(thing, self.note).filter(|before| *before != self.note) else {
            return;
        };
        let line = self.notes.items.get(self.note).and_then(|(_, item)| item.spots.first().copied());
        let again = line.map_or_else(String::new, |spot| format!("line {} says it again, and ", spot.line));
        self.notes.without_effect(before, format!("{again}the last counts"));
    }

    /// Whether nobody said this in the block before. keepalived keeps the first, and ignores what comes
    /// later.
    fn says_first(&mut self, thing: &'static str, statement: &Statement) -> bool {
        let Some(before) = self.spoken.get(thing).copied() else {
            self.spoken.insert(thing, self.note);
            return true;
        };
        let place = self.notes.items.get(before).and_then(|(_, item)| item.spots.first().copied());
        self.instead(Fate::NotCarried, "keepalived keeps the first and ignores this one");
        let finding = Finding::new(
            &codes::IMPORT_DUPLICATE,
            statement.spot,
            format!("`{}` is said twice", shorten(statement.keyword())),
            "ignored: keepalived keeps the first",
        )
        .at(statement.keyword());
        self.notes.finding(match place {
            Some(place) => finding.also(place, "first here"),
            None => finding,
        });
        false
    }

    /// Says something else of the statement that is read.
    fn instead(&mut self, fate: Fate, why: impl Into<String>) {
        self.notes.instead_at(self.note, fate, why);
    }

    /// Whether nothing was said yet against the statement that is read.
    fn is_as_written(&self) -> bool {
        self.notes.items.get(self.note).is_some_and(|(_, item)| item.fate == Fate::Carried)
    }

    /// A value that keepalived does not understand, and what it takes.
    fn bad(&mut self, statement: &Statement, message: String, taken: &str) {
        self.bad_word(statement, statement.value(), message, taken);
    }

    fn bad_word(&mut self, statement: &Statement, word: Option<&str>, message: String, taken: &str) {
        if let Some((_, item)) = self.notes.items.get(self.note)
            && item.spots.first() == Some(&statement.spot)
            && item.fate != Fate::NotCarried
        {
            let gone = taken.ends_with("left out") || taken.contains("ignore");
            let fate = if gone { Fate::NotCarried } else { Fate::Changed };
            self.instead(fate, format!("{message}: {taken}"));
        }
        let word = word.map(ToOwned::to_owned);
        let mut finding = Finding::new(&codes::IMPORT_VALUE, statement.spot, message, taken.to_owned());
        finding.word = word.filter(|_| !is_secret(statement.keyword()));
        self.notes.finding(finding);
    }

    /// A line without a value that it needs: keepalived ends at it.
    fn lacks_value(&mut self, statement: &Statement) {
        let keyword = shorten(statement.keyword());
        self.bad_word(
            statement,
            None,
            format!("`{keyword}` needs a value"),
            "keepalived does not start with such a line; here it is left out",
        );
    }

    /// The name of a block, whatever stands behind it.
    fn first_name(&mut self, block: &Statement) -> Option<String> {
        let name = self.word(block);
        if name.is_none() {
            self.skip(block, "keepalived does not start where a block has no name");
        }
        name
    }

    /// The name of a block.
    fn name(&mut self, block: &Statement) -> Option<String> {
        let name = self.first_name(block)?;
        if let Some(second) = block.values().nth(1) {
            let message = format!("`{}` has one name, not also `{}`", block.keyword(), shorten(second));
            let finding = Finding::new(
                &codes::IMPORT_VALUE,
                block.spot,
                message,
                "keepalived skips the whole block".to_owned(),
            );
            self.notes.finding(finding.at(second));
            self.skip(block, "keepalived skips a block with more than one name");
            return None;
        }
        Some(name)
    }

    /// Notes a block that keepalived skips.
    fn skip(&mut self, block: &Statement, why: &str) {
        let mut open = vec![block];
        while let Some(statement) = open.pop() {
            let item = Item {
                fate: Fate::NotCarried,
                spots: vec![statement.spot],
                what: shown(statement),
                ours: None,
                why: Some(why.to_owned()),
            };
            self.notes.item(Owner::Cluster, item);
            open.extend(statement.inside().iter().rev());
        }
    }

    /// Leaves a block out: nothing of it was carried after all.
    fn leave_out(&mut self, from: usize, why: &str) {
        self.left_out(from..self.notes.items.len(), why);
    }

    fn left_out(&mut self, notes: std::ops::Range<usize>, why: &str) {
        let items = self.notes.items.get(notes).into_iter().flatten();
        for spot in items.flat_map(|(_, item)| item.spots.clone()).collect::<Vec<_>>() {
            self.notes.dropped(spot, Fate::NotCarried, why);
        }
    }

    fn missing(&mut self, spot: Spot, message: impl Into<String>, taken: &str) {
        self.notes.finding(Finding::new(&codes::IMPORT_INCOMPLETE, spot, message, taken.to_owned()));
    }
}

/// Whether keepalived ends at a line of this keyword without a value, of those that nothing here takes the
/// value of.
fn needs_value(keyword: &str) -> bool {
    super::keywords::NEED_A_VALUE.split(' ').any(|name| name == keyword)
}

/// Words that must not appear in a report.
pub(super) fn is_secret(keyword: &str) -> bool {
    matches!(keyword, "auth_pass" | "password" | "key")
}

/// A statement as the report shows it.
fn shown(statement: &Statement) -> String {
    if is_secret(statement.keyword()) {
        return format!("{} ********", statement.keyword());
    }
    shorten(&statement.text())
}

/// A text made into a name: what may not be in one becomes `-`.
pub(super) fn named(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|char| if char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-') { char } else { '-' })
        .take(63)
        .collect();
    let clean = clean.trim_matches(['_', '.', '-']);
    if clean.is_empty() { "unnamed".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name() {
        for (text, name) in
            [("VI_1", "VI_1"), ("a b/c", "a-b-c"), ("_x_", "x"), ("é", "unnamed"), ("", "unnamed")]
        {
            assert_eq!(named(text), name);
            assert!(named(text).parse::<evenkeel_schemas::scalars::Name>().is_ok());
        }
    }
}
