//! The status socket: HTTP/1.1 on a Unix socket, and the client for it.
//!
//! `GET /status` answers the status document. The socket is for root (mode 0600): who may open it
//! may ask.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use evenkeel_schemas::status::Status;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

/// Connections served at a time.
const MAX_CONNECTIONS: usize = 16;
/// How long a client may take to send its request.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may live.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// How long the client of `evenkeeld status` waits.
const CLIENT_LIMIT: Duration = Duration::from_secs(5);
/// Largest status document that the client takes.
const MAX_STATUS: usize = 256 * 1024 * 1024;

/// A request for the status document.
pub(crate) type StatusRequest = oneshot::Sender<Status>;

/// A bound socket that is removed from the file system when it is dropped.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds the socket, replacing a left-over one. The state directory's lock tells that no other
    /// daemon of this state is using it.
    ///
    /// # Errors
    /// When the socket cannot be bound, or another daemon answers on it.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("socket {}: {error}", path.display()));
        if let Some(parent) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(explain)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(explain(io::Error::new(io::ErrorKind::AddrInUse, "another evenkeeld answers on it")));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(explain)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(explain)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves until the task is dropped; each request is passed to `requests`.
    pub(crate) async fn serve(&self, requests: mpsc::Sender<StatusRequest>) {
        let slots = std::sync::Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!("status socket: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let requests = requests.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, requests.clone()));
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(READ_LIMIT)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                // Who does not read the answer loses it.
                timeout(CONNECTION_LIMIT, connection).await.ok();
                drop(slot);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        std::fs::remove_file(&self.path).ok();
    }
}

async fn answer(
    request: Request<Incoming>,
    requests: mpsc::Sender<StatusRequest>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (code, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => match status_json(&requests).await {
            Some(json) => (StatusCode::OK, json),
            None => (StatusCode::SERVICE_UNAVAILABLE, "{\"error\":\"the daemon is stopping\"}".to_owned()),
        },
        (_, "/status") => {
            (StatusCode::METHOD_NOT_ALLOWED, "{\"error\":\"only GET /status is served\"}".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "{\"error\":\"no such resource; try GET /status\"}".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body + "\n")));
    *response.status_mut() = code;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

async fn status_json(requests: &mpsc::Sender<StatusRequest>) -> Option<String> {
    let (reply, status) = oneshot::channel();
    requests.send(reply).await.ok()?;
    let status = status.await.ok()?;
    tokio::task::spawn_blocking(move || serde_json::to_string_pretty(&status).ok()).await.ok()?
}

/// Asks the daemon behind `socket` for its status.
///
/// # Errors
/// When nothing answers there in time, or not with a status document.
pub(crate) async fn fetch(socket: &Path) -> io::Result<Status> {
    let ask = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let request = Request::get("/status")
            .header(header::HOST, "evenkeeld")
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = http_body_util::Limited::new(response.into_body(), MAX_STATUS).collect().await;
        let bytes = body.map_err(io::Error::other)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    };
    timeout(CLIENT_LIMIT, ask).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
