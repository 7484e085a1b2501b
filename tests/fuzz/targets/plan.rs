//! Any text as a plan in the compiler's layout: what is taken is TOML, follows the schema, and means the same
//! there.
#![no_main]

use std::sync::LazyLock;

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::{json, plain};
use serde_json::Value;

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let mut options = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .with_pattern_options(jsonschema::PatternOptions::regex());
    for (name, check) in json::FORMATS {
        options = options.with_format(name, check);
    }
    options.build(&json::plan()).expect("a schema")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(here) = plain::plan(text) else { return };
    let value: Value = toml::from_str(text).expect("TOML");
    assert!(SCHEMA.is_valid(&value), "it does not follow the schema");
    let there: Plan = serde_json::from_value(value).expect("a plan");
    assert_eq!(here, there);
});
