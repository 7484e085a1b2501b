//! An interface that the election uses: its link, and the sockets that exist while the link does.
//!
//! Virtual routers speak on it, VIPs are on it, or both. What is sent is decided elsewhere.

mod announcements;
mod origins;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use evenkeel_kernel::Link;
use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Family, FaultCause};

use super::sockets::frames::Mac;
use super::sockets::{AddressClaim, Announcer, Buffer, Duplicates, Receiver, Sender, source_works};
use announcements::AnnouncementQueue;
use origins::OriginCache;

/// An interface and its sockets. They are opened anew when the interface comes back as another one.
pub(super) struct Port {
    name: InterfaceName,
    link: Option<Link>,
    /// Whether it became another interface, or got another hardware address, and [`Followed`] has not said so
    /// yet.
    replaced: bool,
    /// Families of the routers that listen here.
    families: BTreeSet<Family>,
    /// Whether it is the interface of a virtual MAC address.
    virtual_mac: bool,
    receivers: BTreeMap<Family, Receiver>,
    /// Senders by source and TTL.
    senders: BTreeMap<(IpAddr, u8), Sender>,
    /// Sources of its routers that the host does not have.
    missing: BTreeSet<IpAddr>,
    announcer: Option<Announcer>,
    /// Announcements of VIPs that wait to be sent.
    pub(super) announcements: AnnouncementQueue,
    /// Hardware addresses from which others advertise.
    pub(super) origins: OriginCache,
    /// VIPs that others must not claim.
    watched: BTreeSet<IpAddr>,
    /// Listens for those who do.
    duplicates: Option<Duplicates>,
    /// Whether it listens for exactly the watched VIPs.
    listening: bool,
    /// The problem of following the link as reported last: each is reported once.
    link_problem: Option<String>,
    /// The same of announcing.
    announcement_problem: Option<String>,
}

/// What following the link has led to.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Whether it is another interface, or has another hardware address, than before.
    pub(super) replaced: bool,
    /// The first socket that could not be opened.
    pub(super) problem: Option<io::Error>,
}

impl Port {
    pub(super) fn new(name: InterfaceName) -> Self {
        Self {
            name,
            link: None,
            replaced: false,
            families: BTreeSet::new(),
            virtual_mac: false,
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
            missing: BTreeSet::new(),
            announcer: None,
            announcements: AnnouncementQueue::default(),
            origins: OriginCache::default(),
            watched: BTreeSet::new(),
            duplicates: None,
            listening: true,
            link_problem: None,
            announcement_problem: None,
        }
    }

    /// The interface's name.
    pub(super) const fn name(&self) -> &InterfaceName {
        &self.name
    }

    /// Routers of these families listen here, with a virtual MAC address or without.
    pub(super) fn listen(&mut self, families: BTreeSet<Family>, virtual_mac: bool) {
        let same = virtual_mac == self.virtual_mac;
        self.receivers.retain(|family, _| same && families.contains(family));
        (self.families, self.virtual_mac) = (families, virtual_mac);
    }

    /// The families of the routers that listen here.
    pub(super) const fn families(&self) -> &BTreeSet<Family> {
        &self.families
    }

    /// Follows the link as the kernel has it now; `None` when there is none of this name.
    ///
    /// Where a socket cannot be opened, routers that need it cannot use the link, and the next call tries
    /// again. On a kernel without IPv6 the sockets of IPv4 are opened all the same.
    pub(super) fn follow(&mut self, link: Option<&Link>) -> Followed {
        let identity = |link: &Link| (link.index, link.mac);
        let changed = self.link.as_ref().map(identity) != link.map(identity);
        // Remembered until there is a socket to announce by.
        self.replaced |= changed && self.link.is_some() && link.is_some();
        if changed {
            self.receivers.clear();
            self.senders.clear();
            self.announcer = None;
            (self.duplicates, self.listening) = (None, false);
            self.announcements.clear();
            self.origins.clear();
        }
        self.link = link.cloned();
        let Some(link) = link else { return Followed::default() };
        let mut problem = None;
        for family in &self.families {
            if let Entry::Vacant(free) = self.receivers.entry(*family) {
                let open = if self.virtual_mac { Receiver::open_virtual } else { Receiver::open };
                match open(self.name.as_str(), link.index, *family) {
                    Ok(receiver) => drop(free.insert(receiver)),
                    Err(error) => problem = problem.or(Some(error)),
                }
            }
        }
        if self.announcer.is_none() {
            match Announcer::open(link.index, link.mac.unwrap_or_default()) {
                Ok(announcer) => self.announcer = Some(announcer),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        problem = problem.or(self.listen_for_duplicates().err());
        let replaced = self.announcer.is_some() && std::mem::take(&mut self.replaced);
        Followed { replaced, problem }
    }

    /// Whether an event about the interface with this index or name is about this port.
    pub(super) fn concerns(&self, index: u32, name: Option<&str>) -> bool {
        self.link.as_ref().is_some_and(|link| link.index == index) || name == Some(self.name.as_str())
    }

    /// Replaces the problem of following the link, `None` for none, and returns it when it is to be reported:
    /// when it is another than the last one.
    pub(super) fn new_link_problem(&mut self, problem: Option<String>) -> Option<String> {
        replace(&mut self.link_problem, problem)
    }

    /// The same for the problem of announcing.
    pub(super) fn new_announcement_problem(&mut self, problem: Option<String>) -> Option<String> {
        replace(&mut self.announcement_problem, problem)
    }

    /// Finds out which sources of the routers that listen here the host does not have. The routers that send
    /// through this port may be others: see [`Self::keep_senders`].
    pub(super) fn find_missing(&mut self, sources: &BTreeSet<IpAddr>) {
        let is_missing = |source: &IpAddr| !self.source_works(*source);
        self.missing = sources.iter().copied().filter(is_missing).collect();
    }

    /// Whether packets can leave from this address.
    pub(super) fn source_works(&self, source: IpAddr) -> bool {
        self.link.as_ref().is_some_and(|link| {
            !source_works(self.name.as_str(), link.index, source).is_err_and(|error| is_missing(&error))
        })
    }

    /// Closes the senders of all but these addresses.
    pub(super) fn keep_senders(&mut self, sources: &BTreeSet<IpAddr>) {
        self.senders.retain(|(source, _), _| sources.contains(source));
    }

    /// # Errors
    /// What keeps a router with this source from listening here.
    pub(super) fn check_source(&self, source: IpAddr) -> Result<(), FaultCause> {
        self.check_open(Family::of(source))?;
        if source.is_unspecified() || self.missing.contains(&source) {
            return Err(FaultCause::SourceMissing);
        }
        Ok(())
    }

    /// # Errors
    /// What keeps routers of a family from hearing anything here.
    pub(super) fn check_open(&self, family: Family) -> Result<(), FaultCause> {
        self.check_link()?;
        let deaf = self.families.contains(&family) && !self.receivers.contains_key(&family);
        if deaf { Err(FaultCause::Socket) } else { Ok(()) }
    }

    /// Opens a sender from `source` if there is none.
    ///
    /// # Errors
    /// What keeps a router from sending and announcing here.
    pub(super) fn check_sender(&mut self, source: IpAddr, ttl: u8) -> Result<(), FaultCause> {
        self.check_link()?;
        if self.announcer.is_none() {
            return Err(FaultCause::Socket);
        }
        match self.sender(source, ttl) {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Err(FaultCause::SourceMissing),
            Err(_) => Err(FaultCause::Socket),
        }
    }

    fn check_link(&self) -> Result<(), FaultCause> {
        match &self.link {
            None => Err(FaultCause::InterfaceMissing),
            Some(link) if !link.running => Err(FaultCause::InterfaceDown),
            Some(_) => Ok(()),
        }
    }

    /// The receiver of a family.
    pub(super) fn receiver(&self, family: Family) -> Option<&Receiver> {
        self.receivers.get(&family)
    }

    /// The sockets to poll for packets and claims.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let receivers = self.receivers.values().map(AsFd::as_fd);
        receivers.chain(self.duplicates.iter().flat_map(Duplicates::fds))
    }

    /// The sender from `source`, opened if there is none.
    fn sender(&mut self, source: IpAddr, ttl: u8) -> io::Result<&Sender> {
        let index = self.link.as_ref().ok_or(io::ErrorKind::NotConnected)?.index;
        match self.senders.entry((source, ttl)) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(free) => Ok(free.insert(Sender::open(self.name.as_str(), index, source, ttl)?)),
        }
    }

    /// Sends an advertisement. A sender that fails is closed, so that the next use shows whether a new one
    /// works.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&mut self, bytes: &[u8], source: IpAddr, to: IpAddr, ttl: u8) -> io::Result<()> {
        let sent = self.sender(source, ttl)?.send(bytes, to);
        if sent.as_ref().is_err_and(|error| !is_full(error)) {
            self.senders.remove(&(source, ttl));
        }
        sent
    }

    /// Listens for others who claim these VIPs, see [`Self::next_claim`], and for no other claims.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn watch(&mut self, vips: BTreeSet<IpAddr>) -> io::Result<()> {
        if vips == self.watched {
            return Ok(());
        }
        self.watched = vips;
        self.listening = false;
        self.listen_for_duplicates()
    }

    fn listen_for_duplicates(&mut self) -> io::Result<()> {
        let Some(link) = &self.link else { return Ok(()) };
        if !self.listening {
            let duplicates = self.duplicates.get_or_insert_with(|| Duplicates::new(link.index));
            duplicates.watch(self.watched.iter().copied())?;
            self.listening = true;
        }
        Ok(())
    }

    /// The next frame that claims an address; in it the claim, if it is somebody else's to a watched VIP.
    /// `None` when none is waiting.
    pub(super) fn next_claim(&self, buffer: &mut Buffer) -> Option<Option<(Mac, IpAddr)>> {
        let ours = self.link.as_ref()?.mac?;
        let duplicates = self.duplicates.as_ref()?;
        match duplicates.next(ours, buffer) {
            AddressClaim::Of(mac, vip) if self.watched.contains(&vip) => Some(Some((mac, vip))),
            AddressClaim::Of(..) | AddressClaim::Ours => Some(None),
            AddressClaim::Nothing => None,
        }
    }

    /// The hardware address from which `address` advertises here, if a frame has shown it. Listens for such
    /// frames from now on.
    pub(super) fn find_origin(&mut self, address: IpAddr, buffer: &mut Buffer, now: MonoTime) -> Option<Mac> {
        let index = self.link.as_ref()?.index;
        self.origins.find(index, address, buffer, now)
    }

    /// Probes the segment for others with these VIPs.
    pub(super) fn probe(&self, vips: impl Iterator<Item = IpAddr>) {
        if let Some(announcer) = &self.announcer {
            // A probe that is lost costs nothing but the answer: who claims the VIP is heard anyway.
            vips.for_each(|vip| drop(announcer.probe(vip)));
        }
    }
}

fn replace(last: &mut Option<String>, problem: Option<String>) -> Option<String> {
    let new = problem.clone().filter(|_| problem != *last);
    *last = problem;
    new
}

/// Whether the kernel says that the host does not have a source address.
fn is_missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

/// Whether the kernel had no room for a packet right now.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}
