//! Standard output and standard error. Everything that the command prints goes through here, so that it ends
//! as people and scripts expect:
//!
//! - a reader that has gone (`| head`) is told nothing more, and the command goes on to its own end and exit
//!   code;
//! - output that cannot be written otherwise (a full disk) is an error at the end, when all else is done.

use std::cell::{Cell, RefCell};
use std::fmt::{self, Display};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use clap::Parser;
use evenkeel::{Diagnostic, SourceFile, render};

use super::Format;
use super::progress::Progress;

/// A path as it stands in a sentence: its name may hold a line break, or what a terminal obeys.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for Path {
    fn shown(&self) -> String {
        render::plain(&self.display().to_string()).into_owned()
    }
}

/// Standard output and standard error of the command.
pub(super) struct Terminal {
    color: ColorChoice,
    /// Whether standard output takes nothing any more.
    ended: Cell<bool>,
    /// Why, unless its reader has gone.
    failure: RefCell<Option<io::Error>>,
    progress: RefCell<Option<Progress>>,
}

/// Standard output, buffered, for what is written bit by bit.
struct Page<W: Write> {
    out: BufWriter<W>,
    failure: Option<io::Error>,
}

impl<W: Write> fmt::Write for Page<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.failure = Some(error);
            fmt::Error
        })
    }
}

impl Terminal {
    pub(super) const fn new(color: ColorChoice) -> Self {
        Self { color, ended: Cell::new(false), failure: RefCell::new(None), progress: RefCell::new(None) }
    }

    /// From now on the command is doing this: people see it when the whole takes long.
    pub(super) fn doing(&self, what: &'static str) {
        let mut progress = self.progress.borrow_mut();
        match &*progress {
            Some(progress) => progress.now(what),
            None => *progress = Progress::begin(what),
        }
    }

    /// The command has done what it was doing.
    pub(super) fn done(&self) {
        self.progress.take();
    }

    /// A result that is written bit by bit; `write` hears whether it is to have colour. It ends with a
    /// newline.
    pub(super) fn page(&self, write: impl FnOnce(&mut dyn fmt::Write, bool) -> fmt::Result) {
        self.output(|| {
            let out = io::stdout();
            let choice = match self.color {
                ColorChoice::Auto => AutoStream::choice(&out),
                given => given,
            };
            let mut page = Page { out: BufWriter::new(out.lock()), failure: None };
            let written = write(&mut page, choice != ColorChoice::Never);
            match (page.failure.take(), written) {
                (Some(error), _) => Err(error),
                (None, Err(fmt::Error)) => Err(io::Error::other("it cannot be put into words")),
                (None, Ok(())) => page.out.flush(),
            }
        });
    }

    /// A terminal for another thread, which only complains.
    pub(super) const fn for_complaints(&self) -> Self {
        Self::new(self.color)
    }

    /// The arguments of the command line. Help, the version and what is wrong with them is printed here.
    ///
    /// # Errors
    /// There are none to work with: the exit code.
    pub(super) fn arguments<C: Parser>() -> Result<C, ExitCode> {
        let matches = with_whole_usage(C::command()).try_get_matches();
        matches.and_then(|matches| C::from_arg_matches(&matches)).map_err(|error| {
            let terminal = Self::new(ColorChoice::Auto);
            let printed = error.print();
            if !error.use_stderr() {
                terminal.note(printed);
            }
            terminal.finish(u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from))
        })
    }

    /// A result, with a newline.
    pub(super) fn say(&self, text: impl Display) {
        self.output(|| writeln!(AutoStream::new(io::stdout(), self.color).lock(), "{text}"));
    }

    /// A result beside diagnostics: those that programs read have standard output to themselves.
    pub(super) fn say_beside(&self, format: Format, text: impl Display) {
        match format {
            Format::Human => self.say(text),
            Format::Json | Format::Github | Format::Sarif => self.complain(text),
        }
    }

    /// A whole document, as it is.
    pub(super) fn document(&self, text: &str) {
        self.output(|| io::stdout().lock().write_all(text.as_bytes()));
    }

    /// A complaint, with a newline.
    pub(super) fn complain(&self, text: impl Display) {
        self.beside(|| {
            // There is nowhere else to say that it cannot be written.
            let _ = writeln!(AutoStream::new(io::stderr(), self.color).lock(), "{text}");
        });
    }

    fn beside(&self, write: impl FnOnce()) {
        match &*self.progress.borrow() {
            Some(progress) => progress.beside(write),
            None => write(),
        }
    }

    /// A failure that is not about a place in the cluster file.
    pub(super) fn fail(&self, text: impl Display) {
        self.complain(format_args!("\u{1b}[1;91merror\u{1b}[0m: {text}"));
    }

    /// Diagnostics of a file.
    pub(super) fn diagnostics(&self, source: &SourceFile, diagnostics: &[Diagnostic]) {
        let text = render::human(source, diagnostics, true);
        self.beside(|| {
            let _ = AutoStream::new(io::stderr(), self.color).lock().write_all(text.as_bytes());
        });
    }

    /// The end of the command: its exit code, unless its output was not written.
    pub(super) fn finish(&self, code: ExitCode) -> ExitCode {
        self.done();
        self.note(Ok(()));
        match self.failure.take() {
            Some(error) => {
                self.fail(format_args!("cannot write to standard output: {error}"));
                ExitCode::FAILURE
            }
            None => code,
        }
    }

    fn output(&self, write: impl FnOnce() -> io::Result<()>) {
        if io::stdout().is_terminal() {
            // They would be in each other's way.
            self.done();
        }
        if !self.ended.get() {
            self.note(write());
        }
    }

    /// Records the outcome of a write. Whatever of it still waits is written as well.
    fn note(&self, written: io::Result<()>) {
        if let Err(error) = written.and_then(|()| io::stdout().flush())
            && !self.ended.replace(true)
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.failure.replace(Some(error));
        }
    }
}

/// The command line with one usage line for each command, whatever is wrong: those that clap makes for an
/// error show the options that were given as if they were required.
pub(super) fn with_whole_usage(mut command: clap::Command) -> clap::Command {
    command.build();
    let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |mut one| {
            let usage = one.render_usage().to_string();
            one.override_usage(usage.trim_start_matches("Usage: ").to_owned())
        });
    }
    command
}
