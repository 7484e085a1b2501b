//! Clusters to break: some that use every key of the language, and any number of random ones.

use std::fmt::Write;

/// Every key, every rule's subject, nothing wrong.
pub(crate) const RICH: &str = r#"version = 1
name = "rich"

[segments.front]
subnets = ["192.0.2.0/24", "198.51.100.0/25"]

[segments.back]
subnets = ["203.0.113.0/24"]

[hosts]
d1 = { address = "192.0.2.11", interface = "eth0" }
d2 = { address = "192.0.2.12", interface = "eth0" }
d3 = { address = "203.0.113.11", interface = "eth1" }
d4 = { address = "203.0.113.12", interface = "eth1" }
r1 = { address = "192.0.2.21", interface = "eth2", labels = ["web"] }
r2 = { address = "192.0.2.22", interface = "eth2", labels = ["web"] }
r3 = { address = "203.0.113.21", interface = "eth3" }
r4 = { address = "203.0.113.22", interface = "eth3" }

[virtual_routers.one]
vrid = 51
vips = ["192.0.2.100", "192.0.2.101"]
directors = ["d1", "d2"]
priorities = { d1 = 150, d2 = 120 }
advert_interval = "250ms"
version = 3
preempt = false

[virtual_routers.two]
vrid = 52
vips = ["203.0.113.100"]
directors = ["d3", "d4"]
advert_interval = "2s"
version = 2
auth = { type = "pass", secret = { file = "/etc/evenkeel/two.pass" } }

[virtual_routers.three]
vrid = 53
vips = ["192.0.2.102"]
directors = ["d2", "d1"]
version = 2
auth = { type = "pass", secret = { credential = "vrrp" } }

[services.web]
router = "one"
vip = "192.0.2.100"
protocol = "tcp"
port = 80
scheduler = "wlc"
forwarding = "dr"
real_servers = [{ host = "r1", weight = 100 }, { host = "r2", weight = 50, port = 80 }]
check = { type = "tcp", interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s" }

[services.tls]
router = "one"
vip = "192.0.2.101"
protocol = "tcp"
port = 443
real_servers = [{ host = "r1" }, { host = "r2" }]

[services.dns]
router = "two"
protocol = "udp"
port = 53
real_servers = [{ host = "r3", weight = 0 }, { host = "r4", weight = 7 }]
check = { type = "tcp", port = 8053, timeout = "1s" }

[services.mail]
router = "three"
protocol = "tcp"
port = 25
real_servers = [{ host = "r1" }]

[pools.both]
real_servers = [{ label = "web", weight = 9, upper_threshold = 500, lower_threshold = 400 }]

[services.api]
router = "one"
vips = ["192.0.2.100", "192.0.2.101"]
protocol = "tcp"
ports = ["8080", "9000-9010"]
scheduler = "mh"
scheduler_flags = ["fallback"]
real_servers = [{ pool = "both" }]

[services.log]
router = "two"
protocol = "udp"
port = 514
one_packet = true
real_servers = [{ host = "r3" }]

[services.shop]
router = "three"
protocol = "tcp"
port = 8443
persistence = { timeout = "10m", prefix = 24 }
real_servers = [{ label = "web" }]

[ipvs]
sysctls = { expire_nodest_conn = 1, conn_reuse_mode = 0 }

[policy]
resync = "5s"
exclusive_ipvs = true
"#;

/// Everything in braces, so that whole sections can be broken, and little in use.
pub(crate) const BRACES: &str = r#"version = 1
name = "braces"
segments = { front = { subnets = ["192.0.2.0/24"] }, back = { subnets = ["203.0.113.0/24"] }, idle = { subnets = ["198.51.100.0/24"] } }
hosts = { d1 = { address = "192.0.2.1", interface = "eth0" }, d2 = { address = "192.0.2.2", interface = "eth0" }, r1 = { address = "192.0.2.3", interface = "eth0" }, idle = { address = "203.0.113.1", interface = "eth0" }, out = { address = "10.0.0.1", interface = "eth0" } }
virtual_routers = { v1 = { vrid = 7, vips = ["192.0.2.10"], directors = ["d1", "d2"] }, v2 = { vrid = 7, vips = ["10.0.0.2", "203.0.113.2"], directors = ["d1", "idle", "r2"] }, v3 = { vrid = 9, vips = ["10.0.0.3", "192.0.2.11", "203.0.113.3"], directors = ["d1"], version = 2, auth = { type = "pass", secret = { literal = "" } } }, v4 = { vrid = 8, vips = ["192.0.2.12"], directors = ["d1", "d2", "d3", "d4", "d5", "d6", "d7", "d8", "d9", "d10", "d11"], priorities = { d1 = 20, d2 = 21, d3 = 22, d4 = 23, d5 = 24, d6 = 25, d7 = 26, d8 = 27, d9 = 28, d10 = 29, d11 = 30 } } }
services = { web = { router = "v1", protocol = "tcp", port = 80, real_servers = [{ host = "r1" }] }, tls = { router = "v9", protocol = "tcp", port = 443, real_servers = [{ host = "r1" }] } }
policy = { resync = "5ms" }
"#;

/// Values that look like the compiler's placeholders: none may be taken for them.
pub(crate) const TWINS: &str = r#"version = 1
name = "unknown"
[segments.unknown]
subnets = ["0.0.0.0/1", "192.0.2.0/24", "192.0.2.7/24"]
[segments.other]
subnets = ["198.51.100.0/24"]
[hosts]
unknown = { address = "0.0.0.0", interface = "unknown" }
twin = { address = "0.0.0.0", interface = "lo" }
far = { address = "198.51.100.1", interface = "eth0" }
near = { address = "192.0.2.1", interface = "eth0" }
once = { address = "192.0.2.9", interface = "eth0" }
[virtual_routers.unknown]
vrid = 1
vips = ["0.0.0.0", "192.0.2.2", "198.51.100.2", "0.0.0.0"]
directors = ["unknown", "far", "unknown", "twin"]
priorities = { unknown = 1, far = 1, twin = 255, near = 255 }
advert_interval = "1s"
version = 2
auth = { type = "pass", secret = { literal = "unknown" } }
[virtual_routers.twin]
vrid = 1
vips = ["192.0.2.3"]
directors = ["unknown", "near"]
advert_interval = "1500ms"
version = 2
auth = { type = "pass", secret = { file = "unknown" } }
[virtual_routers.third]
vrid = 2
vips = ["192.0.2.4"]
directors = ["near", "far"]
version = 3
auth = { type = "pass", secret = { credential = "unknown" } }
[virtual_routers.fourth]
vrid = 1
vips = ["198.51.100.4"]
directors = ["far", "near"]
[services.unknown]
router = "unknown"
vip = "0.0.0.0"
protocol = "tcp"
port = 1
real_servers = [{ host = "unknown", weight = 0, port = 1 }, { host = "unknown", weight = 0 }, { host = "near", weight = 0, port = 2 }]
[services.twin]
router = "unknown"
vip = "0.0.0.0"
protocol = "tcp"
port = 1
real_servers = [{ host = "unknown" }, { host = "far" }, { host = "far", port = 1 }]
[services.third]
router = "twin"
vip = "0.0.0.0"
protocol = "udp"
port = 1
real_servers = [{ host = "far" }, { host = "twin" }]
check = { type = "tcp", interval = "0s", timeout = "0s" }
[services.fourth]
router = "twin"
protocol = "tcp"
port = 1
real_servers = [{ host = "unknown", weight = 0 }, { host = "twin", weight = 0 }]
check = { type = "tcp", port = 1 }
[services.fifth]
router = "fourth"
protocol = "tcp"
port = 1
real_servers = [{ host = "twin" }]
[services.sixth]
router = "unknown"
protocol = "tcp"
port = 1
real_servers = [{ host = "twin", port = 1 }, { host = "once" }]
[services.seventh]
router = "third"
protocol = "tcp"
port = 2
real_servers = [{ host = "twin", port = 1 }, { host = "twin" }]
"#;

/// Mistakes in the rich cluster that have nothing to do with each other: what is replaced, by what,
/// and the code it must give.
pub(crate) const MISTAKES: &[(&str, &str, &str)] = &[
    ("interface = \"eth1\" }\nd4", "interface = \"lo\" }\nd4", "EK0311"),
    (
        "address = \"192.0.2.11\", interface = \"eth0\"",
        "address = \"192.0.2.11\", interfase = \"eth0\"",
        "EK0101",
    ),
    ("address = \"192.0.2.12\", interface = \"eth0\"", "address = \"192.0.2.12\"", "EK0102"),
    ("vrid = 51", "vrid = 300", "EK0105"),
    ("d1 = 150, d2 = 120", "d1 = 150, d2 = 0", "EK0105"),
    ("\"250ms\"", "\"255ms\"", "EK0106"),
    ("preempt = false", "preempt = \"no\"", "EK0103"),
    ("vrid = 52", "vird = 52", "EK0101"),
    ("advert_interval = \"2s\"", "advert_interval = \"1500ms\"", "EK0403"),
    ("file = \"/etc/evenkeel/two.pass\"", "file = \"two.pass\"", "EK0413"),
    ("vrid = 53", "vrid = \"53\"", "EK0103"),
    ("[\"d2\", \"d1\"]", "[\"d2\", \"dir1\"]", "EK0202"),
    ("credential = \"vrrp\"", "credential = \"v/rrp\"", "EK0106"),
    ("scheduler = \"wlc\"", "scheduler = \"wcl\"", "EK0104"),
    ("host = \"r1\", weight = 100", "hots = \"r1\", weight = 100", "EK0101"),
    ("weight = 50, port = 80", "weight = 70000, port = 80", "EK0105"),
    ("interval = \"5s\", timeout", "interval = \"0s\", timeout", "EK0509"),
    ("retries = 3", "retries = 300", "EK0105"),
    ("timeout = \"10s\"", "timeout = 10", "EK0103"),
    ("vip = \"192.0.2.101\"", "vip = \"192.0.2.102\"", "EK0502"),
    ("protocol = \"udp\"\nport = 53", "protocol = \"upd\"\nport = 53", "EK0104"),
    ("{ host = \"r4\", weight = 7 }", "{ host = \"r4\", weight = 7, port = 54 }", "EK0504"),
    ("port = 25\n", "port = 0\n", "EK0105"),
    ("[{ host = \"r1\" }]", "[{ host = \"nobody\" }]", "EK0203"),
    ("resync = \"5s\"", "resync = \"5ms\"", "EK0601"),
    ("exclusive_ipvs = true", "exclusive_ipvs = 1", "EK0103"),
    ("upper_threshold = 500", "upper_threshold = 300", "EK0540"),
    ("\"9000-9010\"", "\"8080\"", "EK0501"),
    ("[\"fallback\"]", "[\"fallback\", \"fallback\"]", "EK0531"),
    ("one_packet = true", "one_packet = 1", "EK0103"),
    ("timeout = \"10m\"", "timeout = \"10ms\"", "EK0533"),
    ("prefix = 24", "prefix = 48", "EK0534"),
    ("[{ label = \"web\" }]", "[{ label = \"wbe\" }]", "EK0231"),
    ("expire_nodest_conn = 1", "expire_nodest_conn = 7", "EK0604"),
    ("conn_reuse_mode", "conn_reuse_mod", "EK0603"),
];

/// Makes a cluster of `choices`. Its shape is right; little else has to be.
pub(crate) fn cluster(choices: &[u8]) -> String {
    let mut left = choices.iter().cycle();
    let mut pick = |below: usize| usize::from(*left.next().unwrap_or(&0)) % below;
    let mut text = String::from("version = 1\nname = \"random\"\n");
    let segments = 1 + pick(3);
    for segment in 0..segments {
        let second = if pick(3) == 0 { format!(", \"10.1{segment}.4.0/24\"") } else { String::new() };
        let _ = writeln!(text, "[segments.s{segment}]\nsubnets = [\"10.1{segment}.7.0/24\"{second}]");
    }
    let hosts = 2 + pick(5);
    text.push_str("[hosts]\n");
    for host in 0..hosts {
        let address = format!("10.1{}.7.{}", pick(segments + 1), [0, 1, 2, 3, 4, 5, 255][pick(7)]);
        let interface = ["eth0", "eth1", "lo"][pick(3)];
        let _ = writeln!(text, "h{host} = {{ address = \"{address}\", interface = \"{interface}\" }}");
    }
    let routers = 1 + pick(4);
    for router in 0..routers {
        let _ = writeln!(text, "[virtual_routers.v{router}]\nvrid = {}", 1 + pick(3));
        let vips: Vec<String> =
            (0..1 + pick(3)).map(|_| format!("\"10.1{}.7.{}\"", pick(segments), 4 + pick(5))).collect();
        let directors: Vec<usize> = (0..1 + pick(3)).map(|_| pick(hosts + 1)).collect();
        let names: Vec<String> = directors.iter().map(|host| format!("\"h{host}\"")).collect();
        let _ = writeln!(text, "vips = [{}]\ndirectors = [{}]", vips.join(", "), names.join(", "));
        if pick(2) == 0 {
            let listed: std::collections::BTreeSet<usize> =
                directors.into_iter().chain([pick(hosts)]).collect();
            let priorities: Vec<String> = listed
                .iter()
                .skip(pick(2))
                .map(|host| format!("h{host} = {}", [100, 120, 255][pick(3)]))
                .collect();
            let _ = writeln!(text, "priorities = {{ {} }}", priorities.join(", "));
        }
        if pick(2) == 0 {
            let _ = writeln!(text, "advert_interval = \"{}\"", ["1s", "1500ms", "10ms"][pick(3)]);
        }
        if pick(2) == 0 {
            let _ = writeln!(text, "version = {}", 2 + pick(2));
        }
        if pick(3) == 0 {
            let secret =
                ["literal = \"hello\"", "literal = \"far too long\"", "file = \"x\"", "credential = \"c\""];
            let _ = writeln!(text, "auth = {{ type = \"pass\", secret = {{ {} }} }}", secret[pick(4)]);
        }
    }
    for service in 0..pick(4) {
        let _ = writeln!(text, "[services.w{service}]\nrouter = \"v{}\"", pick(routers + 1));
        if pick(2) == 0 {
            let _ = writeln!(text, "vip = \"10.1{}.7.{}\"", pick(segments), 4 + pick(5));
        }
        let _ = writeln!(text, "protocol = \"{}\"\nport = {}", ["tcp", "udp"][pick(2)], 80 + pick(2));
        let servers: Vec<String> = (0..1 + pick(3))
            .map(|_| {
                let weight = ["", ", weight = 0", ", weight = 5"][pick(3)];
                let port = ["", "", ", port = 80"][pick(3)];
                format!("{{ host = \"h{}\"{weight}{port} }}", pick(hosts + 1))
            })
            .collect();
        let _ = writeln!(text, "real_servers = [{}]", servers.join(", "));
        let more = [
            "",
            "scheduler = \"fo\"\n",
            "scheduler = \"rr\"\nscheduler_flags = [\"port\"]\n",
            "persistence = { prefix = 48 }\none_packet = true\n",
            "quorum = { weight = 3, hysteresis = 1 }\n",
            "sorry_server = { host = \"h1\", port = 81 }\n",
            "forwarding = \"nat\"\n",
            "tunnel = { port = 6080 }\n",
        ];
        text.push_str(more[pick(8)]);
        if pick(2) == 0 {
            let more = ["", ", port = 80", ", interval = \"0s\", timeout = \"0s\""][pick(3)];
            let _ = writeln!(text, "check = {{ type = \"tcp\"{more} }}");
        }
    }
    if pick(3) == 0 {
        let _ = writeln!(text, "[policy]\nresync = \"{}\"", ["5s", "5ms"][pick(2)]);
    }
    text
}
