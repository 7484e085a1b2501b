//! The `evenkeeld-exec` program: runs one program of the plan for `evenkeeld`, and ends all that it started.
//! Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_agent::run_program()
}
