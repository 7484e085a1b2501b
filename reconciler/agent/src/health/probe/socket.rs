//! Sockets of probes: from the address and through the interface that a check names, and what their errors
//! mean. No probe opens a socket otherwise.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use evenkeel_health::{Ailment, Fault, FaultLabel, Found};
use evenkeel_schemas::plan::CheckOrigin;
use evenkeel_schemas::scalars::FirewallMark;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{IpBindAddressNoPort, TcpMaxSeg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Whom;
use super::path_tools::PathTools;

/// Ports that are tried for a probe through IPVS. With more than a few taken the host makes more such probes
/// than it has ports for, and one that leads astray once is repeated.
const MOST_PORTS: usize = 8;
/// Most bytes of a segment of such a probe (`TCP_MAXSEG`): less than any tunnel of IPv6 carries.
const MARKED_SEGMENT: u32 = 1160;

/// The outcome of a future, or the fault that there was no answer within the limit.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Found> {
    timeout(limit, future).await.map_err(|_| Fault::no_answer(limit).into())
}

/// A TCP connection to the target that is open. It takes as long as it takes: the caller has the limit
/// ([`within`]). Closing it resets it.
pub(super) async fn connect(whom: Whom<'_>, paths: &PathTools) -> Result<TcpStream, Found> {
    let socket = begin(whom, paths)?;
    let open = async {
        let stream = TcpStream::from_std(socket.into())?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(stream), Err)
    };
    open.await.map_err(|error| failed(&error))
}

/// A connection that is under way.
fn begin(whom: Whom<'_>, paths: &PathTools) -> Result<Socket, Found> {
    let socket = match whom.mark {
        None => open(whom, Type::STREAM, Protocol::TCP)?,
        Some(mark) => open_marked(whom, mark, paths)?,
    };
    // A probe leaves no connection behind in TIME_WAIT: closing resets it.
    socket.set_linger(Some(Duration::ZERO)).map_err(|error| failed(&error))?;
    match socket.connect(&whom.target.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(refused_here(&error)),
        Ok(()) | Err(_) => Ok(socket),
    }
}

/// A socket that does not block, with the origin of the check.
pub(super) fn open(whom: Whom<'_>, kind: Type, protocol: Protocol) -> Result<Socket, Found> {
    let Whom { target, origin: CheckOrigin { source, interface }, .. } = whom;
    let kind = kind.nonblocking().cloexec();
    let socket =
        Socket::new_raw(Domain::for_address(target), kind, Some(protocol)).map_err(|error| failed(&error))?;
    if let Some(interface) = interface {
        let name = interface.as_str();
        socket.bind_device(Some(name.as_bytes())).map_err(|error| not_bound(name, &error))?;
    }
    if let Some(source) = source {
        bind(&socket, source.0)?;
    }
    Ok(socket)
}

/// A socket for TCP whose packets have a mark, from a port by which IPVS remembers no other way.
fn open_marked(whom: Whom<'_>, mark: FirewallMark, paths: &PathTools) -> Result<Socket, Found> {
    let Some(source) = whom.origin.source else { return Err(Found::Ails(Ailment::NoSource)) };
    // Those with other ports are kept until there is one: the kernel would give the same again.
    let mut others = Vec::with_capacity(MOST_PORTS);
    loop {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new_raw(Domain::for_address(whom.target), kind, Some(Protocol::TCP));
        let socket = socket.map_err(|error| failed(&error))?;
        socket.set_mark(mark.get()).map_err(|error| refused_here(&error))?;
        // While this host is Master, the route to the VIP is that of `lo`, with packets longer than any
        // network carries, or a tunnel's.
        setsockopt(&socket, TcpMaxSeg, &MARKED_SEGMENT).ok();
        bind_with_port(&socket, source.0)?;
        let port = socket.local_addr().map_err(|error| failed(&error))?;
        let port = port.as_socket().map_or(0, |address| address.port());
        if paths.takes(port, source.0.is_ipv6(), mark.get()) || others.len() + 1 >= MOST_PORTS {
            return Ok(socket);
        }
        others.push(socket);
    }
}

/// Sets the address that packets come from.
fn bind(socket: &Socket, source: IpAddr) -> Result<(), Found> {
    // The port is chosen when the socket is connected: then one port serves for many targets. Sockets without
    // ports do not know the option.
    setsockopt(socket, IpBindAddressNoPort, &true).ok();
    bind_with_port(socket, source)
}

/// The same, with a port that no other socket of this address has.
fn bind_with_port(socket: &Socket, source: IpAddr) -> Result<(), Found> {
    socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => Found::Ails(Ailment::NotOurs(source)),
        _ => refused_here(&error),
    })
}

/// Meaning of an interface that a socket cannot be bound to.
fn not_bound(name: &str, error: &io::Error) -> Found {
    Found::Ails(match error.raw_os_error() {
        Some(libc::ENODEV) => Ailment::NoInterface(name.to_owned()),
        // A socket that is bound already needs CAP_NET_RAW, and so does any before Linux 5.7.
        Some(libc::EPERM) => {
            Ailment::NotBound(name.to_owned(), "evenkeeld does not have CAP_NET_RAW".to_owned())
        }
        _ => Ailment::NotBound(name.to_owned(), error.to_string()),
    })
}

/// Meaning of an error before the kernel sent anything: it is this host's.
pub(super) fn refused_here(error: &io::Error) -> Found {
    match error.raw_os_error() {
        // An unreachable or blackhole route, or none at all.
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL | libc::ENETDOWN | libc::ENODEV) => {
            Found::Ails(Ailment::NoRoute)
        }
        // No source address, or no port.
        Some(libc::EADDRNOTAVAIL) => Found::Ails(Ailment::NoSource),
        // A packet filter, or a prohibit route.
        Some(libc::EPERM | libc::EACCES) => Found::Ails(Ailment::NotPermitted),
        _ => failed(error),
    }
}

/// Meaning of an error of a connection. A router on the way may answer that it cannot or must not reach the
/// target: then the target cannot be reached from here, whatever the reason.
pub(super) fn failed(error: &io::Error) -> Found {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => Found::Ails(Ailment::NoDescriptors),
        Some(libc::ENOBUFS | libc::ENOMEM) => Found::Ails(Ailment::NoMemory),
        _ => Found::Failed(fault(error)),
    }
}

/// The fault of the target that an error is.
fn fault(error: &io::Error) -> Fault {
    let (label, reason) = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => (FaultLabel::Refused, "connection refused"),
        Some(libc::ECONNRESET) => (FaultLabel::Reset, "connection reset"),
        Some(libc::EPIPE) => (FaultLabel::Closed, "connection closed by the target"),
        Some(libc::EHOSTUNREACH) => (FaultLabel::Unreachable, "host unreachable"),
        Some(libc::ENETUNREACH) => (FaultLabel::Unreachable, "network unreachable"),
        Some(libc::EACCES) => (FaultLabel::Unreachable, "a router on the way does not permit it"),
        Some(libc::ENOPROTOOPT) => (FaultLabel::Unreachable, "the host does not speak the protocol"),
        Some(libc::ETIMEDOUT) => (FaultLabel::Timeout, "connection timed out"),
        _ if error.kind() == io::ErrorKind::UnexpectedEof => {
            (FaultLabel::Closed, "connection closed by the target")
        }
        _ => return Fault::new(FaultLabel::Lost, error.to_string()),
    };
    Fault::new(label, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(errno: i32) -> io::Error {
        io::Error::from_raw_os_error(errno)
    }

    #[test]
    fn an_ailment_of_this_host_is_distinguished_from_a_failure_of_the_target() {
        for (errno, ailment) in [
            (libc::ENETUNREACH, Ailment::NoRoute),
            (libc::EHOSTUNREACH, Ailment::NoRoute),
            (libc::EINVAL, Ailment::NoRoute),
            (libc::EADDRNOTAVAIL, Ailment::NoSource),
            (libc::EPERM, Ailment::NotPermitted),
            (libc::EACCES, Ailment::NotPermitted),
        ] {
            assert_eq!(refused_here(&error(errno)), Found::Ails(ailment));
            assert!(matches!(failed(&error(errno)), Found::Failed(_)), "a gateway's word: {errno}");
        }
        for (errno, ailment) in [
            (libc::EMFILE, Ailment::NoDescriptors),
            (libc::ENFILE, Ailment::NoDescriptors),
            (libc::ENOBUFS, Ailment::NoMemory),
        ] {
            assert_eq!(refused_here(&error(errno)), Found::Ails(ailment.clone()));
            assert_eq!(failed(&error(errno)), Found::Ails(ailment));
        }
        for (errno, label, reason) in [
            (libc::ECONNREFUSED, FaultLabel::Refused, "connection refused"),
            (libc::ETIMEDOUT, FaultLabel::Timeout, "connection timed out"),
            (libc::ECONNRESET, FaultLabel::Reset, "connection reset"),
        ] {
            assert_eq!(refused_here(&error(errno)), Fault::new(label, reason).into());
        }
    }

    #[tokio::test]
    async fn a_probe_comes_from_the_address_and_through_the_interface_of_its_check() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let target = listener.local_addr().expect("address");
        let from = |source: &str| CheckOrigin {
            source: (!source.is_empty()).then(|| source.parse().expect("an address")),
            interface: None,
        };
        let limit = Duration::from_secs(5);
        let origin = from("127.0.0.9");
        let stream = connect(Whom { target, origin: &origin, mark: None, limit }, &Default::default())
            .await
            .expect("open");
        assert_eq!(stream.local_addr().expect("address").ip().to_string(), "127.0.0.9");
        let (_, peer) = listener.accept().await.expect("a connection");
        assert_eq!(peer, stream.local_addr().expect("address"));

        let origin = from("192.0.2.77");
        let found = connect(Whom { target, origin: &origin, mark: None, limit }, &Default::default())
            .await
            .expect_err("not ours");
        assert_eq!(found, Found::Ails(Ailment::NotOurs("192.0.2.77".parse().expect("an address"))));

        let through =
            |name: &str| CheckOrigin { source: None, interface: Some(name.parse().expect("a name")) };
        let origin = through("lo");
        assert!(
            connect(Whom { target, origin: &origin, mark: None, limit }, &Default::default()).await.is_ok()
        );
        let origin = through("no-such");
        let found = connect(Whom { target, origin: &origin, mark: None, limit }, &Default::default())
            .await
            .expect_err("no interface");
        assert_eq!(found, Found::Ails(Ailment::NoInterface("no-such".to_owned())));
    }
}
