//! The real programs in a network namespace of their own: one daemon a namespace, so that tests can run
//! beside each other.

use std::ffi::OsStr;
use std::process::Command;

/// A command that runs `program` in a network namespace of its own. The process stays the same.
pub(crate) fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    // Whoever is not root may have a network of his own where he is root.
    command.args(if nix::unistd::geteuid().is_root() { ["--net", "--"] } else { ["-rn", "--"] });
    command.arg(program);
    command
}
