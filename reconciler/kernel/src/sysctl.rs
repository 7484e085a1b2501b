//! Settings below `/proc/sys/net`.
//!
//! They belong to the network namespace of the thread that reads or writes them. Nothing outside
//! `/proc/sys/net` can be reached, whatever a plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use evenkeel_converge::Op;

use crate::address::NO_FAMILY;
use crate::error::{ApplyError, Class, KernelError};
use crate::module;

/// Folder of the settings.
const ROOT: &str = "/proc/sys";
/// Most bytes of a value; the kernel's own limit is a page.
const MAX_VALUE_BYTES: u64 = 4096;
/// Most bytes of a key.
const MAX_KEY_BYTES: usize = 255;

/// Reads settings. One that is not there, or cannot be read (`flush` of routes is for writing only,
/// `stable_secret` is an error until it is set), is absent.
pub(crate) fn observe(keys: &BTreeSet<String>) -> Result<BTreeMap<String, String>, KernelError> {
    let mut values = BTreeMap::new();
    for key in keys {
        let doing = || format!("cannot read the setting {key}");
        let path = path(key).ok_or_else(|| unsafe_key(&doing()))?;
        match read(&path) {
            Ok(text) => drop(values.insert(key.clone(), normal(&text))),
            Err(error) if missing(&error) || unreadable(&error) => {}
            Err(error) => return Err(KernelError::system(&doing(), &error)),
        }
    }
    Ok(values)
}

/// Writes a setting.
pub(crate) fn apply(op: &Op) -> Result<(), ApplyError> {
    let Op::SetSysctl { key, value, .. } = op else { return Ok(()) };
    let path = path(key).ok_or_else(|| unsafe_key(&op.to_string()))?;
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return Err(KernelError::new(Class::Permanent, format!("{op}: the value is not plain text")));
    }
    write(&path, value).map_err(|error| explain(op, key, &error))
}

fn explain(op: &Op, key: &str, error: &io::Error) -> ApplyError {
    let no_ipvs = format!("IPVS is not loaded: {}", module::advice("ip_vs"));
    let (class, cause) = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => {
            match whats_missing(key, |path| Path::new(ROOT).join(path).exists()) {
                Missing::Interface => (Class::Transient, "its interface is not there"),
                Missing::Ipvs => (Class::Unsupported, no_ipvs.as_str()),
                Missing::Ipv6 => (Class::Unsupported, NO_FAMILY),
                Missing::Setting => {
                    (Class::Unsupported, "this kernel has no such setting, or its module is not loaded")
                }
            }
        }
        Some(libc::EINVAL | libc::ERANGE) => (Class::Unsupported, "the kernel does not take this value"),
        Some(libc::EACCES | libc::EPERM | libc::EROFS) => {
            (Class::Permanent, "not permitted: it is read-only, /proc/sys is, or CAP_NET_ADMIN is missing")
        }
        _ => (Class::Transient, "writing failed"),
    };
    KernelError::with_errno(class, format!("{op}: {cause} ({error})"), error.raw_os_error())
}

/// Why a setting is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The setting's interface is not there, and may come.
    Interface,
    /// `ip_vs` is not loaded.
    Ipvs,
    /// The kernel has no IPv6.
    Ipv6,
    /// The kernel does not know it.
    Setting,
}

/// Why a setting is not there, by what is there of its path: `net/FAMILY/conf/INTERFACE/…`, `net/ipv4/vs/…`.
fn whats_missing(key: &str, exists: impl Fn(&str) -> bool) -> Missing {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["net", "ipv6", ..] if !exists("net/ipv6") => Missing::Ipv6,
        ["net", "ipv4", "vs", ..] if !exists("net/ipv4/vs") => Missing::Ipvs,
        ["net", family, sort @ ("conf" | "neigh"), interface, ..]
            if !exists(&format!("net/{family}/{sort}/{interface}")) =>
        {
            Missing::Interface
        }
        _ => Missing::Setting,
    }
}

fn unsafe_key(doing: &str) -> KernelError {
    KernelError::new(Class::Permanent, format!("{doing}: not a path below net/"))
}

/// The file of a setting; `None` when it would not be below `/proc/sys/net`.
fn path(key: &str) -> Option<PathBuf> {
    let mut parts = key.split('/');
    let safe =
        |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(|byte| byte.is_ascii_graphic());
    let ok = key.len() <= MAX_KEY_BYTES && parts.next() == Some("net") && {
        let rest: Vec<&str> = parts.collect();
        !rest.is_empty() && rest.into_iter().all(safe)
    };
    ok.then(|| PathBuf::from(ROOT).join(key))
}

fn missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}

fn unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::EIO | libc::EINVAL))
}

fn read(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_VALUE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// One `write`, never creating a file.
fn write(path: &PathBuf, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(format!("{value}\n").as_bytes())
}

/// A value without outer space and with single spaces between its parts: the kernel separates them by
/// tabs, people by spaces.
fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_net_are_reached() {
        for good in ["net/ipv4/ip_forward", "net/ipv4/conf/eth0.100/arp_ignore", "net/ipv4/vs/conntrack"] {
            assert_eq!(path(good), Some(PathBuf::from(format!("/proc/sys/{good}"))), "{good}");
        }
        let long = format!("net/{}", "x".repeat(300));
        for bad in [
            "",
            "net",
            "net/",
            "/net/ipv4/ip_forward",
            "kernel/modprobe",
            "net/../kernel/modprobe",
            "net/ipv4/./ip_forward",
            "net//ipv4",
            "net/ipv4/ip_forward\0",
            "net/ipv4/a b",
            "net/\u{e9}",
            &long,
        ] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_cause_of_a_missing_setting_is_found() {
        let all =
            ["net/ipv4/vs", "net/ipv6", "net/ipv4/conf/eth0", "net/ipv6/conf/eth0", "net/ipv4/neigh/eth0"];
        let why = |key: &str, there: &[&str]| whats_missing(key, |path| there.contains(&path));
        for (key, wanted) in [
            ("net/ipv4/vs/conn_lfactor", Missing::Setting),
            ("net/ipv4/conf/eth0/of_tomorrow", Missing::Setting),
            ("net/ipv4/conf/eth1/arp_ignore", Missing::Interface),
            ("net/ipv4/neigh/eth1/retrans_time", Missing::Interface),
            ("net/ipv6/conf/eth1/accept_ra", Missing::Interface),
            ("net/netfilter/nf_conntrack_max", Missing::Setting),
            ("net/core/of_tomorrow", Missing::Setting),
        ] {
            assert_eq!(why(key, &all), wanted, "{key}");
        }
        assert_eq!(why("net/ipv4/vs/conntrack", &[]), Missing::Ipvs);
        assert_eq!(why("net/ipv6/conf/all/forwarding", &["net/ipv4/vs"]), Missing::Ipv6);
        assert_eq!(why("net/ipv6/conf/eth1/accept_ra", &["net/ipv4/vs"]), Missing::Ipv6);
    }

    #[test]
    fn values_of_several_parts_are_compared_with_single_spaces() {
        assert_eq!(normal("4096\t131072\t6291456\n"), "4096 131072 6291456");
        assert_eq!(normal("1\n"), "1");
    }

    #[test]
    fn a_missing_setting_is_absent_and_one_outside_is_an_error() {
        let keys = |key: &str| BTreeSet::from([key.to_owned()]);
        assert_eq!(observe(&keys("net/ipv4/conf/nowhere/arp_ignore")), Ok(BTreeMap::new()));
        assert_eq!(observe(&keys("net/ipv4/ip_forward")).expect("readable").len(), 1);
        assert_eq!(observe(&keys("kernel/hostname")).expect_err("outside").class, Class::Permanent);
    }
}
