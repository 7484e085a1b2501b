//! The state machine as a table: every state × every class of input, with the section that says so.
//!
//! `TABLE` is complete for version 2 with preemption, and a test says so; `VARIANTS` has the rows
//! that differ in another configuration. All rows start at 10 s and take their input at 10.4 s, unless the
//! class says otherwise. A Backup of priority 100 that was armed at 10 s claims at 13.609375 s.

#[path = "support/support.rs"]
mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Config, Delivery, FaultCause, GROUP_V4, Input, Received, Secret, State, Version,
    VirtualRouter, WireInterval, encode,
};
use support::{advert, at, centis, config, config_v3, drain, hear, ip, ips, line, priority};

use Class::*;
use State::{Backup, Initialize, Master};

macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident,)*) => {
        /// A class of inputs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        enum Class { $($(#[$doc])* $class,)* }

        const CLASSES: &[Class] = &[$($class),*];
    };
}

classes! {
    Startup, Adopt, Handover, Offer, Shutdown, FaultSilent, FaultTold,
    /// A Master that has it still serves.
    FaultServes,
    /// `Timer` before any deadline.
    TimerEarly,
    /// `Timer` at the deadline.
    TimerDue,
    /// `Timer` 2.5 s late.
    TimerLate,
    /// `Timer` a minute late.
    TimerVeryLate,
    /// `Timer` 700 ms after a Master's beginning, with bursts every 700 ms.
    RefreshDue,
    /// `Timer` 3.609375 s after a rival was heard.
    RivalEnds,
    PriorityZero, Lower, EqualLowerAddress, EqualHigherAddress, Higher,
    /// A lower advert, the first, with a preempt delay of 1 s.
    LowerInDelay,
    /// A lower advert 350 ms after the first, with a preempt delay of 300 ms.
    LowerAfterDelay,
    /// A lower advert 400 ms after a Master took over.
    LowerAfterClaim,
    /// Some VIPs are ours.
    OtherVips,
    /// None of the VIPs is.
    ForeignVips,
    /// The same with a wrong password.
    ForeignVipsRejected,
    WrongTtl, WrongPassword, WrongAuthType, WrongInterval, WrongVersion, WrongVrid, WrongChecksum, OwnAddress,
    Garbage,
    /// By unicast, to a router that advertises by multicast.
    UnicastToMulticast,
    UnicastToMulticastLowTtl,
    /// To a router that advertises by unicast, to two peers, and takes TTL 200.
    UnicastFromPeer,
    UnicastLowTtl,
    UnicastFromStranger,
    MulticastToUnicast,
    MulticastToUnicastLowTtl,
    MulticastFromStranger,
    ReconfigureSame, ReconfigurePriorityUp, ReconfigurePriorityDown, ReconfigureIntervalUp,
    ReconfigureIntervalDown, ReconfigureMoreVips, ReconfigureFewerVips, ReconfigureGarp,
    ReconfigureGarpRefresh, ReconfigurePreempt, ReconfigurePreemptDelay, ReconfigureUnready,
    ReconfigureDelivery, ReconfigureLeastTtl, ReconfigureSource, ReconfigureFamily, ReconfigureVrid,
    VipsRepaired,
}

/// State before, input, state after, outputs, next deadline, and who says so.
type Row = (State, Class, State, &'static str, &'static str, &'static str);

const INIT: &str = "RFC 9568 §6.4.1: Startup only";
const REJECT: &str = "RFC 9568 §7.1: discard; timers untouched";
const LEVEL: &str = "ours: takes part already";
const NEVER: &str = "none";
const B0: &str = "MasterDown 13.609375s";
const B1: &str = "MasterDown 14.009375s";
const M0: &str = "AdvertDue 11.000000s";
/// The end of a Master that leaves when its input comes.
const LEAVES: &str = "LeavingOver 11.646093s";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Initialize, Startup, Backup, "Backup", B1, "RFC 9568 §6.4.1"),
    (Initialize, Adopt, Master, "advert Claim, Master, announce 5", "AdvertDue 11.400000s", "ours: restart within the lease"),
    (Initialize, Handover, Initialize, "nothing", NEVER, INIT),
    (Initialize, Offer, Initialize, "nothing", NEVER, INIT),
    (Initialize, Shutdown, Initialize, "nothing", NEVER, INIT),
    (Initialize, FaultSilent, Initialize, "nothing", NEVER, INIT),
    (Initialize, FaultTold, Initialize, "nothing", NEVER, INIT),
    (Initialize, FaultServes, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerEarly, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerDue, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerLate, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerVeryLate, Initialize, "nothing", NEVER, INIT),
    (Initialize, RefreshDue, Initialize, "nothing", NEVER, INIT),
    (Initialize, RivalEnds, Initialize, "nothing", NEVER, INIT),
    (Initialize, PriorityZero, Initialize, "nothing", NEVER, INIT),
    (Initialize, Lower, Initialize, "nothing", NEVER, INIT),
    (Initialize, EqualLowerAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, EqualHigherAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, Higher, Initialize, "nothing", NEVER, INIT),
    (Initialize, LowerInDelay, Initialize, "nothing", NEVER, INIT),
    (Initialize, LowerAfterDelay, Initialize, "nothing", NEVER, INIT),
    (Initialize, LowerAfterClaim, Initialize, "nothing", NEVER, INIT),
    (Initialize, OtherVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, ForeignVips, Initialize, "event VridInUse", NEVER, "ours: told before the first claim"),
    (Initialize, ForeignVipsRejected, Initialize, "event VridInUse", NEVER, "ours: told before the first claim"),
    (Initialize, WrongTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongPassword, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongAuthType, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongInterval, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongVersion, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongVrid, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongChecksum, Initialize, "nothing", NEVER, INIT),
    (Initialize, OwnAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, Garbage, Initialize, "nothing", NEVER, INIT),
    (Initialize, UnicastToMulticast, Initialize, "nothing", NEVER, INIT),
    (Initialize, UnicastToMulticastLowTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, UnicastFromPeer, Initialize, "nothing", NEVER, INIT),
    (Initialize, UnicastLowTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, UnicastFromStranger, Initialize, "event VridInUse", NEVER, "ours: told before we take part"),
    (Initialize, MulticastToUnicast, Initialize, "nothing", NEVER, INIT),
    (Initialize, MulticastToUnicastLowTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, MulticastFromStranger, Initialize, "event VridInUse", NEVER, "ours: told before we take part"),
    (Initialize, ReconfigureSame, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePriorityUp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePriorityDown, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureIntervalUp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureIntervalDown, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureMoreVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureFewerVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureGarp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureGarpRefresh, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePreempt, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePreemptDelay, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureUnready, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureDelivery, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureLeastTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureSource, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureFamily, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureVrid, Initialize, "nothing", NEVER, INIT),
    (Initialize, VipsRepaired, Initialize, "nothing", NEVER, INIT),

    (Backup, Startup, Backup, "nothing", B0, LEVEL),
    (Backup, Adopt, Backup, "nothing", B0, LEVEL),
    (Backup, Handover, Backup, "nothing", B0, "ours: nothing to hand over"),
    (Backup, Offer, Backup, "nothing", B0, "ours: nothing to offer"),
    (Backup, Shutdown, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2"),
    (Backup, FaultSilent, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2, as Shutdown"),
    (Backup, FaultTold, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2, as Shutdown"),
    (Backup, FaultServes, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2, as Shutdown"),
    (Backup, TimerEarly, Backup, "nothing", B0, "RFC 9568 §6.4.2: not fired"),
    (Backup, TimerDue, Master, "advert Claim, Master, announce 5", "AdvertDue 14.609375s", "RFC 9568 §6.4.2"),
    (Backup, TimerLate, Master, "advert Claim, Master, announce 5", "AdvertDue 17.109375s", "RFC 9568 §6.4.2"),
    (Backup, TimerVeryLate, Master, "advert Claim, Master, announce 5", "AdvertDue 74.609375s", "RFC 9568 §6.4.2"),
    (Backup, RefreshDue, Backup, "nothing", B0, "ours: nothing to announce"),
    (Backup, RivalEnds, Backup, "nothing", B0, "ours: a Backup has no rivals"),
    (Backup, PriorityZero, Backup, "event PriorityZero", "MasterLeft 11.009375s", "RFC 9568 §6.4.2"),
    (Backup, Lower, Backup, "nothing", B0, "RFC 9568 §6.4.2: discard, timer not extended"),
    (Backup, EqualLowerAddress, Backup, "nothing", B1, "RFC 9568 §6.4.2: >="),
    (Backup, EqualHigherAddress, Backup, "nothing", B1, "RFC 9568 §6.4.2: >="),
    (Backup, Higher, Backup, "nothing", B1, "RFC 9568 §6.4.2"),
    (Backup, LowerInDelay, Backup, "nothing", B1, "keepalived's preempt_delay: counts"),
    (Backup, LowerAfterDelay, Backup, "nothing", "MasterDown 13.659375s", "RFC 9568 §6.4.2: discard; the first counted"),
    (Backup, LowerAfterClaim, Backup, "nothing", B0, "RFC 9568 §6.4.2: discard, timer not extended"),
    (Backup, OtherVips, Backup, "event VipListMismatch", B1, "RFC 9568 §7.1: MAY; keepalived since 2.3.3"),
    (Backup, ForeignVips, Backup, "event VridInUse", B1, "RFC 9568 §7.1: MAY; ours: takes part all the same"),
    (Backup, ForeignVipsRejected, Backup, "event VridInUse, event Rejected(AuthSecret)", B0, "RFC 2338 §7.1"),
    (Backup, WrongTtl, Backup, "event Rejected(Ttl)", B0, REJECT),
    (Backup, WrongPassword, Backup, "event Rejected(AuthSecret)", B0, "RFC 2338 §7.1"),
    (Backup, WrongAuthType, Backup, "event Rejected(AuthType)", B0, "RFC 3768 §7.1"),
    (Backup, WrongInterval, Backup, "event Rejected(Interval)", B0, "RFC 3768 §7.1"),
    (Backup, WrongVersion, Backup, "event Rejected(Version)", B0, REJECT),
    (Backup, WrongVrid, Backup, "event Rejected(Vrid)", B0, REJECT),
    (Backup, WrongChecksum, Backup, "event Rejected(Checksum)", B0, REJECT),
    (Backup, OwnAddress, Backup, "event Rejected(OwnAddress)", B0, "ours: our own packet, or a host with our address"),
    (Backup, Garbage, Backup, "event Rejected(Length)", B0, REJECT),
    (Backup, UnicastToMulticast, Backup, "nothing", B1, "ours: the mode may change live"),
    (Backup, UnicastToMulticastLowTtl, Backup, "event Rejected(Ttl)", B0, REJECT),
    (Backup, UnicastFromPeer, Backup, "nothing", B1, "keepalived's unicast_peer: TTL by configuration"),
    (Backup, UnicastLowTtl, Backup, "event Rejected(Ttl)", B0, "keepalived's min_ttl"),
    (Backup, UnicastFromStranger, Backup, "event VridInUse", B0, "keepalived's check_unicast_src"),
    (Backup, MulticastToUnicast, Backup, "nothing", B1, "ours: the mode may change live"),
    (Backup, MulticastToUnicastLowTtl, Backup, "event Rejected(Ttl)", B0, REJECT),
    (Backup, MulticastFromStranger, Backup, "event VridInUse", B0, "ours: strangers by either way"),
    (Backup, ReconfigureSame, Backup, "nothing", B0, "ours: no change"),
    (Backup, ReconfigurePriorityUp, Backup, "nothing", B0, "ours: no change shortens a running wait below a whole one"),
    (Backup, ReconfigurePriorityDown, Backup, "nothing", "MasterDown 13.804687s", "ours: from the same base"),
    (Backup, ReconfigureIntervalUp, Backup, "nothing", "MasterDown 40.609375s", "ours: from the same base"),
    (Backup, ReconfigureIntervalDown, Backup, "nothing", B0, "no change: version 2 has no shorter one"),
    (Backup, ReconfigureMoreVips, Backup, "nothing", B0, "ours: no timer depends on VIPs"),
    (Backup, ReconfigureFewerVips, Backup, "nothing", B0, "ours: no timer depends on VIPs"),
    (Backup, ReconfigureGarp, Backup, "nothing", B0, "ours: nothing to announce"),
    (Backup, ReconfigureGarpRefresh, Backup, "nothing", B0, "ours: nothing to announce"),
    (Backup, ReconfigurePreempt, Backup, "nothing", B0, "ours: counts for the next advert"),
    (Backup, ReconfigurePreemptDelay, Backup, "nothing", B0, "ours: counts for the next advert"),
    (Backup, ReconfigureUnready, Backup, "nothing", B0, "ours: counts for the next advert"),
    (Backup, ReconfigureDelivery, Backup, "nothing", B0, "ours: no timer depends on it"),
    (Backup, ReconfigureLeastTtl, Backup, "nothing", B0, "ours: no timer depends on it"),
    (Backup, ReconfigureSource, Backup, "nothing", B0, "ours: no timer depends on it"),
    (Backup, ReconfigureFamily, Backup, "nothing", B0, "ours: another router, ignored"),
    (Backup, ReconfigureVrid, Backup, "nothing", B0, "ours: another router, ignored"),
    (Backup, VipsRepaired, Backup, "nothing", B0, "ours: has no VIPs"),

    (Master, Startup, Master, "nothing", M0, LEVEL),
    (Master, Adopt, Master, "nothing", M0, LEVEL),
    (Master, Handover, Master, "advert PriorityZero", LEAVES, "ours: RFC 9568 §6.4.3 Shutdown, but to Backup"),
    (Master, Offer, Master, "advert Immediate, advert Offer", "AdvertDue 12.400000s", "ours: asks and stays"),
    (Master, Shutdown, Master, "advert PriorityZero", LEAVES, "RFC 9568 §6.4.3; ours: VIPs go when another Master is heard"),
    (Master, FaultSilent, Initialize, "Initialize", NEVER, "ours: nothing can be sent"),
    (Master, FaultTold, Initialize, "Initialize, advert PriorityZero", NEVER, "RFC 9568 §6.4.3, as Shutdown; VIPs go first"),
    (Master, FaultServes, Master, "advert PriorityZero", LEAVES, "RFC 9568 §6.4.3, as Shutdown"),
    (Master, TimerEarly, Master, "nothing", M0, "RFC 9568 §6.4.3: not fired"),
    (Master, TimerDue, Master, "advert Periodic", "AdvertDue 12.000000s", "RFC 9568 §6.4.3"),
    (Master, TimerLate, Master, "advert Periodic", "AdvertDue 14.500000s", "ours: no burst of missed adverts"),
    (Master, TimerVeryLate, Master, "advert Periodic, event Overslept, announce 5", "AdvertDue 72.000000s", "ours: somebody may have claimed meanwhile"),
    (Master, RefreshDue, Master, "announce 5", M0, "keepalived's garp_master_refresh"),
    (Master, RivalEnds, Master, "event RivalGone, announce 5", "AdvertDue 14.000000s", "ours: ARP caches may hold the rival's address"),
    (Master, PriorityZero, Master, "advert Immediate, event PriorityZero, announce 5", "AdvertDue 11.400000s", "RFC 9568 §6.4.3"),
    (Master, Lower, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3"),
    (Master, EqualLowerAddress, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: not greater"),
    (Master, EqualHigherAddress, Backup, "advert LastWords, Backup", B1, "RFC 9568 §6.4.3"),
    (Master, Higher, Backup, "advert LastWords, Backup", B1, "RFC 9568 §6.4.3; ours: last words"),
    (Master, LowerInDelay, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: the delay is a Backup's"),
    (Master, LowerAfterDelay, Master, "advert Immediate", M0, "RFC 9568 §6.4.3; ours: the same rival is told and announced against once"),
    (Master, LowerAfterClaim, Master, "advert Immediate, announce 5", M0, "RFC 9568 §6.4.3; ours: last words are no rival"),
    (Master, OtherVips, Backup, "event VipListMismatch, advert LastWords, Backup", B1, "RFC 9568 §7.1: MAY; keepalived since 2.3.3"),
    (Master, ForeignVips, Backup, "event VridInUse, advert LastWords, Backup", B1, "RFC 9568 §7.1: MAY; ours: takes part all the same"),
    (Master, ForeignVipsRejected, Master, "event VridInUse, event Rejected(AuthSecret)", M0, "RFC 2338 §7.1"),
    (Master, WrongTtl, Master, "event Rejected(Ttl)", M0, REJECT),
    (Master, WrongPassword, Master, "event Rejected(AuthSecret)", M0, "RFC 2338 §7.1"),
    (Master, WrongAuthType, Master, "event Rejected(AuthType)", M0, "RFC 3768 §7.1"),
    (Master, WrongInterval, Master, "event Rejected(Interval)", M0, "RFC 3768 §7.1"),
    (Master, WrongVersion, Master, "event Rejected(Version)", M0, REJECT),
    (Master, WrongVrid, Master, "event Rejected(Vrid)", M0, REJECT),
    (Master, WrongChecksum, Master, "event Rejected(Checksum)", M0, REJECT),
    (Master, OwnAddress, Master, "event Rejected(OwnAddress)", M0, "ours: our own packet, or a host with our address"),
    (Master, Garbage, Master, "event Rejected(Length)", M0, REJECT),
    (Master, UnicastToMulticast, Backup, "advert LastWords, Backup", B1, "ours: the mode may change live"),
    (Master, UnicastToMulticastLowTtl, Master, "event Rejected(Ttl)", M0, REJECT),
    (Master, UnicastFromPeer, Backup, "advert LastWords, advert LastWords, Backup", B1, "keepalived's unicast_peer: TTL by configuration"),
    (Master, UnicastLowTtl, Master, "event Rejected(Ttl)", M0, "keepalived's min_ttl"),
    (Master, UnicastFromStranger, Master, "event VridInUse", M0, "keepalived's check_unicast_src"),
    (Master, MulticastToUnicast, Backup, "advert LastWords, advert LastWords, Backup", B1, "ours: the mode may change live"),
    (Master, MulticastToUnicastLowTtl, Master, "event Rejected(Ttl)", M0, REJECT),
    (Master, MulticastFromStranger, Master, "event VridInUse", M0, "ours: strangers by either way"),
    (Master, ReconfigureSame, Master, "nothing", M0, "ours: no change"),
    (Master, ReconfigurePriorityUp, Master, "advert Immediate", M0, "ours: told at once"),
    (Master, ReconfigurePriorityDown, Master, "advert Immediate", M0, "ours: told at once; others decide"),
    (Master, ReconfigureIntervalUp, Master, "advert Immediate", M0, "ours: no later than the old interval has it"),
    (Master, ReconfigureIntervalDown, Master, "nothing", M0, "no change: version 2 has no shorter one"),
    (Master, ReconfigureMoreVips, Master, "advert Immediate, announce 5", M0, "ours: new VIPs are announced"),
    (Master, ReconfigureFewerVips, Master, "advert Immediate", M0, "ours: told at once"),
    (Master, ReconfigureGarp, Master, "nothing", M0, "ours: from the next burst on"),
    (Master, ReconfigureGarpRefresh, Master, "nothing", "GarpRefresh 10.700000s", "ours: counted from the change"),
    (Master, ReconfigurePreempt, Master, "nothing", M0, "ours: a Backup's affair"),
    (Master, ReconfigurePreemptDelay, Master, "nothing", M0, "ours: a Backup's affair"),
    (Master, ReconfigureUnready, Master, "nothing", M0, "ours: a Backup's affair"),
    (Master, ReconfigureDelivery, Master, "advert Immediate, advert Immediate", M0, "ours: each peer is told at once"),
    (Master, ReconfigureLeastTtl, Master, "nothing", M0, "ours: nothing that others see"),
    (Master, ReconfigureSource, Master, "advert Immediate", M0, "ours: told at once, from the new address"),
    (Master, ReconfigureFamily, Master, "nothing", M0, "ours: another router, ignored"),
    (Master, ReconfigureVrid, Master, "nothing", M0, "ours: another router, ignored"),
    (Master, VipsRepaired, Master, "announce 5", M0, "ours: stay Master, correct the ARP caches"),
];

fn no_preempt() -> Config {
    Config { preempt: false, ..config() }
}

fn owner() -> Config {
    Config { priority: priority(255), ..config() }
}

fn unready() -> Config {
    Config { unready: true, ..config() }
}

fn unready_owner() -> Config {
    Config { unready: true, ..owner() }
}

/// A version 3 router with 100 ms whose peers have 500 ms.
fn fast_v3() -> Config {
    Config { interval: centis(10), ..config_v3() }
}

type Variant = (fn() -> Config, Row);

#[rustfmt::skip]
const VARIANTS: &[Variant] = &[
    (no_preempt, (Backup, Lower, Backup, "nothing", B1, "RFC 9568 §6.4.2: Preempt_Mode is false")),
    (no_preempt, (Backup, Higher, Backup, "nothing", B1, "RFC 9568 §6.4.2")),
    (no_preempt, (Master, Lower, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: preemption is for Backups")),
    (no_preempt, (Master, Higher, Backup, "advert LastWords, Backup", B1, "RFC 9568 §6.4.3; ours: last words")),
    (unready, (Backup, Lower, Backup, "event NotReady", B1, "ours: a living Master is left alone until our checks have spoken")),
    (unready, (Backup, LowerInDelay, Backup, "nothing", B1, "keepalived's preempt_delay comes first")),
    (unready, (Backup, LowerAfterDelay, Backup, "event NotReady", "MasterDown 14.009375s", "ours: then our checks")),
    (unready, (Backup, EqualLowerAddress, Backup, "nothing", B1, "RFC 9568 §6.4.2: >=")),
    (unready, (Backup, Higher, Backup, "nothing", B1, "RFC 9568 §6.4.2")),
    (unready, (Backup, PriorityZero, Backup, "event PriorityZero", "MasterLeft 11.009375s", "ours: who leaves is replaced at once")),
    (unready, (Backup, TimerDue, Master, "advert Claim, Master, announce 5", "AdvertDue 14.609375s", "ours: who is silent is replaced as ever")),
    (unready, (Backup, ReconfigureUnready, Backup, "nothing", B0, "ours: the timer runs on")),
    (unready, (Initialize, Startup, Backup, "Backup", B1, "RFC 9568 §6.4.1: alone it claims when a ready one would")),
    (unready, (Master, Lower, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: a Master has no need to wait")),
    (unready_owner, (Initialize, Startup, Master, "advert Claim, Master, announce 5", "AdvertDue 11.400000s", "RFC 9568 §6.4.1: the addresses are the host's own")),
    (owner, (Initialize, Startup, Master, "advert Claim, Master, announce 5", "AdvertDue 11.400000s", "RFC 9568 §6.4.1")),
    (owner, (Master, EqualHigherAddress, Backup, "advert LastWords, Backup", "MasterDown 13.403906s", "ours: two owners end up with one Master")),
    (owner, (Master, EqualLowerAddress, Master, "advert Immediate, event RivalMaster, announce 5", M0, "ours: two owners end up with one Master")),
    (config_v3, (Backup, WrongInterval, Backup, "event IntervalAdopted", "MasterDown 12.204687s", "RFC 9568 §6.4.2: 3 × 500 ms + 156/256 × 500 ms")),
    (config_v3, (Master, WrongInterval, Backup, "advert LastWords, event IntervalAdopted, Backup", "MasterDown 12.204687s", "RFC 9568 §6.4.3")),
    (config_v3, (Backup, Higher, Backup, "nothing", B1, "RFC 9568 §6.4.2")),
    (config_v3, (Backup, WrongVersion, Backup, "event Rejected(Version)", B0, REJECT)),
    (fast_v3, (Initialize, Startup, Backup, "Backup", "MasterDown 10.760937s", "RFC 9568 §6.1: 300 ms + 156/256 × 100 ms")),
    (fast_v3, (Backup, PriorityZero, Backup, "event PriorityZero", "MasterLeft 10.360937s", "ours: priority 0 never makes the wait longer")),
    (fast_v3, (Master, ReconfigureIntervalUp, Master, "advert Immediate", "AdvertDue 10.100000s", "ours: not later than the old interval")),
    (config_v3, (Master, ReconfigureIntervalDown, Master, "advert Immediate", "AdvertDue 10.900000s", "ours: min(old deadline, now + 500 ms)")),
    (config_v3, (Backup, ReconfigureIntervalDown, Backup, "nothing", "MasterDown 12.204687s", "ours: min(old deadline, a whole new wait from now)")),
];

/// A configuration that suits a class.
fn suited(class: Class, config: Config) -> Config {
    let peers = ips(&["10.9.0.1", "10.9.0.3"]);
    match class {
        LowerInDelay => Config { preempt_delay: Duration::from_secs(1), ..config },
        LowerAfterDelay => Config { preempt_delay: Duration::from_millis(300), ..config },
        RefreshDue => Config { garp_refresh: Some(Duration::from_millis(700)), ..config },
        UnicastFromPeer
        | UnicastLowTtl
        | UnicastFromStranger
        | MulticastToUnicast
        | MulticastToUnicastLowTtl
        | MulticastFromStranger
        | ReconfigureLeastTtl => {
            Config { delivery: Delivery::Unicast { peers, ttl: 220, min_ttl: 200 }, ..config }
        }
        _ => config,
    }
}

/// Events since 10 s that a class needs.
fn prepare(class: Class, router: &mut VirtualRouter) {
    let config = router.config().clone();
    let rival = advert(&config, config.priority.get() - 1);
    match (class, router.state()) {
        (LowerAfterDelay, _) => hear(router, &rival, ip("10.9.0.3"), at(10_050)),
        (RivalEnds, Master) => {
            hear(router, &rival, ip("10.9.0.3"), at(10_000));
            for second in 11..=13 {
                router.handle(Input::Timer, at(second * 1000));
            }
        }
        (LowerAfterClaim, Master) => {
            *router = VirtualRouter::new(config);
            router.handle(Input::Startup, MonoTime::from_nanos(10_000_000_000 - 3_609_375_000));
            router.handle(Input::Timer, at(10_000));
        }
        _ => {}
    }
    drain(router);
}

/// A router that is in `state` since 10 s, its outputs drained.
fn router_in(state: State, config: Config) -> VirtualRouter {
    let mut router = VirtualRouter::new(config);
    match state {
        Initialize => {}
        Backup => router.handle(Input::Startup, at(10_000)),
        Master => router.handle(Input::Adopt, at(10_000)),
    }
    drain(&mut router);
    assert_eq!(router.state(), state);
    router
}

/// When the input of a class comes.
fn time_of(class: Class, router: &VirtualRouter) -> MonoTime {
    let due = router.poll_timeout().map_or(at(10_400), |(due, _)| due);
    let late = |millis: u64| MonoTime::from_nanos(due.as_nanos() + millis * 1_000_000);
    match class {
        TimerDue => due,
        TimerLate => late(2500),
        TimerVeryLate => late(60_000),
        RefreshDue => at(10_700),
        RivalEnds if router.state() == Master => MonoTime::from_nanos(13_609_375_000),
        _ => at(10_400),
    }
}

struct Packet {
    payload: Vec<u8>,
    src: IpAddr,
    dst: IpAddr,
    ttl: u8,
}

/// The advertisement that a class stands for, its source, and what is done to its bytes and TTL. The
/// address must not matter where the priority decides, so the higher priority has the lower address.
fn heard(class: Class, config: &Config) -> Option<Packet> {
    let ours = config.priority.get();
    let (lower, higher) = (ip("10.9.0.1"), ip("10.9.0.3"));
    let good = advert(config, ours.saturating_add(1));
    let other = match config.version {
        Version::V2 => Config { interval: centis(200), ..config_v3() },
        Version::V3 => Config { interval: centis(50), ..support::config() },
    };
    let other_interval = match config.version {
        Version::V2 => WireInterval::from_secs(2),
        Version::V3 => WireInterval::from_centis(50),
    };
    let (foreign, wrong) = (ips(&["10.9.0.110", "10.9.0.111"]), Secret::from_text("wrong"));
    let (advert, src) = match class {
        PriorityZero => (advert(config, 0), higher),
        Lower | LowerInDelay | LowerAfterDelay | LowerAfterClaim => (advert(config, ours - 1), higher),
        EqualLowerAddress => (advert(config, ours), lower),
        EqualHigherAddress => (advert(config, ours), higher),
        Higher
        | WrongTtl
        | WrongChecksum
        | Garbage
        | UnicastToMulticast
        | UnicastToMulticastLowTtl
        | UnicastFromPeer
        | UnicastLowTtl
        | MulticastToUnicast
        | MulticastToUnicastLowTtl => (good, lower),
        UnicastFromStranger | MulticastFromStranger => (good, ip("10.9.0.77")),
        ForeignVips => (Advert { addresses: foreign, ..good }, lower),
        ForeignVipsRejected => (Advert { addresses: foreign, auth: Auth::Pass(wrong), ..good }, lower),
        OtherVips => (Advert { addresses: ips(&["10.9.0.100", "10.9.0.101"]), ..good }, lower),
        WrongPassword => (Advert { auth: Auth::Pass(wrong), ..good }, lower),
        WrongAuthType => (Advert { auth: Auth::None, ..good }, lower),
        WrongInterval => (Advert { interval: other_interval, ..good }, lower),
        WrongVersion => (advert(&other, 254), lower),
        WrongVrid => (Advert { vrid: support::vrid(52), ..good }, lower),
        OwnAddress => (good, config.source),
        _ => return None,
    };
    let (dst, ttl) = match class {
        UnicastToMulticast => (config.source, 255),
        UnicastToMulticastLowTtl => (config.source, 254),
        UnicastFromPeer => (config.source, 200),
        UnicastLowTtl => (config.source, 199),
        UnicastFromStranger => (config.source, 255),
        WrongTtl | MulticastToUnicastLowTtl => (GROUP_V4.into(), 254),
        _ => (GROUP_V4.into(), 255),
    };
    let mut payload = Vec::new();
    encode(&advert, src, dst, config.checksum, &mut payload);
    match class {
        WrongChecksum => payload[6] ^= 1,
        Garbage => payload.truncate(3),
        _ => {}
    }
    Some(Packet { payload, src, dst, ttl })
}

/// The changed configuration that a class stands for.
fn changed(class: Class, config: &Config) -> Option<Config> {
    let config = config.clone();
    Some(match class {
        ReconfigureSame => config,
        ReconfigurePriorityUp => Config { priority: priority(150), ..config },
        ReconfigurePriorityDown => Config { priority: priority(50), ..config },
        ReconfigureIntervalUp => Config { interval: centis(1000), ..config },
        ReconfigureIntervalDown => Config { interval: centis(50), ..config },
        ReconfigureMoreVips => Config { vips: ips(&["10.9.0.100", "10.9.0.101"]), ..config },
        ReconfigureFewerVips => Config { vips: Vec::new(), ..config },
        ReconfigureGarp => Config { garp_repeat: 1, ..config },
        ReconfigureGarpRefresh => Config { garp_refresh: Some(Duration::from_millis(300)), ..config },
        ReconfigurePreempt => Config { preempt: !config.preempt, ..config },
        ReconfigurePreemptDelay => Config { preempt_delay: Duration::from_secs(300), ..config },
        ReconfigureUnready => Config { unready: !config.unready, ..config },
        ReconfigureDelivery => {
            let peers = ips(&["10.9.0.1", "10.9.0.3"]);
            Config { delivery: Delivery::Unicast { peers, ttl: 255, min_ttl: 255 }, ..config }
        }
        ReconfigureLeastTtl => {
            let peers = ips(&["10.9.0.1", "10.9.0.3"]);
            Config { delivery: Delivery::Unicast { peers, ttl: 220, min_ttl: 100 }, ..config }
        }
        ReconfigureSource => Config { source: ip("10.9.0.20"), ..config },
        ReconfigureFamily => Config { source: ip("fe80::2"), ..config },
        ReconfigureVrid => Config { vrid: support::vrid(52), ..config },
        _ => return None,
    })
}

/// Gives `router` an input of `class`.
fn give(router: &mut VirtualRouter, class: Class, now: MonoTime) {
    if let Some(Packet { payload, src, dst, ttl }) = heard(class, router.config()) {
        router.handle(Input::Packet(Received { payload: &payload, src, dst, ttl }), now);
        return;
    }
    if let Some(config) = changed(class, router.config()) {
        router.handle(Input::Reconfigure(config), now);
        return;
    }
    let input = match class {
        Startup => Input::Startup,
        Adopt => Input::Adopt,
        Handover => Input::Handover,
        Offer => Input::Offer,
        Shutdown => Input::Shutdown,
        FaultSilent => Input::Fault(FaultCause::InterfaceDown),
        FaultTold => Input::Fault(FaultCause::VipRefused),
        FaultServes => Input::Fault(FaultCause::Tracker),
        TimerEarly | TimerDue | TimerLate | TimerVeryLate | RefreshDue | RivalEnds => Input::Timer,
        VipsRepaired => Input::VipsRepaired,
        _ => unreachable!("{class:?} is a packet or a change"),
    };
    router.handle(input, now);
}

fn check(config: Config, (before, class, after, outputs, deadline, says): Row) -> Result<(), String> {
    let mut router = router_in(before, suited(class, config));
    prepare(class, &mut router);
    let now = time_of(class, &router);
    give(&mut router, class, now);
    let got_outputs = line(&drain(&mut router));
    let got_deadline =
        router.poll_timeout().map_or(NEVER.to_owned(), |(deadline, why)| format!("{why:?} {deadline}"));
    if (router.state(), got_outputs.as_str(), got_deadline.as_str()) == (after, outputs, deadline) {
        return Ok(());
    }
    Err(format!(
        "{before} × {class:?} ({says})\n  wants {after}: {outputs}; {deadline}\n  got   {}: {got_outputs}; \
         {got_deadline}",
        router.state()
    ))
}

#[test]
fn every_transition_is_as_the_table_says() {
    let rows = TABLE.iter().map(|row| (config as fn() -> Config, *row));
    let wrong: Vec<String> =
        rows.chain(VARIANTS.iter().copied()).filter_map(|(config, row)| check(config(), row).err()).collect();
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Inputs at which a Master that leaves is gone: its time is over, or it does not serve any more.
const ENDS: &[Class] = &[TimerDue, TimerLate, TimerVeryLate, RivalEnds, FaultSilent, FaultTold];
/// Advertisements of another Master of its VIPs: it has the end of the linger.
#[rustfmt::skip]
const HEARD: &[Class] = &[
    Lower, EqualLowerAddress, EqualHigherAddress, Higher, LowerInDelay, LowerAfterDelay, LowerAfterClaim,
    OtherVips, UnicastToMulticast, UnicastFromPeer, MulticastToUnicast,
];

#[test]
fn a_master_that_leaves_is_silent_and_no_input_puts_its_end_off() {
    for class in CLASSES {
        let mut router = router_in(Master, suited(*class, config()));
        prepare(*class, &mut router);
        router.handle(Input::Shutdown, at(10_400));
        drain(&mut router);
        let (end, _) = router.poll_timeout().expect("an end");
        let now = time_of(*class, &router).max(at(10_400));
        give(&mut router, *class, now);
        let said = line(&drain(&mut router));
        if ENDS.contains(class) {
            assert_eq!(router.state(), Initialize, "{class:?}: {said}");
            continue;
        }
        assert!(router.is_leaving(), "{class:?}: {said}");
        assert!(!said.contains("advert") && !said.contains("announce"), "{class:?}: {said}");
        let linger = now + Duration::from_millis(10);
        let wanted = if HEARD.contains(class) { linger.min(end) } else { end };
        assert_eq!(router.poll_timeout().map(|(end, _)| end), Some(wanted), "{class:?}: {said}");
    }
}

#[test]
fn the_table_is_complete() {
    let rows: BTreeSet<_> = TABLE.iter().map(|(state, class, ..)| (state.to_string(), *class)).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    for state in [Initialize, Backup, Master] {
        for class in CLASSES {
            assert!(rows.contains(&(state.to_string(), *class)), "no row for {state} × {class:?}");
        }
    }
}
