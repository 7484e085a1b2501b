//! A real server: VIPs on `lo`, their routes, ARP settings, tunnels' ends. It must never answer ARP for a
//! VIP.

use std::time::Duration;

use super::{Case, NORMAL};
use crate::random::Random;
use crate::support::{PATIENCE, head, size, time_limit};
use lab::guest_with;

/// Settings of which all must be in force while there is a VIP.
const ARP: [(&str, &str); 4] = [
    ("net/ipv4/conf/all/arp_announce", "2"),
    ("net/ipv4/conf/all/arp_ignore", "1"),
    ("net/ipv4/conf/lo/arp_announce", "2"),
    ("net/ipv4/conf/lo/arp_ignore", "1"),
];

const VIPS: [&str; 4] = ["192.168.188.120", "192.168.188.121", "192.168.188.122", "192.168.188.123"];

fn vip(address: &str, label: usize) -> String {
    format!(
        "[[address]]\ninterface = \"lo\"\naddress = \"{address}/32\"\nlabel = \"lo:{label}\"\nscope \
        = \"global\"\n\n\
         [[route]]\ndestination = \"{address}/32\"\ninterface = \"lo\"\nscope = \"link\"\ntable = 254\n\n"
    )
}

fn settings(settings: &[(&str, &str)]) -> String {
    settings
        .iter()
        .map(|(key, value)| format!("[[sysctl]]\nkey = \"{key}\"\nvalue = \"{value}\"\n\n"))
        .collect()
}

#[test]
fn a_real_server_killed_at_any_operation_never_answers_arp_for_a_vip_and_comes_back() {
    let crashes = size("EVENKEEL_CRASHES", NORMAL);
    guest_with(time_limit(Duration::from_secs(120), crashes.min(200), NORMAL), |lab| {
        let mut random = Random::from_environment();
        let host = lab.host("rs1", "192.168.188.107/24");
        let much: String = head(&host, "60s")
            + &VIPS.iter().enumerate().map(|(label, address)| vip(address, label)).collect::<String>()
            + "[[address]]\ninterface = \"lo\"\naddress = \"2001:db8::120/128\"\nscope = \"global\"\n\n"
            + "[[tunnel]]\ninterface = \"tun-a\"\nmode = \"ipip\"\nlocal = \"192.168.188.107\"\n\n"
            + "[[tunnel]]\ninterface = \"tun-b\"\nmode = \"gre\"\nlocal = \"192.168.188.107\"\n\n"
            + "[[route]]\ndestination = \"10.70.0.0/16\"\ninterface = \"eth0\"\nscope = \"global\"\n\
                table = 254\nvia = \"192.168.188.1\"\n\n"
            + "[[route]]\ndestination = \"10.71.0.0/16\"\ninterface = \"tun-a\"\nscope = \"link\"\n\
                table = 70\n\n"
            + &settings(&ARP)
            + &settings(&[
                ("net/ipv4/conf/all/rp_filter", "0"),
                ("net/ipv4/conf/tun-a/rp_filter", "0"),
                ("net/ipv4/conf/tun-b/rp_filter", "0"),
                ("net/ipv4/ip_forward", "1"),
            ]);
        let keys = ARP
            .iter()
            .map(|(key, _)| *key)
            .chain(["net/ipv4/conf/all/rp_filter", "net/ipv4/ip_forward", "net/ipv4/conf/eth0/forwarding"])
            .map(str::to_owned)
            .collect();
        let invariants = |context: &str| {
            let held: Vec<_> = host
                .addresses("lo")
                .into_iter()
                .filter(|address| VIPS.contains(&address.ip.to_string().as_str()))
                .collect();
            for (key, value) in ARP {
                let now = host.sysctl(&key.replace('/', "."));
                assert!(held.is_empty() || now == value, "{context}: {key} is {now} while lo has {held:?}");
            }
        };
        let complete = |plan| host.has_address("lo", VIPS[3]) == (plan == 1);
        let case = Case {
            lab,
            host: host.clone(),
            plans: [head(&host, "60s"), much],
            settings: keys,
            invariants: &invariants,
            complete: &complete,
        };
        case.run(&mut random, crashes);
        let state = host.scratch().join("state");
        lab::eventually(PATIENCE, "the ledger is there", || state.join("ledger.json").exists());
    });
}
