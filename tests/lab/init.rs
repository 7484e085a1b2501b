//! The guest's first process: mounts, modules, the loopback link; then starts the test as its child and reaps
//! whatever dies. It runs no test code, so that a test that crashes cannot take the kernel's verdict with it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, wait};

use crate::netlink::{Netlink, link_up};
use crate::uml::{ENVIRONMENT_FILE, HOST_MODULES};
use crate::verdict::{
    FAILED, LIMIT, ON_DEMAND, REFUSED, SHARE, SHARE_IN_GUEST, STAGE, leave_verdict, verdict_file,
};

/// The modules every lab uses, loaded at once because one `modprobe` costs as much as ten. The rest load on
/// demand.
const MODULES: [&str; 5] = ["veth", "bridge", "ipv6", "ip_vs", "nlmon"];
/// Wraps the kernel's own requests for modules: they are not where it would look.
const MODPROBE_WRAPPER: &str = "/run/modprobe";
/// A root directory holding nothing but `lib/modules`.
pub(crate) const MODULES_ROOT: &str = "/run/modules";
/// The host's files once more, for paths that the guest's own `/run` and `/tmp` hide.
const HOST_FILES: &str = "/run/host";

/// Never returns: ends by powering the guest off.
pub(crate) fn run() -> ! {
    if catch_unwind(|| {
        mount_file_systems();
        load_modules();
        start_and_reap()
    })
    .is_err()
    {
        leave_verdict(FAILED, "the guest's first process panicked; see its console");
    }
    nix::unistd::sync();
    match reboot(RebootMode::RB_POWER_OFF) {
        Err(error) => panic!("power off: {error}"),
        Ok(never) => {
            let never: Infallible = never;
            match never {}
        }
    }
}

fn mount_file_systems() {
    attach("proc", "/proc", None);
    attach("sysfs", "/sys", None);
    attach("tmpfs", "/run", None);
    attach("tmpfs", "/tmp", None);
    for (kind, place) in
        [("devpts", "/dev/pts"), ("tmpfs", "/dev/shm"), ("hostfs", SHARE_IN_GUEST), ("hostfs", HOST_FILES)]
    {
        fs::create_dir_all(place).unwrap_or_else(|error| panic!("mkdir {place}: {error}"));
        let share = std::env::var_os(SHARE).expect("the shared directory's path");
        attach(kind, place, if place == SHARE_IN_GUEST { Some(&share) } else { None });
    }
    for place in ["/run/lock", "/run/netns", "/run/lab"] {
        fs::create_dir_all(place).unwrap_or_else(|error| panic!("mkdir {place}: {error}"));
    }
    // Logs lie on the host's disk: have them written soon, in case this kernel dies.
    write("/proc/sys/vm/dirty_expire_centisecs", "100");
    write("/proc/sys/vm/dirty_writeback_centisecs", "100");
    write("/proc/sys/kernel/hostname", "lab");
}

fn attach(kind: &str, place: &str, data: Option<&OsStr>) {
    mount(Some("none"), place, Some(kind), MsFlags::empty(), data)
        .unwrap_or_else(|error| panic!("mount {kind} on {place}: {error}"));
}

fn write(path: &str, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("write {path}: {error}"));
}

fn load_modules() {
    fs::create_dir_all(format!("{MODULES_ROOT}/lib")).expect("a place for modules");
    symlink(HOST_MODULES, format!("{MODULES_ROOT}/lib/modules")).expect("a link to the modules");
    let refused: String = listed(REFUSED)
        .map(|name| format!("for word in \"$@\"; do [ \"$word\" != {name} ] || exit 1; done\n"))
        .collect();
    write(MODPROBE_WRAPPER, &format!("#!/bin/sh\n{refused}exec /sbin/modprobe -d {MODULES_ROOT} \"$@\"\n"));
    fs::set_permissions(MODPROBE_WRAPPER, fs::Permissions::from_mode(0o755)).expect("an executable wrapper");
    write("/proc/sys/kernel/modprobe", MODPROBE_WRAPPER);
    let later: Vec<String> = listed(ON_DEMAND).collect();
    let now = MODULES.iter().filter(|name| !later.iter().any(|later| later == *name));
    let loaded = Command::new("/sbin/modprobe").args(["-d", MODULES_ROOT, "-a"]).args(now).status();
    assert!(loaded.as_ref().is_ok_and(|status| status.success()), "modprobe {MODULES:?}: {loaded:?}");
}

/// The words of a variable that the host has set.
fn listed(variable: &str) -> impl Iterator<Item = String> {
    let words = std::env::var(variable).unwrap_or_default();
    words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Starts the test with the host's environment, arguments and directory; returns when it has ended.
fn start_and_reap() {
    link_up(&mut Netlink::route(0), "lo");

    let mut environment = host_environment();
    let directory = environment.remove(OsStr::new("PWD")).unwrap_or_else(|| "/".into());
    let path = environment.entry("PATH".into()).or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
    #[expect(clippy::zombie_processes, reason = "the loop below waits for every child, known or not")]
    let child = Command::new(reachable(&std::env::current_exe().expect("the own path")))
        .args(std::env::args_os().skip(1))
        .env_clear()
        .envs(&environment)
        .env(STAGE, "test")
        .env(LIMIT, std::env::var_os(LIMIT).expect("the time limit"))
        .current_dir(reachable(Path::new(&directory)))
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("start the test: {error}"));

    let test = child.id().cast_signed();
    loop {
        match wait() {
            Ok(status) if status.pid().is_some_and(|pid| pid.as_raw() == test) => {
                if !verdict_file(Path::new(SHARE_IN_GUEST)).exists() {
                    leave_verdict(
                        FAILED,
                        &format!("the test process ended without a verdict: {}", describe(status)),
                    );
                }
                return;
            }
            Ok(_) => {}
            Err(error) => panic!("wait: {error}"),
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit code {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("killed by {signal}"),
        other => format!("{other:?}"),
    }
}

/// The environment the host wrote down: `NAME=value`, each ended by a zero byte.
fn host_environment() -> BTreeMap<OsString, OsString> {
    let bytes = fs::read(Path::new(SHARE_IN_GUEST).join(ENVIRONMENT_FILE)).expect("the host's environment");
    bytes
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let equals = entry.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&entry[..equals], &entry[equals + 1..]);
            Some((OsString::from_vec(name.to_vec()), OsStr::from_bytes(value).to_owned()))
        })
        .collect()
}

/// A host path as the guest can reach it.
pub(crate) fn reachable(path: &Path) -> std::path::PathBuf {
    if path.starts_with("/run") || path.starts_with("/tmp") || path.starts_with("/dev") {
        Path::new(HOST_FILES).join(path.strip_prefix("/").unwrap_or(path))
    } else {
        path.to_owned()
    }
}
