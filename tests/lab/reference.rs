//! The reference cluster under evenkeel: the example's cluster file, compiled in the guest, and a daemon on
//! each host. What it must do is in the tests and the demo; here is only how it is set up and asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::{Cluster, Lab};
use crate::event::LogEvent;
use crate::init::reachable;
use crate::net::Host;
use crate::plans::{Plans, rejected};
use crate::process::{Daemon, Output};
use crate::time::eventually;
use crate::web::WebServer;

/// The example's cluster file.
pub const CLUSTER_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/lvs-dr/cluster.toml");
/// Time for anything that takes no more than a few seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The seed's five hosts with web servers on the real servers and compiled plans.
pub struct Reference<'l> {
    lab: &'l Lab,
    /// The hosts.
    pub hosts: Cluster,
    /// The web server of rs1.
    pub web1: WebServer,
    /// The web server of rs2.
    pub web2: WebServer,
    /// The directory of the plans that the daemons watch.
    pub plans: Plans<'l>,
}

/// A running daemon on each of the four hosts.
pub struct Daemons {
    /// On dir1.
    pub dir1: Daemon,
    /// On dir2.
    pub dir2: Daemon,
    /// On rs1.
    pub rs1: Daemon,
    /// On rs2.
    pub rs2: Daemon,
}

impl<'l> Reference<'l> {
    /// Makes the hosts, starts the web servers and compiles the example. No daemon runs yet.
    #[track_caller]
    pub fn new(lab: &'l Lab) -> Self {
        let hosts = lab.reference_cluster();
        let (web1, web2) = (hosts.rs1.web(80), hosts.rs2.web(80));
        let reference = Self { lab, hosts, web1, web2, plans: lab.plans("plans") };
        reference.compile(&reachable(Path::new(CLUSTER_FILE)));
        reference
    }

    /// The lab that it runs in.
    pub fn lab(&self) -> &'l Lab {
        self.lab
    }

    /// The example's cluster file as text.
    #[track_caller]
    pub fn cluster_file() -> String {
        std::fs::read_to_string(reachable(Path::new(CLUSTER_FILE))).expect("the example's cluster file")
    }

    /// Compiles a cluster file to [`Self::plans`], as an operator would.
    #[track_caller]
    pub fn compile(&self, file: &Path) -> String {
        self.plans.compile(file)
    }

    /// Compiles a cluster file given as text.
    #[track_caller]
    pub fn compile_text(&self, text: &str) -> String {
        self.plans.compile_text(text)
    }

    /// The plan file that a host's daemon watches.
    pub fn plan(&self, host: &Host) -> PathBuf {
        self.plans.plan(host)
    }

    /// Starts the daemon of one host.
    #[track_caller]
    pub fn start(&self, host: &Host) -> Daemon {
        self.plans.start(host)
    }

    /// Starts all four daemons.
    #[track_caller]
    pub fn start_all(&self) -> Daemons {
        Daemons {
            rs1: self.start(&self.hosts.rs1),
            rs2: self.start(&self.hosts.rs2),
            dir1: self.start(&self.hosts.dir1),
            dir2: self.start(&self.hosts.dir2),
        }
    }

    /// Starts all four daemons and waits until dir1 is Master, dir2 Backup and both real servers serve.
    #[track_caller]
    pub fn serving(&self) -> Daemons {
        self.serving_within(PATIENCE)
    }

    /// The same with another time for each of them.
    #[track_caller]
    pub fn serving_within(&self, patience: Duration) -> Daemons {
        let daemons = self.start_all();
        daemons.dir1.wait_told(LogEvent::Master, patience);
        daemons.dir2.wait_told(LogEvent::Backup, patience);
        for real_server in [&self.hosts.rs1, &self.hosts.rs2] {
            eventually(patience, &format!("{} has the VIP", real_server.name()), || {
                real_server.has_address("lo", self.hosts.vip)
            });
        }
        daemons
    }

    /// Runs a command of `evenkeeld` on a host, with that host's state directory where it takes one.
    #[track_caller]
    pub fn evenkeeld(&self, host: &Host, command: &str, more: &[&str]) -> Output {
        self.plans.evenkeeld(host, command, more)
    }

    /// A host's status document.
    #[track_caller]
    pub fn status(&self, host: &Host) -> serde_json::Value {
        self.plans.status(host)
    }

    /// How many advertisements a host's daemon has rejected.
    #[track_caller]
    pub fn rejected(&self, host: &Host) -> u64 {
        rejected(&self.status(host)["routers"][0])
    }
}
