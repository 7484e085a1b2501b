//! Sync groups on one host: the routers of one group are Master together or not at all.
//!
//! Router 51 is on eth0, 52 on eth1 and so on; all have priority 100 and wait 3.609 s for a Master.

#[path = "support/support.rs"]
mod support;

use std::time::Duration;

use evenkeel_schemas::scalars::InterfaceName;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{
    Cause, Config, Election, FaultCause, Input, Member, Output, RouterKey, State, Why, master_down_interval,
};
use support::{advert, at, bytes, config, ip, line, priority, received, vrid};

const PEER: &str = "10.9.0.3";

fn on(number: u8) -> InterfaceName {
    format!("eth{}", number - 51).parse().expect("interface")
}

fn member(number: u8, group: Option<&str>) -> Member {
    let config = Config { vrid: vrid(number), garp_delay: Duration::ZERO, ..config() };
    let group = group.map(|group| group.parse().expect("name"));
    let key = RouterKey::new(on(number), &config);
    Member { key, name: format!("r{number}").parse().expect("name"), group, config }
}

fn wait() -> Duration {
    let config = config();
    master_down_interval(config.version, config.priority, config.effective_interval())
}

/// How long a Master that leaves serves on once it has heard another one.
fn linger() -> Duration {
    Duration::from_millis(10)
}

/// Longer than a Master leaves that nobody replaces.
fn leaving() -> Duration {
    Duration::from_millis(1_250)
}

struct Host {
    election: Election,
    now: MonoTime,
    causes: Vec<Cause>,
}

impl Host {
    fn new(members: Vec<Member>) -> Self {
        let mut host = Self { election: Election::new(), now: at(10_000), causes: Vec::new() };
        host.configure(members);
        host
    }

    fn group(numbers: &[u8]) -> Self {
        Self::new(numbers.iter().map(|number| member(*number, Some("g"))).collect())
    }

    /// A group whose members are all Master.
    fn masters(numbers: &[u8]) -> Self {
        let mut host = Self::group(numbers);
        for number in numbers {
            host.give(*number, Input::Adopt);
        }
        host
    }

    /// A group whose members are all Backup.
    fn backups(numbers: &[u8]) -> Self {
        let mut host = Self::group(numbers);
        for number in numbers {
            host.give(*number, Input::Startup);
        }
        host
    }

    fn configure(&mut self, members: Vec<Member>) -> String {
        self.election.configure(members, self.now);
        self.outputs()
    }

    fn key(number: u8) -> RouterKey {
        member(number, None).key
    }

    fn give(&mut self, number: u8, input: Input<'_>) -> String {
        assert!(self.election.handle(&Self::key(number), input, self.now));
        self.outputs()
    }

    fn hear(&mut self, number: u8, theirs: u8) -> String {
        let config = member(number, None).config;
        let payload = bytes(&advert(&config, theirs), ip(PEER));
        self.election.handle_packet(&on(number), received(&payload, ip(PEER)), self.now);
        self.outputs()
    }

    fn pass(&mut self, time: Duration) -> String {
        self.now = self.now + time;
        self.election.handle_timers(self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> String {
        let mut texts = Vec::new();
        while let Some((key, output)) = self.election.poll_output() {
            match &output {
                Output::StateChanged { cause, .. } => self.causes.push(*cause),
                Output::Event(_) => continue,
                _ => {}
            }
            texts.push(format!("{}: {}", key.vrid, line(std::slice::from_ref(&output))));
        }
        texts.join("; ")
    }

    /// `M`, `B` or `I` for each router by VRID.
    fn states(&self) -> String {
        let letter = |state| match state {
            State::Master => 'M',
            State::Backup => 'B',
            State::Initialize => 'I',
        };
        self.election.iter().map(|(_, _, router)| letter(router.state())).collect()
    }

    fn reason(&self, number: u8) -> String {
        self.election.get(&Self::key(number)).expect("router").1.reason().to_string()
    }
}

#[test]
fn members_start_together_when_none_has_an_obstacle() {
    let mut host = Host::group(&[51, 52, 53]);
    assert_eq!(host.give(51, Input::Startup), "");
    assert_eq!(host.reason(51), "r52 of its sync group does not take part");
    assert_eq!(host.give(52, Input::Startup), "");
    assert_eq!(host.give(53, Input::Fault(FaultCause::InterfaceDown)), "");
    assert_eq!(host.give(51, Input::Startup), "");
    assert_eq!(host.reason(51), "r53 of its sync group does not take part");
    assert_eq!(host.election.poll_timeout(), None);
    assert_eq!(host.give(53, Input::Startup), "51: Backup; 52: Backup; 53: Backup");
    // A second time changes nothing.
    assert_eq!(host.give(52, Input::Startup), "");
    assert_eq!(host.pass(wait() - Duration::from_nanos(1)), "");
    host.pass(Duration::from_nanos(1));
    assert_eq!(host.states(), "MMM");
}

#[test]
fn an_owner_starts_as_master_with_all_of_its_group_or_waits_for_it() {
    let owner = |number| {
        let member = member(number, Some("g"));
        Member { config: Config { priority: priority(255), ..member.config.clone() }, ..member }
    };
    for (second, states) in [(owner(52), "MM"), (member(52, Some("g")), "BB")] {
        let mut host = Host::new(vec![owner(51), second]);
        host.give(51, Input::Startup);
        assert_eq!(host.states(), "II");
        host.give(52, Input::Startup);
        assert_eq!(host.states(), states);
        host.pass(wait());
        assert_eq!(host.states(), "MM");
    }
}

#[test]
fn a_backup_claims_only_when_every_member_can() {
    let mut host = Host::backups(&[51, 52]);
    let second = Duration::from_secs(1);
    // 52 hears a Master, 51 does not.
    for _ in 0..20 {
        assert_eq!(host.pass(second), "");
        assert_eq!(host.hear(52, 150), "");
        let (deadline, why) = host.election.poll_timeout().expect("the group's deadline");
        assert_eq!((deadline, why), (host.now + wait(), Why::MasterDown), "not the past deadline of 51");
    }
    // That Master leaves: both claim after the skew time, in one turn, and not late.
    host.hear(52, 0);
    let skew = Duration::from_secs(1) * 156 / 256;
    assert_eq!(host.election.poll_timeout(), Some((host.now + skew, Why::MasterLeft)));
    let claims = host.pass(skew);
    assert_eq!(
        claims,
        "51: advert Claim; 51: Master; 51: announce 5; 52: advert Claim; 52: Master; 52: announce 5"
    );
    // With 51 deaf again, adverts re-arm 52 as ever.
    assert_eq!(host.states(), "MM");
}

#[test]
fn a_group_waits_for_the_checks_of_one_as_long_as_a_master_lives_there() {
    let unready = |number, unready| {
        let member = member(number, Some("g"));
        Member { config: Config { unready, ..member.config.clone() }, ..member }
    };
    let mut host = Host::new(vec![unready(51, false), unready(52, true)]);
    host.give(51, Input::Startup);
    host.give(52, Input::Startup);
    let second = Duration::from_secs(1);
    for _ in 0..20 {
        assert_eq!(host.pass(second), "");
        assert_eq!((host.hear(51, 50), host.hear(52, 50)), (String::new(), String::new()));
        assert_eq!(host.states(), "BB");
    }
    assert_eq!(host.configure(vec![unready(51, false), unready(52, false)]), "");
    host.pass(wait());
    assert_eq!(host.states(), "MM", "together, a wait after the last advertisement that counted");
}

#[test]
fn when_one_yields_all_do_and_say_so() {
    let mut host = Host::masters(&[51, 52, 53]);
    let outputs = host.hear(52, 150);
    assert!(outputs.starts_with("52: "), "{outputs}");
    for others in ["51: advert PriorityZero", "53: advert PriorityZero"] {
        assert!(outputs.contains(others), "{outputs}");
    }
    assert_eq!(host.states(), "MBM", "51 and 53 serve until another host does");
    assert_eq!(host.hear(53, 50), "");
    assert_eq!(host.pass(linger()), "53: Backup");
    assert_eq!(host.pass(leaving()), "51: Backup");
    assert_eq!(host.states(), "BBB");
    assert_eq!(host.reason(51), "r52 of its sync group became Backup");
    // 51 and 53 hear nobody: they do not come back alone.
    for _ in 0..10 {
        host.pass(Duration::from_secs(1));
        host.hear(52, 150);
        assert_eq!(host.states(), "BBB");
    }
}

#[test]
fn when_one_hands_over_all_do() {
    let mut host = Host::masters(&[51, 52]);
    let outputs = host.give(52, Input::Handover);
    assert_eq!(
        outputs, "52: advert PriorityZero; 51: advert PriorityZero",
        "so that the other host claims all of them after the skew time"
    );
    assert_eq!(host.states(), "MM");
    assert_eq!(host.pass(leaving()), "51: Backup; 52: Backup");
    assert_eq!(host.election.poll_timeout(), Some((host.now + wait(), Why::MasterDown)));
}

#[test]
fn when_one_member_is_taken_over_on_offer_all_are_handed_over() {
    let mut host = Host::masters(&[51, 52]);
    for number in [51, 52] {
        host.give(number, Input::Offer);
    }
    assert_eq!(host.states(), "MM");
    let outputs = host.hear(52, 50);
    assert_eq!(outputs, "51: advert PriorityZero");
    assert_eq!(host.hear(51, 50), "");
    assert_eq!(host.pass(linger()), "51: Backup; 52: Backup");
}

#[test]
fn the_host_that_is_outdone_in_the_leader_as_it_claims_waits_longer() {
    let second = Duration::from_secs(1);
    for (number, late, extra) in
        [(51, Duration::ZERO, second), (51, second, Duration::ZERO), (52, Duration::ZERO, Duration::ZERO)]
    {
        let mut host = Host::backups(&[51, 52]);
        host.pass(wait());
        assert_eq!(host.states(), "MM");
        host.pass(late);
        host.hear(number, 150);
        let yielded = host.now;
        host.pass(leaving());
        assert_eq!(host.states(), "BB");
        let next = host.election.poll_timeout().map(|(at, _)| at);
        assert_eq!(next, Some((yielded + wait() + extra).max(host.now + wait())));
    }
}

#[test]
fn a_fault_or_shutdown_of_one_takes_all_out() {
    for (input, outputs) in [
        (Input::Fault(FaultCause::InterfaceDown), "52: Initialize; 51: advert PriorityZero"),
        (Input::Shutdown, "52: advert PriorityZero; 51: advert PriorityZero"),
        (Input::Fault(FaultCause::Tracker), "52: advert PriorityZero; 51: advert PriorityZero"),
    ] {
        let mut host = Host::masters(&[51, 52]);
        assert_eq!(host.give(52, input.clone()), outputs);
        // The driver repeats what it knows; nothing begins again, and nobody starts.
        assert_eq!(host.give(52, input.clone()), "");
        assert_eq!(host.give(51, Input::Startup), "");
        host.pass(leaving());
        assert_eq!(host.states(), "II");
        assert_eq!(host.reason(51), "r52 of its sync group does not take part");
        assert_eq!(host.election.poll_timeout(), None);
        // The driver goes on saying that 51 may; only when 52 may, too, does it.
        assert_eq!(host.give(51, Input::Startup), "");
        assert_eq!(host.give(52, Input::Startup), "51: Backup; 52: Backup");

        let mut host = Host::backups(&[51, 52]);
        assert_eq!(host.give(51, input), "51: Initialize; 52: Initialize");
    }
}

#[test]
fn a_restart_within_some_leases_goes_on_with_those() {
    let mut host = Host::group(&[51, 52]);
    assert_eq!(host.give(51, Input::Adopt), "51: advert Claim; 51: Master; 51: announce 5");
    // Before its start the daemon says that it has not converged; that is no fault.
    assert_eq!(host.give(52, Input::Fault(FaultCause::NotConverged)), "");
    assert_eq!(host.give(52, Input::Fault(FaultCause::StartupDelay)), "");
    assert_eq!(host.give(52, Input::Startup), "52: Backup");
    for _ in 0..3 {
        host.pass(Duration::from_secs(1));
    }
    host.pass(wait());
    assert_eq!(host.states(), "MM");
    // One that cannot take part takes the others out, as it would have without the restart.
    let mut host = Host::group(&[51, 52]);
    host.give(51, Input::Adopt);
    host.give(52, Input::Fault(FaultCause::InterfaceDown));
    host.pass(leaving());
    assert_eq!(host.states(), "II");
}

#[test]
fn a_new_member_disturbs_nobody() {
    let group = Some("g");
    let mut host = Host::masters(&[51, 52]);
    let all = || vec![member(51, group), member(52, group), member(53, group)];
    assert_eq!(host.configure(all()), "");
    // It cannot take part yet, and says so.
    assert_eq!(host.give(53, Input::Fault(FaultCause::InterfaceMissing)), "");
    assert_eq!(host.states(), "MMI");
    assert_eq!(host.give(53, Input::Startup), "53: Backup");
    let claim = host.now + wait();
    while host.now < claim {
        let next = host.election.poll_timeout().expect("a deadline").0;
        assert!(!host.pass(next.since(host.now)).contains("Backup"));
    }
    assert_eq!(host.states(), "MMM");
    assert_eq!(host.now, claim);
    // From now on its fault is everybody's.
    host.give(53, Input::Fault(FaultCause::InterfaceMissing));
    host.pass(leaving());
    assert_eq!(host.states(), "III");
}

#[test]
fn a_new_member_that_cannot_take_part_holds_back_what_comes_next() {
    let group = Some("g");
    let mut host = Host::masters(&[51, 52]);
    host.configure(vec![member(51, group), member(52, group), member(53, group)]);
    host.give(53, Input::Fault(FaultCause::InterfaceMissing));
    // Somebody else has taken over: the group is out until 53 can.
    host.hear(51, 150);
    assert_eq!(host.states(), "IMI", "52 serves until another host does");
    host.pass(leaving());
    assert_eq!(host.states(), "III");
    assert_eq!(host.reason(52), "r53 of its sync group does not take part");
    host.give(53, Input::Startup);
    assert_eq!(host.states(), "BBB");
}

#[test]
fn a_running_router_that_gets_a_group_keeps_its_state() {
    let group = Some("g");
    let mut host = Host::new(vec![member(51, group), member(52, None)]);
    host.give(51, Input::Adopt);
    host.give(52, Input::Startup);
    assert_eq!(host.configure(vec![member(51, group), member(52, group)]), "");
    assert_eq!(host.states(), "MB");
    host.pass(wait());
    assert_eq!(host.states(), "MM");
}

#[test]
fn nobody_changes_state_for_a_member_that_leaves_or_a_group_that_ends() {
    let (old, new) = (Some("g"), Some("renamed"));
    let mut host = Host::masters(&[51, 52, 53]);
    let outputs = host.configure(vec![member(51, old), member(52, old)]);
    assert_eq!(outputs, "53: Initialize; 53: advert PriorityZero");
    assert_eq!(host.configure(vec![member(51, new), member(52, new)]), "");
    assert_eq!(host.configure(vec![member(51, new), member(52, None)]), "");
    assert_eq!(host.configure(vec![member(51, None), member(52, None)]), "");
    assert_eq!(host.states(), "MM");
    host.hear(51, 150);
    assert_eq!(host.states(), "BM");
}

#[test]
fn a_member_that_waited_for_one_that_leaves_starts() {
    let group = Some("g");
    let mut host = Host::masters(&[51, 52, 53]);
    host.give(53, Input::Fault(FaultCause::InterfaceDown));
    host.pass(leaving());
    assert_eq!(host.states(), "III");
    assert_eq!(host.configure(vec![member(51, group), member(52, group)]), "51: Backup; 52: Backup");
    let mut host = Host::masters(&[51, 53]);
    host.give(53, Input::Fault(FaultCause::InterfaceDown));
    host.pass(leaving());
    assert_eq!(host.configure(vec![member(51, None), member(53, None)]), "51: Backup");
}

#[test]
fn a_group_that_stays_mixed_follows_its_leader() {
    // 51 leads, and another host is its Master.
    let mut host = Host::group(&[51, 52]);
    host.give(52, Input::Adopt);
    host.give(51, Input::Startup);
    let mut outputs = String::new();
    for _ in 0..4 {
        assert_eq!(host.states(), "BM", "{outputs}");
        host.hear(51, 150);
        outputs = host.pass(Duration::from_millis(903));
    }
    assert!(outputs.ends_with("52: advert PriorityZero"), "{outputs}");
    assert_eq!(host.pass(leaving()), "52: Backup");
    assert_eq!(host.reason(52), "r51, which leads its sync group, hears another Master");

    // 52 does not lead: 51 stays Master.
    let mut host = Host::group(&[51, 52]);
    host.give(51, Input::Adopt);
    host.give(52, Input::Startup);
    for _ in 0..20 {
        host.hear(52, 150);
        host.pass(Duration::from_millis(900));
        assert_eq!(host.states(), "MB");
    }
    // Until that Master, which has the same group, follows its own leader.
    host.hear(52, 0);
    host.pass(Duration::from_millis(700));
    assert_eq!(host.states(), "MM");
}

#[test]
fn groups_and_single_routers_do_not_mix() {
    let mut host = Host::new(vec![
        member(51, Some("g")),
        member(52, Some("h")),
        member(53, None),
        member(54, Some("g")),
        member(55, Some("h")),
    ]);
    for number in 51..=55 {
        host.give(number, Input::Startup);
    }
    assert_eq!(host.states(), "BBBBB");
    host.pass(Duration::from_secs(1));
    host.hear(54, 150);
    host.pass(wait() - Duration::from_secs(1));
    assert_eq!(host.states(), "BMMBM");
    host.give(55, Input::Fault(FaultCause::Socket));
    assert_eq!(host.states(), "BMMBI");
    host.pass(leaving());
    assert_eq!(host.states(), "MIMMI", "51 and 54 claim meanwhile");
    host.election.shutdown(host.now);
    assert!(host.election.is_leaving());
    host.pass(leaving());
    assert!(!host.election.is_leaving());
    assert_eq!((host.states().as_str(), host.election.poll_timeout()), ("IIIII", None));
    assert!(host.causes.iter().filter(|cause| matches!(cause, Cause::Group { .. })).count() == 1);
}
