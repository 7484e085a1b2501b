//! Every netlink request made on a host, seen from outside through an nlmon device: what a program really
//! asked of the kernel. Answers and events are not recorded here; for events see `monitor`.

use std::time::Duration;

use crate::capture::{self, netlink_filter};
use crate::journal::{Journal, Listener, Record};
use crate::net::Host;
use crate::netlink::{NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, Netlink, generic_family, messages, new_nlmon};
use crate::time::{Mark, eventually, mark};

const DEVICE: &str = "nlmon0";
const PROTOCOL_ROUTE: u16 = 0;
const PROTOCOL_GENERIC: u16 = 16;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetlinkRequest {
    /// `IPVS SET_DEST`, `RTM_NEWADDR`, or numbers for what the lab has no name for.
    pub name: String,
    /// The request only asks: a GET or a dump.
    pub reads: bool,
    /// Its body after the netlink header.
    pub body: Vec<u8>,
}

/// A running record; see [`Host::netlink_capture`].
pub struct NetlinkCapture {
    journal: Journal<NetlinkRequest>,
    _listener: Listener,
}

impl Host {
    /// Records every netlink request made on this host from now on.
    pub fn netlink_capture(&self) -> NetlinkCapture {
        NetlinkCapture::start(self)
    }
}

impl NetlinkCapture {
    pub(crate) fn start(host: &Host) -> Self {
        let (ipvs, socket) = host.enter(|| {
            let mut netlink = Netlink::route(0);
            if !netlink.links().iter().any(|(_, name)| name == DEVICE) {
                netlink.transact(vec![new_nlmon(DEVICE)]).expect("an nlmon device");
            }
            (generic_family("IPVS"), capture::open(&netlink_filter()))
        });
        let journal = Journal::new();
        let writer = journal.clone();
        let listener = Listener::start("netlink-capture", vec![socket], move |_, socket| {
            capture::drain(socket, |packet| {
                for message in messages(packet.bytes) {
                    if message.flags & NLM_F_REQUEST != 0 && message.kind > NLMSG_DONE {
                        let (name, reads) =
                            request_name(packet.protocol, message.kind, message.flags, message.body, ipvs);
                        writer.push(packet.at, NetlinkRequest { name, reads, body: message.body.to_vec() });
                    }
                }
            });
        });
        Self { journal, _listener: listener }
    }

    /// Every request since the mark, reads included.
    pub fn since(&self, mark: Mark) -> Vec<Record<NetlinkRequest>> {
        self.journal.since(mark)
    }

    /// The names of the requests since the mark that change something, in order: `["IPVS SET_DEST"]`.
    pub fn changes_since(&self, mark: Mark) -> Vec<String> {
        self.since(mark)
            .into_iter()
            .filter(|record| !record.what.reads)
            .map(|record| record.what.name)
            .collect()
    }

    /// Waits until all requests made until now are recorded: they are in their order, and the last is our
    /// own. What the kernel says of its time may be a little off, so it may take more than one.
    #[track_caller]
    pub fn settle(&self, host: &Host, timeout: Duration) {
        const ONE: Duration = Duration::from_secs(1);
        eventually(timeout, "the lab's own request is recorded", || {
            let asked = mark();
            host.addresses("lo");
            self.journal.wait(Some(asked), ONE, |record| record.what.name == "RTM_GETADDR").is_some()
        });
    }

    /// Waits for a request of that name since the mark; panics after `timeout`.
    #[track_caller]
    pub fn wait(&self, mark: Mark, name: &str, timeout: Duration) -> Record<NetlinkRequest> {
        if let Some(record) = self.journal.wait(Some(mark), timeout, |record| record.what.name == name) {
            return record;
        }
        let seen: Vec<String> = self.since(mark).into_iter().map(|record| record.what.name).collect();
        panic!("no request {name} within {timeout:?}; seen: {seen:?}")
    }
}

/// A request's name and whether it only reads.
pub(crate) fn request_name(protocol: u16, kind: u16, flags: u16, body: &[u8], ipvs: u16) -> (String, bool) {
    let (name, asks) = name(protocol, kind, body, ipvs);
    let dumps = flags & NLM_F_DUMP == NLM_F_DUMP;
    (name, asks || (dumps && protocol == PROTOCOL_GENERIC))
}

fn name(protocol: u16, kind: u16, body: &[u8], ipvs: u16) -> (String, bool) {
    match protocol {
        PROTOCOL_ROUTE => {
            // Every route message comes in fours: new, delete, get, set.
            let verb = ["NEW", "DEL", "GET", "SET"][usize::from(kind % 4)];
            let object = match kind / 4 * 4 {
                16 => "LINK",
                20 => "ADDR",
                24 => "ROUTE",
                28 => "NEIGH",
                32 => "RULE",
                36 => "QDISC",
                other => return (format!("RTM {verb} {other}"), verb == "GET"),
            };
            (format!("RTM_{verb}{object}"), verb == "GET")
        }
        PROTOCOL_GENERIC if kind == ipvs => {
            let command = body.first().copied().unwrap_or_default();
            let name = match command {
                1 => "NEW_SERVICE",
                2 => "SET_SERVICE",
                3 => "DEL_SERVICE",
                4 => "GET_SERVICE",
                5 => "NEW_DEST",
                6 => "SET_DEST",
                7 => "DEL_DEST",
                8 => "GET_DEST",
                9 => "NEW_DAEMON",
                10 => "DEL_DAEMON",
                11 => "GET_DAEMON",
                12 => "SET_CONFIG",
                13 => "GET_CONFIG",
                14 => "SET_INFO",
                15 => "GET_INFO",
                16 => "ZERO",
                17 => "FLUSH",
                other => return (format!("IPVS {other}"), false),
            };
            (format!("IPVS {name}"), name.starts_with("GET_"))
        }
        // The controller only answers questions.
        PROTOCOL_GENERIC if kind == 0x10 => ("CTRL".to_owned(), true),
        _ => (format!("netlink protocol {protocol} message {kind}"), false),
    }
}
