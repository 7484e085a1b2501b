//! A service with so many destinations that they come together with it.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use evenkeel_converge::diff::TOGETHER;
use evenkeel_converge::{Destination, DestinationKey, Domain, Forward, Op, Service, ServiceKey, diff};
use proptest::prelude::*;

use super::apply;
use super::worlds::{desired, kernel, ledger};

/// A service with so many destinations that a change that makes it is large.
fn large() -> (ServiceKey, Service) {
    let one = |n: u32| {
        let key = DestinationKey { address: Ipv4Addr::from_bits(0x0A00_0000 + n).into(), port: 80 };
        (key, Destination::plain(Forward::DirectRoute, n))
    };
    let destinations = (0..=TOGETHER as u32).map(one).collect();
    let key = ServiceKey::Mark { v6: false, mark: 7 };
    (key, Service { destinations, ..Service::plain("wlc", false) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Destinations of new services are in the operation that makes the service, which stands for the same
    /// operations.
    #[test]
    fn a_large_change_is_the_same_in_fewer_operations(
        mut wanted in desired(),
        start in kernel(),
        record in ledger(),
    ) {
        let small = diff(&wanted, &start, &record, Domain::Host).ops;
        let (key, service) = large();
        wanted.state.services.insert(key, service.clone());
        let ops = diff(&wanted, &start, &record, Domain::Host).ops;
        let of_it = |op: &Op| matches!(op, Op::AddService(of, _) | Op::AddDestination(of, ..) if *of == key);
        prop_assert_eq!(ops.iter().filter(|op| of_it(op)).count(), 1);
        let alone: Vec<Op> = ops.iter().flat_map(Op::singles).map(Cow::into_owned).collect();
        prop_assert_eq!(alone.len(), ops.iter().map(Op::count).sum::<usize>());
        prop_assert_eq!(alone.len(), small.len() + 1 + service.destinations.len());
        let sorted = |ops: &mut dyn Iterator<Item = &Op>| {
            let mut texts: Vec<String> = ops.map(|op| format!("{op:?}")).collect();
            texts.sort();
            texts
        };
        prop_assert_eq!(sorted(&mut alone.iter().filter(|op| !of_it(op))), sorted(&mut small.iter()));
        prop_assert_eq!(apply(&start, &alone)?.services, apply(&start, &ops)?.services);
    }
}
