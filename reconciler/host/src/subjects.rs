//! Whom a check speaks for, in the names of the plan: for log lines.

use std::collections::BTreeMap;

use evenkeel_health::{Board, SpeaksFor};
use evenkeel_schemas::plan::{Check, Plan};
use evenkeel_schemas::scalars::Name;

use crate::verdicts::target;

/// Checks that are named one by one in a line.
const MAX_NAMED: usize = 3;

/// Tells the board where in the plan it stands what its checks speak for.
pub(crate) fn mark(plan: &Plan, board: &mut Board) {
    // Virtual servers of one service, and destinations of one host, are not next to each other in every plan: of the
    // last one met is enough for a count that only says "and so many more".
    struct Met<'a> {
        what: SpeaksFor,
        service: &'a Name,
        host: &'a Name,
    }
    let mut met: BTreeMap<&Check, Met<'_>> = BTreeMap::new();
    for (server, virtual_server) in (0..).zip(&plan.virtual_servers) {
        for (place, destination) in (0..).zip(&virtual_server.destinations) {
            let Some(check) = destination.check() else { continue };
            let (service, host) = (&virtual_server.name, &destination.host);
            let what = SpeaksFor { server, destination: place, ..SpeaksFor::default() };
            let one = met.entry(check).or_insert(Met { what, service, host });
            if one.service != service {
                one.what.more_services += 1;
                one.service = service;
            }
            if one.host != host {
                one.what.more_hosts += 1;
                one.host = host;
            }
        }
    }
    for (check, Met { what, .. }) in met {
        board.set_speaks_for(check, what);
    }
}

/// `rs1 (192.168.188.107:80) for web`, `rs1 (192.168.188.107:80) for web and 3 more`; the address where the plan does not say more.
pub(crate) fn of_check(plan: Option<&Plan>, board: &Board, check: &Check) -> String {
    let address = target(check);
    let names = || {
        let what = board.speaks_for(check)?;
        let server = plan?.virtual_servers.get(usize::try_from(what.server).ok()?)?;
        let destination = server.destinations.get(usize::try_from(what.destination).ok()?)?;
        let known = destination.check() == Some(check);
        known.then(|| {
            let (hosts, services) = (more(what.more_hosts), more(what.more_services));
            format!("{}{hosts} ({address}) for {}{services}", destination.host, server.name)
        })
    };
    names().unwrap_or_else(|| address.to_string())
}

/// Some checks, by name as long as they are few.
pub(crate) fn of_checks<'a>(
    plan: Option<&Plan>,
    board: &Board,
    checks: impl ExactSizeIterator<Item = &'a Check>,
) -> String {
    let others = checks.len().saturating_sub(MAX_NAMED);
    let named: Vec<String> = checks.take(MAX_NAMED).map(|check| of_check(plan, board, check)).collect();
    format!("{}{}", named.join(", "), more(u32::try_from(others).unwrap_or(u32::MAX)))
}

fn more(number: u32) -> String {
    if number == 0 { String::new() } else { format!(" and {number} more") }
}

#[cfg(test)]
mod tests {
    use evenkeel_health::Verdict;
    use evenkeel_schemas::time::MonoTime;

    use super::*;

    #[test]
    fn lines_name_host_and_service_and_count_the_others() {
        let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
            .to_owned();
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
                "[[virtual_server]]\nname = \"{service}\"\naddress = \"192.0.2.9\"\nport = {port}\nprotocol = \"tcp\"\n\
                 scheduler = \"wlc\"\none_packet = false\n"
            );
            for n in destinations {
                text += &format!(
                    "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = {port}\n\
                     weight = 1\nforwarding = \"dr\"\ncheck = {{ type = \"tcp\", address = \"192.0.2.{n}\", port = 80, \
                     interval = \"5s\", timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}\n"
                );
            }
        }
        let plan: Plan = toml::from_str(&text).expect("plan");
        let checks: Vec<Check> = plan
            .virtual_servers
            .iter()
            .flat_map(|server| &server.destinations)
            .filter_map(|destination| destination.check().cloned())
            .collect();
        let mut board = Board::new();
        board.configure(checks.clone(), |_| Verdict::Up, MonoTime::ZERO);
        assert_eq!(of_check(None, &board, &checks[0]), "192.0.2.1:80");
        mark(&plan, &mut board);
        let of = |check| of_check(Some(&plan), &board, check);
        assert_eq!(of(&checks[0]), "rs1 (192.0.2.1:80) for web and 2 more");
        assert_eq!(of(&checks[1]), "rs2 (192.0.2.2:80) for web");
        assert_eq!(
            of_checks(Some(&plan), &board, [&checks[1]; 5].into_iter()),
            "rs2 (192.0.2.2:80) for web, rs2 (192.0.2.2:80) for web, rs2 (192.0.2.2:80) for web and 2 more"
        );
        // A plan that the board does not know yet.
        let other = Plan { virtual_servers: plan.virtual_servers[2..].to_vec(), ..plan.clone() };
        assert_eq!(of_check(Some(&other), &board, &checks[1]), "192.0.2.2:80");
    }
}
