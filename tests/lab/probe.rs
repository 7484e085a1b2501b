//! Clients: one short request after another, to measure outages; and one long download, to see established
//! connections survive.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::check::Expected;
use crate::journal::{Journal, Record, lock};
use crate::net::{Host, parse_cidr};
use crate::netlink::ip_of;
use crate::time::{Mark, poll_timeout};
use crate::web::stream_byte;

/// A request not connected, or not answered, within this has failed.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
/// From the end of a request to the next.
const PROBE_PAUSE: Duration = Duration::from_millis(3);
/// From the beginning of a request that hangs to the next, unless said otherwise.
const PROBE_IMPATIENCE: Duration = Duration::from_millis(10);
/// Every request has a client port of its own, one after the other. Left to itself the kernel comes round to
/// the same ports after some 3,000 connections, seconds here; IPVS then finds the old connection's entry (60
/// s in SYN_RECV, 2 min in FIN_WAIT) and, when that destination has left since, drops the packet without a
/// word.
const PROBE_PORTS: std::ops::RangeInclusive<u16> = 1024..=65535;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a download that gets nothing looks whether it should end.
const DOWNLOAD_LOOKS_AFTER: Duration = Duration::from_millis(50);

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it began; its record's time is when it ended.
    pub start: Instant,
    /// The name of the host that answered, or what went wrong.
    pub outcome: Result<String, String>,
}

/// Requests running in the background; see [`Host::probe`]. Dropped, it stops.
pub struct Prober {
    target: SocketAddr,
    journal: Journal<Sample>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts probing from this host: `GET /` again and again, each connection limited to 100 ms to open and
    /// 100 ms to answer. While one hangs others follow every 10 ms, so that the end of an outage is not
    /// noticed a time-out late.
    #[track_caller]
    pub fn probe(&self, address: impl Display, port: u16) -> Prober {
        self.probe_every(address, port, PROBE_IMPATIENCE)
    }

    /// [`Host::probe`] with another time from a request that hangs to the next: what outages are measured to.
    #[track_caller]
    pub fn probe_every(&self, address: impl Display, port: u16, impatience: Duration) -> Prober {
        let target = SocketAddr::new(parse_cidr(&address.to_string()).0, port);
        let journal = Journal::new();
        let stop = Arc::new(AtomicBool::new(false));
        let (writer, stopped) = (journal.clone(), Arc::clone(&stop));
        let thread = self.thread("probe", move || probe(target, impatience, &writer, &stopped));
        Prober { target, journal, stop, thread: Some(thread) }
    }

    /// Asks once, from this host: who answers there?
    pub fn ask(&self, address: impl Display, port: u16) -> Result<String, String> {
        let target = SocketAddr::new(parse_cidr(&address.to_string()).0, port);
        self.enter(|| ask(target).map_err(|error| error.to_string()))
    }

    /// Whether an ICMP echo to that IPv4 address is answered in time. The first one also resolves the
    /// address, hence the time.
    #[track_caller]
    pub fn ping(&self, address: impl Display, timeout: Duration) -> bool {
        let target = SocketAddr::new(parse_cidr(&address.to_string()).0, 0);
        self.enter(|| ping(target, timeout)).unwrap_or(false)
    }

    /// Opens a connection that downloads until the server is told to [finish](crate::WebServer::finish).
    #[track_caller]
    pub fn download(&self, address: impl Display, port: u16) -> Download {
        self.download_path(address, port, "/stream")
    }

    /// [`Host::download`] of another path, such as `/stream?ms=5&bytes=4096`.
    #[track_caller]
    pub fn download_path(&self, address: impl Display, port: u16, path: &str) -> Download {
        let target = SocketAddr::new(parse_cidr(&address.to_string()).0, port);
        let stream = self
            .enter(|| TcpStream::connect_timeout(&target, CONNECT_TIMEOUT))
            .or_fail(format_args!("{}: connect to {target}", self.name()));
        Download::start(stream, path)
    }
}

/// The prober's thread: requests overlap only while one hangs.
fn probe(target: SocketAddr, impatience: Duration, journal: &Journal<Sample>, stopped: &AtomicBool) {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut next = Instant::now();
    let mut ports = PROBE_PORTS.cycle();
    while !stopped.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= next {
            match Attempt::start(target, &mut ports, now) {
                Ok(attempt) => attempts.push(attempt),
                Err(error) => journal.push(now, Sample { start: now, outcome: Err(error.to_string()) }),
            }
            next = now + impatience;
        }
        let wake = attempts.iter().map(|attempt| attempt.deadline).chain([next]).min().unwrap_or(next);
        let mut waits: Vec<PollFd> =
            attempts.iter().map(|attempt| PollFd::new(attempt.socket.as_fd(), attempt.awaits())).collect();
        let _ = poll(&mut waits, poll_timeout(wake));
        let ready: Vec<bool> = waits.iter().map(|wait| wait.any().unwrap_or(true)).collect();
        drop(waits);

        let mut ready = ready.into_iter();
        attempts.retain_mut(|attempt| {
            let outcome = if ready.next() == Some(true) { attempt.step() } else { attempt.expire() };
            let Some(outcome) = outcome else { return true };
            let end = Instant::now();
            next = next.min(end + PROBE_PAUSE);
            journal.push(
                end,
                Sample { start: attempt.start, outcome: outcome.map_err(|error| error.to_string()) },
            );
            false
        });
    }
}

/// One request of a prober.
struct Attempt {
    socket: Socket,
    start: Instant,
    deadline: Instant,
    sent: bool,
    answer: Vec<u8>,
}

impl Attempt {
    fn start(
        target: SocketAddr,
        ports: &mut impl Iterator<Item = u16>,
        now: Instant,
    ) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        bind_to_next(&socket, target, ports)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok(Self {
                socket,
                start: now,
                deadline: now + PROBE_TIMEOUT,
                sent: false,
                answer: Vec::new(),
            }),
        }
    }

    fn awaits(&self) -> PollFlags {
        if self.sent { PollFlags::POLLIN } else { PollFlags::POLLOUT }
    }

    /// Goes on as far as it can without waiting; `None` when it is not over.
    fn step(&mut self) -> Option<std::io::Result<String>> {
        if !self.sent {
            let sent = match self.socket.take_error() {
                Ok(None) => self.socket.send(REQUEST),
                Ok(Some(error)) | Err(error) => Err(error),
            };
            self.sent = true;
            self.deadline = Instant::now() + PROBE_TIMEOUT;
            return sent.err().map(Err);
        }
        match self.socket.read_to_end(&mut self.answer) {
            Ok(_) => {
                Some(host_of(&self.answer).ok_or_else(|| std::io::Error::other("an answer without X-Host")))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn expire(&self) -> Option<std::io::Result<String>> {
        let what = if self.sent { "no answer in time" } else { "no connection in time" };
        (Instant::now() >= self.deadline).then(|| Err(std::io::Error::other(what)))
    }
}

/// Binds to the first of the ports that is free.
fn bind_to_next(
    socket: &Socket,
    target: SocketAddr,
    ports: &mut impl Iterator<Item = u16>,
) -> std::io::Result<()> {
    let any: IpAddr =
        if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    for port in ports.take(PROBE_PORTS.len()) {
        match socket.bind(&SocketAddr::new(any, port).into()) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
    Err(std::io::Error::other("no client port is free"))
}

/// One request on a connection of its own. The server closes first.
fn ask(target: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    host_of(&answer).ok_or_else(|| std::io::Error::other("an answer without X-Host"))
}

fn ping(target: SocketAddr, timeout: Duration) -> std::io::Result<bool> {
    const ECHO: u8 = 8;
    const ECHO_REPLY: u8 = 0;
    // Type, code, checksum, identifier, sequence; no data. The checksum of this very message never changes.
    const REQUEST: [u8; 8] = [ECHO, 0, !ECHO - 0x12, !0x34, 0x12, 0x34, 0, 0];
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    let deadline = Instant::now() + timeout;
    socket.send_to(&REQUEST, &target.into())?;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left))?;
        let mut answer = [0; 64];
        let length = (&socket).read(&mut answer)?;
        // Raw sockets show the IP header, here without options, and everybody's answers.
        let from = answer.get(12..16).and_then(ip_of);
        let message = answer[..length].get(20..28);
        if from == Some(target.ip()) && message.is_some_and(|m| m[0] == ECHO_REPLY && m[4..] == REQUEST[4..])
        {
            return Ok(true);
        }
    }
}

/// The answering host, from the head of its answer.
fn host_of(answer: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(answer);
    let (head, _) = text.split_once("\r\n\r\n")?;
    head.lines().find_map(|line| line.strip_prefix("X-Host: ")).map(str::to_owned)
}

impl Prober {
    /// Now.
    pub fn mark(&self) -> Mark {
        Instant::now()
    }

    /// Every request that ended since the mark.
    pub fn since(&self, mark: Mark) -> Vec<Record<Sample>> {
        self.journal.since(mark)
    }

    /// The longest time from the end of one answered request to the end of the next, or to now, reaching past
    /// the mark.
    pub fn gap_since(&self, mark: Mark) -> Duration {
        let now = Instant::now();
        self.journal.with(|all| {
            let answered: Vec<Instant> =
                all.iter().filter(|record| record.what.outcome.is_ok()).map(|record| record.at).collect();
            if answered.is_empty() {
                return now.saturating_duration_since(mark);
            }
            let ends = answered.iter().skip(1).copied().chain([now]);
            answered
                .iter()
                .zip(ends)
                .filter(|(_, end)| *end > mark)
                .map(|(start, end)| end.saturating_duration_since(*start))
                .max()
                .unwrap_or_default()
        })
    }

    /// How many requests begun since the mark each host answered.
    pub fn responders_since(&self, mark: Mark) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for sample in self.begun_since(mark) {
            if let Ok(host) = sample.outcome {
                *counts.entry(host).or_default() += 1;
            }
        }
        counts
    }

    /// How often each thing went wrong with requests begun since the mark.
    pub fn errors_since(&self, mark: Mark) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for sample in self.begun_since(mark) {
            if let Err(error) = sample.outcome {
                *counts.entry(error).or_default() += 1;
            }
        }
        counts
    }

    fn begun_since(&self, mark: Mark) -> impl Iterator<Item = Sample> {
        self.since(mark).into_iter().map(|record| record.what).filter(move |sample| sample.start >= mark)
    }

    /// Waits until a request begun from now on is answered; panics after `timeout`.
    #[track_caller]
    pub fn wait_ok(&self, timeout: Duration) -> Record<Sample> {
        let mark = Instant::now();
        self.wait_since(mark, timeout, &format!("answer from {}", self.target), |sample| {
            sample.outcome.is_ok()
        })
    }

    /// Waits until a request begun from now on fails; panics after `timeout`.
    #[track_caller]
    pub fn wait_failure(&self, timeout: Duration) -> Record<Sample> {
        let mark = Instant::now();
        self.wait_since(mark, timeout, &format!("failure from {}", self.target), |sample| {
            sample.outcome.is_err()
        })
    }

    /// Waits until that host answers a request begun from now on; panics after `timeout`.
    #[track_caller]
    pub fn wait_responder(&self, host: &Host, timeout: Duration) -> Record<Sample> {
        self.wait_responder_since(host, Instant::now(), timeout)
    }

    /// [`Self::wait_responder`] for a request that began since the mark.
    #[track_caller]
    pub fn wait_responder_since(&self, host: &Host, mark: Mark, timeout: Duration) -> Record<Sample> {
        let name = host.name();
        self.wait_since(mark, timeout, &format!("answer from {} by {name}", self.target), |sample| {
            sample.outcome.as_deref() == Ok(name)
        })
    }

    #[track_caller]
    fn wait_since(
        &self,
        mark: Mark,
        timeout: Duration,
        what: &str,
        wanted: impl Fn(&Sample) -> bool,
    ) -> Record<Sample> {
        let fits = |record: &Record<Sample>| record.what.start >= mark && wanted(&record.what);
        if let Some(record) = self.journal.wait(Some(mark), timeout, fits) {
            return record;
        }
        let (answers, errors) = (self.responders_since(mark), self.errors_since(mark));
        panic!("no {what} within {timeout:?}: answers {answers:?}, errors {errors:?}")
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection downloading in the background; see [`Host::download`]. Dropped, it closes.
pub struct Download {
    own: SocketAddr,
    progress: Arc<Mutex<Progress>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Progress {
    head: Vec<u8>,
    bytes: u64,
    body: u64,
    wrong: Option<u64>,
    last: Instant,
    max_stall: Duration,
    ended: Option<String>,
}

impl Download {
    fn start(mut stream: TcpStream, path: &str) -> Self {
        stream.set_read_timeout(Some(DOWNLOAD_LOOKS_AFTER)).expect("a read time-out");
        let own = stream.local_addr().expect("an address of a connection");
        let sent = stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: lab\r\n\r\n").as_bytes());
        let progress = Arc::new(Mutex::new(Progress {
            head: Vec::new(),
            bytes: 0,
            body: 0,
            wrong: None,
            last: Instant::now(),
            max_stall: Duration::ZERO,
            ended: sent.err().map(|error| error.to_string()),
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (writer, stopped) = (Arc::clone(&progress), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut piece = vec![0; 64 << 10];
            while !stopped.load(Ordering::Relaxed) && lock(&writer).ended.is_none() {
                let outcome = stream.read(&mut piece);
                lock(&writer).note(outcome, &piece);
            }
        });
        Self { own, progress, stop, thread: Some(thread) }
    }

    /// The client's end of the connection.
    pub fn client(&self) -> SocketAddr {
        self.own
    }

    /// Bytes received after the head, and the place of the first that was not what a stream has there.
    pub fn body(&self) -> (u64, Option<u64>) {
        let progress = lock(&self.progress);
        (progress.body, progress.wrong)
    }

    /// Whether the connection is still open: neither closed nor reset. It may have stalled; see
    /// [`Download::stall`].
    pub fn alive(&self) -> bool {
        lock(&self.progress).ended.is_none()
    }

    /// How it ended, if it did.
    pub fn end(&self) -> Option<String> {
        lock(&self.progress).ended.clone()
    }

    /// Bytes received, head included.
    pub fn bytes(&self) -> u64 {
        lock(&self.progress).bytes
    }

    /// The host serving it; panics when that is unknown after `timeout`.
    #[track_caller]
    pub fn responder(&self, timeout: Duration) -> String {
        crate::time::eventually(timeout, "the download's head arrives", || {
            host_of(&lock(&self.progress).head).is_some()
        });
        host_of(&lock(&self.progress).head).unwrap_or_default()
    }

    /// Time since something last came.
    pub fn stall(&self) -> Duration {
        lock(&self.progress).last.elapsed()
    }

    /// The longest time nothing came, one still running included.
    pub fn max_stall(&self) -> Duration {
        let progress = lock(&self.progress);
        if progress.ended.is_some() {
            progress.max_stall
        } else {
            progress.max_stall.max(progress.last.elapsed())
        }
    }

    /// Waits for bytes beyond those received by now; panics after `timeout`.
    #[track_caller]
    pub fn wait_progress(&self, timeout: Duration) {
        let before = self.bytes();
        crate::time::eventually(timeout, &format!("the download goes on (ended: {:?})", self.end()), || {
            self.bytes() > before
        });
    }
}

impl Progress {
    fn note(&mut self, outcome: std::io::Result<usize>, piece: &[u8]) {
        let now = Instant::now();
        match outcome {
            Ok(0) => self.ended = Some("closed by the server".to_owned()),
            Ok(length) => {
                self.max_stall = self.max_stall.max(now.saturating_duration_since(self.last));
                self.last = now;
                self.bytes += length as u64;
                let mut piece = &piece[..length];
                if host_of(&self.head).is_none() {
                    let before = self.head.len();
                    self.head.extend_from_slice(piece);
                    let end = self.head.windows(4).position(|window| window == b"\r\n\r\n");
                    let end = end.map_or(self.head.len(), |end| end + 4);
                    piece = &piece[end - before..];
                    self.head.truncate(end);
                }
                for byte in piece {
                    if self.wrong.is_none() && *byte != stream_byte(self.body) {
                        self.wrong = Some(self.body);
                    }
                    self.body += 1;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => self.ended = Some(error.to_string()),
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
