//! What is named in inline code exists: files of the repository by their path from its top, and codes of diagnostics.

use std::collections::BTreeSet;

use super::book::Library;

/// Folders at the top; a path that begins with one is meant as a file of the repository.
const FOLDERS: [&str; 6] = ["compiler/", "docs/", "examples/", "reconciler/", "schemas/", "tests/"];

/// Names of nothing.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let codes: BTreeSet<&str> = evenkeel::codes::all().map(|code| code.id).collect();
    let mut faults = Vec::new();
    for (path, document) in &library.documents {
        // What the changelog names may have gone.
        let named = document.codes.iter().filter(|(code, _)| path != "CHANGELOG.md" && is_path(code));
        for (code, line) in named {
            if !library.files.contains(code.trim_end_matches('/')) {
                faults.push(format!("{path}:{line}: there is no {code}"));
            }
        }
        for (at, _) in document.text.match_indices("EK") {
            let code: String = document.text[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
            let digits = code[2..].chars().filter(char::is_ascii_digit).count();
            if digits == 4 && code.len() == 6 && !codes.contains(code.as_str()) {
                faults.push(format!("{path}: there is no code {code}"));
            }
        }
    }
    faults
}

fn is_path(code: &str) -> bool {
    let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_'));
    plain && FOLDERS.iter().any(|folder| code.starts_with(folder) && code.len() > folder.len())
}

#[test]
fn names_of_nothing_are_found() {
    let check =
        |text: &str| faults(&Library::of(&[("docs/a.md", text), ("examples/nat/README.md", "# N\n")]));
    assert_eq!(
        check("# A\n\n`examples/nat` `docs/a.md` `tests/*` `schemas/` EK0801 `x/y`\n"),
        Vec::<String>::new()
    );
    assert_eq!(check("# A\n\n`examples/nta`\n"), ["docs/a.md:3: there is no examples/nta"]);
    assert_eq!(check("# A\n\nEK0999\n"), ["docs/a.md: there is no code EK0999"]);
}
