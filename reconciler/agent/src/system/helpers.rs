//! The daemon's own small programs beside it: where they are.

use std::io;
use std::path::PathBuf;
use std::process::Command;

/// Where they may be, seen from the directory of `evenkeeld`.
const PLACES: [&str; 3] = ["", "../lib/evenkeel", "../libexec/evenkeel"];

/// A command that runs one of them.
///
/// # Errors
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
