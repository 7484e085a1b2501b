//! The daemon's socket: HTTP/1.1 on a Unix socket. Clients of ours are in `requests`.
//!
//! `GET /status` answers the status document (`/status?usage` with connections and traffic), `GET /metrics`
//! the same for Prometheus, `POST /orders`
//! takes an order for virtual routers, `POST /drains` one for destinations, `POST /probation` confirms or
//! rolls back a plan, `POST /source` is about the source of plans. The socket is for root: mode 0600 from its
//! first moment, and orders are accepted only from root and from the daemon's own user.

pub(super) mod connections;

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::{Service, service_fn};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::warn;

use crate::api::asks::Ask;
use crate::api::metrics::Format;
use crate::api::scrapes::Scrapes;
use crate::system::private_socket;
use evenkeel_host::io::OrderError;
use evenkeel_host::orders::Refusal;

use connections::{ConnectionPlace, Connections, Step};

/// Most calls that wait to be accepted.
const MAX_CALLS: i32 = 128;
/// Largest head of a request, bytes: the least that the library allows.
const MAX_HEAD: usize = 8192;
/// Time between two checks whether the socket is still in its place.
const LOOK: Duration = Duration::from_secs(5);
/// Time until the next attempt when no connection could be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a client to send the head of its request, and the same for the rest.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// Largest body of a request, bytes.
const MAX_REQUEST: usize = 4096;

/// A bound socket that is removed from the file system when it is dropped.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Identity of our own socket's file.
    file: Identity,
}

/// Device and inode of a file.
type Identity = (u64, u64);

impl Server {
    /// Binds the socket, replacing a left-over one. The claim on the network namespace says that no other
    /// daemon uses it.
    ///
    /// # Errors
    /// When the socket cannot be bound, or another daemon answers on it.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("socket {}: {error}", path.display()));
        let parent = path.parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(explain)?;
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(explain(io::Error::new(io::ErrorKind::AddrInUse, "another evenkeeld answers on it")));
        }
        // Made beside its place and then moved, so that nobody can connect to a socket without its mode.
        let private = tempfile::Builder::new().prefix(".ek").tempdir_in(parent).map_err(explain)?;
        let bound = private.path().join("s");
        let listener = listen(&bound).map_err(explain)?;
        let file = identity(&bound).map_err(explain)?;
        std::fs::rename(&bound, path).map_err(explain)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Serves until the task is dropped; each request goes to `asks`. A socket that somebody removes is made
    /// again.
    pub(crate) async fn serve(&mut self, asks: mpsc::Sender<Ask>, scrapes: Scrapes) {
        let connections = Connections::default();
        let mut warned = false;
        loop {
            tokio::select! {
                () = self.accept_calls(&connections, &asks, &scrapes) => return,
                () = self.gone() => {}
            }
            let path = self.path.clone();
            match tokio::task::spawn_blocking(move || Self::bind(&path)).await {
                Ok(Ok(again)) => {
                    let socket = self.path.display();
                    warn!(%socket, "somebody removed the socket {socket}: it is made again");
                    *self = again;
                    warned = false;
                }
                Ok(Err(error)) if !std::mem::replace(&mut warned, true) => warn!("{error}"),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Ends when the socket is no longer found under its name.
    async fn gone(&self) {
        loop {
            sleep(LOOK).await;
            let path = self.path.clone();
            let found = tokio::task::spawn_blocking(move || identity(&path)).await;
            if !matches!(found, Ok(Ok(file)) if file == self.file) {
                return;
            }
        }
    }

    async fn accept_calls(&self, connections: &Connections, asks: &mpsc::Sender<Ask>, scrapes: &Scrapes) {
        let mut failing = false;
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Logged once: it may last, as when there is no descriptor left.
                    if !std::mem::replace(&mut failing, true) {
                        warn!("socket: {error}");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            failing = false;
            // It waits here for a place, and further clients in the socket's queue.
            while let Some(until) = connections.make_room(Instant::now()) {
                sleep_until(until).await;
            }
            let place = Arc::new(connections.open());
            let number = place.number();
            let task = tokio::spawn(serve_one(stream, place, asks.clone(), scrapes.clone()));
            connections.set_task(number, task.abort_handle());
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    private_socket::bind(&socket, path)?;
    socket.listen(MAX_CALLS)?;
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket.into())
}

/// Serves one connection: one request, within the time that it has.
async fn serve_one(
    stream: UnixStream,
    place: Arc<ConnectionPlace>,
    asks: mpsc::Sender<Ask>,
    scrapes: Scrapes,
) {
    let may_order = may_order(&stream);
    let asked = Arc::clone(&place);
    let service = service_fn(move |request: Request<Incoming>| {
        let (asks, scrapes, place) = (asks.clone(), scrapes.clone(), Arc::clone(&asked));
        async move {
            let answer = if request.uri().path() == "/metrics" {
                metrics(&request, &scrapes, &place).await
            } else {
                answer(request, asks, may_order, &place).await
            };
            place.enter(Step::Answer);
            Ok::<_, Infallible>(answer)
        }
    });
    serve_request(stream, service).await;
}

/// Serves one request of a stream, within the time that it has. A client that does not read its answer loses
/// it.
pub(super) async fn serve_request<S, F>(stream: impl AsyncRead + AsyncWrite + Unpin, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future = F>,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_LIMIT)
        .max_buf_size(MAX_HEAD)
        // One request a connection: a client that keeps it open would keep its place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    timeout(CONNECTION_LIMIT, connection).await.ok();
}

fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // A successor may have put its own socket there.
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

fn may_order(stream: &UnixStream) -> bool {
    let ours = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == ours)
}

async fn answer(
    request: Request<Incoming>,
    asks: mpsc::Sender<Ask>,
    may_order: bool,
    place: &ConnectionPlace,
) -> Response<Full<Bytes>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let usage = request.uri().query() == Some("usage");
    let (code, body) = match (method, path.as_str()) {
        (Method::GET, "/status") => {
            place.enter(Step::Work);
            status(usage, &asks).await
        }
        (Method::POST, "/orders") if may_order => order(request, &asks, place, Ask::Order).await,
        (Method::POST, "/drains") if may_order => order(request, &asks, place, Ask::Drain).await,
        (Method::POST, "/probation") if may_order => order(request, &asks, place, Ask::Probation).await,
        (Method::POST, "/source") if may_order => order(request, &asks, place, Ask::Source).await,
        (Method::POST, "/orders" | "/drains" | "/probation" | "/source") => {
            (StatusCode::FORBIDDEN, problem("only root may give orders"))
        }
        (_, "/status" | "/orders" | "/drains" | "/probation" | "/source") => (
            StatusCode::METHOD_NOT_ALLOWED,
            problem(
                "GET /status, GET /metrics, POST /orders, POST /drains, POST /probation and POST /source \
                 are served",
            ),
        ),
        _ => (StatusCode::NOT_FOUND, problem("no such resource; try GET /status")),
    };
    response(code, "application/json", Bytes::from(body + "\n"))
}

fn response(code: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Answers `GET /metrics`.
pub(super) async fn metrics(
    request: &Request<Incoming>,
    scrapes: &Scrapes,
    place: &ConnectionPlace,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        let body = Bytes::from(problem("GET /metrics is served") + "\n");
        return response(StatusCode::METHOD_NOT_ALLOWED, "application/json", body);
    }
    place.enter(Step::Work);
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::of(accept);
    match scrapes.page(format).await {
        Some(page) => response(StatusCode::OK, format.content_type(), page),
        None => {
            let (code, body) = stopping();
            response(code, "application/json", Bytes::from(body + "\n"))
        }
    }
}

/// Answers everything that is not served.
pub(super) fn not_found(hint: &'static str) -> Response<Full<Bytes>> {
    response(StatusCode::NOT_FOUND, "application/json", Bytes::from(problem(hint) + "\n"))
}

fn problem(text: &str) -> String {
    serde_json::json!({ "error": text }).to_string()
}

fn stopping() -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, problem("the daemon is stopping"))
}

async fn status(usage: bool, asks: &mpsc::Sender<Ask>) -> (StatusCode, String) {
    let ask = async {
        let (reply, status) = oneshot::channel();
        asks.send(Ask::Status(usage, reply)).await.ok()?;
        let status = status.await.ok()?;
        tokio::task::spawn_blocking(move || serde_json::to_string_pretty(&status).ok()).await.ok()?
    };
    ask.await.map_or_else(stopping, |json| (StatusCode::OK, json))
}

async fn order<T: DeserializeOwned, A: Serialize>(
    request: Request<Incoming>,
    asks: &mpsc::Sender<Ask>,
    place: &ConnectionPlace,
    ask: impl FnOnce(T, oneshot::Sender<Result<A, OrderError>>) -> Ask,
) -> (StatusCode, String) {
    let body = timeout(READ_LIMIT, Limited::new(request.into_body(), MAX_REQUEST).collect()).await;
    let Ok(Ok(body)) = body else {
        return (StatusCode::BAD_REQUEST, problem("the request did not come in time, or is too long"));
    };
    place.enter(Step::Work);
    let request: T = match serde_json::from_slice(&body.to_bytes()) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, problem(&format!("not an order: {error}"))),
    };
    let (reply, answer) = oneshot::channel();
    if asks.send(ask(request, reply)).await.is_err() {
        return stopping();
    }
    match answer.await {
        Ok(Ok(answer)) => (StatusCode::OK, serde_json::to_string(&answer).unwrap_or_default()),
        Ok(Err(OrderError::Refused(Refusal::Unknown(why)))) => (StatusCode::NOT_FOUND, problem(&why)),
        Ok(Err(OrderError::Refused(Refusal::NotNow(why)))) => (StatusCode::CONFLICT, problem(&why)),
        Ok(Err(OrderError::NotKept(why))) => (StatusCode::INTERNAL_SERVER_ERROR, problem(&why)),
        Err(_) => stopping(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::connections::{FAIR, MAX_CONNECTIONS};
    use super::*;
    use crate::api::metrics::Detail;
    use crate::api::requests::{CLIENT_LIMIT, RequestError, ask, fetch, send_order};
    use evenkeel_host::orders::routers::{Action, OrderAnswer, OrderRequest};

    fn order_for(router: &str) -> OrderRequest {
        OrderRequest { action: Action::Hold, router: router.parse().ok(), force: false }
    }

    /// The daemon's reason for a refusal.
    fn reason(error: &RequestError) -> &str {
        match error {
            RequestError::Refused(reason) => reason,
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn orders_of_strangers_are_not_taken() {
        let pair = || std::os::unix::net::UnixStream::pair().expect("a pair");
        let theirs = crate::system::private_socket::tests::as_a_stranger(pair);
        for (pair, may) in [(pair(), true), (theirs, false)] {
            pair.0.set_nonblocking(true).expect("set");
            assert_eq!(may_order(&UnixStream::from_std(pair.0).expect("taken")), may);
        }
    }

    #[tokio::test]
    async fn orders_go_through_a_socket_that_is_root_s() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("run").join("s.sock");
        let error = fetch(&path).await.expect_err("nobody there");
        assert!(error.to_string().contains("is it running?"), "{error}");
        let mut server = Server::bind(&path).expect("bind");
        let mode = std::fs::metadata(&path).expect("socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            std::fs::read_dir(path.parent().expect("parent")).expect("list").count(),
            1,
            "no left-over"
        );
        assert!(Server::bind(&path).is_err(), "one daemon a socket");
        let (sender, mut asks) = mpsc::channel(1);
        let daemon = async {
            while let Some(ask) = asks.recv().await {
                let Ask::Order(request, reply) = ask else { continue };
                let answer = match request.router {
                    Some(name) if name.as_str() == "VI_1" => Ok(OrderAnswer { routers: vec![name] }),
                    Some(_) => Err(OrderError::Refused(Refusal::Unknown("did you mean VI_1?".to_owned()))),
                    None => Err(OrderError::NotKept("disk full".to_owned())),
                };
                reply.send(answer).ok();
            }
        };
        let client = async {
            let taken = send_order(&path, &order_for("VI_1")).await.expect("taken");
            assert_eq!(taken.routers, ["VI_1".parse().expect("name")]);
            let unknown = send_order(&path, &order_for("VI_2")).await.expect_err("unknown");
            assert_eq!(reason(&unknown), "did you mean VI_1?");
            let not_kept = send_order(&path, &order_for("")).await.expect_err("not kept");
            assert_eq!(reason(&not_kept), "disk full");
            let raw = async |method, body: &str| {
                let answer =
                    ask::<OrderAnswer>(&path, method, "/orders", body.to_owned(), CLIENT_LIMIT).await;
                answer.expect_err("refused")
            };
            assert!(reason(&raw(Method::POST, "{\"action\":\"dance\"}").await).starts_with("not an order: "));
            assert!(reason(&raw(Method::POST, &" ".repeat(5000)).await).contains("too long"));
            raw(Method::GET, "").await;
        };
        tokio::select! {
            () = server.serve(sender.clone(), Scrapes::new(sender, Detail::Services)) => panic!("ended"),
            () = daemon => panic!("ended"),
            () = client => {}
        }
    }

    /// A client that takes a place and then does not go on; one of five kinds.
    async fn dawdler(path: &Path, kind: usize) -> UnixStream {
        let mut stream = UnixStream::connect(path).await.expect("connect");
        let words: &[u8] = match kind % 5 {
            0 => b"",
            1 => b"GET /sta",
            2 => b"GET /status HTTP/1.1\r\nHost: evenkeeld\r\n",
            3 => b"POST /orders HTTP/1.1\r\nHost: evenkeeld\r\nContent-Length: 100\r\n\r\n{",
            // Never reads the answer.
            _ => b"GET /status HTTP/1.1\r\nHost: evenkeeld\r\n\r\n",
        };
        stream.write_all(words).await.expect("write");
        stream
    }

    #[tokio::test]
    async fn slow_connections_keep_nobody_out() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("s.sock");
        let mut server = Server::bind(&path).expect("bind");
        let (sender, mut asks) = mpsc::channel(1);
        let long = "x".repeat(1_000_000);
        let daemon = async {
            while let Some(ask) = asks.recv().await {
                let Ask::Order(_, reply) = ask else { continue };
                reply.send(Err(OrderError::NotKept(long.clone()))).ok();
            }
        };
        let client = async {
            let mut kept = Vec::new();
            for round in 0..3 {
                for kind in 0..100 {
                    kept.push(dawdler(&path, kind).await);
                }
                let began = Instant::now();
                let error = send_order(&path, &order_for("VI_1")).await.expect_err("not kept");
                assert_eq!(reason(&error).len(), long.len());
                // Each wait makes room for as many connections as there are at a time.
                assert!(began.elapsed() < FAIR * 20, "round {round}: {:?}", began.elapsed());
            }
            // Connections that were closed see it; the others are still within their time.
            let ended = count_ended(&mut kept).await;
            assert!(ended >= kept.len() - MAX_CONNECTIONS, "{ended}");
        };
        tokio::select! {
            () = server.serve(sender.clone(), Scrapes::new(sender, Detail::Services)) => panic!("ended"),
            () = daemon => panic!("ended"),
            () = client => {}
        }
    }

    /// Number of connections that were answered or closed.
    async fn count_ended(connections: &mut [UnixStream]) -> usize {
        let mut ended = 0;
        for connection in connections {
            let mut byte = [0];
            let read = timeout(Duration::from_millis(5), connection.read(&mut byte)).await;
            ended += usize::from(read.is_ok());
        }
        ended
    }

    #[tokio::test]
    async fn many_at_once_are_all_served() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let path = scratch.path().join("s.sock");
        let mut server = Server::bind(&path).expect("bind");
        let (sender, mut asks) = mpsc::channel(1);
        let daemon = async {
            while let Some(ask) = asks.recv().await {
                let Ask::Order(_, reply) = ask else { continue };
                reply.send(Err(OrderError::NotKept("disk full".to_owned()))).ok();
            }
        };
        let clients = async {
            let one = |path: PathBuf| async move { send_order(&path, &order_for("VI_1")).await };
            // More than have a place, but no more than may wait.
            let all: Vec<_> = (0..MAX_CONNECTIONS + 32).map(|_| tokio::spawn(one(path.clone()))).collect();
            for one in all {
                let error = one.await.expect("ends").expect_err("not kept");
                assert_eq!(reason(&error), "disk full");
            }
        };
        tokio::select! {
            () = server.serve(sender.clone(), Scrapes::new(sender, Detail::Services)) => panic!("ended"),
            () = daemon => panic!("ended"),
            () = clients => {}
        }
    }
}
