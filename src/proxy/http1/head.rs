//! From bytes to a head, however the bytes arrive: a head that comes byte by byte ends as one that comes at once.

use std::num::NonZeroU64;

use memchr::{memchr, memchr_iter};

use super::line::StartLine;
use super::{Fields, RejectReason, RequestHead, ResponseHead};
use crate::config::settings::{LimitSettings, MAX_HEADERS};

/// How much of a message is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole head, blank lines before it included.
    pub head: u32,
    /// Bytes of the request target.
    pub target: u32,
    /// Field lines; no more than [`MAX_FIELDS`] whatever is set.
    pub fields: u32,
    /// Bytes of a request's body.
    pub body: u64,
}

/// The most field lines that can be allowed.
pub const MAX_FIELDS: u32 = MAX_HEADERS;

impl Limits {
    /// Whatever can be taken.
    pub const NONE: Self = Self { head: u32::MAX, target: u32::MAX, fields: MAX_FIELDS, body: u64::MAX };

    /// How many field lines a head may have.
    fn fields(&self) -> u32 {
        self.fields.min(MAX_FIELDS)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::from(&LimitSettings::default())
    }
}

impl From<&LimitSettings> for Limits {
    fn from(settings: &LimitSettings) -> Self {
        let LimitSettings { head_bytes, headers, target_bytes, body_bytes, .. } = settings;
        let body = body_bytes.map_or(u64::MAX, NonZeroU64::get);
        Self { head: *head_bytes, target: *target_bytes, fields: *headers, body }
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

/// The search for a head's end, between calls with the same, growing buffer. Start each head with a new one.
#[derive(Clone, Copy, Debug)]
pub struct Scan<H> {
    /// Where no line's end was looked for yet.
    at: usize,
    /// Where no CR was looked for yet.
    checked: usize,
    /// Where the line begins that has not ended yet.
    line_start: usize,
    blank_lines: u32,
    /// The first line, and where the fields begin.
    first: Option<(H, usize)>,
    fields: u32,
}

/// The search for a request's end.
pub type RequestScan = Scan<RequestHead>;
/// The search for an answer's end.
pub type ResponseScan = Scan<ResponseHead>;

impl<H> Default for Scan<H> {
    fn default() -> Self {
        Self { at: 0, checked: 0, line_start: 0, blank_lines: 0, first: None, fields: 0 }
    }
}

/// Parses the request head at the start of `buffer`.
pub fn parse_request(
    buffer: &[u8],
    scan: &mut RequestScan,
    limits: &Limits,
    fields: &mut Fields,
) -> Parsed<RequestHead> {
    parse(buffer, scan, limits, fields)
}

/// Parses the answer's head at the start of `buffer`.
pub fn parse_response(
    buffer: &[u8],
    scan: &mut ResponseScan,
    limits: &Limits,
    fields: &mut Fields,
) -> Parsed<ResponseHead> {
    parse(buffer, scan, limits, fields)
}

#[inline]
fn parse<H: StartLine>(buffer: &[u8], scan: &mut Scan<H>, limits: &Limits, fields: &mut Fields) -> Parsed<H> {
    let window = buffer.get(..limits.head as usize).unwrap_or(buffer);
    if scan.at == 0
        && let Some((head, length)) = parse_at_once(window, limits, fields)
    {
        return Parsed::Complete { head, length };
    }
    let reason = match advance(scan, window, limits) {
        Ok(Some((head, fields_start))) => {
            let section = window.get(fields_start..).unwrap_or_default();
            // They were counted as they came, maybe by another limit.
            match fields.fill(window, section, scan.fields) {
                Ok(length) => return Parsed::Complete { head, length },
                Err(reason) => reason,
            }
        }
        Ok(None) if scan.has_new_bare_cr(window) => RejectReason::LineEnd,
        Ok(None) => return Parsed::Incomplete,
        Err(reason) => reason,
    };
    // Byte by byte, a bare CR is found before what comes after it: so it is at once.
    let has_bare_cr = window.get(..scan.line_start).is_some_and(|seen| has_bare_cr(seen, 0));
    Parsed::Rejected(if has_bare_cr { RejectReason::LineEnd } else { reason })
}

/// Parses a head that is whole and has nothing wrong, as most are when they come: each field line is read only once. Of
/// any other head it says nothing, and that is read again.
#[inline]
fn parse_at_once<H: StartLine>(window: &[u8], limits: &Limits, fields: &mut Fields) -> Option<(H, usize)> {
    let (line, section) = window.split_at_checked(memchr(b'\n', window)? + 1)?;
    let head = H::parse(window, line.strip_suffix(b"\r\n")?, limits).ok()?;
    let length = fields.fill(window, section, limits.fields()).ok()?;
    Some((head, length))
}

impl<H> Scan<H> {
    /// Whether a byte of the head itself has come; blank lines before it do not count.
    pub fn has_begun(&self) -> bool {
        self.first.is_some() || self.at > self.line_start
    }

    fn has_new_bare_cr(&mut self, window: &[u8]) -> bool {
        let from = std::mem::replace(&mut self.checked, window.len().saturating_sub(1));
        has_bare_cr(window, from)
    }
}

/// Goes through the lines that have ended, up to the blank one: then, the first line and where the fields begin. The
/// scan's `line_start` is how far that went.
#[inline]
fn advance<H: StartLine>(
    scan: &mut Scan<H>,
    window: &[u8],
    limits: &Limits,
) -> Result<Option<(H, usize)>, RejectReason> {
    let from = std::mem::replace(&mut scan.at, window.len());
    for lf in memchr_iter(b'\n', window.get(from..).unwrap_or_default()) {
        let next = from + lf + 1;
        let line = std::mem::replace(&mut scan.line_start, next)..next;
        let Some([text @ .., b'\r', b'\n']) = window.get(line) else { return Err(RejectReason::LineEnd) };
        match scan.first {
            Some(_) if text.is_empty() => return Ok(scan.first),
            Some(_) => {
                scan.fields += 1;
                if scan.fields > limits.fields() {
                    return Err(RejectReason::TooManyFields);
                }
            }
            None if text.is_empty() && scan.blank_lines < H::BLANK_LINES => scan.blank_lines += 1,
            None => scan.first = Some((H::parse(window, text, limits)?, next)),
        }
    }
    if window.len() < limits.head as usize {
        return Ok(None);
    }
    scan.line_start = window.len();
    Err(if scan.first.is_some() { RejectReason::HeadTooLong } else { H::TOO_LONG })
}

/// Whether a CR at or after `from` is followed by something else than LF.
fn has_bare_cr(seen: &[u8], from: usize) -> bool {
    let is_bare = |at: usize| seen.get(from + at + 1).is_some_and(|next| *next != b'\n');
    memchr_iter(b'\r', seen.get(from..).unwrap_or_default()).any(is_bare)
}
