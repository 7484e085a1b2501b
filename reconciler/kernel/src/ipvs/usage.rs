//! What services and destinations have to do: connections and counters. For people, metrics and drains,
//! never compared.

use std::collections::BTreeMap;

use evenkeel_converge::{DestinationKey, ServiceKey};

use super::codec;
use super::numbers::{dest, stats, svc, top};
use crate::generic::nested;
use crate::wire::{Malformed, attributes};

/// Traffic since the service or destination was made (`IPVS_STATS_ATTR_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients; none where real servers answer by themselves.
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

/// Connections and traffic of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DestinationUsage {
    /// Established connections.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    /// Clients that persistence binds to it.
    pub persistent: u32,
    /// Traffic.
    pub counters: Counters,
}

/// Traffic and destinations of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceUsage {
    /// Traffic, that of destinations that are gone included.
    pub counters: Counters,
    /// Destinations.
    pub destinations: BTreeMap<DestinationKey, DestinationUsage>,
}

/// Reads what a message about a service says of its traffic.
pub(super) fn parse_service(kind: u16, body: &[u8]) -> Result<Option<(ServiceKey, ServiceUsage)>, Malformed> {
    let Some((key, _)) = codec::parse_service(kind, body)? else { return Ok(None) };
    let mut usage = ServiceUsage::default();
    for attribute in attributes(nested(body, top::SERVICE)?.ok_or(Malformed)?) {
        let attribute = attribute?;
        if attribute.kind == svc::STATS64 {
            usage.counters = counters(attribute.value)?;
        }
    }
    Ok(Some((key, usage)))
}

/// Reads what a message about a destination of the service `key` says of its connections.
pub(super) fn parse_destination(
    key: &ServiceKey,
    body: &[u8],
) -> Result<Option<(DestinationKey, DestinationUsage)>, Malformed> {
    let Some((key, _)) = codec::parse_destination(key, body)? else { return Ok(None) };
    let mut usage = DestinationUsage::default();
    for attribute in attributes(nested(body, top::DEST)?.ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            dest::ACTIVE_CONNS => usage.active = attribute.u32()?,
            dest::INACT_CONNS => usage.inactive = attribute.u32()?,
            dest::PERSIST_CONNS => usage.persistent = attribute.u32()?,
            dest::STATS64 => usage.counters = counters(attribute.value)?,
            _ => {}
        }
    }
    Ok(Some((key, usage)))
}

/// Reads 64-bit counters. Kernels before 4.1 have 32-bit counters only: there all are 0.
fn counters(nest: &[u8]) -> Result<Counters, Malformed> {
    let mut counters = Counters::default();
    for attribute in attributes(nest) {
        let attribute = attribute?;
        match attribute.kind {
            stats::CONNS => counters.connections = attribute.u64()?,
            stats::INPKTS => counters.packets_in = attribute.u64()?,
            stats::OUTPKTS => counters.packets_out = attribute.u64()?,
            stats::INBYTES => counters.bytes_in = attribute.u64()?,
            stats::OUTBYTES => counters.bytes_out = attribute.u64()?,
            _ => {}
        }
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), mark: u32) {
            let key = ServiceKey::Mark { v6: false, mark };
            let _ = (parse_service(0, &bytes), parse_destination(&key, &bytes), counters(&bytes));
        }
    }
}
