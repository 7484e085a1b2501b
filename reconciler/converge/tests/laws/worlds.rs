//! Arbitrary kernels, plans and records, from few names, so that they meet each other often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use evenkeel_converge::ledger::{IP_FORWARD, SysctlEntry};
use evenkeel_converge::{
    Address, AddressKey, Desired, Destination, DestinationKey, Forward, KernelState, Ledger, Origin, Route,
    RouteKey, Service, ServiceKey,
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

fn interface() -> impl Strategy<Value = String> {
    select(vec!["lo".to_owned(), "eth0".to_owned()])
}

fn address_key() -> impl Strategy<Value = AddressKey> {
    (interface(), ip()).prop_map(|(interface, ip)| AddressKey { interface, address: Cidr::host(ip) })
}

fn scope() -> impl Strategy<Value = Scope> {
    select(vec![Scope::Global, Scope::Host])
}

fn address() -> impl Strategy<Value = Address> {
    let label = prop::option::of(Just("lo:0".to_owned()));
    (label, scope(), any::<bool>()).prop_map(|(label, scope, tagged)| Address { label, scope, tagged })
}

/// IPv6 addresses have no labels.
fn addresses() -> impl Strategy<Value = BTreeMap<AddressKey, Address>> {
    btree_map(address_key(), address(), 0..5).prop_map(|mut addresses| {
        for (_, value) in addresses.iter_mut().filter(|(key, _)| key.address.address().is_ipv6()) {
            value.label = None;
        }
        addresses
    })
}

fn route_key() -> impl Strategy<Value = RouteKey> {
    (select(vec![254, 100]), ip(), interface()).prop_map(|(table, ip, interface)| RouteKey {
        table,
        destination: Cidr::host(ip),
        interface,
    })
}

fn routes() -> impl Strategy<Value = BTreeMap<RouteKey, Route>> {
    let route = (scope(), any::<bool>()).prop_map(|(scope, tagged)| Route { scope, tagged });
    btree_map(route_key(), route, 0..4)
}

const SETTINGS: [&str; 6] = [
    "net/ipv4/conf/all/arp_ignore",
    "net/ipv4/conf/lo/arp_announce",
    IP_FORWARD,
    "net/ipv4/conf/default/forwarding",
    "net/ipv4/conf/eth0/forwarding",
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
    let forward = select(vec![Forward::DirectRoute, Forward::Masquerade]);
    let value = (forward, 0_u32..3).prop_map(|(forward, weight)| Destination {
        forward,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    });
    btree_map(key, value, 0..4)
}

fn services() -> impl Strategy<Value = BTreeMap<ServiceKey, Service>> {
    let service = (select(vec!["rr", "wlc"]), destinations())
        .prop_map(|(scheduler, destinations)| Service { destinations, ..Service::plain(scheduler, false) });
    btree_map(service_key(), service, 0..4)
}

/// Any kernel.
pub(crate) fn kernel() -> impl Strategy<Value = KernelState> {
    (addresses(), routes(), all_settings(), services()).prop_map(|(addresses, routes, sysctls, services)| {
        KernelState { addresses, routes, sysctls, services, ..KernelState::default() }
    })
}

/// A kernel that we have never touched.
pub(crate) fn fresh_world() -> impl Strategy<Value = KernelState> {
    kernel().prop_map(|mut state| {
        state.addresses.values_mut().for_each(|address| address.tagged = false);
        state.routes.values_mut().for_each(|route| route.tagged = false);
        state
    })
}

/// A kernel with nothing but settings.
pub(crate) fn owned_world() -> impl Strategy<Value = KernelState> {
    all_settings().prop_map(|sysctls| KernelState { sysctls, ..KernelState::default() })
}

/// What some plan wants: tagged objects, and VIPs that are not among them.
pub(crate) fn desired() -> impl Strategy<Value = Desired> {
    let settings = btree_map(setting(), switch(), 0..5);
    (addresses(), routes(), settings, services(), btree_set(address_key(), 0..3), any::<bool>()).prop_map(
        |(mut addresses, mut routes, sysctls, services, vips, exclusive_ipvs)| {
            addresses.retain(|key, _| !vips.contains(key));
            addresses.values_mut().for_each(|address| address.tagged = true);
            routes.values_mut().for_each(|route| route.tagged = true);
            let interfaces = BTreeSet::from(["lo".to_owned(), "eth0".to_owned()]);
            let state = KernelState { addresses, routes, sysctls, services, ..KernelState::default() };
            Desired { state, vips, interfaces, exclusive_ipvs, ..Desired::default() }
        },
    )
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
    )
        .prop_map(|(addresses, routes, services, sysctls)| Ledger {
            addresses,
            routes,
            services,
            sysctls,
            ..Ledger::default()
        })
}

/// The addresses of those of `vips` whose router is Master: the first few.
pub(crate) fn plan_for(vips: &BTreeSet<AddressKey>, some: Index) -> KernelState {
    let count = some.index(vips.len() + 1);
    let value = Address { label: None, scope: Scope::Global, tagged: true };
    let addresses = vips.iter().take(count).map(|key| (key.clone(), value.clone())).collect();
    KernelState { addresses, ..KernelState::default() }
}

/// The same objects with properties that depend on nothing but their names.
pub(crate) fn agreeing_state(mut state: KernelState) -> KernelState {
    for value in state.addresses.values_mut() {
        (value.label, value.scope) = (None, Scope::Global);
    }
    for value in state.routes.values_mut() {
        value.scope = Scope::Global;
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
