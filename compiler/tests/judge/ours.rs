//! What `evenkeel import` has understood, as facts: from the plan of the director where the cluster file
//! compiles, and from the cluster file itself, which also has what no plan can hold yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use evenkeel::import::versions::Version;
use evenkeel::import::{Director, Fate, FilesInMemory, Import, Request, Spot, import};
use evenkeel::{Compilation, Severity, SourceFile, compile, emit};
use toml::{Table, Value};

use super::facts::Facts;
use super::file::{File, Line};
use super::ours_cluster::{from_cluster, list, or, socket, span, text, tracks, watched, word};

/// The director, where there is one alone.
pub(crate) const DIRECTOR: &str = "dir1";

/// The second of a pair.
pub(crate) const SECOND: &str = "dir2";

/// What the report says of one line.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// 0 for what stands nowhere.
    pub(crate) line: usize,
    /// Whether it is called the same.
    pub(crate) same: bool,
    pub(crate) text: String,
}

#[derive(Default)]
pub(crate) struct Ours {
    pub(crate) facts: Facts,
    pub(crate) entries: Vec<Entry>,
    /// Whether the file is none of keepalived: of such one nothing but that is said.
    pub(crate) foreign: bool,
    /// Whether a plan came of it, if need be without what does not compile.
    pub(crate) planned: bool,
    /// What had to be left out of the cluster file so that it compiles, with the compiler's words.
    pub(crate) left_out: Vec<String>,
    pub(crate) cluster: String,
}

/// Addresses that the director has in every case.
const ADDRESSES: [(&str, &str); 6] = [
    ("eth0", "192.0.2.11"),
    ("eth0", "2001:db8::11"),
    ("eth1", "198.51.100.11"),
    ("eth1", "2001:db8:1::11"),
    ("eth2", "203.0.113.11"),
    ("eth3", "10.0.0.11"),
];
const SUBNETS: [&str; 6] =
    ["192.0.2.0/24", "2001:db8::/64", "198.51.100.0/24", "2001:db8:1::/64", "203.0.113.0/24", "10.0.0.0/24"];

/// Imports a file for a version of keepalived.
pub(crate) fn understand(file: &File, keepalived: Version) -> Ours {
    let path =
        if file.path.as_os_str().is_empty() { "/k.conf".to_owned() } else { file.path.display().to_string() };
    let known = file.interfaces();
    let mut addresses: Vec<(Option<String>, IpAddr)> = ADDRESSES
        .iter()
        .filter(|(interface, _)| known.contains(*interface))
        .map(|(interface, address)| (Some((*interface).to_owned()), address.parse().expect("an address")))
        .collect();
    let strange = known.iter().filter(|name| ADDRESSES.iter().all(|(interface, _)| interface != name));
    addresses.extend(strange.filter_map(|name| Some((Some(name.clone()), beside(file, name)?))));
    let mut files = BTreeMap::from([(path.clone(), file.bytes.clone())]);
    for included in file.included.iter().chain(&file.other) {
        files.insert(included.display().to_string(), std::fs::read(included).expect("readable"));
    }
    let director = |name: &str, path: String, addresses: Vec<(Option<String>, IpAddr)>| Director {
        name: name.to_owned(),
        path,
        id: name.to_owned(),
        addresses,
    };
    let mut directors = vec![director(DIRECTOR, path.clone(), addresses.clone())];
    if file.other.is_some() || file.director != DIRECTOR {
        let paths = [Some(&file.path), file.other.as_ref()].into_iter().flatten();
        let both = [DIRECTOR, SECOND]
            .into_iter()
            .zip([addresses.clone(), addresses.into_iter().map(next).collect()]);
        let of = |name: &str| {
            paths.clone().find(|path| path.file_stem().is_some_and(|stem| stem == name)).expect("a file each")
        };
        directors =
            both.map(|(name, addresses)| director(name, of(name).display().to_string(), addresses)).collect();
    }
    let request = Request {
        name: "judged".to_owned(),
        directors,
        subnets: SUBNETS.iter().map(|subnet| subnet.parse().expect("a network")).collect(),
        output: "cluster.toml".to_owned(),
        keepalived,
        ..Request::default()
    };
    let done = import(&request, &FilesInMemory(files)).expect("readable");
    let text = done.cluster.text().to_owned();
    let mut document: Table = text.parse().expect("TOML");
    let mut facts = Facts::default();
    from_cluster(&mut facts, &document, file.director);
    let entries = entries(file, &done);
    let foreign = done.lines.is_empty() && !done.findings.is_empty();
    let (compilation, left_out) = leave_out(&mut document, done.compilation, &done.cluster);
    let plan = compilation
        .cluster
        .and_then(|cluster| emit(&cluster).into_iter().find(|plan| plan.host.to_string() == file.director));
    let planned = plan.is_some();
    if let Some(plan) = plan {
        from_plan(&mut facts, &plan.text.parse().expect("TOML"));
    }
    Ours { facts, entries, foreign, planned, left_out, cluster: text }
}

/// An address for the director on an interface: in the network of a VIP of an instance there.
fn beside(file: &File, interface: &str) -> Option<IpAddr> {
    let there = |line: &&Line| {
        line.is_in("vrrp_instance")
            && line.keyword() == "interface"
            && line.words.get(1).is_some_and(|name| name == interface)
    };
    let instance = file.lines.iter().find(there)?.within;
    let vips = file.lines.iter().filter(|line| line.is_in("virtual_ipaddress") && line.number > instance);
    let address = vips.into_iter().find_map(|line| line.keyword().split('/').next()?.parse().ok())?;
    Some(match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, if d == 251 { 252 } else { 251 }).into()
        }
        IpAddr::V6(address) => {
            let mut parts = address.segments();
            parts[7] ^= 0x5151;
            std::net::Ipv6Addr::from(parts).into()
        }
    })
}

/// The address of the second director where that of the first is this.
fn next((interface, address): (Option<String>, IpAddr)) -> (Option<String>, IpAddr) {
    let address = match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() + 1).into(),
        IpAddr::V6(address) => std::net::Ipv6Addr::from_bits(address.to_bits() + 1).into(),
    };
    (interface, address)
}

fn entries(file: &File, done: &Import) -> Vec<Entry> {
    let mut entries = Vec::new();
    // Lines of the other director are no matter of this one.
    let number = |spot: Spot| {
        let source = done.sources.get(spot.file)?;
        let main = Path::new(&source.path) == file.path || file.path.as_os_str().is_empty();
        let base = if main { 0 } else { file.base(&source.path).filter(|base| *base > 0)? };
        Some(base + spot.line)
    };
    for line in &done.lines {
        let Some(number) = number(line.spot) else { continue };
        let texts: Vec<&str> = line.reasons.iter().map(|reason| reason.text.as_str()).collect();
        entries.push(Entry { line: number, same: line.fate == Fate::Carried, text: texts.join("; ") });
    }
    for reason in &done.general {
        entries.push(Entry { line: 0, same: reason.fate == Fate::Carried, text: reason.text.clone() });
    }
    // What is found wrong with a line that is called the same excuses nothing.
    let same: BTreeSet<Spot> =
        done.lines.iter().filter(|line| line.fate == Fate::Carried).map(|line| line.spot).collect();
    for finding in &done.findings {
        let Some(number) = number(finding.spot) else { continue };
        let same = same.contains(&finding.spot);
        entries.push(Entry { line: number, same, text: finding.message.clone() });
    }
    entries
}

/// Takes out of the cluster file the objects that do not compile, until the rest does.
fn leave_out(document: &mut Table, first: Compilation, cluster: &SourceFile) -> (Compilation, Vec<String>) {
    let mut out = Vec::new();
    let mut text = cluster.text().to_owned();
    let mut compilation = first;
    // Each turn takes at least one thing away; files of the judge have fewer.
    for _ in 0..60 {
        let mut changed = false;
        for error in
            compilation.diagnostics.iter().filter(|diagnostic| diagnostic.severity() == Severity::Error)
        {
            let place = error.primary.as_ref().map(|label| label.place.start);
            let mut path: Vec<String> = place.and_then(|place| heading(&text, place)).unwrap_or_default();
            path.truncate(2);
            if path.first().is_none_or(|section| section == "hosts" || section == "segments") {
                continue;
            }
            if remove(document, &path) {
                changed = true;
                out.push(format!("{}: {} {}", path.join("."), error.code.id, error.message));
            }
        }
        if !changed {
            break;
        }
        text = document.to_string();
        compilation = compile(&SourceFile::new("cluster.toml", &*text));
    }
    (compilation, out)
}

/// The table that a place is in.
fn heading(text: &str, at: usize) -> Option<Vec<String>> {
    let before = text.get(..at)?;
    let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    let whole = &text[..line_end.max(before.len())];
    let line = whole.lines().rev().find(|line| line.starts_with('['))?;
    let inner = line.trim_matches(['[', ']']);
    let table: Table = format!("[{inner}]").parse().ok()?;
    let mut path = Vec::new();
    let mut current = &table;
    while let Some((key, value)) = current.iter().next() {
        path.push(key.clone());
        match value.as_table() {
            Some(inner) => current = inner,
            None => break,
        }
    }
    Some(path)
}

fn remove(document: &mut Table, path: &[String]) -> bool {
    let Some((last, before)) = path.split_last() else { return false };
    let mut table = document;
    for step in before {
        match table.get_mut(step).and_then(Value::as_table_mut) {
            Some(inner) => table = inner,
            None => return false,
        }
    }
    table.remove(last).is_some()
}

/// What the plan says, in place of what the cluster file seemed to.
fn from_plan(facts: &mut Facts, plan: &Table) {
    let tables = |key: &str| -> Vec<&Table> { list(plan, key).filter_map(Value::as_table).collect() };
    let mut kinds = BTreeMap::new();
    for tracker in tables("tracker") {
        let Some(watch) = tracker.get("watch").and_then(Value::as_table) else { continue };
        let name = or(text(tracker, "name"), "");
        kinds.insert(name.clone(), watched(facts, &name, watch, text(tracker, "initially")));
    }
    for router in tables("router") {
        let object = format!("router {}", or(text(router, "name"), ""));
        for (key, property) in [
            ("interface", "interface"),
            ("version", "version"),
            ("vrid", "vrid"),
            ("priority", "priority"),
            ("preempt", "preempt"),
        ] {
            facts.set(&object, property, or(text(router, key), ""));
        }
        facts.set(&object, "source", or(text(router, "source"), ""));
        facts.set(&object, "advert_interval", or(span(router, "advert_interval"), ""));
        facts.set(&object, "garp repeat", or(text(router, "garp_repeat"), ""));
        facts.set(&object, "garp delay", or(span(router, "garp_delay"), ""));
        let own = or(text(router, "interface"), "");
        if let Some(unicast) = router.get("unicast").and_then(Value::as_table) {
            let least = text(unicast, "min_ttl").filter(|least| least != "0");
            let shown = least.map(|least| format!("min_ttl {least} max_ttl 255")).unwrap_or_default();
            for peer in list(unicast, "peers").map(word) {
                facts.set(&object, format!("peer {peer}"), &*shown);
            }
        }
        for (key, property) in [("vips", "vip"), ("unadvertised_vips", "excluded")] {
            for cidr in list(router, key).map(word) {
                let (address, prefix) = cidr.split_once('/').unwrap_or((&cidr, ""));
                facts.set(&object, format!("{property} {address}"), prefix);
                let settings = list(router, "vip_settings").filter_map(Value::as_table);
                let settings =
                    settings.filter(|settings| text(settings, "address").as_deref() == Some(address));
                let interface = settings.into_iter().find_map(|settings| text(settings, "interface"));
                facts.set(&object, format!("{property} {address} dev"), or(interface, &own));
            }
        }
        // A router of a group also has what its group tracks.
        if !router.contains_key("sync_group") {
            tracks(facts, &object, router, &kinds);
        }
    }
    if let Some(sync) = plan.get("connection_sync").and_then(Value::as_table) {
        for (key, property) in [("interface", "sync interface"), ("router", "sync router"), ("id", "sync id")]
        {
            facts.set("global", property, or(text(sync, key), ""));
        }
    }
    for server in tables("virtual_server") {
        let object = match text(server, "firewall_mark") {
            Some(mark) => {
                let v6 = text(server, "family").is_some_and(|family| family == "ipv6");
                format!("service fwmark {mark}{}", if v6 { " ipv6" } else { "" })
            }
            None => {
                let target = socket(&or(text(server, "address"), ""), &or(text(server, "port"), "0"));
                format!("service {} {target}", or(text(server, "protocol"), ""))
            }
        };
        facts.set(&object, "scheduler", or(text(server, "scheduler"), ""));
        facts.set(&object, "one_packet", or(text(server, "one_packet"), ""));
        if let Some(persistence) = server.get("persistence").and_then(Value::as_table) {
            facts.set(&object, "persistence", or(span(persistence, "timeout"), ""));
            facts.set(&object, "persistence prefix", or(text(persistence, "prefix"), ""));
        }
        for destination in list(server, "destination").filter_map(Value::as_table) {
            let target = socket(&or(text(destination, "address"), ""), &or(text(destination, "port"), "0"));
            let name = format!("{object} -> {target}");
            facts.set(&name, "weight", or(text(destination, "weight"), ""));
            facts.set(&name, "forwarding", or(text(destination, "forwarding"), ""));
        }
    }
}
