//! A client that asks by datagrams and the servers that answer them: the finest look at an outage, since a
//! question that gets no answer leaves nothing behind, as a connection does.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use crate::check::Expected;
use crate::journal::Journal;
use crate::net::Host;
use crate::time::Mark;

/// How often a server looks whether it should end.
const SERVER_LOOKS_AFTER: Duration = Duration::from_millis(100);
/// Longest name of a host.
const MAX_ANSWER: usize = 64;
/// An answer within so many questions confirms the neighbour, as a connection would: it is not asked for
/// again while there are some.
const CONFIRMS: u32 = 4;

/// A server on a host; see [`Host::answer`]. Dropped, it stops.
pub struct Answerer {
    _answering: Background,
}

/// A client that asks all the time; see [`Host::ask_every`]. Dropped, it stops.
pub struct Asker {
    answers: Journal<Arc<str>>,
    _asking: Background,
}

struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Answers datagrams to that address with the host's name. The host need not have the address yet.
    #[track_caller]
    pub fn answer(&self, address: Ipv4Addr, port: u16) -> Answerer {
        let name = self.name().to_owned();
        let open = || -> std::io::Result<UdpSocket> {
            let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
            setsockopt(&socket, sockopt::IpFreebind, &true)?;
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(address, port)))?;
            let socket = UdpSocket::from(socket);
            socket.set_read_timeout(Some(SERVER_LOOKS_AFTER))?;
            Ok(socket)
        };
        let socket = self.enter(open).or_fail(format_args!("{name}: answer datagrams to {address}"));
        let answering = Background::start(self, "answer", move |stopped| {
            let mut question = [0; MAX_ANSWER];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut question) {
                    // Whoever asked may be out of reach by now.
                    socket.send_to(name.as_bytes(), from).ok();
                }
            }
        });
        Answerer { _answering: answering }
    }

    /// Asks that address so often, whatever becomes of the questions.
    #[track_caller]
    pub fn ask_every(&self, address: Ipv4Addr, port: u16, every: Duration) -> Asker {
        let open = || -> std::io::Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let socket = self.enter(open).or_fail(format_args!("{}: ask {address}", self.name()));
        let answers = Journal::new();
        let (writer, target) = (answers.clone(), SocketAddrV4::new(address, port));
        let asking =
            Background::start(self, "ask", move |stopped| ask(&socket, target, every, &writer, stopped));
        Asker { answers, _asking: asking }
    }
}

/// The client's thread.
fn ask(
    socket: &UdpSocket,
    target: SocketAddrV4,
    every: Duration,
    answers: &Journal<Arc<str>>,
    stopped: &AtomicBool,
) {
    let target = SockaddrIn::from(target);
    let (mut next, mut last, mut name) = (Instant::now(), Instant::now(), Arc::<str>::from(""));
    while !stopped.load(Ordering::Relaxed) {
        let now = Instant::now();
        if now >= next {
            let confirms = now.duration_since(last) < every * CONFIRMS;
            let flags =
                if confirms { MsgFlags::from_bits_retain(nix::libc::MSG_CONFIRM) } else { MsgFlags::empty() };
            // What the network says of earlier questions ends in one of these calls.
            sendto(socket.as_raw_fd(), b"?", &target, flags).ok();
            next = (next + every).max(now);
        }
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let wait = TimeSpec::from(next.saturating_duration_since(Instant::now()));
        ppoll(&mut fds, Some(wait), None).ok();
        let mut answer = [0; MAX_ANSWER];
        while let Ok((length, _)) = socket.recv_from(&mut answer) {
            last = Instant::now();
            let text = answer.get(..length).unwrap_or_default();
            if name.as_bytes() != text {
                name = String::from_utf8_lossy(text).into();
            }
            answers.push(last, Arc::clone(&name));
        }
    }
}

impl Asker {
    /// Waits until that host answers, from the mark on, and returns when it did first; panics after
    /// `timeout`.
    #[track_caller]
    pub fn wait_answer(&self, host: &Host, mark: Mark, timeout: Duration) -> Mark {
        let found = self.answers.wait(Some(mark), timeout, |answer| &*answer.what == host.name());
        found.unwrap_or_else(|| panic!("no answer by {} within {timeout:?}", host.name())).at
    }

    /// The longest time without an answer that ended after the mark, or goes on.
    pub fn gap_since(&self, mark: Mark) -> Duration {
        let now = Instant::now();
        self.answers.with(|all| {
            let ends = all.iter().map(|answer| answer.at).chain([now]);
            let begins = ends.clone();
            let gaps = begins.zip(ends.skip(1)).filter(|(_, end)| *end > mark);
            gaps.map(|(begin, end)| end.saturating_duration_since(begin)).max().unwrap_or_default()
        })
    }
}

impl Background {
    #[track_caller]
    fn start(host: &Host, name: &str, work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = host.thread(name, move || work(&stopped));
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
