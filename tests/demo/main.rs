//! The demo behind `examples/demo`: the reference cluster in a throwaway kernel, told in plain words.
//!
//! Every number printed is measured by a client that fetches from the VIP all the time. A step that does not keep its
//! promise ends the demo with exit code 1.

use std::process::ExitCode;
use std::time::Duration;

use lab::{Daemons, Lab, Mark, Options, Prober, Reference, VipWatch, eventually, mark, run_main};

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    run_main(Options::default(), demo)
}

fn demo(lab: &Lab) {
    println!("A kernel of its own has booted: {}", lab.run(["uname", "-sr"]).trim_end());
    println!(
        "Five hosts in it: client .111, directors dir1 .108 and dir2 .109, real servers rs1 .107 and rs2 .110."
    );
    let mut demo = Demo::start(lab);
    demo.show();
    demo.stop_master();
    demo.start_master();
    demo.cut_link();
    demo.reconnect();
    demo.kill_master();
    demo.repair();
    demo.stop_web_server();
    demo.start_web_server();
    step("Done");
    println!("Every step kept its promise. The kernel powers off and leaves nothing behind.");
}

struct Demo<'l> {
    reference: Reference<'l>,
    daemons: Daemons,
    client: Prober,
    vip: VipWatch,
}

fn step(title: &str) {
    println!("\n== {title}");
}

fn promise(kept: bool, what: &str) {
    assert!(kept, "promise not kept: {what}");
    println!("   ok: {what}");
}

impl<'l> Demo<'l> {
    fn start(lab: &'l Lab) -> Self {
        step("Compile examples/lvs-dr/cluster.toml and start evenkeeld on all four hosts");
        let reference = Reference::new(lab);
        let begun = mark();
        let daemons = reference.serving();
        let hosts = &reference.hosts;
        let vip = lab.watch_vip(hosts.vip, &[&hosts.dir1, &hosts.dir2], "eth0");
        let client = hosts.client.probe(hosts.vip, 80);
        client.wait_ok(PATIENCE);
        println!(
            "   the VIP 192.168.188.120 serves {:.1} s after the first daemon was started",
            secs(begun.elapsed())
        );
        Self { reference, daemons, client, vip }
    }

    fn show(&self) {
        step("What is in the kernel");
        let hosts = &self.reference.hosts;
        print!(
            "   dir1$ ip -br -4 addr show eth0\n{}",
            indent(&hosts.dir1.run(["ip", "-br", "-4", "addr", "show", "eth0"]))
        );
        print!("   dir1$ ipvsadm -Ln\n{}", indent(&hosts.dir1.run(["ipvsadm", "-Ln"])));
        print!(
            "   rs1$ ip -br -4 addr show lo\n{}",
            indent(&hosts.rs1.run(["ip", "-br", "-4", "addr", "show", "lo"]))
        );
        let asked = mark();
        self.client.wait_responder(&hosts.rs1, PATIENCE);
        self.client.wait_responder(&hosts.rs2, PATIENCE);
        promise(
            self.client.responders_since(asked).len() == 2,
            "a client that fetches from the VIP is answered by rs1 and by rs2",
        );
    }

    /// The client's longest time without an answer since `since`, once it has been answered again.
    fn gap(&self, since: Mark) -> Duration {
        self.client.wait_ok(PATIENCE);
        self.client.gap_since(since)
    }

    fn stop_master(&self) {
        step("Stop evenkeeld on dir1, the Master");
        let begun = mark();
        self.daemons.dir1.stop(PATIENCE);
        self.vip.wait_holder(&self.reference.hosts.dir2, PATIENCE);
        let gap = self.gap(begun);
        println!("   dir2 took the VIP; the client waited {}", ms(gap));
        promise(
            gap <= Duration::from_millis(698),
            "no longer than the protocol's skew time, 648 ms, and 50 ms",
        );
    }

    fn start_master(&mut self) {
        step("Start evenkeeld on dir1 again");
        let begun = mark();
        self.daemons.dir1 = self.reference.start(&self.reference.hosts.dir1);
        self.vip.wait_holder(&self.reference.hosts.dir1, PATIENCE);
        let gap = self.gap(begun);
        println!("   dir1 has the higher priority and took the VIP back; the client waited {}", ms(gap));
        promise(gap < Duration::from_millis(100), "less than 100 ms");
    }

    fn cut_link(&self) {
        step("Cut dir1's link");
        let begun = mark();
        self.reference.hosts.dir1.cut();
        eventually(PATIENCE, "dir2 has the VIP", || self.vip.holders() == ["dir2"]);
        let gap = self.gap(begun);
        println!("   dir2 heard nothing for three intervals and took the VIP; the client waited {}", ms(gap));
        promise(
            gap <= Duration::from_millis(3698),
            "no longer than the master-down interval, 3648 ms, and 50 ms",
        );
    }

    fn reconnect(&self) {
        step("Connect dir1 again");
        let begun = mark();
        self.reference.hosts.dir1.reconnect();
        self.vip.wait_holder(&self.reference.hosts.dir1, PATIENCE);
        println!("   dir1 is the one Master again; the client waited {}", ms(self.gap(begun)));
        promise(self.vip.holders() == ["dir1"], "exactly one director holds the VIP");
    }

    fn kill_master(&mut self) {
        step("kill -9 evenkeeld on dir1, and start it again a second later");
        let begun = mark();
        self.daemons.dir1.kill9();
        std::thread::sleep(Duration::from_secs(1));
        self.daemons.dir1 = self.reference.start(&self.reference.hosts.dir1);
        self.daemons.dir1.wait_log("Entering MASTER STATE", PATIENCE);
        let gap = self.gap(begun);
        println!("   it went on as Master from where it was; the client's longest wait was {}", ms(gap));
        promise(gap < Duration::from_millis(100), "less than 100 ms");
        promise(self.vip.none_since(begun).is_zero(), "the VIP never left dir1: no election");
    }

    fn repair(&self) {
        step("Delete the VIP and clear the IPVS table by hand on dir1");
        let dir1 = &self.reference.hosts.dir1;
        let table = dir1.ipvsadm();
        let begun = mark();
        dir1.run(["ip", "addr", "del", "192.168.188.120/32", "dev", "eth0"]);
        self.vip.wait_holder(dir1, PATIENCE);
        let without = self.vip.none_since(begun);
        println!("   the VIP was gone for {:.1} ms", without.as_secs_f64() * 1000.0);
        promise(without < Duration::from_millis(500), "put back at once, dir1 still Master");
        dir1.run(["ipvsadm", "-C"]);
        let took = eventually(PATIENCE, "the table is repaired", || dir1.ipvsadm() == table);
        println!("   the IPVS table was back after {:.1} s", secs(took));
        promise(took < Duration::from_millis(5500), "within the resync time, 5 s");
        self.client.wait_ok(PATIENCE);
    }

    fn stop_web_server(&mut self) {
        step("Stop rs1's web server");
        let begun = mark();
        self.reference.web1.stop();
        let dir1 = &self.reference.hosts.dir1;
        let took = eventually(PATIENCE, "rs1 is out", || dir1.ipvsadm().len() == 2);
        println!("   its check failed, and three retries 3 s apart: taken out after {:.1} s", secs(took));
        let out = mark();
        self.client.wait_ok(PATIENCE);
        promise(took < Duration::from_secs(16) && begun < out, "only rs2 is left in the table");
        eventually(PATIENCE, "twenty answers", || self.client.since(out).len() >= 20);
        let errors = self.client.errors_since(out);
        // Beside a lost packet or two: the machine may be busy.
        promise(errors.keys().all(|error| error.contains("in time")), "no connection is refused any more");
    }

    fn start_web_server(&mut self) {
        step("Start rs1's web server");
        self.reference.web1.start();
        let dir1 = &self.reference.hosts.dir1;
        let took = eventually(PATIENCE, "rs1 is back", || dir1.ipvsadm().len() == 3);
        println!("   its first successful check put it back after {:.1} s", secs(took));
        self.client.wait_responder(&self.reference.hosts.rs1, PATIENCE);
        promise(took < Duration::from_secs(7), "both real servers answer again");
    }
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

fn secs(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("     {line}\n")).collect()
}
