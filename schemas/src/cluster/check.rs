//! Health checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_false;
use crate::scalars::{InterfaceName, Ip, Name, Port, PortRange, Retries, Span};

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
    /// Longest random wait before the first check. Absent: the interval.
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
    /// `http`, `https`: what is asked for. Absent: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `http`, `https`: method. Absent: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
    /// `http`, `https`: the `Host` header, and with `https` the server name that is asked for (SNI).
    /// Absent: the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `http`, `https`: answers that count as success, such as `["200-299", "301"]`. Absent: 200-299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<PortRange>,
    /// `http`, `https`, `file`: regular expression that the body or file must match. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// `https`, `smtp`: verify the server's certificate. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub verify_certificate: bool,
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
    /// `udp`: bytes to send, as hexadecimal text. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([0-9A-Fa-f]{2}){1,512}$"))]
    pub payload: Option<String>,
    /// `udp`: a datagram must come back. Otherwise only an ICMP error is a failure. Absent: no.
    #[serde(default, skip_serializing_if = "is_false")]
    pub require_reply: bool,
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
    /// A file on the director says so.
    File,
}

impl CheckType {
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
            Self::File => "file",
        }
    }
}

/// Method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// With a body in the answer.
    Get,
    /// Without.
    Head,
}

/// Type of a DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
