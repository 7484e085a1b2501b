//! A DNS check: a name server that answers a question, by UDP.

use evenkeel_health::ask::dns::{DnsQuery, DnsReply};
use evenkeel_health::{Fault, FaultLabel, Found};
use evenkeel_schemas::plan::DnsCheck;

use super::datagrams::Datagrams;
use super::tools::Tools;
use super::{Whom, socket, unprepared};

/// Makes one probe. The port that it is asked from is the kernel's choice, by chance, as is the number of the
/// question.
pub(super) async fn run(whom: Whom<'_>, check: &DnsCheck, tools: &Tools) -> Found {
    let [high, low, ..] = tools.chance();
    let Some(query) = DnsQuery::new(&check.name, check.record, u16::from_be_bytes([high, low])) else {
        return unprepared(format!("`{}` is no name that can be asked for", check.name.escape_debug()));
    };
    let mut strays: (u32, &str) = (0, "");
    let asked = async {
        let datagrams = Datagrams::udp(whom)?;
        datagrams.send(query.message()).await?;
        let take = |datagram: &[u8]| match query.reply(datagram) {
            DnsReply::Answer(verdict) => Some(verdict),
            DnsReply::Stray(why) => {
                strays = (strays.0.saturating_add(1), why);
                None
            }
        };
        datagrams.take(take).await
    };
    match socket::within(whom.limit, asked).await {
        Ok(Ok(Ok(says))) => Found::Healthy(says),
        Ok(Ok(Err(fault))) => fault.into(),
        Ok(Err(found)) => found,
        Err(late) => match strays {
            (0, _) => late,
            (number, why) => {
                let limit = evenkeel_health::fault::Words(whom.limit);
                let plural = if number == 1 { "" } else { "s" };
                let reason = format!("no answer in {limit}, but {number} datagram{plural} {why}");
                Fault::new(FaultLabel::Answer, reason).into()
            }
        },
    }
}
