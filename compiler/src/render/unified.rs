//! A change as a unified diff of the plan files, for `patch`, reviewers and their tools.

use similar::TextDiff;

use crate::change::Fleet;

/// Lines around each difference.
const CONTEXT: usize = 3;

/// The difference of all plan files, in the order of hosts.
#[must_use]
pub fn unified(before: &Fleet, after: &Fleet) -> String {
    let hosts: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let mut out = String::new();
    for host in hosts {
        let text = |fleet: &Fleet| fleet.get(host).map(|state| state.text.clone());
        let (old, new) = (text(before), text(after));
        if old == new {
            continue;
        }
        let file = evenkeel_schemas::plan::file_name(host);
        let name = |side: &str, text: &Option<String>| match text {
            Some(_) => format!("{side}/{file}"),
            None => "/dev/null".to_owned(),
        };
        let names = (name("a", &old), name("b", &new));
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let diff = TextDiff::from_lines(old.as_str(), new.as_str());
        let text = diff.unified_diff().context_radius(CONTEXT).header(&names.0, &names.1).to_string();
        out.push_str(&text);
    }
    out
}
