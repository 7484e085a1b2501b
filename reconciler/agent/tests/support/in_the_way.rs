//! A file that cannot be replaced, not even by root: something is in its way, and all names for putting that aside are taken.

use std::fs;
use std::path::Path;

/// As many as there are names.
const NAMES: usize = 999;

/// Takes the names for what is put aside from the place of a file.
pub(crate) fn keep(path: &Path) {
    for n in 1..=NAMES {
        fs::write(format!("{}.unreadable-{n}", path.display()), "older").expect("written");
    }
}

/// Puts a directory where a file is to be.
pub(crate) fn block(path: &Path) {
    keep(path);
    fs::create_dir(path).expect("made");
}
