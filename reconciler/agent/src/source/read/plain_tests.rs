//! Agreement of `evenkeel_schemas::plain` with TOML and the schema: a plan that it accepts means the same
//! there. The test is here because both readers are.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use evenkeel_schemas::plain::plan;
use evenkeel_schemas::plan::Plan;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

use super::understand::{validator, whole};
use evenkeel_host::loaded::PlanRefusal as Refusal;

/// The reading of a text as TOML, by the schema and the types.
struct Whole(jsonschema::Validator);

impl Whole {
    fn new() -> Self {
        Self(validator(&evenkeel_schemas::json::plan()).expect("a schema"))
    }

    fn plan(&self, body: &str) -> Result<Plan, Refusal> {
        whole(body, &self.0)
    }
}

/// Plans that the compiler wrote, without their seals.
pub(super) fn compiled() -> Vec<(PathBuf, String)> {
    fn below(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                below(&path, found);
            } else if path.to_string_lossy().ends_with(".plan.toml") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for part in ["examples", "compiler/tests"] {
        below(&root.join(part), &mut found);
    }
    let body = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a plan");
        let (_, body) = text.split_once('\n').expect("a seal");
        (path, body.to_owned())
    };
    found.into_iter().map(body).collect()
}

/// A plan with every key that plans have.
pub(crate) const ALL: &str = r#"# A comment.
format = 1
cluster = "c"
host = "dir1"
host_addresses = [
    "192.0.2.1",
    "2001:db8::1",
]
prevent_removal = true
maintenance = true

[policy]
resync = "5s"
exclusive_ipvs = false
drift = { ipvs = "report", links = "repair" }
probation = { timeout = "1m", confirm = "checks" }

[[router]]
name = "VI_1"
interface = "eth0"
source = "192.0.2.1"
version = 2
vrid = 51
priority = 100
advert_interval = "1s"
preempt = true
preempt_delay = "1s"
startup_delay = "2s"
unicast = { peers = ["192.0.2.2"], ttl = 255, min_ttl = 254 }
auth = { type = "pass", secret = { compiled = "VI_1" } }
garp_repeat = 5
garp_delay = "5s"
garp_refresh = "1m"
garp_interval = "10ms"
virtual_mac = { interface = "vrrp.51", advertise_from_base = false }
sync_group = "g"
track = [{ tracker = "t", weight = -10, reverse = true }]
own_fault_weight = 11
vips = ["192.0.2.9/32"]
unadvertised_vips = ["192.0.2.10/32"]
vip_settings = [{ address = "192.0.2.10", interface = "eth1", label = "eth1:1" }]

[router.hooks]
master = { command = ["/bin/true"], user = "root", timeout = "5s" }

[[router.routes]]
destination = "198.51.100.0/24"
via = "192.0.2.3"
interface = "eth0"
source = "192.0.2.9"
table = 254
metric = 10

[[router.rules]]
preference = 100
table = 7
from = "192.0.2.0/24"
firewall_mark = 3

[[router]]
name = "VI_2"
interface = "eth0"
source = "::"
version = 3
vrid = 51
priority = 100
advert_interval = "10ms"
preempt = false
directors = { addresses = ["fe80::2", "2001:db8::2"], unnamed = 1, strangers = "reject" }
checksum = "message_only"
auth = { type = "hmac", keys = [{ id = 1, secret = { file = "/etc/secret" } }, { id = 255, secret = { credential = "k" } }], active = 1, mode = "enforce", anti_replay = "time", window = 5 }
garp_repeat = 1
garp_delay = "0s"
vips = ["fe80::9/128", "2001:db8::9/128"]

[[sync_group]]
name = "g"
hooks = { any = { command = ["/bin/true", "a"], user = "root", timeout = "5s", state_arguments = false } }

[[tracker]]
name = "t"
initially = "up"
watch = { type = "process", process = "nginx", quorum = 1 }

[[tracker]]
name = "u"
initially = "down"
watch = { type = "script", command = ["/bin/true"], user = "nobody", interval = "1s", timeout = "1s", rise = 1, fall = 2 }

[[virtual_server]]
name = "s"
address = "192.0.2.9"
port = 80
protocol = "tcp"
only_as_master_of = "VI_1"
scheduler = "mh"
scheduler_flags = ["fallback", "port"]
one_packet = false
persistence = { timeout = "5m", prefix = 32, engine = "sip" }
on_failure = "quiesce"
quorum = { weight = 150, hysteresis = 50 }
sorry_server = { host = "rs9", address = "192.0.2.99", port = 80, forwarding = "tun", encapsulation = { type = "ipip" } }
floor = { min_healthy = "50%", below = "withdraw" }
slow_start = "30s"
damping = { window = "1m", delay = "5s", max_delay = "5m" }
quiesce_for = "1m"
drain = "2m"
hooks = { quorum_down = { command = ["/bin/true", "a"], user = "root", timeout = "5s", state_arguments = false } }
prevent_removal = true

[[virtual_server.destination]]
host = "rs1"
address = "192.0.2.7"
port = 80
weight = 100
forwarding = "tun"
drain = true
encapsulation = { type = "gue", port = 6080, checksum = "none" }
upper_threshold = 100
lower_threshold = 10
check = { type = "tcp", address = "192.0.2.7", port = 80, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s" }

[[virtual_server.destination]]
host = "rs2"
address = "192.0.2.8"
weight = 0
forwarding = "dr"
checks = [
    { type = "tcp", address = "192.0.2.8", port = 80, source = "192.0.2.1", interface = "eth0", interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", rise = 2, jitter = "1s", warmup = "4s", initially_down = true, send = "a\"\\\t\n\u000D", expect = "^b", hold = true, tls = true, server_name = "c", verify_certificate = true, ca = "/a", certificate = "/b", certificate_key = "/c", expiry_days = 14 },
    { type = "http", address = "192.0.2.8", port = 80, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", http_version = "1.0", method = "HEAD", path = "/", host = "d", headers = { a = "1", "b.c" = "2" }, status = ["200-299"], body = "e", body_not = "f", digest = "900150983cd24fb0d6963f7d28e17f72", drain_status = ["404"], drain_header = "x-drain" },
    { type = "https", address = "192.0.2.8", port = 443, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", requests = [{ path = "/a", status = ["200"] }, { method = "OPTIONS", path = "/b", host = "g", headers = { h = "i" }, status = ["204"], body = "j", body_not = "k", digest = "l" }] },
    { type = "udp", address = "192.0.2.8", port = 53, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", payload = "00ff", require_reply = true, min_reply_length = 1, max_reply_length = 9 },
    { type = "dns", address = "192.0.2.8", port = 53, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", name = ".", record = "SOA" },
    { type = "smtp", address = "192.0.2.8", port = 25, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", helo = "lb", source = "192.0.2.1", through = { vip = "192.0.2.9", port = 25, mark = 1163264000 } },
    { type = "grpc", address = "192.0.2.8", port = 9, interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", grpc_service = "m" },
    { type = "script", interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", command = ["/bin/true", "n"], user = "nobody", dynamic_weight = true },
    { type = "file", interval = "5s", timeout = "10s", retries = 3, retry_delay = "3s", file = "/run/o" },
]

[[virtual_server]]
name = "m"
firewall_mark = 4294967295
family = "ipv4"
vips = ["192.0.2.9"]
scheduler = "wlc"
one_packet = true

[ipvs_timeouts]
tcp = "30m"
tcp_fin = "2m"
udp = "5m"

[connection_sync]
mode = "follow"
router = "VI_1"
interface = "eth0"
id = 51
group = "224.0.0.81"
port = 8848
ttl = 1
max_length = 1400
preempt_after_sync = "30s"

[[tunnel]]
interface = "ek-ipip"
mode = "ipip"
local = "192.0.2.1"

[[gue]]
port = 6080
family = "ipv4"

[[address]]
interface = "lo"
address = "192.0.2.9/32"
label = "lo:0"
scope = "global"

[[route]]
destination = "192.0.2.9/32"
interface = "lo"
scope = "link"
table = 254
via = "192.0.2.3"
metric = 4

[[sysctl]]
key = "net/ipv4/conf/eth0.5/arp_ignore"
value = "1 2"
"#;

#[test]
fn every_compiled_plan_is_accepted_and_means_the_same_as_toml() {
    let schema = Whole::new();
    let compiled = compiled();
    assert!(compiled.len() > 10, "{} plans", compiled.len());
    for (path, body) in
        compiled.iter().map(|(path, body)| (path.as_path(), body.as_str())).chain([(Path::new("all"), ALL)])
    {
        let there = schema.plan(body).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert_eq!(plan(body), Some(there), "{}", path.display());
    }
}

#[test]
fn a_text_unlike_the_layout_is_not_accepted() {
    assert!(plan(ALL).is_some());
    let changes = [
        ("format = 1\n", "format = 1 # one\n"),
        ("format = 1\n", "format=1\n"),
        ("format = 1\n", "format = 01\n"),
        ("format = 1\n", "format = 1\r\n"),
        ("format = 1\n", "format = 1\nformat = 1\n"),
        ("format = 1\n", "format = 1\nunknown = 1\n"),
        ("cluster = \"c\"", "cluster = 'c'"),
        ("cluster = \"c\"", "cluster = \"\\u0063\""),
        ("cluster = \"c\"", "\"cluster\" = \"c\""),
        // Keys of a table that has any, not in order, and there twice.
        ("{ a = \"1\", \"b.c\" = \"2\" }", "{ b = \"1\", a = \"2\" }"),
        ("{ a = \"1\", \"b.c\" = \"2\" }", "{ a = \"1\", a = \"2\" }"),
        ("\\u000D", "\\r"),
        ("\\u000D", "\\u000d"),
        ("\\u000D", "\\u000D\\"),
        ("\"192.0.2.1\",\n    \"2001", "\"192.0.2.1\", # mine\n    \"2001"),
        ("\"192.0.2.1\",\n    \"2001", "\"192.0.2.1\"\n    \"2001"),
        ("[policy]\nresync = \"5s\"", "[policy]\nresync = \"5s\"\nresync = \"5s\""),
        ("[policy]", "[policy"),
        ("[policy]", "[ policy ]"),
        ("[policy]", "[policy.]"),
        ("[policy]", "[[policy]]"),
        ("[ipvs_timeouts]", "[ipvs.timeouts]"),
        ("[connection_sync]", "[ipvs_timeouts]"),
        ("[[sysctl]]", "[sysctl]"),
        // A second part of a list.
        ("[[sysctl]]", "[[router]]"),
        ("{ peers = [\"192.0.2.2\"], ttl = 255", "{ peers = [\"192.0.2.2\"], ttl = 255, ttl = 255"),
        ("min_ttl = 254 }", "min_ttl = 254, }"),
        ("[\"192.0.2.2\"]", "[\"192.0.2.2\",]"),
        ("{ compiled = \"VI_1\" }", "{ compiled = \"VI_1\", file = \"/x\" }"),
    ];
    for (from, to) in changes {
        assert!(ALL.contains(from), "{from}");
        assert!(plan(&ALL.replacen(from, to, 1)).is_none(), "{to} is taken");
    }
    assert!(plan(&ALL[..ALL.len() - 1]).is_none(), "without the last end of a line");
    assert!(plan("").is_none());
}

/// Limits of the schema beyond its types. Scalars are left out: their types have the same limits.
fn said_by_the_schema() -> BTreeSet<String> {
    const LIMITS: [&str; 9] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    ];
    const OTHERS: [&str; 8] = [
        "multipleOf",
        "uniqueItems",
        "contains",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "not",
        "if",
    ];
    fn below(place: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                let bits = map.get("format").and_then(Value::as_str).and_then(|f| f.strip_prefix("uint"));
                let most = bits.and_then(|bits| bits.parse::<u32>().ok()).map(|bits| u64::MAX >> (64 - bits));
                for (key, value) in map {
                    let implied = match key.as_str() {
                        "minimum" => most.is_some() && value.as_u64() == Some(0),
                        "maximum" => most.is_some() && value.as_u64() == most,
                        _ => false,
                    };
                    if (LIMITS.contains(&key.as_str()) && !implied) || OTHERS.contains(&key.as_str()) {
                        found.insert(format!("{place} {key} {value}"));
                    }
                    let step = match key.as_str() {
                        "$defs" | "properties" | "items" | "oneOf" | "anyOf" => place.to_owned(),
                        _ => format!("{place}/{key}"),
                    };
                    below(&step, value, found);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| below(place, value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    below("", &evenkeel_schemas::json::plan(), &mut found);
    found
}

#[test]
fn limits_of_the_schema_beyond_the_types_are_known() {
    // Types of their own refuse the same: `scalars` of the schemas, and the mutations below.
    const SCALARS: [&str; 22] = [
        "AddressLabel",
        "AdvertInterval",
        "Cidr",
        "ConnectionLimit",
        "Days",
        "FirewallMark",
        "InterfaceName",
        "Ip",
        "Name",
        "Part",
        "Port",
        "PortRange",
        "Priority",
        "PriorityDrop",
        "Retries",
        "Rise",
        "RouteTable",
        "Span",
        "SyncId",
        "TrackWeight",
        "Vrid",
        "Weight",
    ];
    let known = [
        "/format minimum 1",
        "/format maximum 1",
        "/Router/version minimum 2",
        "/Router/version maximum 3",
        "/Router/garp_repeat minimum 1",
        "/Router/garp_repeat maximum 100",
        "/Auth/keys minItems 1",
        "/Auth/active minimum 1",
        "/Auth/window minimum 1",
        "/Auth/window maximum 300",
        "/HmacKey/id minimum 1",
        "/Unicast/ttl minimum 1",
        "/Unicast/min_ttl minimum 1",
        "/VirtualRule/preference minimum 1",
        "/VirtualRule/preference maximum 32765",
        "/Hook/command minItems 1",
        "/Watch/command minItems 1",
        "/Watch/quorum minimum 1",
        "/Watch/quorum maximum 65535",
        // The types look at it themselves.
        "/Check/payload pattern \"^([0-9A-Fa-f]{2})+$\"",
        "/Quorum/weight minimum 1",
        "/Persistence/prefix minimum 1",
        "/Persistence/prefix maximum 128",
        "/ConnectionSync/ttl minimum 1",
        "/ConnectionSync/max_length minimum 1",
        "/ConnectionSync/max_length maximum 65507",
        "/Address/label pattern \"^[!-~]{1,15}$\"",
        "/Route/table minimum 1",
        "/Sysctl/key pattern \"^net(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)+$\"",
        "/Sysctl/value pattern \"^[!-~]([ -~]{0,254}[!-~])?$\"",
    ];
    let scalar = |said: &String| {
        let name = said.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        SCALARS.contains(&name)
    };
    let said: BTreeSet<String> = said_by_the_schema().into_iter().filter(|said| !scalar(said)).collect();
    let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
    assert_eq!(said, known, "let `follows_schema` look at what is new");
}

const NUMBERS: [&str; 26] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "-1",
    "-10",
    "31",
    "33",
    "100",
    "101",
    "128",
    "129",
    "254",
    "255",
    "256",
    "32765",
    "32766",
    "65507",
    "65508",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
];
const TEXTS: [&str; 34] = [
    "",
    "a",
    "-a",
    "a-",
    ".",
    "..",
    "lo",
    "a b",
    "ä",
    "a/b",
    "a:1",
    "sixteen-letters-",
    "fifteen-letters",
    "0s",
    "5s",
    "5ms",
    "10ms",
    "15ms",
    "00000005s",
    "000000005s",
    "0000000005s",
    "24h",
    "25h",
    "41s",
    "+5s",
    "192.0.2.7",
    "192.0.2.07",
    "192.0.2.0/33",
    "192.0.2.7/032",
    "::",
    "::1/128",
    "net/ipv4/",
    "net/ipv4//a",
    "net/a b",
];

fn long(pick: usize) -> String {
    let length = [63, 64, 255, 256, 257][pick % 5];
    "x".repeat(length)
}

/// A change of a text at a place: of a number, a text, a line, or one character.
fn changed(body: &str, kind: u8, at: Index, pick: Index) -> String {
    let pieces = |pattern: fn(char) -> bool| -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut from = None;
        for (at, character) in body.char_indices().chain([(body.len(), '\n')]) {
            match (pattern(character), from) {
                (true, None) => from = Some(at),
                (false, Some(start)) => {
                    found.push((start, at));
                    from = None;
                }
                _ => {}
            }
        }
        found
    };
    let replace = |(from, to): (usize, usize), with: &str| [&body[..from], with, &body[to..]].concat();
    let lines: Vec<&str> = body.split_inclusive('\n').collect();
    match kind {
        0 => {
            let found = pieces(|c| c.is_ascii_digit());
            replace(found[at.index(found.len())], NUMBERS[pick.index(NUMBERS.len())])
        }
        1 => {
            let quotes: Vec<usize> = body.match_indices('"').map(|(at, _)| at).collect();
            let which = at.index(quotes.len() / 2) * 2;
            let chosen = pick.index(TEXTS.len() + 5);
            let text = TEXTS.get(chosen).map_or_else(|| long(chosen), |text| (*text).to_owned());
            replace((quotes[which] + 1, quotes[which + 1]), &text)
        }
        2 => {
            let mut lines = lines;
            lines.remove(at.index(lines.len()));
            lines.concat()
        }
        3 => {
            let mut lines = lines;
            let line = lines[at.index(lines.len())];
            lines.insert(pick.index(lines.len()), line);
            lines.concat()
        }
        4 => {
            let mut lines = lines;
            let (a, b) = (at.index(lines.len()), pick.index(lines.len()));
            lines.swap(a, b);
            lines.concat()
        }
        _ => {
            let places: Vec<usize> = body.char_indices().map(|(at, _)| at).collect();
            let from = places[at.index(places.len())];
            let length = body[from..].chars().next().map_or(0, char::len_utf8);
            const CHARACTERS: [&str; 24] = [
                "", "\n", " ", "\t", "\r", "\"", "'", "\\", "#", "=", ".", ",", "[", "]", "{", "}", "0", "9",
                "-", "_", "a", "Z", "\u{7f}", "é",
            ];
            replace((from, from + length), CHARACTERS[pick.index(CHARACTERS.len())])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    /// However a plan is changed: a text that is still accepted is TOML, follows the schema, and means the
    /// same.
    #[test]
    fn every_accepted_text_follows_the_schema(
        changes in proptest::collection::vec((0_u8..6, any::<Index>(), any::<Index>()), 1..3),
        which in select(bodies()),
    ) {
        let mut body = which;
        for (kind, at, pick) in changes {
            if body.matches('"').count() >= 2 && body.contains('1') {
                body = changed(&body, kind, at, pick);
            }
        }
        if let Some(here) = plan(&body) {
            let there = SCHEMA.with(|schema| schema.plan(&body));
            prop_assert_eq!(Ok(here), there.map_err(|why| why.to_string()), "{}", body);
        }
    }
}

thread_local! {
    static SCHEMA: Whole = Whole::new();
}

fn bodies() -> Vec<String> {
    let compiled = compiled().into_iter().map(|(_, body)| body).filter(|body| body.len() < 8_192);
    compiled.chain(std::iter::repeat_n(ALL.to_owned(), 20)).collect()
}
