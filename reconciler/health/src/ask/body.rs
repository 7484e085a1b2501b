//! The status and the body of an answer by HTTP, of every version: whether they are as they should be.
//!
//! A body is read only as far as a verdict needs it. For expressions that is [`MOST`] bytes at most: a longer
//! body is judged by them. A digest is of the whole body, which may then have [`DIGESTED`] bytes.

use std::fmt::Write;
use std::sync::Arc;

use evenkeel_schemas::cluster::HttpMethod;
use evenkeel_schemas::plan::{HttpDrain, HttpRequest};
use evenkeel_schemas::scalars::PortRange;
use evenkeel_schemas::status::FaultLabel;
use md5::{Digest, Md5};

use super::pattern::{Kept, Pattern};
use super::{MOST, excerpt};
use crate::fault::Fault;

/// Most bytes of a body of which a digest is taken, 1 MiB: 2 ms of work.
pub const DIGESTED: u64 = 1 << 20;

/// Conditions of an answer.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whether answers have no body, as those to HEAD.
    pub bodiless: bool,
    status: Vec<PortRange>,
    body: Option<Arc<Pattern>>,
    body_not: Option<Arc<Pattern>>,
    digest: Option<String>,
    drain: HttpDrain,
}

impl Wanted {
    /// Conditions of the answer to a request. `compile` may share expressions among checks.
    ///
    /// # Errors
    ///
    /// Where an expression cannot be compiled.
    pub fn new<E>(
        request: &HttpRequest,
        drain: &HttpDrain,
        compile: impl Fn(&str) -> Result<Arc<Pattern>, E>,
    ) -> Result<Self, E> {
        Ok(Self {
            bodiless: request.method == HttpMethod::Head,
            status: request.status.clone(),
            body: request.body.as_deref().map(&compile).transpose()?,
            body_not: request.body_not.as_deref().map(&compile).transpose()?,
            digest: request.digest.as_deref().map(str::to_ascii_lowercase),
            drain: drain.clone(),
        })
    }

    /// Whether an answer with this status asks to be drained: then nothing else of it matters.
    #[must_use]
    pub fn drains_by_status(&self, status: u16) -> bool {
        is_among(&self.drain.status, status)
    }

    /// Whether a header of this name asks to be drained.
    #[must_use]
    pub fn drains_by_header(&self, name: &str) -> bool {
        self.drain.header.as_deref().is_some_and(|header| header.eq_ignore_ascii_case(name))
    }

    /// Whether the body says something.
    #[must_use]
    pub const fn asks_for_body(&self) -> bool {
        self.body.is_some() || self.body_not.is_some() || self.digest.is_some()
    }

    /// Judges a status.
    ///
    /// # Errors
    ///
    /// Where it is another one.
    pub fn judge_status(&self, status: u16) -> Result<(), Fault> {
        if is_among(&self.status, status) {
            return Ok(());
        }
        let mut reason = format!("status {status}, wanted ");
        for (n, range) in self.status.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            write!(reason, "{comma}{range}").ok();
        }
        Err(Fault::new(FaultLabel::Status, reason))
    }
}

fn is_among(ranges: &[PortRange], status: u16) -> bool {
    ranges.iter().any(|range| (range.first().get()..=range.last().get()).contains(&status))
}

/// A body, as far as it has come.
#[derive(Debug)]
pub struct Body {
    kept: Kept,
    /// Number of its bytes that have come, and their digest.
    digested: u64,
    md5: Md5,
}

/// The verdict of a body; none while more of it is needed.
pub type Judged = Option<Result<(), Fault>>;

impl Default for Body {
    fn default() -> Self {
        Self { kept: Kept::default(), digested: 0, md5: Md5::new() }
    }
}

impl Body {
    /// More of it has come.
    pub fn received(&mut self, wanted: &Wanted, bytes: &[u8]) -> Judged {
        if wanted.body.is_some() || wanted.body_not.is_some() {
            self.kept.add(bytes);
        }
        if wanted.digest.is_some() {
            self.digested += bytes.len() as u64;
            if self.digested > DIGESTED {
                let reason = format!("body longer than {} MiB, too long for a digest", DIGESTED >> 20);
                return Some(Err(Fault::new(FaultLabel::TooLong, reason)));
            }
            self.md5.update(bytes);
            return None;
        }
        if self.kept.is_full() {
            return Some(self.judge_text(wanted, false));
        }
        match &wanted.body {
            Some(body) if wanted.body_not.is_none() && self.kept.matches(body) => Some(Ok(())),
            _ => None,
        }
    }

    /// Judges a body that has ended; `whole`: all of it came, and the connection did not break before.
    ///
    /// # Errors
    ///
    /// Where it is not as it should be.
    pub fn ended(self, wanted: &Wanted, whole: bool) -> Judged {
        if !whole {
            // A part of a body says only that it matches.
            let sufficient = wanted.body_not.is_none() && wanted.digest.is_none();
            let matches = wanted.body.as_ref().is_some_and(|body| self.kept.matches_at_last(body, false));
            return (sufficient && matches).then_some(Ok(()));
        }
        let judged = self.judge_text(wanted, true);
        Some(judged.and_then(|()| {
            let Some(digest) = &wanted.digest else { return Ok(()) };
            let found = hex(&self.md5.finalize());
            if found == *digest {
                return Ok(());
            }
            Err(Fault::new(FaultLabel::Body, format!("digest of the body is {found}, wanted {digest}")))
        }))
    }

    fn judge_text(&self, wanted: &Wanted, whole: bool) -> Result<(), Fault> {
        let whole = whole && !self.kept.is_full();
        let which = || {
            if whole {
                format!("body `{}`", excerpt(self.kept.bytes()))
            } else {
                format!("the first {} KiB of the body", MOST >> 10)
            }
        };
        let (does_not, shall_not) = if whole { ("does not", "matches") } else { ("do not", "match") };
        if let Some(body) = &wanted.body
            && !self.kept.matches_at_last(body, whole)
        {
            let reason = format!("{} {does_not} match `{}`", which(), excerpt(body.as_str().as_bytes()));
            return Err(Fault::new(FaultLabel::Body, reason));
        }
        if let Some(body) = &wanted.body_not
            && self.kept.matches_at_last(body, whole)
        {
            let unwanted = excerpt(body.as_str().as_bytes());
            let reason = format!("{} {shall_not} `{unwanted}`, which must not be", which());
            return Err(Fault::new(FaultLabel::Body, reason));
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text
}
