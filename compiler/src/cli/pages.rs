//! `evenkeel completions` and `evenkeel man`: what belongs to an installation.

use std::fs;
use std::io;
use std::path::Path;

use evenkeel::{arguments, reference};

use super::terminal::Shown;
use super::{Completions, Man, Terminal, disk};

/// Most bytes of a manual page; they have some 10 KB.
const MAX_PAGE: usize = 1024 * 1024;

pub(super) fn completions(wanted: &Completions, terminal: &Terminal) -> bool {
    let mut text = Vec::new();
    clap_complete::generate(wanted.shell, &mut arguments::command(), "evenkeel", &mut text);
    terminal.document(&String::from_utf8_lossy(&text));
    true
}

pub(super) fn man(arguments: &Man, terminal: &Terminal) -> bool {
    match write(&arguments.directory) {
        Ok(pages) => {
            terminal.say(format_args!("Wrote {pages} pages to {}.", arguments.directory.shown()));
            true
        }
        Err(error) => {
            terminal.fail(format_args!("cannot write {}: {error}", arguments.directory.shown()));
            false
        }
    }
}

fn write(directory: &Path) -> io::Result<usize> {
    let (commands, files) = (directory.join("man1"), directory.join("man5"));
    fs::create_dir_all(&commands)?;
    fs::create_dir_all(&files)?;
    // The generator opens files as they come: it gets a place of its own.
    let made = tempfile::tempdir()?;
    clap_mangen::generate_to(arguments::command(), made.path())?;
    let mut pages = 1;
    for page in fs::read_dir(made.path())? {
        let page = page?;
        let text = disk::read(&page.path(), MAX_PAGE)?;
        disk::replace(&commands.join(page.file_name()), &text, disk::PUBLIC)?;
        pages += 1;
    }
    disk::replace(&files.join("evenkeel.toml.5"), reference::man().as_bytes(), disk::PUBLIC)?;
    Ok(pages)
}
