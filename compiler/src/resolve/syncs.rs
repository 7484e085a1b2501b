//! Connection synchronisations of a resolved cluster: each director's part.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use evenkeel_schemas::cluster::{Cluster, ConnectionSync, SyncMode};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{InterfaceName, Ip, Name, Port, Span, SyncId};

use super::Router;

/// `IP_VS_SYNC_GROUP` and `IP_VS_SYNC_PORT` of the kernel's `net/netfilter/ipvs/ip_vs_sync.c`.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
const PORT: u16 = 8848;
/// The kernel has no group of IPv6 of its own: the same number, on the link.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x81);
/// As the kernel's: packets stay on the segment.
const TTL: u8 = 1;
/// Most of the connections that carry packets have arrived by then.
const PREEMPT_AFTER_SYNC: Span = Span::from_secs(30);

/// By director. What cannot be resolved is left out: rules have refused it.
pub(super) fn resolve(
    cluster: &Cluster,
    routers: &BTreeMap<Name, Router>,
) -> BTreeMap<Name, plan::ConnectionSync> {
    let mut all = BTreeMap::new();
    for sync in cluster.connection_sync.values() {
        let Some((name, router)) = routers.get_key_value(sync.router.as_str()) else { continue };
        let mut directors = BTreeMap::new();
        for director in router.directors.keys() {
            let on_segment = router.instances.iter().find_map(|instance| instance.attached.get(director));
            let Some(attached) = on_segment else { continue };
            directors.insert(director, sync.interface.as_ref().unwrap_or(&attached.interface));
        }
        let v6_only =
            directors.iter().any(|(director, interface)| speaks_ipv6_only(cluster, director, interface));
        for (director, interface) in directors {
            all.extend(
                of_director(sync, name, router, interface, v6_only).map(|own| (director.clone(), own)),
            );
        }
    }
    all
}

fn of_director(
    sync: &ConnectionSync,
    name: &Name,
    router: &Router,
    interface: &InterfaceName,
    v6_only: bool,
) -> Option<plan::ConnectionSync> {
    let group = if v6_only { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP) };
    Some(plan::ConnectionSync {
        mode: sync.mode,
        router: name.clone(),
        interface: interface.clone(),
        id: sync.id.or_else(|| SyncId::new(router.vrid.get()).ok())?,
        group: sync.group.unwrap_or(Ip(group)),
        port: sync.port.or_else(|| Port::new(PORT).ok())?,
        ttl: sync.ttl.unwrap_or(TTL),
        max_length: sync.max_length,
        preempt_after_sync: waits(sync),
    })
}

/// Longest time for which a director that returns waits for connections.
fn waits(sync: &ConnectionSync) -> Option<Span> {
    // Who only sends waits for nothing.
    let receives = sync.mode != SyncMode::Master;
    let longest = sync.preempt_after_sync.unwrap_or(PREEMPT_AFTER_SYNC);
    (receives && !longest.as_duration().is_zero()).then_some(longest)
}

/// Whether a host has addresses of IPv6 alone on an interface: the kernel sends from one of the group's
/// family. Of an interface that is not written nothing is known.
fn speaks_ipv6_only(cluster: &Cluster, host: &Name, interface: &InterfaceName) -> bool {
    let addresses = cluster.hosts.get(host).into_iter().flat_map(|host| host.all_addresses());
    let mut there = addresses.filter(|(_, own)| *own == interface).map(|(ip, _)| ip).peekable();
    there.peek().is_some() && there.all(|ip| ip.0.is_ipv6())
}
