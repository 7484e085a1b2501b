//! The way to a target as the real kernel tells it, in a network namespace of its own.
//!
//! Needs root (CAP_SYS_ADMIN for the namespace) and iproute2; without them the test fails and says so.

use std::net::IpAddr;
use std::process::Command;

use evenkeel_kernel::{Kernel, Way};
use nix::sched::{CloneFlags, unshare};

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split_whitespace()).output();
    let done = done.expect("this test needs iproute2's ip in the PATH");
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_way_is_the_kernels_and_an_interface_says_what_ails_it() {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)
            .expect("this test needs a network namespace: run it as root (CAP_SYS_ADMIN)");
        ip("link set lo up");
        ip("link add v0 type veth peer name v1");
        ip("address add 192.0.2.1/24 dev v0");
        ip("address add 2001:db8::1/64 dev v0 nodad");
        ip("link set v1 up");
        let mut kernel = Kernel::new().expect("a kernel");
        let mut way = |text: &str| kernel.way(address(text)).expect("an answer");
        assert_eq!(way("192.0.2.7"), None, "the interface is down: no route");
        ip("link set v0 up");
        ip("address replace 2001:db8::1/64 dev v0 nodad");
        ip("route add default via 192.0.2.254");
        ip("route add unreachable 198.51.100.1");
        ip("route add prohibit 198.51.100.2");
        ip("route add blackhole 198.51.100.3");
        let lo = Some(Way { interface: 1, direct: true, gateway: None });
        let near = way("192.0.2.7").expect("a way");
        assert!(near.direct);
        assert_eq!(way("2001:db8::7"), Some(near));
        let gateway = Some(address("192.0.2.254"));
        assert_eq!(way("203.0.113.7"), Some(Way { direct: false, gateway, ..near }));
        assert_eq!((way("192.0.2.1"), way("127.0.0.1")), (lo, lo), "the host's own");
        for nowhere in ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8:ffff::1"] {
            assert_eq!(way(nowhere), None, "{nowhere}");
        }
        let mut link = |index| kernel.link(index).expect("an answer");
        let found = link(near.interface).expect("v0");
        assert!((found.name == "v0") && found.up && found.carrier, "{found:?}");
        ip("link set v1 down");
        let found = link(near.interface).expect("v0");
        assert!(found.up && !found.carrier, "{found:?}");
        ip("link del v0");
        assert_eq!(link(near.interface), None);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
