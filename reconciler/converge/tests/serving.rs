//! Which virtual routers are left to others when virtual servers are missing.

use std::collections::BTreeSet;

use evenkeel_converge::{AddressKey, ObjectKey, ServiceKey, missing_services, unnamed, unserved};
use evenkeel_schemas::plan::testing::{PlanText, router};
use evenkeel_schemas::plan::{Plan, Router};
use serde_json::{Value, json};

fn plan(servers: &[Value]) -> Plan {
    let router = |name: &str, vrid: u8, vips: &[&str]| Router {
        interface: "eth0".parse().expect("an interface"),
        ..router(name, vrid, vips)
    };
    let routers = [
        router("web", 51, &["192.0.2.7/32", "192.0.2.8/32"]),
        router("mail", 52, &["192.0.2.9/32"]),
        Router { source: "::".parse().expect("an address"), ..router("mail", 52, &["2001:db8::9/128"]) },
        router("gateway", 53, &["192.0.2.254/32"]),
    ];
    let plan = routers.iter().fold(PlanText::of("dir1"), PlanText::router);
    servers.iter().fold(plan, |plan, server| plan.entry("virtual_server", server)).plan()
}

fn server(more: &Value) -> Value {
    let mut server = json!({ "name": "s", "scheduler": "twos", "one_packet": false, "on_failure": "remove" });
    if let (Some(server), Some(more)) = (server.as_object_mut(), more.as_object()) {
        server.extend(more.clone());
    }
    server
}

fn at(address: &str, port: u16) -> Value {
    server(&json!({ "address": address, "port": port, "protocol": "tcp" }))
}

/// The routers that are left to others when the virtual servers of these numbers are missing.
fn left(plan: &Plan, missing: &[usize]) -> Vec<String> {
    let missing: BTreeSet<ServiceKey> =
        missing.iter().filter_map(|at| ServiceKey::of(&plan.virtual_servers[*at])).collect();
    let name = |vips: &[evenkeel_schemas::scalars::Cidr]| vips[0].to_string();
    unserved(plan, &missing)
        .into_iter()
        .map(|router| format!("{} {}", router.name, name(&router.vips)))
        .collect()
}

#[test]
fn a_router_is_left_when_none_of_its_services_is_there() {
    let all = [
        at("192.0.2.7", 80),
        at("192.0.2.8", 443),
        at("192.0.2.9", 25),
        at("2001:db8::9", 25),
        server(&json!({ "firewall_mark": 1, "family": "ipv4", "vips": ["192.0.2.9"] })),
    ];
    let plan = plan(&all);
    assert_eq!(left(&plan, &[]), [""; 0]);
    // One of several costs itself, on the same VIP or another one of the router.
    assert_eq!(left(&plan, &[0]), [""; 0]);
    assert_eq!(left(&plan, &[0, 1]), ["web 192.0.2.7/32"]);
    // A mark serves, too, where it is for a VIP.
    assert_eq!(left(&plan, &[2]), [""; 0]);
    assert_eq!(left(&plan, &[2, 4]), ["mail 192.0.2.9/32"]);
    // Both families of a name are routers of their own.
    assert_eq!(left(&plan, &[3]), ["mail 2001:db8::9/128"]);
    // A gateway serves by its address.
    assert_eq!(
        left(&plan, &[0, 1, 2, 3, 4]),
        ["web 192.0.2.7/32", "mail 192.0.2.9/32", "mail 2001:db8::9/128"]
    );
}

/// A VIP that the disk has not named must not be announced, by whichever router it is; the others go on.
#[test]
fn a_router_whose_vip_is_not_named_is_left() {
    let plan = plan(&[]);
    let left = |lacking: &[(&str, &str)]| {
        let address = |(interface, vip): &(&str, &str)| {
            let interface = (*interface).to_owned();
            ObjectKey::Address(AddressKey { interface, address: vip.parse().expect("an address") })
        };
        let lacking = lacking.iter().map(address).collect();
        unnamed(&plan, &lacking).map(|router| router.vrid.get()).collect::<Vec<_>>()
    };
    assert_eq!(left(&[]), [0; 0]);
    assert_eq!(left(&[("eth0", "192.0.2.8/32")]), [51], "one of several is enough");
    assert_eq!(left(&[("eth0", "2001:db8::9/128")]), [52], "of one family");
    assert_eq!(left(&[("eth0", "192.0.2.7/32"), ("eth0", "192.0.2.254/32")]), [51, 53]);
    assert_eq!(left(&[("lo", "192.0.2.7/32"), ("eth0", "192.0.2.7/24"), ("eth0", "192.0.2.1/32")]), [0; 0]);
}

/// A director that is a real server of its own VIP has the virtual servers as Master only. What could not be
/// made then is not forgotten when the router is left: it would be claimed again at once.
#[test]
fn services_of_a_master_stay_in_the_ledger_while_it_is_backup() {
    let bound = |port| {
        let mut server = at("192.0.2.7", port);
        server["only_as_master_of"] = json!("web");
        server
    };
    let plan = plan(&[bound(80), bound(81), at("192.0.2.8", 82)]);
    let key = |at: usize| ServiceKey::of(&plan.virtual_servers[at]).expect("a key");
    let of = |lacking: &[usize], master: bool, before: &[usize]| {
        let masters = master.then(|| "web".parse().expect("a name")).into_iter().collect();
        let mut lacking: BTreeSet<ObjectKey> =
            lacking.iter().map(|at| ObjectKey::Service(key(*at))).collect();
        lacking.insert(ObjectKey::Sysctl("net/ipv4/vs/conn_max".to_owned()));
        missing_services(&plan, &lacking, &masters, &before.iter().map(|at| key(*at)).collect())
    };
    let keys = |all: &[usize]| all.iter().map(|at| key(*at)).collect::<BTreeSet<_>>();
    assert_eq!(of(&[0, 2], true, &[]), keys(&[0, 2]));
    assert_eq!(of(&[], false, &[0, 2]), keys(&[0]), "the other one is made");
    assert_eq!(of(&[], true, &[0]), keys(&[]), "and so is this one now");
}
