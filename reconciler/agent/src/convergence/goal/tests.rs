//! Which virtual servers a pass observes, after which changes and which passes.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use evenkeel_converge::{Desired, Destination, DestinationKey, Forward, Service};
use evenkeel_host::pass::DrainsFound;
use evenkeel_schemas::cluster::Drift;
use evenkeel_schemas::cluster::Protocol;
use evenkeel_schemas::time::MonoTime;

use super::*;

/// Kinds of a pass that a verdict asks for.
const IPVS: &[Kind] = &[Kind::Ipvs];

/// A virtual server of this port.
fn key(port: u16) -> ServiceKey {
    ServiceKey::new(Protocol::Tcp, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 80)), port)
}

/// A virtual server whose one destination has this weight.
fn row(port: u16, weight: u32) -> Row {
    let destination = DestinationKey { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), port };
    let destinations =
        [(destination, Destination::plain(Forward::DirectRoute, weight))].into_iter().collect();
    let service = Service { destinations, ..Service::plain("wlc", false) };
    Row { key: key(port), wanted: Some((service, None)) }
}

fn desired(ports: impl IntoIterator<Item = u16>) -> Desired {
    let mut desired = Desired::default();
    ports.into_iter().for_each(|port| desired.put(row(port, 1)));
    desired
}

fn wanted(serial: u64, desired: Desired) -> Wanted {
    Wanted { serial, desired: Arc::new(desired), resync: Duration::from_secs(5) }
}

/// A pass that found everything as wanted.
fn reached() -> Pass {
    Pass {
        ended: MonoTime::ZERO,
        took: Duration::ZERO,
        done: Vec::new(),
        repairs: Vec::new(),
        drifts: Vec::new(),
        reported_drift: 0,
        errors: Vec::new(),
        foreign: None,
        converged: true,
        ready: true,
        lacking: BTreeSet::new(),
        unnamed: false,
        drains: Some(DrainsFound::default()),
    }
}

/// Three virtual servers that are in the kernel as they are wanted.
fn settled() -> Goal {
    let mut goal = Goal::default();
    goal.replace(wanted(1, desired([80, 81, 82])));
    goal.observed(&Kind::ALL, &reached());
    goal
}

fn adjust(goal: &mut Goal, serial: u64, row: Row) {
    goal.adjust([(row.key, row)].into(), serial);
}

#[test]
fn before_the_first_wanted_state_nothing_is_known() {
    let mut goal = Goal::default();
    assert!(goal.wanted().is_none());
    adjust(&mut goal, 1, row(80, 1));
    assert!(goal.wanted().is_none() && goal.services_to_observe(IPVS).is_none());
    goal.replace(wanted(2, desired([80])));
    assert_eq!(goal.wanted().map(|wanted| wanted.serial), Some(2));
    assert_eq!(goal.services_to_observe(IPVS), None, "nobody has looked yet");
}

#[test]
fn after_a_pass_that_found_all_as_wanted_none_differs() {
    assert_eq!(settled().services_to_observe(IPVS), Some(BTreeSet::new()));
}

#[test]
fn a_changed_row_is_wanted_and_its_virtual_server_alone_differs() {
    let mut goal = settled();
    adjust(&mut goal, 2, row(81, 7));
    assert_eq!(goal.services_to_observe(IPVS), Some([key(81)].into()));
    let wanted = goal.wanted().expect("wanted");
    assert_eq!(wanted.serial, 2);
    assert_eq!(
        Some(&wanted.desired.state.services[&key(81)]),
        row(81, 7).wanted.map(|(service, _)| service).as_ref()
    );
    // The next one comes before a pass.
    adjust(&mut goal, 3, row(82, 0));
    assert_eq!(goal.services_to_observe(IPVS), Some([key(81), key(82)].into()));
    goal.observed(IPVS, &reached());
    assert_eq!(goal.services_to_observe(IPVS), Some(BTreeSet::new()));
}

#[test]
fn a_row_that_is_no_longer_wanted_differs() {
    let mut goal = settled();
    adjust(&mut goal, 2, Row { key: key(80), wanted: None });
    assert_eq!(goal.services_to_observe(IPVS), Some([key(80)].into()));
    assert!(!goal.wanted().expect("wanted").desired.state.services.contains_key(&key(80)));
}

#[test]
fn another_wanted_state_differs_by_what_it_changes_beside_what_differed_before() {
    let mut goal = settled();
    adjust(&mut goal, 2, row(81, 7));
    // Port 80 goes, 83 comes, and 81 is wanted as the kernel still has it.
    goal.replace(wanted(3, desired([81, 82, 83])));
    assert_eq!(goal.services_to_observe(IPVS), Some([key(80), key(81), key(83)].into()));
}

#[test]
fn a_pass_that_did_not_look_at_ipvs_says_nothing_of_it() {
    let mut goal = settled();
    adjust(&mut goal, 2, row(81, 7));
    assert_eq!(goal.services_to_observe(&[Kind::Addresses]), None);
    goal.observed(&[Kind::Addresses], &Pass { drains: None, ..reached() });
    assert_eq!(goal.services_to_observe(IPVS), Some([key(81)].into()));
    goal.observed(&[Kind::Addresses], &Pass { drains: None, converged: false, ..reached() });
    assert_eq!(goal.services_to_observe(IPVS), Some([key(81)].into()));
}

#[test]
fn after_a_pass_that_did_not_find_all_as_wanted_any_may_differ() {
    let drains = DrainsFound { next_look: Some(MonoTime::ZERO), ..DrainsFound::default() };
    let unfinished = [
        ("a failure", Pass { converged: false, ..reached() }),
        ("reported drift", Pass { reported_drift: 1, ..reached() }),
        ("drains", Pass { drains: Some(drains), ..reached() }),
    ];
    for (what, pass) in unfinished {
        let mut goal = settled();
        adjust(&mut goal, 2, row(81, 7));
        goal.observed(IPVS, &pass);
        assert_eq!(goal.services_to_observe(IPVS), None, "{what}");
        // A pass over other kinds knows nothing of it.
        goal.observed(&[Kind::Addresses], &Pass { drains: None, ..reached() });
        assert_eq!(goal.services_to_observe(IPVS), None, "{what}");
        // Changes until the next pass do not make that better, and one full pass does.
        adjust(&mut goal, 3, row(82, 7));
        goal.replace(wanted(4, desired([80])));
        assert_eq!(goal.services_to_observe(IPVS), None, "{what}");
        goal.observed(&Kind::ALL, &reached());
        assert_eq!(goal.services_to_observe(IPVS), Some(BTreeSet::new()), "{what}");
    }
}

#[test]
fn objects_that_are_left_as_others_made_them_are_counted_over_all() {
    let mut goal = settled();
    goal.observed(&[Kind::Addresses], &Pass { reported_drift: 1, drains: None, ..reached() });
    assert_eq!(goal.services_to_observe(IPVS), None);
    let report = Drift { ipvs: DriftMode::Report, ..Drift::default() };
    goal = Goal::default();
    for serial in 1..=2 {
        goal.replace(wanted(serial, Desired { drift: report.clone(), ..desired([80]) }));
        goal.observed(&Kind::ALL, &reached());
    }
    assert_eq!(goal.services_to_observe(IPVS), None);
}

#[test]
fn where_the_rest_changes_or_too_many_do_all_are_observed() {
    let many = u16::try_from(SOME).expect("a number of ports");
    let cases = [
        ("as many as are observed alone", desired([80, 81, 82].into_iter().chain(1_000..1_000 + many)), true),
        ("one more", desired([80, 81, 82].into_iter().chain(1_000..=1_000 + many)), false),
        ("foreign services", Desired { exclusive_ipvs: true, ..desired([80, 81, 82]) }, false),
        (
            "drift",
            Desired {
                drift: Drift { links: DriftMode::Report, ..Drift::default() },
                ..desired([80, 81, 82])
            },
            false,
        ),
    ];
    for (what, desired, alone) in cases {
        let mut goal = settled();
        goal.replace(wanted(2, desired));
        assert_eq!(goal.services_to_observe(IPVS).is_some(), alone, "{what}");
    }
    let mut goal = settled();
    (1_000..=1_000 + many).for_each(|port| adjust(&mut goal, 2, row(port, 1)));
    assert_eq!(goal.services_to_observe(IPVS), None, "row by row");
}
