//! What became of each line of the input: every line that has a statement is here exactly once, whatever was
//! said of it and however often.
//!
//! What reading and merging say of statements and of things that stand at several places is sorted by line
//! here. A line of which nothing was said takes it from its block; a line of which even that says nothing is
//! to be decided, so that none is lost in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::notes::{Fate, Finding, Item, MAX_FINDINGS, Notes, Owner, Use};
use super::source::{Source, Spot};
use super::tree::Statement;
use super::words::without_comment;
use crate::codes;

/// Places in the cluster file that are kept of one line: a sequence makes a line into thousands of things.
const MAX_PLACES: usize = 8;

/// Reasons that are kept of one line.
const MAX_REASONS: usize = 16;

/// Lines that are kept with a reason: it stands at each of them, so their number would count twice.
const MAX_REASON_LINES: usize = 16;

/// Different keywords on one line that are looked after: more come only of sequences.
const MAX_KEYWORDS: usize = 64;

/// A line of a file and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The line; the first of its places when a file was read for several directors.
    pub spot: Spot,
    /// The directors whose configurations have it, by number.
    pub directors: Vec<usize>,
    /// The most urgent of what became of what stands on it.
    pub fate: Fate,
    /// Its place in the cluster file.
    pub ours: Vec<Ours>,
    /// Why, the most urgent first.
    pub reasons: Vec<Reason>,
    /// First line of the block whose fate it shares, and nothing else is to be said of it.
    pub shares: Option<Spot>,
    /// Meaning of the line to later versions of keepalived.
    pub versions: Vec<String>,
    /// Keywords on it.
    keywords: Vec<String>,
    in_definition: bool,
}

impl Line {
    /// Whether it continues a definition that began above.
    #[must_use]
    pub const fn in_definition(&self) -> bool {
        self.in_definition
    }

    /// Keywords on the line, in their order.
    #[must_use]
    pub fn keywords(&self) -> &[String] {
        &self.keywords
    }
}

/// A place in the cluster file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ours {
    section: &'static str,
    /// Name of the object; none where the key is a whole path.
    name: Option<String>,
    key: String,
}

impl Ours {
    /// The path of the key.
    #[must_use]
    pub fn path(&self) -> String {
        self.with(self.name.as_deref())
    }

    /// The path with `*` for the object's name: what is alike of many objects.
    #[must_use]
    pub fn pattern(&self) -> String {
        self.with(self.name.as_ref().map(|_| "*"))
    }

    fn with(&self, name: Option<&str>) -> String {
        match (name, self.key.as_str()) {
            (None, key) => key.to_owned(),
            (Some(name), "") => format!("{}.{name}", self.section),
            (Some(name), key) => format!("{}.{name}.{key}", self.section),
        }
    }
}

/// Why a line has its fate, or something that no line says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason {
    /// Meaning of the line to it.
    pub fate: Fate,
    /// The reason, and what to do instead.
    pub text: String,
    /// The lines that it is about, when there are several; at most the first 16.
    pub spots: Vec<Spot>,
}

/// The statement at a line, and its block.
#[derive(Debug, Default)]
struct Placed {
    keywords: Vec<String>,
    /// First line of the block that it stands in.
    parent: Option<Spot>,
    /// Blocks that begin at the line, but for those within one of them.
    blocks: usize,
}

/// Which statements stand where.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<Spot, Placed>);

impl Places {
    /// Adds the statements of a configuration.
    pub(super) fn add(&mut self, statements: &[Statement]) {
        self.below(None, statements);
    }

    /// No deeper than the tree is.
    fn below(&mut self, parent: Option<Spot>, statements: &[Statement]) {
        for statement in statements {
            let placed = self.0.entry(statement.spot).or_default();
            let keyword = statement.keyword();
            if placed.keywords.len() < MAX_KEYWORDS && !placed.keywords.iter().any(|known| known == keyword) {
                placed.keywords.push(super::words::shorten(keyword));
            }
            if placed.parent.is_none() {
                placed.parent = parent.filter(|parent| *parent != statement.spot);
            }
            if let Some(inside) = &statement.block {
                // A block within another on one line ends with it.
                placed.blocks += usize::from(parent != Some(statement.spot));
                self.below(Some(statement.spot), inside);
            }
        }
    }
}

/// Facts about a line while lines are sorted.
#[derive(Debug, Default)]
struct LineDraft {
    ours: Vec<Ours>,
    reasons: Vec<Reason>,
    fate: Option<Fate>,
    /// First words of what was said of it.
    said: Vec<String>,
}

impl LineDraft {
    fn add(&mut self, fate: Fate, reason: Option<Reason>, ours: Option<Ours>) {
        self.fate = Some(self.fate.map_or(fate, |before| before.min(fate)));
        if let Some(reason) = reason
            && self.reasons.len() < MAX_REASONS
            && !self.reasons.iter().any(|known| known.text == reason.text)
        {
            self.reasons.push(reason);
        }
        if let Some(ours) = ours
            && self.ours.len() < MAX_PLACES
            && !self.ours.contains(&ours)
        {
            self.ours.push(ours);
        }
    }

    fn say(&mut self, fate: Fate, text: impl Into<String>) {
        self.add(fate, Some(Reason { fate, text: text.into(), spots: Vec::new() }), None);
    }
}

/// Everything that the report's lines are made of.
pub(super) struct SortInput<'a> {
    pub(super) request: &'a Request,
    pub(super) sources: &'a [Source],
    pub(super) places: &'a Places,
    pub(super) notes: &'a Notes,
    /// Names of objects in the cluster file.
    pub(super) names: &'a BTreeMap<Owner, String>,
}

/// The lines of all files, file by file, and what no line says.
pub(super) fn sort(input: &SortInput<'_>) -> (Vec<Line>, Vec<Reason>) {
    let mut told: BTreeMap<Spot, &Finding> = BTreeMap::new();
    let mut cut = BTreeSet::new();
    for finding in &input.notes.findings {
        told.entry(finding.spot).or_insert(finding);
        let cuts = [codes::IMPORT_EXPANSION.id, codes::IMPORT_BRACE.id];
        if cuts.contains(&finding.code.id) {
            cut.extend(input.sources.get(finding.spot.file).map(|source| source.director));
        }
    }
    let mut sorter = Sorter {
        input,
        told,
        cut,
        dropped: input.notes.dropped.clone(),
        drafts: BTreeMap::new(),
        blocks: BTreeMap::new(),
        general: Vec::new(),
        said: BTreeSet::new(),
    };
    for (owner, item) in &input.notes.items {
        sorter.item(*owner, item);
    }
    let lines = sorter.lines();
    (lines, sorter.general)
}

struct Sorter<'a> {
    input: &'a SortInput<'a>,
    /// The first finding of a line.
    told: BTreeMap<Spot, &'a Finding>,
    /// Directors whose configurations were not read to their ends.
    cut: BTreeSet<usize>,
    dropped: BTreeMap<Spot, (Fate, String)>,
    drafts: BTreeMap<Spot, LineDraft>,
    /// Blocks of which nothing is carried or known, with the outermost one that says so.
    blocks: BTreeMap<Spot, (Fate, Spot)>,
    general: Vec<Reason>,
    /// Facts that no line says and that were reported already.
    said: BTreeSet<String>,
}

impl Sorter<'_> {
    /// Sorts what was said of one thing under its lines.
    fn item(&mut self, owner: Owner, item: &Item) {
        let Item { fate, spots, what, ours, why } = item;
        if owner == Owner::Nobody {
            let text = match why {
                Some(why) => format!("{what}: {why}"),
                None => what.clone(),
            };
            let kept = if spots.len() > 1 { spots.len().min(MAX_REASON_LINES) } else { 0 };
            let reason = Reason { fate: *fate, text, spots: spots.iter().take(kept).copied().collect() };
            if spots.is_empty() {
                if self.said.insert(reason.text.clone()) {
                    self.general.push(reason);
                }
                return;
            }
            for spot in spots {
                self.drafts.entry(*spot).or_default().add(*fate, Some(reason.clone()), None);
            }
            return;
        }
        let Some(spot) = spots.first().copied() else { return };
        let name = self.input.names.get(&owner);
        // Its object is not in the cluster file, whatever was meant to become of it.
        let gone = owner != Owner::Cluster && name.is_none();
        if gone {
            let why = "its block is not carried".to_owned();
            self.dropped.entry(spot).or_insert((Fate::NotCarried, why));
        }
        let ours = ours.as_ref().filter(|_| !gone).map(|key| self.place(owner, name, spot, key));
        let reason = why.clone().map(|text| Reason { fate: *fate, text, spots: Vec::new() });
        let draft = self.drafts.entry(spot).or_default();
        draft.add(*fate, reason, ours);
        for word in what.split(' ').take(3) {
            if draft.said.len() < MAX_KEYWORDS && !draft.said.iter().any(|said| said == word) {
                draft.said.push(word.to_owned());
            }
        }
    }

    /// A key of an owner as a path of the cluster file.
    fn place(&self, owner: Owner, name: Option<&String>, spot: Spot, key: &str) -> Ours {
        let whole = |key: String| Ours { section: "", name: None, key };
        let section = match owner {
            Owner::Nobody | Owner::Cluster => "",
            Owner::Router(..) => "virtual_routers",
            Owner::Group(..) => "sync_groups",
            Owner::Tracker(..) => "trackers",
            Owner::Service(..) => "services",
        };
        if let Some(rest) = key.strip_prefix("hosts.*") {
            let director = self.input.sources.get(spot.file).map(|source| source.director);
            let host = director.and_then(|director| self.input.request.directors.get(director));
            let key = rest.trim_start_matches('.').to_owned();
            return Ours { section: "hosts", name: host.map(|host| host.name.clone()), key };
        }
        match name {
            None => whole(key.to_owned()),
            Some(_) if key.contains('*') => whole(key.to_owned()),
            // A file that only checks read is in the checks.
            Some(name) if name.is_empty() => whole("services.*.check.file".to_owned()),
            Some(name) => {
                let key = if self.is_of_real_servers(spot, key) {
                    format!("real_servers.{key}")
                } else {
                    key.to_owned()
                };
                Ours { section, name: Some(name.clone()), key }
            }
        }
    }

    /// Whether a key of checks went to real servers and not to their service.
    fn is_of_real_servers(&self, spot: Spot, key: &str) -> bool {
        let notes = &self.input.notes;
        if notes.of_real_servers.is_empty() || key.split('.').next() != Some("check") {
            return false;
        }
        let mut at = Some(spot);
        // Blocks end: no tree is deeper than its limit.
        for _ in 0..=super::tree::MAX_DEPTH {
            let Some(here) = at else { break };
            if notes.of_real_servers.contains(&here) {
                return true;
            }
            at = self.input.places.0.get(&here).and_then(|placed| placed.parent);
        }
        false
    }

    /// Every line that has a statement, once.
    fn lines(&mut self) -> Vec<Line> {
        let mut out: Vec<Line> = Vec::new();
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        let mut at: BTreeMap<Spot, usize> = BTreeMap::new();
        let input = self.input;
        let read = input.sources.iter().enumerate().filter(|(file, _)| !input.notes.refused.contains(file));
        for (file, source) in read {
            let original = *first.entry(source.path.as_str()).or_insert(file);
            for (index, text) in source.text.split('\n').enumerate() {
                if !is_significant(text) {
                    continue;
                }
                let spot = Spot { file, line: index + 1 };
                let mut line = self.line(spot);
                line.shares =
                    line.shares.map(|block| Spot { file: self.original(&first, block.file), ..block });
                // A file of several directors has its lines once.
                let key = Spot { file: original, line: spot.line };
                match at.get(&key).and_then(|at| out.get_mut(*at)) {
                    Some(same) => join(same, line),
                    None => {
                        at.insert(key, out.len());
                        out.push(line);
                    }
                }
            }
        }
        out
    }

    /// The first file with the path of a file.
    fn original(&self, first: &BTreeMap<&str, usize>, file: usize) -> usize {
        let path = self.input.sources.get(file).map(|source| source.path.as_str());
        path.and_then(|path| first.get(path)).copied().unwrap_or(file)
    }

    /// One line as one director has it.
    fn line(&mut self, spot: Spot) -> Line {
        let input = self.input;
        let placed = input.places.0.get(&spot);
        let mut draft = self.drafts.remove(&spot).unwrap_or_default();
        let mut shares = None;
        if let Some((root, fate, why)) = self.dropped_with(spot) {
            // Of several blocks on a line one may be carried, with what is to be decided about it.
            let alone = placed.is_none_or(|placed| placed.blocks < 2);
            if alone {
                draft.ours.clear();
                draft.reasons.retain(|reason| reason.fate == Fate::NotCarried);
                draft.fate = None;
            }
            if root == spot || !alone {
                draft.say(fate, why);
            } else if draft.reasons.is_empty() {
                shares = Some(root);
            }
            draft.fate = Some(draft.fate.map_or(fate, |before| before.min(fate)));
            // keepalived complains of it, whether it looks at its block or not.
            if let Some(finding) = self.told.get(&spot).filter(|_| draft.fate == Some(Fate::Carried)) {
                draft.say(Fate::NotCarried, finding.message.clone());
            }
        } else {
            let unsaid = |keyword: &&String| !keyword.is_empty() && !draft.said.contains(*keyword);
            let silent = placed.is_some_and(|placed| placed.keywords.iter().any(|word| unsaid(&word)));
            if draft.fate.is_none() || silent {
                shares = self.unsaid(spot, &mut draft, placed);
            }
        }
        let fate = draft.fate.unwrap_or(Fate::Decide);
        if placed.is_some_and(|placed| placed.blocks > 0) && (fate == Fate::NotCarried || shares.is_some()) {
            self.blocks.insert(spot, (fate, shares.unwrap_or(spot)));
        }
        draft.reasons.sort_by_key(|reason| reason.fate);
        Line {
            spot,
            directors: input.sources.get(spot.file).map(|source| source.director).into_iter().collect(),
            fate,
            ours: draft.ours,
            reasons: draft.reasons,
            shares,
            versions: input.notes.versions.get(&spot).into_iter().flatten().cloned().collect(),
            keywords: placed.map(|placed| placed.keywords.clone()).unwrap_or_default(),
            in_definition: input.notes.uses.get(&spot) == Some(&Use::InDefinition),
        }
    }

    /// The outermost block around a line, or beginning at it, that is not in the cluster file.
    fn dropped_with(&self, spot: Spot) -> Option<(Spot, Fate, String)> {
        let mut found = None;
        let mut at = Some(spot);
        // Blocks end: no tree is deeper than its limit.
        for _ in 0..=super::tree::MAX_DEPTH {
            let Some(here) = at else { break };
            if let Some((fate, why)) = self.dropped.get(&here) {
                found = Some((here, *fate, why.clone()));
            }
            at = self.input.places.0.get(&here).and_then(|placed| placed.parent);
        }
        found
    }

    /// What a line is of which no statement was said. Returns the block whose fate it shares.
    fn unsaid(&self, spot: Spot, draft: &mut LineDraft, placed: Option<&Placed>) -> Option<Spot> {
        let told = self.told.get(&spot);
        if let Some(what) = self.input.notes.uses.get(&spot) {
            match (told, what) {
                (Some(finding), Use::Include | Use::Definition) => {
                    draft.say(Fate::NotCarried, finding.message.clone());
                }
                (_, Use::Include) => draft.say(Fate::Carried, "its files are read in its place"),
                (_, Use::Definition | Use::InDefinition) => {
                    draft.say(Fate::Carried, "a definition: it is read where it is used");
                }
                (_, Use::OtherDirector) => draft.say(Fate::Carried, OTHER_DIRECTOR),
            }
            placed?;
        }
        if let Some(finding) = told {
            let unknown = finding.code.id == codes::IMPORT_UNKNOWN.id;
            let message = &finding.message;
            match unknown {
                true => draft.say(Fate::Carried, format!("{message}: without effect there, and left out")),
                false => draft.say(Fate::NotCarried, message.clone()),
            }
            return None;
        }
        let parent = placed.and_then(|placed| placed.parent);
        if let Some((fate, root)) = parent.and_then(|parent| self.blocks.get(&parent)) {
            draft.add(*fate, None, None);
            return Some(*root);
        }
        // An unknown block is skipped with all that is in it.
        if let Some(parent) = parent.filter(|parent| self.told.contains_key(parent)) {
            draft.add(Fate::Carried, None, None);
            return Some(parent);
        }
        let director = self.input.sources.get(spot.file).map(|source| source.director);
        match placed {
            Some(placed) if placed.keywords.iter().all(String::is_empty) => {
                draft.say(Fate::Carried, "it has no words");
            }
            None if director.is_some_and(|director| self.cut.contains(&director)) => {
                draft.say(
                    Fate::NotCarried,
                    "not read: an error before it ends the reading, or it stands in too many blocks",
                );
            }
            _ if self.input.notes.findings.len() >= MAX_FINDINGS => {
                draft.say(Fate::NotCarried, "not told: there are more findings than the import keeps");
            }
            _ => draft.say(Fate::Decide, UNSAID),
        }
        None
    }
}

/// Sentence about a line that a condition leaves out.
const OTHER_DIRECTOR: &str = "its condition is not met: it is for another director";

/// What is said of a line that nothing else is said of. A test fails on it: it is a mistake of the
/// importer's.
pub const UNSAID: &str =
    "the import does not say what becomes of this line: compare it with the cluster file";

/// Whether a line of a file has a statement, or part of one. Blanks of Unicode are none to keepalived.
#[must_use]
pub fn is_significant(line: &str) -> bool {
    without_comment(line)
        .contains(|char: char| !char.is_ascii_whitespace() && !matches!(char, '\u{b}' | '{' | '}'))
}

/// Two directors' reading of one line becomes one line.
fn join(same: &mut Line, other: Line) {
    same.directors.extend(other.directors);
    same.in_definition |= other.in_definition;
    same.fate = same.fate.min(other.fate);
    for ours in other.ours {
        if same.ours.len() < MAX_PLACES && !same.ours.contains(&ours) {
            same.ours.push(ours);
        }
    }
    // What is for one of them only is no news where it is for the other.
    let elsewhere = |reasons: &[Reason]| reasons.iter().any(|reason| reason.text == OTHER_DIRECTOR);
    let both = elsewhere(&same.reasons) && elsewhere(&other.reasons);
    for reason in other.reasons {
        if same.reasons.len() < MAX_REASONS && !same.reasons.iter().any(|known| known.text == reason.text) {
            same.reasons.push(reason);
        }
    }
    if !both {
        same.reasons.retain(|reason| reason.text != OTHER_DIRECTOR);
    }
    same.reasons.sort_by_key(|reason| reason.fate);
    for version in other.versions {
        if !same.versions.contains(&version) {
            same.versions.push(version);
        }
    }
    for keyword in other.keywords {
        if same.keywords.len() < MAX_KEYWORDS && !same.keywords.contains(&keyword) {
            same.keywords.push(keyword);
        }
    }
    if other.shares.is_none() {
        same.shares = None;
    }
}
