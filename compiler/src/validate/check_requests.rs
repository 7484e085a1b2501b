//! EK05xx: health checks, fourth part: what is asked of web servers.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::Check;

use super::check_answers::below_request;
use super::check_values::unaskable;
use super::written_checks::{Path, WrittenCheck, all};
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::Step;

pub(super) const RULES: &[Rule] = &[requests_and_keys, check_text, check_header, secret_header, drain_header];

/// Keys that say what a single request is.
pub(crate) const OF_ONE: [&str; 5] = ["path", "method", "body", "body_not", "digest"];

/// Headers that the check itself sends.
const OWN_HEADERS: [(&str, &str); 6] = [
    ("host", "write `host` instead"),
    ("connection", "leave it out: a check uses a connection once"),
    ("content-length", "leave it out: a check sends no body"),
    ("transfer-encoding", "leave it out: a check sends no body"),
    ("upgrade", "leave it out: a check changes no protocol"),
    ("te", "leave it out: a check takes no trailers"),
];

/// Headers that tell who may ask.
const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token", "api-key"];

fn is_given(check: &Check, key: &str) -> bool {
    match key {
        "path" => check.path.is_some(),
        "method" => check.method.is_some(),
        "body" => check.body.is_some(),
        "body_not" => check.body_not.is_some(),
        _ => check.digest.is_some(),
    }
}

fn requests_and_keys(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        if found.check.requests.is_empty()
            || !found.knows(cx, &["requests"])
            || found.is_by_default(cx, "requests")
        {
            continue;
        }
        for key in OF_ONE {
            if is_given(found.check, key) && found.knows(cx, &[key]) && !found.is_by_default(cx, key) {
                out.push(
                    Diagnostic::new(
                        &codes::REQUESTS_AND_KEYS,
                        cx.key(&found.path(key)),
                        format!("{} has `requests`, and `{key}` beside them", found.words()),
                        "of no request",
                    )
                    .also(cx.key(&found.path("requests")), "the requests")
                    .hint(format!("write `{key}` in the request that it is of")),
                );
            }
        }
    }
}

/// Texts of a kind, with where they are.
fn texts<'a>(found: &WrittenCheck<'a>, key: &'static str) -> Vec<(Path<'a>, &'a str)> {
    let check = found.check;
    let own = match key {
        "path" => &check.path,
        "host" => &check.host,
        _ => &check.server_name,
    };
    let mut texts: Vec<_> = own.iter().map(|text| (found.path(key), text.as_str())).collect();
    for (index, request) in check.requests.iter().enumerate() {
        let text = match key {
            "path" => &request.path,
            "host" => &request.host,
            _ => &None,
        };
        texts.extend(text.iter().map(|text| (below_request(found, index, key), text.as_str())));
    }
    texts
}

fn check_text(cx: &Context<'_>, out: &mut Findings) {
    let unsendable = |text: &str| text.chars().any(|c| !c.is_ascii_graphic());
    for found in all(cx) {
        for (path, text) in texts(&found, "path") {
            let wrong = if !text.starts_with('/') {
                "must begin with `/`"
            } else if unsendable(text) {
                "has characters that must be written as `%..`"
            } else if text.contains('#') {
                "`#` and what follows it is never sent"
            } else {
                continue;
            };
            let hint = "write it as `\"/health?full=1\"`";
            unaskable(cx, &found, &path, ("path", text), wrong, hint).into_iter().for_each(|it| out.push(it));
        }
        for (path, text) in texts(&found, "host") {
            if text.is_empty() || unsendable(text) || text.contains(['/', '@', '?', '#']) {
                let wrong = "a host name or address, without `http://`";
                let hint = "write it as `\"www.example.com\"`";
                unaskable(cx, &found, &path, ("host", text), wrong, hint)
                    .into_iter()
                    .for_each(|it| out.push(it));
            }
        }
        for (path, text) in texts(&found, "server_name") {
            if !is_server_name(text) {
                let wrong = "a host name or address, without a port";
                let hint = "write it as `\"www.example.com\"`";
                let told = unaskable(cx, &found, &path, ("server_name", text), wrong, hint);
                told.into_iter().for_each(|it| out.push(it));
            }
        }
    }
}

/// A name of RFC 1123 in A-labels, or an address.
fn is_server_name(text: &str) -> bool {
    let part = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        part.len() <= 63
            && edge(part.chars().next())
            && edge(part.chars().next_back())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    text.parse::<std::net::IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(part))
}

/// Tables of headers, with where they are.
fn headers<'a>(found: &WrittenCheck<'a>) -> Vec<(Path<'a>, &'a BTreeMap<String, String>)> {
    let mut tables = vec![(found.path("headers"), &found.check.headers)];
    let requests = found.check.requests.iter().enumerate();
    tables
        .extend(requests.map(|(index, request)| (below_request(found, index, "headers"), &request.headers)));
    tables
}

/// Why a header cannot be sent (RFC 9110 §5.1 and §5.5).
fn unsendable(name: &str, value: &str) -> Option<(&'static str, bool, &'static str)> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Some(("no name of a header", true, "names have letters, digits and `-`, and no `:`"));
    }
    if let Some((_, hint)) = OWN_HEADERS.iter().find(|(own, _)| name.eq_ignore_ascii_case(own)) {
        return Some(("sent by the check itself", true, hint));
    }
    let text = |c: char| c == '\t' || (' '..='~').contains(&c) || !c.is_ascii() && !c.is_control();
    if !value.chars().all(text) {
        return Some(("has an end of line or a control character", false, "write it on one line"));
    }
    let edge = |c: char| matches!(c, ' ' | '\t');
    if value.starts_with(edge) || value.ends_with(edge) {
        return Some(("begins or ends with a space", false, "remove the space: it is no part of a value"));
    }
    None
}

/// The header by which a server asks to be drained has a name that a header can have.
fn drain_header(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let Some(name) = found.check.drain_header.as_deref().filter(|_| found.knows(cx, &["drain_header"]))
        else {
            continue;
        };
        // Headers of ours alone cannot be sent, and may come.
        if let Some((what @ "no name of a header", _, hint)) = unsendable(name, "") {
            out.push(
                Diagnostic::new(
                    &codes::NAME_OF_DRAIN_HEADER,
                    cx.value(&found.path("drain_header")),
                    format!("{} waits for header `{}`", found.words(), name.escape_debug()),
                    what,
                )
                .hint(hint),
            );
        }
    }
}

fn check_header(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        for (table, headers) in headers(&found) {
            let mut seen: BTreeMap<String, &str> = BTreeMap::new();
            for (name, value) in headers {
                let path = [table.as_slice(), &[Step::Key(name)]].concat();
                if !cx.knows(&path) {
                    continue;
                }
                let message = format!("{} cannot send header `{}`", found.words(), name.escape_debug());
                if let Some((wrong, of_name, hint)) = unsendable(name, value) {
                    let place = if of_name { cx.key(&path) } else { cx.value(&path) };
                    out.push(Diagnostic::new(&codes::CHECK_HEADER, place, message, wrong).hint(hint));
                } else if let Some(first) = seen.insert(name.to_ascii_lowercase(), name) {
                    let first = [table.as_slice(), &[Step::Key(first)]].concat();
                    let place = cx.key(&path);
                    out.push(
                        Diagnostic::new(&codes::CHECK_HEADER, place, message, "the same name again")
                            .also(cx.key(&first), "the first")
                            .hint("keep one of them: capitals make no difference"),
                    );
                }
            }
        }
    }
}

fn secret_header(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        for (table, headers) in headers(&found) {
            for name in headers.keys() {
                let path = [table.as_slice(), &[Step::Key(name)]].concat();
                let secret = SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
                if !secret || !cx.knows(&path) {
                    continue;
                }
                out.push(
                    Diagnostic::new(
                        &codes::SECRET_HEADER,
                        cx.key(&path),
                        format!("{} sends header `{}`, which stands in every plan", found.words(), name),
                        "readable by all who read plans",
                    )
                    .hint(
                        "let the server answer its health check without it, or use a `script` that knows it",
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_told_from_others() {
        for good in
            ["a", "www.example.com", "a.example.", "192.0.2.1", "2001:db8::1", "xn--bcher-kva.example"]
        {
            assert!(is_server_name(good), "{good}");
        }
        for bad in
            ["", ".", "a..b", "-a.b", "a b", "a:443", "[2001:db8::1]", "https://a", "b\u{fc}cher.example"]
        {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    #[test]
    fn headers_are_told_from_what_would_break_a_request() {
        for (name, value) in [("X-Probe", "1"), ("Accept", "a, b;q=0.5"), ("x!#", "\u{fc}"), ("A", "")] {
            assert_eq!(unsendable(name, value), None, "{name}: {value}");
        }
        for (name, value) in [
            ("", "a"),
            ("A:", "a"),
            ("A B", "a"),
            ("A", "a\r\nB: c"),
            ("A", " a"),
            ("A", "a\t"),
            ("HOST", "a"),
            ("A", "\0"),
        ] {
            assert!(unsendable(name, value).is_some(), "{name}: {value}");
        }
    }
}
