//! The JSON Schema of the cluster file and its validator, built once for the process.
//!
//! Questions to the schema only. What its answers mean for people is `explain`'s, for the tree `mend`'s.

use std::sync::LazyLock;

use evenkeel_schemas::json;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

struct ClusterSchema {
    schema: Value,
    validator: Validator,
}

/// Built from types that are fixed when this is compiled: if it works once it works always.
static SHAPE: LazyLock<ClusterSchema> = LazyLock::new(|| {
    let schema = json::cluster();
    let mut options = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .offline()
        .with_pattern_options(PatternOptions::regex());
    for (name, check) in json::FORMATS {
        options = options.with_format(name, check);
    }
    let validator = options.build(&schema).expect("the cluster's own schema is valid");
    ClusterSchema { schema, validator }
});

/// Builds the validator, once for all that follow.
pub(crate) fn prepare() {
    LazyLock::force(&SHAPE);
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
