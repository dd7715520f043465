//! Where a message ends, and whether another may follow it (RFC 9112, sections 6.3 and 9.3).

use super::bytes::TOKEN;
use super::fields::elements;
use super::name::Name;
use super::{Fields, Limits, Method, RejectReason, RequestHead, ResponseHead, Version};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none, and no `Content-Length`.
    None,
    /// So many bytes, maybe 0.
    Length(u64),
    /// Chunks.
    Chunked {
        /// How many bytes of data they may have.
        limit: u64,
    },
}

/// How an answer's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// There is none, whatever the fields say.
    None,
    /// So many bytes, maybe 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All until the connection is closed.
    UntilClose,
}

/// What an answer's head says about its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The body that follows.
    pub body: ResponseBody,
    /// The length announced for a body that does not follow: of a HEAD's answer or a 304.
    pub announced: Option<u64>,
    /// Whether the replica's connection may be used again after the body. A byte after the body's end forbids it too.
    pub persists: bool,
}

/// The framing of a request's body; anything doubtful is rejected, and a length over the limit.
#[inline]
pub fn request_body(
    buffer: &[u8],
    head: &RequestHead,
    fields: &Fields,
    limits: &Limits,
) -> Result<RequestBody, RejectReason> {
    match (fields.has(Name::TransferEncoding), fields.has(Name::ContentLength)) {
        (false, false) => Ok(RequestBody::None),
        (true, true) => Err(RejectReason::TwoFramings),
        (true, false) => {
            chunked_only(buffer, head.version, fields)?;
            Ok(RequestBody::Chunked { limit: limits.body })
        }
        (false, true) => {
            let mut lines = fields.all(buffer, Name::ContentLength);
            let length = lines.next().and_then(number).ok_or(RejectReason::ContentLength)?;
            match lines.next() {
                Some(_) => Err(RejectReason::ContentLength),
                None if length > limits.body => Err(RejectReason::BodyTooLong),
                None => Ok(RequestBody::Length(length)),
            }
        }
    }
}

/// The framing of the answer to a request with the method `asked`.
#[inline]
pub fn response(
    buffer: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    asked: Method,
) -> Result<ResponseFraming, RejectReason> {
    let is_chunked = fields.has(Name::TransferEncoding);
    if is_chunked {
        chunked_only(buffer, head.version, fields)?;
    }
    let length = if is_chunked { None } else { one_length(buffer, fields)? };
    let has_none = matches!(head.status, 100..=199 | 204);
    let (body, announced) = match length {
        // With a `Transfer-Encoding` such an answer may send an empty chunk all the same.
        _ if has_none => (ResponseBody::None, None),
        _ if asked == Method::Head || head.status == 304 => (ResponseBody::None, length),
        _ if is_chunked => (ResponseBody::Chunked, None),
        Some(length) => (ResponseBody::Length(length), None),
        None => (ResponseBody::UntilClose, None),
    };
    let is_odd = is_chunked && (has_none || fields.has(Name::ContentLength));
    let persists = persists(head.version, fields) && body != ResponseBody::UntilClose && !is_odd;
    Ok(ResponseFraming { body, announced, persists })
}

/// How an answer's body goes on to a client of that version. `UntilClose` means that its connection has to be closed,
/// by a reset if the body was cut short.
pub fn towards_client(body: ResponseBody, client: Version) -> ResponseBody {
    match (body, client) {
        (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http11) => ResponseBody::Chunked,
        (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http10) => ResponseBody::UntilClose,
        (body, _) => body,
    }
}

/// Whether who sent a message with that version and those fields wants its connection kept for another.
#[inline]
pub fn persists(version: Version, fields: &Fields) -> bool {
    !fields.says_close() && (version == Version::Http11 || fields.says_keep_alive())
}

/// Whether the client waits for a `100 Continue` before it sends its body. HTTP/1.0 clients never do; any other
/// expectation is rejected.
#[inline]
pub fn expects_continue(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Result<bool, RejectReason> {
    if head.version == Version::Http10 || !fields.has(Name::Expect) {
        return Ok(false);
    }
    let mut expectations = fields.all(buffer, Name::Expect).flat_map(elements).peekable();
    let is_any = expectations.peek().is_some();
    let are_known = expectations.all(|expectation| expectation.eq_ignore_ascii_case(b"100-continue"));
    if are_known { Ok(is_any) } else { Err(RejectReason::Expectation) }
}

/// Makes sure that the one transfer coding is `chunked`.
fn chunked_only(buffer: &[u8], version: Version, fields: &Fields) -> Result<(), RejectReason> {
    if version == Version::Http10 {
        return Err(RejectReason::CodingInHttp10);
    }
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut lines = fields.all(buffer, Name::TransferEncoding);
    let (Some(value), None) = (lines.next(), lines.next()) else { return Err(RejectReason::TransferEncoding) };
    if is_chunked(value) {
        return Ok(());
    }
    let mut codings = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let ends_well = codings.next_back().is_some_and(is_chunked);
    let is_coding = |coding: &[u8]| !coding.is_empty() && TOKEN.has_all(coding) && !is_chunked(coding);
    Err(if ends_well && codings.all(is_coding) {
        RejectReason::CodingUnsupported
    } else {
        RejectReason::TransferEncoding
    })
}

/// The one length that an answer gives, however often it gives it.
fn one_length(buffer: &[u8], fields: &Fields) -> Result<Option<u64>, RejectReason> {
    let mut length = None;
    let mut note = |next: Option<u64>| match (next, length) {
        (None, _) => Err(RejectReason::ContentLength),
        (Some(next), Some(before)) if before != next => Err(RejectReason::ContentLength),
        _ => {
            length = next;
            Ok(())
        }
    };
    for line in fields.all(buffer, Name::ContentLength) {
        match number(line) {
            // Nearly always it is no list.
            Some(next) => note(Some(next))?,
            None => line.split(|b| *b == b',').try_for_each(|element| note(number(element.trim_ascii())))?,
        }
    }
    Ok(length)
}

/// A decimal number of digits only, below 2^63.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 { None } else { sum.checked_mul(10)?.checked_add(digit) }
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, add).filter(|sum| i64::try_from(*sum).is_ok()) }
}
