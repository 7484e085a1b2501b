//! The checks of a plan by number: the check of each destination, and the destinations of each check.

use std::collections::BTreeMap;

use evenkeel_converge::Position;
use evenkeel_health::CheckId;
use evenkeel_schemas::plan::{Check, Destination, Plan};

/// Number of a destination without a check.
const NONE: u32 = u32::MAX;

/// Numbers of a plan's checks. Both lists are small beside the plan, which may have a hundred thousand
/// destinations.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Index in `ids` of each virtual server's first destination.
    first: Vec<u32>,
    /// Check of each destination, in the order of the plan.
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
            numbers.first.push(u32::try_from(numbers.ids.len()).unwrap_or(NONE));
            for (place, destination) in (0..).zip(&virtual_server.destinations) {
                let id = destination.check().map(|check| {
                    *known.entry(check).or_insert_with(|| {
                        // After four billion checks the numbers begin again; checks of that age are gone.
                        let id = numbers.next;
                        numbers.next = if id + 1 == NONE { 0 } else { id + 1 };
                        id
                    })
                });
                numbers.ids.push(id.unwrap_or(NONE));
                numbers.users.extend(id.map(|id| (id, server, place)));
            }
        }
        numbers.users.sort_unstable();
        numbers
    }

    /// Check of a destination; none without one.
    pub(crate) fn id(&self, at: Position) -> Option<CheckId> {
        let first = usize::try_from(*self.first.get(at.server)?).ok()?;
        let id = *self.ids.get(first + at.destination)?;
        (id != NONE).then_some(CheckId(id))
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

    /// Every checked destination of the plan of these numbers, in its order.
    pub(crate) fn each<'a>(
        &'a self,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (Position, CheckId, &'a Check)> + 'a {
        plan.virtual_servers.iter().enumerate().flat_map(move |(server, virtual_server)| {
            let destinations = virtual_server.destinations.iter().enumerate();
            destinations.filter_map(move |(destination, one): (usize, &Destination)| {
                let at = Position { server, destination };
                Some((at, self.id(at)?, one.check()?))
            })
        })
    }

    /// Each check once.
    pub(crate) fn checks<'a>(&'a self, plan: &'a Plan) -> BTreeMap<CheckId, &'a Check> {
        self.each(plan).map(|(_, id, check)| (id, check)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(destinations: &[&[(u8, bool)]]) -> Plan {
        let mut text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
             [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
            .to_owned();
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
        let id = |numbers: &Numbers, server, destination| numbers.id(at(server, destination)).map(|id| id.0);
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
}
