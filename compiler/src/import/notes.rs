//! What there is to say about an import, collected on the way: findings about the input, and what became of
//! each thing in it.

use std::collections::BTreeSet;

use super::source::Spot;
use crate::codes::Code;

/// Most findings that are kept; a file with more is no configuration.
const MAX_FINDINGS: usize = 10_000;

/// What became of a thing, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The cluster file holds a guess or a placeholder: somebody must decide.
    Decide,
    /// It is not in the cluster file.
    NotCarried,
    /// It is in the cluster file and does something else there.
    Changed,
    /// It is in the cluster file and means the same.
    Carried,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What became of it.
    pub fate: Fate,
    /// Where it stands; empty for what stands nowhere.
    pub spots: Vec<Spot>,
    /// The thing, in keepalived's words.
    pub what: String,
    /// Where it went in the cluster file.
    pub ours: Option<String>,
    /// The reason, and what to do instead.
    pub why: Option<String>,
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
    /// What to do.
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
        self.item(Owner::Cluster, item);
    }

    /// Says something else of the thing that was noted last.
    pub(super) fn instead(&mut self, fate: Fate, why: impl Into<String>) {
        if let Some((_, item)) = self.items.last_mut() {
            item.fate = fate;
            item.why = Some(why.into());
            if fate == Fate::NotCarried {
                item.ours = None;
            }
        }
    }
}
