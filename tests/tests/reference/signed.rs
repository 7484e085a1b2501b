//! HMAC on advertisements between two directors: switched on, a key changed, and switched off again, without
//! an election; and a host that forges the advertisements of both.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lab::{Daemons, Forged, LogEvent, Reference, eventually, guest, mark};

use crate::support::{DIR1, PATIENCE, steady_client};

const VIP: Ipv4Addr = Ipv4Addr::new(192, 168, 188, 120);
const DIR2: Ipv4Addr = Ipv4Addr::new(192, 168, 188, 109);
/// Bytes of a trailer.
const TRAILER: usize = 28;
/// Some advertisements of the Master.
const A_WHILE: Duration = Duration::from_secs(3);

/// The example's cluster file with this authentication, as version 3.
fn with(auth: &str) -> String {
    let text = Reference::cluster_file();
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("version = 2")).collect();
    let at = lines.iter().position(|line| line.starts_with("auth = ")).expect("the example's password");
    lines[at] = auth;
    lines.join("\n") + "\n"
}

fn hmac(keys: &[(u8, &str)], active: u8, mode: &str) -> String {
    let keys: Vec<String> = keys.iter().map(|(id, file)| format!("{id} = {{ file = \"{file}\" }}")).collect();
    let keys = keys.join(", ");
    with(&format!("auth = {{ type = \"hmac\", keys = {{ {keys} }}, active = {active}, mode = \"{mode}\" }}"))
}

fn rejected(reference: &Reference<'_>, kind: &str) -> u64 {
    let router = reference.plans.router(&reference.hosts.dir2, "VI_1");
    router["counters"]["rejected"][kind].as_u64().unwrap_or_default()
}

/// Gives both directors a cluster file. Nobody becomes Master by it, and no advertisement is rejected.
fn changes(reference: &Reference<'_>, daemons: &Daemons, what: &str, text: &str) {
    let router = || reference.plans.router(&reference.hosts.dir2, "VI_1");
    let before = lab::rejected(&router());
    let changed = mark();
    reference.compile_text(text);
    for daemon in [&daemons.dir1, &daemons.dir2] {
        daemon.wait_told_since(changed, LogEvent::Converged, PATIENCE);
    }
    // An election that is not to be has this long to be seen.
    std::thread::sleep(A_WHILE);
    assert_eq!(daemons.dir2.count_since(changed, LogEvent::Master), 0, "{what}: {}", daemons.dir2.log());
    let router = router();
    let found = (&router["state"], lab::rejected(&router));
    assert_eq!(found, (&"backup".into(), before), "{what}: {router}");
}

#[test]
fn keys_come_change_and_go_without_an_election_and_a_forger_moves_nothing() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let key = |name: &str, text: &str| lab.write(name, text).display().to_string();
        let first = key("one.key", "a first key of thirty-two bytes!\n");
        let second = key("two.key", &format!("hex:{}\n", "0123456789abcdef".repeat(4)));
        reference.compile_text(&with(""));
        let daemons = reference.serving();
        let client = steady_client(&reference);
        let capture = lab.capture_vrrp();
        let begun = mark();
        let lengths = || {
            let last = capture.from(DIR1);
            last.last().map(|record| record.what.bytes.len()).unwrap_or_default()
        };
        let bare = {
            eventually(PATIENCE, "dir1 advertises", || lengths() > 0);
            lengths()
        };

        let one: &[(u8, &str)] = &[(1, &first)];
        changes(&reference, &daemons, "receive only", &hmac(one, 1, "receive_only"));
        assert_eq!(lengths(), bare, "no trailer is sent");
        changes(&reference, &daemons, "permissive", &hmac(one, 1, "permissive"));
        assert_eq!(lengths(), bare + TRAILER, "a trailer is sent");
        changes(&reference, &daemons, "enforce", &hmac(one, 1, "enforce"));
        let both: &[(u8, &str)] = &[(1, &first), (2, &second)];
        changes(&reference, &daemons, "another key", &hmac(both, 1, "enforce"));
        changes(&reference, &daemons, "the other one is active", &hmac(both, 2, "enforce"));
        changes(&reference, &daemons, "the first one goes", &hmac(&both[1..], 2, "enforce"));
        let verified =
            reference.plans.router(&reference.hosts.dir2, "VI_1")["counters"]["hmac_verified"].as_u64();
        assert!(verified >= Some(3), "{verified:?}");

        assert!(client.errors_since(begun).is_empty(), "{:?}", client.errors_since(begun));

        // A host that says it is dir1, and one that sends what dir1 has sent.
        let stranger = lab.host("stranger", "192.168.188.199/24");
        // It forges advertisements only, and answers no ARP.
        stranger.set_sysctl("net.ipv4.conf.all.arp_ignore", 8);
        for address in ["192.168.188.108/24", "192.168.188.109/24"] {
            stranger.add_address("eth0", address);
        }
        let forged = Forged { vrid: 51, priority: 255, vips: vec![VIP], ..Forged::default() };
        let IpAddr::V4(dir1) = DIR1 else { unreachable!("an address of IPv4") };
        let attacked = mark();
        stranger.flood(dir1, &forged, 50, Duration::from_secs(2));
        assert!(
            rejected(&reference, "hmac_missing") > 50,
            "{}",
            reference.plans.status(&reference.hosts.dir2)
        );
        stranger.flood(DIR2, &forged, 50, Duration::from_secs(2));
        for daemon in [&daemons.dir1, &daemons.dir2] {
            for event in [LogEvent::Master, LogEvent::Backup] {
                assert_eq!(daemon.count_since(attacked, event), 0, "{}", daemon.log());
            }
        }

        changes(&reference, &daemons, "permissive again", &hmac(&both[1..], 2, "permissive"));
        changes(&reference, &daemons, "receive only again", &hmac(&both[1..], 2, "receive_only"));
        changes(&reference, &daemons, "no keys", &with(""));
        assert_eq!(lengths(), bare, "no trailer is sent any more");
        assert!(client.errors_since(begun).is_empty(), "{:?}", client.errors_since(begun));
    });
}
