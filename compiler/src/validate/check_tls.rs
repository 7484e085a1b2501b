//! EK05xx: health checks, fifth part: TLS.

use evenkeel_schemas::cluster::{Check, CheckType};

use super::written_checks::all;
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;

pub(super) const RULES: &[Rule] = &[tls_key_without_tls, half_certificate, authority_unused];

/// A key of checks by TLS, and whether a check has it.
type Key = (&'static str, fn(&Check) -> bool);

const KEYS: [Key; 6] = [
    ("server_name", |check| check.server_name.is_some()),
    ("verify_certificate", |check| check.verify_certificate),
    ("ca", |check| check.ca.is_some()),
    ("certificate", |check| check.certificate.is_some()),
    ("certificate_key", |check| check.certificate_key.is_some()),
    ("expiry_days", |check| check.expiry_days.is_some()),
];

fn tls_key_without_tls(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        if check.tls || !matches!(check.kind, CheckType::Tcp | CheckType::Smtp | CheckType::Grpc) {
            continue;
        }
        for (key, given) in KEYS {
            // A default of all checks is meant for those that speak TLS.
            if !given(check)
                || cx.cluster.defaults.check.keys.contains_key(key)
                || !found.knows(cx, &["type", "tls", key])
            {
                continue;
            }
            out.push(
                Diagnostic::new(
                    &codes::TLS_KEY_WITHOUT_TLS,
                    cx.key(&found.path(key)),
                    format!("{} has `{key}` and does not speak TLS", found.words()),
                    "has no effect",
                )
                .also(cx.value(&found.path("type")), "plain")
                .hint(format!("add `tls = true`, or remove `{key}`")),
            );
        }
    }
}

fn half_certificate(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        let (there, missing) = match (&check.certificate, &check.certificate_key) {
            (Some(_), None) => ("certificate", "certificate_key"),
            (None, Some(_)) => ("certificate_key", "certificate"),
            _ => continue,
        };
        if found.knows(cx, &[there, missing]) {
            out.push(
                Diagnostic::new(
                    &codes::HALF_CERTIFICATE,
                    cx.key(&found.path(there)),
                    format!("{} has `{there}` without `{missing}`", found.words()),
                    "is no use alone",
                )
                .hint(format!("add `{missing}`; both may name one file that has both")),
            );
        }
    }
}

fn authority_unused(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        let by_tls = check.tls || check.kind == CheckType::Https;
        if check.ca.is_none()
            || check.verify_certificate
            || !by_tls
            || cx.cluster.defaults.check.keys.contains_key("ca")
            || !found.knows(cx, &["type", "tls", "ca", "verify_certificate"])
        {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::AUTHORITY_UNUSED,
                cx.key(&found.path("ca")),
                format!("{} names authorities and verifies no certificate", found.words()),
                "has no effect",
            )
            .hint("add `verify_certificate = true`, or remove `ca`"),
        );
    }
}
