//! The `evenkeeld` program. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    evenkeel_agent::main()
}
