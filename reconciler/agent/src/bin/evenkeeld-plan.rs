//! The `evenkeeld-plan` program: parses a plan for `evenkeeld`. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_agent::read_plan()
}
