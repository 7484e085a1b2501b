//! What must be true in every state between two sets of plans, whatever order the hosts of a stage
//! take theirs in. `stages` keeps these rules; a property test checks every state of every order.
//!
//! A state is a fleet in which some hosts have an older plan than others. The rules speak of plans,
//! not of kernels: within a host the daemon orders things itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_schemas::plan::{
    Destination, Encapsulation, Family, Forwarding, Front, Plan, Router, TunnelMode, VirtualServer,
};
use evenkeel_schemas::scalars::{InterfaceName, Ip, Name};

use super::Fleet;
use super::stages::{Side, Wire, family_and_vrid, held, made_interfaces, of_interface, related};
use crate::attach::is_link_local;

/// A state between two fleets.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Fleet before.
    pub before: &'a Fleet,
    /// Wanted fleet.
    pub after: &'a Fleet,
    /// Fleet now.
    pub now: &'a Fleet,
}

type Rule = fn(&State<'_>, &mut Vec<String>);

const RULES: [Rule; 11] = [
    real_servers_accept_what_they_are_sent,
    real_servers_can_unwrap,
    real_servers_find_back,
    real_servers_are_quiet,
    a_vip_has_one_owner,
    a_vrid_has_one_router,
    what_is_sent_to_a_director_stays,
    what_is_claimed_is_served,
    backups_change_before_the_master,
    plans_are_whole,
    somebody_is_in_service,
];

/// The rules that are broken, in words.
#[must_use]
pub fn broken(state: &State<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for rule in RULES {
        rule(state, &mut found);
    }
    found
}

fn accepts(plan: &Plan) -> BTreeSet<IpAddr> {
    plan.addresses.iter().map(|address| address.address.address()).collect()
}

/// A plan has what it names, and nothing for what it does not have: the host would refuse it, or never
/// be done.
fn plans_are_whole(state: &State<'_>, found: &mut Vec<String>) {
    for (host, now) in state.now {
        let plan = &now.plan;
        let made: Vec<&str> = made_interfaces(&plan.routers).collect();
        let names: BTreeSet<&str> = made.iter().copied().collect();
        if names.len() < made.len() {
            found.push(format!("{host} makes one interface for two virtual MAC addresses: {made:?}"));
        }
        let known: BTreeSet<&str> = [state.before, state.after]
            .into_iter()
            .filter_map(|fleet| fleet.get(host))
            .flat_map(|state| made_interfaces(&state.plan.routers))
            .collect();
        let settings = plan.sysctls.iter().filter_map(|sysctl| of_interface(&sysctl.key));
        for interface in settings.filter(|of| known.contains(of) && !names.contains(of)) {
            found.push(format!("{host} has settings of {interface}, which nothing makes"));
        }
        for interface in &names {
            let settings = plan.sysctls.iter().filter(|sysctl| of_interface(&sysctl.key) == Some(interface));
            if settings.count() == 0 {
                found.push(format!("{host} makes {interface} without its settings"));
            }
        }
        let ends: BTreeSet<&str> = plan.tunnels.iter().map(|tunnel| tunnel.interface.as_str()).collect();
        let ever: BTreeSet<&str> = [state.before, state.after]
            .into_iter()
            .filter_map(|fleet| fleet.get(host))
            .flat_map(|state| state.plan.tunnels.iter().map(|tunnel| tunnel.interface.as_str()))
            .collect();
        let settings = plan.sysctls.iter().filter_map(|sysctl| of_interface(&sysctl.key));
        for interface in settings.filter(|of| ever.contains(of) && !ends.contains(of)) {
            found.push(format!("{host} has settings of {interface}, which is not there"));
        }
        let own = own(plan);
        for via in plan.routes.iter().filter_map(|route| route.via).filter(|via| own.contains(&via.0)) {
            found.push(format!("{host} has {via} itself and as its gateway"));
        }
        let two_families = |server: &VirtualServer| {
            let v6 = server.front().is_some_and(|front| front.is_v6());
            server.destinations.iter().any(|destination| destination.address.0.is_ipv6() != v6)
        };
        if plan.connection_sync.is_some() && plan.virtual_servers.iter().any(two_families) {
            found.push(format!("{host} synchronises connections and has real servers of the other family"));
        }
        for router in &plan.routers {
            let name = &router.name;
            let group = router.sync_group.as_ref();
            if group.is_some_and(|group| plan.sync_groups.iter().all(|other| other.name != *group)) {
                found.push(format!("{name} on {host} is in a sync group that is not there"));
            }
            let there = |tracker: &evenkeel_schemas::scalars::Name| {
                plan.trackers.iter().any(|other| other.name == *tracker)
            };
            if router.track.iter().any(|track| !there(&track.tracker)) {
                found.push(format!("{name} on {host} tracks what is not there"));
            }
            if router.vips.is_empty() {
                found.push(format!("{name} on {host} advertises nothing"));
            }
            let vips: BTreeSet<IpAddr> = held(router).collect();
            if router.vip_settings.iter().any(|settings| !vips.contains(&settings.address.0)) {
                found.push(format!("{name} on {host} has settings for a VIP that it does not have"));
            }
            let first = router.vips.first().map(|vip| is_link_local(Ip(vip.address())));
            if first == Some(false) && router.vips.iter().any(|vip| is_link_local(Ip(vip.address()))) {
                found.push(format!("{name} on {host} does not advertise its link-local VIP first"));
            }
        }
    }
}

/// A director sends packets for a VIP only to hosts that have the VIP, if they ever need it. Others
/// would drop them, or answer with a reset.
fn real_servers_accept_what_they_are_sent(state: &State<'_>, found: &mut Vec<String>) {
    let has = |fleet: &Fleet, host, vip| {
        fleet.get(host).is_some_and(|state| state.plan.addresses.iter().any(|a| a.address.address() == vip))
    };
    for (director, now) in state.now {
        for server in &now.plan.virtual_servers {
            let sent = server.client_addresses().flat_map(|vip| {
                let keeps = |destination: &&Destination| destination.forwarding != Forwarding::Nat;
                server.destinations.iter().filter(keeps).map(move |destination| (&destination.host, vip.0))
            });
            for (host, vip) in sent {
                let needs = has(state.before, host, vip) || has(state.after, host, vip);
                if needs && !has(state.now, host, vip) {
                    found.push(format!("{director} sends for {vip} to {host}, which does not have it"));
                }
            }
        }
    }
}

/// A director wraps packets only for hosts that unwrap them, if they ever do.
fn real_servers_can_unwrap(state: &State<'_>, found: &mut Vec<String>) {
    type End = (TunnelMode, Ip, bool);
    let ends = |fleet: &Fleet, host| -> BTreeMap<InterfaceName, End> {
        let tunnels = fleet.get(host).into_iter().flat_map(|state| &state.plan.tunnels);
        tunnels.map(|end| (end.interface.clone(), (end.mode, end.local, end.checksum))).collect()
    };
    let has = |fleet: &Fleet, host, end: &End| ends(fleet, host).values().any(|other| other == end);
    let ports = |fleet: &Fleet, host| -> BTreeSet<(bool, u16)> {
        let gue = fleet.get(host).into_iter().flat_map(|state| &state.plan.gue);
        gue.map(|gue| (gue.family == Family::Ipv6, gue.port.get())).collect()
    };
    for (director, now) in state.now {
        for server in &now.plan.virtual_servers {
            let inner_v6 = server.front().is_some_and(|front| front.is_v6());
            for destination in &server.destinations {
                let Some(encapsulation) = destination.encapsulation() else { continue };
                let (host, outer) = (&destination.host, destination.address);
                let mode = TunnelMode::unwrapping(encapsulation, outer.0.is_ipv6(), inner_v6);
                let end = (mode, outer, encapsulation.is_gre_with_checksum());
                let needs = [state.before, state.after].iter().any(|fleet| has(fleet, host, &end));
                // An interface whose address or checksum changes has but one at a time.
                let moved = [state.before, state.after].iter().any(|fleet| {
                    let (was, now) = (ends(fleet, host), ends(state.now, host));
                    now.iter().any(|(interface, now)| *now != end && was.get(interface) == Some(&end))
                });
                if needs && !moved && !has(state.now, host, &end) {
                    found.push(format!(
                        "{director} sends {mode:?} to {host}, which has no such end at {outer}"
                    ));
                }
                if let Encapsulation::Gue { port, .. } = encapsulation {
                    let port = (outer.0.is_ipv6(), port.get());
                    let needs =
                        [state.before, state.after].iter().any(|fleet| ports(fleet, host).contains(&port));
                    if needs && !ports(state.now, host).contains(&port) {
                        found.push(format!(
                            "{director} sends to port {} of {host}, which does not unwrap there",
                            port.1
                        ));
                    }
                }
            }
        }
    }
}

/// A director masquerades only to hosts whose answers come back, if they did when it began to.
fn real_servers_find_back(state: &State<'_>, found: &mut Vec<String>) {
    let gateway = |fleet: &Fleet, host: &Name, v6: bool| {
        let routes = fleet.get(host).into_iter().flat_map(|state| &state.plan.routes);
        routes.filter_map(|route| route.via).find(|via| via.0.is_ipv6() == v6)
    };
    let masquerades = |fleet: &Fleet, director: &Name, destination: &Destination| {
        let plan = fleet.get(director).map(|state| &state.plan);
        let mut all = plan.into_iter().flat_map(|plan| &plan.virtual_servers).flat_map(|s| &s.destinations);
        all.any(|other| (&other.host, other.forwarding) == (&destination.host, Forwarding::Nat))
    };
    let sides = [state.before, state.after];
    let [before, after] = sides.map(Side::new);
    for (director, now) in state.now {
        let destinations = now.plan.virtual_servers.iter().flat_map(|server| &server.destinations);
        let elsewhere = |destination: &&Destination| {
            destination.forwarding == Forwarding::Nat && destination.host != *director
        };
        for destination in destinations.filter(elsewhere) {
            let (host, v6) = (&destination.host, destination.address.0.is_ipv6());
            let told = sides.iter().filter(|fleet| masquerades(fleet, director, destination));
            let told: Vec<Option<Ip>> = told.map(|fleet| gateway(fleet, host, v6)).collect();
            let own: BTreeSet<IpAddr> = state.now.get(host).map(|state| own(&state.plan)).unwrap_or_default();
            // One that nobody has yet, or that the host itself still has, is none.
            let usable = |via: &Ip| {
                !own.contains(&via.0)
                    && (before.claims.contains_key(&via.0) || !after.claims.contains_key(&via.0))
            };
            let needs = !told.is_empty() && told.iter().all(|via| via.as_ref().is_some_and(usable));
            if needs && gateway(state.now, host, v6).is_none() {
                found.push(format!("{director} masquerades to {host}, which has no gateway"));
            }
        }
    }
}

/// Addresses of a host that are the cluster's: on `lo`, and those that it holds as Master.
fn own(plan: &Plan) -> BTreeSet<IpAddr> {
    accepts(plan).into_iter().chain(plan.routers.iter().flat_map(held)).collect()
}

/// A host has a VIP on `lo` only together with the ARP settings that keep it quiet about it. Else it
/// answers ARP for the VIP, and takes clients away from the Master.
fn real_servers_are_quiet(state: &State<'_>, found: &mut Vec<String>) {
    let settings = |plan: &Plan| -> BTreeSet<String> {
        let quiet = |key: &String| key.contains("/all/arp_") || key.contains("/lo/arp_");
        plan.sysctls.iter().map(|sysctl| sysctl.key.clone()).filter(quiet).collect()
    };
    for (host, now) in state.now {
        let has = settings(&now.plan);
        for vip in accepts(&now.plan) {
            let with_vip = [state.before, state.after]
                .into_iter()
                .filter_map(|fleet| fleet.get(host))
                .filter(|state| accepts(&state.plan).contains(&vip));
            let needed =
                with_vip.map(|state| settings(&state.plan)).reduce(|a, b| &a & &b).unwrap_or_default();
            if !needed.is_subset(&has) {
                found.push(format!("{host} has {vip} on lo without its ARP settings"));
            }
        }
    }
}

/// All directors that claim a VIP hear and accept each other: the same VRID, version and
/// authentication, in version 2 the same interval, and by unicast each is a peer of the other. Else two
/// become Master.
fn a_vip_has_one_owner(state: &State<'_>, found: &mut Vec<String>) {
    for (vip, claims) in Side::new(state.now).claims {
        let wires: BTreeSet<&Wire> = claims.iter().map(|claim| &claim.wire).collect();
        if wires.len() > 1 {
            let hosts: Vec<&str> = claims.iter().map(|claim| claim.host.as_str()).collect();
            found.push(format!("{vip} may have two owners: {}", hosts.join(", ")));
        }
        for (index, claim) in claims.iter().enumerate() {
            let mut others = claims.iter().skip(index + 1).filter(|other| other.host != claim.host);
            if let Some(other) = others.find(|other| !claim.hear_each_other(other)) {
                found.push(format!(
                    "{vip} may have two owners: {} and {} do not hear each other",
                    claim.host, other.host
                ));
            }
        }
    }
}

/// A VRID stands for one virtual router on a segment, and all its directors speak alike. Else one
/// router takes the advertisements of another for its own. Two that are there together before or
/// after are on different segments.
fn a_vrid_has_one_router(state: &State<'_>, found: &mut Vec<String>) {
    let sides = [Side::new(state.before), Side::new(state.after)];
    let mut by_vrid: BTreeMap<(bool, u8), BTreeMap<&str, BTreeSet<Wire>>> = BTreeMap::new();
    for host in state.now.values() {
        for router in &host.plan.routers {
            let names = by_vrid.entry(family_and_vrid(router)).or_default();
            names.entry(router.name.as_str()).or_default().insert(Wire::new(router, host));
        }
    }
    for (key, names) in &by_vrid {
        // What is called so before and after, and what that is related to.
        let kin = |name: &str| {
            let all =
                || sides.iter().map(|side| side.routers.get(key).into_iter().flat_map(BTreeMap::values));
            let own: Vec<_> = all().flatten().filter(|router| router.name.as_str() == name).collect();
            all()
                .map(|side| side.filter(|router| own.iter().any(|own| related(own, router))).collect())
                .collect()
        };
        for (a, wires_of_a) in names {
            let kin_of_a: Vec<Vec<_>> = kin(a);
            for (b, wires_of_b) in names.range(*a..) {
                let kin_of_b: Vec<Vec<_>> = kin(b);
                let pairs =
                    || kin_of_a.iter().flatten().flat_map(|a| kin_of_b.iter().flatten().map(move |b| (a, b)));
                let same = a == b || pairs().any(|(a, b)| a.name.as_str() == b.name.as_str());
                let apart = kin_of_a
                    .iter()
                    .zip(&kin_of_b)
                    .any(|(a, b)| a.iter().any(|a| b.iter().any(|b| !related(a, b))));
                if same && wires_of_a.union(wires_of_b).count() > 1 {
                    found.push(format!("directors of {a} and {b} (VRID {}) reject each other", key.1));
                }
                if !same && !apart {
                    found.push(format!("{a} and {b} both use VRID {}", key.1));
                }
            }
        }
    }
}

/// A director that has a VIP on `lo` as a real server balances it only as its Master: what it is sent by
/// another Master it would send on, and round and round.
fn what_is_sent_to_a_director_stays(state: &State<'_>, found: &mut Vec<String>) {
    for (host, now) in state.now {
        let accepted = accepts(&now.plan);
        let has = |vip: &Ip| accepted.contains(&vip.0);
        for server in &now.plan.virtual_servers {
            let Some(vip) = server.client_addresses().find(has) else { continue };
            let name = &server.name;
            let Some(router) = &server.only_as_master_of else {
                found.push(format!("{host} has {vip} on lo and balances {name} as Backup"));
                continue;
            };
            let on_lo: Vec<IpAddr> = server.client_addresses().filter(has).map(|vip| vip.0).collect();
            let claims =
                now.plan.routers.iter().filter(|router| held(router).any(|vip| on_lo.contains(&vip)));
            let claims: Vec<&Router> = claims.collect();
            if !claims.is_empty() && claims.iter().all(|claim| claim.name != *router) {
                found
                    .push(format!("{host} balances {name} as Master of {router}, which does not have {vip}"));
            }
        }
    }
}

/// A director that claims a VIP has all its virtual servers, as they were or as they shall be: what
/// is announced is served. One by firewall mark takes packets for several VIPs, which may change one after
/// the other, so it may be of either time by itself.
fn what_is_claimed_is_served(state: &State<'_>, found: &mut Vec<String>) {
    type Servers = BTreeMap<Option<Front>, VirtualServer>;
    // When it is there has a rule of its own.
    let always = |server: &VirtualServer| VirtualServer { only_as_master_of: None, ..server.clone() };
    let of_vip = |plan: &Plan, vip: IpAddr| -> Servers {
        let servers = plan.virtual_servers.iter().filter(|server| server.address == Some(Ip(vip)));
        servers.map(|server| (server.front(), always(server))).collect()
    };
    let by_mark = |plan: &Plan| -> Servers {
        let servers = plan.virtual_servers.iter().filter(|server| server.firewall_mark.is_some());
        servers.map(|server| (server.front(), always(server))).collect()
    };
    let claims = |plan: &Plan, vip: IpAddr| plan.routers.iter().any(|router| held(router).any(|v| v == vip));
    for (host, now) in state.now {
        let sides = [state.before, state.after].map(|fleet| fleet.get(host).map(|state| &state.plan));
        let ever: Vec<Servers> = sides.into_iter().flatten().map(by_mark).collect();
        let marked = by_mark(&now.plan);
        for vip in now.plan.routers.iter().flat_map(held) {
            let told: Vec<&Plan> = sides.into_iter().flatten().filter(|plan| claims(plan, vip)).collect();
            let served = of_vip(&now.plan, vip);
            let whole = told.iter().any(|plan| of_vip(plan, vip) == served);
            let takes = |server: &VirtualServer| server.vips.contains(&Ip(vip));
            let marks_of = |plan: &Plan| -> BTreeSet<Option<Front>> {
                by_mark(plan)
                    .into_iter()
                    .filter(|(_, server)| takes(server))
                    .map(|(front, _)| front)
                    .collect()
            };
            let in_all = told.iter().map(|plan| marks_of(plan)).reduce(|a, b| &a & &b).unwrap_or_default();
            let mut fronts = in_all.iter().chain(marked.keys());
            let marks = fronts.all(|front| {
                let is = marked.get(front);
                is.is_some() && ever.iter().any(|servers| servers.get(front) == is)
            });
            if !whole || !marks {
                found.push(format!("{host} claims {vip} without its services"));
            }
        }
    }
}

/// A host that enters maintenance waits for those that leave it: a director that is in service before or
/// after is not in maintenance while all others of a VIP are.
fn somebody_is_in_service(state: &State<'_>, found: &mut Vec<String>) {
    let [before, after, now] = [state.before, state.after, state.now].map(Side::new);
    let is_left = |side: &Side<'_>, vip: &IpAddr| {
        side.claims.get(vip).is_none_or(|claims| claims.iter().any(|claim| !claim.in_maintenance))
    };
    let may_serve = |host: &Name| {
        let mut sides = [state.before, state.after].into_iter().filter_map(|fleet| fleet.get(host));
        sides.any(|state| !state.plan.maintenance)
    };
    for (vip, claims) in &now.claims {
        let lasts = is_left(&before, vip) && is_left(&after, vip);
        if lasts && !is_left(&now, vip) && claims.iter().any(|claim| may_serve(claim.host)) {
            found.push(format!("all directors of {vip} are in maintenance"));
        }
    }
}

/// The director that is Master has the new form of a virtual router only when every Backup has it,
/// so that a failover in between never falls back to the old form. VIPs that move are excepted: they
/// have no Backups meanwhile.
fn backups_change_before_the_master(state: &State<'_>, found: &mut Vec<String>) {
    // Who has come back is Master again.
    let mut returned = state.before.clone();
    for (host, before) in &mut returned {
        before.plan.maintenance &= state.after.get(host).is_none_or(|after| after.plan.maintenance);
    }
    let side = Side::new(&returned);
    let find = |fleet: &Fleet, host: &str, name: &str, v6: bool| {
        let (_, state) = fleet.iter().find(|(other, _)| other.as_str() == host)?;
        let called = |router: &&Router| router.name.as_str() == name && router.source.0.is_ipv6() == v6;
        state.plan.routers.iter().find(called).map(|router| {
            let mut router = router.clone();
            // A rank is a director's own, and so is what it calls an interface.
            router.prevent_removal = false;
            if let Some(mac) = &mut router.virtual_mac {
                mac.interface = InterfaceName::loopback();
            }
            (Wire::new(&router, state), router)
        })
    };
    let names: BTreeSet<(&str, bool)> = side
        .routers
        .iter()
        .flat_map(|((v6, _), routers)| routers.keys().map(|name| (name.as_str(), *v6)))
        .collect();
    for (name, v6) in names {
        let Some(master) = name.parse().ok().and_then(|name| side.preferred(&name, v6)) else {
            continue;
        };
        let changed = |host: &str| {
            let (Some((old_wire, old)), Some((new_wire, new))) =
                (find(state.before, host, name, v6), find(state.after, host, name, v6))
            else {
                return None;
            };
            let vips = |router: &Router| held(router).collect::<BTreeSet<_>>();
            // Who has other VIPs in part moves; see above.
            let comparable = old_wire == new_wire && old != new && vips(&old) == vips(&new);
            let now = find(state.now, host, name, v6)?.1;
            comparable.then_some((now == new, now == old))
        };
        if changed(master.host.as_str()) != Some((true, false)) {
            continue;
        }
        for host in state.before.keys().filter(|host| *host != master.host) {
            if let Some((false, true)) = changed(host.as_str()) {
                found.push(format!("{} has the new {name} before {host} has it", master.host));
            }
        }
    }
}
