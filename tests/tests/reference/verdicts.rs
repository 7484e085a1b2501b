//! A verdict reaches the kernel by itself: no full observation has to come by.

use lab::{Reference, eventually, guest};

use crate::support::{PATIENCE, TABLE};

/// The next full observation is longer away than any test lasts.
const POLICY: &str = "\n[policy]\nresync = \"1h\"\n";

#[test]
fn a_changed_verdict_is_in_the_kernel_without_a_resync() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        // Verdicts within a second: only the way from there to the kernel is looked at.
        let times = "interval = \"5s\", timeout = \"10s\", retries = 3, retry_delay = \"3s\"";
        let text = Reference::cluster_file();
        assert!(text.contains(times), "the example's check");
        let soon = "interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";
        reference.compile_text(&(text.replace(times, soon) + POLICY));
        let _daemons = reference.serving();
        let dir1 = reference.hosts.dir1.clone();
        eventually(PATIENCE, "dir1 is converged, with both real servers", || {
            reference.status(&dir1)["convergence"]["converged"] == true && dir1.ipvsadm() == TABLE
        });
        // Twice: the second change finds what the first one's pass left behind.
        for turn in 1..=2 {
            reference.web1.stop();
            eventually(PATIENCE, &format!("rs1 is out of the table, turn {turn}"), || {
                dir1.ipvsadm() == [TABLE[0], TABLE[2]]
            });
            reference.web1.start();
            eventually(PATIENCE, &format!("rs1 is in the table, turn {turn}"), || dir1.ipvsadm() == TABLE);
        }
        let convergence = &reference.status(&dir1)["convergence"];
        assert_eq!(convergence["converged"], true, "{convergence}");
    });
}
