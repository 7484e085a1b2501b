//! EK08xx: what the language has and the daemon of this version cannot do.
//!
//! Refused rather than left out of the plan: nothing that is written is ever ignored. What a later
//! version learns leaves this list, and nothing else changes.

use evenkeel_schemas::cluster::{CheckType, ServiceHooks};

use super::checks::checks;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::{OwnedStep, Step, at};

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

fn services(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let mut no = |given: bool, key: &str, what: &str, instead: &str| {
            if given {
                refuse(cx, out, at!["services", name, key], what, instead);
            }
        };
        no(
            !service.checks.is_empty(),
            "checks",
            "several checks of one service",
            "write the most telling one as `check`",
        );
        no(service.quorum.is_some(), "quorum", "a quorum", "remove `quorum`");
        no(service.sorry_server.is_some(), "sorry_server", "a sorry server", "remove `sorry_server`");
        no(
            service.hooks != ServiceHooks::default(),
            "hooks",
            "hooks",
            "remove `hooks`, and read `evenkeeld status` or the log",
        );
    }
}

fn check_options(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        for (at, check) in checks(service) {
            let mut no = |given: bool, key: &str, what: &str, instead: &str| {
                if given {
                    refuse(cx, out, &at.path(name, key), what, instead);
                }
            };
            no(
                check.kind != CheckType::Tcp,
                "type",
                &format!("a check of type {}", check.kind.as_str()),
                "use `type = \"tcp\"`",
            );
            no(
                check.warmup.is_some(),
                "warmup",
                "a random wait before the first check",
                "remove `warmup`: first checks are spread over the interval",
            );
            no(
                check.initially_down,
                "initially_down",
                "counting a new real server as failing",
                "remove `initially_down`",
            );
            no(check.source.is_some(), "source", "checking from an address of choice", "remove `source`");
            no(
                check.interface.is_some(),
                "interface",
                "checking through an interface of choice",
                "remove `interface`",
            );
        }
    }
}
