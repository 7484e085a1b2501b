//! A take-over without effect, run once after the start: no page of the real one has to be read from a disk,
//! or mapped, at the moment that matters.
//!
//! No packet is sent, and the kernel is asked to change nothing.

use std::time::Duration;

use evenkeel_kernel::Kernel;
use evenkeel_schemas::time::MonoTime;
use evenkeel_vrrp::{Election, Input, Member, Output, Received};

use super::RouterSetup;
use super::sockets::frames;

/// Longer than the master-down interval of any Backup.
const LONG: Duration = Duration::from_secs(200);

/// Rehearses the take-over of a router like this one. Takes a fraction of a millisecond.
pub(super) fn run(like: &RouterSetup, kernel: &mut Kernel) {
    take_over(like);
    kernel.rehearse();
}

/// Lets a router go from Backup to Master and back, with another one that hears it as Backup. Returns how
/// many packets would have been sent.
fn take_over(like: &RouterSetup) -> usize {
    let member =
        Member { key: like.key.clone(), name: like.name.clone(), group: None, config: like.config.clone() };
    let [mut master, mut backup] = [(); 2].map(|()| {
        let mut election = Election::new();
        election.configure(vec![member.clone()], MonoTime::ZERO);
        election.handle(&like.key, Input::Startup, MonoTime::ZERO);
        election
    });
    let now = MonoTime::ZERO + LONG;
    master.handle_timers(now);
    master.handle_masters(now + LONG);
    master.handle(&like.key, Input::Handover, now + LONG);
    // Longer than a Master leaves.
    master.handle_masters(now + LONG * 2);
    let mut packets = 0;
    while let Some((_, output)) = master.poll_output() {
        match output {
            Output::Transmit { bytes, src, dst, ttl, .. } => {
                packets += 1;
                let received = Received { payload: &bytes, src, dst, ttl };
                backup.handle_packet(&like.key.interface, received, MonoTime::ZERO);
            }
            Output::Announce { .. } => {
                packets += like.vips.len();
                for vip in like.vips.keys() {
                    std::hint::black_box(frames::announcement([2; 6], vip.address.address(), false));
                }
            }
            Output::StateChanged { .. } | Output::Event(_) => {}
        }
    }
    while backup.poll_output().is_some() {}
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::read::plain_tests::ALL;

    #[test]
    fn every_kind_of_router_can_be_rehearsed() {
        let plan = evenkeel_schemas::plain::plan(ALL).expect("a plan");
        assert!(!plan.routers.is_empty());
        for router in &plan.routers {
            let setup = RouterSetup::new(router, &[], None, false).expect("a router");
            let packets = take_over(&setup);
            assert!(packets > setup.vips.len(), "{}: {packets}", setup.name);
        }
        Kernel::new().expect("netlink").rehearse();
    }
}
