//! Announcements crossing a segment: gratuitous ARP and unsolicited neighbour advertisements, with the time.
//! Nothing is judged here.

use std::net::IpAddr;
use std::time::Duration;

use crate::capture::{self, announcement_filter};
use crate::cluster::{FRONT, Lab};
use crate::journal::{Journal, Listener, Record};
use crate::netlink::ip_of;
use crate::time::Mark;

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The address that is announced.
    pub address: IpAddr,
    /// The Ethernet address it is at.
    pub mac: [u8; 6],
}

/// A running record; see [`Lab::capture_announcements_on`].
pub struct Announcements {
    journal: Journal<Announcement>,
    _listener: Listener,
}

impl Lab {
    /// Records every announcement crossing the front segment from now on.
    pub fn capture_announcements(&self) -> Announcements {
        self.capture_announcements_on(FRONT)
    }

    /// Records every announcement crossing a segment from now on.
    pub fn capture_announcements_on(&self, segment: &str) -> Announcements {
        let journal = Journal::new();
        let writer = journal.clone();
        let sources = vec![capture::open(&announcement_filter(self.segment(segment)))];
        let listener = Listener::start("announcements", sources, move |_, socket| {
            capture::drain(socket, |packet| {
                if let Some(announcement) = decode(packet.bytes) {
                    writer.push(packet.at, announcement);
                }
            });
        });
        Announcements { journal, _listener: listener }
    }
}

impl Announcements {
    /// Those of one address since the mark.
    pub fn of(&self, address: IpAddr, since: Mark) -> Vec<Record<Announcement>> {
        self.journal.since(since).into_iter().filter(|record| record.what.address == address).collect()
    }

    /// Waits for one of that address since the mark, from the interface with that Ethernet address; panics
    /// after `timeout`.
    #[track_caller]
    pub fn wait(
        &self,
        address: IpAddr,
        mac: [u8; 6],
        since: Mark,
        timeout: Duration,
    ) -> Record<Announcement> {
        let wanted = Announcement { address, mac };
        match self.journal.wait(Some(since), timeout, |record| record.what == wanted) {
            Some(record) => record,
            None => panic!("no {wanted:?} within {timeout:?}; seen: {:?}", self.of(address, since)),
        }
    }
}

/// An ARP packet whose sender and target are the same address, or a neighbour advertisement that nobody asked
/// for.
fn decode(frame: &[u8]) -> Option<Announcement> {
    let body = frame.get(14..)?;
    if frame.get(12..14)? == [0x08, 0x06] {
        let (sender, target) = (body.get(14..18)?, body.get(24..28)?);
        let mac = body.get(8..14)?.try_into().ok()?;
        return (sender == target).then_some(Announcement { address: ip_of(sender)?, mac });
    }
    const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    const SOLICITED: u8 = 0x40;
    let message = body.get(40..)?;
    let unasked = *message.first()? == NEIGHBOUR_ADVERTISEMENT && message.get(4)? & SOLICITED == 0;
    let mac = frame.get(6..12)?.try_into().ok()?;
    unasked.then_some(Announcement { address: ip_of(message.get(8..24)?)?, mac })
}
