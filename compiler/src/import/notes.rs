//! What there is to say about an import, collected on the way: findings about the input, and what became of
//! each thing in it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Spot;
use super::versions::Version;
use crate::codes::Code;

/// Most findings that are kept; a file with more is no configuration.
pub(super) const MAX_FINDINGS: usize = 10_000;

/// Fate of a thing, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The cluster file holds a guess or a placeholder: somebody must decide.
    Decide,
    /// Not in the cluster file.
    NotCarried,
    /// In the cluster file, where it does something else.
    Changed,
    /// In the cluster file, where it means the same.
    Carried,
}

/// Fate of one thing, with its places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    /// Its fate.
    pub(super) fate: Fate,
    /// Places in the input; empty for a thing that no line says.
    pub(super) spots: Vec<Spot>,
    /// The thing, in keepalived's words.
    pub(super) what: String,
    /// Place in the cluster file.
    pub(super) ours: Option<String>,
    /// The reason, and what to do instead.
    pub(super) why: Option<String>,
}

/// Role of a line that becomes no statement itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Beginning of a definition.
    Definition,
    /// Continuation of a definition that began above.
    InDefinition,
    /// An include: files are read in its place.
    Include,
    /// Its condition is not met by this director.
    OtherDirector,
}

/// Something wrong in the input. Reading goes on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which rule it breaks.
    pub code: &'static Code,
    /// The line.
    pub spot: Spot,
    /// The word of the line that is meant, when one is.
    pub word: Option<String>,
    /// The cause, one sentence without a full stop.
    pub message: String,
    /// A few words at the place.
    pub label: String,
    /// Another place that has part in it.
    pub other: Option<(Spot, String)>,
    /// Advice: the next step.
    pub hint: Option<String>,
}

impl Finding {
    pub(super) fn new(
        code: &'static Code,
        spot: Spot,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Self { code, spot, word: None, message: message.into(), label: label.into(), other: None, hint: None }
    }

    pub(super) fn at(mut self, word: impl Into<String>) -> Self {
        self.word = Some(word.into());
        self
    }

    pub(super) fn also(mut self, spot: Spot, label: impl Into<String>) -> Self {
        self.other = Some((spot, label.into()));
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What an item's place in the cluster file is below of: an object of a director's configuration, whose name
/// there is known only when all directors are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Nothing: what is said is a sentence of its own.
    Nobody,
    /// The cluster file itself.
    Cluster,
    /// The numbered instance of a director.
    Router(usize, usize),
    /// The numbered sync group of a director.
    Group(usize, usize),
    /// The numbered script, process or file of a director.
    Tracker(usize, usize),
    /// The numbered virtual server of a director.
    Service(usize, usize),
}

/// Everything there is to say.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Each with the owner of its place.
    pub(super) items: Vec<(Owner, Item)>,
    pub(super) findings: Vec<Finding>,
    /// Files that are no configuration, by number: nothing of them is read.
    pub(super) refused: BTreeSet<usize>,
    /// Lines that become no statement.
    pub(super) uses: BTreeMap<Spot, Use>,
    /// Blocks, by the line that they begin at, that were read and are not in the cluster file.
    pub(super) dropped: BTreeMap<Spot, (Fate, String)>,
    /// Meaning of lines to later versions of keepalived, by line.
    pub(super) versions: BTreeMap<Spot, BTreeSet<String>>,
    /// Blocks, by the line that they begin at, whose checks are those of real servers and not of their
    /// service.
    pub(super) of_real_servers: BTreeSet<Spot>,
    said: BTreeSet<(Spot, &'static str, String)>,
}

impl Notes {
    /// A finding, once: a line that is read many times is told once.
    pub(super) fn finding(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS
            && self.said.insert((finding.spot, finding.code.id, finding.message.clone()))
        {
            self.findings.push(finding);
        }
    }

    pub(super) fn item(&mut self, owner: Owner, item: Item) {
        self.items.push((owner, item));
    }

    /// A thing that somebody must decide, or that is different for a reason found while merging.
    pub(super) fn say(
        &mut self,
        fate: Fate,
        spots: Vec<Spot>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) {
        let item = Item { fate, spots, what: what.into(), ours: None, why: Some(why.into()) };
        self.item(Owner::Nobody, item);
    }

    /// A file is no configuration: nothing else is said of it.
    pub(super) fn refuse(&mut self, file: usize, finding: Finding) {
        self.findings.retain(|finding| finding.spot.file != file);
        self.refused.insert(file);
        self.finding(finding);
    }

    /// Sets the role of a line that becomes no statement.
    pub(super) fn used(&mut self, spot: Spot, what: Use) {
        self.uses.insert(spot, what);
    }

    /// The block that begins at a line was read and is not in the cluster file: neither the line nor any line
    /// in it is carried, and nothing about them is left to decide. [`Fate::Carried`] says that it has no
    /// effect in keepalived either.
    pub(super) fn dropped(&mut self, spot: Spot, fate: Fate, why: impl Into<String>) {
        self.dropped.entry(spot).or_insert_with(|| (fate, why.into()));
    }

    /// The checks in the block that begins at a line are of single real servers.
    pub(super) fn of_real_servers(&mut self, spot: Spot) {
        self.of_real_servers.insert(spot);
    }

    /// Records the meaning of a line to a later version of keepalived.
    pub(super) fn in_version(&mut self, spot: Spot, since: Version, text: &str) {
        self.versions.entry(spot).or_default().insert(format!("keepalived {since} and later: {text}"));
    }

    /// Whether no more findings are kept.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    /// A thing that was noted has no effect in keepalived, and none here.
    pub(super) fn without_effect(&mut self, note: usize, why: impl Into<String>) {
        if let Some((_, item)) = self.items.get_mut(note) {
            item.fate = Fate::NotCarried;
            item.ours = None;
            item.why = Some(format!("without effect in keepalived, too: {}", why.into()));
        }
    }

    /// Says something else of a thing that was noted.
    pub(super) fn instead_at(&mut self, note: usize, fate: Fate, why: impl Into<String>) {
        if let Some((_, item)) = self.items.get_mut(note) {
            item.fate = fate;
            item.why = Some(why.into());
            if fate == Fate::NotCarried {
                item.ours = None;
            }
        }
    }
}
