//! Checks that are written are read as they were: by TOML, and by the reader of plans in our own layout.

use std::collections::BTreeMap;
use std::sync::Arc;

use evenkeel_schemas::plain;
use evenkeel_schemas::plan::testing::PlanText;
use evenkeel_schemas::plan::{
    AgentCheck, Check, CheckKind, CheckOrigin, CheckTls, Destination, DnsCheck, DnsRecord, FileCheck,
    Forwarding, GrpcCheck, HttpCheck, HttpDrain, HttpMethod, HttpRequest, HttpVersion, More, Plan, Protocol,
    Scheduler, ScriptCheck, SmtpCheck, Target, TcpCheck, Through, Times, UdpCheck, VirtualServer,
};
use evenkeel_schemas::scalars::{Days, FirewallMark, Ip, Port, PortRange, Retries, Rise, Span, Weight};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::document;

/// Any text, ends of lines and control characters among them.
fn text() -> impl Strategy<Value = String> {
    let odd = select(vec!['"', '\\', '\n', '\r', '\t', '\0', '\u{7f}', '\u{85}', 'é', '#', '\'', ' ', '{']);
    vec(prop_oneof![odd, any::<char>(), (b'a'..=b'z').prop_map(char::from)], 0..8)
        .prop_map(|signs| signs.into_iter().collect())
}

fn file() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn span() -> impl Strategy<Value = Span> {
    (0_u32..100_000).prop_map(|secs| format!("{secs}ms").parse().expect("a span"))
}

fn port() -> impl Strategy<Value = Port> {
    (1_u16..).prop_map(|port| Port::new(port).expect("a port"))
}

fn range() -> impl Strategy<Value = PortRange> {
    (1_u16..60_000, 0_u16..50).prop_map(|(first, more)| {
        let port = |port| Port::new(port).expect("a port");
        PortRange::new(port(first), port(first + more)).expect("a range")
    })
}

fn address() -> impl Strategy<Value = Ip> {
    any::<std::net::IpAddr>().prop_filter_map("an address of its own form", |ip| ip.to_string().parse().ok())
}

fn tls() -> impl Strategy<Value = CheckTls> {
    let days = option::of((1_u16..365).prop_map(|days| Days::new(days).expect("days")));
    (file(), any::<bool>(), file(), file(), file(), days).prop_map(
        |(server_name, verify, ca, certificate, certificate_key, expiry_days)| CheckTls {
            server_name,
            verify,
            ca,
            certificate,
            certificate_key,
            expiry_days,
        },
    )
}

fn request() -> impl Strategy<Value = HttpRequest> {
    let method = select(vec![HttpMethod::Get, HttpMethod::Head, HttpMethod::Options]);
    let headers = btree_map(text(), text(), 0..3);
    (method, text(), file(), headers, vec(range(), 0..3), file(), file(), file()).prop_map(
        |(method, path, host, headers, status, body, body_not, digest)| HttpRequest {
            method,
            path,
            host,
            headers: headers as BTreeMap<String, String>,
            status,
            body,
            body_not,
            digest,
        },
    )
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..9), text().prop_map(String::into_bytes)]
}

fn kind() -> impl Strategy<Value = CheckKind> {
    let tcp = (bytes(), file(), option::of(tls()), any::<bool>())
        .prop_map(|(send, expect, tls, hold)| CheckKind::Tcp(Arc::new(TcpCheck { send, expect, tls, hold })));
    let version = select(vec![HttpVersion::V1_0, HttpVersion::V1_1, HttpVersion::V2]);
    let drain = (vec(range(), 0..3), file()).prop_map(|(status, header)| HttpDrain { status, header });
    let http = (vec(request(), 1..4), drain, version, option::of(tls())).prop_map(
        |(requests, drain, version, tls)| {
            CheckKind::Http(Arc::new(HttpCheck { requests, drain, version, tls }))
        },
    );
    let udp = (bytes(), any::<bool>(), file(), any::<(u16, u16)>()).prop_map(
        |(send, require_reply, expect, reply_length)| {
            CheckKind::Udp(Arc::new(UdpCheck { send, require_reply, expect, reply_length }))
        },
    );
    let record = select(vec![DnsRecord::A, DnsRecord::Soa, DnsRecord::Txt]);
    let dns = (text(), record).prop_map(|(name, record)| CheckKind::Dns(Arc::new(DnsCheck { name, record })));
    let helo = option::of("[a-z][a-z0-9.-]{0,9}[a-z]".prop_map(|name| name.parse().expect("a name")));
    let smtp =
        (helo, option::of(tls())).prop_map(|(helo, tls)| CheckKind::Smtp(Arc::new(SmtpCheck { helo, tls })));
    let grpc = (text(), file(), option::of(tls()))
        .prop_map(|(service, host, tls)| CheckKind::Grpc(Arc::new(GrpcCheck { service, host, tls })));
    let script = (vec(text(), 1..4), file(), any::<bool>()).prop_map(|(command, user, dynamic_weight)| {
        CheckKind::Script(Arc::new(ScriptCheck { command, user, dynamic_weight }))
    });
    let files = (text(), file()).prop_map(|(file, body)| CheckKind::File(Arc::new(FileCheck { file, body })));
    let agent = bytes().prop_map(|send| CheckKind::Agent(Arc::new(AgentCheck { send })));
    prop_oneof![tcp, http, udp, dns, Just(CheckKind::Ping), smtp, grpc, script, files, agent]
}

fn times() -> impl Strategy<Value = Times> {
    let rise = (1_u8..=100).prop_map(|rise| Rise::new(rise).expect("a rise"));
    let retries = (0_u8..=100).prop_map(|retries| Retries::new(retries).expect("retries"));
    (span(), span(), retries, span(), rise, span(), option::of(span()), any::<bool>()).prop_map(
        |(interval, timeout, retries, retry_delay, rise, jitter, warmup, initially_down)| Times {
            interval,
            timeout,
            retries,
            retry_delay,
            rise,
            jitter,
            warmup,
            initially_down,
        },
    )
}

fn check() -> impl Strategy<Value = Check> {
    let mark = (1_u32..).prop_map(|mark| FirewallMark::new(mark).expect("a mark"));
    let through = (address(), port(), mark).prop_map(|(vip, port, mark)| Through { vip, port, mark });
    (kind(), times(), address(), port(), option::of(address()), option::of(through)).prop_map(
        |(kind, times, address, port, source, through)| {
            let target = match kind {
                CheckKind::Script(_) | CheckKind::File(_) => None,
                CheckKind::Ping => Some(Target { address, port: None }),
                _ => Some(Target { address, port: Some(port) }),
            };
            let through = through.filter(|_| kind.is_by_tcp() && source.is_some());
            Check { target, origin: CheckOrigin { source, interface: None }, through, times, kind }
        },
    )
}

fn plan_with(checks: Vec<Check>) -> Plan {
    let address = "192.0.2.7".parse().expect("an address");
    let name = || "rs1".parse().expect("a name");
    let destination = Destination::new(name(), address, Port::new(80).ok(), Weight::ONE, Forwarding::Dr)
        .with(More { checks, ..More::default() });
    let server = VirtualServer {
        name: name(),
        address: "192.0.2.9".parse().ok(),
        port: Port::new(80).ok(),
        protocol: Some(Protocol::Tcp),
        firewall_mark: None,
        family: None,
        vips: Vec::new(),
        only_as_master_of: None,
        scheduler: Scheduler::Wlc,
        scheduler_flags: Vec::new(),
        one_packet: false,
        persistence: None,
        on_failure: Default::default(),
        quorum: None,
        sorry_server: None,
        floor: None,
        slow_start: None,
        damping: None,
        quiesce_for: None,
        drain: None,
        hooks: None,
        prevent_removal: false,
        destinations: vec![destination],
    };
    let mut plan = PlanText::of("dir1").host_address("192.0.2.1").plan();
    plan.virtual_servers.push(server);
    plan
}

proptest! {
    #[test]
    fn checks_of_all_kinds_are_read_as_they_were(checks in vec(check(), 1..4)) {
        let plan = plan_with(checks);
        let mut text = "# A plan.\n".to_owned();
        document(&mut text, &plan);
        let by_toml = toml::from_str::<Plan>(&text);
        let by_toml = by_toml.map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&by_toml, &plan, "{}", text);
        let here = plain::plan(&text);
        prop_assert_eq!(here.as_ref(), Some(&plan), "{}", text);
    }
}
