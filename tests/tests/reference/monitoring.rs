//! Metrics through a failover, asked of a real Prometheus that scrapes all four hosts with our own rules.

use lab::{Daemon, Host, Lab, LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, steady_client};

const PORT: &str = "9780";

/// Prometheus on the client's host.
struct Prometheus<'l> {
    host: &'l Host,
    /// Killed when this is dropped.
    _process: Daemon,
}

impl<'l> Prometheus<'l> {
    /// Scrapes every second, with the rules of the example.
    fn start(lab: &Lab, host: &'l Host, targets: &[&str]) -> Self {
        let targets: Vec<String> = targets.iter().map(|address| format!("'{address}:{PORT}'")).collect();
        lab.write("evenkeel.rules.yml", include_str!("../../../examples/monitoring/evenkeel.rules.yml"));
        let configuration = lab.write(
            "prometheus.yml",
            format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
                 rule_files: [evenkeel.rules.yml]\n\
                 scrape_configs:\n  - job_name: evenkeel\n    static_configs:\n      - targets: [{}]\n",
                targets.join(", ")
            ),
        );
        let data = lab.path("prometheus").display().to_string();
        let argv = [
            "prometheus",
            &format!("--config.file={}", configuration.display()),
            &format!("--storage.tsdb.path={data}"),
            "--web.listen-address=127.0.0.1:9090",
            "--log.level=warn",
        ];
        Self { host, _process: host.spawn("prometheus", argv, &[]) }
    }

    /// Samples of an expression now: labels and value, as its command line client prints them.
    fn ask(&self, expression: &str) -> Vec<String> {
        let argv = ["promtool", "query", "instant", "http://127.0.0.1:9090", expression];
        let answer = self.host.output(argv).expect_success();
        answer.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// The number that an expression has now, if it has one.
    fn number(&self, expression: &str) -> Option<f64> {
        let argv = ["promtool", "query", "instant", "http://127.0.0.1:9090", expression];
        let output = self.host.output(argv);
        let line = output.stdout.lines().next()?;
        line.split("=> ").nth(1)?.split(' ').next()?.parse().ok()
    }

    fn wait(&self, expression: &str, number: f64) {
        eventually(PATIENCE, &format!("{expression} is {number}"), || {
            self.number(expression).is_some_and(|found| (found - number).abs() < 1e-9)
        });
    }
}

/// Expressions of the dashboard, for the job of this test.
fn of_the_dashboard() -> Vec<String> {
    let dashboard = include_str!("../../../examples/monitoring/dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(dashboard).expect("the dashboard");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    targets
        .filter_map(|target| target["expr"].as_str())
        .map(|expr| expr.replace("$job", "evenkeel"))
        .collect()
}

#[test]
fn prometheus_sees_a_failover_as_it_is() {
    guest(|lab| {
        let reference = Reference::new(lab);
        reference.compile_text(&Reference::cluster_file());
        let hosts = &reference.hosts;
        let start = |host: &Host| {
            host.evenkeeld(reference.plans.directory(), ["--metrics", &format!("0.0.0.0:{PORT}")])
        };
        let daemons = [&hosts.rs1, &hosts.rs2, &hosts.dir1, &hosts.dir2].map(start);
        let [_, _, dir1, dir2] = &daemons;
        dir1.wait_told(LogEvent::Master, PATIENCE);
        dir2.wait_told(LogEvent::Backup, PATIENCE);
        let client = steady_client(&reference);
        let begun = mark();
        let addresses = ["192.168.188.107", "192.168.188.110", "192.168.188.108", "192.168.188.109"];
        let prometheus = Prometheus::start(lab, &hosts.client, &addresses);
        prometheus.wait("sum(up)", 4.0);
        prometheus.wait("sum by (router) (evenkeel_router_master)", 1.0);
        prometheus.wait("sum(evenkeel_converged)", 4.0);
        prometheus.wait("min(evenkeel_service_healthy_destinations)", 2.0);
        let master = |address: &str| format!("evenkeel_router_master{{instance=\"{address}:{PORT}\"}}");
        prometheus.wait(&master("192.168.188.108"), 1.0);
        // Pages of a director and of a real server, as Prometheus' own judge reads them.
        for host in [&hosts.dir1, &hosts.dir2, &hosts.rs1] {
            let socket = host.scratch().join("evenkeeld.sock").display().to_string();
            let page = host.run(["curl", "-sf", "--unix-socket", &socket, "http://evenkeeld/metrics"]);
            let page = lab.write("page", page).display().to_string();
            let judged = host.output(["sh", "-c", &format!("promtool check metrics < {page}")]);
            assert!(judged.stderr.is_empty(), "{}", judged.stderr);
            judged.expect_success();
        }

        dir1.stop(PATIENCE);
        dir2.wait_told(LogEvent::Master, PATIENCE);
        prometheus.wait(&master("192.168.188.109"), 1.0);
        prometheus.wait("sum by (router) (evenkeel_router_master)", 1.0);
        prometheus.wait("sum(up)", 3.0);
        prometheus.wait("count(ALERTS{alertname=\"EvenkeelDown\"})", 1.0);
        assert_eq!(prometheus.ask("ALERTS{alertname=\"EvenkeelNoMaster\",alertstate=\"firing\"}"), [""; 0]);

        let expressions = of_the_dashboard();
        assert!(expressions.len() > 20, "{expressions:?}");
        let mut empty = Vec::new();
        for expression in &expressions {
            if prometheus.ask(expression).is_empty() {
                empty.push(expression);
            }
        }
        // The reference has no git, no quorum and no floor, and nothing was rejected or has drifted.
        let may_be_empty = ["source_", "quorum", "below_floor", "rejected", "drift"];
        empty.retain(|expression| !may_be_empty.iter().any(|word| expression.contains(word)));
        assert!(empty.is_empty(), "without an answer: {empty:#?}");

        // What the kernel counted is what Prometheus has.
        let dir2_connections = format!(
            "evenkeel_service_connections_total{{service=\"web\",instance=\"192.168.188.109:{PORT}\"}} > 0"
        );
        eventually(PATIENCE, "connections are counted", || prometheus.number(&dir2_connections).is_some());
        // The guest has one processor, and Prometheus keeps it busy: no election comes of that.
        prometheus.wait("sum(evenkeel_router_became_master_total)", 1.0);
        assert!(client.since(begun).len() > 10, "a client went on");
    });
}
