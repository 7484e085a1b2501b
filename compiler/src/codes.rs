//! Every code a diagnostic can have: the single source for rules, `evenkeel explain` and reports.
//!
//! A code keeps its meaning for ever; a rule that goes leaves a gap. The texts stand in one file
//! a subject below `codes/`.

mod addresses;
mod changes;
mod checks;
mod election;
mod file;
mod groups;
mod import;
mod interfaces;
mod maintenance;
mod names;
mod policy;
mod routers;
mod services;
mod shape;
mod signing;
mod speakers;
mod trackers;

pub use addresses::*;
pub use changes::*;
pub use checks::*;
pub use election::*;
pub use file::*;
pub use groups::*;
pub use import::*;
pub use interfaces::*;
pub use maintenance::*;
pub use names::*;
pub use policy::*;
pub use routers::*;
pub use services::*;
pub use shape::*;
pub use signing::*;
pub use speakers::*;
pub use trackers::*;

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is compiled.
    Error,
    /// Compiled, but probably not what was meant.
    Warning,
}

/// Name of a rule, and the reason for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `EK` and four digits; the first two are the subject.
    pub id: &'static str,
    /// Whether breaking it stops the compilation.
    pub severity: Severity,
    /// A few words.
    pub title: &'static str,
    /// Why the rule exists and how to obey it, in Markdown paragraphs.
    pub explanation: &'static str,
}

/// Defines the codes of a file: one constant each, and `TABLE` with all of them.
macro_rules! codes {
    ($($constant:ident = $id:literal $severity:ident $title:literal: $explanation:literal;)+) => {
        $(
            #[doc = $title]
            pub const $constant: $crate::codes::Code = $crate::codes::Code {
                id: $id,
                severity: $crate::codes::Severity::$severity,
                title: $title,
                explanation: $explanation,
            };
        )+
        pub(super) static TABLE: &[&$crate::codes::Code] = &[$(&$constant),+];
    };
}
use codes;

/// All codes in the order of their numbers.
pub fn all() -> impl Iterator<Item = &'static Code> {
    let tables = [
        file::TABLE,
        shape::TABLE,
        names::TABLE,
        addresses::TABLE,
        interfaces::TABLE,
        routers::TABLE,
        election::TABLE,
        trackers::TABLE,
        groups::TABLE,
        speakers::TABLE,
        maintenance::TABLE,
        signing::TABLE,
        services::TABLE,
        checks::TABLE,
        policy::TABLE,
        changes::TABLE,
        import::TABLE,
    ];
    tables.into_iter().flatten().copied()
}

/// Codes of rules that are gone: their numbers are never given to another rule.
pub const RETIRED: [(&str, &str); 4] = [
    ("EK0308", "the VIPs of a virtual router are on different segments"),
    ("EK0310", "IPv6 is not supported"),
    ("EK0548", "the sorry server is one of the real servers"),
    ("EK0801", "not supported by this version"),
];

/// The code called `id`, in any case.
#[must_use]
pub fn find(id: &str) -> Option<&'static Code> {
    all().find(|code| code.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_rules_that_are_gone_are_not_used_again() {
        for (id, title) in RETIRED {
            assert!(find(id).is_none(), "{id} was \"{title}\" and keeps that meaning");
        }
    }

    #[test]
    fn codes_are_numbered_in_order_and_explained() {
        let ids: Vec<_> = all().map(|code| code.id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for code in all() {
            assert!(code.id.len() == 6 && code.id.starts_with("EK"), "{}", code.id);
            assert!(code.id[2..].bytes().all(|b| b.is_ascii_digit()), "{}", code.id);
            assert!(code.explanation.len() > 80, "{} needs a real explanation", code.id);
            assert!(!code.title.ends_with('.'), "{}", code.id);
        }
    }
}
