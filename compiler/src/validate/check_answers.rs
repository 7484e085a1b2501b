//! EK05xx: health checks, third part: what answers must be.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::HttpMethod;
use evenkeel_schemas::scalars::PortRange;
use regex::bytes::RegexBuilder;

use super::written_checks::{Path, WrittenCheck, all};
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::Step;

pub(super) const RULES: &[Rule] = &[check_status, check_expression, answer_of_head];

/// Largest compiled form of a regular expression, so that one cannot eat a director's memory.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Codes of statuses that are waited for, with the place of the list.
fn statuses<'a>(found: &WrittenCheck<'a>) -> impl Iterator<Item = (Path<'a>, &'a [PortRange])> {
    let own = (found.path("status"), found.check.status.as_slice());
    let requests = found.check.requests.iter().enumerate();
    let of_requests =
        requests.map(|(index, request)| (below_request(found, index, "status"), request.status.as_slice()));
    std::iter::once(own).chain(of_requests.collect::<Vec<_>>())
}

/// Path of a key of a request.
pub(super) fn below_request<'a>(found: &WrittenCheck<'a>, index: usize, key: &'static str) -> Path<'a> {
    found.below(&[Step::Key("requests"), Step::Index(index), Step::Key(key)])
}

fn check_status(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        for (list, ranges) in statuses(&found) {
            for (index, range) in ranges.iter().enumerate() {
                let path = [list.as_slice(), &[Step::Index(index)]].concat();
                if (range.first().get() >= 100 && range.last().get() <= 599) || !cx.knows(&path) {
                    continue;
                }
                out.push(
                    Diagnostic::new(
                        &codes::CHECK_STATUS,
                        cx.value(&path),
                        format!("{} waits for status {range}", found.words()),
                        "a status is 100 to 599",
                    )
                    .hint("write a status such as `\"200\"`, or a range such as `\"200-399\"`"),
                );
            }
        }
    }
}

/// A regular expression of a check.
type Expression<'a> = (&'static str, Path<'a>, &'a str);

fn expressions<'a>(found: &WrittenCheck<'a>) -> Vec<Expression<'a>> {
    let check = found.check;
    let own = [("body", &check.body), ("body_not", &check.body_not), ("expect", &check.expect)];
    let own = own.into_iter().filter_map(|(key, text)| Some((key, found.path(key), text.as_deref()?)));
    let requests = check.requests.iter().enumerate().flat_map(|(index, request)| {
        let texts = [("body", &request.body), ("body_not", &request.body_not)];
        let given = texts.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?)));
        given.map(move |(key, text)| (key, below_request(found, index, key), text))
    });
    own.chain(requests).collect()
}

fn check_expression(cx: &Context<'_>, out: &mut Findings) {
    // Thousands of services often share one default.
    let mut judged: BTreeMap<&str, Option<(String, &str)>> = BTreeMap::new();
    for found in all(cx) {
        for (key, path, text) in expressions(&found) {
            if !cx.knows(&path) {
                continue;
            }
            let wrong = judged.entry(text).or_insert_with(|| {
                let result = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
                result.err().map(|error| reason(&error))
            });
            let Some((reason, hint)) = wrong else { continue };
            let words = found.words();
            let article = if key == "expect" { "an" } else { "a" };
            let message = format!("{words} has {article} `{key}` that is not a regular expression");
            out.push(
                Diagnostic::new(&codes::CHECK_BODY, cx.value(&path), message, reason.clone()).hint(*hint),
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

fn answer_of_head(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        let own = [
            ("body", check.body.is_some()),
            ("body_not", check.body_not.is_some()),
            ("digest", check.digest.is_some()),
        ];
        let own = (check.method, found.path("method"), own.map(|(key, given)| (found.path(key), given)));
        let requests = check.requests.iter().enumerate().map(|(index, request)| {
            let path = |key| below_request(&found, index, key);
            let keys = [
                (path("body"), request.body.is_some()),
                (path("body_not"), request.body_not.is_some()),
                (path("digest"), request.digest.is_some()),
            ];
            (request.method, path("method"), keys)
        });
        for (method, at, keys) in std::iter::once(own).chain(requests.collect::<Vec<_>>()) {
            if method != Some(HttpMethod::Head) || !cx.knows(&at) {
                continue;
            }
            for (path, _) in keys.into_iter().filter(|(path, given)| *given && cx.knows(path)) {
                let Some(Step::Key(key)) = path.last().copied() else { continue };
                out.push(
                    Diagnostic::new(
                        &codes::CHECK_BODY,
                        cx.value(&path),
                        format!("{} asks with HEAD, and the answer has no body", found.words()),
                        if key == "body_not" { "always passes" } else { "never matches" },
                    )
                    .also(cx.value(&at), "no body")
                    .hint(format!("remove `method` for GET, or remove `{key}`")),
                );
            }
        }
    }
}
