//! [`Lab`]: what a test is handed. Segments (bridges in the root namespace), hosts on them, a scratch
//! directory, progress lines. What a host can do is in `net`; recordings have files of their own.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::check::Expected;
use crate::net::{Host, ipv6, parse_cidr};
use crate::netlink::Netlink;
use crate::process::{Output, built_program, execute, owned};
use crate::pulse::Pulse;
use crate::shared::Shared;
use crate::time::{Mark, mark};
use crate::vrrp::VrrpCapture;
use crate::watch::VipWatch;

/// The segment of [`Lab::host`].
pub(crate) const FRONT: &str = "br0";
/// Longest delay that a guest which stood still excuses, however long the test was: with it a bound is still
/// less than an interval off.
const MOST_EXCUSED: Duration = Duration::from_millis(400);
/// Scratch space, in memory.
const SCRATCH: &str = "/run/lab";

/// A lab: an empty network inside a fresh kernel.
pub struct Lab {
    shared: Arc<Shared>,
    pulse: Pulse,
}

/// The hosts of [`Lab::reference_cluster`].
pub struct Cluster {
    /// 192.168.188.111
    pub client: Host,
    /// 192.168.188.108
    pub dir1: Host,
    /// 192.168.188.109
    pub dir2: Host,
    /// 192.168.188.107
    pub rs1: Host,
    /// 192.168.188.110
    pub rs2: Host,
    /// 192.168.188.120, on no host yet
    pub vip: IpAddr,
}

impl Lab {
    pub(crate) fn new(share: &Path) -> Self {
        // Ports of bridges are cables, not hosts: they take no part in IPv6.
        if ipv6() {
            fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
                .expect("no IPv6 on the root namespace's links");
        }
        Self {
            shared: Arc::new(Shared {
                started: Instant::now(),
                scratch: PathBuf::from(SCRATCH),
                artefacts: share.join("logs"),
                netlink: Mutex::new(Netlink::route(0)),
                segments: Mutex::new(BTreeMap::new()),
                cables: Mutex::new(0),
            }),
            pulse: Pulse::start(),
        }
    }

    /// A host with `eth0` on the front segment: `lab.host("dir1", "192.168.188.108/24")`.
    #[track_caller]
    pub fn host(&self, name: &str, address: &str) -> Host {
        let host = self.bare_host(name);
        host.attach("eth0", FRONT, address);
        host
    }

    /// A host with nothing but `lo`; see [`Host::attach`].
    #[track_caller]
    pub fn bare_host(&self, name: &str) -> Host {
        Host::new(Arc::clone(&self.shared), name)
    }

    /// The seed's five hosts on 192.168.188.0/24. Nothing runs on them; real servers have no VIP yet.
    pub fn reference_cluster(&self) -> Cluster {
        Cluster {
            client: self.host("client", "192.168.188.111/24"),
            dir1: self.host("dir1", "192.168.188.108/24"),
            dir2: self.host("dir2", "192.168.188.109/24"),
            rs1: self.host("rs1", "192.168.188.107/24"),
            rs2: self.host("rs2", "192.168.188.110/24"),
            vip: parse_cidr("192.168.188.120/32").0,
        }
    }

    /// Prints a progress line with the time since the lab began.
    pub fn log(&self, text: impl Display) {
        println!("[{:8.3}] {text}", self.elapsed().as_secs_f64());
    }

    /// Time since the lab began.
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// How long the guest itself stood still, since the lab began.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Asserts that what began at the mark took no longer than `bound`, beside what the guest itself stood
    /// still since. The bound tells what is right from what is wrong, and is far from both: how fast it is,
    /// is for the measurements to say.
    #[track_caller]
    pub fn assert_within(&self, what: impl Display, took: Duration, bound: Duration, since: Mark) {
        let lost = self.pulse.lost_between(since, mark());
        let excused = lost.min(MOST_EXCUSED);
        self.log(format!("{what}: {took:?}, bound {bound:?}; the guest stood still for {lost:?}"));
        assert!(
            took <= bound + excused,
            "{what}: {took:?}, bound {bound:?}, {excused:?} of {lost:?} excused"
        );
    }

    /// A path in the lab's scratch directory, which is in memory and seen by every host.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.shared.scratch.join(relative)
    }

    /// Writes a file in the scratch directory, with the directories above it, whole or not at all; returns
    /// its path.
    #[track_caller]
    pub fn write(&self, relative: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        write_whole(&self.path(relative), bytes.as_ref())
    }

    /// Writes a file beside the logs, which the host shows when the test fails and keeps if asked to.
    #[track_caller]
    pub fn artefact(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        write_whole(&self.shared.artefacts.join(name), bytes.as_ref())
    }

    /// Runs a program in the root namespace, where the bridges are; its standard output. Panics when it
    /// fails.
    #[track_caller]
    pub fn run<A: AsRef<str>>(&self, argv: impl IntoIterator<Item = A>) -> String {
        self.output(argv).expect_success()
    }

    /// Runs a program in the root namespace, whatever comes of it.
    #[track_caller]
    pub fn output<A: AsRef<str>>(&self, argv: impl IntoIterator<Item = A>) -> Output {
        let argv = owned(argv);
        execute(&argv).or_fail(format_args!("`{}`", argv.join(" ")))
    }

    /// The path of a program of this workspace, built beside the running test; panics with the command that
    /// builds it.
    #[track_caller]
    pub fn program(&self, name: &str, package: &str) -> PathBuf {
        built_program(name, package)
    }

    /// Records every VRRP advertisement crossing the front segment from now on.
    pub fn capture_vrrp(&self) -> VrrpCapture {
        self.capture_vrrp_on(FRONT)
    }

    /// Records every VRRP advertisement crossing a segment from now on.
    pub fn capture_vrrp_on(&self, segment: &str) -> VrrpCapture {
        VrrpCapture::start(segment, self.shared.segment(segment))
    }

    /// The index of a segment's bridge.
    pub(crate) fn segment(&self, name: &str) -> u32 {
        self.shared.segment(name)
    }

    /// Records from now on which of `hosts` has `vip` on `interface`.
    #[track_caller]
    pub fn watch_vip(&self, vip: impl Display, hosts: &[&Host], interface: &str) -> VipWatch {
        VipWatch::start(parse_cidr(&vip.to_string()).0, hosts, interface)
    }
}

#[track_caller]
fn write_whole(file: &Path, bytes: &[u8]) -> PathBuf {
    let directory = file.parent().expect("a file in a directory");
    let name = file.file_name().expect("a file name").to_string_lossy();
    let draft = directory.join(format!(".{name}.draft"));
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&draft, bytes))
        .and_then(|()| fs::rename(&draft, file))
        .or_fail(format_args!("write {}", file.display()));
    file.to_owned()
}
