//! EK08xx: what the language has and the daemon of this version cannot do.
//!
//! Refused rather than left out of the plan: nothing that is written is ever ignored. What a later
//! version learns leaves this list, and nothing else changes.

use evenkeel_schemas::cluster::{Check, CheckType, Service};

use super::checks::keys_of_types;
use super::written_checks::all;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{OwnedStep, Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[services, check_options];

fn refuse(cx: &Context<'_>, out: &mut Findings, path: &[Step<'_>], what: &str, instead: &str) {
    if !cx.knows(path) {
        return;
    }
    let dotted: Vec<String> = path
        .iter()
        .map(|step| match OwnedStep::from(step) {
            OwnedStep::Key(key) => key,
            OwnedStep::Index(index) => index.to_string(),
        })
        .collect();
    let name = dotted.join(".");
    out.push(
        Diagnostic::new(
            &codes::UNSUPPORTED,
            cx.key(path),
            format!("{what} cannot be done yet by the evenkeeld of this version"),
            "understood, but not supported",
        )
        .note(format!("`{}` would be ignored, so nothing is compiled", name.escape_debug()))
        .hint(instead),
    );
}

/// A key that the language has and the daemon of this version has not, in tables of one kind.
struct Refused<T> {
    key: &'static str,
    /// Ability that is missing.
    what: &'static str,
    instead: &'static str,
    /// Whether a table has it.
    given: fn(&T) -> bool,
}

const OF_SERVICES: [Refused<Service>; 1] = [Refused {
    key: "checks",
    what: "several checks of one service",
    instead: "write the most telling one as `check`",
    given: |service| !service.checks.is_empty(),
}];

/// None: all that the language says of checks is done.
const OF_CHECKS: [Refused<Check>; 0] = [];

/// The types of check that are not refused.
const CHECKED: &[CheckType] = &[
    CheckType::Tcp,
    CheckType::Http,
    CheckType::Https,
    CheckType::Script,
    CheckType::Udp,
    CheckType::Dns,
    CheckType::Ping,
    CheckType::Smtp,
    CheckType::Grpc,
    CheckType::File,
    CheckType::Agent,
];

/// Words of the reference for a key that is refused, wholly or in part; none for any other key.
pub(crate) fn mark(path: &str) -> Option<String> {
    let code = codes::UNSUPPORTED.id;
    let whole = || Some(format!("Not in this version, which refuses it ({code})."));
    let of_real_server = ["services.<name>.real_servers[].", "pools.<name>.real_servers[]."]
        .into_iter()
        .find_map(|list| path.strip_prefix(list));
    let mut steps = match of_real_server {
        Some(rest) => rest,
        None => path.strip_prefix("services.<name>.")?,
    }
    .split('.');
    let (of_service, of_check) = (steps.next()?, steps.next());
    let of_service = of_service.strip_suffix("[]").unwrap_or(of_service);
    if of_real_server.is_none() && OF_SERVICES.iter().any(|refused| refused.key == of_service) {
        return whole();
    }
    let key = of_check.filter(|_| matches!(of_service, "check" | "checks"))?;
    if key == "type" {
        let all = CheckType::ALL.iter().all(|kind| CHECKED.contains(kind));
        let taken = list(CHECKED.iter().map(|kind| kind.as_str())).unwrap_or_default();
        return (!all).then(|| format!("This version takes {taken} and refuses the others ({code})."));
    }
    let refused = OF_CHECKS.iter().any(|refused| refused.key == key.trim_end_matches("[]"));
    let of_others = || {
        keys_of_types().any(|(other, types)| {
            other == key.trim_end_matches("[]") && types.iter().all(|one| !CHECKED.contains(one))
        })
    };
    if refused || of_others() { whole() } else { None }
}

fn services(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        for Refused { key, what, instead, given } in &OF_SERVICES {
            if given(service) {
                refuse(cx, out, at!["services", name, *key], what, instead);
            }
        }
    }
}

fn check_options(cx: &Context<'_>, out: &mut Findings) {
    for written in all(cx) {
        let check = written.check;
        if !CHECKED.contains(&check.kind) {
            let what = format!("a check of type {}", check.kind.as_str());
            refuse(cx, out, &written.path("type"), &what, "use `type = \"tcp\"`");
        }
        for Refused { key, what, instead, given } in &OF_CHECKS {
            if given(check) {
                refuse(cx, out, &written.path(key), what, instead);
            }
        }
    }
}
