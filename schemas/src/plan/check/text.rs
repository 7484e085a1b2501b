//! A check as a plan spells it: one flat table. Which keys go with which type is decided here, so that a plan
//! with a key that means nothing is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    AgentCheck, Check, CheckKind, CheckOrigin, CheckTls, CheckType, DnsCheck, DnsRecord, FileCheck,
    GrpcCheck, HttpCheck, HttpDrain, HttpMethod, HttpRequest, HttpVersion, ScriptCheck, SmtpCheck, Target,
    TcpCheck, Through, Times, UdpCheck,
};
use crate::cluster::{is_default, is_false};
use crate::scalars::{Days, InterfaceName, Ip, Name, Port, PortRange, Retries, Rise, Span};

/// A health check with everything filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Text<'a> {
    /// Kind of the check. It decides which of the other keys there are.
    #[serde(rename = "type")]
    kind: Option<CheckType>,
    /// Address that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Ip>,
    /// Port that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<Port>,
    /// Own address that packets come from; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Ip>,
    /// Interface that packets go through; absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interface: Option<InterfaceName>,
    /// By TCP: the way through IPVS, as a client's packets go; absent: straight to the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    through: Option<Through>,
    /// Time from the start of one check to the start of the next.
    interval: Option<Span>,
    /// Longest time of one check.
    timeout: Option<Span>,
    /// How many times a failed check is tried again before the verdict changes.
    retries: Option<Retries>,
    /// Time from a failed check to its next try.
    retry_delay: Option<Span>,
    /// Successes in a row before a failed target counts as healthy again; absent: 1.
    #[serde(default, skip_serializing_if = "is_default")]
    rise: Rise,
    /// Each check is made up to this much later than its time, by chance; absent: on time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Span>,
    /// The first check is made within this time; absent: as soon as can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warmup: Option<Span>,
    /// Whether the target counts as failing until its first check succeeds.
    #[serde(default, skip_serializing_if = "is_false")]
    initially_down: bool,
    /// `tcp`, `udp`, `agent`: text that is sent; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    send: Option<Cow<'a, str>>,
    /// `tcp`, `udp`, `agent`: bytes that are sent, where they are no text, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^([0-9A-Fa-f]{2})+$"))]
    payload: Option<Cow<'a, str>>,
    /// `tcp`, `udp`: regular expression that the answer must match; absent: any answer, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Cow<'a, str>>,
    /// `tcp`: whether one idle connection is held.
    #[serde(default, skip_serializing_if = "is_false")]
    hold: bool,
    /// `udp`: whether a datagram must come back.
    #[serde(default, skip_serializing_if = "is_false")]
    require_reply: bool,
    /// `udp`: least bytes of the answer; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_reply_length: Option<u16>,
    /// `udp`: most bytes of the answer; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_reply_length: Option<u16>,
    /// `tcp`, `smtp`, `grpc`: whether it speaks by TLS; `https` always does.
    #[serde(default, skip_serializing_if = "is_false")]
    tls: bool,
    /// By TLS: server name that is asked for (SNI) and verified; absent: the address, without SNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<Cow<'a, str>>,
    /// By TLS: whether the server's certificate is verified.
    #[serde(default, skip_serializing_if = "is_false")]
    verify_certificate: bool,
    /// By TLS: PEM file of the authorities that may have signed it; absent: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<Cow<'a, str>>,
    /// By TLS: PEM file of the certificate that is shown; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Cow<'a, str>>,
    /// By TLS: PEM file of the key of `certificate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate_key: Option<Cow<'a, str>>,
    /// By TLS: a certificate that expires within so many days is told of; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiry_days: Option<Days>,
    /// `http`, `https`: version of HTTP; absent: 1.1.
    #[serde(default, skip_serializing_if = "is_default")]
    http_version: HttpVersion,
    /// `http`, `https`: method; absent: GET.
    #[serde(default, skip_serializing_if = "is_default")]
    method: HttpMethod,
    /// `http`, `https`: path and query; absent where there are `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    /// `http`, `https`, `grpc`: the `Host` header (`:authority`); absent: the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    /// `http`, `https`: further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: Cow<'a, BTreeMap<String, String>>,
    /// `http`, `https`: status codes that count as success.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    status: Cow<'a, [PortRange]>,
    /// `http`, `https`, `file`: regular expression that the body or file must match; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    /// `http`, `https`: regular expression that the body must not match; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_not: Option<Cow<'a, str>>,
    /// `http`, `https`: MD5 of the body; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Cow<'a, str>>,
    /// `http`, `https`: status codes by which the target asks to be drained; absent: none.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    drain_status: Cow<'a, [PortRange]>,
    /// `http`, `https`: header by which the target asks to be drained, whatever its value; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drain_header: Option<Cow<'a, str>>,
    /// `http`, `https`: several requests in turn; absent: one, of the keys above.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    requests: Cow<'a, [HttpRequest]>,
    /// `dns`: name that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    /// `dns`: type of record that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<DnsRecord>,
    /// `smtp`: name to greet with; absent: the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    helo: Option<Name>,
    /// `grpc`: name of the service that is asked for; absent: the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc_service: Option<Cow<'a, str>>,
    /// `script`: absolute path of the program, and its arguments.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    command: Cow<'a, [String]>,
    /// `script`: user that it runs as; absent: `evenkeel_script` if the host has that user, or else `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    /// `script`: whether exit codes from 2 on set the weight to the code less 2.
    #[serde(default, skip_serializing_if = "is_false")]
    dynamic_weight: bool,
    /// `file`: absolute path of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<Cow<'a, str>>,
}

/// Why a table is no check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoCheck {
    /// The type needs this key.
    Missing(&'static str),
    /// The type does not have one of the keys that are there.
    Surplus(CheckType),
    /// `payload` is not hexadecimal, or there is `send`, too.
    Payload,
}

impl std::fmt::Display for NoCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(key) => write!(f, "the check has no `{key}`"),
            Self::Surplus(kind) => {
                write!(f, "the check of type {} has a key that is of another type", kind.as_str())
            }
            Self::Payload => f.write_str("`payload` must be hexadecimal digits, and without `send`"),
        }
    }
}

impl TryFrom<Text<'_>> for Check {
    type Error = NoCheck;

    fn try_from(text: Text<'_>) -> Result<Self, NoCheck> {
        let check = text.clone().check()?;
        let sends = matches!(check.kind, CheckKind::Tcp(_) | CheckKind::Udp(_) | CheckKind::Agent(_));
        if !sends && (text.send.is_some() || text.payload.is_some()) {
            return Err(NoCheck::Surplus(check.kind.kind()));
        }
        // Text that is written from the check has the keys of its type only.
        let again = Text { payload: None, send: None, ..Text::from(&check) };
        if again == (Text { payload: None, send: None, ..text }) {
            return Ok(check);
        }
        Err(NoCheck::Surplus(check.kind.kind()))
    }
}

impl CheckKind {
    /// The word of a kind. By TLS, a web server's is another one.
    #[must_use]
    pub fn kind(&self) -> CheckType {
        match self {
            Self::Tcp(_) => CheckType::Tcp,
            Self::Http(http) if http.tls.is_some() => CheckType::Https,
            Self::Http(_) => CheckType::Http,
            Self::Udp(_) => CheckType::Udp,
            Self::Dns(_) => CheckType::Dns,
            Self::Ping => CheckType::Ping,
            Self::Smtp(_) => CheckType::Smtp,
            Self::Grpc(_) => CheckType::Grpc,
            Self::Script(_) => CheckType::Script,
            Self::File(_) => CheckType::File,
            Self::Agent(_) => CheckType::Agent,
        }
    }
}

fn needed<T>(key: &'static str, value: Option<T>) -> Result<T, NoCheck> {
    value.ok_or(NoCheck::Missing(key))
}

fn owned(text: Option<Cow<'_, str>>) -> Option<String> {
    text.map(Cow::into_owned)
}

impl Text<'_> {
    fn check(self) -> Result<Check, NoCheck> {
        let kind = needed("type", self.kind)?;
        let times = Times {
            interval: needed("interval", self.interval)?,
            timeout: needed("timeout", self.timeout)?,
            retries: needed("retries", self.retries)?,
            retry_delay: needed("retry_delay", self.retry_delay)?,
            rise: self.rise,
            jitter: self.jitter.unwrap_or(Span::ZERO),
            warmup: self.warmup,
            initially_down: self.initially_down,
        };
        let target = match kind {
            CheckType::Script | CheckType::File => None,
            CheckType::Ping => Some(Target { address: needed("address", self.address)?, port: None }),
            _ => {
                let port = Some(needed("port", self.port)?);
                Some(Target { address: needed("address", self.address)?, port })
            }
        };
        let origin = CheckOrigin { source: self.source, interface: self.interface.clone() };
        let through = self.through;
        let kind = self.kind_of(kind)?;
        // Through IPVS goes what is a connection, from an address that no VIP can take the place of.
        if through.is_some() && !kind.is_by_tcp() {
            return Err(NoCheck::Surplus(kind.kind()));
        }
        if through.is_some() {
            needed("source", origin.source)?;
        }
        Ok(Check { target, origin, through, times, kind })
    }

    fn kind_of(self, kind: CheckType) -> Result<CheckKind, NoCheck> {
        let tls = (self.tls || kind == CheckType::Https).then(|| CheckTls {
            server_name: owned(self.server_name),
            verify: self.verify_certificate,
            ca: owned(self.ca),
            certificate: owned(self.certificate),
            certificate_key: owned(self.certificate_key),
            expiry_days: self.expiry_days,
        });
        let send = match (self.send, self.payload.as_deref().map(unhex)) {
            (send, None) => owned(send).unwrap_or_default().into_bytes(),
            (None, Some(Some(bytes))) => bytes,
            (_, Some(_)) => return Err(NoCheck::Payload),
        };
        Ok(match kind {
            CheckType::Tcp => {
                CheckKind::Tcp(Arc::new(TcpCheck { send, expect: owned(self.expect), tls, hold: self.hold }))
            }
            CheckType::Http | CheckType::Https => {
                let requests = if self.requests.is_empty() {
                    vec![HttpRequest {
                        method: self.method,
                        path: needed("path", owned(self.path))?,
                        host: owned(self.host),
                        headers: self.headers.into_owned(),
                        status: self.status.into_owned(),
                        body: owned(self.body),
                        body_not: owned(self.body_not),
                        digest: owned(self.digest),
                    }]
                } else {
                    self.requests.into_owned()
                };
                let drain =
                    HttpDrain { status: self.drain_status.into_owned(), header: owned(self.drain_header) };
                CheckKind::Http(Arc::new(HttpCheck { requests, drain, version: self.http_version, tls }))
            }
            CheckType::Udp => {
                let length = (self.min_reply_length.unwrap_or(0), self.max_reply_length.unwrap_or(u16::MAX));
                let (require_reply, expect) = (self.require_reply, owned(self.expect));
                CheckKind::Udp(Arc::new(UdpCheck { send, require_reply, expect, reply_length: length }))
            }
            CheckType::Dns => CheckKind::Dns(Arc::new(DnsCheck {
                name: needed("name", owned(self.name))?,
                record: needed("record", self.record)?,
            })),
            CheckType::Ping => CheckKind::Ping,
            CheckType::Smtp => CheckKind::Smtp(Arc::new(SmtpCheck { helo: self.helo, tls })),
            CheckType::Grpc => CheckKind::Grpc(Arc::new(GrpcCheck {
                service: owned(self.grpc_service).unwrap_or_default(),
                host: owned(self.host),
                tls,
            })),
            CheckType::Script if self.command.is_empty() => return Err(NoCheck::Missing("command")),
            CheckType::Script => CheckKind::Script(Arc::new(ScriptCheck {
                command: self.command.into_owned(),
                user: owned(self.user),
                dynamic_weight: self.dynamic_weight,
            })),
            CheckType::File => {
                let (file, body) = (needed("file", owned(self.file))?, owned(self.body));
                CheckKind::File(Arc::new(FileCheck { file, body }))
            }
            CheckType::Agent => CheckKind::Agent(Arc::new(AgentCheck { send })),
        })
    }
}

/// Without copying its texts: a plan may have a hundred thousand checks.
impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text::from(self).serialize(serializer)
    }
}

fn lent(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

impl<'a> Text<'a> {
    /// Puts in what is sent: as text where it is text.
    fn with_send(mut self, send: &'a [u8]) -> Self {
        match std::str::from_utf8(send) {
            Ok(text) => self.send = (!text.is_empty()).then_some(Cow::Borrowed(text)),
            Err(_) => self.payload = Some(Cow::Owned(hex(send))),
        }
        self
    }

    fn with_tls(mut self, tls: Option<&'a CheckTls>) -> Self {
        let Some(CheckTls { server_name, verify, ca, certificate, certificate_key, expiry_days }) = tls
        else {
            return self;
        };
        self.tls = self.kind != Some(CheckType::Https);
        self.server_name = lent(server_name);
        self.verify_certificate = *verify;
        self.ca = lent(ca);
        self.certificate = lent(certificate);
        self.certificate_key = lent(certificate_key);
        self.expiry_days = *expiry_days;
        self
    }

    fn with_request(mut self, request: &'a HttpRequest) -> Self {
        let HttpRequest { method, path, host, headers, status, body, body_not, digest } = request;
        self.method = *method;
        self.path = Some(Cow::Borrowed(path));
        self.host = lent(host);
        self.headers = Cow::Borrowed(headers);
        self.status = Cow::Borrowed(status);
        self.body = lent(body);
        self.body_not = lent(body_not);
        self.digest = lent(digest);
        self
    }
}

impl<'a> From<&'a Check> for Text<'a> {
    fn from(check: &'a Check) -> Self {
        let Check { target, origin: CheckOrigin { source, interface }, through, times, kind } = check;
        let Times { interval, timeout, retries, retry_delay, rise, jitter, warmup, initially_down } = times;
        let text = Self {
            kind: Some(kind.kind()),
            address: target.map(|target| target.address),
            port: target.and_then(|target| target.port),
            source: *source,
            interface: interface.clone(),
            through: *through,
            interval: Some(*interval),
            timeout: Some(*timeout),
            retries: Some(*retries),
            retry_delay: Some(*retry_delay),
            rise: *rise,
            jitter: Some(*jitter).filter(|jitter| jitter.as_millis() > 0),
            warmup: *warmup,
            initially_down: *initially_down,
            ..Self::default()
        };
        match kind {
            CheckKind::Tcp(tcp) => {
                let TcpCheck { send, expect, tls, hold } = &**tcp;
                Self { expect: lent(expect), hold: *hold, ..text }.with_send(send).with_tls(tls.as_ref())
            }
            CheckKind::Http(http) => {
                let HttpCheck { requests, drain, version, tls } = &**http;
                let (drain_status, drain_header) = (Cow::Borrowed(&*drain.status), lent(&drain.header));
                let text = Self { http_version: *version, drain_status, drain_header, ..text };
                let text = text.with_tls(tls.as_ref());
                match requests.as_slice() {
                    [one] => text.with_request(one),
                    several => Self { requests: Cow::Borrowed(several), ..text },
                }
            }
            CheckKind::Udp(udp) => {
                let UdpCheck { send, require_reply, expect, reply_length: (least, most) } = &**udp;
                let (require_reply, expect) = (*require_reply, lent(expect));
                let min_reply_length = Some(*least).filter(|least| *least > 0);
                let max_reply_length = Some(*most).filter(|most| *most < u16::MAX);
                Self { require_reply, expect, min_reply_length, max_reply_length, ..text }.with_send(send)
            }
            CheckKind::Dns(dns) => {
                let DnsCheck { name, record } = &**dns;
                Self { name: Some(Cow::Borrowed(name)), record: Some(*record), ..text }
            }
            CheckKind::Ping => text,
            CheckKind::Smtp(smtp) => {
                let SmtpCheck { helo, tls } = &**smtp;
                Self { helo: helo.clone(), ..text }.with_tls(tls.as_ref())
            }
            CheckKind::Grpc(grpc) => {
                let GrpcCheck { service, host, tls } = &**grpc;
                let grpc_service = Some(service.as_str()).filter(|service| !service.is_empty());
                let grpc_service = grpc_service.map(Cow::Borrowed);
                Self { grpc_service, host: lent(host), ..text }.with_tls(tls.as_ref())
            }
            CheckKind::Script(script) => {
                let ScriptCheck { command, user, dynamic_weight } = &**script;
                let command = Cow::Borrowed(command.as_slice());
                Self { command, user: lent(user), dynamic_weight: *dynamic_weight, ..text }
            }
            CheckKind::File(file) => {
                let FileCheck { file, body } = &**file;
                Self { file: Some(Cow::Borrowed(file)), body: lent(body), ..text }
            }
            CheckKind::Agent(agent) => text.with_send(&agent.send),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}

/// The bytes of hexadecimal digits; none where they are none.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: &str = "interval = \"5s\"\ntimeout = \"2s\"\nretries = 1\nretry_delay = \"1s\"\n";

    fn read(keys: &str) -> Result<Check, String> {
        toml::from_str(&format!("{TIMES}{keys}")).map_err(|error| error.message().to_owned())
    }

    /// A check of each type, with all that it has.
    const EACH: [&str; 14] = [
        "type = \"tcp\"\naddress = \"192.0.2.1\"\nport = 80\n",
        "type = \"tcp\"\naddress = \"192.0.2.1\"\nport = 80\nsource = \"192.0.2.9\"\ninterface = \"eth0\"\n\
         rise = 3\njitter = \"1s\"\nwarmup = \"3s\"\ninitially_down = true\nsend = \"PING\\r\\n\"\n\
         expect = \"^.PONG\"\nhold = true\ntls = true\nserver_name = \"a.example\"\n\
         verify_certificate = true\nca = \"/ca\"\ncertificate = \"/c\"\ncertificate_key = \"/k\"\n\
         expiry_days = 14\n",
        "type = \"http\"\naddress = \"192.0.2.1\"\nport = 80\npath = \"/\"\nmethod = \"HEAD\"\n\
         host = \"a\"\nstatus = [\"200\"]\nbody = \"x\"\nbody_not = \"y\"\n\
         digest = \"00000000000000000000000000000000\"\n\
         drain_status = [\"404\"]\ndrain_header = \"x-drain\"\nhttp_version = \"1.0\"\n\
         headers = { a = \"b\" }\n",
        "type = \"https\"\naddress = \"192.0.2.1\"\nport = 443\npath = \"/\"\nserver_name = \"b\"\n\
         http_version = \"2\"\n",
        "type = \"http\"\naddress = \"192.0.2.1\"\nport = 80\n\
         requests = [{ path = \"/a\" }, { path = \"/b\", method = \"OPTIONS\", status = [\"204\"] }]\n",
        "type = \"udp\"\naddress = \"192.0.2.1\"\nport = 53\npayload = \"00ff\"\nrequire_reply = true\n\
         min_reply_length = 1\nmax_reply_length = 9\nexpect = \"x\"\n",
        "type = \"dns\"\naddress = \"2001:db8::1\"\nport = 53\nname = \".\"\nrecord = \"SOA\"\n",
        "type = \"ping\"\naddress = \"192.0.2.1\"\n",
        "type = \"tcp\"\naddress = \"192.0.2.1\"\nport = 80\nsource = \"192.0.2.9\"\n\
         through = { vip = \"192.0.2.7\", port = 80, mark = 1163264000 }\n",
        "type = \"smtp\"\naddress = \"192.0.2.1\"\nport = 25\nhelo = \"lb\"\n",
        "type = \"grpc\"\naddress = \"192.0.2.1\"\nport = 9\ngrpc_service = \"x.Y\"\nhost = \"h\"\n",
        "type = \"script\"\ncommand = [\"/bin/true\", \"-x\"]\nuser = \"nobody\"\ndynamic_weight = true\n",
        "type = \"file\"\nfile = \"/run/x\"\nbody = \"ok\"\n",
        "type = \"agent\"\naddress = \"192.0.2.1\"\nport = 9\nsend = \"hello\\n\"\n",
    ];

    #[test]
    fn each_type_is_read_as_it_is_written() {
        for keys in EACH {
            let check = read(keys).unwrap_or_else(|error| panic!("{keys}: {error}"));
            let text = toml::to_string(&check).expect("TOML");
            assert_eq!(toml::from_str::<Check>(&text).expect("a check"), check, "{text}");
            let table = |text: &str| text.parse::<toml::Table>().expect("TOML");
            assert_eq!(table(&text), table(&format!("{TIMES}{keys}")));
        }
    }

    #[test]
    fn a_key_of_another_type_and_a_missing_one_are_refused() {
        let head = "address = \"192.0.2.1\"\nport = 80\n";
        for (keys, said) in [
            (format!("{head}type = \"tcp\"\npath = \"/\""), "a key that is of another type"),
            (format!("{head}type = \"ping\""), "a key that is of another type"),
            (
                "type = \"ping\"\naddress = \"192.0.2.1\"\nsend = \"x\"".to_owned(),
                "a key that is of another type",
            ),
            (format!("{head}type = \"http\""), "the check has no `path`"),
            (format!("{head}type = \"udp\"\npayload = \"0\""), "hexadecimal digits"),
            (format!("{head}type = \"udp\"\npayload = \"00\"\nsend = \"x\""), "hexadecimal digits"),
            (
                format!("{head}type = \"udp\"\nthrough = {{ vip = \"192.0.2.7\", port = 80, mark = 1 }}"),
                "a key that is of another type",
            ),
            (
                format!("{head}type = \"tcp\"\nthrough = {{ vip = \"192.0.2.7\", port = 80, mark = 1 }}"),
                "the check has no `source`",
            ),
            ("type = \"script\"".to_owned(), "the check has no `command`"),
            ("type = \"tcp\"".to_owned(), "the check has no `port`"),
            (head.to_owned(), "the check has no `type`"),
            (format!("{head}type = \"tcp\"\nserver_name = \"x\""), "a key that is of another type"),
        ] {
            let error = read(&keys).expect_err(&keys);
            assert!(error.contains(said), "{keys}: {error}");
        }
    }
}
