//! The daemon's own small programs beside it, and their places.

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// Directories in which they may be, relative to that of `evenkeeld`.
const PLACES: [&str; 3] = ["", "../lib/evenkeel", "../libexec/evenkeel"];

/// A command that runs one of them.
///
/// When it is not installed.
pub(crate) fn command(name: &str) -> io::Result<Command> {
    let own = std::env::current_exe()?;
    let directory = own.parent().map(PathBuf::from).unwrap_or_default();
    let found = PLACES.iter().map(|place| directory.join(place).join(name)).find(|path| path.is_file());
    found.map(Command::new).ok_or_else(|| {
        let text = format!("{name} is not in {}, where it is installed with evenkeeld", directory.display());
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}
