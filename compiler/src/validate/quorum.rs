//! EK05xx: what happens when real servers fail or leave: quorum, sorry server, drain, hooks.

use evenkeel_schemas::cluster::{Forwarding, Hook, OnFailure, Service, ServiceHooks};
use evenkeel_schemas::scalars::{Ip, Name};

use super::names::unknown_host;
use super::written_checks::of_all;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] = &[
    sorry_server_unnamed,
    unknown_sorry_server,
    quorum_too_high,
    quorum_hysteresis,
    needs_check,
    zero_time,
    quiesced_for,
    damping,
    sorry_outside,
];

fn sorry_server_unnamed(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(sorry) = &service.sorry_server else { continue };
        let path = |key: &'static str| at!["services", name, "sorry_server", key].to_vec();
        if sorry.host.is_some() != sorry.address.is_some()
            || !cx.knows(at!["services", name, "sorry_server"])
            || !cx.knows(&path("host"))
            || !cx.knows(&path("address"))
        {
            continue;
        }
        let found = if sorry.host.is_some() {
            Diagnostic::new(
                &codes::SORRY_SERVER_UNNAMED,
                cx.key(&path("address")),
                format!("the sorry server of service `{name}` has both `host` and `address`"),
                "only one can count",
            )
            .also(cx.key(&path("host")), "the other one")
            .hint("keep `host` for a host of this cluster, `address` for one outside")
        } else {
            Diagnostic::new(
                &codes::SORRY_SERVER_UNNAMED,
                cx.value(at!["services", name, "sorry_server"]),
                format!("the sorry server of service `{name}` does not say who it is"),
                "names nobody",
            )
            .hint("add `host = …`, or `address = …` for one outside the cluster")
        };
        out.push(found);
    }
}

fn unknown_sorry_server(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(host) = service.sorry_server.as_ref().and_then(|sorry| sorry.host.as_ref()) else {
            continue;
        };
        let path = at!["services", name, "sorry_server", "host"].to_vec();
        if let Some(hint) = unknown_host(cx, host).filter(|_| cx.knows(&path)) {
            let hint = match host.parse::<Ip>() {
                Ok(address) => format!("for a server outside the cluster write `address = \"{address}\"`"),
                Err(_) => hint,
            };
            out.push(
                Diagnostic::new(
                    &codes::UNKNOWN_SORRY_SERVER,
                    cx.value(&path),
                    format!("sorry server `{}` of service `{name}` is not in [hosts]", host.escape_debug()),
                    "no such host",
                )
                .hint(hint),
            );
        }
    }
}

/// All weights of a service's real servers together, when every one is known.
fn total(cx: &Context<'_>, name: &Name, service: &Service) -> Option<u64> {
    let members = cx.all_members(name, service)?;
    let known = members.iter().all(|member| cx.knows_member(name, member, "weight"));
    known.then(|| members.iter().map(|member| u64::from(member.weight().get())).sum())
}

fn quorum_too_high(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(quorum) = &service.quorum else { continue };
        let Some(total) = total(cx, name, service).filter(|total| *total < u64::from(quorum.weight)) else {
            continue;
        };
        if cx.knows(at!["services", name, "quorum", "weight"]) {
            out.push(
                Diagnostic::new(
                    &codes::QUORUM_TOO_HIGH,
                    cx.value(at!["services", name, "quorum", "weight"]),
                    format!(
                        "service `{name}` needs a weight of {}, but all its real servers together have \
                        {total}",
                        quorum.weight
                    ),
                    "cannot be reached",
                )
                .also(cx.key(at!["services", name, "real_servers"]), format!("{total} together"))
                .hint(match total {
                    0 => "raise the weights of the real servers".to_owned(),
                    _ => format!(
                        "lower the quorum to {total} or less, or raise the weights of the real \
                        servers"
                    ),
                }),
            );
        }
    }
}

fn quorum_hysteresis(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(quorum) = &service.quorum else { continue };
        let known =
            ["weight", "hysteresis"].iter().all(|key| cx.knows(at!["services", name, "quorum", *key]));
        if !known || quorum.hysteresis == 0 {
            continue;
        }
        let (weight, hysteresis) = (u64::from(quorum.weight), u64::from(quorum.hysteresis));
        let (message, label, hint) = if hysteresis >= weight {
            (
                format!(
                    "service `{name}` would never go down: its quorum less its hysteresis is not above 0"
                ),
                format!("not below {weight}"),
                match weight {
                    1 => "remove `hysteresis`, or raise the quorum".to_owned(),
                    _ => format!("write a hysteresis below {weight}"),
                },
            )
        } else {
            // A quorum that cannot be reached at all has a rule of its own.
            let total = total(cx, name, service).unwrap_or(u64::MAX);
            if weight > total || weight + hysteresis <= total {
                continue;
            }
            (
                format!(
                    "service `{name}` would never come up again: that takes a weight of {}, and there is \
                    {total}",
                    weight + hysteresis
                ),
                format!("{weight} + {hysteresis} is more than {total}"),
                match total - weight {
                    0 => "remove `hysteresis`, or lower the quorum".to_owned(),
                    room => format!("write a hysteresis of {room} or less, or lower the quorum"),
                },
            )
        };
        out.push(
            Diagnostic::new(
                &codes::QUORUM_HYSTERESIS,
                cx.value(at!["services", name, "quorum", "hysteresis"]),
                message,
                label,
            )
            .also(cx.value(at!["services", name, "quorum", "weight"]), "the quorum")
            .hint(hint),
        );
    }
}

/// The hooks of a service with the keys that they are written at.
pub(super) fn hooks(hooks: &ServiceHooks) -> impl Iterator<Item = (&'static str, &Hook)> {
    [
        ("quorum_up", &hooks.quorum_up),
        ("quorum_down", &hooks.quorum_down),
        ("real_server_up", &hooks.real_server_up),
        ("real_server_down", &hooks.real_server_down),
    ]
    .into_iter()
    .filter_map(|(key, hook)| Some((key, hook.as_ref()?)))
}

/// Whether a real server of a service has a check, or may have one where the file is wrong.
fn may_be_checked(cx: &Context<'_>, name: &Name, service: &Service) -> bool {
    let unknown = |section: &'static str, name: &Name, index: usize| {
        let path = |key: &'static str| at![section, name, "real_servers", index, key].to_vec();
        ["check", "checks", "pool"].into_iter().any(|key| !cx.knows(&path(key)))
    };
    let of_pool = |pool: &String| match cx.cluster.pools.get_key_value(pool.as_str()) {
        Some((name, pool)) => {
            !cx.knows(at!["pools", name, "real_servers"])
                || (0..pool.real_servers.len()).any(|index| unknown("pools", name, index))
        }
        None => true,
    };
    of_all(cx, name).next().is_some()
        || !cx.knows_keys(name, &["check", "checks", "real_servers"])
        || service.real_servers.iter().enumerate().any(|(index, entry)| {
            unknown("services", name, index) || entry.pool.as_ref().is_some_and(of_pool)
        })
}

fn needs_check(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if may_be_checked(cx, name, service) {
            continue;
        }
        let mut tell = |path: &[Step<'_>], key: &str, what: &str| {
            if !cx.knows(path) || cx.defaults_of_services_have(key) {
                return;
            }
            out.push(
                Diagnostic::new(
                    &codes::NEEDS_CHECK,
                    cx.key(path),
                    format!("service `{name}` has no check, so {what}"),
                    "needs a check",
                )
                .hint("add `check = { type = \"tcp\" }` to the service, or remove this"),
            );
        };
        let settings = [
            ("quorum", service.quorum.is_some(), "its quorum is never lost"),
            ("sorry_server", service.sorry_server.is_some(), "its sorry server is never used"),
            ("floor", service.floor.is_some(), "nothing ever falls below its floor"),
            ("slow_start", service.slow_start.is_some(), "no real server ever returns"),
            ("damping", service.damping.is_some(), "no real server ever flaps"),
            ("on_failure", service.on_failure != OnFailure::default(), "no real server ever fails"),
        ];
        for (key, _, what) in settings.into_iter().filter(|(_, given, _)| *given) {
            tell(at!["services", name, key], key, what);
        }
        for (key, _) in hooks(&service.hooks) {
            tell(at!["services", name, "hooks", key], "hooks", "this program is never told of anything");
        }
    }
}

fn zero_time(cx: &Context<'_>, out: &mut Findings) {
    let mut tell = |path: &[Step<'_>], place: Place, what: String, hint: &str| {
        if cx.knows(path) {
            out.push(Diagnostic::new(&codes::ZERO_TIME, place, what, "must be longer than 0s").hint(hint));
        }
    };
    for (name, service) in &cx.cluster.services {
        if service.drain.as_ref().is_some_and(|drain| drain.timeout.as_millis() == 0) {
            let path = at!["services", name, "drain", "timeout"].to_vec();
            let what = format!("the drain of service `{name}` has a timeout of zero");
            tell(&path, cx.value(&path), what, "write how long connections may go on, such as `\"60s\"`");
        }
        if service.quiesce_for.is_some_and(|time| time.as_millis() == 0) {
            let path = at!["services", name, "quiesce_for"].to_vec();
            let what = format!("`quiesce_for` of service `{name}` is zero");
            tell(&path, cx.value(&path), what, "remove it, or write `on_failure = \"remove\"`");
        }
        let damping = service
            .damping
            .iter()
            .flat_map(|one| [("window", one.window), ("delay", one.delay), ("max_delay", one.max_delay)]);
        for (key, _) in damping.filter(|(_, time)| time.as_millis() == 0) {
            let path = at!["services", name, "damping", key].to_vec();
            let what = format!("`{key}` of the damping of service `{name}` is zero");
            tell(&path, cx.value(&path), what, "remove it for the default");
        }
        for (key, hook) in hooks(&service.hooks) {
            if hook.timeout.is_some_and(|timeout| timeout.as_millis() == 0) {
                let path = at!["services", name, "hooks", key, "timeout"].to_vec();
                let what = format!("hook `{key}` of service `{name}` has a timeout of zero");
                tell(&path, cx.value(&path), what, "remove it for the default of 10s");
            }
        }
    }
}

fn quiesced_for(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let (time, kind) = (at!["services", name, "quiesce_for"], at!["services", name, "on_failure"]);
        let given = service.quiesce_for.is_some() && service.on_failure != OnFailure::Quiesce;
        if !given || !cx.knows(time) || !cx.knows(kind) || cx.defaults_of_services_have("quiesce_for") {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::QUIESCE_FOR_UNUSED,
                cx.key(time),
                format!("failed real servers of service `{name}` are removed at once, never at weight 0"),
                "has no effect",
            )
            .hint("add `on_failure = \"quiesce\"`, or remove `quiesce_for`"),
        );
    }
}

fn damping(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let path = |key: &'static str| at!["services", name, "damping", key].to_vec();
        let damping = service.damping.as_ref().filter(|one| one.max_delay < one.delay);
        let Some(damping) = damping.filter(|_| cx.knows(&path("delay")) && cx.knows(&path("max_delay")))
        else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::DAMPING_DELAYS,
                cx.value(at!["services", name, "damping"]),
                format!(
                    "the longest wait of service `{name}`, {}, is shorter than the first, {}",
                    damping.max_delay, damping.delay
                ),
                "the wait could never double",
            )
            .hint("write a `max_delay` above `delay`"),
        );
    }
}

/// A sorry server outside of the cluster gets packets for the VIP, and no plan gives it one.
fn sorry_outside(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let path = |key: &'static str| at!["services", name, "sorry_server", key].to_vec();
        let Some((sorry, address)) = service.sorry_server.as_ref().and_then(|one| Some((one, one.address?)))
        else {
            continue;
        };
        let known = cx.knows_all(at!["services", name])
            && ["hosts", "pools"].into_iter().all(|section| cx.knows_all(at![section]));
        let forwarding = sorry.forwarding.unwrap_or(service.forwarding);
        if sorry.host.is_some() || forwarding == Forwarding::Nat || !known {
            continue;
        }
        if sorry.forwarding.is_none() && !cx.knows(at!["services", name, "forwarding"]) {
            continue;
        }
        let mut hosts = cx.cluster.hosts.iter();
        let host = hosts.find(|(_, host)| host.all_addresses().any(|(one, _)| one == address));
        // A real server of the service has the VIP.
        let serves = |host: &Name| cx.members(name).iter().any(|member| member.name == host);
        if host.is_some_and(|(host, _)| serves(host)) {
            continue;
        }
        let needs = if forwarding == Forwarding::Tun {
            "the end of the tunnel and the VIP on `lo`"
        } else {
            "the VIP on `lo`"
        };
        let found = Diagnostic::new(
            &codes::SORRY_OUTSIDE,
            cx.value(&path("address")),
            format!(
                "the sorry server of service `{name}` gets packets for the VIP, and no plan gives it one"
            ),
            format!("needs {needs}"),
        );
        out.push(match host {
            Some((host, _)) => {
                found.hint(format!("write `host = \"{host}\"`: then the plan of that host has it"))
            }
            None => found.hint(format!(
                "give it {needs}, with `arp_ignore = 1` and `arp_announce = 2`; or masquerade to it"
            )),
        });
    }
}
