//! One health probe on the network. When and what for is the health crate's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use evenkeel_health::Outcome;
use evenkeel_schemas::plan::Check;
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Runs one probe to its end, at most the check's time-out.
pub(crate) async fn run(check: &Check) -> Outcome {
    let Check::Tcp { address, port, timeout, .. } = check;
    tcp(SocketAddr::new(address.0, port.get()), timeout.as_duration()).await
}

async fn tcp(target: SocketAddr, limit: Duration) -> Outcome {
    let connect = async {
        let socket = if target.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A probe leaves no connection behind in TIME_WAIT: closing resets it.
        socket.set_zero_linger()?;
        socket.connect(target).await.map(drop)
    };
    match timeout(limit, connect).await {
        Ok(Ok(())) => Outcome::Success,
        Ok(Err(error)) if is_ours(&error) => Outcome::Inconclusive(format!("no probe possible: {error}")),
        Ok(Err(error)) => Outcome::Failure(format!("connection to {target}: {}", words(&error))),
        Err(_) => Outcome::Failure(format!("connection to {target}: no answer within {limit:?}")),
    }
}

/// Whether it is this host that lacks something, which says nothing about the target.
fn is_ours(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL)
    )
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
        assert_eq!(tcp(target, Duration::from_secs(5)).await, Outcome::Success);
        drop(listener);
        assert_eq!(
            tcp(target, Duration::from_secs(5)).await,
            Outcome::Failure(format!("connection to {target}: refused"))
        );
    }
}
