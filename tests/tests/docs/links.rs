//! Links lead to files and anchors that are there, and SUMMARY has each page once.

use std::collections::BTreeMap;

use super::book::{BOOK, Library, SUMMARY};

/// Pages that are not exactly once in the summary.
pub(crate) fn summary(library: &Library) -> Vec<String> {
    let mut faults = Vec::new();
    let Some(summary) = library.documents.get(SUMMARY) else {
        return vec![format!("{SUMMARY} is missing")];
    };
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for (target, _) in &summary.links {
        *listed.entry(format!("{BOOK}{target}")).or_default() += 1;
    }
    for (path, times) in &listed {
        if *times > 1 {
            faults.push(format!("{SUMMARY}: {path} is there {times} times"));
        }
        if !library.documents.contains_key(path) {
            faults.push(format!("{SUMMARY}: {path} does not exist"));
        }
    }
    for (path, document) in library.pages() {
        if !listed.contains_key(path) {
            faults.push(format!("{path} is not in {SUMMARY}"));
        }
        if document.levels.first() != Some(&1)
            || document.levels.iter().filter(|level| **level == 1).count() != 1
        {
            faults.push(format!("{path}: a page begins with its one heading of the first level"));
        }
    }
    faults
}

/// Links that lead nowhere.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, document) in &library.documents {
        for (target, line) in &document.links {
            if let Err(why) = follow(library, path, target) {
                faults.push(format!("{path}:{line}: {target}: {why}"));
            }
        }
        for (name, line) in &document.broken {
            faults.push(format!("{path}:{line}: [{name}] is defined nowhere"));
        }
    }
    faults
}

fn follow(library: &Library, from: &str, target: &str) -> Result<(), String> {
    if let Some((scheme, rest)) = target.split_once("://") {
        let host = rest.split('/').next().unwrap_or_default();
        let plain = target.chars().all(|c| c.is_ascii_graphic());
        let well = matches!(scheme, "https" | "http") && plain && host.contains('.');
        return if well { Ok(()) } else { Err("no address of the web".to_owned()) };
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { from.to_owned() } else { beside(from, file)? };
    if !library.files.contains(&path) {
        return Err(format!("there is no {path}"));
    }
    if from.starts_with(BOOK) && !path.starts_with(BOOK) {
        return Err("a page of the book leads to pages only: name the file in `code` instead".to_owned());
    }
    // The list of pages is what tells mdBook where they are.
    if from.starts_with(BOOK) && from != SUMMARY && path.ends_with("/README.md") {
        return Err("mdBook calls that page index.html and its links README.html".to_owned());
    }
    let Some(anchor) = anchor else { return Ok(()) };
    match library.documents.get(&path) {
        None => Err(format!("{path} is no document with anchors")),
        Some(document) if document.anchors.contains(anchor) => Ok(()),
        Some(_) => Err(format!("{path} has no heading for #{anchor}")),
    }
}

/// A relative path, seen from a file.
fn beside(from: &str, file: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop().ok_or("it leads out of the repository")?;
            }
            "" => return Err("only relative paths are the same on a forge and in the book".to_owned()),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[test]
fn what_leads_nowhere_is_found() {
    let good = [
        ("docs/SUMMARY.md", "[d](README.md)\n[a](a.md)\n- [b](b/c.md)\n"),
        ("docs/a.md", "# A\n\n[c](b/c.md#c-c) [x](#a) [w](https://example.org/)\n"),
        ("docs/b/c.md", "# C\n\n## C: c\n\n[a](../a.md)\n"),
        ("README.md", "# R\n\n[a](docs/a.md) [b](docs/b) [d](docs/README.md)\n"),
        ("docs/README.md", "# D\n"),
    ];
    assert_eq!(faults(&Library::of(&good)), Vec::<String>::new());
    assert_eq!(summary(&Library::of(&good)), Vec::<String>::new());
    for (bad, word) in [
        ("[c](b/d.md)", "there is no docs/b/d.md"),
        ("[c](b/c.md#d)", "no heading for #d"),
        ("[c](/b/c.md)", "only relative"),
        ("[c](../README.md)", "pages only"),
        ("[c](../../x)", "out of the repository"),
        ("[c](ftp://example.org)", "no address"),
        ("[c][d]", "defined nowhere"),
        ("[c](README.md)", "index.html"),
    ] {
        let text = format!("# A\n\n{bad}\n");
        let mut texts = good;
        texts[1].1 = &text;
        let found = faults(&Library::of(&texts));
        assert!(
            found.len() == 1 && found[0].starts_with("docs/a.md:3: ") && found[0].contains(word),
            "{bad}: {found:?}"
        );
    }
    for (at, text, word) in [
        (0, "[d](README.md)\n[a](a.md)\n", "docs/b/c.md is not in"),
        (0, "[d](README.md)\n[a](a.md)\n[b](b/c.md)\n[c](c.md)\n", "docs/c.md does not exist"),
        (0, "[d](README.md)\n[a](a.md)\n[b](b/c.md)\n[b](b/c.md)\n", "2 times"),
        (1, "## A\n", "one heading"),
        (1, "# A\n\n# B\n", "one heading"),
    ] {
        let mut texts = good;
        texts[at].1 = text;
        let found = summary(&Library::of(&texts));
        assert!(found.len() == 1 && found[0].contains(word), "{text}: {found:?}");
    }
}
