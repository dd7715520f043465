//! A PROXY protocol preface.
//!
//! - However it is cut in pieces, it is the same preface or has the same fault; and what follows it makes no difference.
//! - Only what begins as one of the two versions do is one, and never an HTTP request.
//! - A reader of our own that is not strict finds the same client in it, and the same end.

use std::net::SocketAddr;

use evenkeel::proxy::preface::{LONGEST, Parsed, Preface, parse};

use crate::splits::CUTS;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Checks the preface at the start of `input`.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    let whole = parse(input);
    let step = 1 + input.len() / CUTS;
    let mut pieces = (0..input.len()).step_by(step).chain([input.len()]).map(|end| parse(&input[..end]));
    let in_pieces = pieces.find(|parsed| *parsed != Parsed::Incomplete).unwrap_or(Parsed::Incomplete);
    assert_eq!(in_pieces, whole, "in pieces of {step}");
    match whole {
        Parsed::Incomplete => assert!(input.len() < LONGEST, "it never ends"),
        Parsed::Refused(_) => assert_eq!(parse(&[input, b"GET / HTTP/1.1\r\n"].concat()), whole),
        Parsed::Complete(preface) => check_complete(input, &preface),
    }
}

fn check_complete(input: &[u8], preface: &Preface) {
    let (own, rest) = input.split_at(preface.length);
    assert_eq!(parse(own), Parsed::Complete(*preface), "without {} bytes behind it", rest.len());
    assert_eq!(parse(&own[..own.len() - 1]), Parsed::Incomplete, "without its last byte");
    assert!(own.len() <= LONGEST);
    if let Some(header) = own.strip_prefix(SIGNATURE) {
        assert_eq!(own.len(), 16 + usize::from(u16::from_be_bytes([header[2], header[3]])));
        assert_eq!(binary_source(header), preface.source);
    } else {
        let line = own.strip_prefix(b"PROXY ").and_then(|line| line.strip_suffix(b"\r\n")).expect("a line");
        assert!(!line.contains(&b'\n') && own.len() <= 107);
        assert_eq!(text_source(line), preface.source);
    }
}

/// The client of a header of version 2, whose signature is left out.
fn binary_source(header: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    match (header[0], header[1]) {
        (0x21, 0x11) => Some(SocketAddr::from((<[u8; 4]>::try_from(&header[4..8]).ok()?, port(12)))),
        (0x21, 0x21) => Some(SocketAddr::from((<[u8; 16]>::try_from(&header[4..20]).ok()?, port(36)))),
        _ => None,
    }
}

/// The client of a line of version 1, whose first word is left out.
fn text_source(line: &[u8]) -> Option<SocketAddr> {
    let words: Vec<_> = String::from_utf8_lossy(line).split_whitespace().map(str::to_owned).collect();
    match words.first()?.as_str() {
        "TCP4" | "TCP6" => {
            Some(SocketAddr::new(words[1].parse().expect("an address"), words[3].parse().expect("a port")))
        }
        _ => None,
    }
}
