//! Tracked services: the quorum of a service by the verdicts of its checks.

use evenkeel_converge::Position;
use evenkeel_health::tracker::{Destinations, service};
use evenkeel_health::{Finding, Reach, Verdict};
use evenkeel_schemas::plan::{Plan, Tracker, Watch};

/// Reachability of the target of a destination's check; none without a check.
pub(crate) type ReachOf<'a> = &'a dyn Fn(Position) -> Option<Reach>;

/// Evaluates the virtual servers of a tracked service. None while the result depends on checks without a
/// result.
pub(crate) fn evaluate(tracker: &Tracker, plan: &Plan, reach: ReachOf<'_>) -> Option<Finding> {
    let Watch::Service { service: name, quorum } = &tracker.watch else { return None };
    let servers = plan.virtual_servers.iter().enumerate().filter(|(_, server)| server.name == *name);
    let servers: Vec<Destinations> = servers.map(|(index, _)| count(plan, index, reach)).collect();
    service(&servers, *quorum)
}

fn count(plan: &Plan, server: usize, reach: ReachOf<'_>) -> Destinations {
    let mut counts = Destinations::default();
    for (number, one) in plan.virtual_servers[server].destinations.iter().enumerate() {
        if one.weight.get() == 0 {
            continue;
        }
        // A destination without a check is healthy.
        match reach(Position { server, destination: number }).unwrap_or(Reach::Judged(Verdict::Up)) {
            Reach::Judged(Verdict::Up) => counts.healthy += 1,
            // Cut off counts as failed: another director may reach it.
            Reach::Judged(Verdict::Down) | Reach::CutOff => counts.failed += 1,
            Reach::Unknown => counts.unknown += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    const SERVER: &str = r#"
[[virtual_server]]
name = "web"
address = "192.0.2.1"
port = 80
protocol = "tcp"
scheduler = "wlc"
one_packet = false
DESTINATIONS
"#;

    fn destination(last: u8, weight: u16, checked: bool) -> String {
        let check = if checked {
            format!(
                "check = {{ type = \"tcp\", address = \"192.0.2.{last}\", port = 80, interval = \"5s\", \
                 timeout = \"5s\", retries = 0, retry_delay = \"1s\" }}\n"
            )
        } else {
            String::new()
        };
        format!(
            "[[virtual_server.destination]]\nhost = \"rs{last}\"\naddress = \"192.0.2.{last}\"\nport = 80\n\
             weight = {weight}\nforwarding = \"dr\"\n{check}"
        )
    }

    #[test]
    fn weight_zero_does_not_count_and_no_check_is_healthy() {
        let destinations = [
            destination(2, 1, true),
            destination(3, 1, false),
            destination(4, 0, false),
            destination(5, 1, true),
        ];
        let servers = SERVER.replace("DESTINATIONS", &destinations.concat());
        let plan = PlanText::of("h").with(&servers).plan();
        let tracker = |quorum| Tracker {
            name: "t".parse().expect("name"),
            initially: evenkeel_schemas::plan::Initially::Up,
            watch: Watch::Service { service: "web".parse().expect("name"), quorum },
        };
        let up = |reaches: [Option<Reach>; 4], quorum| {
            evaluate(&tracker(quorum), &plan, &|at| reaches[at.destination]).map(|found| found.up)
        };
        let judged = |verdict| Some(Reach::Judged(verdict));
        let unknown = Some(Reach::Unknown);
        let begin = [unknown, None, None, unknown];
        assert_eq!(up(begin, 1), Some(true), "the one without a check");
        assert_eq!(up(begin, 2), None, "not checked yet");
        assert_eq!(up(begin, 4), Some(false), "weight 0 does not count");
        let failed = [judged(Verdict::Down), None, None, unknown];
        assert_eq!((up(failed, 2), up(failed, 3)), (None, Some(false)));
        let mended = [judged(Verdict::Down), None, None, judged(Verdict::Up)];
        assert_eq!(up(mended, 2), Some(true));
        // A destination that this host has not reached for a whole round of its check does not count for it.
        assert_eq!(up([judged(Verdict::Down), None, None, Some(Reach::CutOff)], 2), Some(false));
    }
}
