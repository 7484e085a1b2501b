//! An interface with routers on it: its link, and the sockets that follow the link.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use evenkeel_kernel::Link;
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_vrrp::FaultCause;

use super::sockets::{Announcer, Receiver, Sender};

/// An interface and its sockets. Sockets exist exactly while the link does; they are made anew when
/// the interface comes back as another one.
pub(super) struct Port {
    name: InterfaceName,
    link: Option<Link>,
    receiver: Option<Receiver>,
    senders: BTreeMap<Ipv4Addr, Sender>,
    announcer: Option<Announcer>,
}

impl Port {
    pub(super) const fn new(name: InterfaceName) -> Self {
        Self { name, link: None, receiver: None, senders: BTreeMap::new(), announcer: None }
    }

    /// Follows the link as the kernel has it now; `None` when there is none of this name.
    ///
    /// # Errors
    /// When a socket cannot be opened. The link is then taken as not usable, and the next call
    /// tries again.
    pub(super) fn follow(&mut self, link: Option<&Link>) -> io::Result<()> {
        let identity = |link: &Link| (link.index, link.mac);
        if self.link.as_ref().map(identity) != link.map(identity) {
            self.receiver = None;
            self.senders.clear();
            self.announcer = None;
        }
        self.link = link.cloned();
        let Some(link) = link else { return Ok(()) };
        if self.receiver.is_none() {
            self.receiver = Some(Receiver::open(self.name.as_str(), link.index)?);
        }
        if self.announcer.is_none() {
            let mac = link.mac.unwrap_or_default();
            self.announcer = Some(Announcer::open(link.index, mac)?);
        }
        Ok(())
    }

    /// Makes sure of a sender from `source`, and tells what stands in the way of taking part.
    pub(super) fn check(&mut self, source: IpAddr) -> Result<(), FaultCause> {
        let link = self.link.as_ref().ok_or(FaultCause::InterfaceMissing)?;
        if !link.running {
            return Err(FaultCause::InterfaceDown);
        }
        if self.receiver.is_none() || self.announcer.is_none() {
            return Err(FaultCause::Socket);
        }
        let IpAddr::V4(source) = source else { return Err(FaultCause::Socket) };
        if !self.senders.contains_key(&source) {
            let sender =
                Sender::open(self.name.as_str(), source).map_err(|error| match error.raw_os_error() {
                    Some(libc::EADDRNOTAVAIL) => FaultCause::SourceMissing,
                    _ => FaultCause::Socket,
                })?;
            self.senders.insert(source, sender);
        }
        Ok(())
    }

    /// Forgets senders that no router uses.
    pub(super) fn retain_senders(&mut self, sources: &BTreeSet<IpAddr>) {
        self.senders.retain(|source, _| sources.contains(&IpAddr::V4(*source)));
    }

    pub(super) const fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    /// # Errors
    /// The kernel's, or `ENOTCONN` when there is no sender.
    pub(super) fn send(&self, bytes: &[u8], source: IpAddr, destination: IpAddr) -> io::Result<()> {
        let sender = match source {
            IpAddr::V4(source) => self.senders.get(&source),
            IpAddr::V6(_) => None,
        };
        sender.ok_or(io::ErrorKind::NotConnected)?.send(bytes, destination)
    }

    /// One gratuitous ARP packet for `vip`.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn announce(&self, vip: IpAddr) -> io::Result<()> {
        match (vip, &self.announcer) {
            (IpAddr::V4(vip), Some(announcer)) => announcer.gratuitous_arp(vip),
            (IpAddr::V4(_) | IpAddr::V6(_), _) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}
