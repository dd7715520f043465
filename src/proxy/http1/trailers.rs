//! The fields after a chunked body: bounded, checked, and only those that change nothing about the message.

use httparse::{EMPTY_HEADER, Status, parse_headers};

use super::RejectReason;
use super::name::Name;

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
    lines.extend_from_slice(b"\r\n");
    let mut slots = [EMPTY_HEADER; MAX_LINES];
    let Ok(Status::Complete((length, fields))) = parse_headers(lines, &mut slots) else {
        return Err(RejectReason::Trailer);
    };
    if length != lines.len() {
        return Err(RejectReason::Trailer);
    }
    let mut kept = Vec::new();
    for field in fields.iter().filter(|field| may_pass(field.name)) {
        for part in [field.name.as_bytes(), b": ", field.value, b"\r\n"] {
            kept.extend_from_slice(part);
        }
    }
    *lines = kept;
    Ok(())
}

fn may_pass(name: &str) -> bool {
    let plain = name.replace('_', "-");
    Name::of(plain.as_bytes()) == Name::Other && !FORBIDDEN.iter().any(|known| known.eq_ignore_ascii_case(&plain))
}
