//! The host that is meddled with: a director with two virtual routers and services of many sorts that is a
//! real server as well. Its plan, and what of it a mutation needs to know.

use lab::Host;

use crate::look::Settings;
use crate::plan::{self, Destination, Front, VirtualServer, toml};
use crate::random::Random;
use crate::support::head;

pub(crate) const VIPS: [&str; 2] = ["192.168.188.120", "192.168.188.121"];
pub(crate) const MACVLAN: &str = "vrrp52";
/// `(address, label, scope)` on `lo`.
pub(crate) const ADDRESSES: [(&str, &str, &str); 4] = [
    ("192.168.188.130/32", "lo:0", "global"),
    ("192.168.188.131/32", "lo:1", "global"),
    ("192.168.188.132/32", "lo", "host"),
    ("2001:db8::130/128", "", "global"),
];
/// Routes as `ip route` takes them.
pub(crate) const ROUTES: [&str; 5] = [
    "192.168.188.130/32 dev lo scope link",
    "10.60.0.0/16 dev eth0 scope link",
    "10.61.0.0/16 via 192.168.188.1 dev eth0",
    "10.62.0.0/16 via 192.168.188.2 dev eth0 table 77 metric 5",
    "2001:db8:61::/64 dev lo",
];
/// Name, mode and local address.
pub(crate) const TUNNELS: [(&str, &str, &str); 2] =
    [("tun-a", "ipip", "192.168.188.108"), ("tun-b", "gre", "192.168.188.108")];
/// Key, value, and another one.
pub(crate) const SETTINGS: [(&str, &str, &str); 8] = [
    ("net/ipv4/ip_forward", "1", "0"),
    ("net/ipv4/conf/all/arp_ignore", "1", "0"),
    ("net/ipv4/conf/all/arp_announce", "2", "1"),
    ("net/ipv4/conf/lo/arp_ignore", "1", "2"),
    ("net/ipv4/conf/all/rp_filter", "0", "2"),
    ("net/ipv4/vs/expire_nodest_conn", "1", "0"),
    ("net/ipv4/vs/conn_reuse_mode", "0", "1"),
    ("net/core/somaxconn", "8192", "100"),
];
/// A setting that no plan knows.
pub(crate) const FOREIGN_SETTING: &str = "net/ipv4/conf/eth0/log_martians";

pub(crate) struct World {
    pub(crate) servers: Vec<VirtualServer>,
    /// Services of others, as `ipvsadm` and the kernel's own words name them.
    pub(crate) foreign_services: Vec<String>,
    /// Others' objects that are there, with what removes them; a service's is in both lists.
    pub(crate) foreign: Vec<(String, Vec<String>)>,
}

pub(crate) fn settings() -> Settings {
    SETTINGS.iter().map(|(key, ..)| *key).chain([FOREIGN_SETTING]).map(str::to_owned).collect()
}

/// A word after another one.
fn after<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.split_whitespace().skip_while(|other| *other != word).nth(1)
}

impl World {
    pub(crate) fn new(random: &mut Random) -> Self {
        let mut servers = Vec::new();
        while servers.len() < 10 {
            for mut server in plan::generate(random, 8, 5) {
                // The kernel takes no destination of the other family while connections are synchronised.
                let v6 = server.front.is_v6();
                server.destinations.retain(|destination| destination.address.is_ipv6() == v6);
                if !servers.iter().any(|other: &VirtualServer| other.front == server.front) {
                    servers.push(server);
                }
            }
        }
        let at = |address: &str, port| Front::At {
            protocol: "tcp",
            address: address.parse().expect("an address"),
            port,
        };
        let real = |last: u8| {
            let address = format!("192.168.188.{last}").parse().expect("an address");
            Destination::direct(address, 80, u32::from(last))
        };
        servers.push(VirtualServer::plain(at(VIPS[0], 80), "wlc", vec![real(1), real(2), real(3)]));
        servers.push(VirtualServer::plain(at(VIPS[1], 80), "rr", vec![real(4)]));
        Self { servers, foreign_services: Vec::new(), foreign: Vec::new() }
    }

    pub(crate) fn announced(&self, host: &Host) -> bool {
        host.has_address("eth0", VIPS[0])
            && host.every_address().iter().any(|address| address.ip.to_string() == VIPS[1])
    }

    /// The plan; drift is put right, or told.
    pub(crate) fn plan(&self, host: &Host, report: bool) -> String {
        let mut text = head(host, "1s");
        if report {
            text += "[policy.drift]\n";
            for kind in ["links", "addresses", "routes", "sysctls", "ipvs"] {
                text += &format!("{kind} = \"report\"\n");
            }
        }
        for (name, vrid, vip, more) in [
            (
                "VI_1",
                51,
                VIPS[0],
                "[[router.routes]]\ndestination = \"10.90.0.0/16\"\nvia = \"192.168.188.9\"\ninterface \
                = \"eth0\"\ntable = 90\nmetric = 7\n\n\
                 [[router.rules]]\npreference = 900\nfrom = \"10.90.0.0/16\"\ntable = 90\n",
            ),
            ("VI_2", 52, VIPS[1], "virtual_mac = { interface = \"vrrp52\", advertise_from_base = true }\n"),
        ] {
            text += &format!(
                "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nsource = \"192.168.188.108\"\nversion \
                = 3\nvrid = {vrid}\n\
                 priority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 2\ngarp_delay \
                 = \"1s\"\n\
                 vips = [\"{vip}/32\"]\n{more}\n"
            );
        }
        text += &toml(&self.servers);
        text += "[ipvs_timeouts]\ntcp = \"600s\"\ntcp_fin = \"60s\"\nudp = \"100s\"\n\n\
                 [connection_sync]\nmode = \"both\"\nrouter = \"VI_1\"\ninterface = \"eth0\"\nid = 5\ngroup \
                 = \"224.0.0.81\"\nport = 8848\nttl = 1\n\n";
        for (address, label, scope) in ADDRESSES {
            text +=
                &format!("[[address]]\ninterface = \"lo\"\naddress = \"{address}\"\nscope = \"{scope}\"\n");
            if label.contains(':') {
                text += &format!("label = \"{label}\"\n");
            }
        }
        for route in ROUTES {
            let destination = route.split(' ').next().unwrap_or_default();
            let [via, metric] = ["via", "metric"].map(|word| after(route, word));
            text += &format!(
                "[[route]]\ndestination = \"{destination}\"\ninterface = \"{}\"\nscope = \"{}\"\n\
                 table = {}\n",
                after(route, "dev").unwrap_or_default(),
                after(route, "scope").unwrap_or("global"),
                after(route, "table").unwrap_or("254"),
            );
            text += &via.map_or_else(String::new, |via| format!("via = \"{via}\"\n"));
            text += &metric.map_or_else(String::new, |metric| format!("metric = {metric}\n"));
        }
        for (name, mode, local) in TUNNELS {
            text += &format!("[[tunnel]]\ninterface = \"{name}\"\nmode = \"{mode}\"\nlocal = \"{local}\"\n");
        }
        for (key, value, _) in SETTINGS {
            text += &format!("[[sysctl]]\nkey = \"{key}\"\nvalue = \"{value}\"\n");
        }
        text
    }
}
