//! A check by a program, as any program of a plan is run: no shell, its own user and process group, killed at
//! the time limit with everything that it started.

use evenkeel_health::ask::script;
use evenkeel_health::{Ailment, FaultLabel, Found};
use evenkeel_schemas::plan::ScriptCheck;
use std::time::Duration;

use super::tools::Tools;
use crate::programs::run::{self, Ended, How, Program};

/// Makes one probe.
pub(super) async fn run(check: &ScriptCheck, limit: Duration, tools: &Tools) -> Found {
    let ScriptCheck { command, user, dynamic_weight } = check;
    let user = user.as_deref();
    let trust = tools.trust;
    let program = Program { command, arguments: &[], environment: &[], user, limit, trust };
    meaning(run::run(program).await, *dynamic_weight)
}

fn meaning(ended: Ended, dynamic_weight: bool) -> Found {
    let how = Ended { output: String::new(), ..ended.clone() }.to_string();
    match ended.how {
        How::Exit(code) => match script::exited(code, dynamic_weight, &ended.output) {
            Ok(says) => Found::Healthy(says),
            Err(fault) => fault.into(),
        },
        How::Signal(_) => script::failed(FaultLabel::Exit, how, &ended.output).into(),
        How::Killed(_) => script::failed(FaultLabel::Timeout, how, &ended.output).into(),
        // A missing program says nothing of the target: after an update of a package all would be taken out.
        How::NotStarted(why) => Found::Ails(Ailment::NoProgram(why)),
    }
}
