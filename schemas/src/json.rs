//! The JSON Schemas of the documents, generated from the types.
//!
//! The committed copies under `schemas/json/` are for editors; a test keeps them equal to these.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::change::Change;
use crate::cluster::Cluster;
use crate::diff::HostDiff;
use crate::plan::Plan;
use crate::report::Report;
use crate::scalars::{AdvertInterval, Cidr, Ip, PortRange, Span};
use crate::status::Status;

fn generate<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// Schema of `cluster.toml`.
#[must_use]
pub fn cluster() -> Value {
    generate::<Cluster>()
}

/// Schema of `<host>.plan.toml`, without its digest line.
#[must_use]
pub fn plan() -> Value {
    generate::<Plan>()
}

/// Schema of the status document.
#[must_use]
pub fn status() -> Value {
    generate::<Status>()
}

/// Schema of the compiler's report.
#[must_use]
pub fn report() -> Value {
    generate::<Report>()
}

/// Schema of the document that `evenkeel plan --format json` writes.
#[must_use]
pub fn change() -> Value {
    generate::<Change>()
}

/// Schema of the document that `evenkeeld diff --json` writes.
#[must_use]
pub fn diff() -> Value {
    generate::<HostDiff>()
}

/// A check of a string format.
pub type FormatCheck = fn(&str) -> bool;

/// String formats that the schemas use beyond the standard ones, each with its check. A validator
/// that is not told of them would let any text pass.
pub const FORMATS: [(&str, FormatCheck); 5] = [
    ("ip", |text| text.parse::<Ip>().is_ok()),
    ("cidr", |text| text.parse::<Cidr>().is_ok()),
    ("span", |text| text.parse::<Span>().is_ok()),
    ("port-range", |text| text.parse::<PortRange>().is_ok()),
    ("advert-interval", |text| text.parse::<AdvertInterval>().is_ok()),
];

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test compares with the committed files")]
mod tests {
    use super::*;

    /// Regenerate with `UPDATE=1 cargo test -p evenkeel-schemas`.
    #[test]
    fn committed_schemas_are_current() {
        let all = [
            ("cluster", cluster()),
            ("plan", plan()),
            ("report", report()),
            ("status", status()),
            ("change", change()),
            ("diff", diff()),
        ];
        for (file, schema) in all {
            let path = format!("{}/json/{file}.schema.json", env!("CARGO_MANIFEST_DIR"));
            let text = serde_json::to_string_pretty(&schema).expect("serialise") + "\n";
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).expect("write schema");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == text, "{path} is stale: run UPDATE=1 cargo test -p evenkeel-schemas");
        }
    }
}
