//! HTTP/1.0 and 1.1 (RFC 1945, RFC 9112): one request on a connection of its own, and its answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use evenkeel_schemas::cluster::HttpVersion;
use evenkeel_schemas::plan::HttpRequest;
use evenkeel_schemas::status::FaultLabel;

use super::body::{Body, Wanted};
use super::chunks::Frame;
use super::{Dialogue, End, MOST, Step, excerpt};
use crate::fault::{Fault, Says};

/// Most headers of an answer.
const HEADERS: usize = 128;
/// Most bytes of an answer that are read, 4 MiB. More than a digest needs: there may be much between chunks.
const READ: u64 = 4 << 20;
/// How an answer begins.
const BEGINNING: &[u8] = b"HTTP/";

/// The value of the `Host` header (`:authority`) where a check has none: the target, without the port that
/// everybody expects.
#[must_use]
pub fn authority(target: SocketAddr, tls: bool) -> String {
    let usual = if tls { 443 } else { 80 };
    match (target.port() == usual, target) {
        (false, _) => target.to_string(),
        (true, SocketAddr::V4(v4)) => v4.ip().to_string(),
        (true, SocketAddr::V6(v6)) => format!("[{}]", v6.ip()),
    }
}

/// The headers that we send beside those of the check.
const OURS: [(&str, &str); 2] = [("User-Agent", "evenkeel"), ("Accept", "*/*")];

/// The headers of a request, by their names in lower case: the check's own as they are written, and ours
/// where it has none of the name.
#[must_use]
pub fn headers(request: &HttpRequest) -> BTreeMap<String, (&str, &str)> {
    let own = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    OURS.into_iter().chain(own).map(|header| (header.0.to_ascii_lowercase(), header)).collect()
}

/// A request as it is sent. `host` is for one that has none. What cannot be sent as it is, a line end or
/// another control character, is left out: the compiler refuses it.
#[must_use]
pub fn request(request: &HttpRequest, version: HttpVersion, host: &str) -> Vec<u8> {
    let mut headers = headers(request);
    let own = headers.remove("host");
    let host = own.map(|(_, host)| host).or(request.host.as_deref()).unwrap_or(host);
    let minor = if version == HttpVersion::V1_0 { '0' } else { '1' };
    let mut bytes = Vec::with_capacity(256);
    let mut add = |parts: &[&str]| {
        for part in parts {
            bytes.extend(part.bytes().filter(|byte| !byte.is_ascii_control()));
        }
        bytes.extend_from_slice(b"\r\n");
    };
    add(&[request.method.as_str(), " ", &request.path, " HTTP/1.", minor.encode_utf8(&mut [0; 4])]);
    add(&["Host: ", host]);
    for (name, value) in headers.values() {
        add(&[name, ": ", value]);
    }
    if !headers.contains_key("connection") {
        add(&["Connection: close"]);
    }
    add(&[]);
    bytes
}

/// A request and its answer.
#[derive(Debug)]
pub struct HttpDialogue<'w> {
    wanted: &'w Wanted,
    request: Vec<u8>,
    place: Place,
    /// Bytes that have come.
    read: u64,
    /// Whether the answer asks to be drained.
    drain: bool,
}

#[derive(Debug)]
enum Place {
    /// In the head: what has come of it, and where its last line begins.
    Head(Vec<u8>, usize),
    /// In the body.
    Body(Frame, Body),
}

impl<'w> HttpDialogue<'w> {
    /// Sends this request, and wants such an answer.
    #[must_use]
    pub fn new(request: Vec<u8>, wanted: &'w Wanted) -> Self {
        Self { wanted, request, place: Place::Head(Vec::new(), 0), read: 0, drain: false }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<Step, Fault> {
        loop {
            // Answers before the answer and what is between chunks count as well.
            if self.read > READ {
                let reason = format!("answer longer than {} MiB", READ >> 20);
                return Err(Fault::new(FaultLabel::TooLong, reason));
            }
            let before = bytes.len();
            match &mut self.place {
                Place::Head(head, line) => {
                    let complete = add_to_head(head, line, &mut bytes)?;
                    self.read += (before - bytes.len()) as u64;
                    if !complete {
                        return Ok(Step::Read);
                    }
                    match read_head(head, self.wanted)? {
                        // An answer before the answer (RFC 9110 §15.2).
                        None => self.place = Place::Head(Vec::new(), 0),
                        Some((drain, frame)) => {
                            self.drain = drain;
                            match frame {
                                None => return Ok(self.over(Ok(()))),
                                Some(Frame::None) => return Ok(self.without_body()),
                                Some(frame) => self.place = Place::Body(frame, Body::default()),
                            }
                        }
                    }
                }
                Place::Body(frame, body) => {
                    if frame.is_over() {
                        let judged = std::mem::take(body).ended(self.wanted, true);
                        return Ok(self.over(judged.unwrap_or(Ok(()))));
                    }
                    let no_chunk = |_| Fault::new(FaultLabel::Answer, "a chunk of the body has no size");
                    let part = frame.part(&mut bytes).map_err(no_chunk)?;
                    self.read += (before - bytes.len()) as u64;
                    if !part.is_empty() {
                        if let Some(judged) = body.received(self.wanted, part) {
                            return Ok(self.over(judged));
                        }
                    } else if !frame.is_over() {
                        return Ok(Step::Read);
                    }
                }
            }
        }
    }

    /// Whether the part of a body that has come is enough.
    fn is_enough(&mut self) -> bool {
        match &mut self.place {
            Place::Head(..) => false,
            Place::Body(_, body) => std::mem::take(body).ended(self.wanted, false) == Some(Ok(())),
        }
    }

    fn without_body(&self) -> Step {
        self.over(Body::default().ended(self.wanted, true).unwrap_or(Ok(())))
    }

    /// What a healthy target says beside.
    fn says(&self) -> Says {
        Says { drain: self.drain, ..Says::default() }
    }

    fn over(&self, judged: Result<(), Fault>) -> Step {
        Step::Over(judged.map(|()| self.says()))
    }
}

impl Dialogue for HttpDialogue<'_> {
    fn begin(&mut self) -> Step {
        Step::Send(std::mem::take(&mut self.request))
    }

    fn received(&mut self, bytes: &[u8]) -> Step {
        match self.take(bytes) {
            Ok(step) => step,
            // The body was matched before, where it came in other pieces.
            Err(_) if self.is_enough() => Step::Over(Ok(self.says())),
            Err(fault) => Step::Over(Err(fault)),
        }
    }

    fn ended(&mut self, end: End) -> Result<Says, Fault> {
        let what = match &mut self.place {
            Place::Head(..) if self.read == 0 => "answer",
            Place::Head(..) => "end of the headers",
            Place::Body(frame, body) => {
                let whole = end == End::Closed && *frame == Frame::UntilClosed;
                if let Some(judged) = std::mem::take(body).ended(self.wanted, whole) {
                    return judged.map(|()| self.says());
                }
                "end of the body"
            }
        };
        Err(end.without(what))
    }
}

/// Moves bytes to the head until its end, an empty line. Whether it has come.
fn add_to_head(head: &mut Vec<u8>, line: &mut usize, bytes: &mut &[u8]) -> Result<bool, Fault> {
    let newline = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
    while !bytes.is_empty() {
        let (next, rest) = bytes.split_at(newline(bytes).map_or(bytes.len(), |at| at + 1));
        let fits = next.get(..MOST - head.len()).unwrap_or(next);
        head.extend_from_slice(fits);
        let compared = head.len().min(BEGINNING.len());
        if head[..compared] != BEGINNING[..compared] {
            let begins = excerpt(head);
            return Err(Fault::new(FaultLabel::Answer, format!("answer `{begins}` is not HTTP")));
        }
        if head.len() >= MOST {
            let reason = format!("headers longer than {} KiB", MOST >> 10);
            return Err(Fault::new(FaultLabel::TooLong, reason));
        }
        *bytes = rest;
        if head.last() == Some(&b'\n') {
            let empty = matches!(&head[*line..], b"\n" | b"\r\n");
            *line = head.len();
            if empty {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether the answer asks to be drained, and where the body is, of which the verdict needs something: none
/// where nothing else of the answer matters. None of an answer before the answer.
fn read_head(head: &[u8], wanted: &Wanted) -> Result<Option<(bool, Option<Frame>)>, Fault> {
    let wrong = |why: &str| {
        let reason = format!("answer `{}` is not HTTP: {why}", excerpt(first_line(head)));
        Fault::new(FaultLabel::Answer, reason)
    };
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let mut parser = httparse::ParserConfig::default();
    // A server with such headers serves: browsers read over them as well.
    parser.ignore_invalid_headers_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
    match parser.parse_response(&mut response, head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(wrong("the headers have no end")),
        Err(error) => return Err(wrong(&error.to_string())),
    }
    let status = response.code.ok_or_else(|| wrong("no status"))?;
    if matches!(status, 100 | 102..=199) {
        return Ok(None);
    }
    if wanted.drains_by_status(status) {
        return Ok(Some((true, None)));
    }
    wanted.judge_status(status)?;
    let drain = response.headers.iter().any(|header| wanted.drains_by_header(header.name));
    // A body of which nothing is asked is not waited for.
    if wanted.bodiless || matches!(status, 101 | 204 | 304) || !wanted.asks_for_body() {
        return Ok(Some((drain, Some(Frame::None))));
    }
    let mut frame = Frame::UntilClosed;
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                // Chunks go before a length (RFC 9112 §6.3).
                return Ok(Some((drain, Some(Frame::CHUNKED))));
            }
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let length =
                std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|c| c.is_ascii_digit()));
            let length = length.and_then(|text| text.parse().ok()).ok_or_else(|| {
                Fault::new(FaultLabel::Answer, format!("`Content-Length: {}` is no length", excerpt(value)))
            })?;
            if !matches!(frame, Frame::UntilClosed) && frame != Frame::Length(length) {
                return Err(Fault::new(FaultLabel::Answer, "two different lengths of the body"));
            }
            frame = Frame::Length(length);
        }
    }
    Ok(Some((drain, Some(frame))))
}

fn first_line(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
