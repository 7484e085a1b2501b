//! A host: network, mount and name space of its own, cables to segments, addresses, sysctls; and cutting it
//! off. Programs and servers running on hosts are in `process`, `web`, `probe`.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

use crate::check::Expected;
use crate::ipvs::{IpvsService, parse_proc};
use crate::journal::lock;
use crate::netlink::{
    Address, Netlink, RTM_DELADDR, RTM_NEWADDR, change_address, link_up, new_cable, set_link, set_master,
};
use crate::shared::Shared;

/// A port's name on the bridge is `HOST-INTERFACE`, and the kernel takes 15 characters.
const PORT_NAME_LENGTH_MAX: usize = 15;

/// A host of the lab. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    shared: Arc<Shared>,
    network: File,
    mounts: File,
    names: File,
    cables: Mutex<BTreeMap<String, Cable>>,
}

/// The root namespace's end of a cable, and the bridge it belongs in.
#[derive(Clone)]
struct Cable {
    port: u32,
    bridge: u32,
    address: Option<IpAddr>,
}

impl Debug for Host {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Host({})", self.inner.name)
    }
}

impl Host {
    #[track_caller]
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        let made = std::thread::scope(|scope| scope.spawn(|| make_namespaces(name)).join());
        let (network, mounts, names) = made.unwrap_or_else(|panic| resume_unwind(panic));
        let host = Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                shared,
                network,
                mounts,
                names,
                cables: Mutex::new(BTreeMap::new()),
            }),
        };
        fs::create_dir_all(host.scratch()).expect("a directory for the host");
        host
    }

    /// The host's name, which is also its `hostname` and its name for `ip -n`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The address of `eth0`, or of the first interface that has one.
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        let cables = lock(&self.inner.cables);
        let eth0 = cables.get("eth0").and_then(|cable| cable.address);
        match eth0.or_else(|| cables.values().find_map(|cable| cable.address)) {
            Some(address) => address,
            None => panic!("{} has no address", self.inner.name),
        }
    }

    /// `/run/lab/HOST`: a directory of the host's own, in memory.
    pub fn scratch(&self) -> PathBuf {
        self.inner.shared.scratch.join(&self.inner.name)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// Adds an interface on a segment (a bridge, made at need), with an address unless `address` is empty.
    #[track_caller]
    pub fn attach(&self, interface: &str, segment: &str, address: &str) {
        let port_name = format!("{}-{interface}", self.inner.name);
        assert!(port_name.len() <= PORT_NAME_LENGTH_MAX, "{port_name} is too long for a link's name");
        let bridge = self.inner.shared.segment(segment);
        let number = {
            let mut cables = lock(&self.inner.shared.cables);
            *cables += 1;
            cables.to_be_bytes()
        };
        let address = (!address.is_empty()).then(|| parse_cidr(address));
        // Locally administered; the last four bytes are the IPv4 address, so that a packet dump explains
        // itself.
        let tail = match address {
            Some((IpAddr::V4(v4), _)) => v4.octets(),
            _ => [0, 0, number[0], number[1]],
        };
        let mac = |first| [first, 0, tail[0], tail[1], tail[2], tail[3]];
        let port = {
            let mut netlink = lock(&self.inner.shared.netlink);
            let network = self.inner.network.as_raw_fd();
            netlink
                .transact(vec![new_cable(&port_name, mac(6), bridge, interface, mac(2), network)])
                .or_fail(format_args!("cable {port_name}"));
            netlink.link(&port_name)
        };
        self.enter(|| {
            let mut netlink = Netlink::route(0);
            let link = netlink.link(interface);
            let mut requests = vec![set_link(link, true)];
            requests.extend(address.map(|(ip, prefix)| change_address(RTM_NEWADDR, link, ip, prefix)));
            netlink.transact(requests).or_fail(format_args!("{}: {interface}", self.inner.name));
        });
        let cable = Cable { port, bridge, address: address.map(|(ip, _)| ip) };
        lock(&self.inner.cables).insert(interface.to_owned(), cable);
    }

    /// Runs `work` on this host: on a thread inside its namespaces. Sockets opened there stay the host's.
    #[track_caller]
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.join();
                    work()
                })
                .join()
        })
        .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Starts a thread inside the host's namespaces.
    pub(crate) fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let host = self.clone();
        std::thread::Builder::new()
            .name(format!("{}-{name}", self.inner.name))
            .spawn(move || {
                host.join();
                work()
            })
            .expect("a thread")
    }

    /// Moves the calling thread, for good, into the host's namespaces.
    fn join(&self) {
        // Threads share root and working directory until told otherwise, and would leave the others' mounts
        // behind.
        unshare(CloneFlags::CLONE_FS).expect("unshare the working directory");
        for (namespace, kind) in [
            (&self.inner.mounts, CloneFlags::CLONE_NEWNS),
            (&self.inner.names, CloneFlags::CLONE_NEWUTS),
            (&self.inner.network, CloneFlags::CLONE_NEWNET),
        ] {
            setns(namespace, kind).or_fail(format_args!("enter {}", self.inner.name));
        }
    }

    /// Reads a sysctl: `host.sysctl("net.ipv4.ip_forward")`. A slash stands for a dot inside a name.
    #[track_caller]
    pub fn sysctl(&self, name: &str) -> String {
        let path = sysctl_path(name);
        self.enter(|| fs::read_to_string(&path))
            .or_fail(format_args!("{}: sysctl {name}", self.inner.name))
            .trim_end()
            .to_owned()
    }

    /// Sets a sysctl.
    #[track_caller]
    pub fn set_sysctl(&self, name: &str, value: impl Display) {
        let (path, value) = (sysctl_path(name), value.to_string());
        self.enter(|| fs::write(&path, value))
            .or_fail(format_args!("{}: set sysctl {name}", self.inner.name));
    }

    /// Reads a file as this host sees it, such as `/proc/thread-self/net/ip_vs_stats` or
    /// `/sys/class/net/eth0/carrier`.
    #[track_caller]
    pub fn read(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        self.enter(|| fs::read_to_string(path)).or_fail(format_args!(
            "{}: read {}",
            self.inner.name,
            path.display()
        ))
    }

    /// Every address on an interface, without starting a process.
    #[track_caller]
    pub fn addresses(&self, interface: &str) -> Vec<Address> {
        self.enter(|| {
            let mut netlink = Netlink::route(0);
            let link = netlink.link(interface);
            netlink.addresses().into_iter().filter(|address| address.link == link).collect()
        })
    }

    /// Every address of the host, on whatever interface.
    #[track_caller]
    pub fn every_address(&self) -> Vec<Address> {
        self.enter(|| Netlink::route(0).addresses())
    }

    /// Whether `ip` is on the interface.
    #[track_caller]
    pub fn has_address(&self, interface: &str, ip: impl Display) -> bool {
        let (ip, _) = parse_cidr(&ip.to_string());
        self.addresses(interface).iter().any(|address| address.ip == ip)
    }

    /// Adds an address: `host.add_address("lo", "192.168.188.120/32")`.
    #[track_caller]
    pub fn add_address(&self, interface: &str, address: &str) {
        self.change_address(RTM_NEWADDR, interface, address);
    }

    /// Deletes an address.
    #[track_caller]
    pub fn delete_address(&self, interface: &str, address: &str) {
        self.change_address(RTM_DELADDR, interface, address);
    }

    #[track_caller]
    fn change_address(&self, kind: u16, interface: &str, address: &str) {
        let (ip, prefix) = parse_cidr(address);
        self.enter(|| {
            let mut netlink = Netlink::route(0);
            let link = netlink.link(interface);
            netlink.transact(vec![change_address(kind, link, ip, prefix)])
        })
        .or_fail(format_args!("{}: address {address} on {interface}", self.inner.name));
    }

    /// The IPVS table as `/proc/net/ip_vs` tells it; cheap. See [`Host::ipvsadm`] for options it leaves out.
    #[track_caller]
    pub fn ipvs(&self) -> Vec<IpvsService> {
        let text = self.read("/proc/thread-self/net/ip_vs");
        parse_proc(&text).or_fail(format_args!("{}: ip_vs line not understood", self.inner.name))
    }

    /// The IPVS table as `ipvsadm -Sn` prints it, a rule a line, sorted.
    #[track_caller]
    pub fn ipvsadm(&self) -> Vec<String> {
        let mut rules: Vec<String> =
            self.run(["ipvsadm", "-Sn"]).lines().map(|line| line.trim_end().to_owned()).collect();
        rules.sort();
        rules
    }

    /// Pulls every cable: the host sees `NO-CARRIER`.
    pub fn cut(&self) {
        self.change_cables(|cable| vec![set_link(cable.port, false)]);
    }

    /// Pulls one cable; [`Host::reconnect`] puts it back.
    #[track_caller]
    pub fn cut_interface(&self, interface: &str) {
        let port = lock(&self.inner.cables).get(interface).map(|cable| cable.port);
        let Some(port) = port else { panic!("{} has no cable at {interface}", self.inner.name) };
        lock(&self.inner.shared.netlink)
            .transact(vec![set_link(port, false)])
            .or_fail(format_args!("{}: cable at {interface}", self.inner.name));
    }

    /// Loses every packet in both directions; the host still sees carrier.
    pub fn blackhole(&self) {
        self.change_cables(|cable| vec![set_master(cable.port, 0)]);
    }

    /// Undoes [`Host::cut`] and [`Host::blackhole`].
    pub fn reconnect(&self) {
        self.change_cables(|cable| vec![set_master(cable.port, cable.bridge), set_link(cable.port, true)]);
    }

    fn change_cables(&self, change: impl Fn(&Cable) -> Vec<crate::netlink::Message>) {
        let requests = lock(&self.inner.cables).values().flat_map(change).collect();
        lock(&self.inner.shared.netlink)
            .transact(requests)
            .or_fail(format_args!("{}: cables", self.inner.name));
    }

    /// The interface's Ethernet address.
    #[track_caller]
    pub fn mac(&self, interface: &str) -> [u8; 6] {
        let text = self.read(format!("/sys/class/net/{interface}/address"));
        let bytes: Vec<u8> =
            text.trim_end().split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        bytes.try_into().unwrap_or_else(|_| panic!("{}: {text:?} is no Ethernet address", self.inner.name))
    }

    /// Whether the interface has carrier.
    #[track_caller]
    pub fn carrier(&self, interface: &str) -> bool {
        self.read(format!("/sys/class/net/{interface}/carrier")).trim_end() == "1"
    }
}

/// Gives the calling thread namespaces of its own and returns them. They live as long as these files are
/// open.
fn make_namespaces(name: &str) -> (File, File, File) {
    let own = |kind| File::open(format!("/proc/thread-self/ns/{kind}")).expect("an own namespace");
    let none: Option<&str> = None;

    unshare(CloneFlags::CLONE_NEWNET).or_fail(format_args!("a network namespace for {name}"));
    // For people debugging: this makes `ip -n NAME` work.
    let handle = format!("/run/netns/{name}");
    File::create(&handle).or_fail(format_args!("{handle}"));
    mount(Some("/proc/thread-self/ns/net"), handle.as_str(), none, MsFlags::MS_BIND, none)
        .or_fail(format_args!("mount {handle}"));

    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)
        .or_fail(format_args!("mount and name spaces for {name}"));
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).expect("mounts of the host's own");
    mount(Some("none"), "/sys", Some("sysfs"), MsFlags::empty(), none).expect("the host's own /sys");
    fs::write("/proc/sys/kernel/hostname", name).expect("a host name");
    // Duplicate address detection would keep addresses tentative for a second.
    for scope in ["all", "default"].iter().filter(|_| ipv6()) {
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0")
            .expect("no duplicate detection");
        fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "0").expect("IPv6");
    }
    link_up(&mut Netlink::route(0), "lo");
    (own("net"), own("mnt"), own("uts"))
}

/// Whether the guest's kernel has IPv6.
pub(crate) fn ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn sysctl_path(name: &str) -> PathBuf {
    let path: String = name
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    Path::new("/proc/sys").join(path)
}

/// An address with its prefix length; without one it stands for itself alone.
#[track_caller]
pub(crate) fn parse_cidr(text: &str) -> (IpAddr, u8) {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    let ip: IpAddr = ip.parse().or_fail(format_args!("{text}"));
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(whole), str::parse).or_fail(format_args!("{text}"));
    (ip, prefix)
}
