//! Metrics of virtual routers.

use std::fmt;

use evenkeel_schemas::status::{RouterState, RouterStatus};
use prometheus_client::registry::Unit;

use super::{Document, Metric, Samples, Value, micros, time};

pub(super) const METRICS: &[Metric] = &[
    Metric::gauge("router_info", "A virtual router and where it speaks; always 1.", |document, samples| {
        document.status.routers.iter().try_for_each(|router| {
            let (vrid, version) = (router.vrid.to_string(), router.version.to_string());
            let labels = [
                ("router", router.name.as_str()),
                ("interface", &router.interface),
                ("vrid", &vrid),
                ("version", &version),
                ("family", if router.family == 6 { "ipv6" } else { "ipv4" }),
            ];
            samples.put(&labels, 1_u32)
        })
    }),
    Metric::gauge(
        "router_state",
        "State of a virtual router: 1 for the one it is in.",
        |document, samples| {
            document.status.routers.iter().try_for_each(|router| {
                STATES.into_iter().try_for_each(|(state, name)| {
                    samples.put(&[("router", router.name.as_str()), ("state", name)], router.state == state)
                })
            })
        },
    ),
    Metric::gauge("router_master", "Whether this host is Master.", |document, samples| {
        each(document, samples, |router| Some((router.state == RouterState::Master).into()))
    }),
    Metric::gauge(
        "router_since_timestamp",
        "Time at which the router entered its state.",
        |document, samples| {
            each(document, samples, |router| router.since.as_deref().and_then(time).map(Value::Real))
        },
    )
    .in_unit(&Unit::Seconds),
    Metric::gauge("router_priority", "Priority with the weights of trackers.", |document, samples| {
        each(document, samples, |router| Some(u32::from(router.priority).into()))
    }),
    Metric::gauge("router_base_priority", "Priority in the plan.", |document, samples| {
        each(document, samples, |router| Some(u32::from(router.base_priority).into()))
    }),
    Metric::gauge(
        "router_ordered",
        "Whether an operator's order or the plan keeps it back.",
        |document, samples| each(document, samples, |router| Some(router.order.is_some().into())),
    ),
    Metric::gauge(
        "router_strangers",
        "Hosts that are no directors and use its VRID.",
        |document, samples| each(document, samples, |router| Some(router.strangers.len().into())),
    ),
    Metric::counter("router_became_master", "Times it became Master.", |document, samples| {
        each(document, samples, |router| Some(router.counters.became_master.into()))
    }),
    Metric::counter("router_adverts_sent", "Advertisements sent.", |document, samples| {
        each(document, samples, |router| Some(router.counters.adverts_sent.into()))
    }),
    Metric::counter(
        "router_adverts_received",
        "Advertisements received and accepted.",
        |document, samples| each(document, samples, |router| Some(router.counters.adverts_received.into())),
    ),
    Metric::counter(
        "router_priority_zero_received",
        "Advertisements of a Master that leaves, received.",
        |document, samples| {
            each(document, samples, |router| Some(router.counters.priority_zero_received.into()))
        },
    ),
    Metric::counter("router_adverts_rejected", "Advertisements rejected, by reason.", |document, samples| {
        document.status.routers.iter().try_for_each(|router| {
            router.counters.rejected.iter().try_for_each(|(reason, number)| {
                samples.put(&[("router", router.name.as_str()), ("reason", reason)], *number)
            })
        })
    }),
    Metric::counter("router_hmac_verified", "Advertisements whose HMAC was right.", |document, samples| {
        each(document, samples, |router| Some(router.counters.hmac_verified.into()))
    }),
    Metric::counter(
        "router_hmac_absent",
        "Advertisements without HMAC that were let through.",
        |document, samples| each(document, samples, |router| Some(router.counters.hmac_absent.into())),
    ),
    Metric::counter(
        "router_vip_list_mismatches",
        "Advertisements with other VIPs than ours.",
        |document, samples| each(document, samples, |router| Some(router.counters.vip_list_mismatch.into())),
    ),
    Metric::counter(
        "router_rival_masters",
        "Times another host was Master beside this one.",
        |document, samples| each(document, samples, |router| Some(router.counters.rival_masters.into())),
    ),
    Metric::counter(
        "router_vrid_in_use",
        "Advertisements of our VRID for VIPs that are not ours.",
        |document, samples| each(document, samples, |router| Some(router.counters.vrid_in_use.into())),
    ),
    Metric::counter(
        "router_duplicate_addresses",
        "Times somebody else had one of our VIPs.",
        |document, samples| {
            each(document, samples, |router| Some(router.counters.duplicate_addresses.into()))
        },
    ),
    Metric::counter("router_late_adverts", "Advertisements sent over 50 ms late.", |document, samples| {
        each(document, samples, |router| Some(router.counters.late_adverts.into()))
    }),
    Metric::gauge("router_lateness_max", "Largest lateness of an advertisement.", |document, samples| {
        each(document, samples, |router| Some(micros(router.counters.max_lateness_us).into()))
    })
    .in_unit(&Unit::Seconds),
    Metric::counter("router_vip_repairs", "Times that a removed VIP was put back.", |document, samples| {
        each(document, samples, |router| Some(router.counters.vip_repairs.into()))
    }),
];

const STATES: [(RouterState, &str); 3] = [
    (RouterState::Initialize, "initialize"),
    (RouterState::Backup, "backup"),
    (RouterState::Master, "master"),
];

/// A sample for each router that has a value.
fn each(
    document: &Document,
    samples: &mut Samples<'_>,
    value: impl Fn(&RouterStatus) -> Option<Value>,
) -> fmt::Result {
    document.status.routers.iter().try_for_each(|router| match value(router) {
        Some(value) => samples.put(&[("router", router.name.as_str())], value),
        None => Ok(()),
    })
}
