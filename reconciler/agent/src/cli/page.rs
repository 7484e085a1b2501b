//! The status document as a page for people.

mod ipvs;

use evenkeel_schemas::cluster::Confirm;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{
    DriftRecord, ElectionStatus, LogStatus, MaintenanceStatus, OrderStatus, ProbationStatus, RouterOrder,
    RouterStatus, SourceStatus, StateDirectoryStatus, Status, StrangerStatus, TrackerStatus, WaitingFile,
};

pub(crate) use ipvs::counted;

use evenkeel_host::drift_text;

/// Most VRIDs of others that the page names.
const MAX_UNKNOWN_VRIDS: usize = 4;

/// The status document as a page for people.
pub(crate) fn page(status: &Status) -> String {
    let mut lines = head(status);
    for router in &status.routers {
        lines.extend(router_lines(router, &label(router, &status.routers), &status.orders));
    }
    lines.extend(status.orders.iter().filter(|order| !order.in_plan).map(waiting_order));
    lines.extend(status.trackers.iter().map(tracker));
    lines.extend(election(&status.election));
    if status.dropped_hook_changes > 0 {
        lines.push(format!(
            "hooks: {} CHANGES CAME TOO FAST and were never told, the last ones excepted",
            status.dropped_hook_changes
        ));
    }
    lines.extend(log(&status.log));
    lines.extend(ipvs::lines(status));
    lines.extend(kernel(status));
    lines.push(String::new());
    lines.join("\n")
}

fn head(status: &Status) -> Vec<String> {
    let host = status.host.as_ref().map_or("this host", Name::as_str);
    let plan = &status.plan;
    let generation =
        plan.generation.as_deref().map_or("no plan in force", |text| text.get(..12).unwrap_or(text));
    let mut lines = vec![
        format!("{host}: evenkeeld {} (pid {}) since {}", status.daemon, status.pid, status.started),
        format!(
            "plan {generation} from {}{}",
            plan.path,
            if plan.from_last_good { " (the last good one, kept in the state directory)" } else { "" }
        ),
    ];
    if status.insecure_files {
        lines.push("  files are taken WHOEVER MAY WRITE TO THEM (--allow-insecure-files)".to_owned());
    }
    if let Some(rejected) = &plan.rejected {
        lines.push(format!("  REFUSED at {}: {}", rejected.at, rejected.reason));
    }
    lines.extend(status.source.iter().flat_map(source));
    lines.extend(status.state_directory.iter().flat_map(state_directory));
    lines.extend(plan.maintenance.as_ref().map(maintenance));
    lines.extend(plan.probation.iter().flat_map(|probation| on_probation(probation, generation)));
    lines
}

fn source(source: &SourceStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(until) = &source.paused_until {
        lines.push(format!("  PAUSED until {until}: nothing new is taken before, unless `evenkeeld resume`"));
    }
    let Some(git) = &source.git else { return lines };
    let commit = git.commit.as_deref().map_or("none", |commit| commit.get(..12).unwrap_or(commit));
    let accepted = git.accepted.as_ref().map(|at| format!(" accepted at {at}")).unwrap_or_default();
    let trust = if git.signed { "signed" } else { "the transport alone is trusted" };
    let answer = match (&git.answered, git.age_ms) {
        (Some(_), Some(age)) => format!("answered {} s ago", age / 1000),
        _ => "has not answered yet".to_owned(),
    };
    lines.push(format!("  commit {commit}{accepted} ({trust}); the repository {answer}"));
    lines.extend(git.trouble.as_ref().map(|trouble| match &trouble.refused {
        Some(commit) => {
            let short = commit.get(..12).unwrap_or(commit);
            format!("  COMMIT {short} REFUSED since {}: {}", trouble.since, trouble.reason)
        }
        None => format!("  NOTHING NEW COMES since {}: {}", trouble.since, trouble.reason),
    }));
    lines
}

fn maintenance(maintenance: &MaintenanceStatus) -> String {
    let MaintenanceStatus { serving, reason } = maintenance;
    if serving.is_empty() {
        return "  IN MAINTENANCE: takes no part in any election, until a plan without `maintenance = true`"
            .to_owned();
    }
    let names: Vec<&str> = serving.iter().map(Name::as_str).collect();
    let why = reason.as_deref().unwrap_or("other directors are asked to take over");
    format!("  GOES INTO MAINTENANCE, as the plan says, and still serves {}: {why}", names.join(", "))
}

fn state_directory(directory: &StateDirectoryStatus) -> Vec<String> {
    let file = |waiting: &WaitingFile| {
        let why = waiting.reason.as_deref().unwrap_or("it does not answer");
        format!("  {} NOT KEPT: waiting for the disk since {}: {why}", waiting.file, waiting.since)
    };
    if directory.waiting.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("state directory {}: IN TROUBLE", directory.path)];
    lines.extend(directory.waiting.iter().map(file));
    lines
}

fn on_probation(probation: &ProbationStatus, generation: &str) -> Vec<String> {
    let before = probation.before.get(..12).unwrap_or(&probation.before);
    let who = match probation.confirm {
        Confirm::Operator => "",
        Confirm::Checks => " by its checks or",
    };
    let mut lines = vec![format!(
        "  ON PROBATION until {} ({}.{} s left): then back to {before}, unless it is confirmed{who} by \
            `evenkeeld confirm {generation}`",
        probation.deadline,
        probation.remaining_ms / 1000,
        probation.remaining_ms % 1000 / 100
    )];
    lines.extend(probation.waits_for.iter().map(|what| format!("    waits for: {what}")));
    lines
}

/// Name of a router for people. Where two routers have one name, the label adds the address family.
pub(crate) fn label(router: &RouterStatus, all: &[RouterStatus]) -> String {
    if all.iter().any(|other| other.name == router.name && other.family != router.family) {
        format!("{} IPv{}", router.name, router.family)
    } else {
        router.name.to_string()
    }
}

fn router_lines(router: &RouterStatus, label: &str, orders: &[OrderStatus]) -> Vec<String> {
    let base = match router.base_priority {
        base if base == router.priority => String::new(),
        base => format!(" ({base} in the plan)"),
    };
    let group = router.sync_group.as_ref().map(|group| format!(" in sync group {group}")).unwrap_or_default();
    let waits = router.waits_for.as_ref();
    let waits = waits.map(|what| format!(", waits for {what} before it takes over")).unwrap_or_default();
    let mut lines = vec![
        format!(
            "router {label} {} VRID {} priority {}{base}{group}: {} ({}){waits}",
            router.interface, router.vrid, router.priority, router.state, router.reason
        ),
        format!(
            "  VIPs {}; Master {}; adverts {} sent, {} received, {} rejected",
            router.vips.join(", "),
            router.master.as_deref().unwrap_or("unknown"),
            router.counters.adverts_sent,
            router.counters.adverts_received,
            router.counters.rejected.values().sum::<u64>()
        ),
    ];
    lines.extend(router.strangers.iter().map(|stranger| in_use(router.vrid, stranger)));
    let given = orders.iter().find(|order| order.router == router.name);
    let of_plan = router.order == Some(RouterOrder::Maintenance);
    if of_plan {
        lines.push(format!("  PLAN: {}", words(RouterOrder::Maintenance)));
    }
    if let Some(order) = router.order.filter(|_| !of_plan).or(given.map(|order| order.order)) {
        let since = given.map(|order| format!(" since {}", order.since)).unwrap_or_default();
        lines.push(format!("  ORDER{since}: {}; `evenkeeld release {}` ends it", words(order), router.name));
    }
    lines
}

fn in_use(vrid: u8, stranger: &StrangerStatus) -> String {
    let StrangerStatus { address, mac, adverts, vips, our_vips, counts, last, .. } = stranger;
    let mac = mac.as_deref().map(|mac| format!(" ({mac})")).unwrap_or_default();
    let what = if *counts { "COUNTS ALTHOUGH IT IS NONE OF ITS DIRECTORS" } else { "moves nothing" };
    format!(
        "  VRID {vrid} IN USE BY {address}{mac}: {adverts} adverts, {our_vips} of its {vips} VIPs are ours, \
            last at {last}; it {what}"
    )
}

const fn words(order: RouterOrder) -> &'static str {
    match order {
        RouterOrder::Yield => "Master only while no other director is",
        RouterOrder::Hold => "takes no part",
        RouterOrder::Maintenance => "takes no part, since it says `maintenance = true`; no order ends that",
    }
}

fn waiting_order(order: &OrderStatus) -> String {
    let OrderStatus { router, order, since, .. } = order;
    format!("order for {router}, which is not in the plan, since {since}: {}", words(*order))
}

fn tracker(tracker: &TrackerStatus) -> String {
    let state = if tracker.up { "up" } else { "DOWN" };
    let age = match tracker.last_look_age_ms {
        Some(age) => format!("looked at {}.{} s ago", age / 1000, age % 1000 / 100),
        None => "until its first look".to_owned(),
    };
    format!("tracker {}: {state} ({}), {age}", tracker.name, tracker.reason)
}

fn election(election: &ElectionStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let timers: u64 = election.timer_lateness.iter().map(|bucket| bucket.timers).sum();
    let place = match (election.realtime_priority, election.nice) {
        (Some(priority), _) => format!(", real-time priority {priority}"),
        (None, 0) => String::new(),
        (None, nice) => format!(", nice {nice}"),
    };
    let locked = if election.memory_locked { ", memory locked" } else { "" };
    if timers > 0 || election.realtime_priority.is_some() || election.memory_locked {
        // The first bound that covers 99 of 100 timers.
        let mut seen = 0;
        let bound = election.timer_lateness.iter().find(|bucket| {
            seen += bucket.timers;
            seen.saturating_mul(100) >= timers.saturating_mul(99)
        });
        let most = bound.and_then(|bucket| bucket.up_to_us);
        let most = most.filter(|most| *most < election.max_timer_lateness_us);
        let most = most.map(|us| format!("99 % by at most {}, ", millis(us))).unwrap_or_default();
        lines.push(format!(
            "election: {timers} timers, late: {most}worst {}{place}{locked}",
            millis(election.max_timer_lateness_us),
        ));
    }
    if election.lost_notices > 0 {
        lines.push(format!(
            "election: {} NOTICES WERE LOST because the daemon was busy",
            election.lost_notices
        ));
    }
    lines.extend(unknown_vrids(election));
    lines
}

/// VRIDs of others, which are no trouble by themselves: a director whose VRID was mistyped is among them.
fn unknown_vrids(election: &ElectionStatus) -> Option<String> {
    let vrids = &election.unknown_vrids;
    if vrids.is_empty() {
        return None;
    }
    let named = vrids.iter().take(MAX_UNKNOWN_VRIDS);
    let named = named.map(|one| format!("VRID {} on {} ({})", one.vrid, one.interface, one.adverts));
    let named: Vec<String> = named.collect();
    let more = match vrids.len().saturating_sub(MAX_UNKNOWN_VRIDS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "election: {} advertisements for VRIDs that are not in the plan: {}{more}",
        election.unknown_adverts,
        named.join(", ")
    ))
}

/// The line about the log; none as long as all lines get out.
fn log(log: &LogStatus) -> Option<String> {
    let LogStatus { dropped, problem } = log;
    let prefix = match problem {
        None if *dropped == 0 => return None,
        None => "log: ".to_owned(),
        Some(why) => format!("log DOES NOT GET OUT: {why}; "),
    };
    Some(format!("{prefix}{dropped} LINES WERE DROPPED"))
}

fn millis(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}

fn kernel(status: &Status) -> Vec<String> {
    let convergence = &status.convergence;
    let left = match convergence.reported_drift {
        0 => String::new(),
        left => format!(" but for {left} OBJECTS THAT HAVE DRIFTED and are left, as the plan says"),
    };
    let mut lines = vec![format!(
        "kernel {}{left}; {} operations in {} passes",
        match (convergence.converged, convergence.ready) {
            (true, _) => "converged",
            (false, true) => "converged but for WHAT IT HAS NO MEANS FOR",
            (false, false) => "NOT CONVERGED",
        },
        convergence.operations,
        convergence.passes
    )];
    lines.extend(
        convergence.errors.iter().map(|error| format!("  cannot {}: {}", error.operation, error.reason)),
    );
    lines.extend(drifts(&convergence.drifts));
    if !status.guarded {
        lines.push("NO GUARDIAN: if the daemon dies now, its VIPs stay".to_owned());
    }
    lines.extend(status.in_the_way.iter().map(|object| format!("IN THE WAY: {}", object.object)));
    lines.extend(status.foreign.iter().map(|object| format!("foreign {}: {}", object.kind, object.object)));
    lines
}

/// Most drifts on a page; the document has all that are remembered.
const MAX_DRIFTS: usize = 10;

fn drifts(drifts: &[DriftRecord]) -> Vec<String> {
    let hidden = drifts.len().saturating_sub(MAX_DRIFTS);
    let mut lines: Vec<String> = drifts.iter().skip(hidden).map(drift).collect();
    if hidden > 0 {
        lines.insert(0, format!("  {hidden} earlier drifts: `evenkeeld status --json` has them"));
    }
    lines
}

fn drift(record: &DriftRecord) -> String {
    let times = match record.count {
        0 | 1 => String::new(),
        count => format!(", {count} times since {}", record.first),
    };
    format!("  drift at {}: {}{times}", record.at, drift_text(record))
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::status::{ConvergenceStatus, RouterCounters, UnknownVrid};

    use super::*;

    fn default<T: Default + serde::Serialize>() -> serde_json::Value {
        serde_json::to_value(T::default()).expect("JSON")
    }

    #[test]
    fn vrids_of_others_are_named_up_to_four() {
        let status = |vrids: std::ops::Range<u8>| ElectionStatus {
            unknown_adverts: 99,
            unknown_vrids: vrids
                .map(|vrid| UnknownVrid { interface: "eth0".to_owned(), vrid, adverts: 7 })
                .collect(),
            ..ElectionStatus::default()
        };
        assert_eq!(election(&status(0..0)), Vec::<String>::new());
        let lines = election(&status(61..62));
        assert_eq!(
            lines,
            ["election: 99 advertisements for VRIDs that are not in the plan: VRID 61 on eth0 (7)"]
        );
        let lines = election(&status(61..67));
        assert!(lines[0].ends_with("VRID 64 on eth0 (7) and 2 more"), "{lines:?}");
    }

    #[test]
    fn trackers_orders_groups_and_lateness_are_shown() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "version": 1, "daemon": "0.1.0", "pid": 7, "started": "T0", "host": "dir1",
            "plan": { "path": "/etc/p", "generation": "abcdefabcdefabcdef", "since": "T1",
                      "from_last_good": false, "rejected": null, "probation": {
                          "before": "0123456789abcdef", "since": "T1", "deadline": "T9", "remaining_ms": 4250,
                          "confirm": "checks", "waits_for": ["192.0.2.7:80 (rs1) was not checked yet"] } },
            "routers": [{
                "name": "VI_1", "interface": "eth0", "version": 3, "vrid": 51, "family": 4, "priority": 80,
                "base_priority": 100, "sync_group": "front", "order": "yield", "state": "backup",
                "reason": "told to yield", "since": null, "master": "192.0.2.2", "vips": ["192.0.2.9"],
                "counters": default::<RouterCounters>(),
                "strangers": [
                    { "address": "192.0.2.7", "mac": "02:00:00:00:00:07", "adverts": 12, "vips": 2,
                      "our_vips": 0, "counts": false, "first": "T4", "last": "T5" },
                    { "address": "192.0.2.8", "mac": null, "adverts": 1, "vips": 1, "our_vips": 1,
                      "counts": true, "first": "T4", "last": "T6" },
                ],
            }],
            "trackers": [
                { "name": "uplink", "up": false, "value": null, "reason": "no carrier",
                  "last_look_age_ms": 1234 },
                { "name": "new", "up": true, "value": null, "reason": "not looked at yet",
                  "last_look_age_ms": null },
            ],
            "orders": [
                { "router": "VI_1", "order": "yield", "since": "T2", "in_plan": true },
                { "router": "gone", "order": "hold", "since": "T3", "in_plan": false },
            ],
            "dropped_hook_changes": 3, "log": { "dropped": 4, "problem": "No space left on device" },
            "election": {
                "realtime_priority": 50, "memory_locked": true, "max_timer_lateness_us": 2500,
                "lost_notices": 1,
                "timer_lateness": [{ "up_to_us": 1000, "timers": 99 }, { "up_to_us": null, "timers": 1 }],
            },
            "virtual_servers": [],
            "convergence": default::<ConvergenceStatus>(),
            "guarded": true, "foreign": [],
            "in_the_way": [{ "kind": "vip", "object": "192.0.2.9/32 on lo: why" }],
        }))
        .expect("status");
        assert_eq!(
            page(&status),
            "dir1: evenkeeld 0.1.0 (pid 7) since T0\n\
             plan abcdefabcdef from /etc/p\n  \
             ON PROBATION until T9 (4.2 s left): then back to 0123456789ab, unless it is confirmed by its \
             checks or by `evenkeeld confirm abcdefabcdef`\n    \
             waits for: 192.0.2.7:80 (rs1) was not checked yet\n\
             router VI_1 eth0 VRID 51 priority 80 (100 in the plan) in sync group front: Backup \
             (told to yield)\n  \
             VIPs 192.0.2.9; Master 192.0.2.2; adverts 0 sent, 0 received, 0 rejected\n  \
             VRID 51 IN USE BY 192.0.2.7 (02:00:00:00:00:07): 12 adverts, 0 of its 2 VIPs are ours, \
             last at T5; it moves nothing\n  \
             VRID 51 IN USE BY 192.0.2.8: 1 adverts, 1 of its 1 VIPs are ours, last at T6; it COUNTS \
             ALTHOUGH IT IS NONE OF ITS DIRECTORS\n  \
             ORDER since T2: Master only while no other director is; `evenkeeld release VI_1` ends it\n\
             order for gone, which is not in the plan, since T3: takes no part\n\
             tracker uplink: DOWN (no carrier), looked at 1.2 s ago\n\
             tracker new: up (not looked at yet), until its first look\n\
             election: 100 timers, late: 99 % by at most 1.000 ms, worst 2.500 ms, \
             real-time priority 50, memory locked\n\
             election: 1 NOTICES WERE LOST because the daemon was busy\n\
             hooks: 3 CHANGES CAME TOO FAST and were never told, the last ones excepted\n\
             log DOES NOT GET OUT: No space left on device; 4 LINES WERE DROPPED\n\
             kernel NOT CONVERGED; 0 operations in 0 passes\n\
             IN THE WAY: 192.0.2.9/32 on lo: why\n"
        );
    }

    #[test]
    fn maintenance_by_the_plan_is_distinguished_from_orders() {
        let told = |serving: &[&str], reason: Option<&str>| {
            maintenance(&MaintenanceStatus {
                serving: serving.iter().map(|name| name.parse().expect("a name")).collect(),
                reason: reason.map(str::to_owned),
            })
        };
        assert!(told(&[], None).starts_with("  IN MAINTENANCE: takes no part in any election"));
        assert_eq!(
            told(&["VI_1", "VI_2"], Some("no other director was heard")),
            "  GOES INTO MAINTENANCE, as the plan says, and still serves VI_1, VI_2: no other director was \
                heard"
        );
        let router: RouterStatus = serde_json::from_value(serde_json::json!({
            "name": "VI_1", "interface": "eth0", "version": 3, "vrid": 51, "family": 4, "priority": 100,
            "base_priority": 100, "sync_group": null, "order": "maintenance", "state": "initialize",
            "reason": "why", "since": null, "master": null, "vips": [],
            "counters": default::<RouterCounters>(),
        }))
        .expect("router");
        let given = OrderStatus {
            router: router.name.clone(),
            order: RouterOrder::Hold,
            since: "T2".to_owned(),
            in_plan: true,
        };
        let lines = |orders: &[OrderStatus]| router_lines(&router, "VI_1", orders).split_off(2);
        let of_plan = "  PLAN: takes no part, since it says `maintenance = true`; no order ends that";
        assert_eq!(lines(&[]), [of_plan]);
        let order = "  ORDER since T2: takes no part; `evenkeeld release VI_1` ends it";
        assert_eq!(lines(&[given]), [of_plan, order]);
    }

    #[test]
    fn labels_of_two_routers_with_one_name_add_the_family() {
        let router = |name: &str, family: u8| -> RouterStatus {
            serde_json::from_value(serde_json::json!({
                "name": name, "interface": "eth0", "version": 3, "vrid": 51, "family": family,
                "priority": 100, "base_priority": 100, "sync_group": null, "order": null, "state": "backup",
                "reason": "started", "since": null, "master": null, "vips": [],
                "counters": default::<RouterCounters>(),
            }))
            .expect("router")
        };
        let all = [router("VI_1", 4), router("VI_1", 6), router("VI_2", 6)];
        let labels: Vec<String> = all.iter().map(|router| label(router, &all)).collect();
        assert_eq!(labels, ["VI_1 IPv4", "VI_1 IPv6", "VI_2"]);
        assert!(router_lines(&all[1], &labels[1], &[])[0].starts_with("router VI_1 IPv6 eth0 VRID 51 "));
    }
}
