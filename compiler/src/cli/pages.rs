//! `evenkeel completions` and `evenkeel man`: what belongs to an installation.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use evenkeel::reference;

use super::{Cli, Completions, Man, Terminal};

pub(super) fn completions(arguments: &Completions, terminal: &Terminal) -> bool {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "evenkeel", &mut text);
    terminal.document(&String::from_utf8_lossy(&text));
    true
}

pub(super) fn man(arguments: &Man, terminal: &Terminal) -> bool {
    match write(&arguments.directory) {
        Ok(pages) => {
            terminal.say(format_args!("Wrote {pages} pages to {}.", arguments.directory.display()));
            true
        }
        Err(error) => {
            terminal.fail(format_args!("cannot write {}: {error}", arguments.directory.display()));
            false
        }
    }
}

fn write(directory: &Path) -> io::Result<usize> {
    let (commands, files) = (directory.join("man1"), directory.join("man5"));
    fs::create_dir_all(&commands)?;
    fs::create_dir_all(&files)?;
    clap_mangen::generate_to(Cli::command(), &commands)?;
    fs::write(files.join("evenkeel.toml.5"), reference::man())?;
    Ok(fs::read_dir(&commands)?.count() + 1)
}
