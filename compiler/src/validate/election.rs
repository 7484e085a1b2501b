//! EK04xx, fourth part: settings of an election that contradict each other or do nothing.

use evenkeel_schemas::cluster::Checksum;
use evenkeel_schemas::scalars::Span;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[
    delay_without_preemption,
    short_interval,
    long_startup_delay,
    garp_refresh,
    garp_burst,
    checksum_without_effect,
    zero_refresh,
];

/// Below this a busy host or switch makes a Backup believe that the Master is gone.
const SHORT_CENTIS: u16 = 10;
/// From this on a start looks like a failure to whoever watches it.
const LONG_STARTUP_MILLIS: u32 = 10 * 60 * 1000;

fn delay_without_preemption(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = |key| cx.knows(at!["virtual_routers", name, key]);
        let (Some(delay), false) = (router.preempt_delay, router.preempt) else {
            continue;
        };
        if known("preempt") && known("preempt_delay") {
            out.push(
                Diagnostic::new(
                    &codes::DELAY_WITHOUT_PREEMPTION,
                    cx.value(at!["virtual_routers", name, "preempt_delay"]),
                    format!("`{name}` waits {delay} before preemption, but never preempts"),
                    "has no effect",
                )
                .also(cx.value(at!["virtual_routers", name, "preempt"]), "no preemption")
                .hint("remove one of them"),
            );
        }
    }
}

fn short_interval(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "advert_interval"];
        let interval = router.advert_interval;
        if interval.as_centis() < SHORT_CENTIS && cx.knows(path) {
            out.push(
                Diagnostic::new(
                    &codes::SHORT_INTERVAL,
                    cx.value(path),
                    format!("`{name}` advertises every {interval}"),
                    "a pause of three times as long elects a second Master",
                )
                .hint("write \"100ms\" or more, unless the hosts are known never to pause for so long"),
            );
        }
    }
}

fn long_startup_delay(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "startup_delay"];
        let long = router.startup_delay.filter(|delay| delay.as_millis() >= LONG_STARTUP_MILLIS);
        if let Some(delay) = long.filter(|_| cx.knows(path)) {
            out.push(
                Diagnostic::new(
                    &codes::LONG_STARTUP_DELAY,
                    cx.value(path),
                    format!("a director of `{name}` stays out of the election for {delay} after its start"),
                    "nobody holds the VIPs if all start at once",
                )
                .hint("write as long as the network takes to come up, such as \"30s\""),
            );
        }
    }
}

fn garp_refresh(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "garp", "refresh"];
        let Some(refresh) = router.garp.refresh.filter(|refresh| refresh.as_millis() > 0) else {
            continue;
        };
        let delay_path = at!["virtual_routers", name, "garp", "delay"];
        if refresh >= router.garp.delay || !cx.knows(path) || !cx.knows(delay_path) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::GARP_REFRESH,
                cx.value(path),
                format!(
                    "`{name}` repeats its gratuitous ARP every {refresh}, before the second burst after {}",
                    router.garp.delay
                ),
                "shorter than `delay`",
            )
            .hint(
                "write a `refresh` of a minute or more, or remove it: two bursts are enough for most \
                switches",
            ),
        );
    }
}

/// Length of a burst: packets apart by `interval`.
fn garp_burst(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = |key| cx.knows_all(at!["virtual_routers", name, "garp", key]);
        let Some(interval) = router.garp.interval.filter(|_| known("interval") && known("repeat")) else {
            continue;
        };
        let vips = router.vips.len() + router.unadvertised_vips.len();
        let packets = u64::from(router.garp.repeat) * u64::try_from(vips).unwrap_or(u64::MAX);
        let burst = packets.saturating_mul(u64::from(interval.as_millis()));
        let next = [("refresh", router.garp.refresh), ("delay", Some(router.garp.delay))]
            .into_iter()
            .filter_map(|(key, span)| Some((key, span.filter(|span| span.as_millis() > 0)?)))
            .find(|(key, span)| known(key) && burst > u64::from(span.as_millis()));
        let Some((key, span)) = next.filter(|_| cx.knows_vips(name)) else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::GARP_BURST,
                cx.value(at!["virtual_routers", name, "garp", "interval"]),
                format!(
                    "{packets} packets of gratuitous ARP for `{name}` take longer than `garp.{key}`, which \
                    is {span}"
                ),
                format!("{interval} between two packets"),
            )
            .hint("write a shorter `interval`, such as \"1ms\", or a smaller `repeat`"),
        );
    }
}

fn checksum_without_effect(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = |key| cx.knows_all(at!["virtual_routers", name, key]);
        if router.checksum == Checksum::default() || !known("checksum") || !known("version") {
            continue;
        }
        let (why, also) = if router.version == 2 {
            ("version 2 has a checksum of its own", ("version", "version 2"))
        } else if known("vips") && router.vips.iter().all(|vip| vip.0.is_ipv6()) {
            ("IPv6 has one kind of checksum only", ("vips", "no IPv4"))
        } else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::CHECKSUM_WITHOUT_EFFECT,
                cx.value(at!["virtual_routers", name, "checksum"]),
                format!("`{name}` chooses a checksum, but {why}"),
                "has no effect",
            )
            .also(cx.value(at!["virtual_routers", name, also.0]), also.1)
            .hint("remove `checksum`"),
        );
    }
}

/// keepalived takes 0 for "never"; here that is said by leaving the key out.
fn zero_refresh(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let path = at!["virtual_routers", name, "garp", "refresh"];
        if router.garp.refresh.map(Span::as_millis) == Some(0) && cx.knows(path) {
            out.push(
                Diagnostic::new(
                    &codes::ZERO_DURATION,
                    cx.value(path),
                    format!("the refresh of gratuitous ARP of `{name}` is zero"),
                    "must be longer than 0s",
                )
                .hint("to send none after the second burst, remove `refresh`"),
            );
        }
    }
}
