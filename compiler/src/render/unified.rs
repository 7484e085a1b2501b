//! A change as a unified diff of the plan files, for `patch`, reviewers and their tools.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use evenkeel_schemas::scalars::Name;
use similar::TextDiff;

use crate::change::Fleet;

/// Lines around each difference.
const CONTEXT: usize = 3;

/// The difference of the plan files of these hosts, or of all, in their order.
///
/// # Errors
/// When `out` takes no more.
pub fn unified(
    before: &Fleet,
    after: &Fleet,
    shown: Option<&BTreeSet<Name>>,
    out: &mut dyn Write,
) -> fmt::Result {
    let hosts: BTreeSet<&Name> = before.keys().chain(after.keys()).collect();
    for host in hosts.into_iter().filter(|host| shown.is_none_or(|shown| shown.contains(*host))) {
        let text = |fleet: &Fleet| fleet.get(host).map(|state| state.text().into_owned());
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
        write!(out, "{}", diff.unified_diff().context_radius(CONTEXT).header(&names.0, &names.1))?;
    }
    Ok(())
}
