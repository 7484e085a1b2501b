//! Laws for all inputs: no bytes and no sequence of inputs panics, rejected packets touch nothing,
//! and the timers stay within the protocol's bounds.

#[path = "support/support.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, AdvertKind, Auth, Checksum, Config, Delivery, FaultCause, GROUP_V4, GROUP_V6, Input, Notice,
    OFFER_INTERVALS, Output, Received, Rejection, Secret, State, Version, VirtualRouter, WireInterval,
    decode, encode, master_down_interval, split_ipv4,
};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{centis, config, config_v3, drain, priority, vrid};

fn any_address(v4: bool) -> BoxedStrategy<IpAddr> {
    if v4 {
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()).boxed()
    } else {
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()).boxed()
    }
}

fn group(v4: bool) -> IpAddr {
    if v4 { GROUP_V4.into() } else { GROUP_V6.into() }
}

/// Any advertisement that the wire can hold, with a source of its family.
fn any_advert() -> impl Strategy<Value = (Advert, IpAddr)> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(v2, v4)| {
        let (version, v4) = if v2 { (Version::V2, true) } else { (Version::V3, v4) };
        let auth = any::<Option<[u8; 8]>>().prop_map(move |bytes| match (version, bytes) {
            (Version::V2, Some(bytes)) => Auth::Pass(Secret::from_bytes(bytes)),
            (Version::V2, None) | (Version::V3, _) => Auth::None,
        });
        let interval = (any::<u8>(), 0_u16..4096).prop_map(move |(secs, centis)| match version {
            Version::V2 => WireInterval::from_secs(secs),
            Version::V3 => WireInterval::from_centis(centis),
        });
        let addresses = vec(any_address(v4), 1..=255);
        let fields = (1..=255_u8, any::<u8>(), interval, auth, addresses, any_address(v4));
        fields.prop_map(move |(number, priority, interval, auth, addresses, src)| {
            (Advert { version, vrid: vrid(number), priority, interval, auth, addresses }, src)
        })
    })
}

/// Bytes that look like a message far enough to reach every check: type, and a good checksum.
fn plausible_bytes() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), vec(any::<u8>(), 8..80)).prop_map(|(v2, mut bytes)| {
        bytes[0] = if v2 { 0x21 } else { 0x31 };
        bytes[3] %= 8;
        let end = (8 + usize::from(bytes[3]) * 4 + if v2 { 8 } else { 0 }).min(bytes.len());
        bytes[6..8].fill(0);
        let word = |w: &[u8]| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b));
        let mut sum: u32 = bytes[..end].chunks(2).map(word).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        bytes[6..8].copy_from_slice(&(!(sum as u16)).to_be_bytes());
        bytes
    })
}

/// A failure prints its shrunken input, which belongs into a test of its own; no file is kept.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn decoding_never_panics(bytes in vec(any::<u8>(), 0..600), v4: bool, dst_v4: bool) {
        let src = if v4 { IpAddr::from([10, 9, 0, 1]) } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
        let _ = decode(&bytes, src, group(dst_v4));
        let _ = split_ipv4(&bytes);
    }

    #[test]
    fn plausible_bytes_never_panic(bytes in plausible_bytes()) {
        let _ = decode(&bytes, IpAddr::from([10, 9, 0, 1]), GROUP_V4.into());
    }

    #[test]
    fn ipv4_payloads_are_inside_the_datagram(mut bytes in vec(any::<u8>(), 20..200), length: u8) {
        bytes[0] = 0x40 | bytes[0] & 0x0f;
        bytes[2..4].copy_from_slice(&u16::from(length).to_be_bytes());
        bytes[6..8].fill(0);
        if let Ok(parts) = split_ipv4(&bytes) {
            prop_assert!(parts.payload.len() + 20 <= usize::from(length));
        }
    }

    #[test]
    fn decoding_inverts_encoding((advert, src) in any_advert(), with: bool, padding in 0_usize..40) {
        let checksum = if with { Checksum::WithPseudoHeader } else { Checksum::Without };
        let dst = group(src.is_ipv4());
        let mut out = Vec::new();
        encode(&advert, src, dst, checksum, &mut out);
        let needed = out.len();
        out.resize(needed + padding, 0);
        // Ethernet fills a packet to 46 bytes; what follows a longer one, or is not that much, is no padding.
        let packet = needed + if src.is_ipv4() { 20 } else { 0 };
        if padding == 0 || (packet < 46 && padding % 4 == 2) {
            prop_assert_eq!(decode(&out, src, dst), Ok(advert));
        } else {
            let wrong = Rejection::Length { bytes: needed + padding, needed };
            prop_assert_eq!(decode(&out, src, dst), Err(wrong));
        }
    }
}

/// An input as data.
#[derive(Debug, Clone)]
enum Step {
    Startup,
    Adopt,
    Handover,
    Offer,
    Shutdown,
    Fault(FaultCause),
    Timer,
    /// Sleep until the deadline, then `Timer`.
    TimerDue,
    /// From a peer or a stranger, with our VIPs (0), one more (1) or none of ours (2), by either way.
    Good {
        priority: u8,
        src: u8,
        interval: u16,
        vips: u8,
        unicast: bool,
    },
    Damaged {
        priority: u8,
        ttl: u8,
        at: usize,
        mask: u8,
    },
    Bytes(Vec<u8>),
    Reconfigure {
        priority: u8,
        interval: u16,
        vips: u8,
        preempt: bool,
    },
    /// How many peers; `None` for multicast. And the last byte of our source.
    Deliver(Option<u8>, u8),
    /// Preempt delay and refresh in milliseconds.
    Pace(u16, Option<u16>),
    VipsRepaired,
}

fn any_step() -> impl Strategy<Value = Step> {
    let interval = prop_oneof![3 => Just(100_u16), 1 => 1_u16..4096];
    prop_oneof![
        2 => Just(Step::Startup),
        1 => Just(Step::Adopt),
        1 => Just(Step::Handover),
        1 => Just(Step::Offer),
        1 => Just(Step::Shutdown),
        1 => Just(Step::Fault(FaultCause::NotConverged)),
        1 => Just(Step::Fault(FaultCause::InterfaceDown)),
        1 => Just(Step::Fault(FaultCause::Tracker)),
        3 => Just(Step::Timer),
        6 => Just(Step::TimerDue),
        8 => (any::<u8>(), 1..5_u8, interval.clone(), 0..3_u8, any::<bool>()).prop_map(
            |(priority, src, interval, vips, unicast)| Step::Good { priority, src, interval, vips, unicast }
        ),
        4 => (any::<u8>(), 250..=255_u8, 0..24_usize, any::<u8>())
            .prop_map(|(priority, ttl, at, mask)| Step::Damaged { priority, ttl, at, mask }),
        2 => vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        2 => (1..=255_u8, interval, 1..4_u8, any::<bool>()).prop_map(
            |(priority, interval, vips, preempt)| Step::Reconfigure { priority, interval, vips, preempt }
        ),
        2 => (proptest::option::of(0..4_u8), 2..4_u8).prop_map(|(peers, src)| Step::Deliver(peers, src)),
        1 => (0..10_000_u16, proptest::option::of(0..5000_u16)).prop_map(|(d, r)| Step::Pace(d, r)),
        1 => Just(Step::VipsRepaired),
    ]
}

fn apply(router: &mut VirtualRouter, step: &Step, now: MonoTime) {
    let current = router.config().clone();
    match step {
        Step::Startup => router.handle(Input::Startup, now),
        Step::Adopt => router.handle(Input::Adopt, now),
        Step::Handover => router.handle(Input::Handover, now),
        Step::Offer => router.handle(Input::Offer, now),
        Step::Shutdown => router.handle(Input::Shutdown, now),
        Step::Fault(fault) => router.handle(Input::Fault(*fault), now),
        Step::Timer | Step::TimerDue => router.handle(Input::Timer, now),
        Step::Good { priority, src, interval, vips, unicast } => {
            let mut advert = support::advert(&current, *priority);
            if current.version == Version::V3 {
                advert.interval = WireInterval::from_centis(*interval);
            }
            match vips {
                0 => {}
                1 => advert.addresses.push(support::ip("10.9.0.200")),
                _ => advert.addresses = support::ips(&["10.9.0.200", "10.9.0.201"]),
            }
            let src = Ipv4Addr::new(10, 9, 0, *src).into();
            let dst = if *unicast { current.source } else { GROUP_V4.into() };
            let mut payload = Vec::new();
            encode(&advert, src, dst, current.checksum, &mut payload);
            router.handle(Input::Packet(Received { payload: &payload, src, dst, ttl: 255 }), now);
        }
        Step::Damaged { priority, ttl, at, mask } => {
            let src = support::ip("10.9.0.3");
            let mut payload = support::bytes(&support::advert(&current, *priority), src);
            let length = payload.len();
            payload[at % length] ^= mask;
            let dst = GROUP_V4.into();
            router.handle(Input::Packet(Received { payload: &payload, src, dst, ttl: *ttl }), now);
        }
        Step::Bytes(bytes) => {
            router.handle(Input::Packet(support::received(bytes, support::ip("10.9.0.3"))), now);
        }
        Step::Reconfigure { priority: number, interval, vips, preempt } => {
            let vips = (0..*vips).map(|n| Ipv4Addr::new(10, 9, 0, 100 + n).into()).collect();
            let (priority, interval) = (priority(*number), centis(*interval));
            let changed = Config { priority, interval, vips, preempt: *preempt, ..current };
            router.handle(Input::Reconfigure(changed), now);
        }
        Step::Deliver(peers, src) => {
            let source = Ipv4Addr::new(10, 9, 0, *src).into();
            let peer = |number| IpAddr::from([10, 9, 0, 1 + 3 * number]);
            let delivery = peers.map_or(Delivery::Multicast, |count| Delivery::Unicast {
                peers: (0..count).map(peer).collect(),
                ttl: 200,
                min_ttl: 251,
            });
            router.handle(Input::Reconfigure(Config { delivery, source, ..current }), now);
        }
        Step::Pace(delay, refresh) => {
            let millis = |millis: u16| Duration::from_millis(millis.into());
            let (preempt_delay, garp_refresh) = (millis(*delay), refresh.map(millis));
            router.handle(Input::Reconfigure(Config { preempt_delay, garp_refresh, ..current }), now);
        }
        Step::VipsRepaired => router.handle(Input::VipsRepaired, now),
    }
}

fn is_gone(output: &Output) -> bool {
    matches!(output, Output::Event(event) if matches!(event.notice, Notice::RivalGone { .. }))
}

/// Laws that hold after every step, given the router before it.
fn check_step(router: &VirtualRouter, outputs: &[Output], before: (State, Option<MonoTime>), now: MonoTime) {
    let (mut state, _) = before;
    for (index, output) in outputs.iter().enumerate() {
        match output {
            Output::StateChanged { from, to, .. } => {
                assert_eq!(*from, state, "changes form a chain");
                state = *to;
                if *to == State::Master {
                    let claim = index.checked_sub(1).and_then(|previous| outputs.get(previous));
                    let nobody = router.config().destinations().next().is_none();
                    let claimed = matches!(claim, Some(Output::Transmit { .. }));
                    assert!(claimed || nobody, "advert first: {outputs:?}");
                    let next = outputs.get(index + 1);
                    assert!(matches!(next, Some(Output::Announce { .. })), "ARP last: {outputs:?}");
                }
            }
            Output::Transmit { bytes, src, dst, ttl, kind, .. } => {
                let advert = decode(bytes, *src, *dst).expect("what we send is well-formed");
                assert_eq!(advert.vrid, router.config().vrid);
                assert!(router.config().destinations().any(|peer| peer == *dst), "to {dst}");
                assert_eq!(*ttl, if dst.is_multicast() { 255 } else { 200 });
                let zero = matches!(kind, AdvertKind::PriorityZero | AdvertKind::Offer);
                assert_eq!(advert.priority == 0, zero);
                let outside = state != State::Master;
                match kind {
                    AdvertKind::Claim => assert!(outside, "{outputs:?}"),
                    AdvertKind::PriorityZero => assert!(outside || router.is_leaving(), "{outputs:?}"),
                    AdvertKind::Periodic | AdvertKind::Immediate | AdvertKind::Offer => {
                        assert_eq!(state, State::Master);
                    }
                    AdvertKind::LastWords => {
                        assert_eq!((state, router.state()), (State::Master, State::Backup))
                    }
                }
            }
            Output::Announce { .. } => assert_eq!(state, State::Master),
            Output::Event(event) => assert!(!event.to_string().contains("hell>com")),
        }
    }
    assert_eq!(state, router.state());
    assert!(outputs.len() <= 16, "an input has a bounded effect: {outputs:?}");
    let interval = router.config().effective_interval().as_duration();
    match router.state() {
        State::Initialize => assert_eq!((router.poll_timeout(), router.lease_until()), (None, None)),
        State::Backup => {
            let (deadline, _) = router.poll_timeout().expect("a Backup waits");
            // The longest wait there is: 4 × 40.95 s.
            assert!(now.until(deadline) <= Duration::from_millis(4 * 40_950));
            assert_eq!(router.lease_until(), None);
        }
        State::Master => {
            let (deadline, _) = router.poll_timeout().expect("a Master advertises");
            let most = if router.is_offered() { interval * OFFER_INTERVALS } else { interval };
            let most = if router.is_leaving() { LONGEST_LEAVE } else { most };
            assert!(now.until(deadline) <= most, "an advert is never further away than its interval");
            assert!(router.lease_until().is_some());
            assert_eq!(router.master(), Some(router.config().source));
        }
    }
}

/// The longest time for which a Master leaves.
const LONGEST_LEAVE: Duration = Duration::from_secs(20);

/// A Master that leaves, and left before the step, has sent and announced nothing, and its end is no later.
fn check_leaving(router: &VirtualRouter, outputs: &[Output], end: Option<MonoTime>) {
    let quiet = |output: &Output| matches!(output, Output::Event(_));
    assert!(outputs.iter().all(quiet), "{outputs:?}");
    let now = router.poll_timeout().map(|(deadline, _)| deadline);
    assert!(now <= end, "{now:?} is later than {end:?}");
    assert_eq!(router.lease_until(), now);
}

/// Everything that time or packets set: state, timers, leases, memories of other routers.
fn phase(router: &VirtualRouter) -> String {
    let text = format!("{router:?}");
    let (_, rest) = text.split_once(", phase: ").expect("a router has a phase");
    let (phase, _) = rest.split_once(", since: ").expect("and the time of its change");
    phase.to_owned()
}

fn run(start: Config, steps: &[(u64, Step)]) {
    let mut router = VirtualRouter::new(start);
    let mut now = support::at(10_000);
    let (mut last_words, mut gone) = (None, 0);
    for (millis, step) in steps {
        now = match (step, router.poll_timeout()) {
            (Step::TimerDue, Some((deadline, _))) => deadline.max(now),
            // Time does not pass a deadline unseen, except in `Timer`, which may be late.
            (Step::Timer, _) | (_, None) => now + Duration::from_millis(*millis),
            (_, Some((deadline, _))) => (now + Duration::from_millis(*millis)).min(deadline.max(now)),
        };
        let before = (router.state(), router.poll_timeout().map(|(deadline, _)| deadline));
        let was_leaving = router.is_leaving();
        let (rejected, phase_before) = (router.counters().rejected_total(), phase(&router));
        apply(&mut router, step, now);
        let outputs = drain(&mut router);
        check_step(&router, &outputs, before, now);
        if was_leaving && router.is_leaving() {
            check_leaving(&router, &outputs, before.1);
        }
        if router.counters().rejected_total() > rejected {
            assert_eq!(phase(&router), phase_before, "a rejected packet touches neither state nor timer");
            assert!(outputs.iter().all(|output| matches!(output, Output::Event(_))), "{outputs:?}");
        }
        let is_last_words =
            |output: &Output| matches!(output, Output::Transmit { kind: AdvertKind::LastWords, .. });
        if outputs.iter().any(is_last_words) {
            let interval = router.config().effective_interval().as_duration();
            assert!(last_words.is_none_or(|last| now.since(last) >= interval), "too talkative");
            last_words = Some(now);
        }
        gone += outputs.iter().filter(|output| is_gone(output)).count() as u64;
        assert!(gone <= router.counters().rival_masters, "nobody goes who did not come");
        if matches!(step, Step::Timer | Step::TimerDue) {
            assert!(router.poll_timeout().is_none_or(|(deadline, _)| deadline > now), "due work is done");
        }
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn no_sequence_of_inputs_breaks_a_router(
        v3: bool,
        owner: bool,
        steps in vec((0..3000_u64, any_step()), 1..60),
    ) {
        let mut start = if v3 { config_v3() } else { config() };
        if owner {
            start.priority = priority(255);
        }
        run(start, &steps);
    }

    /// A change while Backup never causes an election: the wait ends no earlier than it would have
    /// or than a whole new wait from now. And no series of changes puts the election off for ever.
    #[test]
    fn changes_neither_cause_nor_prevent_an_election(
        changes in vec((0..1000_u64, 1..=255_u8, 1..4096_u16), 1..40),
    ) {
        let mut router = VirtualRouter::new(config_v3());
        router.handle(Input::Startup, support::at(10_000));
        let mut now = support::at(10_000);
        for (millis, number, interval) in changes {
            now = now + Duration::from_millis(millis);
            let Some((old, _)) = router.poll_timeout() else { break };
            if now >= old {
                break;
            }
            let changed =
                Config { priority: priority(number), interval: centis(interval), ..router.config().clone() };
            let wait = master_down_interval(changed.version, changed.priority, changed.interval);
            router.handle(Input::Reconfigure(changed), now);
            let (new, _) = router.poll_timeout().expect("still waiting");
            prop_assert!(new >= old.min(now + wait), "not too early: {new} after {old}");
            prop_assert!(new <= old.max(support::at(10_000) + wait), "not too late: {new} after {old}");
            prop_assert_eq!(router.state(), State::Backup);
        }
    }

    /// The preempt delay, computed apart: of lower adverts those count that come before it is over.
    #[test]
    fn a_preempt_delay_holds_off_exactly_so_long(
        delay in 0..20_000_u64,
        gaps in vec(1..1000_u64, 40..60),
        rejected in vec(any::<bool>(), 60),
    ) {
        let wait = Duration::from_nanos(3_609_375_000);
        let start = Config { preempt_delay: Duration::from_millis(delay), ..config() };
        let mut router = VirtualRouter::new(start);
        router.handle(Input::Startup, support::at(10_000));
        let (mut now, mut first, mut last) = (10_000, None, 10_000);
        for (gap, rejected) in gaps.into_iter().zip(rejected) {
            now += gap;
            prop_assert_eq!(router.poll_timeout().map(|(due, _)| due), Some(support::at(last) + wait));
            if support::at(now) >= support::at(last) + wait {
                break;
            }
            let number = if rejected { 52 } else { 51 };
            let lower = Advert { vrid: vrid(number), ..support::advert(router.config(), 99) };
            support::hear(&mut router, &lower, support::ip("10.9.0.1"), support::at(now));
            if !rejected && now - *first.get_or_insert(now) < delay {
                last = now;
            }
        }
    }
}
