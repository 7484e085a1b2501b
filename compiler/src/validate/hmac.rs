//! EK049x: keys of HMAC on advertisements. Where passwords come from is in `secrets`.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{AntiReplay, Auth, KeySource, VirtualRouter};
use evenkeel_schemas::scalars::{Name, Span};

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[key_number, active_key, window, key_path];

/// Longest window, seconds: as keepalived's.
const LONGEST_WINDOW: u32 = 300;

/// The parts of `auth` that rules look at.
struct Signed<'a> {
    name: &'a Name,
    keys: &'a BTreeMap<String, KeySource>,
    active: u8,
    anti_replay: AntiReplay,
    window: Option<Span>,
}

fn signed<'a>((name, router): (&'a Name, &'a VirtualRouter)) -> Option<Signed<'a>> {
    match router.auth.as_ref()? {
        Auth::Pass { .. } => None,
        Auth::Hmac { keys, active, anti_replay, window, .. } => {
            Some(Signed { name, keys, active: *active, anti_replay: *anti_replay, window: *window })
        }
    }
}

fn all<'a>(cx: &'a Context<'_>) -> impl Iterator<Item = Signed<'a>> {
    cx.cluster.virtual_routers.iter().filter_map(signed)
}

/// The number that a key's name is; none for any other name. A number has one way to be written.
fn number(name: &str) -> Option<u8> {
    name.parse().ok().filter(|number: &u8| *number > 0 && number.to_string() == name)
}

fn key_number(cx: &Context<'_>, out: &mut Findings) {
    for Signed { name, keys, .. } in all(cx) {
        if !cx.knows(at!["virtual_routers", name, "auth", "keys"]) {
            continue;
        }
        let knows = |key: &str| cx.knows_all(at!["virtual_routers", name, "auth", "keys", key]);
        for key in keys.keys().filter(|key| number(key).is_none() && knows(key)) {
            out.push(
                Diagnostic::new(
                    &codes::KEY_NUMBER,
                    cx.key(at!["virtual_routers", name, "auth", "keys", key]),
                    format!("`{key}` is no number of a key of `{name}`"),
                    "not 1 to 255",
                )
                .hint(
                    "number the keys as the other routers of this VRID do: `keys = { 1 = { file = \"…\" } }`",
                ),
            );
        }
    }
}

fn active_key(cx: &Context<'_>, out: &mut Findings) {
    for Signed { name, keys, active, .. } in all(cx) {
        let known = |key| cx.knows(at!["virtual_routers", name, "auth", key]);
        let entries = cx.knows_all(at!["virtual_routers", name, "auth", "keys"]);
        if !known("active") || !entries || keys.contains_key(&active.to_string()) {
            continue;
        }
        let there: Vec<&str> = keys.keys().map(String::as_str).collect();
        let hint = match there.as_slice() {
            [] => "add it: `keys = { 1 = { file = \"/etc/evenkeel/vrrp-1.key\" } }`".to_owned(),
            there => format!("keys here: {}", there.join(", ")),
        };
        out.push(
            Diagnostic::new(
                &codes::ACTIVE_KEY,
                cx.value(at!["virtual_routers", name, "auth", "active"]),
                format!("`{name}` sends with key {active}, which is not among its keys"),
                "no such key",
            )
            .hint(hint),
        );
    }
}

fn window(cx: &Context<'_>, out: &mut Findings) {
    for Signed { name, anti_replay, window, .. } in all(cx) {
        let known = |key| cx.knows(at!["virtual_routers", name, "auth", key]);
        let Some(window) = window.filter(|_| known("window") && known("anti_replay")) else { continue };
        let (message, hint) = if anti_replay == AntiReplay::Monotonic {
            (
                format!("`{name}` has a window, and looks at no time"),
                "remove `window`, or `anti_replay = \"monotonic\"`".to_owned(),
            )
        } else if window.as_millis() % 1000 != 0
            || !(1..=LONGEST_WINDOW).contains(&(window.as_millis() / 1000))
        {
            (
                format!("a window of {window} cannot be had"),
                format!("whole seconds, 1 s to {LONGEST_WINDOW} s, on all routers of this VRID the same"),
            )
        } else {
            continue;
        };
        let place = cx.value(at!["virtual_routers", name, "auth", "window"]);
        out.push(Diagnostic::new(&codes::HMAC_WINDOW, place, message, "this window").hint(hint));
    }
}

fn key_path(cx: &Context<'_>, out: &mut Findings) {
    for Signed { name, keys, .. } in all(cx) {
        for (id, source) in keys {
            let path = at!["virtual_routers", name, "auth", "keys", id, "file"];
            let KeySource::File(file) = source else { continue };
            if file.starts_with('/') || !cx.knows(path) {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::SECRET_PATH,
                    cx.value(path),
                    format!("key {id} of `{name}` has no absolute path"),
                    "must begin with `/`",
                )
                .hint("name a file on the directors, such as \"/etc/evenkeel/vrrp-1.key\""),
            );
        }
    }
}
