//! The first line of a message.

use super::Span;

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

impl Method {
    /// Whether sending it twice is the same as sending it once (RFC 9110, section 9.2.2).
    pub fn is_idempotent(self) -> bool {
        todo!()
    }
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
