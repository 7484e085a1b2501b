//! Checks against real servers, those of Debian: each kind and each recipe of the book. A server that serves
//! is up; one that was stopped, frozen, or answers otherwise is down, and why is printed.
//!
//! Run by `tests/recipes`, as root: on this machine's own kernel, in namespaces that end with it. How each
//! server is started stands in `servers`.

mod servers;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lab::{Daemon, Host, Lab, LogEvent, mark, run_here};
use nix::sys::signal::Signal;
use serde_json::Value;
use servers::{Case, Server};

const DIR: &str = "10.1.0.1";
const SERVER: &str = "10.1.0.3";
const VIP: &str = "10.1.0.120";
const PATIENCE: Duration = Duration::from_secs(60);
/// The times of all checks: a verdict comes within two of them.
const TIMES: &str = "interval = \"1s\", timeout = \"1s\", retries = 0, retry_delay = \"1s\"";

fn main() -> ExitCode {
    let only: Vec<String> = std::env::args().skip(1).collect();
    run_here(|lab| {
        let Outcome { passed, wrong } = try_all(lab, &only);
        for one in &wrong {
            println!("  {one}");
        }
        println!("{passed} passed, {} failed", wrong.len());
        if !wrong.is_empty() {
            std::process::exit(1);
        }
    })
}

/// Results of the cases.
#[derive(Default)]
struct Outcome {
    passed: usize,
    wrong: Vec<String>,
}

impl Outcome {
    /// Waits until these cases have this verdict.
    fn expect<'c>(
        &mut self,
        lab: &Lab,
        director: &Host,
        cases: impl Iterator<Item = &'c Case>,
        (what, up): (&str, bool),
    ) {
        for case in cases {
            let Seen { told, as_wanted } = wait(lab, director, case, up);
            if as_wanted {
                self.passed += 1;
                lab.log(format!("{:<20} {what:<8} {told}", case.name));
            } else {
                self.wrong.push(format!("{} {what}: {told}", case.name));
            }
        }
    }
}

/// Tries all servers, or those that are named.
fn try_all(lab: &Lab, only: &[String]) -> Outcome {
    let host = bare(lab, "server", SERVER);
    let director = bare(lab, "dir1", DIR);
    let wanted = |server: &Server| only.is_empty() || only.iter().any(|name| name == server.name);
    let servers: Vec<Server> = servers::all(&host).into_iter().filter(wanted).collect();
    assert!(!servers.is_empty(), "none of the servers is called so");
    let cases: Vec<&Case> = servers.iter().flat_map(|server| &server.cases).collect();
    let daemon = start(lab, &director, &cluster(&cases));
    let mut outcome = Outcome::default();
    for server in &servers {
        let good = || server.cases.iter().filter(|case| case.good);
        let running = server.start(&host);
        outcome.expect(lab, &director, good(), ("up", true));
        let bad = server.cases.iter().filter(|case| !case.good);
        outcome.expect(lab, &director, bad, ("wrong", false));
        running.signal_group(Signal::SIGSTOP);
        outcome.expect(lab, &director, good(), ("frozen", false));
        running.signal_group(Signal::SIGCONT);
        outcome.expect(lab, &director, good(), ("thawed", true));
        running.kill9_group();
        outcome.expect(lab, &director, good(), ("killed", false));
    }
    daemon.stop(PATIENCE);
    outcome
}

fn bare(lab: &Lab, name: &str, address: &str) -> Host {
    let host = lab.bare_host(name);
    host.attach("eth0", "br-recipes", &format!("{address}/8"));
    host
}

/// A cluster file with one service for each case.
fn cluster(cases: &[&Case]) -> String {
    let mut text = format!(
        "version = 1\nname = \"recipes\"\n[segments.front]\nsubnets = [\"10.0.0.0/8\"]\n[hosts]\n\
         dir1 = {{ address = \"{DIR}\", interface = \"eth0\" }}\n\
         dir2 = {{ address = \"10.1.0.9\", interface = \"eth0\" }}\n\
         server = {{ address = \"{SERVER}\", interface = \"eth0\" }}\n\
         [virtual_routers.R]\nvrid = 1\nvips = [\"{VIP}\"]\ndirectors = [\"dir1\", \"dir2\"]\n"
    );
    for (number, case) in cases.iter().enumerate() {
        let check = case.check.trim_end().strip_suffix('}').expect("a table");
        let _ = writeln!(
            text,
            "[services.{}]\nrouter = \"R\"\nvip = \"{VIP}\"\nprotocol = \"tcp\"\nport = {}\nforwarding = \
             \"nat\"\nreal_servers = [{{ host = \"server\" }}]\ncheck = {check}, {TIMES} }}",
            case.name,
            2000 + number
        );
    }
    text
}

fn start(lab: &Lab, director: &Host, text: &str) -> Daemon {
    let plans = lab.plans("recipes");
    print!("{}", plans.compile_text(text));
    let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
    let own = |name: &str| director.scratch().join(name).display().to_string();
    let (plan, state, socket) =
        (plans.directory().display().to_string(), own("state"), own("evenkeeld.sock"));
    let argv =
        [&program, "run", "--plan", &plan, "--host", "dir1", "--state-dir", &state, "--socket", &socket];
    let begun = mark();
    let daemon = director.spawn("evenkeeld", argv, &[]);
    // The kernel may have no IPVS: checks are made all the same.
    daemon.wait_told_since(begun, LogEvent::PlanInForce, PATIENCE);
    daemon
}

/// A verdict of a case.
struct Seen {
    /// Words of the status, with the verdict.
    told: String,
    /// Whether it is the one that was waited for.
    as_wanted: bool,
}

/// Waits for a verdict of a case.
fn wait(lab: &Lab, director: &Host, case: &Case, good: bool) -> Seen {
    let begun = Instant::now();
    let mut told = String::from("no verdict");
    while begun.elapsed() < PATIENCE {
        if let Some(check) = check_of(lab, director, case) {
            let verdict = check["verdict"].as_str().unwrap_or_default();
            let fault = check["last_fault"]["reason"].as_str().unwrap_or_default();
            let result = check["last_result"].as_str().unwrap_or_default();
            told = format!("{verdict}: {}", if good { result } else { fault });
            if verdict == if good { "up" } else { "down" } {
                let told = format!("{told} (after {:.1} s)", begun.elapsed().as_secs_f64());
                return Seen { told, as_wanted: true };
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Seen { told, as_wanted: false }
}

fn check_of(lab: &Lab, director: &Host, case: &Case) -> Option<Value> {
    let program = lab.program("evenkeeld", "evenkeel-agent").display().to_string();
    let socket = director.scratch().join("evenkeeld.sock").display().to_string();
    let output = director.output([program.as_str(), "status", "--json", "--socket", &socket]);
    let status: Value = serde_json::from_str(&output.stdout).ok()?;
    let services = status["virtual_servers"].as_array()?;
    let service = services.iter().find(|service| service["name"] == case.name)?;
    Some(service["destinations"][0]["checks"][0].clone())
}
