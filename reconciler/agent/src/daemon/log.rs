//! Every log line of the head of the host: a sentence for people, and the facts of it as fields for programs.
//!
//! Operators and scripts search for the sentences, so they stay as they are. Lines of the election keep
//! keepalived's words where an operator would look for them (`(VI_1) Entering MASTER STATE`).
//!
//! Fields: `generation` and `plan` for plans, `router`, `group` and `state` for the election, `service` and
//! `destination` for drains, `check`, `fault` (its label) and `tracker` for health,
//! `operation` for the kernel. A name is the
//! plan's, times are RFC 3339. A reason is in the sentence only.

use std::collections::BTreeMap;
use std::time::Duration;

use evenkeel_converge::{Connections, Draining};
use evenkeel_host::election::StateChange;
use evenkeel_host::event::{
    Effect, ElectionEvent, Event, HealthEvent, KernelEvent, OrderEvent, PlanEvent, ProbationEvent,
};
use evenkeel_host::orders::drains::DrainAction;
use evenkeel_host::orders::routers::Action;
use evenkeel_schemas::plan::Below;
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::RouterState;
use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::Options;

/// Writes an event as a line, or as two for a change of state.
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
            error!(generation, "plan refused: {reason}; generation {generation} stays in force");
        }
        PlanEvent::Refused { reason, stays: None } => error!("plan refused: {reason}; no plan is in force"),
        PlanEvent::InForce { generation, routers, virtual_servers } => {
            info!(generation, routers, virtual_servers, "plan is in force");
        }
        PlanEvent::NoPlan => {
            let plan = options.source.place();
            warn!(%plan, "there is no plan to obey yet: waiting for {plan}");
        }
        PlanEvent::LastGoodInForce { generation } => {
            warn!(generation, "the last good plan, generation {generation}, is put in force");
        }
        PlanEvent::Converged { generation, lacking: 0 } => {
            info!(generation, "converged: generation {generation} is in the kernel");
        }
        PlanEvent::Converged { generation, lacking } => {
            warn!(
                generation,
                lacking, "generation {generation} is in the kernel but for what cannot be made here"
            );
        }
        PlanEvent::NoPart => warn!("no part in the election until everything but the VIPs is in the kernel"),
        PlanEvent::RoutersGiven => debug!("the election gets its routers"),
    }
}

fn probation(event: &ProbationEvent) {
    match event {
        ProbationEvent::GoesOn { generation, until } => {
            info!(generation, %until, "generation {generation} is on probation still, until {until}");
        }
        ProbationEvent::Begins { generation, until, before } => {
            info!(
                generation, %until, %before,
                "generation {generation} is on probation until {until}, then back to {before}"
            );
        }
        ProbationEvent::Over { generation, next } => {
            info!(generation, %next, "the probation of generation {generation} is over: generation {next} \
                comes");
        }
        ProbationEvent::NothingToGoBackTo { generation } => error!(
            generation,
            "the probation of generation {generation} is over: the plan before cannot be read, so there is \
                nothing to go back to"
        ),
        ProbationEvent::NothingBefore { generation } => error!(
            generation,
            "generation {generation} was not confirmed, but there is no last good plan to go back to: it is \
                put in force"
        ),
        ProbationEvent::Confirmed { generation, by } => {
            info!(generation, %by, "generation {generation} is confirmed by {by}");
        }
        ProbationEvent::NotConfirmed { reason } => {
            error!("the plan cannot be kept as the last good one and is not confirmed: {reason}");
        }
        ProbationEvent::RolledBack { generation, to: Some(to), why } => {
            warn!(generation, %to, "generation {generation} is rolled back to {to}: {why}");
        }
        ProbationEvent::RolledBack { generation, to: None, why } => {
            warn!(generation, "generation {generation} is rolled back: {why}");
        }
    }
}

fn order(event: &OrderEvent) {
    match event {
        OrderEvent::Ordered { action, routers } => {
            let (order, routers) = (verb(*action), list(routers));
            info!(%order, %routers, "operator: {order} {routers}");
        }
        OrderEvent::Refused { action, whom, why } => {
            let whom = whom.as_ref().map_or("all", Name::as_str);
            let order = verb(*action);
            warn!(%order, router = %whom, "operator: {order} {whom} is refused: {why}");
        }
        OrderEvent::NotKept { reason } => {
            error!("an order cannot be kept and is not in force: {reason}");
        }
        OrderEvent::Wait { routers } => {
            let routers = list(routers);
            warn!(%routers, "there are orders for routers that are not in the plan: {routers}");
        }
        OrderEvent::DrainOrdered { request, destinations } => {
            let verb = match request.action {
                DrainAction::Drain => "drain",
                DrainAction::Undrain => "undrain",
            };
            let whom = request.whom.as_ref().map_or("all".to_owned(), ToString::to_string);
            let service = request.service.as_ref();
            let place = service.map(|name| format!(" in {name}")).unwrap_or_default();
            let service = service.map(display);
            info!(
                order = %verb,
                destination = %whom,
                service,
                destinations,
                "operator: {verb} {whom}{place}, {destinations} destinations"
            );
        }
        OrderEvent::DrainNotKept { reason } => {
            error!("an order to drain cannot be kept and is not in force: {reason}");
        }
        OrderEvent::DrainOrdersWait { targets } => {
            let targets = targets.join(", ");
            warn!(%targets, "there are orders to drain what is not in the plan: {targets}");
        }
        OrderEvent::DrainBegins(Draining { service, destination, since, deadline, left }) => {
            let until = deadline.map(|deadline| format!(", for at most {:?}", deadline.since(*since)));
            let left = connections(*left);
            let until = until.unwrap_or_default();
            info!(%service, %destination, "{destination} in {service} drains: {left}{until}");
        }
        OrderEvent::DrainEnds(Draining { service, destination, left, .. }) => match left {
            Some(left) if left.is_none() => {
                info!(%service, %destination, "{destination} in {service} has drained");
            }
            left => {
                let left = connections(*left);
                warn!(
                    %service, %destination,
                    "{destination} in {service} has had its time, and goes with {left}"
                );
            }
        },
        OrderEvent::MaintenanceBegins => {
            info!("the plan puts this host into maintenance: it takes no part in elections");
        }
        OrderEvent::MaintenanceOver { routers } => {
            let routers = list(routers);
            info!(%routers, "maintenance: given away {routers}");
        }
        OrderEvent::MaintenanceWaits { labels, reason, again } => {
            let (routers, seconds) = (labels.join(", "), again.as_secs());
            warn!(
                %routers,
                "maintenance waits, {routers} is served here still: {reason}; others are asked again every \
                    {seconds} s"
            );
        }
    }
}

fn election(event: &ElectionEvent) {
    match event {
        ElectionEvent::State(change) => state(change),
        ElectionEvent::StatesDropped { label, changes, seconds } => {
            warn!(
                router = %label,
                changes, "({label}) {changes} more changes of its state in the last {seconds} s"
            );
        }
        ElectionEvent::Router { label, text } => warn!(router = %label, "({label}) {text}"),
        ElectionEvent::Announced(line) => info!("{line}"),
        ElectionEvent::Waits { label, text } => info!(router = %label, "({label}) {text}"),
        ElectionEvent::ConnectionsArrived { router, complete: true } => {
            info!(%router, "({router}) the connections of the Master have arrived: it may take over");
        }
        ElectionEvent::ConnectionsArrived { router, complete: false } => {
            warn!(
                %router,
                "({router}) takes over although connections of the Master still arrive: its time is over"
            );
        }
        ElectionEvent::Stranger { label, address, mac, text } => {
            let mac = mac.as_deref().unwrap_or("unknown");
            warn!(router = %label, %address, mac, "({label}) {text}");
        }
        ElectionEvent::Problem(text) => error!("{text}"),
        ElectionEvent::NoticesLost(lost) => warn!(lost, "{lost} notices of the election were lost"),
        ElectionEvent::LeftToOthers(router) => warn!(
            %router,
            "no part in the election, left to other directors: its VIP or its virtual servers cannot be made \
                here"
        ),
        ElectionEvent::NotLeftToOthers(router) => {
            info!(%router, "no longer left to other directors: its virtual servers can be made");
        }
        ElectionEvent::HooksDropped { subject, changes, dropped } => warn!(
            %subject,
            changes,
            dropped,
            "hooks of {subject} were not told {changes} changes, which came too fast ({dropped} so far): the \
                last state is always \
             told"
        ),
    }
}

/// Two lines, as keepalived has them: the reason, then the state.
fn state(change: &StateChange) {
    let StateChange { label, group, to, fault, priority, why, .. } = change;
    let group = group.as_ref().map(display);
    info!(router = %label, "({label}) {why}");
    match to {
        RouterState::Initialize if *fault => {
            warn!(router = %label, group, priority, state = %"fault", "({label}) Entering FAULT STATE");
        }
        RouterState::Initialize => {
            info!(router = %label, group, priority, state = %"stop", "({label}) sent 0 priority, stopped");
        }
        RouterState::Backup => {
            info!(router = %label, group, priority, state = %"backup", "({label}) Entering BACKUP STATE");
        }
        RouterState::Master => {
            info!(router = %label, group, priority, state = %"master", "({label}) Entering MASTER STATE");
        }
    }
}

fn kernel(event: &KernelEvent) {
    match event {
        KernelEvent::Done(operation) => info!("{operation}"),
        KernelEvent::DoneMany { operations, took } => {
            info!(operations, "{operations} operations done in {took:?}");
        }
        KernelEvent::Drift(line) => warn!("{line}"),
        KernelEvent::Failed { operation, reason } => error!(%operation, "cannot {operation}: {reason}"),
        KernelEvent::InTheWay(object) => warn!("in the way: {object}"),
        KernelEvent::NoLongerInTheWay(object) => info!("no longer in the way: {object}"),
        KernelEvent::WayUnknown(why) => debug!("what is in the way cannot be found out: {why}"),
    }
}

fn health(event: &HealthEvent) {
    match event {
        HealthEvent::CheckUp { whom, effects } if only(effects, Effect::Returns) => {
            info!(check = %whom, "check of {whom} succeeded: destination returns");
        }
        HealthEvent::CheckUp { whom, effects } => {
            let effects = words(effects);
            info!(check = %whom, "check of {whom} succeeded: {effects}");
        }
        HealthEvent::CheckDown { whom, fault, effects } if only(effects, Effect::TakenOut) => {
            let label = fault.label;
            warn!(check = %whom, fault = %label, "check of {whom} failed: {fault}; destination is taken out");
        }
        HealthEvent::CheckDown { whom, fault, effects } => {
            let (label, effects) = (fault.label, words(effects));
            warn!(check = %whom, fault = %label, "check of {whom} failed: {fault}; {effects}");
        }
        HealthEvent::CheckHeld { whom } => {
            info!(check = %whom, "the failure of the check of {whom} is taken back: it was this host's own");
        }
        HealthEvent::OwnFault { link, checks, lowered } => {
            let lowered = lowered.iter().map(|(router, weight)| match weight {
                0 => format!(", the priority of {router} stays"),
                weight => format!(", the priority of {router} is lower by {weight}"),
            });
            let lowered: String = lowered.collect();
            warn!(
                link = %link, checks,
                "own fault: nothing behind {link} answers, as {checks} checks say: verdicts stay{lowered}"
            );
        }
        HealthEvent::OwnFaultOver { link, lasted } => {
            let ms = milliseconds(*lasted);
            info!(
                link = %link, lasted_ms = ms,
                "own fault is over: something behind {link} answers again, after {ms} ms"
            );
        }
        HealthEvent::Silence { news, checks } => warn!(checks, "{news}"),
        HealthEvent::SilenceOver(news) => info!("{news}"),
        HealthEvent::Quorum { service, front, up: true, have, wanted, sorry } => {
            let way =
                sorry.as_ref().map(|sorry| format!("; sorry server {sorry} leaves")).unwrap_or_default();
            info!(
                %service, up = true, have,
                "quorum of {service} ({front}) is there: healthy weight {have}, wanted {wanted}{way}"
            );
        }
        HealthEvent::Quorum { service, front, up: false, have, wanted, sorry } => {
            let way = sorry.as_ref().map(|sorry| format!("; sorry server {sorry} takes its clients"));
            let way = way.unwrap_or_default();
            warn!(
                %service, up = false, have,
                "quorum of {service} ({front}) is lost: healthy weight {have}, wanted {wanted}{way}"
            );
        }
        HealthEvent::Floor { service, front, is_below: true, have, wanted, policy, held } => {
            let effect = match policy {
                Below::Keep => format!("{held} that failed stay in the table"),
                Below::Sorry => "its quorum counts as lost".to_owned(),
                Below::Withdraw => "its virtual router leaves the election".to_owned(),
            };
            warn!(
                %service, have, wanted,
                "{service} ({front}) has {have} healthy real servers, below its floor of {wanted}: {effect}"
            );
        }
        HealthEvent::Floor { service, front, is_below: false, have, wanted, .. } => {
            info!(
                %service, have, wanted,
                "{service} ({front}) has {have} healthy real servers again, and its floor is {wanted}"
            );
        }
        HealthEvent::LoopSilent { silent } => {
            let ms = milliseconds(*silent);
            error!(silent_ms = ms, "the checks have said nothing for {ms} ms, they hang: all verdicts stay");
        }
        HealthEvent::LoopSpeaks { silent } => {
            let ms = milliseconds(*silent);
            warn!(silent_ms = ms, "the checks speak again after {ms} ms");
        }
        HealthEvent::ChecksSpoke { router } => {
            info!(%router, "({router}) its checks have spoken: it may take over");
        }
        HealthEvent::ChecksUnheard { router, left } => {
            warn!(%router, "({router}) takes over without having heard of its checks: {left}");
        }
        HealthEvent::Tracker { name, up: false, turned: true, reason } => {
            warn!(tracker = %name, up = false, "tracker {name} fails: {reason}");
        }
        HealthEvent::Tracker { name, up: true, turned: true, reason } => {
            info!(tracker = %name, up = true, "tracker {name} succeeds: {reason}");
        }
        HealthEvent::Tracker { name, turned: false, reason, up } => {
            info!(tracker = %name, up, "tracker {name}: {reason}");
        }
    }
}

/// Whether a verdict does this to all destinations of its check.
fn only(effects: &BTreeMap<Effect, usize>, effect: Effect) -> bool {
    effects.keys().all(|one| *one == effect)
}

/// What a verdict does to the destinations of its check: `destination stays because of the floor`, or how
/// many of them it does what to.
fn words(effects: &BTreeMap<Effect, usize>) -> String {
    let word = |effect: &Effect| match effect {
        Effect::Returns => "returns",
        Effect::Grows => "returns, its weight grows",
        Effect::Waits => "waits before it returns, as it flaps",
        Effect::StillOut => "stays out, as another check of it fails",
        Effect::TakenOut => "is taken out",
        Effect::Quiesced => "gets no new connections",
        Effect::StaysByFloor => "stays because of the floor",
        Effect::Drains => "drains",
        Effect::Sorry => "makes way, as the sorry server takes its clients",
    };
    let all: usize = effects.values().sum();
    if effects.len() == 1 {
        return effects.keys().map(|effect| format!("destination {}", word(effect))).collect();
    }
    let part =
        |(effect, number): (&Effect, &usize)| format!("{number} of {all} times destination {}", word(effect));
    effects.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn list<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// Connections that are left, for people.
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
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
