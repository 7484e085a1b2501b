//! Checks through the service's own path, by every way to forward, from Master and Backup: what they see that
//! an ordinary check does not, what they say of it, and whose the IPVS services by mark are.
//!
//! Real servers are set up by hand, without a daemon: it would mend what is broken here.

use std::net::TcpListener;

use lab::{Daemon, Host, Lab, LogEvent, Plans, WebServer, eventually, guest, mark};
use serde_json::Value;

use crate::support::PATIENCE;

const VIP: &str = "192.168.188.120";
const VIP6: &str = "2001:db8:188::120";

const CLUSTER: &str = r#"
version = 1
name = "ways"
[segments.front]
subnets = ["192.168.188.0/24", "2001:db8:188::/64"]
[segments.back]
subnets = ["10.30.0.0/24"]
[hosts]
masq = { address = "10.30.0.21", interface = "eth0", gateway = "10.30.0.1" }
rs1 = { address = "192.168.188.107", addresses = ["2001:db8:188::107"], interface = "eth0" }
rs2 = { address = "192.168.188.110", addresses = ["2001:db8:188::110"], interface = "eth0" }
tun = { address = "192.168.188.113", interface = "eth0" }
[hosts.dir1]
address = "192.168.188.108"
addresses = ["2001:db8:188::108"]
interface = "eth0"
interfaces.eth1.addresses = ["10.30.0.11"]
[hosts.dir2]
address = "192.168.188.109"
addresses = ["2001:db8:188::109"]
interface = "eth0"
interfaces.eth1.addresses = ["10.30.0.12"]
[virtual_routers.edge]
vrid = 51
vips = ["fe80::33", "192.168.188.120", "2001:db8:188::120"]
unadvertised_vips = ["10.30.0.1"]
directors = ["dir1", "dir2"]
[policy]
exclusive_ipvs = true
[defaults.service]
router = "edge"
vips = ["192.168.188.120"]
protocol = "tcp"
check = { type = "tcp" }
[defaults.check]
interval = "1s"
timeout = "1s"
retries = 1
[services.web]
vips = ["192.168.188.120", "2001:db8:188::120"]
port = 80
check = { type = "tcp", via = "service" }
real_servers = [{ host = "rs1" }, { host = "rs2" }]
[services.plain]
port = 81
real_servers = [{ host = "rs1" }]
[services.masq]
port = 82
forwarding = "nat"
check = { type = "http", via = "service" }
real_servers = [{ host = "masq", port = 8080 }]
[services.tun]
port = 83
forwarding = "tun"
check = { type = "tcp", via = "service" }
real_servers = [{ host = "tun" }]
[services.tunplain]
port = 84
forwarding = "tun"
real_servers = [{ host = "tun" }]
[services.own]
port = 85
check = { type = "tcp", via = "service" }
real_servers = [{ host = "rs2" }]
[services.ownplain]
port = 86
check = { type = "tcp", port = 85 }
real_servers = [{ host = "rs2" }]
"#;

struct Ways<'l> {
    plans: Plans<'l>,
    directors: [Host; 2],
    rs1: Host,
    tun: Host,
    _webs: Vec<WebServer>,
    _own: TcpListener,
}

fn accept_vip(host: &Host) {
    host.set_sysctl("net.ipv4.conf.all.arp_ignore", 1);
    host.set_sysctl("net.ipv4.conf.all.arp_announce", 2);
    host.add_address("lo", &format!("{VIP}/32"));
}

impl<'l> Ways<'l> {
    fn new(lab: &'l Lab) -> Self {
        let with_v6 = |name: &str, last: u8| {
            let host = lab.host(name, &format!("192.168.188.{last}/24"));
            host.run(["ip", "addr", "add", &format!("2001:db8:188::{last}/64"), "dev", "eth0", "nodad"]);
            host
        };
        let director = |name, last, back| {
            let host = with_v6(name, last);
            host.attach("eth1", "back", back);
            host
        };
        let directors = [director("dir1", 108, "10.30.0.11/24"), director("dir2", 109, "10.30.0.12/24")];
        let (rs1, rs2) = (with_v6("rs1", 107), with_v6("rs2", 110));
        for host in [&rs1, &rs2] {
            accept_vip(host);
            host.run(["ip", "-6", "addr", "add", &format!("{VIP6}/128"), "dev", "lo"]);
        }
        let tun = lab.host("tun", "192.168.188.113/24");
        accept_vip(&tun);
        tun.run(["ip", "link", "add", "tunl", "type", "ipip", "local", "192.168.188.113"]);
        tun.run(["ip", "addr", "add", "192.168.188.113/32", "dev", "tunl"]);
        tun.run(["ip", "link", "set", "tunl", "up"]);
        tun.set_sysctl("net.ipv4.conf.tunl.rp_filter", 2);
        let masq = lab.bare_host("masq");
        masq.attach("eth0", "back", "10.30.0.21/24");
        masq.run(["ip", "route", "add", "default", "via", "10.30.0.1"]);
        // A server that listens on its own address only. The kernel takes the connections.
        let own = rs2.enter(|| TcpListener::bind("192.168.188.110:85").expect("listens"));
        let webs = vec![rs1.web(80), rs1.web(81), rs2.web(80), masq.web(8080), tun.web(83), tun.web(84)];
        let plans = lab.plans("plans");
        plans.compile_text(CLUSTER);
        Self { plans, directors, rs1, tun, _webs: webs, _own: own }
    }

    /// The destination of a service in a director's status.
    fn destination(&self, director: &Host, (service, vip, host): (&str, &str, &str)) -> Value {
        let status = self.plans.status(director);
        let servers = status["virtual_servers"].as_array().cloned().unwrap_or_default();
        let found = servers.into_iter().find(|server| {
            server["name"] == service && server["service"].as_str().is_some_and(|front| front.contains(vip))
        });
        let all = found.and_then(|server| server["destinations"].as_array().cloned()).unwrap_or_default();
        all.into_iter().find(|one| one["host"] == host).unwrap_or_default()
    }

    fn is_up(&self, director: &Host, whom: (&str, &str, &str)) -> bool {
        let destination = self.destination(director, whom);
        destination["verdict"] == "up" && destination["last_result"] == "success"
    }

    /// Waits until a destination fails on both directors, and says this.
    #[track_caller]
    fn fails(&self, whom: (&str, &str, &str), words: &str) {
        for director in &self.directors {
            let what = format!("{} says that {whom:?} fails: {words}", director.name());
            let mut said = Value::Null;
            eventually(PATIENCE, &what, || {
                let destination = self.destination(director, whom);
                said = destination["checks"][0]["last_fault"]["reason"].clone();
                let known = said.as_str().is_some_and(|reason| reason.contains(words));
                destination["verdict"] == "down" && known
            });
        }
    }

    #[track_caller]
    fn succeeds(&self, whom: (&str, &str, &str)) {
        for director in &self.directors {
            eventually(PATIENCE, &format!("{} says that {whom:?} is up", director.name()), || {
                self.is_up(director, whom)
            });
        }
    }
}

/// What is checked through the service, and what is not.
const THROUGH: [(&str, &str, &str); 5] = [
    ("web", VIP, "rs1"),
    ("web", VIP, "rs2"),
    ("web", VIP6, "rs1"),
    ("masq", VIP, "masq"),
    ("tun", VIP, "tun"),
];
const STRAIGHT: [(&str, &str, &str); 3] =
    [("plain", VIP, "rs1"), ("tunplain", VIP, "tun"), ("ownplain", VIP, "rs2")];

/// The services by mark of a director, as `ipvsadm -Sn` prints them.
fn marks(director: &Host) -> Vec<String> {
    director.ipvsadm().into_iter().filter(|line| line.contains(" -f ")).collect()
}

/// Starts a daemon, and waits until it answers.
fn start_backup(ways: &Ways<'_>, host: &Host) -> Daemon {
    let begun = mark();
    let daemon = ways.plans.start(host);
    daemon.wait_told_since(begun, LogEvent::Backup.of("edge IPv4"), PATIENCE);
    daemon
}

fn start<'l>(ways: &Ways<'l>) -> [Daemon; 2] {
    let [dir1, dir2] = &ways.directors;
    let first = ways.plans.start(dir1);
    eventually(PATIENCE, "dir1 is Master", || {
        dir1.has_address("eth0", VIP) && dir1.has_address("eth0", VIP6)
    });
    [first, start_backup(ways, dir2)]
}

#[test]
fn a_check_through_the_service_sees_what_an_ordinary_one_does_not() {
    guest(|lab| {
        let ways = Ways::new(lab);
        // The strictest that a host may be set to.
        for director in &ways.directors {
            director.set_sysctl("net.ipv4.conf.all.rp_filter", 1);
        }
        let _daemons = start(&ways);
        THROUGH.into_iter().chain(STRAIGHT).for_each(|whom| ways.succeeds(whom));
        let [dir1, dir2] = &ways.directors;
        assert!(dir1.has_address("eth0", VIP) && !dir2.has_address("eth0", VIP), "Master and Backup");

        ways.fails(("own", VIP, "rs2"), "nothing listens there on the VIP or its port");
        ways.succeeds(("ownplain", VIP, "rs2"));

        ways.rs1.delete_address("lo", &format!("{VIP}/32"));
        ways.fails(("web", VIP, "rs1"), "answers on its own address 192.168.188.107:80 and not on the VIP");
        ways.fails(("web", VIP, "rs1"), "no VIP on lo, or wrong ARP settings");
        ways.rs1.run(["ip", "-6", "addr", "del", &format!("{VIP6}/128"), "dev", "lo"]);
        ways.fails(("web", VIP6, "rs1"), "no VIP on lo; look there at `ip -6 address show lo`");
        ways.succeeds(("plain", VIP, "rs1"));
        ways.succeeds(("web", VIP, "rs2"));
        for director in [dir1, dir2] {
            let table = director.ipvsadm();
            let to = |vip: &str, host: &str| {
                table.iter().any(|line| line.contains(&format!("-t {vip} ")) && line.contains(host))
            };
            assert!(!to("192.168.188.120:80", "107:80") && to("192.168.188.120:80", "110:80"), "{table:?}");
            assert!(to("192.168.188.120:81", "107:81"), "{table:?}");
        }
        ways.rs1.add_address("lo", &format!("{VIP}/32"));
        ways.succeeds(("web", VIP, "rs1"));

        ways.tun.run(["ip", "link", "set", "tunl", "down"]);
        ways.fails(("tun", VIP, "tun"), "no tunnel end, no VIP on lo, or rp_filter");
        ways.succeeds(("tunplain", VIP, "tun"));
        ways.tun.run(["ip", "link", "set", "tunl", "up"]);
        ways.succeeds(("tun", VIP, "tun"));

        // What no check can see: the real server answers to directors all the same, and clients that ask by
        // ARP may find it instead of the Master.
        ways.rs1.set_sysctl("net.ipv4.conf.all.arp_ignore", 0);
        std::thread::sleep(std::time::Duration::from_secs(3));
        ways.succeeds(("web", VIP, "rs1"));
    });
}

#[test]
fn services_of_checks_are_ours_and_nobody_elses() {
    guest(|lab| {
        let ways = Ways::new(lab);
        let [dir1, dir2] = &ways.directors;
        let [first, second] = start(&ways);
        THROUGH.into_iter().for_each(|whom| ways.succeeds(whom));
        let ours = marks(dir1);
        // Two real servers in two families, one by masquerade, one by tunnel.
        assert_eq!(ours.iter().filter(|line| line.starts_with("-A")).count(), 6, "{ours:?}");
        assert_eq!(marks(dir2), ours, "the same on both");
        let status = ways.plans.status(dir1);
        let servers = status["virtual_servers"].as_array().expect("a list");
        let fronts: Vec<&str> = servers.iter().filter_map(|server| server["service"].as_str()).collect();
        assert!(fronts.len() == 8 && fronts.iter().all(|front| front.starts_with("tcp ")), "{fronts:?}");
        assert_eq!(status["convergence"]["foreign"].as_array().map_or(0, Vec::len), 0, "{status}");

        // Another's goes, these stay.
        dir1.run(["ipvsadm", "-A", "-f", "9", "-s", "rr"]);
        eventually(PATIENCE, "the foreign service is gone", || marks(dir1) == ours);

        // One that somebody removes comes back, and meanwhile nothing is said of the real server.
        dir2.run(["ipvsadm", "-C"]);
        eventually(PATIENCE, "the services are there again", || marks(dir2) == ours);

        // Neither a restart nor a failover touches them, nor a verdict.
        let requests = dir2.netlink_capture();
        let told = mark();
        second.kill9();
        let second = start_backup(&ways, dir2);
        THROUGH.into_iter().for_each(|whom| ways.succeeds(whom));
        assert_eq!(requests.changes_since(told), Vec::<String>::new(), "a restart changes nothing");
        let told = mark();
        first.stop(PATIENCE);
        eventually(PATIENCE, "dir2 has the VIP", || dir2.has_address("eth0", VIP));
        eventually(PATIENCE, "dir2 checks as Master", || {
            THROUGH.into_iter().all(|whom| ways.is_up(dir2, whom))
        });
        let changes = requests.changes_since(told);
        assert!(changes.iter().all(|change| !change.starts_with("IPVS")), "{changes:?}");
        assert_eq!(marks(dir2), ours);
        assert_eq!(marks(dir1), ours, "a daemon that stops leaves its table");

        assert_eq!(dir1.sysctl("net.ipv4.conf.eth0.accept_local"), "1");
        ways.plans.evenkeeld(dir1, "cleanup", &[]).expect_success();
        assert_eq!(
            (dir1.ipvsadm(), dir1.sysctl("net.ipv4.conf.eth0.accept_local")),
            (vec![], "0".to_owned())
        );
        drop(second);
    });
}

/// Each director is a real server, too, and has the VIP on `lo` always.
#[test]
fn directors_that_are_real_servers_check_each_other_and_themselves() {
    guest(|lab| {
        let directors = [lab.host("dir1", "192.168.188.108/24"), lab.host("dir2", "192.168.188.109/24")];
        let plans = lab.plans("plans");
        plans.compile_text(
            r#"
version = 1
name = "both"
[segments.front]
subnets = ["192.168.188.0/24"]
[hosts]
dir1 = { address = "192.168.188.108", interface = "eth0" }
dir2 = { address = "192.168.188.109", interface = "eth0" }
[virtual_routers.edge]
vrid = 51
vips = ["192.168.188.120"]
directors = ["dir1", "dir2"]
[services.web]
router = "edge"
protocol = "tcp"
port = 80
check = { type = "tcp", via = "service", interval = "1s", timeout = "1s", retries = 0 }
real_servers = [{ host = "dir1" }, { host = "dir2" }]
"#,
        );
        for director in &directors {
            director.set_sysctl("net.ipv4.conf.all.rp_filter", 1);
        }
        let mut webs: Vec<WebServer> = directors.iter().map(|director| director.web(80)).collect();
        let first = plans.start(&directors[0]);
        first.wait_told(LogEvent::Master.of("edge"), PATIENCE);
        let _second = plans.start(&directors[1]);
        let verdicts = |director: &Host| {
            let status = plans.status(director);
            let destinations = status["virtual_servers"][0]["destinations"].as_array().cloned();
            let verdict = |one: &Value| (one["last_result"] != Value::Null).then(|| one["verdict"].clone());
            destinations.unwrap_or_default().iter().filter_map(verdict).collect::<Vec<_>>()
        };
        let all_say = |what: &str, wanted: [&str; 2]| {
            for director in &directors {
                eventually(PATIENCE, &format!("{} says {what}", director.name()), || {
                    verdicts(director) == wanted
                });
            }
        };
        all_say("that both serve", ["up", "up"]);
        webs[1].stop();
        all_say("that dir2 does not", ["up", "down"]);
        webs[1].start();
        all_say("that both serve again", ["up", "up"]);
        first.stop(PATIENCE);
        eventually(PATIENCE, "dir2 has the VIP", || directors[1].has_address("eth0", VIP));
        webs[0].stop();
        eventually(PATIENCE, "dir2 as Master sees dir1 fail", || verdicts(&directors[1]) == ["down", "up"]);
    });
}
