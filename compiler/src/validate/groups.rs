//! EK04xx, eighth part: sync groups, connection synchronisation, virtual MAC addresses: what
//! virtual routers share.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{ConnectionSync, SyncGroup, VirtualRouter};
use evenkeel_schemas::scalars::{InterfaceName, Name, Priority};

use super::{Context, Findings, Rule, duplicates};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;
use crate::resolve::{families, is_dual, priority, virtual_mac_interface};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    in_two_groups,
    other_directors,
    other_order,
    other_preemption,
    two_connection_syncs,
    sync_id_taken,
    group_not_multicast,
    virtual_mac_name,
    virtual_mac_too_long,
    group_name,
];

fn in_two_groups(cx: &Context<'_>, out: &mut Findings) {
    let members = cx.cluster.sync_groups.iter().flat_map(|(name, group)| {
        let known = move |index: &usize| cx.knows(at!["sync_groups", name, "virtual_routers", *index]);
        let routers = group.virtual_routers.iter().enumerate().filter(move |(index, _)| known(index));
        routers.map(move |(index, router)| (router, (name, index, router)))
    });
    duplicates(
        members,
        |(name, index, _)| cx.value(at!["sync_groups", name, "virtual_routers", index]),
        |((other, _, _), first), ((name, _, router), again)| {
            let router = router.escape_debug();
            let message = if other == name {
                format!("virtual router `{router}` is listed twice in sync group `{name}`")
            } else {
                format!("virtual router `{router}` is in two sync groups, `{other}` and `{name}`")
            };
            out.push(
                Diagnostic::new(&codes::IN_TWO_GROUPS, again, message, "listed again here")
                    .also(first, "first listed here")
                    .hint("keep it in one; what must move together is one group"),
            );
        },
    );
}

/// Groups that have the name of a group that the compiler makes.
fn group_name(cx: &Context<'_>, out: &mut Findings) {
    let known = cx.knows_entries("sync_groups")
        && cx
            .cluster
            .sync_groups
            .keys()
            .all(|name| cx.knows_all(at!["sync_groups", name, "virtual_routers"]));
    if !known {
        return;
    }
    let grouped: BTreeSet<&str> = cx
        .cluster
        .sync_groups
        .values()
        .flat_map(|group| group.virtual_routers.iter().map(String::as_str))
        .collect();
    for name in cx.cluster.sync_groups.keys().filter(|name| !grouped.contains(name.as_str())) {
        let router = cx.cluster.virtual_routers.get(name).filter(|router| is_dual(router));
        if router.is_none() || !cx.knows_all(at!["virtual_routers", name, "vips"]) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::GROUP_NAME,
                cx.key(at!["sync_groups", name]),
                format!("sync group `{name}` has the name of a virtual router with VIPs of both families"),
                "is the name of another group",
            )
            .also(cx.key(at!["virtual_routers", name]), "a group by itself, of IPv4 and IPv6")
            .hint("give the sync group another name"),
        );
    }
}

/// A member of a group: its index there, its name, itself.
type Member<'a> = (usize, &'a Name, &'a VirtualRouter);

/// The groups, and those of their members that exist and are known. All are compared with the first
/// of the list; while that is not known nothing is.
fn groups<'a>(cx: &Context<'a>) -> impl Iterator<Item = (&'a Name, Vec<Member<'a>>)> {
    let members = |name: &Name, group: &'a SyncGroup| {
        let known = |index: &usize| cx.knows(at!["sync_groups", name, "virtual_routers", *index]);
        let routers = group.virtual_routers.iter().enumerate().filter(|(index, _)| known(index));
        routers
            .filter_map(|(index, router)| {
                let (name, router) = cx.cluster.virtual_routers.get_key_value(router.as_str())?;
                Some((index, name, router))
            })
            .collect()
    };
    cx.cluster.sync_groups.iter().map(move |(name, group)| (name, members(name, group)))
}

fn other_directors(cx: &Context<'_>, out: &mut Findings) {
    let set = |router: &VirtualRouter| -> BTreeSet<String> { router.directors.iter().cloned().collect() };
    for (group, mut members) in groups(cx) {
        members.retain(|(_, name, router)| cx.knows_directors(name, router));
        let Some(((0, first_name, first), others)) = members.split_first() else {
            continue;
        };
        let expected = set(first);
        for (index, name, router) in others {
            let own = set(router);
            let mut differing = own.symmetric_difference(&expected);
            let Some(host) = differing.next() else {
                continue;
            };
            let (of, not_of) = if own.contains(host) { (name, first_name) } else { (first_name, name) };
            out.push(
                Diagnostic::new(
                    &codes::GROUP_DIRECTORS,
                    cx.value(at!["sync_groups", group, "virtual_routers", *index]),
                    format!("`{first_name}` and `{name}` of sync group `{group}` have different directors"),
                    format!("`{host}` is a director of `{of}`, not of `{not_of}`"),
                )
                .also(
                    cx.value(at!["virtual_routers", first_name, "directors"]),
                    format!("those of `{first_name}`"),
                )
                .also(cx.value(at!["virtual_routers", name, "directors"]), format!("those of `{name}`"))
                .hint("give all of the group the same directors"),
            );
        }
    }
}

/// Directors in the order in which they become Master.
fn order<'r>(cx: &Context<'_>, name: &Name, router: &'r VirtualRouter) -> Option<Vec<&'r String>> {
    if !cx.knows_directors(name, router) || !cx.knows_all(at!["virtual_routers", name, "priorities"]) {
        return None;
    }
    let directors = router.directors.iter().enumerate();
    let mut order: Vec<(Priority, &String)> = directors
        .map(|(index, director)| Some((priority(router, index, director)?, director)))
        .collect::<Option<_>>()?;
    order.sort_by(|(a, _), (b, _)| b.cmp(a));
    // Between equals the order is that of addresses, which is reported already.
    let distinct = order.windows(2).all(|pair| pair[0].0 != pair[1].0);
    distinct.then(|| order.into_iter().map(|(_, director)| director).collect())
}

/// The key in which the order of preference is written.
fn preference(cx: &Context<'_>, name: &Name) -> &'static str {
    match cx.cluster.virtual_routers.get(name) {
        Some(router) if !router.priorities.is_empty() => "priorities",
        Some(_) | None => "directors",
    }
}

fn other_order(cx: &Context<'_>, out: &mut Findings) {
    for (group, members) in groups(cx) {
        let mut ordered = members
            .into_iter()
            .filter_map(|(index, name, router)| Some((index, name, order(cx, name, router)?)));
        let Some((0, first_name, first)) = ordered.next() else {
            continue;
        };
        for (index, name, own) in ordered {
            let same_hosts = own.iter().collect::<BTreeSet<_>>() == first.iter().collect::<BTreeSet<_>>();
            let Some((want, wants)) = first.iter().zip(&own).find(|(a, b)| a != b).filter(|_| same_hosts)
            else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::GROUP_ORDER,
                    cx.value(at!["sync_groups", group, "virtual_routers", index]),
                    format!("`{first_name}` and `{name}` of sync group `{group}` prefer different directors"),
                    format!("`{name}` prefers `{wants}`, `{first_name}` prefers `{want}`"),
                )
                .also(
                    cx.value(at!["virtual_routers", first_name, preference(cx, first_name)]),
                    format!("those of `{first_name}`"),
                )
                .also(
                    cx.value(at!["virtual_routers", name, preference(cx, name)]),
                    format!("those of `{name}`"),
                )
                .hint("give all of the group the same order of `directors`, or the same `priorities`"),
            );
        }
    }
}

fn other_preemption(cx: &Context<'_>, out: &mut Findings) {
    for (group, mut members) in groups(cx) {
        for key in ["preempt", "preempt_delay"] {
            members.retain(|(_, name, _)| cx.knows(at!["virtual_routers", *name, key]));
        }
        let Some(((0, first_name, first), others)) = members.split_first() else {
            continue;
        };
        for (index, name, router) in others {
            let key = if router.preempt != first.preempt {
                "preempt"
            } else if router.preempt_delay != first.preempt_delay {
                "preempt_delay"
            } else {
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::GROUP_PREEMPTION,
                    cx.value(at!["sync_groups", group, "virtual_routers", *index]),
                    format!("`{first_name}` and `{name}` of sync group `{group}` differ in `{key}`"),
                    "the group moves when one of them does",
                )
                .also(cx.key(at!["virtual_routers", first_name]), format!("`{first_name}`"))
                .also(cx.key(at!["virtual_routers", name]), format!("`{name}`"))
                .hint(format!("give all of the group the same `{key}`")),
            );
        }
    }
}

/// The synchronisations whose router exists and is known.
pub(super) fn syncs<'a>(
    cx: &Context<'a>,
) -> impl Iterator<Item = (&'a Name, &'a ConnectionSync, &'a Name, &'a VirtualRouter)> {
    let known = cx
        .cluster
        .connection_sync
        .iter()
        .filter(|(name, _)| cx.knows(at!["connection_sync", name, "router"]));
    known.filter_map(|(name, sync)| {
        let (router_name, router) = cx.cluster.virtual_routers.get_key_value(sync.router.as_str())?;
        Some((name, sync, router_name, router))
    })
}

/// The kernel has one sending and one receiving thread in a network namespace.
fn two_connection_syncs(cx: &Context<'_>, out: &mut Findings) {
    let mut taken: BTreeMap<&str, &Name> = BTreeMap::new();
    for (name, _, router_name, router) in syncs(cx) {
        let mut other = None;
        for (_, director) in cx.directors(router_name, router) {
            match taken.get(director.as_str()) {
                Some(earlier) if *earlier != name => other = other.or(Some((*earlier, director))),
                Some(_) => {}
                None => _ = taken.insert(director, name),
            }
        }
        let Some((other, director)) = other else {
            continue;
        };
        let (a, b) = (
            (other, cx.value(at!["connection_sync", other, "router"])),
            (name, cx.value(at!["connection_sync", name, "router"])),
        );
        let ((first, first_place), (again, place)) = if a.1.start <= b.1.start { (a, b) } else { (b, a) };
        out.push(
            Diagnostic::new(
                &codes::TWO_CONNECTION_SYNCS,
                place,
                format!(
                    "director `{}` has two connection synchronisations, `{first}` and `{again}`",
                    director.escape_debug()
                ),
                format!("`{again}`"),
            )
            .also(first_place, format!("`{first}`"))
            .hint("keep one: the kernel sends the connections of all virtual routers with it"),
        );
    }
}

fn sync_id_taken(cx: &Context<'_>, out: &mut Findings) {
    let known = |name: &Name, key: &str| cx.knows(at!["connection_sync", name, key]);
    let ids = syncs(cx).filter_map(|(name, sync, router_name, router)| {
        let home = cx.home(router_name, router)?;
        let id = sync.id?;
        let all = ["id", "group", "port", "interface"].iter().all(|key| known(name, key));
        // On an interface of choice the segment is not the router's.
        let here = sync.interface.is_none() && all;
        here.then_some(((home, id, sync.group, sync.port), (name, home, id)))
    });
    duplicates(
        ids,
        |(name, _, _)| cx.value(at!["connection_sync", name, "id"]),
        |((other, _, _), first), ((name, home, id), again)| {
            out.push(
                Diagnostic::new(
                    &codes::SYNC_ID_TAKEN,
                    again,
                    format!(
                        "connection synchronisations `{other}` and `{name}` have the same id {id} on \
                        segment `{home}`"
                    ),
                    format!("`{name}`"),
                )
                .also(first, format!("`{other}`"))
                .hint("choose another `id`, `group` or `port` for one of them"),
            );
        },
    );
}

fn group_not_multicast(cx: &Context<'_>, out: &mut Findings) {
    for (name, sync) in &cx.cluster.connection_sync {
        let path = at!["connection_sync", name, "group"];
        if let Some(group) = sync.group.filter(|group| !group.0.is_multicast() && cx.knows(path)) {
            out.push(
                Diagnostic::new(
                    &codes::GROUP_NOT_MULTICAST,
                    cx.value(path),
                    format!(
                        "connection synchronisation `{name}` sends to {group}, which is no multicast group"
                    ),
                    "must be in 224.0.0.0/4 or ff00::/8",
                )
                .hint("remove `group` to get 224.0.0.81"),
            );
        }
    }
}

/// The names of a router's macvlan interfaces, if it has some and they are known: one for each family.
fn macvlans(cx: &Context<'_>, name: &Name, router: &VirtualRouter) -> Vec<String> {
    let known = cx.knows_all(at!["virtual_routers", name, "virtual_mac"])
        && cx.knows_all(at!["virtual_routers", name, "vips"])
        && cx.knows(at!["virtual_routers", name, "vrid"]);
    let Some(mac) = router.virtual_mac.as_ref().filter(|_| known) else {
        return Vec::new();
    };
    let dual = is_dual(router);
    families(router).map(|family| virtual_mac_interface(mac, router.vrid, family, dual)).collect()
}

/// A longest name, to which nothing can be added (linux/if.h: IFNAMSIZ less the terminator).
const LONGEST_NAME: usize = 15;

fn virtual_mac_too_long(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let Some(long) = macvlans(cx, name, router).into_iter().find(|name| name.len() > LONGEST_NAME) else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::MACVLAN_TOO_LONG,
                cx.value(at!["virtual_routers", name, "virtual_mac", "interface"]),
                format!(
                    "the interface `{long}` for the virtual MAC of the IPv6 VIPs of `{name}` has {} \
                    characters",
                    long.len()
                ),
                format!("at most {} characters, as a 6 is added for IPv6", LONGEST_NAME - 1),
            )
            .hint(format!("shorten it, or remove it to get `vrrp.{0}` and `vrrp6.{0}`", router.vrid)),
        );
    }
}

fn virtual_mac_name(cx: &Context<'_>, out: &mut Findings) {
    let mut taken = Macvlans::new();
    for (name, router) in &cx.cluster.virtual_routers {
        for interface in macvlans(cx, name, router) {
            virtual_mac_taken(cx, name, router, &interface, &mut taken, out);
        }
    }
}

/// By director and interface, the router that makes it.
type Macvlans<'a> = BTreeMap<(&'a str, String), &'a Name>;

fn virtual_mac_taken<'a>(
    cx: &Context<'a>,
    name: &'a Name,
    router: &'a VirtualRouter,
    interface: &str,
    taken: &mut Macvlans<'a>,
    out: &mut Findings,
) {
    let place = cx.key(at!["virtual_routers", name, "virtual_mac"]);
    let mut others: BTreeMap<&Name, Vec<&str>> = BTreeMap::new();
    for (_, director) in cx.directors(name, router) {
        match taken.get(&(director.as_str(), interface.to_owned())) {
            Some(other) => others.entry(other).or_default().push(director),
            None => _ = taken.insert((director, interface.to_owned()), name),
        }
        let Some((host_name, host)) = cx.cluster.hosts.get_key_value(director.as_str()) else {
            continue;
        };
        let is = |own: &InterfaceName| own.as_str() == interface;
        let own = is(&host.interface) && cx.knows(at!["hosts", host_name, "interface"]);
        if own || host.interfaces.keys().any(is) {
            out.push(
                Diagnostic::new(
                    &codes::MACVLAN_NAME,
                    place.clone(),
                    format!(
                        "the interface `{interface}` for the virtual MAC of `{name}` is one that \
                            director `{host_name}` has"
                    ),
                    format!("makes `{interface}`"),
                )
                .also(cx.key(at!["hosts", host_name]), "this host has it")
                .hint(
                    "name another with `virtual_mac = { interface = … }`: it is made and removed by \
                        the daemon",
                ),
            );
            break;
        }
    }
    for (other, hosts) in others {
        let hosts = list(hosts.iter().map(|host| host.escape_debug())).unwrap_or_default();
        out.push(
            Diagnostic::new(
                &codes::MACVLAN_NAME,
                place.clone(),
                format!("`{other}` and `{name}` both make an interface `{interface}` on {hosts}"),
                format!("`{name}`"),
            )
            .also(cx.key(at!["virtual_routers", other, "virtual_mac"]), format!("`{other}`"))
            .hint("name another for one of them: `virtual_mac = { interface = … }`"),
        );
    }
}
