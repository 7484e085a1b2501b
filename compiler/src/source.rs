//! A cluster file as text: what it is called, what is in it, and whether it is text at all.
//!
//! Nothing here knows TOML; nothing here reads a file.

use crate::codes;
use crate::diagnostic::Diagnostic;

/// Largest cluster file in bytes. A cluster of 100,000 real servers takes about 5 MB.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A cluster file: its name for messages, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
}

impl SourceFile {
    /// A file named `name` in messages.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The same from bytes.
    ///
    /// # Errors
    /// When they are no UTF-8 text, or too many.
    pub fn decode(name: impl Into<String>, bytes: Vec<u8>) -> Result<Self, Box<Diagnostic>> {
        if bytes.len() > MAX_BYTES {
            return Err(Box::new(too_large(bytes.len())));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name: name.into(), text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let before = &error.as_bytes()[..valid];
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let bad = error.as_bytes().get(valid).copied().unwrap_or_default();
                Err(Box::new(
                    Diagnostic::of_file(
                        &codes::NOT_UTF8,
                        format!("line {line} is not UTF-8 text: byte 0x{bad:02x} at offset {valid}"),
                    )
                    .hint("save the file as UTF-8"),
                ))
            }
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Why the text is not worth parsing.
    pub(crate) fn unusable(&self) -> Option<Diagnostic> {
        if self.text.len() > MAX_BYTES {
            return Some(too_large(self.text.len()));
        }
        if let Some(offset) = self.text.find('\0') {
            let line = self.text[..offset].matches('\n').count() + 1;
            return Some(
                Diagnostic::of_file(
                    &codes::NOT_TEXT,
                    format!("line {line} holds a NUL byte: this is not a text file"),
                )
                .hint("check that this is the cluster file, and that it was copied whole"),
            );
        }
        let nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        if self.text.trim_start_matches('\u{feff}').lines().all(nothing) {
            return Some(
                Diagnostic::of_file(&codes::EMPTY, "the file is empty")
                    .hint("begin with `version = 1` and `name = \"…\"`, then [segments] and [hosts]"),
            );
        }
        None
    }
}

fn too_large(bytes: usize) -> Diagnostic {
    Diagnostic::of_file(
        &codes::TOO_LARGE,
        format!("the file has {bytes} bytes; at most {} MiB are read", MAX_BYTES / 1024 / 1024),
    )
    .hint("check that this is the cluster file; a larger cluster is better split in two")
}
