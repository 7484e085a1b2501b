//! Metrics of virtual servers and their destinations, by the names of services in the cluster file.

use std::fmt;

use evenkeel_schemas::status::{DestinationStatus, TrafficCounters, Verdict, VirtualServerStatus};
use prometheus_client::registry::Unit;

use super::{Document, Metric, Samples, Value, micros, time};

pub(super) const METRICS: &[Metric] = &[
    Metric::counter("service_connections", "Connections that were scheduled.", |document, samples| {
        traffic(document, samples, |counters| counters.connections)
    }),
    Metric::counter("service_packets_in", "Packets from clients.", |document, samples| {
        traffic(document, samples, |counters| counters.packets_in)
    }),
    Metric::counter(
        "service_packets_out",
        "Packets to clients, where they come by here.",
        |document, samples| traffic(document, samples, |counters| counters.packets_out),
    ),
    Metric::counter("service_received", "Bytes from clients.", |document, samples| {
        traffic(document, samples, |counters| counters.bytes_in)
    })
    .in_unit(&Unit::Bytes),
    Metric::counter("service_sent", "Bytes to clients, where they come by here.", |document, samples| {
        traffic(document, samples, |counters| counters.bytes_out)
    })
    .in_unit(&Unit::Bytes),
    Metric::gauge("service_destinations", "Destinations in the plan.", |document, samples| {
        of_services(document, samples, |service| Some(service.destinations.len().into()))
    }),
    Metric::gauge("service_healthy_destinations", "Destinations that are healthy.", |document, samples| {
        of_services(document, samples, |service| {
            let up = service.destinations.iter().filter(|found| found.verdict == Verdict::Up);
            Some(up.count().into())
        })
    }),
    Metric::gauge(
        "service_leaving_destinations",
        "Destinations that left the plan and drain.",
        |document, samples| of_services(document, samples, |service| Some(service.leaving.len().into())),
    ),
    Metric::gauge("service_quorum_up", "Whether the quorum is there.", |document, samples| {
        of_services(document, samples, |service| service.quorum.as_ref().map(|quorum| quorum.up.into()))
    }),
    Metric::gauge("service_quorum_wanted", "Healthy weight that the quorum needs.", |document, samples| {
        of_services(document, samples, |service| service.quorum.as_ref().map(|quorum| quorum.wanted.into()))
    }),
    Metric::gauge("service_quorum_weight", "Healthy weight that there is.", |document, samples| {
        of_services(document, samples, |service| service.quorum.as_ref().map(|quorum| quorum.have.into()))
    }),
    Metric::gauge("service_floor_wanted", "Least healthy destinations.", |document, samples| {
        of_services(document, samples, |service| service.floor.as_ref().map(|floor| floor.wanted.into()))
    }),
    Metric::gauge(
        "service_below_floor",
        "Whether fewer are healthy than the floor says.",
        |document, samples| {
            of_services(document, samples, |service| {
                service.floor.as_ref().map(|floor| (floor.have < floor.wanted).into())
            })
        },
    ),
];

/// Metrics of each destination.
pub(super) const DESTINATIONS: &[Metric] = &[
    Metric::gauge("destination_up", "Whether a destination is healthy.", |document, samples| {
        of_destinations(document, samples, |found| Some((found.verdict == Verdict::Up).into()))
    }),
    Metric::gauge(
        "destination_since_timestamp",
        "Time since which the verdict stands.",
        |document, samples| {
            of_destinations(document, samples, |found| found.since.as_deref().and_then(time).map(Value::Real))
        },
    )
    .in_unit(&Unit::Seconds),
    Metric::gauge("destination_weight", "Weight in the plan.", |document, samples| {
        of_destinations(document, samples, |found| Some(u32::from(found.weight).into()))
    }),
    Metric::gauge(
        "destination_held",
        "Whether it is in the table otherwise than its verdict says.",
        |document, samples| of_destinations(document, samples, |found| Some(found.held.is_some().into())),
    ),
    Metric::gauge("destination_draining", "Whether it drains or has drained.", |document, samples| {
        of_destinations(document, samples, |found| Some(found.drain.is_some().into()))
    }),
    Metric::gauge("destination_unjudged", "Whether checks say nothing of it.", |document, samples| {
        of_destinations(document, samples, |found| Some(found.unjudged.is_some().into()))
    }),
    Metric::gauge("destination_failures", "Failed checks in a row.", |document, samples| {
        of_destinations(document, samples, |found| Some(found.failures.into()))
    }),
    Metric::counter(
        "destination_transitions",
        "Changes of the verdicts of its checks.",
        |document, samples| {
            of_destinations(document, samples, |found| {
                let transitions = found.checks.iter().map(|check| check.transitions);
                found.checked.then(|| transitions.sum::<u64>().into())
            })
        },
    ),
    Metric::gauge(
        "destination_check_duration",
        "Duration of the slowest of its last checks.",
        |document, samples| {
            of_destinations(document, samples, |found| {
                found.checks.iter().filter_map(|check| check.latency_us).max().map(|us| micros(us).into())
            })
        },
    )
    .in_unit(&Unit::Seconds),
    Metric::gauge("destination_active_connections", "Established connections.", |document, samples| {
        of_destinations(document, samples, |found| found.connections.map(|counts| counts.active.into()))
    }),
    Metric::gauge("destination_inactive_connections", "Connections in other states.", |document, samples| {
        of_destinations(document, samples, |found| found.connections.map(|counts| counts.inactive.into()))
    }),
    Metric::gauge(
        "destination_persistent_clients",
        "Clients that persistence binds to it.",
        |document, samples| {
            of_destinations(document, samples, |found| {
                found.connections.map(|counts| counts.persistent.into())
            })
        },
    ),
];

/// A sample for each service that has a value. A service of several addresses has several, and so its
/// address is a label.
fn of_services(
    document: &Document,
    samples: &mut Samples<'_>,
    value: impl Fn(&VirtualServerStatus) -> Option<Value>,
) -> fmt::Result {
    document.status.virtual_servers.iter().try_for_each(|service| match value(service) {
        Some(value) => {
            samples.put(&[("service", service.name.as_str()), ("address", &service.service)], value)
        }
        None => Ok(()),
    })
}

fn traffic(
    document: &Document,
    samples: &mut Samples<'_>,
    value: impl Fn(&TrafficCounters) -> u64,
) -> fmt::Result {
    of_services(document, samples, |service| service.counters.as_ref().map(|counters| value(counters).into()))
}

fn of_destinations(
    document: &Document,
    samples: &mut Samples<'_>,
    value: impl Fn(&DestinationStatus) -> Option<Value>,
) -> fmt::Result {
    document.status.virtual_servers.iter().try_for_each(|service| {
        service.destinations.iter().try_for_each(|found| {
            let labels = [
                ("service", service.name.as_str()),
                ("address", service.service.as_str()),
                ("host", found.host.as_str()),
                ("destination", found.address.as_str()),
            ];
            value(found).map_or(Ok(()), |value| samples.put(&labels, value))
        })
    })
}
