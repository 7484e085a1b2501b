//! Checks that go through IPVS, from a cluster file to plans: whom they ask, from where, by which mark, and
//! what a director needs for it.

use evenkeel::graph::{Graph, mermaid};
use evenkeel::{SourceFile, compile, emit};
use evenkeel_schemas::plan::{Check, Plan};

const HEAD: &str = r#"
version = 1
name = "ways"
[segments.front]
subnets = ["192.0.2.0/24", "2001:db8::/64"]
[segments.back]
subnets = ["198.51.100.0/24"]
[hosts]
masq = { address = "198.51.100.21", interface = "eth0", gateway = "198.51.100.1" }
rs1 = { address = "192.0.2.21", addresses = ["2001:db8::21"], interface = "eth0" }
rs2 = { address = "192.0.2.22", addresses = ["2001:db8::22"], interface = "eth0" }
[hosts.dir1]
address = "192.0.2.11"
addresses = ["2001:db8::11"]
interface = "eth0"
interfaces.eth1.addresses = ["198.51.100.11"]
[hosts.dir2]
address = "192.0.2.12"
addresses = ["2001:db8::12"]
interface = "eth0"
interfaces.eth1.addresses = ["198.51.100.12"]
[virtual_routers.edge]
vrid = 51
vips = ["fe80::33", "192.0.2.100", "192.0.2.101", "2001:db8::100"]
unadvertised_vips = ["198.51.100.1"]
directors = ["dir1", "dir2"]
[defaults.service]
router = "edge"
protocol = "tcp"
"#;

const SERVICES: &str = r#"
[services.web]
vips = ["192.0.2.100", "192.0.2.101", "2001:db8::100"]
port = 80
check = { type = "tcp", via = "service" }
real_servers = [{ host = "rs1" }, { host = "rs2" }]
[services.more]
vip = "192.0.2.100"
ports = ["90-91"]
check = { type = "http", via = "service", port = 8080 }
real_servers = [{ host = "rs1" }]
[services.masq]
vip = "192.0.2.100"
ports = ["70-71"]
forwarding = "nat"
check = { type = "tcp", via = "service" }
real_servers = [{ host = "masq", port = 8080 }]
[services.tun]
vip = "192.0.2.100"
port = 60
forwarding = "tun"
check = { type = "tcp", via = "service" }
real_servers = [{ host = "rs1" }]
"#;

fn plan(text: &str, host: &str) -> Plan {
    let compilation = compile(&SourceFile::new("cluster.toml", text.to_owned()));
    let said: Vec<_> = compilation.diagnostics.iter().map(|said| said.message.clone()).collect();
    let cluster = compilation.cluster.unwrap_or_else(|| panic!("{said:?}"));
    let plans = emit(&cluster);
    let found = plans.iter().find(|plan| plan.host.as_str() == host).expect("the host's plan");
    let (_seal, text) = found.text.split_once('\n').expect("a seal");
    toml::from_str(text).expect("a plan")
}

/// Each check of a plan in words: service and VIP, target, origin, way. Marks are numbered as they appear.
fn ways(plan: &Plan) -> Vec<String> {
    let mut marks = Vec::new();
    let servers = plan.virtual_servers.iter();
    let checks = servers.flat_map(|server| {
        let checks = server.destinations.iter().flat_map(|destination| destination.checks());
        checks.map(move |check| (server.front().expect("a front"), check))
    });
    let words = checks.map(|(front, check): (_, &Check)| {
        let target = check.target.expect("a target");
        let Some(through) = check.through else { return format!("{front}: {target}") };
        let number = marks.iter().position(|mark| *mark == through.mark).unwrap_or_else(|| {
            marks.push(through.mark);
            marks.len() - 1
        });
        let source = check.origin.source.expect("a source");
        format!("{front}: {source} -> {target} by {}, mark {number}", through.socket_address())
    });
    words.collect()
}

#[test]
fn checks_go_to_a_vip_by_the_way_of_their_real_server() {
    let plan = plan(&(HEAD.to_owned() + SERVICES), "dir2");
    assert_eq!(
        ways(&plan),
        [
            // Masquerade: one port of the real server is one way, from the address on its segment.
            "tcp 192.0.2.100:70: 198.51.100.12 -> 198.51.100.21:8080 by 192.0.2.100:70, mark 0",
            "tcp 192.0.2.100:71: 198.51.100.12 -> 198.51.100.21:8080 by 192.0.2.100:71, mark 0",
            // Its own port, of the VIP: the same check twice.
            "tcp 192.0.2.100:90: 192.0.2.12 -> 192.0.2.21:8080 by 192.0.2.100:8080, mark 1",
            "tcp 192.0.2.100:91: 192.0.2.12 -> 192.0.2.21:8080 by 192.0.2.100:8080, mark 1",
            "tcp 192.0.2.100:60: 192.0.2.12 -> 192.0.2.21:60 by 192.0.2.100:60, mark 2",
            // One VIP of each family.
            "tcp 192.0.2.100:80: 192.0.2.12 -> 192.0.2.21:80 by 192.0.2.100:80, mark 1",
            "tcp 192.0.2.100:80: 192.0.2.12 -> 192.0.2.22:80 by 192.0.2.100:80, mark 3",
            "tcp 192.0.2.101:80: 192.0.2.12 -> 192.0.2.21:80 by 192.0.2.100:80, mark 1",
            "tcp 192.0.2.101:80: 192.0.2.12 -> 192.0.2.22:80 by 192.0.2.100:80, mark 3",
            "tcp [2001:db8::100]:80: 2001:db8::12 -> [2001:db8::21]:80 by [2001:db8::100]:80, mark 4",
            "tcp [2001:db8::100]:80: 2001:db8::12 -> [2001:db8::22]:80 by [2001:db8::100]:80, mark 5",
        ]
    );
}

#[test]
fn a_picture_names_the_way() {
    let compilation = compile(&SourceFile::new("cluster.toml", HEAD.to_owned() + SERVICES));
    let drawn = mermaid(&Graph::of(&compilation.cluster.expect("a valid cluster")));
    for words in ["checks tcp via service", "checks http 8080 via service"] {
        assert!(drawn.contains(words), "{words}: {drawn}");
    }
}

fn settings(plan: &Plan, of: &str) -> Vec<String> {
    let settings = plan.sysctls.iter().filter(|sysctl| sysctl.key.ends_with(of));
    settings.map(|sysctl| format!("{} = {}", sysctl.key, sysctl.value)).collect()
}

#[test]
fn a_director_hears_answers_from_its_own_vips_only_where_it_must() {
    let one = |services: &str| plan(&(HEAD.to_owned() + services), "dir1");
    let all = one(SERVICES);
    assert_eq!(settings(&all, "/accept_local"), ["net/ipv4/conf/eth0/accept_local = 1"]);
    assert_eq!(settings(&all, "eth0/rp_filter"), Vec::<String>::new());
    // Masquerade, and checks that go straight, need nothing.
    let masquerade =
        SERVICES.find("[services.masq]").expect("part")..SERVICES.find("[services.tun]").expect("part");
    assert_eq!(settings(&one(&SERVICES[masquerade]), "/accept_local"), Vec::<String>::new());
    let straight = one(&SERVICES.replace("via = \"service\"", "via = \"address\""));
    assert_eq!(settings(&straight, "/accept_local"), Vec::<String>::new());
    assert!(ways(&straight).iter().all(|way| !way.contains("mark")), "{:?}", ways(&straight));
    // A director that is a real server has the VIP on `lo`, and the way back leads there.
    let itself = SERVICES.replace("{ host = \"rs2\" }", "{ host = \"dir1\" }");
    assert_eq!(settings(&one(&itself), "eth0/rp_filter"), ["net/ipv4/conf/eth0/rp_filter = 2"]);
    let own_mac = HEAD.replace("vrid = 51", "vrid = 51\nvirtual_mac = {}") + SERVICES;
    assert_eq!(settings(&plan(&own_mac, "dir1"), "eth0/rp_filter"), ["net/ipv4/conf/eth0/rp_filter = 2"]);
}

#[test]
fn all_directors_have_the_same_marks_and_one_more_real_server_moves_none() {
    let marks = |text: &str, host| -> Vec<(String, u32)> {
        let plan = plan(text, host);
        let destinations = plan.virtual_servers.iter().flat_map(|server| &server.destinations);
        let checks = destinations.flat_map(|destination| destination.checks());
        checks.filter_map(|check| Some((check.subject(), check.through?.mark.get()))).collect()
    };
    let text = HEAD.to_owned() + SERVICES;
    let before = marks(&text, "dir1");
    assert_eq!(before, marks(&text, "dir2"));
    assert!(before.iter().all(|(_, mark)| (0x4556_0000..=0x4556_FFFF).contains(mark)), "{before:?}");
    let more = HEAD.replace(
        "[hosts]",
        "[hosts]\nrs0 = { address = \"192.0.2.20\", addresses = [\"2001:db8::20\"], interface = \"eth0\" }",
    );
    let more =
        more + &SERVICES.replacen("[{ host = \"rs1\" }, ", "[{ host = \"rs0\" }, { host = \"rs1\" }, ", 1);
    let after = marks(&more, "dir1");
    assert!(after.len() > before.len() && before.iter().all(|one| after.contains(one)), "{after:?}");
}
