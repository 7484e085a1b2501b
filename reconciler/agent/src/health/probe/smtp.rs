//! A check of a mail server.

use evenkeel_health::Found;
use evenkeel_health::ask::smtp::Smtp;
use evenkeel_schemas::plan::SmtpCheck;

use super::Whom;
use super::tls::{Alpn, Secure};
use super::tools::Tools;
use super::wire::{Course, healthy};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &SmtpCheck, tools: &Tools) -> Found {
    talk(whom, check, tools).await.unwrap_or_else(|found| found)
}

async fn talk(whom: Whom<'_>, check: &SmtpCheck, tools: &Tools) -> Result<Found, Found> {
    let course = Course::begin(whom);
    let secure = check.tls.as_ref().map(|tls| Secure { tls, alpn: Alpn::None });
    let (mut wire, remark) = course.open(whom, secure, tools).await?;
    let name = check.helo.as_ref().map_or(tools.hostname.as_str(), |name| name.as_str());
    let says = course.carry(&mut wire, &mut Smtp::new(name)).await?;
    Ok(healthy(says, remark))
}
