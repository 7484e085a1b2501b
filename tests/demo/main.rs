//! The demo behind `examples/demo`: the reference cluster in a throwaway kernel, told in plain words.
//!
//! Every number printed is measured by a client that fetches from the VIP all the time. What is promised is
//! judged in `promise`: a machine that stood still itself keeps a promise from being judged, and that is said
//! with the figures.

mod promise;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use lab::{
    Daemons, Ended, Lab, LogEvent, Mark, Options, Prober, Reference, VipWatch, eventually, is_outside, mark,
    run_story, words,
};

use promise::Promises;

/// For whatever must happen, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// For all of it: a minute and a half on a machine that does nothing else.
const TIME_LIMIT: Duration = Duration::from_secs(900);
/// Exit code of a command line that is not understood.
const USAGE: u8 = 2;
const HELP: &str = "\
Shows a failover of the reference cluster in a throwaway kernel: takes a minute and a half, changes nothing \
on this machine.

Usage: examples/demo [--help]

Exit codes: 0 every promise was kept; 1 one was not, or the demo cannot run here; 2 the machine stood still \
itself for
so long that a promise cannot be judged; 130 interrupted by Ctrl-C, after which nothing is left either.
";

fn main() -> ExitCode {
    match std::env::args().nth(1).filter(|_| is_outside()).as_deref() {
        None => run_story(Options { time_limit: TIME_LIMIT, ..Options::default() }, demo),
        Some("--help" | "-h") => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Some(other) => {
            eprintln!("error: there is no argument `{other}`\n  hint: examples/demo --help");
            ExitCode::from(USAGE)
        }
    }
}

fn demo(lab: &Lab) -> Result<(), Ended> {
    let mut promises = Promises::new(lab);
    match catch_unwind(AssertUnwindSafe(|| show(lab, &mut promises))) {
        Ok(Ok(())) => promises.all(),
        Ok(Err(ended)) => Err(ended),
        Err(panic) => Err(promises.in_vain(&words(&*panic))),
    }
}

fn show<'l>(lab: &'l Lab, promises: &mut Promises<'l>) -> Result<(), Ended> {
    println!("A kernel of its own has booted: {}", lab.run(["uname", "-sr"]).trim_end());
    println!(
        "Five hosts in it: client .111, directors dir1 .108 and dir2 .109, real servers rs1 .107 and rs2 \
        .110."
    );
    let mut demo = Demo::start(lab, promises);
    demo.show()?;
    demo.stop_master()?;
    demo.start_master()?;
    demo.cut_link()?;
    demo.reconnect()?;
    demo.kill_master()?;
    demo.repair()?;
    demo.stop_web_server()?;
    demo.start_web_server()
}

struct Demo<'l, 'p> {
    promises: &'p mut Promises<'l>,
    reference: Reference<'l>,
    daemons: Daemons,
    client: Prober,
    vip: VipWatch,
}

impl<'l, 'p> Demo<'l, 'p> {
    fn start(lab: &'l Lab, promises: &'p mut Promises<'l>) -> Self {
        promises.step("Compile examples/lvs-dr/cluster.toml and start evenkeeld on all four hosts");
        let reference = Reference::new(lab);
        let begun = mark();
        let daemons = reference.serving_within(PATIENCE);
        let hosts = &reference.hosts;
        let vip = lab.watch_vip(hosts.vip, &[&hosts.dir1, &hosts.dir2], "eth0");
        let client = hosts.client.probe(hosts.vip, 80);
        client.wait_ok(PATIENCE);
        println!(
            "   the VIP 192.168.188.120 serves {:.1} s after the first daemon was started",
            secs(begun.elapsed())
        );
        Self { promises, reference, daemons, client, vip }
    }

    fn show(&mut self) -> Result<(), Ended> {
        self.promises.step("What is in the kernel");
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
        self.promises.fact(
            "a client that fetches from the VIP is answered by rs1 and by rs2",
            self.client.responders_since(asked).len() == 2,
        )
    }

    /// The client's longest time without an answer since `since`, once it has been answered again.
    fn gap(&self, since: Mark) -> Duration {
        self.client.wait_ok(PATIENCE);
        self.client.gap_since(since)
    }

    fn stop_master(&mut self) -> Result<(), Ended> {
        self.promises.step("Stop evenkeeld on dir1, the Master");
        let begun = mark();
        self.daemons.dir1.stop(PATIENCE);
        self.vip.wait_holder(&self.reference.hosts.dir2, PATIENCE);
        let gap = self.gap(begun);
        println!("   dir2 took the VIP; the client waited {}", ms(gap));
        self.promises.within(
            "no longer than the protocol's skew time, 648 ms, and 50 ms",
            gap,
            Duration::from_millis(698),
        )
    }

    fn start_master(&mut self) -> Result<(), Ended> {
        self.promises.step("Start evenkeeld on dir1 again");
        let begun = mark();
        self.daemons.dir1 = self.reference.start(&self.reference.hosts.dir1);
        self.vip.wait_holder(&self.reference.hosts.dir1, PATIENCE);
        let gap = self.gap(begun);
        println!("   dir1 has the higher priority and took the VIP back; the client waited {}", ms(gap));
        self.promises.within("less than 100 ms", gap, Duration::from_millis(100))
    }

    fn cut_link(&mut self) -> Result<(), Ended> {
        self.promises.step("Cut dir1's link");
        let begun = mark();
        self.reference.hosts.dir1.cut();
        eventually(PATIENCE, "dir2 has the VIP", || self.vip.holders() == ["dir2"]);
        let gap = self.gap(begun);
        println!("   dir2 heard nothing for three intervals and took the VIP; the client waited {}", ms(gap));
        self.promises.within(
            "no longer than the master-down interval, 3648 ms, and 50 ms",
            gap,
            Duration::from_millis(3698),
        )
    }

    fn reconnect(&mut self) -> Result<(), Ended> {
        self.promises.step("Connect dir1 again");
        let begun = mark();
        self.reference.hosts.dir1.reconnect();
        self.vip.wait_holder(&self.reference.hosts.dir1, PATIENCE);
        println!("   dir1 is the one Master again; the client waited {}", ms(self.gap(begun)));
        self.promises.fact("exactly one director holds the VIP", self.vip.holders() == ["dir1"])
    }

    fn kill_master(&mut self) -> Result<(), Ended> {
        self.promises.step("kill -9 evenkeeld on dir1, and start it again a second later");
        let begun = mark();
        self.daemons.dir1.kill9();
        std::thread::sleep(Duration::from_secs(1));
        self.daemons.dir1 = self.reference.start(&self.reference.hosts.dir1);
        self.daemons.dir1.wait_told(LogEvent::Master, PATIENCE);
        let gap = self.gap(begun);
        println!("   it went on as Master from where it was; the client's longest wait was {}", ms(gap));
        self.promises.within("less than 100 ms", gap, Duration::from_millis(100))?;
        self.promises.fact("the VIP never left dir1: no election", self.vip.none_since(begun).is_zero())
    }

    fn repair(&mut self) -> Result<(), Ended> {
        self.promises.step("Delete the VIP and clear the IPVS table by hand on dir1");
        let dir1 = &self.reference.hosts.dir1;
        let table = dir1.ipvsadm();
        let begun = mark();
        dir1.run(["ip", "addr", "del", "192.168.188.120/32", "dev", "eth0"]);
        self.vip.wait_holder(dir1, PATIENCE);
        let without = self.vip.none_since(begun);
        println!("   the VIP was gone for {:.1} ms", without.as_secs_f64() * 1000.0);
        self.promises.within("put back at once, dir1 still Master", without, Duration::from_millis(500))?;
        dir1.run(["ipvsadm", "-C"]);
        let took = eventually(PATIENCE, "the table is repaired", || dir1.ipvsadm() == table);
        println!("   the IPVS table was back after {:.1} s", secs(took));
        self.client.wait_ok(PATIENCE);
        self.promises.within("within the resync time, 5 s", took, Duration::from_millis(5500))
    }

    fn stop_web_server(&mut self) -> Result<(), Ended> {
        self.promises.step("Stop rs1's web server");
        self.reference.web1.stop();
        let dir1 = &self.reference.hosts.dir1;
        let took = eventually(PATIENCE, "rs1 is out", || dir1.ipvsadm().len() == 2);
        println!("   its check failed, and three retries 3 s apart: taken out after {:.1} s", secs(took));
        let out = mark();
        self.client.wait_ok(PATIENCE);
        self.promises.within("only rs2 is left in the table", took, Duration::from_secs(16))?;
        eventually(PATIENCE, "twenty answers", || self.client.since(out).len() >= 20);
        let errors = self.client.errors_since(out);
        // Beside a lost packet or two: the machine may be busy.
        self.promises
            .fact("no connection is refused any more", errors.keys().all(|error| error.contains("in time")))
    }

    fn start_web_server(&mut self) -> Result<(), Ended> {
        self.promises.step("Start rs1's web server");
        self.reference.web1.start();
        let dir1 = &self.reference.hosts.dir1;
        let took = eventually(PATIENCE, "rs1 is back", || dir1.ipvsadm().len() == 3);
        println!("   its first successful check put it back after {:.1} s", secs(took));
        self.client.wait_responder(&self.reference.hosts.rs1, PATIENCE);
        self.promises.within("both real servers answer again", took, Duration::from_secs(7))
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
