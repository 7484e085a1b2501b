//! The crate against the real kernel, each test in a network namespace of its own, compared with what
//! `ip` says.
//!
//! Needs root (CAP_SYS_ADMIN for the namespace) and iproute2; without them the tests fail and say so.
//! IPVS is tested in the lab, whose kernel has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use evenkeel_converge::{
    Address, AddressKey, Desired, Domain, KernelState, Kind, Ledger, Link, LinkKind, Mark, Op, Route,
    RouteKey, Rule, RuleKey, cleanup, diff,
};
use evenkeel_kernel::{Class, Event, Group, Kernel, Monitor, Scope, clock};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::Cidr;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sched::{CloneFlags, unshare};

/// Runs `body` in a thread with an empty network namespace; what it starts is in there as well.
fn in_namespace(body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("these tests need a network namespace: run them as root (CAP_SYS_ADMIN)");
        body();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip` and gives what it prints.
fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("these tests need iproute2's ip in the PATH");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn cidr(text: &str) -> Cidr {
    let (address, prefix) = text.split_once('/').expect("address/prefix");
    Cidr::new(address.parse().expect("an address"), prefix.parse().expect("a number")).expect("in range")
}

fn key(interface: &str, address: &str) -> AddressKey {
    AddressKey { interface: interface.to_owned(), address: cidr(address) }
}

fn add(key: AddressKey, label: Option<&str>, scope: plan::Scope) -> Op {
    let value = Address::ours(key.address, scope, label.map(str::to_owned));
    Op::AddAddress { key, value, announce: false }
}

fn route_key(table: u32, destination: &str) -> RouteKey {
    RouteKey::new(table, cidr(destination), 0)
}

fn add_route(key: RouteKey, value: Route) -> Op {
    Op::AddRoute { key, value, announce: false }
}

fn scope(kinds: &[Kind], interfaces: &[&str]) -> Scope {
    Scope {
        kinds: kinds.iter().copied().collect(),
        interfaces: interfaces.iter().map(|&name| name.to_owned()).collect(),
        ..Scope::default()
    }
}

fn observe(kernel: &mut Kernel, kinds: &[Kind], interfaces: &[&str]) -> KernelState {
    kernel.observe(&scope(kinds, interfaces)).expect("observed")
}

fn apply_all(kernel: &mut Kernel, ops: &[Op]) {
    for (op, result) in ops.iter().zip(kernel.apply(ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
}

#[test]
fn addresses_are_added_seen_and_removed() {
    in_namespace(|| {
        ip("link set lo up");
        let mut kernel = Kernel::new().expect("a kernel");
        let vip = key("lo", "192.0.2.7/32");
        let ops = [
            add(vip.clone(), Some("lo:0"), plan::Scope::Host),
            add(key("lo", "192.0.2.8/24"), None, plan::Scope::Global),
            add(key("lo", "2001:db8::7/128"), None, plan::Scope::Global),
        ];
        apply_all(&mut kernel, &ops);
        // Again: what is there with equal properties is a success.
        apply_all(&mut kernel, &ops);

        // Older versions of ip do not show the tag.
        let text = ip("-4 address show dev lo").replace(" proto 0xee", "");
        assert!(text.contains("inet 192.0.2.7/32 scope host lo:0"), "{text}");
        assert!(!text.contains("brd"), "{text}");
        let text = ip("-6 address show dev lo").replace(" proto 0xee", "");
        assert!(text.contains("inet6 2001:db8::7/128 scope global"), "{text}");
        assert!(text.contains("nodad") && text.contains("deprecated"), "{text}");

        let state = observe(&mut kernel, &[Kind::Addresses], &["lo", "nowhere"]);
        assert_eq!(state.addresses.len(), 5, "with 127.0.0.1 and ::1: {:?}", state.addresses);
        let Op::AddAddress { value, .. } = &ops[0] else { unreachable!() };
        assert_eq!(state.addresses.get(&vip), Some(value));
        let local = &state.addresses[&key("lo", "127.0.0.1/8")];
        assert_eq!(*local, Address::plain(plan::Scope::Host));

        let removal: Vec<Op> = state
            .addresses
            .iter()
            .filter(|(_, a)| a.tagged)
            .map(|(k, _)| Op::DelAddress(k.clone()))
            .collect();
        assert_eq!(removal.len(), 3);
        apply_all(&mut kernel, &removal);
        apply_all(&mut kernel, &removal);
        assert_eq!(observe(&mut kernel, &[Kind::Addresses], &["lo"]).addresses.len(), 2);
    });
}

#[test]
fn refused_operations_say_why_and_stop_nothing() {
    in_namespace(|| {
        ip("link set lo up");
        ip("-6 address add 2001:db8::7/64 dev lo");
        ip("address add 192.0.2.9/32 dev lo label lo:admin");
        let mut kernel = Kernel::new().expect("a kernel");
        let ops = [
            add(key("nowhere", "192.0.2.1/32"), None, plan::Scope::Global),
            add(key("lo", "192.0.2.2/32"), None, plan::Scope::Global),
            add(key("lo", "2001:db8::7/128"), None, plan::Scope::Global),
            add(key("lo", "192.0.2.9/32"), None, plan::Scope::Global),
            add(key("lo", "ff02::1/128"), None, plan::Scope::Global),
            Op::DelAddress(key("nowhere", "192.0.2.1/32")),
            add(key("lo", "192.0.2.3/32"), None, plan::Scope::Global),
        ];
        let results = kernel.apply(&ops);
        let classes: Vec<Option<Class>> =
            results.iter().map(|result| result.as_ref().err().map(|error| error.class)).collect();
        let wanted = [
            Some(Class::Transient),
            None,
            Some(Class::Conflict),
            Some(Class::Conflict),
            Some(Class::Permanent),
            None,
            None,
        ];
        assert_eq!(classes, wanted, "{results:?}");
        let message = results[0].as_ref().expect_err("refused").to_string();
        assert_eq!(message, "add address 192.0.2.1/32 on nowhere: there is no interface nowhere");
        let state = observe(&mut kernel, &[Kind::Addresses], &["lo"]);
        assert!(!state.addresses[&key("lo", "192.0.2.9/32")].tagged, "an address of others is not tagged");
        assert!(state.addresses.contains_key(&key("lo", "192.0.2.3/32")));
    });
}

#[test]
fn an_ipv6_vip_is_usable_at_once_and_one_that_is_not_is_seen() {
    in_namespace(|| {
        // A veth with no carrier: duplicate address detection never ends there.
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        let mut kernel = Kernel::new().expect("a kernel");
        let (vip, wide) = (key("v0", "2001:db8::7/128"), key("v0", "2001:db8:1::7/64"));
        let ops = [add(vip.clone(), None, plan::Scope::Global), add(wide.clone(), None, plan::Scope::Global)];
        apply_all(&mut kernel, &ops);
        ip("-6 address add 2001:db8::8/64 dev v0");
        let state = observe(&mut kernel, &[Kind::Addresses], &["v0"]);
        let flags = |key: &AddressKey| {
            let Address { no_dad, deprecated, tentative, .. } = state.addresses[key];
            (no_dad, deprecated, tentative)
        };
        assert_eq!(flags(&vip), (true, true, false));
        assert_eq!(flags(&wide), (true, false, false));
        assert_eq!(flags(&key("v0", "2001:db8::8/64")), (false, false, true));
        // Whoever wants the last one has it made anew.
        let mut desired = Desired::default();
        for address in ["2001:db8::7/128", "2001:db8:1::7/64", "2001:db8::8/64"] {
            let key = key("v0", address);
            let value = Address::ours(key.address, plan::Scope::Global, None);
            desired.state.addresses.insert(key, value);
        }
        let ops = diff(&desired, &state, &Ledger::default(), Domain::Host).ops;
        let names: Vec<String> = ops.iter().map(ToString::to_string).collect();
        let wanted = ["remove address 2001:db8::8/64 on v0", "add address 2001:db8::8/64 on v0"];
        assert_eq!(names, wanted);
        apply_all(&mut kernel, &ops);
        let state = observe(&mut kernel, &[Kind::Addresses], &["v0"]);
        assert_eq!(diff(&desired, &state, &Ledger::default(), Domain::Host).ops, []);
    });
}

#[test]
fn routes_are_added_seen_and_removed() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("link set lo up");
        ip("address add 198.51.100.2/24 dev v0");
        ip("-6 address add 2001:db8:5::2/64 dev v0 nodad");
        ip("route add default via 198.51.100.1 dev v0");
        ip("route append default via 198.51.100.9 dev v0");
        ip("route add 203.0.113.0/24 dev v0");
        // The kernel takes it for ours, when ours is gone and only the destination is compared.
        ip("route add 10.0.0.0/8 dev v0 metric 7");
        let mut kernel = Kernel::new().expect("a kernel");
        let out_of = |interface: &str, scope| Route::out_of(interface, scope);
        let via = |gateway: &str, source: Option<&str>| Route {
            gateway: Some(gateway.parse().expect("an address")),
            source: source.map(|source| source.parse().expect("an address")),
            ..out_of("v0", plan::Scope::Global)
        };
        let wanted = BTreeMap::from([
            (route_key(254, "192.0.2.7/32"), out_of("lo", plan::Scope::Link)),
            (route_key(100_000, "192.0.2.0/24"), out_of("v0", plan::Scope::Link)),
            (route_key(254, "10.0.0.0/8"), out_of("v0", plan::Scope::Link)),
            (route_key(254, "2001:db8::7/128"), out_of("lo", plan::Scope::Global)),
            (RouteKey::new(7, cidr("0.0.0.0/0"), 50), via("198.51.100.1", Some("198.51.100.2"))),
            (RouteKey::new(254, cidr("0.0.0.0/0"), 50), via("198.51.100.3", None)),
            (RouteKey::new(7, cidr("::/0"), 50), via("2001:db8:5::1", Some("2001:db8:5::2"))),
        ]);
        let ops: Vec<Op> = wanted.iter().map(|(key, value)| add_route(*key, value.clone())).collect();
        apply_all(&mut kernel, &ops);
        apply_all(&mut kernel, &ops);
        // One whose interface is found by the gateway is equal to what becomes of it.
        let unnamed = Route { interface: None, ..via("198.51.100.1", None) };
        let unnamed_key = route_key(8, "192.0.2.0/24");
        apply_all(&mut kernel, &[add_route(unnamed_key, unnamed.clone())]);
        let text = ip("route show");
        assert!(text.contains("192.0.2.7 dev lo proto 238 scope link"), "{text}");
        assert!(text.contains("default via 198.51.100.3 dev v0 proto 238 metric 50"), "{text}");
        assert!(ip("route show table 100000").contains("192.0.2.0/24 dev v0 proto 238 scope link"));
        let text = ip("route show table 7");
        assert!(
            text.contains("default via 198.51.100.1 dev v0 proto 238 src 198.51.100.2 metric 50"),
            "{text}"
        );
        assert!(ip("-6 route show").contains("2001:db8::7 dev lo proto 238 metric 1024"));
        let text = ip("-6 route show table 7");
        let expected = "default via 2001:db8:5::1 dev v0 proto 238 src 2001:db8:5::2 metric 50";
        assert!(text.contains(expected), "{text}");

        // Ours are seen in all tables and on all interfaces, those of others where they are asked for.
        let state = observe(&mut kernel, &[Kind::Routes], &["v0"]);
        let others = |scope, gateway: Option<&str>| Route {
            tagged: false,
            gateway: gateway.map(|gateway| gateway.parse().expect("an address")),
            ..out_of("v0", scope)
        };
        let mut there = wanted.clone();
        there.insert(unnamed_key, via("198.51.100.1", None));
        there.insert(RouteKey::new(254, cidr("10.0.0.0/8"), 7), others(plan::Scope::Link, None));
        there.insert(route_key(254, "203.0.113.0/24"), others(plan::Scope::Link, None));
        there.insert(route_key(254, "0.0.0.0/0"), others(plan::Scope::Global, Some("198.51.100.1")));
        assert_eq!(state.routes, there, "without connected routes");
        let appended = BTreeSet::from(["0.0.0.0/0 via 198.51.100.9 dev v0".to_owned()]);
        assert_eq!(state.other_routes, appended);
        let mut desired = Desired::default();
        desired.state.routes = wanted.clone();
        desired.state.routes.insert(unnamed_key, unnamed);
        assert_eq!(diff(&desired, &state, &Ledger::default(), Domain::Host).ops, []);

        let in_the_way = add_route(route_key(254, "203.0.113.0/24"), out_of("lo", plan::Scope::Link));
        let refused = kernel.apply(&[in_the_way]).remove(0).expect_err("a conflict");
        assert_eq!(refused.class, Class::Conflict, "{refused}");
        let unreachable = add_route(route_key(254, "192.0.2.128/25"), via("172.31.0.1", None));
        let refused = kernel.apply(&[unreachable]).remove(0).expect_err("unreachable");
        assert_eq!(refused.class, Class::Transient, "{refused}");
        assert!(refused.to_string().contains("the gateway"), "{refused}");

        let removal: Vec<Op> = state
            .routes
            .iter()
            .filter(|(_, route)| route.tagged)
            .map(|(key, value)| Op::DelRoute(*key, value.clone()))
            .collect();
        assert_eq!(removal.len(), wanted.len() + 1);
        apply_all(&mut kernel, &removal);
        apply_all(&mut kernel, &removal);
        assert_eq!(observe(&mut kernel, &[Kind::Routes], &["v0"]).routes.len(), 3);
        let text = ip("route show");
        assert!(text.contains("203.0.113.0/24") && text.contains("default via 198.51.100.1"), "{text}");
    });
}

#[test]
fn rules_are_added_seen_and_removed_and_others_left_alone() {
    in_namespace(|| {
        ip("rule add preference 100 from 10.9.0.0/16 lookup 5");
        ip("rule add preference 101 not from 10.9.0.0/16 lookup 5");
        ip("rule add preference 102 oif lo lookup 5");
        let mut kernel = Kernel::new().expect("a kernel");
        let rule = |v6, preference| RuleKey {
            v6,
            preference,
            from: None,
            to: None,
            iif: None,
            mark: None,
            table: 5,
        };
        let full = |v6, from, to| RuleKey {
            from: Some(cidr(from)),
            to: Some(cidr(to)),
            iif: Some("eth7".to_owned()),
            mark: Some(Mark { value: 0x10, mask: 0xff }),
            table: 100_000,
            ..rule(v6, 300)
        };
        let keys = [
            // As broad as it gets, beside a narrower one of others.
            rule(false, 100),
            rule(true, 100),
            full(false, "192.0.2.7/32", "198.51.100.0/24"),
            full(true, "2001:db8::7/128", "2001:db8:1::/48"),
        ];
        let adds = keys.clone().map(|key| Op::AddRule { key, announce: false });
        apply_all(&mut kernel, &adds);
        apply_all(&mut kernel, &adds);
        let text = ip("rule show");
        let expected =
            "from 192.0.2.7 to 198.51.100.0/24 fwmark 0x10/0xff iif eth7 [detached] lookup 100000 proto 238";
        assert!(text.contains(expected), "{text}");
        let state = observe(&mut kernel, &[Kind::Rules], &[]);
        let foreign = RuleKey { from: Some(cidr("10.9.0.0/16")), ..rule(false, 100) };
        let mut there: BTreeMap<RuleKey, Rule> = keys.clone().map(|key| (key, Rule { tagged: true })).into();
        there.insert(foreign.clone(), Rule { tagged: false });
        assert_eq!(state.rules, there, "neither the kernel's own nor what a plan cannot name");
        let dels = keys.map(Op::DelRule);
        apply_all(&mut kernel, &dels);
        let left = BTreeMap::from([(foreign, Rule { tagged: false })]);
        assert_eq!(observe(&mut kernel, &[Kind::Rules], &[]).rules, left);
        apply_all(&mut kernel, &dels);
        assert_eq!(observe(&mut kernel, &[Kind::Rules], &[]).rules, left, "{}", ip("rule show"));
    });
}

#[test]
fn a_virtual_mac_is_made_kept_and_removed() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        let name = "vrrp.51".to_owned();
        let mac = [0, 0, 0x5e, 0, 1, 51];
        let macvlan = |parent: &str| Link::ours(LinkKind::Macvlan { parent: parent.to_owned(), mac });
        let mut kernel = Kernel::new().expect("a kernel");
        let mut desired = Desired::default();
        desired.state.links.insert(name.clone(), macvlan("v0"));
        let what = Scope { links: BTreeSet::from([name.clone()]), ..scope(&[Kind::Links], &[]) };
        let mut converge = |desired: &Desired| -> Vec<String> {
            let state = kernel.observe(&what).expect("observed");
            let ops = diff(desired, &state, &Ledger::default(), Domain::Host).ops;
            apply_all(&mut kernel, &ops);
            let state = kernel.observe(&what).expect("observed");
            assert_eq!(diff(desired, &state, &Ledger::default(), Domain::Host).ops, []);
            ops.iter().map(ToString::to_string).collect()
        };
        let made = ["add interface vrrp.51, macvlan on v0 with MAC 00:00:5e:00:01:33"];
        assert_eq!(converge(&desired), made);
        let text = ip("-d link show dev vrrp.51");
        for part in
            ["macvlan mode private", "addrgenmode none", "alias evenkeel", "00:00:5e:00:01:33", ",UP,"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!ip("-6 address show dev vrrp.51").contains("fe80"), "no address of its own");
        ip("link set vrrp.51 down");
        assert_eq!(converge(&desired), ["set interface vrrp.51 up"]);
        desired.state.links.insert(name.clone(), macvlan("v1"));
        assert_eq!(converge(&desired).len(), 2, "made anew on the other interface");
        assert!(ip("link show dev vrrp.51").contains("vrrp.51@v1"));
        desired.state.links.clear();
        assert_eq!(converge(&desired), ["remove interface vrrp.51"]);

        // One of others is in the way: told, and left as it is.
        ip("link add vrrp.51 type veth peer name v2");
        desired.state.links.insert(name.clone(), macvlan("v0"));
        let state = kernel.observe(&what).expect("observed");
        let ops = diff(&desired, &state, &Ledger::default(), Domain::Host).ops;
        let refused = kernel.apply(&ops).remove(0).expect_err("in the way");
        assert_eq!(refused.class, Class::Conflict);
        assert!(
            refused.to_string().ends_with("another interface of this name, veth, is in the way"),
            "{refused}"
        );
        let text = ip("-d link show dev vrrp.51");
        assert!(text.contains("veth") && !text.contains("evenkeel"), "{text}");
        // And one without the interface below it can be made later.
        let missing = Op::AddLink("m0".to_owned(), macvlan("nowhere"));
        let refused = kernel.apply(&[missing]).remove(0).expect_err("nothing below");
        assert_eq!(refused.class, Class::Transient, "{refused}");
    });
}

#[test]
fn settings_are_of_the_threads_namespace() {
    in_namespace(|| {
        let setting = "net/ipv4/conf/lo/arp_ignore".to_owned();
        let what = Scope {
            sysctls: BTreeSet::from([setting.clone(), "net/ipv4/tcp_rmem".to_owned()]),
            ..scope(&[Kind::Sysctls], &[])
        };
        let mut kernel = Kernel::new().expect("a kernel");
        let before = kernel.observe(&what).expect("observed").sysctls;
        assert_eq!(before.get(&setting).map(String::as_str), Some("0"));
        assert_eq!(before["net/ipv4/tcp_rmem"].split(' ').count(), 3);
        let set = |key: &str, value: &str| Op::SetSysctl {
            key: key.to_owned(),
            value: value.to_owned(),
            from: "0".to_owned(),
            restore: false,
        };
        apply_all(&mut kernel, &[set(&setting, "1"), set("net/ipv4/tcp_rmem", "4096 131072 6291456")]);
        let after = kernel.observe(&what).expect("observed").sysctls;
        assert_eq!(after[&setting], "1");
        assert_eq!(after["net/ipv4/tcp_rmem"], "4096 131072 6291456");
        let results = kernel.apply(&[
            set("net/ipv4/conf/nowhere/arp_ignore", "1"),
            set("net/../kernel/hostname", "x"),
            set(&setting, "words"),
            set("net/ipv4/of_tomorrow", "1"),
        ]);
        let classes: Vec<Class> =
            results.into_iter().map(|result| result.expect_err("refused").class).collect();
        assert_eq!(classes, [Class::Transient, Class::Permanent, Class::Unsupported, Class::Unsupported]);
    });
}

/// Waits for news of this kind and forgets those that came before it. `pending` are news not looked at yet.
#[track_caller]
fn told(monitor: &mut Monitor, pending: &mut Vec<Event>, wanted: impl Fn(&Event) -> bool) {
    let deadline = clock::now() + Duration::from_secs(10);
    while clock::now() < deadline {
        pending.extend(monitor.read_events().expect("readable"));
        if let Some(at) = pending.iter().position(&wanted) {
            pending.drain(..=at);
            return;
        }
        let mut fds = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, 1000_u16).expect("poll");
    }
    panic!("not told; only {pending:?}");
}

#[test]
fn links_and_their_changes_are_received() {
    in_namespace(|| {
        let mut kernel = Kernel::new().expect("a kernel");
        ip("link add v0 address 02:00:00:00:00:01 mtu 1400 type veth peer name v1");
        let mut monitor = Monitor::open(&Group::ALL).expect("a monitor");
        assert_eq!(monitor.read_events().expect("readable"), []);
        ip("link set v0 up");
        ip("link set v1 up");
        let mut pending = Vec::new();
        // The kernel notices the carrier by itself, up to a second later.
        let up = |event: &Event| match event {
            Event::LinkChanged { name, up, running, .. } => name == "v0" && *up && *running,
            _ => false,
        };
        told(&mut monitor, &mut pending, up);
        let links = kernel.links().expect("links");
        let link = links.iter().find(|link| link.name == "v0").expect("v0");
        assert!(link.up && link.running && link.carrier, "{link:?}");
        assert_eq!((link.mtu, link.mac), (1400, Some([2, 0, 0, 0, 0, 1])));

        apply_all(&mut kernel, &[add(key("v0", "192.0.2.7/32"), None, plan::Scope::Global)]);
        let added = Event::AddressAdded { ifindex: link.index, address: cidr("192.0.2.7/32"), tagged: true };
        told(&mut monitor, &mut pending, |event| *event == added);

        // Rules and routes are told apart, and ours among them.
        ip("rule add preference 100 from 192.0.2.7 lookup 5");
        told(&mut monitor, &mut pending, |event| *event == Event::RuleChanged);
        ip("route add 203.0.113.0/24 dev v0");
        told(&mut monitor, &mut pending, |event| {
            *event == Event::RouteChanged { tagged: false, removed: false }
        });
        let ours = add_route(route_key(254, "203.0.114.0/24"), Route::out_of("v0", plan::Scope::Link));
        apply_all(&mut kernel, &[ours]);
        told(&mut monitor, &mut pending, |event| {
            *event == Event::RouteChanged { tagged: true, removed: false }
        });

        ip("address del 192.0.2.7/32 dev v0");
        ip("link del v0");
        let removed =
            Event::AddressRemoved { ifindex: link.index, address: cidr("192.0.2.7/32"), tagged: true };
        told(&mut monitor, &mut pending, |event| *event == removed);
        let gone = Event::LinkChanged {
            ifindex: link.index,
            name: "v0".to_owned(),
            there: false,
            up: false,
            running: false,
            carrier: false,
        };
        told(&mut monitor, &mut pending, |event| *event == gone);
        assert!(kernel.links().expect("links").iter().all(|link| link.name != "v0"));
    });
}

#[test]
fn thousands_of_operations_have_an_outcome_each_and_lost_events_are_reported() {
    const COUNT: u32 = 6_000;
    in_namespace(|| {
        ip("link set lo up");
        let mut kernel = Kernel::new().expect("a kernel");
        let mut monitor = Monitor::open(&[Group::Ipv4Addresses]).expect("a monitor");
        let address = |index: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0001 + index));
        // Every hundredth is refused: no interface has a multicast address as its own.
        let refused = |index: u32| index % 100 == 99;
        let multicast: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into();
        let ops: Vec<Op> = (0..COUNT)
            .map(|index| {
                let ip = if refused(index) { multicast } else { address(index) };
                let key = AddressKey { interface: "lo".to_owned(), address: Cidr::host(ip) };
                add(key, None, plan::Scope::Global)
            })
            .collect();
        for (index, result) in (0..).zip(kernel.apply(&ops)) {
            assert_eq!(result.is_err(), refused(index), "{index}: {result:?}");
        }
        let state = observe(&mut kernel, &[Kind::Addresses], &["lo"]);
        let made = usize::try_from(COUNT - COUNT / 100).expect("fits");
        assert_eq!(state.addresses.values().filter(|address| address.tagged).count(), made);

        let mut overrun = false;
        for _ in 0..COUNT {
            let events = monitor.read_events().expect("readable");
            overrun |= events.contains(&Event::Overrun);
            if events.is_empty() {
                break;
            }
        }
        assert!(overrun, "{COUNT} news at once do not fit the buffer");
    });
}

#[test]
fn a_kernel_that_is_not_asked_for_ipvs_has_none() {
    in_namespace(|| {
        let mut kernel = Kernel::new().expect("a kernel");
        let before = evenkeel_kernel::ipvs_loaded();
        assert_eq!(observe(&mut kernel, &Kind::ALL, &["lo"]).services, BTreeMap::new());
        assert_eq!(evenkeel_kernel::ipvs_loaded(), before);
    });
}

/// Objects that a real server's plan asks for.
fn real_server() -> Desired {
    let vip = key("lo", "192.168.188.120/32");
    let address = Address::ours(vip.address, plan::Scope::Host, Some("lo:0".to_owned()));
    let mut desired = Desired { interfaces: BTreeSet::from(["lo".to_owned()]), ..Desired::default() };
    desired.state.addresses.insert(vip, address);
    let route = Route::out_of("lo", plan::Scope::Link);
    desired.state.routes.insert(route_key(254, "192.168.188.120/32"), route);
    for (setting, value) in [("all/arp_ignore", "1"), ("all/arp_announce", "2")] {
        desired.state.sysctls.insert(format!("net/ipv4/conf/{setting}"), value.to_owned());
    }
    desired
}

#[test]
fn a_real_server_converges_and_is_cleaned_up_without_a_trace() {
    in_namespace(|| {
        ip("link set lo up");
        let mut kernel = Kernel::new().expect("a kernel");
        let desired = real_server();
        let what =
            Scope { sysctls: desired.state.sysctls.keys().cloned().collect(), ..scope(&Kind::ALL, &["lo"]) };
        let start = kernel.observe(&what).expect("observed");
        let todo = diff(&desired, &start, &Ledger::default(), Domain::Host);
        let ledger = Ledger::default().before(&desired, &start, &Kind::ALL);
        apply_all(&mut kernel, &todo.ops);
        let reached = kernel.observe(&what).expect("observed");
        assert_eq!(diff(&desired, &reached, &ledger, Domain::Host).ops, []);
        apply_all(&mut kernel, &cleanup(&reached, &ledger).ops);
        assert_eq!(kernel.observe(&what).expect("observed"), start);
    });
}

#[test]
fn a_kernel_can_move_to_its_thread() {
    fn movable<T: Send>() {}
    movable::<Kernel>();
    movable::<Monitor>();
}
