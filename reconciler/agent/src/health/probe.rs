//! One health probe. The health crate decides when it is made and what it means.
//!
//! `socket` opens whatever a probe speaks by; a file beside it for each kind of check asks.

mod socket;
mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_health::{Ailment, Found};
use evenkeel_schemas::plan::{Check, CheckKind, CheckOrigin};

/// Whom a probe asks.
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
pub(crate) async fn run(check: &Check) -> Found {
    let limit = check.times.timeout.as_duration();
    let whom =
        check.target.map(|target| Whom { target: target.socket_address(), origin: &check.origin, limit });
    match (&check.kind, whom) {
        (CheckKind::Tcp(_), Some(whom)) => tcp::run(whom).await,
        (CheckKind::Http(_), Some(_)) => unknown(),
        (CheckKind::Udp(_), Some(_)) => unknown(),
        (CheckKind::Dns(_), Some(_)) => unknown(),
        (CheckKind::Ping, Some(_)) => unknown(),
        (CheckKind::Smtp(_), Some(_)) => unknown(),
        (CheckKind::Grpc(_), Some(_)) => unknown(),
        (CheckKind::Agent(_), Some(_)) => unknown(),
        (CheckKind::Script(_), _) => unknown(),
        (CheckKind::File(_), _) => unknown(),
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
        ) => Found::Ails(Ailment::NoProgram("the check has no address".to_owned())),
    }
}

/// A kind that this version has not.
fn unknown() -> Found {
    Found::Ails(Ailment::NoProgram("the evenkeeld of this version has no such check".to_owned()))
}
