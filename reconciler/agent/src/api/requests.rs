//! The client of the daemon's socket: the requests of `status`, `diff` and all commands that give orders.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::source::{SourceAnswer, SourceRequest};
use evenkeel_host::orders::drains::{DrainAnswer, DrainRequest};
use evenkeel_host::orders::routers::{OrderAnswer, OrderRequest};
use evenkeel_host::probation;
use evenkeel_schemas::status::Status;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Time to wait for an answer.
pub(super) const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// Time to wait for the status: the document of 100,000 destinations takes a slow host some seconds.
const STATUS_LIMIT: Duration = Duration::from_secs(20);
/// Time to wait for the answer to an order for routers: other directors may be asked first, for 20 s at most.
const ORDER_LIMIT: Duration = Duration::from_secs(28);
/// Largest answer that is accepted, bytes.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// A request that was not carried out.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// Nothing answers at this socket in time, or not with a document.
    NoAnswer(PathBuf, io::Error),
    /// The daemon refuses, with its reason.
    Refused(String),
    /// The daemon refuses without a reason that can be parsed.
    Status(StatusCode),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(socket, error) => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => "run as root",
                    io::ErrorKind::TimedOut => "it is busy or hangs",
                    _ => "is it running? (`evenkeeld run`)",
                };
                write!(f, "no answer from evenkeeld at {}: {error}; {hint}", socket.display())
            }
            Self::Refused(reason) => f.write_str(reason),
            Self::Status(code) => write!(f, "evenkeeld answered {code}"),
        }
    }
}

/// Fetches the status of the daemon behind `socket`.
///
/// # Errors
/// When nothing answers there in time, or not with a status document.
pub(crate) async fn fetch(socket: &Path) -> Result<Status, RequestError> {
    ask(socket, Method::GET, "/status", String::new(), STATUS_LIMIT).await
}

/// Fetches the status of the daemon behind `socket` with connections and traffic.
///
/// # Errors
/// As [`fetch`].
pub(crate) async fn fetch_usage(socket: &Path) -> Result<Status, RequestError> {
    ask(socket, Method::GET, "/status?usage", String::new(), STATUS_LIMIT).await
}

/// Sends an order to drain to the daemon behind `socket`.
///
/// # Errors
/// When nothing answers there in time, or the order is refused.
pub(crate) async fn send_drain(socket: &Path, request: &DrainRequest) -> Result<DrainAnswer, RequestError> {
    send(socket, "/drains", request, CLIENT_LIMIT).await
}

/// Sends an order for routers to the daemon behind `socket`.
///
/// # Errors
/// When nothing answers there in time, or the order is refused.
pub(crate) async fn send_order(socket: &Path, request: &OrderRequest) -> Result<OrderAnswer, RequestError> {
    send(socket, "/orders", request, ORDER_LIMIT).await
}

/// Sends a request to confirm the plan on probation, or to roll it back, to the daemon behind `socket`.
///
/// # Errors
/// When nothing answers there in time, or the request is refused.
pub(crate) async fn send_probation(
    socket: &Path,
    request: &probation::ProbationRequest,
) -> Result<probation::Answer, RequestError> {
    send(socket, "/probation", request, CLIENT_LIMIT).await
}

/// Sends a request about the source of plans to the daemon behind `socket`. A look at a repository may take
/// its time, within the limit of a connection.
///
/// # Errors
/// When nothing answers there in time, or the request is refused.
pub(crate) async fn send_source(
    socket: &Path,
    request: &SourceRequest,
) -> Result<SourceAnswer, RequestError> {
    send(socket, "/source", request, ORDER_LIMIT).await
}

async fn send<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    request: &impl Serialize,
    limit: Duration,
) -> Result<T, RequestError> {
    let no_answer = |error| RequestError::NoAnswer(socket.to_owned(), io::Error::other(error));
    let body = serde_json::to_string(request).map_err(no_answer)?;
    ask(socket, Method::POST, path, body, limit).await
}

pub(super) async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
    limit: Duration,
) -> Result<T, RequestError> {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    let ask = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "evenkeeld")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let code = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((code, body.map_err(io::Error::other)?.to_bytes()))
    };
    let no_answer = |error| RequestError::NoAnswer(socket.to_owned(), error);
    let answer = timeout(limit, ask).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut));
    let (code, bytes) = answer.flatten().map_err(no_answer)?;
    if code != StatusCode::OK {
        let problem = serde_json::from_slice(&bytes);
        return Err(
            problem.map_or(RequestError::Status(code), |Problem { error }| RequestError::Refused(error))
        );
    }
    serde_json::from_slice(&bytes).map_err(|error| no_answer(io::Error::other(error)))
}
