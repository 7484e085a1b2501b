//! The command line: files, terminals, exit codes. What it takes is `evenkeel::arguments`, and what things
//! mean is the library's business; only here is anything read or written.
#![allow(clippy::disallowed_methods, reason = "the library is pure because all I/O is here")]

use std::process::ExitCode;

use evenkeel::arguments::{
    Apply, Cli, Color, Command, Compile, Completions, Explain, Fmt, Format, GraphArguments, GraphFormat,
    ImportArguments, Input, Man, Plan, PlanFormat, ReportFormat, Schema, StageChoice, Validate,
};

mod apply;
mod base;
mod compile;
mod directory;
mod disk;
mod explain;
mod files;
mod fmt;
mod git;
mod graph;
mod guards;
mod import;
mod input;
mod lock;
mod pages;
mod plan;
mod progress;
mod schema;
mod terminal;
mod validate;

use terminal::Terminal;

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    let cli: Cli = match Terminal::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let terminal = Terminal::new(match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    });
    let done = match &cli.command {
        Command::Validate(arguments) => validate::run(arguments, &terminal),
        Command::Compile(arguments) => compile::run(arguments, &terminal),
        Command::Plan(arguments) => return terminal.finish(plan::run(arguments, &terminal)),
        Command::Apply(arguments) => apply::run(arguments, &terminal),
        Command::Import(arguments) => return terminal.finish(import::run(arguments, &terminal)),
        Command::Explain(arguments) => explain::run(arguments, &terminal),
        Command::Graph(arguments) => graph::run(arguments, &terminal),
        Command::Fmt(arguments) => fmt::run(arguments, &terminal),
        Command::Schema(arguments) => schema::run(arguments, &terminal),
        Command::Completions(arguments) => pages::completions(arguments, &terminal),
        Command::Man(arguments) => pages::man(arguments, &terminal),
    };
    terminal.finish(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
