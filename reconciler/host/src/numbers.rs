//! The checks of a plan by number: the checks of each destination, and the destinations of each check.

use std::collections::BTreeMap;

use evenkeel_converge::Position;
use evenkeel_health::CheckId;
use evenkeel_schemas::plan::{Check, Destination, Plan};

/// Numbers of a plan's checks. Both lists are small beside the plan, which may have a hundred thousand
/// destinations.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Index in `starts` of each virtual server's first destination.
    first: Vec<u32>,
    /// Index in `ids` of each destination's first check, in the order of the plan, and the end of `ids`.
    starts: Vec<u32>,
    /// Checks of each destination, in the order of the plan.
    ids: Vec<u32>,
    /// Check, virtual server and destination, sorted.
    users: Vec<(u32, u32, u32)>,
    /// Number of the next new check.
    next: u32,
}

impl Numbers {
    /// Numbers for a plan. A check that `before` had in `plan_before` keeps its number.
    pub(crate) fn of(plan: &Plan, before: &Self, plan_before: Option<&Plan>) -> Self {
        let mut known: BTreeMap<&Check, u32> = BTreeMap::new();
        if let Some(plan_before) = plan_before {
            known.extend(before.each(plan_before).map(|(_, id, check)| (check, id.0)));
        }
        let mut numbers = Self { next: before.next, ..Self::default() };
        for (server, virtual_server) in (0..).zip(&plan.virtual_servers) {
            numbers.first.push(length(&numbers.starts));
            for (place, destination) in (0..).zip(&virtual_server.destinations) {
                numbers.starts.push(length(&numbers.ids));
                for check in destination.checks() {
                    let id = *known.entry(check).or_insert_with(|| {
                        // After four billion checks the numbers begin again; checks of that age are gone.
                        let id = numbers.next;
                        numbers.next = id.wrapping_add(1);
                        id
                    });
                    numbers.ids.push(id);
                    numbers.users.push((id, server, place));
                }
            }
        }
        numbers.starts.push(length(&numbers.ids));
        numbers.users.sort_unstable();
        // A destination that has a check twice is one user of it.
        numbers.users.dedup();
        numbers
    }

    /// Checks of a destination, in the order of the plan.
    pub(crate) fn ids(&self, at: Position) -> impl ExactSizeIterator<Item = CheckId> + '_ {
        let range = || {
            let first = usize::try_from(*self.first.get(at.server)?).ok()? + at.destination;
            let from = usize::try_from(*self.starts.get(first)?).ok()?;
            let to = usize::try_from(*self.starts.get(first + 1)?).ok()?;
            self.ids.get(from..to)
        };
        range().unwrap_or_default().iter().map(|id| CheckId(*id))
    }

    /// Destinations that a check judges.
    pub(crate) fn users(&self, id: CheckId) -> impl ExactSizeIterator<Item = Position> + '_ {
        let from = self.users.partition_point(|(user, ..)| *user < id.0);
        let to = self.users.partition_point(|(user, ..)| *user <= id.0);
        let position = |(_, server, destination): &(u32, u32, u32)| Position {
            server: usize::try_from(*server).unwrap_or(usize::MAX),
            destination: usize::try_from(*destination).unwrap_or(usize::MAX),
        };
        self.users[from..to].iter().map(position)
    }

    /// Every check of every destination of the plan of these numbers, in its order.
    pub(crate) fn each<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (Position, CheckId, &'a Check)> + 'a {
        plan.virtual_servers.iter().enumerate().flat_map(move |(server, virtual_server)| {
            let destinations = virtual_server.destinations.iter().enumerate();
            destinations.flat_map(move |(destination, one): (usize, &Destination)| {
                let at = Position { server, destination };
                self.ids(at).zip(one.checks()).map(move |(id, check)| (at, id, check))
            })
        })
    }

    /// Each check once.
    pub(crate) fn checks<'a>(&'a self, plan: &'a Plan) -> BTreeMap<CheckId, &'a Check> {
        self.each(plan).map(|(_, id, check)| (id, check)).collect()
    }
}

fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    fn plan(destinations: &[&[(u8, bool)]]) -> Plan {
        let mut text = PlanText::of("h").text();
        for (port, destinations) in (80..).zip(destinations) {
            text += &format!(
                "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.9\"\nport = {port}\nprotocol = \
                    \"tcp\"\n\
                 scheduler = \"wlc\"\none_packet = false\n"
            );
            for (n, checked) in *destinations {
                text += &format!(
                    "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = \
                        {port}\n\
                     weight = 1\nforwarding = \"dr\"\n"
                );
                if *checked {
                    text += &format!(
                        "check = {{ type = \"tcp\", address = \"192.0.2.{n}\", port = 80, interval = \"5s\", \
                         timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}\n"
                    );
                }
            }
        }
        toml::from_str(&text).expect("plan")
    }

    #[test]
    fn a_check_has_one_number_and_keeps_it_as_long_as_a_plan_has_it() {
        let at = |server, destination| Position { server, destination };
        let first = plan(&[&[(1, true), (2, false)], &[(1, true), (3, true)]]);
        let before = Numbers::of(&first, &Numbers::default(), None);
        let id = |numbers: &Numbers, server, destination| {
            numbers.ids(at(server, destination)).next().map(|id| id.0)
        };
        assert_eq!([id(&before, 0, 0), id(&before, 0, 1), id(&before, 1, 0)], [Some(0), None, Some(0)]);
        assert_eq!([id(&before, 1, 1), id(&before, 1, 2), id(&before, 2, 0)], [Some(1), None, None]);
        assert_eq!(before.users(CheckId(0)).collect::<Vec<_>>(), [at(0, 0), at(1, 0)]);
        assert_eq!(before.users(CheckId(7)).len(), 0);
        let second = plan(&[&[(4, true)], &[(3, true)]]);
        let after = Numbers::of(&second, &before, Some(&first));
        assert_eq!([id(&after, 0, 0), id(&after, 1, 0)], [Some(2), Some(1)], "new, and kept");
        let third = Numbers::of(&first, &after, Some(&second));
        assert_eq!([id(&third, 0, 0), id(&third, 1, 1)], [Some(3), Some(1)], "one that was gone is new");
        assert_eq!(third.checks(&first).len(), 2);
    }

    #[test]
    fn a_destination_has_all_its_checks_in_the_order_of_the_plan() {
        let check = |n: u8, port: u16| {
            format!(
                "{{ type = \"tcp\", address = \"192.0.2.{n}\", port = {port}, interval = \"5s\", \
                 timeout = \"5s\", retries = 1, retry_delay = \"1s\" }}"
            )
        };
        let destination = |n: u8, checks: &[u16]| {
            let checks: Vec<String> = checks.iter().map(|port| check(n, *port)).collect();
            format!(
                "[[virtual_server.destination]]\nhost = \"rs{n}\"\naddress = \"192.0.2.{n}\"\nport = 80\n\
                 weight = 1\nforwarding = \"dr\"\nchecks = [{}]\n",
                checks.join(", ")
            )
        };
        let server = "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.9\"\nport = 80\n\
                      protocol = \"tcp\"\nscheduler = \"wlc\"\none_packet = false\n";
        let text = PlanText::of("h").text()
            + server
            + &destination(1, &[80, 443, 80])
            + &destination(2, &[])
            + &destination(1, &[443]);
        let plan: Plan = toml::from_str(&text).expect("plan");
        let numbers = Numbers::of(&plan, &Numbers::default(), None);
        let at = |destination| Position { server: 0, destination };
        let ids = |destination| numbers.ids(at(destination)).map(|id| id.0).collect::<Vec<_>>();
        assert_eq!([ids(0), ids(1), ids(2), ids(3)], [vec![0, 1, 0], vec![], vec![1], vec![]]);
        assert_eq!(numbers.users(CheckId(0)).collect::<Vec<_>>(), [at(0)], "twice is one user");
        assert_eq!(numbers.users(CheckId(1)).collect::<Vec<_>>(), [at(0), at(2)]);
        assert_eq!(
            numbers.each(&plan).map(|(at, id, _)| (at.destination, id.0)).collect::<Vec<_>>(),
            [(0, 0), (0, 1), (0, 0), (2, 1)]
        );
        let ports = numbers.each(&plan).map(|(.., check)| check.target.and_then(|target| target.port));
        assert_eq!(ports.flatten().map(|port| port.get()).collect::<Vec<_>>(), [80, 443, 80, 443]);
    }
}
