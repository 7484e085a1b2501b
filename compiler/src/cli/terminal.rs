//! Standard output and standard error. A reader that went away is no error of ours.

use std::fmt::Display;
use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use evenkeel::{Diagnostic, SourceFile, render};

use super::Format;

/// Where the command speaks.
pub(super) struct Terminal {
    color: ColorChoice,
}

impl Terminal {
    pub(super) const fn new(color: ColorChoice) -> Self {
        Self { color }
    }

    /// A result, with a newline.
    pub(super) fn say(&self, text: impl Display) {
        // A closed pipe (`| head`) ends the conversation, not the command.
        let _ = writeln!(AutoStream::new(io::stdout(), self.color).lock(), "{text}");
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
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    /// A complaint, with a newline.
    pub(super) fn complain(&self, text: impl Display) {
        let _ = writeln!(AutoStream::new(io::stderr(), self.color).lock(), "{text}");
    }

    /// A failure that is not about a place in the cluster file.
    pub(super) fn fail(&self, text: impl Display) {
        self.complain(format_args!("\u{1b}[1;91merror\u{1b}[0m: {text}"));
    }

    /// Diagnostics of a file.
    pub(super) fn diagnostics(&self, source: &SourceFile, diagnostics: &[Diagnostic]) {
        let text = render::human(source, diagnostics, true);
        let _ = AutoStream::new(io::stderr(), self.color).lock().write_all(text.as_bytes());
    }
}
