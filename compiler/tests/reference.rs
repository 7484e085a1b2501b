//! The reference in `docs/`: committed, and equal what the schema and the codes say.
//!
//! `UPDATE=1 cargo test -p evenkeel --test reference` writes it anew.
#![allow(clippy::disallowed_methods, reason = "reads the reference")]

use std::path::Path;

use evenkeel::{codes, reference};
use evenkeel_schemas::json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace")
}

#[test]
fn the_committed_reference_is_current() {
    let folder = root().join("docs");
    for (file, text) in [("cluster.md", reference::markdown()), ("diagnostics.md", reference::diagnostics())]
    {
        let path = folder.join(file);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(&folder).expect("docs");
            std::fs::write(&path, &text).expect("write reference");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "docs/{file} is stale: run UPDATE=1 cargo test -p evenkeel --test reference"
        );
    }
}

#[test]
fn every_key_says_what_it_takes_and_what_it_is_without() {
    let keys = reference::keys();
    assert!(keys.len() > 30, "{}", keys.len());
    for key in &keys {
        assert!(key.description.len() > 3, "{key:?} has no description");
        assert!(!key.takes.is_empty() && !key.default.is_empty(), "{key:?}");
        let inside = keys.iter().any(|other| other.path.starts_with(&format!("{}.", key.path)));
        // Keys of `defaults` are not told again, and those of the kernel's settings are the kernel's.
        let elsewhere = key.path.starts_with("defaults.") || key.path == "ipvs.sysctls";
        let names = key.path.ends_with("priorities") || key.path.ends_with("peers");
        assert!(
            key.takes != "a table" || inside || elsewhere || names,
            "{}: what is in the table?",
            key.path
        );
        // What an optional key is without is a default, or said in its description.
        let absent = ["Absent:", "unless", "without", "may be left out", "optional", "none"];
        let says = absent.iter().any(|word| key.description.contains(word));
        assert!(key.default != "none" || says, "{key:?}: the description must say what holds without it");
    }
    let paths: Vec<&str> = keys.iter().map(|key| key.path.as_str()).collect();
    for path in [
        "version",
        "hosts.<name>.address",
        "services.<name>.real_servers[].weight",
        "services.<name>.check.type",
    ] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
}

#[test]
fn the_manual_page_knows_every_key_and_code() {
    let page = reference::man();
    for key in reference::keys() {
        assert!(page.contains(&key.path.replace('-', "\\-")), "{}", key.path);
    }
    for code in codes::all() {
        assert!(page.contains(code.id), "{}", code.id);
    }
}

/// Editors find the schema by the first line of a file.
#[test]
fn examples_lead_editors_to_the_committed_schema() {
    let mut found = 0;
    for entry in std::fs::read_dir(root().join("examples")).expect("examples") {
        let folder = entry.expect("entry").path();
        let Ok(text) = std::fs::read_to_string(folder.join("cluster.toml")) else {
            continue;
        };
        let line = text.lines().next().unwrap_or_default();
        let path =
            line.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{}: no #:schema", folder.display()));
        let schema = std::fs::read_to_string(folder.join(path.trim())).expect("the schema is there");
        let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
        assert_eq!(schema, json::cluster(), "{}", folder.display());
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        let value: serde_json::Value = toml::from_str(&text).expect("TOML");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", folder.display());
        found += 1;
    }
    assert!(found > 0, "no example");
}
