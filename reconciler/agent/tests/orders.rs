//! The real daemon and the real commands, without any network: orders that are kept, trackers that are
//! observed. The only virtual router is on an interface that does not exist.

#[path = "support/in_the_way.rs"]
mod in_the_way;
#[path = "support/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evenkeel_schemas::plan::Router;
use evenkeel_schemas::plan::testing::{PlanText, router};
use evenkeel_schemas::scalars::Name;
use evenkeel_schemas::status::{RouterOrder, Status};

use support::alone;

/// Longest wait for anything.
const LONG: Duration = Duration::from_secs(60);

struct Host {
    directory: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Host {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("tempdir"), daemon: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a plan in place, with these routers and these other tables.
    fn plan(&self, routers: &[&str], more: &str) {
        self.plan_of("", routers, more);
    }

    /// The same with further keys of the host.
    fn plan_of(&self, head: &str, routers: &[&str], more: &str) {
        let mut plan = PlanText::of("h").keys(head);
        for (name, n) in routers.iter().zip(1..) {
            let vip = format!("192.0.2.{}/32", n + 9);
            let sync_group = Some("front".parse().expect("a name"));
            plan = plan.router(&Router { sync_group, ..router(name, n, &[&vip]) });
        }
        let new = self.path("new");
        std::fs::write(&new, plan.with(more).sealed()).expect("write");
        std::fs::rename(new, self.path("h.plan.toml")).expect("rename");
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).expect("log");
        let daemon = alone(env!("CARGO_BIN_EXE_evenkeeld"))
            .args(["run", "--host", "h", "--plan"])
            .arg(self.path("h.plan.toml"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--socket")
            .arg(self.path("sock"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start");
        self.daemon = Some(daemon);
        self.wait("a plan in force", |status| status.plan.generation.is_some());
    }

    /// Stops the daemon as a service manager does.
    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let pid = i32::try_from(daemon.id()).expect("pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).ok();
        daemon.wait().expect("wait");
    }

    /// Kills the daemon as the kernel does when memory runs out.
    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().expect("kill");
            daemon.wait().expect("wait");
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_evenkeeld"))
            .args(arguments)
            .arg("--socket")
            .arg(self.path("sock"))
            .output()
            .expect("run")
    }

    fn status(&self) -> Option<Status> {
        let output = self.run(&["status", "--json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("status"))
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let began = Instant::now();
        loop {
            let status = self.status();
            match status {
                Some(status) if is_so(&status) => return status,
                status if began.elapsed() > LONG => {
                    panic!("no {what}: {status:#?}\n{}", self.log());
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn orders(status: &Status) -> Vec<(&str, RouterOrder, bool)> {
    status.orders.iter().map(|order| (order.router.as_str(), order.order, order.in_plan)).collect()
}

#[test]
fn orders_outlive_restarts_kills_and_plans() {
    let mut host = Host::new();
    let none = host.run(&["hold", "VI_1"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(said(&none).contains("is it running?"), "{}", said(&none));

    host.plan(&["VI_1", "VI_2"], "");
    host.start();
    let unknown = host.run(&["hold", "vi1"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        said(&unknown).contains("there is no virtual router vi1; did you mean VI_1?"),
        "{}",
        said(&unknown)
    );
    assert_eq!(host.run(&["hold"]).status.code(), Some(2), "whom?");
    assert_eq!(host.run(&["hold", "VI_1", "--all"]).status.code(), Some(2));

    let held = host.run(&["hold", "VI_1"]);
    assert!(held.status.success(), "{}\n{}", said(&held), host.log());
    assert!(said(&held).contains("VI_2: held"), "they move together: {}", said(&held));
    host.kill();
    host.start();
    let both = [("VI_1", RouterOrder::Hold, true), ("VI_2", RouterOrder::Hold, true)];
    let status = host.wait("routers", |status| status.routers.len() == 2);
    assert_eq!(orders(&status), both);
    assert!(status.routers.iter().all(|router| router.order == Some(RouterOrder::Hold)), "{status:#?}");

    host.plan(&["VI_1"], "");
    host.wait("plan with one router", |status| status.routers.len() == 1);
    host.stop();
    host.start();
    let status = host.wait("one router", |status| status.routers.len() == 1);
    assert_eq!(orders(&status), [both[0], ("VI_2", RouterOrder::Hold, false)]);
    let page = said(&host.run(&["status"]));
    assert!(page.contains("order for VI_2, which is not in the plan"), "{page}");

    assert!(host.run(&["release", "VI_2"]).status.success());
    let yields = host.run(&["failover", "--all"]);
    assert!(said(&yields).contains("VI_1: takes no part"), "{}", said(&yields));
    assert_eq!(orders(&host.status().expect("status")), [("VI_1", RouterOrder::Yield, true)]);
    assert!(host.run(&["release", "--all"]).status.success());
    assert!(host.status().expect("status").orders.is_empty());

    host.stop();
    std::fs::write(host.path("state/orders.json"), "{\"version\":1,").expect("damage");
    host.start();
    assert!(host.log().contains("is forgotten"), "{}", host.log());
    assert!(host.path("state/orders.json.unreadable-1").exists());
}

#[test]
fn maintenance_follows_the_plan_and_is_distinguished_from_orders() {
    let mut host = Host::new();
    let maintenance = |host: &Host, is: bool| {
        host.plan_of(if is { "maintenance = true\n" } else { "" }, &["VI_1", "VI_2"], "");
    };
    maintenance(&host, true);
    host.start();
    let out = |status: &Status| {
        let is_out =
            |router: &evenkeel_schemas::status::RouterStatus| router.order == Some(RouterOrder::Maintenance);
        status.routers.len() == 2 && status.routers.iter().all(is_out)
    };
    let status = host.wait("maintenance from the start", out);
    assert_eq!(status.plan.maintenance.expect("maintenance").serving, []);
    assert!(status.orders.is_empty());
    let page = said(&host.run(&["status"]));
    assert!(page.contains("IN MAINTENANCE: ") && page.contains("PLAN: takes no part"), "{page}");
    let released = said(&host.run(&["release", "VI_1"]));
    assert!(released.contains("VI_2: takes no part, since this host's plan says"), "{released}");
    assert!(said(&host.run(&["hold", "VI_1"])).contains("as the plan says; held beyond that"));

    maintenance(&host, false);
    let held = |status: &Status| status.routers.iter().all(|r| r.order == Some(RouterOrder::Hold));
    let status =
        host.wait("the order, without the plan's", |status| status.routers.len() == 2 && held(status));
    assert!(status.plan.maintenance.is_none());
    assert!(host.run(&["release", "--all"]).status.success());
    // What does not serve is out at once.
    maintenance(&host, true);
    host.wait("maintenance again", out);
    host.wait("nothing served on", |status| {
        status.plan.maintenance.as_ref().is_some_and(|maintenance| maintenance.serving.is_empty())
    });
}

#[test]
fn an_order_that_cannot_be_kept_is_not_acknowledged() {
    let mut host = Host::new();
    host.plan(&["VI_1"], "");
    host.start();
    in_the_way::block(&host.path("state/orders.json"));
    let refused = host.run(&["hold", "VI_1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("not in force"), "{}", said(&refused));
    assert!(host.status().expect("status").orders.is_empty());
}

fn tracker(name: &str, watch: &str) -> String {
    format!("[[tracker]]\nname = \"{name}\"\ninitially = \"up\"\n[tracker.watch]\n{watch}\n")
}

fn script(path: &Path) -> String {
    format!(
        "type = \"script\"\ncommand = [\"/bin/cat\", {path:?}]\nuser = \"no-such-user\"\ninterval = \
            \"100ms\"\n\
         timeout = \"5s\"\nrise = 1\nfall = 1"
    )
}

#[test]
fn trackers_are_in_the_status_and_follow_the_plan() {
    let mut host = Host::new();
    let number = host.path("number");
    let file = tracker("number", &format!("type = \"file\"\npath = {number:?}\ninterval = \"100ms\""));
    let link = tracker("uplink", "type = \"interface\"\ninterface = \"no-such-if0\"");
    host.plan(&[], &[file.clone(), link, tracker("user", &script(&number))].concat());
    host.start();
    let reason = |status: &Status, name: &str| -> Option<(bool, Option<i64>, String)> {
        let name: Name = name.parse().expect("name");
        let tracker = status.trackers.iter().find(|tracker| tracker.name == name)?;
        Some((tracker.up, tracker.value, tracker.reason.clone()))
    };
    host.wait("failures", |status| status.trackers.iter().all(|tracker| !tracker.up));
    let status = host.status().expect("status");
    assert_eq!(reason(&status, "uplink"), Some((false, None, "there is no such interface".to_owned())));
    let (_, _, why) = reason(&status, "user").expect("tracker");
    assert_eq!(why, "there is no user no-such-user on this host");
    std::fs::write(&number, "-7\n").expect("write");
    host.wait("negative number", |status| {
        reason(status, "number").is_some_and(|(up, value, _)| !up && value == Some(-7))
    });
    host.plan(&[], &file);
    let status = host.wait("plan with one tracker", |status| status.trackers.len() == 1);
    assert_eq!(reason(&status, "number").map(|(up, value, _)| (up, value)), Some((false, Some(-7))), "kept");
}
