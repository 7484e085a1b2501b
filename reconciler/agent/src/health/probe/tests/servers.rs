//! Servers on threads of their own that behave as they are told.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Longest life of a connection whose server does nothing: probes end before.
const LIFE: Duration = Duration::from_secs(4);

/// A connection, plain or by TLS.
pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// Treatment of a connection by a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// As it should.
    Good,
    /// Reads, and says nothing.
    Silent,
    /// Never takes the connection off the kernel.
    HalfOpen,
    /// Says this, a byte at a time, too slowly.
    Slow(&'static [u8]),
    /// Says this, and nothing more.
    Says(&'static [u8]),
    /// Says this, and closes.
    Closes(&'static [u8]),
    /// Says this, and resets.
    Resets(&'static [u8]),
    /// Says this first, and then that for ever.
    Endless(&'static [u8], &'static [u8]),
}

/// How a kind of server answers well.
pub(super) type Good = fn(&mut dyn Stream) -> io::Result<()>;

/// Starts a server; its address. It ends with the test.
pub(super) fn start(manner: Manner, good: Good, tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        if let Manner::HalfOpen = manner {
            std::thread::sleep(LIFE);
            return;
        }
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let tls = tls.clone();
            std::thread::spawn(move || serve(stream, manner, good, tls));
        }
    });
    address
}

/// An address at which nothing listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address")
}

fn serve(stream: TcpStream, manner: Manner, good: Good, tls: Option<Arc<ServerConfig>>) {
    let raw = stream.try_clone().expect("a descriptor");
    stream.set_read_timeout(Some(LIFE)).expect("a time");
    // Errors are of no interest: the probe may end the connection at any time.
    let _ = match tls {
        Some(config) => {
            let session = ServerConnection::new(config).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let shaken = stream.conn.complete_io(&mut stream.sock).map(drop);
            shaken.and_then(|()| behave(&mut stream, &raw, manner, good))
        }
        None => behave(&mut { stream }, &raw, manner, good),
    };
}

fn behave(stream: &mut dyn Stream, raw: &TcpStream, manner: Manner, good: Good) -> io::Result<()> {
    match manner {
        Manner::Good => good(stream)?,
        Manner::Silent | Manner::HalfOpen => {}
        Manner::Slow(bytes) => {
            for byte in bytes {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                std::thread::sleep(Duration::from_millis(150));
            }
        }
        Manner::Says(bytes) | Manner::Closes(bytes) | Manner::Resets(bytes) => {
            stream.write_all(bytes)?;
            stream.flush()?;
        }
        Manner::Endless(first, more) => {
            stream.write_all(first)?;
            let more = more.repeat(1000);
            loop {
                stream.write_all(&more)?;
            }
        }
    }
    match manner {
        Manner::Closes(_) => {
            raw.shutdown(std::net::Shutdown::Write)?;
            drain(stream);
        }
        Manner::Resets(_) => socket2::SockRef::from(raw).set_linger(Some(Duration::ZERO))?,
        _ => drain(stream),
    }
    Ok(())
}

/// Reads until the probe is gone.
fn drain(stream: &mut dyn Stream) {
    let mut piece = [0; 4096];
    while matches!(stream.read(&mut piece), Ok(1..)) {}
}

/// Reads until what has come ends so.
fn read_to(stream: &mut dyn Stream, end: &[u8]) -> io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        read.push(byte[0]);
    }
    Ok(())
}

fn say(stream: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

pub(super) fn redis(stream: &mut dyn Stream) -> io::Result<()> {
    read_to(stream, b"PING\r\n")?;
    say(stream, b"+PONG\r\n")
}

pub(super) fn web(stream: &mut dyn Stream) -> io::Result<()> {
    read_to(stream, b"\r\n\r\n")?;
    say(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nit's ok")
}

pub(super) fn mail(stream: &mut dyn Stream) -> io::Result<()> {
    say(stream, b"220-mx.example\r\n220 ESMTP\r\n")?;
    read_to(stream, b"EHLO lb.example\r\n")?;
    say(stream, b"250-mx.example\r\n250 SIZE 1\r\n")?;
    read_to(stream, b"QUIT\r\n")?;
    say(stream, b"221 bye\r\n")
}

pub(super) fn agent(stream: &mut dyn Stream) -> io::Result<()> {
    say(stream, b"up\n")
}

pub(super) fn mute(_stream: &mut dyn Stream) -> io::Result<()> {
    Ok(())
}
