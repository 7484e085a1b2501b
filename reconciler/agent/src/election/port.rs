//! An interface with routers on it: its link, and the sockets that follow the link.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use evenkeel_kernel::Link;
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::FaultCause;

use super::sockets::{Announcer, Receiver, Sender, source_works};

/// Most announcements that wait for room in the kernel's buffers: bursts of three routers with 255
/// VIPs, five packets each. More are lost.
const MAX_PENDING: usize = 4096;
/// How long they wait: what comes later is of no use to anybody.
const PENDING_LIMIT: Duration = Duration::from_secs(2);
/// Most announcements made up for in one turn.
const PENDING_TURN: usize = 256;

/// An interface and its sockets. Sockets exist exactly while the link does; they are made anew when
/// the interface comes back as another one.
pub(super) struct Port {
    name: InterfaceName,
    link: Option<Link>,
    receiver: Option<Receiver>,
    senders: BTreeMap<Ipv4Addr, Sender>,
    /// Sources of its routers that the host does not have.
    missing: BTreeSet<Ipv4Addr>,
    announcer: Option<Announcer>,
    /// Announcements that found the kernel's buffers full, and when they are given up.
    pending: VecDeque<Ipv4Addr>,
    pending_until: MonoTime,
    /// The problems of following and announcing that were told last, so that each is told once.
    told: [Option<String>; 2],
}

impl Port {
    pub(super) const fn new(name: InterfaceName) -> Self {
        Self {
            name,
            link: None,
            receiver: None,
            senders: BTreeMap::new(),
            missing: BTreeSet::new(),
            announcer: None,
            pending: VecDeque::new(),
            pending_until: MonoTime::ZERO,
            told: [None, None],
        }
    }

    /// Follows the link as the kernel has it now; `None` when there is none of this name. Returns
    /// whether it is another interface, or has another hardware address, than before.
    ///
    /// # Errors
    /// When a socket cannot be opened. The link is then taken as not usable, and the next call
    /// tries again.
    pub(super) fn follow(&mut self, link: Option<&Link>) -> io::Result<bool> {
        let identity = |link: &Link| (link.index, link.mac);
        let changed = self.link.as_ref().map(identity) != link.map(identity);
        let replaced = changed && self.link.is_some() && link.is_some();
        if changed {
            self.receiver = None;
            self.senders.clear();
            self.announcer = None;
            self.pending.clear();
        }
        self.link = link.cloned();
        let Some(link) = link else { return Ok(false) };
        if self.receiver.is_none() {
            self.receiver = Some(Receiver::open(self.name.as_str(), link.index)?);
        }
        if self.announcer.is_none() {
            let mac = link.mac.unwrap_or_default();
            self.announcer = Some(Announcer::open(link.index, mac)?);
        }
        Ok(replaced)
    }

    /// Whether news of this interface, by index or name, are news of this port.
    pub(super) fn concerns(&self, index: u32, name: Option<&str>) -> bool {
        self.link.as_ref().is_some_and(|link| link.index == index) || name == Some(self.name.as_str())
    }

    /// Whether this is the port of an interface of this name.
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.as_str() == name
    }

    /// The problem of following to tell: the one given, unless it was told last. `None` ends it.
    pub(super) fn news(&mut self, problem: Option<String>) -> Option<String> {
        told_once(&mut self.told[0], problem)
    }

    /// The same for announcements.
    pub(super) fn announce_news(&mut self, problem: Option<String>) -> Option<String> {
        told_once(&mut self.told[1], problem)
    }

    /// Looks whether the host still has the sources of this port's routers, and forgets senders of
    /// others.
    pub(super) fn look_at_sources(&mut self, sources: &BTreeSet<IpAddr>) {
        self.senders.retain(|source, _| sources.contains(&IpAddr::V4(*source)));
        let name = self.name.as_str();
        let v4 = sources.iter().filter_map(|source| match source {
            IpAddr::V4(source) => Some(*source),
            IpAddr::V6(_) => None,
        });
        self.missing =
            v4.filter(|source| source_works(name, *source).is_err_and(|error| is_missing(&error))).collect();
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
        if self.missing.contains(&source) {
            return Err(FaultCause::SourceMissing);
        }
        match self.sender(source) {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Err(FaultCause::SourceMissing),
            Err(_) => Err(FaultCause::Socket),
        }
    }

    pub(super) const fn receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref()
    }

    /// The sender from `source`, opened if there is none.
    fn sender(&mut self, source: Ipv4Addr) -> io::Result<&Sender> {
        match self.senders.entry(source) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(Sender::open(self.name.as_str(), source)?)),
        }
    }

    /// Sends an advertisement. A sender that fails is forgotten, so that the next use shows whether
    /// a new one works.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&mut self, bytes: &[u8], source: IpAddr, destination: IpAddr) -> io::Result<()> {
        let IpAddr::V4(source) = source else { return Err(io::ErrorKind::Unsupported.into()) };
        let sent = self.sender(source)?.send(bytes, destination);
        if sent.as_ref().is_err_and(|error| !is_full(error)) {
            self.senders.remove(&source);
        }
        sent
    }

    /// Sends one gratuitous ARP packet for `vip`, later if there is no room for it now.
    ///
    /// # Errors
    /// The kernel's, for anything but a lack of room.
    pub(super) fn announce(&mut self, vip: IpAddr, now: MonoTime) -> io::Result<()> {
        let (IpAddr::V4(vip), Some(announcer)) = (vip, &self.announcer) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        match announcer.gratuitous_arp(vip) {
            Err(error) if is_full(&error) => {
                if self.pending.len() < MAX_PENDING {
                    self.pending.push_back(vip);
                    self.pending_until = now + PENDING_LIMIT;
                }
                Ok(())
            }
            result => result,
        }
    }

    /// Whether announcements wait for room.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sends what waits, as long as there is room.
    pub(super) fn send_pending(&mut self, now: MonoTime) {
        if now >= self.pending_until {
            self.pending.clear();
        }
        let Some(announcer) = &self.announcer else { return };
        for _ in 0..PENDING_TURN {
            let Some(vip) = self.pending.front() else { return };
            if announcer.gratuitous_arp(*vip).is_err_and(|error| is_full(&error)) {
                return;
            }
            self.pending.pop_front();
        }
    }

    /// Forgets what waits for a VIP that is no longer here.
    pub(super) fn withdraw(&mut self, vip: IpAddr) {
        self.pending.retain(|waiting| IpAddr::V4(*waiting) != vip);
    }
}

fn told_once(last: &mut Option<String>, problem: Option<String>) -> Option<String> {
    let news = problem.clone().filter(|_| problem != *last);
    *last = problem;
    news
}

/// Whether the kernel says that the host does not have a source address.
fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// Whether the kernel had no room for a packet right now.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}
