//! A UDP check: a datagram that nobody refuses is success, or one that is answered as it should be.

use std::sync::Arc;

use evenkeel_health::ask::excerpt;
use evenkeel_health::ask::pattern::Pattern;
use evenkeel_health::{Fault, FaultLabel, Found};
use evenkeel_schemas::plan::UdpCheck;

use super::datagrams::Datagrams;
use super::tools::Tools;
use super::{Whom, socket};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &UdpCheck, tools: &Tools) -> Found {
    let pattern = match check.expect.as_deref().map(|text| tools.pattern(text)).transpose() {
        Ok(pattern) => pattern,
        Err(found) => return found,
    };
    let answered = async {
        let datagrams = Datagrams::udp(whom)?;
        datagrams.send(&check.send).await?;
        datagrams.take(|answer| Some(judge(answer, check, pattern.as_ref()))).await?
    };
    match socket::within(whom.limit, answered).await {
        Ok(Ok(())) => Found::healthy(),
        Ok(Err(found)) => found,
        // Nobody has refused it.
        Err(_) if !check.require_reply => Found::healthy(),
        Err(late) => late,
    }
}

/// Whether an answer is as it should be.
fn judge(answer: &[u8], check: &UdpCheck, pattern: Option<&Arc<Pattern>>) -> Result<(), Found> {
    let (least, most) = check.reply_length;
    let length = answer.len();
    let wrong = |label, reason: String| Err(Fault::new(label, reason).into());
    if length < usize::from(least) {
        return wrong(FaultLabel::Body, format!("answer of {length} bytes, wanted at least {least}"));
    }
    if length > usize::from(most) {
        return wrong(FaultLabel::TooLong, format!("answer of {length} bytes, wanted at most {most}"));
    }
    match pattern {
        Some(pattern) if !pattern.matches(answer, true) => {
            wrong(FaultLabel::Body, format!("answer `{}` does not match", excerpt(answer)))
        }
        _ => Ok(()),
    }
}
