//! Large IPVS tables, in one guest and one run: from a plan file to a verified kernel, what keeping it so
//! takes, and one change in it. Beside what the kernel itself takes (`raw`), `ipvsadm` and keepalived.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{Daemon, Figures, Host, Lab, LogEvent, Mark, Plans, mark};
use nix::sys::signal::Signal;

use super::processes::{cpu_seconds, memory};
use super::raw::{Entry, Raw, Service};

/// Real servers that exist; a service takes some of them.
const REAL_SERVERS: u32 = 100;
/// Services a VIP has.
const PORTS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(300);
const LONG_PATIENCE: Duration = Duration::from_secs(1800);
/// How long the cost of keeping a table is measured, at the default `resync` of 5 s.
const WATCHED: Duration = Duration::from_secs(60);
/// Changes of one weight: ours, keepalived's.
const CHANGES: [usize; 2] = [100, 3];

/// Every size, smallest first.
pub(crate) fn measure(lab: &Lab, sizes: &[(u32, u32)]) {
    touch_memory();
    let mut tables = Vec::new();
    for (services, destinations) in sizes {
        tables.push(Bench::new(lab, *services, *destinations).run());
    }
    println!("\n{}", tables.join("\n\n"));
}

/// A page of the guest that is used for the first time costs its host as well: nobody's figures shall have
/// that in them.
pub(super) fn touch_memory() {
    const BYTES: usize = 2 << 30;
    let pages = vec![1_u8; BYTES];
    assert_eq!(std::hint::black_box(&pages)[BYTES - 1], 1);
}

pub(super) struct Bench<'l> {
    lab: &'l Lab,
    services: u32,
    destinations: u32,
    table: Vec<Service>,
    /// Compiled plans: with the table, and with one weight in it changed.
    plans: [Plans<'l>; 2],
    rows: Vec<String>,
}

fn vip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0A02_0001 + service / PORTS)
}

fn port(service: u32) -> u16 {
    u16::try_from(1000 + service % PORTS).expect("a port")
}

fn real_server(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0A01_0101 + number)
}

/// The table; `first_weight` is that of the first service's first destination.
pub(super) fn table(services: u32, destinations: u32, first_weight: u32) -> Vec<Service> {
    let one = |service: u32| {
        let entry = |number: u32| Entry {
            address: real_server((service * 7 + number) % REAL_SERVERS),
            port: port(service),
            weight: if (service, number) == (0, 0) { first_weight } else { 100 + number },
        };
        Service {
            address: vip(service),
            port: port(service),
            destinations: (0..destinations).map(entry).collect(),
        }
    };
    (0..services).map(one).collect()
}

pub(super) fn cluster_file(table: &[Service]) -> String {
    let mut text = String::from(
        "version = 1\nname = \"large\"\n[segments.front]\nsubnets = [\"10.0.0.0/8\"]\n[hosts]\n\
         dir1 = { address = \"10.1.0.1\", interface = \"eth0\" }\ndir2 = { address = \"10.1.0.2\", interface \
         = \"eth0\" }\n",
    );
    for number in 0..REAL_SERVERS {
        let _ =
            writeln!(text, "h{number} = {{ address = \"{}\", interface = \"eth0\" }}", real_server(number));
    }
    let vips: BTreeSet<Ipv4Addr> = table.iter().map(|service| service.address).collect();
    let vips: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
    let _ = writeln!(
        text,
        "[virtual_routers.R]\nvrid = 1\nvips = [{}]\ndirectors = [\"dir1\", \"dir2\"]",
        vips.join(", ")
    );
    for (number, service) in table.iter().enumerate() {
        let host = |address: Ipv4Addr| address.to_bits() - real_server(0).to_bits();
        let entries = service.destinations.iter();
        let entries: Vec<String> = entries
            .map(|entry| format!("{{ host = \"h{}\", weight = {} }}", host(entry.address), entry.weight))
            .collect();
        let _ = writeln!(
            text,
            "[services.s{number}]\nrouter = \"R\"\nvip = \"{}\"\nprotocol = \"tcp\"\nport = {}\nscheduler \
            = \"wlc\"\n\
             forwarding = \"dr\"\nreal_servers = [{}]",
            service.address,
            service.port,
            entries.join(", ")
        );
    }
    text
}

fn rules(table: &[Service]) -> String {
    let mut text = String::new();
    for service in table {
        let key = format!("{}:{}", service.address, service.port);
        let _ = writeln!(text, "-A -t {key} -s wlc");
        for entry in &service.destinations {
            let _ = writeln!(text, "-a -t {key} -r {}:{} -g -w {}", entry.address, entry.port, entry.weight);
        }
    }
    text
}

fn keepalived_file(table: &[Service]) -> String {
    let vips: BTreeSet<Ipv4Addr> = table.iter().map(|service| service.address).collect();
    let vips: Vec<String> = vips.iter().map(Ipv4Addr::to_string).collect();
    let mut text = format!(
        "global_defs {{\n  router_id LAB\n}}\nvrrp_instance R {{\n  state MASTER\n  interface eth0\n  \
        virtual_router_id 1\n  \
         priority 100\n  advert_int 1\n  virtual_ipaddress {{\n    {}\n  }}\n}}\n",
        vips.join("\n    ")
    );
    for service in table {
        let _ = writeln!(
            text,
            "virtual_server {} {} {{\n  lb_algo wlc\n  lb_kind DR\n  protocol TCP",
            service.address, service.port
        );
        for entry in &service.destinations {
            let _ = writeln!(
                text,
                "  real_server {} {} {{\n    weight {}\n  }}",
                entry.address, entry.port, entry.weight
            );
        }
        text.push_str("}\n");
    }
    text
}

/// Lines of the kernel's own listing that are destinations.
fn destinations_of(host: &Host) -> usize {
    let text = host.read("/proc/thread-self/net/ip_vs");
    text.lines().skip(3).filter(|line| line.starts_with("  ->")).count()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

impl<'l> Bench<'l> {
    fn new(lab: &'l Lab, services: u32, destinations: u32) -> Self {
        let name = |which: &str| format!("{which}-{services}-{destinations}");
        let plans = [(10, "plan"), (11, "changed")].map(|(weight, which)| {
            let plans = lab.plans(&name(which));
            plans.compile_text(&cluster_file(&table(services, destinations, weight)));
            plans
        });
        Self {
            lab,
            services,
            destinations,
            table: table(services, destinations, 10),
            plans,
            rows: Vec::new(),
        }
    }

    fn tell(&mut self, text: String) {
        self.lab.log(&text);
        self.rows.push(format!("  {text}"));
    }

    fn run(mut self) -> String {
        let (write, read) = self.raw();
        self.ours(write, read);
        self.once(write + read);
        let restored = self.ipvsadm();
        let keepalived = self.keepalived();
        let of = |time: Duration| format!("{:.1} of raw", seconds(time) / seconds(write + read));
        self.tell(format!("ipvsadm -R: {:.2} s, {}", seconds(restored), of(restored)));
        self.tell(format!("keepalived from its start: {:.2} s, {}", seconds(keepalived), of(keepalived)));
        let title = format!("{} services x {} destinations:", self.services, self.destinations);
        format!("{title}\n{}", self.rows.join("\n"))
    }

    /// A host of its own for each way: what was removed from a table slows its next filling for minutes.
    fn host(&self, name: &str) -> Host {
        let host = self.lab.bare_host(&format!("{name}{}", self.services));
        host.attach("eth0", &format!("br-{name}"), "10.1.0.1/8");
        host
    }

    /// Takes the table away: services of all namespaces share the kernel's hash table.
    fn clear(&self, host: &Host) {
        host.run(["ipvsadm", "-C"]);
    }

    fn all_there(&self, host: &Host) {
        let count = destinations_of(host);
        assert_eq!(count, self.services as usize * self.destinations as usize, "destinations in the kernel");
    }

    /// The best of some rounds.
    fn raw(&mut self) -> (Duration, Duration) {
        const ROUNDS: usize = 3;
        let (mut write, mut read) = (Duration::MAX, Duration::MAX);
        for round in 0..ROUNDS {
            let host = self.host(&format!("raw{round}"));
            let table = &self.table;
            let took = host.enter(|| {
                let mut raw = Raw::open();
                let prepared = raw.prepare(table);
                let begun = Instant::now();
                raw.write(&prepared);
                let written = begun.elapsed();
                raw.read(table);
                (written, begun.elapsed() - written)
            });
            (write, read) = (write.min(took.0), read.min(took.1));
            self.all_there(&host);
            self.clear(&host);
        }
        self.tell(format!(
            "raw: prepared bytes written in {:.3} s, read back in {:.3} s, {:.3} s together (the best of \
            {ROUNDS})",
            seconds(write),
            seconds(read),
            seconds(write + read)
        ));
        (write, read)
    }

    /// Puts a plan of `dir1` in place of what the daemon watches.
    fn put(&self, which: usize, directory: &Path) {
        let from = self.plan_file(which);
        let beside = directory.join("next");
        fs::hard_link(from, &beside).expect("a link");
        fs::rename(beside, directory.join("dir1.plan.toml")).expect("in place");
    }

    fn plan_file(&self, which: usize) -> PathBuf {
        self.plans[which].directory().join("dir1.plan.toml")
    }

    fn start(&self, host: &Host, directory: &Path) -> Daemon {
        let program = self.lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let own = |name: &str| host.scratch().join(name).display().to_string();
        let (plan, state, socket) = (directory.display().to_string(), own("state"), own("evenkeeld.sock"));
        let argv =
            [&program, "run", "--plan", &plan, "--host", "dir1", "--state-dir", &state, "--socket", &socket];
        host.spawn(
            "evenkeeld",
            argv,
            &[(
                "EVENKEEL_LOG",
                "info,evenkeel_agent::convergence=debug,evenkeel_agent::source=debug,\
                 evenkeel_agent::daemon=debug",
            )],
        )
    }

    fn status(&self, host: &Host) -> serde_json::Value {
        let program = self.lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let socket = host.scratch().join("evenkeeld.sock").display().to_string();
        host.json([&program, "status", "--json", "--socket", &socket])
    }

    fn ours(&mut self, write: Duration, read: Duration) {
        let host = self.host("ours");
        let directory = host.scratch().join("plans");
        fs::create_dir_all(&directory).expect("a directory");
        let daemon = self.start(&host, &directory);
        daemon.wait_told(LogEvent::NoPlan, PATIENCE);
        let begun = mark();
        self.put(0, &directory);
        let done = daemon.wait_told_since(begun, LogEvent::Converged, PATIENCE);
        let took = done.at.saturating_duration_since(begun);
        self.all_there(&host);
        self.tell(format!(
            "evenkeeld, plan file put in place -> verified: {:.2} s, {:.2} of raw ({:.1} of its write alone)",
            seconds(took),
            seconds(took) / seconds(write + read),
            seconds(took) / seconds(write)
        ));
        self.breakdown(&daemon, begun);
        let status = self.status(&host);
        let generation = status["plan"]["generation"].as_str().unwrap_or_default().to_owned();
        assert!(
            fs::read_to_string(self.plan_file(0)).expect("a plan").contains(&generation),
            "its generation"
        );
        assert_eq!(status["convergence"]["converged"], true, "{status}");
        self.tell(format!("evenkeeld memory: {}", memory(&host, &daemon)));

        let (from, used) = (mark(), cpu_seconds(&host, &daemon));
        std::thread::sleep(WATCHED);
        let cpu = cpu_seconds(&host, &daemon) - used;
        let share = cpu / WATCHED.as_secs_f64() * 100.0;
        let resync: Figures = passes(&daemon, from).into_iter().collect();
        self.tell(format!(
            "evenkeeld resync, nothing to do: {resync}, median {:.2} of raw read; {cpu:.2} s of processor \
            time a minute ({share:.1}%)",
            seconds(resync.median()) / seconds(read)
        ));
        self.tell(format!("evenkeeld memory after a minute: {}", memory(&host, &daemon)));
        self.change(&host, &daemon, &directory);
        self.tell(format!("evenkeeld memory after them: {}", memory(&host, &daemon)));
        daemon.stop(PATIENCE);
        self.clear(&host);
    }

    /// Where the time of a change went, by the daemon's own account.
    fn breakdown(&mut self, daemon: &Daemon, since: Mark) {
        for line in daemon.lines_since(since) {
            if let Some(LogEvent::PlanRead | LogEvent::PlanTaken | LogEvent::Pass) = line.event() {
                self.tell(format!("  {}", line.sentence()));
            }
        }
    }

    /// One weight, there and back.
    fn change(&mut self, host: &Host, daemon: &Daemon, directory: &Path) {
        let operations =
            |status: serde_json::Value| status["convergence"]["operations"].as_u64().expect("a number");
        let before = operations(self.status(host));
        let mut times = Vec::new();
        for change in 0..CHANGES[0] {
            let which = 1 - change % 2;
            let begun = mark();
            self.put(which, directory);
            self.wait_weight(host, 10 + u32::try_from(which).expect("small"), Duration::from_millis(1));
            times.push(begun.elapsed());
            daemon.wait_told_since(begun, LogEvent::Converged, PATIENCE);
        }
        let done = operations(self.status(host)) - before;
        let figures: Figures = times.into_iter().collect();
        self.tell(format!(
            "evenkeeld, one weight: {figures}, p99 {:.1} ms; {done} operations for {} changes",
            figures.percentile(99).as_secs_f64() * 1e3,
            CHANGES[0]
        ));
        self.breakdown(daemon, mark() - Duration::from_secs(2));
    }

    /// Until the first service's first destination has the weight.
    fn wait_weight(&self, host: &Host, weight: u32, every: Duration) {
        let first = &self.table[0];
        host.enter(|| {
            let mut raw = Raw::open();
            let begun = Instant::now();
            while !raw.weights(first).contains(&weight) {
                assert!(begun.elapsed() < LONG_PATIENCE, "the weight changes");
                std::thread::sleep(every);
            }
        });
    }

    fn once(&mut self, raw: Duration) {
        let host = self.host("once");
        let program = self.lab.program("evenkeeld", "evenkeel-agent").display().to_string();
        let (plan, state) = (self.plan_file(0).display().to_string(), host.scratch().join("state"));
        let state = state.display().to_string();
        let begun = Instant::now();
        host.run([&program, "converge", "--plan", &plan, "--host", "dir1", "--state-dir", &state]);
        let took = begun.elapsed();
        self.all_there(&host);
        self.clear(&host);
        let ratio = seconds(took) / seconds(raw);
        self.tell(format!("evenkeeld converge: {:.2} s, {ratio:.2} of raw", seconds(took)));
    }

    fn ipvsadm(&self) -> Duration {
        let host = self.host("adm");
        let file = self.lab.write("rules", rules(&self.table));
        // Loads the module, for all ways alike.
        self.clear(&host);
        let begun = Instant::now();
        host.run(["sh", "-c", &format!("ipvsadm -R < {}", file.display())]);
        let took = begun.elapsed();
        self.all_there(&host);
        self.clear(&host);
        took
    }

    fn keepalived(&mut self) -> Duration {
        let host = self.host("ka");
        let last = &self.table[self.table.len() - 1];
        let begun = Instant::now();
        let daemon = host.keepalived(&keepalived_file(&self.table));
        host.enter(|| {
            let mut raw = Raw::open();
            while raw.weights(last).len() < self.destinations as usize {
                assert!(
                    begun.elapsed() < LONG_PATIENCE && daemon.is_running(),
                    "keepalived:\n{}",
                    daemon.log()
                );
                std::thread::sleep(begun.elapsed() / 50);
            }
        });
        let took = begun.elapsed();
        self.all_there(&host);
        std::thread::sleep(Duration::from_secs(5));
        self.tell(format!("keepalived memory: {}", memory(&host, &daemon)));
        let mut times = Vec::new();
        for change in 0..CHANGES[1] {
            let weight = 11 - u32::try_from(change % 2).expect("small");
            let text = keepalived_file(&table(self.services, self.destinations, weight));
            fs::write(host.scratch().join("keepalived.conf"), text).expect("keepalived.conf");
            let begun = Instant::now();
            daemon.signal(Signal::SIGHUP);
            self.wait_weight(&host, weight, Duration::from_millis(10));
            times.push(begun.elapsed());
            // It goes on reloading after that.
            std::thread::sleep(begun.elapsed() + Duration::from_secs(2));
        }
        let figures: Figures = times.into_iter().collect();
        self.tell(format!("keepalived, one weight by reload: {figures}"));
        daemon.stop(LONG_PATIENCE);
        drop(daemon);
        self.clear(&host);
        took
    }
}

/// How long passes over everything took that began since the mark, by the daemon's own account.
fn passes(daemon: &Daemon, since: Mark) -> Vec<Duration> {
    let passes = daemon.lines_since(since).into_iter().filter(|line| line.is(LogEvent::Pass));
    let everything = passes.filter(|line| line.field("what") == "everything");
    everything
        .filter_map(|line| Some(Duration::from_secs_f64(line.field("ms").parse::<f64>().ok()? / 1e3)))
        .collect()
}
