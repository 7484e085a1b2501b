//! Import: configurations of keepalived's directors in, one cluster file out, and what became of each thing.
//!
//! ```text
//! files -> expand -> tree -> read -> model, one a director
//!                                      \-> merge -> write -> cluster.toml -> the compiler
//! ```
//! Pure: files come through the trait [`ImportFiles`]. keepalived's words stand in `keywords` and `read`,
//! ours in `merge` and `write`; nothing else knows either language.

mod expand;
mod foreign;
pub mod keywords;
mod lines;
mod merge;
mod model;
mod notes;
mod read;
pub mod report;
mod sequence;
mod source;
mod tree;
pub mod versions;
mod words;
mod write;

use std::net::IpAddr;

use evenkeel_schemas::scalars::Cidr;

pub use lines::{Line, Ours, Reason, UNSAID, is_significant};
use notes::Notes;
pub use notes::{Fate, Finding};
pub use source::{FilesInMemory, ImportFiles, Source, Spot};

use crate::codes::Severity;
use crate::source::SourceFile;
use crate::{Compilation, codes, compile};

/// What is to be imported.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Name of the cluster.
    pub name: String,
    /// The directors.
    pub directors: Vec<Director>,
    /// Names of real servers.
    pub real_servers: Vec<(String, IpAddr)>,
    /// Interfaces of real servers, by their addresses.
    pub real_interfaces: Vec<(IpAddr, String)>,
    /// Names of services, by VIP and port.
    pub services: Vec<(String, IpAddr, u16)>,
    /// Networks, where the configurations do not say how large they are.
    pub subnets: Vec<Cidr>,
    /// File on the directors that has the VRRP password; without it the password is written down.
    pub secret_file: Option<String>,
    /// Who runs the scripts of a director whose configuration has no `script_user`; without it that is to be
    /// decided.
    pub script_user: Option<String>,
    /// Where programs are on the directors, by their names: those that a configuration names without a path.
    pub programs: Vec<(String, String)>,
    /// Whether every check becomes a TCP check.
    pub checks_as_tcp: bool,
    /// The version of keepalived that the directors run.
    pub keepalived: versions::Version,
    /// What the cluster file is called in messages.
    pub output: String,
}

/// A director and its configuration.
#[derive(Debug, Clone, Default)]
pub struct Director {
    /// Its name in the cluster file.
    pub name: String,
    /// Its main configuration file.
    pub path: String,
    /// What its conditional lines are compared with.
    pub id: String,
    /// Addresses of it that no configuration says, with their interface; without one the main interface.
    pub addresses: Vec<(Option<String>, IpAddr)>,
}

/// What came of it.
#[derive(Debug)]
pub struct Import {
    /// The cluster file.
    pub cluster: SourceFile,
    /// What the compiler says of it.
    pub compilation: Compilation,
    /// Every line of the input that has a statement, once, file by file.
    pub lines: Vec<Line>,
    /// What no line says: guesses about what no configuration has.
    pub general: Vec<Reason>,
    /// What is wrong in the input.
    pub findings: Vec<Finding>,
    /// The files that were read.
    pub sources: Vec<Source>,
    /// Whether any configuration has an instance or a virtual server.
    empty: bool,
}

/// How an import ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result compiles, and what is not the same is listed.
    Done,
    /// There is an error in the input, or the result does not compile yet.
    Errors,
    /// The result compiles, and somebody must decide something.
    Decide,
}

impl Outcome {
    /// The exit code of `evenkeel import`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Errors => 1,
            // 2 is wrong usage.
            Self::Decide => 3,
        }
    }
}

impl Import {
    /// How it ended.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        if self.errors() > 0 || self.empty || self.compilation.cluster.is_none() {
            Outcome::Errors
        } else if report::Counts::of(self).decide > 0 {
            Outcome::Decide
        } else {
            Outcome::Done
        }
    }

    /// Whether nothing was imported: then there is no cluster file to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    /// Errors in the input.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.findings.iter().filter(|finding| finding.code.severity == Severity::Error).count()
    }
}

/// Imports the directors' configurations.
///
/// # Errors
/// Why a director's main file cannot be read, with its path.
pub fn import(request: &Request, files: &dyn ImportFiles) -> Result<Import, String> {
    let mut notes = Notes::default();
    let mut sources = Vec::new();
    let mut configs = Vec::new();
    let mut places = lines::Places::default();
    for (number, director) in request.directors.iter().enumerate() {
        let whose = expand::Whose { director: number, id: &director.id, version: request.keepalived };
        let main = sources.len();
        let lines = expand::expand(files, &director.path, whose, &mut sources, &mut notes)
            .map_err(|error| format!("{}: {error}", director.path))?;
        let mut statements = tree::statements(lines, request.keepalived, &mut notes);
        if let Some(finding) =
            sources.get(main).and_then(|source| foreign::main(source, main, &statements, &notes))
        {
            if finding.code.id == codes::IMPORT_FOREIGN.id {
                statements.clear();
                notes.refuse(main, finding);
            } else {
                notes.finding(finding);
            }
        }
        places.add(&statements);
        configs.push(read::read(number, request, &statements, &mut notes));
    }
    let has_something = |config: &model::Config| !config.instances.is_empty() || !config.services.is_empty();
    for (number, config) in configs.iter().enumerate().filter(|(_, config)| !has_something(config)) {
        if let Some(main) = sources.iter().position(|source| source.director == number) {
            foreign::nothing(main, number, request, config, &mut notes);
        }
    }
    let empty = !configs.iter().any(has_something);
    let merged = merge::merge(request, &configs, &mut notes);
    let text = write::write(&head(request), &merged.cluster, &merged.comments);
    let cluster = SourceFile::new(&request.output, text);
    let compilation = if empty { nothing_compiled() } else { compile(&cluster) };
    let names = &merged.names;
    let input = lines::SortInput { request, sources: &sources, places: &places, notes: &notes, names };
    let (lines, mut general) = lines::sort(&input);
    if empty {
        // Nothing is to be decided of a cluster that is none.
        general.clear();
    }
    Ok(Import { cluster, compilation, lines, general, findings: notes.findings, sources, empty })
}

const fn nothing_compiled() -> Compilation {
    Compilation { cluster: None, diagnostics: Vec::new(), stopped: false }
}

fn head(request: &Request) -> String {
    let from: Vec<String> =
        request.directors.iter().map(|director| format!("{} = {}", director.name, director.path)).collect();
    let from = from.join(", ").replace(char::is_control, " ");
    format!("Imported from keepalived by `evenkeel import`: {from}.")
}
