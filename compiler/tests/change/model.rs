//! A small model of a cluster from which the text of `cluster.toml` is written.
//!
//! Every decision has a byte of its own, so that two inputs that differ in one byte give two
//! clusters that differ in one decision. What is not valid together is left out, not mended later.
//! To let a new part of the language take part, give it a byte and write it.

use std::fmt::Write;

pub(crate) const BYTES: usize = 160 + HOSTS;

/// Hosts on the first segment, and on the second.
const FRONT: usize = 5;
const HOSTS: usize = 7;

/// VIPs on the first segment, and on the second.
const FRONT_VIPS: usize = 4;
const VIPS: usize = 5;

/// Virtual routers on the first segment, and on the second.
const FRONT_ROUTERS: usize = 3;
const ROUTERS: usize = 4;

const SERVICES: usize = 5;

struct Router {
    name: String,
    vrid: usize,
    vips: Vec<usize>,
    /// Those of `vips` that are not advertised.
    unadvertised: Vec<usize>,
    /// The last part of its IPv6 VIP.
    v6: Option<usize>,
    directors: Vec<usize>,
    index: usize,
    at: usize,
    /// Where the bytes of its election are.
    more: usize,
}

impl Router {
    fn version(&self, bytes: &[u8; BYTES]) -> usize {
        if self.v6.is_some() { 3 } else { 2 + usize::from(bytes[self.at]) % 2 }
    }
}

/// Where the bytes of the routers' elections begin, and how many each has.
const MORE: usize = 80;
const MORE_EACH: usize = 8;
const TURN_NAMES: usize = 112;
const TRACKERS: usize = 113;
const TURN_V6: usize = 114;
const GROUP: usize = 115;
const GROUP_NAME: usize = 116;
const GROUP_TRACK: usize = 117;
/// Where the bytes of what services have besides begin, and how many each has.
const SERVICE_MORE: usize = 118;
const SERVICE_MORE_EACH: usize = 6;
/// One for each host.
const GATEWAYS: usize = 148;
const PROBATION: usize = 155;
const GRE_CHECKSUM: usize = 156;
const TIMEOUTS: usize = 156;
const SYNC: usize = 157;
/// One for each host: whether it is drained, and whether it is in maintenance.
const OUT: usize = 160;

/// The text that `bytes` stand for.
pub(crate) fn text(bytes: &[u8; BYTES]) -> String {
    let byte = |at: usize| usize::from(bytes[at]);
    let present: Vec<bool> = (0..HOSTS).map(|host| byte(host) % 8 != 0).collect();
    let routers = routers(bytes, &present);
    let services = services(bytes, &present, &routers);
    let mut text = String::from(
        "version = 1\nname = \"pair\"\n[segments.front]\nsubnets = [\"192.0.2.0/24\", \"2001:db8::/64\"]\n\
         [segments.back]\nsubnets = [\"198.51.100.0/24\", \"2001:db8:b::/64\"]\n[hosts]\n",
    );
    for host in (0..HOSTS).filter(|host| present[*host]) {
        let moved = if byte(7 + host) % 16 == 1 { 100 } else { 0 };
        let protected = if byte(7 + host) % 16 == 2 { ", prevent_removal = true" } else { "" };
        let out = out(bytes, host, &routers, &services);
        let _ = writeln!(
            text,
            "h{host} = {{ address = \"{}{}\", addresses = [\"{}\"], interface = \"eth{}\"{protected}{out}{} \
            }}",
            net(host >= FRONT),
            10 + host + moved,
            address6(bytes, host),
            usize::from(byte(7 + host) % 16 == 3),
            gateway(bytes, host, &routers, &services),
        );
    }
    for router in &routers {
        let quoted = |vip: &usize| format!("\"{}\"", vip_address(*vip));
        let advertised = router.vips.iter().filter(|vip| !router.unadvertised.contains(vip));
        let mut vips: Vec<String> = advertised.map(quoted).collect();
        if let Some(v6) = router.v6 {
            vips.push(format!("\"{}{v6}\"", net6(router.index >= FRONT_ROUTERS)));
            vips.push(format!("\"fe80::{v6}\""));
        }
        let directors: Vec<String> = router.directors.iter().map(|host| format!("\"h{host}\"")).collect();
        let _ = writeln!(
            text,
            "[virtual_routers.{}]\nvrid = {}\nvips = [{}]\ndirectors = [{}]",
            router.name,
            router.vrid,
            vips.join(", "),
            directors.join(", ")
        );
        let version = router.version(bytes);
        let _ = writeln!(text, "version = {version}");
        let _ = writeln!(text, "advert_interval = \"{}s\"", 1 + byte(router.at + 1) % 2);
        if version == 2 && byte(router.at + 2) % 3 > 0 {
            let secret = ["", "literal = \"one\"", "literal = \"two\"", "file = \"/etc/pass\""]
                [1 + byte(router.at + 2) / 3 % 3];
            let _ = writeln!(text, "auth = {{ type = \"pass\", secret = {{ {secret} }} }}");
        }
        let preempt_at = if router.index == 1 && grouped(bytes) { 20 } else { router.at };
        if byte(preempt_at + 3) % 4 == 0 {
            text.push_str("preempt = false\n");
        }
        election(bytes, router, &mut text);
    }
    shared(bytes, &routers, &mut text);
    services.iter().for_each(|service| service.write(bytes, &mut text));
    let two_families = services.iter().any(|service| service.other_family);
    let of_sync = routers.get(byte(SYNC) % (2 * ROUTERS)).filter(|_| !two_families);
    if let Some(router) = of_sync {
        let mode = ["follow", "both"][byte(SYNC) / 8 % 2];
        let _ = writeln!(text, "[connection_sync.all]\nrouter = \"{}\"\nmode = \"{mode}\"", router.name);
    }
    if byte(TIMEOUTS) % 3 == 0 {
        let _ = writeln!(text, "[ipvs.timeouts]\ntcp = \"{}s\"", 60 + byte(TIMEOUTS));
    }
    let _ = writeln!(text, "[policy]\nresync = \"{}s\"", 5 + byte(BYTES - 1) % 2);
    if byte(PROBATION) % 4 == 0 {
        let confirm = ["operator", "checks"][byte(PROBATION) / 4 % 2];
        let _ = writeln!(text, "probation = {{ timeout = \"30s\", confirm = \"{confirm}\" }}");
    }
    text
}

fn address6(bytes: &[u8; BYTES], host: usize) -> String {
    let moved = if bytes[7 + host] % 16 == 1 { 100 } else { 0 };
    format!("{}{}", net6(host >= FRONT), 10 + host + moved)
}

/// Whether a real server is drained, and whether a director is in maintenance where every router has another
/// one.
fn out(bytes: &[u8; BYTES], host: usize, routers: &[Router], services: &[Service<'_>]) -> &'static str {
    let byte = |host: usize| usize::from(bytes[OUT + host]);
    let serves = services.iter().any(|service| service.hosts.contains(&host));
    let wants_out = |host: &usize| byte(*host) / 3 % 3 == 0;
    let is_of = |router: &&Router| router.directors.contains(&host);
    let others_stay = |router: &Router| !router.directors.iter().all(wants_out);
    let directs = routers.iter().any(|router| is_of(&router));
    let may_go = directs && routers.iter().filter(is_of).all(others_stay);
    match (serves && byte(host) % 3 == 0, may_go && wants_out(&host)) {
        (true, true) => ", drain = true, maintenance = true",
        (true, false) => ", drain = true",
        (false, true) => ", maintenance = true",
        (false, false) => "",
    }
}

/// A gateway that masqueraded services of the host allow, and that is not its own.
fn gateway(bytes: &[u8; BYTES], host: usize, routers: &[Router], services: &[Service<'_>]) -> String {
    let byte = usize::from(bytes[GATEWAYS + host]);
    let of_host = |service: &&Service<'_>| service.hosts.contains(&host);
    let holds = |vip: &usize| {
        let mut holding = services.iter().filter(of_host).filter(|service| service.forwarding != "nat");
        holding.any(|service| match &service.taken {
            Taken::Vip(own) => own == vip,
            Taken::Mark { v6, .. } => !v6 && service.router.vips.contains(vip),
            Taken::Vip6(_) => false,
        })
    };
    let same_directors = |a: &Router, b: &Router| {
        a.directors.len() == b.directors.len() && a.directors.iter().all(|host| b.directors.contains(host))
    };
    let allowed = |router: &&Router| {
        let masqueraded = services.iter().filter(of_host).filter(|service| service.forwarding == "nat");
        let mut masqueraded = masqueraded.filter(|service| !service.router.directors.contains(&host));
        !router.directors.contains(&host) && masqueraded.all(|service| same_directors(service.router, router))
    };
    let here = |vip: &&usize| (**vip >= FRONT_VIPS) == (host >= FRONT);
    let vips: Vec<usize> = routers
        .iter()
        .filter(allowed)
        .flat_map(|router| router.vips.iter().filter(here).filter(|vip| !holds(vip)).copied())
        .collect();
    match vips.get(byte / 2 % vips.len().max(1)).filter(|_| byte % 2 == 0) {
        Some(vip) => format!(", gateway = \"{}\"", vip_address(*vip)),
        None => String::new(),
    }
}

/// What an election has besides.
fn election(bytes: &[u8; BYTES], router: &Router, text: &mut String) {
    let byte = |at: usize| usize::from(bytes[router.more + at]);
    let list: Vec<String> =
        router.unadvertised.iter().map(|vip| format!("\"{}\"", vip_address(*vip))).collect();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line(&format!("unadvertised_vips = [{}]", list.join(", ")));
    match byte(0) % 5 {
        0 => line("unicast = {}"),
        1 => line("unicast = { ttl = 64, min_ttl = 60 }"),
        _ => {}
    }
    let turned = (router.index + usize::from(bytes[TURN_NAMES]) % 2) % ROUTERS;
    match byte(1) % 4 {
        0 => line("virtual_mac = {}"),
        1 => line(&format!("virtual_mac = {{ interface = \"vm{turned}\" }}")),
        _ => {}
    }
    line(
        ["track = [{ tracker = \"up\", weight = -20 }]", "track = [{ tracker = \"script\" }]", "track = []"]
            [byte(3) % 3],
    );
    if let Some(vip) = router.vips.first().filter(|_| byte(4) % 3 == 0) {
        line(&format!("vip_settings = {{ \"{}\" = {{ prefix = 24 }} }}", vip_address(*vip)));
    }
    match byte(5) % 6 {
        0 => line("startup_delay = \"9s\""),
        1 => line("garp = { refresh = \"1m\", interval = \"1ms\" }"),
        2 => line("checksum = \"message_only\""),
        _ => {}
    }
    match byte(6) % 5 {
        0 => line("hooks.master = { command = [\"/bin/true\", \"a\"] }"),
        1 => line("routes = [{ destination = \"203.0.113.0/24\" }]"),
        2 => line("rules = [{ preference = 10, table = 100, firewall_mark = 1 }]"),
        _ => {}
    }
}

/// What routers share.
fn shared(bytes: &[u8; BYTES], routers: &[Router], text: &mut String) {
    let byte = |at: usize| usize::from(bytes[at]);
    let _ = writeln!(
        text,
        "[trackers]\nup = {{ type = \"interface\", interface = \"eth0\" }}\n\
         script = {{ type = \"script\", command = [\"/bin/true\"], interval = \"{}s\" }}\n\
         process = {{ type = \"process\", process = \"conntrackd\" }}",
        1 + byte(TRACKERS) % 2
    );
    let members: Vec<String> = routers
        .iter()
        .filter(|router| router.index < 2)
        .map(|router| format!("\"{}\"", router.name))
        .collect();
    if grouped(bytes) && members.len() == 2 {
        let name = ["group", "union"][byte(GROUP_NAME) % 2];
        let track = ["", "{ tracker = \"process\" }"][byte(GROUP_TRACK) % 2];
        let _ = writeln!(
            text,
            "[sync_groups.{name}]\nvirtual_routers = [{}]\ntrack = [{track}]\n\
             hooks.any = {{ command = [\"/bin/true\"] }}",
            members.join(", ")
        );
    }
}

/// Whether the first two routers are a group: then they have the same directors, and preempt alike.
fn grouped(bytes: &[u8; BYTES]) -> bool {
    bytes[GROUP].is_multiple_of(3)
}

fn net6(back: bool) -> &'static str {
    if back { "2001:db8:b::" } else { "2001:db8::" }
}

fn net(back: bool) -> &'static str {
    if back { "198.51.100." } else { "192.0.2." }
}

fn vip_address(vip: usize) -> String {
    format!("{}{}", net(vip >= FRONT_VIPS), 200 + vip)
}

fn routers(bytes: &[u8; BYTES], present: &[bool]) -> Vec<Router> {
    let byte = |at: usize| usize::from(bytes[at]);
    let mut vrids: [usize; ROUTERS] = [51, 52, 53, 54];
    vrids.rotate_left(byte(14) % 4);
    if byte(14) / 4 % 2 == 1 {
        vrids.swap(0, 1);
    }
    let mut routers = Vec::new();
    for (index, vrid) in vrids.into_iter().enumerate() {
        let back = index >= FRONT_ROUTERS;
        let vips: Vec<usize> =
            (0..VIPS)
                .filter(|vip| {
                    if back { *vip >= FRONT_VIPS } else { *vip < FRONT_VIPS && byte(15 + vip) % 4 == index }
                })
                .collect();
        let at = 20 + index * 7;
        let more = MORE + index * MORE_EACH;
        let chosen_at = if index == 1 && grouped(bytes) { 20 } else { at };
        let hosts = if back { FRONT..HOSTS } else { 0..FRONT };
        let mut directors: Vec<usize> =
            hosts.filter(|host| present[*host] && byte(chosen_at + 4) >> (host % FRONT) & 1 == 1).collect();
        let turned = if back { index } else { (index + byte(TURN_V6) % 2) % FRONT_ROUTERS };
        let v6 = (byte(more + 7) % 3 == 0).then_some(200 + turned);
        if vips.is_empty() && v6.is_none() || directors.is_empty() {
            continue;
        }
        let keep = usize::from(v6.is_none());
        let hidden = |vip: &&usize| byte(more + 2) >> (*vip % 4) & 1 == 1;
        let unadvertised = vips.iter().skip(keep).filter(hidden).copied().collect();
        let turn = byte(chosen_at + 5) % directors.len();
        directors.rotate_left(turn);
        let name = format!("VI_{index}{}", if byte(at + 6) % 8 == 0 { "_renamed" } else { "" });
        let vrid = if back { 51 + byte(at + 6) / 8 % 3 } else { vrid };
        routers.push(Router { name, vrid, vips, unadvertised, v6, directors, index, at, more });
    }
    routers
}

/// What takes packets to a service.
enum Taken {
    Vip(usize),
    Vip6(String),
    Mark { mark: usize, v6: bool },
}

struct Service<'a> {
    index: usize,
    router: &'a Router,
    taken: Taken,
    port: usize,
    forwarding: &'static str,
    hosts: Vec<usize>,
    /// Whether its tunnels lead into the other family.
    other_family: bool,
    /// Where its bytes are, and those of what it has besides.
    at: usize,
    more: usize,
}

fn services<'a>(bytes: &[u8; BYTES], present: &[bool], routers: &'a [Router]) -> Vec<Service<'a>> {
    let byte = |at: usize| usize::from(bytes[at]);
    let mut services: Vec<Service<'_>> = Vec::new();
    let mut taken_before = Vec::new();
    for index in 0..SERVICES {
        let at = 48 + index * 6;
        let more = SERVICE_MORE + index * SERVICE_MORE_EACH;
        let vip = byte(at) % VIPS;
        let kind = byte(more) % 8;
        let with_vip = routers.iter().find(|router| router.vips.contains(&vip));
        let with_v6 = routers.iter().filter(|router| router.v6.is_some()).nth(byte(at) % 2);
        let Some(router) = (if kind < 3 { with_v6.or(with_vip) } else { with_vip }) else {
            continue;
        };
        let v6 = router.v6.map(|v6| format!("{}{v6}", net6(router.index >= FRONT_ROUTERS)));
        let taken = match (kind, v6) {
            (0, v6) => Taken::Mark { mark: 1 + index, v6: v6.is_some() },
            (3, _) => Taken::Mark { mark: 1 + index, v6: false },
            (1 | 2, Some(v6)) => Taken::Vip6(v6),
            _ if router.vips.contains(&vip) => Taken::Vip(vip),
            _ => continue,
        };
        let port = 80 + byte(at + 1) % 2;
        let is_v6 = matches!(taken, Taken::Vip6(_) | Taken::Mark { v6: true, .. });
        let forwarding = ["dr", "dr", "tun", "tun", "tun", "nat"][byte(more + 1) % 6];
        let hosts = if router.index >= FRONT_ROUTERS { FRONT..HOSTS } else { 0..FRONT };
        let both = byte(more + 3) % 3 == 0;
        let hosts: Vec<usize> = hosts
            .filter(|host| present[*host] && (both || !router.directors.contains(host)))
            .filter(|host| byte(at + 2) >> (host % FRONT) & 1 == 1)
            .collect();
        let name = match &taken {
            Taken::Vip(vip) => format!("{vip} {port}"),
            Taken::Vip6(vip) => format!("{vip} {port}"),
            Taken::Mark { mark, .. } => format!("mark {mark}"),
        };
        if hosts.is_empty() || taken_before.contains(&name) {
            continue;
        }
        taken_before.push(name);
        let other_family = forwarding == "tun" && !is_v6 && byte(more + 2) % 4 == 3;
        services.push(Service { index, router, taken, port, forwarding, hosts, other_family, at, more });
    }
    services
}

impl Service<'_> {
    fn write(&self, bytes: &[u8; BYTES], text: &mut String) {
        let byte = |at: usize| usize::from(bytes[at]);
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        line(&format!("[services.s{}]\nrouter = \"{}\"", self.index, self.router.name));
        match &self.taken {
            Taken::Vip(vip) => line(&format!("vip = \"{}\"", vip_address(*vip))),
            Taken::Vip6(vip) => line(&format!("vip = \"{vip}\"")),
            Taken::Mark { mark, v6 } => {
                line(&format!("firewall_mark = {mark}\nfamily = \"{}\"", if *v6 { "ipv6" } else { "ipv4" }));
            }
        }
        if !matches!(self.taken, Taken::Mark { .. }) {
            line(&format!("protocol = \"tcp\"\nport = {}", self.port));
        }
        line(&format!("scheduler = \"{}\"", ["wlc", "rr"][byte(self.at + 4) % 2]));
        line(&format!("forwarding = \"{}\"", self.forwarding));
        if self.forwarding == "tun" {
            match byte(self.more + 2) / 4 % 3 {
                0 => line("tunnel = { type = \"gue\" }"),
                1 => line("tunnel = { type = \"gue\", port = 6081, checksum = \"full\" }"),
                // All alike: one address of a host takes GRE of one kind.
                _ if byte(self.more + 1) % 2 == 0 && byte(GRE_CHECKSUM) % 2 == 0 => {
                    line("tunnel = { type = \"gre\", checksum = \"full\" }");
                }
                _ if byte(self.more + 1) % 2 == 0 => line("tunnel = { type = \"gre\" }"),
                _ => {}
            }
        }
        let port =
            if self.forwarding == "nat" && byte(self.more + 5) % 2 == 0 { ", port = 8080" } else { "" };
        let server = |host: &usize| {
            let weight = (byte(self.at + 3) >> (host % FRONT)) % 3;
            let address = match self.other_family {
                true => format!(", address = \"{}\"", address6(bytes, *host)),
                false => String::new(),
            };
            format!("{{ host = \"h{host}\", weight = {weight}{port}{address} }}")
        };
        let servers: Vec<String> = self.hosts.iter().map(server).collect();
        line(&format!("real_servers = [{}]", servers.join(", ")));
        if byte(self.at + 5) % 2 == 0 {
            let port = if matches!(self.taken, Taken::Mark { .. }) { ", port = 80" } else { "" };
            line(&format!("check = {{ type = \"tcp\"{port} }}"));
        }
        if byte(self.at + 5) % 16 == 1 {
            line("prevent_removal = true");
        }
        match byte(self.more + 4) % 4 {
            0 => line("drain = { timeout = \"30s\" }"),
            1 => line("on_failure = \"quiesce\""),
            _ => {}
        }
    }
}
