//! A VIP is where a director can speak for it: Masters that cannot send, guardians that hang, and what a
//! daemon that comes back takes over.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lab::{Host, LogEvent, Reference, eventually, guest, mark};
use nix::sys::stat::{Mode, umask};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::support::{DIR1, MASTER_DOWN, PATIENCE, SKEW, TOLERANCE, find_guardian, steady_client, watch};

/// dir1's own address, which its advertisements come from.
const SOURCE: &str = "192.168.188.108/24";

#[test]
fn a_master_that_loses_its_source_address_hands_over_at_once_and_takes_its_place_when_it_is_back() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let adverts = lab.capture_vrrp();
        let vip = watch(&reference);
        let client = steady_client(&reference);

        let lost = mark();
        dir1.delete_address("eth0", SOURCE);
        let took = vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        adverts.wait(PATIENCE, |advert| {
            advert.at > lost && advert.what.source == DIR1 && advert.what.priority == 0
        });
        client.wait_ok(PATIENCE);
        let gap = client.gap_since(lost);
        lab.log(format!("source gone: dir2 alone had the VIP after {took:?}, client gap {gap:?}"));
        lab.assert_within("client gap", gap, SKEW + TOLERANCE, lost);
        let line = daemons.dir1.wait_told_since(lost, LogEvent::Fault, PATIENCE);
        lab.assert_within("told", line.at - lost, SKEW, lost);

        // It stays so, quietly.
        std::thread::sleep(Duration::from_secs(8));
        assert_eq!(vip.holders(), ["dir2"]);
        lab.assert_within("VIP on both", vip.both_since(lost), TOLERANCE, lost);
        let status = reference.status(dir1);
        assert_eq!(status["routers"][0]["reason"], "source address is not on the interface", "{status}");
        let said = daemons.dir1.lines_since(lost);
        assert!(said.len() < 12, "{said:#?}");

        let healed = mark();
        dir1.add_address("eth0", SOURCE);
        let took = vip.wait_holder(dir1, PATIENCE);
        client.wait_ok(PATIENCE);
        lab.log(format!("source back: dir1 alone had the VIP after {took:?}"));
        lab.assert_within("VIP back", healed.elapsed(), MASTER_DOWN + TOLERANCE, healed);
        lab.assert_within("VIP on both", vip.both_since(healed), TOLERANCE, healed);

        // The same where any address may be used as a source, as load balancers often have it.
        dir1.set_sysctl("net.ipv4.ip_nonlocal_bind", 1);
        let lost = mark();
        dir1.delete_address("eth0", SOURCE);
        vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        lab.assert_within("handed over", lost.elapsed(), SKEW + TOLERANCE, lost);
    });
}

/// A policy of the host, here IPsec's, refuses advertisements, and nothing else.
#[test]
fn a_master_that_is_not_let_send_gives_up_before_its_lease_ends_and_waits_before_it_tries_again() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let vip = watch(&reference);
        let client = steady_client(&reference);

        let blocked = mark();
        policy(dir1, "add");
        vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        let (both, gap) = (vip.both_since(blocked), client.gap_since(blocked));
        lab.log(format!("advertisements refused: on both for {both:?}, client gap {gap:?}"));
        lab.assert_within("VIP on both", both, TOLERANCE, blocked);
        // It served for as long as nobody else could.
        lab.assert_within("client gap", gap, TOLERANCE, blocked);
        std::thread::sleep(Duration::from_secs(10));
        assert_eq!(vip.holders(), ["dir2"]);
        let status = reference.status(dir1);
        assert_eq!(status["routers"][0]["reason"], "socket fails", "{status}");
        let said = daemons.dir1.lines_since(blocked);
        let complaints = said.iter().filter(|line| line.is(LogEvent::CannotSend)).count();
        assert_eq!(complaints, 1, "{said:#?}");
        // The guardian comes 30 ms after the daemon. Where the guest stood still, both were late, and either
        // may be first.
        if let Some(line) = said.iter().find(|line| line.is(LogEvent::LeaseRanOut)) {
            let lost = lab.pulse().lost_between(line.at - Duration::from_millis(500), line.at);
            assert!(lost > Duration::from_millis(5), "the guest lost {lost:?}: {said:#?}");
        }

        policy(dir1, "delete");
        vip.wait_holder(dir1, Duration::from_secs(60));
        lab.log(format!("allowed again: dir1 had the VIP {:?} after it lost the right", blocked.elapsed()));
        lab.assert_within("VIP on both", vip.both_since(blocked), TOLERANCE, blocked);
    });
}

fn policy(host: &Host, what: &str) {
    let selector = ["src", "0.0.0.0/0", "dst", "224.0.0.18/32", "dir", "out"];
    let action: &[&str] = if what == "add" { &["action", "block"] } else { &[] };
    host.run([&["ip", "xfrm", "policy", what], &selector[..], action].concat());
}

#[test]
fn a_guardian_that_hangs_is_told_and_replaced_and_strangers_are_not_heard() {
    guest(|lab| {
        let reference = Reference::new(lab);
        // A loose one, as some start scripts leave it; daemons inherit it.
        let strict = umask(Mode::empty());
        let daemons = reference.serving();
        umask(strict);
        let dir1 = &reference.hosts.dir1;
        let vip = watch(&reference);
        let guardian = find_guardian(&reference, daemons.dir1.pid()).expect("a guardian");
        // All that it may do is to change addresses (CAP_NET_ADMIN, bit 12).
        let status = lab.run(["cat", &format!("/proc/{guardian}/status")]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let held =
                if matches!(set, "CapInh" | "CapAmb") { "0000000000000000" } else { "0000000000001000" };
            assert!(status.contains(&format!("{set}:\t{held}")), "{status}");
        }
        let socket = dir1.scratch().join("evenkeeld.sock.guard");
        for socket in [&socket, &dir1.scratch().join("evenkeeld.sock")] {
            let mode = std::fs::metadata(socket).expect("a socket").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", socket.display());
        }

        // Who names no plan names no VIP, root or not: not even the VIP goes, and what the host itself has
        // does not at all.
        for address in [SOURCE, "192.168.188.120/32"] {
            let stranger = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
            stranger.connect(&SockAddr::unix(&socket).expect("a path")).expect("connected");
            let lease = format!(
                r#"{{"lease":{{"router":"x","addresses":[{{"interface":"eth0","address":"{address}"}}],"until":1}}}}"#
            );
            stranger.send(lease.as_bytes()).expect("sent");
            std::thread::sleep(Duration::from_secs(1));
            assert!(
                dir1.has_address("eth0", "192.168.188.108") && dir1.has_address("eth0", reference.hosts.vip)
            );
        }
        let refused = LogEvent::LeaseRefused.of("x").with("vip", "192.168.188.108/24 on eth0");
        daemons.dir1.wait_told(refused, PATIENCE);
        assert_eq!(vip.holders(), ["dir1"]);

        let hung = mark();
        lab.run(["kill", "-STOP", &guardian]);
        // On a busy machine there may be another one before status is asked.
        let replaced = || daemons.dir1.count_since(hung, LogEvent::GuardianThere) > 0;
        eventually(PATIENCE, "it is not guarded", || {
            reference.status(dir1)["guarded"] == false || replaced()
        });
        let line = daemons.dir1.wait_told_since(hung, LogEvent::GuardianHung, PATIENCE);
        lab.log(format!("told after {:?}", line.at - hung));
        lab.assert_within("told", line.at - hung, Duration::from_secs(2), hung);
        let again = daemons.dir1.wait_told_since(hung, LogEvent::GuardianThere, PATIENCE);
        lab.log(format!("guarded again after {:?}", again.at - hung));
        eventually(PATIENCE, "it is guarded again", || reference.status(dir1)["guarded"] == true);
        let next = find_guardian(&reference, daemons.dir1.pid()).expect("another guardian");
        assert_ne!(next, guardian);
        // It is dead, not only stopped: nothing of what it knew is done any more.
        eventually(PATIENCE, "the one that hung is gone", || {
            !lab.output(["kill", "-0", &guardian]).status.success()
        });
        // Longer than a lease.
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(vip.none_since(hung), Duration::ZERO, "the VIP went");
        assert_eq!(vip.holders(), ["dir1"]);
        assert_eq!(find_guardian(&reference, daemons.dir1.pid()), Some(next), "one is enough");
        // And the new one knows what it guards.
        let killed = mark();
        daemons.dir1.kill9();
        vip.wait_holder(&reference.hosts.dir2, PATIENCE);
        lab.assert_within("VIP on both", vip.both_since(killed), TOLERANCE, killed);
    });
}

#[test]
fn a_guardian_that_hung_and_was_replaced_leaves_the_vip_alone() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let vip = watch(&reference);
        let old = find_guardian(&reference, daemons.dir1.pid()).expect("a guardian");
        lab.run(["kill", "-STOP", &old]);
        daemons.dir1.kill9();
        let again = reference.start(dir1);
        vip.wait_holder(dir1, PATIENCE);
        again.wait_told(LogEvent::Master, PATIENCE);
        std::thread::sleep(Duration::from_secs(1));
        let new = find_guardian(&reference, again.pid()).expect("a new guardian");
        assert_ne!(new, old);
        let resumed = mark();
        // The next daemon has ended it for good.
        lab.output(["kill", "-CONT", &old]);
        eventually(PATIENCE, "the old guardian is gone", || {
            !lab.output(["kill", "-0", &old]).status.success()
        });
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(vip.none_since(resumed), Duration::ZERO, "the VIP went");
        assert_eq!(vip.holders(), ["dir1"]);
        assert!(again.is_running());
        assert_eq!(find_guardian(&reference, again.pid()), Some(new));
    });
}

/// Two routers, and a plan that has changed meanwhile: what was served goes on untouched, what is new waits
/// until it can be served.
#[test]
fn a_killed_master_of_two_routers_goes_on_with_both_and_adds_what_is_new_once_it_is_served() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let two = Reference::cluster_file().replace("[services.web]", &format!("{SECOND}\n[services.web]"));
        reference.compile_text(&two);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        eventually(PATIENCE, "dir1 is Master of both", || dir1.has_address("eth0", "192.168.188.121"));
        let first = watch(&reference);
        let second = lab.watch_vip("192.168.188.121", &[dir1, &reference.hosts.dir2], "eth0");
        std::thread::sleep(Duration::from_secs(2));
        let requests = dir1.netlink_capture();

        let three = two
            .replace("vips = [\"192.168.188.120\"]", "vips = [\"192.168.188.120\", \"192.168.188.122\"]")
            .replace("router = \"VI_1\"", "router = \"VI_1\"\nvip = \"192.168.188.120\"");
        // Compiled before, since a lease does not wait for a compiler.
        let next = lab.plans("next");
        next.compile_text(&format!("{three}\n{THIRD}"));
        let killed = mark();
        daemons.dir1.kill9();
        for file in ["dir1.secrets.toml", "dir1.plan.toml"] {
            let bytes = std::fs::read(next.directory().join(file)).expect("compiled");
            lab.write(format!("plans/{file}"), bytes);
        }
        let again = reference.start(dir1);
        again.wait_told(LogEvent::WasMaster, PATIENCE);
        eventually(PATIENCE, "the new VIP is there", || dir1.has_address("eth0", "192.168.188.122"));
        requests.wait(killed, "RTM_NEWADDR", PATIENCE);
        let changes = requests.changes_since(killed);
        lab.log(format!("changed: {changes:?}"));
        let served = changes.iter().rposition(|name| name == "IPVS NEW_DEST").expect("destinations");
        let announced: Vec<usize> =
            (0..changes.len()).filter(|index| changes[*index] == "RTM_NEWADDR").collect();
        assert!(announced.len() == 1 && announced[0] > served, "{changes:?}");
        assert!(!changes.contains(&"RTM_DELADDR".to_owned()), "{changes:?}");
        for vip in [&first, &second] {
            assert_eq!(vip.none_since(killed), Duration::ZERO, "the VIP went");
            assert_eq!(vip.both_since(killed), Duration::ZERO, "the VIP was on both");
        }
    });
}

const SECOND: &str = r#"
[virtual_routers.VI_2]
vrid = 52
vips = ["192.168.188.121"]
directors = ["dir1", "dir2"]

[services.second]
router = "VI_2"
protocol = "tcp"
port = 80
forwarding = "dr"
real_servers = [{ host = "rs1" }]
"#;

const THIRD: &str = r#"
[services.third]
router = "VI_1"
vip = "192.168.188.122"
protocol = "tcp"
port = 80
forwarding = "dr"
real_servers = [{ host = "rs1" }, { host = "rs2" }]
"#;
