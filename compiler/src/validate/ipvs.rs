//! EK06xx: policy, and the settings of IPVS on every director.

use evenkeel_schemas::cluster::DriftMode;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[
    resync_too_short,
    exclusive_but_reported,
    probation_timeout,
    ipvs_timeout,
    no_ipvs_sysctl,
    unknown_ipvs_sysctl,
    ipvs_sysctl_value,
    ipvs_sysctl_moves,
];

/// Shortest time between two resyncs.
const MIN_RESYNC_MILLIS: u32 = 1000;

/// Shortest probation: a host must converge, be examined and be confirmed.
const MIN_PROBATION_MILLIS: u32 = 5000;

/// Values that the kernel accepts for a setting.
#[derive(Clone, Copy)]
enum Values {
    Range(i64, i64),
    /// 0 to 3, of which 1 and 2 are automatic.
    Defense,
    PowerOfTwo(i64),
}

const FLAG: Values = Values::Range(0, 1);
const COUNT: Values = Values::Range(0, i32::MAX as i64);

/// Size of hash tables beyond the need, as a power of two.
const LOAD_FACTOR: Values = Values::Range(-8, 8);

/// The files of `/proc/sys/net/ipv4/vs` of Linux 5.10 to 7.2 that hold one number (the kernel's
/// `ipvs-sysctl`), ascending. No kernel has all: `run_estimation` came with 6.1, `est_nice` with 6.2,
/// `conn_lfactor`, `conn_max` and `svc_lfactor` with 7.x. A host whose kernel lacks one says so and goes on
/// without.
const SYSCTLS: [(&str, Values); 30] = [
    ("am_droprate", COUNT),
    ("amemthresh", COUNT),
    ("backup_only", FLAG),
    ("cache_bypass", FLAG),
    ("conn_lfactor", LOAD_FACTOR),
    ("conn_max", COUNT),
    ("conn_reuse_mode", Values::Range(0, 3)),
    ("conntrack", FLAG),
    ("debug_level", COUNT),
    ("drop_entry", Values::Defense),
    ("drop_packet", Values::Defense),
    ("est_nice", Values::Range(-20, 19)),
    ("expire_nodest_conn", FLAG),
    ("expire_quiescent_template", FLAG),
    ("ignore_tunneled", FLAG),
    ("lblc_expiration", COUNT),
    ("lblcr_expiration", COUNT),
    ("nat_icmp_send", FLAG),
    ("pmtu_disc", FLAG),
    ("run_estimation", FLAG),
    ("schedule_icmp", FLAG),
    ("secure_tcp", Values::Defense),
    ("sloppy_sctp", FLAG),
    ("sloppy_tcp", FLAG),
    ("snat_reroute", FLAG),
    ("svc_lfactor", LOAD_FACTOR),
    ("sync_persist_mode", Values::Range(0, 1)),
    ("sync_ports", Values::PowerOfTwo(64)),
    ("sync_retries", Values::Range(0, 3)),
    ("sync_version", Values::Range(0, 1)),
];

/// Longest name that is taken for one.
const MAX_NAME_BYTES: usize = 64;

/// Settings whose range depends on memory or time only.
const UNBOUNDED: [&str; 3] = ["sync_qlen_max", "sync_refresh_period", "sync_sock_size"];

/// Settings that hold something else than one number, and its name.
const OTHER: [(&str, &str); 2] = [("est_cpulist", "a list of processors"), ("sync_threshold", "two numbers")];

fn values(key: &str) -> Option<Values> {
    let listed = SYSCTLS.iter().find(|(name, _)| *name == key).map(|(_, values)| *values);
    listed.or_else(|| UNBOUNDED.contains(&key).then_some(COUNT))
}

fn names() -> impl Iterator<Item = &'static str> + Clone {
    SYSCTLS.iter().map(|(name, _)| *name).chain(UNBOUNDED)
}

fn resync_too_short(cx: &Context<'_>, out: &mut Findings) {
    let resync = cx.cluster.policy.resync;
    if resync.as_millis() < MIN_RESYNC_MILLIS && cx.knows(at!["policy", "resync"]) {
        out.push(
            Diagnostic::new(
                &codes::RESYNC_TOO_SHORT,
                cx.value(at!["policy", "resync"]),
                format!("`policy.resync` is {resync}"),
                "must be at least 1s",
            )
            .hint("the default is `resync = \"5s\"`"),
        );
    }
}

fn exclusive_but_reported(cx: &Context<'_>, out: &mut Findings) {
    let policy = &cx.cluster.policy;
    let (exclusive, report) = (at!["policy", "exclusive_ipvs"], at!["policy", "drift", "ipvs"]);
    if policy.exclusive_ipvs
        && policy.drift.ipvs == DriftMode::Report
        && cx.knows(exclusive)
        && cx.knows(report)
    {
        out.push(
            Diagnostic::new(
                &codes::EXCLUSIVE_BUT_REPORTED,
                cx.value(report),
                "`policy` removes foreign IPVS services and leaves IPVS alone",
                "leaves every difference",
            )
            .also(cx.value(exclusive), "removes what is not in the plan")
            .hint("keep one of them"),
        );
    }
}

fn probation_timeout(cx: &Context<'_>, out: &mut Findings) {
    let path = at!["policy", "probation", "timeout"];
    let Some(probation) = cx.cluster.policy.probation.as_ref().filter(|_| cx.knows(path)) else { return };
    let millis = probation.timeout.as_millis();
    let (label, hint) = if millis < MIN_PROBATION_MILLIS {
        ("must be at least 5s", "such as `timeout = \"60s\"`".to_owned())
    } else if !millis.is_multiple_of(1000) {
        ("not whole seconds", format!("write `timeout = \"{}s\"`", millis / 1000 + 1))
    } else {
        return;
    };
    out.push(
        Diagnostic::new(
            &codes::PROBATION_TIMEOUT,
            cx.value(path),
            format!("a probation cannot last {}", probation.timeout),
            label,
        )
        .hint(hint),
    );
}

fn ipvs_timeout(cx: &Context<'_>, out: &mut Findings) {
    let timeouts = &cx.cluster.ipvs.timeouts;
    for (key, span) in [("tcp", timeouts.tcp), ("tcp_fin", timeouts.tcp_fin), ("udp", timeouts.udp)] {
        let path = at!["ipvs", "timeouts", key];
        let Some(span) = span.filter(|_| cx.knows(path)) else { continue };
        let millis = span.as_millis();
        let (label, hint) = match millis {
            0 => ("means \"as it is\" to the kernel", format!("remove `{key}`, or write a time")),
            _ if !millis.is_multiple_of(1000) => {
                ("not whole seconds", format!("write `{key} = \"{}s\"`", millis / 1000 + 1))
            }
            _ => continue,
        };
        out.push(
            Diagnostic::new(
                &codes::IPVS_TIMEOUT,
                cx.value(path),
                format!("the {key} time-out of IPVS is {span}"),
                label,
            )
            .hint(hint),
        );
    }
}

/// Whether it looks like a name of the kernel's: those of kernels to come do as well.
fn is_name(key: &str) -> bool {
    let starts = key.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    starts
        && key.len() <= MAX_NAME_BYTES
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether it is no known setting but may be one of a newer kernel: not what one slip makes of a known name.
fn may_be_newer(cx: &Context<'_>, key: &str) -> bool {
    let slip = |near: &str| strsim::damerau_levenshtein(key, near) <= 1;
    is_name(key)
        && OTHER.iter().all(|(name, _)| *name != key)
        && !cx.suggester.closest(key, names()).is_some_and(slip)
}

/// The keys that are no known setting, by whether they may be one of a newer kernel.
fn unknown<'c>(cx: &'c Context<'_>, newer: bool) -> impl Iterator<Item = &'c String> {
    let keys = cx.cluster.ipvs.sysctls.keys().filter(|key| values(key).is_none());
    keys.filter(move |key| cx.knows(at!["ipvs", "sysctls", key.as_str()]) && may_be_newer(cx, key) == newer)
}

/// The kernel may be newer than this compiler, so what it does not know is no error; a wrong name costs
/// itself on each host.
fn unknown_ipvs_sysctl(cx: &Context<'_>, out: &mut Findings) {
    for key in unknown(cx, true) {
        let path = at!["ipvs", "sysctls", key.as_str()];
        out.push(
            Diagnostic::new(
                &codes::IPVS_SYSCTL_NOT_KNOWN,
                cx.key(path),
                format!("`{key}` is not a setting of IPVS that this version knows"),
                "set where the kernel has it",
            )
            .hint(cx.suggester.hint(key, "settings of IPVS", names())),
        );
    }
}

fn no_ipvs_sysctl(cx: &Context<'_>, out: &mut Findings) {
    for key in unknown(cx, false) {
        let path = at!["ipvs", "sysctls", key.as_str()];
        let last = key.rsplit(['.', '/']).next().unwrap_or(key);
        let other = OTHER.iter().find(|(name, _)| *name == last);
        let (label, hint) = if let Some((name, what)) = other {
            (format!("holds {what}"), format!("set `net.ipv4.vs.{name}` in the host's own sysctl.d"))
        } else if last != key && values(last).is_some() {
            ("a name, not a path".to_owned(), format!("write `{last}`"))
        } else if key.contains(['.', '/']) {
            (
                "not below `net.ipv4.vs`".to_owned(),
                "set it in the host's own sysctl.d; here are settings of IPVS only".to_owned(),
            )
        } else {
            ("no such setting".to_owned(), cx.suggester.hint(key, "settings of IPVS", names()))
        };
        out.push(
            Diagnostic::new(
                &codes::UNKNOWN_IPVS_SYSCTL,
                cx.key(path),
                format!("`{}` is not a setting of IPVS that holds one number", key.escape_debug()),
                label,
            )
            .hint(hint),
        );
    }
}

fn ipvs_sysctl_value(cx: &Context<'_>, out: &mut Findings) {
    for (key, value) in &cx.cluster.ipvs.sysctls {
        let path = at!["ipvs", "sysctls", key.as_str()];
        let Some(values) = values(key).filter(|_| cx.knows(path)) else { continue };
        let (right, words) = match values {
            Values::Range(0, 1) => ((0..=1).contains(value), "0 or 1".to_owned()),
            Values::Range(min, max) => ((min..=max).contains(value), format!("from {min} to {max}")),
            Values::Defense => ((0..=3).contains(value), "from 0 to 3".to_owned()),
            Values::PowerOfTwo(max) => (
                (1..=max).contains(value) && value.count_ones() == 1,
                format!("a power of two from 1 to {max}"),
            ),
        };
        if !right {
            out.push(
                Diagnostic::new(
                    &codes::IPVS_SYSCTL_VALUE,
                    cx.value(path),
                    format!("IPVS setting `{key}` cannot be {value}"),
                    format!("must be {words}"),
                )
                .hint(format!("write a value that is {words}, or remove `{key}`")),
            );
        }
    }
}

fn ipvs_sysctl_moves(cx: &Context<'_>, out: &mut Findings) {
    for (key, value) in &cx.cluster.ipvs.sysctls {
        let path = at!["ipvs", "sysctls", key.as_str()];
        let moves = matches!(values(key), Some(Values::Defense)) && (1..=2).contains(value);
        if moves && cx.knows(path) {
            out.push(
                Diagnostic::new(
                    &codes::IPVS_SYSCTL_MOVES,
                    cx.value(path),
                    format!("the kernel changes IPVS setting `{key}` by itself when it is {value}"),
                    "automatic: 1 and 2 in turn",
                )
                .hint("write 0 (off) or 3 (always on), or set it in the host's own sysctl.d"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_in_order_and_listed_once() {
        assert!(SYSCTLS.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(UNBOUNDED.iter().all(|name| SYSCTLS.iter().all(|(other, _)| other != name)));
        assert!(OTHER.iter().all(|(name, _)| values(name).is_none()));
    }
}
