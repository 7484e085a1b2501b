//! The `evenkeeld-guard` program: takes the VIPs of a dead `evenkeeld` away. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_agent::guardian()
}
