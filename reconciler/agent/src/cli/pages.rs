//! `completions` and `man`: files of an installation, made from the command line's own definition.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use super::Cli;
use super::error::CommandError;
use crate::system::out::{self, HELPERS, Helper};

pub(super) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  evenkeeld completions bash > /usr/share/bash-completion/completions/evenkeeld
  evenkeeld completions zsh > /usr/share/zsh/site-functions/_evenkeeld";
pub(super) const MAN_EXAMPLES: &str = "\
Examples:
  evenkeeld man /usr/local/share/man
  man 8 evenkeeld";

/// Section of the manual: programs that root runs.
const SECTION: &str = "8";
/// Mode of a page.
const PUBLIC: u32 = 0o644;

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// The directory; pages go to man8/ in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

impl Completions {
    /// Prints the completions.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub(super) fn run(&self) -> Result<ExitCode, CommandError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "evenkeeld", &mut text);
        out::print(String::from_utf8_lossy(&text))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    /// Writes the pages.
    ///
    /// # Errors
    /// When a page cannot be written.
    pub(super) fn run(&self) -> Result<ExitCode, CommandError> {
        let shown = self.directory.display();
        let count =
            write(&self.directory).map_err(|error| CommandError::Pages(self.directory.clone(), error))?;
        out::print(format_args!("Wrote {count} pages to {shown}.\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn write(directory: &Path) -> io::Result<usize> {
    let directory = directory.join(format!("man{SECTION}"));
    fs::create_dir_all(&directory)?;
    let pages = pages()?;
    for (name, text) in &pages {
        replace(&directory, name, text)?;
    }
    Ok(pages.len())
}

/// File name and text of every page.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let seen = command.get_subcommands().filter(|one| !one.is_hide_set());
    let commands: Vec<Command> = seen.cloned().chain([command.clone()]).collect();
    let helpers = HELPERS.iter().map(|one| helper(one));
    let page = |command: Command| {
        let page = Page::new(command).section(SECTION);
        let mut text = Vec::new();
        page.render(&mut text)?;
        Ok((page.get_filename(), text))
    };
    commands.into_iter().chain(helpers).map(page).collect()
}

/// The command line of a helper, as its page shows it.
fn helper(helper: &Helper) -> Command {
    let command = Command::new(helper.name).version(env!("CARGO_PKG_VERSION")).about(helper.about);
    command.override_usage(helper.usage()).after_help(helper.instead)
}

/// Replaces a page whole, so that a reader never sees a part of it. A link in its place is replaced, not
/// followed.
fn replace(directory: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(PUBLIC)).tempfile_in(directory)?;
    file.write_all(text)?;
    file.persist(directory.join(name)).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_helper_has_a_page_except_hidden_ones() {
        let pages = pages().expect("pages");
        let text = |name: &str| {
            let page = pages.iter().find(|(file, _)| file == name);
            page.map(|(_, text)| String::from_utf8_lossy(text).replace("\\-", "-"))
        };
        for command in Cli::command().get_subcommands().filter(|one| !one.is_hide_set()) {
            let name = format!("evenkeeld-{}.8", command.get_name());
            let page = text(&name).unwrap_or_else(|| panic!("no {name}"));
            for option in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(page.contains(&format!("--{option}")), "{name}: --{option}");
            }
        }
        let whole = text("evenkeeld.8").expect("the page");
        assert!(whole.contains("failover") && whole.contains("EVENKEEL_LOG"), "{whole}");
        for helper in HELPERS {
            let page = text(&format!("{}.8", helper.name)).expect("a helper's page");
            assert!(page.contains(helper.about), "{page}");
        }
        assert_eq!(text("evenkeeld-guard.8").map(|page| page.contains("SOCKET")), Some(true), "the helper's");
        let names: std::collections::BTreeSet<&String> = pages.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), pages.len(), "no page is written twice");
    }

    #[test]
    fn a_page_replaces_a_link_and_does_not_follow_it() {
        let scratch = tempfile::tempdir().expect("tempdir");
        let (precious, pages) = (scratch.path().join("precious"), scratch.path().join("man8"));
        fs::write(&precious, "mine").expect("write");
        fs::create_dir(&pages).expect("mkdir");
        std::os::unix::fs::symlink(&precious, pages.join("evenkeeld.8")).expect("link");
        assert_eq!(write(scratch.path()).expect("written"), super::pages().expect("pages").len());
        assert_eq!(fs::read_to_string(&precious).expect("read"), "mine");
        let page = fs::symlink_metadata(pages.join("evenkeeld.8")).expect("page");
        assert!(page.is_file() && page.permissions().mode() & 0o777 == PUBLIC);
    }
}
