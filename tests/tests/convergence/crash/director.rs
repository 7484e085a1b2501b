//! A director: services, destinations, time-outs, synchronisation, routes, rules, tunnels. It must never
//! announce a VIP that it cannot serve, nor leave a service without a destination, nor touch one that stays.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use lab::{eventually, guest_with};

use super::{Case, NORMAL};
use crate::plan::{Destination, Front, Method, Persistence, VirtualServer, toml};
use crate::random::Random;
use crate::support::{PATIENCE, head, size, time_limit};

const VIP: &str = "192.168.188.120";
const SECOND_VIP: &str = "192.168.188.121";
const REAL: &str = "192.168.188.107";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(address: &str, port: u16) -> Front {
    Front::At { protocol: "tcp", address: ip(address), port }
}

fn real(last: u8, port: u16, weight: u32) -> Destination {
    Destination::direct(ip(&format!("192.168.188.{last}")), port, weight)
}

/// The interval decides for how long the VIP stays while the daemon is dead, and how long a new one waits to
/// take it.
fn router(name: &str, vrid: u8, vip: &str, interval: &str) -> String {
    format!(
        "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nsource = \"192.168.188.108\"\n\
        version = 3\nvrid = {vrid}\n\
         priority = 100\nadvert_interval = \"{interval}\"\npreempt = true\ngarp_repeat = 2\ngarp_delay \
         = \"1s\"\nvips = [\"{vip}/32\"]\n\n"
    )
}

fn sync(id: u8) -> String {
    format!(
        "[connection_sync]\nmode = \"both\"\nrouter = \"VI_1\"\ninterface = \"eth0\"\nid = {id}\ngroup \
        = \"224.0.0.81\"\n\
         port = 8848\nttl = 1\n\n"
    )
}

/// The one that no plan changes.
fn untouched() -> VirtualServer {
    VirtualServer::plain(at(VIP, 80), "wlc", vec![real(107, 80, 100)])
}

fn few() -> Vec<VirtualServer> {
    vec![
        untouched(),
        VirtualServer::plain(
            at(VIP, 8001),
            "rr",
            vec![real(30, 8001, 1), real(31, 8001, 2), real(32, 8001, 3)],
        ),
        VirtualServer::plain(at(VIP, 8002), "wrr", vec![real(33, 8002, 1)]),
        VirtualServer::plain(Front::Mark { v6: false, mark: 9 }, "lc", vec![real(34, 80, 1)]),
    ]
}

fn many() -> Vec<VirtualServer> {
    let mut changed = VirtualServer::plain(
        at(VIP, 8001),
        "sh",
        vec![real(30, 8001, 9), real(35, 8001, 2), real(36, 8001, 3)],
    );
    changed.hash_port = true;
    let mut sticky = VirtualServer::plain(at(VIP, 8003), "wlc", vec![real(37, 8003, 1), real(38, 8003, 0)]);
    sticky.persistence = Some(Persistence { seconds: 300, prefix: 24, sip: false });
    let mut tunnelled = real(39, 8004, 5);
    tunnelled.method = Method::Gue { port: 6080, checksum: "udp" };
    let mut masked = real(40, 9000, 5);
    (masked.method, masked.thresholds) = (Method::Masquerade, (100, 50));
    vec![
        untouched(),
        changed,
        sticky,
        VirtualServer::plain(at(VIP, 8004), "mh", vec![tunnelled, masked]),
        VirtualServer::plain(at(SECOND_VIP, 80), "wlc", vec![real(107, 80, 1), real(41, 80, 1)]),
    ]
}

#[test]
fn a_director_killed_at_any_operation_announces_nothing_it_cannot_serve_and_comes_back() {
    let crashes = size("EVENKEEL_CRASHES", NORMAL);
    guest_with(time_limit(Duration::from_secs(150), crashes.min(200), NORMAL), |lab| {
        let mut random = Random::from_environment();
        let client = lab.host("client", "192.168.188.111/24");
        let host = lab.host("dir1", "192.168.188.108/24");
        let server = lab.host("rs1", &format!("{REAL}/24"));
        server.set_sysctl("net.ipv4.conf.all.arp_ignore", 1);
        server.set_sysctl("net.ipv4.conf.all.arp_announce", 2);
        server.add_address("lo", &format!("{VIP}/32"));
        let mut web = server.web(80);

        let mut plan = head(&host, "60s") + &router("VI_1", 51, VIP, "1s") + &toml(&few()) + &sync(5);
        _ = write!(
            plan,
            "[ipvs_timeouts]\ntcp = \"600s\"\ntcp_fin = \"60s\"\nudp = \"100s\"\n\n\
             [[route]]\ndestination = \"10.80.0.0/16\"\ninterface = \"eth0\"\nscope = \"global\"\n\
             table = 254\nvia = \"192.168.188.1\"\n\n\
             [[sysctl]]\nkey = \"net/ipv4/ip_forward\"\nvalue = \"1\"\n\n\
             [[sysctl]]\nkey = \"net/ipv4/vs/expire_nodest_conn\"\nvalue = \"1\"\n"
        );
        let mut large = head(&host, "60s")
            + &router("VI_1", 51, VIP, "1s")
            + &router("VI_2", 52, SECOND_VIP, "300ms")
            + &toml(&many())
            + &sync(6);
        _ = write!(
            large,
            "[ipvs_timeouts]\ntcp = \"700s\"\ntcp_fin = \"70s\"\nudp = \"200s\"\n\n\
             [[route]]\ndestination = \"10.80.0.0/16\"\ninterface = \"eth0\"\nscope = \"global\"\n\
             table = 254\nvia = \"192.168.188.2\"\n\n\
             [[route]]\ndestination = \"10.81.0.0/16\"\ninterface = \"eth0\"\nscope = \"link\"\n\
             table = 81\n\n\
             [[address]]\ninterface = \"lo\"\naddress = \"10.82.0.1/32\"\nscope = \"host\"\n\n\
             [[tunnel]]\ninterface = \"tun-d\"\nmode = \"ipip\"\nlocal = \"192.168.188.108\"\n\n\
             [[sysctl]]\nkey = \"net/ipv4/ip_forward\"\nvalue = \"1\"\n\n\
             [[sysctl]]\nkey = \"net/ipv4/vs/conn_reuse_mode\"\nvalue = \"0\"\n\n\
             [[sysctl]]\nkey = \"net/ipv4/conf/eth0/send_redirects\"\nvalue = \"0\"\n"
        );

        let services_of = |address: &str, port: u16| {
            let to = Some(std::net::SocketAddr::new(ip(address), port));
            host.ipvs().into_iter().find(|service| service.address == to)
        };
        let invariants = |context: &str| {
            let whole = services_of(SECOND_VIP, 80).is_some_and(|service| service.destinations.len() == 2);
            let announced = host.has_address("eth0", SECOND_VIP);
            assert!(whole || !announced, "{context}: {SECOND_VIP} is announced and not served");
            let kept = services_of(VIP, 80).map(|service| service.destinations.len());
            assert_eq!(kept, Some(1), "{context}: the service that no plan changes");
            let changed = services_of(VIP, 8001).map(|service| service.destinations.len());
            assert!(
                changed >= Some(3),
                "{context}: a service that both plans have has {changed:?} destinations"
            );
        };
        let complete =
            |plan| host.has_address("eth0", VIP) && host.has_address("eth0", SECOND_VIP) == (plan == 1);
        let keys = [
            "net/ipv4/ip_forward",
            "net/ipv4/vs/expire_nodest_conn",
            "net/ipv4/vs/conn_reuse_mode",
            "net/ipv4/conf/eth0/send_redirects",
        ];
        let download = std::cell::OnceCell::new();
        let alive = |context: &str| {
            invariants(context);
            let download = download.get_or_init(|| client.download(VIP, 80));
            assert!(download.alive(), "{context}: the download ended: {:?}", download.end());
        };
        let case = Case {
            lab,
            host: host.clone(),
            plans: [plan, large],
            settings: keys.map(str::to_owned).to_vec(),
            invariants: &alive,
            complete: &complete,
        };
        case.run(&mut random, crashes);

        let download = download.into_inner().expect("there was a kill");
        download.wait_progress(PATIENCE);
        lab.log(format!("{} bytes, longest stall {:?}", download.bytes(), download.max_stall()));
        let sent = web.finish();
        eventually(PATIENCE, "the download ends", || !download.alive());
        let (received, wrong) = download.body();
        assert_eq!(wrong, None, "a byte is wrong");
        assert_eq!(sent.get(&download.client()), Some(&received), "bytes sent and received");
    });
}
