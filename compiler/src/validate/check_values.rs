//! EK05xx: health checks, second part: what their keys may hold. Answers that are waited for are in
//! `check_answers`, requests in `check_requests`, TLS in `check_tls`.

use evenkeel_schemas::cluster::{Check, CheckType};

use super::quorum::hooks;
use super::written_checks::{WrittenCheck, all};
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] = &[
    zero_check_time,
    not_absolute,
    check_name,
    grpc_service,
    retry_at_once,
    check_jitter,
    reply_length,
    send_and_payload,
];

fn zero_check_time(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        for (key, span) in [("interval", check.interval), ("timeout", check.timeout)] {
            if span.as_millis() == 0 && found.knows(cx, &[key]) {
                out.push(
                    Diagnostic::new(
                        &codes::ZERO_CHECK_TIME,
                        cx.value(&found.path(key)),
                        format!("the {key} of {} is zero", found.words()),
                        "must be longer than 0s",
                    )
                    .hint(format!("the default is `{key} = \"5s\"`")),
                );
            }
        }
    }
}

/// Files of a check by TLS.
fn tls_files(check: &Check) -> impl Iterator<Item = (&'static str, &String)> {
    let files =
        [("ca", &check.ca), ("certificate", &check.certificate), ("certificate_key", &check.certificate_key)];
    files.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?)))
}

fn not_absolute(cx: &Context<'_>, out: &mut Findings) {
    let mut judge = |path: &[Step<'_>], text: &str, what: String| {
        if !text.starts_with('/') && cx.knows(path) {
            out.push(
                Diagnostic::new(
                    &codes::NOT_ABSOLUTE,
                    cx.value(path),
                    format!("{what} is `{}`, which is not an absolute path", text.escape_debug()),
                    "must begin with `/`",
                )
                .hint(if text.contains(' ') {
                    "write the path from `/` on, and each argument as an item of its own"
                } else {
                    "write the path from `/` on"
                }),
            );
        }
    };
    for found in all(cx) {
        let whose = || found.holder.words();
        if let (CheckType::Script, Some(program)) = (found.check.kind, found.check.command.first()) {
            judge(&found.item("command", 0), program, format!("the check program of {}", whose()));
        }
        if let (CheckType::File, Some(file)) = (found.check.kind, &found.check.file) {
            judge(&found.path("file"), file, format!("the file that {} checks", whose()));
        }
        for (key, file) in tls_files(found.check) {
            judge(&found.path(key), file, format!("`{key}` of {}", found.words()));
        }
    }
    for (name, service) in &cx.cluster.services {
        for (key, hook) in hooks(&service.hooks) {
            if let Some(program) = hook.command.first() {
                let path = at!["services", name, "hooks", key, "command", 0];
                judge(path, program, format!("the program of hook `{key}` of service `{name}`"));
            }
        }
    }
}

/// A text that cannot be asked for.
pub(super) fn unaskable(
    cx: &Context<'_>,
    found: &WrittenCheck<'_>,
    path: &[Step<'_>],
    (key, text): (&str, &str),
    wrong: &'static str,
    hint: &'static str,
) -> Option<Diagnostic> {
    cx.knows(path).then(|| {
        let message = format!("{} cannot ask with {key} `{}`", found.words(), text.escape_debug());
        Diagnostic::new(&codes::CHECK_TEXT, cx.value(path), message, wrong).hint(hint)
    })
}

fn check_name(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let Some(name) = found.check.name.as_deref().filter(|name| !is_dns_name(name)) else { continue };
        let hint = "write it as `\"www.example.com\"`, or `\".\"` for the root";
        let found = unaskable(cx, &found, &found.path("name"), ("name", name), "not a name in DNS", hint);
        found.into_iter().for_each(|found| out.push(found));
    }
}

/// Whether `name` can be asked for (RFC 1035 §2.3.4); any character but spaces, as service names have.
fn is_dns_name(name: &str) -> bool {
    let relative = name.strip_suffix('.').unwrap_or(name);
    let parts = || relative.split('.');
    name == "."
        || (relative.len() <= 253
            && parts().all(|part| (1..=63).contains(&part.len()))
            && relative.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Longest name of a service of gRPC that is sent.
const MAX_GRPC_SERVICE: usize = 255;

fn grpc_service(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let Some(name) = found.check.grpc_service.as_deref() else { continue };
        let good = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
        if name.is_empty() || !good || name.len() > MAX_GRPC_SERVICE {
            let wrong = "not a name of a service";
            let hint = "write it as `\"package.Service\"`, or remove it to ask for the whole server";
            let path = found.path("grpc_service");
            let found = unaskable(cx, &found, &path, ("grpc_service", name), wrong, hint);
            found.into_iter().for_each(|found| out.push(found));
        }
    }
}

fn retry_at_once(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        if check.retries.get() == 0
            || check.retry_delay.as_millis() > 0
            || !found.knows(cx, &["retries", "retry_delay"])
        {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::RETRY_AT_ONCE,
                cx.value(&found.path("retry_delay")),
                format!("{} tries again without a pause", found.words()),
                "no time to recover",
            )
            .hint("write `retry_delay = \"1s\"`, or `retries = 0` to take it out at the first failure"),
        );
    }
}

fn check_jitter(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let (Some(jitter), interval) = (found.check.jitter, found.check.interval) else { continue };
        if jitter < interval || !found.knows(cx, &["jitter", "interval"]) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::CHECK_JITTER,
                cx.value(&found.path("jitter")),
                format!("{} comes up to {jitter} late, and is due every {interval}", found.words()),
                "not shorter than the interval",
            )
            .hint("write a tenth of the interval or so"),
        );
    }
}

fn reply_length(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let (least, most) = (found.check.min_reply_length, found.check.max_reply_length);
        let (Some(least), Some(most)) = (least, most) else { continue };
        if least <= most || !found.knows(cx, &["min_reply_length", "max_reply_length"]) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::REPLY_LENGTH,
                cx.value(&found.path("min_reply_length")),
                format!("{} waits for an answer of {least} to {most} bytes", found.words()),
                "more than the most",
            )
            .also(cx.value(&found.path("max_reply_length")), "the most")
            .hint("exchange the two, or remove one"),
        );
    }
}

fn send_and_payload(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        if found.check.send.is_none()
            || found.check.payload.is_none()
            || !found.knows(cx, &["send", "payload"])
            || ["send", "payload"].iter().any(|key| found.is_by_default(cx, key))
        {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::SEND_AND_PAYLOAD,
                cx.key(&found.path("payload")),
                format!("{} has both `send` and `payload`", found.words()),
                "only one can be sent",
            )
            .also(cx.key(&found.path("send")), "the other one")
            .hint("keep `send` for text, `payload` for bytes that are none"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dns_are_told_from_others() {
        let long = vec!["a"; 127].join(".");
        for good in [".", "a", "example.com", "example.com.", "_sip._udp.example", long.as_str()] {
            assert!(is_dns_name(good), "{good}");
        }
        let part = "a".repeat(64);
        let longer = format!("{long}.a");
        for bad in ["", "..", "a..b", ".a", "a b", part.as_str(), longer.as_str()] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
