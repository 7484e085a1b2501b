//! The way to a target: the route that the kernel would take, and one interface. Reading only.
//!
//! `RTM_GETROUTE` for one address (ip-route(8), `ip route get`), `struct rtmsg` and `RTA_*`
//! (`linux/rtnetlink.h`). What it means for a check is decided elsewhere.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::address::family;
use crate::error::KernelError;
use crate::netlink::Requester;
use crate::wire::{Batch, Malformed, attributes, u8_at};

/// Length of `struct rtmsg`.
const HEADER_LEN: usize = 12;

/// Route of a packet from this host to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Index of the interface that it leaves by; `lo` for an address of the host itself.
    pub interface: u32,
    /// Whether the target is on the link of that interface: no gateway is between.
    pub direct: bool,
    /// Gateway between; none where there is none, or it is of another family than the target.
    pub gateway: Option<IpAddr>,
}

/// Content of one message.
enum WayMessage {
    Way(Way),
    /// A route that leads nowhere: unreachable, prohibited, discarded.
    Nowhere,
}

/// The way to a target; none when there is no route to it.
pub(crate) fn find(socket: &mut Requester, target: IpAddr) -> Result<Option<Way>, KernelError> {
    let mut batch = Batch::default();
    let bits = if target.is_ipv4() { 32 } else { 128 };
    batch.message(libc::RTM_GETROUTE, 0, |w| {
        w.raw(&[family(target), bits, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        w.ip(libc::RTA_DST, target);
    });
    match socket.get(&mut batch, parse)? {
        Ok(told) => match told.into_iter().next() {
            Some(WayMessage::Way(way)) => Ok(Some(way)),
            Some(WayMessage::Nowhere) => Ok(None),
            None => Err(KernelError::malformed("a route")),
        },
        Err(refusal) if leads_nowhere(refusal.code()) => Ok(None),
        Err(refusal) => Err(refusal.explain(&format!("cannot find the route to {target}"))),
    }
}

/// Whether a refusal means that no route leads to the target, or one that discards (`EINVAL`).
fn leads_nowhere(code: Errno) -> bool {
    matches!(
        code,
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EACCES
            | Errno::EINVAL
            | Errno::ESRCH
            | Errno::ENODEV
            | Errno::ENETDOWN
            | Errno::EADDRNOTAVAIL
            | Errno::EAFNOSUPPORT
    )
}

fn parse(kind: u16, body: &[u8]) -> Result<Option<WayMessage>, Malformed> {
    if kind != libc::RTM_NEWROUTE {
        return Ok(None);
    }
    let route_type = u8_at(body, 7)?;
    let (mut interface, mut direct, mut gateway) = (None, true, None);
    for attribute in attributes(body.get(HEADER_LEN..).ok_or(Malformed)?) {
        let attribute = attribute?;
        match attribute.kind {
            libc::RTA_OIF => interface = Some(attribute.u32()?),
            libc::RTA_GATEWAY => (direct, gateway) = (false, Some(attribute.ip()?)),
            libc::RTA_VIA => direct = false,
            _ => {}
        }
    }
    let leads =
        [libc::RTN_UNICAST, libc::RTN_LOCAL, libc::RTN_ANYCAST, libc::RTN_BROADCAST, libc::RTN_MULTICAST];
    Ok(Some(match interface.filter(|_| leads.contains(&route_type)) {
        Some(interface) => WayMessage::Way(Way { interface, direct, gateway }),
        None => WayMessage::Nowhere,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(libc::RTM_NEWROUTE, &bytes);
        }
    }
}
