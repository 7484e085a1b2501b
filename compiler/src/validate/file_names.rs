//! EK0239 and EK0240: hosts whose plans cannot all be files of one directory everywhere.

use std::collections::BTreeMap;

use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[same_but_for_case, device_name];

fn same_but_for_case(cx: &Context<'_>, out: &mut Findings) {
    let mut first: BTreeMap<String, &Name> = BTreeMap::new();
    let mut hosts: Vec<&Name> = cx.cluster.hosts.keys().collect();
    hosts.sort_by_key(|name| cx.key(at!["hosts", *name]).start);
    for name in hosts {
        let Some(other) = first.insert(name.as_str().to_ascii_lowercase(), name) else { continue };
        first.insert(name.as_str().to_ascii_lowercase(), other);
        out.push(
            Diagnostic::new(
                &codes::SAME_BUT_FOR_CASE,
                cx.key(at!["hosts", name]),
                format!("hosts `{other}` and `{name}` differ in upper and lower case only"),
                format!("its plan is `{}`", plan::file_name(name)),
            )
            .also(cx.key(at!["hosts", other]), format!("its plan is `{}`", plan::file_name(other)))
            .hint("give one of them another name"),
        );
    }
}

/// Whether Windows takes a file of this name for a device: what stands before the first dot decides.
fn is_device(name: &str) -> bool {
    let name = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = |kind: &str| {
        let number = name.strip_prefix(kind).map(str::as_bytes);
        matches!(number, Some([b'1'..=b'9']))
    };
    matches!(name.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

fn device_name(cx: &Context<'_>, out: &mut Findings) {
    for name in cx.cluster.hosts.keys().filter(|name| is_device(name.as_str())) {
        out.push(
            Diagnostic::new(
                &codes::DEVICE_NAME,
                cx.key(at!["hosts", name]),
                format!("the plan of host `{name}` has a name that is a device on Windows"),
                format!("its plan is `{}`", plan::file_name(name)),
            )
            .hint("give it another name, or keep the plans off such machines"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_known_by_what_stands_before_the_first_dot() {
        for name in ["con", "NUL", "aux.example", "com1", "LPT9.x"] {
            assert!(is_device(name), "{name}");
        }
        for name in ["con1", "console", "com0", "com10", "com", "x.con", "lpt"] {
            assert!(!is_device(name), "{name}");
        }
    }
}
