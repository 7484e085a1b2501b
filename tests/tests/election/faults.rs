//! Things that a director loses while it is Master: the interface of its VIPs, the address it speaks from,
//! the way to one of its peers. And what it keeps open while it loses nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use lab::{Daemon, Host, Kind, Lab, LogEvent, Pair, Router, VrrpCapture, Wanted, eventually, guest, mark};
use serde_json::Value;

use crate::support::{PATIENCE, TOLERANCE};

/// The advertisement interval.
const QUICK: Duration = Duration::from_millis(200);
/// How often the daemon looks at its interfaces without being told of anything.
const RESYNC: Duration = Duration::from_secs(5);
/// How long one peer is out of reach: 15 advertisements.
const UNREACHABLE: Duration = Duration::from_secs(3);

const HOSTS: &str = r#"
version = 1
name = "pair"
[segments.front]
subnets = ["10.1.0.0/16", "2001:db8:1::/64"]
[segments.side]
subnets = ["10.21.0.0/24"]
[hosts.dir1]
address = "10.1.0.1"
interface = "eth0"
addresses = ["2001:db8:1::1"]
interfaces.eth1.addresses = ["10.21.0.1"]
[hosts.dir2]
address = "10.1.0.2"
interface = "eth0"
addresses = ["2001:db8:1::2"]
interfaces.eth1.addresses = ["10.21.0.2"]
[hosts.dir3]
address = "10.1.0.3"
interface = "eth0"
[defaults.virtual_router]
advert_interval = "200ms"
directors = ["dir1", "dir2"]
[virtual_routers.apart]
vrid = 71
vips = ["10.1.1.71"]
vip_settings = { "10.1.1.71" = { interface = "eth1" } }
[virtual_routers.six]
vrid = 72
vips = ["fe80::72", "2001:db8:1::72"]
[virtual_routers.peers]
vrid = 73
vips = ["10.1.1.73"]
directors = ["dir1", "dir2", "dir3"]
unicast = {}
[virtual_routers.mac]
vrid = 74
vips = ["10.1.1.74"]
virtual_mac = {}
"#;

struct Scene<'l> {
    pair: Pair<'l>,
    first: Daemon,
    _second: Daemon,
    adverts: VrrpCapture,
}

#[test]
fn a_director_that_loses_an_interface_an_address_or_a_peer_does_what_it_must_once() {
    guest(|lab| {
        let scene = Scene::start(lab);
        scene.nothing_is_opened_again_without_a_reason();
        scene.one_peer_out_of_reach_is_told_once();
        scene.an_ipv6_master_without_its_address_says_goodbye_from_it();
        scene.a_master_whose_vips_have_no_interface_gives_up();
    });
}

impl<'l> Scene<'l> {
    fn start(lab: &'l Lab) -> Self {
        let pair = Pair::new(lab, Kind::Evenkeeld, vec![Router::new(71, 3)]);
        for (host, last) in [(&pair.first, 1), (&pair.second, 2)] {
            host.attach("eth1", "br-side", &format!("10.21.0.{last}/24"));
            host.run(["ip", "addr", "add", &format!("2001:db8:1::{last}/64"), "dev", "eth0", "nodad"]);
        }
        pair.plans.compile_text(HOSTS);
        let adverts = lab.capture_vrrp_on(pair.segment);
        let first = pair.start(&pair.first);
        let second = pair.start(&pair.second);
        for daemon in [&first, &second] {
            daemon.wait_told(LogEvent::Backup.of("mac"), PATIENCE);
        }
        let scene = Self { pair, first, _second: second, adverts };
        for router in ["apart", "six", "peers", "mac"] {
            scene.wait_states(router, ["master", "backup"]);
        }
        scene
    }

    fn wait_states(&self, router: &str, wanted: [&str; 2]) {
        eventually(PATIENCE, &format!("{router} is {wanted:?}"), || {
            let hosts = [&self.pair.first, &self.pair.second];
            hosts.map(|host| self.pair.plans.router(host, router)["state"].clone()) == wanted
        });
    }

    /// The sockets of the first director's daemon.
    fn sockets(&self) -> BTreeSet<String> {
        let directory = format!("/proc/{}/fd", self.first.pid());
        let entries = std::fs::read_dir(directory).expect("the daemon's files");
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let targets = targets.map(|target| target.to_string_lossy().into_owned());
        targets.filter(|target| target.starts_with("socket:")).collect()
    }

    fn nothing_is_opened_again_without_a_reason(&self) {
        // Second bursts of announcements and the like are over.
        std::thread::sleep(RESYNC);
        let before = self.sockets();
        std::thread::sleep(RESYNC + TOLERANCE);
        assert_eq!(self.sockets(), before);
    }

    fn one_peer_out_of_reach_is_told_once(&self) {
        let dir1 = &self.pair.first;
        let claims = self.claims_of_the_second();
        let begun = mark();
        forbid_third(dir1, "add");
        let cannot = LogEvent::CannotSend.with("to", "10.1.0.3");
        self.first.wait_told_since(begun, cannot.clone(), PATIENCE);
        std::thread::sleep(UNREACHABLE);
        forbid_third(dir1, "delete");
        let again = LogEvent::SendsAgain.with("to", "10.1.0.3");
        self.first.wait_told_since(begun, again.clone(), PATIENCE);
        let lines = self.first.lines_since(begun);
        let of = |event: &Wanted| lines.iter().filter(|line| line.is(event.clone())).count();
        let of_second = lines.iter().filter(|line| line.text.contains("10.1.0.2")).count();
        assert_eq!((of(&cannot), of(&again), of_second), (1, 1, 0), "{}", self.first.log());
        // The other peer heard all of it.
        let heard = self.adverts.since(begun);
        let to_second: Vec<_> = heard
            .iter()
            .filter(|advert| advert.what.vrid == 73 && advert.what.destination == self.pair.second.ip())
            .collect();
        let least = (UNREACHABLE.as_millis() / QUICK.as_millis()) as usize / 2;
        assert!(to_second.len() >= least, "{} adverts", to_second.len());
        self.wait_states("peers", ["master", "backup"]);
        assert_eq!(self.claims_of_the_second(), claims);
    }

    /// How often the second director became Master of `peers`: when it starts first, once before the first
    /// director is there.
    fn claims_of_the_second(&self) -> Value {
        self.pair.plans.router(&self.pair.second, "peers")["counters"]["became_master"].clone()
    }

    fn an_ipv6_master_without_its_address_says_goodbye_from_it(&self) {
        let dir1 = &self.pair.first;
        let own = |address: &lab::Address| match address.ip {
            IpAddr::V6(ip) => {
                ip.is_unicast_link_local() && address.ip != "fe80::72".parse::<IpAddr>().expect("address")
            }
            IpAddr::V4(_) => false,
        };
        let source = dir1.addresses("eth0").into_iter().find(own).expect("a link-local address").ip;
        let begun = mark();
        dir1.delete_address("eth0", &format!("{source}/64"));
        let farewell = self.adverts.wait(PATIENCE, |advert| {
            advert.at > begun && advert.what.vrid == 72 && advert.what.priority == 0
        });
        assert_eq!(farewell.what.source, source);
        self.wait_states("six", ["initialize", "master"]);
        dir1.run(["ip", "addr", "add", &format!("{source}/64"), "dev", "eth0", "nodad"]);
        self.wait_states("six", ["master", "backup"]);
    }

    fn a_master_whose_vips_have_no_interface_gives_up(&self) {
        let dir1 = &self.pair.first;
        let begun = mark();
        dir1.run(["ip", "link", "del", "eth1"]);
        self.wait_states("apart", ["initialize", "master"]);
        std::thread::sleep(4 * QUICK);
        let heard = self.adverts.since(begun + TOLERANCE);
        let own = heard.iter().filter(|advert| advert.what.vrid == 71 && advert.what.source == dir1.ip());
        assert_eq!(own.count(), 0, "it went on advertising");
        dir1.attach("eth1", "br-side", "10.21.0.1/24");
        self.wait_states("apart", ["master", "backup"]);
        assert!(dir1.has_address("eth1", "10.1.1.71"));
    }
}

/// A policy by which nothing leaves for dir3, or its end.
fn forbid_third(host: &Host, what: &str) {
    let selector = ["src", "0.0.0.0/0", "dst", "10.1.0.3/32", "dir", "out"];
    let action: &[&str] = if what == "add" { &["action", "block"] } else { &[] };
    host.run([&["ip", "xfrm", "policy", what], &selector[..], action].concat());
}
