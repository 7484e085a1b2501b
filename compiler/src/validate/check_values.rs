//! EK05xx: health checks, second part: what their keys may hold.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{CheckType, HttpMethod};
use regex::RegexBuilder;

use super::checks::{all, checks};
use super::quorum::hooks;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::{Step, at};

pub(super) const RULES: &[Rule] =
    &[zero_check_time, not_absolute, check_status, check_body, check_text, retry_at_once];

/// Largest compiled form of a regular expression, so that one cannot eat a director's memory.
const MAX_REGEX_BYTES: usize = 1 << 20;

fn zero_check_time(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        for (at, check) in checks(service) {
            for (key, span) in [("interval", check.interval), ("timeout", check.timeout)] {
                if span.as_millis() == 0 && cx.knows(&at.path(name, key)) {
                    out.push(
                        Diagnostic::new(
                            &codes::ZERO_CHECK_TIME,
                            cx.value(&at.path(name, key)),
                            format!("the {key} of the check of service `{name}` is zero"),
                            "must be longer than 0s",
                        )
                        .hint(format!("the default is `{key} = \"5s\"`")),
                    );
                }
            }
        }
    }
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
        let name = found.name;
        if let (CheckType::Script, Some(program)) = (found.check.kind, found.check.command.first()) {
            judge(&found.item("command", 0), program, format!("the check program of service `{name}`"));
        }
        if let (CheckType::File, Some(file)) = (found.check.kind, &found.check.file) {
            judge(&found.path("file"), file, format!("the file that service `{name}` checks"));
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

fn check_status(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        for (index, range) in found.check.status.iter().enumerate() {
            let path = found.item("status", index);
            if (range.first().get() >= 100 && range.last().get() <= 599) || !cx.knows(&path) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::CHECK_STATUS,
                    cx.value(&path),
                    format!("the check of service `{}` waits for status {range}", found.name),
                    "a status is 100 to 599",
                )
                .hint("write a status such as `\"200\"`, or a range such as `\"200-399\"`"),
            );
        }
    }
}

fn check_body(cx: &Context<'_>, out: &mut Findings) {
    // Thousands of services often share one default.
    let mut judged: BTreeMap<&str, Option<(String, &str)>> = BTreeMap::new();
    for found in all(cx) {
        let Some(body) = found.check.body.as_deref().filter(|_| found.knows(cx, &["body"])) else {
            continue;
        };
        let name = found.name;
        let wrong = judged.entry(body).or_insert_with(|| {
            let result = RegexBuilder::new(body).size_limit(MAX_REGEX_BYTES).build();
            result.err().map(|error| reason(&error))
        });
        if let Some((reason, hint)) = wrong {
            out.push(
                Diagnostic::new(
                    &codes::CHECK_BODY,
                    cx.value(&found.path("body")),
                    format!("the check of service `{name}` has a `body` that is not a regular expression"),
                    reason.clone(),
                )
                .hint(*hint),
            );
        } else if found.check.method == Some(HttpMethod::Head) && found.knows(cx, &["method"]) {
            out.push(
                Diagnostic::new(
                    &codes::CHECK_BODY,
                    cx.value(&found.path("body")),
                    format!("the check of service `{name}` asks with HEAD, and the answer has no body"),
                    "never matches",
                )
                .also(cx.value(&found.path("method")), "no body")
                .hint("remove `method` for GET, or remove `body`"),
            );
        }
    }
}

/// The cause in the library's words, without its drawing of the place, and what to do.
fn reason(error: &regex::Error) -> (String, &'static str) {
    match error {
        regex::Error::CompiledTooBig(_) => {
            ("becomes too large".to_owned(), "write smaller repetitions than `{100}` of one another")
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            (
                last.trim_start_matches("error: ").to_owned(),
                "write `\\` before a sign that is meant as it is, in single quotes: '\\(ok\\)'",
            )
        }
    }
}

fn check_text(cx: &Context<'_>, out: &mut Findings) {
    let unsendable = |text: &str| text.chars().any(|c| !c.is_ascii_graphic());
    for found in all(cx) {
        let check = found.check;
        let path = check.path.as_deref().and_then(|path| {
            if !path.starts_with('/') {
                Some("must begin with `/`")
            } else {
                unsendable(path).then_some("has characters that must be written as `%..`")
            }
        });
        let host = check.host.as_deref().and_then(|host| {
            let odd = host.is_empty() || unsendable(host) || host.contains('/');
            odd.then_some("a host name or address, without `http://`")
        });
        let name = check.name.as_deref().filter(|name| !is_dns_name(name)).map(|_| "not a name in DNS");
        for (key, text, wrong) in
            [("path", &check.path, path), ("host", &check.host, host), ("name", &check.name, name)]
        {
            let (Some(text), Some(wrong)) = (text, wrong) else { continue };
            if found.knows(cx, &[key]) {
                out.push(
                    Diagnostic::new(
                        &codes::CHECK_TEXT,
                        cx.value(&found.path(key)),
                        format!(
                            "the check of service `{}` cannot ask with {key} `{}`",
                            found.name,
                            text.escape_debug()
                        ),
                        wrong,
                    )
                    .hint(match key {
                        "path" => "write it as `\"/health?full=1\"`",
                        "host" => "write it as `\"www.example.com\"`",
                        _ => "write it as `\"www.example.com\"`, or `\".\"` for the root",
                    }),
                );
            }
        }
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
                format!("the check of service `{}` tries again without a pause", found.name),
                "no time to recover",
            )
            .hint("write `retry_delay = \"1s\"`, or `retries = 0` to take it out at the first failure"),
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
