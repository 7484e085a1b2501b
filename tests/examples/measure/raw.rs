//! An IPVS table written and read back with as little as can be: prepared bytes out, bytes in, nothing
//! understood. What a verified change of that size costs the kernel itself, beside which everything else is
//! measured.

use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv, sendmsg,
    socket,
};

/// Messages of one send.
const WINDOW: usize = 200;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `IPVS_CMD_*` (`linux/ip_vs.h`).
const NEW_SERVICE: u8 = 1;
const GET_SERVICE: u8 = 4;
const NEW_DEST: u8 = 5;
const GET_DEST: u8 = 8;
/// `IPVS_DEST_ATTR_WEIGHT`.
const WEIGHT: u16 = 4;

/// A destination of the table: which service of it, address, weight.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) weight: u32,
}

/// A service with scheduler `wlc`, TCP.
pub(crate) struct Service {
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) destinations: Vec<Entry>,
}

/// A socket to the IPVS of the namespace that it was opened in.
pub(crate) struct Raw {
    socket: OwnedFd,
    family: u16,
    buffer: Vec<u8>,
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("short");
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn padded(ip: Ipv4Addr) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&ip.octets());
    bytes
}

/// `IPVS_SVC_ATTR_*`: what names a service and, when `whole`, what it is.
fn service(service: &Service, whole: bool) -> Vec<u8> {
    let mut inner = Vec::new();
    attribute(&mut inner, 1, &2_u16.to_ne_bytes());
    attribute(&mut inner, 2, &6_u16.to_ne_bytes());
    attribute(&mut inner, 3, &padded(service.address));
    attribute(&mut inner, 4, &service.port.to_be_bytes());
    if whole {
        attribute(&mut inner, 6, b"wlc\0");
        attribute(&mut inner, 7, &[0, 0, 0, 0, 255, 255, 255, 255]);
        attribute(&mut inner, 8, &0_u32.to_ne_bytes());
        attribute(&mut inner, 9, &[255; 4]);
    }
    let mut out = Vec::new();
    attribute(&mut out, 0x8001, &inner);
    out
}

/// `IPVS_DEST_ATTR_*`.
fn destination(entry: &Entry) -> Vec<u8> {
    let mut inner = Vec::new();
    attribute(&mut inner, 11, &2_u16.to_ne_bytes());
    attribute(&mut inner, 1, &padded(entry.address));
    attribute(&mut inner, 2, &entry.port.to_be_bytes());
    for (kind, value) in [(3, 3), (4, entry.weight), (5, 0), (6, 0)] {
        attribute(&mut inner, kind, &value.to_ne_bytes());
    }
    let mut out = Vec::new();
    attribute(&mut out, 0x8002, &inner);
    out
}

impl Raw {
    /// Opens a socket in the calling thread's namespace and loads IPVS if need be.
    pub(crate) fn open() -> Self {
        let protocol = SockProtocol::NetlinkGeneric;
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("netlink");
        let kernel = NetlinkAddr::new(0, 0);
        bind(socket.as_raw_fd(), &kernel).expect("bound");
        connect(socket.as_raw_fd(), &kernel).expect("connected");
        let mut raw = Self { socket, family: 0x10, buffer: vec![0; 64 * 1024] };
        // CTRL_CMD_GETFAMILY by name; the answer has CTRL_ATTR_FAMILY_ID (1).
        let mut body = Vec::new();
        attribute(&mut body, 2, b"IPVS\0");
        let ask = raw.message(3, REQUEST | ACK, &body);
        raw.send(&ask);
        let length = raw.receive();
        let at =
            raw.buffer[..length].windows(4).position(|bytes| bytes == [6, 0, 1, 0]).expect("a number") + 4;
        raw.family = u16::from_ne_bytes([raw.buffer[at], raw.buffer[at + 1]]);
        raw.receive();
        raw
    }

    fn send(&self, bytes: &[u8]) {
        let parts = [IoSlice::new(bytes)];
        sendmsg::<NetlinkAddr>(self.socket.as_raw_fd(), &parts, &[], MsgFlags::empty(), None).expect("sent");
    }

    fn receive(&mut self) -> usize {
        recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()).expect("an answer")
    }

    fn message(&self, command: u8, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(20 + body.len()).expect("short");
        let mut out = length.to_ne_bytes().to_vec();
        out.extend(self.family.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend([1, 0, 0, 0, 0, 0, 0, 0, command, 1, 0, 0]);
        out.extend(body);
        out
    }

    /// The messages that make a table, in windows whose last message is acknowledged.
    pub(crate) fn prepare(&self, table: &[Service]) -> Vec<Vec<u8>> {
        let mut bodies: Vec<(u8, Vec<u8>)> =
            table.iter().map(|one| (NEW_SERVICE, service(one, true))).collect();
        for one in table {
            let key = service(one, false);
            let entries = one.destinations.iter();
            bodies.extend(entries.map(|entry| (NEW_DEST, [key.clone(), destination(entry)].concat())));
        }
        let window = |bodies: &[(u8, Vec<u8>)]| {
            let last = bodies.len() - 1;
            let flags = |at| if at == last { REQUEST | ACK } else { REQUEST };
            let messages = bodies.iter().enumerate();
            messages.flat_map(|(at, (command, body))| self.message(*command, flags(at), body)).collect()
        };
        bodies.chunks(WINDOW).map(window).collect()
    }

    /// Sends them.
    pub(crate) fn write(&mut self, windows: &[Vec<u8>]) {
        for window in windows {
            self.send(window);
            self.receive();
            assert_eq!(self.buffer[16..20], [0; 4], "refused");
        }
    }

    /// Reads the table as dumps do, one for the services and one for each service's destinations, and counts
    /// the objects.
    pub(crate) fn read(&mut self, table: &[Service]) -> usize {
        let all = self.message(GET_SERVICE, REQUEST | DUMP, &[]);
        let mut count = self.dump(&all, |_| {});
        for one in table {
            let ask = self.message(GET_DEST, REQUEST | DUMP, &service(one, false));
            count += self.dump(&ask, |_| {});
        }
        count
    }

    /// The weights of a service's destinations, in the kernel's order; none when there is no such service.
    pub(crate) fn weights(&mut self, of: &Service) -> Vec<u32> {
        let ask = self.message(GET_DEST, REQUEST | DUMP, &service(of, false));
        let mut weights = Vec::new();
        self.dump(&ask, |message| {
            // After the family's header and that of the attribute which holds the others.
            let mut rest = message.get(8..).unwrap_or_default();
            while let Some((header, _)) = rest.split_first_chunk::<4>() {
                let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
                if header[2..] == WEIGHT.to_ne_bytes() {
                    weights.push(u32::from_ne_bytes(rest[4..8].try_into().expect("a number")));
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        });
        weights
    }

    fn dump(&mut self, ask: &[u8], mut each: impl FnMut(&[u8])) -> usize {
        self.send(ask);
        let mut count = 0;
        loop {
            let length = self.receive();
            let mut rest = &self.buffer[..length];
            while let Some((header, _)) = rest.split_first_chunk::<16>() {
                let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
                let length = usize::try_from(length).expect("fits");
                match u16::from_ne_bytes([header[4], header[5]]) {
                    DONE => return count,
                    ERROR => panic!("refused"),
                    _ => {
                        each(&rest[16..length]);
                        count += 1;
                    }
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}
