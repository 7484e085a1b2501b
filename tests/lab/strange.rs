//! Frames that a stranger on the segment can send: whole ones with any source, ten kinds and more for one
//! virtual router, by multicast and by unicast, of both versions and families. What must come of them is up
//! to the tests.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::forge::{Flood, Forged, GROUP, VRRP, checksum};
use crate::net::Host;

/// RFC 9568 §5.1.2.2.
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Between two batches.
const BATCH_EVERY: Duration = Duration::from_millis(10);
/// Invented sources of one flood.
const INVENTED: u8 = 100;

/// A virtual router under attack.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Its version.
    pub version: u8,
    /// Its VRID.
    pub vrid: u8,
    /// Its only VIP.
    pub vip: IpAddr,
    /// Version 2 only.
    pub password: Option<String>,
    /// From where its directors advertise, and their hardware addresses; the Master first.
    pub directors: [(IpAddr, [u8; 6]); 2],
    /// Whether by unicast.
    pub unicast: bool,
}

/// Frames of one kind, sent by turns.
pub struct Kinds {
    /// For people.
    pub what: &'static str,
    /// The frames.
    pub frames: Vec<Vec<u8>>,
    /// Whether they may decide who is Master: their source is a director's, or counts as one's, and nothing
    /// tells them apart from true ones.
    pub may_move: bool,
}

impl Victim {
    fn right(&self) -> Forged {
        let second = self.version == 2;
        let mut forged = Forged {
            version: self.version,
            vrid: self.vrid,
            priority: 255,
            interval: if second { 1 } else { 100 },
            auth_type: u8::from(self.password.is_some()),
            password: self.password.clone().unwrap_or_default(),
            ..Forged::default()
        };
        match self.vip {
            IpAddr::V4(vip) => forged.vips = vec![vip],
            IpAddr::V6(vip) => forged.vips6 = vec![vip],
        }
        forged
    }

    fn with_vips(&self, ours: bool, forged: Forged) -> Forged {
        let mut forged = forged;
        if !ours {
            forged.vips.clear();
            forged.vips6.clear();
        }
        match self.vip {
            IpAddr::V4(_) => forged.vips.push(Ipv4Addr::new(10, 200, 9, 9)),
            IpAddr::V6(_) => forged.vips6.push(Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 9)),
        }
        forged
    }

    /// A host that is none of the directors, near the first one.
    fn stranger(&self, last: u8) -> IpAddr {
        match self.directors[0].0 {
            IpAddr::V4(director) => {
                let [a, b, _, _] = director.octets();
                Ipv4Addr::new(a, b, 77, last).into()
            }
            IpAddr::V6(director) => {
                let [head @ .., _, _] = director.segments();
                let [a, b, c, d, e, f] = head;
                Ipv6Addr::new(a, b, c, d, e, f, 0x77, last.into()).into()
            }
        }
    }

    /// That message from a source, to the group or to each director.
    fn frames(&self, source: IpAddr, forged: &Forged) -> Vec<Vec<u8>> {
        if self.unicast {
            let others = self.directors.iter().filter(|(address, _)| *address != source);
            return others.map(|(address, mac)| frame(*mac, source, *address, forged)).collect();
        }
        let (mac, group) = match source {
            IpAddr::V4(_) => ([0x01, 0, 0x5e, 0, 0, 0x12], IpAddr::from(GROUP)),
            IpAddr::V6(_) => ([0x33, 0x33, 0, 0, 0, 0x12], IpAddr::from(GROUP6)),
        };
        vec![frame(mac, source, group, forged)]
    }

    /// Everything that a stranger may try.
    pub fn kinds(&self) -> Vec<Kinds> {
        let stranger = self.stranger(9);
        let [(master, _), (backup, _)] = self.directors;
        let of = |what, source, forged: Forged| Kinds {
            what,
            frames: self.frames(source, &forged),
            may_move: false,
        };
        let right = || self.right();
        let longest = if self.version == 2 { 255 } else { 4095 };
        let invented = (0..INVENTED).flat_map(|last| {
            self.frames(self.stranger(last), &self.with_vips(false, Forged { priority: 254, ..right() }))
        });
        let mut all = vec![
            of("checksum wrong", backup, Forged { checksum_right: false, ..right() }),
            of("TTL 64", backup, Forged { ttl: 64, ..right() }),
            of("version wrong", backup, Forged { version: if self.version == 2 { 3 } else { 2 }, ..right() }),
            of("truncated", backup, Forged { cut_to: Some(7), ..right() }),
            of("count beyond the packet", backup, Forged { count: Some(200), ..right() }),
            of("interval zero", backup, Forged { interval: 0, ..right() }),
            of("source is the Master's", master, right()),
            of(
                "other VIPs, longest interval",
                stranger,
                self.with_vips(false, Forged { interval: longest, ..right() }),
            ),
            of("other VIPs, priority 0", stranger, self.with_vips(false, Forged { priority: 0, ..right() })),
            of("a VIP more", stranger, self.with_vips(true, right())),
            Kinds { what: "other VIPs, invented sources", frames: invented.collect(), may_move: false },
        ];
        if self.password.is_some() {
            let wrong = || Forged { password: "guess".to_owned(), ..right() };
            all.push(of("a director's, password wrong", backup, wrong()));
            all.push(of("a director's, farewell, password wrong", backup, Forged { priority: 0, ..wrong() }));
        }
        if self.unicast {
            all.push(of("exactly our VIPs, no peer", stranger, right()));
        } else {
            all.push(Kinds { may_move: true, ..of("exactly our VIPs", stranger, right()) });
        }
        all.push(Kinds {
            may_move: true,
            ..of("a director's, all right", backup, Forged { priority: 254, ..right() })
        });
        all
    }
}

/// An Ethernet frame with that message; it comes from a hardware address of nobody.
fn frame(to: [u8; 6], source: IpAddr, destination: IpAddr, forged: &Forged) -> Vec<u8> {
    let message = forged.message_between(source, destination);
    let length = u16::try_from(message.len()).expect("a short message");
    let mut frame = [&to[..], &[2, 0x77, 0, 0, 0, 9]].concat();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0]);
            let mut header = vec![0x45, 0xc0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0, 0, forged.ttl, VRRP, 0, 0]);
            header.extend(source.octets().into_iter().chain(destination.octets()));
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(header);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x6c, 0, 0, 0]);
            frame.extend(length.to_be_bytes());
            frame.extend([VRRP, forged.ttl]);
            frame.extend(source.octets().into_iter().chain(destination.octets()));
        }
        _ => panic!("one family: {source} and {destination}"),
    }
    frame.extend(message);
    frame
}

impl Host {
    /// Sends those frames by turns, evenly and so many a second, for that long.
    #[track_caller]
    pub fn flood_frames(
        &self,
        interface: &str,
        frames: &[Vec<u8>],
        per_second: u32,
        duration: Duration,
    ) -> Flood {
        self.enter(|| {
            let index = if_nametoindex(interface).expect("the interface");
            let socket =
                Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).expect("a packet socket");
            socket.bind(&link_address(index)).expect("bind to the interface");
            let batch = (f64::from(per_second) * BATCH_EVERY.as_secs_f64()).ceil();
            let pause = Duration::from_secs_f64(batch / f64::from(per_second));
            let mut turns = frames.iter().cycle();
            let nowhere: Vec<Option<SockaddrIn>> = vec![None; batch as usize];
            let mut headers = MultiHeaders::preallocate(batch as usize, None);
            let started = Instant::now();
            let (mut sent, mut next) = (0, started);
            while started.elapsed() < duration {
                let pieces: Vec<[IoSlice<'_>; 1]> =
                    turns.by_ref().take(batch as usize).map(|frame| [IoSlice::new(frame)]).collect();
                sent += sendmmsg(socket.as_raw_fd(), &mut headers, &pieces, &nowhere, [], MsgFlags::empty())
                    .map_or(0, Iterator::count);
                next += pause;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            Flood { sent, took: started.elapsed() }
        })
    }
}

/// The packet(7) address of an interface.
#[allow(unsafe_code, reason = "socket2 has no safe constructor of a sockaddr_ll")]
fn link_address(index: u32) -> SockAddr {
    let address = nix::libc::sockaddr_ll {
        sll_family: nix::libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).expect("an index"),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    // SAFETY: the storage is larger than a sockaddr_ll and aligned for every socket address; the value
    // written is whole, and the length told is its own.
    let made = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<nix::libc::sockaddr_ll>().write(address);
            *length = size_of::<nix::libc::sockaddr_ll>() as nix::libc::socklen_t;
            Ok(())
        })
    };
    made.expect("an address").1
}
