//! The compiler: one `cluster.toml` in, one plan per host out, everything wrong reported at once.
//!
//! ```text
//! files -> load -> parse -> schema -> validate -> resolve -> emit -> plans
//!             \_______\________\__________\____________________________ diagnostics -> render
//! ```
//! Pure: no file (a caller lends [`Files`]), no clock, no environment, so equal inputs give equal
//! bytes. The command that reads and writes files is the binary beside this library.

mod attach;
mod canonical;
pub mod change;
pub mod codes;
mod diagnostic;
mod emit;
pub mod graph;
pub mod import;
mod layout;
mod load;
mod members;
mod parallel;
mod parse;
pub mod reference;
pub mod render;
mod resolve;
mod schema;
mod source;
mod suggest;
mod unknown;
mod validate;

pub use diagnostic::{Diagnostic, Label, Place, Severity};
pub use emit::{HostPlan, emit, secrets_header};
pub use layout::layout;
pub use load::{Files, MAX_DEPTH, MAX_FILES, Start, load, load_alone};
pub use resolve::Resolved;
pub use source::{MAX_BYTES, Piece, Position, SourceFile};

/// What became of a cluster file.
#[derive(Debug)]
pub struct Compilation {
    /// The cluster with every name and default resolved; `None` when anything is an error.
    pub cluster: Option<Resolved>,
    /// Everything there is to say, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compilation {
    /// How many errors and how many warnings there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.diagnostics.iter().filter(|d| d.severity() == Severity::Error).count();
        (errors, self.diagnostics.len() - errors)
    }
}

/// Checks a cluster file and resolves it.
#[must_use]
pub fn compile(source: &SourceFile) -> Compilation {
    let (cluster, mut diagnostics) = run(source);
    diagnostics.sort_by_key(Diagnostic::order);
    let mut compilation = Compilation { cluster: None, diagnostics };
    if compilation.counts().0 == 0 {
        compilation.cluster = cluster;
    }
    compilation
}

fn run(source: &SourceFile) -> (Option<Resolved>, Vec<Diagnostic>) {
    let mut found = source.troubles.clone();
    let incomplete = found.iter().any(|d| d.severity() == Severity::Error);
    if !incomplete && let Some(diagnostic) = source.unusable() {
        return (None, vec![diagnostic]);
    }
    // To build the validator takes as long as to read a thousand services.
    let parsed = parallel::both(|| parse::parse(source), schema::prepare).0;
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(diagnostics) => {
            found.extend(diagnostics);
            return (None, found);
        }
    };
    if incomplete {
        // What a file that is missing would have defined cannot be told from what nothing defines.
        return (None, found);
    }
    let parse::Parsed { mut document, value, odd } = parsed;
    let mut checked = schema::check(&mut document, value, &odd);
    checked.diagnostics.append(&mut found);
    let Some(cluster) = checked.cluster else {
        return (None, checked.diagnostics);
    };
    if document.is_renamed("include") || !checked.unknowns.knows_all(parse::at!["include"]) {
        // What else belongs to the cluster is not known, so no rule can judge it.
        return (None, checked.diagnostics);
    }
    let world = validate::World::new(&cluster, &document, &checked.unknowns);
    checked.diagnostics.extend(diagnostic::gather(validate::run(&world)));
    if checked.diagnostics.iter().any(|d| d.severity() == Severity::Error) {
        return (None, checked.diagnostics);
    }
    match resolve::resolve(&cluster) {
        Ok(resolved) => (Some(resolved), checked.diagnostics),
        Err(unresolved) => {
            checked.diagnostics.push(unresolved.diagnostic());
            (None, checked.diagnostics)
        }
    }
}
