//! Kernel modules: having those loaded that the kernel does not load by itself, and what to tell people when
//! one is missing.
//!
//! No program is started and no module is read here: the kernel is asked for something that needs the module,
//! and calls its own modprobe(8), which obeys `/etc/modprobe.d`. A request waits for that, so the election
//! makes none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_schemas::time::MonoTime;
use nix::net::if_::if_nametoindex;

use crate::address::AF_INET;
use crate::clock;
use crate::netlink::Requester;
use crate::wire::Batch;

/// Least time between two requests of this process for a module that is missing: each starts modprobe(8) up
/// to three times.
const PAUSE_MILLIS: u64 = 30_000;
/// `NFNL_SUBSYS_NFT_COMPAT`, with `NFNL_MSG_COMPAT_GET`, 0 (`linux/netfilter/nfnetlink.h`,
/// `nf_tables_compat.h`).
const COMPAT_GET: u16 = 11 << 8;
/// `NFTA_COMPAT_*` (`linux/netfilter/nf_tables_compat.h`).
mod compat {
    pub(super) const NAME: u16 = 1;
    pub(super) const REVISION: u16 = 2;
    pub(super) const TYPE: u16 = 3;
}

/// The modules that are loaded (proc_modules(5)).
const MODULES: &str = "/proc/modules";
/// Beginning of the names of IPVS's modules: its own, its schedulers', its persistence engines'.
const IPVS: &str = "ip_vs";

/// Least time between two requests for a module.
#[derive(Debug)]
pub(crate) struct Pause(AtomicU64);

impl Pause {
    /// Nothing was asked for yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Whether it may be asked for now; counts as asked if so.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over_at(clock::now())
    }

    fn is_over_at(&self, now: MonoTime) -> bool {
        // 0 is "never", and the first millisecond since boot counts as the second.
        let now = (now.as_nanos() / 1_000_000).max(1);
        let begin = |last| (last == 0 || now.saturating_sub(last) >= PAUSE_MILLIS).then_some(now);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, begin).is_ok()
    }
}

/// Asks the kernel to load a module by its name, as it does for an interface of that name that is not there
/// (netdevice(7)). It does so for who has CAP_SYS_MODULE, which the unit file does not give.
pub(crate) fn load(name: &str) {
    // There is no such interface, and a kernel that loads no modules cannot be helped from here.
    if_nametoindex(name).ok();
}

/// Asks for `ip_vs` without CAP_SYS_MODULE: the match `ipvs` of packet filters needs it, and the kernel loads
/// that when it is asked whether there is one. For kernels before 6.1 (5.10 for one), where IPVS does not
/// come when its netlink family is asked for.
pub(crate) fn load_by_match() {
    let mut request = Batch::default();
    request.message(COMPAT_GET, 0, |w| {
        // `struct nfgenmsg`: family, version, resource.
        w.raw(&[AF_INET, 0, 0, 0]);
        w.text(compat::NAME, "ipvs");
        w.attribute(compat::REVISION, &0_u32.to_be_bytes());
        w.attribute(compat::TYPE, &0_u32.to_be_bytes());
    });
    // The answer does not matter: whether the module is there now, the next question to IPVS shows.
    Requester::netfilter().get(&mut request, |_, _| Ok(None::<()>)).ok();
}

/// Modules of IPVS that are loaded now, by name; none on a kernel that does not list its modules.
#[must_use]
pub fn loaded_for_ipvs() -> BTreeSet<String> {
    for_ipvs(&std::fs::read_to_string(MODULES).unwrap_or_default())
}

/// A line of proc_modules(5) begins with the name.
fn for_ipvs(modules: &str) -> BTreeSet<String> {
    let names = modules.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(IPVS)).map(str::to_owned).collect()
}

/// Advice about a module that is missing.
pub(crate) fn advice(name: &str) -> String {
    format!("`modprobe {name}`, and a line `{name}` in /etc/modules-load.d/evenkeel.conf for the next boot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_ipvs_are_distinguished_from_others() {
        let text = "ip_vs_rr 16384 1 - Live 0x0\nip_vs 200704 3 ip_vs_rr, Live 0x0\nxt_ip_vs 1 0 - Live \
            0x0\n\nnf_conntrack 1 1 ip_vs, Live 0x0\n";
        assert_eq!(for_ipvs(text).into_iter().collect::<Vec<_>>(), ["ip_vs", "ip_vs_rr"]);
        assert!(for_ipvs("").is_empty());
    }

    #[test]
    fn a_missing_module_is_asked_for_now_and_then() {
        let pause = Pause::new();
        let over = |millis| pause.is_over_at(MonoTime::from_millis(millis));
        let asked: Vec<bool> = [0, 5_000, 29_999, 30_001, 35_000, 60_001].map(over).to_vec();
        assert_eq!(asked, [true, false, false, true, false, true]);
    }
}
