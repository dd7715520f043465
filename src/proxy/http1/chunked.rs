//! The chunked coding, decoded and checked as it passes and written anew (RFC 9112, section 7.1).

use std::ops::Range;

use super::RejectReason;
use super::bytes::is_text;
use super::trailers;
use super::via::hex_digit;

/// The most digits of a chunk's size, leading zeros included.
const MAX_DIGITS: u8 = 16;
/// The most bytes between a chunk's size and its CRLF.
const MAX_EXTENSION: u16 = 1024;

/// What a call of [`Decoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes of the input are done with; call again with the rest unless `is_done`.
    pub consumed: usize,
    /// Where in the input data of the body is, to be passed on; maybe empty.
    pub data: Range<usize>,
    /// Whether the body, its trailers included, is over. What follows `consumed` is not part of it.
    pub is_done: bool,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    #[default]
    SizeStart,
    /// Another digit, or what follows the size.
    Size,
    /// Whitespace after the size, or what follows it.
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or of the blank line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    FinalLf,
    Done,
    Failed(RejectReason),
}

/// Takes a chunked body apart, in whatever pieces it comes.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Digits of the size so far.
    digits: u8,
    /// Bytes after the size in its line so far.
    extension: u16,
    /// What is left of the chunk.
    left: u64,
    /// How much data later chunks may have in all.
    allowed: u64,
    trailers: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(u64::MAX)
    }
}

impl Decoder {
    /// One for a body of at most so many bytes of data. A chunk that would be more is an error as soon as its size is
    /// known.
    pub fn with_limit(limit: u64) -> Self {
        Self { state: State::default(), digits: 0, extension: 0, left: 0, allowed: limit, trailers: Vec::new() }
    }

    /// Reads on, up to the end of one run of data. Each call consumes something unless `input` is empty or the body is
    /// over; after an error every call is an error.
    #[inline]
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, RejectReason> {
        let mut at = 0;
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Data => {
                    let end = input.len().min(at.saturating_add(usize::try_from(self.left).unwrap_or(usize::MAX)));
                    self.left = self.left.saturating_sub((end - at) as u64);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Decoded { consumed: end, data: at..end, is_done: false });
                }
                State::Done => break,
                _ => self.state = self.step(*byte).unwrap_or_else(State::Failed),
            }
            if let State::Failed(reason) = self.state {
                return Err(reason);
            }
            at += 1;
        }
        Ok(Decoded { consumed: at, data: at..at, is_done: self.is_done() })
    }

    /// Whether the whole body was seen.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer lines that may be passed on, each ended by CRLF, once the body is over; mostly empty.
    pub fn trailers(&self) -> &[u8] {
        if self.is_done() { &self.trailers } else { &[] }
    }

    /// Takes a byte outside of a chunk's data.
    fn step(&mut self, byte: u8) -> Result<State, RejectReason> {
        match (self.state, byte) {
            (State::SizeStart, _) => {
                (self.left, self.digits, self.extension) = (0, 0, 0);
                self.digit(byte)
            }
            (State::Size | State::Padding | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Size | State::Padding, b';') => self.skip(State::Extension),
            (State::Size | State::Padding, b' ' | b'\t') => self.skip(State::Padding),
            (State::Size, _) => self.digit(byte),
            (State::Extension, _) if is_text(byte) => self.skip(State::Extension),
            (State::SizeLf, b'\n') => {
                self.allowed = self.allowed.checked_sub(self.left).ok_or(RejectReason::BodyTooLong)?;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::FinalLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, _) if byte != b'\n' => {
                trailers::push(&mut self.trailers, &[byte])?;
                Ok(State::Trailer)
            }
            (State::TrailerLf, b'\n') => {
                trailers::push(&mut self.trailers, b"\r\n")?;
                Ok(State::TrailerStart)
            }
            (State::FinalLf, b'\n') => {
                trailers::filter(&mut self.trailers)?;
                Ok(State::Done)
            }
            (State::Failed(reason), _) => Err(reason),
            (State::Extension, b) if b != b'\n' => Err(RejectReason::ChunkExtension),
            (State::Padding, b) if b != b'\n' => Err(RejectReason::ChunkSize),
            (State::DataCr | State::DataLf, _) => Err(RejectReason::ChunkEnd),
            _ => Err(RejectReason::LineEnd),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, RejectReason> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\n' => return Err(RejectReason::LineEnd),
            _ => return Err(RejectReason::ChunkSize),
        };
        self.digits += 1;
        self.left = self.left << 4 | u64::from(value);
        if self.digits > MAX_DIGITS || i64::try_from(self.left).is_err() {
            return Err(RejectReason::ChunkSize);
        }
        Ok(State::Size)
    }

    fn skip(&mut self, state: State) -> Result<State, RejectReason> {
        self.extension += 1;
        if self.extension > MAX_EXTENSION { Err(RejectReason::ChunkExtension) } else { Ok(state) }
    }
}

/// The line before a chunk's data: its size.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHeader {
    text: [u8; 18],
    start: u8,
}

impl ChunkHeader {
    /// The line for a chunk of `size` bytes, which must not be 0: that is [`LAST_CHUNK`].
    #[inline]
    pub fn new(size: u64) -> Self {
        let mut text = *b"0000000000000000\r\n";
        for (place, digit) in text.iter_mut().rev().skip(2).enumerate() {
            *digit = hex_digit(size >> (4 * place));
        }
        let zeros = (size | 1).leading_zeros() / 4;
        Self { text, start: zeros as u8 }
    }

    /// The line with its CRLF.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(usize::from(self.start)..).unwrap_or_default()
    }
}

/// What follows each chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The end of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the end of a body with `trailers`, as [`Decoder::trailers`] gives them.
pub fn write_end(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}
