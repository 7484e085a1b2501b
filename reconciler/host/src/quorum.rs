//! Tracked services: what the verdicts of health checks say of their quorum.

use evenkeel_health::tracker::{Destinations, service};
use evenkeel_health::{Board, Finding, Reach, Verdict};
use evenkeel_schemas::plan::{Plan, Tracker, VirtualServer, Watch};
use evenkeel_schemas::time::MonoTime;

/// Looks at the virtual servers of a tracked service. None while that depends on checks that have not
/// been made yet.
pub(crate) fn look(tracker: &Tracker, plan: &Plan, board: &Board, now: MonoTime) -> Option<Finding> {
    let Watch::Service { service: name, quorum } = &tracker.watch else { return None };
    let servers = plan.virtual_servers.iter().filter(|server| server.name == *name);
    let servers: Vec<Destinations> = servers.map(|server| stand(server, board, now)).collect();
    service(&servers, *quorum)
}

fn stand(server: &VirtualServer, board: &Board, now: MonoTime) -> Destinations {
    let mut stand = Destinations::default();
    for destination in server.destinations.iter().filter(|destination| destination.weight.get() > 0) {
        // One without a check is healthy.
        let reach = destination.check().map_or(Reach::Judged(Verdict::Up), |check| board.reach(check, now));
        match reach {
            Reach::Judged(Verdict::Up) => stand.healthy += 1,
            // Another director may reach what this one does not.
            Reach::Judged(Verdict::Down) | Reach::CutOff => stand.failed += 1,
            Reach::Unknown => stand.unknown += 1,
        }
    }
    stand
}

#[cfg(test)]
mod tests {
    use evenkeel_health::Ailment;
    use evenkeel_health::Outcome;
    use evenkeel_schemas::plan::Check;

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
        let at = |board: &Board, quorum, now| look(&tracker(quorum), &plan, board, now).map(|found| found.up);
        let up = |board: &Board, quorum| at(board, quorum, MonoTime::from_millis(10_000));
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
        // Whom this host has not reached for a whole turn of the check (5 s) it does not serve by.
        let std::net::SocketAddr::V4(target) = crate::verdicts::target(&checks[1]) else { panic!("IPv4") };
        let lost = [((*target.ip()).into(), Some(Ailment::NoCarrier("eth1".to_owned())))].into();
        board.ways_turned(&lost, later);
        let after = |seconds: u64| MonoTime::from_millis(10_000 + seconds * 1000);
        assert_eq!((at(&board, 2, after(4)), at(&board, 2, after(5))), (None, Some(false)));
        assert_eq!(board.verdict(&checks[1]), Some(Verdict::Up), "which is no verdict");
    }
}
