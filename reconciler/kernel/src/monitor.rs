//! News from the kernel: addresses, links, routes and rules that change.
//!
//! A multicast socket to be waited for with poll(2). News are hints: whoever gets one looks at the
//! kernel again. When some were lost there is an [`Event::Overrun`], and everything may have changed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use evenkeel_schemas::scalars::Cidr;
use netlink_sys::{Socket, SocketAddr, protocols};
use nix::sys::socket::{setsockopt, sockopt};

use crate::error::KernelError;
use crate::wire::{Malformed, Message, messages};
use crate::{address, link, route};

/// Most datagrams read in one call: what is left is read in the next one, so that a flood of
/// changes does not hold up an election.
const MAX_DATAGRAMS: usize = 128;
/// Largest message about a link with all its properties.
const MAX_DATAGRAM_BYTES: usize = 64 * 1024;
/// Receive buffer asked for; granted with CAP_NET_ADMIN.
const RECEIVE_BUFFER_BYTES: usize = 2 * 1024 * 1024;

/// Kinds of events (`RTNLGRP_*`, `linux/rtnetlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Interfaces.
    Links,
    /// IPv4 addresses.
    Ipv4Addresses,
    /// IPv6 addresses.
    Ipv6Addresses,
    /// IPv4 routes.
    Ipv4Routes,
    /// IPv6 routes.
    Ipv6Routes,
    /// IPv4 routing rules.
    Ipv4Rules,
    /// IPv6 routing rules.
    Ipv6Rules,
}

impl Group {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Links,
        Self::Ipv4Addresses,
        Self::Ipv6Addresses,
        Self::Ipv4Routes,
        Self::Ipv6Routes,
        Self::Ipv4Rules,
        Self::Ipv6Rules,
    ];
    /// Groups that an election needs.
    pub const ELECTION: [Self; 3] = [Self::Links, Self::Ipv4Addresses, Self::Ipv6Addresses];

    const fn number(self) -> u32 {
        match self {
            Self::Links => libc::RTNLGRP_LINK,
            Self::Ipv4Addresses => libc::RTNLGRP_IPV4_IFADDR,
            Self::Ipv6Addresses => libc::RTNLGRP_IPV6_IFADDR,
            Self::Ipv4Routes => libc::RTNLGRP_IPV4_ROUTE,
            Self::Ipv6Routes => libc::RTNLGRP_IPV6_ROUTE,
            Self::Ipv4Rules => libc::RTNLGRP_IPV4_RULE,
            Self::Ipv6Rules => libc::RTNLGRP_IPV6_RULE,
        }
    }
}

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An address was added, or its properties changed.
    AddressAdded {
        /// Interface.
        ifindex: u32,
        /// Address and prefix length.
        address: Cidr,
        /// Whether it carries our tag.
        tagged: bool,
    },
    /// An address was removed.
    AddressRemoved {
        /// Interface.
        ifindex: u32,
        /// Address and prefix length.
        address: Cidr,
        /// Whether it carried our tag.
        tagged: bool,
    },
    /// An interface came, changed or went; one that went is neither up nor running.
    LinkChanged {
        /// Interface.
        ifindex: u32,
        /// Name now.
        name: String,
        /// Whether there is such an interface still.
        there: bool,
        /// `IFF_UP`.
        up: bool,
        /// `IFF_RUNNING`.
        running: bool,
        /// `IFF_LOWER_UP`.
        carrier: bool,
    },
    /// A route was added or removed.
    RouteChanged {
        /// Whether the route carries our tag: on a busy router only changes of those are worth an
        /// observation.
        tagged: bool,
        /// Whether it was removed.
        removed: bool,
    },
    /// A routing rule was added or removed.
    RuleChanged,
    /// News were lost.
    Overrun,
}

/// A socket that receives changes in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Begins to listen. Earlier changes are not received: observe the kernel after this, not before.
    ///
    /// # Errors
    ///
    /// When the kernel gives no such socket.
    pub fn open(groups: &[Group]) -> Result<Self, KernelError> {
        open(groups)
            .map(|socket| Self { socket, buffer: Vec::with_capacity(MAX_DATAGRAM_BYTES) })
            .map_err(|error| KernelError::system("cannot listen to the kernel's news", &error))
    }

    /// [`Self::open`] with [`Group::ELECTION`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_election() -> Result<Self, KernelError> {
        Self::open(&Group::ELECTION)
    }

    /// Takes the news that have come in; never waits. A bounded number at once: as long as there are more,
    /// the socket stays ready to be read.
    ///
    /// # Errors
    /// When the socket can no longer be read.
    pub fn read_events(&mut self) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        for _ in 0..MAX_DATAGRAMS {
            self.buffer.clear();
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            match self.socket.recv_from(&mut self.buffer, flags) {
                // Other processes may send to a multicast listener; only the kernel is port 0.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > self.buffer.len() => events.push(Event::Overrun),
                Ok(_) => decode(&self.buffer, &mut events),
                Err(error) => match error.raw_os_error() {
                    Some(libc::ENOBUFS) => events.push(Event::Overrun),
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(events)
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open(groups: &[Group]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocols::NETLINK_ROUTE)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES)
        .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES))
        .ok();
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(group.number())?;
    }
    Ok(socket)
}

/// Appends the events of a datagram. One that cannot be decoded may have been anything.
fn decode(datagram: &[u8], events: &mut Vec<Event>) {
    for message in messages(datagram) {
        match message.and_then(event) {
            Ok(event) => events.extend(event),
            Err(Malformed) => events.push(Event::Overrun),
        }
    }
}

fn event(message: Message<'_>) -> Result<Option<Event>, Malformed> {
    let Message { kind, body, .. } = message;
    let event = match kind {
        libc::RTM_NEWADDR => address::parse(kind, body)?.map(|told| Event::AddressAdded {
            ifindex: told.index,
            address: told.address,
            tagged: told.tagged,
        }),
        libc::RTM_DELADDR => address::parse(kind, body)?.map(|told| Event::AddressRemoved {
            ifindex: told.index,
            address: told.address,
            tagged: told.tagged,
        }),
        libc::RTM_NEWLINK | libc::RTM_DELLINK => link::parse(kind, body)?.map(|link| {
            let there = kind == libc::RTM_NEWLINK;
            let (up, running) = (there && link.up, there && link.running);
            let carrier = there && link.carrier;
            Event::LinkChanged { ifindex: link.index, name: link.name, there, up, running, carrier }
        }),
        libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
            let removed = kind == libc::RTM_DELROUTE;
            Some(Event::RouteChanged { tagged: route::is_tagged(body)?, removed })
        }
        libc::RTM_NEWRULE | libc::RTM_DELRULE => Some(Event::RuleChanged),
        kind if i32::from(kind) == libc::NLMSG_OVERRUN => Some(Event::Overrun),
        _ => None,
    };
    Ok(event)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            kind in 16_u16..26,
        ) {
            let mut events = Vec::new();
            decode(&bytes, &mut events);
            let _ = event(Message { kind, flags: 0, sequence: 0, body: &bytes });
            prop_assert!(events.len() <= 300);
        }
    }
}
