//! Arbitrary kernels, plans and records, from few names, so that they meet each other often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_converge::ledger::{IP_FORWARD, SysctlEntry, TimeoutsEntry};
use evenkeel_converge::{
    Address, AddressKey, Desired, Destination, DestinationKey, Encapsulation, Forward, GueChecksum, GuePort,
    KernelState, Ledger, Link, LinkKind, Origin, Route, RouteKey, Rule, RuleKey, Service, ServiceKey,
    SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelMode, Unwrap,
};
use evenkeel_schemas::plan::Scope;
use evenkeel_schemas::scalars::Cidr;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn ip() -> impl Strategy<Value = IpAddr> {
    let texts = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"];
    select(texts.map(|text| text.parse().expect("an address")).to_vec())
}

/// The interface that is of our making, if it is there.
pub(crate) const OWN: &str = "own";

fn interface() -> impl Strategy<Value = String> {
    select(vec!["lo".to_owned(), "eth0".to_owned(), OWN.to_owned()])
}

fn link_kind() -> impl Strategy<Value = LinkKind> {
    let macvlan =
        |parent: &str, last| LinkKind::Macvlan { parent: parent.to_owned(), mac: [0, 0, 0x5e, 0, 1, last] };
    let tunnel = Tunnel { mode: TunnelMode::Ipip, local: None, remote: None, checksum: false };
    select(vec![macvlan("eth0", 1), macvlan("eth0", 2), macvlan("lo", 1), LinkKind::Tunnel(tunnel)])
}

fn link() -> impl Strategy<Value = Link> {
    let kind = prop_oneof![4 => link_kind(), 1 => Just(LinkKind::Other("veth".to_owned()))];
    (kind, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(kind, up, no_own_address, tagged)| Link {
        kind,
        up,
        no_own_address,
        tagged,
    })
}

fn links() -> impl Strategy<Value = BTreeMap<String, Link>> {
    btree_map(Just(OWN.to_owned()), link(), 0..2)
}

/// Nothing is on an interface that is not there.
pub(crate) fn on_what_is_there(mut state: KernelState) -> KernelState {
    if !state.links.contains_key(OWN) {
        state.addresses.retain(|key, _| key.interface != OWN);
        state.routes.retain(|_, route| route.interface.as_deref() != Some(OWN));
        state.sysctls.retain(|key, _| !key.contains(&format!("/{OWN}/")));
    }
    state
}

fn gue() -> impl Strategy<Value = BTreeMap<GuePort, Unwrap>> {
    let port = any::<bool>().prop_map(|v6| GuePort { v6, port: 6080 });
    btree_map(port, select(vec![Unwrap::Gue, Unwrap::Gue, Unwrap::Other { protocol: 4 }]), 0..3)
}

fn address_key() -> impl Strategy<Value = AddressKey> {
    (interface(), ip()).prop_map(|(interface, ip)| AddressKey { interface, address: Cidr::host(ip) })
}

fn scope() -> impl Strategy<Value = Scope> {
    select(vec![Scope::Global, Scope::Host])
}

fn address() -> impl Strategy<Value = Address> {
    let label = prop::option::of(Just("lo:0".to_owned()));
    (label, scope(), any::<[bool; 4]>()).prop_map(
        |(label, scope, [tagged, no_dad, deprecated, tentative])| Address {
            label,
            scope,
            tagged,
            no_dad,
            deprecated,
            tentative,
        },
    )
}

/// IPv6 addresses have no labels, and IPv4 addresses no duplicate address detection.
fn addresses() -> impl Strategy<Value = BTreeMap<AddressKey, Address>> {
    btree_map(address_key(), address(), 0..5).prop_map(|mut addresses| {
        for (key, value) in &mut addresses {
            if key.address.address().is_ipv6() {
                value.label = None;
            } else {
                (value.no_dad, value.deprecated, value.tentative) = (false, false, false);
            }
        }
        addresses
    })
}

fn route_key() -> impl Strategy<Value = RouteKey> {
    (select(vec![254, 100]), ip(), select(vec![0, 50]))
        .prop_map(|(table, ip, metric)| RouteKey::new(table, Cidr::host(ip), metric))
}

fn route() -> impl Strategy<Value = Route> {
    let optional = || prop::option::of(ip());
    (interface(), optional(), optional(), scope(), any::<bool>()).prop_map(
        |(interface, gateway, source, scope, tagged)| {
            let interface = Some(interface);
            Route { interface, gateway, source, scope, tagged }
        },
    )
}

fn routes() -> impl Strategy<Value = BTreeMap<RouteKey, Route>> {
    btree_map(route_key(), route(), 0..4)
}

fn rule_key() -> impl Strategy<Value = RuleKey> {
    let from = prop::option::of(ip().prop_map(Cidr::host));
    (select(vec![100, 200]), from).prop_map(|(preference, from)| RuleKey {
        v6: from.is_some_and(|from| from.address().is_ipv6()),
        preference,
        from,
        to: None,
        iif: None,
        mark: None,
        table: 100,
    })
}

fn rules() -> impl Strategy<Value = BTreeMap<RuleKey, Rule>> {
    btree_map(rule_key(), any::<bool>().prop_map(|tagged| Rule { tagged }), 0..4)
}

const SETTINGS: [&str; 7] = [
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/lo/arp_announce",
    IP_FORWARD,
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/conf/eth0/forwarding",
    "net/ipv4/conf/own/arp_ignore",
    "net/ipv4/conf/all/accept_redirects",
];

fn setting() -> impl Strategy<Value = String> {
    select(SETTINGS.map(str::to_owned).to_vec())
}

fn switch() -> impl Strategy<Value = String> {
    select(vec!["0".to_owned(), "1".to_owned()])
}

/// The settings exist in every kernel, with some value.
fn all_settings() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::vec(switch(), SETTINGS.len())
        .prop_map(|values| SETTINGS.iter().map(|&key| key.to_owned()).zip(values).collect())
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    prop_oneof![
        ip().prop_map(|address| ServiceKey::Transport { protocol: 6, address, port: 80 }),
        Just(ServiceKey::Mark { v6: false, mark: 1 }),
    ]
}

fn destinations() -> impl Strategy<Value = BTreeMap<DestinationKey, Destination>> {
    let key = ip().prop_map(|address| DestinationKey { address, port: 80 });
    let gue = Encapsulation::Gue { port: 6080, checksum: GueChecksum::Udp };
    let how = select(vec![
        (Forward::DirectRoute, Encapsulation::Ipip),
        (Forward::Masquerade, Encapsulation::Ipip),
        (Forward::Tunnel, Encapsulation::Ipip),
        (Forward::Tunnel, gue),
    ]);
    let value = (how, 0_u32..3).prop_map(|((forward, encapsulation), weight)| Destination {
        encapsulation,
        ..Destination::plain(forward, weight)
    });
    btree_map(key, value, 0..4)
}

fn services() -> impl Strategy<Value = BTreeMap<ServiceKey, Service>> {
    let service = (select(vec!["rr", "wlc"]), destinations()).prop_map(|(scheduler, destinations)| Service {
        destinations: destinations.into(),
        ..Service::plain(scheduler, false)
    });
    btree_map(service_key(), service, 0..4)
}

fn timeouts() -> impl Strategy<Value = Timeouts> {
    select(vec![300, 900]).prop_map(|tcp| Timeouts { tcp, tcp_fin: 120, udp: 300 })
}

fn sync_role() -> impl Strategy<Value = SyncRole> {
    select(vec![SyncRole::Master, SyncRole::Backup])
}

/// Daemons that run have a length; wanted ones may leave it to the kernel.
fn sync_daemons() -> impl Strategy<Value = BTreeMap<SyncRole, SyncDaemon>> {
    let daemon = (0_u32..2, select(vec![1400, 1472]))
        .prop_map(|(id, maxlen)| SyncDaemon { maxlen: Some(maxlen), ..SyncDaemon::plain("eth0", id) });
    btree_map(sync_role(), daemon, 0..3)
}

/// Any kernel.
pub(crate) fn kernel() -> impl Strategy<Value = KernelState> {
    let ipvs = (services(), timeouts(), sync_daemons());
    ((links(), gue()), addresses(), routes(), rules(), all_settings(), ipvs).prop_map(
        |((links, gue), addresses, routes, rules, sysctls, (services, timeouts, sync_daemons))| {
            on_what_is_there(KernelState {
                links,
                gue,
                addresses,
                routes,
                rules,
                sysctls,
                services,
                timeouts: Some(timeouts),
                sync_daemons,
                ..KernelState::default()
            })
        },
    )
}

/// A kernel that we have never touched.
pub(crate) fn fresh_world() -> impl Strategy<Value = KernelState> {
    kernel().prop_map(|mut state| {
        state.links.values_mut().for_each(|link| link.tagged = false);
        state.rules.values_mut().for_each(|rule| rule.tagged = false);
        state.addresses.values_mut().for_each(|address| address.tagged = false);
        state.routes.values_mut().for_each(|route| route.tagged = false);
        state
    })
}

/// A kernel with nothing but settings.
pub(crate) fn owned_world() -> impl Strategy<Value = KernelState> {
    all_settings().prop_map(|sysctls| on_what_is_there(KernelState { sysctls, ..KernelState::default() }))
}

/// Wanted state of some plan: tagged objects, and objects of the election that are not among them.
pub(crate) fn desired() -> impl Strategy<Value = Desired> {
    let settings = btree_map(setting(), switch(), 0..5);
    let links = btree_map(Just(OWN.to_owned()), link_kind().prop_map(Link::ours), 0..2);
    let ipvs = (services(), prop::option::of(timeouts()), sync_daemons(), any::<bool>());
    let state = ((links, gue()), addresses(), routes(), rules(), settings, ipvs);
    let election =
        (btree_set(address_key(), 0..3), btree_set(route_key(), 0..2), btree_set(rule_key(), 0..2));
    (state, election, any::<bool>(), any::<bool>()).prop_map(|(state, election, exclusive_ipvs, named)| {
        let ((links, mut gue), mut addresses, mut routes, mut rules, sysctls, ipvs) = state;
        gue.values_mut().for_each(|value| *value = Unwrap::Gue);
        let (services, timeouts, mut sync_daemons, any_length) = ipvs;
        if any_length {
            sync_daemons.values_mut().for_each(|daemon| daemon.maxlen = None);
        }
        let (mut vips, vip_routes, vip_rules) = election;
        if !links.contains_key(OWN) {
            vips.retain(|key| key.interface != OWN);
        }
        addresses.retain(|key, _| !vips.contains(key));
        routes.retain(|key, _| !vip_routes.contains(key));
        rules.retain(|key, _| !vip_rules.contains(key));
        addresses.values_mut().for_each(|address| (address.tagged, address.tentative) = (true, false));
        routes.values_mut().for_each(|route| route.tagged = true);
        rules.values_mut().for_each(|rule| rule.tagged = true);
        let interfaces = BTreeSet::from(["lo".to_owned(), "eth0".to_owned()]);
        let state = KernelState {
            links,
            gue,
            addresses,
            routes,
            rules,
            sysctls,
            services,
            timeouts,
            sync_daemons,
            ..KernelState::default()
        };
        let mut state = on_what_is_there(state);
        // One that is left to the kernel may be on an interface that goes: the next pass finds another.
        if !named && state.links.contains_key(OWN) {
            state.routes.values_mut().for_each(|route| route.interface = None);
        }
        Desired { state, vips, vip_routes, vip_rules, interfaces, exclusive_ipvs, ..Desired::default() }
    })
}

/// Any record.
pub(crate) fn ledger() -> impl Strategy<Value = Ledger> {
    let origin = || select(vec![Origin::Created, Origin::Adopted]);
    let entry = (switch(), switch()).prop_map(|(original, ours)| SysctlEntry { original, ours });
    (
        btree_map(address_key(), origin(), 0..3),
        btree_map(route_key(), origin(), 0..3),
        btree_map(service_key(), origin(), 0..3),
        btree_map(setting(), entry, 0..3),
        (
            btree_map(Just(OWN.to_owned()), origin(), 0..2),
            btree_map(any::<bool>().prop_map(|v6| GuePort { v6, port: 6080 }), origin(), 0..2),
        ),
        btree_map(sync_role(), origin(), 0..2),
        prop::option::of((timeouts(), timeouts())),
    )
        .prop_map(|(addresses, routes, services, sysctls, (links, gue), sync_daemons, timeouts)| {
            Ledger {
                gue,
                sync_daemons,
                timeouts: timeouts.map(|(original, ours)| TimeoutsEntry { original, ours }),
                links,
                addresses,
                routes,
                services,
                sysctls,
                ..Ledger::default()
            }
        })
}

/// The election's objects that belong to Masters: the first few of each kind.
pub(crate) fn plan_for(plan: &Desired, some: Index) -> KernelState {
    let first = |count: usize| some.index(count + 1);
    let vips = plan.vips.iter().take(first(plan.vips.len()));
    let routes = plan.vip_routes.iter().take(first(plan.vip_routes.len()));
    let rules = plan.vip_rules.iter().take(first(plan.vip_rules.len()));
    KernelState {
        addresses: vips.map(|key| (key.clone(), Address::ours(key.address, Scope::Global, None))).collect(),
        routes: routes.map(|key| (*key, Route::out_of("eth0", Scope::Global))).collect(),
        rules: rules.map(|key| (key.clone(), Rule { tagged: true })).collect(),
        ..KernelState::default()
    }
}

/// The same objects with properties that depend on nothing but their names.
pub(crate) fn agreeing_state(mut state: KernelState) -> KernelState {
    for value in state.links.values_mut() {
        let mac = [0, 0, 0x5e, 0, 1, 1];
        let kind = LinkKind::Macvlan { parent: "eth0".to_owned(), mac };
        *value = Link { tagged: value.tagged, ..Link::ours(kind) };
    }
    state.gue.values_mut().for_each(|value| *value = Unwrap::Gue);
    for (key, value) in &mut state.addresses {
        *value = Address { tagged: value.tagged, ..Address::ours(key.address, Scope::Global, None) };
    }
    for value in state.routes.values_mut() {
        *value = Route { tagged: value.tagged, ..Route::out_of("eth0", Scope::Global) };
    }
    for value in state.sync_daemons.values_mut() {
        *value = SyncDaemon::plain("eth0", 1);
    }
    for value in state.services.values_mut() {
        *value = Service::plain("rr", false);
    }
    state
}

/// [`agreeing_state`] of what is wanted. Plans that forward want it on: no compiler writes "off", and
/// a host that goes from "on" to a wanted "off" keeps what that made of other settings.
pub(crate) fn agreeing(desired: Desired) -> Desired {
    let mut state = agreeing_state(desired.state.clone());
    if let Some(forwarding) = state.sysctls.get_mut(IP_FORWARD) {
        "1".clone_into(forwarding);
    }
    Desired { state, ..desired }
}
