//! EK05xx: health checks, which and how many. Which keys go with which type stands here, once; what
//! the keys may hold is in `check_values`.

use std::collections::BTreeMap;

use evenkeel_schemas::cluster::{Check, CheckType, HttpVersion, Protocol, Service};
use evenkeel_schemas::scalars::Name;

use super::{Context, Findings, Rule};
use crate::codes;
use crate::diagnostic::Diagnostic;
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
const KEYS: [Key; 36] = [
    ("port", WITH_PORT, |check| check.port.is_some()),
    ("address", NETWORK, |check| check.address.is_some()),
    ("source", NETWORK, |check| check.source.is_some()),
    ("interface", NETWORK, |check| check.interface.is_some()),
    ("path", WEB, |check| check.path.is_some()),
    ("method", WEB, |check| check.method.is_some()),
    ("host", &[CheckType::Http, CheckType::Https, CheckType::Grpc], |check| check.host.is_some()),
    ("headers", WEB, |check| !check.headers.is_empty()),
    ("requests", WEB, |check| !check.requests.is_empty()),
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

/// Every key that some types of check do not have, and the types that have it.
pub(super) fn keys_of_types() -> impl Iterator<Item = (&'static str, &'static [CheckType])> {
    KEYS.iter().map(|(key, types, _)| (*key, *types))
}

/// The checks of a service, with where each is written.
pub(super) fn checks(service: &Service) -> impl Iterator<Item = (CheckAt, &Check)> {
    let first = service.check.as_deref().into_iter().map(|check| (CheckAt(None), check));
    first.chain(service.checks.iter().enumerate().map(|(index, check)| (CheckAt(Some(index)), check)))
}

/// Place of a check: `check`, or an item of `checks`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckAt(Option<usize>);

impl CheckAt {
    /// Path of the check.
    fn whole(self, service: &Name) -> Vec<Step<'_>> {
        let mut path = vec![Step::Key("services"), Step::Key(service.as_str())];
        match self.0 {
            None => path.push(Step::Key("check")),
            Some(index) => path.extend([Step::Key("checks"), Step::Index(index)]),
        }
        path
    }

    /// Path of a key of the check.
    pub(super) fn path<'p>(self, service: &'p Name, key: &'p str) -> Vec<Step<'p>> {
        let mut path = self.whole(service);
        path.push(Step::Key(key));
        path
    }
}

/// A check of a service.
pub(super) struct ServiceCheck<'a> {
    pub(super) name: &'a Name,
    service: &'a Service,
    pub(super) check: &'a Check,
    at: CheckAt,
}

impl ServiceCheck<'_> {
    pub(super) fn path<'p>(&'p self, key: &'p str) -> Vec<Step<'p>> {
        self.at.path(self.name, key)
    }

    pub(super) fn item<'p>(&'p self, key: &'p str, index: usize) -> Vec<Step<'p>> {
        let mut path = self.path(key);
        path.push(Step::Index(index));
        path
    }

    pub(super) fn knows(&self, cx: &Context<'_>, keys: &[&str]) -> bool {
        keys.iter().all(|key| cx.knows(&self.path(key)))
    }
}

/// Every check of every service.
pub(super) fn all<'a>(cx: &Context<'a>) -> impl Iterator<Item = ServiceCheck<'a>> {
    let services = cx.cluster.services.iter();
    services.flat_map(|(name, service)| {
        checks(service).map(move |(at, check)| ServiceCheck { name, service, check, at })
    })
}

fn tcp_check_on_udp(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let Some(protocol) = service.protocol.filter(|protocol| *protocol != Protocol::Tcp) else {
            continue;
        };
        if !cx.knows_keys(name, &["protocol", "firewall_mark"]) || service.firewall_mark.is_some() {
            continue;
        }
        let upper = protocol.to_string().to_uppercase();
        for (at, check) in checks(service) {
            if !BY_TCP.contains(&check.kind)
                || check.port.is_some()
                || !cx.knows(&at.path(name, "type"))
                || !cx.knows(&at.path(name, "port"))
            {
                continue;
            }
            let port = match service.port.filter(|_| cx.knows(at!["services", name, "port"])) {
                Some(port) => format!(" to port {port}"),
                None => String::new(),
            };
            out.push(
                Diagnostic::new(
                    &codes::TCP_CHECK_ON_UDP,
                    cx.value(&at.path(name, "type")),
                    format!("service `{name}` is {upper}, but its check connects by TCP{port}"),
                    "a TCP check",
                )
                .also(cx.value(at!["services", name, "protocol"]), "not tcp")
                .hint("give the check the `port` of something that listens on TCP, or remove the check"),
            );
        }
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
            let (name, kind) = (found.name, kind.as_str());
            let types = list(types.iter().map(|other| other.as_str())).unwrap_or_default();
            out.push(
                Diagnostic::new(
                    &codes::CHECK_KEY,
                    cx.key(&found.path(key)),
                    format!("the check of service `{name}` is of type {kind}, which has no `{key}`"),
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
            let (name, kind) = (found.name, check.kind.as_str());
            out.push(
                Diagnostic::new(
                    &codes::CHECK_KEY_MISSING,
                    cx.value(&found.path("type")),
                    format!("the check of service `{name}` is of type {kind} and has no `{key}`"),
                    format!("needs `{key}`"),
                )
                .hint(format!("add `{example}`")),
            );
        }
    }
}

fn check_without_port(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let (name, check) = (found.name, found.check);
        let (Some(mark), None) = (found.service.firewall_mark, check.port) else { continue };
        let own_port = |member: &crate::members::Member<'_>| {
            member.port().is_some() || !cx.knows_member(name, member, "port")
        };
        if !WITH_PORT.contains(&check.kind)
            || !found.knows(cx, &["type", "port"])
            || !cx.knows_keys(name, &["firewall_mark", "port", "ports"])
            || found.service.port.is_some()
            || !found.service.ports.is_empty()
            || cx.all_members(name, found.service).is_none_or(|members| members.iter().all(own_port))
        {
            continue;
        }
        out.push(
            Diagnostic::new(
                &codes::CHECK_WITHOUT_PORT,
                cx.value(&found.path("type")),
                format!("the {} check of service `{name}` does not know its port", check.kind.as_str()),
                "no `port`",
            )
            .also(cx.value(at!["services", name, "firewall_mark"]), format!("mark {mark} says no port"))
            .hint("add a `port` to the check, or use `type = \"ping\"`"),
        );
    }
}

fn udp_check_on_tcp(cx: &Context<'_>, out: &mut Findings) {
    for found in all(cx) {
        let (name, service, check) = (found.name, found.service, found.check);
        let other = service.protocol.filter(|protocol| *protocol != Protocol::Udp);
        let Some(protocol) = other.filter(|_| service.firewall_mark.is_none()) else { continue };
        let dns = service.port.is_some_and(|port| port.get() == DNS_PORT);
        let by_udp = match check.kind {
            CheckType::Udp => true,
            CheckType::Dns => !dns && cx.knows_keys(name, &["port"]),
            _ => false,
        };
        let known = found.knows(cx, &["type", "port"]) && cx.knows_keys(name, &["protocol", "firewall_mark"]);
        if !by_udp || check.port.is_some() || !known {
            continue;
        }
        let upper = protocol.to_string().to_uppercase();
        out.push(
            Diagnostic::new(
                &codes::UDP_CHECK_ON_TCP,
                cx.value(&found.path("type")),
                format!("service `{name}` is {upper}, but its check sends UDP"),
                "a UDP check",
            )
            .also(cx.value(at!["services", name, "protocol"]), "not udp")
            .hint("give the check the `port` of something that listens on UDP, or use `type = \"tcp\"`"),
        );
    }
}

fn duplicate_check(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        if service.checks.is_empty() || !cx.knows_all(at!["services", name]) {
            continue;
        }
        let mut seen: BTreeMap<String, CheckAt> = BTreeMap::new();
        for (at, check) in checks(service) {
            let Some(first) = seen.get(&format!("{check:?}")) else {
                seen.insert(format!("{check:?}"), at);
                continue;
            };
            out.push(
                Diagnostic::new(
                    &codes::DUPLICATE_CHECK,
                    cx.value(at.whole(name).as_slice()),
                    format!("service `{name}` has this {} check twice", check.kind.as_str()),
                    "the same again",
                )
                .also(cx.value(first.whole(name).as_slice()), "the first")
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
                    format!("the check of service `{}` goes from {source} to {address}", found.name),
                    "of another family",
                )
                .also(cx.value(&found.path("address")), "where it goes")
                .hint("choose a source of the same family, or remove `source`"),
            );
        }
    }
}

fn two_dynamic_weights(cx: &Context<'_>, out: &mut Findings) {
    for (name, service) in &cx.cluster.services {
        let known = |at: &CheckAt| ["type", "dynamic_weight"].iter().all(|key| cx.knows(&at.path(name, key)));
        let dynamic = checks(service)
            .filter(|(at, check)| check.dynamic_weight && check.kind == CheckType::Script && known(at));
        let places: Vec<_> = dynamic.map(|(at, _)| cx.key(&at.path(name, "dynamic_weight"))).collect();
        if let [first, again, ..] = places.as_slice() {
            out.push(
                Diagnostic::new(
                    &codes::TWO_DYNAMIC_WEIGHTS,
                    again.clone(),
                    format!("two checks of service `{name}` set the weights of its real servers"),
                    "sets the weight, too",
                )
                .also(first.clone(), "sets the weight")
                .hint("leave `dynamic_weight` with one of them"),
            );
        }
    }
}
