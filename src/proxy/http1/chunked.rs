//! The chunked coding, decoded and checked as it passes and written anew (RFC 9112, section 7.1).

use std::ops::Range;

use super::RejectReason;

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

/// Takes a chunked body apart, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Decoder {
    state: u8,
    trailers: Vec<u8>,
}

impl Decoder {
    /// Reads on, up to the end of one run of data. Each call consumes something unless `input` is empty or the body is
    /// over; after an error every call is an error.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, RejectReason> {
        todo!()
    }

    /// Whether the whole body was seen.
    pub fn is_done(&self) -> bool {
        todo!()
    }

    /// The trailer lines that may be passed on, each ended by CRLF, once the body is over; mostly empty.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
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
    pub fn new(size: u64) -> Self {
        todo!()
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
