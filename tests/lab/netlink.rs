//! A small netlink client of the lab's own: builds and reads messages, makes links and addresses, resolves
//! family names. It shares no code with the reconciler's, so that tests observe independently. Who listens to
//! what is not decided here.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket, sockopt,
};

use crate::check::Expected;

pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const RTM_NEWLINK: u16 = 16;
pub(crate) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
pub(crate) const RTM_GETADDR: u16 = 22;

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_EXCL: u16 = 0x200;

const NLA_F_NESTED: u16 = 0x8000;
const IFF_UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_PROTO: u16 = 11;
/// An infinite address lifetime.
const FOREVER: u32 = u32::MAX;

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// One datagram holds at most this much in every kernel the lab knows.
pub(crate) const DATAGRAM_SIZE: usize = 64 << 10;
/// Room for the events of a whole test that nobody has read yet.
const RECEIVE_BUFFER_SIZE: usize = 8 << 20;

/// An address on an interface, as the kernel tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address itself.
    pub ip: IpAddr,
    /// Its prefix length.
    pub prefix: u8,
    /// The interface's index in its namespace.
    pub link: u32,
    /// Its label, when it has one.
    pub label: Option<String>,
    /// `rt_scope`: 0 is global, 253 link, 254 host.
    pub scope: u8,
    /// `IFA_PROTO`: who added it; 0 when unsaid.
    pub protocol: u8,
    /// Seconds it stays valid; `None` is forever.
    pub valid_for: Option<Duration>,
    /// Seconds it stays preferred; `None` is forever.
    pub preferred_for: Option<Duration>,
}

/// A message under construction.
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self { bytes }
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        append_attribute(&mut self.bytes, kind, value);
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), b"\0"].concat())
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("a short message");
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes
    }
}

pub(crate) fn append_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("a short attribute");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Attributes one after another, as the value of a nesting one.
fn nest(attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, value) in attributes {
        append_attribute(&mut bytes, *kind, value);
    }
    bytes
}

/// A message received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram; stops at the first that is cut short.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let body = bytes.get(16..length)?;
        let message =
            Received { kind: u16_at(bytes, 4)?, flags: u16_at(bytes, 6)?, sequence: u32_at(bytes, 8)?, body };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes after a header of `header` bytes.
pub(crate) fn attributes(body: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut bytes = body.get(header..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & !NLA_F_NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(crate) fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// A netlink socket, belonging to the namespace of the thread that opened it.
pub(crate) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// A route socket listening to `groups` (a mask of the first 32 multicast groups).
    pub(crate) fn route(groups: u32) -> Self {
        Self::open(SockProtocol::NetlinkRoute, groups)
    }

    /// A socket for generic families.
    pub(crate) fn generic() -> Self {
        Self::open(SockProtocol::NetlinkGeneric, 0)
    }

    fn open(protocol: SockProtocol, groups: u32) -> Self {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .expect("a netlink socket");
        if groups != 0 {
            setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_SIZE).expect("a big receive buffer");
        }
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).expect("bind a netlink socket");
        Self { fd, sequence: 0 }
    }

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends all in one datagram and waits for every acknowledgement; the first error is returned.
    pub(crate) fn transact(&mut self, requests: Vec<Message>) -> io::Result<()> {
        let first = self.sequence + 1;
        let mut bytes = Vec::new();
        for mut request in requests {
            let flags = u16_at(&request.bytes, 6).unwrap_or_default() | NLM_F_ACK;
            request.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
            self.sequence += 1;
            bytes.extend(request.finish(self.sequence));
        }
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut outcome = Ok(());
        let mut awaited = self.sequence + 1 - first;
        let mut buffer = vec![0; DATAGRAM_SIZE];
        while awaited > 0 {
            let length = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for answer in messages(&buffer[..length]) {
                if answer.kind != NLMSG_ERROR || answer.sequence < first {
                    continue;
                }
                awaited -= 1;
                let code = u32_at(answer.body, 0).unwrap_or_default().cast_signed();
                if code != 0 && outcome.is_ok() {
                    outcome = Err(io::Error::from_raw_os_error(-code));
                }
            }
        }
        outcome
    }

    /// Asks and hands every answer to `each` until the dump's end or the acknowledgement.
    pub(crate) fn ask(&mut self, request: Message, mut each: impl FnMut(Received<'_>)) -> io::Result<()> {
        self.sequence += 1;
        send(self.fd.as_raw_fd(), &request.finish(self.sequence), MsgFlags::empty())?;
        let mut buffer = vec![0; DATAGRAM_SIZE];
        loop {
            let length = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            for answer in messages(&buffer[..length]).filter(|answer| answer.sequence == self.sequence) {
                match answer.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = u32_at(answer.body, 0).unwrap_or_default().cast_signed();
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    _ => each(answer),
                }
            }
        }
    }

    /// Every address in the namespace.
    pub(crate) fn addresses(&mut self) -> Vec<Address> {
        let mut found = Vec::new();
        self.ask(Message::new(RTM_GETADDR, NLM_F_DUMP, &[0; 8]), |answer| {
            found.extend(address_in(answer.body))
        })
        .expect("dump addresses");
        found
    }

    /// Every link in the namespace, by index.
    pub(crate) fn links(&mut self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        self.ask(Message::new(RTM_GETLINK, NLM_F_DUMP, &link_header(0, 0)), |answer| {
            found.extend(link_in(answer.body))
        })
        .expect("dump links");
        found
    }

    /// The index of a link; panics when there is none of that name.
    pub(crate) fn link(&mut self, name: &str) -> u32 {
        let links = self.links();
        match links.iter().find(|(_, link)| link == name) {
            Some((index, _)) => *index,
            None => panic!("no link {name} among {links:?}"),
        }
    }
}

/// The number of a generic netlink family; asking loads its module.
pub(crate) fn generic_family(name: &str) -> u16 {
    let mut netlink = Netlink::generic();
    let request = Message::new(GENL_ID_CTRL, NLM_F_ACK, &[CTRL_CMD_GETFAMILY, 1, 0, 0])
        .text(CTRL_ATTR_FAMILY_NAME, name);
    let mut family = None;
    netlink
        .ask(request, |answer| {
            family = attributes(answer.body, 4)
                .find(|(kind, _)| *kind == CTRL_ATTR_FAMILY_ID)
                .and_then(|(_, value)| u16_at(value, 0));
        })
        .or_fail(format_args!("generic netlink family {name}"));
    family.expect("a family has a number")
}

/// The address in an `RTM_NEWADDR` or `RTM_DELADDR`.
pub(crate) fn address_in(body: &[u8]) -> Option<Address> {
    let (prefix, scope, link) = (*body.get(1)?, *body.get(3)?, u32_at(body, 4)?);
    let (mut local, mut peer, mut label, mut protocol, mut lifetimes) =
        (None, None, None, 0, (FOREVER, FOREVER));
    for (kind, value) in attributes(body, 8) {
        match kind {
            IFA_LOCAL => local = ip_of(value),
            IFA_ADDRESS => peer = ip_of(value),
            IFA_LABEL => label = Some(text_of(value)),
            IFA_PROTO => protocol = *value.first()?,
            IFA_CACHEINFO => lifetimes = (u32_at(value, 0)?, u32_at(value, 4)?),
            _ => {}
        }
    }
    let span = |seconds| (seconds != FOREVER).then(|| Duration::from_secs(u64::from(seconds)));
    Some(Address {
        ip: local.or(peer)?,
        prefix,
        link,
        label,
        scope,
        protocol,
        preferred_for: span(lifetimes.0),
        valid_for: span(lifetimes.1),
    })
}

/// Index and name of the link in an `RTM_NEWLINK` or `RTM_DELLINK`.
pub(crate) fn link_in(body: &[u8]) -> Option<(u32, String)> {
    let (_, name) = attributes(body, 16).find(|(kind, _)| *kind == IFLA_IFNAME)?;
    Some((u32_at(body, 4)?, text_of(name)))
}

fn link_header(index: u32, up: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&up.to_ne_bytes());
    header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    header
}

/// Up or down.
pub(crate) fn set_link(index: u32, up: bool) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, u32::from(up)))
}

/// Into a bridge, or out of any with 0.
pub(crate) fn set_master(index: u32, master: u32) -> Message {
    let mut header = link_header(index, 0);
    header[12..16].fill(0);
    Message::new(RTM_NEWLINK, 0, &header).attribute(IFLA_MASTER, &master.to_ne_bytes())
}

pub(crate) fn link_up(netlink: &mut Netlink, name: &str) {
    let index = netlink.link(name);
    netlink.transact(vec![set_link(index, true)]).or_fail(format_args!("{name} up"));
}

/// A bridge that forwards at once and floods multicast, as a plain switch does.
pub(crate) fn new_bridge(name: &str) -> Message {
    let data = nest(&[(IFLA_BR_FORWARD_DELAY, &0u32.to_ne_bytes()), (IFLA_BR_MCAST_SNOOPING, &[0])]);
    let info = nest(&[(IFLA_INFO_KIND, b"bridge"), (IFLA_INFO_DATA | NLA_F_NESTED, &data)]);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, IFF_UP))
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_LINKINFO | NLA_F_NESTED, &info)
}

/// An nlmon device, up.
pub(crate) fn new_nlmon(name: &str) -> Message {
    let info = nest(&[(IFLA_INFO_KIND, b"nlmon")]);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, IFF_UP))
        .text(IFLA_IFNAME, name)
        .attribute(IFLA_LINKINFO | NLA_F_NESTED, &info)
}

/// A cable: `outer` here, in bridge `master` and up; `inner` in the namespace `netns`.
pub(crate) fn new_cable(
    outer: &str,
    outer_mac: [u8; 6],
    master: u32,
    inner: &str,
    inner_mac: [u8; 6],
    netns: i32,
) -> Message {
    let mut peer = [0; 16].to_vec();
    append_attribute(&mut peer, IFLA_IFNAME, &[inner.as_bytes(), b"\0"].concat());
    append_attribute(&mut peer, IFLA_ADDRESS, &inner_mac);
    append_attribute(&mut peer, IFLA_NET_NS_FD, &netns.to_ne_bytes());
    let data = nest(&[(VETH_INFO_PEER | NLA_F_NESTED, &peer)]);
    let info = nest(&[(IFLA_INFO_KIND, b"veth"), (IFLA_INFO_DATA | NLA_F_NESTED, &data)]);
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, IFF_UP))
        .text(IFLA_IFNAME, outer)
        .attribute(IFLA_ADDRESS, &outer_mac)
        .attribute(IFLA_MASTER, &master.to_ne_bytes())
        .attribute(IFLA_LINKINFO | NLA_F_NESTED, &info)
}

/// Adds (or, with `RTM_DELADDR`, deletes) an address.
pub(crate) fn change_address(kind: u16, link: u32, ip: IpAddr, prefix: u8) -> Message {
    let (family, bytes) = match ip {
        IpAddr::V4(v4) => (AddressFamily::Inet, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AddressFamily::Inet6, v6.octets().to_vec()),
    };
    let mut header = [u8::try_from(family as i32).expect("a small number"), prefix, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&link.to_ne_bytes());
    let flags = if kind == RTM_NEWADDR { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    let message =
        Message::new(kind, flags, &header).attribute(IFA_LOCAL, &bytes).attribute(IFA_ADDRESS, &bytes);
    match ip {
        IpAddr::V4(v4) if kind == RTM_NEWADDR && prefix < 31 => {
            let broadcast = v4.to_bits() | (u32::MAX >> prefix);
            message.attribute(IFA_BROADCAST, &broadcast.to_be_bytes())
        }
        _ => message,
    }
}
