//! What plans ask for, as objects of the kernel.

use std::collections::BTreeSet;

use evenkeel_converge::model::IPV6_METRIC;
use evenkeel_converge::{LinkKind, View, desired, router_routes, router_rules, vip_addresses};
use evenkeel_schemas::plan::testing::PlanText;
use evenkeel_schemas::plan::{Plan, Router};
use serde_json::{Value, json};

/// A router of a plan; `more` is put over it.
fn router(more: &Value) -> Router {
    let mut router = json!({
        "name": "VI_1", "interface": "eth0", "source": "192.0.2.1", "version": 3, "vrid": 51, "priority": 100,
        "advert_interval": "1s", "preempt": true, "garp_repeat": 5, "garp_delay": "5s",
        "vips": ["192.0.2.7/24", "192.0.2.8/32"],
    });
    if let (Some(router), Some(more)) = (router.as_object_mut(), more.as_object()) {
        router.extend(more.clone());
    }
    serde_json::from_value(router).expect("a router")
}

fn plan(routers: &[Router]) -> Plan {
    let address = json!({ "interface": "lo", "address": "2001:db8::7/128", "scope": "host" });
    let route = json!({ "destination": "2001:db8::7/128", "interface": "lo", "scope": "link", "table": 254 });
    let plan = routers.iter().fold(PlanText::of("dir1"), PlanText::router);
    plan.entry("address", &address).entry("route", &route).plan()
}

#[test]
fn vips_are_on_the_routers_interface_or_where_their_settings_say() {
    let router = router(&json!({
        "unadvertised_vips": ["2001:db8::9/128", "2001:db8::a/64"],
        "vip_settings": [
            { "address": "192.0.2.8", "interface": "eth1", "label": "eth1:vip" },
            { "address": "192.0.2.7", "label": "eth0" },
            { "address": "2001:db8::9", "label": "eth0:six" },
        ],
    }));
    let told: Vec<String> = vip_addresses(&router)
        .into_iter()
        .map(|(key, value)| format!("{key} {:?} {} {}", value.label, value.no_dad, value.deprecated))
        .collect();
    let wanted = [
        "192.0.2.7/24 on eth0 None false false",
        "2001:db8::9/128 on eth0 None true true",
        "2001:db8::a/64 on eth0 None true false",
        r#"192.0.2.8/32 on eth1 Some("eth1:vip") false false"#,
    ];
    assert_eq!(told, wanted);
    let all = desired(&plan(&[router]), View::CALM);
    assert_eq!(all.vips.len(), 4);
    let names: BTreeSet<&str> = all.interfaces.iter().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["eth0", "eth1", "lo"]));
}

#[test]
fn a_virtual_mac_is_an_interface_that_has_the_vips() {
    let own = json!({ "interface": "vrrp.51", "advertise_from_base": false });
    let v4 = router(&json!({ "virtual_mac": own }));
    let own = json!({ "interface": "vrrp6.51", "advertise_from_base": false });
    let v6 = router(
        &json!({ "virtual_mac": own, "source": "fe80::1", "vips": ["fe80::7/64", "2001:db8::7/128"] }),
    );
    assert!(vip_addresses(&v4).keys().all(|key| key.interface == "vrrp.51"));
    let links = desired(&plan(&[v4, v6]), View::CALM).state.links;
    let told: Vec<String> = links.iter().map(|(name, link)| format!("{name}: {}", link.kind)).collect();
    let wanted = [
        "vrrp.51: macvlan on eth0 with MAC 00:00:5e:00:01:33",
        "vrrp6.51: macvlan on eth0 with MAC 00:00:5e:00:02:33",
    ];
    assert_eq!(told, wanted);
    let as_made = links.values().all(|link| {
        matches!(link.kind, LinkKind::Macvlan { .. }) && link.up && link.tagged && link.no_own_address
    });
    assert!(as_made, "{links:?}");
}

#[test]
fn routes_and_rules_are_as_the_kernel_shows_them() {
    let router = router(&json!({
        "routes": [
            { "destination": "0.0.0.0/0", "via": "192.0.2.254", "interface": "eth0", "source": "192.0.2.7",
              "table": 7, "metric": 0 },
            { "destination": "198.51.100.0/24", "interface": "eth0", "table": 254, "metric": 5 },
            { "destination": "::/0", "via": "2001:db8::1", "interface": "eth0", "table": 254, "metric": 0 },
        ],
        "rules": [
            { "preference": 100, "table": 7, "from": "192.0.2.7/32" },
            { "preference": 101, "table": 7, "to": "2001:db8::/32", "input_interface": "eth1" },
            { "preference": 102, "table": 7, "from": "0.0.0.0/0", "firewall_mark": 16 },
        ],
    }));
    let routes: Vec<String> = router_routes(&router)
        .iter()
        .map(|(key, value)| format!("{key} {value}, metric {}, {:?}", key.metric, value.scope))
        .collect();
    let wanted = [
        "0.0.0.0/0 table 7 via 192.0.2.254 dev eth0 src 192.0.2.7, metric 0, Global".to_owned(),
        "198.51.100.0/24 metric 5 dev eth0, metric 5, Link".to_owned(),
        format!("::/0 via 2001:db8::1 dev eth0, metric {IPV6_METRIC}, Global"),
    ];
    assert_eq!(routes.iter().collect::<BTreeSet<_>>(), wanted.iter().collect::<BTreeSet<_>>());
    let rules: Vec<String> = router_rules(&router).keys().map(ToString::to_string).collect();
    let wanted = [
        "100: from 192.0.2.7/32 lookup 7",
        "102: from all fwmark 0x10 lookup 7",
        "101: from all to 2001:db8::/32 iif eth1 lookup 7",
    ];
    assert_eq!(rules, wanted);
    let all = desired(&plan(&[router]), View::CALM);
    assert_eq!((all.vip_routes.len(), all.vip_rules.len()), (3, 3));
    assert!(all.state.rules.is_empty(), "they follow the election");
    let host: Vec<u32> = all.state.routes.keys().map(|key| key.metric).collect();
    assert_eq!(host, [IPV6_METRIC], "of the plan's own route");
}
