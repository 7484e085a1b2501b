//! Names of types: one meaning in a crate each.
//!
//! Structs, enums, unions and traits count, private ones and those in bodies too: whoever searches for a name
//! must find one thing. What only tests build does not count.
//!
//! **The exception.** The cluster file and the plan are two languages with the same words. A type of
//! `schemas::cluster` and one of `schemas::plan` may have the same name, which is that of the key it is the
//! value of.

use std::collections::BTreeMap;

use crate::source::Crate;

/// Two languages that share their words.
const LANGUAGES: [&str; 2] = ["cluster", "plan"];

/// Names that stand for several types, each with the places of all of them.
pub(crate) fn doubled(of: &Crate) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<&str, Vec<(Option<&str>, String)>> = BTreeMap::new();
    for (path, module) in &of.modules {
        for (name, line) in &module.types {
            let language = path.first().map(String::as_str).filter(|first| LANGUAGES.contains(first));
            let language = language.filter(|_| of.name.starts_with("evenkeel-schemas "));
            places.entry(name).or_default().push((language, format!("{}:{line}", module.file)));
        }
    }
    let two_languages = |all: &[(Option<&str>, String)]| match all {
        [(Some(one), _), (Some(other), _)] => one != other,
        _ => false,
    };
    let several = places.into_iter().filter(|(_, all)| all.len() > 1 && !two_languages(all));
    several.map(|(name, all)| (name.to_owned(), all.into_iter().map(|(_, place)| place).collect())).collect()
}
