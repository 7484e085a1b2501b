//! `drain` and `undrain`: orders for destinations, given to the running daemon, and their effect.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evenkeel_schemas::scalars::{Name, ScalarError, Span};
use evenkeel_schemas::status::{DrainState, DrainStatus, Status};
use tokio::time::{Instant, sleep};

use super::error::CommandError;
use super::{Socket, host_name, runtime};
use crate::api::requests::{self, RequestError};
use crate::cli::page::counted;
use crate::system::out;
use evenkeel_host::orders::drains::{Affected, DrainAction, DrainAnswer, DrainRequest, Whom};

pub(super) const DRAIN_EXAMPLES: &str = "\
Examples:
  evenkeeld drain rs1                     rs1 gets no new connections, in no virtual server of this director
  evenkeeld drain rs1 --timeout 10m       and its connections have ten minutes to end
  evenkeeld drain 192.0.2.7 --service web  what has this address, in web only
  evenkeeld drain rs1 --wait              come back when rs1 has nothing left to do
  evenkeeld undrain rs1                   afterwards: as the plan says again

A host that is to be free of connections is drained on every director.";
pub(super) const UNDRAIN_EXAMPLES: &str = "\
Examples:
  evenkeeld undrain rs1                   as it was told to drain
  evenkeeld undrain rs1 --service web     what was told for web only
  evenkeeld undrain --all                 all, what is told of hosts that left the plan included";

/// Time for a daemon to carry out an order.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two requests for its state.
const PAUSE: Duration = Duration::from_millis(100);
/// The same while connections end by themselves.
const LONG_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// Name of a host in the cluster file, or address of a real server
    #[arg(value_name = "HOST|ADDRESS")]
    whom: Whom,
    #[command(flatten)]
    services: Services,
    /// How long connections may go on [default: `drain` of the virtual server, or else until they end]
    #[arg(long, value_name = "TIME", value_parser = span)]
    timeout: Option<Span>,
    /// Even if a virtual server is left with no destination that serves
    #[arg(long)]
    force: bool,
    /// Wait until no connection is left, or its time is over
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct Services {
    /// In this virtual server only
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    service: Option<Name>,
    /// In all virtual servers of this director (the default)
    #[arg(long)]
    all_services: bool,
}

#[derive(Debug, Args)]
pub(super) struct Undrain {
    #[command(flatten)]
    which: DrainChoice,
    /// What was told for this virtual server only
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    service: Option<Name>,
    #[command(flatten)]
    socket: Socket,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct DrainChoice {
    /// What was told to drain: name of a host, or address
    #[arg(value_name = "HOST|ADDRESS")]
    whom: Option<Whom>,
    /// Everything that was told to drain
    #[arg(long)]
    all: bool,
}

fn span(text: &str) -> Result<Span, ScalarError> {
    text.parse()
}

impl Drain {
    /// Gives the order and prints its effect.
    ///
    /// # Errors
    /// When no daemon answers or the order is refused.
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let request = DrainRequest {
            action: DrainAction::Drain,
            whom: Some(self.whom),
            service: self.services.service,
            timeout: self.timeout,
            force: self.force,
        };
        give(&request, &self.socket, self.wait)
    }
}

impl Undrain {
    /// Takes orders back and prints the effect.
    ///
    /// # Errors
    /// When no daemon answers or there is no such order.
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let request = DrainRequest {
            action: DrainAction::Undrain,
            whom: self.which.whom,
            service: self.service,
            timeout: None,
            force: false,
        };
        give(&request, &self.socket, false)
    }
}

fn give(request: &DrainRequest, socket: &Socket, wait: bool) -> Result<ExitCode, CommandError> {
    let (text, done) = runtime()?.block_on(carry_out(request, socket, wait))?;
    out::print(text)?;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn carry_out(
    request: &DrainRequest,
    socket: &Socket,
    wait: bool,
) -> Result<(String, bool), RequestError> {
    let answer = requests::send_drain(&socket.socket, request).await?;
    let affected: BTreeSet<(&str, &str)> =
        answer.destinations.iter().map(|one| (one.service.as_str(), one.address.as_str())).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = requests::fetch(&socket.socket).await?;
        let drains = drains(&status, &affected);
        let carried_out = drains.iter().all(|(_, drain)| match request.action {
            DrainAction::Drain => drain.is_none_or(|drain| !is_coming(drain)),
            DrainAction::Undrain => true,
        }) && (status.convergence.converged || status.convergence.ready);
        let over = !wait
            || drains.iter().all(|(_, drain)| drain.is_none_or(|drain| drain.state == DrainState::Drained));
        let late = Instant::now() >= deadline;
        if (carried_out && over) || (late && !carried_out) {
            return Ok((report(request, &answer, &drains), carried_out));
        }
        sleep(if carried_out { LONG_PAUSE } else { PAUSE }).await;
    }
}

/// Whether the kernel does not have its weight yet.
const fn is_coming(drain: &DrainStatus) -> bool {
    matches!(drain.state, DrainState::Draining) && drain.since.is_none()
}

type Drains<'a> = Vec<((&'a str, &'a str), Option<&'a DrainStatus>)>;

fn drains<'a>(status: &'a Status, affected: &BTreeSet<(&str, &str)>) -> Drains<'a> {
    let all = status.virtual_servers.iter().flat_map(|server| {
        let one = |destination: &'a evenkeel_schemas::status::DestinationStatus| {
            ((server.name.as_str(), destination.address.as_str()), destination.drain.as_ref())
        };
        server.destinations.iter().map(one)
    });
    all.filter(|(name, _)| affected.contains(name)).collect()
}

fn report(request: &DrainRequest, answer: &DrainAnswer, drains: &Drains<'_>) -> String {
    let mut page = String::new();
    for Affected { service, host, address } in &answer.destinations {
        let name = (service.as_str(), address.as_str());
        let drain = drains.iter().find(|(found, _)| *found == name).and_then(|(_, drain)| *drain);
        let what = match (request.action, drain) {
            (_, Some(drain)) => describe(drain),
            (DrainAction::Drain, None) => "is not told to drain any more".to_owned(),
            (DrainAction::Undrain, None) => "as the plan says again".to_owned(),
        };
        writeln!(page, "{host} {address} in {service}: {what}").ok();
    }
    for Affected { service, host, address } in &answer.by_plan {
        writeln!(page, "{host} {address} in {service}: drains on, as the plan says").ok();
    }
    match request.action {
        DrainAction::Undrain if !answer.by_plan.is_empty() => {
            page += "What the plan drains serves again when `drain = true` of the host leaves the cluster \
                file and that is applied.\n";
        }
        DrainAction::Undrain if answer.released == 0 => page += "Nothing was told to drain.\n",
        DrainAction::Undrain if answer.destinations.is_empty() => {
            page += "Taken back; no destination of the plan was concerned.\n";
        }
        DrainAction::Undrain => {}
        DrainAction::Drain => {
            let whom = request.whom.as_ref().map(ToString::to_string).unwrap_or_default();
            let place = request.service.as_ref().map(|name| format!(" --service {name}")).unwrap_or_default();
            writeln!(page, "It stays so until `evenkeeld undrain {whom}{place}`.").ok();
        }
    }
    page
}

fn describe(drain: &DrainStatus) -> String {
    match (drain.state, &drain.left, &drain.deadline) {
        (DrainState::Drained, _, _) => "drained, out of the table".to_owned(),
        (DrainState::Draining, left, deadline) => {
            let left = left.as_ref().map_or("its connections are not known".to_owned(), counted);
            let until = deadline.as_ref().map_or("until they end".to_owned(), |at| format!("until {at}"));
            format!("drains, {left}, {until}")
        }
    }
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::status::ConnectionCounts;

    use super::*;

    #[test]
    fn the_effect_of_an_order_is_printed() {
        let affected = |address: &str| Affected {
            service: "web".parse().expect("name"),
            host: "rs1".parse().expect("name"),
            address: address.to_owned(),
        };
        let answer = DrainAnswer {
            destinations: ["192.0.2.1:80", "192.0.2.1:443", "192.0.2.1:8080"].map(affected).into(),
            released: 0,
            by_plan: Vec::new(),
        };
        let request = DrainRequest {
            action: DrainAction::Drain,
            whom: "rs1".parse().ok(),
            service: "web".parse().ok(),
            timeout: None,
            force: false,
        };
        let draining = DrainStatus {
            state: DrainState::Draining,
            since: Some("T1".to_owned()),
            deadline: Some("T2".to_owned()),
            left: Some(ConnectionCounts { active: 412, inactive: 30, persistent: 0 }),
            by_plan: false,
        };
        let endless = DrainStatus { deadline: None, left: None, ..draining.clone() };
        let gone = DrainStatus {
            state: DrainState::Drained,
            since: None,
            deadline: None,
            left: None,
            by_plan: false,
        };
        let drains: Drains<'_> = vec![
            (("web", "192.0.2.1:80"), Some(&draining)),
            (("web", "192.0.2.1:443"), Some(&endless)),
            (("web", "192.0.2.1:8080"), Some(&gone)),
        ];
        assert_eq!(
            report(&request, &answer, &drains),
            "rs1 192.0.2.1:80 in web: drains, 412 active and 30 inactive connections, until T2\n\
             rs1 192.0.2.1:443 in web: drains, its connections are not known, until they end\n\
             rs1 192.0.2.1:8080 in web: drained, out of the table\n\
             It stays so until `evenkeeld undrain rs1 --service web`.\n"
        );
        let undrain = DrainRequest { action: DrainAction::Undrain, ..request };
        let taken = DrainAnswer { released: 1, ..answer };
        assert!(
            report(&undrain, &taken, &Vec::new())
                .ends_with("rs1 192.0.2.1:8080 in web: as the plan says again\n")
        );
        let none = DrainAnswer { destinations: Vec::new(), released: 0, by_plan: Vec::new() };
        assert_eq!(report(&undrain, &none, &Vec::new()), "Nothing was told to drain.\n");
        let by_plan = DrainAnswer { by_plan: vec![affected("192.0.2.1:80")], ..none };
        let text = report(&undrain, &by_plan, &Vec::new());
        assert!(
            text.starts_with("rs1 192.0.2.1:80 in web: drains on, as the plan says\nWhat the plan drains"),
            "{text}"
        );
        let waiting = DrainStatus { since: None, ..draining };
        assert!(is_coming(&waiting) && !is_coming(&gone));
    }
}
