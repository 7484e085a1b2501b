//! One health probe on the network. The health crate decides when it is made and what it means.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_health::{Ailment, Found};
use evenkeel_schemas::plan::{Check, CheckKind};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Makes one probe, within the check's time-out.
pub(crate) async fn run(check: &Check) -> Found {
    let limit = check.times.timeout.as_duration();
    match (&check.kind, check.target) {
        (CheckKind::Tcp(_), Some(target)) => tcp(target.socket_address(), limit).await,
        _ => Found::Failed("the evenkeeld of this version has no such check".to_owned()),
    }
}

async fn tcp(target: SocketAddr, limit: Duration) -> Found {
    let socket = match begin(target) {
        Ok(socket) => socket,
        Err(error) => return refused_here(target, &error),
    };
    let connect = async {
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(()), Err)
    };
    match timeout(limit, connect).await {
        Ok(Ok(())) => Found::Healthy,
        Ok(Err(error)) => failed(target, &error),
        Err(_) => Found::Failed(format!("connection to {target}: no answer within {limit:?}")),
    }
}

/// Begins a connection. An error is this host's: no packet has left it yet.
fn begin(target: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A probe leaves no connection behind in TIME_WAIT: closing resets it.
    socket.set_linger(Some(Duration::ZERO))?;
    match socket.connect(&target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// Meaning of an error before the kernel sent anything.
fn refused_here(target: SocketAddr, error: &io::Error) -> Found {
    match error.raw_os_error() {
        // An unreachable or blackhole route, or none at all.
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL | libc::ENETDOWN | libc::ENODEV) => {
            Found::Ails(Ailment::NoRoute)
        }
        // No source address, or no port.
        Some(libc::EADDRNOTAVAIL) => Found::Ails(Ailment::NoSource),
        // A packet filter, or a prohibit route.
        Some(libc::EPERM | libc::EACCES) => Found::Ails(Ailment::NotPermitted),
        _ => failed(target, error),
    }
}

/// Meaning of an error of a connection. A router on the way may answer that it cannot or must not reach the
/// target: then the target cannot be reached from here, whatever the reason.
fn failed(target: SocketAddr, error: &io::Error) -> Found {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Found::Ails(Ailment::NoDescriptors),
        Some(libc::ENOBUFS | libc::ENOMEM) => Found::Ails(Ailment::NoMemory),
        _ => Found::Failed(format!("connection to {target}: {}", words(error))),
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_healthy_and_a_closed_port_says_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let target = listener.local_addr().expect("address");
        assert_eq!(tcp(target, Duration::from_secs(5)).await, Found::Healthy);
        drop(listener);
        assert_eq!(
            tcp(target, Duration::from_secs(5)).await,
            Found::Failed(format!("connection to {target}: refused"))
        );
    }

    #[test]
    fn an_ailment_of_this_host_is_distinguished_from_a_failure_of_the_target() {
        let target: SocketAddr = "192.0.2.1:80".parse().expect("address");
        let error = |errno| io::Error::from_raw_os_error(errno);
        for (errno, ailment) in [
            (libc::ENETUNREACH, Ailment::NoRoute),
            (libc::EHOSTUNREACH, Ailment::NoRoute),
            (libc::EINVAL, Ailment::NoRoute),
            (libc::EADDRNOTAVAIL, Ailment::NoSource),
            (libc::EPERM, Ailment::NotPermitted),
            (libc::EACCES, Ailment::NotPermitted),
        ] {
            assert_eq!(refused_here(target, &error(errno)), Found::Ails(ailment));
            assert!(matches!(failed(target, &error(errno)), Found::Failed(_)), "a gateway's word: {errno}");
        }
        for (errno, ailment) in [
            (libc::EMFILE, Ailment::NoDescriptors),
            (libc::ENFILE, Ailment::NoDescriptors),
            (libc::ENOBUFS, Ailment::NoMemory),
        ] {
            assert_eq!(refused_here(target, &error(errno)), Found::Ails(ailment.clone()));
            assert_eq!(failed(target, &error(errno)), Found::Ails(ailment));
        }
        for errno in [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::ECONNRESET] {
            assert!(matches!(refused_here(target, &error(errno)), Found::Failed(_)), "{errno}");
        }
    }
}
