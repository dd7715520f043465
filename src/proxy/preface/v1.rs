//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use memchr::memchr;

use super::{Preface, may_begin};
use crate::metrics::PrefaceFault;

const START: &[u8] = b"PROXY ";

/// The longest line that the specification allows, its CRLF included, in bytes.
const LONGEST: usize = 107;

/// The preface, `None` if more of it has to come.
pub(super) fn parse(buffer: &[u8]) -> Result<Option<Preface>, PrefaceFault> {
    if !may_begin(buffer, START) {
        return Err(PrefaceFault::Missing);
    }
    let window = buffer.get(..LONGEST).unwrap_or(buffer);
    let Some(line_feed) = memchr(b'\n', window) else {
        return if window.len() < LONGEST { Ok(None) } else { Err(PrefaceFault::TooLong) };
    };
    let line = window.get(START.len()..line_feed).and_then(|line| line.strip_suffix(b"\r"));
    let source = line.and_then(read).ok_or(PrefaceFault::Malformed)?;
    Ok(Some(Preface { source, length: line_feed + 1 }))
}

/// What is between `PROXY ` and the line's end.
fn read(line: &[u8]) -> Option<Option<SocketAddr>> {
    match line.strip_prefix(b"UNKNOWN") {
        // What follows is to be ignored.
        Some([] | [b' ', ..]) => return Some(None),
        Some(_) => return None,
        None => {}
    }
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let mut next = || words.next();
    let [family, source, destination, source_port, destination_port] = [next()?, next()?, next()?, next()?, next()?];
    if next().is_some() {
        return None;
    }
    let source = SocketAddr::new(address(family, source)?, port(source_port)?);
    address(family, destination)?;
    port(destination_port)?;
    Some(Some(source))
}

fn address(family: &str, text: &str) -> Option<IpAddr> {
    match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    }
}

/// A port as it is written in just one way: no sign, no leading zero.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| is_plain)
}
