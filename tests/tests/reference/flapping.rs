//! A real server that asks to be drained, fails for a while, and flaps.

use std::time::Duration;

use lab::{LogEvent, Reference, eventually, guest, mark};

use crate::support::{PATIENCE, TABLE};

/// Wait before a second return.
const DELAY: Duration = Duration::from_secs(6);

#[test]
fn one_that_asks_is_drained_one_that_fails_is_quiesced_for_a_time_and_one_that_flaps_waits() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let check = "check = { type = \"tcp\", interval = \"5s\", timeout = \"10s\", retries = 3, \
                     retry_delay = \"3s\" }";
        let text = Reference::cluster_file();
        assert!(text.contains(check), "the example's check");
        let soon = "interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";
        let more = format!(
            "check = {{ type = \"http\", path = \"/health\", drain_status = [\"404\"], {soon} }}\n\
             on_failure = \"quiesce\"\nquiesce_for = \"4s\"\ndamping = {{ delay = \"6s\" }}"
        );
        reference.compile_text(&text.replace(check, &more));
        let daemons = reference.serving();
        let dir1 = reference.hosts.dir1.clone();
        let quiet = TABLE[1].replace("-w 100", "-w 0");
        let quiet = [TABLE[0], &quiet, TABLE[2]];
        let destination = || reference.status(&dir1)["virtual_servers"][0]["destinations"][0].clone();
        eventually(PATIENCE, "both real servers serve", || dir1.ipvsadm() == TABLE);

        reference.web1.answer("/health", 404, "gone soon");
        eventually(PATIENCE, "rs1 gets no new connections", || dir1.ipvsadm() == quiet);
        let status = destination();
        assert_eq!(
            (&status["verdict"], &status["checks"][0]["drain"]),
            (&"up".into(), &true.into()),
            "{status}"
        );
        reference.web1.answer("/health", 200, "well");
        eventually(PATIENCE, "rs1 serves again", || dir1.ipvsadm() == TABLE);

        reference.web1.answer("/health", 503, "no database");
        eventually(PATIENCE, "rs1 has weight 0", || dir1.ipvsadm() == quiet);
        let held = destination()["held"].as_str().unwrap_or_default().to_owned();
        assert!(held.starts_with("leaves the table at "), "{held}");
        eventually(PATIENCE, "rs1 has left", || dir1.ipvsadm() == [TABLE[0], TABLE[2]]);
        reference.web1.answer("/health", 200, "well");
        eventually(PATIENCE, "rs1 returns at once", || dir1.ipvsadm() == TABLE);

        reference.web1.answer("/health", 503, "no database");
        eventually(PATIENCE, "rs1 has weight 0 again", || dir1.ipvsadm() == quiet);
        let mended = mark();
        reference.web1.answer("/health", 200, "well");
        let waits = "destination waits before it returns, as it flaps";
        daemons.dir1.wait_told_since(mended, LogEvent::CheckSucceeded.with("effect", waits), PATIENCE);
        let held = destination()["held"].as_str().unwrap_or_default().to_owned();
        assert!(held.starts_with("held by damping until "), "{held}");
        eventually(PATIENCE, "rs1 returns after its wait", || dir1.ipvsadm() == TABLE);
        assert!(mended.elapsed() >= DELAY, "after {:?}", mended.elapsed());
    });
}
