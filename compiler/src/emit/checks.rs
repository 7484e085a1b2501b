//! The checks of a destination: what a plan asks, with everything filled in. Which keys a type has is judged
//! by `validate/checks`.

use std::sync::Arc;

use evenkeel_schemas::cluster::{Check, CheckRequest, CheckType};
use evenkeel_schemas::plan;
use evenkeel_schemas::scalars::{Ip, Port, PortRange, Span};

use crate::resolve::RealServer;

/// Status codes that count as success where none are written.
const GOOD: (u16, u16) = (200, 299);

/// Question of a check, the same for all of its destinations; none where its file is missing, which a rule
/// refuses.
pub(super) fn kind(check: &Check) -> Option<plan::CheckKind> {
    Some(match check.kind {
        CheckType::Ping => plan::CheckKind::Ping,
        CheckType::Script => plan::CheckKind::Script(Arc::new(script(check))),
        CheckType::File => {
            let (file, body) = (check.file.clone()?, check.body.clone());
            plan::CheckKind::File(Arc::new(plan::FileCheck { file, body }))
        }
        CheckType::Tcp => {
            let (expect, hold) = (check.expect.clone(), check.hold);
            let tcp = plan::TcpCheck { send: send(check), expect, tls: tls(check), hold };
            plan::CheckKind::Tcp(Arc::new(tcp))
        }
        CheckType::Http | CheckType::Https => {
            let http = plan::HttpCheck {
                requests: requests(check),
                drain: drain(check),
                version: check.http_version,
                tls: tls(check),
            };
            plan::CheckKind::Http(Arc::new(http))
        }
        CheckType::Udp => {
            let udp = plan::UdpCheck {
                send: send(check),
                require_reply: check.require_reply,
                expect: check.expect.clone(),
                reply_length: (
                    check.min_reply_length.unwrap_or(0),
                    check.max_reply_length.unwrap_or(u16::MAX),
                ),
            };
            plan::CheckKind::Udp(Arc::new(udp))
        }
        CheckType::Dns => {
            let name = check.name.clone().unwrap_or_else(|| ".".to_owned());
            let dns = plan::DnsCheck { name, record: check.record.unwrap_or_default() };
            plan::CheckKind::Dns(Arc::new(dns))
        }
        CheckType::Smtp => {
            let smtp = plan::SmtpCheck { helo: check.helo.clone(), tls: tls(check) };
            plan::CheckKind::Smtp(Arc::new(smtp))
        }
        CheckType::Grpc => {
            let service = check.grpc_service.clone().unwrap_or_default();
            let grpc = plan::GrpcCheck { service, host: check.host.clone(), tls: tls(check) };
            plan::CheckKind::Grpc(Arc::new(grpc))
        }
        CheckType::Agent => plan::CheckKind::Agent(Arc::new(plan::AgentCheck { send: send(check) })),
    })
}

/// A check of one destination; none where it does not know its port, which a rule refuses. `kind` is that of
/// the check, `through` the way that it goes through IPVS with the address that it comes from, if it does.
pub(super) fn explicit(
    check: &Check,
    kind: &plan::CheckKind,
    server: &RealServer,
    port: Option<Port>,
    through: Option<(Ip, plan::Through)>,
) -> Option<plan::Check> {
    let address = check.address.unwrap_or(server.address);
    let target = match kind {
        plan::CheckKind::Script(_) | plan::CheckKind::File(_) => None,
        plan::CheckKind::Ping => Some(plan::Target { address, port: None }),
        _ => Some(plan::Target { address, port: Some(check.port.or(port)?) }),
    };
    // An address of the other family is no use to packets to this one.
    let source = check.source.filter(|source| source.0.is_ipv4() == address.0.is_ipv4());
    let source = through.map_or(source, |(source, _)| Some(source));
    Some(plan::Check {
        target,
        origin: plan::CheckOrigin { source, interface: check.interface.clone() },
        through: through.map(|(_, through)| through),
        times: plan::Times {
            interval: check.interval,
            timeout: check.timeout,
            retries: check.retries,
            retry_delay: check.retry_delay,
            rise: check.rise,
            jitter: check.jitter.unwrap_or(Span::ZERO),
            warmup: check.warmup,
            initially_down: check.initially_down,
        },
        kind: kind.clone(),
    })
}

fn script(check: &Check) -> plan::ScriptCheck {
    let (command, user) = (check.command.clone(), check.user.clone());
    plan::ScriptCheck { command, user, dynamic_weight: check.dynamic_weight }
}

fn send(check: &Check) -> Vec<u8> {
    let text = || check.send.clone().map(String::into_bytes);
    check.payload.as_deref().and_then(plan::unhex).or_else(text).unwrap_or_default()
}

fn tls(check: &Check) -> Option<plan::CheckTls> {
    (check.tls || check.kind == CheckType::Https).then(|| plan::CheckTls {
        server_name: check.server_name.clone().or_else(|| check.host.clone()),
        verify: check.verify_certificate,
        ca: check.ca.clone(),
        certificate: check.certificate.clone(),
        certificate_key: check.certificate_key.clone(),
        expiry_days: check.expiry_days,
    })
}

fn requests(check: &Check) -> Vec<plan::HttpRequest> {
    let single = [CheckRequest {
        path: check.path.clone(),
        method: check.method,
        host: None,
        headers: Default::default(),
        status: Vec::new(),
        body: check.body.clone(),
        body_not: check.body_not.clone(),
        digest: check.digest.clone(),
    }];
    let given = if check.requests.is_empty() { single.as_slice() } else { &check.requests };
    given.iter().map(|request| explicit_request(check, request)).collect()
}

fn explicit_request(check: &Check, request: &CheckRequest) -> plan::HttpRequest {
    let status = [&request.status, &check.status].into_iter().find(|status| !status.is_empty());
    let good = || {
        let (first, last) = (Port::new(GOOD.0).ok()?, Port::new(GOOD.1).ok()?);
        PortRange::new(first, last)
    };
    plan::HttpRequest {
        method: request.method.or(check.method).unwrap_or_default(),
        path: request.path.clone().unwrap_or_else(|| "/".to_owned()),
        host: request.host.clone().or_else(|| check.host.clone()),
        headers: if request.headers.is_empty() { check.headers.clone() } else { request.headers.clone() },
        status: status.cloned().unwrap_or_else(|| good().into_iter().collect()),
        body: request.body.clone(),
        body_not: request.body_not.clone(),
        digest: request.digest.as_deref().map(str::to_ascii_lowercase),
    }
}

/// What asks for a drain. Names of headers are equal in capitals and small letters.
fn drain(check: &Check) -> plan::HttpDrain {
    let header = check.drain_header.as_deref().map(str::to_ascii_lowercase);
    plan::HttpDrain { status: check.drain_status.clone(), header }
}
