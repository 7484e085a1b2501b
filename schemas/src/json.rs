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
use crate::scalars::{AdvertInterval, Cidr, Ip, Part, PortRange, Span};
use crate::status::Status;

/// A document that has a schema.
#[derive(Debug, Clone, Copy)]
pub struct Document {
    /// Name for `evenkeel schema`; the committed copy is `json/<name>.schema.json`.
    pub name: &'static str,
    /// Subject of the schema, in a few words.
    pub about: &'static str,
    /// Makes the schema.
    pub schema: fn() -> Value,
}

impl Document {
    /// The schema as it is printed and committed.
    #[must_use]
    pub fn text(&self) -> String {
        // Texts and numbers: nothing of it can fail to be written.
        serde_json::to_string_pretty(&(self.schema)()).unwrap_or_default() + "\n"
    }
}

/// Every document that has a schema.
pub const ALL: [Document; 6] = [
    Document { name: "cluster", about: "the cluster file, cluster.toml", schema: cluster },
    Document { name: "plan", about: "a plan, <host>.plan.toml, without its first line", schema: plan },
    Document { name: "report", about: "what `evenkeel validate --format json` writes", schema: report },
    Document { name: "change", about: "what `evenkeel plan --format json` writes", schema: change },
    Document { name: "status", about: "what `evenkeeld status --json` writes", schema: status },
    Document { name: "diff", about: "what `evenkeeld diff --json` writes", schema: diff },
];

/// Beginning of `$id`: a name and no address, since nothing is fetched by it.
const ID: &str = "urn:evenkeel:schema:";

fn generate<T: JsonSchema>(name: &str) -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let rest = std::mem::take(schema.ensure_object());
    let head =
        rest.iter().filter(|(key, _)| *key == "$schema").map(|(key, value)| (key.clone(), value.clone()));
    let mut all: serde_json::Map<String, Value> = head.collect();
    all.insert("$id".to_owned(), Value::from(format!("{ID}{name}")));
    all.extend(rest.into_iter().filter(|(key, _)| key != "$schema"));
    Value::Object(all)
}

/// Schema of `cluster.toml`.
#[must_use]
pub fn cluster() -> Value {
    generate::<Cluster>("cluster")
}

/// Schema of `<host>.plan.toml`, without its digest line.
#[must_use]
pub fn plan() -> Value {
    generate::<Plan>("plan")
}

/// Schema of the status document.
#[must_use]
pub fn status() -> Value {
    generate::<Status>("status")
}

/// Schema of the compiler's report.
#[must_use]
pub fn report() -> Value {
    generate::<Report>("report")
}

/// Schema of the document that `evenkeel plan --format json` writes.
#[must_use]
pub fn change() -> Value {
    generate::<Change>("change")
}

/// Schema of the document that `evenkeeld diff --json` writes.
#[must_use]
pub fn diff() -> Value {
    generate::<HostDiff>("diff")
}

/// A check of a string format.
pub type FormatCheck = fn(&str) -> bool;

/// String formats that the schemas use beyond the standard ones, each with its check. A validator without
/// them would let any text pass.
pub const FORMATS: [(&str, FormatCheck); 6] = [
    ("ip", |text| text.parse::<Ip>().is_ok()),
    ("cidr", |text| text.parse::<Cidr>().is_ok()),
    ("span", |text| text.parse::<Span>().is_ok()),
    ("port-range", |text| text.parse::<PortRange>().is_ok()),
    ("part", |text| text.parse::<Part>().is_ok()),
    ("advert-interval", |text| text.parse::<AdvertInterval>().is_ok()),
];

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test compares with the committed files")]
mod tests {
    use super::*;

    /// Regenerate with `UPDATE=1 cargo test -p evenkeel-schemas`.
    #[test]
    fn committed_schemas_are_current() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/json");
        for document in ALL {
            let path = format!("{folder}/{}.schema.json", document.name);
            let text = document.text();
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).expect("write schema");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(committed == text, "{path} is stale: run UPDATE=1 cargo test -p evenkeel-schemas");
        }
        let committed = std::fs::read_dir(folder).expect("the folder").count();
        assert_eq!(committed, ALL.len(), "each committed schema has a name");
    }

    #[test]
    fn every_schema_has_an_id_of_its_own_before_anything_else() {
        for document in ALL {
            let schema = (document.schema)();
            let keys: Vec<&String> = schema.as_object().expect("a table").keys().take(2).collect();
            assert_eq!(keys, ["$schema", "$id"], "{}", document.name);
            assert_eq!(schema["$id"], format!("urn:evenkeel:schema:{}", document.name));
        }
    }
}
