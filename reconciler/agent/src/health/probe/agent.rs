//! A check by an agent of the real server. One that cannot be reached, or says nothing that is known, changes
//! nothing.

use evenkeel_health::ask::agent::Agent;
use evenkeel_health::{FaultLabel, Found};
use evenkeel_schemas::plan::AgentCheck;

use super::Whom;
use super::tools::Tools;
use super::wire::Course;

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &AgentCheck, tools: &Tools) -> Found {
    match talk(whom, check, tools).await {
        Err(Found::Failed(fault)) if fault.label != FaultLabel::Said => Found::Silent(fault.reason),
        Ok(found) | Err(found) => found,
    }
}

async fn talk(whom: Whom<'_>, check: &AgentCheck, tools: &Tools) -> Result<Found, Found> {
    let course = Course::begin(whom);
    let (mut wire, _) = course.open(whom, None, tools).await?;
    // An agent's word stands by itself: how long it took says nothing of the target.
    course.carry(&mut wire, &mut Agent::new(check.send.clone())).await.map(Found::Healthy)
}
