//! What a request is aimed at: the rules for its method, its target and its Host (RFC 9112, section 3.2).

use super::{Fields, RejectReason, RequestHead, Span};

/// A request's target after the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The authority: the Host field, or the authority of an absolute target, which overrides it. `None` for an
    /// HTTP/1.0 request that names none.
    pub host: Option<Span>,
    /// The authority without its port (and an IPv6 address without its brackets), to route by.
    pub host_name: Option<Span>,
    /// What goes on the request line to a replica.
    pub path: Path,
    /// `Max-Forwards` of an `OPTIONS`, as received: 0 means that we answer it ourselves.
    pub max_forwards: Option<u32>,
}

/// What goes on the request line to a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A path and a query, passed on raw.
    Origin(Span),
    /// The query of an absolute target that has no path, maybe empty: `/` goes before it.
    Query(Span),
    /// `*`, only for `OPTIONS`.
    Asterisk,
}

/// Reads the target, or says why the request is refused.
pub fn read(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Result<Target, RejectReason> {
    todo!()
}
