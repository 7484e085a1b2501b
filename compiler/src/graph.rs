//! A picture of a cluster: who holds which VIPs, what is balanced on them, and to whom.
//!
//! Here is what is in the picture; `svg` and `mermaid` draw it. Four columns from left to right: directors,
//! virtual routers, services, real servers. What looks the same from outside becomes one box, so that forty
//! hosts are as readable as two: real servers of the same services, and services of the same virtual router
//! and real servers. Around the virtual routers of a sync group is a frame.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Forwarding, Segment};
use evenkeel_schemas::scalars::{Name, Port};

use crate::resolve::{Balanced, Resolved, Taken};

mod labels;
mod mermaid;
mod svg;

pub use mermaid::mermaid;
pub use svg::svg;

/// Most lines of a box; the last one then says how many more there are.
const MAX_LINES: usize = 12;
/// Most ports and ranges that are written out, and most names on a line between two boxes: both make boxes
/// wide.
const MAX_PORTS: usize = 6;
const MAX_CHECKS: usize = 4;
const MAX_DRAINED: usize = 3;

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    title: String,
    lines: Vec<String>,
    /// Segments of the hosts in it.
    segments: BTreeSet<Name>,
}

/// A line between two boxes of neighbouring columns, with a few words on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: usize,
    to: usize,
    label: String,
    /// The director that is Master when all are well.
    preferred: bool,
}

/// Boxes and lines of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    name: String,
    segments: Vec<(Name, String)>,
    directors: Vec<Node>,
    routers: Vec<Node>,
    /// Sync groups, with the virtual routers in them.
    groups: Vec<(Name, BTreeSet<usize>)>,
    services: Vec<Node>,
    real_servers: Vec<Node>,
    /// From directors to virtual routers.
    holds: Vec<Edge>,
    /// From virtual routers to services.
    serves: Vec<Edge>,
    /// From services to real servers.
    sends: Vec<Edge>,
}

/// Weight and forwarding of each real server of a service.
type Sends = BTreeMap<Name, (u16, String)>;

impl Graph {
    /// The picture of a cluster.
    #[must_use]
    pub fn of(cluster: &Resolved) -> Self {
        let likeness = |service: &'_ Balanced| -> Sends {
            let mut sends = Sends::new();
            for server in service.fronts.iter().flat_map(|front| &front.real_servers) {
                let usual = || (0, server.forwarding.to_string());
                let (weight, _) = sends.entry(server.host.clone()).or_insert_with(usual);
                // With several ports a host gets new connections while any of them does.
                let weight_now = if server.drain { 0 } else { server.weight.get() };
                *weight = weight_now.max(*weight);
            }
            sends
        };
        let mut alike: BTreeMap<(&Name, Sends), Vec<(&Name, &Balanced)>> = BTreeMap::new();
        for (name, service) in &cluster.services {
            alike.entry((&service.router, likeness(service))).or_default().push((name, service));
        }
        // Real servers by the groups of services that they belong to.
        let mut tasks: BTreeMap<&Name, BTreeSet<usize>> = BTreeMap::new();
        for (index, (_, servers)) in alike.keys().enumerate() {
            servers.keys().for_each(|host| _ = tasks.entry(host).or_default().insert(index));
        }
        let mut teams: BTreeMap<&BTreeSet<usize>, Vec<&Name>> = BTreeMap::new();
        for (host, groups) in &tasks {
            teams.entry(groups).or_default().push(host);
        }
        let mut teams: Vec<(&BTreeSet<usize>, Vec<&Name>)> = teams.into_iter().collect();
        // By address: h5 comes before h10.
        let address = |name: &Name| cluster.hosts.get(name).map(|host| host.address);
        teams.iter_mut().for_each(|(_, hosts)| hosts.sort_by_key(|name| address(name)));
        teams.sort_by_key(|(_, hosts)| hosts.first().map(|name| address(name)));

        let router_index: BTreeMap<&Name, usize> =
            cluster.routers.keys().enumerate().map(|(index, name)| (name, index)).collect();
        let directors: BTreeSet<&Name> =
            cluster.routers.values().flat_map(|router| router.directors.keys()).collect();
        let director_index: BTreeMap<&Name, usize> =
            directors.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        let mut graph = Self {
            name: cluster.name.to_string(),
            segments: cluster
                .segments
                .iter()
                .map(|(name, segment)| (name.clone(), words(&segment.subnets)))
                .collect(),
            directors: directors.iter().map(|name| host_node(cluster, name)).collect(),
            routers: cluster.routers.keys().map(|name| router_node(cluster, name)).collect(),
            groups: groups(cluster),
            services: alike.values().map(|services| service_node(services)).collect(),
            real_servers: teams.iter().map(|(_, hosts)| team_node(cluster, hosts)).collect(),
            holds: Vec::new(),
            serves: Vec::new(),
            sends: Vec::new(),
        };
        for (name, router) in &cluster.routers {
            let highest = router.directors.values().max();
            for (director, priority) in &router.directors {
                graph.holds.push(Edge {
                    from: director_index.get(director).copied().unwrap_or_default(),
                    to: router_index.get(name).copied().unwrap_or_default(),
                    label: priority.to_string(),
                    preferred: Some(priority) == highest,
                });
            }
        }
        for (index, (router, servers)) in alike.keys().enumerate() {
            if let Some(from) = router_index.get(*router) {
                graph.serves.push(Edge { from: *from, to: index, label: String::new(), preferred: true });
            }
            let of_service = teams.iter().enumerate().filter(|(_, (groups, _))| groups.contains(&index));
            for (team, (_, hosts)) in of_service {
                graph.sends.push(Edge {
                    from: index,
                    to: team,
                    label: sending(servers, hosts),
                    preferred: true,
                });
            }
        }
        graph
    }
}

/// Sync groups with their virtual routers, which are numbered by their names. A virtual router with VIPs of
/// both families is none: it is one box.
fn groups(cluster: &Resolved) -> Vec<(Name, BTreeSet<usize>)> {
    let mut groups: BTreeMap<&Name, BTreeSet<usize>> = BTreeMap::new();
    for (index, router) in cluster.routers.values().enumerate() {
        if let Some(group) = &router.group {
            groups.entry(group).or_default().insert(index);
        }
    }
    let several = groups.into_iter().filter(|(_, members)| members.len() > 1);
    several.map(|(name, members)| (name.clone(), members)).collect()
}

/// Words on a line from a service to these of its real servers: weight, forwarding where it is not the usual
/// one, and the hosts that get no new connections.
fn sending(servers: &Sends, hosts: &[&Name]) -> String {
    let of_team = || hosts.iter().filter_map(|host| Some((*host, servers.get(*host)?)));
    let serving = || of_team().map(|(_, (weight, _))| *weight).filter(|weight| *weight > 0);
    let mut words = Vec::new();
    match (serving().min(), serving().max()) {
        (Some(least), Some(most)) if least != most => words.push(format!("weights {least}–{most}")),
        (Some(weight), _) => words.push(format!("weight {weight}")),
        (None, _) => {}
    }
    let usual = Forwarding::Dr.to_string();
    let unusual: BTreeSet<&str> =
        of_team().map(|(_, (_, forwarding))| forwarding.as_str()).filter(|f| *f != usual).collect();
    words.extend(unusual.into_iter().map(str::to_owned));
    // Last, since it is a list itself.
    let drained = of_team().filter(|(_, (weight, _))| *weight == 0).map(|(name, _)| name);
    words.extend(listed(drained, MAX_DRAINED).map(|names| format!("drained: {names}")));
    words.join(", ")
}

/// The first of some things, and how many more there are.
fn listed<T: ToString>(items: impl Iterator<Item = T>, most: usize) -> Option<String> {
    let mut all: Vec<String> = items.map(|item| item.to_string()).collect();
    let more = all.len().saturating_sub(most);
    all.truncate(most);
    let text = all.join(", ");
    (!text.is_empty()).then(|| if more == 0 { text } else { format!("{text} and {more} more") })
}

/// Ports one by one, and those that follow one another as a range. Ascending.
fn ports(ports: &[Port]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in ports.iter().map(|port| port.get()) {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(port) => *last = port,
            Some(_) | None => runs.push((port, port)),
        }
    }
    let run = |(first, last): (u16, u16)| match last - first {
        0 => first.to_string(),
        // Two neighbours are no range to a reader.
        1 => format!("{first}, {last}"),
        _ => format!("{first}–{last}"),
    };
    listed(runs.into_iter().map(run), MAX_PORTS).unwrap_or_default()
}

fn words<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn host_line(cluster: &Resolved, name: &Name) -> String {
    cluster.hosts.get(name).map(|host| format!("{} {}", host.address, host.interface)).unwrap_or_default()
}

fn segments_of(cluster: &Resolved, name: &Name) -> BTreeSet<Name> {
    let Some(host) = cluster.hosts.get(name) else { return BTreeSet::new() };
    let holds = |address: std::net::IpAddr| {
        move |(_, segment): &(&Name, &Segment)| segment.subnets.iter().any(|subnet| subnet.contains(address))
    };
    host.all_addresses()
        .filter_map(|(address, _)| {
            cluster.segments.iter().find(holds(address.0)).map(|(name, _)| name.clone())
        })
        .collect()
}

fn host_node(cluster: &Resolved, name: &Name) -> Node {
    let in_maintenance = cluster.hosts.get(name).is_some_and(|host| host.maintenance);
    let mut lines = vec![host_line(cluster, name)];
    lines.extend(in_maintenance.then(|| "in maintenance".to_owned()));
    Node { title: name.to_string(), lines, segments: segments_of(cluster, name) }
}

fn router_node(cluster: &Resolved, name: &Name) -> Node {
    let Some(router) = cluster.routers.get(name) else {
        return Node { title: name.to_string(), lines: Vec::new(), segments: BTreeSet::new() };
    };
    let mut lines =
        vec![format!("VRID {}, version {}, every {}", router.vrid, router.version, router.advert_interval)];
    lines.extend(router.segment.iter().map(|segment| format!("advertises on {segment}")));
    lines.extend(router.vips().map(|vip| format!("VIP {vip}")));
    Node { title: name.to_string(), lines: shortened(lines), segments: BTreeSet::new() }
}

fn service_node(services: &[(&Name, &Balanced)]) -> Node {
    let front = |(name, service): &(&Name, &Balanced)| {
        let vips: usize = service.fronts.iter().map(|front| front.vips.len()).sum();
        let by_address = matches!(service.taken, Taken::Transport { .. });
        let vips = if by_address && vips > 1 { format!(" on {vips} VIPs") } else { String::new() };
        let taken = match &service.taken {
            Taken::Transport { protocol, ports: all } => format!("{protocol}/{}", ports(all)),
            Taken::Mark { mark, family } => format!("mark {mark} {family}"),
        };
        format!("{name} {taken} {}{vips}", service.scheduler.as_str())
    };
    let checks = |service: &Balanced| checks(service).map(|checks| format!("checks {checks}"));
    let whole = |service: &(&Name, &Balanced)| {
        let more = [checks(service.1), sorry(service.1)];
        std::iter::once(front(service)).chain(more.into_iter().flatten()).collect::<Vec<_>>().join(", ")
    };
    match services {
        [(name, service)] => {
            let line = services.iter().map(front).map(|line| line.replacen(&format!("{name} "), "", 1));
            let lines = line.chain(checks(service)).chain(sorry(service)).collect();
            Node { title: name.to_string(), lines, segments: BTreeSet::new() }
        }
        several => Node {
            title: format!("{} services", several.len()),
            lines: shortened(several.iter().map(whole).collect()),
            segments: BTreeSet::new(),
        },
    }
}

/// The sorry server of a service: a host, or an address outside of the cluster.
fn sorry(service: &Balanced) -> Option<String> {
    let servers = service.fronts.iter().filter_map(|front| front.sorry_server.as_ref());
    let names: BTreeSet<String> = servers
        .map(|sorry| sorry.host.as_ref().map_or_else(|| sorry.address.to_string(), |host| host.to_string()))
        .collect();
    listed(names.into_iter(), MAX_DRAINED).map(|names| format!("sorry server {names}"))
}

/// Kinds of the checks of a service's real servers, with the port where it is not theirs, and the way where
/// it is that of clients.
fn checks(service: &Balanced) -> Option<String> {
    let servers = || service.fronts.iter().flat_map(|front| &front.real_servers);
    let shared = service.checks.iter().filter(|_| servers().any(|server| server.checks.is_empty()));
    let mut words: Vec<String> = Vec::new();
    for check in shared.chain(servers().flat_map(|server| &server.checks)) {
        let kind = check.kind.as_str();
        let mut word = check.port.map_or_else(|| kind.to_owned(), |port| format!("{kind} {port}"));
        word.push_str(if check.is_through_service() { " via service" } else { "" });
        if !words.contains(&word) {
            words.push(word);
        }
    }
    listed(words.into_iter(), MAX_CHECKS)
}

fn team_node(cluster: &Resolved, hosts: &[&Name]) -> Node {
    match hosts {
        [only] => host_node(cluster, only),
        several => Node {
            title: format!("{} real servers", several.len()),
            lines: shortened(
                several.iter().map(|name| format!("{name} {}", host_line(cluster, name))).collect(),
            ),
            segments: several.iter().flat_map(|name| segments_of(cluster, name)).collect(),
        },
    }
}

/// The lines, or as many as fit and how many are left out.
fn shortened(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAX_LINES {
        let more = lines.len() - (MAX_LINES - 1);
        lines.truncate(MAX_LINES - 1);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_list_where_they_are_a_list() {
        let text = |all: &[u16]| {
            ports(&all.iter().map(|port| Port::new(*port).expect("a port")).collect::<Vec<Port>>())
        };
        assert_eq!(text(&[80]), "80");
        assert_eq!(text(&[80, 443]), "80, 443");
        assert_eq!(text(&[80, 81, 443, 8000, 8001, 8002]), "80, 81, 443, 8000–8002");
        assert_eq!(text(&[65534, 65535]), "65534, 65535");
        assert_eq!(text(&[1, 3, 5, 7, 9, 11, 13, 15]), "1, 3, 5, 7, 9, 11 and 2 more");
    }

    #[test]
    fn who_is_drained_is_named() {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let sends = |weights: &[(&str, u16, Forwarding)]| -> Sends {
            weights.iter().map(|(host, weight, how)| (name(host), (*weight, how.to_string()))).collect()
        };
        let label = |sends: &Sends| sending(sends, &sends.keys().collect::<Vec<_>>());
        assert_eq!(label(&sends(&[("a", 3, Forwarding::Dr), ("b", 3, Forwarding::Dr)])), "weight 3");
        assert_eq!(
            label(&sends(&[("a", 3, Forwarding::Dr), ("b", 0, Forwarding::Dr), ("c", 1, Forwarding::Dr)])),
            "weights 1–3, drained: b"
        );
        assert_eq!(label(&sends(&[("a", 0, Forwarding::Nat)])), format!("{}, drained: a", Forwarding::Nat));
        let many: Vec<(String, u16)> = (0..6).map(|at| (format!("h{at}"), 0)).collect();
        let many: Vec<(&str, u16, Forwarding)> =
            many.iter().map(|(name, weight)| (name.as_str(), *weight, Forwarding::Dr)).collect();
        assert_eq!(label(&sends(&many)), "drained: h0, h1, h2 and 3 more");
    }
}
