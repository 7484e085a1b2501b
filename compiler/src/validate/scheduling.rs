//! EK05xx: how connections are shared out: schedulers, weights, persistence, thresholds.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{CheckType, Protocol, Scheduler, Service};
use evenkeel_schemas::scalars::{Name, Weight};

use super::written_checks::of_all;
use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::Member;
use crate::path::at;

/// Most hosts that a finding points at.
const MOST_PLACES: usize = 4;

pub(super) const RULES: &[Rule] = &[
    flag_of_other_scheduler,
    flag_twice,
    persistent_hash,
    persistence_time,
    persistence_prefix,
    engine_protocol,
    one_packet_protocol,
    one_packet_persistence,
    all_weights_zero,
    equal_weights,
    weight_ignored,
    thresholds,
];

fn flag_of_other_scheduler(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let hashing = matches!(service.scheduler, Scheduler::Sh | Scheduler::Mh);
        let known = cx.knows_keys(name, &["scheduler", "scheduler_flags"]);
        if hashing
            || service.scheduler_flags.is_empty()
            || !known
            || cx.defaults_of_services_have("scheduler_flags")
        {
            continue;
        }
        let scheduler = service.scheduler.as_str();
        out.push(
            Diagnostic::new(
                &codes::FLAG_OF_OTHER_SCHEDULER,
                cx.key(at!["services", name, "scheduler_flags"]),
                format!("service `{name}` has scheduler flags, but scheduler {scheduler} has none"),
                "has no effect",
            )
            .hint("write `scheduler = \"mh\"` or `\"sh\"`, or remove `scheduler_flags`"),
        );
    }
}

fn flag_twice(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = |index: &usize| cx.knows(at!["services", name, "scheduler_flags", *index]);
        let flags = service.scheduler_flags.iter().enumerate().filter(|(index, _)| known(index));
        duplicates(
            flags.map(|(index, flag)| (*flag, (index, *flag))),
            |(index, _)| cx.value(at!["services", name, "scheduler_flags", index]),
            |(_, first), ((_, flag), again)| {
                let flag = flag.as_str();
                out.push(
                    Diagnostic::new(
                        &codes::FLAG_TWICE,
                        again,
                        format!("scheduler flag `{flag}` is listed twice in service `{name}`"),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("remove one of them; the flags are `fallback` and `port`"),
                );
            },
        );
    }
}

fn persistent_hash(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let sticks = match service.scheduler {
            Scheduler::Sh | Scheduler::Mh => "sends a client to the same real server by itself",
            Scheduler::Dh => "chooses by destination, which persistence overrides",
            _ => continue,
        };
        if service.persistence.is_none() || !cx.knows_keys(name, &["scheduler", "persistence"]) {
            continue;
        }
        let scheduler = service.scheduler.as_str();
        out.push(
            Diagnostic::new(
                &codes::PERSISTENT_HASH,
                cx.key(at!["services", name, "persistence"]),
                format!("service `{name}` has persistence with hashing scheduler {scheduler}"),
                "hardly has an effect",
            )
            .also(cx.value(at!["services", name, "scheduler"]), format!("{scheduler} {sticks}"))
            .hint("remove `persistence`, or write `scheduler = \"wlc\"`"),
        );
    }
}

fn persistence_time(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(persistence) = &service.persistence else { continue };
        let millis = persistence.timeout.as_millis();
        let (label, hint) = match millis {
            0 => ("zero is no persistence", "remove `persistence`, or write `timeout = \"6m\"`".to_owned()),
            _ if !millis.is_multiple_of(1000) => {
                ("not whole seconds", format!("write `timeout = \"{}s\"`", millis / 1000 + 1))
            }
            _ => continue,
        };
        if cx.knows(at!["services", name, "persistence", "timeout"]) {
            out.push(
                Diagnostic::new(
                    &codes::PERSISTENCE_TIME,
                    cx.value(at!["services", name, "persistence", "timeout"]),
                    format!("the persistence of service `{name}` has a timeout of {}", persistence.timeout),
                    label,
                )
                .hint(hint),
            );
        }
    }
}

fn persistence_prefix(cx: &Context<'_>, out: &mut Findings) {
    const IPV4_BITS: u8 = 32;
    for (name, service) in &cx.cluster.services {
        let Some(prefix) = service.persistence.as_ref().and_then(|persistence| persistence.prefix) else {
            continue;
        };
        // An IPv6 address has room for every prefix.
        let ipv4 = match service.firewall_mark {
            Some(_) if !cx.knows_keys(name, &["family", "firewall_mark"]) => None,
            Some(mark) => {
                (service.family == Default::default()).then(|| format!("takes IPv4 packets with mark {mark}"))
            }
            None => {
                let vips = cx.vips_of_service(name, service);
                vips.iter().find(|vip| vip.0.is_ipv4()).map(|vip| format!("has VIP {vip}"))
            }
        };
        let Some(whose) = ipv4.filter(|_| prefix > IPV4_BITS) else { continue };
        if cx.knows(at!["services", name, "persistence", "prefix"]) {
            out.push(
                Diagnostic::new(
                    &codes::PERSISTENCE_PREFIX,
                    cx.value(at!["services", name, "persistence", "prefix"]),
                    format!("service `{name}` {whose}, and its persistence a prefix of {prefix} bits"),
                    "an IPv4 address has 32 bits",
                )
                .hint("remove `prefix` to tell single clients apart, or write one up to 32"),
            );
        }
    }
}

/// The protocol of a service when it is known and other than UDP.
fn other_than_udp(cx: &Context<'_>, name: &Name, service: &Service) -> Option<Protocol> {
    let protocol = service.protocol.filter(|protocol| *protocol != Protocol::Udp)?;
    let known = service.firewall_mark.is_none() && cx.knows_keys(name, &["protocol", "firewall_mark"]);
    known.then_some(protocol)
}

fn engine_protocol(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let engine = service.persistence.as_ref().and_then(|persistence| persistence.engine);
        let (Some(_), Some(protocol)) = (engine, other_than_udp(cx, name, service)) else { continue };
        if cx.knows(at!["services", name, "persistence", "engine"]) {
            out.push(
                Diagnostic::new(
                    &codes::ENGINE_PROTOCOL,
                    cx.value(at!["services", name, "persistence", "engine"]),
                    format!("service `{name}` is {protocol}, but the SIP engine reads UDP only"),
                    "finds no Call-ID",
                )
                .also(cx.value(at!["services", name, "protocol"]), "not udp")
                .hint("write `protocol = \"udp\"`, or remove `engine`"),
            );
        }
    }
}

fn one_packet_protocol(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(protocol) = other_than_udp(cx, name, service) else { continue };
        if service.one_packet
            && cx.knows(at!["services", name, "one_packet"])
            && !cx.defaults_of_services_have("one_packet")
        {
            out.push(
                Diagnostic::new(
                    &codes::ONE_PACKET_PROTOCOL,
                    cx.key(at!["services", name, "one_packet"]),
                    format!("service `{name}` is {protocol}, but `one_packet` is for UDP only"),
                    "has no effect",
                )
                .also(cx.value(at!["services", name, "protocol"]), "not udp")
                .hint("remove `one_packet`"),
            );
        }
    }
}

fn one_packet_persistence(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let by_address = service.persistence.as_ref().is_some_and(|persistence| persistence.engine.is_none());
        let known = cx.knows_keys(name, &["one_packet", "persistence"])
            && cx.knows(at!["services", name, "persistence", "engine"]);
        if service.one_packet && by_address && known {
            out.push(
                Diagnostic::new(
                    &codes::ONE_PACKET_PERSISTENCE,
                    cx.key(at!["services", name, "one_packet"]),
                    format!(
                        "service `{name}` balances each datagram for itself and yet keeps clients together"
                    ),
                    "each datagram for itself",
                )
                .also(cx.key(at!["services", name, "persistence"]), "all of a client together")
                .hint("remove one of them"),
            );
        }
    }
}

fn all_weights_zero(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let members = cx.all_members(name, service).unwrap_or_default();
        let is_light = |member: &Member<'_>| member.weight().get() == 0;
        let is_drained =
            |member: &Member<'_>| member.host.drain && cx.knows(at!["hosts", member.name, "drain"]);
        if members.is_empty() || !members.iter().all(|member| is_light(member) || is_drained(member)) {
            continue;
        }
        let drained: BTreeSet<&Name> =
            members.iter().filter(|member| is_drained(member)).map(|member| member.name).collect();
        let place = cx.key(at!["services", name, "real_servers"]);
        let refuses = "no new connection is accepted";
        out.push(if drained.is_empty() {
            let what = format!("every real server of service `{name}` has weight 0");
            Diagnostic::new(&codes::ALL_WEIGHTS_ZERO, place, what, refuses)
                .hint("raise a `weight`, unless the whole service is to be drained")
        } else {
            let or = if members.iter().all(is_drained) { "" } else { " or has weight 0" };
            let what = format!("every real server of service `{name}` is drained{or}");
            let found = Diagnostic::new(&codes::ALL_WEIGHTS_ZERO, place, what, refuses);
            let places = drained.into_iter().take(MOST_PLACES);
            places
                .fold(found, |found, host| {
                    found.also(cx.key(at!["hosts", host, "drain"]), format!("`{host}` is drained here"))
                })
                .hint("leave one of them in service, unless the whole service is to be drained")
        });
    }
}

/// The members of a service with their weights, when all are known.
fn weighted<'c>(
    cx: &'c Context<'_>,
    name: &Name,
    service: &Service,
) -> Option<Vec<(&'c Member<'c>, Weight)>> {
    let members = cx.all_members(name, service)?;
    let known = members.iter().all(|member| cx.knows_member(name, member, "weight"));
    known.then(|| members.iter().map(|member| (member, member.weight())).collect())
}

fn equal_weights(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if !matches!(service.scheduler, Scheduler::Fo | Scheduler::Ovf) {
            continue;
        }
        let weighted = weighted(cx, name, service).unwrap_or_default();
        let highest = weighted.iter().map(|(_, weight)| *weight).max().unwrap_or(Weight::ONE);
        let mut first = weighted.iter().filter(|(_, weight)| *weight == highest).map(|(member, _)| member);
        if let (Some(a), Some(b)) = (first.next(), first.next())
            && highest.get() > 0
            && cx.knows_keys(name, &["scheduler"])
        {
            let scheduler = service.scheduler.as_str();
            out.push(
                Diagnostic::new(
                    &codes::EQUAL_WEIGHTS,
                    cx.key(at!["services", name, "real_servers"]),
                    format!(
                        "scheduler {scheduler} of service `{name}` cannot tell which real server is first"
                    ),
                    format!("`{}` and `{}` both have weight {highest}", a.name, b.name),
                )
                .also(cx.value(at!["services", name, "scheduler"]), "takes the highest weight first")
                .hint("give each real server a `weight` of its own, the first the highest"),
            );
        }
    }
}

fn weight_ignored(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let instead = match service.scheduler {
            Scheduler::Rr => "wrr",
            Scheduler::Lc => "wlc",
            Scheduler::Dh => "mh",
            _ => continue,
        };
        // A quorum counts weights, whatever the scheduler does.
        if service.quorum.is_some() || !cx.knows_keys(name, &["scheduler", "quorum"]) {
            continue;
        }
        let scheduler = service.scheduler.as_str();
        let diagnostic = || {
            Diagnostic::new(
                &codes::WEIGHT_IGNORED,
                cx.value(at!["services", name, "scheduler"]),
                format!("scheduler {scheduler} of service `{name}` does not look at weights"),
                "only asks whether a weight is 0",
            )
        };
        let dynamic = of_all(cx, name).find(|written| {
            written.check.dynamic_weight
                && written.check.kind == CheckType::Script
                && written.knows(cx, &["type", "dynamic_weight"])
        });
        if let Some(written) = dynamic {
            out.push(
                diagnostic()
                    .also(cx.key(&written.path("dynamic_weight")), "sets weights")
                    .hint(format!("write `scheduler = \"{instead}\"`, or remove `dynamic_weight`")),
            );
            continue;
        }
        let weighted = weighted(cx, name, service).unwrap_or_default();
        let mut weights = weighted.iter().filter(|(_, weight)| weight.get() > 0);
        let Some((first, weight)) = weights.next() else { continue };
        let Some((other, other_weight)) = weights.find(|(_, other)| other != weight) else { continue };
        out.push(
            diagnostic()
                .note(format!(
                    "`{}` has weight {weight} and `{}` {other_weight}; they get equal shares",
                    first.name, other.name
                ))
                .hint(format!("write `scheduler = \"{instead}\"`, or remove the weights")),
        );
    }
}

fn thresholds(cx: &Context<'_>, out: &mut Findings) {
    for name in cx.cluster.services.keys() {
        for member in cx.members(name) {
            let (upper, Some(lower)) = member.thresholds() else { continue };
            let known =
                ["upper_threshold", "lower_threshold"].iter().all(|key| cx.knows_member(name, member, key));
            if !known || upper.is_some_and(|upper| lower <= upper) {
                continue;
            }
            let place = cx.value(&member.path(name, "lower_threshold"));
            let found = match upper {
                Some(upper) => Diagnostic::new(
                    &codes::THRESHOLDS,
                    place,
                    format!(
                        "real server `{}` of service `{name}` stops at {upper} connections and resumes below \
                        {lower}",
                        member.name
                    ),
                    "above the upper threshold",
                )
                .also(cx.value(&member.path(name, "upper_threshold")), "the upper threshold")
                .hint(format!("write a `lower_threshold` below {upper}, or remove it for three quarters")),
                None => Diagnostic::new(
                    &codes::THRESHOLDS,
                    place,
                    format!(
                        "real server `{}` of service `{name}` has a lower threshold, but no upper one",
                        member.name
                    ),
                    "never stops, so never resumes",
                )
                .hint("add `upper_threshold`, or remove `lower_threshold`"),
            };
            out.push(found);
        }
    }
}
