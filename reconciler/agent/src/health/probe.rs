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

pub(crate) use tools::Tools;
pub(crate) use wire::Wire;

/// Target of a probe, and the way to it.
#[derive(Debug, Clone, Copy)]
struct Whom<'a> {
    /// Address and port; port 0 where the kind has none.
    target: SocketAddr,
    /// How packets leave this host.
    origin: &'a CheckOrigin,
    /// Time for the whole probe.
    limit: Duration,
}

/// Makes one probe, within the check's time-out.
pub(crate) async fn run(check: &Check, tools: &Tools) -> Found {
    let limit = check.times.timeout.as_duration();
    let whom =
        check.target.map(|target| Whom { target: target.socket_address(), origin: &check.origin, limit });
    match (&check.kind, whom) {
        (CheckKind::Tcp(tcp), Some(whom)) => tcp::run(whom, tcp, tools).await,
        (CheckKind::Http(http), Some(whom)) => http::run(whom, http, tools).await,
        (CheckKind::Udp(udp), Some(whom)) => udp::run(whom, udp, tools).await,
        (CheckKind::Dns(dns), Some(whom)) => dns::run(whom, dns, tools).await,
        (CheckKind::Ping, Some(whom)) => ping::run(whom, tools).await,
        (CheckKind::Smtp(smtp), Some(whom)) => smtp::run(whom, smtp, tools).await,
        (CheckKind::Grpc(grpc), Some(whom)) => grpc::run(whom, grpc, tools).await,
        (CheckKind::Agent(agent), Some(whom)) => agent::run(whom, agent, tools).await,
        (CheckKind::Script(script), _) => script::run(script, limit, tools).await,
        (CheckKind::File(file), _) => file::run(file, limit, tools).await,
        (
            CheckKind::Tcp(_)
            | CheckKind::Http(_)
            | CheckKind::Udp(_)
            | CheckKind::Dns(_)
            | CheckKind::Ping
            | CheckKind::Smtp(_)
            | CheckKind::Grpc(_)
            | CheckKind::Agent(_),
            None,
        ) => unprepared("the check has no address".to_owned()),
    }
}

/// Makes one probe of a check that holds its connection, which is left open when it succeeds.
pub(crate) async fn open(check: &Check, tools: &Tools) -> (Found, Option<Wire>) {
    let limit = check.times.timeout.as_duration();
    let (CheckKind::Tcp(tcp), Some(target)) = (&check.kind, check.target) else {
        return (run(check, tools).await, None);
    };
    let whom = Whom { target: target.socket_address(), origin: &check.origin, limit };
    match tcp::talk(whom, tcp, tools).await {
        Ok((found, wire)) => {
            wire.keep_alive(check.times.interval.as_duration(), limit);
            (found, Some(wire))
        }
        Err(found) => (found, None),
    }
}

/// A check that cannot be made as the plan has it.
fn unprepared(why: String) -> Found {
    Found::Ails(Ailment::NotPrepared(why))
}

#[cfg(test)]
mod tests;
