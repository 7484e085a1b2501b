//! Health checks: whom they ask, what, and when. How a plan spells them is in `text`.
//!
//! A check of another kind is a variant of [`CheckKind`], and the keys that it has in `text`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::is_default;
pub use crate::cluster::{CheckType, DnsRecord, HttpMethod, HttpVersion};
use crate::scalars::{Days, FirewallMark, InterfaceName, Ip, Name, Port, PortRange, Retries, Rise, Span};

mod text;

use text::Text;
pub use text::unhex;

/// A health check with everything filled in. Two that are equal are one check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "Text<'_>")]
#[schemars(with = "Text<'_>", rename = "Check")]
pub struct Check {
    /// Target; absent for what is on this host: a program or a file.
    pub target: Option<Target>,
    /// How its packets leave this host.
    pub origin: CheckOrigin,
    /// The way through IPVS, as a client's packets go; absent: straight to the target.
    pub through: Option<Through>,
    /// When it asks, and how often before its verdict changes.
    pub times: Times,
    /// What it asks.
    pub kind: CheckKind,
}

impl Check {
    /// The address that it asks; none for what is on this host.
    #[must_use]
    pub fn address(&self) -> Option<Ip> {
        self.target.map(|target| target.address)
    }

    /// Target for people: `192.0.2.1:80`, `192.0.2.1:80 through 192.0.2.120:80`, `192.0.2.1`, a program, a
    /// file.
    #[must_use]
    pub fn subject(&self) -> String {
        match (&self.kind, self.target) {
            (_, Some(target)) if let Some(through) = self.through => {
                format!("{target} through {}", through.socket_address())
            }
            (CheckKind::Script(script), _) => script.command.first().cloned().unwrap_or_default(),
            (CheckKind::File(file), _) => file.file.clone(),
            (_, Some(target)) => target.to_string(),
            (_, None) => String::new(),
        }
    }
}

/// Whom a check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Address that is asked.
    pub address: Ip,
    /// Port that is asked; absent for an echo request, which has none.
    pub port: Option<Port>,
}

impl Target {
    /// Both together; port 0 where there is none.
    #[must_use]
    pub fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.address.0, self.port.map_or(0, Port::get))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(_) => self.socket_address().fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// How the packets of a check leave this host; absent: as the kernel chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckOrigin {
    /// Own address that they come from.
    pub source: Option<Ip>,
    /// Interface that they go through (`SO_BINDTODEVICE`, socket(7)).
    pub interface: Option<InterfaceName>,
}

/// The way of a check through IPVS: it connects to a VIP, and its packets carry a mark, for which this host
/// has an IPVS service with the target as its only destination. That service is made of the check and of its
/// destination: of what forwards, where to, and the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// VIP that the check connects to.
    pub vip: Ip,
    /// Port of the VIP.
    pub port: Port,
    /// Mark of its packets (`SO_MARK`, socket(7)). One stands for one real server, the way that packets are
    /// forwarded to it, and with masquerade its port.
    pub mark: FirewallMark,
}

impl Through {
    /// VIP and port.
    #[must_use]
    pub fn socket_address(self) -> SocketAddr {
        SocketAddr::new(self.vip.0, self.port.get())
    }
}

/// When a check asks, and how its verdict changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Times {
    /// Time from the start of one probe to the start of the next.
    pub interval: Span,
    /// How long a probe may take.
    pub timeout: Span,
    /// How many times a failed probe is tried again before the verdict changes.
    pub retries: Retries,
    /// Time from a failed probe to its next try.
    pub retry_delay: Span,
    /// Successes in a row before a failed target counts as healthy again.
    pub rise: Rise,
    /// Each regular probe is made up to this much later than its time, by chance.
    pub jitter: Span,
    /// The first probe is made within this time; absent: as soon as can be, a thousand a second.
    pub warmup: Option<Span>,
    /// Whether the target counts as failing until its first probe succeeds.
    pub initially_down: bool,
}

impl Times {
    /// How long it takes a check at most to say that its target fails, with all its retries.
    #[must_use]
    pub fn turn(&self) -> Duration {
        let retries = u32::from(self.retries.get());
        let probes = self.timeout.as_duration().saturating_mul(retries + 1);
        probes + self.retry_delay.as_duration().saturating_mul(retries)
    }
}

/// Question of a check, the same for all destinations of a service and shared between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckKind {
    /// Healthy when a TCP connection opens, and what is said over it is right.
    Tcp(Arc<TcpCheck>),
    /// Healthy when a web server answers every request as it should.
    Http(Arc<HttpCheck>),
    /// Healthy when a datagram is not refused, or answered as it should be.
    Udp(Arc<UdpCheck>),
    /// Healthy when a name server answers.
    Dns(Arc<DnsCheck>),
    /// Healthy when an echo request is answered (ICMP, RFC 792; ICMPv6, RFC 4443).
    Ping,
    /// Healthy when a mail server greets and takes a greeting.
    Smtp(Arc<SmtpCheck>),
    /// Healthy when the server says that it serves (gRPC Health Checking Protocol).
    Grpc(Arc<GrpcCheck>),
    /// Healthy when a program succeeds.
    Script(Arc<ScriptCheck>),
    /// Healthy as a file on this host says.
    File(Arc<FileCheck>),
    /// Healthy as an agent on the real server says (HAProxy's `agent-check`). One that cannot be reached says
    /// nothing.
    Agent(Arc<AgentCheck>),
}

impl CheckKind {
    /// Whether it asks by a TCP connection.
    #[must_use]
    pub const fn is_by_tcp(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Http(_) | Self::Smtp(_) | Self::Grpc(_) | Self::Agent(_) => true,
            Self::Udp(_) | Self::Dns(_) | Self::Ping | Self::Script(_) | Self::File(_) => false,
        }
    }

    /// The TLS that it speaks; none where it speaks plainly.
    #[must_use]
    pub fn tls(&self) -> Option<&CheckTls> {
        match self {
            Self::Tcp(tcp) => tcp.tls.as_ref(),
            Self::Http(http) => http.tls.as_ref(),
            Self::Smtp(smtp) => smtp.tls.as_ref(),
            Self::Grpc(grpc) => grpc.tls.as_ref(),
            Self::Udp(_) | Self::Dns(_) | Self::Ping | Self::Script(_) | Self::File(_) | Self::Agent(_) => {
                None
            }
        }
    }
}

/// A TCP check.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TcpCheck {
    /// Bytes that are sent once the connection is open; empty: none.
    pub send: Vec<u8>,
    /// Regular expression that what is received must match; absent: nothing is waited for.
    pub expect: Option<String>,
    /// Speaks by TLS; absent: plainly.
    pub tls: Option<CheckTls>,
    /// Whether the connection is held, idle: one that breaks is a failure at once.
    pub hold: bool,
}

/// TLS of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckTls {
    /// Server name that is asked for (SNI, RFC 6066) and verified; absent: the address, without SNI.
    pub server_name: Option<String>,
    /// Whether the server's certificate is verified.
    pub verify: bool,
    /// PEM file of the authorities that may have signed it; absent: the host's.
    pub ca: Option<String>,
    /// PEM file of this host's certificate; absent: none.
    pub certificate: Option<String>,
    /// PEM file of the key of `certificate`.
    pub certificate_key: Option<String>,
    /// A certificate that expires within so many days is told of; absent: never.
    pub expiry_days: Option<Days>,
}

/// A check of a web server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpCheck {
    /// Requests that are made one after the other. At least one.
    pub requests: Vec<HttpRequest>,
    /// What asks for a drain.
    pub drain: HttpDrain,
    /// Version of HTTP.
    pub version: HttpVersion,
    /// By TLS; absent: plainly.
    pub tls: Option<CheckTls>,
}

/// What an answer by HTTP asks for a drain by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpDrain {
    /// Status codes.
    pub status: Vec<PortRange>,
    /// Name of a header, whatever its value.
    pub header: Option<String>,
}

/// A request of a check, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Method; absent: GET.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: HttpMethod,
    /// Path and query.
    pub path: String,
    /// The `Host` header; absent: the target's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Status codes that count as success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<PortRange>,
    /// Regular expression that the body must match; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Regular expression that the body must not match; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_not: Option<String>,
    /// MD5 of the body, as 32 hexadecimal digits (keepalived's `digest`); absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A check by datagrams.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UdpCheck {
    /// Bytes that are sent; empty: an empty datagram.
    pub send: Vec<u8>,
    /// Whether a datagram must come back. Otherwise only an ICMP error is a failure.
    pub require_reply: bool,
    /// Regular expression that the answer must match; absent: any.
    pub expect: Option<String>,
    /// Least and most bytes of the answer.
    pub reply_length: (u16, u16),
}

/// A check of a name server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsCheck {
    /// Name that is asked for.
    pub name: String,
    /// Type of record that is asked for.
    pub record: DnsRecord,
}

/// A check of a mail server.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SmtpCheck {
    /// Name to greet with; absent: the host's own.
    pub helo: Option<Name>,
    /// By TLS from the beginning; absent: plainly.
    pub tls: Option<CheckTls>,
}

/// A check of gRPC's health service.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrpcCheck {
    /// Name of the service that is asked for; empty: the whole server.
    pub service: String,
    /// The `:authority`; absent: the target's address.
    pub host: Option<String>,
    /// By TLS; absent: plainly.
    pub tls: Option<CheckTls>,
}

/// A check by a program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScriptCheck {
    /// Absolute path of the program, and its arguments.
    pub command: Vec<String>,
    /// User that it runs as; absent: `evenkeel_script` if the host has that user, or else `nobody`.
    pub user: Option<String>,
    /// Whether exit codes from 2 on set the weight to the code less 2.
    pub dynamic_weight: bool,
}

/// A check by a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileCheck {
    /// Absolute path: `0`, or no such file, is success.
    pub file: String,
    /// Regular expression that the file must match instead; absent: none.
    pub body: Option<String>,
}

/// A check by an agent of the real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentCheck {
    /// Bytes that are sent once the connection is open; empty: none.
    pub send: Vec<u8>,
}
