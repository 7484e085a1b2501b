//! Any bytes as a sequence of inputs to an election with sync groups: no panic, no flood of outputs,
//! no timer that stands still, and a rejected packet moves none.
#![no_main]

use std::time::Duration;

use evenkeel_schemas::scalars::{AdvertInterval, InterfaceName, Name, Priority, Vrid};
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Advert, Auth, Checksum, Config, Delivery, Directors, Election, FaultCause, Input, Member, Received,
    RouterKey, State, Strangers, TTL, Version, WireInterval, encode,
};

/// Outputs of one router after one input: a transition through two states with all that it sends.
const MOST_OUTPUTS: usize = 24;
const VRIDS: std::ops::Range<u8> = 51..55;
const FAULTS: [FaultCause; 5] = [
    FaultCause::InterfaceDown,
    FaultCause::SourceMissing,
    FaultCause::Tracker,
    FaultCause::NotConverged,
    FaultCause::StartupDelay,
];

/// The bytes, taken one by one; zero when there are none left.
struct Tape<'a>(std::slice::Iter<'a, u8>);

impl Tape<'_> {
    fn next(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()]
    }
}

fn interface(vrid: u8) -> InterfaceName {
    format!("eth{}", vrid % 2).parse().expect("interface")
}

fn config(tape: &mut Tape<'_>, vrid: u8) -> Config {
    let v6 = vrid == VRIDS.start;
    let source = if v6 { "fe80::5" } else { "10.9.0.5" };
    let vips: &[&str] = if v6 { &["fe80::64"] } else { &["10.9.0.100", "10.9.0.101"] };
    let peer = if v6 { "fe80::9" } else { "10.9.0.9" }.parse().expect("address");
    let unicast = Delivery::Unicast { peers: vec![peer], ttl: 255, min_ttl: 250 };
    let zero = Duration::ZERO;
    Config {
        version: if v6 { Version::V3 } else { tape.of(&[Version::V2, Version::V3]) },
        vrid: Vrid::new(vrid).expect("VRID"),
        priority: Priority::new(tape.next().max(1)).expect("priority"),
        interval: AdvertInterval::from_centis(tape.of(&[1, 10, 100, 150, 4095])).expect("interval"),
        preempt: tape.of(&[true, false]),
        preempt_delay: tape.of(&[zero, zero, Duration::from_secs(5)]),
        unready: tape.of(&[false, false, true]),
        auth: None,
        source: source.parse().expect("address"),
        delivery: if tape.next().is_multiple_of(4) { unicast } else { Delivery::Multicast },
        vips: vips.iter().map(|vip| vip.parse().expect("address")).collect(),
        garp_repeat: tape.next() % 8,
        garp_delay: tape.of(&[zero, Duration::from_millis(30), Duration::from_secs(5)]),
        directors: (tape.next().is_multiple_of(2)).then(|| Directors {
            addresses: vec![peer],
            unnamed: usize::from(tape.next() % 2),
            strangers: tape.of(&[Strangers::SameVips, Strangers::Reject]),
        }),
        garp_refresh: tape.of(&[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(60))]),
        checksum: Checksum::WithPseudoHeader,
        hmac: None,
    }
}

fn members(tape: &mut Tape<'_>) -> Vec<Member> {
    let mut members = Vec::new();
    for vrid in VRIDS {
        let choice = tape.next();
        if choice % 5 == 4 {
            continue;
        }
        let group: Option<Name> = [None, Some("g"), Some("g"), Some("h")][usize::from(choice % 5)]
            .map(|name| name.parse().expect("name"));
        let config = config(tape, vrid);
        let key = RouterKey::new(interface(vrid), &config);
        members.push(Member { key, name: format!("r{vrid}").parse().expect("name"), group, config });
    }
    members
}

struct Run {
    election: Election,
    keys: Vec<RouterKey>,
    now: MonoTime,
}

impl Run {
    fn drain(&mut self) {
        let routers = self.keys.len().max(usize::from(VRIDS.end - VRIDS.start)) * 2;
        let mut outputs = 0;
        while self.election.poll_output().is_some() {
            outputs += 1;
            assert!(outputs <= MOST_OUTPUTS * routers, "a flood of outputs");
        }
    }

    fn configure(&mut self, tape: &mut Tape<'_>) {
        let members = members(tape);
        self.keys = members.iter().map(|member| member.key.clone()).collect();
        self.election.configure(members, self.now);
    }

    /// Time passes, up to some deadlines or for some milliseconds.
    fn pass(&mut self, tape: &mut Tape<'_>) {
        let choice = tape.next();
        let millis = Duration::from_millis(u64::from(tape.next()) * if choice > 250 { 1000 } else { 4 });
        let end = self.now + millis;
        let mut at_once = 0;
        let mut turns = 0;
        while let Some((deadline, _)) = self.election.poll_timeout()
            && deadline <= end
            && turns < 64
        {
            turns += 1;
            at_once = if deadline > self.now { 0 } else { at_once + 1 };
            assert!(at_once <= 4, "the loop spins at {}", self.now);
            self.now = self.now.max(deadline);
            self.election.handle_timers(self.now);
            self.drain();
        }
        if turns < 64 {
            self.now = end;
        } else {
            // As a host that was stopped sees it.
            self.now = self.now.max(end);
            self.election.handle_timers(self.now);
        }
    }

    fn packet(&mut self, tape: &mut Tape<'_>) {
        let number = VRIDS.start + tape.next() % (VRIDS.end - VRIDS.start + 1);
        let v6 = number == VRIDS.start;
        let last = tape.of(&[1_u8, 5, 9]);
        let src = if v6 { format!("fe80::{last}") } else { format!("10.9.0.{last}") };
        let src = src.parse().expect("address");
        let key = self.keys.iter().find(|key| key.vrid.get() == number).cloned();
        let ours = key.as_ref().and_then(|key| self.election.get(key)).map(|(_, router)| router.config());
        let version = ours.map_or(Version::V3, |config| config.version);
        let dst = match ours {
            Some(Config { delivery: Delivery::Unicast { .. }, source, .. }) => *source,
            _ if v6 => "ff02::12".parse().expect("address"),
            _ => "224.0.0.18".parse().expect("address"),
        };
        let interval = match version {
            Version::V2 => WireInterval::from_secs(tape.of(&[1, 1, 40, 0])),
            Version::V3 => WireInterval::from_centis(tape.of(&[1, 10, 100, 4095, 0])),
        };
        let advert = Advert {
            version,
            vrid: Vrid::new(number).expect("VRID"),
            priority: tape.next(),
            interval,
            auth: Auth::None,
            addresses: if v6 {
                vec!["fe80::64".parse().expect("address")]
            } else {
                vec!["10.9.0.100".parse().expect("address")]
            },
        };
        let mut payload = Vec::new();
        encode(&advert, src, dst, Checksum::WithPseudoHeader, &mut payload);
        // Some are damaged.
        let damage = tape.next();
        if damage < 64 {
            let at = usize::from(damage) % payload.len();
            payload[at] ^= tape.next();
        }
        let ttl = if damage == 64 { 1 } else { TTL };
        let before = self.timers();
        let rejected = self.rejected();
        let received = Received { payload: &payload, src, dst, ttl };
        self.election.handle_packet(&interface(number), received, self.now);
        if self.rejected() > rejected {
            assert_eq!(self.timers(), before, "a rejected packet has moved something: {advert:?}");
        }
    }

    fn rejected(&self) -> u64 {
        let routers = self.election.iter().map(|(_, _, router)| router.counters().rejected_total());
        routers.sum::<u64>() + self.election.unknown_total()
    }

    fn timers(&self) -> Vec<(State, Option<MonoTime>)> {
        let routers = self.election.iter();
        routers.map(|(_, _, router)| (router.state(), router.poll_timeout().map(|(at, _)| at))).collect()
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let tape = &mut Tape(bytes.iter());
    let mut run = Run { election: Election::new(), keys: Vec::new(), now: MonoTime::from_millis(10_000) };
    run.configure(tape);
    run.drain();
    while tape.0.len() > 0 {
        let choice = tape.next();
        let key = run.keys.get(usize::from(choice >> 4) % run.keys.len().max(1)).cloned();
        match (choice & 15, key) {
            (0..=3, _) => run.pass(tape),
            (4..=8, _) => run.packet(tape),
            (9 | 10, Some(key)) => drop(run.election.handle(&key, Input::Startup, run.now)),
            (11, Some(key)) => drop(run.election.handle(&key, Input::Adopt, run.now)),
            (12, Some(key)) => {
                let fault = tape.of(&FAULTS);
                run.election.handle(&key, Input::Fault(fault), run.now);
            }
            (13, Some(key)) => {
                let input = match tape.next() % 5 {
                    0 => Input::VipsRepaired,
                    1 => Input::Shutdown,
                    2 => Input::Timer,
                    3 => Input::Offer,
                    _ => Input::Handover,
                };
                run.election.handle(&key, input, run.now);
            }
            (14, _) if choice == 0xfe => run.election.shutdown(run.now),
            _ => run.configure(tape),
        }
        run.drain();
    }
});
