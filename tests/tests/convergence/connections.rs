//! Established connections: one long download through each forwarding method, while everything about their
//! services changes but the destination they are on. None breaks, and every byte arrives once and in its
//! place.

use std::cell::Cell;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::{Daemon, Download, Host, Lab, WebServer, eventually, guest_with, mark};

use crate::plan::{Destination, Front, Method, Persistence, VirtualServer, toml};
use crate::support::{PATIENCE, deliver, head, size, status, time_limit, wait_converged};

const VIP: &str = "192.168.188.120";
/// Plans in a row, ten a second, in the normal run; `EVENKEEL_REPLACED` sets another number.
const NORMAL: usize = 30;
/// From one plan to the next when they come in a row.
const PACE: Duration = Duration::from_millis(100);
const GUE_PORT: u16 = 6080;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A forwarding method with the real server that has it to itself, and the download through it.
struct Way {
    name: &'static str,
    port: u16,
    destination: Destination,
    /// As `/proc/net/ip_vs` calls the method.
    forward: &'static str,
    web: WebServer,
}

/// A real server on the front segment that holds the VIP, with an end of a tunnel.
fn holder(lab: &Lab, name: &str, last: u8, port: u16, tunnel: Option<&str>) -> (Host, Destination) {
    let address = format!("192.168.188.{last}");
    let host = lab.host(name, &format!("{address}/24"));
    let mut plan = head(&host, "60s")
        + &format!(
            "[[address]]\ninterface = \"lo\"\naddress = \"{VIP}/32\"\nlabel = \"lo:0\"\nscope \
            = \"global\"\n\n\
             [[route]]\ndestination = \"{VIP}/32\"\ninterface = \"lo\"\nscope = \"link\"\ntable = 254\n\n"
        );
    let mut settings = vec![
        ("net/ipv4/conf/all/arp_announce", "2"),
        ("net/ipv4/conf/all/arp_ignore", "1"),
        ("net/ipv4/conf/lo/arp_announce", "2"),
        ("net/ipv4/conf/lo/arp_ignore", "1"),
    ];
    if let Some(mode) = tunnel {
        plan += &format!("[[tunnel]]\ninterface = \"tun-a\"\nmode = \"{mode}\"\nlocal = \"{address}\"\n\n");
        settings.extend([("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/tun-a/rp_filter", "0")]);
    }
    for (key, value) in settings {
        plan += &format!("[[sysctl]]\nkey = \"{key}\"\nvalue = \"{value}\"\n\n");
    }
    converge(lab, &host, &plan);
    (host, Destination::direct(ip(&address), port, 100))
}

fn converge(lab: &Lab, host: &Host, plan: &str) {
    deliver(lab, host, plan);
    lab.plans("plans").evenkeeld(host, "converge", &[]).expect_success();
}

fn ways(lab: &Lab, director: &Host) -> Vec<Way> {
    let way = |name, port, (host, destination): (Host, Destination), method, forward| Way {
        name,
        port,
        forward,
        web: host.web(destination.port),
        destination: Destination { method, ..destination },
    };
    let gue = holder(lab, "gue", 105, 8004, Some("ipip"));
    // Nobody asks for this module by itself.
    lab.run(["/run/modprobe", "fou"]);
    gue.0.run(["ip", "fou", "add", "port", &GUE_PORT.to_string(), "gue"]);

    // What is masqueraded comes back through the director, which is the only way out of the segment behind
    // it.
    director.attach("eth1", "back", "10.30.0.1/24");
    let masked = lab.bare_host("masq");
    masked.attach("eth0", "back", "10.30.0.2/24");
    let route = "[[route]]\ndestination = \"0.0.0.0/0\"\ninterface = \"eth0\"\nscope = \"global\"\n\
        table = 254\nvia = \"10.30.0.1\"\n";
    converge(lab, &masked, &(head(&masked, "60s") + route));

    vec![
        way("direct routing", 8001, holder(lab, "direct", 101, 8001, None), Method::Direct, "Route"),
        way("ipip tunnel", 8002, holder(lab, "ipip", 102, 8002, Some("ipip")), Method::Ipip, "Tunnel"),
        way(
            "gre tunnel",
            8003,
            holder(lab, "gre", 103, 8003, Some("gre")),
            Method::Gre { checksum: false },
            "Tunnel",
        ),
        way("gue tunnel", 8004, gue, Method::Gue { port: GUE_PORT, checksum: "udp" }, "Tunnel"),
        way(
            "masquerade",
            8005,
            (masked, Destination::direct(ip("10.30.0.2"), 9000, 100)),
            Method::Masquerade,
            "Masq",
        ),
    ]
}

/// Properties of the services that are not always the same.
#[derive(Clone, Debug)]
struct Shape {
    scheduler: &'static str,
    weight: u32,
    /// Destinations beside the one that serves. Nobody is there, and nobody connects anew.
    others: u8,
    sticky: bool,
    thresholds: (u32, u32),
    /// Services beside those that are used.
    more: u16,
}

const FIRST: Shape =
    Shape { scheduler: "wlc", weight: 100, others: 0, sticky: false, thresholds: (0, 0), more: 0 };

struct World<'l> {
    lab: &'l Lab,
    director: Host,
    ways: Vec<Way>,
    plan: Cell<String>,
}

impl World<'_> {
    fn text(&self, shape: &Shape) -> String {
        let server = |way: &Way| {
            let used =
                Destination { weight: shape.weight, thresholds: shape.thresholds, ..way.destination.clone() };
            let others = (0..shape.others).map(|number| {
                Destination::direct(ip(&format!("192.168.188.{}", 200 + number)), way.port, 50)
            });
            let front = Front::At { protocol: "tcp", address: ip(VIP), port: way.port };
            VirtualServer {
                persistence: shape.sticky.then_some(Persistence { seconds: 60, prefix: 32, sip: false }),
                ..VirtualServer::plain(front, shape.scheduler, std::iter::once(used).chain(others).collect())
            }
        };
        let more = (0..shape.more).map(|number| {
            let front = Front::At { protocol: "tcp", address: ip(VIP), port: 9000 + number };
            VirtualServer::plain(
                front,
                "rr",
                vec![Destination::direct(ip("192.168.188.199"), 9000 + number, 1)],
            )
        });
        let servers: Vec<VirtualServer> = self.ways.iter().map(server).chain(more).collect();
        head(&self.director, "1s")
            + &format!(
                "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.168.188.108\"\n\
                version = 3\nvrid = 51\n\
                 priority = 100\nadvert_interval = \"300ms\"\npreempt = true\ngarp_repeat = 2\ngarp_delay \
                 = \"1s\"\n\
                 vips = [\"{VIP}/32\"]\n\n[[sysctl]]\nkey = \"net/ipv4/ip_forward\"\nvalue = \"1\"\n\n"
            )
            + &toml(&servers)
    }

    fn deliver(&self, shape: &Shape) {
        let text = self.text(shape);
        deliver(self.lab, &self.director, &text);
        self.plan.set(text);
    }

    fn settle(&self) {
        let plan = self.plan.take();
        wait_converged(&self.director, &plan);
        self.plan.set(plan);
        eventually(PATIENCE, "the VIP is there", || self.director.has_address("eth0", VIP));
    }

    fn start(&self) -> Daemon {
        let daemon = self.lab.plans("plans").start(&self.director);
        eventually(PATIENCE, "the daemon answers", || status(&self.director).is_some());
        daemon
    }
}

#[test]
fn downloads_through_every_forwarding_method_outlive_everything_that_changes_around_them() {
    let replaced = size("EVENKEEL_REPLACED", NORMAL);
    guest_with(time_limit(Duration::from_secs(120), replaced, NORMAL), |lab| {
        let client = lab.host("client", "192.168.188.111/24");
        let director = lab.host("dir1", "192.168.188.108/24");
        let ways = ways(lab, &director);
        let mut world = World { lab, director, ways, plan: Cell::default() };
        world.deliver(&FIRST);
        let mut daemon = world.start();
        world.settle();
        let downloads: Vec<Download> = world
            .ways
            .iter()
            .map(|way| {
                lab.log(format!("{}: connects", way.name));
                let download = client.download_path(VIP, way.port, "/stream?ms=20&bytes=4096");
                download.responder(PATIENCE);
                download
            })
            .collect();
        for way in &world.ways {
            let to = Some(std::net::SocketAddr::new(ip(VIP), way.port));
            let table = world.director.ipvs();
            let service = table.iter().find(|service| service.address == to).expect("a service");
            assert_eq!(service.destinations[0].forward, way.forward, "{}", way.name);
            assert_eq!(service.destinations[0].active, 1, "{}: {service:?}", way.name);
        }
        let flow = |what: &str| {
            let began = mark();
            for (way, download) in world.ways.iter().zip(&downloads) {
                assert!(download.alive(), "{what}: {}: {:?}", way.name, download.end());
                download.wait_progress(PATIENCE);
                assert_eq!(download.body().1, None, "{what}: {}: a byte is wrong", way.name);
            }
            let stalls: Vec<Duration> = downloads.iter().map(Download::max_stall).collect();
            lab.log(format!(
                "{what}: all go on after {:?}; longest stalls so far {stalls:?}",
                began.elapsed()
            ));
        };
        flow("connected");

        for (what, shape) in [
            ("other weight", Shape { weight: 7, ..FIRST }),
            ("weight 0", Shape { weight: 0, ..FIRST }),
            ("three other destinations", Shape { others: 3, ..FIRST }),
            ("one other destination", Shape { others: 1, ..FIRST }),
            ("round robin", Shape { scheduler: "rr", ..FIRST }),
            ("source hashing, others", Shape { scheduler: "sh", others: 2, ..FIRST }),
            ("maglev hashing", Shape { scheduler: "mh", others: 2, ..FIRST }),
            ("persistence", Shape { sticky: true, ..FIRST }),
            ("thresholds", Shape { thresholds: (1, 1), ..FIRST }),
            ("other services", Shape { more: 20, ..FIRST }),
            ("as it was", FIRST),
        ] {
            world.deliver(&shape);
            world.settle();
            flow(what);
        }

        daemon.stop(PATIENCE);
        daemon = world.start();
        world.settle();
        flow("stopped and started");
        daemon.kill9();
        daemon = world.start();
        world.settle();
        flow("killed and started");
        daemon.stop(PATIENCE);
        world.deliver(&Shape { weight: 3, others: 2, scheduler: "lc", ..FIRST });
        daemon = world.start();
        world.settle();
        flow("stopped and started with another plan");

        let began = Instant::now();
        for number in 0..replaced {
            let shape = Shape {
                scheduler: ["wlc", "rr", "sh", "wrr", "mh"][number % 5],
                weight: (number % 4) as u32 * 10,
                others: (number % 3) as u8,
                sticky: number % 7 == 0,
                thresholds: if number % 6 == 0 { (5, 2) } else { (0, 0) },
                more: (number % 8) as u16,
            };
            world.deliver(&shape);
            let next = began + PACE * (u32::try_from(number).unwrap_or(u32::MAX) + 1);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let took = began.elapsed();
        lab.log(format!("{replaced} plans in {took:?}"));
        assert!(
            took < PACE * u32::try_from(replaced).unwrap_or(u32::MAX) * 2,
            "plans were written too slowly: {took:?}"
        );
        world.settle();
        flow("replaced again and again");
        assert!(daemon.is_running());

        for (way, download) in world.ways.iter_mut().zip(&downloads) {
            let sent = way.web.finish();
            eventually(PATIENCE, "the download ends", || !download.alive());
            let (received, wrong) = download.body();
            assert_eq!(wrong, None, "{}: a byte is wrong", way.name);
            assert_eq!(
                sent.get(&download.client()),
                Some(&received),
                "{}: bytes sent and received",
                way.name
            );
            assert_eq!(download.end().as_deref(), Some("closed by the server"), "{}", way.name);
            lab.log(format!("{}: {received} bytes, longest stall {:?}", way.name, download.max_stall()));
        }
    });
}
