//! A ping check: an echo request that is answered.
//!
//! By a socket for pings where `net.ipv4.ping_group_range` permits one (icmp(7)), or else by a raw socket,
//! which needs CAP_NET_RAW. A connected one gets what its target sends, and nothing else.

use evenkeel_health::ask::icmp::EchoRequest;
use evenkeel_health::{Ailment, Found};
use socket2::{Protocol, Type};

use super::datagrams::Datagrams;
use super::tools::Tools;
use super::{Whom, socket};

/// Makes one probe.
pub(super) async fn run(whom: Whom<'_>, tools: &Tools) -> Found {
    let nonce = tools.chance();
    let identifier = u16::from_be_bytes([nonce[0], nonce[1]]);
    let request = EchoRequest::new(whom.target.ip(), identifier, nonce);
    let asked = async {
        let datagrams = open(whom)?;
        datagrams.send(request.message()).await?;
        datagrams.take(|datagram| request.is_answered_by(datagram).then_some(())).await
    };
    match socket::within(whom.limit, asked).await {
        Ok(Ok(())) => Found::healthy(),
        Ok(Err(found)) | Err(found) => found,
    }
}

fn open(whom: Whom<'_>) -> Result<Datagrams, Found> {
    let protocol = if whom.target.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = match socket::open(whom, Type::DGRAM, protocol) {
        // Not permitted to this group, or not known to this kernel.
        Err(Found::Failed(_) | Found::Ails(Ailment::NotPermitted)) => {
            socket::open(whom, Type::RAW, protocol)?
        }
        opened => opened?,
    };
    Datagrams::begin(whom, socket)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evenkeel_schemas::plan::CheckOrigin;

    use super::*;

    /// Both kinds of socket, both families, against the loopback.
    #[tokio::test]
    async fn each_kind_of_socket_hears_its_own_reply() {
        let (origin, tools) = (CheckOrigin::default(), Tools::new());
        for address in ["127.0.0.1", "::1"] {
            let target = std::net::SocketAddr::new(address.parse().expect("an address"), 0);
            let whom = Whom { target, origin: &origin, mark: None, limit: Duration::from_secs(5) };
            assert_eq!(run(whom, &tools).await, Found::healthy(), "{address}");
            let protocol = if target.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
            let raw = socket::open(whom, Type::RAW, protocol).expect("CAP_NET_RAW: run the tests as root");
            let raw = Datagrams::begin(whom, raw).expect("connected");
            let requests = [[1; 16], [2; 16]].map(|nonce| EchoRequest::new(target.ip(), 77, nonce));
            for request in &requests {
                raw.send(request.message()).await.expect("sent");
            }
            let second = &requests[1];
            let heard = raw.take(|datagram| second.is_answered_by(datagram).then_some(()));
            tokio::time::timeout(Duration::from_secs(5), heard).await.expect("in time").expect("a reply");
        }
    }
}
