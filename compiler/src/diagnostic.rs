//! A diagnostic: what is wrong, where, and what to do about it. Data only; `render` draws it.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::codes::{Code, Severity};

/// Bytes of the source's text.
pub type Place = Range<usize>;

/// A place with a few words on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub place: Place,
    /// Words for the place.
    pub text: String,
}

/// A place that is not in the source's text: in a file that is no text or cannot be read, or the beginning of
/// one that is meant as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The file; `None` for the cluster file itself.
    pub file: Option<String>,
    /// Place in the file.
    pub at: FileSpot,
}

/// A place in a file that is not in the source's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpot {
    /// The line, from 1.
    pub line: usize,
    /// The character in its line, from 1.
    pub column: usize,
    /// The byte, from 0.
    pub byte: usize,
}

impl FileSpot {
    /// Beginning of every file.
    pub(crate) const BEGINNING: Self = Self { line: 1, column: 1, byte: 0 };
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Code of the rule that is broken.
    pub code: &'static Code,
    /// The cause, one sentence without a full stop.
    pub message: String,
    /// First place to look at; `None` when that is not in the source's text, see `outside`.
    pub primary: Option<Label>,
    /// Place to look at when there is no `primary`.
    pub outside: Outside,
    /// Other places that have part in it.
    pub secondary: Vec<Label>,
    /// Facts that explain the cause.
    pub notes: Vec<String>,
    /// Advice.
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
            outside: Outside { file: None, at: FileSpot::BEGINNING },
            secondary: Vec::new(),
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Names the file that is meant.
    #[must_use]
    pub(crate) fn in_file(mut self, name: impl Into<String>) -> Self {
        self.outside.file = Some(name.into());
        self
    }

    /// Says where in the file that is meant.
    #[must_use]
    pub(crate) const fn at_spot(mut self, at: FileSpot) -> Self {
        self.outside.at = at;
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

    /// Severity: every code has one.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.code.severity
    }

    /// Sort key: the order of the file, then of the codes.
    pub(crate) fn order(&self) -> (usize, &'static str, usize) {
        // Of a file that cannot be read it is where that is included.
        let first = self.primary.as_ref().or(self.secondary.first());
        let place = first.map_or(0..0, |label| label.place.clone());
        (place.start, self.code.id, place.end)
    }
}

/// Most errors that are reported in one run, and warnings of one code: whoever has more mends these first.
pub(crate) const MAX_ERRORS: usize = 100;

/// Findings of a rule: no more than are reported. Of findings of one code at one place, such as a default
/// that is wrong for every service, the first is kept and the others are counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<(Diagnostic, usize)>,
    /// Whether something was left out.
    stopped: bool,
}

impl Findings {
    /// Number of gathered findings at which those that are not reported are left out: one more than is
    /// reported shows that there are more.
    const KEPT: usize = 2 * MAX_ERRORS;

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.kept.push((diagnostic, 0));
        if self.kept.len() >= 8 * Self::KEPT {
            self.gather();
        }
    }

    fn gather(&mut self) {
        self.kept.sort_by_key(|(diagnostic, _)| diagnostic.order());
        self.kept.dedup_by(|(again, more), (first, count)| {
            let same = first.order() == again.order();
            if same {
                *count += 1 + *more;
            }
            same
        });
        self.stopped |= self.kept.len() > Self::KEPT;
        self.kept.truncate(Self::KEPT);
    }

    /// In the order of the file, and whether there is more.
    pub(crate) fn into_sorted(mut self) -> (Vec<Diagnostic>, bool) {
        self.gather();
        let told = self.kept.into_iter().map(|(diagnostic, more)| match more {
            0 => diagnostic,
            1 => diagnostic.note("the same holds for one more that takes its value from here"),
            more => {
                diagnostic.note(format!("the same holds for {more} more that take their value from here"))
            }
        });
        (told.collect(), self.stopped)
    }
}

/// The diagnostics that are reported, in the order of the file, and whether errors were left out. Where there
/// are more of a kind, the last one of it says so.
pub(crate) fn told(diagnostics: Vec<Diagnostic>, stopped: bool) -> (Vec<Diagnostic>, bool) {
    let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut told: Vec<Diagnostic> = Vec::with_capacity(diagnostics.len().min(MAX_ERRORS));
    // Errors are counted together, warnings by code.
    let kind = |diagnostic: &Diagnostic| match diagnostic.severity() {
        Severity::Error => None,
        Severity::Warning => Some(diagnostic.code.id),
    };
    for diagnostic in diagnostics {
        let count = counts.entry(kind(&diagnostic)).or_default();
        *count += 1;
        if *count <= MAX_ERRORS {
            told.push(diagnostic);
        }
    }
    let mut more_errors = stopped;
    for (of, count) in counts {
        if count > MAX_ERRORS || (of.is_none() && stopped) {
            more_errors |= of.is_none();
            if let Some(last) = told.iter_mut().rev().find(|diagnostic| kind(diagnostic) == of) {
                last.notes.push(match of {
                    None => format!("stopped after {MAX_ERRORS} errors: there are more"),
                    Some(_) => format!("only {MAX_ERRORS} warnings of this code are told: there are more"),
                });
            }
        }
    }
    (told, more_errors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn a_rule_keeps_the_first_of_the_file_and_counts_what_is_at_one_place() {
        let mut findings = Findings::default();
        for number in 0..10_000_usize {
            findings.push(Diagnostic::new(&codes::SYNTAX, 7..8, "default", ""));
            // In no order.
            let place = (number * 7_919) % 10_007;
            findings.push(Diagnostic::new(&codes::SYNTAX, place + 10..place + 11, "other", ""));
            assert!(findings.kept.len() <= 8 * Findings::KEPT);
        }
        let (sorted, stopped) = findings.into_sorted();
        assert!(stopped);
        assert_eq!(sorted.len(), Findings::KEPT);
        assert_eq!(sorted[0].notes, ["the same holds for 9999 more that take their value from here"]);
        assert!(sorted.windows(2).all(|pair| pair[0].order() < pair[1].order()));
        assert!(
            sorted.last().is_some_and(|last| last.order().0 < 10 + Findings::KEPT + 10),
            "the first ones"
        );
    }

    #[test]
    fn errors_are_cut_together_and_warnings_by_code() {
        let many = |code: &'static Code, count: usize| {
            (0..count).map(move |at| Diagnostic::new(code, at..at, "x", "y"))
        };
        let all: Vec<Diagnostic> = many(&codes::SYNTAX, 80)
            .chain(many(&codes::DUPLICATE_KEY, 80))
            .chain(many(&codes::UNUSED_HOST, 101))
            .chain(many(&codes::UNUSED_POOL, 100))
            .collect();
        let (told, stopped) = told(all, false);
        let count = |code: &Code| told.iter().filter(|diagnostic| diagnostic.code == code).count();
        assert!(stopped);
        assert_eq!(count(&codes::SYNTAX) + count(&codes::DUPLICATE_KEY), MAX_ERRORS);
        assert_eq!((count(&codes::UNUSED_HOST), count(&codes::UNUSED_POOL)), (100, 100));
        let notes: Vec<&String> = told.iter().flat_map(|diagnostic| &diagnostic.notes).collect();
        assert_eq!(
            notes,
            [
                "stopped after 100 errors: there are more",
                "only 100 warnings of this code are told: there are more"
            ]
        );
    }
}
