//! A host's rtnetlink events, as `ip monitor` would print them, with the time and no process. Requests are in
//! `nlmon`.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::journal::{Journal, Listener, Record};
use crate::net::Host;
use crate::netlink::{
    Address, DATAGRAM_SIZE, Netlink, RTM_DELLINK, RTM_NEWLINK, Received, address_in, attributes, ip_of,
    link_in, messages, u32_at,
};
use crate::time::Mark;

/// `RTMGRP_` LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE and IPV6_RULE.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x4_0000;
const IFF_UP: u32 = 1;
const IFF_LOWER_UP: u32 = 0x1_0000;

/// Kind of object that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A link's state.
    Link,
    /// An address.
    Address,
    /// A route.
    Route,
    /// A neighbour (ARP, ND) entry.
    Neighbour,
    /// A routing rule.
    Rule,
    /// The kernel dropped events because nobody read them fast enough.
    Lost,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Made or changed.
    Added,
    /// Gone.
    Removed,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The object that it is about.
    pub subject: Subject,
    /// Which way.
    pub action: Action,
    /// For people and for `contains`: `192.168.188.120/32 dev eth0 proto 0`.
    pub text: String,
    /// The address, when it is about one.
    pub address: Option<Address>,
}

impl fmt::Display for Event {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} {:?} {}", self.subject, self.action, self.text)
    }
}

/// A running record; see [`Host::monitor`].
pub struct Monitor {
    journal: Journal<Event>,
    _listener: Listener,
}

impl Host {
    /// Records every rtnetlink event on this host from now on.
    pub fn monitor(&self) -> Monitor {
        Monitor::start(self)
    }
}

impl Monitor {
    pub(crate) fn start(host: &Host) -> Self {
        let (socket, links) = host.enter(|| (Netlink::route(GROUPS), Netlink::route(0).links()));
        let mut links: BTreeMap<u32, String> = links.into_iter().collect();
        let journal = Journal::new();
        let writer = journal.clone();
        let mut buffer = vec![0; DATAGRAM_SIZE];
        let listener = Listener::start("monitor", vec![socket.into_fd()], move |_, socket| {
            let received = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT);
            let at = Instant::now();
            match received {
                Ok(length) => {
                    for message in messages(&buffer[..length]) {
                        if let Some(event) = read(message, &mut links) {
                            writer.push(at, event);
                        }
                    }
                }
                Err(Errno::ENOBUFS) => writer.push(
                    at,
                    Event {
                        subject: Subject::Lost,
                        action: Action::Removed,
                        text: String::new(),
                        address: None,
                    },
                ),
                Err(_) => {}
            }
        });
        Self { journal, _listener: listener }
    }

    /// Every event since the mark.
    pub fn since(&self, mark: Mark) -> Vec<Record<Event>> {
        self.journal.since(mark)
    }

    /// Waits for an event, those already seen included; panics after `timeout`.
    #[track_caller]
    pub fn wait(&self, timeout: Duration, wanted: impl FnMut(&Record<Event>) -> bool) -> Record<Event> {
        if let Some(record) = self.journal.wait(None, timeout, wanted) {
            return record;
        }
        let seen: Vec<String> =
            self.journal.with(|all| all.iter().map(|record| record.what.to_string()).collect());
        panic!("no such event within {timeout:?}; seen:\n  {}", seen.join("\n  "))
    }
}

fn read(message: Received<'_>, links: &mut BTreeMap<u32, String>) -> Option<Event> {
    let action = if message.kind.is_multiple_of(4) { Action::Added } else { Action::Removed };
    let mut address = None;
    let (subject, text) = match message.kind / 4 * 4 {
        16 => {
            let (index, name) = link_in(message.body)?;
            match message.kind {
                RTM_NEWLINK => _ = links.insert(index, name.clone()),
                RTM_DELLINK => _ = links.remove(&index),
                _ => {}
            }
            let flags = u32_at(message.body, 8)?;
            let say = |mask, yes, no| if flags & mask != 0 { yes } else { no };
            (
                Subject::Link,
                format!(
                    "{name} {} {}",
                    say(IFF_UP, "UP", "DOWN"),
                    say(IFF_LOWER_UP, "CARRIER", "NO-CARRIER")
                ),
            )
        }
        20 => {
            let found = address_in(message.body)?;
            let text = format!(
                "{}/{} dev {} proto {}",
                found.ip,
                found.prefix,
                name(links, found.link),
                found.protocol
            );
            address = Some(found);
            (Subject::Address, text)
        }
        24 => (Subject::Route, route_text(message.body, links)?),
        28 => {
            let (_, neighbour) = attributes(message.body, 12).find(|(kind, _)| *kind == 1)?;
            let mac = attributes(message.body, 12)
                .find(|(kind, _)| *kind == 2)
                .map(|(_, mac)| mac)
                .unwrap_or_default();
            let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
            let link = name(links, u32_at(message.body, 4)?);
            (Subject::Neighbour, format!("{} dev {link} lladdr {}", ip_of(neighbour)?, mac.join(":")))
        }
        32 => (Subject::Rule, format!("{:?}", message.body)),
        _ => return None,
    };
    Some(Event { subject, action, text, address })
}

fn route_text(body: &[u8], links: &BTreeMap<u32, String>) -> Option<String> {
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    let (prefix, table, protocol) = (*body.get(1)?, *body.get(4)?, *body.get(5)?);
    let (mut destination, mut rest) = ("default".to_owned(), String::new());
    for (kind, value) in attributes(body, 12) {
        match kind {
            RTA_DST => destination = format!("{}/{prefix}", ip_of(value)?),
            RTA_GATEWAY => rest += &format!(" via {}", ip_of(value)?),
            RTA_OIF => rest += &format!(" dev {}", name(links, u32_at(value, 0)?)),
            _ => {}
        }
    }
    Some(format!("{destination}{rest} table {table} proto {protocol}"))
}

fn name(links: &BTreeMap<u32, String>, index: u32) -> String {
    links.get(&index).cloned().unwrap_or_else(|| format!("link{index}"))
}
