//! EK04xx, tenth part: programs that the daemon runs for virtual routers, sync groups, services and trackers.

use evenkeel_schemas::cluster::{Hook, RouterHooks, TrackerType};
use evenkeel_schemas::scalars::Span;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] = &[command_path, empty_user, zero_timeout];

/// A program that is run, and where it is written.
struct Program<'a> {
    what: String,
    /// Of the table that has `command` and `user`.
    path: Vec<Step<'a>>,
    command: &'a [String],
    user: Option<&'a String>,
    timeout: Option<Span>,
}

impl<'a> Program<'a> {
    fn of_hook(what: String, mut path: Vec<Step<'a>>, event: &'a str, hook: &'a Hook) -> Self {
        path.push(Step::Key(event));
        let what = format!("hook `{event}` of {what}");
        Self { what, path, command: &hook.command, user: hook.user.as_ref(), timeout: hook.timeout }
    }

    fn path(&self, steps: &[Step<'a>]) -> Vec<Step<'a>> {
        [self.path.as_slice(), steps].concat()
    }
}

fn of_router(hooks: &RouterHooks) -> impl Iterator<Item = (&'static str, &Hook)> {
    let RouterHooks { master, backup, fault, stop, any } = hooks;
    [("master", master), ("backup", backup), ("fault", fault), ("stop", stop), ("any", any)]
        .into_iter()
        .filter_map(|(event, hook)| Some((event, hook.as_ref()?)))
}

fn programs<'a>(cx: &Context<'a>) -> Vec<Program<'a>> {
    let cluster = cx.cluster;
    let mut programs = Vec::new();
    let mut hooks = |what: String,
                     path: &[Step<'a>],
                     hooks: &mut dyn Iterator<Item = (&'static str, &'a Hook)>| {
        programs
            .extend(hooks.map(|(event, hook)| Program::of_hook(what.clone(), path.to_vec(), event, hook)));
    };
    for (name, router) in &cluster.virtual_routers {
        hooks(format!("`{name}`"), at!["virtual_routers", name, "hooks"], &mut of_router(&router.hooks));
    }
    for (name, group) in &cluster.sync_groups {
        hooks(
            format!("sync group `{name}`"),
            at!["sync_groups", name, "hooks"],
            &mut of_router(&group.hooks),
        );
    }
    for (name, service) in &cluster.services {
        let what = format!("service `{name}`");
        let known = super::quorum::hooks(&service.hooks).map(|(event, hook)| {
            // A time of zero is told with the other times of a service.
            let path = at!["services", name, "hooks"].to_vec();
            Program { timeout: None, ..Program::of_hook(what.clone(), path, event, hook) }
        });
        programs.extend(known);
    }
    for (name, tracker) in &cluster.trackers {
        if tracker.kind != TrackerType::Script || !cx.knows(at!["trackers", name, "type"]) {
            continue;
        }
        programs.push(Program {
            what: format!("tracker `{name}`"),
            path: at!["trackers", name].to_vec(),
            command: &tracker.command,
            user: tracker.user.as_ref(),
            timeout: None,
        });
    }
    programs
}

fn command_path(cx: &Context<'_>, out: &mut Findings) {
    for program in programs(cx) {
        let path = program.path(at!["command", 0]);
        let Some(command) = program.command.first().filter(|command| !command.starts_with('/')) else {
            continue;
        };
        if !cx.knows(&path) {
            continue;
        }
        let message = match command.as_str() {
            "" => format!("{} runs a program without a name", program.what),
            command => {
                format!("{} runs `{}`, which is no absolute path", program.what, command.escape_debug())
            }
        };
        let hint = match command.split_whitespace().nth(1) {
            Some(_) => {
                "no shell reads it: write path and arguments apart, such as [\"/usr/bin/logger\", \"text\"]"
            }
            None => "write where it is on the directors, such as \"/usr/local/bin/notify\"",
        };
        out.push(
            Diagnostic::new(&codes::COMMAND_PATH, cx.value(&path), message, "must begin with `/`").hint(hint),
        );
    }
}

fn empty_user(cx: &Context<'_>, out: &mut Findings) {
    for program in programs(cx) {
        let path = program.path(at!["user"]);
        let odd = |user: &str| {
            user.is_empty() || user.contains(|c: char| c.is_whitespace() || c.is_control() || c == ':')
        };
        let Some(user) = program.user.filter(|user| odd(user) && cx.knows(&path)) else {
            continue;
        };
        let user = match user.as_str() {
            "" => "a user without a name".to_owned(),
            user => format!("`{}`, which can be no user", user.escape_debug()),
        };
        out.push(
            Diagnostic::new(
                &codes::NO_SUCH_USER,
                cx.value(&path),
                format!("{} runs as {user}", program.what),
                "not a user's name",
            )
            .hint("write the name of a user of the directors, or remove `user` to get `nobody`"),
        );
    }
}

fn zero_timeout(cx: &Context<'_>, out: &mut Findings) {
    for program in programs(cx) {
        let path = program.path(at!["timeout"]);
        if program.timeout.map(Span::as_millis) == Some(0) && cx.knows(&path) {
            out.push(
                Diagnostic::new(
                    &codes::ZERO_DURATION,
                    cx.value(&path),
                    format!("the timeout of {} is zero", program.what),
                    "must be longer than 0s",
                )
                .hint("remove `timeout` to get 10s"),
            );
        }
    }
}
