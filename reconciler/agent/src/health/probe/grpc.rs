//! A check of gRPC's health service.

use bytes::Bytes;
use evenkeel_health::ask::grpc::{ANSWER, GrpcAnswer, PATH, judge, request};
use evenkeel_health::ask::http::authority;
use evenkeel_health::{Fault, Found, Says};
use evenkeel_schemas::plan::GrpcCheck;
use http::HeaderMap;

use super::http2::{self, AnswerJudge, Judgement};
use super::tls::{Alpn, Secure};
use super::tools::Tools;
use super::wire::{Course, healthy};
use super::{Whom, unprepared};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, check: &GrpcCheck, tools: &Tools) -> Found {
    talk(whom, check, tools).await.unwrap_or_else(|found| found)
}

async fn talk(whom: Whom<'_>, check: &GrpcCheck, tools: &Tools) -> Result<Found, Found> {
    let course = Course::begin(whom);
    let secure = check.tls.as_ref().map(|tls| Secure { tls, alpn: Alpn::H2 });
    let host = check.host.clone().unwrap_or_else(|| authority(whom.target, secure.is_some()));
    let asked = http2::request("POST", secure.is_some(), &host, PATH)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "evenkeel")
        .body(())
        .map_err(|error| unprepared(error.to_string()))?;
    let (wire, remark) = course.open(whom, secure, tools).await?;
    let mut answer =
        GrpcReply { service: &check.service, http: 0, headers: HeaderMap::new(), body: Vec::new() };
    let message = Some(Bytes::from(request(&check.service)));
    let says = http2::exchange(course, wire, asked, message, &mut answer).await?;
    Ok(healthy(says, remark))
}

/// The part of an answer that has come.
struct GrpcReply<'a> {
    service: &'a str,
    http: u16,
    headers: HeaderMap,
    /// One byte more than is read at most.
    body: Vec<u8>,
}

impl GrpcReply<'_> {
    fn judged(&self, last: &HeaderMap) -> Result<Says, Fault> {
        let value = |name| last.get(name).map(http::HeaderValue::as_bytes);
        let (status, message) = (value("grpc-status"), value("grpc-message"));
        judge(self.service, GrpcAnswer { http: self.http, status, message, body: &self.body })
    }
}

impl AnswerJudge for GrpcReply<'_> {
    fn head(&mut self, status: u16, headers: HeaderMap) -> Judgement {
        self.http = status;
        self.headers = headers;
        // Nothing else of the answer matters.
        if status == 200 { None } else { Some(self.judged(&HeaderMap::new())) }
    }

    fn data(&mut self, bytes: &[u8]) -> Judgement {
        let room = ANSWER + 1 - self.body.len();
        self.body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let too_long = self.body.len() > ANSWER;
        // The status is of an answer that is whole: of this one it does not matter.
        let fine = HeaderMap::from_iter([("grpc-status", "0")].map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        }));
        too_long.then(|| self.judged(&fine))
    }

    fn ended(&mut self, trailers: Option<HeaderMap>) -> Result<Says, Fault> {
        // An answer of headers only has them there.
        let last = trailers.unwrap_or_else(|| std::mem::take(&mut self.headers));
        self.judged(&last)
    }

    fn what(&self) -> &'static str {
        if self.http == 0 { "answer" } else { "end of the answer" }
    }
}
