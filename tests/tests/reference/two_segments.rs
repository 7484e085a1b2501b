//! VIPs of one virtual router on two segments: a pair that masquerades, with the VIP of its clients outside
//! and the gateway of its real servers inside. The directors advertise on a third segment, where no VIP is.

use std::net::IpAddr;

use lab::{Announcements, Daemon, Host, LogEvent, Plans, VipWatch, eventually, guest, mark};

use crate::support::PATIENCE;

const OUTSIDE: &str = "192.168.188.120";
const INSIDE: &str = "10.30.0.1";

const CLUSTER: &str = r#"
version = 1
name = "inside-and-outside"
[segments.front]
subnets = ["192.168.188.0/24"]
[segments.back]
subnets = ["10.30.0.0/24"]
[segments.hello]
subnets = ["10.40.0.0/24"]
[hosts]
masq = { address = "10.30.0.21", interface = "eth0", gateway = "10.30.0.1" }
[hosts.dir1]
address = "192.168.188.108"
interface = "eth0"
interfaces = { eth1.addresses = ["10.30.0.11"], eth2.addresses = ["10.40.0.11"] }
[hosts.dir2]
address = "192.168.188.109"
interface = "eth0"
interfaces = { eth1.addresses = ["10.30.0.12"], eth2.addresses = ["10.40.0.12"] }
[virtual_routers.gate]
vrid = 51
segment = "hello"
vips = ["192.168.188.120", "10.30.0.1"]
directors = ["dir1", "dir2"]
[services.web]
router = "gate"
protocol = "tcp"
port = 80
vip = "192.168.188.120"
forwarding = "nat"
real_servers = [{ host = "masq", port = 8080 }]
check = { type = "tcp", interval = "1s", timeout = "1s", retries = 0 }
"#;

struct Pair<'l> {
    plans: Plans<'l>,
    client: Host,
    /// Who holds the VIP outside, and the one inside.
    holders: [VipWatch; 2],
    heard: [Announcements; 2],
}

impl Pair<'_> {
    /// Waits until one director alone holds both, has announced each on its own segment since the mark, and
    /// serves.
    #[track_caller]
    fn moved_to(&self, director: &Host, since: lab::Mark) {
        let [outside, inside] = &self.holders;
        outside.wait_holder(director, PATIENCE);
        inside.wait_holder(director, PATIENCE);
        for ((address, interface), heard) in
            [(OUTSIDE, "eth0"), (INSIDE, "eth1")].into_iter().zip(&self.heard)
        {
            let address: IpAddr = address.parse().expect("an address");
            heard.wait(address, director.mac(interface), since, PATIENCE);
        }
        eventually(PATIENCE, &format!("masq answers through {}", director.name()), || {
            self.client.ask(OUTSIDE, 80) == Ok("masq".to_owned())
        });
    }
}

#[test]
fn vips_of_two_segments_move_together_and_masqueraded_connections_work() {
    guest(|lab| {
        let director = |name, number: u32| {
            let host = lab.host(name, &format!("192.168.188.{}/24", 107 + number));
            host.attach("eth1", "back", &format!("10.30.0.{}/24", 10 + number));
            host.attach("eth2", "hello", &format!("10.40.0.{}/24", 10 + number));
            host
        };
        let (dir1, dir2) = (director("dir1", 1), director("dir2", 2));
        let masq = lab.bare_host("masq");
        masq.attach("eth0", "back", "10.30.0.21/24");
        let _web = masq.web(8080);
        let client = lab.host("client", "192.168.188.111/24");
        let plans = lab.plans("plans");
        plans.compile_text(CLUSTER);
        let directors = [&dir1, &dir2];
        let holders = [(OUTSIDE, "eth0"), (INSIDE, "eth1")];
        let holders = holders.map(|(vip, interface)| lab.watch_vip(vip, &directors, interface));
        let heard = [lab.capture_announcements(), lab.capture_announcements_on("back")];
        let [back, hello] = ["back", "hello"].map(|segment| lab.capture_vrrp_on(segment));
        let spoken = [lab.capture_vrrp(), back, hello];
        let pair = Pair { plans, client, holders, heard };

        let begin = mark();
        let _masq: Daemon = pair.plans.start(&masq);
        let first = pair.plans.start(&dir1);
        first.wait_told(LogEvent::Master.of("gate"), PATIENCE);
        let second = pair.plans.start(&dir2);
        pair.moved_to(&dir1, begin);

        let stopped = mark();
        first.stop(PATIENCE);
        pair.moved_to(&dir2, stopped);

        let returned = mark();
        let first = pair.plans.start(&dir1);
        pair.moved_to(&dir1, returned);

        // One link is enough: a director that has lost the inner one cannot serve.
        for interface in ["eth1", "eth0"] {
            let cut = mark();
            dir1.cut_interface(interface);
            pair.moved_to(&dir2, cut);
            let healed = mark();
            dir1.reconnect();
            pair.moved_to(&dir1, healed);
        }

        let [front, back, hello] = spoken.map(|adverts| adverts.since(begin).len());
        assert!(hello > 0 && front + back == 0, "{hello} adverts where they belong, {front} and {back} not");
        // The log is written behind the addresses.
        eventually(PATIENCE, "dir1 tells of it", || first.count_since(returned, LogEvent::Master) >= 3);
        assert_eq!(first.count_since(returned, LogEvent::Master), 3, "{}", first.log());
        drop(second);
    });
}
