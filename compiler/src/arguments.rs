//! What the command line of `evenkeel` takes, as data: every command, its arguments and its help. What
//! commands do lives in the program (`cli`); here nothing is read or written, so that tests and documents can
//! ask what there is.
#![allow(missing_docs, reason = "a command is described where its arguments are, and the rest by its help")]

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use evenkeel_schemas::json;
use evenkeel_schemas::scalars::{Name, Span};

use crate::change::Override;
use crate::import::versions::Version;

/// The whole command line, as clap knows it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The names of the JSON Schemas.
fn schemas() -> PossibleValuesParser {
    PossibleValuesParser::new(json::ALL.iter().map(|document| document.name))
}

/// Compiles one cluster.toml into one plan per host.
#[derive(Parser)]
#[command(name = "evenkeel", version, about, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

const EXAMPLES: &str = "\
Examples:
  evenkeel validate cluster.toml
  evenkeel compile cluster.toml --out plans
  evenkeel plan cluster.toml
  evenkeel apply cluster.toml --to plans
  evenkeel import dir1=dir1.conf dir2=dir2.conf --out cluster.toml
  evenkeel explain EK0305

Exit codes: 0 success, 1 error, 2 wrong usage.";

#[derive(Subcommand)]
pub enum Command {
    Validate(Validate),
    Compile(Compile),
    Plan(Plan),
    Apply(Apply),
    Import(ImportArguments),
    Explain(Explain),
    Graph(GraphArguments),
    Fmt(Fmt),
    Schema(Schema),
    Completions(Completions),
    Man(Man),
}

/// The cluster
#[derive(Args)]
pub struct Input {
    /// The cluster file; `-` reads standard input
    pub cluster: PathBuf,
    /// A file that is laid over the cluster: tables are merged, anything else is replaced; may be
    /// given several times
    #[arg(long, value_name = "FILE")]
    pub overlay: Vec<PathBuf>,
}

/// Check a cluster file and report everything wrong with it
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel validate cluster.toml
  evenkeel validate cluster.toml --overlay overlays/staging.toml
  evenkeel validate cluster.toml --format sarif > evenkeel.sarif
  evenkeel validate --untrusted cluster.toml --format github    # in CI, on strangers' pull requests
  git show main:cluster.toml | evenkeel validate -")]
pub struct Validate {
    #[command(flatten)]
    pub input: Input,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
    /// The files are a stranger's: read nothing outside the directory of the cluster file, show no line
    /// that holds a secret, and stop at 100 files, 1 MiB, 200,000 destinations or 60 seconds
    #[arg(long)]
    pub untrusted: bool,
}

/// Write every host's plan into a directory, and remove plans of hosts that are gone
///
/// Files are replaced atomically and left untouched when nothing changed. Only plans of this
/// cluster are ever removed. When the cluster file has an error, or a guard of the plans that are
/// there refuses, nothing is written.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel compile cluster.toml --out plans
  evenkeel compile cluster.toml --out plans --check    # in CI: are the committed plans current?
  evenkeel compile cluster.toml --out plans --override prevent_removal=services.web")]
pub struct Compile {
    #[command(flatten)]
    pub input: Input,
    /// The directory of plans; made when it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write nothing, and fail when the directory is not up to date
    #[arg(long)]
    pub check: bool,
    /// Do what a guard refuses: `max_change`, `empty`, `prevent_removal=services.NAME`
    #[arg(long = "override", value_name = "GUARD", conflicts_with = "check")]
    pub overrides: Vec<Override>,
    /// How to report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

/// Show what would change: per host, with reasons, stages and warnings
///
/// Compares the plans of a cluster file with those that are there. Changes nothing. What is the same on
/// several hosts is told once. The formats `json` and `diff`, and what --save writes, always hold everything.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel plan cluster.toml                                  # against the last commit
  evenkeel plan cluster.toml --against git:origin/main --format markdown
  evenkeel plan cluster.toml --against git:HEAD:old/place/cluster.toml
  evenkeel plan cluster.toml --against plans --save change.plan
  evenkeel plan cluster.toml --summary                        # a line a host, or for several
  evenkeel plan cluster.toml --host dir1 --host dir2 --full   # every field of two hosts
  evenkeel plan --untrusted cluster.toml --against git:origin/main --format markdown

Exit codes: 0 success, 1 error, 2 wrong usage. With --detailed-exitcode 0 no changes, 1 error, 2 changes.")]
pub struct Plan {
    #[command(flatten)]
    pub input: Input,
    /// What is there: a directory of plans, `git:REV`, `git:REV:PATH`, or `none` [default: git:HEAD]
    #[arg(long, value_name = "BASE")]
    pub against: Option<String>,
    /// Exit with 2 when there are changes
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// How to show it
    #[arg(long, value_enum, default_value_t = PlanFormat::Human)]
    pub format: PlanFormat,
    /// Say in a few words what happens to each host, instead of object by object
    #[arg(long, conflicts_with = "full")]
    pub summary: bool,
    /// Leave nothing out: fields with their default values, every host of a list, each of many like warnings
    #[arg(long)]
    pub full: bool,
    /// Show the objects and steps of this host only; may be given several times. Summary, warnings and the
    /// exit code stay those of all hosts
    #[arg(long, value_name = "NAME")]
    pub host: Vec<Name>,
    /// Also write it to a file that `evenkeel apply` takes
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// The files are a stranger's, as for `evenkeel validate`; and no file of secrets beside plans is
    /// opened, and git brings no object that is missing
    #[arg(long)]
    pub untrusted: bool,
}

/// Bring a directory of plans to what a cluster file, or a saved plan, says
///
/// Each file is replaced atomically; readers see the old plan or the new one. A saved plan is applied
/// to exactly what it was made from, or not at all.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel apply cluster.toml --to plans
  evenkeel apply cluster.toml --to plans --stage next         # until no stage is left
  evenkeel apply change.plan --to plans --stage 1
  evenkeel apply cluster.toml --to plans --override prevent_removal=services.web")]
pub struct Apply {
    /// The cluster file, or a file of `evenkeel plan --save`; `-` reads standard input
    #[arg(value_name = "CLUSTER|FILE")]
    pub input: PathBuf,
    /// A file that is laid over the cluster; may be given several times
    #[arg(long, value_name = "FILE")]
    pub overlay: Vec<PathBuf>,
    /// The directory of plans; made when it does not exist
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Apply one stage: `next`, or a number of a saved plan
    #[arg(long, value_name = "STAGE")]
    pub stage: Option<StageChoice>,
    /// Do what a guard refuses: `max_change`, `empty`, `prevent_removal=services.NAME`
    #[arg(long = "override", value_name = "GUARD")]
    pub overrides: Vec<Override>,
    /// How long to wait for another apply, such as `60s`
    #[arg(long, value_name = "TIME", default_value = "0s")]
    pub lock_timeout: Span,
    /// For a saved plan: the cluster file that has the secrets which the plan does not hold
    #[arg(long, value_name = "CLUSTER")]
    pub secrets_from: Option<PathBuf>,
}

/// Make a cluster file of keepalived's configurations, and say what became of each thing in them
///
/// Give the configurations of all directors of a cluster together, each with the director's name.
/// Every line that has a statement is in the report once: what behaves otherwise and why, what somebody must
/// decide, what is the same. Lines that are alike are one entry; `--full` and `--format json` list each.
#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 the result compiles, and whatever behaves otherwise is listed; 1 an error in the input, \
nothing to import, or the
result does not compile yet; 2 wrong usage; 3 the result compiles, and something is to be decided. With 1 \
and 3 the cluster file
is written all the same, unless nothing was imported.

Examples:
  evenkeel import dir1=dir1/keepalived.conf dir2=dir2/keepalived.conf --out cluster.toml
  evenkeel import high=keepalived.conf low=keepalived.conf          # one file with @high and @low lines
  evenkeel import dir1=a.conf dir2=b.conf --address dir1=192.0.2.11 --address dir2=192.0.2.12 \\
      --real-server web1=192.0.2.21 --service web=192.0.2.100:80 --subnet 192.0.2.0/24
  evenkeel import dir1=a.conf dir2=b.conf --script-user keepalived_script --program killall=/usr/bin/killall
  evenkeel import dir1=a.conf dir2=b.conf --keepalived-version 2.3.4   # without it: 2.2.7
  evenkeel import dir1=a.conf dir2=b.conf --checks-as-tcp --format json > report.json")]
pub struct ImportArguments {
    /// A director's name and its main configuration file, which is a regular file
    #[arg(required = true, value_name = "NAME=FILE")]
    pub directors: Vec<String>,
    /// The cluster file to write; without it the file goes to standard output and the report to standard
    /// error
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Name of the cluster
    #[arg(long, default_value = "imported")]
    pub name: String,
    /// What a director's `@` lines are compared with (keepalived -i); its name unless given
    #[arg(long, value_name = "DIRECTOR=ID")]
    pub id: Vec<String>,
    /// A director's own address, where no `unicast_src_ip` or `mcast_src_ip` says it
    #[arg(long, value_name = "DIRECTOR[/INTERFACE]=ADDRESS")]
    pub address: Vec<String>,
    /// Name of a real server, and its interface
    #[arg(long, value_name = "NAME[/INTERFACE]=ADDRESS")]
    pub real_server: Vec<String>,
    /// Name of a service
    #[arg(long, value_name = "NAME=VIP:PORT")]
    pub service: Vec<String>,
    /// A network, where the configurations do not say how large it is
    #[arg(long, value_name = "NETWORK/PREFIX")]
    pub subnet: Vec<String>,
    /// File on the directors that has the VRRP password; without it the password is written down
    #[arg(long, value_name = "PATH")]
    pub secret_file: Option<String>,
    /// Who runs scripts and hooks where a configuration has no `script_user`. keepalived takes
    /// `keepalived_script` where that user exists, and root otherwise
    #[arg(long, value_name = "USER")]
    pub script_user: Option<String>,
    /// Where a program is on the directors that a configuration names without its path
    #[arg(long, value_name = "NAME=PATH")]
    pub program: Vec<String>,
    /// Make every check a TCP check; the report names each
    #[arg(long)]
    pub checks_as_tcp: bool,
    /// Version of keepalived that the directors run, as `keepalived --version` says it
    #[arg(long, value_name = "VERSION", default_value_t)]
    pub keepalived_version: Version,
    /// How to report
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub format: ReportFormat,
    /// List each line of the input, also where many are alike
    #[arg(long)]
    pub full: bool,
}

/// Explain a code of a diagnostic, or list all codes
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel explain
  evenkeel explain EK0305")]
pub struct Explain {
    /// A code, such as EK0305
    pub code: Option<String>,
}

/// Draw the cluster: directors, virtual routers, services and real servers
///
/// Real servers of the same services, and services of the same real servers, are drawn as one box. Solid
/// lines lead from the director that is Master when all are well, dashed ones from the others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel graph cluster.toml                    # Mermaid, for a fenced block in Markdown
  evenkeel graph cluster.toml --out cluster.svg
  evenkeel graph cluster.toml --format svg | rsvg-convert --zoom 2 > cluster.png")]
pub struct GraphArguments {
    #[command(flatten)]
    pub input: Input,
    /// How to draw; by the ending of the file (.svg, .mmd, .mermaid) unless given, and Mermaid to standard
    /// output
    #[arg(long, value_enum)]
    pub format: Option<GraphFormat>,
    /// The file to write; standard output unless given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum GraphFormat {
    /// A picture that browsers show
    Svg,
    /// Text that GitHub and GitLab draw in Markdown
    Mermaid,
}

/// Put cluster files into canonical layout
///
/// Keys and tables come in the order of the documentation, with one blank line between tables.
/// Comments stay, and so does the meaning. Files with syntax errors are left as they are.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel fmt cluster.toml services/*.toml
  evenkeel fmt --check cluster.toml          # in CI
  evenkeel fmt - < cluster.toml")]
pub struct Fmt {
    /// The files, each a regular one; `-` reads standard input and writes standard output
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write nothing, and fail when a file has another layout
    #[arg(long)]
    pub check: bool,
    /// Write nothing, and show what would change; secrets are masked
    #[arg(long)]
    pub diff: bool,
}

/// Print the JSON Schema of a document, or list all of them
///
/// Editors complete and check cluster files with `cluster`; the others describe what programs read.
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel schema
  evenkeel schema cluster > cluster.schema.json    # then, first in cluster.toml: #:schema \
  cluster.schema.json")]
pub struct Schema {
    /// Which one
    #[arg(value_parser = schemas())]
    pub name: Option<String>,
}

/// Print a shell's completions of this command
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel completions bash > /usr/share/bash-completion/completions/evenkeel
  evenkeel completions zsh > /usr/share/zsh/site-functions/_evenkeel")]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Write the manual pages: of every command, and of the cluster file
#[derive(Args)]
#[command(after_help = "\
Examples:
  evenkeel man /usr/local/share/man
  man 5 evenkeel.toml")]
pub struct Man {
    /// The directory; pages go to man1/ and man5/ in it
    pub directory: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Color {
    /// When it is a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

/// How diagnostics are written: for people to standard error, else to standard output, and what
/// is said besides to standard error.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text with excerpts of the files
    Human,
    /// A document for programs (schemas/json/report.schema.json)
    Json,
    /// Workflow commands of GitHub Actions: annotations in pull requests
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Clone, Copy, ValueEnum)]
pub enum PlanFormat {
    /// Blocks of `+ ~ -`, stages, warnings and a summary
    Human,
    /// A unified diff of the plan files
    Diff,
    /// One document, see schemas/json/change.schema.json
    Json,
    /// A comment for a pull request
    Markdown,
}

/// Which stage to apply.
#[derive(Debug, Clone, Copy)]
pub enum StageChoice {
    /// The one that is due.
    Next,
    /// From 1.
    Number(usize),
}

impl std::str::FromStr for StageChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "next" {
            return Ok(Self::Next);
        }
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Self::Number).ok_or_else(|| "give `next`, or a number from 1".to_owned())
    }
}

/// How an import reports.
#[derive(Clone, Copy, ValueEnum)]
pub enum ReportFormat {
    /// Text with excerpts of the files
    Human,
    /// One JSON document
    Json,
}
