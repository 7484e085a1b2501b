//! Byte streams of web servers, and what is made of them.

use std::sync::Arc;
use std::time::Duration;

use evenkeel_schemas::cluster::HttpMethod;
use evenkeel_schemas::plan::HttpDrain;
use evenkeel_schemas::scalars::PortRange;
use proptest::prelude::*;

use super::super::body::DIGESTED;
use super::super::pattern::Pattern;
use super::super::testing::{play, same, words};
use super::*;

const LATE: End = End::OutOfTime(Duration::from_secs(5));

fn plain() -> HttpRequest {
    HttpRequest {
        method: HttpMethod::Get,
        path: "/health?full=1".to_owned(),
        host: None,
        headers: BTreeMap::new(),
        status: ranges(&["200-299"]),
        body: None,
        body_not: None,
        digest: None,
    }
}

fn ranges(texts: &[&str]) -> Vec<PortRange> {
    texts.iter().map(|text| text.parse().expect("a range")).collect()
}

fn wanted(request: &HttpRequest) -> Wanted {
    let drain = HttpDrain { status: ranges(&["498"]), header: Some("x-drain".to_owned()) };
    Wanted::new(request, &drain, |text| Pattern::new(text).map(Arc::new)).expect("expressions")
}

fn heard(request: &HttpRequest, answer: &[u8], end: End) -> String {
    let wanted = wanted(request);
    words(&same(|| HttpDialogue::new(b"GET".to_vec(), &wanted), answer, end).0)
}

#[test]
fn a_request_is_written_as_the_versions_have_it() {
    let mut asked = plain();
    let text = |asked: &HttpRequest, version| {
        String::from_utf8(request(asked, version, "192.0.2.1:8080")).expect("text")
    };
    assert_eq!(
        text(&asked, HttpVersion::V1_1),
        "GET /health?full=1 HTTP/1.1\r\nHost: 192.0.2.1:8080\r\nAccept: */*\r\nUser-Agent: evenkeel\r\n\
         Connection: close\r\n\r\n"
    );
    asked.host = Some("www.example".to_owned());
    asked.method = HttpMethod::Head;
    asked.headers = [("accept", "text/plain"), ("X-Check", "a\r\nb: c")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    assert_eq!(
        text(&asked, HttpVersion::V1_0),
        "HEAD /health?full=1 HTTP/1.0\r\nHost: www.example\r\naccept: text/plain\r\nUser-Agent: evenkeel\r\n\
         X-Check: ab: c\r\nConnection: close\r\n\r\n"
    );
    asked.headers = [("HOST".to_owned(), "other.example".to_owned())].into();
    assert!(text(&asked, HttpVersion::V1_1).contains("\r\nHost: other.example\r\n"));
}

#[test]
fn the_target_is_the_host_where_none_is_given() {
    for (target, tls, host) in [
        ("192.0.2.1:80", false, "192.0.2.1"),
        ("192.0.2.1:443", true, "192.0.2.1"),
        ("192.0.2.1:443", false, "192.0.2.1:443"),
        ("[2001:db8::1]:80", false, "[2001:db8::1]"),
        ("[2001:db8::1]:8080", false, "[2001:db8::1]:8080"),
    ] {
        assert_eq!(authority(target.parse().expect("address"), tls), host);
    }
}

#[test]
fn a_status_is_judged_at_the_end_of_the_headers() {
    for (answer, end, wanted) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", LATE, "healthy"),
        ("HTTP/1.0 204\r\n\r\n", LATE, "healthy"),
        ("HTTP/1.1 299 \n\n", LATE, "healthy"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            LATE,
            "healthy",
        ),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", LATE, "status: status 503, wanted 200-299"),
        ("HTTP/1.1 101 Switching\r\n\r\n", LATE, "status: status 101, wanted 200-299"),
        ("HTTP/1.1 200 OK\r\nodd header\r\n: x\r\n\r\n", LATE, "healthy"),
        ("", LATE, "timeout: no answer in 5 s"),
        ("", End::Closed, "closed: no answer before the connection closed"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", LATE, "timeout: no end of the headers in 5 s"),
        ("HTTP/1.1 200 OK\r\n", End::Closed, "closed: no end of the headers before the connection closed"),
        ("HTTP/1.1 100 Continue\r\n\r\n", LATE, "timeout: no end of the headers in 5 s"),
        ("SSH-2.0-x\r\n", LATE, "answer: answer `SSH-2.0-x` is not HTTP"),
        ("HTTQ", LATE, "answer: answer `HTTQ` is not HTTP"),
        ("\x16\x03\x01", LATE, "answer: answer `\\u{16}\\u{3}\\u{1}` is not HTTP"),
        ("HTTP/2 200 OK\r\n\r\n", LATE, "answer: answer `HTTP/2 200 OK` is not HTTP: invalid HTTP version"),
        (
            "HTTP/1.1 2x0 OK\r\n\r\n",
            LATE,
            "answer: answer `HTTP/1.1 2x0 OK` is not HTTP: invalid response status",
        ),
    ] {
        assert_eq!(heard(&plain(), answer.as_bytes(), end), wanted, "{answer:?}");
    }
    let several = HttpRequest { status: ranges(&["200", "301-302"]), ..plain() };
    assert_eq!(heard(&several, b"HTTP/1.1 302 Found\r\n\r\n", LATE), "healthy");
    assert_eq!(heard(&several, b"HTTP/1.1 404 No\r\n\r\n", LATE), "status: status 404, wanted 200, 301-302");
}

#[test]
fn a_body_is_where_its_frame_says() {
    let with = |text: &str| HttpRequest { body: Some(text.to_owned()), ..plain() };
    for (expression, answer, end, wanted) in [
        ("^ok$", "Content-Length: 2\r\n\r\nok and more", LATE, "healthy"),
        ("^ok$", "content-length: 2\r\nContent-Length: 2\r\n\r\nok", LATE, "healthy"),
        ("^ok$", "\r\nok", End::Closed, "healthy"),
        ("^ok$", "\r\nok", LATE, "timeout: no end of the body in 5 s"),
        ("^ok", "\r\nok", LATE, "healthy"),
        (
            "^wiki$",
            "Transfer-Encoding: chunked\r\n\r\n2\r\nwi\r\n002;x=y\r\nki\r\n0\r\n\r\n",
            LATE,
            "healthy",
        ),
        (
            "^wiki$",
            "Transfer-Encoding: gzip, Chunked\r\nContent-Length: 1\r\n\r\n4\nwiki\n0\n",
            LATE,
            "healthy",
        ),
        ("^$", "Content-Length: 0\r\n\r\n", LATE, "healthy"),
        ("ok", "Content-Length: 4\r\n\r\nfail", LATE, "body: body `fail` does not match `ok`"),
        ("ok", "Content-Length: 9\r\n\r\nfail", LATE, "timeout: no end of the body in 5 s"),
        (
            "ok",
            "Content-Length: 9\r\n\r\nfail",
            End::Closed,
            "closed: no end of the body before the connection closed",
        ),
        ("ok", "\r\nfail", End::Closed, "body: body `fail` does not match `ok`"),
        ("ok", "Content-Length: -1\r\n\r\nok", LATE, "answer: `Content-Length: -1` is no length"),
        (
            "ok",
            "Content-Length: 99999999999999999999\r\n\r\nok",
            LATE,
            "answer: `Content-Length: 99999999999999999999` is no length",
        ),
        (
            "ok",
            "Content-Length: 1\r\nContent-Length: 2\r\n\r\nok",
            LATE,
            "answer: two different lengths of the body",
        ),
        ("ok", "Transfer-Encoding: chunked\r\n\r\nok", LATE, "answer: a chunk of the body has no size"),
        ("ok", "Transfer-Encoding: chunked\r\n\r\n1\r\nxy", LATE, "answer: a chunk of the body has no size"),
        (
            "ok",
            "Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\n",
            LATE,
            "answer: a chunk of the body has no size",
        ),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{answer}");
        assert_eq!(heard(&with(expression), answer.as_bytes(), end), wanted, "{expression} {answer:?}");
    }
    let empty = HttpRequest { status: ranges(&["204"]), ..with("x") };
    assert_eq!(heard(&empty, b"HTTP/1.1 204 No\r\n\r\n", LATE), "body: body `` does not match `x`");
}

#[test]
fn a_body_that_must_not_match_and_a_digest_need_all_of_it() {
    let not = HttpRequest { body_not: Some("error".to_owned()), ..plain() };
    let answer = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(heard(&not, answer("fine").as_bytes(), LATE), "healthy");
    assert_eq!(
        heard(&not, answer("an error").as_bytes(), LATE),
        "body: body `an error` matches `error`, which must not be"
    );
    assert_eq!(
        heard(&not, &answer("fine").as_bytes()[..answer("fine").len() - 1], LATE),
        "timeout: no end of the body in 5 s"
    );
    // RFC 1321, appendix A.5.
    let digest = HttpRequest { digest: Some("900150983CD24FB0D6963F7D28E17F72".to_owned()), ..plain() };
    assert_eq!(heard(&digest, answer("abc").as_bytes(), LATE), "healthy");
    assert_eq!(
        heard(&digest, answer("abd").as_bytes(), LATE),
        "body: digest of the body is 4911e516e5aa21d327512e0c8b197616, \
         wanted 900150983cd24fb0d6963f7d28e17f72"
    );
}

#[test]
fn an_answer_to_head_has_no_body() {
    let head = HttpRequest { method: HttpMethod::Head, ..plain() };
    assert_eq!(heard(&head, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", LATE), "healthy");
    let wanted = wanted(&HttpRequest { body: Some("x".to_owned()), ..head });
    let dialogue = HttpDialogue::new(Vec::new(), &wanted);
    let (verdict, _) = play(dialogue, &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], LATE);
    assert_eq!(words(&verdict), "body: body `` does not match `x`");
}

/// Plays pieces until the dialogue is over; how many bytes it took.
fn endless(request: &HttpRequest, head: &str, piece: &[u8], most: usize) -> (String, usize) {
    let wanted = wanted(request);
    let mut dialogue = HttpDialogue::new(Vec::new(), &wanted);
    let mut step = dialogue.received(head.as_bytes());
    let mut taken = 0;
    while step == Step::Read && taken < most {
        step = dialogue.received(piece);
        taken += piece.len();
    }
    match step {
        Step::Over(verdict) => (words(&verdict), taken),
        _ => ("goes on".to_owned(), taken),
    }
}

#[test]
fn an_endless_answer_ends_at_a_bound() {
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = HttpRequest { body: Some("y".to_owned()), ..plain() };
    let not = HttpRequest { body_not: Some("y".to_owned()), ..plain() };
    let digest = HttpRequest { digest: Some("0".repeat(32)), ..plain() };
    let piece = [b'x'; 4096];
    let headers = b"x-filler: more and more of it\r\n".repeat(100);
    for (request, head, piece, most, wanted) in [
        (&body, head, &piece[..], MOST, "body: the first 64 KiB of the body do not match `y`"),
        (&not, head, &piece[..], MOST, "healthy"),
        (
            &digest,
            head,
            &piece[..],
            DIGESTED as usize + 1,
            "too_long: body longer than 1 MiB, too long for a digest",
        ),
        (&plain(), "HTTP/1.1 200 OK\r\n", &headers, MOST, "too_long: headers longer than 64 KiB"),
        (&plain(), "", b"HTTP/1.1 100 Go\r\n\r\n", READ as usize + 1, "too_long: answer longer than 4 MiB"),
        (
            &body,
            chunked,
            b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\nx\r\n",
            READ as usize + 1,
            "too_long: answer longer than 4 MiB",
        ),
        (
            &body,
            chunked,
            b"1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            READ as usize + 1,
            "too_long: answer longer than 4 MiB",
        ),
    ] {
        let (verdict, taken) = endless(request, head, piece, 16 << 20);
        assert_eq!(verdict, wanted);
        assert!(taken <= most + head.len() + 2 * piece.len(), "{taken} bytes were read: {wanted}");
    }
}

proptest! {
    /// Any bytes, in any pieces: no panic, no more than the bounds, and the same verdict as in one piece.
    #[test]
    fn any_bytes_in_any_pieces_are_judged_alike(
        text in "(HTTP/1\\.[01] (200|404|100) x\r\n\
                 ((Content-Length: [0-4]|Transfer-Encoding: chunked|a: b)\r\n){0,2}\r\n){0,2}\
                 ([0-3]\r?\n|[a-d]{0,4}|\r\n){0,6}",
        size in 1_usize..7,
        closed in any::<bool>(),
    ) {
        let (body, body_not) = (Some("a.?b".to_owned()), Some("c".to_owned()));
        let request = HttpRequest { body, body_not, ..plain() };
        let wanted = wanted(&request);
        let end = if closed { End::Closed } else { LATE };
        let whole = play(HttpDialogue::new(Vec::new(), &wanted), &[text.as_bytes()], end);
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        let cut = play(HttpDialogue::new(Vec::new(), &wanted), &pieces, end);
        let label = |verdict: Result<Says, Fault>| verdict.map_err(|fault| fault.label);
        prop_assert_eq!(label(whole.0), label(cut.0));
    }
}

#[test]
fn a_status_or_a_header_asks_for_a_drain_and_a_body_is_judged_only_beside_a_header() {
    let asked = HttpRequest { body: Some("well".to_owned()), ..plain() };
    let wanted = wanted(&asked);
    let says = |answer: &str| {
        let dialogue = HttpDialogue::new(Vec::new(), &wanted);
        play(dialogue, &[answer.as_bytes()], End::Closed).0.map(|says| says.drain)
    };
    assert_eq!(says("HTTP/1.1 498 Gone for lunch\r\nContent-Length: 9\r\n\r\n"), Ok(true), "at once");
    assert_eq!(says("HTTP/1.1 200 OK\r\nX-DRAIN: yes\r\n\r\nall is well"), Ok(true));
    assert_eq!(says("HTTP/1.1 200 OK\r\nX-Drains: yes\r\n\r\nall is well"), Ok(false));
    let failed = says("HTTP/1.1 200 OK\r\nX-Drain: yes\r\n\r\nnothing is").expect_err("the body");
    assert_eq!(failed.label, FaultLabel::Body);
    assert_eq!(
        says("HTTP/1.1 403 No\r\nX-Drain: yes\r\n\r\n").expect_err("the status").label,
        FaultLabel::Status
    );
}
