//! What a host does without: objects that its kernel cannot have, told from what must be there. Values only.
//!
//! The law: **what the kernel has no means for costs itself and what is on it or in it, and nothing else.** A
//! module, an address family or a setting that this kernel does not know, or a value that it does not take,
//! will not come by waiting, and the other objects of the plan do not need it. So it is told, with what to
//! load, it is tried again with every look, and neither the election nor a hand-over waits for it. Two things
//! are not given up so easily:
//!
//! - Settings of ARP and forwarding ([`must_be_there`]): an address that comes without them makes this host
//!   answer for what is not its alone.
//! - A virtual router none of whose virtual servers is there is left to other directors: see
//!   [`crate::serving`].
//!
//! What fails for another reason (short of memory, something in the way, no right) is waited for as ever.

use std::collections::BTreeSet;

use crate::drift::{interface_of, is_arp};
use crate::ledger::IP_FORWARD;
use crate::naming::barred_by;
use crate::object::ObjectKey;
use crate::op::{Op, Phase};

/// Objects that are not as wanted after a pass, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shortfall {
    /// Objects that the kernel has no means for, but for those that follow.
    pub lacking: BTreeSet<ObjectKey>,
    /// Objects that are on or in one of those. They are not reported by themselves: the reason is the
    /// container's.
    pub following: BTreeSet<ObjectKey>,
    /// Whether anything else is still to be done.
    pub waits: bool,
}

/// Tells what remains apart: `remaining` are the operations that are still needed after a pass, `refused` the
/// objects for which the kernel said that it has no means.
#[must_use]
pub fn shortfall<'a>(
    remaining: impl Iterator<Item = &'a Op> + Clone,
    refused: &BTreeSet<ObjectKey>,
) -> Shortfall {
    let mut found = Shortfall::default();
    if refused.is_empty() {
        found.waits = remaining.clone().next().is_some();
        return found;
    }
    let own = |op: &Op| !must_be_there(op) && refused.contains(&ObjectKey::of(op));
    let all: BTreeSet<ObjectKey> = remaining.clone().filter(|op| own(op)).map(ObjectKey::of).collect();
    for op in remaining {
        if holder(op).is_some_and(|holder| all.contains(&holder)) {
            found.following.insert(ObjectKey::of(op));
        } else if own(op) {
            found.lacking.insert(ObjectKey::of(op));
        } else {
            found.waits = true;
        }
    }
    found
}

/// Whether the others wait while this operation fails, whatever the reason: what must go, what is put back,
/// forwarding, and what keeps this host from answering ARP for addresses that are not its alone.
#[must_use]
pub fn must_be_there(op: &Op) -> bool {
    match op {
        Op::DelLink { .. }
        | Op::SetLink(..)
        | Op::DelGue(_)
        | Op::DelAddress(_)
        | Op::DelRoute(..)
        | Op::DelRule(_)
        | Op::DelService(_)
        | Op::DelDestination(..)
        | Op::StopSync(_)
        | Op::SetSysctl { restore: true, .. }
        | Op::SetTimeouts { restore: true, .. } => true,
        // Without forwarding a host is no director, and writing it changes other settings.
        Op::SetSysctl { key, .. } => key == IP_FORWARD || is_arp(op, false),
        Op::AddLink(..)
        | Op::AddGue(_)
        | Op::AddAddress { .. }
        | Op::AddRoute { .. }
        | Op::AddRule { .. }
        | Op::AddService(..)
        | Op::SetService(..)
        | Op::AddDestination(..)
        | Op::SetDestination { .. }
        | Op::SetTimeouts { .. }
        | Op::StartSync(..) => false,
    }
}

/// Container of an operation's object.
fn holder(op: &Op) -> Option<ObjectKey> {
    match op {
        Op::AddDestination(service, ..) | Op::SetDestination { service, .. } => {
            Some(ObjectKey::Service(*service))
        }
        Op::AddAddress { key, .. } => Some(ObjectKey::Link(key.interface.clone())),
        Op::AddRoute { value, .. } => value.interface.clone().map(ObjectKey::Link),
        Op::SetSysctl { key, .. } => interface_of(key).map(|name| ObjectKey::Link(name.to_owned())),
        Op::StartSync(_, daemon) => Some(ObjectKey::Link(daemon.interface.clone())),
        _ => None,
    }
}

/// Phases of a pass that are left out, because an operation has failed whose promise they rely on
/// ([`Phase`]).
#[derive(Debug, Clone, Default)]
pub struct Bars {
    phases: BTreeSet<Phase>,
    lacking: BTreeSet<ObjectKey>,
}

impl Bars {
    /// Whether the phase is left out.
    #[must_use]
    pub fn bar(&self, phase: Phase) -> bool {
        self.phases.contains(&phase)
    }

    /// An operation has failed; `unsupported` when the kernel has no means for its object.
    pub fn failed(&mut self, op: &Op, unsupported: bool) {
        let without = unsupported && !must_be_there(op);
        if without {
            self.lacking.insert(ObjectKey::of(op));
        }
        // A setting of an interface that cannot be there protects nothing.
        if without || holder(op).is_some_and(|holder| self.lacking.contains(&holder)) {
            return;
        }
        self.phases.extend(barred_by(op.phase()));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{
        Address, AddressKey, Destination, DestinationKey, Forward, Link, LinkKind, Service, ServiceKey,
        Tunnel, TunnelMode,
    };
    use evenkeel_schemas::plan::Scope;

    fn service(port: u16) -> ServiceKey {
        ServiceKey::Transport { protocol: 6, address: [192, 0, 2, 1].into(), port }
    }

    fn add(port: u16) -> Op {
        Op::AddService(service(port), Service::plain("twos", false))
    }

    fn destination(port: u16) -> Op {
        let key = DestinationKey { address: [192, 0, 2, 7].into(), port };
        Op::AddDestination(service(port), key, Destination::plain(Forward::DirectRoute, 1))
    }

    fn set(key: &str) -> Op {
        Op::SetSysctl { key: key.to_owned(), value: "1".to_owned(), from: String::new(), restore: false }
    }

    fn tunnel(name: &str) -> Op {
        let end = Tunnel { mode: TunnelMode::Ipip, local: None, remote: None, checksum: false };
        Op::AddLink(name.to_owned(), Link::ours(LinkKind::Tunnel(end)))
    }

    fn address(interface: &str) -> Op {
        let address = "192.0.2.9/32".parse().expect("an address");
        let key = AddressKey { interface: interface.to_owned(), address };
        Op::AddAddress { key, value: Address::plain(Scope::Host), announce: false }
    }

    fn keys(ops: &[&Op]) -> BTreeSet<ObjectKey> {
        ops.iter().map(|op| ObjectKey::of(op)).collect()
    }

    #[test]
    fn one_service_costs_itself_and_its_destinations() {
        let ops = [add(80), destination(80)];
        let found = shortfall(ops.iter(), &keys(&[&ops[0]]));
        assert_eq!(found.lacking, keys(&[&ops[0]]));
        assert_eq!(found.following, keys(&[&ops[1]]));
        assert!(!found.waits);
        // Without IPVS both are refused.
        assert_eq!(shortfall(ops.iter(), &keys(&[&ops[0], &ops[1]])), found);
        // A destination that waits for another service lacks nothing itself.
        let ops = [add(80), destination(80), destination(81)];
        assert!(shortfall(ops.iter(), &keys(&[&ops[0]])).waits);
        // And so is a service that was refused for another reason.
        let ops = [add(80), add(81)];
        let found = shortfall(ops.iter(), &keys(&[&ops[0]]));
        assert!(found.waits && found.lacking == keys(&[&ops[0]]));
    }

    #[test]
    fn settings_cost_themselves_but_for_those_of_arp() {
        for key in [
            "net/ipv4/vs/conn_lfactor",
            "net/ipv6/conf/all/forwarding",
            "net/netfilter/nf_conntrack_max",
            "net/ipv4/tcp_of_tomorrow",
        ] {
            let op = set(key);
            assert!(!shortfall([&op].into_iter(), &keys(&[&op])).waits, "{key}");
            assert!(shortfall([&op].into_iter(), &BTreeSet::new()).waits, "{key}: for another reason");
        }
        for key in ["net/ipv4/conf/all/arp_ignore", "net/ipv4/conf/lo/arp_announce"] {
            let op = set(key);
            let found = shortfall([&op].into_iter(), &keys(&[&op]));
            assert!(found.waits && found.lacking.is_empty(), "{key}");
        }
    }

    #[test]
    fn objects_on_an_interface_that_cannot_be_made_follow_it() {
        let ops = [tunnel("ek-ipip"), address("ek-ipip"), set("net/ipv4/conf/ek-ipip/arp_ignore")];
        let found = shortfall(ops.iter(), &keys(&[&ops[0]]));
        assert_eq!((found.lacking.len(), found.following.len(), found.waits), (1, 2, false));
        let ops = [tunnel("ek-ipip"), address("lo")];
        assert!(shortfall(ops.iter(), &keys(&[&ops[0]])).waits);
    }

    #[test]
    fn removals_are_waited_for() {
        let op = Op::DelAddress(AddressKey {
            interface: "lo".to_owned(),
            address: "192.0.2.9/32".parse().expect("an address"),
        });
        assert!(shortfall([&op].into_iter(), &keys(&[&op])).waits);
    }

    #[test]
    fn addresses_wait_for_settings_of_arp_and_for_no_others_that_the_kernel_lacks() {
        let barred = |failures: &[(Op, bool)]| {
            let mut bars = Bars::default();
            failures.iter().for_each(|(op, unsupported)| bars.failed(op, *unsupported));
            [Phase::Links, Phase::Reap].map(|phase| bars.bar(phase))
        };
        assert_eq!(barred(&[(set("net/ipv4/vs/conn_max"), true)]), [false, false]);
        assert_eq!(barred(&[(set("net/ipv4/vs/conn_max"), false)]), [true, false]);
        assert_eq!(barred(&[(set("net/ipv4/conf/all/arp_ignore"), true)]), [true, false]);
        let of_lacking = set("net/ipv4/conf/ek-ipip/arp_ignore");
        assert_eq!(barred(&[(of_lacking.clone(), false)]), [true, false]);
        assert_eq!(barred(&[(tunnel("ek-ipip"), true), (of_lacking, false)]), [false, false]);
        let retract = Op::DelRule(crate::model::RuleKey {
            v6: false,
            preference: 1,
            from: None,
            to: None,
            iif: None,
            mark: None,
            table: 1,
        });
        assert_eq!(barred(&[(retract, true)]), [false, true]);
    }

    proptest::proptest! {
        /// No operation is forgotten, whatever is refused, and one is waited for exactly when it is neither
        /// lacking nor follows.
        #[test]
        fn everything_that_remains_is_one_of_three(
            picks in proptest::collection::vec((0_u16..4, 0_u8..5, proptest::bool::ANY), 0..20),
        ) {
            let mut ops: BTreeMap<ObjectKey, (Op, bool)> = BTreeMap::new();
            for (n, kind, refused) in picks {
                let op = match kind {
                    0 => add(n),
                    1 => destination(n),
                    2 => set(&format!("net/ipv4/vs/s{n}")),
                    3 => set(&format!("net/ipv4/conf/t{n}/arp_ignore")),
                    _ => tunnel(&format!("t{n}")),
                };
                ops.insert(ObjectKey::of(&op), (op, refused));
            }
            let refused: BTreeSet<ObjectKey> =
                ops.iter().filter(|(_, (_, refused))| *refused).map(|(key, _)| key.clone()).collect();
            let found = shortfall(ops.values().map(|(op, _)| op), &refused);
            proptest::prop_assert!(found.lacking.is_subset(&refused));
            proptest::prop_assert!(found.lacking.is_disjoint(&found.following));
            let told = found.lacking.len() + found.following.len();
            proptest::prop_assert_eq!(found.waits, told < ops.len());
            for (key, (op, refused)) in &ops {
                if *refused && !must_be_there(op) {
                    proptest::prop_assert!(found.lacking.contains(key) || found.following.contains(key));
                }
            }
        }
    }
}
