//! EK0550 to EK0552: clients that stay with a real server that does not answer.

use evenkeel_schemas::cluster::Service;
use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::expiry::{Habits, NODEST, QUIESCENT};
use crate::members::Member;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[stay_with_removed, stay_with_quiesced, udp_stays_with_quiesced];

/// Keys that [`Habits`] compares.
const KEYS: [&str; 7] = ["protocol", "one_packet", "persistence", "check", "checks", "on_failure", "drain"];

/// The services whose habits are known.
fn services<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, &'a Service, Habits)> {
    let known = move |(name, _): &(&Name, &Service)| cx.knows_keys(name, &KEYS);
    let services = cx.cluster.services.iter().filter(known);
    let habits =
        services.map(|(name, service)| (name, service, Habits::of(service, is_checked(cx, name, service))));
    habits.collect::<Vec<_>>().into_iter()
}

/// Whether a real server of the service is known to have a check.
pub(super) fn is_checked(cx: &Context<'_>, name: &Name, service: &Service) -> bool {
    let own = |key: &str| match key {
        "check" => service.check.is_some(),
        _ => !service.checks.is_empty(),
    };
    let own = ["check", "checks"].iter().any(|key| own(key) && cx.knows_keys(name, &[key]));
    let of_member = |member: &Member<'_>| {
        let known = ["check", "checks"].iter().all(|key| cx.knows_member(name, member, key));
        known && member.own_checks().next().is_some()
    };
    own || cx.members(name).iter().any(of_member)
}

/// The value of a setting that the file gives.
fn written(cx: &Context<'_>, key: &str) -> Option<i64> {
    cx.cluster.ipvs.sysctls.get(key).copied().filter(|_| cx.knows(at!["ipvs", "sysctls", key]))
}

fn stay_with_removed(cx: &Context<'_>, out: &mut Findings) {
    if written(cx, NODEST) != Some(0) {
        return;
    }
    for (name, ..) in services(cx).filter(|(.., habits)| habits.binds_to_removed()) {
        out.push(
            Diagnostic::new(
                &codes::STAY_WITH_REMOVED,
                cx.key(at!["services", name]),
                format!(
                    "UDP clients of service `{name}` stay with a real server that failed and was removed"
                ),
                "its real servers fail, and are removed",
            )
            .also(cx.value(at!["ipvs", "sysctls", NODEST]), "entries of such clients do not expire")
            .hint(format!("remove `{NODEST}`: the plan then sets it to 1")),
        );
    }
}

fn stay_with_quiesced(cx: &Context<'_>, out: &mut Findings) {
    let quiescent = written(cx, QUIESCENT);
    let set = at!["ipvs", "sysctls", QUIESCENT];
    if quiescent.is_some_and(|value| value != 0) || !cx.knows(at!["ipvs", "sysctls"]) || !cx.knows(set) {
        return;
    }
    let all: Vec<(&Name, &Service, Habits)> = services(cx).collect();
    for (name, service, _) in all.iter().filter(|(.., habits)| habits.binds_to_quiesced()) {
        let Some((_, router)) = cx.router_of(name, service) else { continue };
        let shares = |other: &Service| {
            cx.cluster.virtual_routers.get(other.router.as_str()).is_some_and(|other| {
                other.directors.iter().any(|director| router.directors.contains(director))
            })
        };
        let draining = all.iter().find(|(_, other, habits)| habits.keeps_while_draining() && shares(other));
        let mut diagnostic = Diagnostic::new(
            &codes::STAY_WITH_QUIESCED,
            cx.key(at!["services", name, "persistence"]),
            format!("clients bound by persistence of service `{name}` stay with a real server that failed"),
            "binds clients to their real server",
        )
        .also(cx.value(at!["services", name, "on_failure"]), "it stays, at weight 0");
        diagnostic = match (quiescent, draining) {
            (Some(_), None) => diagnostic
                .also(cx.value(set), "templates of such clients do not expire")
                .hint(format!("remove `{QUIESCENT}`: the plan then sets it to 1")),
            // Who writes 0 beside a drain has chosen.
            (Some(_), Some(_)) => continue,
            (None, Some((drains, ..))) => diagnostic
                .also(
                    cx.key(at!["services", *drains, "drain"]),
                    format!(
                        "clients of `{drains}` stay for a \
                    drain"
                    ),
                )
                .hint(format!(
                    "choose with `ipvs.sysctls`: `{QUIESCENT} = 1` lets them go in both cases, 0 keeps them \
                    in both; or \
                     write `on_failure = \"remove\"`"
                )),
            (None, None) => continue,
        };
        out.push(diagnostic);
    }
}

fn udp_stays_with_quiesced(cx: &Context<'_>, out: &mut Findings) {
    for (name, ..) in services(cx).filter(|(.., habits)| habits.keeps_sending_to_quiesced()) {
        out.push(
            Diagnostic::new(
                &codes::UDP_STAYS_WITH_QUIESCED,
                cx.value(at!["services", name, "on_failure"]),
                format!("UDP clients of service `{name}` stay with a real server that failed"),
                "it stays, at weight 0",
            )
            .hint(
                "write `on_failure = \"remove\"`, or `one_packet = true` where each packet stands for itself",
            ),
        );
    }
}
