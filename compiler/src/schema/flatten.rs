//! Errors of the JSON Schema validator -> a flat list of plain faults with paths.
//!
//! Alternatives (`oneOf`, `anyOf`) are resolved here: of a tagged table only the errors of the
//! alternative that its tag names are kept. No words for people are made here.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use crate::path::OwnedStep;

/// Fault of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ShapeFault {
    UnknownKeys(Vec<String>),
    Missing(String),
    WrongType(Expected),
    NotAllowed(Vec<String>),
    Range,
    Malformed,
    TooFewItems,
    ExactlyOne(Vec<String>),
    Other,
}

/// A type of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Text,
    Number,
    Flag,
    List,
    Table,
}

/// A fault and where it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flat {
    pub(super) path: Vec<OwnedStep>,
    /// JSON pointer of the schema that was not met.
    pub(super) schema: String,
    pub(super) fault: ShapeFault,
}

/// All faults of one error.
pub(super) fn flatten(error: &ValidationError<'_>, root: &Value, out: &mut Vec<Flat>) {
    let flat = |fault| Flat { path: path(error), schema: schema_of(error), fault };
    let fault = match error.kind() {
        ValidationErrorKind::OneOfNotValid { context }
        | ValidationErrorKind::OneOfMultipleValid { context } => {
            one_of(error, context, root, out);
            return;
        }
        ValidationErrorKind::AnyOf { context } => {
            let branches = branches(error, "anyOf", root);
            let real = branches.iter().position(|branch| branch.get("type") != Some(&Value::from("null")));
            for inner in real.and_then(|index| context.get(index)).into_iter().flatten() {
                flatten(inner, root, out);
            }
            return;
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            ShapeFault::UnknownKeys(unexpected.clone())
        }
        ValidationErrorKind::Required { property } => {
            ShapeFault::Missing(property.as_str().unwrap_or_default().to_owned())
        }
        ValidationErrorKind::Type { kind } => ShapeFault::WrongType(expected(kind)),
        ValidationErrorKind::Constant { expected_value } => {
            ShapeFault::NotAllowed(vec![word(expected_value)])
        }
        ValidationErrorKind::Enum { options } => {
            ShapeFault::NotAllowed(options.as_array().into_iter().flatten().map(word).collect())
        }
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::Maximum { .. } => ShapeFault::Range,
        ValidationErrorKind::Format { .. } | ValidationErrorKind::Pattern { .. } => ShapeFault::Malformed,
        ValidationErrorKind::MinItems { .. } => ShapeFault::TooFewItems,
        _ => ShapeFault::Other,
    };
    out.push(flat(fault));
}

/// The errors of the alternative that was meant, or that none was.
fn one_of(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    root: &Value,
    out: &mut Vec<Flat>,
) {
    let branches = branches(error, "oneOf", root);
    let here = |fault| Flat { path: path(error), schema: schema_of(error), fault };
    let value: &Value = error.instance();
    let words: Vec<String> = branches.iter().filter_map(|branch| branch.get("const")).map(word).collect();
    if !words.is_empty() && words.len() == branches.len() {
        let fault = if value.is_string() {
            ShapeFault::NotAllowed(words)
        } else {
            ShapeFault::WrongType(Expected::Text)
        };
        out.push(here(fault));
        return;
    }
    let Some(table) = value.as_object() else {
        out.push(here(ShapeFault::WrongType(Expected::Table)));
        return;
    };
    let faults_of = |index: usize| {
        let mut inner = Vec::new();
        context.get(index).into_iter().flatten().for_each(|error| flatten(error, root, &mut inner));
        inner
    };
    let tags: Vec<(&str, String)> = branches.iter().filter_map(tag).collect();
    let meant = if tags.len() == branches.len()
        && let Some((key, _)) = tags.first()
    {
        match table.get(*key) {
            None if branches.len() > 1 => {
                let missing = here(ShapeFault::Missing((*key).to_owned()));
                let mut inner = faults_of(likeliest(branches, value));
                inner.retain(|flat| *flat != missing);
                out.extend(inner);
                out.push(missing);
                return;
            }
            None => Some(0),
            Some(found) => {
                let index = tags.iter().position(|(_, word)| found.as_str() == Some(word));
                if index.is_none() {
                    let mut path = path(error);
                    path.push(OwnedStep::Key((*key).to_owned()));
                    let fault = if found.is_string() {
                        ShapeFault::NotAllowed(tags.iter().map(|(_, word)| word.clone()).collect())
                    } else {
                        ShapeFault::WrongType(Expected::Text)
                    };
                    let inner = faults_of(likeliest(branches, value));
                    out.extend(inner.into_iter().filter(|flat| flat.path != path));
                    out.push(Flat { path, schema: schema_of(error), fault });
                    return;
                }
                index
            }
        }
    } else {
        let keys: Vec<String> = branches.iter().filter_map(only_key).collect();
        let mut present = keys.iter().enumerate().filter(|(_, key)| table.contains_key(*key));
        match (present.next(), present.next()) {
            (Some((index, _)), None) => Some(index),
            _ => {
                out.push(here(ShapeFault::ExactlyOne(keys)));
                return;
            }
        }
    };
    for inner in meant.and_then(|index| context.get(index)).into_iter().flatten() {
        flatten(inner, root, out);
    }
}

fn branches<'r>(error: &ValidationError<'_>, keyword: &str, root: &'r Value) -> &'r [Value] {
    let list = root.pointer(&schema_of(error)).and_then(|schema| schema.get(keyword));
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The alternative that a table was most likely meant to be: the one that knows most of its keys.
pub(super) fn likeliest(branches: &[Value], table: &Value) -> usize {
    let known = |branch: &Value| {
        let keys = branch.get("properties").and_then(Value::as_object);
        let has = |key: &&String| table.get(key.as_str()).is_some();
        keys.map_or(0, |keys| keys.keys().filter(has).count())
    };
    let mut best = (0, 0);
    for (index, branch) in branches.iter().enumerate() {
        let known = known(branch);
        if known > best.1 {
            best = (index, known);
        }
    }
    best.0
}

/// The key and word that select a tagged alternative.
pub(super) fn tag(branch: &Value) -> Option<(&str, String)> {
    let properties = branch.get("properties")?.as_object()?;
    properties.iter().find_map(|(key, schema)| Some((key.as_str(), word(schema.get("const")?))))
}

/// The key that selects an untagged alternative.
pub(super) fn only_key(branch: &Value) -> Option<String> {
    branch.get("required")?.get(0)?.as_str().map(str::to_owned)
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn expected(kind: &TypeKind) -> Expected {
    match kind {
        TypeKind::Single(kind) => of_type(*kind),
        TypeKind::Multiple(kinds) => {
            kinds.iter().find(|kind| *kind != JsonType::Null).map_or(Expected::Table, of_type)
        }
    }
}

fn of_type(kind: JsonType) -> Expected {
    match kind {
        JsonType::String => Expected::Text,
        JsonType::Integer | JsonType::Number => Expected::Number,
        JsonType::Boolean => Expected::Flag,
        JsonType::Array => Expected::List,
        JsonType::Object | JsonType::Null => Expected::Table,
    }
}

fn path(error: &ValidationError<'_>) -> Vec<OwnedStep> {
    let owned = |segment: LocationSegment<'_>| match segment {
        LocationSegment::Property(key) => OwnedStep::Key(key.into_owned()),
        LocationSegment::Index(index) => OwnedStep::Index(index),
    };
    error.instance_path().segments().map(owned).collect()
}

/// Pointer of the schema object whose keyword failed.
fn schema_of(error: &ValidationError<'_>) -> String {
    let pointer = error.schema_path().as_str();
    pointer.rsplit_once('/').map_or("", |(schema, _)| schema).to_owned()
}
