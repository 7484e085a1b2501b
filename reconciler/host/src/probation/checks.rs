//! Comparison of a host under a new plan with the same host under the plan before: the conditions of `confirm
//! = "checks"`.
//!
//! A service that was served before must be served now, by the same address and port. A plan that takes a
//! service away is never confirmed here, since a mistake looks the same. Values only.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_converge::{DestinationKey, Position, ServiceKey};
use evenkeel_health::{CheckState, Fault, Heard, Verdict};
use evenkeel_schemas::plan::{Check, Destination, Plan, VirtualServer};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterState;

use super::Baseline;

/// Most conditions that are listed.
const MAX_LISTED: usize = 10;

/// A change from one plan to another.
#[derive(Clone, Copy)]
pub struct PlanChange<'a> {
    /// The plan before.
    pub before: &'a Plan,
    /// State of the host under the plan before.
    pub baseline: &'a Baseline,
    /// The new plan.
    pub plan: &'a Plan,
}

/// State of a virtual router, as a confirmation looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterNow {
    /// Name of the router.
    pub name: Name,
    /// State of the router.
    pub state: RouterState,
    /// Whether an order keeps it out.
    pub held: bool,
    /// Reason of the state, a sentence for people.
    pub reason: String,
}

/// State of the host now.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Whether everything of the new plan is in the kernel and the election has its routers.
    pub converged: bool,
    /// The routers of the election.
    pub routers: &'a [RouterNow],
    /// State of a destination's check; none where nothing is known.
    pub state: &'a dyn Fn(Position) -> Option<&'a CheckState>,
}

/// Time during which everything must have been well: two intervals of the slowest check, at most a third of
/// `timeout`.
pub fn quiet(plan: &Plan, timeout: Duration) -> Duration {
    let checks = plan.virtual_servers.iter().flat_map(|server| &server.destinations);
    let intervals = checks.flat_map(|destination| destination.checks()).map(interval);
    let slowest = intervals.max().unwrap_or_else(|| plan.policy.resync.as_duration());
    (slowest * 2).min(timeout / 3)
}

const fn interval(check: &Check) -> Duration {
    check.times.interval.as_duration()
}

/// Conditions that are not as well as before, or not known yet, as sentences for people; empty when all is
/// well.
pub fn missing<'a>(change: PlanChange<'a>, view: View<'a>) -> Vec<String> {
    let kernel = (!view.converged).then(|| "the kernel is not as the plan says yet".to_owned());
    let all = kernel.into_iter().chain(routers(change, view)).chain(destinations(change, view));
    let mut listed: Vec<String> = all.chain(services(change, view)).collect();
    if listed.len() > MAX_LISTED {
        let more = listed.len() - MAX_LISTED;
        listed.truncate(MAX_LISTED);
        listed.push(format!("and {more} more"));
    }
    listed
}

fn routers<'a>(change: PlanChange<'a>, view: View<'a>) -> impl Iterator<Item = String> + 'a {
    change.baseline.routers.iter().filter_map(move |name| {
        if !change.plan.routers.iter().any(|router| router.name == *name) {
            return Some(format!("virtual router {name}, which took part before, is not in the plan"));
        }
        let mut found = view.routers.iter().filter(|router| router.name == *name).peekable();
        if found.peek().is_none() {
            return Some(format!("virtual router {name} has not started"));
        }
        let out = found.find(|router| router.state == RouterState::Initialize && !router.held)?;
        Some(format!("virtual router {name} takes no part: {}", out.reason))
    })
}

/// Health of a destination since the change.
enum Health {
    Well,
    Unknown,
    Failed(String),
}

fn health(destination: &Destination, at: Position, view: View<'_>) -> Health {
    if destination.checks().is_empty() {
        return Health::Well;
    }
    let Some(state) = (view.state)(at) else { return Health::Unknown };
    // Up alone is not enough: a check that begins under this plan counts as up before its first result.
    match (state.verdict, state.heard) {
        // Where there is no agent nothing more will be heard.
        (Verdict::Up, Some(Heard::Success | Heard::Silence)) => Health::Well,
        (_, Some(Heard::Failure)) => {
            Health::Failed(state.fault.as_ref().map(Fault::to_string).unwrap_or_default())
        }
        (_, None | Some(Heard::Nothing | Heard::Silence | Heard::Success)) => Health::Unknown,
    }
}

/// Destinations of a virtual server with their positions.
fn numbered(index: usize, server: &VirtualServer) -> impl Iterator<Item = (Position, &Destination)> {
    let at = move |destination| Position { server: index, destination };
    server.destinations.iter().enumerate().map(move |(number, one)| (at(number), one))
}

fn destinations<'a>(change: PlanChange<'a>, view: View<'a>) -> impl Iterator<Item = String> + 'a {
    let all = change.plan.virtual_servers.iter().enumerate().flat_map(|(index, server)| {
        let service = ServiceKey::of(server);
        numbered(index, server).filter_map(move |(at, destination)| Some((service?, at, destination)))
    });
    all.filter_map(move |(service, at, destination)| {
        let key = DestinationKey::of(destination);
        if change.baseline.down.contains(&(service, key)) {
            return None;
        }
        match health(destination, at, view) {
            Health::Well => None,
            Health::Unknown => Some(format!("{key} ({}) was not checked yet", destination.host)),
            Health::Failed(why) => Some(format!("{key} ({}) fails: {why}", destination.host)),
        }
    })
}

fn services<'a>(change: PlanChange<'a>, view: View<'a>) -> impl Iterator<Item = String> + 'a {
    let now: BTreeMap<ServiceKey, (usize, &VirtualServer)> = change
        .plan
        .virtual_servers
        .iter()
        .enumerate()
        .filter_map(|(index, server)| Some((ServiceKey::of(server)?, (index, server))))
        .collect();
    change.before.virtual_servers.iter().filter_map(move |server| {
        let (key, front) = (ServiceKey::of(server)?, server.front()?);
        // A service whose destinations had all failed before the change is not the change's fault.
        let served = takes_clients(server)
            .any(|destination| !change.baseline.down.contains(&(key, DestinationKey::of(destination))));
        if !served {
            return None;
        }
        let Some((index, server)) = now.get(&key) else {
            return Some(format!("{front} ({}), which was served before, is not in the plan", server.name));
        };
        let serves = numbered(*index, server)
            .any(|(at, one)| one.weight.get() > 0 && matches!(health(one, at, view), Health::Well));
        (!serves).then(|| format!("{front} ({}) has no healthy destination", server.name))
    })
}

fn takes_clients(server: &VirtualServer) -> impl Iterator<Item = &Destination> {
    server.destinations.iter().filter(|destination| destination.weight.get() > 0)
}

#[cfg(test)]
mod tests {
    use evenkeel_health::FaultLabel;
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    fn router() -> String {
        "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
         vrid = 1\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
         garp_delay = \"0s\"\nvips = [\"192.0.2.9/32\"]\n"
            .to_owned()
    }

    /// A virtual server on this port with destinations (last number of the address, port, weight, checked).
    fn server(port: u16, destinations: &[(u8, u16, u16, bool)]) -> String {
        let mut text = format!(
            "[[virtual_server]]\nname = \"web\"\naddress = \"192.0.2.9\"\nport = {port}\nprotocol = \"tcp\"\n\
             scheduler = \"wlc\"\none_packet = false\n"
        );
        for (last, port, weight, checked) in destinations {
            text += &format!(
                "[[virtual_server.destination]]\nhost = \"rs{last}\"\naddress = \"192.0.2.{last}\"\nport = \
                    {port}\n\
                 weight = {weight}\nforwarding = \"dr\"\n"
            );
            if *checked {
                text += &format!(
                    "check = {{ type = \"tcp\", address = \"192.0.2.{last}\", port = {port}, interval = \
                        \"2s\", \
                     timeout = \"1s\", retries = 1, retry_delay = \"1s\" }}\n"
                );
            }
        }
        text
    }

    fn plan(parts: &[String]) -> Plan {
        PlanText::of("h").resync("4s").with(&parts.concat()).plan()
    }

    /// Results of checks by the last number of the address: success or failure since the change, if there was
    /// a result.
    type Results = BTreeMap<u8, (Option<Result<(), &'static str>>, Verdict)>;

    struct World {
        before: Plan,
        baseline: Baseline,
        routers: Vec<RouterNow>,
        results: Results,
        converged: bool,
    }

    impl World {
        fn new() -> Self {
            let up = (Some(Ok(())), Verdict::Up);
            Self {
                before: plan(&[router(), server(80, &[(11, 80, 1, true), (12, 80, 1, true)])]),
                baseline: Baseline {
                    lacking: BTreeSet::new(),
                    down: BTreeSet::new(),
                    routers: BTreeSet::from(["VI_1".parse().expect("name")]),
                },
                routers: vec![RouterNow {
                    name: "VI_1".parse().expect("name"),
                    state: RouterState::Master,
                    held: false,
                    reason: "told so".to_owned(),
                }],
                results: [(11, up), (12, up), (13, up)].into(),
                converged: true,
            }
        }

        fn missing(&self, plan: &Plan) -> Vec<String> {
            let states: BTreeMap<(usize, usize), CheckState> = plan
                .virtual_servers
                .iter()
                .enumerate()
                .flat_map(|(index, server)| numbered(index, server))
                .filter_map(|(at, one)| {
                    let std::net::IpAddr::V4(address) = one.checks().first()?.address()?.0 else {
                        return None;
                    };
                    let (result, verdict) = self.results.get(&address.octets()[3])?;
                    let mut state = CheckState::new(*verdict);
                    state.heard = result.map(|result| result.map_or(Heard::Failure, |()| Heard::Success));
                    state.fault =
                        result.and_then(Result::err).map(|why| Fault::new(FaultLabel::Refused, why));
                    Some(((at.server, at.destination), state))
                })
                .collect();
            let state = |at: Position| states.get(&(at.server, at.destination));
            let change = PlanChange { before: &self.before, baseline: &self.baseline, plan };
            missing(change, View { converged: self.converged, routers: &self.routers, state: &state })
        }
    }

    use std::collections::BTreeSet;

    fn same() -> Plan {
        plan(&[router(), server(80, &[(11, 80, 1, true), (12, 80, 5, true)])])
    }

    #[test]
    fn all_is_well_when_the_kernel_routers_and_checks_are() {
        let mut world = World::new();
        assert_eq!(world.missing(&same()), Vec::<String>::new());
        world.converged = false;
        assert_eq!(world.missing(&same()), ["the kernel is not as the plan says yet"]);
    }

    #[test]
    fn each_destination_needs_a_success_of_its_own_since_the_change() {
        let mut world = World::new();
        for (result, text) in [
            ((None, Verdict::Up), "192.0.2.11:80 (rs11) was not checked yet"),
            ((Some(Err("refused")), Verdict::Up), "192.0.2.11:80 (rs11) fails: refused"),
            ((Some(Err("refused")), Verdict::Down), "192.0.2.11:80 (rs11) fails: refused"),
        ] {
            world.results.insert(11, result);
            assert_eq!(world.missing(&same()), [text], "{result:?}");
        }
        // A destination that had failed before may go on failing; a new one may not.
        let service = ServiceKey::of(&world.before.virtual_servers[0]).expect("service");
        let failed = DestinationKey::of(&world.before.virtual_servers[0].destinations[0]);
        world.baseline.down.insert((service, failed));
        assert_eq!(world.missing(&same()), Vec::<String>::new());
        world.results.insert(13, (Some(Err("refused")), Verdict::Up));
        let more = plan(&[router(), server(80, &[(11, 80, 1, true), (12, 80, 1, true), (13, 80, 1, true)])]);
        assert_eq!(world.missing(&more), ["192.0.2.13:80 (rs13) fails: refused"]);
        let unchecked = plan(&[router(), server(80, &[(14, 80, 1, false)])]);
        assert_eq!(world.missing(&unchecked), Vec::<String>::new(), "without a check it counts as healthy");
    }

    #[test]
    fn a_served_service_must_stay_served_at_its_address_and_port() {
        let mut world = World::new();
        let gone = "tcp 192.0.2.9:80 (web), which was served before, is not in the plan";
        assert_eq!(world.missing(&plan(&[router()])), [gone]);
        assert_eq!(world.missing(&plan(&[router(), server(81, &[(11, 80, 1, true)])])), [gone]);
        let silent = "tcp 192.0.2.9:80 (web) has no healthy destination";
        assert_eq!(world.missing(&plan(&[router(), server(80, &[])])), [silent]);
        assert_eq!(world.missing(&plan(&[router(), server(80, &[(11, 80, 0, true)])])), [silent], "weight 0");
        for last in [11, 12] {
            world.results.insert(last, (Some(Err("refused")), Verdict::Down));
        }
        let moved = plan(&[router(), server(80, &[(11, 81, 1, true), (12, 81, 1, true)])]);
        assert_eq!(
            world.missing(&moved),
            ["192.0.2.11:81 (rs11) fails: refused", "192.0.2.12:81 (rs12) fails: refused", silent]
        );
        // A service that was not served before is not missed.
        let server_ = &world.before.virtual_servers[0];
        let key = ServiceKey::of(server_).expect("service");
        world.baseline.down = server_.destinations.iter().map(|one| (key, DestinationKey::of(one))).collect();
        assert_eq!(world.missing(&plan(&[router()])), Vec::<String>::new());
    }

    #[test]
    fn a_router_that_took_part_takes_part_unless_it_is_held() {
        let mut world = World::new();
        assert_eq!(
            world.missing(&plan(&[server(80, &[(11, 80, 1, true)])])),
            ["virtual router VI_1, which took part before, is not in the plan"]
        );
        world.routers[0].state = RouterState::Initialize;
        assert_eq!(world.missing(&same()), ["virtual router VI_1 takes no part: told so"]);
        world.routers[0].held = true;
        assert_eq!(world.missing(&same()), Vec::<String>::new());
        world.routers.clear();
        assert_eq!(world.missing(&same()), ["virtual router VI_1 has not started"]);
        world.baseline.routers.clear();
        assert_eq!(world.missing(&same()), Vec::<String>::new(), "it did not take part before");
    }

    #[test]
    fn ten_conditions_are_listed_and_the_others_are_counted() {
        let mut world = World::new();
        world.results.clear();
        let many: Vec<(u8, u16, u16, bool)> = (11..40).map(|last| (last, 80, 1, true)).collect();
        let listed = world.missing(&plan(&[router(), server(80, &many)]));
        assert_eq!((listed.len(), listed[10].as_str()), (11, "and 20 more"));
    }

    #[test]
    fn the_quiet_time_is_two_intervals_but_no_more_than_a_third() {
        let second = Duration::from_secs;
        assert_eq!(quiet(&same(), second(60)), second(4));
        assert_eq!(quiet(&same(), second(6)), second(2));
        assert_eq!(quiet(&plan(&[]), second(60)), second(8), "without checks: two looks at the kernel");
    }
}
