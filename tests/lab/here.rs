//! A lab in the machine's own kernel, as root, for measurements that the guest's clock is too coarse for. The
//! kernel may have no IPVS.
//!
//! Everything is inside namespaces of network, mounts and processes that are ours alone: they end with this
//! process, however it ends, and with them every program, link, mount and address in them. There is nothing
//! to clean up.

use std::fs;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};

use crate::cluster::Lab;
use crate::netlink::{Netlink, link_up};
use crate::verdict::STAGE;

/// Runs `program` in a lab on this machine's own kernel, from an ordinary `main`. Ends the process's children
/// with it.
pub fn run_here(program: impl FnOnce(&Lab)) -> ExitCode {
    if std::env::var(STAGE).as_deref() == Ok("here") {
        enter(program);
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("namespaces on this machine's own kernel: run this as root");
        return ExitCode::FAILURE;
    }
    let own = std::env::current_exe().expect("the own path");
    // Whoever dies takes the next one along: us, `unshare`, the namespaces' first process, everything in
    // them.
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare", "--net", "--mount", "--pid", "--fork"])
        .args(["--kill-child=KILL", "--mount-proc", "--"])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(STAGE, "here")
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("setpriv, unshare: {error}. install: apt-get install util-linux");
            ExitCode::FAILURE
        }
    }
}

fn enter(program: impl FnOnce(&Lab)) {
    mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a /run of our own");
    for place in ["/run/netns", "/run/lab/logs"] {
        fs::create_dir_all(place).expect("directories in /run");
    }
    link_up(&mut Netlink::route(0), "lo");
    program(&Lab::new("/run/lab".as_ref()));
}
