//! A table: kind of check x what the server does.

use super::h2_server::{self, Answer};
use super::handshakes::{Authority, server};
use super::servers::{self, Good, Manner};
use super::{Tools, check, probe};

/// A kind of check, and what is said of a server that does this.
struct Kind {
    name: &'static str,
    keys: &'static str,
    good: Good,
    /// Begins well, too slowly.
    slow: &'static [u8],
    wrong: &'static [u8],
    endless: (&'static [u8], &'static [u8]),
    /// Up, silent, slow, wrong, closed, reset, garbage, endless.
    said: [&'static str; 8],
}

const GARBAGE: &[u8] = b"\x8f\x02\xff\x00\x17garbage\x00\x01";

const TIMEOUT: &str = "timeout: no answer in 400 ms";
/// Sometimes it is there before the connection is known to be open.
const RESET: &str = "reset: connection reset";

const KINDS: [Kind; 5] = [
    Kind {
        name: "tcp, send and expect",
        keys: "type = \"tcp\"\nsend = \"PING\\r\\n\"\nexpect = '^\\+PONG'\n",
        good: servers::redis,
        slow: b"+PONG\r\n",
        wrong: b"-ERR no\r\n",
        endless: (b"", b"+PENG\r\n"),
        said: [
            "up",
            TIMEOUT,
            "answer: answer `+PO` does not match within 400 ms",
            "answer: answer `-ERR no` does not match within 400 ms",
            "closed: no answer before the connection closed, after _ ms",
            RESET,
            "answer: answer `\u{fffd}\\u{2}\u{fffd}\\0\\u{17}garbage\\0\\u{1}` does not match within 400 ms",
            "too_long: the first 64 KiB of the answer do not match: `+PENG\\r\\n+PENG\\r\\n",
        ],
    },
    Kind {
        name: "http",
        keys: "type = \"http\"\npath = \"/\"\nstatus = [\"200-299\"]\nbody = \"ok$\"\n",
        good: servers::web,
        slow: b"HTTP/1.1 200 OK\r\n\r\nit's ok",
        wrong: b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
        endless: (b"HTTP/1.1 200 OK\r\n\r\n", b"lorem ipsum "),
        said: [
            "up",
            TIMEOUT,
            "timeout: no end of the headers in 400 ms",
            "status: status 503, wanted 200-299, after _ ms",
            "closed: no answer before the connection closed, after _ ms",
            RESET,
            "answer: answer `\u{fffd}\\u{2}\u{fffd}\\0\\u{17}garbage\\0\\u{1}` is not HTTP, after _ ms",
            "body: the first 64 KiB of the body do not match `ok$`, after _ ms",
        ],
    },
    Kind {
        name: "smtp",
        keys: "type = \"smtp\"\nhelo = \"lb.example\"\n",
        good: servers::mail,
        slow: b"220 mx.example\r\n",
        wrong: b"554 no service here\r\n",
        endless: (b"", b"220-mx.example\r\n"),
        said: [
            "up",
            "timeout: no greeting in 400 ms",
            "timeout: no end of the greeting in 400 ms",
            "answer: greeting `554 no service here`, wanted 220, after _ ms",
            "closed: no greeting before the connection closed, after _ ms",
            RESET,
            "answer: greeting `\u{fffd}\\u{2}\u{fffd}\\0\\u{17}garbage\\0\\u{1}` is not SMTP, after _ ms",
            "too_long: greeting `220-mx.example` has no end, after _ ms",
        ],
    },
    Kind {
        name: "agent",
        keys: "type = \"agent\"\n",
        good: servers::agent,
        slow: b"up 75%\n",
        wrong: b"down # disk is full\n",
        endless: (b"", b"up "),
        said: [
            "up",
            "silent: no answer of the agent in 400 ms",
            "silent: no end of the agent's line in 400 ms",
            "said: agent says down: disk is full, after _ ms",
            "silent: no answer of the agent before the connection closed, after _ ms",
            "silent: connection reset",
            "silent: the agent's line `\u{fffd}\\u{2}\u{fffd}` has no word that is known, after _ ms",
            "silent: the agent's line `up up ",
        ],
    },
    Kind {
        name: "grpc",
        keys: "type = \"grpc\"\ngrpc_service = \"x.Y\"\n",
        // Another server answers well: `what_a_server_of_http_2_answers_is_judged`.
        good: servers::mute,
        slow: b"\0\0\0\x04\0\0\0\0\0",
        wrong: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        endless: (b"", b"\0\0\x08\x06\0\0\0\0\0pingping"),
        said: [
            TIMEOUT,
            TIMEOUT,
            TIMEOUT,
            "answer: the answer is not HTTP/2: frame with invalid size, after _ ms",
            "closed: no answer before the connection closed, after _ ms",
            RESET,
            "answer: the answer is not HTTP/2: frame with invalid size, after _ ms",
            TIMEOUT,
        ],
    },
];

async fn play(kind: &Kind, tls: Option<&Authority>) {
    let (first, more) = kind.endless;
    let manners = [
        Manner::Good,
        Manner::Silent,
        Manner::Slow(kind.slow),
        Manner::Says(kind.wrong),
        Manner::Closes(b""),
        Manner::Resets(b""),
        Manner::Says(GARBAGE),
        Manner::Endless(first, more),
    ];
    let tools = Tools::new();
    let config = tls.map(|authority| server(&authority.sign("server", &["www.example"], 30), None));
    let keys = match (tls.is_some(), kind.name) {
        (true, "http") => kind.keys.replace("http", "https"),
        (true, _) => format!("{}tls = true\n", kind.keys),
        (false, _) => kind.keys.to_owned(),
    };
    for (manner, said) in manners.into_iter().zip(kind.said) {
        let target = servers::start(manner, kind.good, config.clone());
        let found = probe(&check(target, &keys), &tools).await;
        // Closed without saying so is by TLS the same.
        assert!(
            found.starts_with(said),
            "{}, TLS: {}, {manner:?}:\n{found}\n{said}",
            kind.name,
            tls.is_some()
        );
    }
}

#[tokio::test]
async fn every_kind_judges_every_fault() {
    for kind in &KINDS {
        play(kind, None).await;
        let silent = if kind.name == "agent" { "silent: " } else { "" };
        let found = |target| async move { probe(&check(target, kind.keys), &Tools::new()).await };
        let refused =
            if kind.name == "agent" { "silent: connection refused" } else { "refused: connection refused" };
        assert_eq!(found(servers::nobody()).await, refused, "{}", kind.name);
        let half_open = servers::start(Manner::HalfOpen, kind.good, None);
        assert!(found(half_open).await.starts_with(if silent.is_empty() { "timeout: no " } else { silent }));
    }
}

#[tokio::test]
async fn every_kind_judges_every_fault_by_tls() {
    let authority = Authority::new("ours");
    for kind in KINDS.iter().filter(|kind| !["agent", "grpc"].contains(&kind.name)) {
        play(kind, Some(&authority)).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_shake_hands_fails() {
    for (manner, wanted) in [
        (Manner::Silent, "timeout: no TLS handshake in 400 ms"),
        (Manner::HalfOpen, "timeout: no TLS handshake in 400 ms"),
        (Manner::Slow(b"\x16\x03\x03\x00\x40\x02\x00"), "timeout: no TLS handshake in 400 ms"),
        (Manner::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls: the answer is not TLS, after _ ms"),
        (Manner::Says(GARBAGE), "tls: the answer is not TLS, after _ ms"),
        (Manner::Closes(b""), "closed: connection closed within the TLS handshake, after _ ms"),
        (Manner::Resets(b""), RESET),
        (Manner::Endless(b"", b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00"), "tls: "),
    ] {
        let target = servers::start(manner, servers::mute, None);
        for keys in ["type = \"https\"\npath = \"/\"\nstatus = [\"200\"]\n", "type = \"grpc\"\ntls = true\n"]
        {
            let found = probe(&check(target, keys), &Tools::new()).await;
            assert!(found.starts_with(wanted), "{manner:?}: {found}");
        }
    }
}

#[tokio::test]
async fn what_a_server_of_http_2_answers_is_judged() {
    let good = Answer::SERVING;
    let grpc = "type = \"grpc\"\ngrpc_service = \"x.Y\"\n";
    let page = "type = \"http\"\nhttp_version = \"2\"\npath = \"/\"\nstatus = [\"200\"]\nbody = \"ok\"\n";
    let endless = Answer { body: &[b'x'; 4096], endless: true, ..good };
    for (keys, answer, wanted) in [
        (grpc, good, "up"),
        (grpc, Answer { silent: true, ..good }, TIMEOUT),
        (
            grpc,
            Answer { body: b"\0\0\0\0\x02\x08\x02", ..good },
            "said: service `x.Y` says NOT_SERVING, after _ ms",
        ),
        (grpc, Answer { grpc_status: Some("5"), ..good }, "status: service `x.Y` is not known, after _ ms"),
        (grpc, Answer { grpc_status: None, ..good }, "answer: answer without a `grpc-status`, after _ ms"),
        (grpc, Answer { status: 502, ..good }, "status: status 502 of HTTP, wanted 200, after _ ms"),
        (grpc, endless, "too_long: answer longer than 4 KiB, after _ ms"),
        (page, Answer { body: b"it's ok", ..good }, "up"),
        (page, Answer { body: b"bad", ..good }, "body: body `bad` does not match `ok`, after _ ms"),
        (page, Answer { status: 500, ..good }, "status: status 500, wanted 200, after _ ms"),
        (page, Answer { silent: true, ..good }, TIMEOUT),
        (page, endless, "body: the first 64 KiB of the body do not match `ok`, after _ ms"),
    ] {
        let target = h2_server::start(answer).await;
        assert_eq!(probe(&check(target, keys), &Tools::new()).await, wanted, "{keys} {answer:?}");
    }
}

#[tokio::test]
async fn several_requests_are_made_in_turn_and_the_one_that_fails_is_named() {
    let target = servers::start(Manner::Good, servers::web, None);
    let keys = |status: &str| {
        format!(
            "type = \"http\"\nrequests = [{{ path = \"/a\", status = [\"200\"] }}, \
             {{ path = \"/b\", status = [\"{status}\"] }}]\n"
        )
    };
    assert_eq!(probe(&check(target, &keys("200")), &Tools::new()).await, "up");
    let wanted = "status: /b: status 200, wanted 404, after _ ms";
    assert_eq!(probe(&check(target, &keys("404")), &Tools::new()).await, wanted);
}

/// The port that a probe came from is free again at once.
#[tokio::test]
async fn no_connection_is_left_behind() {
    let target = servers::start(Manner::Good, servers::web, None);
    let keys = "type = \"http\"\npath = \"/\"\nstatus = [\"200\"]\n";
    for _ in 0..20 {
        assert_eq!(probe(&check(target, keys), &Tools::new()).await, "up");
    }
    let port = format!(":{:04X}", target.port());
    let left = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
        let to_target = table.lines().skip(1).filter(|line| {
            let mut fields = line.split_whitespace();
            // 06 is TIME_WAIT, of our side.
            fields.nth(2).is_some_and(|remote| remote.ends_with(&port)) && fields.next() == Some("06")
        });
        to_target.count()
    };
    assert_eq!(left(), 0);
}
