//! The lab proves itself: that guests boot, fail when they should, and measure what they claim to.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use lab::{Action, Cluster, Failure, Host, Lab, LogEvent, Options, Subject, attempt, eventually, mark};

const VIP: &str = "192.168.188.120";
const SECOND: Duration = Duration::from_secs(1);
/// For what must happen, on however busy a machine.
const SOON: Duration = Duration::from_secs(10);

/// Work of `lvs_rs.sh`: the VIP on `lo`, and silence about it.
fn become_real_server(host: &Host) {
    for scope in ["all", "lo"] {
        host.set_sysctl(&format!("net.ipv4.conf.{scope}.arp_ignore"), 1);
        host.set_sysctl(&format!("net.ipv4.conf.{scope}.arp_announce"), 2);
    }
    host.add_address("lo", "192.168.188.120/32");
}

/// The reference pair's configuration; only state and priority differ.
fn keepalived_conf(state: &str, priority: u8) -> String {
    let real_server = |ip: &str| {
        format!(
            "  real_server {ip} 80 {{
    weight 100
    TCP_CHECK {{
      connect_timeout 10
      retry 3
      delay_before_retry 3
      connect_port 80
    }}
  }}"
        )
    };
    format!(
        "global_defs {{
  router_id LVS_DEVEL
}}
vrrp_instance VI_1 {{
  state {state}
  interface eth0
  virtual_router_id 51
  priority {priority}
  advert_int 1
  authentication {{
    auth_type PASS
    auth_pass hell>com
  }}
  virtual_ipaddress {{
    {VIP}
  }}
}}
virtual_server {VIP} 80 {{
  delay_loop 5
  lb_algo wlc
  lb_kind DR
  protocol TCP
{}
{}
}}
",
        real_server("192.168.188.107"),
        real_server("192.168.188.110")
    )
}

#[test]
fn lab_boots() {
    lab::guest(|lab| {
        let Cluster { client, dir1, dir2, rs1, rs2, .. } = lab.reference_cluster();
        lab.log("five hosts are up");
        for host in [&dir1, &dir2, &rs1, &rs2] {
            assert!(client.ping(host.ip(), SOON), "client reaches {}", host.name());
        }
        assert!(!client.ping("192.168.188.200", Duration::from_millis(200)));
        assert_eq!(dir1.run(["hostname"]).trim(), "dir1");
        let links = dir1.json(["ip", "-j", "addr"]);
        assert_eq!(links[1]["ifname"], "eth0");
        assert_eq!(links[1]["address"], "02:00:c0:a8:bc:6c");
        assert!(lab.run(["ip", "-n", "rs2", "-br", "addr"]).contains("192.168.188.110/24"));
        assert!(dir1.has_address("eth0", "192.168.188.108"));
        assert_eq!(dir1.ip().to_string(), "192.168.188.108");
        assert!(dir1.read("/sys/class/net/eth0/address").starts_with("02:00"));
        lab.assert_within("a cluster", lab.elapsed(), 6 * SECOND, mark() - lab.elapsed());
    });
}

#[test]
fn lab_sysctls_and_addresses_are_each_hosts_own() {
    lab::guest(|lab| {
        let one = lab.host("one", "10.0.0.1/24");
        let two = lab.host("two", "10.0.0.2/24");
        one.set_sysctl("net.ipv4.ip_forward", 1);
        assert_eq!(
            (one.sysctl("net.ipv4.ip_forward"), two.sysctl("net.ipv4.ip_forward")),
            ("1".into(), "0".into())
        );

        let monitor = one.monitor();
        one.add_address("eth0", "2001:db8::1/64");
        two.add_address("eth0", "2001:db8::2/64");
        let event = monitor.wait(SOON, |event| event.what.text.starts_with("2001:db8::1/64 dev eth0"));
        assert_eq!((event.what.subject, event.what.action), (Subject::Address, Action::Added));
        let web = two.web(80);
        eventually(SOON, "IPv6 works", || one.ask("2001:db8::2", 80) == Ok("two".to_owned()));
        drop(web);
        assert!(one.ask("10.0.0.2", 80).unwrap_err().contains("refused"));
        one.delete_address("eth0", "2001:db8::1/64");
        monitor.wait(SOON, |event| {
            event.what.action == Action::Removed && event.what.subject == Subject::Address
        });

        one.attach("eth1", "back", "10.1.0.1/24");
        let three = lab.bare_host("three");
        three.attach("eth0", "back", "10.1.0.3/24");
        assert!(one.ping("10.1.0.3", SOON));
        assert!(!two.ping("10.1.0.3", SOON));
        assert!(lab.write("dir/file", "text").starts_with("/run/lab"));
    });
}

#[test]
fn lab_panic_in_the_guest_fails_the_host() {
    let failure = attempt(Options::default(), |lab| {
        lab.artefact("note.log", "kept for people\n");
        assert_eq!(lab.elapsed(), Duration::ZERO, "deliberately wrong");
    });
    let Err(Failure::Panicked(message)) = failure else { panic!("{failure:?}") };
    assert!(message.contains("deliberately wrong") && message.contains("tests/lab.rs"), "{message}");
}

#[test]
fn lab_panic_on_a_host_is_reported_with_the_tests_line() {
    let failure = attempt(Options::default(), |lab| {
        lab.bare_host("one").run(["ip", "link", "show", "eth7"]);
    });
    let Err(Failure::Panicked(message)) = failure else { panic!("{failure:?}") };
    assert!(message.contains("\"eth7\" does not exist") && message.contains("tests/lab.rs"), "{message}");
}

#[test]
fn lab_crash_in_the_guest_fails_the_host() {
    let failure = attempt(Options::default(), |_| std::process::abort());
    let Err(Failure::Died(message)) = failure else { panic!("{failure:?}") };
    assert!(message.contains("SIGABRT"), "{message}");
}

#[test]
fn lab_kernel_panic_fails_the_host() {
    let failure = attempt(Options::default(), |_| std::fs::write("/proc/sysrq-trigger", "c").unwrap());
    assert!(matches!(failure, Err(Failure::Died(_))), "{failure:?}");
}

#[test]
fn lab_time_limit_fails_the_host() {
    let options = Options { time_limit: SECOND, ..Options::default() };
    let failure = attempt(options, |_| std::thread::sleep(60 * SECOND));
    assert_eq!(failure, Err(Failure::TimedOut(SECOND)));
}

#[test]
fn lab_daemons_are_watched_and_killed() {
    lab::guest(|lab| {
        let host = lab.host("one", "10.0.0.1/24");
        let script = "trap 'echo bye; exit 3' TERM; echo $GREETING; while :; do sleep 0.05; done";
        let daemon = host.spawn("shell", ["sh", "-c", script], &[("GREETING", "hello")]);
        eventually(SOON, "hello", || daemon.log() == "hello\n");
        assert!(daemon.is_running());
        assert_eq!(daemon.stop(SOON).code(), Some(3));
        eventually(SOON, "bye", || daemon.log() == "hello\nbye\n");
        assert!(!daemon.is_running());

        let daemon = host.spawn("sleep", ["sleep", "1000"], &[]);
        daemon.kill9();
        let dropped = host.spawn("sleep", ["sleep", "1000"], &[]);
        let process = format!("/proc/{}", dropped.pid());
        drop(dropped);
        eventually(SOON, "the dropped daemon is reaped", || !std::path::Path::new(&process).exists());

        // An orphan is reaped by the first process.
        let orphan = host.run(["sh", "-c", "sleep 0.1 >/dev/null & echo $!"]);
        eventually(SOON, "the orphan is reaped", || {
            !std::path::Path::new(&format!("/proc/{}", orphan.trim())).exists()
        });
    });
}

#[test]
fn lab_cables_can_be_cut() {
    lab::guest(|lab| {
        let one = lab.host("one", "10.0.0.1/24");
        let two = lab.host("two", "10.0.0.2/24");
        let _web = two.web(80);
        let prober = one.probe("10.0.0.2", 80);
        prober.wait_ok(SOON);
        assert!(two.carrier("eth0"));

        let events = two.monitor();
        two.cut();
        events.wait(SOON, |event| event.what.text == "eth0 UP NO-CARRIER");
        prober.wait_failure(SOON);
        assert!(two.read("/sys/class/net/eth0/operstate").contains("down"));
        two.reconnect();
        events.wait(SOON, |event| event.what.text == "eth0 UP CARRIER");
        prober.wait_ok(SOON);

        let mark = mark();
        two.blackhole();
        prober.wait_failure(SOON);
        assert!(two.carrier("eth0"));
        std::thread::sleep(Duration::from_millis(300));
        two.reconnect();
        prober.wait_ok(SOON);
        let gap = prober.gap_since(mark);
        assert!(gap > Duration::from_millis(300), "{gap:?}");
        lab.assert_within("client gap", gap, 2 * SECOND, mark);
    });
}

#[test]
fn lab_web_server_resets_and_comes_back() {
    lab::guest(|lab| {
        let one = lab.host("one", "10.0.0.1/24");
        let two = lab.host("two", "10.0.0.2/24");
        let mut web = two.web(80);
        let download = one.download("10.0.0.2", 80);
        assert_eq!(download.responder(SOON), "two");
        download.wait_progress(SOON);
        assert!(download.alive() && download.bytes() > 0);
        two.blackhole();
        eventually(SOON, "the download stalls", || download.stall() > Duration::from_millis(200));
        two.reconnect();
        download.wait_progress(SOON);
        assert!(download.max_stall() > Duration::from_millis(200));

        web.stop();
        eventually(SOON, "the connection is reset", || !download.alive());
        assert!(download.end().unwrap().contains("reset"), "{:?}", download.end());
        assert!(one.ask("10.0.0.2", 80).unwrap_err().contains("refused"));
        web.start();
        assert_eq!(one.ask("10.0.0.2", 80).as_deref(), Ok("two"));
    });
}

/// A cluster served by `ipvsadm` alone: dir1 has the VIP and the table.
fn direct_routing_by_hand(lab: &Lab) -> (Cluster, [lab::WebServer; 2]) {
    let cluster = lab.reference_cluster();
    become_real_server(&cluster.rs1);
    become_real_server(&cluster.rs2);
    let webs = [cluster.rs1.web(80), cluster.rs2.web(80)];
    cluster.dir1.add_address("eth0", "192.168.188.120/32");
    let rules = lab.write(
        "rules",
        "-A -t 192.168.188.120:80 -s rr\n-a -t 192.168.188.120:80 -r 192.168.188.107:80 -g -w 1\n\
         -a -t 192.168.188.120:80 -r 192.168.188.110:80 -g -w 1\n",
    );
    cluster.dir1.run(["sh", "-c", &format!("ipvsadm -R < {}", rules.display())]);
    (cluster, webs)
}

#[test]
fn lab_ipvs_routes_directly() {
    lab::guest(|lab| {
        let (cluster, _webs) = direct_routing_by_hand(lab);
        lab.log("served by IPVS");
        let prober = cluster.client.probe(VIP, 80);
        prober.wait_responder(&cluster.rs1, SOON);
        prober.wait_responder(&cluster.rs2, SOON);

        let mark = mark();
        std::thread::sleep(SECOND);
        let responders = prober.responders_since(mark);
        let (first, second) = (responders["rs1"], responders["rs2"]);
        lab.log(format!("in a second: {responders:?}, longest gap {:?}", prober.gap_since(mark)));
        assert!(first.abs_diff(second) <= 1 && first > 20, "{responders:?}");
        assert_eq!(prober.errors_since(mark).len(), 0);

        let services = cluster.dir1.ipvs();
        assert_eq!(services.len(), 1);
        assert_eq!(services[0].address, Some("192.168.188.120:80".parse().unwrap()));
        assert_eq!((services[0].scheduler.as_str(), services[0].destinations.len()), ("rr", 2));
        assert_eq!(services[0].destinations[0].forward, "Route");
        assert!(
            services[0].destinations.iter().all(|destination| destination.active + destination.inactive > 0)
        );
        assert_eq!(cluster.dir1.ipvsadm()[0], "-A -t 192.168.188.120:80 -s rr");
        assert_eq!(cluster.dir2.ipvs(), []);
    });
}

#[test]
fn lab_netlink_requests_are_counted() {
    lab::guest(|lab| {
        let (cluster, _webs) = direct_routing_by_hand(lab);
        let capture = cluster.dir1.netlink_capture();
        let elsewhere = cluster.dir2.netlink_capture();
        let mark = mark();
        let edit = ["ipvsadm", "-e", "-t", "192.168.188.120:80", "-r", "192.168.188.107:80", "-g", "-w", "7"];
        cluster.dir1.run(edit);
        capture.wait(mark, "IPVS SET_DEST", SOON);
        cluster.dir1.run(["ipvsadm", "-Ln"]);
        cluster.dir1.ipvs();
        cluster.dir1.add_address("eth0", "192.168.188.121/32");
        capture.wait(mark, "RTM_NEWADDR", SOON);
        assert_eq!(capture.changes_since(mark), ["IPVS SET_DEST", "RTM_NEWADDR"]);
        assert!(capture.since(mark).iter().any(|record| record.what.name == "IPVS GET_DEST"));
        assert_eq!(elsewhere.changes_since(mark), [""; 0]);
    });
}

/// Sends a VRRP message from a host, as it stands.
fn send_vrrp(host: &Host, destination: &str, message: &[u8]) {
    let destination: SocketAddr = destination.parse().expect("an address");
    host.enter(|| {
        let socket = Socket::new(Domain::for_address(destination), Type::RAW, Some(Protocol::from(112)))
            .expect("a raw socket");
        socket.send_to(message, &destination.into()).expect("sent");
    });
}

#[test]
fn lab_captures_vrrp_of_every_kind() {
    lab::guest(|lab| {
        let one = lab.host("one", "10.0.0.1/24");
        let two = lab.host("two", "10.0.0.2/24");
        assert!(one.ping(two.ip(), SOON));
        let capture = lab.capture_vrrp();
        let version3 = [0x31, 7, 200, 1, 0, 25, 0, 0, 10, 0, 0, 9];
        send_vrrp(&one, "10.0.0.2:0", &version3);
        let unicast = capture.wait(SOON, |advert| advert.what.vrid == 7).what;
        assert_eq!((unicast.version, unicast.priority, unicast.ttl), (3, 200, 64));
        assert_eq!((unicast.source, unicast.destination), (one.ip(), two.ip()));
        assert_eq!(unicast.interval, Duration::from_millis(250));
        assert_eq!(unicast.vips[0].to_string(), "10.0.0.9");

        let mark = mark();
        one.run(["ip", "route", "add", "224.0.0.0/4", "dev", "eth0"]);
        send_vrrp(&one, "224.0.0.18:0", &[0x31, 8, 200, 0, 0, 100, 0, 0]);
        capture.wait(SOON, |advert| advert.what.vrid == 8);
        let mut version6 = [0x31, 9, 200, 1, 0, 100, 0, 0].to_vec();
        version6.extend("fe80::9".parse::<Ipv6Addr>().unwrap().octets());
        send_vrrp(&one, "[ff02::12]:0", &version6);
        let v6 = capture.wait(SOON, |advert| advert.what.vrid == 9).what;
        assert!(v6.source.is_ipv6() && v6.vips[0].to_string() == "fe80::9", "{v6}");

        assert_eq!(capture.since(mark).len(), 2, "each packet once");
        one.blackhole();
        send_vrrp(&one, "224.0.0.18:0", &[0x31, 8, 200, 0, 0, 100, 0, 0]);
        one.reconnect();
        send_vrrp(&one, "224.0.0.18:0", &[0x31, 10, 200, 0, 0, 100, 0, 0]);
        capture.wait(SOON, |advert| advert.what.vrid == 10);
        assert_eq!(capture.since(mark).len(), 3, "not what the bridge did not carry");
    });
}

#[test]
fn lab_watches_a_vip_move() {
    lab::guest(|lab| {
        let one = lab.host("one", "10.0.0.1/24");
        let two = lab.host("two", "10.0.0.2/24");
        one.add_address("eth0", "10.0.0.9/32");
        let watch = lab.watch_vip("10.0.0.9", &[&one, &two], "eth0");
        assert_eq!(watch.holders(), ["one"]);
        let mark = mark();
        let pause = Duration::from_millis(200);
        two.add_address("eth0", "10.0.0.9/32");
        std::thread::sleep(pause);
        one.delete_address("eth0", "10.0.0.9/32");
        watch.wait_holder(&two, SOON);
        two.delete_address("eth0", "10.0.0.9/32");
        std::thread::sleep(pause);
        two.add_address("eth0", "10.0.0.9/32");
        watch.wait_holder(&two, SOON);
        let (both, none, held) = (watch.both_since(mark), watch.none_since(mark), watch.held_since(mark));
        lab.log(format!("both {both:?}, none {none:?}, held {held:?}"));
        for measured in [both, none] {
            // When a change is seen may differ from when it was.
            assert!(measured >= pause / 2, "{measured:?}");
            lab.assert_within("measured", measured, pause * 2, mark);
        }
        assert!(held["one"] >= pause / 2 && held["two"] >= pause / 2);
    });
}

#[test]
fn lab_measures_a_keepalived_failover() {
    lab::guest(|lab| {
        let cluster = lab.reference_cluster();
        let Cluster { client, dir1, dir2, rs1, rs2, .. } = &cluster;
        for host in [rs1, rs2] {
            become_real_server(host);
        }
        let _webs = [rs1.web(80), rs2.web(80)];
        let adverts = lab.capture_vrrp();
        let watch = lab.watch_vip(VIP, &[dir1, dir2], "eth0");
        let master = dir1.keepalived(&keepalived_conf("MASTER", 100));
        let backup = dir2.keepalived(&keepalived_conf("BACKUP", 90));
        master.wait_told(LogEvent::Master.of("VI_1"), SOON);
        backup.wait_told(LogEvent::Backup.of("VI_1"), SOON);
        watch.wait_holder(dir1, SOON);
        let prober = client.probe(VIP, 80);
        prober.wait_responder(rs1, SOON);
        prober.wait_responder(rs2, SOON);
        eventually(SOON, "both directors have the table", || {
            [dir1, dir2]
                .iter()
                .all(|director| director.ipvs().iter().any(|service| service.destinations.len() == 2))
        });
        lab.log("keepalived pair serves");

        let advert =
            adverts.wait(SOON, |advert| advert.what.source == dir1.ip() && advert.what.priority == 100);
        assert_eq!((advert.what.version, advert.what.vrid, advert.what.ttl), (2, 51, 255));
        assert_eq!((advert.what.interval, advert.what.vips[0]), (SECOND, cluster.vip));
        assert_eq!(&advert.what.bytes[12..20], b"hell>com");

        // A little after an advertisement, as an operator's `systemctl stop` would be.
        let since = mark();
        std::thread::sleep(3 * SECOND + SECOND / 2);
        let steady = adverts.max_interval(dir1.ip(), since);
        lab.log(format!(
            "steady: longest gap {:?}, longest advert interval {steady:?}",
            prober.gap_since(since)
        ));
        assert!(steady > SECOND / 2, "{steady:?}");
        lab.assert_within("longest advert interval", steady, Duration::from_millis(1400), since);

        let stop = mark();
        let state = master.stop(SOON);
        adverts.wait(SOON, |advert| {
            advert.at >= stop && advert.what.priority == 0 && advert.what.source == dir1.ip()
        });
        watch.wait_holder(dir2, SOON);
        prober.wait_ok(SOON);
        let (gap, none) = (prober.gap_since(stop), watch.none_since(stop));
        let both = watch.both_since(stop);
        lab.log(format!(
            "master stopped ({state}): client gap {gap:?}, VIP nowhere {none:?}, on both {both:?}"
        ));
        assert!(gap > Duration::from_millis(300), "{gap:?}");
        lab.assert_within("client gap", gap, SECOND + SECOND / 2, stop);

        let master = dir1.keepalived(&keepalived_conf("MASTER", 100));
        watch.wait_holder(dir1, SOON);
        eventually(SOON, "dir1 has the table again", || {
            dir1.ipvs().iter().any(|service| service.destinations.len() == 2)
        });
        adverts.wait(SOON, |advert| advert.at > stop + gap && advert.what.priority == 100);
        prober.wait_ok(SOON);
        let cut = mark();
        dir1.cut();
        prober.wait_failure(SOON);
        prober.wait_ok(SOON);
        let gap = prober.gap_since(cut);
        lab.log(format!("master's link cut: client gap {gap:?}, VIP on both {:?}", watch.both_since(cut)));
        assert!(gap > 2 * SECOND, "{gap:?}");
        lab.assert_within("client gap", gap, 4 * SECOND + SECOND / 2, cut);
        assert!(master.is_running());
        let advert = adverts.wait(SOON, |advert| advert.at > cut && advert.what.source == dir2.ip());
        assert_eq!(advert.what.priority, 90);
    });
}

#[test]
fn lab_clock_is_fine_enough() {
    lab::guest(|lab| {
        for milliseconds in [1, 3, 10, 100] {
            let wanted = Duration::from_millis(milliseconds);
            let mut late: Vec<Duration> = (0..30)
                .map(|_| {
                    let start = Instant::now();
                    std::thread::sleep(wanted);
                    start.elapsed() - wanted
                })
                .collect();
            late.sort();
            lab.log(format!("sleep {wanted:?}: late by {:?} median, {:?} worst", late[15], late[29]));
            // The best ones: a busy machine delays the others.
            assert!(late[5] < Duration::from_millis(5), "{late:?}");
        }
    });
}
