//! A web server in the test's own process, on a host: one thread, no forks, so that it adds no noise to what
//! is measured. It answers with the host's name, or streams slowly. Clients are in `probe`.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use socket2::{Domain, SockRef, Socket, Type};

use crate::check::Expected;
use crate::journal::lock;
use crate::net::{Host, ipv6};
use crate::time::{eventually, poll_timeout};

/// A request longer than this is refused.
const REQUEST_LENGTH_MAX: usize = 8 << 10;
/// Connections waiting to be accepted.
const BACKLOG: i32 = 1024;
/// `/stream` without `ms`.
const STREAM_INTERVAL: Duration = Duration::from_millis(20);
/// `/stream` without `bytes`: so many each interval.
const STREAM_BYTES: usize = 256;

/// A web server; see [`Host::web`]. Dropped, it stops.
///
/// `GET /stream?ms=20&bytes=256` ends with [`WebServer::finish`]; each of its bytes tells its place, see
/// [`stream_byte`]. Any other path is answered at once with the host's name and closed, unless
/// [`WebServer::answer`] says otherwise.
pub struct WebServer {
    host: Host,
    port: u16,
    answers: Answers,
    finished: Finished,
    running: Option<(PipeWriter, JoinHandle<()>)>,
}

/// Bytes sent to each client in the streams that were last told to finish, once they have.
type Finished = Arc<Mutex<Option<BTreeMap<SocketAddr, u64>>>>;

/// The byte at a place of a stream's body.
pub(crate) const fn stream_byte(place: u64) -> u8 {
    (place ^ (place >> 8).wrapping_mul(31) ^ (place >> 16).wrapping_mul(57)) as u8
}

type Answers = Arc<Mutex<BTreeMap<String, (u16, String)>>>;

impl Host {
    /// Starts a web server on every address of this host, IPv4 and IPv6.
    #[track_caller]
    pub fn web(&self, port: u16) -> WebServer {
        let mut server = WebServer {
            host: self.clone(),
            port,
            answers: Arc::default(),
            finished: Arc::default(),
            running: None,
        };
        server.start();
        server
    }
}

impl WebServer {
    /// Listens again after [`WebServer::stop`]; nothing happens when it is listening.
    #[track_caller]
    pub fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let port = self.port;
        let listener = self
            .host
            .enter(|| listen(port))
            .or_fail(format_args!("{}: listen on port {port}", self.host.name()));
        let (orders, orderer) = pipe().expect("a pipe");
        let mut service = Service {
            name: self.host.name().to_owned(),
            answers: Arc::clone(&self.answers),
            finished: Arc::clone(&self.finished),
            listener,
            orders,
            connections: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("{}-web", self.host.name()))
            .spawn(move || service.serve())
            .expect("a thread");
        self.running = Some((orderer, thread));
    }

    /// Closes the listener and resets every open connection: new ones are refused.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }

    /// Ends the streams that run, in good order; how many bytes each client was sent, heads not counted.
    #[track_caller]
    pub fn finish(&mut self) -> BTreeMap<SocketAddr, u64> {
        let Some((orders, _)) = &mut self.running else { return BTreeMap::new() };
        orders.write_all(b"f").or_fail("the web server's thread");
        eventually(Duration::from_secs(5), "the streams end", || lock(&self.finished).is_some());
        lock(&self.finished).take().unwrap_or_default()
    }

    /// From now on answers `path` with that status and body.
    pub fn answer(&self, path: &str, status: u16, body: &str) {
        lock(&self.answers).insert(path.to_owned(), (status, body.to_owned()));
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// On the families that there are; the address is reusable at once.
fn listen(port: u16) -> io::Result<TcpListener> {
    let any: IpAddr = if ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let any = SocketAddr::from((any, port));
    let socket = Socket::new(Domain::for_address(any), Type::STREAM, None)?;
    if any.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&any.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Service {
    name: String,
    answers: Answers,
    finished: Finished,
    listener: TcpListener,
    orders: PipeReader,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    streaming: Option<Streaming>,
}

struct Streaming {
    interval: Duration,
    piece: usize,
    next: Instant,
    /// Bytes sent.
    place: u64,
}

/// Fate of a connection after a step.
#[derive(PartialEq, Eq)]
enum Fate {
    Keep,
    Close,
}

impl Service {
    fn serve(&mut self) {
        while self.wait_and_step() {}
        for connection in &self.connections {
            // Closing sends a reset instead of an orderly end.
            let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// False when told to stop.
    fn wait_and_step(&mut self) -> bool {
        let next =
            self.connections.iter().filter_map(|connection| Some(connection.streaming.as_ref()?.next)).min();
        let timeout = next.map(poll_timeout);
        let mut waits = vec![
            PollFd::new(self.orders.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        waits.extend(self.connections.iter().map(|open| PollFd::new(open.stream.as_fd(), PollFlags::POLLIN)));
        if poll(&mut waits, timeout).is_err() {
            return true;
        }
        let ready: Vec<bool> = waits.iter().map(|wait| wait.any().unwrap_or(true)).collect();
        drop(waits);
        if ready[0] && !self.obey() {
            return false;
        }

        let now = Instant::now();
        let mut readable = ready[2..].iter();
        let (name, answers) = (&self.name, &self.answers);
        self.connections.retain_mut(|connection| {
            let mut fate = Fate::Keep;
            if *readable.next().unwrap_or(&false) {
                fate = connection.read(name, answers);
            }
            if fate == Fate::Keep {
                fate = connection.stream_on(now);
            }
            fate == Fate::Keep
        });
        if ready[1] {
            self.accept();
        }
        true
    }

    /// A byte is the order to finish the streams, the end that to stop; false then.
    fn obey(&mut self) -> bool {
        if !matches!(self.orders.read(&mut [0]), Ok(1)) {
            return false;
        }
        let mut finished = BTreeMap::new();
        self.connections.retain(|connection| {
            let Some(streaming) = &connection.streaming else { return true };
            if let Ok(peer) = connection.stream.peer_addr() {
                finished.insert(SocketAddr::new(peer.ip().to_canonical(), peer.port()), streaming.place);
            }
            false
        });
        *lock(&self.finished) = Some(finished);
        true
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let _ = stream.set_nonblocking(true);
            let _ = stream.set_nodelay(true);
            let mut connection = Connection { stream, request: Vec::new(), streaming: None };
            // The request is usually there already: one turn of the loop saved.
            if connection.read(&self.name, &self.answers) == Fate::Keep {
                self.connections.push(connection);
            }
        }
    }
}

impl Connection {
    fn read(&mut self, name: &str, answers: &Answers) -> Fate {
        let mut piece = [0; 2048];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Fate::Close,
                Ok(_) if self.streaming.is_some() => {}
                Ok(length) => {
                    self.request.extend_from_slice(&piece[..length]);
                    if self.request.windows(4).any(|window| window == b"\r\n\r\n") {
                        return self.answer(name, answers);
                    }
                    if self.request.len() > REQUEST_LENGTH_MAX {
                        return Fate::Close;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Keep,
                Err(_) => return Fate::Close,
            }
        }
    }

    fn answer(&mut self, name: &str, answers: &Answers) -> Fate {
        let request = String::from_utf8_lossy(&self.request).into_owned();
        let target = request.split_whitespace().nth(1).unwrap_or("/");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path == "/stream" {
            let value = |key: &str| {
                query
                    .split('&')
                    .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse::<u32>().ok())
            };
            let interval =
                value("ms").map_or(STREAM_INTERVAL, |ms| Duration::from_millis(u64::from(ms.max(1))));
            let bytes = value("bytes").map_or(STREAM_BYTES, |bytes| bytes as usize);
            self.streaming = Some(Streaming { interval, piece: bytes, next: Instant::now(), place: 0 });
            let head = format!("HTTP/1.1 200 OK\r\nX-Host: {name}\r\nConnection: close\r\n\r\n");
            return if self.stream.write_all(head.as_bytes()).is_ok() { Fate::Keep } else { Fate::Close };
        }
        let (status, body) = lock(answers).get(path).cloned().unwrap_or_else(|| (200, name.to_owned()));
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} Said\r\nX-Host: {name}\r\nContent-Length: {length}\r\nConnection: \
            close\r\n\r\n{body}"
        );
        let _ = self.stream.write_all(text.as_bytes());
        Fate::Close
    }

    fn stream_on(&mut self, now: Instant) -> Fate {
        let Some(streaming) = &mut self.streaming else { return Fate::Keep };
        if streaming.next > now {
            return Fate::Keep;
        }
        streaming.next = now + streaming.interval;
        let piece: Vec<u8> = (streaming.place..).take(streaming.piece).map(stream_byte).collect();
        match self.stream.write(&piece) {
            Ok(sent) => streaming.place += sent as u64,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Fate::Close,
            Err(_) => {}
        }
        Fate::Keep
    }
}
