//! `maintenance = true` of a director in the cluster file: it gives its virtual routers away, to whom is
//! there to take them.

use lab::{Host, LogEvent, Reference, guest, mark};
use serde_json::json;

use crate::support::{
    MASTER_DOWN, NO_ELECTION, PATIENCE, SKEW, TOLERANCE, steady_client, wait_answer, watch,
};

/// The example's cluster file with dir1 in maintenance.
fn without_dir1() -> String {
    let line = "dir1 = { address = \"192.168.188.108\", interface = \"eth0\"";
    let file = Reference::cluster_file();
    assert!(file.contains(line), "{file}");
    file.replace(line, &format!("{line}, maintenance = true"))
}

#[track_caller]
fn wait_serving(reference: &Reference<'_>, host: &Host, wanted: &serde_json::Value) {
    lab::eventually(PATIENCE, &format!("{} serves {wanted} in maintenance", host.name()), || {
        reference.status(host)["plan"]["maintenance"]["serving"] == *wanted
    });
}

fn command(reference: &Reference<'_>, host: &Host, words: &[&str]) -> lab::Output {
    let socket = host.scratch().join("evenkeeld.sock").display().to_string();
    reference.evenkeeld(host, words[0], &[&words[1..], &["--socket", &socket]].concat())
}

#[test]
fn the_vip_goes_to_the_other_director_and_comes_back_afterwards() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let mut daemons = reference.serving();
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        let vip = watch(&reference);
        let client = steady_client(&reference);

        let begun = mark();
        reference.compile_text(&without_dir1());
        vip.wait_holder(dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        wait_serving(&reference, dir1, &json!([]));
        let (gap, none) = (client.gap_since(begun), vip.none_since(begun));
        lab.log(format!("given away: nobody had the VIP for {none:?}, client gap {gap:?}"));
        // It has not let go before the other had claimed.
        lab.assert_within("client gap", gap, NO_ELECTION, begun);
        lab.assert_within("VIP on both", vip.both_since(begun), TOLERANCE, begun);
        let status = reference.status(dir1);
        let router = &status["routers"][0];
        assert_eq!((&router["order"], &router["state"]), (&json!("maintenance"), &json!("initialize")));
        assert_eq!(status["orders"], json!([]), "it is no order");
        let page = command(&reference, dir1, &["status"]).expect_success();
        print!("{page}");
        assert!(page.contains("IN MAINTENANCE") && page.contains("PLAN: takes no part"), "{page}");
        let told = command(&reference, dir1, &["release", "--all"]).expect_success();
        assert!(told.contains("plan says `maintenance = true`: no order ends that"), "{told}");
        // Nobody is there to take it over.
        let refused = command(&reference, dir2, &["failover", "VI_1"]);
        assert!(!refused.status.success(), "{}", refused.stdout);

        // It takes no part when it is started anew, either.
        let restarted = mark();
        daemons.dir1.stop(PATIENCE);
        daemons.dir1 = reference.start(dir1);
        wait_answer(&reference, dir1);
        wait_serving(&reference, dir1, &json!([]));
        std::thread::sleep(MASTER_DOWN);
        assert_eq!(vip.none_since(restarted), std::time::Duration::ZERO);
        assert_eq!(vip.holders(), ["dir2"]);

        let ended = mark();
        reference.compile_text(&Reference::cluster_file());
        let took = vip.wait_holder(dir1, PATIENCE);
        client.wait_ok(PATIENCE);
        let gap = client.gap_since(ended);
        lab.log(format!("back after {took:?}, client gap {gap:?}"));
        lab.assert_within("client gap", gap, NO_ELECTION, ended);
        assert_eq!(reference.status(dir1)["plan"]["maintenance"], serde_json::Value::Null);
    });
}

#[test]
fn who_is_alone_serves_on_until_another_director_is_there() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let mut daemons = reference.serving();
        let (dir1, dir2) = (&reference.hosts.dir1, &reference.hosts.dir2);
        let vip = watch(&reference);
        let client = steady_client(&reference);
        daemons.dir2.stop(PATIENCE);

        let alone = mark();
        reference.compile_text(&without_dir1());
        let line = daemons.dir1.wait_told(LogEvent::MaintenanceWaits, PATIENCE);
        assert!(line.field("reason").contains("no other director of VI_1 was heard"), "{line:?}");
        wait_serving(&reference, dir1, &json!(["VI_1"]));
        let page = command(&reference, dir1, &["status"]).expect_success();
        assert!(page.contains("GOES INTO MAINTENANCE, as the plan says, and still serves VI_1"), "{page}");
        client.wait_ok(PATIENCE);
        lab.assert_within("client gap", client.gap_since(alone), SKEW + TOLERANCE, alone);
        assert_eq!(vip.none_since(alone), std::time::Duration::ZERO, "it let go with nobody there");

        // A restart does not make an outage of it.
        daemons.dir1.stop(PATIENCE);
        daemons.dir1 = reference.start(dir1);
        wait_answer(&reference, dir1);
        vip.wait_holder(dir1, PATIENCE);
        wait_serving(&reference, dir1, &json!(["VI_1"]));

        client.wait_ok(PATIENCE);
        let came = mark();
        daemons.dir2 = reference.start(dir2);
        let took = vip.wait_holder(dir2, PATIENCE);
        client.wait_ok(PATIENCE);
        wait_serving(&reference, dir1, &json!([]));
        let gap = client.gap_since(came);
        lab.log(format!("given away {took:?} after dir2 was started, client gap {gap:?}"));
        lab.assert_within("client gap", gap, SKEW + TOLERANCE, came);
    });
}
