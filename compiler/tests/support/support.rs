//! The cases as several tests read them.

use std::path::{Path, PathBuf};

use evenkeel::{Files, SourceFile, Start, load};

/// The folders of all cases.
pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<_> =
        std::fs::read_dir(root).expect("cases").map(|entry| entry.expect("entry").path()).collect();
    cases.sort();
    assert!(cases.len() > 60, "the cases have gone");
    cases
}

struct Folder(PathBuf);

impl Files for Folder {
    fn read(&self, path: &str, _: usize) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.0.join(path))
    }

    fn list(&self, directory: &str) -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.0.join(directory))?;
        entries.map(|entry| Ok(entry?.file_name().into_string().expect("a name"))).collect()
    }
}

/// The cluster of a case.
pub(crate) fn source(case: &Path) -> SourceFile {
    let files = Folder(case.to_owned());
    let mut names = files.list("").expect("a case");
    names.retain(|name| name.starts_with("overlay") && name.ends_with(".toml"));
    names.sort();
    let start = |file| Start { files: &files, file, shown: "" };
    let overlays: Vec<Start<'_>> = names.iter().map(|name| start(name)).collect();
    load(start("cluster.toml"), &overlays)
}
