//! Rows 9 and 11: plans that must be refused, and a plan that changes one weight.

use std::path::Path;
use std::time::Duration;

use lab::{Daemon, LogEvent, Mark, Reference, guest, mark};

use crate::support::{DIR1, NO_ELECTION, PATIENCE, TABLE, TOLERANCE, steady_client};

#[test]
fn a_bad_plan_is_refused_with_a_reason_and_the_last_good_one_stays_in_force() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let file = reference.plan(dir1);
        let good = std::fs::read(&file).expect("plan");
        let other = std::fs::read(reference.plan(&reference.hosts.dir2)).expect("plan");
        let generation = reference.status(dir1)["plan"]["generation"].clone();
        let broken = b"[[router]\nname = ".to_vec();
        let unsealed = good.split(|byte| *byte == b'\n').skip(1).collect::<Vec<_>>().join(&b'\n');
        for (what, bytes, reason) in [
            ("a broken plan", broken, "digest line"),
            ("a plan for another host", other, "the plan is for host dir2"),
            ("an empty file", Vec::new(), "empty"),
            ("a half-written file", good[..good.len() / 2].to_vec(), "incomplete"),
            ("a plan edited by hand", replace(&good, b"weight = 100", b"weight = 0"), "edited"),
            ("a plan without its seal", unsealed, "digest line"),
        ] {
            let written = mark();
            std::fs::write(&file, &bytes).expect("write in place");
            refused(&daemons.dir1, written, reason);
            let status = reference.status(dir1);
            let told = status["plan"]["rejected"]["reason"].as_str().unwrap_or_default().to_owned();
            assert!(told.contains(reason), "{what}: status says {told:?}");
            assert_eq!(status["plan"]["generation"], generation, "{what}");
            assert_eq!(dir1.ipvsadm(), TABLE, "{what}");
            assert!(daemons.dir1.is_running(), "{what}");
            lab.log(format!("{what}: {told}"));
        }
        let removed = mark();
        std::fs::remove_file(&file).expect("remove");
        refused(&daemons.dir1, removed, "no such file");

        // A restart while the file is bad: the last good plan is in the state directory.
        daemons.dir1.stop(PATIENCE);
        let again = reference.start(dir1);
        again.wait_told(LogEvent::Master, PATIENCE);
        let status = reference.status(dir1);
        assert_eq!(status["plan"]["from_last_good"], true);
        assert_eq!(status["plan"]["generation"], generation);

        // A good plan afterwards is taken.
        let text =
            Reference::cluster_file().replace("host = \"rs1\", weight = 100", "host = \"rs1\", weight = 60");
        let written = mark();
        reference.compile_text(&text);
        again.wait_told_since(written, LogEvent::PlanInForce, PATIENCE);
        lab::eventually(PATIENCE, "the new weight is in the table", || dir1.ipvsadm()[1].ends_with("-w 60"));
        let status = reference.status(dir1);
        assert!(status["plan"]["rejected"].is_null(), "{status}");
        assert_eq!(status["plan"]["from_last_good"], false);
    });
}

#[track_caller]
fn refused(daemon: &Daemon, since: Mark, reason: &str) {
    let line = daemon.wait_told_since(since, LogEvent::PlanRefused, PATIENCE);
    assert!(line.field("reason").contains(reason), "{line:?}");
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    let (from, to) = (String::from_utf8_lossy(from), String::from_utf8_lossy(to));
    text.replace(&*from, &to).into_bytes()
}

#[test]
fn one_changed_weight_is_one_kernel_operation_and_delays_no_advertisement() {
    guest(|lab| {
        let reference = Reference::new(lab);
        let daemons = reference.serving();
        let dir1 = &reference.hosts.dir1;
        let client = steady_client(&reference);
        let adverts = lab.capture_vrrp();
        let requests = dir1.netlink_capture();
        let events = dir1.monitor();
        adverts.wait(PATIENCE, |advert| advert.what.source == DIR1);
        let operations = reference.status(dir1)["convergence"]["operations"].as_u64().expect("a number");

        let text =
            Reference::cluster_file().replace("host = \"rs1\", weight = 100", "host = \"rs1\", weight = 50");
        let changed = mark();
        let said = reference.compile_text(&text);
        lab.log(said.trim_end());
        daemons.dir1.wait_told_since(changed, LogEvent::WeightSet.with("weight", "50"), PATIENCE);
        lab.log(format!("in the kernel {:?} after the compiler was started", changed.elapsed()));
        std::thread::sleep(Duration::from_secs(8));
        assert_eq!(dir1.ipvsadm()[1], TABLE[1].replace("-w 100", "-w 50"));
        assert_eq!(requests.changes_since(changed), ["IPVS SET_DEST"]);
        let touched: Vec<String> = events
            .since(changed)
            .into_iter()
            .filter(|event| !event.what.text.contains("neigh") && event.what.address.is_some())
            .map(|event| event.what.text)
            .collect();
        assert_eq!(touched, Vec::<String>::new(), "addresses touched");
        let status = reference.status(dir1);
        assert_eq!(status["convergence"]["operations"].as_u64(), Some(operations + 1));
        let longest = adverts.max_interval(DIR1, changed);
        lab.log(format!("longest time between two adverts {longest:?}"));
        lab.assert_within("silence of dir1", longest, Duration::from_secs(1) + TOLERANCE, changed);
        lab.assert_within("client gap", client.gap_since(changed), NO_ELECTION, changed);
        // Nobody is on time where the guest stands still.
        let late = &status["routers"][0]["counters"]["late_adverts"];
        let stalled = lab.pulse().stalled_since(mark() - lab.elapsed());
        assert!(
            *late == 0 || stalled > Duration::from_millis(20),
            "{late} late, the guest stood still for {stalled:?}"
        );
    });
}

/// A directory of plans behind a symlink that is swapped, as Kubernetes and many deploy tools do it.
#[test]
fn a_plan_is_taken_by_rename_by_symlink_swap_and_by_a_write_in_place() {
    guest(|lab| {
        let mut reference = Reference::new(lab);
        let dir1 = reference.hosts.dir1.clone();
        compile(&mut reference, "one", 10);
        compile(&mut reference, "two", 20);
        let current = lab.path("current");
        std::os::unix::fs::symlink("one", &current).expect("symlink");
        reference.plans = lab.plans("current");
        let _daemon = reference.start(&dir1);
        let weight = |wanted: u16| {
            lab::eventually(PATIENCE, &format!("weight {wanted} is in the table"), || {
                dir1.ipvsadm().get(1).is_some_and(|rule| rule.ends_with(&format!("-w {wanted}")))
            })
        };
        weight(10);
        std::os::unix::fs::symlink("two", lab.path("next")).expect("symlink");
        std::fs::rename(lab.path("next"), &current).expect("swap");
        lab.log(format!("symlink swap: taken after {:?}", weight(20)));
        compile(&mut reference, "two", 30);
        lab.log(format!("rename: taken after {:?}", weight(30)));
        compile(&mut reference, "three", 40);
        in_place(&lab.path("three"), &lab.path("two"));
        lab.log(format!("write in place: taken after {:?}", weight(40)));
    });
}

fn compile(reference: &mut Reference<'_>, directory: &str, weight: u16) {
    reference.plans = reference.lab().plans(directory);
    let weight = format!("host = \"rs1\", weight = {weight}");
    let text = Reference::cluster_file().replace("host = \"rs1\", weight = 100", &weight);
    reference.compile_text(&text);
}

fn in_place(from: &Path, to: &Path) {
    let bytes = std::fs::read(from.join("dir1.plan.toml")).expect("plan");
    std::fs::write(to.join("dir1.plan.toml"), bytes).expect("write in place");
}
