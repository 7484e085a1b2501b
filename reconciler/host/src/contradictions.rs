//! Contradictions of a plan that its schema cannot express: values that exclude or need each other.
//!
//! The compiler never writes such a plan. A plan that somebody else made and sealed would be put in force in
//! part, without a word, or fail in the kernel with an error that helps nobody.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_converge::paths;
use evenkeel_schemas::plan::{Family, Forwarding, Front, Plan, VirtualServer};
use evenkeel_schemas::scalars::Span;

/// Shortest probation, milliseconds.
const MIN_PROBATION_MILLIS: u32 = 5000;

/// The first contradiction of a plan, as a sentence for people; none when the plan is consistent.
pub fn first(plan: &Plan) -> Option<String> {
    let mut fronts = BTreeSet::new();
    let servers = &mut plan.virtual_servers.iter();
    let server = servers.find_map(|server| virtual_server(server, &mut fronts));
    server.or_else(|| checks(plan, &fronts)).or_else(|| tunnels(plan)).or_else(|| times(plan))
}

fn virtual_server(server: &VirtualServer, fronts: &mut BTreeSet<Front>) -> Option<String> {
    let name = &server.name;
    let Some(front) = server.front() else {
        return Some(format!(
            "virtual server {name} needs either address, port and protocol or firewall_mark and family"
        ));
    };
    if !fronts.insert(front) {
        return Some(format!("two virtual servers are {front}"));
    }
    let by_mark = matches!(front, Front::Mark { .. });
    // A service by firewall mark may name the VIPs that its marks stand for; a service by address has its VIP
    // already.
    if !by_mark && !server.vips.is_empty() {
        return Some(format!("virtual server {name} has both address and vips"));
    }
    let mut sockets = BTreeSet::new();
    for destination in &server.destinations {
        let socket = destination.socket();
        if destination.port.is_none() && !by_mark {
            return Some(format!("destination {socket} of {front} has no port"));
        }
        let tunnelled = destination.forwarding == Forwarding::Tun;
        if tunnelled != destination.encapsulation().is_some() {
            let what = if tunnelled { "is tunnelled without" } else { "is not tunnelled and has an" };
            return Some(format!("destination {socket} of {front} {what} encapsulation"));
        }
        let v6 = destination.address.0.is_ipv6();
        if !tunnelled && v6 != front.is_v6() {
            return Some(format!("destination {socket} of {front} is of the other address family"));
        }
        if !sockets.insert(socket.clone()) {
            return Some(format!("destination {socket} of {front} is there twice"));
        }
    }
    None
}

/// Checks that go through IPVS: by mark, destination and address they come from.
fn checks(plan: &Plan, fronts: &BTreeSet<Front>) -> Option<String> {
    let marks = fronts.iter().filter_map(|front| match front {
        Front::Mark { family, mark } => Some((*family == Family::Ipv6, mark.get())),
        Front::Transport { .. } => None,
    });
    let marks: BTreeSet<(bool, u32)> = marks.collect();
    let mut targets = BTreeMap::new();
    for (destination, check, through) in paths::checks(plan) {
        let (mark, v6) = (through.mark, through.vip.0.is_ipv6());
        let socket = destination.socket();
        if marks.contains(&(v6, mark.get())) {
            return Some(format!("mark {mark} is of a virtual server and of the checks of {socket}"));
        }
        if check.address() != Some(destination.address) {
            return Some(format!("a check of {socket} with mark {mark} goes to another host"));
        }
        if check.origin.source.is_none_or(|source| source.0.is_ipv6() != v6) {
            return Some(format!("a check of {socket} goes to {} from another family", through.vip));
        }
        let target = paths::target(destination, check);
        if *targets.entry((v6, mark.get())).or_insert(target) != target {
            return Some(format!("mark {mark} is of two ways, one of them to {socket}"));
        }
    }
    None
}

fn tunnels(plan: &Plan) -> Option<String> {
    let mut interfaces = BTreeSet::new();
    for tunnel in &plan.tunnels {
        let interface = &tunnel.interface;
        if tunnel.local.0.is_ipv6() != tunnel.mode.is_outer_v6() {
            return Some(format!("tunnel {interface} cannot have its end at {}", tunnel.local));
        }
        if tunnel.checksum && !tunnel.mode.is_gre() {
            return Some(format!("tunnel {interface} cannot have a checksum"));
        }
        if !interfaces.insert(interface) {
            return Some(format!("two tunnels are called {interface}"));
        }
    }
    let made = plan.routers.iter().filter_map(|router| Some(&router.virtual_mac.as_ref()?.interface));
    let mut both = made.filter(|interface| interfaces.contains(interface));
    if let Some(interface) = both.next() {
        return Some(format!("{interface} is a tunnel and a virtual MAC address"));
    }
    let two_families = |server: &VirtualServer| {
        let v6 = server.front().is_some_and(|front| front.is_v6());
        server.destinations.iter().any(|destination| destination.address.0.is_ipv6() != v6)
        // The synchronisation protocol of IPVS cannot carry connections whose destination is of the other
        // family:
        // the kernel refuses such a destination.
    };
    let mixed = plan.virtual_servers.iter().find(|server| two_families(server));
    mixed.filter(|_| plan.connection_sync.is_some()).map(|server| {
        format!(
            "virtual server {} has a destination of the other address family, and connections are \
                synchronised",
            server.name
        )
    })
}

fn times(plan: &Plan) -> Option<String> {
    // IPVS takes its time-outs in whole seconds.
    let in_seconds = |what: &str, span: Span, least: u32| {
        let millis = span.as_millis();
        let right = millis.is_multiple_of(1000) && millis >= least;
        (!right).then(|| format!("{what} cannot be {span}"))
    };
    let timeouts = plan.ipvs_timeouts.iter().flat_map(|timeouts| {
        [
            ("the TCP time-out", timeouts.tcp),
            ("the time-out after a FIN", timeouts.tcp_fin),
            ("the UDP time-out", timeouts.udp),
        ]
    });
    let probation = plan.policy.probation.iter();
    let mut wrong = timeouts.filter_map(|(what, span)| in_seconds(what, span, 1000)).chain(
        probation.filter_map(|probation| in_seconds("a probation", probation.timeout, MIN_PROBATION_MILLIS)),
    );
    wrong.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = r#"
format = 1
cluster = "c"
host = "dir1"
host_addresses = ["192.0.2.1"]
policy = { resync = "5s", exclusive_ipvs = false, probation = { timeout = "30s" } }
ipvs_timeouts = { tcp = "15m", tcp_fin = "2m", udp = "5m" }
[connection_sync]
mode = "follow"
router = "VI_1"
interface = "eth0"
id = 51
group = "224.0.0.81"
port = 8848
ttl = 1
[[tunnel]]
interface = "ek-ipip"
mode = "ipip"
local = "192.0.2.1"
[[virtual_server]]
name = "web"
address = "192.0.2.9"
port = 80
protocol = "tcp"
scheduler = "rr"
one_packet = false
[[virtual_server.destination]]
host = "rs1"
address = "192.0.2.21"
port = 80
weight = 1
forwarding = "tun"
encapsulation = { type = "gue", port = 6080, checksum = "none" }
[[virtual_server]]
name = "marked"
firewall_mark = 7
family = "ipv4"
vips = ["192.0.2.9"]
scheduler = "rr"
one_packet = false
[[virtual_server.destination]]
host = "rs1"
address = "192.0.2.21"
weight = 1
forwarding = "dr"
check = { type = "tcp", address = "192.0.2.21", port = 80, source = "192.0.2.1", through = { vip = "192.0.2.9", port = 80, mark = 70 }, interval = "5s", timeout = "5s", retries = 1, retry_delay = "1s" }
"#;

    fn plan(text: &str) -> Plan {
        toml::from_str(text).expect("a plan")
    }

    #[test]
    fn a_consistent_plan_has_no_contradiction() {
        assert_eq!(first(&plan(PLAN)), None);
    }

    #[test]
    fn each_contradiction_is_named() {
        for (from, to, want) in [
            ("protocol = \"tcp\"\n", "", "virtual server web needs either"),
            ("firewall_mark = 7\n", "firewall_mark = 7\nport = 80\n", "virtual server marked needs either"),
            ("protocol = \"tcp\"\n", "protocol = \"tcp\"\nvips = [\"192.0.2.9\"]\n", "both address and vips"),
            ("port = 80\nweight", "weight", "192.0.2.21 of tcp 192.0.2.9:80 has no port"),
            (
                "encapsulation = { type = \"gue\", port = 6080, checksum = \"none\" }",
                "",
                "is tunnelled without",
            ),
            (
                "forwarding = \"dr\"",
                "forwarding = \"dr\"\nencapsulation = { type = \"ipip\" }",
                "is not tunnelled",
            ),
            ("192.0.2.21\"\nweight", "2001:db8::21\"\nweight", "2001:db8::21 of fwmark 7 is of the other"),
            ("192.0.2.21\"\nport", "2001:db8::21\"\nport", "connections are synchronised"),
            ("mark = 70", "mark = 7", "mark 7 is of a virtual server and of the checks of 192.0.2.21"),
            ("\"tcp\", address = \"192.0.2.21", "\"tcp\", address = \"192.0.2.22", "goes to another host"),
            ("source = \"192.0.2.1\"", "source = \"2001:db8::1\"", "to 192.0.2.9 from another family"),
            (
                "weight = 1\nforwarding = \"tun\"",
                "weight = 1\ncheck = { type = \"tcp\", address = \"192.0.2.21\", port = 80, source = \
                 \"192.0.2.1\", through = { vip = \"192.0.2.9\", port = 80, mark = 70 }, interval = \"5s\", \
                 timeout = \"5s\", retries = 1, retry_delay = \"1s\" }\nforwarding = \"tun\"",
                "mark 70 is of two ways, one of them to 192.0.2.21",
            ),
            ("local = \"192.0.2.1\"", "local = \"2001:db8::1\"", "tunnel ek-ipip cannot"),
            ("udp = \"5m\"", "udp = \"500ms\"", "the UDP time-out cannot be 500ms"),
            ("timeout = \"30s\"", "timeout = \"4s\"", "a probation cannot be 4s"),
        ] {
            let text = PLAN.replacen(from, to, 1);
            assert_ne!(text, PLAN, "{from}");
            let found = first(&plan(&text)).unwrap_or_default();
            assert!(found.contains(want), "{found:?} does not say {want:?}");
        }
        let twice = |part: &str| format!("{PLAN}{}", &PLAN[PLAN.find(part).expect("part")..]);
        assert_eq!(
            first(&plan(&twice("[[virtual_server]]\nname = \"marked\""))).as_deref(),
            Some("two virtual servers are fwmark 7")
        );
        let destination = PLAN.rfind("[[virtual_server.destination]]").expect("destination");
        let found = first(&plan(&format!("{PLAN}{}", &PLAN[destination..]))).unwrap_or_default();
        assert!(found.contains("192.0.2.21 of fwmark 7 is there twice"), "{found}");
    }
}
