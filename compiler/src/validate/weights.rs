//! EK04xx, seventh part: what trackers do to priorities.

use std::collections::BTreeSet;

use evenkeel_schemas::cluster::{Track, TrackerType, VirtualRouter};
use evenkeel_schemas::scalars::{Name, Priority};

use super::references::trackings;
use super::written_checks::by_service;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};
use crate::resolve::priority;

pub(super) const RULES: &[Rule] =
    &[zero_weight, weights_too_small, weights_beyond_range, weight_without_preemption, own_fault];

/// Priorities of directors that are not owners.
const LOWEST: i32 = 1;
const HIGHEST: i32 = 254;

fn zero_weight(cx: &Context<'_>, out: &mut Findings) {
    for tracking in trackings(cx) {
        for (index, track) in tracking.track.iter().enumerate() {
            let path = tracking.path(index, "weight");
            let known = cx.knows(&path) && cx.knows(&tracking.path(index, "tracker"));
            if track.weight.is_some_and(|weight| weight.get() == 0) && known {
                out.push(
                    Diagnostic::new(
                        &codes::ZERO_WEIGHT,
                        cx.value(&path),
                        format!(
                            "`{}` tracks `{}` with the weight 0, which adds nothing",
                            tracking.name,
                            track.tracker.escape_debug()
                        ),
                        "has no effect",
                    )
                    .hint(
                        "remove `weight`, and a failure takes the director out of the election; \
                        keepalived's `weight 0` means that",
                    ),
                );
            }
        }
    }
}

/// The priorities of a router's directors, highest first, if all are known and none is an owner's.
fn priorities<'r>(
    cx: &Context<'_>,
    name: &Name,
    router: &'r VirtualRouter,
) -> Option<Vec<(i32, &'r String)>> {
    let known = cx.knows_directors(name, router) && cx.knows_all(at!["virtual_routers", name, "priorities"]);
    let directors = router.directors.iter().enumerate().filter(|_| known);
    let mut priorities = directors
        .map(|(index, director)| {
            let priority =
                priority(router, index, director).filter(|priority| *priority != Priority::OWNER)?;
            Some((i32::from(priority.get()), director))
        })
        .collect::<Option<Vec<_>>>()?;
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    (!priorities.is_empty()).then_some(priorities)
}

fn weighed(track: &&Track) -> bool {
    track.weight.is_some_and(|weight| weight.get() != 0)
}

/// The routers to whose priorities a sync group adds.
fn grouped<'a>(cx: &Context<'a>) -> BTreeSet<&'a str> {
    let groups = cx.cluster.sync_groups.values();
    groups
        .filter(|group| group.track.iter().any(|track| weighed(&track)))
        .flat_map(|group| group.virtual_routers.iter().map(String::as_str))
        .collect()
}

/// The weights of a router, if they are all there is to know of what changes its priorities: a file
/// gives any multiple of its weight, and a sync group adds what it tracks itself.
fn weights(
    cx: &Context<'_>,
    grouped: &BTreeSet<&str>,
    name: &Name,
    router: &VirtualRouter,
) -> Option<Vec<i32>> {
    let of_file = |track: &Track| {
        let (name, tracker) = cx.cluster.trackers.get_key_value(track.tracker.as_str())?;
        cx.knows(at!["trackers", name, "type"]).then_some(tracker.kind == TrackerType::File)
    };
    let known = cx.knows_all(at!["virtual_routers", name, "track"])
        && cx.knows_all(at!["sync_groups"])
        && cx.knows_entries("trackers");
    let mut tracks = router.track.iter().filter(weighed).peekable();
    if !known || tracks.peek().is_none() || grouped.contains(name.as_str()) {
        return None;
    }
    tracks
        .map(|track| match of_file(track)? {
            true => None,
            false => track.weight.map(|weight| i32::from(weight.get())),
        })
        .collect()
}

/// The Master changes when another director's priority is higher, not when it is equal.
fn weights_too_small(cx: &Context<'_>, out: &mut Findings) {
    let grouped = grouped(cx);
    for (name, router) in &cx.cluster.virtual_routers {
        // Without preemption that is told of each weight.
        let told = !router.preempt || !cx.knows(at!["virtual_routers", name, "preempt"]);
        if router.track.is_empty() || told {
            continue;
        }
        let (Some(weights), Some(priorities)) =
            (weights(cx, &grouped, name, router), priorities(cx, name, router))
        else {
            continue;
        };
        let [(first, first_name), (second, second_name), ..] = priorities.as_slice() else {
            continue;
        };
        let (gap, sum) = (first - second, weights.iter().map(|weight| weight.abs()).sum::<i32>());
        if gap == 0 || sum > gap {
            continue;
        }
        let equal = if sum == gap { "; equal priorities do not change the Master" } else { "" };
        out.push(
            Diagnostic::new(
                &codes::WEIGHTS_TOO_SMALL,
                cx.key(at!["virtual_routers", name, "track"]),
                format!("the weights never take `{name}` off `{first_name}` as long as it runs"),
                format!("they add up to {sum}"),
            )
            .also(
                cx.value(at!["virtual_routers", name, "directors"]),
                format!("`{first_name}` has priority {first}, `{second_name}` {second}"),
            )
            .note(format!("a failure must take more than {gap} off{equal}"))
            .hint(format!(
                "write a weight beyond {gap}, such as {}, or bring the priorities together",
                -(gap + 10).min(253)
            )),
        );
    }
}

/// Beyond the range a priority is cut off, and directors that differ become equal.
fn weights_beyond_range(cx: &Context<'_>, out: &mut Findings) {
    let grouped = grouped(cx);
    for (name, router) in &cx.cluster.virtual_routers {
        if router.track.is_empty() {
            continue;
        }
        let (Some(weights), Some(priorities)) =
            (weights(cx, &grouped, name, router), priorities(cx, name, router))
        else {
            continue;
        };
        let raised: i32 = weights.iter().filter(|weight| **weight > 0).sum();
        let lowered: i32 = weights.iter().filter(|weight| **weight < 0).sum();
        let (Some((highest, top)), Some((lowest, bottom))) = (priorities.first(), priorities.last()) else {
            continue;
        };
        let (sum, director, cut, verb) = if highest + raised > HIGHEST {
            (highest + raised, top, HIGHEST, "while all trackers succeed")
        } else if lowest + lowered < LOWEST {
            (lowest + lowered, bottom, LOWEST, "when all trackers fail")
        } else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::WEIGHTS_BEYOND_RANGE,
                cx.key(at!["virtual_routers", name, "track"]),
                format!("{verb}, director `{director}` of `{name}` has the priority {sum}, cut off at {cut}"),
                format!("priorities go from {LOWEST} to {HIGHEST}"),
            )
            .also(cx.value(at!["virtual_routers", name, "directors"]), "the directors")
            .hint(
                "choose weights that keep every director within the range: at its end directors become equal",
            ),
        );
    }
}

/// Without preemption a living Master stays, however low its priority falls.
fn weight_without_preemption(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        if router.preempt || !cx.knows(at!["virtual_routers", name, "preempt"]) {
            continue;
        }
        for (index, track) in router.track.iter().enumerate() {
            let path = at!["virtual_routers", name, "track", index, "weight"];
            if track.weight.is_some_and(|weight| weight.get() != 0) && cx.knows(path) {
                out.push(
                    does_not_preempt(cx, name, path)
                        .hint("remove `weight`: then a failure takes the director out of the election"),
                );
            }
        }
    }
}

/// A weight of a router without preemption.
fn does_not_preempt(cx: &Context<'_>, name: &Name, weight: &[Step<'_>]) -> Diagnostic {
    Diagnostic::new(
        &codes::WEIGHT_WITHOUT_PREEMPTION,
        cx.value(weight),
        format!("`{name}` does not preempt, so this weight never moves it off a Master that runs"),
        "changes the priority, not the Master",
    )
    .also(cx.value(at!["virtual_routers", name, "preempt"]), "no preemption")
}

/// A weight for the director's own fault that is written, and moves nothing.
fn own_fault(cx: &Context<'_>, out: &mut Findings) {
    let checked: BTreeSet<&str> = by_service(cx).map(|(_, service, _)| service.router.as_str()).collect();
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "own_fault_weight"];
        let weight =
            router.own_fault_weight.map(|weight| i32::from(weight.get())).filter(|weight| *weight > 0);
        let Some(weight) = weight.filter(|_| cx.knows(path)) else { continue };
        let grouped = cx.cluster.sync_groups.values().any(|group| {
            let members = &group.virtual_routers;
            members.iter().any(|one| one == name.as_str())
                && members.iter().any(|one| checked.contains(one.as_str()))
        });
        if !checked.contains(name.as_str())
            && !grouped
            && ["services", "pools", "sync_groups"].into_iter().all(|section| cx.knows_all(at![section]))
        {
            out.push(
                Diagnostic::new(
                    &codes::OWN_FAULT_UNCHECKED,
                    cx.value(path),
                    format!("no real server behind `{name}` is checked, so no fault is ever found"),
                    "has no effect",
                )
                .hint("give one of its services a `check`, or remove `own_fault_weight`"),
            );
        } else if !router.preempt && cx.knows(at!["virtual_routers", name, "preempt"]) {
            out.push(
                does_not_preempt(cx, name, path).hint("remove `own_fault_weight`, or let the router preempt"),
            );
        } else if let Some([(first, first_name), (second, second_name), ..]) =
            priorities(cx, name, router).as_deref()
            && *first - *second >= weight
        {
            let gap = first - second;
            out.push(
                Diagnostic::new(
                    &codes::WEIGHTS_TOO_SMALL,
                    cx.value(path),
                    format!("the weight never takes `{name}` off `{first_name}` as long as it runs"),
                    format!("lowers its priority to {}", first - weight),
                )
                .also(
                    cx.value(at!["virtual_routers", name, "directors"]),
                    format!("`{first_name}` has priority {first}, `{second_name}` {second}"),
                )
                .hint(format!("write more than {gap}, or leave it out: then it is as much as is needed")),
            );
        }
    }
}
