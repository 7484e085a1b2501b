//! The crate against a kernel with IPVS and tunnels: the lab's. Compared with what `ipvsadm` and `ip` say.
//!
//! One guest for all of it, since each boots a kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use evenkeel_converge::{
    Desired, Destination, DestinationKey, Domain, Encapsulation, Forward, GueChecksum, GuePort, KernelState,
    Kind, Ledger, Link, LinkKind, Op, Service, ServiceKey, SyncDaemon, SyncRole, Timeouts, Tunnel,
    TunnelMode, Unwrap, cleanup, diff,
};
use evenkeel_kernel::{Class, Kernel, Scope, clock};

/// Runs a program and gives what it prints.
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().expect("a program")).args(words).output().expect("installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn scope() -> Scope {
    let links = TunnelMode::ALL.iter().map(|mode| format!("t-{}", mode.name())).collect();
    Scope { kinds: BTreeSet::from([Kind::Ipvs, Kind::Links]), ipvs: true, links, ..Scope::default() }
}

/// Makes the kernel as wanted, looks again, and gives what was done.
fn converge(kernel: &mut Kernel, desired: &Desired, ledger: &Ledger) -> Vec<String> {
    let found = kernel.observe(&scope()).expect("observed");
    let ops = diff(desired, &found, ledger, Domain::Host).ops;
    for (op, result) in ops.iter().zip(kernel.apply(&ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
    let reached = kernel.observe(&scope()).expect("observed");
    assert_eq!(diff(desired, &reached, ledger, Domain::Host).ops, [], "not as wanted after it was done");
    // A look at some is by netlink only, one at all by the older interface where that tells all: they see the
    // same.
    let absent = ServiceKey::Transport { protocol: 6, address: ip("192.0.2.254"), port: 9 };
    let named = reached.services.keys().copied().chain([absent]).collect();
    let some = kernel.observe(&Scope { services: Some(named), ..scope() }).expect("observed");
    assert_eq!(some.services, reached.services);
    ops.iter().map(ToString::to_string).collect()
}

/// One service of every sort, with one destination of every sort.
fn services() -> BTreeMap<ServiceKey, Service> {
    let transport = |protocol, address, port| ServiceKey::Transport { protocol, address: ip(address), port };
    let at = |address: &str, port| DestinationKey { address: ip(address), port };
    let tunnel = |encapsulation| Destination { encapsulation, ..Destination::plain(Forward::Tunnel, 5) };
    let gue = |checksum| tunnel(Encapsulation::Gue { port: 6080, checksum });
    let with = |service: Service, destinations: Vec<(DestinationKey, Destination)>| Service {
        destinations: destinations.into_iter().collect(),
        ..service
    };
    let persistent =
        |v6, netmask| Service { flags: 1, timeout_secs: 360, netmask, ..Service::plain("wrr", v6) };
    let limited = Destination {
        upper_threshold: 100,
        lower_threshold: 75,
        ..Destination::plain(Forward::DirectRoute, 0)
    };
    BTreeMap::from([
        (
            transport(6, "192.0.2.1", 80),
            with(
                Service::plain("wlc", false),
                vec![
                    (at("10.0.0.1", 80), limited),
                    (at("10.0.0.2", 8080), Destination::plain(Forward::Masquerade, 65_535)),
                    (at("10.0.0.3", 80), tunnel(Encapsulation::Ipip)),
                    (at("10.0.0.4", 80), gue(GueChecksum::None)),
                    (at("10.0.0.5", 80), gue(GueChecksum::Udp)),
                    (at("10.0.0.6", 80), gue(GueChecksum::Remote)),
                    (at("10.0.0.7", 80), tunnel(Encapsulation::Gre { checksum: false })),
                    (at("10.0.0.8", 80), tunnel(Encapsulation::Gre { checksum: true })),
                    // A real server that is reached by the other family, in a tunnel.
                    (at("2001:db8::9", 80), tunnel(Encapsulation::Ipip)),
                ],
            ),
        ),
        (transport(17, "192.0.2.1", 53), Service { flags: 4, ..Service::plain("sh", false) }),
        (transport(132, "192.0.2.1", 5060), persistent(false, 0xffff_ff00)),
        (
            transport(6, "2001:db8::1", 443),
            with(
                persistent(true, 64),
                vec![
                    (at("2001:db8::2", 443), Destination::plain(Forward::DirectRoute, 1)),
                    (at("10.0.0.9", 443), tunnel(Encapsulation::Ipip)),
                ],
            ),
        ),
        (
            ServiceKey::Mark { v6: false, mark: 7 },
            // Fallback and port, of the schedulers sh and mh.
            with(
                Service { flags: 8 | 16, ..Service::plain("mh", false) },
                vec![(at("10.0.0.1", 0), Destination::plain(Forward::DirectRoute, 1))],
            ),
        ),
        (ServiceKey::Mark { v6: true, mark: 7 }, Service::plain("rr", true)),
    ])
}

fn ipvs_is_complete(kernel: &mut Kernel) {
    let before = kernel.observe(&scope()).expect("observed");
    let mut desired = Desired::default();
    desired.state.services = services();
    desired.state.timeouts = Some(Timeouts { tcp: 1000, tcp_fin: 60, udp: 100 });
    let record = Ledger::default().before(&desired, &before, &Kind::ALL);
    converge(kernel, &desired, &record);
    assert_eq!(converge(kernel, &desired, &record), Vec::<String>::new());
    assert_eq!(kernel.observe(&scope()).expect("observed").services, desired.state.services);

    let table = run("ipvsadm -Sn");
    for line in [
        "-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0",
        "-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 65535",
        "-a -t 192.0.2.1:80 -r 10.0.0.3:80 -i -w 5 --tun-type ipip",
        "-a -t 192.0.2.1:80 -r 10.0.0.4:80 -i -w 5 --tun-type gue --tun-port 6080 --tun-nocsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.5:80 -i -w 5 --tun-type gue --tun-port 6080 --tun-csum",
        "-a -t 192.0.2.1:80 -r 10.0.0.6:80 -i -w 5 --tun-type gue --tun-port 6080 --tun-remcsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.7:80 -i -w 5 --tun-type gre --tun-nocsum",
        "-a -t 192.0.2.1:80 -r 10.0.0.8:80 -i -w 5 --tun-type gre --tun-csum",
        "-a -t 192.0.2.1:80 -r [2001:db8::9]:80 -i -w 5",
        "-A -u 192.0.2.1:53 -s sh -o",
        "--sctp-service 192.0.2.1:5060 -s wrr -p 360 -M 255.255.255.0",
        "-A -t [2001:db8::1]:443 -s wrr -p 360 -M 64",
        "-a -t [2001:db8::1]:443 -r 10.0.0.9:443 -i -w 5",
        "-A -f 7 -s mh -b mh-fallback,mh-port",
        "-A -f 7 -6 -s rr",
    ] {
        assert!(table.contains(line), "{line} is not in:\n{table}");
    }
    assert!(run("ipvsadm -Ln --timeout").contains("1000 60 100"));

    // Another method and another encapsulation are changes in place.
    let key = ServiceKey::Transport { protocol: 6, address: ip("192.0.2.1"), port: 80 };
    let service = desired.state.services.get_mut(&key).expect("there");
    let mut turned: Vec<Destination> = service.destinations.values().copied().collect();
    turned.rotate_left(1);
    // What is of the other family can only be tunnelled: the last stays as it is.
    let count = service.destinations.len() - 1;
    for (have, next) in service.destinations.values_mut().take(count).zip(turned) {
        *have = next;
    }
    let done = converge(kernel, &desired, &record);
    assert_eq!(done.len(), count, "{done:?}");

    let usage = kernel.ipvs_usage(Some(&BTreeSet::from([key]))).expect("usage");
    assert_eq!(usage.len(), 1, "only what was asked for");
    assert_eq!(usage[&key].destinations.len(), count + 1);
    assert!(usage[&key].destinations.values().all(|usage| usage.active + usage.inactive == 0));

    // Connections of mixed families cannot be synchronised: told, not left to guess.
    let refused = kernel.apply(&[Op::StartSync(SyncRole::Master, sync(1))]).remove(0).expect_err("mixed");
    assert!(refused.to_string().contains("of the other family"), "{refused}");

    clean_up(kernel, &record);
    assert_eq!(kernel.observe(&scope()).expect("observed"), before);
}

fn clean_up(kernel: &mut Kernel, record: &Ledger) {
    let ops = cleanup(&kernel.observe(&scope()).expect("observed"), record).ops;
    for (op, result) in ops.iter().zip(kernel.apply(&ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
}

fn sync(id: u32) -> SyncDaemon {
    SyncDaemon::plain("d0", id)
}

fn connections_are_synchronised(kernel: &mut Kernel) {
    let before = kernel.observe(&scope()).expect("observed");
    let mut desired = Desired::default();
    let group = SyncDaemon { group: ip("224.0.0.82"), port: 9000, ttl: 7, maxlen: Some(1000), ..sync(3) };
    desired.state.sync_daemons = BTreeMap::from([(SyncRole::Master, group), (SyncRole::Backup, sync(0))]);
    let record = Ledger::default().before(&desired, &before, &Kind::ALL);
    assert_eq!(converge(kernel, &desired, &record).len(), 2);
    let daemons = run("ipvsadm -Ln --daemon");
    let master = "master sync daemon (mcast=d0, syncid=3, maxlen=1000, group=224.0.0.82, port=9000, ttl=7)";
    assert!(daemons.contains(master), "{daemons}");
    assert!(daemons.contains("backup sync daemon (mcast=d0, syncid=0,"), "{daemons}");
    // One that is to be otherwise is stopped and started.
    desired.state.sync_daemons.insert(SyncRole::Master, sync(4));
    assert_eq!(converge(kernel, &desired, &record).len(), 2);
    let six = SyncDaemon { group: ip("ff02::82"), ..sync(4) };
    desired.state.sync_daemons.insert(SyncRole::Master, six);
    assert_eq!(converge(kernel, &desired, &record).len(), 2);
    clean_up(kernel, &record);
    assert_eq!(kernel.observe(&scope()).expect("observed"), before);
}

fn connections_are_counted(kernel: &mut Kernel) {
    run("ip address add 10.9.9.9/32 dev lo");
    let key = ServiceKey::Transport { protocol: 6, address: ip("10.9.9.9"), port: 80 };
    let destination = DestinationKey { address: ip("127.0.0.1"), port: 8000 };
    let listener = std::net::TcpListener::bind("127.0.0.1:8000").expect("a listener");
    let mut service = Service::plain("rr", false);
    service.destinations.insert(destination, Destination::plain(Forward::Masquerade, 1));
    let mut desired = Desired::default();
    desired.state.services.insert(key, service);
    let done = converge(kernel, &desired, &Ledger::default());
    assert_eq!(done.len(), 2, "a destination on this host stays what it was asked for: {done:?}");
    let _client = std::net::TcpStream::connect("10.9.9.9:80").expect("served");
    let _served = listener.accept().expect("a connection");
    // The kernel sums up its counters every two seconds.
    let deadline = clock::now() + Duration::from_secs(30);
    let mut usage = kernel.ipvs_usage(None).expect("usage");
    while usage[&key].counters.connections == 0 && clock::now() < deadline {
        std::thread::sleep(Duration::from_millis(200));
        usage = kernel.ipvs_usage(None).expect("usage");
    }
    let one = usage[&key].destinations[&destination];
    assert_eq!((one.active, one.counters.connections), (1, 1), "{one:?}");
    assert!(one.counters.packets_in > 0 && one.counters.bytes_in > 0, "{one:?}");
    assert_eq!(usage[&key].counters.connections, 1);
    let removal = [Op::DelService(key)];
    assert_eq!(kernel.apply(&removal), [Ok(())]);
}

fn refusals_say_why(kernel: &mut Kernel) {
    let key = ServiceKey::Mark { v6: false, mark: 1 };
    let at = DestinationKey { address: ip("10.0.0.1"), port: 80 };
    let destination = Destination::plain(Forward::DirectRoute, 1);
    let results = kernel.apply(&[
        Op::AddService(key, Service::plain("none-such", false)),
        Op::AddService(key, Service::plain("rr", false)),
        Op::AddDestination(key, at, destination),
        Op::AddDestination(key, at, destination),
        Op::AddDestination(ServiceKey::Mark { v6: false, mark: 2 }, at, destination),
        Op::StartSync(SyncRole::Master, SyncDaemon::plain("nowhere", 1)),
        Op::StopSync(SyncRole::Master),
        Op::DelService(key),
    ]);
    let told: Vec<Option<(Class, String)>> = results
        .into_iter()
        .map(|result| result.err().map(|error| (error.class, error.to_string())))
        .collect();
    let refused = |class, words: &str| Some((class, words.to_owned()));
    let wanted = [
        refused(
            Class::Unsupported,
            "add virtual server fwmark 1 none-such: No such file or directory: the kernel has no such \
            scheduler: \
             `modprobe ip_vs_none-such`, and a line `ip_vs_none-such` in /etc/modules-load.d/evenkeel.conf \
             for the \
             next boot; or choose another one in the plan",
        ),
        None,
        None,
        refused(
            Class::Conflict,
            "add destination 10.0.0.1:80 Route weight 1 to fwmark 1: File exists: it is there already: \
            something \
             else writes to the IPVS table as well",
        ),
        refused(
            Class::Transient,
            "add destination 10.0.0.1:80 Route weight 1 to fwmark 2: No such process: its virtual server is \
            not \
             there",
        ),
        refused(
            Class::Transient,
            "start connection synchronisation as master on nowhere with id 1: No such device: there is no \
            interface \
             nowhere, or it has no address of the group's family",
        ),
        None,
        None,
    ];
    assert_eq!(told, wanted);
}

fn tunnels_are_made_and_removed(kernel: &mut Kernel) {
    let (v4, v6) = (Some(ip("10.8.0.1")), Some(ip("2001:db8:8::1")));
    let mut desired = Desired::default();
    for mode in TunnelMode::ALL {
        let local = if mode.is_outer_v6() { v6 } else { v4 };
        let kind = LinkKind::Tunnel(Tunnel { mode, local, remote: None, checksum: false });
        desired.state.links.insert(format!("t-{}", mode.name()), Link::ours(kind));
    }
    assert_eq!(converge(kernel, &desired, &Ledger::default()).len(), 5);
    let text = run("ip -d link show");
    for part in
        ["ipip any remote any", "sit ip6ip remote any local 10.8.0.1", "gre remote any local 10.8.0.1"]
    {
        let words = part.trim_start_matches("ipip any ");
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("ip6tnl any remote any local 2001:db8:8::1"), "{text}");
    assert!(text.contains("ip6gre remote any local 2001:db8:8::1"), "{text}");
    // Of other ends, and gone.
    for link in desired.state.links.values_mut() {
        if let LinkKind::Tunnel(tunnel) = &mut link.kind {
            tunnel.remote =
                Some(if tunnel.mode.is_outer_v6() { ip("2001:db8:8::2") } else { ip("10.8.0.2") });
        }
    }
    assert_eq!(converge(kernel, &desired, &Ledger::default()).len(), 10);
    // With a checksum, which cannot be changed in place either.
    for name in ["t-gre", "t-ip6gre"] {
        if let Some(Link { kind: LinkKind::Tunnel(tunnel), .. }) = desired.state.links.get_mut(name) {
            tunnel.checksum = true;
        }
    }
    assert_eq!(converge(kernel, &desired, &Ledger::default()).len(), 4);
    assert_eq!(run("ip -d link show").matches("icsum ocsum").count(), 2);
    desired.state.links.clear();
    assert_eq!(converge(kernel, &desired, &Ledger::default()).len(), 5);
    assert!(!run("ip link show").contains("t-"));
}

/// A director's packets in GUE arrive on a real server, which is the same host here: a second network
/// namespace, connected by a cable.
fn gue_is_unwrapped(kernel: &mut Kernel) {
    let port = |v6| GuePort { v6, port: 6080 };
    let scope = Scope {
        kinds: BTreeSet::from([Kind::Links]),
        links: BTreeSet::from(["gue4".to_owned()]),
        gue: true,
        ..Scope::default()
    };
    assert_eq!(kernel.observe(&scope).expect("observed").gue, BTreeMap::new(), "without its module");
    // Nothing loads it but being asked for by name.
    assert_eq!(kernel.apply(&[Op::AddGue(port(false)), Op::DelGue(port(false))]), [Ok(()), Ok(())]);
    run("ip fou add port 7070 ipproto 4");
    run("ip fou add port 7071 gue");
    let mut desired = Desired::default();
    let end = Tunnel { mode: TunnelMode::Ipip, local: Some(ip("10.8.0.1")), remote: None, checksum: false };
    desired.state.links.insert("gue4".to_owned(), Link::ours(LinkKind::Tunnel(end)));
    desired.state.gue = [false, true].map(|v6| (port(v6), Unwrap::Gue)).into();
    let before = kernel.observe(&scope).expect("observed");
    let foreign = |port| GuePort { v6: false, port };
    let others =
        BTreeMap::from([(foreign(7070), Unwrap::Other { protocol: 4 }), (foreign(7071), Unwrap::Gue)]);
    assert_eq!(before.gue, others);
    let record = Ledger::default().before(&desired, &before, &Kind::ALL);
    let found = diff(&desired, &before, &record, Domain::Host);
    let told: Vec<&str> = found.foreign.iter().map(|object| object.object.as_str()).collect();
    assert_eq!(told, ["UDP port 7070 of IPv4", "UDP port 7071 of IPv4"]);
    for (op, result) in found.ops.iter().zip(kernel.apply(&found.ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
    let reached = kernel.observe(&scope).expect("observed");
    assert_eq!(diff(&desired, &reached, &record, Domain::Host).ops, []);
    let shown = run("ip fou show");
    assert!(shown.contains("port 6080 gue") && shown.contains("port 7070 ipproto 4"), "{shown}");

    // What is there already is no failure; a port that something else has is a conflict.
    assert_eq!(kernel.apply(&[Op::AddGue(port(false))]), [Ok(())]);
    let refused = kernel.apply(&[Op::AddGue(foreign(7070))]).remove(0).expect_err("in use");
    assert_eq!(refused.class, Class::Conflict, "{refused}");

    // The director: IPVS in a namespace of its own.
    run("ip netns add director");
    run("ip link add v0 type veth peer name v1 netns director");
    run("ip address add 10.9.0.1/24 dev v0");
    run("ip link set v0 up");
    let there = |line: &str| run(&format!("ip netns exec director {line}"));
    there("ip link set lo up");
    there("ip address add 10.9.0.2/24 dev v1");
    there("ip link set v1 up");
    there("ip route add 10.8.0.0/24 via 10.9.0.1");
    there("ip route add 10.7.0.0/24 via 10.9.0.1");
    there("ipvsadm -A -u 10.7.0.1:9000 -s rr");
    there("ipvsadm -a -u 10.7.0.1:9000 -r 10.8.0.1:9000 -i --tun-type gue --tun-port 6080 --tun-nocsum");
    run("ip address add 10.7.0.1/32 dev lo");
    for name in ["all", "gue4"] {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "0").expect("a setting");
    }
    let server = std::net::UdpSocket::bind("10.7.0.1:9000").expect("a real server");
    server.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
    let status = Command::new("ip")
        .args(["netns", "exec", "director", "bash", "-c", "echo hello > /dev/udp/10.7.0.1/9000"])
        .status()
        .expect("bash");
    assert!(status.success());
    let mut bytes = [0; 16];
    let (length, from) = server.recv_from(&mut bytes).expect("what the director has wrapped");
    assert_eq!(&bytes[..length], b"hello\n", "from {from}");
    let received = std::fs::read_to_string("/sys/class/net/gue4/statistics/rx_packets").expect("a counter");
    assert_eq!(received.trim(), "1", "through the tunnel's end");

    // Cleaning up leaves those of others.
    let ops = cleanup(&kernel.observe(&scope).expect("observed"), &record).ops;
    let told: Vec<String> = ops.iter().map(ToString::to_string).collect();
    let wanted = [
        "stop unwrapping GUE at UDP port 6080 of IPv4",
        "stop unwrapping GUE at UDP port 6080 of IPv6",
        "remove interface gue4",
    ];
    assert_eq!(told, wanted);
    for (op, result) in ops.iter().zip(kernel.apply(&ops)) {
        assert_eq!(result, Ok(()), "{op}");
    }
    assert_eq!(kernel.observe(&scope).expect("observed"), before);
    assert_eq!(kernel.apply(&[Op::DelGue(port(false))]), [Ok(())], "what is not there need not go");
}

#[test]
fn lab_ipvs_and_tunnels() {
    lab::guest(|_| {
        for interface in ["all", "default", "lo"] {
            let setting = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
            std::fs::write(&setting, "0").expect(&setting);
        }
        run("ip link set lo up");
        run("ip link add d0 type dummy");
        run("ip address add 10.8.0.1/24 dev d0");
        run("ip -6 address add 2001:db8:8::1/64 dev d0 nodad");
        run("ip link set d0 up multicast on");
        let mut kernel = Kernel::new().expect("a kernel");
        let nothing = KernelState { timeouts: None, ..kernel.observe(&scope()).expect("observed") };
        assert_eq!(nothing, KernelState::default());
        ipvs_is_complete(&mut kernel);
        connections_are_synchronised(&mut kernel);
        refusals_say_why(&mut kernel);
        connections_are_counted(&mut kernel);
        tunnels_are_made_and_removed(&mut kernel);
        gue_is_unwrapped(&mut kernel);
    });
}
