//! The examples: their plans are committed, and equal what the compiler makes of them.
//!
//! `UPDATE=1 cargo test -p evenkeel --test examples` writes them anew.
#![allow(clippy::disallowed_methods, reason = "reads the examples")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use evenkeel::{HostPlan, SourceFile, compile, emit};
use evenkeel_schemas::plan::{self, Plan, secrets_file_name};
use evenkeel_schemas::{json, seal};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn plans(text: &str) -> Vec<HostPlan> {
    let compilation = compile(&SourceFile::new("cluster.toml", text));
    emit(compilation.cluster.as_ref().unwrap_or_else(|| panic!("{:#?}", compilation.diagnostics)))
}

fn files(plans: &[HostPlan]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for plan in plans {
        files.insert(plan.file_name.clone(), plan.text.clone());
        if let Some(secrets) = &plan.secrets {
            files.insert(secrets_file_name(&plan.host), secrets.clone());
        }
    }
    files
}

/// What a host does with a plan before it obeys it.
fn read(plan: &HostPlan) -> Plan {
    let (_, body) = seal::open(plan.text.as_bytes()).expect("sealed");
    let mut options = jsonschema::draft202012::options().should_validate_formats(true).offline();
    for (name, check) in json::FORMATS {
        options = options.with_format(name, check);
    }
    let schema = options.build(&json::plan()).expect("the plan's schema is valid");
    let value: serde_json::Value = toml::from_str(body).expect("TOML");
    let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{}: {errors:?}", plan.file_name);
    toml::from_str(body).expect("a plan")
}

/// The examples that are clusters.
const CLUSTERS: [&str; 5] = ["dual-stack", "lvs-dr", "nat", "tunnel", "two-hosts"];

#[test]
fn the_committed_plans_are_current() {
    CLUSTERS.into_iter().for_each(plans_are_current);
    let mut found: Vec<String> = std::fs::read_dir(example(""))
        .expect("examples")
        .map(|entry| entry.expect("entry").path())
        .filter(|folder| folder.join("cluster.toml").exists())
        .map(|folder| folder.file_name().expect("name").to_str().expect("text").to_owned())
        .collect();
    found.sort();
    assert_eq!(found, CLUSTERS, "each is looked at");
}

fn plans_are_current(name: &str) {
    let folder = example(name);
    let text = std::fs::read_to_string(folder.join("cluster.toml")).expect("cluster.toml");
    let plans = plans(&text);
    plans.iter().for_each(|plan| _ = read(plan));
    let files = files(&plans);
    let folder = folder.join("plans");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&folder).expect("plans");
        for (name, text) in &files {
            std::fs::write(folder.join(name), text).expect("write plan");
        }
    }
    for (name, text) in &files {
        let committed = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(committed == *text, "{name} is stale: run UPDATE=1 cargo test -p evenkeel --test examples");
    }
    let present: BTreeSet<String> = std::fs::read_dir(&folder)
        .expect("plans")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .collect();
    assert_eq!(present, files.into_keys().collect());
}

#[test]
fn plans_are_what_hosts_accept_and_hold_no_secret() {
    let text = std::fs::read_to_string(example("lvs-dr").join("cluster.toml")).expect("cluster.toml");
    let all = plans(&text);
    for plan in &all {
        assert_eq!(read(plan).host, plan.host);
        assert!(!plan.text.contains("hell>com"), "{}", plan.file_name);
        assert!(!format!("{plan:?}").contains("hell>com"));
    }
    let with_secrets: Vec<&str> =
        all.iter().filter(|plan| plan.secrets.is_some()).map(|plan| plan.host.as_str()).collect();
    assert_eq!(with_secrets, ["dir1", "dir2"]);
}

const MANY: &str = r#"
version = 1
name = "many"
segments.front.subnets = ["192.0.2.0/24"]
[hosts]
a = { address = "192.0.2.1", interface = "eth0" }
b = { address = "192.0.2.2", interface = "eth0.5" }
c = { address = "192.0.2.3", interface = "eth0" }
idle = { address = "192.0.2.4", interface = "eth0" }
[virtual_routers.one]
vrid = 1
vips = ["192.0.2.101", "192.0.2.20"]
directors = ["b", "a"]
priorities = { a = 254, b = 1 }
preempt = false
advert_interval = "250ms"
[virtual_routers."two.x"]
vrid = 2
version = 2
vips = ["192.0.2.30"]
directors = ["c"]
auth = { type = "pass", secret = { credential = "vrrp" } }
[services.web]
router = "one"
vip = "192.0.2.101"
protocol = "tcp"
port = 80
real_servers = [{ host = "c", weight = 0 }]
check = { type = "tcp" }
[services.tls]
router = "one"
vip = "192.0.2.101"
protocol = "tcp"
port = 443
scheduler = "mh"
real_servers = [{ host = "c" }]
[services.dns]
router = "two.x"
protocol = "udp"
port = 53
real_servers = [{ host = "b" }, { host = "a", weight = 3 }]
check = { type = "tcp", port = 8053 }
[ipvs.sysctls]
expire_nodest_conn = 1
conn_reuse_mode = 0
[policy]
resync = "90s"
exclusive_ipvs = true
"#;

#[test]
fn every_part_of_a_plan_survives_being_written_and_read() {
    let all: BTreeMap<String, Plan> =
        plans(MANY).iter().map(|plan| (plan.host.to_string(), read(plan))).collect();
    let c = &all["c"];
    assert_eq!(c.routers.len(), 1, "a director of `two.x`");
    assert_eq!(c.virtual_servers[0].destinations.len(), 2);
    assert_eq!(c.virtual_servers[0].destinations[0].weight.get(), 3, "by address");
    assert!(c.virtual_servers[0].destinations.iter().all(|destination| !destination.checks().is_empty()));
    assert_eq!(c.addresses.len(), 1, "one VIP, though two services share it");
    assert_eq!(c.routes.len(), 1);
    assert_eq!(c.sysctls.len(), 7, "director and real server at once");
    let of_ipvs = |plan: &Plan| -> Vec<String> {
        let keys = plan.sysctls.iter().filter(|sysctl| sysctl.key.starts_with("net/ipv4/vs/"));
        keys.map(|sysctl| format!("{}={}", sysctl.key, sysctl.value)).collect()
    };
    for director in ["a", "b", "c"] {
        let expected = ["net/ipv4/vs/conn_reuse_mode=0", "net/ipv4/vs/expire_nodest_conn=1"];
        assert_eq!(of_ipvs(&all[director]), expected, "{director}");
    }
    let a = &all["a"];
    assert_eq!(a.routers[0].priority.get(), 254);
    assert!(!a.routers[0].preempt);
    let vips: Vec<String> = a.routers[0].vips.iter().map(ToString::to_string).collect();
    assert_eq!(vips, ["192.0.2.20/32", "192.0.2.101/32"], "by number, not by text");
    let names: Vec<&str> = a.virtual_servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["tls", "web"]);
    let idle = &all["idle"];
    assert!(idle.routers.is_empty() && idle.addresses.is_empty() && idle.sysctls.is_empty());
    assert!(a.policy.exclusive_ipvs && a.policy.resync.as_millis() == 90_000);
}

const FURTHER: &str = r#"
version = 1
name = "further"
segments.front.subnets = ["192.0.2.0/24"]
segments.back.subnets = ["198.51.100.0/24"]
[hosts]
a = { address = "198.51.100.1", interface = "eth0", interfaces.eth1.addresses = ["192.0.2.1"] }
b = { address = "198.51.100.2", interface = "eth0", interfaces.eth3.addresses = ["192.0.2.2"] }
[virtual_routers.front]
vrid = 1
vips = ["192.0.2.101"]
directors = ["a", "b"]
[virtual_routers.back]
vrid = 1
vips = ["198.51.100.101"]
directors = ["b", "a"]
"#;

#[test]
fn a_director_speaks_on_its_interface_of_the_segment() {
    let spoken: Vec<String> = plans(FURTHER)
        .iter()
        .map(read)
        .flat_map(|plan| {
            let host = plan.host;
            let line = |router: plan::Router| {
                format!("{host} {} {} {}", router.name, router.interface, router.source)
            };
            plan.routers.into_iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        spoken,
        [
            "a back eth0 198.51.100.1",
            "a front eth1 192.0.2.1",
            "b back eth0 198.51.100.2",
            "b front eth3 192.0.2.2",
        ]
    );
}

/// The directors speak on a segment without a VIP, and call the interface of the inner one differently.
const APART: &str = r#"
version = 1
name = "apart"
segments.front.subnets = ["192.0.2.0/24"]
segments.back.subnets = ["198.51.100.0/24"]
segments.hello.subnets = ["203.0.113.0/24"]
[hosts.a]
address = "192.0.2.1"
interface = "eth0"
interfaces = { eth1.addresses = ["198.51.100.11"], eth2.addresses = ["203.0.113.1"] }
[hosts.b]
address = "192.0.2.2"
interface = "eth0"
interfaces = { eth3.addresses = ["198.51.100.12"], eth2.addresses = ["203.0.113.2"] }
[hosts.s]
address = "192.0.2.21"
interface = "eth0"
gateway = "192.0.2.100"
[virtual_routers.gate]
vrid = 1
segment = "hello"
vips = ["192.0.2.100", "198.51.100.100"]
directors = ["a", "b"]
[services.web]
router = "gate"
protocol = "tcp"
port = 80
vip = "192.0.2.100"
forwarding = "nat"
real_servers = [{ host = "s" }]
"#;

#[test]
fn each_vip_is_on_the_interface_of_its_own_segment() {
    let all: BTreeMap<String, Plan> =
        plans(APART).iter().map(|plan| (plan.host.to_string(), read(plan))).collect();
    for (host, inner) in [("a", "eth1"), ("b", "eth3")] {
        let router = &all[host].routers[0];
        assert_eq!((router.interface.as_str(), router.vips.len()), ("eth2", 2));
        let placed = |settings: &plan::VipSettings| {
            let interface = settings.interface.as_ref().map(ToString::to_string);
            (settings.address.to_string(), interface.unwrap_or_default())
        };
        assert_eq!(
            router.vip_settings.iter().map(placed).collect::<Vec<_>>(),
            [("192.0.2.100", "eth0"), ("198.51.100.100", inner)].map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
        // The server is beside the outer VIP: no redirects there.
        let keys: Vec<&str> = all[host].sysctls.iter().map(|sysctl| sysctl.key.as_str()).collect();
        assert!(keys.contains(&"net/ipv4/conf/eth0/send_redirects"), "{keys:?}");
    }
}

const FAMILIES: &str = r#"
version = 1
name = "families"
segments.front.subnets = ["192.0.2.0/24", "2001:db8::/64"]
segments.back.subnets = ["198.51.100.0/24"]
[hosts]
a = { address = "192.0.2.1", interface = "eth0", addresses = ["fe80::a"], interfaces.eth1.addresses = ["198.51.100.1"] }
b = { address = "192.0.2.2", interface = "eth0", addresses = ["2001:db8::b"], interfaces.eth1.addresses = ["198.51.100.2"] }
[virtual_routers.both]
vrid = 1
vips = ["2001:db8::100", "192.0.2.100", "fe80::1"]
unadvertised_vips = ["198.51.100.100", "2001:db8::101"]
directors = ["a", "b"]
checksum = "message_only"
virtual_mac = { interface = "vm" }
hooks.master = { command = ["/bin/true"] }
rules = [{ preference = 9, table = 100, firewall_mark = 7 }, { preference = 8, table = 100, to = "2001:db8:9::/64" }]
routes = [{ destination = "203.0.113.0/24" }]
[virtual_routers.owner]
vrid = 2
vips = ["192.0.2.1"]
directors = ["a", "b"]
priorities = { a = 255, b = 100 }
hooks.master = { command = ["/bin/true"] }
"#;

/// VIPs of both families are two instances, and what goes with the VIPs goes with the one of its family.
#[test]
fn a_router_of_both_families_is_two_instances_of_one_group() {
    let all: BTreeMap<String, Plan> =
        plans(FAMILIES).iter().map(|plan| (plan.host.to_string(), read(plan))).collect();
    let instances = |host: &str| -> Vec<String> {
        let line = |router: &plan::Router| {
            let vips = router.vips.iter().chain(&router.unadvertised_vips).map(ToString::to_string);
            let mac = router.virtual_mac.as_ref().map_or("-", |mac| mac.interface.as_str());
            let group = router.sync_group.as_ref().map_or("-", |group| group.as_str());
            let rules: Vec<u32> = router.rules.iter().map(|rule| rule.preference).collect();
            format!(
                "{} {} {mac} {group} {:?} {} hooks {} rules {rules:?} routes {} [{}]",
                router.name,
                router.source,
                router.checksum,
                router.priority,
                router.hooks.master.is_some(),
                router.routes.len(),
                vips.collect::<Vec<_>>().join(" ")
            )
        };
        all[host].routers.iter().map(line).collect()
    };
    let v6 = "fe80::1/128 2001:db8::100/128 2001:db8::101/128";
    assert_eq!(
        instances("a"),
        [
            "both 192.0.2.1 vm both MessageOnly 100 hooks false rules [9] routes 1 [192.0.2.100/32 \
            198.51.100.100/32]"
                .to_owned(),
            format!("both fe80::a vm6 both PseudoHeader 100 hooks false rules [8, 9] routes 0 [{v6}]"),
            "owner 192.0.2.1 - - PseudoHeader 255 hooks true rules [] routes 0 [192.0.2.1/32]".to_owned(),
        ]
    );
    let b = instances("b");
    assert!(b[1].starts_with("both :: vm6 "), "by multicast the source is link-local: {}", b[1]);
    let group = &all["a"].sync_groups[..];
    assert!(group.len() == 1 && group[0].name.as_str() == "both" && group[0].hooks.master.is_some());
    let elsewhere = &all["b"].routers[0].vip_settings[..];
    assert_eq!(elsewhere.len(), 1, "{elsewhere:?}");
    assert_eq!(
        elsewhere[0].interface.as_ref().map(|name| name.as_str()),
        Some("eth1"),
        "its segment is there"
    );
    let keys: Vec<&str> = all["a"].sysctls.iter().map(|sysctl| sysctl.key.as_str()).collect();
    for key in ["net/ipv4/conf/vm/rp_filter", "net/ipv4/conf/eth0/arp_ignore", "net/ipv6/conf/vm6/accept_ra"]
    {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
}

/// The same cluster with every table, list (but directors and command lines, whose order means something)
/// and key turned round.
#[test]
fn the_order_of_the_file_does_not_matter() {
    fn turn(value: toml::Value, key: &str) -> toml::Value {
        match value {
            toml::Value::Table(table) => {
                let turned = table.into_iter().rev().map(|(key, value)| {
                    let value = turn(value, &key);
                    (key, value)
                });
                toml::Value::Table(turned.collect())
            }
            toml::Value::Array(items) if !["directors", "command"].contains(&key) => {
                toml::Value::Array(items.into_iter().rev().map(|item| turn(item, key)).collect())
            }
            other => other,
        }
    }
    let examples =
        CLUSTERS.map(|name| std::fs::read_to_string(example(name).join("cluster.toml")).expect("text"));
    for text in examples.into_iter().chain([MANY.to_owned()]) {
        let table: toml::Table = text.parse().expect("TOML");
        let source = toml::to_string(&turn(toml::Value::Table(table), "")).expect("TOML");
        assert_eq!(plans(&text), plans(&source), "{source}");
    }
}
