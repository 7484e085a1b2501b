//! HTTP/2 (RFC 9113), as much as checks need: one request on a connection of its own, by prior knowledge or
//! by TLS. The library is `h2`; how much it keeps of an answer is bounded by its windows.

use std::io::ErrorKind;

use bytes::Bytes;
use evenkeel_health::ask::body::{Body, Wanted};
use evenkeel_health::ask::http::headers;
use evenkeel_health::{Fault, FaultLabel, Found, Says};
use evenkeel_schemas::plan::HttpRequest;
use http::{HeaderMap, Request};

use super::unprepared;
use super::wire::{Course, Wire, broken};

/// Bytes of an answer that may be under way, 64 KiB less one: the smallest that the protocol begins with.
const WINDOW: u32 = 65_535;
/// Most bytes of all headers of an answer.
const HEADERS: u32 = 16 * 1024;
/// Headers that are of the connection, which HTTP/2 has not (RFC 9113 §8.2.2), and `Host`, which it has
/// otherwise.
const OF_CONNECTION: [&str; 6] =
    ["host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// A verdict; none while more of the answer is needed.
pub(super) type Judgement = Option<Result<Says, Fault>>;

/// Judge of an answer, piece by piece.
pub(super) trait AnswerJudge {
    /// Its status and headers have come.
    fn head(&mut self, status: u16, headers: HeaderMap) -> Judgement;
    /// Bytes of it have come.
    fn data(&mut self, bytes: &[u8]) -> Judgement;
    /// The answer is over.
    fn ended(&mut self, trailers: Option<HeaderMap>) -> Result<Says, Fault>;
    /// Name of the part that has not come yet, for people.
    fn what(&self) -> &'static str;
}

/// The beginning of a request.
pub(super) fn request(method: &str, tls: bool, host: &str, path: &str) -> http::request::Builder {
    let scheme = if tls { "https" } else { "http" };
    Request::builder().method(method).version(http::Version::HTTP_2).uri(format!("{scheme}://{host}{path}"))
}

/// Makes a request for a page.
pub(super) async fn page(
    course: Course,
    wire: Wire,
    one: &HttpRequest,
    host: &str,
    wanted: &Wanted,
    tls: bool,
) -> Result<Says, Found> {
    let mut own = headers(one);
    let host = own.remove("host").map(|(_, host)| host).or(one.host.as_deref()).unwrap_or(host);
    own.retain(|name, _| !OF_CONNECTION.contains(&name.as_str()));
    let mut asked = request(one.method.as_str(), tls, host, &one.path);
    for (name, (_, value)) in &own {
        asked = asked.header(name, *value);
    }
    let asked = asked.body(()).map_err(|error| unprepared(error.to_string()))?;
    let mut page = Page { wanted, body: Body::default(), begun: false, drain: false };
    exchange(course, wire, asked, None, &mut page).await
}

struct Page<'w> {
    wanted: &'w Wanted,
    body: Body,
    begun: bool,
    /// Whether the answer asks to be drained.
    drain: bool,
}

impl Page<'_> {
    fn says(&self) -> Says {
        Says { drain: self.drain, ..Says::default() }
    }
}

impl AnswerJudge for Page<'_> {
    fn head(&mut self, status: u16, headers: HeaderMap) -> Judgement {
        self.begun = true;
        let by_status = self.wanted.drains_by_status(status);
        self.drain = by_status || headers.keys().any(|name| self.wanted.drains_by_header(name.as_str()));
        if by_status {
            return Some(Ok(self.says()));
        }
        match self.wanted.judge_status(status) {
            Err(fault) => Some(Err(fault)),
            Ok(()) if !self.wanted.asks_for_body() => Some(Ok(self.says())),
            Ok(()) => None,
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Judgement {
        let judged = self.body.received(self.wanted, bytes)?;
        Some(judged.map(|()| self.says()))
    }

    fn ended(&mut self, _trailers: Option<HeaderMap>) -> Result<Says, Fault> {
        let judged = std::mem::take(&mut self.body).ended(self.wanted, true);
        judged.unwrap_or(Ok(())).map(|()| self.says())
    }

    fn what(&self) -> &'static str {
        if self.begun { "end of the body" } else { "answer" }
    }
}

/// Makes a request, and has its answer judged.
pub(super) async fn exchange(
    course: Course,
    wire: Wire,
    asked: Request<()>,
    body: Option<Bytes>,
    judge: &mut impl AnswerJudge,
) -> Result<Says, Found> {
    match course.bound(answer(wire, asked, body, judge)).await {
        Some(Ok(said)) => said.map_err(|fault| course.timed(fault.into())),
        Some(Err(error)) => Err(course.timed(words(&error, judge.what()))),
        None => Err(course.out_of_time().without(judge.what()).into()),
    }
}

async fn answer(
    wire: Wire,
    asked: Request<()>,
    body: Option<Bytes>,
    judge: &mut impl AnswerJudge,
) -> Result<Result<Says, Fault>, h2::Error> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADERS)
        .max_concurrent_reset_streams(1);
    let (send, connection) = builder.handshake::<_, Bytes>(wire).await?;
    let asking = ask(send, asked, body, judge);
    tokio::pin!(asking, connection);
    let ended = tokio::select! {
        biased;
        said = &mut asking => return said,
        ended = &mut connection => ended,
    };
    // Frames that came before the end of the connection are still there. The library does not wake a task
    // that waits for more.
    tokio::select! {
        biased;
        said = &mut asking => said,
        () = std::future::ready(()) => match ended {
            Ok(()) => Ok(Err(Fault::new(FaultLabel::Closed, "no whole answer before the connection closed"))),
            Err(error) => Err(error),
        },
    }
}

async fn ask(
    send: h2::client::SendRequest<Bytes>,
    asked: Request<()>,
    body: Option<Bytes>,
    judge: &mut impl AnswerJudge,
) -> Result<Result<Says, Fault>, h2::Error> {
    let mut send = send.ready().await?;
    let (response, mut stream) = send.send_request(asked, body.is_none())?;
    if let Some(body) = body {
        stream.send_data(body, true)?;
    }
    let (head, mut body) = response.await?.into_parts();
    if let Some(said) = judge.head(head.status.as_u16(), head.headers) {
        return Ok(said);
    }
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        if let Some(said) = judge.data(&bytes) {
            return Ok(said);
        }
    }
    Ok(judge.ended(body.trailers().await?))
}

/// Meaning of an error before `what` has come.
fn words(error: &h2::Error, what: &str) -> Found {
    if let Some(error) = error.get_io() {
        // The library keeps the kind of an error, and not always its number.
        return match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe => {
                Fault::new(FaultLabel::Closed, format!("no {what} before the connection closed")).into()
            }
            ErrorKind::ConnectionReset => Fault::new(FaultLabel::Reset, "connection reset").into(),
            _ => broken(error),
        };
    }
    let reason = error.reason().map_or_else(|| error.to_string(), |reason| reason.to_string());
    Found::from(if error.is_remote() && error.is_reset() {
        Fault::new(FaultLabel::Reset, format!("the server gives up the request: {reason}"))
    } else if error.is_remote() {
        Fault::new(FaultLabel::Closed, format!("the server gives up the connection: {reason}"))
    } else {
        Fault::new(FaultLabel::Answer, format!("the answer is not HTTP/2: {reason}"))
    })
}
