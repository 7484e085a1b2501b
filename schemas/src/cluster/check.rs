//! Health checks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{is_default, is_false};
use crate::scalars::{Days, InterfaceName, Ip, Name, Port, PortRange, Retries, Rise, Span};

/// Health check of a real server. Which keys it takes beyond the times depends on its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Kind of the check.
    #[serde(rename = "type")]
    pub kind: CheckType,
    /// Time from the start of one check to the start of the next.
    #[serde(default = "default_interval")]
    pub interval: Span,
    /// Longest time of one check.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Repetitions of a failed check before the real server is removed.
    #[serde(default = "default_retries")]
    pub retries: Retries,
    /// Time from a failed check to its next try.
    #[serde(default = "default_retry_delay")]
    pub retry_delay: Span,
    /// Successes in a row before a failed real server counts as healthy again. Absent: 1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rise: Rise,
    /// Each check is made up to this much later than its time, by chance. Absent: on time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// Longest random wait before the first check. Absent: it is made as soon as can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Span>,
    /// Count the real server as failing until the first check succeeds (keepalived: `alpha`). Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub initially_down: bool,
    /// Port to connect to. Absent: the destination's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Address to connect to. Absent: the destination's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ip>,
    /// Own address to connect from. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Ip>,
    /// Interface to connect through. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// `tcp`, `http`, `https`, `smtp`, `grpc`, `agent`: the way to the real server: to its own address, or
    /// through IPVS to the VIP, as a client's packets go. Absent: `address`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub via: Via,
    /// `http`, `https`: what is asked for. Absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `http`, `https`: method. Absent: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// `http`, `https`, `grpc`: the `Host` header (`:authority`), and by TLS the server name that is asked
    /// for unless `server_name` is there. Absent: the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `http`, `https`: answers that count as success, such as `["200-299", "301"]`. Absent: 200-299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<PortRange>,
    /// `http`, `https`, `file`: regular expression that the body or file must match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `http`, `https`: regular expression that the body must not match. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_not: Option<String>,
    /// `http`, `https`: MD5 of the body, as 32 hexadecimal digits (keepalived: `digest`). Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{32}$"))]
    pub digest: Option<String>,
    /// `http`, `https`: further headers of the request. They stand in the plan as they are: no place for
    /// secrets. Absent: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `http`, `https`: several requests in turn, all of which must succeed, instead of `path`, `method`,
    /// `body`, `body_not` and `digest`. Absent: one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<CheckRequest>,
    /// `http`, `https`: answers by which the real server asks to be drained, such as `["404"]` (HAProxy:
    /// `disable-on-404`): it is healthy and gets no new connections. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain_status: Vec<PortRange>,
    /// `http`, `https`: header of an answer by which the real server asks to be drained, whatever its value.
    /// Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_header: Option<String>,
    /// `http`, `https`: version of HTTP. Absent: 1.1.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http_version: HttpVersion,
    /// `tcp`, `smtp`, `grpc`: speak by TLS from the beginning. Absent: no; `https` always does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tls: bool,
    /// By TLS: server name that is asked for (SNI) and verified. Absent: `host`, or else none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// By TLS: verify the server's certificate. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verify_certificate: bool,
    /// By TLS: PEM file, on the director, of the authorities that may have signed the server's certificate.
    /// Absent: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// By TLS: PEM file, on the director, of the certificate that it shows. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// By TLS: PEM file, on the director, of the key of `certificate`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_key: Option<String>,
    /// By TLS: say so when the server's certificate expires within so many days. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_days: Option<Days>,
    /// `tcp`, `udp`, `agent`: text to send. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// `tcp`, `udp`: regular expression that the answer must match; `(?-u)\xff` stands for a byte. Absent:
    /// any answer, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    /// `tcp`: hold one idle connection; one that breaks is a failure at once. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hold: bool,
    /// `script`: program and arguments, run without a shell. Exit code 0 is success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// `script`: user that it runs as. Absent: `evenkeel_script` if the host has that user, or else `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `script`: exit codes from 2 on set the weight to the code less 2 (keepalived: `misc_dynamic`). Absent:
    /// no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dynamic_weight: bool,
    /// `tcp`, `udp`, `agent`: bytes to send, as hexadecimal text, instead of `send`. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([0-9A-Fa-f]{2}){1,512}$"))]
    pub payload: Option<String>,
    /// `udp`: a datagram must come back. Otherwise only an ICMP error is a failure. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_reply: bool,
    /// `udp`: least bytes of the answer. Absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_reply_length: Option<u16>,
    /// `udp`: most bytes of the answer. Absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_reply_length: Option<u16>,
    /// `grpc`: name of the service that is asked for. Absent: the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<String>,
    /// `dns`: name that is asked for. Absent: `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `dns`: type of record. Absent: SOA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<DnsRecord>,
    /// `smtp`: name to greet with. Absent: the director's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helo: Option<Name>,
    /// `file`: absolute path of a file on the director: `0`, or no such file, is success. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

impl Check {
    /// Whether it goes to the VIP, through IPVS. One that says where it goes to or comes from does not: `via`
    /// is then a default of all checks, and meant for others.
    #[must_use]
    pub fn is_through_service(&self) -> bool {
        let elsewhere = self.address.is_some() || self.source.is_some() || self.interface.is_some();
        self.via == Via::Service && self.kind.is_by_tcp() && !elsewhere
    }
}

/// A request of a check by HTTP, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckRequest {
    /// Path and query. Absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Method. Absent: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// The `Host` header. Absent: that of the check, or else the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further headers. Absent: those of the check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Answers that count as success, such as `["200-299", "301"]`. Absent: those of the check, or 200-299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<PortRange>,
    /// Regular expression that the body must match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Regular expression that the body must not match. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_not: Option<String>,
    /// MD5 of the body, as 32 hexadecimal digits. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9A-Fa-f]{32}$"))]
    pub digest: Option<String>,
}

/// Kind of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckType {
    /// A TCP connection opens.
    Tcp,
    /// A web server answers.
    Http,
    /// A web server answers over TLS.
    Https,
    /// A program succeeds.
    Script,
    /// A UDP port is not refused, or answers.
    Udp,
    /// A name server answers.
    Dns,
    /// An echo request is answered.
    Ping,
    /// A mail server greets.
    Smtp,
    /// A gRPC server says that it serves.
    Grpc,
    /// A file on the director says so.
    File,
    /// An agent on the real server says so.
    Agent,
}

impl CheckType {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Tcp,
        Self::Http,
        Self::Https,
        Self::Script,
        Self::Udp,
        Self::Dns,
        Self::Ping,
        Self::Smtp,
        Self::Grpc,
        Self::File,
        Self::Agent,
    ];

    /// Whether it asks by a TCP connection.
    #[must_use]
    pub const fn is_by_tcp(self) -> bool {
        match self {
            Self::Tcp | Self::Http | Self::Https | Self::Smtp | Self::Grpc | Self::Agent => true,
            Self::Script | Self::Udp | Self::Dns | Self::Ping | Self::File => false,
        }
    }

    /// The word in the cluster file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Script => "script",
            Self::Udp => "udp",
            Self::Dns => "dns",
            Self::Ping => "ping",
            Self::Smtp => "smtp",
            Self::Grpc => "grpc",
            Self::File => "file",
            Self::Agent => "agent",
        }
    }
}

/// The way of a check to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// To the real server's own address.
    #[default]
    Address,
    /// To the VIP, through IPVS: by direct routing, tunnel or masquerade, as a client's packets go.
    Service,
}

/// Version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub enum HttpVersion {
    /// HTTP/1.0 (RFC 1945).
    #[serde(rename = "1.0")]
    V1_0,
    /// HTTP/1.1 (RFC 9112).
    #[default]
    #[serde(rename = "1.1")]
    V1_1,
    /// HTTP/2 (RFC 9113), without TLS by prior knowledge.
    #[serde(rename = "2")]
    V2,
}

/// Method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// With a body in the answer.
    #[default]
    Get,
    /// Without.
    Head,
    /// Only the server's abilities are asked for.
    Options,
}

impl HttpMethod {
    /// As it is sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// Type of a DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsRecord {
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
    /// Alias.
    Cname,
    /// Mail exchanger.
    Mx,
    /// Name server.
    Ns,
    /// Start of authority.
    #[default]
    Soa,
    /// Text.
    Txt,
}

const fn default_interval() -> Span {
    Span::from_secs(5)
}

const fn default_timeout() -> Span {
    Span::from_secs(5)
}

fn default_retries() -> Retries {
    Retries::ONE
}

const fn default_retry_delay() -> Span {
    Span::from_secs(1)
}
