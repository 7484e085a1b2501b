//! A large plan read through a window: its text is never in memory as a whole.
//!
//! Each virtual server is parsed as soon as its text is there (`plain`), and the seal is checked along the
//! way. A text that cannot be read so is no failure: the caller reads it as a whole, and learns there what is
//! wrong with it, if anything is.

use std::io::{self, Read, Write};

use evenkeel_schemas::plain;
use evenkeel_schemas::plan::Plan;
use evenkeel_schemas::seal::{self, Generation, Opening};

/// Most that is read at a time, bytes.
const WINDOW: usize = 64 * 1024;
/// Bound of a seal's length, bytes.
const LONGEST_LINE: usize = 256;
/// Least text of a virtual server, bytes, to make room for all of them at once. Room that is not used costs
/// nothing.
const LEAST: usize = 192;

const KEY: &str = "virtual_server";
const SERVER: &str = "[[virtual_server]]\n";
/// Beginnings of lines that begin a table within a virtual server.
const PARTS_OF_SERVER: [&[u8]; 2] = [b"[[virtual_server.", b"[virtual_server."];
/// Number of bytes that show what a line begins.
const TELLING: usize = PARTS_OF_SERVER[0].len();

/// Reads a sealed plan of about `length` bytes, and copies its text to `copy`; none when it must be read as a
/// whole.
///
/// # Errors
/// When reading or writing fails.
pub(super) fn read(
    input: impl Read,
    copy: impl Write,
    length: usize,
) -> io::Result<Option<(Generation, Plan)>> {
    read_by(input, copy, length, WINDOW)
}

fn read_by(
    input: impl Read,
    copy: impl Write,
    length: usize,
    size: usize,
) -> io::Result<Option<(Generation, Plan)>> {
    let mut window =
        Window { input, copy, size, buffer: Vec::new(), start: 0, next: 0, read: 0, ended: false };
    let Some(mut opening) = window.line()?.and_then(Opening::begin) else { return Ok(None) };
    let (mut rest, mut servers) = (String::new(), Vec::with_capacity(length.min(seal::MAX_BYTES) / LEAST));
    while let Some(piece) = window.piece()? {
        opening.take(piece);
        let Ok(text) = std::str::from_utf8(piece) else { return Ok(None) };
        if text.starts_with(SERVER) {
            match plain::virtual_server(text) {
                Some(server) => servers.push(server),
                None => return Ok(None),
            }
        } else {
            rest.push_str(text);
        }
    }
    servers.shrink_to_fit();
    // A virtual server written in another way has its place among the others, or may not stand beside them.
    if rest.contains(KEY) {
        return Ok(None);
    }
    let read = opening.finish().zip(plain::plan(&rest));
    Ok(read.map(|(generation, plan)| (generation, Plan { virtual_servers: servers, ..plan })))
}

struct Window<R, W> {
    input: R,
    copy: W,
    /// Most that is read at a time, bytes.
    size: usize,
    buffer: Vec<u8>,
    /// Index in the buffer of the last piece.
    start: usize,
    /// Index in the buffer of the next piece.
    next: usize,
    /// Bytes read so far.
    read: usize,
    ended: bool,
}

impl<R: Read, W: Write> Window<R, W> {
    /// The first line with its newline.
    fn line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut end = None;
        while end.is_none() && !self.ended && self.buffer.len() < LONGEST_LINE {
            self.fill()?;
            end = self.buffer.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        }
        self.next = end.unwrap_or_default();
        Ok(end.and_then(|end| self.buffer.get(..end)))
    }

    /// The next piece, up to the next table that is not of the same virtual server; none at the end.
    fn piece(&mut self) -> io::Result<Option<&[u8]>> {
        self.start = self.next;
        let mut looked_at = 0;
        self.next = loop {
            match self.end_of_piece(self.start + looked_at) {
                Ok(end) => break end,
                Err(_) if self.ended => break self.buffer.len(),
                Err(up_to) => {
                    looked_at = up_to - self.start;
                    self.fill()?;
                }
            }
        };
        let piece = self.buffer.get(self.start..self.next).unwrap_or_default();
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// End of the piece; or, as an error, the index up to which it is known not to end.
    fn end_of_piece(&self, mut from: usize) -> Result<usize, usize> {
        loop {
            let unseen = self.buffer.get(from..).unwrap_or_default();
            let Some(newline) = unseen.iter().position(|byte| *byte == b'\n') else {
                return Err(self.buffer.len());
            };
            let line = unseen.get(newline + 1..).unwrap_or_default();
            if line.len() < TELLING && !self.ended {
                return Err(from + newline);
            }
            let within = PARTS_OF_SERVER.iter().any(|part| line.starts_with(part));
            if line.starts_with(b"[") && !within {
                return Ok(from + newline + 1);
            }
            from += newline + 1;
        }
    }

    /// Reads more of the input. Pieces that were handed out make room.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.next -= self.start;
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + self.size, 0);
        let room = self.buffer.get_mut(filled..).unwrap_or_default();
        let count = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.copy.write_all(room.get(..count).unwrap_or_default())?;
        self.buffer.truncate(filled + count);
        self.read += count;
        if self.read > seal::MAX_BYTES {
            return Err(io::Error::other("the plan is too large"));
        }
        self.ended = count == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use evenkeel_schemas::seal::seal;

    use super::*;
    use crate::source::read::plain_tests::{ALL, compiled};

    /// A reader that gives a few bytes at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(7);
            self.0.read(&mut buffer[..most])
        }
    }

    fn in_pieces(sealed: &str, size: usize) -> Option<Plan> {
        let mut copy = Vec::new();
        let (generation, plan) =
            read_by(Drops(sealed.as_bytes()), &mut copy, sealed.len(), size).expect("bytes")?;
        assert_eq!(copy, sealed.as_bytes());
        assert_eq!(generation, seal::open(sealed.as_bytes()).expect("sealed").0);
        Some(plan)
    }

    #[test]
    fn a_plan_read_in_pieces_equals_the_plan_read_as_a_whole() {
        let mut count = 0;
        for body in compiled().into_iter().map(|(_, body)| body).chain([ALL.to_owned()]) {
            let whole = plain::plan(&body).expect("the compiler's layout");
            count += whole.virtual_servers.len();
            for size in [1, 19, 300, WINDOW] {
                assert_eq!(in_pieces(&seal(&body), size).as_ref(), Some(&whole), "by {size}:\n{body}");
            }
        }
        assert!(count > 10, "{count} virtual servers");
    }

    #[test]
    fn a_text_unlike_the_compilers_layout_is_not_read() {
        let sealed = seal(ALL);
        assert!(in_pieces(&sealed, 50).is_some());
        let newline = sealed.find('\n').expect("a line");
        for end in [0, 1, newline, newline + 1, sealed.len() / 2, sealed.len() - 1] {
            assert_eq!(in_pieces(&sealed[..end], 50), None, "cut off after {end}");
        }
        assert_eq!(in_pieces(&sealed.replacen("weight = ", "weight = 1", 1), 50), None, "edited");
        let server = "[[virtual_server]]\nname = ";
        for (what, body) in [
            ("a comment behind a header", ALL.replacen("[[virtual_server]]", "[[virtual_server]] # one", 1)),
            ("spaces in a header", ALL.replacen("[[virtual_server]]", "[[ virtual_server ]]", 1)),
            ("a list in place", ALL.replacen("[policy]", "virtual_server = []\n[policy]", 1)),
            ("a text over lines", format!("{ALL}x = \"\"\"\n{server}\"\"\"\n")),
            ("a part of none", format!("[virtual_server.persistence]\nprefix = 1\n{ALL}")),
            ("bytes that are no text", ALL.replacen("192.0.2.9", "\u{0}", 1)),
        ] {
            assert_eq!(in_pieces(&seal(&body), 50), None, "{what}");
        }
    }
}
