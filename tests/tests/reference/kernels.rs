//! Kernels that lack something: it costs what needs it, is told with what to load, and the rest goes on.

use std::path::Path;
use std::time::Duration;

use lab::{Host, Line, LogEvent, Options, Plans, eventually, guest_with, mark};
use serde_json::Value;

use crate::support::{PATIENCE, ip_addresses};

/// Module that a kernel of 6.1 and later asks for when somebody wants IPVS; 5.10 asks for nothing.
const FAMILY: &str = "net-pf-16-proto-16-family-IPVS";
/// Longer than the default resync.
const RESYNC: Duration = Duration::from_millis(5_500);

/// Services whose scheduler this kernel lacks beside others, settings that it lacks, and IPv6.
const CLUSTER: &str = r#"
version = 1
name = "lacking"

[segments.front]
subnets = ["192.168.188.0/24", "2001:db8::/64"]

[hosts]
dir1 = { address = "192.168.188.108", interface = "eth0", addresses = ["2001:db8::108"] }
rs1 = { address = "192.168.188.107", interface = "eth0", addresses = ["2001:db8::107"] }

[virtual_routers.VI_1]
vrid = 51
vips = ["192.168.188.120"]
directors = ["dir1"]

[virtual_routers.six]
vrid = 52
vips = ["fe80::52", "2001:db8::120"]
directors = ["dir1"]

[virtual_routers.old]
vrid = 53
vips = ["192.168.188.121"]
directors = ["dir1"]

[services.web]
router = "VI_1"
protocol = "tcp"
port = 80
real_servers = [{ host = "rs1" }]

[services.beside]
router = "VI_1"
protocol = "tcp"
port = 81
scheduler = "twos"
real_servers = [{ host = "rs1" }]

[services.six]
router = "six"
vip = "2001:db8::120"
protocol = "tcp"
port = 80
real_servers = [{ host = "rs1" }]

[services.old]
router = "old"
protocol = "tcp"
port = 80
scheduler = "twos"
real_servers = [{ host = "rs1" }]

[ipvs.sysctls]
conn_lfactor = 4
expire_nodest_conn = 1
of_tomorrow = 1
"#;

fn loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

/// The errors of a host that is ready, which are all about what its kernel lacks.
#[track_caller]
fn lacks(plans: &Plans<'_>, host: &Host) -> Vec<String> {
    let status = plans.status(host);
    let convergence = &status["convergence"];
    assert_eq!(
        (&convergence["converged"], &convergence["ready"]),
        (&Value::from(false), &Value::from(true)),
        "{convergence}"
    );
    let errors = convergence["errors"].as_array().cloned().unwrap_or_default();
    assert!(errors.iter().all(|error| error["class"] == "unsupported"), "{errors:#?}");
    errors.iter().map(|error| format!("{} {}", error["operation"], error["reason"])).collect()
}

#[track_caller]
fn told(errors: &[String], words: &[&str]) {
    assert!(
        errors.iter().any(|error| words.iter().all(|word| error.contains(word))),
        "{words:?} in {errors:#?}"
    );
}

/// Modules that 5.10 does not load by itself, in a kernel without IPv6: once by who may load no modules, once
/// by who may.
#[test]
fn one_missing_thing_costs_what_needs_it() {
    let options = Options { ipv6: false, on_demand: &["ip_vs"], refused: &[FAMILY], ..Options::default() };
    guest_with(options, |lab| {
        let dir1 = lab.host("dir1", "192.168.188.108/24");
        let rs1 = lab.host("rs1", "192.168.188.107/24");
        let client = lab.host("client", "192.168.188.111/24");
        let _web = rs1.web(80);
        let plans = lab.plans("plans");
        plans.compile_text(CLUSTER);

        assert!(!loaded("ip_vs"), "the lab has loaded it");
        let (plan, state) = (plans.directory().display().to_string(), dir1.scratch().join("once"));
        let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let state = state.display().to_string();
        let limited = ["setpriv", "--bounding-set=-sys_module", "--inh-caps=-sys_module", &program];
        let converge = ["converge", "--plan", &plan, "--host", "dir1", "--state-dir", &state];
        let once = dir1.output(limited.into_iter().chain(converge));
        assert!(!once.status.success() && once.stderr.contains("ip_vs_twos"), "{}", once.stderr);
        assert!(loaded("ip_vs") && loaded("xt_ipvs"), "{}", once.stderr);
        dir1.run([program.as_str(), "cleanup", "--state-dir", &state]);
        lab.run(["/sbin/modprobe", "-d", "/run/modules", "-r", "xt_ipvs", "ip_vs_wlc", "ip_vs"]);
        assert!(!loaded("ip_vs"), "it is still loaded");

        // An administrator's VIP, as he has made it.
        rs1.run(["ip", "address", "add", "192.168.188.120/32", "dev", "lo", "label", "lo:vip"]);
        let theirs = ip_addresses(&rs1, "lo");
        let (director, real_server) = (plans.start(&dir1), plans.start(&rs1));
        director.wait_told(LogEvent::Master.of("VI_1"), PATIENCE);
        assert!(loaded("ip_vs") && !loaded("xt_ipvs"), "who may load modules asks for it by name");
        let prober = client.probe("192.168.188.120", 80);
        prober.wait_ok(PATIENCE);
        std::thread::sleep(RESYNC);

        let errors = lacks(&plans, &dir1);
        told(&errors, &["192.168.188.120:81", "192.168.188.121:80", "`modprobe ip_vs_twos`"]);
        told(&errors, &["net/ipv4/vs/conn_lfactor", "no such setting", "net/ipv4/vs/of_tomorrow"]);
        assert_eq!(dir1.sysctl("net.ipv4.vs.expire_nodest_conn"), "1");
        let table = dir1.ipvsadm();
        assert!(
            table.contains(&"-a -t 192.168.188.120:80 -r 192.168.188.107:80 -g -w 1".to_owned()),
            "{table:?}"
        );
        assert!(!table.iter().any(|rule| rule.contains(":81")), "{table:?}");
        // Nothing of it can be served here, so it is another director's.
        let old = plans.router(&dir1, "old");
        assert_eq!(old["state"], "initialize", "{old}");
        assert!(
            old["reason"].as_str().is_some_and(|why| why.contains("none of its virtual servers")),
            "{old}"
        );
        assert_eq!(plans.router(&dir1, "six")["state"], "initialize");

        // On the real server the addresses of the family that is there are there, its own route is its own
        // and once.
        told(&lacks(&plans, &rs1), &["2001:db8::120", "address family"]);
        for host in [&dir1, &rs1] {
            assert_eq!(plans.status(host)["foreign"], serde_json::json!([]), "{}", host.name());
        }
        assert!(rs1.has_address("lo", "192.168.188.121"));
        assert_eq!(
            ip_addresses(&rs1, "lo").iter().find(|(ip, ..)| ip == "192.168.188.120"),
            theirs.iter().find(|(ip, ..)| ip == "192.168.188.120")
        );

        // A plan that the kernel can do more of: hand-over goes on beside what it still lacks.
        let changed = mark();
        let (head, tail) = CLUSTER.split_once("[services.old]").expect("the last service");
        plans.compile_text(&format!("{head}[services.old]{}", tail.replace("twos", "rr")));
        director.wait_told_since(changed, LogEvent::Master.of("old"), PATIENCE);
        told(&lacks(&plans, &dir1), &["81", "ip_vs_twos"]);
        assert!(dir1.has_address("eth0", "192.168.188.121"));

        director.stop(PATIENCE);
        real_server.stop(PATIENCE);
        plans.evenkeeld(&rs1, "cleanup", &[]).expect_success();
        assert_eq!(ip_addresses(&rs1, "lo"), theirs, "the administrator's VIP");
    });
}

/// A kernel that cannot load IPVS: what needs none goes on, and what does comes when it is loaded by hand.
#[test]
fn without_ipvs_a_director_is_master_of_what_needs_none() {
    let options =
        Options { on_demand: &["ip_vs"], refused: &[FAMILY, "ip_vs", "ipt_ipvs"], ..Options::default() };
    guest_with(options, |lab| {
        let dir1 = lab.host("dir1", "192.168.188.108/24");
        let plans = lab.plans("plans");
        plans.compile_text(
            "version = 1\nname = \"bare\"\n[segments.front]\nsubnets = [\"192.168.188.0/24\"]\n[hosts]\n\
             dir1 = { address = \"192.168.188.108\", interface = \"eth0\" }\n\
             rs1 = { address = \"192.168.188.107\", interface = \"eth0\" }\n\
             [virtual_routers.web]\nvrid = 51\nvips = [\"192.168.188.120\"]\ndirectors = [\"dir1\"]\n\
             [virtual_routers.gateway]\nvrid = 52\nvips = [\"192.168.188.1\"]\ndirectors = [\"dir1\"]\n\
             [services.web]\nrouter = \"web\"\nprotocol = \"tcp\"\nports = [\"80-89\"]\nreal_servers = [{ \
             host = \"rs1\" }]\n",
        );
        let director = plans.start(&dir1);
        director.wait_told(LogEvent::Master.of("gateway"), PATIENCE);
        assert!(!loaded("ip_vs"));
        let errors = lacks(&plans, &dir1);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        told(&errors, &["no IPVS", "modprobe ip_vs", "modules-load.d", "and 6 more"]);
        assert_eq!(dir1.sysctl("net.ipv4.ip_forward"), "1");
        assert!(dir1.has_address("eth0", "192.168.188.1") && !dir1.has_address("eth0", "192.168.188.120"));
        let entered = |line: &Line| line.enters_a_state() && line.field("router") == "web";
        assert!(!director.lines().iter().any(entered), "{}", director.log());

        lab.run(["/sbin/modprobe", "-d", "/run/modules", "ip_vs"]);
        director.wait_told(LogEvent::Master.of("web"), PATIENCE);
        eventually(PATIENCE, "all is there", || plans.status(&dir1)["convergence"]["converged"] == true);
        assert_eq!(dir1.ipvs().len(), 10);
    });
}
