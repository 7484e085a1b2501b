//! Two directors of one kind, evenkeeld or keepalived, with virtual routers between them and a client, on a
//! segment of their own: what one kind does can be measured beside the other in the same kernel. How, is up
//! to the tests.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::cluster::Lab;
use crate::event::LogEvent;
use crate::net::Host;
use crate::plans::Plans;
use crate::process::Daemon;
use crate::watch::VipWatch;

/// Time for a director to become Master.
const PATIENCE: Duration = Duration::from_secs(30);
/// Priorities of the first and of the second director, which `evenkeel` gives without being asked.
const PRIORITIES: [u8; 2] = [100, 90];

/// Real-time priority, for both kinds.
const REALTIME: &str = "50";

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Evenkeeld,
    /// Debian's.
    Keepalived,
}

impl Kind {
    /// Both, ours first.
    pub const ALL: [Self; 2] = [Self::Evenkeeld, Self::Keepalived];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Evenkeeld => "evenkeeld",
            Self::Keepalived => "keepalived",
        }
    }

    /// The second byte of the pair's addresses.
    const fn network(self) -> u8 {
        match self {
            Self::Evenkeeld => 1,
            Self::Keepalived => 2,
        }
    }
}

/// A virtual router of a pair, named `rVRID`. Its VIP follows from its VRID; see [`Pair::vip`].
#[derive(Clone, Debug)]
pub struct Router {
    /// 1..=255.
    pub vrid: u8,
    /// 2 or 3.
    pub version: u8,
    /// Time between advertisements.
    pub interval: Duration,
    /// Version 2 only.
    pub password: Option<String>,
    /// VIPs beyond its first, all of the pair's network.
    pub more_vips: Vec<Ipv4Addr>,
}

impl Router {
    /// With a second between advertisements and no password.
    pub fn new(vrid: u8, version: u8) -> Self {
        Self { vrid, version, interval: Duration::from_secs(1), password: None, more_vips: Vec::new() }
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("r{}", self.vrid)
    }
}

/// The pair.
pub struct Pair<'l> {
    /// Which daemon.
    pub kind: Kind,
    /// Its bridge.
    pub segment: &'static str,
    /// The preferred director: `dir1` or `ka1`.
    pub first: Host,
    /// The other one.
    pub second: Host,
    /// Somebody else on the segment.
    pub client: Host,
    /// Compiled plans, of evenkeeld only.
    pub plans: Plans<'l>,
    /// Whether its daemons run with real-time scheduling and locked memory.
    pub realtime: bool,
    routers: Vec<Router>,
}

impl<'l> Pair<'l> {
    /// Makes segment, hosts and configuration. Nothing runs yet.
    #[track_caller]
    pub fn new(lab: &'l Lab, kind: Kind, routers: Vec<Router>) -> Self {
        let (names, segment) = match kind {
            Kind::Evenkeeld => (["dir1", "dir2", "client1"], "br-ours"),
            Kind::Keepalived => (["ka1", "ka2", "client2"], "br-theirs"),
        };
        let host = |index: usize, last: u8| {
            let host = lab.bare_host(names[index]);
            host.attach("eth0", segment, &format!("{}/16", address(kind, 0, last)));
            host
        };
        let (first, second, client) = (host(0, 1), host(1, 2), host(2, 9));
        let mut pair = Self {
            kind,
            segment,
            first,
            second,
            client,
            plans: lab.plans("pair"),
            realtime: false,
            routers: Vec::new(),
        };
        pair.configure(routers, "");
        pair
    }

    /// Replaces the routers, and adds `more` to the cluster file or to `keepalived.conf`. Running daemons of
    /// evenkeeld take it at once; keepalived wants a SIGHUP.
    #[track_caller]
    pub fn configure(&mut self, routers: Vec<Router>, more: &str) {
        self.routers = routers;
        match self.kind {
            Kind::Evenkeeld => _ = self.plans.compile_text(&(self.cluster_file() + more)),
            Kind::Keepalived => {
                for (index, host) in [&self.first, &self.second].into_iter().enumerate() {
                    let file = host.scratch().join("keepalived.conf");
                    std::fs::write(file, self.keepalived_file(index) + more).expect("keepalived.conf");
                }
            }
        }
    }

    /// The address of the first, second director or client (`.1`, `.2`, `.9`), or a VIP.
    pub fn address(&self, third: u8, last: u8) -> Ipv4Addr {
        address(self.kind, third, last)
    }

    /// The first VIP of a router.
    pub fn vip(&self, vrid: u8) -> Ipv4Addr {
        self.address(1, vrid)
    }

    /// The VIP of the first router.
    pub fn first_vip(&self) -> IpAddr {
        self.vip(self.routers[0].vrid).into()
    }

    /// Watches the holder of the first router's VIP, from now on.
    #[track_caller]
    pub fn watch(&self) -> VipWatch {
        self.plans.lab().watch_vip(self.first_vip(), &[&self.first, &self.second], "eth0")
    }

    /// Starts the daemon of the first or of the second director.
    #[track_caller]
    pub fn start(&self, host: &Host) -> Daemon {
        match self.kind {
            Kind::Evenkeeld if self.realtime => {
                host.evenkeeld(self.plans.directory(), ["--realtime", REALTIME, "--lock-memory"])
            }
            Kind::Evenkeeld => self.plans.start(host),
            Kind::Keepalived => host.keepalived(&self.keepalived_file(usize::from(host.name() == "ka2"))),
        }
    }

    /// Starts both and waits until the first alone has the VIP of the first router.
    #[track_caller]
    pub fn serving(&self) -> [Daemon; 2] {
        let watch = self.watch();
        let first = self.start(&self.first);
        let second = self.start(&self.second);
        second.wait_told(LogEvent::Backup, PATIENCE);
        watch.wait_holder(&self.first, PATIENCE);
        [first, second]
    }

    fn vips(&self, router: &Router) -> impl Iterator<Item = Ipv4Addr> {
        std::iter::once(self.vip(router.vrid)).chain(router.more_vips.clone())
    }

    /// The cluster file of the pair of evenkeeld, for a test that wants more of it.
    pub fn cluster_text(&self) -> String {
        self.cluster_file()
    }

    fn cluster_file(&self) -> String {
        let network = self.kind.network();
        let mut text = format!(
            "version = 1\nname = \"pair\"\n[segments.front]\nsubnets = [\"10.{network}.0.0/16\"]\n[hosts]\n"
        );
        for host in [&self.first, &self.second] {
            let _ =
                writeln!(text, "{} = {{ address = \"{}\", interface = \"eth0\" }}", host.name(), host.ip());
        }
        for router in &self.routers {
            let vips: Vec<String> = self.vips(router).map(|vip| format!("\"{vip}\"")).collect();
            let _ = write!(
                text,
                "[virtual_routers.{}]\nvrid = {}\nversion = {}\nvips = [{}]\ndirectors = [\"{}\", \"{}\"]\n\
                 advert_interval = \"{}ms\"\n",
                router.name(),
                router.vrid,
                router.version,
                vips.join(", "),
                self.first.name(),
                self.second.name(),
                router.interval.as_millis(),
            );
            if let Some(password) = &router.password {
                let _ =
                    writeln!(text, "auth = {{ type = \"pass\", secret = {{ literal = \"{password}\" }} }}");
            }
        }
        text
    }

    /// keepalived's configuration of the first (0) or second (1) director.
    fn keepalived_file(&self, index: usize) -> String {
        let state = ["MASTER", "BACKUP"][index];
        let realtime = if self.realtime {
            format!("  vrrp_rt_priority {REALTIME}\n  vrrp_no_swap\n")
        } else {
            String::new()
        };
        let mut text = format!("global_defs {{\n  router_id LAB\n{realtime}}}\n");
        for router in &self.routers {
            let vips: Vec<String> = self.vips(router).map(|vip| vip.to_string()).collect();
            let auth = router.password.as_ref().map_or(String::new(), |password| {
                format!("  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}\n")
            });
            let _ = write!(
                text,
                "vrrp_instance {} {{\n  state {state}\n  version {}\n  interface eth0\n  virtual_router_id \
                {}\n  \
                 priority {}\n  advert_int {}\n{auth}  virtual_ipaddress {{\n    {}\n  }}\n}}\n",
                router.name(),
                router.version,
                router.vrid,
                PRIORITIES[index],
                router.interval.as_secs_f64(),
                vips.join("\n    "),
            );
        }
        text
    }
}

fn address(kind: Kind, third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, kind.network(), third, last)
}
