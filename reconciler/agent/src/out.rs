//! Standard output and standard error of commands. Everything that a command prints goes through here, so that it ends as people and
//! scripts expect:
//!
//! - a reader that has gone (`evenkeeld status | head -1`) is told nothing more, and the command goes on to its own end and exit code;
//! - output that cannot be written otherwise (a full disk) is an error.
//!
//! What daemons have to say is no business of this file: see `logging`.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

/// Exit code of wrong usage, as clap has it.
pub(crate) const USAGE: u8 = 2;

/// The arguments of the command line. Help, the version and what is wrong with them is printed here.
///
/// # Errors
/// There are none to work with: the exit code.
pub(crate) fn arguments<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| explain(&error))
}

/// Prints help, or what is wrong with the command line; the exit code.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match checked(printed) {
        // What is wrong goes to standard error, and there is nowhere else to say that this cannot be written.
        Err(why) if !error.use_stderr() => {
            complain(format_args!("error: {why}"));
            ExitCode::FAILURE
        }
        _ => u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from),
    }
}

/// Prints a result.
///
/// # Errors
/// It cannot be written, for another reason than that nobody reads it: a sentence for people.
pub(crate) fn print(text: impl Display) -> Result<(), String> {
    print_with(|output| write!(output, "{text}"))
}

/// Prints a long result piece by piece.
///
/// # Errors
/// As [`print`].
pub(crate) fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let mut output = io::BufWriter::new(io::stdout().lock());
    checked(write(&mut output).and_then(|()| output.flush()))
}

fn checked(written: io::Result<()>) -> Result<(), String> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {error}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says what went wrong, if anybody listens.
pub(crate) fn complain(text: impl Display) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Whether results are printed with colour.
pub(crate) fn with_color() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
