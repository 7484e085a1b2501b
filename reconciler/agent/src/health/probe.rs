//! One health probe. The health crate decides when it is made and what it means.
//!
//! `socket` opens whatever a probe speaks by; a file beside it for each kind of check asks.

mod agent;
mod datagrams;
mod dns;
mod file;
mod grpc;
mod http;
mod http2;
mod path;
mod path_tools;
mod ping;
mod script;
mod smtp;
mod socket;
mod tcp;
mod tls;
mod tools;
mod udp;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_health::{Ailment, Found};
use evenkeel_schemas::plan::{Check, CheckKind, CheckOrigin};
use evenkeel_schemas::scalars::FirewallMark;

pub(crate) use tools::Tools;
pub(crate) use wire::Wire;

/// Target of a probe, and the way to it.
#[derive(Debug, Clone, Copy)]
struct Whom<'a> {
    /// Address and port; port 0 where the kind has none.
    target: SocketAddr,
    /// How packets leave this host.
    origin: &'a CheckOrigin,
    /// Mark of packets, by which IPVS takes them.
    mark: Option<FirewallMark>,
    /// Time for the whole probe.
    limit: Duration,
}

impl<'a> Whom<'a> {
    /// Whom a check connects to, and how; none where it asks nobody.
    fn of(check: &'a Check) -> Option<Self> {
        let target = check.target?.socket_address();
        let target = check.through.map_or(target, |through| through.socket_address());
        let mark = check.through.map(|through| through.mark);
        Some(Self { target, origin: &check.origin, mark, limit: check.times.timeout.as_duration() })
    }
}

/// Makes one probe, within the check's time-out.
pub(crate) async fn run(check: &Check, tools: &Tools) -> Found {
    let Some(whom) = Whom::of(check) else { return ask_here(check, tools).await };
    match &check.through {
        None => ask(check, whom, tools).await,
        Some(through) => {
            let attempt = async { (ask(check, whom, tools).await, None) };
            path::run(check, through, tools, attempt).await.0
        }
    }
}

/// Asks a target.
async fn ask(check: &Check, whom: Whom<'_>, tools: &Tools) -> Found {
    match &check.kind {
        CheckKind::Tcp(tcp) => tcp::run(whom, tcp, tools).await,
        CheckKind::Http(http) => http::run(whom, http, tools).await,
        CheckKind::Udp(udp) => udp::run(whom, udp, tools).await,
        CheckKind::Dns(dns) => dns::run(whom, dns, tools).await,
        CheckKind::Ping => ping::run(whom, tools).await,
        CheckKind::Smtp(smtp) => smtp::run(whom, smtp, tools).await,
        CheckKind::Grpc(grpc) => grpc::run(whom, grpc, tools).await,
        CheckKind::Agent(agent) => agent::run(whom, agent, tools).await,
        CheckKind::Script(_) | CheckKind::File(_) => ask_here(check, tools).await,
    }
}

/// Asks what is on this host.
async fn ask_here(check: &Check, tools: &Tools) -> Found {
    let limit = check.times.timeout.as_duration();
    match &check.kind {
        CheckKind::Script(script) => script::run(script, limit, tools).await,
        CheckKind::File(file) => file::run(file, limit, tools).await,
        CheckKind::Tcp(_)
        | CheckKind::Http(_)
        | CheckKind::Udp(_)
        | CheckKind::Dns(_)
        | CheckKind::Ping
        | CheckKind::Smtp(_)
        | CheckKind::Grpc(_)
        | CheckKind::Agent(_) => unprepared("the check has no address".to_owned()),
    }
}

/// Makes one probe of a check that holds its connection, which is left open when it succeeds.
pub(crate) async fn open(check: &Check, tools: &Tools) -> (Found, Option<Wire>) {
    let (CheckKind::Tcp(tcp), Some(whom)) = (&check.kind, Whom::of(check)) else {
        return (run(check, tools).await, None);
    };
    let attempt = async {
        match tcp::talk(whom, tcp, tools).await {
            Ok((found, wire)) => {
                wire.keep_alive(check.times.interval.as_duration(), whom.limit);
                (found, Some(wire))
            }
            Err(found) => (found, None),
        }
    };
    match &check.through {
        None => attempt.await,
        Some(through) => path::run(check, through, tools, attempt).await,
    }
}

/// A check that cannot be made as the plan has it.
fn unprepared(why: String) -> Found {
    Found::Ails(Ailment::NotPrepared(why))
}

#[cfg(test)]
mod tests;
