//! VRRP without I/O: the packet codec, one virtual router, and all virtual routers of a host.
//!
//! Everything here is a function of its arguments. There is no socket, clock, thread, randomness
//! or file access; the daemon's election loop owns those and drives the machines so:
//!
//! ```text
//!   loop {
//!       election.set_wall_clock(wall);
//!       while let Some((key, output)) = election.poll_output() { perform(key, output) }
//!       match wait_until(election.poll_timeout()) {
//!           Timeout        => election.handle_timers(now),
//!           Packet(i, p)   => election.handle_packet(i, p, now),
//!           Ready(key)     => election.handle(key, Input::Startup, now),
//!       }
//!   }
//! ```
//!
//! Two rules for the driver. Drain all outputs after each input. When a timeout is due, handle the
//! timers before reading more packets: then no flood of packets can delay an advertisement.
//!
//! RFC 9568 says Active where RFC 3768, keepalived and this project say Master.

mod engine;
mod ipv4;
mod packet;
mod rejection;
mod router;
mod track;
mod trailer;
mod wall;
mod wire;

pub use engine::{Election, Family, Member, RouterKey};
pub use ipv4::{Ipv4Parts, SplitError, split_ipv4};
pub use packet::{Advert, GROUP_V4, GROUP_V6, PROTOCOL, TTL, decode, encode};
pub use rejection::{RejectKind, Rejection};
pub use router::{
    AdvertKind, Cause, Config, Counters, Delivery, Directors, Dropped, Event, FaultCause, GroupEvent, Input,
    MemberName, Notice, NoticeKind, OFFER_INTERVALS, Output, Received, Skew, State, Stranger, Strangers,
    VirtualRouter, Why, master_down_interval, skew_time,
};
pub use track::{Effective, Tracked, TrackerState, effective};
pub use trailer::{AntiReplay, Hmac, HmacKey, HmacMode, KeyError, Sequence, TRAILER_BYTES};
pub use wall::WallClock;
pub use wire::{Auth, Checksum, Secret, Version, WireInterval};
