//! Lines of the page about virtual servers: verdicts, connections, drains, synchronisation.

use evenkeel_schemas::plan::Below;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{
    CheckStatus, ConnectionCounts, ConnectionSyncStatus, DestinationStatus, DrainOrderStatus, DrainState,
    DrainStatus, FloorStatus, HealthStatus, OwnFaultStatus, QuorumStatus, Status, SyncHalf, Verdict,
    VirtualServerStatus,
};

/// All lines about IPVS.
pub(super) fn lines(status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = status.virtual_servers.iter().flat_map(virtual_server).collect();
    lines.extend(status.health.own_faults.iter().map(own_fault));
    lines.extend(health(&status.health));
    lines.extend(status.drain_orders.iter().map(order));
    lines.extend(status.connection_sync.as_ref().map(sync));
    lines
}

/// Counts as text: `3 active and 1 inactive connections`.
pub(crate) fn counted(counts: &ConnectionCounts) -> String {
    let ConnectionCounts { active, inactive, persistent } = counts;
    let bound = if *persistent > 0 { format!(", {persistent} persistent clients") } else { String::new() };
    format!("{active} active and {inactive} inactive connections{bound}")
}

fn virtual_server(server: &VirtualServerStatus) -> Vec<String> {
    let traffic = server.counters.map(|counters| {
        format!(
            ": {} connections, {} packets and {} bytes in, {} and {} out",
            counters.connections,
            counters.packets_in,
            counters.bytes_in,
            counters.packets_out,
            counters.bytes_out
        )
    });
    let mut lines =
        vec![format!("virtual server {} {}{}", server.name, server.service, traffic.unwrap_or_default())];
    lines.extend(server.quorum.as_ref().map(|quorum| self::quorum(quorum, server.sorry_server.as_deref())));
    lines.extend(server.floor.as_ref().map(floor));
    lines.extend(server.destinations.iter().map(destination));
    lines.extend(
        server
            .leaving
            .iter()
            .map(|leaving| format!("  {} has left the plan: {}", leaving.address, drain(&leaving.drain))),
    );
    lines
}

fn quorum(quorum: &QuorumStatus, sorry: Option<&str>) -> String {
    let QuorumStatus { wanted, have, up, since } = quorum;
    let state = if *up { "there" } else { "LOST" };
    let sorry = sorry.filter(|_| !up).map(|sorry| format!(": SORRY SERVER {sorry} takes its clients"));
    let sorry = sorry.unwrap_or_default();
    format!("  quorum {state} since {since}, healthy weight {have}, wanted {wanted}{sorry}")
}

fn floor(floor: &FloorStatus) -> String {
    let FloorStatus { wanted, have, below, since } = floor;
    let state = match below {
        _ if have >= wanted => "",
        Below::Keep => ", BELOW IT: of those that failed the last ones stay",
        Below::Sorry => ", BELOW IT: the quorum counts as lost",
        Below::Withdraw => ", BELOW IT: the virtual router has left the election",
    };
    format!("  floor {wanted}, {have} healthy since {since}{state}")
}

fn destination(destination: &DestinationStatus) -> String {
    let verdict = match (destination.checked, destination.verdict) {
        (false, _) => "not checked",
        (true, Verdict::Up) => "up",
        (true, Verdict::Down) => "DOWN",
    };
    let why = destination.last_result.as_deref().unwrap_or("not checked yet");
    let down = destination.verdict == Verdict::Down;
    let since = destination.since.as_ref().filter(|_| down);
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let remarks: String = destination.checks.iter().filter_map(remark).collect();
    let unjudged = destination.unjudged.as_ref();
    let unjudged =
        unjudged.map(|it| format!(", not judged since {}: {}", it.since, it.reason)).unwrap_or_default();
    let mut line = format!(
        "  {} {} weight {}: {verdict}{since} ({why}){remarks}{unjudged}",
        destination.host, destination.address, destination.weight
    );
    if let Some(held) = &destination.held {
        line += &format!("; {held}");
    }
    if let Some(weight) = destination.table_weight {
        line += &format!(", weight {weight} in the table");
    }
    if let Some(state) = &destination.drain {
        line += &format!("; {}", drain(state));
    } else if let Some(counts) = &destination.connections {
        line += &format!("; {}", counted(counts));
    }
    line
}

/// Words that a check's target says beside. Its weight is in the line already, with the effect.
fn remark(check: &CheckStatus) -> Option<String> {
    let drain = check.drain.then(|| "asks to be drained".to_owned());
    let said: Vec<String> = [drain, check.remark.clone()].into_iter().flatten().collect();
    (!said.is_empty()).then(|| format!(", {}", said.join(", ")))
}

/// A link of the host that is at fault.
fn own_fault(fault: &OwnFaultStatus) -> String {
    let OwnFaultStatus { link, since, checks, routers } = fault;
    let routers: Vec<&str> = routers.iter().map(Name::as_str).collect();
    let give_way =
        if routers.is_empty() { String::new() } else { format!("; {} give way", routers.join(", ")) };
    format!(
        "OWN FAULT since {since}: nothing behind {link} answers, \
         the verdicts of {checks} checks stay{give_way}"
    )
}

/// How busy the host is with its checks, where that is worth a line.
fn health(health: &HealthStatus) -> Option<String> {
    let HealthStatus { stalled_since, under_way, waiting, waits_ms, max_lateness_us, .. } = health;
    if let Some(since) = stalled_since {
        return Some(format!("CHECKS HANG since {since}: all verdicts stay as they are"));
    }
    (*waiting > 0).then(|| {
        format!(
            "{under_way} checks are being made and {waiting} wait for them, for {waits_ms} ms; the latest so \
             far was {} ms late",
            max_lateness_us / 1000
        )
    })
}

fn drain(drain: &DrainStatus) -> String {
    let source = if drain.by_plan { ", as the plan says" } else { "" };
    let state = state_of_drain(drain);
    format!("{state}{source}")
}

fn state_of_drain(drain: &DrainStatus) -> String {
    let Some(since) = drain.since.as_ref().filter(|_| drain.state == DrainState::Draining) else {
        return match drain.state {
            DrainState::Draining => "is about to drain".to_owned(),
            DrainState::Drained => "DRAINED, out of the table".to_owned(),
        };
    };
    let left = drain.left.as_ref().map_or("its connections are not known".to_owned(), counted);
    let until = drain.deadline.as_ref().map(|at| format!(" until {at}")).unwrap_or_default();
    format!("DRAINS since {since}{until}, {left}")
}

fn order(order: &DrainOrderStatus) -> String {
    let DrainOrderStatus { target, service, since, timeout_ms, in_plan } = order;
    let place = service.as_ref().map_or("all virtual servers".to_owned(), ToString::to_string);
    let option = service.as_ref().map(|name| format!(" --service {name}")).unwrap_or_default();
    let time = timeout_ms.map(|ms| format!(", for at most {} s", f64::from(ms) / 1000.0)).unwrap_or_default();
    let waits = if *in_plan { "" } else { ", which is not in the plan" };
    format!(
        "ORDER since {since}: {target}{waits} drains in {place}{time}; `evenkeeld undrain {target}{option}` \
            ends it"
    )
}

fn sync(sync: &ConnectionSyncStatus) -> String {
    let words =
        |halves: &[SyncHalf]| halves.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    let state = match &sync.problem {
        None => format!("as {}", words(&sync.running)),
        Some(problem) => format!("should be {}, PROBLEM: {problem}", words(&sync.wanted)),
    };
    let most = if sync.more { "more than " } else { "" };
    format!(
        "connection synchronisation on {} with id {}, {state}; {most}{} connections from other directors, {} \
            own",
        sync.interface, sync.id, sync.received_connections, sync.own_connections
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_orders_traffic_and_synchronisation_are_shown() {
        let server = serde_json::from_value(serde_json::json!({
            "name": "web", "service": "tcp 192.0.2.9:80",
            "counters": { "connections": 7, "packets_in": 8, "packets_out": 0, "bytes_in": 9,
                          "bytes_out": 0 },
            "destinations": [
                { "host": "rs1", "address": "192.0.2.1:80", "weight": 5, "verdict": "up", "checked": true,
                  "failures": 0, "last_result": "success", "last_check_age_ms": 1,
                  "connections": { "active": 1, "inactive": 2, "persistent": 3 },
                  "drain": { "state": "draining", "since": "T1", "deadline": "T2",
                             "left": { "active": 1, "inactive": 2, "persistent": 3 } } },
                { "host": "rs2", "address": "192.0.2.2:80", "weight": 5, "verdict": "down", "checked": true,
                  "failures": 0, "last_result": "refused", "last_check_age_ms": 1,
                  "drain": { "state": "drained", "since": null, "deadline": null, "left": null,
                             "by_plan": true } },
                { "host": "rs4", "address": "192.0.2.5:80", "weight": 5, "verdict": "up", "checked": true,
                  "failures": 0, "last_result": "success", "last_check_age_ms": 1,
                  "unjudged": { "since": "T0", "reason": "eth0 has no carrier" } },
                { "host": "rs3", "address": "192.0.2.3:80", "weight": 5, "verdict": "up", "checked": false,
                  "failures": 0, "last_result": null, "last_check_age_ms": null,
                  "connections": { "active": 4, "inactive": 0, "persistent": 0 } },
            ],
            "leaving": [{ "address": "192.0.2.4:80",
                          "drain": { "state": "draining", "since": "T3", "deadline": null, "left": null } }],
        }))
        .expect("server");
        assert_eq!(
            virtual_server(&server),
            [
                "virtual server web tcp 192.0.2.9:80: 7 connections, 8 packets and 9 bytes in, 0 and 0 out",
                "  rs1 192.0.2.1:80 weight 5: up (success); DRAINS since T1 until T2, 1 active and 2 \
                    inactive \
                 connections, 3 persistent clients",
                "  rs2 192.0.2.2:80 weight 5: DOWN (refused); DRAINED, out of the table, as the plan says",
                "  rs4 192.0.2.5:80 weight 5: up (success), not judged since T0: eth0 has no carrier",
                "  rs3 192.0.2.3:80 weight 5: not checked (not checked yet); 4 active and 0 inactive \
                    connections",
                "  192.0.2.4:80 has left the plan: DRAINS since T3, its connections are not known",
            ]
        );
        let told = DrainOrderStatus {
            target: "rs9".to_owned(),
            service: "web".parse().ok(),
            since: "T4".to_owned(),
            timeout_ms: Some(1_500),
            in_plan: false,
        };
        assert_eq!(
            order(&told),
            "ORDER since T4: rs9, which is not in the plan drains in web, for at most 1.5 s; `evenkeeld \
                undrain rs9 \
             --service web` ends it"
        );
        let runs = ConnectionSyncStatus {
            wanted: vec![SyncHalf::Master],
            running: vec![SyncHalf::Master],
            interface: "eth0".to_owned(),
            id: 51,
            problem: None,
            received_connections: 2,
            own_connections: 3,
            more: true,
        };
        assert_eq!(
            sync(&runs),
            "connection synchronisation on eth0 with id 51, as master; more than 2 connections from other \
                directors, 3 own"
        );
        let fails = ConnectionSyncStatus { problem: Some("does not run as master".to_owned()), ..runs };
        assert!(
            sync(&fails).contains("should be master, PROBLEM: does not run as master; "),
            "{}",
            sync(&fails)
        );
    }

    #[test]
    fn a_failed_destination_says_since_when_and_a_healthy_one_what_it_asks_for() {
        let check = |verdict: &str, more: serde_json::Value| {
            let mut check = serde_json::json!({
                "type": "agent", "subject": "192.0.2.1:9", "verdict": verdict, "since": "T1",
                "transitions": 1,
                "failures": 0, "drain": false,
            });
            check.as_object_mut().expect("a table").extend(more.as_object().expect("a table").clone());
            check
        };
        let says =
            serde_json::json!({ "weight_percent": 50, "drain": true, "remark": "certificate expires soon" });
        let server = serde_json::from_value(serde_json::json!({
            "name": "web", "service": "tcp 192.0.2.9:80",
            "destinations": [
                { "host": "rs1", "address": "192.0.2.1:80", "weight": 5, "verdict": "down", "since": "T1",
                  "checked": true, "failures": 3, "last_result": "connection refused", "last_check_age_ms": 1,
                  "checks": [check("down", serde_json::json!({}))] },
                { "host": "rs2", "address": "192.0.2.2:80", "weight": 5, "verdict": "up", "since": "T2",
                  "checked": true, "failures": 0, "last_result": "success", "last_check_age_ms": 1,
                  "checks": [check("up", says)] },
            ],
        }));
        assert_eq!(
            virtual_server(&server.expect("a virtual server"))[1..],
            [
                "  rs1 192.0.2.1:80 weight 5: DOWN since T1 (connection refused)",
                "  rs2 192.0.2.2:80 weight 5: up (success), asks to be drained, \
                 certificate expires soon",
            ]
        );
    }

    #[test]
    fn a_link_that_is_at_fault_has_a_line() {
        let fault = OwnFaultStatus {
            link: "eth0".to_owned(),
            since: "T1".to_owned(),
            checks: 2,
            routers: vec!["VI_1".parse().expect("a name")],
        };
        let said =
            "OWN FAULT since T1: nothing behind eth0 answers, the verdicts of 2 checks stay; VI_1 give way";
        assert_eq!(own_fault(&fault), said);
    }

    #[test]
    fn checks_that_wait_or_hang_have_a_line() {
        let mut state = HealthStatus { under_way: 5, max_lateness_us: 9000, ..HealthStatus::default() };
        assert_eq!(health(&state), None);
        (state.waiting, state.waits_ms) = (3, 7000);
        let said =
            "5 checks are being made and 3 wait for them, for 7000 ms; the latest so far was 9 ms late";
        assert_eq!(health(&state).as_deref(), Some(said));
        state.stalled_since = Some("T1".to_owned());
        assert_eq!(health(&state).as_deref(), Some("CHECKS HANG since T1: all verdicts stay as they are"));
    }
}
