//! Every way to forward, from a cluster file to a client's answer: masquerade and each tunnel, both
//! directors, and nothing left of a tunnel that no service needs any more.

use lab::{Daemon, Host, Lab, LogEvent, Plans, WebServer, eventually, guest};

use crate::support::PATIENCE;

const VIP: &str = "192.168.188.120";

const HEAD: &str = r#"
version = 1
name = "ways"
[segments.front]
subnets = ["192.168.188.0/24", "2001:db8:188::/64"]
[segments.back]
subnets = ["10.30.0.0/24"]
[hosts]
masq = { address = "10.30.0.21", interface = "eth0", gateway = "10.30.0.1" }
tun1 = { address = "192.168.188.107", interface = "eth0" }
tun2 = { address = "192.168.188.110", interface = "eth0" }
tun3 = { address = "2001:db8:188::113", interface = "eth0" }
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
vips = ["192.168.188.120"]
unadvertised_vips = ["10.30.0.1"]
directors = ["dir1", "dir2"]
[defaults.service]
router = "edge"
protocol = "tcp"
scheduler = "wlc"
check = { type = "tcp", interval = "1s", timeout = "1s", retries = 0 }
[services.masq]
port = 80
forwarding = "nat"
real_servers = [{ host = "masq", port = 8080 }]
[services.ipip]
port = 81
forwarding = "tun"
real_servers = [{ host = "tun1" }]
"#;

const MORE: &str = r#"
[services.gue]
port = 82
forwarding = "tun"
tunnel = { type = "gue" }
real_servers = [{ host = "tun1" }]
[services.gre]
port = 83
forwarding = "tun"
tunnel = { type = "gre" }
real_servers = [{ host = "tun2" }]
[services.gre6]
port = 84
forwarding = "tun"
tunnel = { type = "gre", checksum = "full" }
real_servers = [{ host = "tun3" }]
"#;

/// Each service's port, and who answers there.
const ANSWERS: [(u16, &str); 5] = [(80, "masq"), (81, "tun1"), (82, "tun1"), (83, "tun2"), (84, "tun3")];

struct Ways<'l> {
    plans: Plans<'l>,
    client: Host,
    directors: [Host; 2],
    reals: [Host; 4],
    _webs: Vec<WebServer>,
}

impl<'l> Ways<'l> {
    fn new(lab: &'l Lab) -> Self {
        // Nobody asks for this module by itself.
        lab.run(["/run/modprobe", "fou"]);
        let director = |name, front: &str, back: &str| {
            let host = lab.host(name, front);
            host.attach("eth1", "back", back);
            let v6 = front.replace("192.168.188.", "2001:db8:188::").replace("/24", "/64");
            host.run(["ip", "addr", "add", &v6, "dev", "eth0", "nodad"]);
            host
        };
        let directors = [
            director("dir1", "192.168.188.108/24", "10.30.0.11/24"),
            director("dir2", "192.168.188.109/24", "10.30.0.12/24"),
        ];
        let masq = lab.bare_host("masq");
        masq.attach("eth0", "back", "10.30.0.21/24");
        let tun1 = lab.host("tun1", "192.168.188.107/24");
        let tun2 = lab.host("tun2", "192.168.188.110/24");
        // Reached in IPv6; its answers go in IPv4.
        let tun3 = lab.host("tun3", "192.168.188.113/24");
        tun3.run(["ip", "addr", "add", "2001:db8:188::113/64", "dev", "eth0", "nodad"]);
        let webs = vec![masq.web(8080), tun1.web(81), tun1.web(82), tun2.web(83), tun3.web(84)];
        let plans = lab.plans("plans");
        plans.compile_text(&(HEAD.to_owned() + MORE));
        let client = lab.host("client", "192.168.188.111/24");
        Self { plans, client, directors, reals: [masq, tun1, tun2, tun3], _webs: webs }
    }

    #[track_caller]
    fn all_answer(&self, answers: &[(u16, &str)], when: &str) {
        for (port, name) in answers {
            eventually(PATIENCE, &format!("{name} answers at port {port} {when}"), || {
                self.client.ask(VIP, *port) == Ok((*name).to_owned())
            });
        }
    }
}

#[test]
fn masquerade_and_every_tunnel_serve_from_either_director_and_leave_nothing_behind() {
    guest(|lab| {
        let ways = Ways::new(lab);
        let [dir1, dir2] = &ways.directors;
        let [masq, tun1, tun2, tun3] = &ways.reals;
        let before: Vec<String> = ways.reals.iter().map(settings).collect();
        let _reals: Vec<Daemon> = ways.reals.iter().map(|host| ways.plans.start(host)).collect();
        let first = ways.plans.start(dir1);
        first.wait_told(LogEvent::Master.of("edge"), PATIENCE);
        let _second = ways.plans.start(dir2);
        ways.all_answer(&ANSWERS, "through dir1");
        assert!(tun3.run(["ip", "-d", "link", "show", "ek-ip6gre"]).contains("icsum ocsum"));
        assert!(dir1.has_address("eth1", "10.30.0.1") && !dir2.has_address("eth1", "10.30.0.1"));

        first.stop(PATIENCE);
        eventually(PATIENCE, "dir2 has the VIP", || dir2.has_address("eth0", VIP));
        ways.all_answer(&ANSWERS, "through dir2");
        let first = ways.plans.start(dir1);
        first.wait_told(LogEvent::Master.of("edge"), PATIENCE);
        eventually(PATIENCE, "dir2 has given the VIP away", || !dir2.has_address("eth0", VIP));
        ways.all_answer(&ANSWERS, "through dir1 again");

        // GRE and GUE leave the plan: their ends go, the tunnel that is still used stays, and so does its
        // service.
        ways.plans.compile_text(HEAD);
        eventually(PATIENCE, "tun2 is no real server any more", || {
            links(tun2, "ek-gre").is_empty() && settings(tun2) == before[2] && !tun2.has_address("lo", VIP)
        });
        eventually(PATIENCE, "nor is tun3", || {
            links(tun3, "ek-ip6gre").is_empty() && settings(tun3) == before[3] && !tun3.has_address("lo", VIP)
        });
        eventually(PATIENCE, "tun1 unwraps no GUE any more", || {
            tun1.run(["ip", "fou", "show"]).trim().is_empty()
        });
        ways.all_answer(&ANSWERS[..2], "without the others");
        assert_eq!(links(tun1, "ek-ipip").len(), 1);

        for (host, before) in ways.reals.iter().zip(&before).take(2) {
            assert_ne!(settings(host), *before, "{} obeys a plan", host.name());
        }
        drop(_reals);
        for host in [masq, tun1] {
            ways.plans.evenkeeld(host, "cleanup", &[]).expect_success();
        }
        assert_eq!((settings(masq), settings(tun1)), (before[0].clone(), before[1].clone()));
        assert!(links(tun1, "ek-").is_empty());
    });
}

/// The interfaces of a host whose names begin so.
fn links(host: &Host, name: &str) -> Vec<String> {
    let links = host.json(["ip", "-j", "link", "show"]);
    let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
    names.filter(|link| link.starts_with(name)).map(str::to_owned).collect()
}

/// The settings and routes of a host that real servers change.
fn settings(host: &Host) -> String {
    let keys = ["all.arp_ignore", "all.arp_announce", "all.rp_filter", "lo.arp_ignore", "lo.arp_announce"];
    let values = keys.map(|key| format!("{key} {}", host.sysctl(&format!("net.ipv4.conf.{key}"))));
    values.join("\n") + "\n" + &host.run(["ip", "-4", "route", "show"])
}
