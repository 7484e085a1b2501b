//! EK05xx: health checks, which and how many. Which keys go with which type stands here, once; what
//! the keys may hold is in `check_values`.

use std::collections::{BTreeMap, BTreeSet};

use evenkeel_schemas::cluster::{Check, CheckType, HttpVersion, Protocol, Service, Via};
use evenkeel_schemas::scalars::Name;

use super::written_checks::{Holder, WrittenCheck, all, by_service, places};
use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::members::Member;
use crate::path::{Step, at};
use crate::suggest::list;

pub(super) const RULES: &[Rule] = &[
    tcp_check_on_udp,
    check_key,
    check_key_missing,
    check_without_port,
    udp_check_on_tcp,
    duplicate_check,
    check_family,
    source_family,
    two_dynamic_weights,
];

/// Port of name servers, which answer there by TCP and UDP alike.
const DNS_PORT: u16 = 53;

const NETWORK: &[CheckType] = &[
    CheckType::Tcp,
    CheckType::Http,
    CheckType::Https,
    CheckType::Udp,
    CheckType::Dns,
    CheckType::Ping,
    CheckType::Smtp,
    CheckType::Grpc,
    CheckType::Agent,
];
const WITH_PORT: &[CheckType] = &[
    CheckType::Tcp,
    CheckType::Http,
    CheckType::Https,
    CheckType::Udp,
    CheckType::Dns,
    CheckType::Smtp,
    CheckType::Grpc,
    CheckType::Agent,
];
const WEB: &[CheckType] = &[CheckType::Http, CheckType::Https];
const BY_TCP: &[CheckType] =
    &[CheckType::Tcp, CheckType::Http, CheckType::Https, CheckType::Smtp, CheckType::Grpc, CheckType::Agent];
const BY_TLS: &[CheckType] = &[CheckType::Https, CheckType::Tcp, CheckType::Smtp, CheckType::Grpc];
const SENDERS: &[CheckType] = &[CheckType::Tcp, CheckType::Udp, CheckType::Agent];

/// A key of checks, the types that have it, and whether a check has it.
type Key = (&'static str, &'static [CheckType], fn(&Check) -> bool);

/// Every key that some types of check do not have.
const KEYS: [Key; 39] = [
    ("port", WITH_PORT, |check| check.port.is_some()),
    ("address", NETWORK, |check| check.address.is_some()),
    ("source", NETWORK, |check| check.source.is_some()),
    ("interface", NETWORK, |check| check.interface.is_some()),
    ("via", BY_TCP, |check| check.via != Via::default()),
    ("path", WEB, |check| check.path.is_some()),
    ("method", WEB, |check| check.method.is_some()),
    ("host", &[CheckType::Http, CheckType::Https, CheckType::Grpc], |check| check.host.is_some()),
    ("headers", WEB, |check| !check.headers.is_empty()),
    ("requests", WEB, |check| !check.requests.is_empty()),
    ("drain_status", WEB, |check| !check.drain_status.is_empty()),
    ("drain_header", WEB, |check| check.drain_header.is_some()),
    ("http_version", WEB, |check| check.http_version != HttpVersion::default()),
    ("status", WEB, |check| !check.status.is_empty()),
    ("body", &[CheckType::Http, CheckType::Https, CheckType::File], |check| check.body.is_some()),
    ("body_not", WEB, |check| check.body_not.is_some()),
    ("digest", WEB, |check| check.digest.is_some()),
    ("tls", &[CheckType::Tcp, CheckType::Smtp, CheckType::Grpc], |check| check.tls),
    ("server_name", BY_TLS, |check| check.server_name.is_some()),
    ("verify_certificate", BY_TLS, |check| check.verify_certificate),
    ("ca", BY_TLS, |check| check.ca.is_some()),
    ("certificate", BY_TLS, |check| check.certificate.is_some()),
    ("certificate_key", BY_TLS, |check| check.certificate_key.is_some()),
    ("expiry_days", BY_TLS, |check| check.expiry_days.is_some()),
    ("send", SENDERS, |check| check.send.is_some()),
    ("payload", SENDERS, |check| check.payload.is_some()),
    ("expect", &[CheckType::Tcp, CheckType::Udp], |check| check.expect.is_some()),
    ("hold", &[CheckType::Tcp], |check| check.hold),
    ("require_reply", &[CheckType::Udp], |check| check.require_reply),
    ("min_reply_length", &[CheckType::Udp], |check| check.min_reply_length.is_some()),
    ("max_reply_length", &[CheckType::Udp], |check| check.max_reply_length.is_some()),
    ("command", &[CheckType::Script], |check| !check.command.is_empty()),
    ("user", &[CheckType::Script], |check| check.user.is_some()),
    ("dynamic_weight", &[CheckType::Script], |check| check.dynamic_weight),
    ("name", &[CheckType::Dns], |check| check.name.is_some()),
    ("record", &[CheckType::Dns], |check| check.record.is_some()),
    ("helo", &[CheckType::Smtp], |check| check.helo.is_some()),
    ("grpc_service", &[CheckType::Grpc], |check| check.grpc_service.is_some()),
    ("file", &[CheckType::File], |check| check.file.is_some()),
];

/// Which checks of pools have been told of: each once, with the first service that finds fault with it.
struct Once<'a>(BTreeSet<Vec<Step<'a>>>);

impl<'a> Once<'a> {
    fn is_first(&mut self, written: &WrittenCheck<'a>) -> bool {
        matches!(written.holder, Holder::Service(_)) || self.0.insert(written.whole())
    }
}

/// A service's protocol, where it has one and no mark of a firewall.
fn protocol(cx: &Context<'_>, name: &Name, service: &Service) -> Option<Protocol> {
    let known = cx.knows_keys(name, &["protocol", "firewall_mark"]) && service.firewall_mark.is_none();
    service.protocol.filter(|_| known)
}

fn tcp_check_on_udp(cx: &Context<'_>, out: &mut Findings) {
    let mut once = Once(BTreeSet::new());
    for (name, service, written) in by_service(cx) {
        let check = written.check;
        if !BY_TCP.contains(&check.kind) || check.port.is_some() || !written.knows(cx, &["type", "port"]) {
            continue;
        }
        let other = protocol(cx, name, service).filter(|protocol| *protocol != Protocol::Tcp);
        let Some(protocol) = other.filter(|_| once.is_first(&written)) else { continue };
        let upper = protocol.to_string().to_uppercase();
        let port = match service.port.filter(|_| cx.knows(at!["services", name, "port"])) {
            Some(port) => format!(" to port {port}"),
            None => String::new(),
        };
        out.push(
            Diagnostic::new(
                &codes::TCP_CHECK_ON_UDP,
                cx.value(&written.path("type")),
                format!("service `{name}` is {upper}, but {} connects by TCP{port}", its_check(&written)),
                "a TCP check",
            )
            .also(cx.value(at!["services", name, "protocol"]), "not tcp")
            .hint("give the check the `port` of something that listens on TCP, or remove the check"),
        );
    }
}

/// A check in a sentence about its service.
fn its_check(written: &WrittenCheck<'_>) -> String {
    match written.holder {
        Holder::Service(_) => "its check".to_owned(),
        Holder::Entry { .. } => written.words(),
    }
}

fn check_key(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let kind = found.check.kind;
        for (key, types, given) in &KEYS {
            // A default of all checks is meant for those that have the key.
            if !given(found.check)
                || types.contains(&kind)
                || cx.cluster.defaults.check.keys.contains_key(*key)
                || !found.knows(cx, &["type", key])
            {
                continue;
            }
            let (words, kind) = (found.words(), kind.as_str());
            let types = list(types.iter().map(|other| other.as_str())).unwrap_or_default();
            out.push(
                Diagnostic::new(
                    &codes::CHECK_KEY,
                    cx.key(&found.path(key)),
                    format!("{words} is of type {kind}, which has no `{key}`"),
                    "has no effect",
                )
                .also(cx.value(&found.path("type")), "the type")
                .hint(format!("remove `{key}`; types that have it: {types}")),
            );
        }
    }
}

fn check_key_missing(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let check = found.check;
        let (key, example) = match check.kind {
            CheckType::Script if check.command.is_empty() => {
                ("command", "command = [\"/usr/local/bin/check\", \"--quick\"]")
            }
            CheckType::File if check.file.is_none() => ("file", "file = \"/run/maintenance\""),
            _ => continue,
        };
        if found.knows(cx, &["type", key]) {
            let (words, kind) = (found.words(), check.kind.as_str());
            out.push(
                Diagnostic::new(
                    &codes::CHECK_KEY_MISSING,
                    cx.value(&found.path("type")),
                    format!("{words} is of type {kind} and has no `{key}`"),
                    format!("needs `{key}`"),
                )
                .hint(format!("add `{example}`")),
            );
        }
    }
}

fn check_without_port(cx: &Context<'_>, out: &mut Findings) {
    let mut once = Once(BTreeSet::new());
    for (name, service, written) in by_service(cx) {
        let check = written.check;
        let (Some(mark), None) = (service.firewall_mark, check.port) else { continue };
        let portless = |member: &Member<'_>| {
            written.holder.covers(member) && member.port().is_none() && cx.knows_member(name, member, "port")
        };
        if !WITH_PORT.contains(&check.kind)
            || !written.knows(cx, &["type", "port"])
            || !cx.knows_keys(name, &["firewall_mark", "port", "ports"])
            || service.port.is_some()
            || !service.ports.is_empty()
            || cx.all_members(name, service).is_none_or(|members| !members.iter().any(portless))
            || !once.is_first(&written)
        {
            continue;
        }
        let of = match written.holder {
            Holder::Service(_) => format!("service `{name}`"),
            holder @ Holder::Entry { .. } => holder.words(),
        };
        out.push(
            Diagnostic::new(
                &codes::CHECK_WITHOUT_PORT,
                cx.value(&written.path("type")),
                format!("the {} check of {of} does not know its port", check.kind.as_str()),
                "no `port`",
            )
            .also(cx.value(at!["services", name, "firewall_mark"]), format!("mark {mark} says no port"))
            .hint("add a `port` to the check, or use `type = \"ping\"`"),
        );
    }
}

fn udp_check_on_tcp(cx: &Context<'_>, out: &mut Findings) {
    let mut once = Once(BTreeSet::new());
    for (name, service, written) in by_service(cx) {
        let check = written.check;
        let dns = service.port.is_some_and(|port| port.get() == DNS_PORT);
        let by_udp = match check.kind {
            CheckType::Udp => true,
            CheckType::Dns => !dns && cx.knows_keys(name, &["port"]),
            _ => false,
        };
        if !by_udp || check.port.is_some() || !written.knows(cx, &["type", "port"]) {
            continue;
        }
        let other = protocol(cx, name, service).filter(|protocol| *protocol != Protocol::Udp);
        let Some(protocol) = other.filter(|_| once.is_first(&written)) else { continue };
        let upper = protocol.to_string().to_uppercase();
        out.push(
            Diagnostic::new(
                &codes::UDP_CHECK_ON_TCP,
                cx.value(&written.path("type")),
                format!("service `{name}` is {upper}, but {} sends UDP", its_check(&written)),
                "a UDP check",
            )
            .also(cx.value(at!["services", name, "protocol"]), "not udp")
            .hint("give the check the `port` of something that listens on UDP, or use `type = \"tcp\"`"),
        );
    }
}

fn duplicate_check(cx: &Context<'_>, out: &mut Findings) {
    for (holder, checks) in places(cx) {
        if checks.len() < 2 || !checks.iter().all(|written| cx.knows_all(&written.whole())) {
            continue;
        }
        let mut seen: BTreeMap<String, &WrittenCheck<'_>> = BTreeMap::new();
        for written in checks {
            let key = format!("{:?}", written.check);
            let Some(first) = seen.get(&key) else {
                seen.insert(key, written);
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::DUPLICATE_CHECK,
                    cx.value(&written.whole()),
                    format!("{} has this {} check twice", holder.words(), written.check.kind.as_str()),
                    "the same again",
                )
                .also(cx.value(&first.whole()), "the first")
                .hint("remove one of them, or give it the `port` or `path` that was meant"),
            );
        }
    }
}

fn check_family(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let (Some(source), Some(address)) = (found.check.source, found.check.address) else { continue };
        if source.0.is_ipv4() != address.0.is_ipv4() && found.knows(cx, &["source", "address"]) {
            out.push(
                Diagnostic::new(
                    &codes::CHECK_FAMILY,
                    cx.value(&found.path("source")),
                    format!("{} goes from {source} to {address}", found.words()),
                    "of another family",
                )
                .also(cx.value(&found.path("address")), "where it goes")
                .hint("choose a source of the same family, or remove `source`"),
            );
        }
    }
}

fn source_family(cx: &Context<'_>, out: &mut Findings) {
    let mut once = Once(BTreeSet::new());
    let mut told = BTreeSet::new();
    for (name, service, written) in by_service(cx) {
        let (Some(source), None) = (written.check.source, written.check.address) else { continue };
        if !written.knows(cx, &["source", "address"]) {
            continue;
        }
        let vips = cx.client_vips(name, service);
        let other = cx.members(name).iter().find_map(|member| {
            let known = ["address", "check", "checks"].iter().all(|key| cx.knows_member(name, member, key))
                && cx.knows_all(at!["hosts", member.name]);
            let addresses = vips.iter().map(|vip| member.address(&cx.subnets, *vip));
            let other = addresses.filter(|address| address.0.is_ipv4() != source.0.is_ipv4()).min();
            other.filter(|_| known && written.holder.covers(member)).map(|address| (member, address))
        });
        let Some((member, address)) = other else { continue };
        if !once.is_first(&written) || !told.insert(written.whole()) {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::SOURCE_FAMILY,
                cx.value(&written.path("source")),
                format!(
                    "{} goes from {source}, and real server `{}` has the address {address}",
                    written.words(),
                    member.name
                ),
                "not used for it",
            )
            .also(cx.value(&member.written_at(name)), "the real server")
            .hint("remove `source`, or give this real server a check of its own"),
        );
    }
}

fn two_dynamic_weights(cx: &Context<'_>, out: &mut Findings) {
    for (holder, checks) in places(cx) {
        let dynamic = checks.iter().filter(|written| {
            let check = written.check;
            check.dynamic_weight
                && check.kind == CheckType::Script
                && written.knows(cx, &["type", "dynamic_weight"])
        });
        let places: Vec<_> = dynamic.map(|written| cx.key(&written.path("dynamic_weight"))).collect();
        let [first, again, ..] = places.as_slice() else { continue };
        let whose = match holder {
            Holder::Service(name) => format!("service `{name}` set the weights of its real servers"),
            Holder::Entry { .. } => format!("{} set its weight", holder.words()),
        };
        out.push(
            Diagnostic::new(
                &codes::TWO_DYNAMIC_WEIGHTS,
                again.clone(),
                format!("two checks of {whose}"),
                "sets the weight, too",
            )
            .also(first.clone(), "sets the weight")
            .hint("leave `dynamic_weight` with one of them"),
        );
    }
}
