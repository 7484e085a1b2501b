//! Standing orders for virtual routers. Values only: kept in the state directory by `state`, obeyed by the
//! election.
//!
//! An order is kept under the names of the routers that it was given to, and holds for all that move with
//! them: the routers of a sync group, and both families of one name. Of two orders in a group the stricter
//! holds. Orders for routers that are not in the plan are kept: the routers may come back.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::{Name, Priority};
use evenkeel_schemas::status::{OrderStatus, RouterOrder};
use evenkeel_schemas::time::MonoTime;
use serde::{Deserialize, Serialize};

use crate::election::Unanswered;
use crate::maintenance::Maintenance;
use crate::orders::Refusal;
use crate::units::unit;

/// Most letters that an unknown name may differ in from the one suggested.
const NEAR: usize = 3;
/// Most orders that are kept: more than a host can have routers.
const MAX_ORDERS: usize = 10_000;

/// Most routers named in a sentence.
const MAX_NAMED: usize = 20;

/// Action of an order for virtual routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Hand over, and become Master only when no other director is.
    Failover,
    /// Take no part.
    Hold,
    /// Back to what the plan says.
    Release,
}

/// A request for an order: the body of `POST /orders`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// Action of the order.
    pub action: Action,
    /// Name of a virtual router or sync group; absent: all of this host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Name>,
    /// Whether the order is carried out even if no other director answers when it is asked to take over.
    #[serde(default)]
    pub force: bool,
}

impl OrderRequest {
    /// Whether the order may leave nobody serving, so that other directors have to be asked first.
    pub const fn needs_another(&self) -> bool {
        match self.action {
            Action::Failover | Action::Hold => !self.force,
            Action::Release => false,
        }
    }
}

/// Effect of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAnswer {
    /// Routers that obey, by name.
    pub routers: Vec<Name>,
}

/// Refusal to take routers out: no other director of theirs was heard. `wall` turns a time into text for
/// people; `started` is the start of this daemon. None when every router was answered for.
pub fn alone(
    action: Action,
    unanswered: &[Unanswered],
    now: MonoTime,
    started: MonoTime,
    wall: impl Fn(MonoTime) -> String,
) -> Option<Refusal> {
    let heard = unheard(unanswered, now, started, wall)?;
    let anyway = match action {
        Action::Hold | Action::Release => "--force holds it all the same, and nobody serves then",
        Action::Failover => "--force tries it all the same, with a gap while nobody claims",
    };
    Some(Refusal::NotNow(format!("{heard}; nothing was changed; {anyway}")))
}

/// Sentence that no other director of these routers was heard, and since when; none when the list is empty.
pub fn unheard(
    unanswered: &[Unanswered],
    now: MonoTime,
    started: MonoTime,
    wall: impl Fn(MonoTime) -> String,
) -> Option<String> {
    let first = unanswered.first()?;
    let names: Vec<&str> = unanswered.iter().take(MAX_NAMED).map(|one| one.label.as_str()).collect();
    let more = unanswered.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let asked =
        if first.master { "when it was asked to take over" } else { "when this host, a Backup, listened" };
    let since = |at: MonoTime| format!("for {} s, since {}", now.since(at).as_secs(), wall(at));
    let heard = match unanswered.iter().map(|one| one.heard).max().flatten() {
        Some(heard) => format!("not {}", since(heard)),
        None => format!("never while this daemon runs, {}", since(started)),
    };
    Some(format!(
        "no other director of {}{more} was heard within {:.1} s {asked}, and {heard}",
        names.join(", "),
        first.waited.as_secs_f64()
    ))
}

/// An order that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Given {
    order: RouterOrder,
    /// Time when the order was given, RFC 3339.
    since: String,
}

/// All orders of a host, by router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Orders {
    given: BTreeMap<Name, Given>,
}

impl Orders {
    /// The orders after a request, and the routers that it concerns.
    ///
    /// # Errors
    /// When there is no plan, or no such router in it.
    pub fn after(
        &self,
        request: &OrderRequest,
        plan: Option<&Plan>,
        since: &str,
    ) -> Result<(Self, BTreeSet<Name>), Refusal> {
        let release = request.action == Action::Release;
        let routers = match (&request.router, plan) {
            // Orders for routers that have left the plan are released with the others: nothing else would
            // remove them.
            (None, _) if release => {
                let named = plan.into_iter().flat_map(|plan| &plan.routers).map(|router| router.name.clone());
                named.chain(self.given.keys().cloned()).collect()
            }
            (_, None) => {
                return Err(Refusal::NotNow("no plan is in force: there are no virtual routers".to_owned()));
            }
            (None, Some(plan)) => plan.routers.iter().map(|router| router.name.clone()).collect(),
            (Some(name), Some(plan)) => {
                let mut unit = unit(plan, name);
                if release && self.given.contains_key(name) {
                    unit.insert(name.clone());
                }
                if unit.is_empty() {
                    return Err(Refusal::Unknown(self.unknown(name, plan, release)));
                }
                unit
            }
        };
        if routers.is_empty() && !release {
            return Err(Refusal::Unknown("this host has no virtual routers".to_owned()));
        }
        // The owner of an address has priority 255 and answers for it whatever the election says.
        let owned = plan
            .into_iter()
            .flat_map(|plan| &plan.routers)
            .find(|router| !release && router.priority == Priority::OWNER && routers.contains(&router.name));
        if let Some(router) = owned {
            return Err(Refusal::NotNow(format!(
                "this host owns the VIPs of {}: they are its own addresses, and would be on two hosts; lower \
                    its priority \
                 below 255 or take it off the segment",
                router.name
            )));
        }
        let order = match request.action {
            Action::Failover => Some(RouterOrder::Yield),
            Action::Hold => Some(RouterOrder::Hold),
            Action::Release => None,
        };
        let mut after = self.clone();
        for name in &routers {
            match order {
                Some(order) => {
                    after.given.insert(name.clone(), Given { order, since: since.to_owned() });
                }
                None => drop(after.given.remove(name)),
            }
        }
        if after.given.len() > MAX_ORDERS {
            let text = format!("over {MAX_ORDERS} orders: release those of routers that are gone with --all");
            return Err(Refusal::NotNow(text));
        }
        Ok((after, routers))
    }

    fn unknown(&self, name: &Name, plan: &Plan, release: bool) -> String {
        let routers = plan.routers.iter().flat_map(|router| [Some(&router.name), router.sync_group.as_ref()]);
        let given = self.given.keys().filter(|_| release);
        let known: BTreeSet<&Name> = routers.flatten().chain(given).collect();
        let near = nearest(name.as_str(), known.iter().map(|known| known.as_str()));
        match near {
            Some(near) => format!("there is no virtual router {name}; did you mean {near}?"),
            None if known.is_empty() => "this host has no virtual routers".to_owned(),
            None => {
                let known: Vec<&str> = known.into_iter().take(20).map(Name::as_str).collect();
                format!("there is no virtual router {name}; this host has {}", known.join(", "))
            }
        }
    }

    /// Orders that the routers of these plans obey. Where two plans have a router, the last one decides which
    /// others it moves with, and whether it is in maintenance.
    pub fn in_force<'a>(
        &self,
        maintenance: &Maintenance,
        plans: impl IntoIterator<Item = &'a Plan>,
    ) -> BTreeMap<Name, RouterOrder> {
        let mut in_force = BTreeMap::new();
        for plan in plans {
            for router in &plan.routers {
                let orders = unit(plan, &router.name).into_iter();
                let orders = orders.filter_map(|name| self.given.get(&name).map(|given| given.order));
                let of_plan = maintenance.keeps_out(plan, &router.name).then_some(RouterOrder::Maintenance);
                match of_plan.or_else(|| orders.reduce(stricter)) {
                    Some(order) => drop(in_force.insert(router.name.clone(), order)),
                    None => drop(in_force.remove(&router.name)),
                }
            }
        }
        in_force
    }

    /// Whether one of these routers has an order to yield.
    pub fn any_yields(&self, routers: &BTreeSet<Name>) -> bool {
        routers.iter().any(|name| self.given.get(name).is_some_and(|given| given.order == RouterOrder::Yield))
    }

    /// The orders without those for these routers.
    pub fn without(&self, routers: &BTreeSet<Name>) -> Self {
        let mut without = self.clone();
        without.given.retain(|name, _| !routers.contains(name));
        without
    }

    /// Status of all orders; `plan` says whether each router is in it.
    pub fn status(&self, plan: Option<&Plan>) -> Vec<OrderStatus> {
        let given = self.given.iter();
        given
            .map(|(router, given)| OrderStatus {
                router: router.clone(),
                order: given.order,
                since: given.since.clone(),
                in_plan: plan.is_some_and(|plan| plan.routers.iter().any(|r| r.name == *router)),
            })
            .collect()
    }
}

/// The known name that an unknown one may stand for; none when all are too far.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &str| strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase());
    let near = known.map(|known| (distance(known), known));
    near.filter(|(distance, _)| *distance <= NEAR.min(name.len() / 2)).min().map(|(_, known)| known)
}

const fn stricter(a: RouterOrder, b: RouterOrder) -> RouterOrder {
    match (a, b) {
        (RouterOrder::Yield, RouterOrder::Yield) => RouterOrder::Yield,
        _ => RouterOrder::Hold,
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("name")
    }

    fn names(all: &[&str]) -> BTreeSet<Name> {
        all.iter().copied().map(name).collect()
    }

    fn plan(routers: &[(&str, Option<&str>)]) -> Plan {
        let mut text = PlanText::of("h").text();
        for (n, (name, group)) in routers.iter().enumerate() {
            let group = group.map(|group| format!("sync_group = \"{group}\"\n")).unwrap_or_default();
            text += &format!(
                "[[router]]\nname = \"{name}\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
                 vrid = {}\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
                 garp_delay = \"0s\"\nvips = [\"192.0.2.9/32\"]\n{group}",
                n + 1
            );
        }
        toml::from_str(&text).expect("plan")
    }

    fn give(orders: &mut Orders, plan: &Plan, action: Action, router: Option<&str>) -> BTreeSet<Name> {
        let request = OrderRequest { action, router: router.map(name), force: false };
        let (after, routers) = orders.after(&request, Some(plan), "now").expect("taken");
        *orders = after;
        routers
    }

    #[test]
    fn an_order_is_for_all_that_move_together_and_survives_plans() {
        use RouterOrder::{Hold, Yield};
        let grouped =
            plan(&[("a", Some("G")), ("b", Some("G")), ("c", None), ("d", Some("d")), ("d", Some("d"))]);
        let mut orders = Orders::default();
        assert_eq!(give(&mut orders, &grouped, Action::Hold, Some("b")), names(&["a", "b"]));
        assert_eq!(give(&mut orders, &grouped, Action::Failover, Some("d")), names(&["d"]));
        let expected: BTreeMap<Name, RouterOrder> =
            [(name("a"), Hold), (name("b"), Hold), (name("d"), Yield)].into();
        assert_eq!(orders.in_force(&Maintenance::default(), [&grouped]), expected);
        // A router that joins obeys, too; of two orders the stricter holds.
        let joined = plan(&[("b", Some("G")), ("d", Some("G")), ("new", Some("G"))]);
        let expected: BTreeMap<Name, RouterOrder> =
            [(name("b"), Hold), (name("d"), Hold), (name("new"), Hold)].into();
        assert_eq!(orders.in_force(&Maintenance::default(), [&joined]), expected);
        let both: Vec<Name> =
            orders.in_force(&Maintenance::default(), [&grouped, &joined]).into_keys().collect();
        assert_eq!(both, ["a", "b", "d", "new"].map(name), "a is still in the election");
        let stale: Vec<Name> =
            orders.status(Some(&joined)).into_iter().filter(|o| !o.in_plan).map(|o| o.router).collect();
        assert_eq!(stale, [name("a")]);
        let restored: Orders =
            serde_json::from_str(&serde_json::to_string(&orders).expect("JSON")).expect("orders");
        assert_eq!(restored, orders);
        assert_eq!(give(&mut orders, &grouped, Action::Release, Some("G")), names(&["a", "b"]));
        assert_eq!(orders.in_force(&Maintenance::default(), [&grouped]), [(name("d"), Yield)].into());
        assert_eq!(
            give(&mut orders, &plan(&[]), Action::Release, Some("d")),
            names(&["d"]),
            "it left the plan"
        );
        assert_eq!(orders, Orders::default());
        give(&mut orders, &grouped, Action::Hold, None);
        assert_eq!(orders.in_force(&Maintenance::default(), [&grouped]).len(), 4);
        give(&mut orders, &plan(&[]), Action::Release, None);
        assert_eq!(orders, Orders::default());
    }

    #[test]
    fn an_unknown_router_is_refused_with_the_nearest_name() {
        let plan = plan(&[("VI_1", Some("front")), ("VI_web", None)]);
        let refuse = |router: &str| {
            let request = OrderRequest { action: Action::Hold, router: Some(name(router)), force: false };
            match Orders::default().after(&request, Some(&plan), "now") {
                Err(Refusal::Unknown(text)) => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refuse("vi_2"), "there is no virtual router vi_2; did you mean VI_1?");
        assert_eq!(refuse("frnt"), "there is no virtual router frnt; did you mean front?");
        assert_eq!(refuse("x"), "there is no virtual router x; this host has VI_1, VI_web, front");
        let request = OrderRequest { action: Action::Hold, router: Some(name("VI_1")), force: false };
        assert!(matches!(Orders::default().after(&request, None, "now"), Err(Refusal::NotNow(_))));
    }

    #[test]
    fn a_refusal_says_for_how_long_no_other_director_was_heard() {
        let at = |seconds: u64| MonoTime::from_millis(seconds * 1000);
        let one = |label: &str, heard| Unanswered {
            router: name("VI_1"),
            label: label.to_owned(),
            master: true,
            waited: std::time::Duration::from_millis(2004),
            heard,
        };
        let say = |action, unanswered: &[Unanswered]| {
            let refusal = alone(action, unanswered, at(500), at(100), |at| {
                format!("T{}", at.as_nanos() / 1_000_000_000)
            });
            refusal.map(|refusal| match refusal {
                Refusal::NotNow(text) => text,
                Refusal::Unknown(text) => panic!("{text}"),
            })
        };
        assert_eq!(say(Action::Hold, &[]), None);
        assert_eq!(
            say(Action::Hold, &[one("VI_1", None)]).as_deref(),
            Some(
                "no other director of VI_1 was heard within 2.0 s when it was asked to take over, and never \
                 while this daemon runs, for 400 s, since T100; nothing was changed; --force holds it all \
                 the same, and nobody serves then"
            )
        );
        let text = say(Action::Failover, &[one("VI_1 IPv4", None), one("VI_1 IPv6", Some(at(440)))])
            .expect("refused");
        assert!(
            text.contains("of VI_1 IPv4, VI_1 IPv6 was") && text.contains("and not for 60 s, since T440;"),
            "{text}"
        );
        let asks = |action, force| OrderRequest { action, router: None, force }.needs_another();
        assert!(asks(Action::Hold, false) && asks(Action::Failover, false));
        assert!(!asks(Action::Hold, true) && !asks(Action::Release, false));
    }
}
