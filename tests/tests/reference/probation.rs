//! Plans on probation: what cuts a client off is taken back in time, also when the daemon was killed
//! meanwhile.

use std::time::Duration;

use lab::{Daemon, LogEvent, Mark, Reference, guest, mark};

use crate::support::{PATIENCE, TABLE, steady_client};

/// The time that a plan has.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Time that a rollback and a client's next try may take beside, on a busy machine.
const MARGIN: Duration = Duration::from_millis(1500);
const BY_OPERATOR: &str = "\n[policy]\nprobation = { timeout = \"5s\" }\n";

/// The example without its service.
fn without_service() -> String {
    let text = Reference::cluster_file();
    let (before, _) = text.split_once("[services.web]").expect("a service");
    before.to_owned()
}

fn other_vip() -> String {
    Reference::cluster_file().replace("192.168.188.120", "192.168.188.121")
}

fn weight(weight: u16) -> String {
    Reference::cluster_file().replace("weight = 100", &format!("weight = {weight}"))
}

/// Compiles a cluster file and puts dir1's plan in place, and nobody else's.
fn install(reference: &Reference<'_>, text: &str) -> Mark {
    let lab = reference.lab();
    let next = lab.plans("next");
    next.compile_text(text);
    for file in ["dir1.secrets.toml", "dir1.plan.toml"] {
        let bytes = std::fs::read(next.directory().join(file)).expect("compiled");
        lab.write(format!("plans/{file}"), bytes);
    }
    mark()
}

/// Waits until dir1 has put its plan on probation; when.
fn begun(daemon: &Daemon, since: Mark) -> Mark {
    daemon.wait_told_since(since, LogEvent::ProbationBegins, PATIENCE).at
}

#[test]
fn a_plan_that_cuts_the_client_off_is_taken_back_in_time_unless_it_is_confirmed() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let client = steady_client(&reference);
        for (what, text) in [
            ("without the virtual server", without_service()),
            ("with another VIP", other_vip()),
            ("with weight 0 for all", weight(0)),
        ] {
            let installed = install(&reference, &(text + BY_OPERATOR));
            let begun = begun(&daemons.dir1, installed);
            client.wait_failure(PATIENCE);
            let status = reference.status(dir1);
            assert!(status["plan"]["probation"]["waits_for"][0].is_string(), "{what}: {status}");
            daemons.dir1.wait_told_since(begun, LogEvent::RolledBack, PATIENCE);
            let took = client.wait_ok(PATIENCE).at.saturating_duration_since(begun);
            lab.log(format!(
                "{what}: served again {took:?} after it came; client gap {:?}",
                client.gap_since(installed)
            ));
            lab.assert_within(format!("{what}: served again"), took, TIMEOUT + MARGIN, begun);
            assert_eq!(dir1.ipvsadm(), TABLE, "{what}");
            let status = reference.status(dir1);
            let told = status["plan"]["rejected"]["reason"].as_str().unwrap_or_default().to_owned();
            assert!(told.contains("not confirmed within 5s"), "{what}: {status}");
            assert_eq!(reference.plans.router(dir1, "VI_1")["state"], "master", "{what}");
        }

        let socket = dir1.scratch().join("evenkeeld.sock").display().to_string();
        let installed = install(&reference, &(weight(60) + BY_OPERATOR));
        begun(&daemons.dir1, installed);
        lab.log(reference.evenkeeld(dir1, "confirm", &["--socket", &socket]).expect_success().trim_end());
        std::thread::sleep(TIMEOUT + MARGIN);
        assert_eq!(dir1.ipvsadm()[1], TABLE[1].replace("-w 100", "-w 60"), "confirmed");

        // By hand it takes no time.
        let installed = install(&reference, &(without_service() + BY_OPERATOR));
        let begun = begun(&daemons.dir1, installed);
        client.wait_failure(PATIENCE);
        lab.log(reference.evenkeeld(dir1, "rollback", &["--socket", &socket]).expect_success().trim_end());
        assert_eq!(
            dir1.ipvsadm()[1],
            TABLE[1].replace("-w 100", "-w 60"),
            "not further than what was confirmed"
        );
        let took = client.wait_ok(PATIENCE).at.saturating_duration_since(begun);
        lab.assert_within("rolled back by hand", took, TIMEOUT, begun);
    });
}

#[test]
fn it_is_taken_back_in_time_by_a_daemon_that_was_killed_meanwhile() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let client = steady_client(&reference);
        let installed = install(&reference, &(without_service() + BY_OPERATOR));
        let first = begun(&daemons.dir1, installed);
        client.wait_failure(PATIENCE);
        daemons.dir1.kill9();
        std::thread::sleep(Duration::from_secs(1));
        let again = reference.start(dir1);
        again.wait_told(LogEvent::ProbationGoesOn, PATIENCE);
        again.wait_told(LogEvent::RolledBack, PATIENCE);
        let took = client.wait_ok(PATIENCE).at.saturating_duration_since(first);
        lab.log(format!("killed during probation: served again {took:?} after the plan came"));
        lab.assert_within("served again", took, TIMEOUT + MARGIN, first);
        assert_eq!(dir1.ipvsadm(), TABLE);
        assert_eq!(reference.plans.router(dir1, "VI_1")["state"], "master", "it went on as Master");

        // Killed just before the deadline, and back after it while its lease still runs: as Master of the
        // VIPs of the plan before.
        let installed = install(&reference, &(other_vip() + BY_OPERATOR));
        let second = begun(&again, installed);
        client.wait_failure(PATIENCE);
        std::thread::sleep((TIMEOUT - Duration::from_millis(500)).saturating_sub(second.elapsed()));
        again.kill9();
        std::thread::sleep((TIMEOUT + Duration::from_millis(300)).saturating_sub(second.elapsed()));
        let third = reference.start(dir1);
        let started = third.wait_told(LogEvent::Started, PATIENCE).at;
        third.wait_told(LogEvent::RolledBack.with("why", "not confirmed within 5s"), PATIENCE);
        let served = client.wait_ok(PATIENCE).at;
        let (took, after) =
            (served.saturating_duration_since(started), served.saturating_duration_since(second));
        lab.log(format!(
            "killed until after the deadline: served again {took:?} after the daemon, {after:?} after the \
            plan"
        ));
        lab.assert_within("served again after the daemon came", took, MARGIN, started);
        lab::eventually(PATIENCE, "dir1 has its VIP and no other", || {
            dir1.has_address("eth0", reference.hosts.vip) && !dir1.has_address("eth0", "192.168.188.121/32")
        });
        assert_eq!(dir1.ipvsadm(), TABLE);
    });
}

#[test]
fn a_daemon_that_was_away_at_the_deadline_takes_it_back_before_anything_else() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let client = steady_client(&reference);
        let before = reference.status(dir1)["plan"]["generation"].clone();
        let installed = install(&reference, &(without_service() + BY_OPERATOR));
        begun(&daemons.dir1, installed);
        client.wait_failure(PATIENCE);
        let unconfirmed =
            reference.status(dir1)["plan"]["generation"].as_str().unwrap_or_default().to_owned();
        daemons.dir1.kill9();
        // dir2 takes over meanwhile.
        client.wait_ok(PATIENCE);
        std::thread::sleep((TIMEOUT + Duration::from_secs(2)).saturating_sub(installed.elapsed()));
        let again = reference.start(dir1);
        let restarted = mark();
        again.wait_told(LogEvent::Master, PATIENCE);
        assert_eq!(dir1.ipvsadm(), TABLE);
        let status = reference.status(dir1);
        assert_eq!(status["plan"]["generation"], before, "{status}");
        assert!(status["plan"]["probation"].is_null(), "{status}");
        let taken = LogEvent::PlanInForce.with("generation", &unconfirmed[..12]);
        assert_eq!(again.count(taken), 0, "{}", again.log());
        assert_eq!(again.count(LogEvent::PlanInForce), 1, "{}", again.log());
        std::thread::sleep(Duration::from_secs(2));
        let gap = client.gap_since(restarted);
        lab.log(format!("back after the deadline: client gap {gap:?}"));
        lab.assert_within("client gap", gap, Duration::from_secs(1), restarted);
    });
}

/// The example with quick checks.
fn quick(text: &str) -> String {
    text.replace(
        "interval = \"5s\", timeout = \"10s\", retries = 3, retry_delay = \"3s\"",
        "interval = \"1s\", timeout = \"1s\", retries = 1, retry_delay = \"1s\"",
    )
}

#[test]
fn checks_confirm_a_good_plan_and_take_a_bad_one_back() {
    const BY_CHECKS: &str = "\n[policy]\nprobation = { timeout = \"9s\", confirm = \"checks\" }\n";
    guest(|lab| {
        let reference = Reference::new(lab);
        reference.compile_text(&quick(&Reference::cluster_file()));
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let client = steady_client(&reference);
        let installed = install(&reference, &(quick(&weight(60)) + BY_CHECKS));
        let begun_at = begun(&daemons.dir1, installed);
        let confirmed =
            daemons.dir1.wait_told_since(installed, LogEvent::Confirmed.with("by", "its checks"), PATIENCE);
        let took = confirmed.at.saturating_duration_since(begun_at);
        lab.log(format!("a good plan was confirmed {took:?} after it came"));
        assert!(took >= Duration::from_millis(1500), "before it was quiet: {took:?}");
        std::thread::sleep(Duration::from_secs(9).saturating_sub(begun_at.elapsed()) + MARGIN);
        let sixty: Vec<String> = TABLE.iter().map(|rule| rule.replace("-w 100", "-w 60")).collect();
        assert_eq!(dir1.ipvsadm(), sixty);

        // Nothing listens at the port of these checks, so the destinations are taken out.
        let bad =
            quick(&weight(60)).replace("check = { type = \"tcp\",", "check = { type = \"tcp\", port = 81,");
        let installed = install(&reference, &(bad + BY_CHECKS));
        let begun = begun(&daemons.dir1, installed);
        client.wait_failure(PATIENCE);
        let status = reference.status(dir1);
        let waits_for = status["plan"]["probation"]["waits_for"].to_string();
        assert!(waits_for.contains("fails: "), "{status}");
        lab.log(format!("waits for {waits_for}"));
        daemons.dir1.wait_told_since(
            begun,
            LogEvent::RolledBack.with("why", "not confirmed by its checks within 9s"),
            PATIENCE,
        );
        let took = client.wait_ok(PATIENCE).at.saturating_duration_since(begun);
        lab.log(format!("a bad plan: served again {took:?} after it came"));
        lab.assert_within("served again", took, Duration::from_secs(9) + MARGIN, begun);
        assert_eq!(dir1.ipvsadm(), sixty);
    });
}
