//! The PROXY protocol, versions 1 and 2: what a balancer in front of us says about its client before that one's first
//! byte. Pure, no I/O.
//!
//! It is read as strictly as its specification asks. The crates for it do not: proxy-header takes a line without the space
//! behind `PROXY`, ports with a sign or leading zeros, and refuses a `LOCAL` whose family it does not know; and neither it
//! nor ppp looks at the checksum.

#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::net::SocketAddr;

use crate::metrics::PrefaceFault;

/// The longest preface of either version that is taken, in bytes. A balancer that passes a client's certificate on may
/// need a few thousand; the others stay below 200.
pub const LONGEST: usize = v2::LONGEST;

/// How far a preface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// It is whole.
    Complete(Preface),
    /// It is none, or not one that is taken. The same bytes give the same fault, however they were split.
    Refused(PrefaceFault),
}

/// What a preface says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preface {
    /// The client's address; `None`: the connection is the balancer's own, or its client has no address that we know,
    /// so that the connection's counts.
    pub source: Option<SocketAddr>,
    /// Its bytes; the client's begin behind them.
    pub length: usize,
}

/// Reads the preface at the start of `buffer`.
pub fn parse(buffer: &[u8]) -> Parsed {
    let parsed = match buffer.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(buffer),
        Some(_) => v2::parse(buffer),
    };
    match parsed {
        Ok(None) => Parsed::Incomplete,
        Ok(Some(preface)) => Parsed::Complete(preface),
        Err(fault) => Parsed::Refused(fault),
    }
}

/// Whether `buffer` begins with `start`, or may once more of it has come.
pub(super) fn may_begin(buffer: &[u8], start: &[u8]) -> bool {
    buffer.starts_with(start) || start.starts_with(buffer)
}
