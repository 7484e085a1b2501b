//! A check of a web server: requests one after the other, each on a connection of its own, all within the
//! time of the probe.

use evenkeel_health::ask::body::Wanted;
use evenkeel_health::ask::http::{HttpDialogue, authority, request};
use evenkeel_health::{Found, Says};
use evenkeel_schemas::cluster::HttpVersion;
use evenkeel_schemas::plan::{HttpCheck, HttpRequest};

use super::tls::{Alpn, Secure};
use super::tools::Tools;
use super::wire::{Course, healthy};
use super::{Whom, http2};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &HttpCheck, tools: &Tools) -> Found {
    let course = Course::begin(whom);
    let (mut says, mut remark) = (Says::default(), None);
    for one in &check.requests {
        match single(course, whom, check, one, tools).await {
            Ok((said, seen)) => {
                says.drain |= said.drain;
                remark = seen;
            }
            Err(Found::Failed(fault)) if check.requests.len() > 1 => {
                let reason = format!("{}: {}", one.path, fault.reason);
                return fault.worded(reason).into();
            }
            Err(found) => return found,
        }
    }
    healthy(says, remark)
}

/// Makes one request; what the target says beside, and what people should know of its certificate.
async fn single(
    course: Course,
    whom: Whom<'_>,
    check: &HttpCheck,
    one: &HttpRequest,
    tools: &Tools,
) -> Result<(Says, Option<String>), Found> {
    let wanted = Wanted::new(one, &check.drain, |text| tools.pattern(text))?;
    let host = authority(whom.target, check.tls.is_some());
    let by_2 = check.version == HttpVersion::V2;
    let alpn = if by_2 { Alpn::H2 } else { Alpn::None };
    let secure = check.tls.as_ref().map(|tls| Secure { tls, alpn });
    let (mut wire, remark) = course.open(whom, secure, tools).await?;
    let says = if by_2 {
        http2::page(course, wire, one, &host, &wanted, secure.is_some()).await?
    } else {
        let mut dialogue = HttpDialogue::new(request(one, check.version, &host), &wanted);
        course.carry(&mut wire, &mut dialogue).await?
    };
    Ok((says, remark))
}
