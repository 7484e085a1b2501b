//! Objects and processes of this host that get in the way of its plan, although they are not ours to change:
//! a VIP where the plan does not have it, for which a Backup answers then, and keepalived, which moves the
//! same VIPs.
//!
//! Looked for from time to time, and only reported.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evenkeel_converge::{AddressKey, vip_addresses};
use evenkeel_host::loaded::LoadedPlan;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::scalars::Ip;
use evenkeel_schemas::status::ObjectText;
use tokio::task::JoinError;

use crate::health::lookout::{AddressesError, Lookout};

/// Where the kernel shows processes.
const PROC: &str = "/proc";
/// The network namespace of this process.
const NAMESPACE: &str = "/proc/self/ns/net";
/// Most processes that are examined.
const MAX_PROCESSES: usize = 100_000;
/// Most objects that are reported; one more counts the others.
const MAX_REPORTED: usize = 64;
/// Longest name of a process (`TASK_COMM_LEN`), and its line break, bytes.
const COMM_LENGTH: u64 = 16;
/// Name of keepalived's processes, which may be followed by what each does (`process_names`).
const KEEPALIVED: &str = "keepalived";

/// Interfaces on which a plan has VIPs, by the plan's names: [`search`] needs addresses under these names.
/// Empty for a plan without routers: nothing can be in its way.
pub(crate) fn interfaces(plan: &Plan) -> BTreeSet<String> {
    if plan.routers.is_empty() {
        return BTreeSet::new();
    }
    let routers = plan.routers.iter().flat_map(|router| vip_addresses(router).into_keys());
    let own = plan.addresses.iter().map(|address| address.interface.as_str().to_owned());
    routers.map(|key| key.interface).chain(own).collect()
}

/// Reason why objects in the way of a plan cannot be looked for.
#[derive(Debug)]
pub(crate) enum SearchError {
    /// The addresses of this host are not known.
    Addresses(AddressesError),
    /// A file of `/proc` cannot be read.
    Proc(&'static str, io::Error),
    /// The search has panicked.
    Panicked(JoinError),
}

impl fmt::Display for SearchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(error) => error.fmt(f),
            Self::Proc(path, error) => write!(f, "{path}: {error}"),
            Self::Panicked(error) => error.fmt(f),
        }
    }
}

/// Finds the objects in the way of a plan, on a thread that may wait.
///
/// # Errors
/// When the kernel does not answer.
pub(super) async fn find(loaded: Arc<LoadedPlan>, lookout: &Lookout) -> Result<Vec<ObjectText>, SearchError> {
    let interfaces = interfaces(&loaded.plan);
    let addresses = if interfaces.is_empty() {
        BTreeSet::new()
    } else {
        lookout.addresses(interfaces).await.map_err(SearchError::Addresses)?
    };
    // Reading /proc may take a while on a host with many processes.
    let found = tokio::task::spawn_blocking(move || search(&loaded.plan, &addresses)).await;
    found.map_err(SearchError::Panicked)?
}

/// Finds the objects in the way of a plan, among all addresses of this host.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn search(plan: &Plan, addresses: &BTreeSet<AddressKey>) -> Result<Vec<ObjectText>, SearchError> {
    let mut found = Places::of(plan).elsewhere(addresses);
    let namespace = fs::read_link(NAMESPACE).map_err(|error| SearchError::Proc(NAMESPACE, error))?;
    let pids = keepaliveds(Path::new(PROC), &namespace).map_err(|error| SearchError::Proc(PROC, error))?;
    found.extend(running(&pids));
    let more = found.len().saturating_sub(MAX_REPORTED);
    found.truncate(MAX_REPORTED);
    if more > 0 {
        found.push(ObjectText { kind: "more".to_owned(), object: format!("{more} objects not listed") });
    }
    Ok(found)
}

/// Places of a plan's VIPs, sorted by VIP: on the interfaces of routers, and elsewhere for good where the
/// host is a real server.
struct Places(Vec<(IpAddr, AddressKey)>);

impl Places {
    fn of(plan: &Plan) -> Self {
        let own = |ip: IpAddr| plan.host_addresses.contains(&Ip(ip));
        let of_routers = plan.routers.iter().flat_map(|router| vip_addresses(router).into_keys());
        let placed = |key: AddressKey| (key.address.address(), key);
        // A VIP that the host owns is its administrator's business.
        let mut places: Vec<(IpAddr, AddressKey)> =
            of_routers.map(placed).filter(|(vip, _)| !own(*vip)).collect();
        places.sort_unstable();
        let vips = Self(places);
        let more = plan.addresses.iter().map(|address| {
            placed(AddressKey { interface: address.interface.as_str().to_owned(), address: address.address })
        });
        // Addresses of the plan count only where they are VIPs of its routers too: as on `lo` of a real
        // server.
        let more: Vec<_> = more.filter(|(ip, _)| vips.of_vip(*ip).next().is_some()).collect();
        let mut places = vips.0;
        places.extend(more);
        places.sort_unstable();
        places.dedup();
        Self(places)
    }

    /// Places of this VIP; none when the address is no VIP.
    fn of_vip(&self, vip: IpAddr) -> impl Iterator<Item = &AddressKey> + Clone {
        let from = self.0.partition_point(|(ip, _)| *ip < vip);
        self.0.iter().skip(from).take_while(move |(ip, _)| *ip == vip).map(|(_, key)| key)
    }

    /// VIPs in places where the plan does not have them.
    fn elsewhere(&self, addresses: &BTreeSet<AddressKey>) -> Vec<ObjectText> {
        let report = |key: &AddressKey| {
            let planned = self.of_vip(key.address.address());
            if planned.clone().any(|place| place == key) {
                return None;
            }
            let planned: Vec<String> = planned.map(ToString::to_string).collect();
            (!planned.is_empty()).then(|| ObjectText {
                kind: "vip".to_owned(),
                object: format!(
                    "{key}: this host answers for it, Master or not; the plan has it as {}",
                    planned.join(" and ")
                ),
            })
        };
        addresses.iter().filter_map(report).collect()
    }
}

fn running(pids: &[u32]) -> Option<ObjectText> {
    let (first, more) = (pids.first()?, pids.len() - 1);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let object = format!(
        "keepalived runs in this network namespace (process {first}{more}): two programs change the same \
            VIPs and virtual servers"
    );
    Some(ObjectText { kind: "process".to_owned(), object })
}

/// Processes of keepalived in a network namespace, which the link of its file identifies. Processes that may
/// not be examined are left out: this process may examine those of its own user at least.
fn keepaliveds(proc: &Path, namespace: &PathBuf) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(proc)?.take(MAX_PROCESSES) {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process that has ended meanwhile has no file.
        let mut name = String::new();
        let read = fs::File::open(entry.path().join("comm"))
            .and_then(|file| file.take(COMM_LENGTH).read_to_string(&mut name));
        let is_one = read.is_ok() && is_keepalived(name.trim_end());
        if is_one && fs::read_link(entry.path().join("ns/net")).is_ok_and(|link| link == *namespace) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn is_keepalived(comm: &str) -> bool {
    comm.strip_prefix(KEEPALIVED).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

#[cfg(test)]
mod tests {
    use evenkeel_schemas::plan::testing::PlanText;

    use super::*;

    fn key(text: &str) -> AddressKey {
        let (address, interface) = text.split_once(" on ").expect("address on interface");
        AddressKey { interface: interface.to_owned(), address: address.parse().expect("address") }
    }

    fn plan(more: &str) -> Plan {
        let text = format!(
            "[[router]]\nname = \"VI_1\"\ninterface = \"eth0\"\nsource = \"192.0.2.1\"\nversion = 3\n\
             vrid = 1\npriority = 100\nadvert_interval = \"1s\"\npreempt = true\ngarp_repeat = 1\n\
             garp_delay = \"0s\"\nvips = [\"192.0.2.9/32\", \"192.0.2.8/32\"]\n{more}"
        );
        PlanText::of("h").host_address("192.0.2.1").host_address("192.0.2.8").with(&text).plan()
    }

    #[test]
    fn a_vip_in_another_place_than_the_plans_is_reported() {
        let places = Places::of(&plan(""));
        let there = |addresses: &[&str]| {
            let addresses: BTreeSet<AddressKey> = addresses.iter().map(|text| key(text)).collect();
            places.elsewhere(&addresses).into_iter().map(|found| found.object).collect::<Vec<_>>()
        };
        assert_eq!(
            there(&["192.0.2.9/32 on eth0", "192.0.2.1/24 on eth0", "192.0.2.77/32 on lo"]),
            Vec::<String>::new()
        );
        assert_eq!(there(&["192.0.2.8/24 on eth1"]), Vec::<String>::new(), "the host owns it");
        for place in ["192.0.2.9/32 on lo", "192.0.2.9/32 on dummy0", "192.0.2.9/24 on eth0"] {
            let told = there(&["192.0.2.9/32 on eth0", place]);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(place) && told[0].ends_with("as 192.0.2.9/32 on eth0"), "{told:?}");
        }
    }

    #[test]
    fn a_real_servers_vip_on_lo_is_not_in_the_way() {
        let address = "[[address]]\ninterface = \"lo\"\naddress = \"192.0.2.9/32\"\nscope = \"host\"\n";
        let places = Places::of(&plan(address));
        let on = |text: &str| places.elsewhere(&BTreeSet::from([key(text)])).len();
        assert_eq!(
            [on("192.0.2.9/32 on lo"), on("192.0.2.9/32 on eth0"), on("192.0.2.9/32 on dummy0")],
            [0, 0, 1]
        );
    }

    #[test]
    fn keepalived_counts_in_our_own_network_namespace_only() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let (ours, others) = (PathBuf::from("net:[1]"), PathBuf::from("net:[2]"));
        for (pid, comm, namespace) in [
            ("10", "keepalived\n", Some(&ours)),
            ("9", "keepalived_vrrp\n", Some(&ours)),
            ("11", "keepalived\n", Some(&others)),
            ("12", "keepalivedx\n", Some(&ours)),
            ("13", "sshd\n", Some(&ours)),
            ("14", "keepalived\n", None),
            ("self", "keepalived\n", Some(&ours)),
        ] {
            let directory = scratch.path().join(pid);
            fs::create_dir_all(directory.join("ns")).expect("mkdir");
            fs::write(directory.join("comm"), comm).expect("comm");
            if let Some(namespace) = namespace {
                std::os::unix::fs::symlink(namespace, directory.join("ns/net")).expect("link");
            }
        }
        fs::create_dir(scratch.path().join("15")).expect("one that has just ended");
        let found = keepaliveds(scratch.path(), &ours).expect("looked");
        assert_eq!(found, [9, 10]);
        let told = running(&found).expect("told");
        assert!(told.object.contains("(process 9 and 1 more)"), "{told:?}");
        assert_eq!(running(&[]), None);
    }
}
