//! Trees of several files -> one tree. Included files are added, overlays are laid over.
//!
//! Places stay those of the source's text. Which tables are a choice among several shapes, a caller answers.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::codes;
use crate::diagnostic::{Diagnostic, Place};
use crate::suggest::list;

/// Way in which a table says which of its shapes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// By the word at this key.
    Tag(&'static str),
    /// By having exactly one of several keys.
    OneKey,
}

/// Answers how the table at a path chooses among its shapes, if it does. The schema knows, and a tree knows
/// no schema.
pub(crate) type ChoiceAt = fn(&[String]) -> Option<Choice>;

/// The key that names further files. Every file may have it.
const INCLUDE: &str = "include";

/// Moves all places of a tree `by` bytes on.
pub(super) fn shift<'s>(table: DeTable<'s>, by: usize) -> DeTable<'s> {
    if by == 0 {
        return table;
    }
    let entries = table.into_iter().map(|(key, value)| {
        let place = moved(key.span(), by);
        (Spanned::new(place, key.into_inner()), shift_value(value, by))
    });
    entries.collect()
}

fn shift_value<'s>(value: Spanned<DeValue<'s>>, by: usize) -> Spanned<DeValue<'s>> {
    let place = moved(value.span(), by);
    let value = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shift(table, by)),
        DeValue::Array(mut items) => {
            for item in items.iter_mut() {
                let inner = std::mem::replace(item, Spanned::new(0..0, DeValue::Boolean(false)));
                *item = shift_value(inner, by);
            }
            DeValue::Array(items)
        }
        scalar => scalar,
    };
    Spanned::new(place, value)
}

fn moved(place: Place, by: usize) -> Place {
    place.start + by..place.end + by
}

/// Adds a tree to another of the same layer.
pub(super) struct Union<'s> {
    /// The text that places are in.
    pub(super) text: &'s str,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'s> Union<'s> {
    pub(super) fn add(&mut self, base: &mut DeTable<'s>, mut more: DeTable<'s>) {
        join_includes(base, &mut more);
        self.tables(base, more, &mut Vec::new());
    }

    fn tables(&mut self, base: &mut DeTable<'s>, more: DeTable<'s>, path: &mut Vec<String>) {
        let mut twice: Vec<(String, Place, Place)> = Vec::new();
        for (key, value) in more {
            let Some((first, _)) = base.get_key_value(key.get_ref().as_ref()) else {
                base.insert(key, value);
                continue;
            };
            let first = first.span();
            let (name, again) = (key.get_ref().to_string(), key.span());
            let both_open =
                base.get(name.as_str()).is_some_and(|there| self.is_open(there)) && self.is_open(&value);
            match (base.get_mut(name.as_str()).map(Spanned::get_mut), value.into_inner()) {
                (Some(DeValue::Table(there)), DeValue::Table(table)) if both_open => {
                    path.push(name);
                    self.tables(there, table, path);
                    path.pop();
                }
                (_, _) => twice.push((name, first, again)),
            }
        }
        if let Some((name, first, again)) = twice.first() {
            let name = path.iter().chain([name]).map(String::as_str).collect::<Vec<_>>().join(".");
            let mut diagnostic = Diagnostic::new(
                &codes::DUPLICATE_KEY,
                again.clone(),
                format!("`{}` is defined in two files", name.escape_debug()),
                "defined again here",
            )
            .also(first.clone(), "first defined here");
            let others = twice[1..].iter().map(|(name, ..)| name.escape_debug());
            if let Some(others) = list(others) {
                diagnostic = diagnostic.note(format!("so are, beside it, {others}"));
            }
            self.diagnostics.push(diagnostic.hint(
                "keep one of them, or give the second another name; what differs from environment to \
                 environment belongs into an overlay (`--overlay`)",
            ));
        }
    }

    /// Whether a table can be added to. One in braces is complete, as in a single file.
    fn is_open(&self, value: &Spanned<DeValue<'s>>) -> bool {
        value.get_ref().is_table()
            && !self.text.get(value.span().start..).unwrap_or_default().starts_with('{')
    }
}

/// Lays a tree over another: tables are merged, anything else is replaced.
pub(super) fn lay_over<'s>(base: &mut DeTable<'s>, mut more: DeTable<'s>, choice: ChoiceAt) {
    join_includes(base, &mut more);
    over(base, more, choice, &mut Vec::new());
}

fn over<'s>(base: &mut DeTable<'s>, more: DeTable<'s>, choice: ChoiceAt, path: &mut Vec<String>) {
    for (key, value) in more {
        let name = key.get_ref().to_string();
        path.push(name.clone());
        let place = value.span();
        let value = match (base.get_mut(name.as_str()).map(Spanned::get_mut), value.into_inner()) {
            (Some(DeValue::Table(there)), DeValue::Table(table))
                if !chooses_anew(there, &table, choice(path)) =>
            {
                over(there, table, choice, path);
                path.pop();
                continue;
            }
            (_, value) => Spanned::new(place, value),
        };
        path.pop();
        // A map keeps the key it has; with the old one removed both places are those of the overlay.
        base.remove(name.as_str());
        base.insert(key, value);
    }
}

/// Whether a table is a choice among several shapes, and the overlay chooses another than the base: then what
/// belongs to the old choice goes.
fn chooses_anew(base: &DeTable<'_>, more: &DeTable<'_>, choice: Option<Choice>) -> bool {
    match choice {
        Some(Choice::Tag(key)) => {
            let word = |table: &DeTable<'_>| {
                table.get(key).and_then(|value| value.get_ref().as_str().map(str::to_owned))
            };
            word(more).is_some_and(|new| word(base).is_some_and(|old| new != old))
        }
        Some(Choice::OneKey) => true,
        None => false,
    }
}

/// Puts the `include` of all files into one list, so that the shape of each is checked. What is no
/// list stays alone: that is a mistake anyway.
fn join_includes<'s>(base: &mut DeTable<'s>, more: &mut DeTable<'s>) {
    let Some((key, value)) = more.remove_entry(INCLUDE) else {
        return;
    };
    match (base.get_mut(INCLUDE).map(Spanned::get_mut), value.get_ref()) {
        (None, _) => _ = base.insert(key, value),
        (Some(DeValue::Array(_)), DeValue::Array(_)) => {
            if let (Some(DeValue::Array(items)), DeValue::Array(more)) =
                (base.get_mut(INCLUDE).map(Spanned::get_mut), value.into_inner())
            {
                more.into_iter().for_each(|item| items.push(item));
            }
        }
        (Some(DeValue::Array(_)), _) => {
            base.remove(INCLUDE);
            base.insert(key, value);
        }
        (Some(_), _) => {}
    }
}
