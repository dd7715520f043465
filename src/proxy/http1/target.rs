//! What a request is aimed at: the rules for its method, its target and its Host (RFC 9112, section 3.2).

use super::framing::number;
use super::host::host_part;
use super::name::Name;
use super::{Fields, Method, RejectReason, RequestHead, Span, Version};

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
#[inline]
pub fn read(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Result<Target, RejectReason> {
    if matches!(head.method, Method::Connect | Method::Trace) {
        return Err(RejectReason::MethodRefused);
    }
    // An absolute target overrides the Host, which must be right all the same.
    let named = host_field(buffer, head.version, fields)?;
    let target = head.target.of(buffer);
    let (named, path) = match target {
        [b'/', ..] => (named, Path::Origin(head.target)),
        b"*" if head.method == Method::Options => (named, Path::Asterisk),
        _ => {
            let (authority, path) = absolute(buffer, head, target).ok_or(RejectReason::TargetForm)?;
            (Some(authority), path)
        }
    };
    let (host, host_name) = named.unzip();
    let max_forwards = if head.method == Method::Options { max_forwards(buffer, fields)? } else { None };
    Ok(Target { host, host_name, path, max_forwards })
}

/// An authority, and its host.
type Authority = (Span, Span);

fn authority(buffer: &[u8], text: &[u8]) -> Option<Authority> {
    let host = host_part(text)?;
    Some((Span::within(buffer, text), Span::within(buffer, host)))
}

/// The one valid Host field; HTTP/1.0 may leave it out.
fn host_field(buffer: &[u8], version: Version, fields: &Fields) -> Result<Option<Authority>, RejectReason> {
    let mut lines = fields.all(buffer, Name::Host);
    match (lines.next(), lines.next()) {
        (None, _) if version == Version::Http10 => Ok(None),
        (Some(host), None) => authority(buffer, host).map(Some).ok_or(RejectReason::Host),
        _ => Err(RejectReason::Host),
    }
}

/// The authority and the rest of a target with the scheme `http` or `https`.
fn absolute(buffer: &[u8], head: &RequestHead, target: &[u8]) -> Option<(Authority, Path)> {
    let colon = target.iter().position(|b| *b == b':')?;
    let (scheme, rest) = target.split_at_checked(colon)?;
    let rest = rest.strip_prefix(b"://")?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (host, rest) = rest.split_at_checked(end)?;
    let path = match rest {
        [b'/', ..] => Path::Origin(Span::within(buffer, rest)),
        // RFC 9112, section 3.2.4: no path at all means the whole server.
        [] if head.method == Method::Options => Path::Asterisk,
        _ => Path::Query(Span::within(buffer, rest)),
    };
    Some((authority(buffer, host)?, path))
}

fn max_forwards(buffer: &[u8], fields: &Fields) -> Result<Option<u32>, RejectReason> {
    let mut lines = fields.all(buffer, Name::MaxForwards);
    let Some(value) = lines.next() else { return Ok(None) };
    let hops = number(value).filter(|_| lines.next().is_none()).ok_or(RejectReason::MaxForwards)?;
    Ok(Some(u32::try_from(hops).unwrap_or(u32::MAX)))
}
