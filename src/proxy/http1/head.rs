//! From bytes to a head, however the bytes arrive: a head that comes byte by byte ends as one that comes at once.

use super::{Fields, RejectReason, RequestHead, ResponseHead};

/// How much of a head is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head, blank lines before it included.
    pub head: u32,
    /// Bytes of the request target.
    pub target: u32,
    /// Field lines; no more than [`MAX_FIELDS`] whatever is set.
    pub fields: u32,
}

/// The most field lines that can be allowed.
pub const MAX_FIELDS: u32 = 512;

impl Default for Limits {
    fn default() -> Self {
        Self { head: 32 * 1024, target: 8 * 1024, fields: 100 }
    }
}

/// How far a head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<H> {
    /// More bytes are needed.
    Incomplete,
    /// The head is whole; what follows it in the buffer starts at `length`.
    Complete {
        /// The first line; the fields are in the [`Fields`] passed in.
        head: H,
        /// Bytes of the head, blank lines before it included.
        length: usize,
    },
    /// The message is not taken. The same bytes give the same reason, however they were split.
    Rejected(RejectReason),
}

/// How far the search for a head's end got, between calls with the same, growing buffer. Start each head with a new one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan<H> {
    at: u32,
    line: Option<H>,
}

/// The search for a request's end.
pub type RequestScan = Scan<RequestHead>;
/// The search for an answer's end.
pub type ResponseScan = Scan<ResponseHead>;

impl<H> Scan<H> {
    /// Whether a byte of the head itself has come; blank lines before it do not count.
    pub fn has_begun(&self) -> bool {
        todo!()
    }
}

/// Parses the request head at the start of `buffer`.
pub fn parse_request(
    buffer: &[u8],
    scan: &mut RequestScan,
    limits: &Limits,
    fields: &mut Fields,
) -> Parsed<RequestHead> {
    todo!()
}

/// Parses the answer's head at the start of `buffer`.
pub fn parse_response(
    buffer: &[u8],
    scan: &mut ResponseScan,
    limits: &Limits,
    fields: &mut Fields,
) -> Parsed<ResponseHead> {
    todo!()
}
