//! Several checks of one service: a destination serves while all of them succeed.

use lab::{Reference, eventually, guest};

use crate::support::{PATIENCE, TABLE};

/// Port of the second check. No client uses it.
const ADMIN: u16 = 8080;

#[test]
fn each_of_two_checks_takes_a_destination_out_and_brings_it_back() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let mut admin = reference.hosts.rs1.web(ADMIN);
        let _admin2 = reference.hosts.rs2.web(ADMIN);
        let check = "check = { type = \"tcp\", interval = \"5s\", timeout = \"10s\", retries = 3, \
                     retry_delay = \"3s\" }";
        let text = Reference::cluster_file();
        assert!(text.contains(check), "the example's check");
        let soon = "interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";
        let both = format!(
            "check = {{ type = \"http\", path = \"/health\", {soon} }}\n\
             checks = [{{ type = \"tcp\", port = {ADMIN}, {soon} }}]"
        );
        reference.compile_text(&text.replace(check, &both));
        let _daemons = reference.serving();
        let (dir1, dir2) = (reference.hosts.dir1.clone(), reference.hosts.dir2.clone());
        let tables = |wanted: &[&str]| dir1.ipvsadm() == wanted && dir2.ipvsadm() == wanted;
        let without_rs1 = [TABLE[0], TABLE[2]];
        eventually(PATIENCE, "both real servers serve", || tables(&TABLE));

        reference.web1.answer("/health", 503, "no database");
        eventually(PATIENCE, "the first check takes rs1 out", || tables(&without_rs1));
        let destination = &reference.status(&dir1)["virtual_servers"][0]["destinations"][0];
        let checks = &destination["checks"];
        assert_eq!(
            (&checks[0]["verdict"], &checks[1]["verdict"]),
            (&"down".into(), &"up".into()),
            "{checks}"
        );
        assert_eq!(destination["verdict"], "down", "{destination}");
        let told = destination["last_result"].as_str().unwrap_or_default();
        assert!(told.contains("503"), "{destination}");
        reference.web1.answer("/health", 200, "well");
        eventually(PATIENCE, "the first check brings rs1 back", || tables(&TABLE));

        admin.stop();
        eventually(PATIENCE, "the second check takes rs1 out", || tables(&without_rs1));
        let destination = &reference.status(&dir1)["virtual_servers"][0]["destinations"][0];
        let checks = &destination["checks"];
        assert_eq!(
            (&checks[0]["verdict"], &checks[1]["verdict"]),
            (&"up".into(), &"down".into()),
            "{checks}"
        );

        // A check that mends brings nothing back while another fails.
        reference.web1.answer("/health", 503, "no database");
        eventually(PATIENCE, "both checks fail", || {
            reference.status(&dir1)["virtual_servers"][0]["destinations"][0]["checks"][0]["verdict"] == "down"
        });
        admin.start();
        eventually(PATIENCE, "the second check succeeds again", || {
            reference.status(&dir1)["virtual_servers"][0]["destinations"][0]["checks"][1]["verdict"] == "up"
        });
        assert_eq!(dir1.ipvsadm(), without_rs1, "the first check fails still");
        reference.web1.answer("/health", 200, "well");
        eventually(PATIENCE, "rs1 is back", || tables(&TABLE));
    });
}
