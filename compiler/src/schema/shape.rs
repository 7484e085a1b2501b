//! The JSON Schema of the cluster file and its validator, built once for the process.
//!
//! Questions to the schema only. What its answers mean for people is `explain`'s, for the tree `mend`'s.

use std::sync::LazyLock;

use evenkeel_schemas::json;
use jsonschema::json::Json;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use super::instance::JsonTree;
use crate::parse::tree::TreeNode;

struct ClusterSchema {
    schema: Value,
    validator: Validator,
}

/// Built from types that are fixed when this is compiled: if it works once it works always.
static SHAPE: LazyLock<ClusterSchema> = LazyLock::new(|| {
    let schema = json::cluster();
    let validator = validator(&schema);
    ClusterSchema { schema, validator }
});

/// The validator of a tree: it only says whether the shape is right.
static VERDICT: LazyLock<Validator<JsonTree>> = LazyLock::new(|| validator(&json::cluster()));

fn validator<F: Json>(schema: &Value) -> Validator<F> {
    let mut options = jsonschema::options_for::<F>()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::regex());
    for (name, check) in json::FORMATS {
        options = options.with_format(name, check);
    }
    options.build(schema).expect("the cluster's own schema is valid")
}

/// Builds the validator that a text will be judged by, once for all that follow: what objects take from
/// `[defaults]` is put into a value, anything else stays in the tree.
pub(crate) fn prepare(text: &str) {
    if text.contains("defaults") {
        LazyLock::force(&SHAPE);
    } else {
        LazyLock::force(&VERDICT);
    }
}

/// Whether a tree has the right shape.
pub(super) fn is_valid_tree(tree: &TreeNode<'_>) -> bool {
    VERDICT.is_valid(tree)
}

/// Whether a value has the right shape.
pub(super) fn is_valid(value: &Value) -> bool {
    SHAPE.validator.is_valid(value)
}

/// Errors of the schema's validator about a value.
pub(super) fn errors(value: &Value) -> jsonschema::ErrorIterator<'_> {
    SHAPE.validator.iter_errors(value)
}

/// The schema of the cluster file.
pub(crate) fn schema() -> &'static Value {
    &SHAPE.schema
}
