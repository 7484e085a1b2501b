//! The shape of the file: is every key known, present, of its type and in its range?
//!
//! The JSON Schema that editors use decides; `explain` puts its verdicts into our words. What is
//! broken is cut out, so that the rules that follow still see the intact rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use evenkeel_schemas::cluster::Cluster;
use evenkeel_schemas::json;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value, json};

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::parse::{Document, Odd, OddKind, OwnedStep, Step};
use crate::suggest::Suggester;

mod explain;
mod flatten;

/// The sections whose entries have names.
const SECTIONS: [&str; 4] = ["segments", "hosts", "virtual_routers", "services"];

struct Shape {
    schema: Value,
    validator: Validator,
}

/// Built from types that are fixed when this is compiled: if it works once it works always.
static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    let schema = json::cluster();
    let mut options = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::regex());
    for (name, check) in json::FORMATS {
        options = options.with_format(name, check);
    }
    let validator = options.build(&schema).expect("the cluster's own schema is valid");
    Shape { schema, validator }
});

/// What was cut out. References to it are not wrong, only unanswered.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    entries: BTreeMap<String, BTreeSet<String>>,
    whole: BTreeSet<String>,
}

impl Broken {
    /// Whether `name` in `section` may exist though the rules do not see it.
    pub(crate) fn hides(&self, section: &str, name: &str) -> bool {
        self.whole.contains(section) || self.entries.get(section).is_some_and(|names| names.contains(name))
    }

    /// Whether anything in `section` is hidden.
    pub(crate) fn any(&self, section: &str) -> bool {
        self.whole.contains(section) || self.entries.contains_key(section)
    }
}

/// What [`check`] gives.
pub(crate) struct Checked {
    /// What is intact; `None` when nothing can be made of it.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) broken: Broken,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// A finding about the shape, with the path of what must be cut out.
struct Finding {
    path: Vec<OwnedStep>,
    cut: Cut,
    diagnostic: Diagnostic,
}

/// How much a finding spoils.
enum Cut {
    /// The key alone; `near` is the key it was probably meant to be.
    Key { near: Option<String> },
    /// The named entry it is in.
    Entry,
}

/// Checks the shape and reads what is intact.
pub(crate) fn check(document: &mut Document<'_>, value: Value, odd: &[Odd]) -> Checked {
    let mut broken = Broken::default();
    let valid = odd.is_empty() && SHAPE.validator.is_valid(&value);
    if valid {
        return typed(value, broken, Vec::new());
    }
    let mut value = value;
    let mut findings = explain::findings(document, &value, odd);
    findings.extend(odd_values(document, odd, &findings));
    for finding in &findings {
        match &finding.cut {
            Cut::Entry => cut(&mut value, &finding.path, &mut broken),
            Cut::Key { near } => {
                if let Some((written, right)) = rename(&mut value, &finding.path, near.as_deref()) {
                    document.rename(&finding.path[..finding.path.len() - 1], &written, right);
                }
            }
        }
    }
    // A key put in the place of a misspelled one may be wrong as well; that is for the next run.
    for path in explain::paths(&value) {
        cut(&mut value, &path, &mut broken);
    }
    let diagnostics = findings.into_iter().map(|finding| finding.diagnostic).collect();
    typed(value, broken, diagnostics)
}

/// Deserialises. After a clean verdict of the schema this cannot fail; if it does all the same,
/// that is reported instead of being passed over.
fn typed(value: Value, broken: Broken, mut diagnostics: Vec<Diagnostic>) -> Checked {
    match serde_json::from_value::<Cluster>(value) {
        Ok(cluster) => Checked { cluster: Some(cluster), broken, diagnostics },
        Err(error) => {
            if !diagnostics.iter().any(|diagnostic| diagnostic.severity() == Severity::Error) {
                let message = format!("the file has the right shape but cannot be read: {error}");
                diagnostics.push(Diagnostic::of_file(&codes::INTERNAL, message));
            }
            Checked { cluster: None, broken, diagnostics }
        }
    }
}

/// Decimal numbers, dates and numbers beyond 64 bits, which no key takes.
fn odd_values(document: &Document<'_>, odd: &[Odd], found: &[Finding]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for odd in odd {
        let unknown =
            |finding: &Finding| matches!(finding.cut, Cut::Key { .. }) && odd.path.starts_with(&finding.path);
        if found.iter().any(unknown) {
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
        findings.push(Finding { path: odd.path.clone(), cut: Cut::Entry, diagnostic });
    }
    findings
}

/// Removes the named entry that `path` leads into.
fn cut(value: &mut Value, path: &[OwnedStep], broken: &mut Broken) {
    let Some(root) = value.as_object_mut() else {
        return;
    };
    let section = match path.first() {
        Some(OwnedStep::Key(section)) => section.as_str(),
        Some(OwnedStep::Index(_)) | None => "",
    };
    if !SECTIONS.contains(&section) {
        patch_root(root, section);
        return;
    }
    match path.get(1) {
        Some(OwnedStep::Key(name)) => {
            if let Some(entries) = root.get_mut(section).and_then(Value::as_object_mut) {
                entries.remove(name);
            }
            broken.entries.entry(section.to_owned()).or_default().insert(name.clone());
        }
        Some(OwnedStep::Index(_)) | None => {
            root.insert(section.to_owned(), Value::Object(Map::new()));
            broken.whole.insert(section.to_owned());
        }
    }
}

/// Puts something harmless in the place of a key of the whole cluster.
fn patch_root(root: &mut Map<String, Value>, key: &str) {
    match key {
        "version" => _ = root.insert(key.to_owned(), json!(1)),
        "name" => _ = root.insert(key.to_owned(), json!("unnamed")),
        _ => _ = root.remove(key),
    }
}

/// Removes the unknown key at `path`, or calls it by its right name if that is free; then returns
/// both names.
fn rename<'n>(value: &mut Value, path: &[OwnedStep], near: Option<&'n str>) -> Option<(String, &'n str)> {
    let (OwnedStep::Key(written), table) = path.split_last()? else {
        return None;
    };
    let table = table.iter().try_fold(value, |value, step| match step {
        OwnedStep::Key(key) => value.get_mut(key),
        OwnedStep::Index(index) => value.get_mut(index),
    })?;
    let removed = table.as_object_mut()?.remove(written)?;
    let right = near?;
    match table.as_object_mut()?.entry(right) {
        serde_json::map::Entry::Vacant(free) => {
            free.insert(removed);
            Some((written.clone(), right))
        }
        serde_json::map::Entry::Occupied(_) => None,
    }
}

/// What the explanations need to look things up.
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

fn errors(value: &Value) -> jsonschema::ErrorIterator<'_> {
    SHAPE.validator.iter_errors(value)
}

fn schema() -> &'static Value {
    &SHAPE.schema
}
