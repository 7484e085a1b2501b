//! Where the body of an answer by HTTP/1.1 is in what comes: chunked, of a known length, or up to the end of
//! the connection (RFC 9112 §6, §7.1).

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// There is none.
    None,
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(Chunk),
    /// The body is everything until the connection is closed.
    UntilClosed,
}

/// Where in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// In its size: what is known of it, and how many digits there were.
    Size(u64, u8),
    /// Behind the size, in an extension.
    Extension(u64),
    /// In its data: so many bytes are still to come.
    Data(u64),
    /// Behind the data, where a line ends; whether a carriage return has come.
    DataEnd(bool),
    /// The last chunk has come. What comes behind it is none of the body.
    Last,
}

/// Most digits of a size.
const DIGITS: u8 = 15;

/// The size of a chunk is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoChunk;

impl Frame {
    /// In chunks, at the beginning.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size(0, 0));

    /// Whether the body has come wholly.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::None | Self::Length(0) | Self::Chunked(Chunk::Last))
    }

    /// Takes the next part of the body off the beginning of `bytes`. It is empty when there is none in them.
    ///
    /// # Errors
    ///
    /// Where the chunks are none.
    pub fn part<'b>(&mut self, bytes: &mut &'b [u8]) -> Result<&'b [u8], NoChunk> {
        match self {
            Self::None => Ok(&[]),
            Self::UntilClosed => Ok(std::mem::take(bytes)),
            Self::Length(left) => Ok(take(bytes, left)),
            Self::Chunked(chunk) => {
                while let Some((byte, rest)) = bytes.split_first() {
                    if let Chunk::Data(left) = chunk {
                        let part = take(bytes, left);
                        if *left == 0 {
                            *chunk = Chunk::DataEnd(false);
                        }
                        return Ok(part);
                    }
                    if *chunk == Chunk::Last {
                        return Ok(&[]);
                    }
                    *chunk = chunk.after(*byte)?;
                    *bytes = rest;
                }
                Ok(&[])
            }
        }
    }
}

impl Chunk {
    /// Where a byte that is no data leads.
    fn after(self, byte: u8) -> Result<Self, NoChunk> {
        let begin = |size: u64| if size == 0 { Self::Last } else { Self::Data(size) };
        match (self, byte) {
            (Self::Size(size, digits @ 1..), b'\n') if digits > 0 => Ok(begin(size)),
            (Self::Size(size, 1..), b';' | b' ' | b'\t' | b'\r') => Ok(Self::Extension(size)),
            (Self::Size(size, digits), _) if digits < DIGITS => {
                let digit = char::from(byte).to_digit(16).ok_or(NoChunk)?;
                Ok(Self::Size(size << 4 | u64::from(digit), digits + 1))
            }
            (Self::Size(..), _) => Err(NoChunk),
            (Self::Extension(size), b'\n') => Ok(begin(size)),
            (Self::Extension(size), _) => Ok(Self::Extension(size)),
            (Self::DataEnd(false), b'\r') => Ok(Self::DataEnd(true)),
            (Self::DataEnd(_), b'\n') => Ok(Self::Size(0, 0)),
            (Self::DataEnd(_), _) => Err(NoChunk),
            (Self::Data(_) | Self::Last, _) => Ok(self),
        }
    }
}

fn take<'b>(bytes: &mut &'b [u8], left: &mut u64) -> &'b [u8] {
    let most = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (part, rest) = bytes.split_at(most);
    *bytes = rest;
    *left -= most as u64;
    part
}
