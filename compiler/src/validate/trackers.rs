//! EK04xx, sixth part: trackers by themselves.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{Initially, Tracker, TrackerType, VirtualRouter};
use evenkeel_schemas::scalars::{Name, Span};

use super::references::{Tracking, trackings};
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;
use crate::suggest::list;

pub(super) const RULES: &[Rule] =
    &[missing_key, foreign_key, file_path, zero_interval, timeout_too_long, service_elsewhere, all_at_once];

const fn kind_name(kind: TrackerType) -> &'static str {
    match kind {
        TrackerType::Interface => "interface",
        TrackerType::Script => "script",
        TrackerType::Process => "process",
        TrackerType::File => "file",
        TrackerType::Service => "service",
    }
}

/// The key that a tracker of a type must have, and an example of it.
const fn required(kind: TrackerType) -> (&'static str, &'static str) {
    match kind {
        TrackerType::Interface => ("interface", "interface = \"eth1\""),
        TrackerType::Script => ("command", "command = [\"/usr/local/bin/check\"]"),
        TrackerType::Process => ("process", "process = \"haproxy\""),
        TrackerType::File => ("path", "path = \"/run/priority\""),
        TrackerType::Service => ("service", "service = \"web\""),
    }
}

/// Keys beyond the required one that a type takes. `initially` is every type's.
const fn optional(kind: TrackerType) -> &'static [&'static str] {
    match kind {
        TrackerType::Script => &["user", "interval", "timeout", "rise", "fall"],
        TrackerType::Process => &["quorum"],
        TrackerType::File => &["interval"],
        TrackerType::Interface | TrackerType::Service => &[],
    }
}

/// The keys that a tracker has, but `type`.
fn given(tracker: &Tracker) -> impl Iterator<Item = &'static str> {
    let Tracker {
        kind: _,
        interface,
        command,
        user,
        interval,
        timeout,
        rise,
        fall,
        process,
        quorum,
        path,
        service,
        initially,
    } = tracker;
    [
        ("interface", interface.is_some()),
        ("command", !command.is_empty()),
        ("user", user.is_some()),
        ("interval", interval.is_some()),
        ("timeout", timeout.is_some()),
        ("rise", rise.is_some()),
        ("fall", fall.is_some()),
        ("process", process.is_some()),
        ("quorum", quorum.is_some()),
        ("path", path.is_some()),
        ("service", service.is_some()),
        ("initially", *initially != Initially::default()),
    ]
    .into_iter()
    .filter_map(|(key, given)| given.then_some(key))
}

/// The trackers whose type is known.
fn typed<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, &'a Tracker)> {
    cx.cluster.trackers.iter().filter(|(name, _)| cx.knows(at!["trackers", name, "type"]))
}

fn missing_key(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in typed(cx) {
        let (key, example) = required(tracker.kind);
        if given(tracker).any(|given| given == key) || !cx.knows(at!["trackers", name, key]) {
            continue;
        }
        let kind = kind_name(tracker.kind);
        out.push(
            Diagnostic::new(
                &codes::TRACKER_WITHOUT_KEY,
                cx.value(at!["trackers", name, "type"]),
                format!("tracker `{name}` has the type \"{kind}\" and no `{key}`"),
                format!("needs `{key}`"),
            )
            .hint(format!("add what it watches, such as `{example}`")),
        );
    }
}

fn foreign_key(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in typed(cx) {
        let (kind, needs) = (kind_name(tracker.kind), required(tracker.kind).0);
        let takes = |key: &str| key == needs || key == "initially" || optional(tracker.kind).contains(&key);
        for key in given(tracker).filter(|key| !takes(key)) {
            if !cx.knows(at!["trackers", name, key]) {
                continue;
            }
            let keys = [needs].into_iter().chain(optional(tracker.kind).iter().copied()).chain(["initially"]);
            out.push(
                Diagnostic::new(
                    &codes::KEY_OF_OTHER_TRACKER,
                    cx.key(at!["trackers", name, key]),
                    format!("tracker `{name}` has the type \"{kind}\", which takes no `{key}`"),
                    "would do nothing",
                )
                .also(cx.value(at!["trackers", name, "type"]), "its type")
                .hint(format!("remove it; this type takes {}", list(keys).unwrap_or_default())),
            );
        }
    }
}

fn file_path(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in typed(cx).filter(|(_, tracker)| tracker.kind == TrackerType::File) {
        let place = at!["trackers", name, "path"];
        let Some(path) = tracker.path.as_ref().filter(|path| !path.starts_with('/') && cx.knows(place))
        else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::TRACKER_PATH,
                cx.value(place),
                format!("tracker `{name}` reads `{}`, which is no absolute path", path.escape_debug()),
                "must begin with `/`",
            )
            .hint("name a file on the directors, such as \"/run/priority\""),
        );
    }
}

fn zero_interval(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in typed(cx) {
        for (key, span) in [("interval", tracker.interval), ("timeout", tracker.timeout)] {
            if span.map(Span::as_millis) != Some(0) || !cx.knows(at!["trackers", name, key]) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::ZERO_DURATION,
                    cx.value(at!["trackers", name, key]),
                    format!("the {key} of tracker `{name}` is zero"),
                    "must be longer than 0s",
                )
                .hint(format!("remove `{key}` to get the default, or write a time such as \"1s\"")),
            );
        }
    }
}

fn timeout_too_long(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in typed(cx).filter(|(_, tracker)| tracker.kind == TrackerType::Script) {
        let known = |key| cx.knows(at!["trackers", name, key]);
        let interval = tracker.interval.unwrap_or(Span::from_secs(1));
        let Some(timeout) = tracker.timeout.filter(|timeout| *timeout > interval) else {
            continue;
        };
        if !known("timeout") || !known("interval") {
            continue;
        }
        let mut diagnostic = Diagnostic::new(
            &codes::TRACKER_TIMEOUT,
            cx.value(at!["trackers", name, "timeout"]),
            format!(
                "the program of tracker `{name}` may run for {timeout}, longer than its interval of \
                {interval}"
            ),
            "the next look waits for it",
        );
        if tracker.interval.is_some() {
            diagnostic = diagnostic.also(cx.value(at!["trackers", name, "interval"]), "the interval");
        }
        out.push(diagnostic.hint("write a shorter `timeout` or a longer `interval`"));
    }
}

/// A tracking, and a virtual router that it is about: itself, or one of the group.
fn tracked_routers<'a>(cx: &Context<'a>, tracking: &Tracking<'a>) -> Vec<(&'a Name, &'a VirtualRouter)> {
    let group = cx.cluster.sync_groups.get(tracking.name).filter(|_| tracking.section == "sync_groups");
    let known = |index: usize| cx.knows(at!["sync_groups", tracking.name, "virtual_routers", index]);
    let names: Vec<&str> = match group {
        Some(group) => {
            let members = group.virtual_routers.iter().enumerate().filter(|(index, _)| known(*index));
            members.map(|(_, name)| name.as_str()).collect()
        }
        None => vec![tracking.name.as_str()],
    };
    names.into_iter().filter_map(|name| cx.cluster.virtual_routers.get_key_value(name)).collect()
}

/// Only the directors of its router know how a service is.
fn service_elsewhere(cx: &Context<'_>, out: &mut Findings) {
    for tracking in trackings(cx) {
        let routers = tracked_routers(cx, &tracking);
        for (index, track) in tracking.known(cx) {
            let Some((tracker_name, tracker)) = cx.cluster.trackers.get_key_value(track.tracker.as_str())
            else {
                continue;
            };
            let service = tracker.service.as_ref().filter(|_| tracker.kind == TrackerType::Service);
            let known = cx.knows(at!["trackers", tracker_name, "type"])
                && cx.knows(at!["trackers", tracker_name, "service"]);
            let service = service.and_then(|service| cx.cluster.services.get_key_value(service.as_str()));
            let Some((service_name, service)) = service.filter(|_| known) else {
                continue;
            };
            let Some((other_name, other)) = cx.router_of(service_name, service) else {
                continue;
            };
            if !cx.knows_directors(other_name, other) {
                continue;
            }
            let hosts = routers.iter().flat_map(|(name, router)| cx.directors(name, router));
            let blind: BTreeSet<&String> =
                hosts.map(|(_, host)| host).filter(|host| !other.directors.contains(host)).collect();
            let Some(hosts) = list(blind.iter().map(|host| host.escape_debug())) else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::SERVICE_ELSEWHERE,
                    cx.value(&tracking.path(index, "tracker")),
                    format!(
                        "`{}` tracks service `{service_name}`, which is not balanced by {hosts}",
                        tracking.name
                    ),
                    format!("watches `{service_name}`"),
                )
                .also(
                    cx.value(at!["virtual_routers", other_name, "directors"]),
                    format!("`{service_name}` is balanced by these, the directors of `{other_name}`"),
                )
                .hint("track a service of the same directors"),
            );
        }
    }
}

/// The directors of a service check the same real servers, so they lose it together.
fn all_at_once(cx: &Context<'_>, out: &mut Findings) {
    for tracking in trackings(cx) {
        for (index, track) in tracking.known(cx) {
            let Some((name, tracker)) = cx.cluster.trackers.get_key_value(track.tracker.as_str()) else {
                continue;
            };
            let known = cx.knows(at!["trackers", name, "type"]) && cx.knows(&tracking.path(index, "weight"));
            if tracker.kind != TrackerType::Service || track.weight.is_some() || !known {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::ALL_AT_ONCE,
                    cx.value(&tracking.path(index, "tracker")),
                    format!(
                        "when the service of `{name}` fails, all directors leave the election of `{}`",
                        tracking.name
                    ),
                    "without a weight a failure takes the director out",
                )
                .note("directors of one service check the same real servers, so they lose it together")
                .hint(
                    "leave it if then nobody is to hold the VIPs; otherwise remove it, and give the \
                    service a sorry server",
                ),
            );
        }
    }
}
