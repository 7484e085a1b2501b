//! gRPC's health service: `grpc.health.v1.Health/Check`, its messages coded by hand. Whoever speaks HTTP/2
//! carries them.
//!
//! ```text
//!   message:  0 (not compressed), length (32 bits), protobuf
//!   request:  field 1, text: the service; empty: the whole server
//!   answer:   field 1, number: 1 serves, 2 does not, 3 the service is unknown
//! ```

use evenkeel_schemas::status::FaultLabel;

use super::excerpt;
use crate::fault::{Fault, Says};

/// Path of the request.
pub const PATH: &str = "/grpc.health.v1.Health/Check";
/// Most bytes of an answer; two are usual.
pub const ANSWER: usize = 4096;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The request for a service.
#[must_use]
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::with_capacity(PREFIX + service.len() + 6);
    if !service.is_empty() {
        // Field 1, of length and bytes.
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![0];
    bytes.extend(length);
    bytes.extend(message);
    bytes
}

/// An answer by HTTP/2.
#[derive(Debug, Clone, Copy, Default)]
pub struct GrpcAnswer<'a> {
    /// Status of HTTP.
    pub http: u16,
    /// `grpc-status`, of the trailers, or of the headers where there is nothing else.
    pub status: Option<&'a [u8]>,
    /// `grpc-message`, likewise.
    pub message: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
}

/// Judges an answer.
///
/// # Errors
///
/// Where the server does not say that it serves.
pub fn judge(service: &str, answer: GrpcAnswer<'_>) -> Result<Says, Fault> {
    let GrpcAnswer { http, status, message, body } = answer;
    let fault = |reason: String| Err(Fault::new(FaultLabel::Answer, reason));
    if http != 200 {
        return Err(Fault::new(FaultLabel::Status, format!("status {http} of HTTP, wanted 200")));
    }
    let Some(status) = status else { return fault("answer without a `grpc-status`".to_owned()) };
    let known = || if service.is_empty() { "the server".to_owned() } else { format!("service `{service}`") };
    match status {
        b"0" => {}
        // Its service for health says so of services that it does not know.
        b"5" => return Err(Fault::new(FaultLabel::Status, format!("{} is not known", known()))),
        b"12" => return Err(Fault::new(FaultLabel::Status, "the server has no health service".to_owned())),
        other => {
            let (name, message) = (name(other), excerpt(message.unwrap_or_default()));
            let colon = if message.is_empty() { "" } else { ": " };
            return Err(Fault::new(FaultLabel::Status, format!("gRPC status {name}{colon}{message}")));
        }
    }
    if body.len() > ANSWER {
        return Err(Fault::new(FaultLabel::TooLong, format!("answer longer than {} KiB", ANSWER >> 10)));
    }
    match serving(body) {
        Some(1) => Ok(Says::default()),
        Some(0) => Err(Fault::new(FaultLabel::Said, format!("{} says UNKNOWN", known()))),
        Some(2) => Err(Fault::new(FaultLabel::Said, format!("{} says NOT_SERVING", known()))),
        Some(3) => Err(Fault::new(FaultLabel::Said, format!("{} is not known", known()))),
        Some(other) => Err(Fault::new(FaultLabel::Said, format!("{} says {other}", known()))),
        None => fault(format!("answer `{}` is no message of gRPC's health service", excerpt(body))),
    }
}

/// The name of a status, or what is there instead.
fn name(status: &[u8]) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let number = std::str::from_utf8(status).ok().and_then(|text| text.parse::<usize>().ok());
    number.and_then(|number| NAMES.get(number)).map_or_else(|| excerpt(status), |name| (*name).to_owned())
}

/// Status in the answer: the last field 1 in it (protobuf's rule), 0 where there is none; none where it is no
/// answer.
fn serving(body: &[u8]) -> Option<u64> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix.get(1..)?.try_into().ok()?);
    if prefix[0] != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => _ = varint(&mut message)?,
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// A number in 7 bits a byte, the low ones first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::words;
    use super::*;

    fn said(service: &str, status: &str, body: &[u8]) -> String {
        let answer = GrpcAnswer { http: 200, status: Some(status.as_bytes()), message: Some(b"why"), body };
        words(&judge(service, answer))
    }

    #[test]
    fn a_request_is_as_protobuf_has_it() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("x.Y"), *b"\0\0\0\0\x05\x0a\x03x.Y");
        let long = request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn an_answer_says_whether_it_serves() {
        for (status, body, wanted) in [
            ("0", b"\0\0\0\0\x02\x08\x01".as_slice(), "healthy"),
            ("0", b"\0\0\0\0\x02\x08\x02", "said: service `x` says NOT_SERVING"),
            ("0", b"\0\0\0\0\x02\x08\x03", "said: service `x` is not known"),
            ("0", b"\0\0\0\0\x00", "said: service `x` says UNKNOWN"),
            ("0", b"\0\0\0\0\x06\x12\x02hi\x08\x01", "healthy"),
            ("0", b"\0\0\0\0\x03\x08\x81\x00", "healthy"),
            (
                "0",
                b"\0\0\0\0\x03\x08\x01",
                "answer: answer `\\0\\0\\0\\0\\u{3}\\u{8}\\u{1}` is no message of gRPC's health service",
            ),
            (
                "0",
                b"\x01\0\0\0\x02\x08\x01",
                "answer: answer `\\u{1}\\0\\0\\0\\u{2}\\u{8}\\u{1}` is no message of gRPC's health service",
            ),
            ("0", b"", "answer: answer `` is no message of gRPC's health service"),
            ("5", b"", "status: service `x` is not known"),
            ("12", b"", "status: the server has no health service"),
            ("14", b"", "status: gRPC status UNAVAILABLE: why"),
            ("99", b"", "status: gRPC status 99: why"),
        ] {
            assert_eq!(said("x", status, body), wanted, "{status} {body:?}");
        }
        let without = GrpcAnswer { http: 200, ..GrpcAnswer::default() };
        assert_eq!(words(&judge("", without)), "answer: answer without a `grpc-status`");
        let other = GrpcAnswer { http: 503, ..GrpcAnswer::default() };
        assert_eq!(words(&judge("", other)), "status: status 503 of HTTP, wanted 200");
    }
}
