//! The seal of a plan file: a first line with the SHA-256 of everything below it.
//!
//! A plan that was cut off while it was written, or edited by hand, often still parses as TOML
//! and would quietly remove what it no longer mentions. The seal makes that an error.

use std::fmt;

use sha2::{Digest, Sha256};

/// Largest plan that is read, in bytes: 100,000 destinations need about 40 MB.
pub const MAX_BYTES: usize = 128 * 1024 * 1024;

const PREFIX: &str = "digest = \"sha256:";
const SUFFIX: &str = "\"\n";
const HEX_LEN: usize = 64;

/// A plan's identity: the SHA-256 of its body, 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation(String);

impl Generation {
    fn of(body: &str) -> Self {
        Self::from_digest(Sha256::new_with_prefix(body.as_bytes()))
    }

    fn from_digest(digest: Sha256) -> Self {
        use fmt::Write;
        let mut hex = String::with_capacity(HEX_LEN);
        for byte in digest.finalize() {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        Self(hex)
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a file is not a sealed plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SealError {
    /// Nothing in it.
    Empty,
    /// The first line is not a seal.
    Missing,
    /// The body is not what was sealed.
    Broken {
        /// Digest in the first line.
        sealed: String,
        /// Digest of the bytes that are there.
        actual: String,
    },
    /// Not UTF-8.
    NotText,
    /// Over [`MAX_BYTES`].
    TooLarge,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the plan file is empty"),
            Self::Missing => f.write_str(
                "the plan file does not begin with its digest line: it was not written by `evenkeel \
                compile`, or not wholly",
            ),
            Self::Broken { sealed, actual } => write!(
                f,
                "the plan file is incomplete or was edited: its digest line says {}…, its content is {}…; \
                write it again with `evenkeel compile`",
                &sealed[..12],
                &actual[..12]
            ),
            Self::NotText => f.write_str("the plan file is not UTF-8 text"),
            Self::TooLarge => write!(f, "the plan file is larger than {} MiB", MAX_BYTES / 1024 / 1024),
        }
    }
}

impl std::error::Error for SealError {}

/// Puts the seal before `body` (TOML text that ends with a newline).
#[must_use]
pub fn seal(body: &str) -> String {
    format!("{PREFIX}{}{SUFFIX}{body}", Generation::of(body))
}

/// The same for a body that `write` appends: it is made where it stands, so that a large one is not copied.
#[must_use]
pub fn sealed(write: impl FnOnce(&mut String)) -> String {
    let digits = PREFIX.len()..PREFIX.len() + HEX_LEN;
    let mut file = format!("{PREFIX}{:0>HEX_LEN$}{SUFFIX}", "");
    let body = file.len();
    write(&mut file);
    let generation = Generation::of(&file[body..]);
    file.replace_range(digits, generation.as_str());
    file
}

/// A seal that is checked while the file is read. It says whether the file is whole, not what is wrong with
/// one that is not: that is [`open`]'s.
#[derive(Debug)]
pub struct Opening {
    sealed: String,
    digest: Sha256,
}

impl Opening {
    /// Begins with the first line of a file, its newline included; none when that is no seal.
    #[must_use]
    pub fn begin(line: &[u8]) -> Option<Self> {
        let rest = std::str::from_utf8(line).ok()?.strip_prefix(PREFIX)?;
        let (sealed, end) = rest.split_at_checked(HEX_LEN)?;
        (end == SUFFIX).then(|| Self { sealed: sealed.to_owned(), digest: Sha256::new() })
    }

    /// The next bytes of the body.
    pub fn take(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// The generation, if the body was what was sealed.
    #[must_use]
    pub fn finish(self) -> Option<Generation> {
        let actual = Generation::from_digest(self.digest);
        (actual.as_str() == self.sealed).then_some(actual)
    }
}

/// Checks the seal of a whole file and returns its generation and its body.
///
/// # Errors
/// When the bytes are not exactly what [`seal`] made.
pub fn open(bytes: &[u8]) -> Result<(Generation, &str), SealError> {
    if bytes.len() > MAX_BYTES {
        return Err(SealError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SealError::NotText)?;
    if text.trim().is_empty() {
        return Err(SealError::Empty);
    }
    let rest = text.strip_prefix(PREFIX).ok_or(SealError::Missing)?;
    let (sealed, rest) = rest.split_at_checked(HEX_LEN).ok_or(SealError::Missing)?;
    let body = rest.strip_prefix(SUFFIX).ok_or(SealError::Missing)?;
    let hex = sealed.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !hex {
        return Err(SealError::Missing);
    }
    let actual = Generation::of(body);
    if actual.as_str() == sealed {
        Ok((actual, body))
    } else {
        Err(SealError::Broken { sealed: sealed.to_owned(), actual: actual.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_made_where_it_stands_has_the_same_seal() {
        for body in ["", "format = 1\nhost = \"dir1\"\n"] {
            assert_eq!(sealed(|out| out.push_str(body)), seal(body));
        }
    }

    #[test]
    fn every_prefix_of_a_sealed_plan_is_refused() {
        let file = seal("format = 1\nhost = \"dir1\"\n");
        assert!(open(file.as_bytes()).is_ok());
        for end in 0..file.len() {
            assert!(open(&file.as_bytes()[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn a_file_that_is_read_in_pieces_is_what_it_is_as_a_whole() {
        let file = seal("format = 1\nhost = \"dir1\"\n");
        let (generation, _) = open(file.as_bytes()).expect("whole");
        let in_pieces = |bytes: &[u8]| {
            let (line, body) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n')? + 1);
            let mut opening = Opening::begin(line)?;
            body.chunks(3).for_each(|piece| opening.take(piece));
            opening.finish()
        };
        assert_eq!(in_pieces(file.as_bytes()), Some(generation));
        for end in 0..file.len() {
            assert_eq!(in_pieces(&file.as_bytes()[..end]), None, "{end} bytes");
        }
        assert_eq!(in_pieces(file.to_uppercase().as_bytes()), None);
    }

    #[test]
    fn an_edit_is_refused_and_named() {
        let file = seal("weight = 100\n").replace("100", "0");
        assert!(matches!(open(file.as_bytes()), Err(SealError::Broken { .. })));
        assert_eq!(open(b" \n"), Err(SealError::Empty));
        assert_eq!(open(b"format = 1\n"), Err(SealError::Missing));
        assert_eq!(open(&[0xff, 0xfe]), Err(SealError::NotText));
    }
}
