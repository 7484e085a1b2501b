//! EK02xx, second part: names of trackers, groups, peers and interfaces that lead nowhere.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Track, TrackerType, VirtualRouter};
use evenkeel_schemas::scalars::{InterfaceName, Name};

use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    unknown_member_router,
    unknown_tracker,
    tracked_twice,
    tracked_by_group_too,
    unused_tracker,
    unknown_tracked_service,
    unknown_interface,
    unknown_peer,
    unknown_segment,
];

/// Sync groups and connection synchronisations that name a virtual router which does not exist.
fn unknown_member_router(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_entries("virtual_routers") {
        return;
    }
    let mut look = |what: String, router: &String, path: &[Step<'_>]| {
        if cx.cluster.virtual_routers.contains_key(router.as_str()) || !cx.knows(path) {
            return;
        }
        let routers = cx.cluster.virtual_routers.keys().map(Name::as_str);
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_MEMBER_ROUTER,
                cx.value(path),
                format!("{what} names virtual router `{}`, which does not exist", router.escape_debug()),
                "no such virtual router",
            )
            .hint(cx.suggester.hint(router, "virtual routers", routers)),
        );
    };
    for (name, group) in &cx.cluster.sync_groups {
        for (index, router) in group.virtual_routers.iter().enumerate() {
            let path = at!["sync_groups", name, "virtual_routers", index];
            look(format!("sync group `{name}`"), router, path);
        }
    }
    for (name, sync) in &cx.cluster.connection_sync {
        let path = at!["connection_sync", name, "router"];
        look(format!("connection synchronisation `{name}`"), &sync.router, path);
    }
}

/// A virtual router or sync group that tracks.
#[derive(Clone, Copy)]
pub(super) struct Tracking<'a> {
    pub(super) section: &'static str,
    pub(super) name: &'a Name,
    pub(super) track: &'a [Track],
}

impl<'a> Tracking<'a> {
    /// Path of a key of the `index`th entry of `track`.
    pub(super) fn path<'p>(&self, index: usize, key: &'p str) -> [Step<'p>; 5]
    where
        'a: 'p,
    {
        [
            Step::Key(self.section),
            Step::Key(self.name.as_str()),
            Step::Key("track"),
            Step::Index(index),
            Step::Key(key),
        ]
    }

    /// The entries whose tracker is known by name.
    pub(super) fn known(&self, cx: &Context<'_>) -> impl Iterator<Item = (usize, &'a Track)> {
        let this = *self;
        let tracked = this.track.iter().enumerate();
        tracked.filter(move |(index, _)| cx.knows(&this.path(*index, "tracker")))
    }
}

/// Everything that tracks.
pub(super) fn trackings<'a>(cx: &Context<'a>) -> impl Iterator<Item = Tracking<'a>> {
    let routers = cx.cluster.virtual_routers.iter().map(|(name, router)| Tracking {
        section: "virtual_routers",
        name,
        track: &router.track,
    });
    let groups = cx.cluster.sync_groups.iter().map(|(name, group)| Tracking {
        section: "sync_groups",
        name,
        track: &group.track,
    });
    routers.chain(groups)
}

fn unknown_tracker(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_entries("trackers") {
        return;
    }
    for tracking in trackings(cx) {
        for (index, track) in tracking.known(cx) {
            let tracker = track.tracker.as_str();
            if cx.cluster.trackers.contains_key(tracker) {
                continue;
            }
            let trackers = cx.cluster.trackers.keys().map(Name::as_str);
            out.push(
                Diagnostic::new(
                    &codes::UNKNOWN_TRACKER,
                    cx.value(&tracking.path(index, "tracker")),
                    format!(
                        "`{}` tracks `{}`, which is not in [trackers]",
                        tracking.name,
                        tracker.escape_debug()
                    ),
                    "no such tracker",
                )
                .hint(cx.suggester.hint(tracker, "trackers", trackers)),
            );
        }
    }
}

fn tracked_twice(cx: &Context<'_>, out: &mut Findings) {
    for tracking in trackings(cx) {
        duplicates(
            tracking.known(cx).map(|(index, track)| (&track.tracker, (index, &track.tracker))),
            |(index, _)| cx.value(&tracking.path(index, "tracker")),
            |(_, first), ((_, tracker), again)| {
                out.push(
                    Diagnostic::new(
                        &codes::TRACKED_TWICE,
                        again,
                        format!("`{}` tracks `{}` twice", tracking.name, tracker.escape_debug()),
                        "listed again here",
                    )
                    .also(first, "first listed here")
                    .hint("keep one of them, with the weight that is meant"),
                );
            },
        );
    }
}

/// Trackers of a group are those of all its members; the weight of only one of the two could count.
fn tracked_by_group_too(cx: &Context<'_>, out: &mut Findings) {
    for (group_name, group) in &cx.cluster.sync_groups {
        let of_group = Tracking { section: "sync_groups", name: group_name, track: &group.track };
        let tracked: BTreeMap<&str, usize> =
            of_group.known(cx).map(|(index, track)| (track.tracker.as_str(), index)).collect();
        for (index, member) in group.virtual_routers.iter().enumerate() {
            let Some((name, router)) = cx.cluster.virtual_routers.get_key_value(member.as_str()) else {
                continue;
            };
            if !cx.knows(at!["sync_groups", group_name, "virtual_routers", index]) {
                continue;
            }
            let own = Tracking { section: "virtual_routers", name, track: &router.track };
            for (index, track) in own.known(cx) {
                let Some(also) = tracked.get(track.tracker.as_str()) else {
                    continue;
                };
                out.push(
                    Diagnostic::new(
                        &codes::TRACKED_TWICE,
                        cx.value(&own.path(index, "tracker")),
                        format!(
                            "`{name}` tracks `{}`, and so does its sync group `{group_name}`",
                            track.tracker.escape_debug()
                        ),
                        "listed again here",
                    )
                    .also(cx.value(&of_group.path(*also, "tracker")), "for all of the group")
                    .hint("keep one of them, with the weight that is meant"),
                );
            }
        }
    }
}

fn unused_tracker(cx: &Context<'_>, out: &mut Findings) {
    let settled = ["virtual_routers", "sync_groups", "trackers"]
        .iter()
        .all(|section| cx.knows_entries(section))
        && trackings(cx).all(|tracking| {
            cx.knows_all(at![tracking.section, tracking.name, "track"])
                && tracking.track.iter().all(|track| cx.cluster.trackers.contains_key(track.tracker.as_str()))
        });
    if !settled {
        return;
    }
    let used: BTreeSet<&str> =
        trackings(cx).flat_map(|tracking| tracking.track).map(|track| track.tracker.as_str()).collect();
    let unused = |name: &&Name| !used.contains(name.as_str()) && cx.knows(at!["trackers", name]);
    for name in cx.cluster.trackers.keys().filter(unused) {
        out.push(
            Diagnostic::new(
                &codes::UNUSED_TRACKER,
                cx.key(at!["trackers", name]),
                format!("tracker `{name}` is not tracked"),
                "no election watches it",
            )
            .hint(format!("add `{{ tracker = \"{name}\" }}` to `track` of a virtual router, or remove it")),
        );
    }
}

fn unknown_tracked_service(cx: &Context<'_>, out: &mut Findings) {
    for (name, tracker) in &cx.cluster.trackers {
        let Some(service) = tracker.service.as_ref().filter(|_| tracker.kind == TrackerType::Service) else {
            continue;
        };
        let known = cx.knows(at!["trackers", name, "service"])
            && cx.knows(at!["trackers", name, "type"])
            && cx.knows_entries("services");
        if !known || cx.cluster.services.contains_key(service.as_str()) {
            continue;
        }
        let services = cx.cluster.services.keys().map(Name::as_str);
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_TRACKED_SERVICE,
                cx.value(at!["trackers", name, "service"]),
                format!(
                    "tracker `{name}` watches service `{}`, which does not exist",
                    service.escape_debug()
                ),
                "no such service",
            )
            .hint(cx.suggester.hint(service, "services", services)),
        );
    }
}

/// The directors of a router that are known not to have an interface, as far as this file says, and
/// whether others have it.
fn lacking<'r>(
    cx: &Context<'_>,
    name: &Name,
    router: &'r VirtualRouter,
    interface: &InterfaceName,
) -> Option<(Vec<&'r String>, bool)> {
    let known = |director: &String| {
        let host = cx.cluster.hosts.get_key_value(director.as_str());
        host.is_some_and(|(host, _)| cx.knows_addresses(host))
    };
    if !cx.knows_directors(name, router) || !router.directors.iter().all(known) {
        return None;
    }
    let has = |director: &&String| {
        let host = cx.cluster.hosts.get(director.as_str());
        host.is_some_and(|host| host.all_addresses().any(|(_, own)| own == interface))
    };
    let (having, lacking): (Vec<_>, Vec<_>) = router.directors.iter().partition(has);
    Some((lacking, !having.is_empty()))
}

/// Interfaces of trackers, VIPs and connection synchronisations that directors do not have.
fn unknown_interface(cx: &Context<'_>, out: &mut Findings) {
    let mut report = |path: &[Step<'_>], what: String, interface: &InterfaceName, lacking: Vec<&String>| {
        let Some(hosts) = list(lacking) else { return };
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_INTERFACE,
                cx.value(path),
                format!("{what} `{interface}`, which this file does not give to {hosts}"),
                "no such interface there",
            )
            .hint(format!(
                "correct the name, or list `{interface}` in `interfaces` of the host; leave it if \
                it has no address"
            )),
        );
    };
    let mut seen = BTreeSet::new();
    for (router_name, router) in &cx.cluster.virtual_routers {
        for (vip, settings) in &router.vip_settings {
            let path = at!["virtual_routers", router_name, "vip_settings", vip, "interface"];
            if let Some(interface) = settings.interface.as_ref().filter(|_| cx.knows(path))
                && let Some((lacking, _)) = lacking(cx, router_name, router, interface)
            {
                let what = format!("VIP `{}` of `{router_name}` is put on", vip.escape_debug());
                report(path, what, interface, lacking);
            }
        }
        for track in &router.track {
            let Some((name, tracker)) = cx.cluster.trackers.get_key_value(track.tracker.as_str()) else {
                continue;
            };
            let path = at!["trackers", name, "interface"];
            if tracker.kind == TrackerType::Interface
                && cx.knows(at!["trackers", name, "type"])
                && cx.knows_all(at!["virtual_routers", router_name, "track"])
                && let Some(interface) = tracker.interface.as_ref().filter(|_| cx.knows(path))
                // One that a director has is no slip of the pen.
                && let Some((lacking, false)) = lacking(cx, router_name, router, interface)
                && seen.insert(name)
            {
                report(path, format!("tracker `{name}` watches"), interface, lacking);
            }
        }
    }
    for (name, sync) in &cx.cluster.connection_sync {
        let path = at!["connection_sync", name, "interface"];
        if let Some(interface) = sync.interface.as_ref().filter(|_| cx.knows(path))
            && cx.knows(at!["connection_sync", name, "router"])
            && let Some((router_name, router)) =
                cx.cluster.virtual_routers.get_key_value(sync.router.as_str())
            && let Some((lacking, _)) = lacking(cx, router_name, router, interface)
        {
            report(path, format!("connection synchronisation `{name}` uses"), interface, lacking);
        }
    }
}

/// Unicast peers, and directors with peers, that are no directors.
fn unknown_peer(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let Some(unicast) = router.unicast.as_ref().filter(|_| cx.knows_directors(name, router)) else {
            continue;
        };
        let directors: BTreeSet<&str> = router.directors.iter().map(String::as_str).collect();
        let mut look = |host: &String, place: &dyn Fn() -> crate::diagnostic::Place| {
            if directors.contains(host.as_str()) {
                return;
            }
            out.push(
                Diagnostic::new(
                    &codes::UNKNOWN_PEER,
                    place(),
                    format!("unicast peer `{}` of `{name}` is not one of its directors", host.escape_debug()),
                    "not a director",
                )
                .also(cx.value(at!["virtual_routers", name, "directors"]), "the directors")
                .hint(cx.suggester.hint(host, "directors", directors.iter().copied())),
            );
        };
        for (from, peers) in &unicast.peers {
            let path = at!["virtual_routers", name, "unicast", "peers", from];
            if cx.knows(path) {
                look(from, &|| cx.key(path));
            }
            for (index, peer) in peers.iter().enumerate() {
                let path = at!["virtual_routers", name, "unicast", "peers", from, index];
                if cx.knows(path) {
                    look(peer, &|| cx.value(path));
                }
            }
        }
    }
}

/// Segments to advertise on that do not exist.
fn unknown_segment(cx: &Context<'_>, out: &mut Findings) {
    if !cx.knows_entries("segments") {
        return;
    }
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "segment"];
        let Some(segment) = router.segment.as_ref().filter(|_| cx.knows(path)) else {
            continue;
        };
        if cx.cluster.segments.contains_key(segment.as_str()) {
            continue;
        }
        let segments = cx.cluster.segments.keys().map(Name::as_str);
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_SEGMENT,
                cx.value(path),
                format!(
                    "virtual router `{name}` advertises on segment `{}`, which does not exist",
                    segment.escape_debug()
                ),
                "no such segment",
            )
            .hint(cx.suggester.hint(segment, "segments", segments)),
        );
    }
}
