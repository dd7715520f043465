//! The first line of a message.

use super::bytes::{TOKEN, text_length};
use super::{Limits, RejectReason, Span};

/// The longest method that could be one; the longest registered has 17 letters.
const MAX_METHOD: usize = 32;

/// A protocol version. Minor versions above 1 count as 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A request's method; only those that some rule asks about have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the methods' own names")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Connect,
    Other,
}

/// A request's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method as it was spelled.
    pub method_text: Span,
    /// The request target, as it was sent: visible ASCII without `#`.
    pub target: Span,
    /// The client's version.
    pub version: Version,
}

/// An answer's first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase, maybe empty.
    pub reason: Span,
    /// The replica's version.
    pub version: Version,
}

/// What a head begins with, in one direction.
pub(super) trait StartLine: Copy {
    /// How many blank lines may come before it.
    const BLANK_LINES: u32;
    /// What it is if it does not end within the limit of the head.
    const TOO_LONG: RejectReason;

    /// Reads `text`, the part of `buffer` before the line's CRLF.
    fn parse(buffer: &[u8], text: &[u8], limits: &Limits) -> Result<Self, RejectReason>;
}

impl Method {
    /// Whether sending it twice is the same as sending it once (RFC 9110, section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Connect | Self::Other)
    }

    #[inline]
    fn of(text: &[u8]) -> Result<Self, RejectReason> {
        Ok(match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"PATCH" => Self::Patch,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            [] => return Err(RejectReason::Method),
            _ if !TOKEN.has_all(text) => return Err(RejectReason::Method),
            _ if text.len() > MAX_METHOD => return Err(RejectReason::MethodTooLong),
            _ => Self::Other,
        })
    }
}

impl Version {
    #[inline]
    fn of(text: &[u8]) -> Result<Self, RejectReason> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'] => Ok(Self::Http11),
            [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => Err(RejectReason::VersionUnsupported),
            _ => Err(RejectReason::Version),
        }
    }
}

impl StartLine for RequestHead {
    const BLANK_LINES: u32 = 8;
    const TOO_LONG: RejectReason = RejectReason::TargetTooLong;

    #[inline]
    fn parse(buffer: &[u8], text: &[u8], limits: &Limits) -> Result<Self, RejectReason> {
        let is_space = |b: &u8| *b == b' ';
        let mut parts = text.splitn(2, is_space);
        let (Some(method), Some(rest)) = (parts.next(), parts.next()) else { return Err(RejectReason::RequestLine) };
        let method_text = Span::within(buffer, method);
        let method = Method::of(method)?;
        let mut parts = rest.rsplitn(2, is_space);
        let (Some(version), Some(target)) = (parts.next(), parts.next()) else { return Err(RejectReason::RequestLine) };
        if target.is_empty() {
            return Err(RejectReason::RequestLine);
        }
        if target.len() > limits.target as usize {
            return Err(RejectReason::TargetTooLong);
        }
        // No early exit, so that it compiles to vector instructions.
        if target.iter().fold(false, |found, b| found | !matches!(b, b'!'..=b'~') | (*b == b'#')) {
            return Err(RejectReason::TargetByte);
        }
        let version = match Version::of(version) {
            // The HTTP/2 preface comes from somebody who was told that HTTP/2 is spoken here.
            Err(RejectReason::VersionUnsupported) if method_text.of(buffer) == b"PRI" => {
                return Err(RejectReason::Version);
            }
            version => version?,
        };
        Ok(Self { method, method_text, target: Span::within(buffer, target), version })
    }
}

impl StartLine for ResponseHead {
    const BLANK_LINES: u32 = 0;
    const TOO_LONG: RejectReason = RejectReason::HeadTooLong;

    #[inline]
    fn parse(buffer: &[u8], text: &[u8], _: &Limits) -> Result<Self, RejectReason> {
        let Some((version, rest)) = text.split_at_checked(8) else { return Err(RejectReason::StatusLine) };
        let version = Version::of(version)?;
        let (status, reason) = match rest {
            [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] => ([a, b, c], reason),
            _ => return Err(RejectReason::StatusLine),
        };
        let status = status.into_iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        let reason = match reason {
            [] => reason,
            [b' ', reason @ ..] if text_length(reason) == reason.len() => reason,
            _ => return Err(RejectReason::StatusLine),
        };
        Ok(Self { status, reason: Span::within(buffer, reason), version })
    }
}
