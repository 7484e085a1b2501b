//! The `evenkeeld` program. Everything is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    evenkeel_agent::Cli::parse().run()
}
