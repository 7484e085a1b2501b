//! Things named in inline code exist: files of the repository by their path from its top, modules in what
//! developers read (`validate/checks`, `converge::diff`), and codes of diagnostics.

use std::collections::BTreeSet;

use super::book::Library;

/// Folders at the top; a path that begins with one is meant as a file of the repository.
const FOLDERS: [&str; 6] = ["compiler/", "docs/", "examples/", "reconciler/", "schemas/", "tests/"];

/// Where paths of modules are meant: the map, and the pages for developers.
const FOR_DEVELOPERS: [&str; 2] = ["ARCHITECTURE.md", "docs/design/"];
/// The same form, and no module of ours.
const NO_MODULES: [&str; 1] = ["target/fuzz"];

/// Names of nothing.
pub(crate) fn faults(library: &Library) -> Vec<String> {
    let codes: BTreeSet<&str> = evenkeel::codes::all().map(|code| code.id).collect();
    let retired: BTreeSet<&str> = evenkeel::codes::RETIRED.iter().map(|(id, _)| *id).collect();
    let mut faults = Vec::new();
    for (path, document) in &library.documents {
        // What the changelog names may have gone.
        let named = document.codes.iter().filter(|(code, _)| path != "CHANGELOG.md" && is_path(code));
        for (code, line) in named {
            if !library.files.contains(code.trim_end_matches('/')) {
                faults.push(format!("{path}:{line}: there is no {code}"));
            }
        }
        if FOR_DEVELOPERS.iter().any(|start| path.starts_with(start)) {
            for (code, line) in &document.codes {
                if let Some(module) = module(code)
                    && !library.files.iter().any(|file| is_module(file, &module))
                {
                    faults.push(format!("{path}:{line}: there is no module {code}"));
                }
            }
        }
        for (at, _) in document.text.match_indices("EK") {
            let code: String = document.text[at..].chars().take_while(char::is_ascii_alphanumeric).collect();
            let digits = code[2..].chars().filter(char::is_ascii_digit).count();
            let was = path == "CHANGELOG.md" && retired.contains(code.as_str());
            if digits == 4 && code.len() == 6 && !codes.contains(code.as_str()) && !was {
                faults.push(format!("{path}: there is no code {code}"));
            }
        }
    }
    faults
}

/// The parts of `ipvs/numbers`, `converge::diff` or `ipvs/listing.rs`; `None` for what names no module.
fn module(code: &str) -> Option<Vec<&str>> {
    let path = code.strip_suffix(".rs").unwrap_or(code);
    let parts = path.split("::").flat_map(|part| part.split('/'));
    let parts: Vec<&str> = parts.filter(|part| *part != "src").collect();
    let plain = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let ours = parts.len() > 1 && parts.iter().all(plain) && !is_path(code) && !NO_MODULES.contains(&code);
    ours.then_some(parts)
}

/// Whether a file is that module, or lies in it. What a crate has directly below `src` is its module as well.
fn is_module(file: &str, parts: &[&str]) -> bool {
    let there: Vec<&str> =
        file.strip_suffix(".rs").unwrap_or(file).split('/').filter(|part| *part != "src").collect();
    there.ends_with(parts)
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
        check("# A\n\n`examples/nat` `docs/a.md` `tests/*` `schemas/` EK0104 `x/y`\n"),
        Vec::<String>::new()
    );
    assert_eq!(check("# A\n\n`examples/nta`\n"), ["docs/a.md:3: there is no examples/nta"]);
    let modules = |text: &str| {
        faults(&Library::of(&[
            ("docs/design/a.md", text),
            ("compiler/src/cli/fmt.rs", ""),
            ("docs/b.md", text),
        ]))
    };
    assert_eq!(
        modules(
            "# A\n\n`cli/fmt` `compiler::cli` `cli::fmt` `src/cli/fmt.rs` `a b/c` `/etc/x` `no` `x.rs`\n"
        ),
        Vec::<String>::new()
    );
    assert_eq!(modules("# A\n\n`cli/fnt`\n"), ["docs/design/a.md:3: there is no module cli/fnt"]);
    assert_eq!(check("# A\n\nEK0999\n"), ["docs/a.md: there is no code EK0999"]);
}
