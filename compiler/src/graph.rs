//! A picture of a cluster: who holds which VIPs, what is balanced on them, and to whom.
//!
//! Here is what is in the picture; `svg` and `mermaid` draw it. Four columns from left to right: directors,
//! virtual routers, services, real servers. What looks the same from outside becomes one box, so that forty
//! hosts are as readable as two: real servers of the same services, and services of the same virtual router and
//! real servers.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Forwarding, Segment};
use evenkeel_schemas::scalars::Name;

use crate::resolve::{Balanced, Resolved, Taken};

mod mermaid;
mod svg;

pub use mermaid::mermaid;
pub use svg::svg;

/// How many lines a box has at most; the last one then says how many more there are.
const MAX_LINES: usize = 12;

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

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    name: String,
    segments: Vec<(Name, String)>,
    directors: Vec<Node>,
    routers: Vec<Node>,
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
            let each = service.fronts.iter().flat_map(|front| &front.real_servers);
            each.map(|server| (server.host.clone(), (server.weight.get(), server.forwarding.to_string())))
                .collect()
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

/// How packets are sent to these of a service's real servers: weight, and forwarding where it is not the usual one.
fn sending(servers: &Sends, hosts: &[&Name]) -> String {
    let of_team = || hosts.iter().filter_map(|host| servers.get(*host));
    let (least, most) = (of_team().map(|(w, _)| *w).min(), of_team().map(|(w, _)| *w).max());
    let weight = match (least, most) {
        (Some(least), Some(most)) if least != most => format!("weights {least}–{most}"),
        (Some(weight), _) => format!("weight {weight}"),
        (None, _) => String::new(),
    };
    let usual = Forwarding::Dr.to_string();
    let unusual: BTreeSet<&str> =
        of_team().map(|(_, forwarding)| forwarding.as_str()).filter(|f| *f != usual).collect();
    unusual.into_iter().fold(weight, |text, forwarding| format!("{text}, {forwarding}"))
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
    Node {
        title: name.to_string(),
        lines: vec![host_line(cluster, name)],
        segments: segments_of(cluster, name),
    }
}

fn router_node(cluster: &Resolved, name: &Name) -> Node {
    let Some(router) = cluster.routers.get(name) else {
        return Node { title: name.to_string(), lines: Vec::new(), segments: BTreeSet::new() };
    };
    let mut lines =
        vec![format!("VRID {}, version {}, every {}", router.vrid, router.version, router.advert_interval)];
    lines.extend(router.vips().map(|vip| format!("VIP {vip}")));
    Node { title: name.to_string(), lines: shortened(lines), segments: BTreeSet::new() }
}

fn service_node(services: &[(&Name, &Balanced)]) -> Node {
    let front = |(name, service): &(&Name, &Balanced)| {
        let vips: usize = service.fronts.iter().map(|front| front.vips.len()).sum();
        let by_address = matches!(service.taken, Taken::Transport { .. });
        let vips = if by_address && vips > 1 { format!(" on {vips} VIPs") } else { String::new() };
        let taken = match &service.taken {
            Taken::Transport { protocol, ports } => match ports.as_slice() {
                [first, .., last] => format!("{protocol}/{first}–{last}"),
                ports => format!("{protocol}/{}", words(ports)),
            },
            Taken::Mark { mark, family } => format!("mark {mark} {family}"),
        };
        format!("{name} {taken} {}{vips}", service.scheduler.as_str())
    };
    match services {
        [(name, _)] => {
            let line =
                services.iter().map(front).map(|line| line.replacen(&format!("{name} "), "", 1)).collect();
            Node { title: name.to_string(), lines: line, segments: BTreeSet::new() }
        }
        several => Node {
            title: format!("{} services", several.len()),
            lines: shortened(several.iter().map(front).collect()),
            segments: BTreeSet::new(),
        },
    }
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
