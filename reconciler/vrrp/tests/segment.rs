//! Two and three routers on one segment without delay: what they make of each other's packets.
//!
//! Loss, delay and faults are the simulation's; here every packet arrives at once, unless the segment is cut.

#[path = "support/support.rs"]
mod support;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    AdvertKind, Config, Delivery, GROUP_V6, Input, Output, Received, State, Version, VirtualRouter, decode,
};
use support::{at, centis, config, config_v3, drain, ip, ips, line, priority};

struct Segment {
    routers: Vec<VirtualRouter>,
    now: MonoTime,
    /// No packet arrives.
    cut: bool,
    log: Vec<(MonoTime, usize, Output)>,
}

impl Segment {
    /// Routers in Initialize, at 10 s.
    fn new(configs: impl IntoIterator<Item = Config>) -> Self {
        let routers = configs.into_iter().map(VirtualRouter::new).collect();
        Self { routers, now: at(10_000), cut: false, log: Vec::new() }
    }

    /// The same, started and left alone until the election is over.
    fn settled(configs: impl IntoIterator<Item = Config>) -> Self {
        let mut segment = Self::new(configs);
        for index in 0..segment.routers.len() {
            segment.give(index, Input::Startup);
        }
        segment.run(10_000);
        segment.log.clear();
        segment
    }

    fn give(&mut self, index: usize, input: Input<'_>) {
        let mut packets = VecDeque::new();
        self.routers[index].handle(input, self.now);
        self.collect(index, &mut packets);
        while let Some((from, bytes, src, dst, ttl)) = packets.pop_front() {
            for to in 0..self.routers.len() {
                let reached = dst.is_multicast() || dst == self.routers[to].config().source;
                if to != from && reached && !self.cut {
                    let packet = Received { payload: &bytes, src, dst, ttl };
                    self.routers[to].handle(Input::Packet(packet), self.now);
                    self.collect(to, &mut packets);
                }
            }
        }
    }

    fn collect(&mut self, index: usize, packets: &mut VecDeque<(usize, Vec<u8>, IpAddr, IpAddr, u8)>) {
        for output in drain(&mut self.routers[index]) {
            if let Output::Transmit { bytes, src, dst, ttl, .. } = &output {
                packets.push_back((index, bytes.clone(), *src, *dst, *ttl));
            }
            self.log.push((self.now, index, output));
        }
        assert!(self.log.len() < 100_000, "they never stop talking");
    }

    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        loop {
            let timeouts = self.routers.iter().map(|router| router.poll_timeout().map(|(due, _)| due));
            let next = timeouts.enumerate().filter_map(|(index, due)| Some((due?, index))).min();
            let Some((due, index)) = next.filter(|(due, _)| *due <= end) else { break };
            self.now = self.now.max(due);
            self.give(index, Input::Timer);
        }
        self.now = end;
    }

    fn reconfigure(&mut self, index: usize, change: impl FnOnce(Config) -> Config) {
        let config = change(self.routers[index].config().clone());
        self.give(index, Input::Reconfigure(config));
    }

    fn states(&self) -> Vec<State> {
        self.routers.iter().map(VirtualRouter::state).collect()
    }

    /// Everything of one router, as one line.
    fn said(&self, index: usize) -> String {
        let outputs: Vec<Output> = self
            .log
            .iter()
            .filter(|(_, from, _)| *from == index)
            .map(|(.., output)| output.clone())
            .collect();
        line(&outputs)
    }

    fn changes(&self) -> usize {
        self.log.iter().filter(|(.., output)| matches!(output, Output::StateChanged { .. })).count()
    }

    fn rejected(&self) -> u64 {
        self.routers.iter().map(|router| router.counters().rejected_total()).sum()
    }
}

/// The director with this last byte of its address.
fn director(number: u8) -> Config {
    Config { source: ip(&format!("10.9.0.{number}")), priority: priority(100 + number), ..config() }
}

fn unicast(peers: &[&str]) -> Delivery {
    Delivery::Unicast { peers: ips(peers), ttl: 255, min_ttl: 255 }
}

#[test]
fn unicast_peers_elect_one_master() {
    for base in [config(), config_v3()] {
        let node = |number: u8, peers: &[&str]| Config {
            delivery: unicast(peers),
            source: director(number).source,
            priority: director(number).priority,
            ..base.clone()
        };
        let mut segment = Segment::new([
            node(1, &["10.9.0.2", "10.9.0.3"]),
            node(2, &["10.9.0.1", "10.9.0.3"]),
            node(3, &["10.9.0.1", "10.9.0.2"]),
        ]);
        for index in 0..3 {
            segment.give(index, Input::Startup);
        }
        segment.run(20_000);
        assert_eq!(segment.states(), [State::Backup, State::Backup, State::Master]);
        assert_eq!((segment.changes(), segment.rejected()), (4, 0));
        segment.give(2, Input::Shutdown);
        segment.run(20_000);
        assert_eq!(segment.states(), [State::Backup, State::Master, State::Initialize]);
    }
}

/// Every order, both ways, the Master first or last: nobody notices.
#[test]
fn delivery_changes_live_one_director_after_another() {
    for base in [config(), config_v3()] {
        for (there, first) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
            let node = |number: u8, other: &str| Config {
                delivery: if there { Delivery::Multicast } else { unicast(&[other]) },
                source: director(number).source,
                priority: director(number).priority,
                ..base.clone()
            };
            let mut segment = Segment::settled([node(1, "10.9.0.2"), node(2, "10.9.0.1")]);
            assert_eq!(segment.states(), [State::Backup, State::Master]);
            for index in [first, 1 - first] {
                let other = ["10.9.0.2", "10.9.0.1"][index];
                let delivery = if there { unicast(&[other]) } else { Delivery::Multicast };
                segment.reconfigure(index, |config| Config { delivery, ..config });
                segment.run(20_000);
                assert_eq!(segment.states(), [State::Backup, State::Master]);
            }
            assert_eq!((segment.changes(), segment.rejected()), (0, 0), "there {there}, first {first}");
        }
    }
}

#[test]
fn a_source_changes_live() {
    let mut segment = Segment::settled([director(1), director(2)]);
    for index in [1, 0] {
        let source = ip(["10.9.0.11", "10.9.0.12"][index]);
        segment.reconfigure(index, |config| Config { source, ..config });
        segment.run(20_000);
    }
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    assert_eq!((segment.changes(), segment.rejected()), (0, 0));
    assert_eq!(segment.routers[0].master(), Some(ip("10.9.0.12")));
}

#[test]
fn the_checksum_is_made_for_each_peer() {
    let peers = ips(&["10.9.0.1", "10.9.0.7", "10.9.0.9"]);
    let delivery = Delivery::Unicast { peers: peers.clone(), ttl: 64, min_ttl: 60 };
    let mut router = VirtualRouter::new(Config { delivery, ..config_v3() });
    router.handle(Input::Adopt, at(10_000));
    let outputs = drain(&mut router);
    let sent: Vec<(IpAddr, u8)> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Transmit { bytes, src, dst, ttl, .. } => {
                assert!(decode(bytes, *src, *dst).is_ok(), "for {dst}");
                Some((*dst, *ttl))
            }
            Output::StateChanged { .. } | Output::Announce { .. } | Output::Event(_) => None,
        })
        .collect();
    assert_eq!(sent, peers.into_iter().map(|peer| (peer, 64)).collect::<Vec<_>>());
    assert_eq!(line(&outputs), "advert Claim, advert Claim, advert Claim, Master, announce 5");
    assert_eq!(router.counters().adverts_sent, 1, "one advertisement, however many copies");
}

#[test]
fn a_lease_comes_with_the_first_copy_or_without_any() {
    let wait = Duration::from_nanos(3_609_375_000);
    let delivery = unicast(&["10.9.0.1", "10.9.0.3"]);
    let mut router = VirtualRouter::new(Config { delivery, ..config() });
    router.handle(Input::Adopt, at(10_000));
    assert_eq!(router.lease_until(), None);
    assert!(router.poll_output().is_some());
    assert_eq!(router.lease_until(), Some(at(10_000) + wait));
    let mut alone = VirtualRouter::new(Config { delivery: unicast(&[]), ..config() });
    alone.handle(Input::Adopt, at(10_000));
    assert_eq!(line(&drain(&mut alone)), "Master, announce 5");
    assert_eq!(alone.lease_until(), Some(at(10_000) + wait));
    alone.handle(Input::Timer, at(11_000));
    assert_eq!(line(&drain(&mut alone)), "nothing");
    assert_eq!(alone.lease_until(), Some(at(11_000) + wait));
    assert_eq!(alone.counters().adverts_sent, 0);
}

fn v6(number: u8, other: Option<&str>) -> Config {
    Config {
        version: Version::V3,
        auth: None,
        source: ip(&format!("fe80::{number}")),
        vips: ips(&["fe80::56", "2001:db8:9::56"]),
        priority: priority(100 + number),
        interval: centis(100),
        delivery: other.map_or(Delivery::Multicast, |other| unicast(&[other])),
        ..config()
    }
}

#[test]
fn ipv6_routers_elect_one_master_in_both_modes() {
    for (first, second) in [(None, None), (Some("fe80::2"), Some("fe80::1"))] {
        let mut segment = Segment::settled([v6(1, first), v6(2, second)]);
        assert_eq!(segment.states(), [State::Backup, State::Master]);
        assert_eq!(segment.rejected(), 0);
        segment.run(1_000);
        let to = segment.log.iter().find_map(|(.., output)| match output {
            Output::Transmit { dst, .. } => Some(*dst),
            Output::StateChanged { .. } | Output::Announce { .. } | Output::Event(_) => None,
        });
        assert_eq!(to, Some(first.map_or(GROUP_V6.into(), |_| ip("fe80::1"))));
        segment.give(1, Input::Shutdown);
        segment.run(1_000);
        assert_eq!(segment.states(), [State::Master, State::Initialize]);
    }
}

/// As numbers, not as text: fe80::a is above fe80::9, and below fe80::10.
#[test]
fn equal_ipv6_priorities_go_by_address() {
    for (lower, higher) in [("fe80::9", "fe80::a"), ("fe80::a", "fe80::10"), ("fe80::ffff", "fe80::1:0")] {
        let node = |source: &str| Config { source: ip(source), priority: priority(255), ..v6(1, None) };
        let segment = Segment::settled([node(higher), node(lower)]);
        assert_eq!(segment.states(), [State::Master, State::Backup], "{lower} {higher}");
    }
}

#[test]
fn a_handover_lasts_while_preemption_is_off() {
    let mut segment = Segment::settled([director(1), director(2)]);
    segment.reconfigure(1, |config| Config { preempt: false, ..config });
    segment.give(1, Input::Handover);
    assert_eq!(segment.said(1), "advert PriorityZero");
    assert_eq!(segment.states(), [State::Backup, State::Master], "until the other one has taken over");
    segment.run(1_000);
    assert_eq!(segment.said(1), "advert PriorityZero, Backup");
    assert_eq!(segment.routers[1].reason().to_string(), "handed over");
    assert_eq!(segment.states(), [State::Master, State::Backup], "within the skew time");
    assert_eq!(segment.said(0), "event PriorityZero, advert Claim, Master, announce 5");
    segment.run(30_000);
    assert_eq!(segment.states(), [State::Master, State::Backup]);
    segment.reconfigure(1, |config| Config { preempt: true, ..config });
    segment.run(5_000);
    assert_eq!(segment.states(), [State::Backup, State::Master], "released");
}

#[test]
fn an_offer_is_accepted_by_any_live_backup_and_the_vips_are_held_until_then() {
    for (version_3, offers) in [(false, 1_usize), (true, 1), (true, 0)] {
        let node = |number: u8| {
            if version_3 {
                Config { auth: None, version: Version::V3, ..director(number) }
            } else {
                director(number)
            }
        };
        // Also by who is Master below its rank, since nobody takes that away from it.
        let configs = [node(1), node(2)].map(|config| Config { preempt: offers == 1, ..config });
        let mut segment = Segment::new(configs);
        segment.give(offers, Input::Startup);
        segment.run(10_000);
        segment.give(1 - offers, Input::Startup);
        segment.run(10_000);
        assert_eq!(segment.states()[offers], State::Master);
        assert_eq!(segment.routers[offers].other_heard(), None, "Backups are silent");
        segment.log.clear();
        segment.reconfigure(offers, |config| Config { preempt: false, ..config });
        segment.give(offers, Input::Offer);
        assert_eq!(segment.states()[offers], State::Master, "until somebody has taken over");
        segment.run(1_000);
        assert_eq!(segment.states()[offers], State::Backup);
        assert_eq!(segment.states()[1 - offers], State::Master);
        // No last words, which would be a rival's.
        assert_eq!(segment.said(offers), "advert Immediate, advert Offer, Backup");
        assert_eq!(segment.routers[offers].reason().to_string(), "handed over");
        assert!(segment.routers[offers].other_heard().is_some());
        segment.run(30_000);
        assert_eq!(segment.changes(), 2, "it lasts");
    }
}

#[test]
fn an_offer_that_nobody_accepts_changes_nothing() {
    let mut segment = Segment::settled([director(2)]);
    let begun = segment.now;
    segment.give(0, Input::Offer);
    segment.give(0, Input::Offer);
    assert!(segment.routers[0].is_offered());
    segment.run(1_999);
    assert!(segment.routers[0].is_offered());
    assert!(
        segment.routers[0].lease_until().is_some_and(|until| until > begun + Duration::from_millis(2_900))
    );
    segment.run(1);
    assert!(!segment.routers[0].is_offered());
    assert_eq!(segment.said(0), "advert Immediate, advert Offer, advert Periodic");
    assert_eq!((segment.states(), segment.routers[0].other_heard()), (vec![State::Master], None));
    // Who comes later is answered as ever.
    segment.log.clear();
    segment.run(2_000);
    assert_eq!(segment.said(0), "advert Periodic, advert Periodic");
}

/// A router of somebody else with our VRID takes nothing over, nor does who leaves.
#[test]
fn an_offer_is_not_for_strangers() {
    let mut segment = Segment::settled([director(2)]);
    segment.give(0, Input::Offer);
    for (vip, priority) in [("10.9.0.77", 90), ("10.9.0.100", 0)] {
        let mut advert = support::advert(&config(), priority);
        advert.addresses = ips(&[vip]);
        let payload = support::bytes(&advert, ip("10.9.0.1"));
        segment.give(0, Input::Packet(support::received(&payload, ip("10.9.0.1"))));
        assert_eq!(segment.states(), [State::Master], "{vip} {priority}");
    }
    assert_eq!(segment.routers[0].other_heard(), None);
}

#[test]
fn a_handover_to_nobody_comes_back() {
    let mut segment = Segment::settled([Config { preempt: false, ..director(2) }]);
    segment.give(0, Input::Handover);
    segment.run(1_200);
    assert_eq!(segment.states(), [State::Master], "a Backup of the lowest priority may still claim");
    segment.run(3_500);
    assert_eq!(segment.states(), [State::Backup]);
    segment.run(500);
    assert_eq!(segment.states(), [State::Master]);
}

#[test]
fn a_director_that_returns_takes_over_after_the_preempt_delay() {
    let delay = Duration::from_secs(60);
    let higher = Config { preempt_delay: delay, ..director(2) };
    let mut segment = Segment::settled([director(1), higher.clone()]);
    assert_eq!(segment.states(), [State::Backup, State::Master], "no delay where there is no Master");
    segment.give(1, Input::Shutdown);
    segment.run(10_000);
    segment.give(1, Input::Startup);
    segment.run(60_000);
    assert_eq!(segment.states(), [State::Master, State::Backup]);
    segment.run(4_600);
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    // A Master that falls silent is not waited for.
    segment.give(1, Input::Shutdown);
    segment.run(10_000);
    segment.give(1, Input::Startup);
    segment.run(5_000);
    segment.give(0, Input::Fault(evenkeel_vrrp::FaultCause::InterfaceDown));
    segment.run(3_700);
    assert_eq!(segment.states(), [State::Initialize, State::Master]);
}

#[test]
fn a_director_that_returns_waits_for_its_checks_as_long_as_another_serves() {
    let mut segment = Segment::settled([director(1), Config { unready: true, ..director(2) }]);
    assert_eq!(segment.states(), [State::Backup, State::Master], "nobody served: it does not wait");
    let returned = |segment: &mut Segment, unready| {
        segment.give(1, Input::Shutdown);
        segment.run(10_000);
        segment.reconfigure(1, |config| Config { unready, ..config });
        segment.give(1, Input::Startup);
        segment.log.clear();
    };
    returned(&mut segment, true);
    segment.run(60_000);
    assert_eq!(segment.states(), [State::Master, State::Backup]);
    assert!(segment.routers[1].is_unready());
    assert_eq!(segment.said(1), "event NotReady", "told once");
    segment.reconfigure(1, |config| Config { unready: false, ..config });
    assert!(!segment.routers[1].is_unready());
    segment.run(4_600);
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    // One that dies is replaced as ever, and so is one that leaves.
    returned(&mut segment, true);
    segment.run(5_000);
    assert_eq!(segment.said(1), "event NotReady", "a new wait is news within a minute, too");
    segment.give(0, Input::Fault(evenkeel_vrrp::FaultCause::InterfaceDown));
    segment.run(3_700);
    assert_eq!(segment.states(), [State::Initialize, State::Master]);
    segment.give(0, Input::Startup);
    returned(&mut segment, true);
    segment.run(5_000);
    segment.give(0, Input::Shutdown);
    segment.run(700);
    assert_eq!(segment.states(), [State::Initialize, State::Master]);
}

/// The segment falls apart until both are Master, then it is whole again; `first` is heard first.
fn healed(first: usize) -> Segment {
    let mut segment = Segment::settled([director(1), director(2)]);
    segment.cut = true;
    segment.run(30_000);
    assert_eq!(segment.states(), [State::Master, State::Master]);
    segment.log.clear();
    segment.cut = false;
    // A change makes it advertise ahead of the other.
    let vips = ips(&["10.9.0.100", "10.9.0.101"]);
    segment.reconfigure(first, |config| Config { vips, ..config });
    segment
}

/// The loser hears the winner first, yields, and the winner would never have known of it.
#[test]
fn last_words_have_the_winner_of_a_partition_announce() {
    let mut segment = healed(1);
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    assert_eq!(segment.said(0), "event VipListMismatch, advert LastWords, Backup");
    assert_eq!(
        segment.said(1),
        "advert Immediate, announce 5, event VipListMismatch, advert Immediate, event RivalMaster, announce 5"
    );
    segment.run(60_000);
    assert_eq!(segment.changes(), 1, "nobody answers the answer");
    assert_eq!(segment.routers[1].counters().rival_masters, 1);
}

/// The other order: no election either, and one exchange.
#[test]
fn a_winner_that_hears_the_loser_first_answers_and_announces() {
    let mut segment = healed(0);
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    segment.run(60_000);
    assert_eq!(segment.changes(), 1);
    assert_eq!(segment.routers[1].counters().rival_masters, 1);
    assert_eq!(segment.said(0).matches("LastWords").count(), 1);
}

#[test]
fn a_rival_is_reported_when_it_appears_and_when_it_is_gone() {
    let mut segment = healed(0);
    let healed_at = segment.now;
    segment.run(60_000);
    let told: Vec<(Duration, String)> = segment
        .log
        .iter()
        .filter_map(|(at, index, output)| match output {
            Output::Event(event) if *index == 1 => Some((at.since(healed_at), event.to_string())),
            Output::Event(_) | Output::Transmit { .. } => None,
            Output::StateChanged { .. } | Output::Announce { .. } => None,
        })
        .filter(|(_, text)| !text.contains("VIPs but received"))
        .collect();
    // 3 s + 154/256 s after its last words.
    let gone = Duration::from_nanos(3_601_562_500);
    let came = "Received advert from 10.9.0.1 with lower priority 101, ours 102, \
                forcing new election: it and we, 10.9.0.2, are both Master";
    let went = "10.9.0.1 is no longer Master beside us, 10.9.0.2: announcing the VIPs again";
    assert_eq!(told, [(Duration::ZERO, came.to_owned()), (gone, went.to_owned())]);
    let bursts: Vec<u64> = segment
        .log
        .iter()
        .filter(|(_, index, output)| *index == 1 && matches!(output, Output::Announce { .. }))
        .map(|(at, ..)| at.since(healed_at).as_millis() as u64)
        .collect();
    // Now, at its end, and 5 s after that: the second burst of the first waits no longer for itself.
    assert_eq!(bursts, [0, 3_601, 8_601]);
}

#[test]
fn a_preemption_is_no_rival() {
    let mut segment = Segment::settled([director(1)]);
    segment.routers.push(VirtualRouter::new(director(2)));
    segment.give(1, Input::Startup);
    segment.run(60_000);
    assert_eq!(segment.states(), [State::Backup, State::Master]);
    assert_eq!(segment.routers[1].counters().rival_masters, 0);
    let said = segment.said(1);
    let begins = "Backup, advert Claim, Master, announce 5, advert Immediate, announce 5, advert Periodic";
    assert!(said.starts_with(begins), "{said}");
}

/// Lower address: Backup; whoever comes first.
#[test]
fn two_owners_end_with_one_master() {
    let owner = |number: u8| Config { priority: priority(255), ..director(number) };
    for order in [[1, 2], [2, 1]] {
        let mut segment = Segment::settled(order.map(owner));
        let master: Vec<u8> = order
            .into_iter()
            .zip(&segment.routers)
            .filter(|(_, router)| router.state() == State::Master)
            .map(|(number, _)| number)
            .collect();
        assert_eq!(master, [2], "{order:?}");
        segment.run(60_000);
        assert_eq!(segment.changes(), 0);
    }
}

/// A cluster that was given a VRID which another one has: told before the first claim, and again by its
/// Masters.
#[test]
fn a_vrid_in_use_is_reported_before_the_first_claim() {
    let theirs = Config { vips: ips(&["10.9.0.200", "10.9.0.201"]), ..director(9) };
    let mut segment = Segment::settled([Config { auth: None, ..theirs }]);
    segment.routers.push(VirtualRouter::new(director(1)));
    segment.run(3_000);
    assert_eq!(segment.states(), [State::Master, State::Initialize]);
    assert_eq!(segment.said(1), "event VridInUse");
    let text = segment.log.iter().find_map(|(_, index, output)| match output {
        Output::Event(event) if *index == 1 => Some(event.to_string()),
        Output::Event(_) | Output::Transmit { .. } => None,
        Output::StateChanged { .. } | Output::Announce { .. } => None,
    });
    let expected = "VRID 51 in use by 10.9.0.9 for 2 VIPs, none of them ours: \
                    it is nobody of ours and moves nothing; one of us needs another VRID";
    assert_eq!(text.as_deref(), Some(expected));
    let counters = segment.routers[1].counters();
    assert_eq!((counters.vrid_in_use, counters.adverts_received, counters.rejected_total()), (3, 0, 0));
}

/// Two that were both Master come together, with every relation of priorities and addresses, either speaking
/// first: one exchange, one loser, and then silence but for the winner's adverts.
#[test]
fn no_two_masters_talk_for_long() {
    for (ranks, preempt, delay) in [[99, 100], [100, 100], [100, 99], [255, 255], [255, 100]]
        .into_iter()
        .flat_map(|ranks| [(ranks, true, 0), (ranks, false, 0), (ranks, true, 5)])
    {
        for (first, by_unicast) in [(0, false), (1, false), (0, true), (1, true)] {
            let node = |index: usize| Config {
                priority: priority(ranks[index]),
                preempt,
                preempt_delay: Duration::from_secs(delay),
                delivery: if by_unicast {
                    unicast(&[["10.9.0.2", "10.9.0.1"][index]])
                } else {
                    Delivery::Multicast
                },
                ..director(index as u8 + 1)
            };
            let mut segment = Segment::new([node(0), node(1)]);
            segment.cut = true;
            segment.give(0, Input::Adopt);
            segment.give(1, Input::Adopt);
            segment.run(30_000);
            segment.cut = false;
            segment.log.clear();
            let vips = ips(&["10.9.0.100", "10.9.0.101"]);
            segment.reconfigure(first, |config| Config { vips, ..config });
            let case = format!("{ranks:?} {preempt} {delay} {first} {by_unicast}: {:?}", segment.log);
            let winner = usize::from(ranks[0] <= ranks[1]);
            assert_eq!(segment.routers[winner].state(), State::Master, "{case}");
            assert_eq!(segment.routers[1 - winner].state(), State::Backup, "{case}");
            let said =
                |kind: &str| segment.said(0).matches(kind).count() + segment.said(1).matches(kind).count();
            assert_eq!(said("LastWords"), 1, "{case}");
            assert!(said("Immediate") <= 2, "{case}");
            segment.log.clear();
            segment.run(30_500);
            let others = segment.log.iter().filter(|(.., output)| {
                matches!(output, Output::Transmit { kind, .. } if *kind != AdvertKind::Periodic)
            });
            assert_eq!((others.count(), segment.changes()), (0, 0), "{case}");
        }
    }
}
