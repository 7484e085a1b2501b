//! How long documents may be.

use super::book::{Library, SUMMARY};
use super::generated;

/// Longest page of the book, bytes: one subject. What is generated is as long as what it is made of.
const PAGE: usize = 4 * 1024;
/// Longest README: what it is, how to try it, where to read on.
const README: usize = 8 * 1024;
/// Longest ARCHITECTURE: what is skimmed before the first change. Everything else is a page of `docs/design`.
const ARCHITECTURE: usize = 12 * 1024;

/// Documents that are too long.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let pages =
        library.pages().filter(|(path, _)| !generated::PAGES.contains(&path.as_str()) && *path != SUMMARY);
    let pages = pages.map(|(path, document)| (path.as_str(), document, PAGE));
    let top = [("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE)];
    let top = top.into_iter().filter_map(|(path, most)| Some((path, library.documents.get(path)?, most)));
    pages
        .chain(top)
        .filter(|(_, document, most)| document.text.len() > *most)
        .map(|(path, document, most)| format!("{path}: {} bytes, more than {most}", document.text.len()))
        .collect()
}

#[test]
fn what_is_too_long_is_found() {
    let text = |bytes: usize| format!("# A\n\n{}\n", "a".repeat(bytes - 6));
    for (path, most) in [("docs/a.md", PAGE), ("README.md", README), ("ARCHITECTURE.md", ARCHITECTURE)] {
        assert_eq!(faults(&Library::of(&[(path, &text(most))])), Vec::<String>::new());
        assert_eq!(faults(&Library::of(&[(path, &text(most + 1))])).len(), 1, "{path}");
    }
    assert_eq!(faults(&Library::of(&[(generated::PAGES[0], &text(2 * PAGE))])), Vec::<String>::new());
}
