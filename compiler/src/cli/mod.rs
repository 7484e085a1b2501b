//! The command line: arguments, files, terminals, exit codes. What things mean is the library's
//! business; only here is anything read or written.
#![allow(clippy::disallowed_methods, reason = "the library is pure because all I/O is here")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod compile;
mod directory;
mod explain;
mod graph;
mod input;
mod terminal;
mod validate;

use terminal::Terminal;

/// Compiles one cluster.toml into one plan per host.
#[derive(Parser)]
#[command(name = "evenkeel", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    color: Color,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel validate cluster.toml
  evenkeel compile cluster.toml --out plans
  evenkeel explain EK0305

Exit codes: 0 success, 1 error, 2 wrong usage.";

#[derive(Subcommand)]
enum Command {
    Validate(Validate),
    Compile(Compile),
    Explain(Explain),
    Graph(Graph),
}

/// Check a cluster file and report everything wrong with it
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel validate cluster.toml
  git show main:cluster.toml | evenkeel validate -")]
struct Validate {
    /// The cluster file; `-` reads standard input
    cluster: PathBuf,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Write every host's plan into a directory, and remove plans of hosts that are gone
///
/// Files are replaced atomically and left untouched when nothing changed. Only plans of this
/// cluster are ever removed. When the cluster file has an error nothing is written.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel compile cluster.toml --out plans
  evenkeel compile cluster.toml --out plans --check    # in CI: are the committed plans current?")]
struct Compile {
    /// The cluster file; `-` reads standard input
    cluster: PathBuf,
    /// The directory of plans; made when it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write nothing, and fail when the directory is not up to date
    #[arg(long)]
    check: bool,
}

/// Explain a code of a diagnostic, or list all codes
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel explain
  evenkeel explain EK0305")]
struct Explain {
    /// A code, such as EK0305
    code: Option<String>,
}

/// Draw the cluster: directors, virtual routers, services and real servers
///
/// Real servers of the same services, and services of the same real servers, are drawn as one box. Solid
/// lines lead from the director that is Master when all are well, dashed ones from the others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel graph cluster.toml                    # Mermaid, for a fenced block in Markdown
  evenkeel graph cluster.toml --out cluster.svg")]
struct Graph {
    /// The cluster file; `-` reads standard input
    cluster: PathBuf,
    /// How to draw; by the name of the file unless given
    #[arg(long, value_enum)]
    format: Option<GraphFormat>,
    /// The file to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum GraphFormat {
    /// A picture that browsers show
    Svg,
    /// Text that GitHub and GitLab draw in Markdown
    Mermaid,
}

#[derive(Clone, Copy, ValueEnum)]
enum Color {
    /// When it is a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Text with excerpts of the file
    Human,
}

/// Runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::new(match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    });
    let done = match &cli.command {
        Command::Validate(arguments) => validate::run(arguments, &terminal),
        Command::Compile(arguments) => compile::run(arguments, &terminal),
        Command::Explain(arguments) => explain::run(arguments, &terminal),
        Command::Graph(arguments) => graph::run(arguments, &terminal),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
