//! A diagnostic: what is wrong, where, and what to do about it. Data only; `render` draws it.

use std::ops::Range;

use crate::codes::Code;

/// Bytes of the source's text.
pub type Place = Range<usize>;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Compiled, but probably not what was meant.
    Warning,
}

/// A place with a few words on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub place: Place,
    /// What is there.
    pub text: String,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which rule it breaks.
    pub code: &'static Code,
    /// The cause, one sentence without a full stop.
    pub message: String,
    /// Where to look first; `None` when a file as a whole is meant.
    pub primary: Option<Label>,
    /// The file that is meant as a whole; `None` for the cluster file itself.
    pub file: Option<String>,
    /// Other places that have part in it.
    pub secondary: Vec<Label>,
    /// Facts that explain the cause.
    pub notes: Vec<String>,
    /// What to do.
    pub hints: Vec<String>,
}

impl Diagnostic {
    /// A finding at `place`.
    pub(crate) fn new(
        code: &'static Code,
        place: Place,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        let primary = Some(Label { place, text: label.into() });
        Self { primary, ..Self::of_file(code, message) }
    }

    /// A finding about the file as a whole. Public for those who read files.
    #[must_use]
    pub fn of_file(code: &'static Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            primary: None,
            file: None,
            secondary: Vec::new(),
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Names the file that is meant as a whole.
    #[must_use]
    pub(crate) fn in_file(mut self, name: impl Into<String>) -> Self {
        self.file = Some(name.into());
        self
    }

    /// The same with all places `by` bytes further on.
    #[must_use]
    pub(crate) fn shifted(mut self, by: usize) -> Self {
        for label in self.primary.iter_mut().chain(&mut self.secondary) {
            label.place = label.place.start + by..label.place.end + by;
        }
        self
    }

    /// Adds another place.
    #[must_use]
    pub(crate) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.secondary.push(Label { place, text: label.into() });
        self
    }

    /// Adds a fact.
    #[must_use]
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.hints.push(text.into());
        self
    }

    /// How bad it is: every code has one severity.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity
    }

    /// Sort key: the order of the file, then of the codes.
    pub(crate) fn order(&self) -> (usize, &'static str, usize) {
        let place = self.primary.as_ref().map_or(0..0, |label| label.place.clone());
        (place.start, self.code.id, place.end)
    }
}

/// Of findings of one code at one place, such as a default that is wrong for every service, keeps
/// the first and says how many there are.
pub(crate) fn gather(mut diagnostics: Vec<Diagnostic>) -> impl Iterator<Item = Diagnostic> {
    diagnostics.sort_by_key(Diagnostic::order);
    let mut gathered: Vec<(Diagnostic, usize)> = Vec::with_capacity(diagnostics.len());
    for diagnostic in diagnostics {
        match gathered.last_mut() {
            Some((first, more)) if first.order() == diagnostic.order() => *more += 1,
            _ => gathered.push((diagnostic, 0)),
        }
    }
    gathered.into_iter().map(|(diagnostic, more)| match more {
        0 => diagnostic,
        1 => diagnostic.note("the same holds for one more that takes its value from here"),
        more => diagnostic.note(format!("the same holds for {more} more that take their value from here")),
    })
}
