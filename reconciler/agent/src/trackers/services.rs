//! Services: what the verdicts of health checks say of their quorum.

use evenkeel_health::tracker::{Destinations, service};
use evenkeel_health::{Board, Finding, Verdict};
use evenkeel_schemas::plan::{Destination, Plan, Tracker, VirtualServer, Watch};

/// Looks at the virtual servers of a tracked service. None while that depends on checks that have not
/// been made yet.
pub(super) fn look(tracker: &Tracker, plan: &Plan, board: &Board) -> Option<Finding> {
    let Watch::Service { service: name, quorum } = &tracker.watch else { return None };
    let servers = plan.virtual_servers.iter().filter(|server| server.name == *name);
    let servers: Vec<Destinations> = servers.map(|server| stand(server, board)).collect();
    service(&servers, *quorum)
}

fn stand(server: &VirtualServer, board: &Board) -> Destinations {
    let mut stand = Destinations::default();
    for destination in server.destinations.iter().filter(|destination| destination.weight.get() > 0) {
        match verdict(destination, board) {
            Some(Verdict::Up) => stand.healthy += 1,
            Some(Verdict::Down) => stand.failed += 1,
            None => stand.unknown += 1,
        }
    }
    stand
}

/// What is known of a destination. One without a check is healthy.
fn verdict(destination: &Destination, board: &Board) -> Option<Verdict> {
    match destination.check() {
        None => Some(Verdict::Up),
        Some(check) => {
            board.report(check).filter(|report| report.last.is_some()).map(|report| report.verdict)
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_health::Outcome;
    use evenkeel_schemas::plan::Check;
    use evenkeel_schemas::time::MonoTime;

    use super::*;

    const PLAN: &str = r#"
format = 1
cluster = "c"
host = "h"
host_addresses = []
[policy]
resync = "5s"
exclusive_ipvs = false
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
        let plan: Plan = toml::from_str(&PLAN.replace("DESTINATIONS", &destinations.concat())).expect("plan");
        let tracker = |quorum| Tracker {
            name: "t".parse().expect("name"),
            initially: evenkeel_schemas::plan::Initially::Up,
            watch: Watch::Service { service: "web".parse().expect("name"), quorum },
        };
        let checks: Vec<Check> = plan
            .virtual_servers
            .iter()
            .flat_map(|s| &s.destinations)
            .filter_map(|d| d.check().cloned())
            .collect();
        let mut board = Board::new();
        board.configure(checks.clone(), |_| Verdict::Up, MonoTime::ZERO);
        let up = |board: &Board, quorum| look(&tracker(quorum), &plan, board).map(|found| found.up);
        assert_eq!(up(&board, 1), Some(true), "the one without a check");
        assert_eq!(up(&board, 2), None, "not checked yet");
        assert_eq!(up(&board, 4), Some(false), "weight 0 does not count");
        let later = MonoTime::from_millis(10_000);
        board.start(later);
        board.finish(&checks[0], Outcome::Failure("refused".to_owned()), later);
        assert_eq!(up(&board, 2), None);
        assert_eq!(up(&board, 3), Some(false));
        board.finish(&checks[1], Outcome::Success, later);
        assert_eq!(up(&board, 2), Some(true));
    }
}
