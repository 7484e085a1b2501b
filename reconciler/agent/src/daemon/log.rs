//! Every log line of the head of the host: what happened as a sentence for people, the facts beside it as fields.
//!
//! Lines of the election keep keepalived's words where an operator would look for them (`(VI_1) Entering MASTER STATE`).

use evenkeel_converge::{Connections, Draining};
use evenkeel_host::election::StateChange;
use evenkeel_host::event::{
    ElectionEvent, Event, HealthEvent, KernelEvent, OrderEvent, PlanEvent, ProbationEvent,
};
use evenkeel_host::orders::drains::DrainAction;
use evenkeel_host::orders::routers::Action;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterState;
use tracing::{debug, error, info, warn};

use super::Options;

/// Writes what happened.
pub(super) fn write(event: &Event, options: &Options) {
    match event {
        Event::Plan(event) => plan(event, options),
        Event::Probation(event) => probation(event),
        Event::Order(event) => order(event),
        Event::Election(event) => election(event),
        Event::Kernel(event) => kernel(event),
        Event::Health(event) => health(event),
    }
}

fn plan(event: &PlanEvent, options: &Options) {
    match event {
        PlanEvent::Refused { reason, stays: Some(generation) } => {
            error!("plan refused: {reason}; generation {generation} stays in force");
        }
        PlanEvent::Refused { reason, stays: None } => error!("plan refused: {reason}; no plan is in force"),
        PlanEvent::InForce { generation, routers, virtual_servers } => {
            info!(generation, routers, virtual_servers, "plan is in force");
        }
        PlanEvent::NoPlan => warn!("there is no plan to obey yet: waiting for {}", options.source().place()),
        PlanEvent::LastGoodInForce { generation } => {
            warn!("the last good plan, generation {generation}, is put in force");
        }
        PlanEvent::Converged { generation, lacking: 0 } => {
            info!("converged: generation {generation} is in the kernel");
        }
        PlanEvent::Converged { generation, lacking } => {
            warn!(lacking, "generation {generation} is in the kernel but for what cannot be made here");
        }
        PlanEvent::NoPart => warn!("no part in the election until everything but the VIPs is in the kernel"),
        PlanEvent::RoutersGiven => debug!("the election gets its routers"),
    }
}

fn probation(event: &ProbationEvent) {
    match event {
        ProbationEvent::GoesOn { generation, until } => {
            info!("generation {generation} is on probation still, until {until}");
        }
        ProbationEvent::Begins { generation, until, before } => {
            info!("generation {generation} is on probation until {until}, then back to {before}");
        }
        ProbationEvent::Over { generation, next } => {
            info!("the probation of generation {generation} is over: generation {next} comes");
        }
        ProbationEvent::NothingToGoBackTo { generation } => error!(
            "the probation of generation {generation} is over: the plan before cannot be read, so there is nothing to go back to"
        ),
        ProbationEvent::NothingBefore { generation } => error!(
            "generation {generation} was not confirmed, but there is no last good plan to go back to: it is put in force"
        ),
        ProbationEvent::Confirmed { generation, by } => info!("generation {generation} is confirmed by {by}"),
        ProbationEvent::NotConfirmed { reason } => {
            error!("the plan cannot be kept as the last good one and is not confirmed: {reason}");
        }
        ProbationEvent::RolledBack { generation, to: Some(to), why } => {
            warn!("generation {generation} is rolled back to {to}: {why}");
        }
        ProbationEvent::RolledBack { generation, to: None, why } => {
            warn!("generation {generation} is rolled back: {why}");
        }
    }
}

fn order(event: &OrderEvent) {
    match event {
        OrderEvent::Ordered { action, routers } => {
            info!("operator: {} {}", verb(*action), list(routers));
        }
        OrderEvent::Refused { action, whom, why } => {
            let whom = whom.as_ref().map_or("all", Name::as_str);
            warn!("operator: {} {whom} is refused: {why}", verb(*action));
        }
        OrderEvent::NotKept { reason } => {
            error!("an order cannot be kept and is not in force: {reason}");
        }
        OrderEvent::Wait { routers } => {
            warn!("there are orders for routers that are not in the plan: {}", list(routers));
        }
        OrderEvent::DrainOrdered { request, destinations } => {
            let verb = match request.action {
                DrainAction::Drain => "drain",
                DrainAction::Undrain => "undrain",
            };
            let whom = request.whom.as_ref().map_or("all".to_owned(), ToString::to_string);
            let place = request.service.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            info!("operator: {verb} {whom}{place}, {destinations} destinations");
        }
        OrderEvent::DrainNotKept { reason } => {
            error!("an order to drain cannot be kept and is not in force: {reason}");
        }
        OrderEvent::DrainOrdersWait { targets } => {
            warn!("there are orders to drain what is not in the plan: {}", targets.join(", "));
        }
        OrderEvent::DrainBegins(Draining { service, destination, since, deadline, left }) => {
            let until = deadline.map(|deadline| format!(", for at most {:?}", deadline.since(*since)));
            let left = connections(*left);
            info!("{destination} in {service} drains: {left}{}", until.unwrap_or_default());
        }
        OrderEvent::DrainEnds(Draining { service, destination, left, .. }) => match left {
            Some(left) if left.is_none() => info!("{destination} in {service} has drained"),
            left => {
                warn!("{destination} in {service} has had its time, and goes with {}", connections(*left));
            }
        },
        OrderEvent::MaintenanceBegins => {
            info!("the plan puts this host into maintenance: it takes no part in elections");
        }
        OrderEvent::MaintenanceOver { routers } => info!("maintenance: given away {}", list(routers)),
        OrderEvent::MaintenanceWaits { labels, reason, again } => warn!(
            "maintenance waits, {} is served here still: {reason}; others are asked again every {} s",
            labels.join(", "),
            again.as_secs()
        ),
    }
}

fn election(event: &ElectionEvent) {
    match event {
        ElectionEvent::State(StateChange { label, to, why, fault, .. }) => {
            info!("({label}) {why}");
            match to {
                RouterState::Initialize if *fault => warn!("({label}) Entering FAULT STATE"),
                RouterState::Initialize => info!("({label}) sent 0 priority, stopped"),
                RouterState::Backup => info!("({label}) Entering BACKUP STATE"),
                RouterState::Master => info!("({label}) Entering MASTER STATE"),
            }
        }
        ElectionEvent::StatesDropped { label, changes, seconds } => {
            warn!("({label}) {changes} more changes of its state in the last {seconds} s");
        }
        ElectionEvent::Router { label, text } => warn!("({label}) {text}"),
        ElectionEvent::Announced(line) => info!("{line}"),
        ElectionEvent::Waits { label, text } => info!("({label}) {text}"),
        ElectionEvent::Stranger { label, address, mac, text } => {
            let mac = mac.as_deref().unwrap_or("unknown");
            warn!(router = label, %address, mac, "({label}) {text}");
        }
        ElectionEvent::Problem(text) => error!("{text}"),
        ElectionEvent::NoticesLost(lost) => warn!("{lost} notices of the election were lost"),
        ElectionEvent::LeftToOthers(router) => warn!(
            %router,
            "no part in the election, left to other directors: its VIP or its virtual servers cannot be made here"
        ),
        ElectionEvent::NotLeftToOthers(router) => {
            info!(%router, "no longer left to other directors: its virtual servers can be made");
        }
        ElectionEvent::HooksDropped { subject, changes, dropped } => warn!(
            "hooks of {subject} were not told {changes} changes, which came too fast ({dropped} so far): the last state is always \
             told"
        ),
    }
}

fn kernel(event: &KernelEvent) {
    match event {
        KernelEvent::Done(operation) => info!("{operation}"),
        KernelEvent::DoneMany { operations, took } => info!("{operations} operations done in {took:?}"),
        KernelEvent::Drift(line) => warn!("{line}"),
        KernelEvent::Failed { operation, reason } => error!("cannot {operation}: {reason}"),
        KernelEvent::InTheWay(object) => warn!("in the way: {object}"),
        KernelEvent::NoLongerInTheWay(object) => info!("no longer in the way: {object}"),
        KernelEvent::WayUnknown(why) => debug!("what is in the way cannot be found out: {why}"),
    }
}

fn health(event: &HealthEvent) {
    match event {
        HealthEvent::CheckUp { whom } => info!("check of {whom} succeeded: destination returns"),
        HealthEvent::CheckDown { whom, reason } => {
            warn!("check of {whom} failed: {reason}; destination is taken out");
        }
        HealthEvent::Silence { news, checks } => warn!(checks, "{news}"),
        HealthEvent::SilenceOver(news) => info!("{news}"),
        HealthEvent::ChecksSpoke { router } => info!("({router}) its checks have spoken: it may take over"),
        HealthEvent::ChecksUnheard { router, left } => {
            warn!("({router}) takes over without having heard of its checks: {left}");
        }
        HealthEvent::Tracker { name, up: false, turned: true, reason } => {
            warn!("tracker {name} fails: {reason}");
        }
        HealthEvent::Tracker { name, up: true, turned: true, reason } => {
            info!("tracker {name} succeeds: {reason}");
        }
        HealthEvent::Tracker { name, turned: false, reason, .. } => info!("tracker {name}: {reason}"),
    }
}

fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn connections(left: Option<Connections>) -> String {
    left.map_or("an unknown number of connections".to_owned(), |left| {
        let Connections { active, inactive, persistent } = left;
        let bound = if persistent > 0 { format!(", {persistent} persistent clients") } else { String::new() };
        format!("{active} active and {inactive} inactive connections{bound}")
    })
}

const fn verb(action: Action) -> &'static str {
    match action {
        Action::Failover => "failover of",
        Action::Hold => "hold",
        Action::Release => "release",
    }
}
