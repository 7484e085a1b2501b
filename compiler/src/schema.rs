//! The shape of the file: is every key known, present, of its type and in its range?
//!
//! The JSON Schema that editors use decides; `explain` puts its verdicts into our words; `mend` puts
//! placeholders where the shape is wrong, so that the rules that follow can run on the whole.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::Cluster;
use serde::Deserialize;
use serde_json::Value;

use crate::codes::{self, Severity};
use crate::diagnostic::{Diagnostic, MAX_ERRORS};
use crate::limits::Limits;
use crate::parallel::both;
use crate::parse::{Document, Odd, OddKind};
use crate::path::{OwnedStep, Step};
use crate::size;
use crate::suggest::Suggester;
use crate::unknown::Unknowns;

mod choice;
mod explain;
mod flatten;
mod inherit;
mod instance;
mod mend;
mod shape;
mod typed;
mod words;

pub(crate) use choice::{choice, order, plain};
pub(crate) use shape::{prepare, schema};

/// Most times that a mended tree is examined again: once for each level of misspelled keys and once more
/// would do.
const ROUNDS: usize = 8;

/// Outcome of [`check`].
pub(crate) struct Checked {
    /// The cluster; `None` when nothing can be made of it.
    pub(crate) cluster: Option<Cluster>,
    /// Values of the cluster that are placeholders.
    pub(crate) unknowns: Unknowns,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Whether there is more than `diagnostics` say.
    pub(crate) stopped: bool,
}

impl Checked {
    fn nothing(diagnostics: Vec<Diagnostic>, stopped: bool) -> Self {
        Self { cluster: None, unknowns: Unknowns::default(), diagnostics, stopped }
    }
}

/// A finding about the shape, with the path of what is wrong.
struct ShapeFinding {
    path: Vec<OwnedStep>,
    wrong: Wrong,
    diagnostic: Diagnostic,
}

/// Part of the tree that must be mended.
enum Wrong {
    /// The key; `near` is the key it was probably meant to be.
    Key { near: Option<String> },
    /// The value, of whatever type.
    Value,
    /// The value, because it has another type.
    Type,
    /// The value, which no key accepts. Its first finding reports it.
    Odd,
}

/// Checks the shape, mends it and reads it.
pub(crate) fn check(document: &mut Document<'_>, limits: Limits) -> Checked {
    if document.root().get("defaults").is_none() {
        // Nearly always the shape is right, so it is read while that is found out.
        let node = document.node();
        let (read, valid) = both(|| typed::cluster(node), || shape::is_valid_tree(node));
        if valid {
            return typed(read, Unknowns::default(), Vec::new());
        }
    }
    let (mut value, odd) = document.value_of_all();
    let odd = odd.as_slice();
    if let Some(diagnostic) = size::too_many_defaults(&value, document, limits) {
        return Checked::nothing(vec![diagnostic], false);
    }
    let mut unknowns = Unknowns::default();
    let mut diagnostics = Vec::new();
    let inherited = inherit::defaults(&mut value, document);
    if odd.is_empty() {
        // Nearly always the shape is right, so it is read while that is found out.
        let (read, valid) = both(|| Cluster::deserialize(&value), || shape::is_valid(&value));
        if valid {
            return typed(read, unknowns, diagnostics);
        }
    }
    let told = |finding: &ShapeFinding| !inherited.has(&finding.path);
    let mut findings = explain::findings(document, &value, odd, &told);
    findings.extend(odd_values(document, odd, &findings));
    if findings.iter().filter(|finding| told(finding)).count() > MAX_ERRORS {
        // What is not mended would mislead the rules, and there is enough to do.
        let errors = findings.into_iter().filter(|finding| !inherited.has(&finding.path));
        return Checked::nothing(errors.map(|finding| finding.diagnostic).collect(), true);
    }
    let mut renamed: BTreeSet<Vec<OwnedStep>> = BTreeSet::new();
    for round in 0..ROUNDS {
        // First the keys, so that no placeholder takes the place of a misspelled one.
        let (keys, values): (Vec<ShapeFinding>, Vec<ShapeFinding>) =
            findings.into_iter().partition(|finding| matches!(finding.wrong, Wrong::Key { .. }));
        for finding in keys.into_iter().chain(values) {
            // What is wrong with a mended tree is wrong with a guess of ours: that is for the next
            // run, unless the guess was that of a key, and its value shows that it was right.
            let told = !inherited.has(&finding.path)
                && (round == 0
                    || beginnings(&finding.path)
                        .any(|path| renamed.contains(path) && bears_out(path.len(), &finding)));
            if let Wrong::Key { near } = &finding.wrong {
                let moved = mend::take_out(&mut value, &finding.path, near.as_deref(), &mut unknowns);
                for (written, right) in moved {
                    renamed.insert(right.clone());
                    document.rename(written, right);
                }
            } else {
                mend::mend(&mut value, &finding.path, &mut unknowns);
            }
            if told {
                diagnostics.push(finding.diagnostic);
            }
        }
        if shape::is_valid(&value) {
            break;
        }
        findings = explain::findings(document, &value, &[], &|_| false);
    }
    if !has_error(&diagnostics) {
        // Placeholders must never get into a plan.
        diagnostics.push(Diagnostic::of_file(&codes::INTERNAL, "the file has a wrong shape nobody can name"));
    }
    typed(Cluster::deserialize(&value), unknowns, diagnostics)
}

/// All paths that lead to `path`, and itself.
fn beginnings(path: &[OwnedStep]) -> impl Iterator<Item = &[OwnedStep]> {
    (0..=path.len()).map(|length| &path[..length])
}

/// Whether `finding` is about a value that is otherwise what the guessed key takes; `depth` is that
/// of the key.
fn bears_out(depth: usize, finding: &ShapeFinding) -> bool {
    match finding.wrong {
        Wrong::Key { .. } | Wrong::Value => true,
        Wrong::Type => finding.path.len() > depth,
        Wrong::Odd => false,
    }
}

/// Takes what was read. After a clean verdict of the schema it can be read; if not all the same, that is
/// reported instead of being passed over.
fn typed(
    read: Result<Cluster, serde_json::Error>,
    unknowns: Unknowns,
    mut diagnostics: Vec<Diagnostic>,
) -> Checked {
    match read {
        Ok(cluster) => Checked { cluster: Some(cluster), unknowns, diagnostics, stopped: false },
        Err(error) => {
            if !has_error(&diagnostics) {
                let message = format!("the file has the right shape but cannot be read: {error}");
                diagnostics.push(Diagnostic::of_file(&codes::INTERNAL, message));
            }
            Checked { cluster: None, unknowns, diagnostics, stopped: false }
        }
    }
}

fn has_error(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity() == Severity::Error)
}

/// Decimal numbers, dates and numbers beyond 64 bits, which no key takes.
fn odd_values(document: &Document<'_>, odd: &[Odd], found: &[ShapeFinding]) -> Vec<ShapeFinding> {
    let mut findings = Vec::new();
    let keys = found.iter().filter(|finding| matches!(finding.wrong, Wrong::Key { .. }));
    let unknown: BTreeSet<&[OwnedStep]> = keys.map(|finding| finding.path.as_slice()).collect();
    for odd in odd {
        if findings.len() > MAX_ERRORS {
            break;
        }
        if beginnings(&odd.path).any(|path| unknown.contains(path)) {
            continue;
        }
        let path: Vec<Step<'_>> = odd.path.iter().map(OwnedStep::borrow).collect();
        let name = explain::dotted(&path);
        let (code, what, hint) = match odd.kind {
            OddKind::Decimal => (
                &codes::WRONG_TYPE,
                "a decimal number",
                "write a whole number; a time is a text with a unit, such as \"500ms\"",
            ),
            OddKind::Date => (&codes::WRONG_TYPE, "a date or a time of day", "write a text in quotes"),
            OddKind::HugeInteger => (
                &codes::OUT_OF_RANGE,
                "a number beyond 64 bits",
                "no number in a cluster file is larger than 65535",
            ),
            OddKind::TooDeep => (
                &codes::WRONG_TYPE,
                "nested too deeply",
                "nothing in a cluster file is nested more than six levels deep",
            ),
        };
        let message = format!("`{name}` is {what}, which no key takes");
        let diagnostic = Diagnostic::new(code, document.value(&path), message, what).hint(hint);
        findings.push(ShapeFinding { path: odd.path.clone(), wrong: Wrong::Odd, diagnostic });
    }
    findings
}

/// Document, schema and names for the explanations.
struct Lookup<'d, 's> {
    document: &'d Document<'s>,
    schema: &'static Value,
    suggester: Suggester,
}

impl<'d, 's> Lookup<'d, 's> {
    fn new(document: &'d Document<'s>) -> Self {
        Self { document, schema: schema(), suggester: Suggester::new() }
    }
}
