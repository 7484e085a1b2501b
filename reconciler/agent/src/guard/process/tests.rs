//! The guardian in a directory of its own, with an imagined kernel and time as the tests want it.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::guard::Guardian;

/// A host with addresses that may refuse to let them go.
#[derive(Clone, Default)]
struct Host(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    addresses: BTreeSet<AddressKey>,
    services: BTreeSet<ServiceKey>,
    refuses: bool,
    attempts: usize,
}

impl Addresses for Host {
    fn present(&mut self, addresses: &[AddressKey]) -> io::Result<Vec<AddressKey>> {
        let inner = self.0.borrow();
        Ok(addresses.iter().filter(|key| inner.addresses.contains(key)).cloned().collect())
    }

    fn remove(&mut self, addresses: &[AddressKey]) -> io::Result<usize> {
        let present = self.present(addresses)?;
        let mut inner = self.0.borrow_mut();
        inner.attempts += 1;
        if inner.refuses {
            return Err(io::Error::other("Operation not permitted"));
        }
        inner.addresses.retain(|key| !present.contains(key));
        Ok(present.len())
    }

    fn remove_services(&mut self, services: &[ServiceKey]) -> io::Result<()> {
        self.0.borrow_mut().services.retain(|key| !services.contains(key));
        Ok(())
    }
}

impl Host {
    fn with(addresses: &[AddressKey]) -> Self {
        let inner = Inner { addresses: addresses.iter().cloned().collect(), ..Inner::default() };
        Self(Rc::new(RefCell::new(inner)))
    }

    fn has(&self, address: &AddressKey) -> bool {
        self.0.borrow().addresses.contains(address)
    }
}

fn vip(last: u8) -> AddressKey {
    let address = format!("192.0.2.{last}/32").parse().expect("address");
    AddressKey { interface: "eth0".to_owned(), address }
}

fn lease(addresses: &[AddressKey], until: MonoTime) -> Lease {
    Lease { router: "eth0 IPv4 VRID 51".to_owned(), addresses: addresses.to_vec(), until }
}

fn seconds(seconds: u64) -> MonoTime {
    clock::now() + Duration::from_secs(seconds)
}

/// Connects while the guardian takes its turns.
fn connect(process: &mut Process<Host>, now: MonoTime) -> (Guardian, Vec<Lease>) {
    let path = process.path.clone();
    let caller = std::thread::spawn(move || Guardian::try_connect(&path).ok().expect("connect"));
    while !caller.is_finished() {
        assert!(process.turn(now));
        std::thread::sleep(Duration::from_millis(1));
    }
    let (daemon, leases, protocol) = caller.join().expect("connected");
    assert_eq!(protocol, PROTOCOL);
    daemon.name_vips(vec![vip(1)], false).expect("named");
    (daemon, leases)
}

#[test]
fn a_renewed_lease_holds_and_another_one_ends() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let (vip, now) = (vip(1), clock::now());
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, leases) = connect(&mut process, now);
    assert_eq!(leases, []);
    daemon.take(lease(std::slice::from_ref(&vip), seconds(3))).expect("lease");
    assert!(process.turn(seconds(2)));
    // Hung from here on: the renewal lies unread when the old lease is over.
    daemon.take(lease(std::slice::from_ref(&vip), seconds(6))).expect("renewal");
    assert!(process.turn(seconds(4)));
    assert!(host.has(&vip));
    // Killed: a daemon that comes back in time gets the lease.
    drop(daemon);
    let (daemon, leases) = connect(&mut process, seconds(4));
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].addresses, std::slice::from_ref(&vip));
    drop(daemon);
    assert!(!process.turn(seconds(7)), "nothing is left to guard");
    assert!(!host.has(&vip));
}

#[test]
fn a_released_lease_is_not_acted_on() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    daemon.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    daemon.release("eth0 IPv4 VRID 51").expect("release");
    assert!(process.turn(seconds(2)));
    assert!(host.has(&vip));
    assert_eq!(host.0.borrow().attempts, 0);
}

#[test]
fn a_vip_that_cannot_be_removed_is_retried_without_a_daemon() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let (vip, mut now) = (vip(1), clock::now());
    let host = Host::with(std::slice::from_ref(&vip));
    host.0.borrow_mut().refuses = true;
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, now);
    // What a daemon says that stops and could not remove it either.
    daemon.take(lease(std::slice::from_ref(&vip), now)).expect("lease");
    drop(daemon);
    for _ in 0..5 {
        assert!(process.turn(now));
        now = now + RETRY;
    }
    assert_eq!(host.0.borrow().attempts, 5);
    host.0.borrow_mut().refuses = false;
    assert!(!process.turn(now));
    assert!(!host.has(&vip));
}

#[test]
fn a_guardian_that_hung_and_was_replaced_leaves_the_vips_alone() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut hung = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut hung, clock::now());
    daemon.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    assert!(hung.turn(clock::now()));
    drop(daemon);
    let mut successor = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("successor");
    let (daemon, _) = connect(&mut successor, clock::now());
    daemon.take(lease(std::slice::from_ref(&vip), seconds(100))).expect("lease");
    assert!(!hung.turn(seconds(10)), "it ends");
    assert!(host.has(&vip));
    assert!(successor.turn(seconds(10)));
    assert!(successor.path.exists());
}

#[test]
fn a_guardian_whose_socket_was_removed_still_guards() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    daemon.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    assert!(process.turn(clock::now()));
    std::fs::remove_file(&process.path).expect("remove");
    drop(daemon);
    assert!(!process.turn(seconds(2)), "nothing is left to guard");
    assert!(!host.has(&vip));
}

#[test]
fn a_daemon_may_connect_anew_before_it_leaves_its_old_connection() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (old, _) = connect(&mut process, clock::now());
    old.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    let (new, leases) = connect(&mut process, clock::now());
    assert_eq!(leases.len(), 1, "what the old connection said was read first");
    old.take(lease(std::slice::from_ref(&vip), seconds(2))).expect("the old connection is still there");
    drop(old);
    new.take(lease(std::slice::from_ref(&vip), seconds(3))).expect("lease");
    assert!(process.turn(seconds(2)));
    assert!(host.has(&vip));
    assert_eq!(process.daemons.len(), 1);
}

#[test]
fn services_of_a_master_go_a_second_after_its_vips_unless_the_lease_is_renewed() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let (vip, service) = (vip(1), |mark| ServiceKey::Mark { v6: false, mark });
    let host = Host::with(std::slice::from_ref(&vip));
    host.0.borrow_mut().services.extend([1, 2, 3].map(service));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    let router = "eth0 IPv4 VRID 51".to_owned();
    let bound = |mark, more| Bound { router: router.clone(), services: vec![service(mark)], more };
    daemon.bind(bound(3, false)).expect("room");
    daemon.bind(bound(1, false)).expect("room");
    daemon.bind(bound(2, true)).expect("room");
    let left = || host.0.borrow().services.len();

    // Late, and Master all the same.
    daemon.take(lease(std::slice::from_ref(&vip), seconds(3))).expect("lease");
    assert!(process.turn(seconds(2)) && process.turn(seconds(4)));
    assert!(!host.has(&vip));
    daemon.renew(BTreeMap::from([(router.clone(), seconds(6))])).expect("renewal");
    assert!(process.turn(seconds(4)) && process.turn(seconds(5)));
    assert_eq!(left(), 3);

    // Killed.
    drop(daemon);
    assert!(process.turn(seconds(7)), "there is something to do still");
    assert_eq!(left(), 3);
    assert!(!process.turn(seconds(9)), "nothing is left to guard");
    assert_eq!(host.0.borrow().services, BTreeSet::from([service(3)]), "what was said last counts");
}

#[test]
fn an_address_that_is_no_vip_of_the_plan_is_never_removed() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let (ours, hosts) = (vip(1), vip(108));
    let host = Host::with(&[ours.clone(), hosts.clone()]);
    let service =
        |last: u8| ServiceKey::Transport { protocol: 6, address: vip(last).address.address(), port: 80 };
    host.0.borrow_mut().services.extend([service(1), service(108)]);
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    let named = |router: &str, addresses: &[AddressKey]| Lease {
        router: router.to_owned(),
        ..lease(addresses, clock::now())
    };
    let bound = |router: &str, last: u8| Bound {
        router: router.to_owned(),
        services: vec![service(last)],
        more: false,
    };
    daemon.bind(bound("VRID 51", 108)).expect("room");
    daemon.bind(bound("VRID 52", 1)).expect("room");
    // Alone, or among others.
    daemon.take(named("VRID 51", std::slice::from_ref(&hosts))).expect("room");
    daemon.take(named("VRID 53", &[ours.clone(), hosts.clone()])).expect("room");
    let elsewhere = AddressKey { interface: "lo".to_owned(), ..ours.clone() };
    daemon.take(named("VRID 54", std::slice::from_ref(&elsewhere))).expect("room");
    assert!(process.turn(seconds(1)) && process.turn(seconds(9)));
    assert_eq!(host.0.borrow().attempts, 0);
    daemon.take(named("VRID 52", std::slice::from_ref(&ours))).expect("room");
    assert!(process.turn(seconds(10)) && process.turn(seconds(19)));
    assert!(!host.has(&ours) && host.has(&hosts));
    assert_eq!(host.0.borrow().services, BTreeSet::from([service(108)]));

    // Services of others do not go with a VIP of ours either, alone or among others.
    host.0.borrow_mut().addresses.insert(ours.clone());
    let both = Bound { services: vec![service(1), service(108)], ..bound("VRID 55", 1) };
    daemon.bind(both).expect("room");
    daemon.take(named("VRID 55", std::slice::from_ref(&ours))).expect("room");
    assert!(process.turn(seconds(20)) && process.turn(seconds(29)));
    assert!(!host.has(&ours));
    assert_eq!(host.0.borrow().services, BTreeSet::from([service(108)]));

    // The last word counts.
    daemon.name_vips(vec![vip(2)], false).expect("named");
    daemon.take(named("VRID 52", std::slice::from_ref(&ours))).expect("room");
    assert!(process.turn(seconds(20)));
    assert_eq!((host.0.borrow().attempts, process.leases.len()), (2, 0));
}

/// A socket that everybody may call, as it was with a loose umask.
#[test]
fn a_peer_of_another_user_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let scratch = tempfile::tempdir().expect("tempdir");
    let path = scratch.path().join("guard.sock");
    let mut process = Process::new(&path, Host::with(&[vip(1)])).expect("guardian");
    for path in [scratch.path(), &path] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("open to all");
    }
    let call = || {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
        socket.connect(&socket2::SockAddr::unix(&path).expect("path")).expect("called");
        socket
    };
    let stranger = crate::system::private_socket::tests::as_a_stranger(call);
    assert!(process.turn(clock::now()));
    assert_eq!(process.daemons.len(), 0);
    let _ours = call();
    assert!(process.turn(clock::now()));
    assert_eq!(process.daemons.len(), 1);
    drop(stranger);
}

#[test]
fn each_beat_is_answered_and_a_guardian_that_is_to_leave_does_nothing_more() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    assert_eq!(daemon.answered().expect("there"), None);
    for number in [1, 2] {
        daemon.beat(number).expect("room");
    }
    assert!(process.turn(clock::now()));
    assert_eq!(daemon.answered().expect("there"), Some(2));
    daemon.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    assert!(process.turn(clock::now()));
    // It hung; its daemon has given it up, and has not got another one yet.
    assert!(daemon.end());
    drop(daemon);
    assert!(!process.turn(seconds(9)));
    assert!(host.has(&vip));
    process.run().expect("ends");
    assert!(scratch.path().join("guard.sock").exists(), "what is there may be its successor's");
}

/// Whoever else was found to be the guardian since: also while the daemon that took the leases is still
/// connected.
#[test]
fn a_lease_that_runs_out_is_left_to_a_successor() {
    let scratch = tempfile::tempdir().expect("tempdir");
    let vip = vip(1);
    let host = Host::with(std::slice::from_ref(&vip));
    let mut process = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("guardian");
    let (daemon, _) = connect(&mut process, clock::now());
    daemon.take(lease(std::slice::from_ref(&vip), seconds(1))).expect("lease");
    assert!(process.turn(clock::now()));
    let successor = Process::new(&scratch.path().join("guard.sock"), host.clone()).expect("successor");
    assert!(process.turn(clock::now()), "there is nothing to do yet");
    assert!(!process.turn(seconds(2)));
    assert!(host.has(&vip));
    drop((daemon, successor));
}
