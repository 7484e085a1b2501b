//! Objects that are ours and those that are not, where it is least certain: after the ledger was lost, on an
//! address that several services share, and where something of the administrator's is in the way.

use std::path::PathBuf;

use lab::{Host, LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE, steady_client};

/// Longer than the agent's default resync.
const RESYNC: std::time::Duration = std::time::Duration::from_millis(5_500);
const FOREIGN: &str = "192.168.188.200:443";

fn ledger(host: &Host) -> PathBuf {
    host.scratch().join("state/ledger.json")
}

/// The rules of the service that is not ours.
fn foreign(host: &Host) -> Vec<String> {
    host.ipvsadm().into_iter().filter(|rule| rule.contains(FOREIGN)).collect()
}

/// The rules of the services that are.
fn own(host: &Host) -> Vec<String> {
    host.ipvsadm().into_iter().filter(|rule| !rule.contains(FOREIGN)).collect()
}

fn listed(reference: &Reference<'_>, object: &str) -> bool {
    let status = reference.status(&reference.hosts.dir1);
    let foreign = status["foreign"].as_array().cloned().unwrap_or_default();
    foreign.iter().any(|found| found["object"] == object)
}

#[test]
fn a_daemon_that_lost_its_ledger_adopts_what_its_plan_names_and_nothing_else() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let dir1 = &reference.hosts.dir1;
        let second = "[services.second]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nport = 81\nforwarding \
            = \"dr\"\n\
                      real_servers = [{ host = \"rs2\" }]\n";
        let two = format!("{}\n{second}", Reference::cluster_file());
        reference.compile_text(&two);
        dir1.run(["ipvsadm", "-A", "-t", FOREIGN, "-s", "rr"]);
        dir1.run(["ipvsadm", "-a", "-t", FOREIGN, "-r", "192.168.188.107:443", "-m"]);
        let theirs = foreign(dir1);
        let daemons = reference.serving();
        let client = steady_client(&reference);
        let all = own(dir1);
        assert_eq!(all.len(), 5, "{all:?}");

        let mut daemon = daemons.dir1;
        for (what, lose) in [
            ("gone", (|file: &PathBuf| std::fs::remove_file(file).expect("removed")) as fn(&PathBuf)),
            ("cut off", |file| {
                let bytes = std::fs::read(file).expect("the ledger");
                std::fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
            }),
        ] {
            daemon.kill9();
            lose(&ledger(dir1));
            let requests = dir1.netlink_capture();
            let restarted = mark();
            daemon = reference.start(dir1);
            daemon.wait_told(LogEvent::Master, PATIENCE);
            eventually(PATIENCE, "the foreign service is listed", || {
                listed(&reference, "tcp 192.168.188.200:443")
            });
            std::thread::sleep(RESYNC);
            assert_eq!(
                requests.changes_since(restarted),
                Vec::<String>::new(),
                "{what}: the kernel was changed"
            );
            assert_eq!((own(dir1), foreign(dir1)), (all.clone(), theirs.clone()), "{what}");
        }
        client.wait_ok(std::time::Duration::from_secs(5));

        // What it adopted is its own: it goes with the plan.
        reference.compile(&PathBuf::from(lab::CLUSTER_FILE));
        eventually(PATIENCE, "the second service is gone", || own(dir1) == TABLE);
        assert_eq!(foreign(dir1), theirs);

        // What left the plan while the ledger was lost cannot be told from what others made: it stays, and is
        // listed.
        daemon.stop(PATIENCE);
        std::fs::remove_file(ledger(dir1)).expect("removed");
        dir1.run(["ipvsadm", "-A", "-t", "192.168.188.120:81", "-s", "wlc"]);
        let daemon = reference.start(dir1);
        daemon.wait_told(LogEvent::Master, PATIENCE);
        eventually(PATIENCE, "it is listed", || listed(&reference, "tcp 192.168.188.120:81"));
        std::thread::sleep(RESYNC);
        assert!(dir1.ipvsadm().contains(&"-A -t 192.168.188.120:81 -s wlc".to_owned()));
        daemon.stop(PATIENCE);

        // And a clean-up leaves what was adopted: it may have been there before evenkeel was.
        let before = dir1.ipvsadm();
        lab.log(reference.evenkeeld(dir1, "cleanup", &[]).expect_success().trim_end());
        assert_eq!(dir1.ipvsadm(), before);
        assert_eq!(foreign(dir1), theirs);
    });
}

#[test]
fn a_vip_on_lo_stays_until_the_last_service_that_needs_it_is_gone() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let (rs1, rs2) = (&reference.hosts.rs1, &reference.hosts.rs2);
        let service = |name: &str, port: u16, host: &str| {
            format!(
                "[services.{name}]\nrouter = \"VI_1\"\nprotocol = \"tcp\"\nport = {port}\nforwarding \
                = \"dr\"\n\
                 real_servers = [{{ host = \"{host}\" }}]\n"
            )
        };
        let text = Reference::cluster_file();
        let (head, _) = text.split_once("[services.web]").expect("a service");
        let with = |services: &[String]| reference.compile_text(&format!("{head}\n{}", services.join("\n")));
        let [one, two, other] =
            [service("one", 80, "rs1"), service("two", 81, "rs1"), service("other", 82, "rs2")];
        with(&[one.clone(), two.clone(), other.clone()]);
        let _daemons = [reference.start(rs1), reference.start(rs2)];
        eventually(PATIENCE, "rs1 has the VIP", || rs1.has_address("lo", reference.hosts.vip));
        let lo = lab.watch_vip(reference.hosts.vip, &[rs1], "lo");
        let requests = rs1.netlink_capture();

        for services in [vec![one.clone(), other.clone()], vec![two.clone(), other.clone()]] {
            let changed = mark();
            with(&services);
            std::thread::sleep(RESYNC);
            assert_eq!(lo.none_since(changed), std::time::Duration::ZERO, "the VIP went");
            assert_eq!(requests.changes_since(changed), Vec::<String>::new(), "the kernel was changed");
        }
        with(&[other]);
        eventually(PATIENCE, "the VIP is gone", || !rs1.has_address("lo", reference.hosts.vip));
        eventually(PATIENCE, "and the settings", || rs1.sysctl("net.ipv4.conf.all.arp_ignore") == "0");
        assert!(rs2.has_address("lo", reference.hosts.vip));
    });
}

#[test]
fn an_administrators_default_route_is_told_to_be_in_the_way_and_left_alone() {
    guest(|lab| {
        let text = "version = 1\nname = \"nat\"\n[segments.front]\nsubnets = [\"192.168.188.0/24\"]\n\
                    [segments.back]\nsubnets = [\"10.30.0.0/24\"]\n[hosts]\n\
                    masq = { address = \"10.30.0.21\", interface = \"eth0\", gateway = \"10.30.0.1\" \
                    }\n[hosts.dir1]\n\
                    address = \"192.168.188.108\"\ninterface = \"eth0\"\n\
                    interfaces.eth1.addresses = [\"10.30.0.11\"]\n\
                    [virtual_routers.edge]\nvrid = 51\nvips = [\"192.168.188.120\"]\n\
                    unadvertised_vips = [\"10.30.0.1\"]\n\
                    directors = [\"dir1\"]\n[services.masq]\nrouter = \"edge\"\nprotocol = \"tcp\"\n\
                    port = 80\nforwarding = \"nat\"\n\
                    real_servers = [{ host = \"masq\" }]\n";
        let masq = lab.host("masq", "10.30.0.21/24");
        masq.run(["ip", "route", "add", "default", "via", "10.30.0.254"]);
        let before = masq.run(["ip", "-4", "route"]);
        let plans = lab.plans("plans");
        plans.compile_text(text);
        let daemon = plans.start(&masq);
        let told = daemon.wait_told(LogEvent::OperationFailed.with("operation", "route"), PATIENCE);
        let operation = told.field("operation");
        assert!(operation.contains("default") || operation.contains("0.0.0.0/0"), "{told:?}");
        std::thread::sleep(RESYNC);
        assert_eq!(masq.run(["ip", "-4", "route"]), before, "it was touched");
        let convergence = plans.status(&masq)["convergence"].clone();
        assert_eq!(convergence["converged"], false, "{convergence}");
        assert!(convergence.to_string().contains("is in the way"), "{convergence}");

        masq.run(["ip", "route", "del", "default"]);
        let own = || masq.run(["ip", "-4", "route"]).contains("default via 10.30.0.1 dev eth0");
        eventually(PATIENCE, "its own is there", own);
        daemon.stop(PATIENCE);
        plans.evenkeeld(&masq, "cleanup", &[]).expect_success();
        assert!(!masq.run(["ip", "-4", "route"]).contains("default"), "it was left");
    });
}

/// A VIP where the plan does not have it, and keepalived on the same host: neither is ours, and both are
/// told.
#[test]
fn a_backup_tells_what_is_in_its_way() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        let socket = dir2.scratch().join("evenkeeld.sock").display().to_string();
        let told = |host: &Host| {
            let status = reference.status(host);
            let objects = status["in_the_way"].as_array().cloned().unwrap_or_default();
            objects
                .iter()
                .map(|object| object["object"].as_str().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        let diff = || reference.evenkeeld(dir2, "diff", &["--socket", &socket]).expect_success();
        std::thread::sleep(std::time::Duration::from_secs(2));
        for host in [dir1, dir2, &reference.hosts.rs1] {
            assert_eq!(told(host), Vec::<String>::new(), "{}", host.name());
        }
        assert!(!diff().contains("in the way"), "{}", diff());
        // A claim says what it announces.
        let announced = LogEvent::Announced.of("VI_1").with("what", "gratuitous ARPs");
        let announced = announced.with("interface", "eth0").with("vips", "192.168.188.120");
        daemons.dir1.wait_told(announced, PATIENCE);

        dir2.run(["ip", "link", "add", "dummy7", "type", "dummy"]);
        dir2.add_address("dummy7", "192.168.188.120/32");
        dir2.add_address("lo", "192.168.188.120/32");
        let other = "vrrp_instance OTHER {\n  state BACKUP\n  interface eth0\n  virtual_router_id 99\n  \
            priority 10\n  \
                     virtual_ipaddress {\n    192.168.188.99\n  }\n}\n";
        let keepalived = dir2.keepalived(other);
        let wanted = [
            "192.168.188.120/32 on dummy7: ",
            "192.168.188.120/32 on lo: ",
            "keepalived runs in this network namespace",
        ];
        eventually(PATIENCE, "all three are told", || {
            let told = told(dir2);
            wanted.iter().all(|wanted| told.iter().any(|object| object.starts_with(wanted)))
        });
        let (diff_says, page) =
            (diff(), reference.evenkeeld(dir2, "status", &["--socket", &socket]).expect_success());
        for wanted in wanted {
            assert!(diff_says.contains(&format!("in the way: {wanted}")), "{diff_says}");
            assert!(page.contains(&format!("IN THE WAY: {wanted}")), "{page}");
            daemons.dir2.wait_told(LogEvent::InTheWay.with("object", wanted), PATIENCE);
        }
        assert_eq!(told(dir1), Vec::<String>::new(), "what is on another host is not");

        drop(keepalived);
        dir2.run(["ip", "link", "delete", "dummy7"]);
        dir2.delete_address("lo", "192.168.188.120/32");
        eventually(PATIENCE, "nothing is left", || told(dir2).is_empty());
        for wanted in wanted {
            for event in [LogEvent::InTheWay, LogEvent::NoLongerInTheWay] {
                let count = daemons.dir2.count(event.with("object", wanted));
                assert_eq!(count, 1, "{wanted} came and went: {}", daemons.dir2.log());
            }
        }
    });
}
