//! What goes into a virtual router and what comes out of it.
//!
//! Data and its words only; what leads to what is in the state machine.

use std::fmt;
use std::net::IpAddr;

use evenkeel_schemas::scalars::{NAME_MAX, Name};
use evenkeel_schemas::time::MonoTime;

pub use evenkeel_schemas::status::RouterState as State;

use super::config::Config;
use super::notice::Event;

/// A packet as a socket delivered it. `Debug` does not show the payload, which may hold a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// The VRRP message, possibly with trailing padding.
    pub payload: &'a [u8],
    /// Source address of the IP header.
    pub src: IpAddr,
    /// Destination address of the IP header.
    pub dst: IpAddr,
    /// TTL or hop limit of the IP header.
    pub ttl: u8,
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payload, src, dst, ttl } = self;
        write!(f, "Received {{ {} bytes, src: {src}, dst: {dst}, ttl: {ttl} }}", payload.len())
    }
}

/// Input of a virtual router.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// The interface is up and everything but the VIPs has converged: take part (RFC 9568 §6.4.1). A router
    /// that already takes part ignores it.
    Startup,
    /// The lease of our previous process has not run out, so we are still Master: go on at once. A router
    /// that already takes part ignores it.
    Adopt,
    /// Leave for good, telling the Backups. A Master serves until another one is heard, or until none can be
    /// expected any more ([`super::VirtualRouter::is_leaving`]).
    Shutdown,
    /// Hand over: a Master leaves as by `Shutdown`, and goes on as Backup with a whole master-down interval
    /// for another one to claim. If nobody claims, we do. For a Master only. With preemption we would take
    /// over again after that time: whoever wants the handover to last turns it off before.
    Handover,
    /// Offer: ask whether another router would take over, without letting go first. Priority 0 is sent to the
    /// Backups as by `Shutdown`, and we go on as a silent Master for [`OFFER_INTERVALS`]. At the first
    /// advertisement of another Master we are Backup, whatever its priority; without one we go on as before.
    /// For a Master only. As with `Handover`, preemption is turned off before.
    Offer,
    /// Leave because of a fault: as by `Shutdown` where a Master still serves ([`FaultCause::serves`]), at
    /// once where it does not. Priority 0 is sent to the Backups when the link still carries it. A later
    /// `Startup` joins again.
    Fault(FaultCause),
    /// Time has passed: act on what is due at `now`.
    Timer,
    /// A packet came in on the router's interface.
    Packet(Received<'a>),
    /// A live change, without an election. A different version or VRID is a different router: such
    /// a change is ignored here; [`crate::Election`] makes a new router of it.
    Reconfigure(Config),
    /// A VIP that somebody else removed is back: announce again. For a Master only.
    VipsRepaired,
}

/// Intervals for which a Master waits for an answer to [`Input::Offer`]. Each Backup claims after its skew
/// time, which is less than one interval; after the last advertisement the lease runs for over two and a
/// half.
pub const OFFER_INTERVALS: u32 = 2;

/// Why a router cannot be Master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCause {
    /// The interface is down or has no carrier.
    InterfaceDown,
    /// The interface does not exist.
    InterfaceMissing,
    /// The source address of advertisements is not on the interface.
    SourceMissing,
    /// The socket fails.
    Socket,
    /// The kernel refuses a VIP.
    VipRefused,
    /// Something that a Master must serve is not in the kernel.
    NotConverged,
    /// Something that it tracks fails.
    Tracker,
    /// An operator holds the router.
    Held,
    /// The plan has the host in maintenance.
    Maintenance,
    /// The time that it stays out after the start is not over.
    StartupDelay,
    /// None of the virtual servers at its VIPs can be made here.
    Unserved,
    /// A virtual server at its VIPs has too few healthy real servers.
    Withdrawn,
}

impl FaultCause {
    /// Whether a packet can still leave.
    #[must_use]
    pub const fn link_works(self) -> bool {
        match self {
            Self::InterfaceDown | Self::InterfaceMissing | Self::Socket => false,
            // A socket that may (IP_TRANSPARENT) sends from an address that is no longer here.
            Self::SourceMissing
            | Self::VipRefused
            | Self::NotConverged
            | Self::Tracker
            | Self::Held
            | Self::Maintenance
            | Self::StartupDelay
            | Self::Unserved
            | Self::Withdrawn => true,
        }
    }
}

impl FaultCause {
    /// Whether a Master still serves with it: the router is to be elsewhere, and may wait for that.
    #[must_use]
    pub const fn serves(self) -> bool {
        match self {
            Self::Tracker | Self::Held | Self::Maintenance | Self::Withdrawn => true,
            Self::InterfaceDown
            | Self::InterfaceMissing
            | Self::SourceMissing
            | Self::Socket
            | Self::VipRefused
            | Self::NotConverged
            | Self::StartupDelay
            | Self::Unserved => false,
        }
    }
}

impl fmt::Display for FaultCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InterfaceDown => "interface is down",
            Self::InterfaceMissing => "interface is missing",
            Self::SourceMissing => "source address is not on the interface",
            Self::Socket => "socket fails",
            Self::VipRefused => "kernel refuses a VIP",
            Self::NotConverged => "kernel has not converged",
            Self::Tracker => "something that it tracks fails",
            Self::Held => "held by an operator",
            Self::Maintenance => "in maintenance, as the plan says",
            Self::StartupDelay => "waits for its start-up delay",
            Self::Unserved => "none of its virtual servers can be made here",
            Self::Withdrawn => "a service of it has too few healthy real servers here",
        })
    }
}

/// Why an advertisement is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdvertKind {
    /// The first of a new Master.
    Claim,
    /// The interval has passed.
    Periodic,
    /// Ahead of time: a rival, a Master that leaves, or a change of ours.
    Immediate,
    /// The last of a Master that yields to another, with its own priority. Ours: the other one may never have
    /// heard us (a partition that heals, and we hear first); now it knows that it must announce the VIPs
    /// again, and keepalived does so too. Not priority 0: if the other's answer is lost, a Backup that heard
    /// a farewell would claim. At most one an interval, and it gives no lease.
    LastWords,
    /// Priority 0: we leave.
    PriorityZero,
    /// Priority 0 of a Master that stays until another has claimed ([`Input::Offer`]). It gives no lease.
    Offer,
}

/// Task for the driver, in the order in which it must be done. `Debug` does not show the bytes of an
/// advertisement, which may hold the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Send an advertisement. By unicast there is one for each peer.
    Transmit {
        /// The VRRP message, checksum included.
        bytes: Vec<u8>,
        /// Source address for the IP header: the checksum may cover it.
        src: IpAddr,
        /// Destination address for the IP header.
        dst: IpAddr,
        /// TTL or hop limit for the IP header.
        ttl: u8,
        /// Why it is sent.
        kind: AdvertKind,
        /// Time at which the advertisement was due; lateness is measured from it.
        due: MonoTime,
    },
    /// The state changed. VIPs are present exactly in Master.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        cause: Cause,
    },
    /// Send gratuitous ARP (unsolicited neighbour advertisements) for every VIP, once they are
    /// present.
    Announce {
        /// Packets per VIP.
        repeat: u8,
    },
    /// Event for the log.
    Event(Event),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transmit { bytes, src, dst, ttl: _, kind, due } => write!(
                f,
                "Transmit {{ {} bytes, src: {src}, dst: {dst}, kind: {kind:?}, due: {due} }}",
                bytes.len()
            ),
            Self::StateChanged { from, to, cause } => {
                write!(f, "StateChanged {{ from: {from}, to: {to}, cause: {cause:?} }}")
            }
            Self::Announce { repeat } => write!(f, "Announce {{ repeat: {repeat} }}"),
            Self::Event(event) => write!(f, "Event({event:?})"),
        }
    }
}

/// The name of a virtual router, in place: a [`Cause`] that holds it is copied freely and costs the
/// election no allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MemberName {
    bytes: [u8; NAME_MAX],
    length: u8,
}

impl MemberName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl From<&Name> for MemberName {
    fn from(name: &Name) -> Self {
        let mut bytes = [0; NAME_MAX];
        let mut length = 0;
        for (to, from) in bytes.iter_mut().zip(name.as_str().bytes()) {
            *to = from;
            length += 1;
        }
        Self { bytes, length }
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Act of another member of the sync group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupEvent {
    /// Backup: the member was Master and became Backup.
    Yielded,
    /// Backup: the group was Master in part for too long, and the member, its leader, hears another Master.
    Follows,
    /// Initialize: the member takes no part, or not yet.
    Out,
}

/// Why a router is in its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Initialize: it has not been started yet.
    Configured,
    /// Backup: started.
    Startup,
    /// Master: started with priority 255 (RFC 9568 §6.4.1).
    Owner,
    /// Master: our previous process was.
    Adopted,
    /// Master: nothing was heard for the master-down interval.
    MasterDown,
    /// Master: the Master left with priority 0 and nobody came before the skew time was over.
    MasterLeft,
    /// Backup: another Master has a higher priority.
    HigherPriority {
        /// The other Master.
        from: IpAddr,
        /// Priority of the other Master.
        priority: u8,
        /// Our priority.
        ours: u8,
    },
    /// Backup: another Master has our priority and a higher address.
    HigherAddress {
        /// The other Master.
        from: IpAddr,
        /// Priority of both.
        priority: u8,
    },
    /// Backup: ordered to hand over.
    Handover,
    /// Initialize: ordered to leave.
    Shutdown,
    /// Initialize: cannot be Master.
    Fault(FaultCause),
    /// Backup or Initialize: another member of its sync group decides.
    Group {
        /// The other member.
        member: MemberName,
        /// Act of that member.
        event: GroupEvent,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("not started yet"),
            Self::Startup => f.write_str("started"),
            Self::Owner => f.write_str("started as address owner"),
            Self::Adopted => f.write_str("Master before the restart"),
            Self::MasterDown => f.write_str("Receive advertisement timeout"),
            Self::MasterLeft => f.write_str("Backup received priority 0 advertisement"),
            Self::HigherPriority { from, priority, ours } => {
                write!(f, "Master received advert from {from} with higher priority {priority}, ours {ours}")
            }
            Self::HigherAddress { from, priority } => write!(
                f,
                "Master received advert from {from} with same priority {priority} but higher IP address than \
                ours"
            ),
            Self::Handover => f.write_str("handed over"),
            Self::Shutdown => f.write_str("shut down"),
            Self::Fault(cause) => cause.fmt(f),
            Self::Group { member, event: GroupEvent::Yielded } => {
                write!(f, "{member} of its sync group became Backup")
            }
            Self::Group { member, event: GroupEvent::Follows } => {
                write!(f, "{member}, which leads its sync group, hears another Master")
            }
            Self::Group { member, event: GroupEvent::Out } => {
                write!(f, "{member} of its sync group does not take part")
            }
        }
    }
}

/// Purpose of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Master: `Adver_Timer`.
    AdvertDue,
    /// Master: the repetition of gratuitous ARP.
    SecondBurst,
    /// Master: gratuitous ARP again, as from time to time.
    GarpRefresh,
    /// Master that leaves: nobody has claimed in time.
    LeavingOver,
    /// Master: a rival has been silent for so long that it is none any more.
    RivalSilent,
    /// Backup: `Master_Down_Timer`.
    MasterDown,
    /// Backup: `Master_Down_Timer` after priority 0, so the skew time only.
    MasterLeft,
    /// A sync group has been Master in part for too long.
    GroupMixed,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdvertDue => "advertisement is due",
            Self::SecondBurst => "second gratuitous ARP burst is due",
            Self::GarpRefresh => "regular gratuitous ARP burst is due",
            Self::LeavingOver => "nobody has taken over from a Master that leaves",
            Self::RivalSilent => "a rival Master has been silent for long enough",
            Self::MasterDown => "master-down interval is over",
            Self::MasterLeft => "skew time after priority 0 is over",
            Self::GroupMixed => "sync group has been Master in part for too long",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_length_are_kept() {
        for length in 1..=NAME_MAX {
            let text = "n".repeat(length);
            let name: Name = text.parse().expect("name");
            assert_eq!(MemberName::from(&name).to_string(), text);
            assert_eq!(format!("{:?}", MemberName::from(&name)), format!("{text:?}"));
        }
    }
}
