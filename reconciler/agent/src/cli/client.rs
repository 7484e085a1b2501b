//! Commands that give orders to a running daemon: `failover`, `hold`, `release`, `confirm`, `rollback`. Each
//! prints the effect.

use std::path::Path;
use std::time::Duration;

use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{RouterOrder, RouterState, RouterStatus, Status};
use tokio::time::{Instant, sleep};

use super::page;
use crate::api::requests::{self, RequestError};
use evenkeel_host::orders::routers::{Action, OrderRequest};
use evenkeel_host::probation;

/// Time for a router to obey.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two requests for its state.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives an order and waits for its effect. Returns the text to print, and whether the order was obeyed.
///
/// # Errors
/// When no daemon answers or the order is refused.
pub(crate) async fn give(
    socket: &Path,
    action: Action,
    router: Option<Name>,
    force: bool,
) -> Result<(String, bool), RequestError> {
    let request = OrderRequest { action, router, force };
    let answer = requests::send_order(socket, &request).await?;
    let deadline = Instant::now() + PATIENCE;
    let obeyed = |router: &RouterStatus| match action {
        Action::Failover => router.state != RouterState::Master && heard(router),
        Action::Hold => router.state == RouterState::Initialize,
        Action::Release => true,
    };
    loop {
        let status = requests::fetch(socket).await?;
        let meant = |router: &&RouterStatus| answer.routers.contains(&router.name);
        let over = Instant::now() >= deadline;
        if over || status.routers.iter().filter(meant).all(obeyed) {
            return Ok(report(action, &answer.routers, &status));
        }
        sleep(PAUSE).await;
    }
}

/// Confirms the plan on probation, or rolls it back and waits until the kernel is as the plan before says.
/// Returns the text to print, and whether the request was carried out.
///
/// # Errors
/// When no daemon answers or the request is refused.
pub(crate) async fn end_probation(
    socket: &Path,
    request: &probation::ProbationRequest,
) -> Result<(String, bool), RequestError> {
    let answer = requests::send_probation(socket, request).await?;
    let short = probation::short(&answer.generation);
    if request.action == probation::ProbationAction::Confirm {
        let text = if answer.already { "was confirmed already" } else { "is confirmed and stays" };
        return Ok((format!("Generation {short} {text}.\n"), true));
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = requests::fetch(socket).await?;
        let in_force = status.plan.generation.as_ref() == Some(&answer.generation);
        let there = status.convergence.converged || status.convergence.ready;
        if in_force && there {
            return Ok((format!("Rolled back: generation {short} is in force.\n"), true));
        }
        if Instant::now() >= deadline {
            let errors = status.convergence.errors.iter();
            let why: Vec<String> =
                errors.map(|e| format!("  cannot {}: {}\n", e.operation, e.reason)).collect();
            let text = format!(
                "Rolled back to generation {short}, but the kernel is not as it says after {PATIENCE:?}.\n{}",
                why.concat()
            );
            return Ok((text, false));
        }
        sleep(PAUSE).await;
    }
}

/// Whether there is nothing more to wait for: a router that takes no part hears nobody.
fn heard(router: &RouterStatus) -> bool {
    router.state == RouterState::Initialize || router.master.is_some()
}

fn report(action: Action, routers: &[Name], status: &Status) -> (String, bool) {
    if routers.is_empty() {
        return ("There were no orders.\n".to_owned(), true);
    }
    let mut page = String::new();
    let mut all = true;
    for name in routers {
        let mut found = status.routers.iter().filter(|router| router.name == *name).peekable();
        if found.peek().is_none() {
            page += &format!("{name}: {}\n", left(action));
        }
        for router in found {
            let (text, done) = one(action, router);
            page += &format!("{}: {text}\n", page::label(router, &status.routers));
            all &= done;
        }
    }
    (page, all)
}

const fn left(action: Action) -> &'static str {
    match action {
        Action::Failover | Action::Hold => "the order is kept; the election does not have this router yet",
        Action::Release => "released; it is not in the plan",
    }
}

fn one(action: Action, router: &RouterStatus) -> (String, bool) {
    let state = router.state;
    let master = match (&router.master, state) {
        (_, RouterState::Master) => "this host is Master".to_owned(),
        (Some(master), _) => format!("Master is {master}"),
        (None, _) => "no Master was heard yet".to_owned(),
    };
    let by_plan = router.order == Some(RouterOrder::Maintenance);
    match (action, state) {
        (Action::Release, RouterState::Initialize) if by_plan => (
            "takes no part, since this host's plan says `maintenance = true`: no order ends that. Remove it \
                from the cluster file and \
             apply that"
                .to_owned(),
            true,
        ),
        (Action::Hold, RouterState::Initialize) if by_plan => (
            format!(
                "takes no part, as the plan says; held beyond that until `evenkeeld release {}`",
                router.name
            ),
            true,
        ),
        (Action::Failover, RouterState::Backup) => (format!("handed over: Backup, {master}"), true),
        (Action::Failover, RouterState::Master) => (
            format!("still Master after {PATIENCE:?}: nobody else may have taken over ({})", router.reason),
            false,
        ),
        (Action::Failover, RouterState::Initialize) => {
            (format!("takes no part ({}), and will yield when it does", router.reason), true)
        }
        (Action::Hold, RouterState::Initialize) => {
            (format!("held: takes no part until `evenkeeld release {}`", router.name), true)
        }
        (Action::Hold, _) => (format!("still {state} after {PATIENCE:?} ({})", router.reason), false),
        (Action::Release, _) => (format!("released: {state}, {master}"), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(state: RouterState, master: Option<&str>) -> RouterStatus {
        RouterStatus {
            waits_for: None,
            name: "VI_1".parse().expect("name"),
            interface: "eth0".to_owned(),
            version: 3,
            vrid: 51,
            family: 4,
            priority: 100,
            base_priority: 100,
            sync_group: None,
            order: None,
            state,
            reason: "why".to_owned(),
            since: None,
            master: master.map(str::to_owned),
            other_heard: None,
            vips: Vec::new(),
            counters: evenkeel_schemas::status::RouterCounters::default(),
            strangers: Vec::new(),
        }
    }

    #[test]
    fn the_effect_of_an_order_is_printed() {
        let say = |action, state, master| one(action, &router(state, master));
        assert_eq!(
            say(Action::Failover, RouterState::Backup, Some("192.0.2.2")),
            ("handed over: Backup, Master is 192.0.2.2".to_owned(), true)
        );
        let (text, done) = say(Action::Failover, RouterState::Master, Some("192.0.2.1"));
        assert!(!done && text.starts_with("still Master after 5s"), "{text}");
        assert!(!heard(&router(RouterState::Backup, None)), "the new Master is waited for");
        let (text, done) = say(Action::Hold, RouterState::Initialize, None);
        assert!(done && text.contains("`evenkeeld release VI_1`"), "{text}");
        assert!(!say(Action::Hold, RouterState::Backup, None).1);
        assert!(say(Action::Release, RouterState::Backup, Some("192.0.2.2")).1);
        let out =
            RouterStatus { order: Some(RouterOrder::Maintenance), ..router(RouterState::Initialize, None) };
        let (text, done) = one(Action::Release, &out);
        assert!(done && text.contains("this host's plan says `maintenance = true`"), "{text}");
        assert!(one(Action::Hold, &out).0.contains("held beyond that until `evenkeeld release VI_1`"));
    }
}
