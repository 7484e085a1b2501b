//! A sync group over two segments: what befalls one router moves all of them, and a router that joins moves
//! none. keepalived 2.2.7 does the same beside it; its figures are only told.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use lab::{Daemon, Host, Kind, Lab, Plans, VipWatch, guest, mark};
use nix::sys::signal::Signal;

use crate::support::{INTERVAL, MASTER_DOWN, PATIENCE, TOLERANCE};

const PORT: u16 = 80;
/// Gap that a client may notice when a router joins: not even one advertisement interval.
const UNNOTICED: Duration = Duration::from_millis(500);

/// Two directors on two segments with a group of routers.
struct Group<'l> {
    kind: Kind,
    hosts: [Host; 2],
    client: Host,
    plans: Plans<'l>,
}

/// VRID and segment (0 or 1) of the routers that the group begins with, and of the one that joins.
const ROUTERS: [(u8, u8); 3] = [(71, 0), (72, 1), (73, 0)];

#[test]
fn a_group_moves_as_one_and_a_router_that_joins_moves_nothing() {
    guest(|lab| {
        std::thread::scope(|scope| {
            for kind in Kind::ALL {
                scope.spawn(move || Group::new(lab, kind).play(lab));
            }
        });
    });
}

impl<'l> Group<'l> {
    fn new(lab: &'l Lab, kind: Kind) -> Self {
        let (names, segments) = match kind {
            Kind::Evenkeeld => (["dir1", "dir2", "client1"], ["br-front1", "br-back1"]),
            Kind::Keepalived => (["ka1", "ka2", "client2"], ["br-front2", "br-back2"]),
        };
        let host = |index: usize, last: u8| {
            let host = lab.bare_host(names[index]);
            host.attach("eth0", segments[0], &format!("{}/24", address(kind, 0, last)));
            host.attach("eth1", segments[1], &format!("{}/24", address(kind, 1, last)));
            host
        };
        let [first, second, client] = [host(0, 1), host(1, 2), host(2, 9)];
        Self { kind, hosts: [first, second], client, plans: lab.plans(kind.name()) }
    }

    fn play(&self, lab: &Lab) {
        let [first, second] = &self.hosts;
        let _webs = [first.web(PORT), second.web(PORT)];
        self.configure(2);
        let daemons = [self.start(0), self.start(1)];
        let watches: Vec<VipWatch> = ROUTERS.iter().map(|router| self.watch(lab, *router)).collect();
        let both = &watches[..2];
        both.iter().for_each(|watch| _ = watch.wait_holder(first, PATIENCE));
        let client = self.client.probe(vip(self.kind, ROUTERS[0]), PORT);
        client.wait_responder(first, PATIENCE);
        std::thread::sleep(7 * INTERVAL);

        let name = self.kind.name();
        let cut = mark();
        first.cut_interface("eth1");
        both.iter().for_each(|watch| _ = watch.wait_holder(second, PATIENCE));
        let took = cut.elapsed();
        client.wait_responder(second, PATIENCE);
        lab.log(format!("{name}: the group moved within {took:?}; client gap {:?}", client.gap_since(cut)));
        if self.kind == Kind::Evenkeeld {
            lab.assert_within("the group moved", took, MASTER_DOWN + INTERVAL, cut);
        }
        first.reconnect();
        both.iter().for_each(|watch| _ = watch.wait_holder(first, PATIENCE));
        client.wait_responder(first, PATIENCE);
        std::thread::sleep(7 * INTERVAL);

        let joined = mark();
        self.configure(3);
        if self.kind == Kind::Keepalived {
            daemons.iter().for_each(|daemon| daemon.signal(Signal::SIGHUP));
        }
        watches[2].wait_holder(first, PATIENCE);
        std::thread::sleep(7 * INTERVAL);
        let gap = client.gap_since(joined);
        let without: Vec<Duration> = both.iter().map(|watch| watch.none_since(joined)).collect();
        lab.log(format!(
            "{name}: a router joined: client gap {gap:?}, VIPs of the others on nobody for {without:?}"
        ));
        if self.kind == Kind::Evenkeeld {
            lab.assert_within("client gap", gap, UNNOTICED, joined);
            for (watch, router) in both.iter().zip(ROUTERS) {
                let held = watch.held_since(joined);
                assert_eq!(held.keys().collect::<Vec<_>>(), [first.name()], "VRID {}", router.0);
                assert_eq!(watch.none_since(joined), Duration::ZERO, "VRID {}", router.0);
                let status = self.plans.router(first, &format!("r{}", router.0));
                assert_eq!(status["state"], "master");
                lab.assert_within("VIP on both", watch.both_since(joined), TOLERANCE, joined);
            }
        }
    }

    fn watch(&self, lab: &Lab, router: (u8, u8)) -> VipWatch {
        let [first, second] = &self.hosts;
        lab.watch_vip(vip(self.kind, router), &[first, second], &format!("eth{}", router.1))
    }

    /// The group with so many of the routers.
    fn configure(&self, count: usize) {
        match self.kind {
            Kind::Evenkeeld => _ = self.plans.compile_text(&self.cluster_file(count)),
            Kind::Keepalived => {
                for (index, host) in self.hosts.iter().enumerate() {
                    std::fs::write(
                        host.scratch().join("keepalived.conf"),
                        self.keepalived_file(count, index),
                    )
                    .expect("keepalived.conf");
                }
            }
        }
    }

    fn start(&self, index: usize) -> Daemon {
        match self.kind {
            Kind::Evenkeeld => self.plans.start(&self.hosts[index]),
            Kind::Keepalived => self.hosts[index].keepalived(&self.keepalived_file(2, index)),
        }
    }

    fn cluster_file(&self, count: usize) -> String {
        let network = network(self.kind);
        let mut text = format!(
            "version = 1\nname = \"group\"\n[segments]\nfront.subnets = [\"10.{network}.0.0/24\"]\n\
             back.subnets = [\"10.{network}.1.0/24\"]\n"
        );
        for (index, host) in self.hosts.iter().enumerate() {
            let last = u8::try_from(index + 1).expect("two");
            let _ = write!(
                text,
                "[hosts.{}]\naddress = \"{}\"\ninterface = \"eth0\"\ninterfaces.eth1.addresses = [\"{}\"]\n",
                host.name(),
                address(self.kind, 0, last),
                address(self.kind, 1, last)
            );
        }
        let mut names = Vec::new();
        for router in &ROUTERS[..count] {
            names.push(format!("\"r{}\"", router.0));
            let _ = write!(
                text,
                "[virtual_routers.r{}]\nvrid = {}\nvips = [\"{}\"]\ndirectors = [\"{}\", \"{}\"]\n",
                router.0,
                router.0,
                vip(self.kind, *router),
                self.hosts[0].name(),
                self.hosts[1].name(),
            );
        }
        let _ = writeln!(text, "[sync_groups.all]\nvirtual_routers = [{}]", names.join(", "));
        text
    }

    fn keepalived_file(&self, count: usize, index: usize) -> String {
        let mut text = "global_defs {\n  router_id LAB\n}\n".to_owned();
        let mut names = Vec::new();
        for router in &ROUTERS[..count] {
            names.push(format!("    r{}\n", router.0));
            let _ = write!(
                text,
                "vrrp_instance r{} {{\n  state {}\n  version 3\n  interface eth{}\n  virtual_router_id {}\n  \
                priority {}\n  \
                 advert_int 1\n  virtual_ipaddress {{\n    {}\n  }}\n}}\n",
                router.0,
                ["MASTER", "BACKUP"][index],
                router.1,
                router.0,
                [100, 90][index],
                vip(self.kind, *router),
            );
        }
        let _ = write!(text, "vrrp_sync_group all {{\n  group {{\n{}  }}\n}}\n", names.concat());
        text
    }
}

const fn network(kind: Kind) -> u8 {
    match kind {
        Kind::Evenkeeld => 4,
        Kind::Keepalived => 5,
    }
}

fn address(kind: Kind, segment: u8, last: u8) -> IpAddr {
    IpAddr::from([10, network(kind), segment, last])
}

fn vip(kind: Kind, (vrid, segment): (u8, u8)) -> IpAddr {
    address(kind, segment, vrid)
}
