//! A TCP check: a connection that opens is success, and where something is expected, what is said over it.

use std::sync::Arc;

use evenkeel_health::Found;
use evenkeel_health::Says;
use evenkeel_health::ask::expect::Expect;
use evenkeel_schemas::plan::TcpCheck;

use super::tls::{Alpn, Secure};
use super::tools::Tools;
use super::wire::{Course, Wire, healthy};
use super::{Whom, socket};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &TcpCheck, tools: &Tools) -> Found {
    let TcpCheck { send, expect, tls, hold: _ } = check;
    if send.is_empty() && expect.is_none() && tls.is_none() {
        return match socket::within(whom.limit, socket::connect(whom, &tools.paths)).await {
            Ok(Ok(_)) => Found::healthy(),
            Ok(Err(found)) | Err(found) => found,
        };
    }
    talk(whom, check, tools).await.map_or_else(|found| found, |(found, _)| found)
}

/// Makes one probe; also the connection, which is open still.
pub(super) async fn talk(whom: Whom<'_>, check: &TcpCheck, tools: &Tools) -> Result<(Found, Wire), Found> {
    let course = Course::begin(whom);
    let pattern = check.expect.as_deref().map(|text| tools.pattern(text)).transpose()?;
    let secure = check.tls.as_ref().map(|tls| Secure { tls, alpn: Alpn::None });
    let (mut wire, remark) = course.open(whom, secure, tools).await?;
    let says = match pattern {
        Some(pattern) => {
            let mut dialogue = Expect::new(check.send.clone(), Arc::clone(&pattern));
            course.carry(&mut wire, &mut dialogue).await?
        }
        None => {
            if !check.send.is_empty() {
                course.send(&mut wire, &check.send).await?;
            }
            Says::default()
        }
    };
    Ok((healthy(says, remark), wire))
}
