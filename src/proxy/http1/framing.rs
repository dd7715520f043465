//! Where a message ends, and whether another may follow it (RFC 9112, sections 6.3 and 9.3).

use super::{Fields, Method, RejectReason, RequestHead, ResponseHead, Version};

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none, and no `Content-Length`.
    None,
    /// So many bytes, maybe 0.
    Length(u64),
    /// Chunks.
    Chunked,
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

/// The framing of a request's body; anything doubtful is rejected.
pub fn request_body(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Result<RequestBody, RejectReason> {
    todo!()
}

/// The framing of the answer to a request with the method `asked`.
pub fn response(
    buffer: &[u8],
    head: &ResponseHead,
    fields: &Fields,
    asked: Method,
) -> Result<ResponseFraming, RejectReason> {
    todo!()
}

/// How an answer's body goes on to a client of that version. `UntilClose` means that its connection has to be closed,
/// by a reset if the body was cut short.
pub fn towards_client(body: ResponseBody, client: Version) -> ResponseBody {
    todo!()
}

/// Whether the client wants its connection kept for another request.
pub fn persists(version: Version, fields: &Fields) -> bool {
    todo!()
}

/// Whether the client waits for a `100 Continue` before it sends its body. HTTP/1.0 clients never do; any other
/// expectation is rejected.
pub fn expects_continue(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Result<bool, RejectReason> {
    todo!()
}
