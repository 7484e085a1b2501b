//! Standing orders to drain. Values only: kept in the state directory by `state`, carried out by the
//! convergence thread.
//!
//! An order names a host or an address, and one virtual server or all. It holds for every destination that it
//! fits, whatever plans come; of two orders that fit, the shorter time counts. Orders that fit nothing are
//! kept: the host may come back. A plan drains destinations as well, with `drain = true`: these drain as by
//! an order without a time, and no order takes that back.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use evenkeel_converge::{DestinationKey, Position, Standing};
use evenkeel_schemas::plan::{Destination, Plan, VirtualServer};
use evenkeel_schemas::scalars::{Ip, Name, ScalarError, Span};
use evenkeel_schemas::status::DrainOrderStatus;
use serde::{Deserialize, Serialize};

use crate::orders::Refusal;
use crate::orders::routers::nearest;

/// Most orders that are kept.
const MAX_ORDERS: usize = 10_000;
/// Most names in a sentence.
const MAX_NAMED: usize = 20;

/// A set of destinations, by host or address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Whom {
    /// All destinations with this address.
    Address(Ip),
    /// All destinations of this host.
    Host(Name),
}

impl FromStr for Whom {
    type Err = ScalarError;

    fn from_str(text: &str) -> Result<Self, ScalarError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        text.parse().map(Self::Host)
    }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Host(name) => write!(f, "{name}"),
        }
    }
}

/// Action of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrainAction {
    /// Weight 0, and removal when the connections have ended.
    Drain,
    /// Weight as the plan says.
    Undrain,
}

/// A request: the body of `POST /drains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Action of the request.
    pub action: DrainAction,
    /// Destinations by host or address; absent: all with an order to drain, to undrain only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whom: Option<Whom>,
    /// Virtual server of the destinations; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// Time that connections may go on; absent: the plan's time for destinations that leave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Whether a virtual server may be left with no destination that serves.
    #[serde(default)]
    pub force: bool,
}

/// Effect of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// Destinations of the plan in force that the request changes.
    pub destinations: Vec<Affected>,
    /// Number of orders that were taken back, to undrain only.
    pub released: usize,
    /// Destinations of the request that still drain because the plan says so, to undrain only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_plan: Vec<Affected>,
}

/// A destination's order to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOrder {
    /// Time that its connections may go on; none: until they end.
    pub limit: Option<Duration>,
    /// Whether the plan orders it. An operator may have as well.
    pub by_plan: bool,
}

/// A destination that a request concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// Name of the virtual server.
    pub service: Name,
    /// Name of the host.
    pub host: Name,
    /// Address and port, as in `192.168.188.107:80`.
    pub address: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct GivenDrain {
    whom: Whom,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
    /// Time when the order was given, RFC 3339.
    since: String,
}

impl GivenDrain {
    fn fits(&self, server: &VirtualServer, destination: &Destination) -> bool {
        fits(&self.whom, self.service.as_ref(), server, destination)
    }
}

fn fits(whom: &Whom, service: Option<&Name>, server: &VirtualServer, destination: &Destination) -> bool {
    let this = match whom {
        Whom::Address(address) => destination.address == *address,
        Whom::Host(name) => destination.host == *name,
    };
    this && service.is_none_or(|service| *service == server.name)
}

/// All orders to drain of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DrainOrders {
    given: Vec<GivenDrain>,
}

/// Standing of a destination without orders to drain.
pub type StandingOf<'a> = &'a dyn Fn(Position, &VirtualServer) -> Standing;

impl DrainOrders {
    /// The order in force for a destination, of an operator or of the plan; none when it need not drain.
    pub fn order_for(&self, server: &VirtualServer, destination: &Destination) -> Option<DrainOrder> {
        let mut fitting = self.given.iter().filter(|given| given.fits(server, destination)).peekable();
        let by_plan = destination.drains();
        if !by_plan && fitting.peek().is_none() {
            return None;
        }
        let shortest = fitting.filter_map(|given| given.timeout).min();
        Some(DrainOrder { limit: shortest.or(server.drain).map(Span::as_duration), by_plan })
    }

    /// Standing of a destination, given its `standing` without orders. A destination that `failed` and is out
    /// is so in any case.
    pub fn standing(
        &self,
        server: &VirtualServer,
        destination: &Destination,
        failed: bool,
        standing: Standing,
    ) -> Standing {
        if failed && standing == Standing::Out {
            return standing;
        }
        self.order_for(server, destination).map_or(standing, |order| Standing::Draining(order.limit))
    }

    /// The orders after a request, and the destinations that it changes.
    ///
    /// When the request fits nothing, or a virtual server would be left with no destination that serves.
    pub fn after(
        &self,
        request: &DrainRequest,
        plan: Option<&Plan>,
        standing: StandingOf<'_>,
        since: &str,
    ) -> Result<(Self, DrainAnswer), Refusal> {
        let mut after = self.clone();
        match request.action {
            DrainAction::Drain => after.give(request, plan, since)?,
            DrainAction::Undrain => after.take_back(request, plan)?,
        }
        let servers = plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
        let (mut destinations, mut by_plan) = (Vec::new(), Vec::new());
        let mut left_alone = Vec::new();
        for (index, server) in servers.iter().enumerate() {
            // The last destination that takes clients is what an operator must not drain by mistake: compared
            // before and after.
            let serve = |orders: &Self| {
                let serving = |(number, destination): &(usize, &Destination)| {
                    let at = Position { server: index, destination: *number };
                    let standing = orders.standing(server, destination, false, standing(at, server));
                    match standing {
                        Standing::Serving => destination.weight.get() > 0,
                        Standing::Weighted(weight) => weight > 0,
                        Standing::Quiet | Standing::Draining(_) | Standing::Out => false,
                    }
                };
                server.destinations.iter().enumerate().filter(serving).count()
            };
            if serve(self) > 0 && serve(&after) == 0 {
                left_alone.push(server.name.as_str());
            }
            for destination in &server.destinations {
                let whom = request.whom.as_ref();
                let meant = whom.map(|whom| fits(whom, request.service.as_ref(), server, destination));
                let this = || Affected {
                    service: server.name.clone(),
                    host: destination.host.clone(),
                    address: DestinationKey::of(destination).to_string(),
                };
                let (drain, before) =
                    (request.action == DrainAction::Drain, self.order_for(server, destination));
                let changes = before != after.order_for(server, destination);
                if !drain && destination.drains() && (changes || meant == Some(true)) {
                    by_plan.push(this());
                } else if changes || (drain && meant == Some(true)) {
                    destinations.push(this());
                }
            }
        }
        // A name that several virtual servers share is listed once.
        left_alone.dedup();
        if !left_alone.is_empty() && request.action == DrainAction::Drain && !request.force {
            return Err(Refusal::NotNow(format!(
                "no destination would serve any more in {}: undrain or mend another one first, or give \
                    --force",
                list(left_alone)
            )));
        }
        let released = self.given.len().saturating_sub(after.given.len());
        Ok((after, DrainAnswer { destinations, released, by_plan }))
    }

    fn give(&mut self, request: &DrainRequest, plan: Option<&Plan>, since: &str) -> Result<(), Refusal> {
        let Some(whom) = &request.whom else {
            return Err(Refusal::Unknown("a host or an address is needed".to_owned()));
        };
        let Some(plan) = plan else {
            return Err(Refusal::NotNow("no plan is in force: there is nothing to drain".to_owned()));
        };
        let service = request.service.as_ref();
        let any = |whom: &Whom, service: Option<&Name>| {
            let mut servers = plan.virtual_servers.iter();
            servers.any(|server| server.destinations.iter().any(|d| fits(whom, service, server, d)))
        };
        if !any(whom, service) {
            return Err(Refusal::Unknown(match service {
                Some(name) if !plan.virtual_servers.iter().any(|server| server.name == *name) => {
                    let known = plan.virtual_servers.iter().map(|server| server.name.as_str());
                    unknown("virtual server", name.as_str(), known.collect())
                }
                Some(name) if any(whom, None) => format!("{whom} is no destination of {name}"),
                _ => {
                    let all = plan.virtual_servers.iter().flat_map(|server| &server.destinations);
                    unknown("destination", &whom.to_string(), all.map(|d| d.host.as_str()).collect())
                }
            }));
        }
        // GivenDrain again, an order keeps its place and gets the new time.
        let same = |given: &&mut GivenDrain| given.whom == *whom && given.service.as_ref() == service;
        if let Some(given) = self.given.iter_mut().find(same) {
            given.timeout = request.timeout;
            return Ok(());
        }
        if self.given.len() >= MAX_ORDERS {
            return Err(Refusal::NotNow(format!(
                "over {MAX_ORDERS} orders: undrain what is gone with --all"
            )));
        }
        self.given.push(GivenDrain {
            whom: whom.clone(),
            service: request.service.clone(),
            timeout: request.timeout,
            since: since.to_owned(),
        });
        Ok(())
    }

    fn take_back(&mut self, request: &DrainRequest, plan: Option<&Plan>) -> Result<(), Refusal> {
        let before = self.given.len();
        let Some(whom) = &request.whom else {
            self.given.retain(|given| {
                request.service.is_some() && given.service.as_ref() != request.service.as_ref()
            });
            return Ok(());
        };
        // One order for all virtual servers cannot be split: it would have to become one for each of the
        // others, and those that later plans add.
        let of_all = self.given.iter().any(|given| given.whom == *whom && given.service.is_none());
        if let (Some(service), true) = (&request.service, of_all) {
            let text = format!(
                "{whom} is told to drain in all virtual servers, not in {service} alone: undrain it without \
                    --service"
            );
            return Err(Refusal::NotNow(text));
        }
        self.given.retain(|given| {
            given.whom != *whom || (request.service.is_some() && given.service != request.service)
        });
        if self.given.len() == before {
            let known: BTreeSet<String> = self.given.iter().map(|given| given.whom.to_string()).collect();
            let ordered = known.iter().map(String::as_str).collect();
            let mut servers = plan.into_iter().flat_map(|plan| &plan.virtual_servers);
            let drains = |server: &VirtualServer| {
                let fits = |one: &&Destination| fits(whom, request.service.as_ref(), server, one);
                server.destinations.iter().filter(fits).any(Destination::drains)
            };
            if servers.any(drains) {
                return Err(Refusal::NotNow(format!(
                    "{whom} is told to drain by the plan, not by an order: remove `drain = true` of the host \
                        from the cluster file and \
                     apply that"
                )));
            }
            return Err(Refusal::Unknown(match &request.service {
                Some(service) => format!("{whom} is not told to drain in {service}"),
                None if known.is_empty() => format!("{whom} is not told to drain: nothing is"),
                None => format!("{whom} is not told to drain; told are {}", list(ordered)),
            }));
        }
        Ok(())
    }

    /// Status of all orders; `plan` says whether each fits anything.
    pub fn status(&self, plan: Option<&Plan>) -> Vec<DrainOrderStatus> {
        let servers = plan.map(|plan| plan.virtual_servers.as_slice()).unwrap_or_default();
        let fits = |given: &GivenDrain| {
            servers.iter().any(|server| server.destinations.iter().any(|d| given.fits(server, d)))
        };
        let one = |given: &GivenDrain| DrainOrderStatus {
            target: given.whom.to_string(),
            service: given.service.clone(),
            since: given.since.clone(),
            timeout_ms: given.timeout.map(Span::as_millis),
            in_plan: fits(given),
        };
        self.given.iter().map(one).collect()
    }
}

fn list(names: Vec<&str>) -> String {
    let more = names.len().saturating_sub(MAX_NAMED);
    let mut text = names.into_iter().take(MAX_NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

fn unknown(what: &str, name: &str, known: BTreeSet<&str>) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no {what} {name}; did you mean {near}?"),
        None if known.is_empty() => format!("this host has no {what}s"),
        None => format!("there is no {what} {name}; this host has {}", list(known.into_iter().collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let server = |name: &str, port: u16, drain: Option<&str>, hosts: &[(&str, u8)]| {
            let drain = drain.map(|drain| format!("drain = \"{drain}\"\n")).unwrap_or_default();
            let mut text = format!(
                "[[virtual_server]]\nname = \"{name}\"\naddress = \"192.0.2.9\"\nport = {port}\nprotocol = \
                    \"tcp\"\n\
                 scheduler = \"wlc\"\none_packet = false\n{drain}"
            );
            for (host, last) in hosts {
                text += &format!(
                    "[[virtual_server.destination]]\nhost = \"{host}\"\naddress = \"192.0.2.{last}\"\nport = \
                        {port}\n\
                     weight = 1\nforwarding = \"dr\"\n"
                );
            }
            text
        };
        let text = "format = 1\ncluster = \"c\"\nhost = \"h\"\nhost_addresses = []\n\
                    [policy]\nresync = \"5s\"\nexclusive_ipvs = false\n"
            .to_owned()
            + &server("web", 80, Some("5m"), &[("rs1", 1), ("rs2", 2)])
            + &server("mail", 25, None, &[("rs1", 1), ("rs2", 2), ("rs3", 3)]);
        toml::from_str(&text).expect("plan")
    }

    fn request(action: DrainAction, whom: &str, service: Option<&str>) -> DrainRequest {
        DrainRequest {
            action,
            whom: Some(whom.parse().expect("whom")),
            service: service.map(|name| name.parse().expect("name")),
            timeout: None,
            force: false,
        }
    }

    fn drain(whom: &str, service: Option<&str>) -> DrainRequest {
        request(DrainAction::Drain, whom, service)
    }

    fn undrain(whom: &str, service: Option<&str>) -> DrainRequest {
        request(DrainAction::Undrain, whom, service)
    }

    fn try_give(orders: &DrainOrders, request: &DrainRequest) -> Result<(DrainOrders, Vec<String>), Refusal> {
        let (after, answer) = orders.after(request, Some(&plan()), &|_, _| Standing::Serving, "now")?;
        let restored: DrainOrders =
            serde_json::from_str(&serde_json::to_string(&after).expect("JSON")).expect("orders");
        assert_eq!(restored, after);
        let named = |affected: Affected| format!("{} {}", affected.service, affected.address);
        Ok((after, answer.destinations.into_iter().map(named).collect()))
    }

    fn give(orders: &mut DrainOrders, request: &DrainRequest) -> Vec<String> {
        let (after, affected) = try_give(orders, request).expect("taken");
        *orders = after;
        affected
    }

    fn refused(orders: &DrainOrders, request: &DrainRequest) -> String {
        match try_give(orders, request) {
            Err(Refusal::Unknown(text) | Refusal::NotNow(text)) => text,
            Ok(taken) => panic!("{taken:?}"),
        }
    }

    /// Time of each destination that drains, seconds, by service and host; -1 for no limit.
    fn limits(orders: &DrainOrders) -> Vec<(String, i64)> {
        let plan = plan();
        let mut all = Vec::new();
        for server in &plan.virtual_servers {
            for destination in &server.destinations {
                if let Some(order) = orders.order_for(server, destination) {
                    let secs = order.limit.map_or(-1, |limit| i64::try_from(limit.as_secs()).expect("secs"));
                    all.push((format!("{} {}", server.name, destination.host), secs));
                }
            }
        }
        all
    }

    #[test]
    fn a_host_drains_everywhere_or_in_one_service_until_it_is_undrained() {
        let mut orders = DrainOrders::default();
        assert_eq!(give(&mut orders, &drain("rs1", None)), ["web 192.0.2.1:80", "mail 192.0.2.1:25"]);
        assert_eq!(limits(&orders), [("web rs1".to_owned(), 300), ("mail rs1".to_owned(), -1)]);
        let timed =
            DrainRequest { timeout: Some("10m".parse().expect("span")), ..drain("192.0.2.1", Some("mail")) };
        assert_eq!(give(&mut orders, &timed), ["mail 192.0.2.1:25"]);
        assert_eq!(limits(&orders)[1].1, 600, "by its address");
        // GivenDrain again it has the new time, and not two.
        let sooner = DrainRequest { timeout: Some("1m".parse().expect("span")), ..timed };
        give(&mut orders, &sooner);
        assert_eq!((limits(&orders)[1].1, orders.given.len()), (60, 2));
        assert_eq!(give(&mut orders, &undrain("rs1", None)), ["web 192.0.2.1:80"]);
        assert_eq!(limits(&orders), [("mail rs1".to_owned(), 60)]);
        assert_eq!(give(&mut orders, &undrain("192.0.2.1", Some("mail"))), ["mail 192.0.2.1:25"]);
        assert_eq!(orders, DrainOrders::default());
    }

    #[test]
    fn a_service_is_not_left_without_destinations_unless_that_is_meant() {
        let mut orders = DrainOrders::default();
        give(&mut orders, &drain("rs1", None));
        let why = refused(&orders, &drain("rs2", None));
        assert!(why.starts_with("no destination would serve any more in web: "), "{why}");
        give(&mut orders, &drain("rs2", Some("mail")));
        give(&mut orders, &DrainRequest { force: true, ..drain("rs2", None) });
        // Nothing is made worse.
        give(&mut orders, &drain("rs2", Some("web")));
        let out =
            |at: Position, server: &VirtualServer| match server.destinations[at.destination].host.as_str() {
                "rs3" => Standing::Out,
                _ => Standing::Serving,
            };
        let mut orders = DrainOrders::default();
        give(&mut orders, &drain("rs1", Some("mail")));
        let answer = orders.after(&drain("rs2", Some("mail")), Some(&plan()), &out, "now");
        assert!(matches!(answer, Err(Refusal::NotNow(_))), "one that failed is no help: {answer:?}");
    }

    #[test]
    fn an_unknown_destination_is_refused_with_the_nearest_name() {
        let orders = DrainOrders::default();
        assert_eq!(refused(&orders, &drain("rs11", None)), "there is no destination rs11; did you mean rs1?");
        assert_eq!(
            refused(&orders, &drain("rs1", Some("wbe"))),
            "there is no virtual server wbe; did you mean web?"
        );
        assert_eq!(refused(&orders, &drain("rs3", Some("web"))), "rs3 is no destination of web");
        assert!(refused(&orders, &drain("203.0.113.1", None)).contains("this host has rs1, rs2, rs3"));
        assert_eq!(refused(&orders, &undrain("rs1", None)), "rs1 is not told to drain: nothing is");
        let none = orders.after(&drain("rs1", None), None, &|_, _| Standing::Serving, "now");
        assert!(matches!(none, Err(Refusal::NotNow(_))));
        let mut orders = orders;
        give(&mut orders, &drain("rs1", None));
        assert_eq!(refused(&orders, &undrain("rs2", None)), "rs2 is not told to drain; told are rs1");
        assert!(refused(&orders, &undrain("rs1", Some("web"))).contains("without --service"));
        let all = DrainRequest { whom: None, ..undrain("rs1", None) };
        assert_eq!(give(&mut orders, &all).len(), 2);
        assert_eq!(orders, DrainOrders::default());
    }

    #[test]
    fn an_order_for_a_host_that_is_gone_waits_for_it() {
        let mut orders = DrainOrders::default();
        give(&mut orders, &drain("rs3", None));
        let mut without = plan();
        without.virtual_servers.pop();
        assert!(!orders.status(Some(&without))[0].in_plan);
        assert!(orders.status(Some(&plan()))[0].in_plan);
        let taken = orders.after(&undrain("rs3", None), Some(&without), &|_, _| Standing::Serving, "now");
        assert_eq!(
            taken.expect("taken").1,
            DrainAnswer { destinations: Vec::new(), released: 1, by_plan: Vec::new() }
        );
    }

    /// rs1 drains by the plan, everywhere.
    fn drained() -> Plan {
        let mut plan = plan();
        for server in &mut plan.virtual_servers {
            let more = evenkeel_schemas::plan::More { drain: true, ..Default::default() };
            server.destinations[0] = server.destinations[0].clone().with(more);
        }
        plan
    }

    #[test]
    fn no_order_undrains_a_destination_that_the_plan_drains() {
        let plan = drained();
        let serving = |_: Position, _: &VirtualServer| Standing::Serving;
        let after = |orders: &DrainOrders, request: &DrainRequest| {
            orders.after(request, Some(&plan), &serving, "now")
        };
        let none = DrainOrders::default();
        let [web, mail] = &plan.virtual_servers[..] else { panic!("two") };
        let by_plan = |limit| Some(DrainOrder { limit, by_plan: true });
        assert_eq!(none.order_for(web, &web.destinations[0]), by_plan(Some(Duration::from_secs(300))));
        assert_eq!(none.order_for(mail, &mail.destinations[0]), by_plan(None));
        assert_eq!(none.order_for(web, &web.destinations[1]), None);
        assert_eq!(none.standing(web, &web.destinations[0], true, Standing::Out), Standing::Out, "it failed");
        match after(&none, &undrain("rs1", None)) {
            Err(Refusal::NotNow(why)) => assert!(why.contains("by the plan, not by an order"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(after(&none, &drain("rs2", None)), Err(Refusal::NotNow(_))), "web would be empty");
        // An order gives it less time. When that is taken back, it drains on.
        let hurried = DrainRequest { timeout: Some("1m".parse().expect("span")), ..drain("rs1", None) };
        let (orders, answer) = after(&none, &hurried).expect("taken");
        assert_eq!((answer.destinations.len(), answer.by_plan.len()), (2, 0));
        assert_eq!(orders.order_for(mail, &mail.destinations[0]), by_plan(Some(Duration::from_secs(60))));
        for request in [undrain("rs1", None), DrainRequest { whom: None, ..undrain("rs1", None) }] {
            let (then, answer) = after(&orders, &request).expect("taken");
            assert_eq!((answer.destinations.len(), answer.by_plan.len(), answer.released), (0, 2, 1));
            assert_eq!(then, none);
        }
    }

    #[test]
    fn a_failed_destination_is_out_whatever_the_orders() {
        let plan = plan();
        let mut orders = DrainOrders::default();
        give(&mut orders, &drain("rs1", None));
        let (server, first, second) = (
            &plan.virtual_servers[0],
            &plan.virtual_servers[0].destinations[0],
            &plan.virtual_servers[0].destinations[1],
        );
        let time = Some(Duration::from_secs(300));
        assert_eq!(orders.standing(server, first, true, Standing::Out), Standing::Out);
        assert_eq!(orders.standing(server, first, true, Standing::Quiet), Standing::Draining(time));
        assert_eq!(orders.standing(server, second, true, Standing::Quiet), Standing::Quiet);
    }
}
