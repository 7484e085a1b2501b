//! The state machine as a table: every state × every class of input, with the section that says so.
//!
//! `TABLE` is complete for version 2 with preemption, and a test says so; `VARIANTS` has the rows
//! that differ in another configuration. All rows start at 10 s and take their input at 10.4 s, unless the
//! class says otherwise. A Backup of priority 100 that was armed at 10 s claims at 13.609375 s.

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Config, FaultCause, Input, Received, Secret, State, Version, VirtualRouter, WireInterval,
};
use support::{advert, at, bytes, centis, config, config_v3, drain, ip, ips, line, priority, received};

use Class::*;
use State::{Backup, Initialize, Master};

/// A class of inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Startup,
    Adopt,
    Shutdown,
    FaultSilent,
    FaultTold,
    /// `Timer` before any deadline.
    TimerEarly,
    /// `Timer` at the deadline.
    TimerDue,
    /// `Timer` 2.5 s late.
    TimerLate,
    /// `Timer` a minute late.
    TimerVeryLate,
    PriorityZero,
    Lower,
    EqualLowerAddress,
    EqualHigherAddress,
    Higher,
    OtherVips,
    WrongTtl,
    WrongPassword,
    WrongAuthType,
    WrongInterval,
    WrongVersion,
    WrongVrid,
    WrongChecksum,
    OwnAddress,
    Garbage,
    ReconfigureSame,
    ReconfigurePriorityUp,
    ReconfigurePriorityDown,
    ReconfigureIntervalUp,
    ReconfigureIntervalDown,
    ReconfigureMoreVips,
    ReconfigureFewerVips,
    ReconfigureGarp,
    ReconfigureVrid,
    VipsRepaired,
}

const CLASSES: [Class; 34] = [
    Startup,
    Adopt,
    Shutdown,
    FaultSilent,
    FaultTold,
    TimerEarly,
    TimerDue,
    TimerLate,
    TimerVeryLate,
    PriorityZero,
    Lower,
    EqualLowerAddress,
    EqualHigherAddress,
    Higher,
    OtherVips,
    WrongTtl,
    WrongPassword,
    WrongAuthType,
    WrongInterval,
    WrongVersion,
    WrongVrid,
    WrongChecksum,
    OwnAddress,
    Garbage,
    ReconfigureSame,
    ReconfigurePriorityUp,
    ReconfigurePriorityDown,
    ReconfigureIntervalUp,
    ReconfigureIntervalDown,
    ReconfigureMoreVips,
    ReconfigureFewerVips,
    ReconfigureGarp,
    ReconfigureVrid,
    VipsRepaired,
];

/// State before, input, state after, outputs, next deadline, and who says so.
type Row = (State, Class, State, &'static str, &'static str, &'static str);

const INIT: &str = "RFC 9568 §6.4.1: Startup only";
const REJECT: &str = "RFC 9568 §7.1: discard; timers untouched";
const LEVEL: &str = "ours: takes part already";
const NEVER: &str = "none";
const B0: &str = "MasterDown 13.609375s";
const M0: &str = "AdvertDue 11.000000s";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    (Initialize, Startup, Backup, "Backup", "MasterDown 14.009375s", "RFC 9568 §6.4.1"),
    (Initialize, Adopt, Master, "advert Claim, Master, announce 5", "AdvertDue 11.400000s", "ours: restart within the lease"),
    (Initialize, Shutdown, Initialize, "nothing", NEVER, INIT),
    (Initialize, FaultSilent, Initialize, "nothing", NEVER, INIT),
    (Initialize, FaultTold, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerEarly, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerDue, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerLate, Initialize, "nothing", NEVER, INIT),
    (Initialize, TimerVeryLate, Initialize, "nothing", NEVER, INIT),
    (Initialize, PriorityZero, Initialize, "nothing", NEVER, INIT),
    (Initialize, Lower, Initialize, "nothing", NEVER, INIT),
    (Initialize, EqualLowerAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, EqualHigherAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, Higher, Initialize, "nothing", NEVER, INIT),
    (Initialize, OtherVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongTtl, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongPassword, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongAuthType, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongInterval, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongVersion, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongVrid, Initialize, "nothing", NEVER, INIT),
    (Initialize, WrongChecksum, Initialize, "nothing", NEVER, INIT),
    (Initialize, OwnAddress, Initialize, "nothing", NEVER, INIT),
    (Initialize, Garbage, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureSame, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePriorityUp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigurePriorityDown, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureIntervalUp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureIntervalDown, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureMoreVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureFewerVips, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureGarp, Initialize, "nothing", NEVER, INIT),
    (Initialize, ReconfigureVrid, Initialize, "nothing", NEVER, INIT),
    (Initialize, VipsRepaired, Initialize, "nothing", NEVER, INIT),

    (Backup, Startup, Backup, "nothing", B0, LEVEL),
    (Backup, Adopt, Backup, "nothing", B0, LEVEL),
    (Backup, Shutdown, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2"),
    (Backup, FaultSilent, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2, as Shutdown"),
    (Backup, FaultTold, Initialize, "Initialize", NEVER, "RFC 9568 §6.4.2, as Shutdown"),
    (Backup, TimerEarly, Backup, "nothing", B0, "RFC 9568 §6.4.2: not fired"),
    (Backup, TimerDue, Master, "advert Claim, Master, announce 5", "AdvertDue 14.609375s", "RFC 9568 §6.4.2"),
    (Backup, TimerLate, Master, "advert Claim, Master, announce 5", "AdvertDue 17.109375s", "RFC 9568 §6.4.2"),
    (Backup, TimerVeryLate, Master, "advert Claim, Master, announce 5", "AdvertDue 74.609375s", "RFC 9568 §6.4.2"),
    (Backup, PriorityZero, Backup, "event PriorityZero", "MasterLeft 11.009375s", "RFC 9568 §6.4.2"),
    (Backup, Lower, Backup, "nothing", B0, "RFC 9568 §6.4.2: discard, timer not extended"),
    (Backup, EqualLowerAddress, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2: >="),
    (Backup, EqualHigherAddress, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2: >="),
    (Backup, Higher, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2"),
    (Backup, OtherVips, Backup, "event VipListMismatch", "MasterDown 14.009375s", "RFC 9568 §7.1: MAY; keepalived since 2.3.3"),
    (Backup, WrongTtl, Backup, "event Rejected(Ttl)", B0, REJECT),
    (Backup, WrongPassword, Backup, "event Rejected(AuthSecret)", B0, "RFC 2338 §7.1"),
    (Backup, WrongAuthType, Backup, "event Rejected(AuthType)", B0, "RFC 3768 §7.1"),
    (Backup, WrongInterval, Backup, "event Rejected(Interval)", B0, "RFC 3768 §7.1"),
    (Backup, WrongVersion, Backup, "event Rejected(Version)", B0, REJECT),
    (Backup, WrongVrid, Backup, "event Rejected(Vrid)", B0, REJECT),
    (Backup, WrongChecksum, Backup, "event Rejected(Checksum)", B0, REJECT),
    (Backup, OwnAddress, Backup, "event Rejected(OwnAddress)", B0, "ours: our own packet, or a host with our address"),
    (Backup, Garbage, Backup, "event Rejected(Length)", B0, REJECT),
    (Backup, ReconfigureSame, Backup, "nothing", B0, "ours: no change"),
    (Backup, ReconfigurePriorityUp, Backup, "nothing", B0, "ours: no change shortens a running wait below a whole one"),
    (Backup, ReconfigurePriorityDown, Backup, "nothing", "MasterDown 13.804687s", "ours: from the same base"),
    (Backup, ReconfigureIntervalUp, Backup, "nothing", "MasterDown 40.609375s", "ours: from the same base"),
    (Backup, ReconfigureIntervalDown, Backup, "nothing", B0, "no change: version 2 has no shorter one"),
    (Backup, ReconfigureMoreVips, Backup, "nothing", B0, "ours: no timer depends on VIPs"),
    (Backup, ReconfigureFewerVips, Backup, "nothing", B0, "ours: no timer depends on VIPs"),
    (Backup, ReconfigureGarp, Backup, "nothing", B0, "ours: nothing to announce"),
    (Backup, ReconfigureVrid, Backup, "nothing", B0, "ours: another router, ignored"),
    (Backup, VipsRepaired, Backup, "nothing", B0, "ours: has no VIPs"),

    (Master, Startup, Master, "nothing", M0, LEVEL),
    (Master, Adopt, Master, "nothing", M0, LEVEL),
    (Master, Shutdown, Initialize, "Initialize, advert PriorityZero", NEVER, "RFC 9568 §6.4.3; VIPs go first"),
    (Master, FaultSilent, Initialize, "Initialize", NEVER, "ours: nothing can be sent"),
    (Master, FaultTold, Initialize, "Initialize, advert PriorityZero", NEVER, "RFC 9568 §6.4.3, as Shutdown"),
    (Master, TimerEarly, Master, "nothing", M0, "RFC 9568 §6.4.3: not fired"),
    (Master, TimerDue, Master, "advert Periodic", "AdvertDue 12.000000s", "RFC 9568 §6.4.3"),
    (Master, TimerLate, Master, "advert Periodic", "AdvertDue 14.500000s", "ours: no burst of missed adverts"),
    (Master, TimerVeryLate, Master, "advert Periodic, event Overslept, announce 5", "AdvertDue 72.000000s", "ours: somebody may have claimed meanwhile"),
    (Master, PriorityZero, Master, "advert Immediate, event PriorityZero, announce 5", "AdvertDue 11.400000s", "RFC 9568 §6.4.3"),
    (Master, Lower, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3"),
    (Master, EqualLowerAddress, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: not greater"),
    (Master, EqualHigherAddress, Backup, "Backup", "MasterDown 14.009375s", "RFC 9568 §6.4.3"),
    (Master, Higher, Backup, "Backup", "MasterDown 14.009375s", "RFC 9568 §6.4.3"),
    (Master, OtherVips, Backup, "event VipListMismatch, Backup", "MasterDown 14.009375s", "RFC 9568 §7.1: MAY; keepalived since 2.3.3"),
    (Master, WrongTtl, Master, "event Rejected(Ttl)", M0, REJECT),
    (Master, WrongPassword, Master, "event Rejected(AuthSecret)", M0, "RFC 2338 §7.1"),
    (Master, WrongAuthType, Master, "event Rejected(AuthType)", M0, "RFC 3768 §7.1"),
    (Master, WrongInterval, Master, "event Rejected(Interval)", M0, "RFC 3768 §7.1"),
    (Master, WrongVersion, Master, "event Rejected(Version)", M0, REJECT),
    (Master, WrongVrid, Master, "event Rejected(Vrid)", M0, REJECT),
    (Master, WrongChecksum, Master, "event Rejected(Checksum)", M0, REJECT),
    (Master, OwnAddress, Master, "event Rejected(OwnAddress)", M0, "ours: our own packet, or a host with our address"),
    (Master, Garbage, Master, "event Rejected(Length)", M0, REJECT),
    (Master, ReconfigureSame, Master, "nothing", M0, "ours: no change"),
    (Master, ReconfigurePriorityUp, Master, "advert Immediate", M0, "ours: told at once"),
    (Master, ReconfigurePriorityDown, Master, "advert Immediate", M0, "ours: told at once; others decide"),
    (Master, ReconfigureIntervalUp, Master, "advert Immediate", M0, "ours: no later than the old interval has it"),
    (Master, ReconfigureIntervalDown, Master, "nothing", M0, "no change: version 2 has no shorter one"),
    (Master, ReconfigureMoreVips, Master, "advert Immediate, announce 5", M0, "ours: new VIPs are announced"),
    (Master, ReconfigureFewerVips, Master, "advert Immediate", M0, "ours: told at once"),
    (Master, ReconfigureGarp, Master, "nothing", M0, "ours: from the next burst on"),
    (Master, ReconfigureVrid, Master, "nothing", M0, "ours: another router, ignored"),
    (Master, VipsRepaired, Master, "announce 5", M0, "ours: stay Master, correct the ARP caches"),
];

fn no_preempt() -> Config {
    Config { preempt: false, ..config() }
}

fn owner() -> Config {
    Config { priority: priority(255), ..config() }
}

/// A version 3 router with 100 ms whose peers have 500 ms.
fn fast_v3() -> Config {
    Config { interval: centis(10), ..config_v3() }
}

type Variant = (fn() -> Config, Row);

#[rustfmt::skip]
const VARIANTS: &[Variant] = &[
    (no_preempt, (Backup, Lower, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2: Preempt_Mode is false")),
    (no_preempt, (Backup, Higher, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2")),
    (no_preempt, (Master, Lower, Master, "advert Immediate, event RivalMaster, announce 5", M0, "RFC 9568 §6.4.3: preemption is for Backups")),
    (no_preempt, (Master, Higher, Backup, "Backup", "MasterDown 14.009375s", "RFC 9568 §6.4.3")),
    (owner, (Initialize, Startup, Master, "advert Claim, Master, announce 5", "AdvertDue 11.400000s", "RFC 9568 §6.4.1")),
    (owner, (Master, EqualHigherAddress, Backup, "Backup", "MasterDown 13.403906s", "ours: two owners end up with one Master")),
    (owner, (Master, EqualLowerAddress, Master, "advert Immediate, event RivalMaster, announce 5", M0, "ours: two owners end up with one Master")),
    (config_v3, (Backup, WrongInterval, Backup, "event IntervalAdopted", "MasterDown 12.204687s", "RFC 9568 §6.4.2: 3 × 500 ms + 156/256 × 500 ms")),
    (config_v3, (Master, WrongInterval, Backup, "event IntervalAdopted, Backup", "MasterDown 12.204687s", "RFC 9568 §6.4.3")),
    (config_v3, (Backup, Higher, Backup, "nothing", "MasterDown 14.009375s", "RFC 9568 §6.4.2")),
    (config_v3, (Backup, WrongVersion, Backup, "event Rejected(Version)", B0, REJECT)),
    (fast_v3, (Initialize, Startup, Backup, "Backup", "MasterDown 10.760937s", "RFC 9568 §6.1: 300 ms + 156/256 × 100 ms")),
    (fast_v3, (Backup, PriorityZero, Backup, "event PriorityZero", "MasterLeft 10.360937s", "ours: priority 0 never makes the wait longer")),
    (fast_v3, (Master, ReconfigureIntervalUp, Master, "advert Immediate", "AdvertDue 10.100000s", "ours: not later than the old interval")),
    (config_v3, (Master, ReconfigureIntervalDown, Master, "advert Immediate", "AdvertDue 10.900000s", "ours: min(old deadline, now + 500 ms)")),
    (config_v3, (Backup, ReconfigureIntervalDown, Backup, "nothing", "MasterDown 12.204687s", "ours: min(old deadline, a whole new wait from now)")),
];

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
        _ => at(10_400),
    }
}

/// The advertisement that a class stands for, its source, and what is done to its bytes and TTL. The
/// address must not matter where the priority decides, so the higher priority has the lower address.
fn heard(class: Class, config: &Config) -> Option<(Vec<u8>, IpAddr, u8)> {
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
    let (advert, src) = match class {
        PriorityZero => (advert(config, 0), higher),
        Lower => (advert(config, ours - 1), higher),
        EqualLowerAddress => (advert(config, ours), lower),
        EqualHigherAddress => (advert(config, ours), higher),
        Higher | WrongTtl | WrongChecksum | Garbage => (good, lower),
        OtherVips => (Advert { addresses: ips(&["10.9.0.100", "10.9.0.101"]), ..good }, lower),
        WrongPassword => (Advert { auth: Auth::Pass(Secret::from_text("wrong")), ..good }, lower),
        WrongAuthType => (Advert { auth: Auth::None, ..good }, lower),
        WrongInterval => (Advert { interval: other_interval, ..good }, lower),
        WrongVersion => (advert(&other, 254), lower),
        WrongVrid => (Advert { vrid: support::vrid(52), ..good }, lower),
        OwnAddress => (good, config.source),
        _ => return None,
    };
    let mut payload = bytes(&advert, src);
    match class {
        WrongChecksum => payload[6] ^= 1,
        Garbage => payload.truncate(3),
        _ => {}
    }
    Some((payload, src, if class == WrongTtl { 254 } else { 255 }))
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
        ReconfigureVrid => Config { vrid: support::vrid(52), ..config },
        _ => return None,
    })
}

/// Gives `router` an input of `class`.
fn give(router: &mut VirtualRouter, class: Class, now: MonoTime) {
    if let Some((payload, src, ttl)) = heard(class, router.config()) {
        router.handle(Input::Packet(Received { ttl, ..received(&payload, src) }), now);
        return;
    }
    if let Some(config) = changed(class, router.config()) {
        router.handle(Input::Reconfigure(config), now);
        return;
    }
    let input = match class {
        Startup => Input::Startup,
        Adopt => Input::Adopt,
        Shutdown => Input::Shutdown,
        FaultSilent => Input::Fault(FaultCause::InterfaceDown),
        FaultTold => Input::Fault(FaultCause::VipRefused),
        TimerEarly | TimerDue | TimerLate | TimerVeryLate => Input::Timer,
        VipsRepaired => Input::VipsRepaired,
        _ => unreachable!("{class:?} is a packet or a change"),
    };
    router.handle(input, now);
}

fn check(config: Config, (before, class, after, outputs, deadline, says): Row) -> Result<(), String> {
    let mut router = router_in(before, config);
    let now = time_of(class, &router);
    give(&mut router, class, now);
    let got_outputs = line(&drain(&mut router));
    let got_deadline =
        router.poll_timeout().map_or(NEVER.to_owned(), |(deadline, why)| format!("{why:?} {deadline}"));
    if (router.state(), got_outputs.as_str(), got_deadline.as_str()) == (after, outputs, deadline) {
        return Ok(());
    }
    Err(format!(
        "{before} × {class:?} ({says})\n  wants {after}: {outputs}; {deadline}\n  got   {}: {got_outputs}; {got_deadline}",
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

#[test]
fn the_table_is_complete() {
    let rows: BTreeSet<_> = TABLE.iter().map(|(state, class, ..)| (state.to_string(), *class)).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row stands twice");
    for state in [Initialize, Backup, Master] {
        for class in CLASSES {
            assert!(rows.contains(&(state.to_string(), class)), "no row for {state} × {class:?}");
        }
    }
    // The classes are numbered without a gap, so the list has them all.
    assert_eq!(CLASSES.map(|class| class as usize), std::array::from_fn(|i| i));
    assert_eq!(VipsRepaired as usize + 1, CLASSES.len());
}
