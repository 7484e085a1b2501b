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
    Address, AddressKey, Desired, Domain, KernelState, Kind, Ledger, Op, Route, RouteKey, cleanup, diff,
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
    let value = Address { label: label.map(str::to_owned), scope, tagged: true };
    Op::AddAddress { key, value, announce: false }
}

fn route_key(table: u32, destination: &str, interface: &str) -> RouteKey {
    RouteKey { table, destination: cidr(destination), interface: interface.to_owned() }
}

fn route(scope: plan::Scope) -> Route {
    Route { scope, tagged: true }
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
        assert!(text.contains("inet6 2001:db8::7/128 scope global nodad"), "{text}");

        let state = observe(&mut kernel, &[Kind::Addresses], &["lo", "nowhere"]);
        assert_eq!(state.addresses.len(), 5, "with 127.0.0.1 and ::1: {:?}", state.addresses);
        let Op::AddAddress { value, .. } = &ops[0] else { unreachable!() };
        assert_eq!(state.addresses.get(&vip), Some(value));
        let local = &state.addresses[&key("lo", "127.0.0.1/8")];
        assert_eq!(*local, Address { label: None, scope: plan::Scope::Host, tagged: false });

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
fn routes_are_added_seen_and_removed() {
    in_namespace(|| {
        ip("link add v0 type veth peer name v1");
        ip("link set v0 up");
        ip("link set v1 up");
        ip("link set lo up");
        ip("address add 198.51.100.2/24 dev v0");
        ip("route add default via 198.51.100.1 dev v0");
        ip("route add 203.0.113.0/24 dev v0");
        let mut kernel = Kernel::new().expect("a kernel");
        let main = route_key(254, "192.0.2.7/32", "lo");
        let other = route_key(100_000, "192.0.2.0/24", "v0");
        let v6 = route_key(254, "2001:db8::7/128", "lo");
        let ops = [
            Op::AddRoute(main.clone(), route(plan::Scope::Link)),
            Op::AddRoute(other.clone(), route(plan::Scope::Link)),
            Op::AddRoute(v6.clone(), route(plan::Scope::Global)),
        ];
        apply_all(&mut kernel, &ops);
        apply_all(&mut kernel, &ops);
        let text = ip("route show");
        assert!(text.contains("192.0.2.7 dev lo proto 238 scope link"), "{text}");
        assert!(ip("route show table 100000").contains("192.0.2.0/24 dev v0 proto 238 scope link"));
        assert!(ip("-6 route show").contains("2001:db8::7 dev lo proto 238 metric 1024"));

        let what = Scope { tables: BTreeSet::from([100_000]), ..scope(&[Kind::Routes], &["lo", "v0"]) };
        let state = kernel.observe(&what).expect("observed");
        let foreign = route_key(254, "203.0.113.0/24", "v0");
        let wanted = BTreeMap::from([
            (main.clone(), route(plan::Scope::Link)),
            (other.clone(), route(plan::Scope::Link)),
            (v6.clone(), route(plan::Scope::Global)),
            (foreign, Route { scope: plan::Scope::Link, tagged: false }),
        ]);
        assert_eq!(state.routes, wanted, "neither connected routes nor those with a gateway");

        let in_the_way = Op::AddRoute(route_key(254, "203.0.113.0/24", "lo"), route(plan::Scope::Link));
        let refused = kernel.apply(&[in_the_way]).remove(0).expect_err("a conflict");
        assert_eq!(refused.class, Class::Conflict, "{refused}");

        let removal = [Op::DelRoute(main), Op::DelRoute(other), Op::DelRoute(v6)];
        apply_all(&mut kernel, &removal);
        apply_all(&mut kernel, &removal);
        assert_eq!(kernel.observe(&what).expect("observed").routes.len(), 1);
        assert!(ip("route show").contains("203.0.113.0/24"));
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
        ]);
        let classes: Vec<Class> =
            results.into_iter().map(|result| result.expect_err("refused").class).collect();
        assert_eq!(classes, [Class::Transient, Class::Permanent, Class::Permanent]);
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
fn links_are_told_and_their_changes_too() {
    in_namespace(|| {
        let mut kernel = Kernel::new().expect("a kernel");
        ip("link add v0 address 02:00:00:00:00:01 mtu 1400 type veth peer name v1");
        let mut monitor = Monitor::open(&Group::ALL).expect("a monitor");
        assert_eq!(monitor.read_events().expect("readable"), []);
        ip("link set v0 up");
        ip("link set v1 up");
        let mut pending = Vec::new();
        // The kernel notices the carrier by itself, up to a second later.
        let up = |event: &Event| matches!(event, Event::LinkChanged { name, up: true, running: true, .. } if name == "v0");
        told(&mut monitor, &mut pending, up);
        let links = kernel.links().expect("links");
        let link = links.iter().find(|link| link.name == "v0").expect("v0");
        assert!(link.up && link.running && link.carrier, "{link:?}");
        assert_eq!((link.mtu, link.mac), (1400, Some([2, 0, 0, 0, 0, 1])));

        apply_all(&mut kernel, &[add(key("v0", "192.0.2.7/32"), None, plan::Scope::Global)]);
        let added = Event::AddressAdded { ifindex: link.index, address: cidr("192.0.2.7/32"), tagged: true };
        told(&mut monitor, &mut pending, |event| *event == added);

        ip("address del 192.0.2.7/32 dev v0");
        ip("link del v0");
        let removed =
            Event::AddressRemoved { ifindex: link.index, address: cidr("192.0.2.7/32"), tagged: true };
        told(&mut monitor, &mut pending, |event| *event == removed);
        let gone =
            Event::LinkChanged { ifindex: link.index, name: "v0".to_owned(), up: false, running: false };
        told(&mut monitor, &mut pending, |event| *event == gone);
        assert!(kernel.links().expect("links").iter().all(|link| link.name != "v0"));
    });
}

#[test]
fn thousands_of_operations_have_a_verdict_each_and_lost_news_are_told() {
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

/// What a real server's plan asks for.
fn real_server() -> Desired {
    let address = Address { label: Some("lo:0".to_owned()), scope: plan::Scope::Host, tagged: true };
    let mut desired = Desired { interfaces: BTreeSet::from(["lo".to_owned()]), ..Desired::default() };
    desired.state.addresses.insert(key("lo", "192.168.188.120/32"), address);
    desired.state.routes.insert(route_key(254, "192.168.188.120/32", "lo"), route(plan::Scope::Link));
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
