//! The fields after a chunked body: bounded, checked, and only those that change nothing about the message.

use super::name::Name;
use super::{RejectReason, field_line};

/// The most bytes of trailer lines.
const MAX_BYTES: usize = 8 * 1024;
/// The most trailer lines.
const MAX_LINES: usize = 64;

/// Fields that frame or route a message, say who sent it, or change how it is understood: RFC 9110, section 6.5.1,
/// forbids them as trailers. Besides these, none passes that a rule asks about (see [`Name`]).
const FORBIDDEN: [&str; 31] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "pragma",
    "proxy-status",
    "range",
    "refresh",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-key",
    "server",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "warning",
    "www-authenticate",
    "x-http-method-override",
    "x-original-url",
];

/// Appends to the lines so far, up to their limit.
pub(super) fn push(lines: &mut Vec<u8>, more: &[u8]) -> Result<(), RejectReason> {
    if lines.len() + more.len() > MAX_BYTES {
        return Err(RejectReason::Trailer);
    }
    lines.extend_from_slice(more);
    Ok(())
}

/// Checks the lines and keeps those that may pass.
pub(super) fn filter(lines: &mut Vec<u8>) -> Result<(), RejectReason> {
    if lines.is_empty() {
        return Ok(());
    }
    let (mut left, mut count, mut kept) = (lines.as_slice(), 0, Vec::new());
    while !left.is_empty() {
        let (name, value) = field_line::take(&mut left).map_err(|_| RejectReason::Trailer)?;
        count += 1;
        if count > MAX_LINES {
            return Err(RejectReason::Trailer);
        }
        if may_pass(name) {
            for part in [name, b": ", value, b"\r\n"] {
                kept.extend_from_slice(part);
            }
        }
    }
    *lines = kept;
    Ok(())
}

fn may_pass(name: &[u8]) -> bool {
    let plain: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    let is_forbidden = FORBIDDEN.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(&plain));
    Name::of(&plain) == Name::Other && !is_forbidden
}
