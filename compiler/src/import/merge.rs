//! From the models of all directors to one cluster: what belongs together, what they disagree about, and what
//! no configuration of keepalived says. The result is the cluster file as a value; `write` makes text of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::Request;
use super::model::{At, Config, Draft};
use super::notes::{Fate, Notes, Owner};
use super::source::Spot;

mod checks;
mod hosts;
mod routers;
mod segments;
mod services;

/// The cluster file, before it is text.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) cluster: Map<String, Value>,
    /// Names there of the objects of the directors' configurations.
    pub(super) names: BTreeMap<Owner, String>,
    /// Comments to be written above a line, by section and name.
    pub(super) comments: BTreeMap<(String, String), String>,
}

/// Merges the directors' configurations.
pub(super) fn merge(request: &Request, configs: &[Config], notes: &mut Notes) -> Merged {
    let mut merger = Merger {
        request,
        configs,
        notes,
        merged: Merged::default(),
        routers: Vec::new(),
        hosts: BTreeMap::new(),
        reals: BTreeMap::new(),
        holders: BTreeMap::new(),
        segments: segments::Segments::default(),
        taken: BTreeMap::new(),
    };
    merger.run();
    merger.merged
}

struct Merger<'a> {
    request: &'a Request,
    configs: &'a [Config],
    notes: &'a mut Notes,
    merged: Merged,
    routers: Vec<routers::MergedRouter>,
    /// By name.
    hosts: BTreeMap<String, hosts::Host>,
    /// Names of hosts by address.
    reals: BTreeMap<IpAddr, String>,
    /// Which router has a VIP.
    holders: BTreeMap<IpAddr, usize>,
    segments: segments::Segments,
    /// Names that were given, by section.
    taken: BTreeMap<&'static str, FreeNames>,
}

/// Names that were given, and the number that comes next where one is wanted again.
#[derive(Debug, Default)]
struct FreeNames(BTreeMap<String, usize>);

impl FreeNames {
    /// The name, or where it is taken one with a number behind it.
    fn free(&mut self, name: &str) -> String {
        if !self.0.contains_key(name) {
            self.0.insert(name.to_owned(), 2);
            return name.to_owned();
        }
        let short = &name[..name.floor_char_boundary(56)];
        let mut number = self.0.get(short).or_else(|| self.0.get(name)).copied().unwrap_or(2);
        let mut free = format!("{short}-{number}");
        while self.0.contains_key(&free) {
            number += 1;
            free = format!("{short}-{number}");
        }
        self.0.insert(short.to_owned(), number + 1);
        self.0.insert(free.clone(), 2);
        free
    }
}

impl Merger<'_> {
    fn run(&mut self) {
        self.group_routers();
        self.directors();
        if let [only] = self.request.directors.as_slice() {
            let why = "a cluster has two: import the configurations of all of them together";
            self.notes.say(Fate::Decide, Vec::new(), format!("only one director, {}", only.name), why);
        }
        self.trackers();
        self.virtual_routers();
        self.sync_groups();
        self.services();
        self.connection_sync();
        let cluster = self.in_agreement(
            "the cluster",
            &self
                .configs
                .iter()
                .map(|config| (&config.cluster, Spot { file: 0, line: 0 }))
                .collect::<Vec<_>>(),
            &[],
        );
        let cluster = nested(&cluster);
        self.finish_hosts();
        let mut out = Map::new();
        out.insert("version".to_owned(), json!(1));
        out.insert("name".to_owned(), json!(self.request.name));
        let segments = self.segments.finish(&self.request.subnets, self.notes);
        self.astray(&segments.astray);
        self.name_segments(&segments);
        out.insert("segments".to_owned(), Value::Object(segments.section));
        for (section, value) in std::mem::take(&mut self.merged.cluster) {
            out.insert(section, value);
        }
        for (section, value) in cluster {
            out.insert(section, value);
        }
        self.merged.cluster = out;
    }

    /// Puts an object into a section of the cluster file.
    fn put(&mut self, section: &str, name: &str, value: Map<String, Value>) {
        let entry = self.merged.cluster.entry(section).or_insert_with(|| json!({}));
        if let Value::Object(objects) = entry {
            objects.insert(name.to_owned(), Value::Object(value));
        }
    }

    /// A name that nothing in the section has yet.
    fn free(&mut self, section: &'static str, name: &str) -> String {
        let name = super::read::named(name);
        self.taken.entry(section).or_default().free(&name)
    }

    /// One draft of several that should be equal. Where they are not, the first director's value is taken.
    fn in_agreement(&mut self, what: &str, drafts: &[(&Draft, Spot)], defaults: &[(&str, Value)]) -> Draft {
        let mut taken = Draft::default();
        let default =
            |key: &str| defaults.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone());
        let keys: Vec<&String> = drafts.iter().flat_map(|(draft, _)| draft.0.keys()).collect();
        for key in keys {
            if taken.get(key).is_some() {
                continue;
            }
            let said: Vec<(Option<Value>, Spot)> = drafts
                .iter()
                .map(|(draft, spot)| match draft.0.get(key) {
                    Some(at) => (Some(at.value.clone()), at.spot),
                    None => (default(key), *spot),
                })
                .collect();
            let Some((first, place)) = said.first().cloned() else { continue };
            if let Some((other, second)) = said.iter().find(|(value, _)| *value != first) {
                let name = key.replace('.', " ");
                self.disagree(
                    &format!("{name} of {what}"),
                    &[(shown(key, first.as_ref()), place), (shown(key, other.as_ref()), *second)],
                );
            }
            // Without a value the first has the default, unless only others have such a thing at all.
            let value = match first {
                Some(value) => Some(At { value, spot: place }),
                None => said.iter().find_map(|(value, spot)| Some(At { value: value.clone()?, spot: *spot })),
            };
            if let Some(at) = value {
                taken.0.insert(key.clone(), at);
            }
        }
        taken
    }

    /// Two directors say different things: the first one's was taken.
    fn disagree(&mut self, what: &str, said: &[(String, Spot)]) {
        let values: Vec<&str> = said.iter().map(|(value, _)| value.as_str()).collect();
        // Secrets are not shown, so two that differ look alike.
        if let [first, second, ..] = values.as_slice()
            && first == second
        {
            let spots = said.iter().map(|(_, spot)| *spot).filter(|spot| spot.line > 0).collect();
            let why = "two different passwords; that of the director with the higher priority was taken";
            return self.notes.say(Fate::Decide, spots, format!("the directors differ in {what}"), why);
        }
        let taken = values.iter().find(|value| **value != NOTHING).copied().unwrap_or_default();
        let spots = said.iter().map(|(_, spot)| *spot).filter(|spot| spot.line > 0).collect();
        self.notes.say(
            Fate::Decide,
            spots,
            format!("the directors differ in {what}"),
            format!("{}; `{taken}` was taken", values.join(" against ")),
        );
    }
}

/// Value of a thing at a director that does not have it.
const NOTHING: &str = "nothing";

/// A value in a report; secrets are not shown.
fn shown(key: &str, value: Option<&Value>) -> String {
    match value {
        Some(_) if key == "auth" => "a password".to_owned(),
        None => NOTHING.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// The keys of a draft as tables: a dot leads into one.
fn nested(draft: &Draft) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, at) in &draft.0 {
        let mut table = &mut out;
        let mut steps = key.split('.').peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                table.insert(step.to_owned(), at.value.clone());
                break;
            }
            let entry = table.entry(step).or_insert_with(|| json!({}));
            let Value::Object(inner) = entry else { break };
            table = inner;
        }
    }
    out
}
