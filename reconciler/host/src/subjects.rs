//! Names for checks in log lines, in the words of the plan.

use std::collections::BTreeSet;

use evenkeel_converge::Position;
use evenkeel_health::CheckId;
use evenkeel_schemas::plan::Plan;

use crate::numbers::Numbers;

/// Most checks that a line names one by one.
const MAX_NAMED: usize = 3;

/// Name of a check by its destinations: `rs1 (192.168.188.107:80) for web`, `rs1 (192.168.188.107:80) for web
/// and 3 more`. `check 7`, the number, where the plan does not have it.
pub(crate) fn of_check(plan: Option<&Plan>, numbers: &Numbers, id: CheckId) -> String {
    let users: Vec<Position> = numbers.users(id).collect();
    let name = || {
        let plan = plan?;
        let first = *users.first()?;
        let server = plan.virtual_servers.get(first.server)?;
        let destination = server.destinations.get(first.destination)?;
        let place = numbers.ids(first).position(|one| one == id)?;
        let address = destination.checks().get(place)?.subject();
        let (mut services, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        for at in &users {
            let server = plan.virtual_servers.get(at.server)?;
            services.insert(&server.name);
            hosts.insert(&server.destinations.get(at.destination)?.host);
        }
        let (hosts, services) = (more(hosts.len() - 1), more(services.len() - 1));
        Some(format!("{}{hosts} ({address}) for {}{services}", destination.host, server.name))
    };
    name().unwrap_or_else(|| format!("check {}", id.0))
}

/// Names of several checks, and the number of those beyond [`MAX_NAMED`].
pub(crate) fn of_checks<'a>(
    plan: Option<&Plan>,
    numbers: &Numbers,
    checks: impl ExactSizeIterator<Item = &'a CheckId>,
) -> String {
    let others = checks.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = checks.take(MAX_NAMED).map(|id| of_check(plan, numbers, *id)).collect();
    format!("{}{}", named.join(", "), more(others))
}

fn more(number: usize) -> String {
    if number == 0 { String::new() } else { format!(" and {number} more") }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    #[test]
    fn lines_name_host_and_service_and_count_the_others() {
        let mut text = PlanText::of("h").text();
        // Service, port, and the last numbers of the addresses of its destinations.
        let servers: [(&str, u16, &[u8]); 5] = [
            ("web", 80, &[1, 2]),
            ("web", 443, &[1]),
            ("mail", 25, &[1]),
            ("ftp", 21, &[1]),
            ("ftp", 20, &[1]),
        ];
        for (service, port, destinations) in servers {
            text += &format!(
                "[[virtual_server]]\nname = \"{service}\"\naddress = \"192.0.2.9\"\nport = {port}\n\
                 protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n"
            );
            for n in destinations {
                text += &format!(
                    "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\n\
                     port = {port}\nweight = 1\nforwarding = \"dr\"\n\
                     check = {{ type = \"tcp\", address = \"192.0.2.{n}\", port = 80, \
                     interval = \"5s\", timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}\n"
                );
            }
        }
        let plan: Plan = toml::from_str(&text).expect("plan");
        let numbers = Numbers::of(&plan, &Numbers::default(), None);
        assert_eq!(of_check(None, &numbers, CheckId(0)), "check 0");
        let of = |id| of_check(Some(&plan), &numbers, CheckId(id));
        assert_eq!(of(0), "rs1 (192.0.2.1:80) for web and 2 more");
        assert_eq!(of(1), "rs2 (192.0.2.2:80) for web");
        assert_eq!(of(2), "check 2");
        assert_eq!(
            of_checks(Some(&plan), &numbers, [&CheckId(1); 5].into_iter()),
            "rs2 (192.0.2.2:80) for web, rs2 (192.0.2.2:80) for web, rs2 (192.0.2.2:80) for web and 2 more"
        );
    }
}
