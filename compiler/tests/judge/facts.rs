//! What one side has understood: values by object and property. Both sides speak the same names, so that they
//! can be compared.

use std::collections::BTreeMap;

/// Values by object (`router V`, `service tcp 192.0.2.1:80`) and property.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Facts(pub(crate) BTreeMap<String, BTreeMap<String, String>>);

impl Facts {
    pub(crate) fn set(&mut self, object: &str, property: impl Into<String>, value: impl Into<String>) {
        self.0.entry(object.to_owned()).or_default().insert(property.into(), value.into());
    }

    pub(crate) fn get(&self, object: &str, property: &str) -> Option<&str> {
        self.0.get(object)?.get(property).map(String::as_str)
    }

    pub(crate) fn has(&self, object: &str) -> bool {
        self.0.contains_key(object)
    }
}

/// A number of seconds, without zeros at its end.
pub(crate) fn seconds(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A program and its arguments, its path without symbolic links, as keepalived shows it.
pub(crate) fn program(words: &[String]) -> String {
    let mut words = words.to_vec();
    if let Some(first) = words.first_mut()
        && let Ok(path) = std::fs::canonicalize(&*first)
    {
        *first = path.display().to_string();
    }
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}
