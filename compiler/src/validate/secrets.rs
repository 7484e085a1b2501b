//! EK04xx, second part: passwords and where they come from.

use evenkeel_schemas::cluster::{Auth, SecretSource};
use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::path::at;

pub(super) const RULES: &[Rule] = &[auth_needs_v2, bad_password, literal_secret, secret_path];

/// Bytes of a PASS password on the wire (RFC 2338 §5.3.10).
const PASS_BYTES: usize = 8;

/// The sources of passwords. What a source says may still be unknown.
fn passwords<'a>(cx: &'a Context<'_>) -> impl Iterator<Item = (&'a Name, &'a SecretSource)> {
    cx.cluster.virtual_routers.iter().filter_map(|(name, router)| {
        let Some(Auth::Pass { secret }) = &router.auth else { return None };
        cx.knows(at!["virtual_routers", name, "auth", "secret"]).then_some((name, secret))
    })
}

/// Whether it is known what the source `key` of a password says.
fn knows(cx: &Context<'_>, name: &Name, key: &str) -> bool {
    cx.knows(at!["virtual_routers", name, "auth", "secret", key])
}

fn auth_needs_v2(cx: &Context<'_>, out: &mut Findings) {
    for (name, router) in &cx.cluster.virtual_routers {
        let known = |key| cx.knows(at!["virtual_routers", name, key]);
        let password = matches!(router.auth, Some(Auth::Pass { .. }));
        let knows_type = cx.knows(at!["virtual_routers", name, "auth", "type"]);
        if password && router.version != 2 && known("auth") && knows_type && known("version") {
            out.push(
                Diagnostic::new(
                    &codes::AUTH_NEEDS_V2,
                    cx.key(at!["virtual_routers", name, "auth"]),
                    format!("`{name}` has a password, but VRRP version {} has none", router.version),
                    "needs version 2",
                )
                .hint(
                    "remove `auth`, use `type = \"hmac\"`, or write `version = 2` if the other routers of \
                     this VRID use it",
                ),
            );
        }
    }
}

fn bad_password(cx: &Context<'_>, out: &mut Findings) {
    for (name, secret) in passwords(cx) {
        let SecretSource::Literal(text) = secret else {
            continue;
        };
        let wrong = if !knows(cx, name, "literal") {
            continue;
        } else if text.is_empty() {
            "is empty".to_owned()
        } else if text.len() > PASS_BYTES {
            format!("has {} bytes; at most {PASS_BYTES} are sent", text.len())
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            "holds characters that are not printable ASCII".to_owned()
        } else {
            continue;
        };
        out.push(
            Diagnostic::new(
                &codes::BAD_PASSWORD,
                cx.value(at!["virtual_routers", name, "auth", "secret", "literal"]),
                format!("the password of `{name}` {wrong}"),
                "not a PASS password",
            )
            .hint(format!(
                "use 1 to {PASS_BYTES} printable ASCII characters, the same on every router of this VRID"
            )),
        );
    }
}

fn literal_secret(cx: &Context<'_>, out: &mut Findings) {
    for (name, secret) in passwords(cx) {
        if matches!(secret, SecretSource::Literal(_)) {
            out.push(
                Diagnostic::new(
                    &codes::LITERAL_SECRET,
                    cx.key(at!["virtual_routers", name, "auth", "secret", "literal"]),
                    format!("the password of `{name}` is written in this file"),
                    "whoever can read the repository can read it",
                )
                .hint("use `secret = { file = \"/etc/evenkeel/vrrp.pass\" }` or `{ credential = \"vrrp\" }`"),
            );
        }
    }
}

fn secret_path(cx: &Context<'_>, out: &mut Findings) {
    for (name, secret) in passwords(cx) {
        let SecretSource::File(path) = secret else {
            continue;
        };
        if !path.starts_with('/') && knows(cx, name, "file") {
            out.push(
                Diagnostic::new(
                    &codes::SECRET_PATH,
                    cx.value(at!["virtual_routers", name, "auth", "secret", "file"]),
                    format!("the secret of `{name}` has no absolute path"),
                    "must begin with `/`",
                )
                .hint("name a file on the directors, such as \"/etc/evenkeel/vrrp.pass\""),
            );
        }
    }
}
