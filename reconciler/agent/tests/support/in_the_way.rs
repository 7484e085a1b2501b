//! A file that cannot be replaced, not even by root: an object is in its way, and all names for putting that
//! aside are taken.

use std::fs;
use std::path::Path;

/// Number of these names.
const NAMES: usize = 999;

/// Takes the names under which a file would be put aside.
pub(crate) fn keep(path: &Path) {
    for n in 1..=NAMES {
        fs::write(format!("{}.unreadable-{n}", path.display()), "older").expect("written");
    }
}

/// Puts a directory in the place of a file.
pub(crate) fn block(path: &Path) {
    keep(path);
    fs::create_dir(path).expect("made");
}
