//! Checks in the status document.

use evenkeel_converge::Position;
use evenkeel_health::{CheckId, Load, Outcome, Report, Share};
use evenkeel_schemas::plan::{Check, Destination};
use evenkeel_schemas::status::{CheckStatus, FaultStatus, HealthStatus, Unjudged};

use super::status::StatusView;

impl StatusView<'_> {
    /// The checks of a destination that the health loop has reported, in the plan's order.
    pub(super) fn checks_of(&self, at: Position, destination: &Destination) -> Vec<(CheckId, CheckStatus)> {
        let ids = self.host.checks.ids(at);
        let checks = ids.zip(destination.checks());
        checks.filter_map(|(id, check)| Some((id, self.check(check, self.checks.get(&id)?)))).collect()
    }

    fn check(&self, check: &Check, report: &Report) -> CheckStatus {
        let last = report.last.as_ref();
        let says = &report.says;
        CheckStatus {
            kind: check.kind.kind(),
            subject: check.subject(),
            verdict: report.verdict,
            since: self.at.wall(report.since),
            transitions: report.transitions,
            failures: report.failures,
            last_result: last.map(|(_, outcome)| match outcome {
                Outcome::Success(_) => "success".to_owned(),
                Outcome::Failure(fault) => fault.to_string(),
                Outcome::Silent(why) => why.to_string(),
                Outcome::Inconclusive(ailment) => ailment.to_string(),
            }),
            last_check_age_ms: last.map(|(at, _)| self.age_ms(*at)),
            latency_us: report.latency.map(|took| micros(took.as_micros())),
            next_in_ms: report.next.map(|next| micros(next.since(self.at.now).as_millis())),
            last_fault: report.fault.as_ref().map(|(at, fault)| FaultStatus {
                at: self.at.wall(*at),
                label: fault.label,
                reason: fault.to_string(),
            }),
            unjudged: report.unjudged.as_ref().map(|(since, ailment)| Unjudged {
                since: self.at.wall(*since),
                reason: ailment.to_string(),
            }),
            weight: match says.share {
                Some(Share::Weight(weight)) => Some(weight),
                Some(Share::Percent(_)) | None => None,
            },
            weight_percent: match says.share {
                Some(Share::Percent(percent)) => Some(percent),
                Some(Share::Weight(_)) | None => None,
            },
            drain: says.drain,
            remark: says.remark.as_deref().map(str::to_owned),
        }
    }

    /// How busy the host is with its checks.
    pub(super) fn health(&self, load: Load) -> HealthStatus {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        HealthStatus {
            stalled_since: self.host.checks.beat.stalled().map(|since| self.at.wall(since)),
            under_way: number(load.under_way),
            waiting: number(load.waiting),
            waits_ms: micros(load.waits.as_millis()),
            max_lateness_us: micros(load.most_late.as_micros()),
            checks: load.probes,
            own_faults: self.host.checks.own_fault.status(self.at),
        }
    }
}

fn micros(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
