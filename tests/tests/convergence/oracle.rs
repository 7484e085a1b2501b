//! The live oracle: for generated plans, our kernel and one that `ipvsadm` was fed with the same rules by
//! hand-written text are equal, as `ipvsadm -Sn` says and as the kernel itself does; and a second pass sends
//! no change.

use std::time::Duration;

use lab::{Host, Lab, Mark, NetlinkCapture, guest_with, mark};

use crate::plan::{self, VirtualServer};
use crate::random::Random;
use crate::support::{PATIENCE, deliver, difference, head, size, time_limit};

/// Plans of the normal run; `EVENKEEL_ORACLE` sets another number.
const NORMAL: usize = 12;
/// One in so many has some 600 virtual servers, which are made with their destinations in one operation each.
const LARGE: usize = 12;

#[test]
fn generated_plans_give_the_kernel_that_ipvsadm_gives() {
    let plans = size("EVENKEEL_ORACLE", NORMAL);
    guest_with(time_limit(Duration::from_secs(120), plans, NORMAL), |lab| {
        let mut random = Random::from_environment();
        let (ours, theirs) = (lab.host("ours", "10.50.0.1/16"), lab.host("theirs", "10.50.0.2/16"));
        let requests = ours.netlink_capture();
        let mut seen = Seen::default();
        for number in 0..plans {
            let large = number % LARGE == LARGE / 2;
            let servers = if large {
                plan::generate_many(&mut random, 800, 8)
            } else {
                plan::generate(&mut random, 8, 6)
            };
            let destinations: usize = servers.iter().map(|server| server.destinations.len()).sum();
            assert!(!large || destinations > 1_200, "{destinations} destinations");
            let timeouts = random.once_in(2).then(|| [(); 3].map(|()| random.within(1..80_000)));
            let text = head(&ours, "5s")
                + &plan::toml(&servers)
                + &host_objects(&mut random)
                + &timeouts_toml(timeouts);
            let context = format!("plan {number} of seed {}", random.seed());
            lab.log(&context);
            lab.artefact("plan.toml", &text);

            deliver(lab, &ours, &text);
            let first = converge(lab, &ours).expect_success();
            // What was there before us is the kernel's own choice.
            let [tcp, tcp_fin, udp] = timeouts.unwrap_or([900, 120, 300]);
            let commands: String = servers.iter().map(VirtualServer::commands).collect();
            let feed = format!("-C\n--set {tcp} {tcp_fin} {udp}\n{commands}");
            let file = lab.artefact("feed.ipvsadm", &feed);
            theirs.run(["sh", "-c", &format!("exec ipvsadm -R < {}", file.display())]);

            let tables = [&theirs, &ours].map(Host::ipvsadm);
            assert_eq!(
                tables[0],
                tables[1],
                "{context}: ipvsadm -Sn\n{}",
                difference(&tables[0], &tables[1])
            );
            let exact = [&theirs, &ours].map(Host::ipvs_exact);
            assert_eq!(exact[0], exact[1], "{context}: the kernel\n{}", difference(&exact[0], &exact[1]));
            seen.note(&tables[0], &exact[0]);

            let again = mark();
            let said = converge(lab, &ours).expect_success();
            let changes = changes_since(&requests, &ours, again);
            assert_eq!(
                changes,
                Vec::<String>::new(),
                "{context}: a pass that has nothing to do\nfirst: {first}\nthen: {said}"
            );
            assert!(requests.since(again).len() > 1, "{context}: the second pass was not seen");
        }
        lab.log(format!("{plans} plans: {seen:?}"));
        seen.assert_all(plans);
    });
}

fn converge(lab: &Lab, host: &Host) -> lab::Output {
    lab.plans("plans").evenkeeld(host, "converge", &[])
}

/// The requests that changed something, all that were made until now included.
fn changes_since(requests: &NetlinkCapture, host: &Host, since: Mark) -> Vec<String> {
    requests.settle(host, PATIENCE);
    requests.changes_since(since)
}

/// Objects of a host beside IPVS: some of each, so that a pass that has nothing to do is seen to leave these
/// alone as well.
fn host_objects(random: &mut Random) -> String {
    let objects = [
        "[[address]]\ninterface = \"lo\"\naddress = \"10.50.1.250/32\"\nlabel = \"lo:7\"\nscope \
        = \"global\"\n",
        "[[address]]\ninterface = \"lo\"\naddress = \"10.50.1.251/32\"\nscope = \"host\"\n",
        "[[address]]\ninterface = \"lo\"\naddress = \"2001:db8:1::250/128\"\nscope = \"global\"\n",
        "[[route]]\ndestination = \"10.60.0.0/16\"\ninterface = \"eth0\"\nscope = \"link\"\ntable = 254\n",
        "[[route]]\ndestination = \"10.61.0.0/16\"\ninterface = \"eth0\"\nscope = \"global\"\n\
        table = 77\nvia = \"10.50.0.9\"\nmetric = 5\n",
        "[[route]]\ndestination = \"2001:db8:61::/64\"\ninterface = \"lo\"\nscope = \"global\"\n\
         table = 254\n",
        "[[tunnel]]\ninterface = \"tun-a\"\nmode = \"ipip\"\nlocal = \"10.50.0.1\"\n",
        "[[tunnel]]\ninterface = \"tun-b\"\nmode = \"gre\"\nlocal = \"10.50.0.1\"\n",
        "[[sysctl]]\nkey = \"net/ipv4/conf/lo/arp_ignore\"\nvalue = \"1\"\n",
        "[[sysctl]]\nkey = \"net/ipv4/ip_forward\"\nvalue = \"1\"\n",
        "[[sysctl]]\nkey = \"net/ipv4/vs/expire_nodest_conn\"\nvalue = \"1\"\n",
    ];
    random.some(&objects).join("\n")
}

fn timeouts_toml(timeouts: Option<[u32; 3]>) -> String {
    timeouts.map_or_else(String::new, |[tcp, tcp_fin, udp]| {
        format!("[ipvs_timeouts]\ntcp = \"{tcp}s\"\ntcp_fin = \"{tcp_fin}s\"\nudp = \"{udp}s\"\n")
    })
}

/// How often what was seen, so that a generator that has become lame is noticed.
#[derive(Debug, Default)]
struct Seen {
    services: usize,
    destinations: usize,
    words: std::collections::BTreeMap<&'static str, usize>,
}

/// So many plans have everything in them.
const ENOUGH: usize = 100;
/// Words that must turn up in so many plans; and where `ipvsadm -Sn` does not tell, in the kernel's own
/// words.
const WORDS: [&str; 17] = [
    "-A -t",
    "-A -u",
    "--sctp-service",
    "-A -f",
    "-6",
    " -p ",
    " -M ",
    "--pe sip",
    " -o",
    "-port",
    "-fallback",
    "-g",
    "-m",
    "--tun-type gue",
    "--tun-type gre",
    "[2001:",
    "-w 0",
];

impl Seen {
    fn note(&mut self, table: &[String], exact: &[String]) {
        self.services += table.iter().filter(|line| line.contains(" -s ")).count();
        self.destinations += table.iter().filter(|line| line.contains(" -r ")).count();
        for word in WORDS {
            *self.words.entry(word).or_default() += table.iter().filter(|line| line.contains(word)).count();
        }
        let limited =
            exact.iter().filter(|line| line.contains(" upper ") && !line.contains(" upper 0 ")).count();
        *self.words.entry("upper threshold").or_default() += limited;
        let mixed = |line: &&String| {
            line.split_once(" > ").is_some_and(|(service, to)| {
                (service.contains('[') || service.contains("family 10")) != to.starts_with('[')
            })
        };
        *self.words.entry("other family").or_default() += exact.iter().filter(mixed).count();
    }

    fn assert_all(&self, plans: usize) {
        if plans < ENOUGH {
            return;
        }
        let missing: Vec<_> = self.words.iter().filter(|(_, count)| **count == 0).collect();
        assert!(missing.is_empty(), "never generated: {missing:?}");
    }
}
