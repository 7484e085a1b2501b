//! Holders of a VIP, and times: from the address events of every watched host, read by one thread in the
//! order they come.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};

use crate::journal::{Journal, Listener, Record};
use crate::net::Host;
use crate::netlink::{DATAGRAM_SIZE, Netlink, RTM_DELADDR, RTM_NEWADDR, address_in, messages};
use crate::time::Mark;

/// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x10 | 0x100;

/// A running record; see [`Lab::watch_vip`](crate::Lab::watch_vip).
///
/// Precision is the time the watching thread takes to run after the change: well under a millisecond on an
/// idle guest.
pub struct VipWatch {
    vip: IpAddr,
    /// The holders from that moment on.
    journal: Journal<BTreeSet<String>>,
    _listener: Listener,
}

impl VipWatch {
    #[track_caller]
    pub(crate) fn start(vip: IpAddr, hosts: &[&Host], interface: &str) -> Self {
        let mut sockets = Vec::new();
        let mut watched = Vec::new();
        let mut holders = BTreeSet::new();
        for host in hosts {
            // Listen first, look second: a change in between is told twice, not lost.
            let (socket, link, holds) = host.enter(|| {
                let socket = Netlink::route(GROUPS);
                let mut asking = Netlink::route(0);
                let link = asking.link(interface);
                let holds =
                    asking.addresses().iter().any(|address| address.link == link && address.ip == vip);
                (socket, link, holds)
            });
            if holds {
                holders.insert(host.name().to_owned());
            }
            sockets.push(socket.into_fd());
            watched.push((host.name().to_owned(), link));
        }
        let journal = Journal::new();
        journal.push(Instant::now(), holders.clone());
        let writer = journal.clone();
        let mut buffer = vec![0; DATAGRAM_SIZE];
        let listener = Listener::start("vip-watch", sockets, move |index, socket| {
            let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) else { return };
            let at = Instant::now();
            let (host, link) = &watched[index];
            for message in messages(&buffer[..length]) {
                let ours = address_in(message.body)
                    .is_some_and(|address| address.ip == vip && address.link == *link);
                let changed = match message.kind {
                    RTM_NEWADDR if ours => holders.insert(host.clone()),
                    RTM_DELADDR if ours => holders.remove(host),
                    _ => false,
                };
                if changed {
                    writer.push(at, holders.clone());
                }
            }
        });
        Self { vip, journal, _listener: listener }
    }

    /// Hosts that hold it now.
    pub fn holders(&self) -> Vec<String> {
        self.journal
            .with(|all| all.last().map(|last| last.what.iter().cloned().collect()).unwrap_or_default())
    }

    /// The sole holder, waited for; panics after `timeout`.
    #[track_caller]
    pub fn wait_holder(&self, host: &Host, timeout: Duration) -> Duration {
        let wanted = [host.name().to_owned()];
        crate::time::eventually(timeout, &format!("{} alone holds {}", host.name(), self.vip), || {
            self.holders() == wanted
        })
    }

    /// The longest time since the mark that more than one host held it.
    pub fn both_since(&self, mark: Mark) -> Duration {
        self.longest(mark, |holders| holders > 1)
    }

    /// The longest time since the mark that no host held it.
    pub fn none_since(&self, mark: Mark) -> Duration {
        self.longest(mark, |holders| holders == 0)
    }

    /// How long each host held it since the mark.
    pub fn held_since(&self, mark: Mark) -> BTreeMap<String, Duration> {
        let mut held = BTreeMap::new();
        for (length, holders) in self.stretches(mark).into_iter().filter(|(length, _)| !length.is_zero()) {
            for holder in holders {
                *held.entry(holder).or_insert(Duration::ZERO) += length;
            }
        }
        held
    }

    fn longest(&self, mark: Mark, of: impl Fn(usize) -> bool) -> Duration {
        let mut longest = Duration::ZERO;
        let mut current = Duration::ZERO;
        for (length, holders) in self.stretches(mark) {
            current = if of(holders.len()) { current + length } else { Duration::ZERO };
            longest = longest.max(current);
        }
        longest
    }

    /// When holders changed since the mark, and who they were then.
    pub fn changes_since(&self, mark: Mark) -> Vec<Record<BTreeSet<String>>> {
        self.journal.since(mark)
    }

    /// Stretches of unchanged holders after the mark.
    fn stretches(&self, mark: Mark) -> Vec<(Duration, BTreeSet<String>)> {
        let now = Instant::now();
        self.journal.with(|all| {
            let ends = all.iter().skip(1).map(|next| next.at).chain([now]);
            all.iter()
                .zip(ends)
                .map(|(record, end)| {
                    (end.saturating_duration_since(record.at.max(mark)), record.what.clone())
                })
                .collect()
        })
    }
}
