//! The compiler: one `cluster.toml` in, one plan per host out, everything wrong reported at once.
//!
//! ```text
//! files -> load -> parse -> schema -> validate -> resolve -> emit -> plans
//!             \_______\________\__________\____________________________ diagnostics -> render
//! ```
//! Pure: no file (a caller lends [`Files`]), no clock, no environment, so equal inputs give equal
//! bytes. The command that reads and writes files is the binary beside this library.

pub mod arguments;
mod attach;
mod canonical;
pub mod change;
pub mod codes;
mod diagnostic;
mod emit;
mod expiry;
pub mod graph;
pub mod import;
mod layout;
mod limits;
mod load;
mod members;
mod parallel;
mod parse;
mod path;
pub mod reference;
pub mod render;
mod resolve;
mod schema;
mod size;
mod source;
mod suggest;
mod unknown;
mod validate;

pub use codes::Severity;
pub use diagnostic::{Diagnostic, FileSpot, Label, Outside, Place};
pub use emit::{HostPlan, emit, secrets_header};
pub use layout::layout;
pub use limits::{Limits, MAX_BYTES, MAX_FILES};
pub use load::{Files, MAX_DEPTH, Start, is_cluster_file, load, load_alone, load_within};
pub use resolve::Resolved;
pub use source::{Piece, Position, SourceFile};

/// Outcome of the compilation of a cluster file.
#[derive(Debug)]
pub struct Compilation {
    /// The cluster with every name and default resolved; `None` when anything is an error.
    pub cluster: Option<Resolved>,
    /// Diagnostics in the order of the file: at most 100 errors, and 100 warnings of a code.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether there are more errors.
    pub stopped: bool,
}

impl Compilation {
    /// Numbers of reported errors and warnings.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.diagnostics.iter().filter(|d| d.severity() == Severity::Error).count();
        (errors, self.diagnostics.len() - errors)
    }
}

/// Checks a cluster file and resolves it.
#[must_use]
pub fn compile(source: &SourceFile) -> Compilation {
    compilation(run(source, &mut |_| {}))
}

/// The same; gives where everything is written, too, as far as it is TOML.
#[must_use]
pub fn compile_with_origins(source: &SourceFile) -> (Compilation, Option<change::Origins>) {
    let mut origins = None;
    let found = run(source, &mut |document| origins = Some(change::Origins::new(source, document)));
    (compilation(found), origins)
}

fn compilation(found: Found) -> Compilation {
    let Found { cluster, mut diagnostics, stopped } = found;
    diagnostics.sort_by_key(Diagnostic::order);
    let (diagnostics, stopped) = diagnostic::told(diagnostics, stopped);
    let mut compilation = Compilation { cluster: None, diagnostics, stopped };
    if compilation.counts().0 == 0 {
        compilation.cluster = cluster;
    }
    compilation
}

/// Outcome before diagnostics are cut to those that are reported.
struct Found {
    cluster: Option<Resolved>,
    diagnostics: Vec<Diagnostic>,
    /// Whether something stopped early.
    stopped: bool,
}

impl Found {
    const fn nothing_but(diagnostics: Vec<Diagnostic>, stopped: bool) -> Self {
        Self { cluster: None, diagnostics, stopped }
    }
}

/// `see` is shown the tree of the files.
fn run(source: &SourceFile, see: &mut dyn FnMut(&parse::Document<'_>)) -> Found {
    let mut found = source.troubles.clone();
    let incomplete = found.iter().any(|d| d.severity() == Severity::Error);
    if !incomplete && let Some(diagnostic) = source.unusable() {
        return Found::nothing_but(vec![diagnostic], false);
    }
    // To build the validator takes as long as to read a thousand services.
    let parsed = parallel::both(|| parse::parse(source, schema::choice), || schema::prepare(source.text())).0;
    let mut document = match parsed {
        Ok(document) => document,
        Err((diagnostics, stopped)) => {
            found.extend(diagnostics);
            return Found::nothing_but(found, stopped);
        }
    };
    if incomplete {
        // What a file that is missing would have defined cannot be told from what nothing defines.
        return Found::nothing_but(found, false);
    }
    see(&document);
    let mut checked = schema::check(&mut document, source.limits);
    checked.diagnostics.append(&mut found);
    let Some(cluster) = checked.cluster else {
        return Found::nothing_but(checked.diagnostics, checked.stopped);
    };
    if document.is_renamed("include") || !checked.unknowns.knows_all(path::at!["include"]) {
        // What else belongs to the cluster is not known, so no rule can judge it.
        return Found::nothing_but(checked.diagnostics, checked.stopped);
    }
    if let Some(diagnostic) = size::too_many_destinations(&cluster, &document, source.limits) {
        checked.diagnostics.push(diagnostic);
        return Found::nothing_but(checked.diagnostics, checked.stopped);
    }
    let (more, stopped) = validate::run(&validate::World::new(&cluster, &document, &checked.unknowns));
    checked.diagnostics.extend(more);
    if checked.diagnostics.iter().any(|d| d.severity() == Severity::Error) {
        return Found::nothing_but(checked.diagnostics, checked.stopped || stopped);
    }
    // To give back what the tree takes is a tenth of resolving.
    match parallel::both(|| resolve::resolve(&cluster), || drop(document)).0 {
        Ok(resolved) => Found { cluster: Some(resolved), diagnostics: checked.diagnostics, stopped: false },
        Err(unresolved) => {
            checked.diagnostics.push(unresolved.diagnostic());
            Found::nothing_but(checked.diagnostics, false)
        }
    }
}
