//! EK08xx: what the language has and the daemon of this version cannot do.
//!
//! Refused rather than left out of the plan: nothing that is written is ever ignored. What a later
//! version learns leaves this list, and nothing else changes.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{CheckType, Forwarding, ServiceHooks, TunnelChecksum, TunnelType};

use super::checks::checks;
use super::forwarding::reached_by;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::parse::{OwnedStep, Step, at};

pub(super) const RULES: &[Rule] = &[services, gre, check_options];

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

/// The kernel tells apart interfaces for GRE with and without checksums, and for GRE in IPv6.
fn gre(cx: &Context<'_>, out: &mut Findings) {
    let mut told = BTreeSet::new();
    for target in reached_by(cx, &[Forwarding::Tun]) {
        let tunnel = &target.service.tunnel;
        let name = target.service_name;
        let known = cx.knows_all(at!["services", name, "tunnel"]);
        if tunnel.kind != TunnelType::Gre || !known {
            continue;
        }
        if tunnel.checksum == TunnelChecksum::Full && told.insert(name) {
            let path = at!["services", name, "tunnel", "checksum"];
            refuse(cx, out, path, "a checksum of GRE", "use `gue`, or leave the checksum to what is inside");
        }
        let address = target.fronts.first().and_then(|vip| target.address(cx, *vip));
        if let Some(address) = address.filter(|address| address.0.is_ipv6()) {
            out.push(
                Diagnostic::new(
                    &codes::UNSUPPORTED,
                    cx.value(&target.named_at()),
                    format!(
                        "{} of service `{name}` is reached by GRE at {address}, which the evenkeeld of this version \
                         cannot do yet",
                        target.words()
                    ),
                    "GRE in IPv6",
                )
                .hint("use `ipip` or `gue`, which go in IPv6 as well"),
            );
        }
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
