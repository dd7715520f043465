//! Version 2: a binary header of a fixed part, addresses, and extensions of a type, a length and a value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Preface, may_begin};
use crate::metrics::PrefaceFault;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, the version and command, the family and protocol, and the length of what follows, in bytes.
const FIXED: usize = 16;

/// The longest header that is taken, in bytes.
pub(super) const LONGEST: usize = 8 * 1024;

/// The type of the extension that has the checksum of the whole header.
const CHECKSUM: u8 = 0x03;

/// The polynomial of CRC-32C, its lowest power first.
const CASTAGNOLI: u32 = 0x82f6_3b78;

/// The preface, `None` if more of it has to come.
pub(super) fn parse(buffer: &[u8]) -> Result<Option<Preface>, PrefaceFault> {
    if !may_begin(buffer, SIGNATURE) {
        return Err(PrefaceFault::Missing);
    }
    // Each byte is judged as soon as it is there, so that the first that is wrong decides.
    let Some(command) = buffer.get(12) else { return Ok(None) };
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(PrefaceFault::Malformed),
    };
    let Some(family) = buffer.get(13) else { return Ok(None) };
    // Of a connection of the sender's own the rest is to be ignored, whatever it is.
    let addresses = if is_local { None } else { addresses_length(*family)? };
    let (Some(high), Some(low)) = (buffer.get(14), buffer.get(15)) else { return Ok(None) };
    let length = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST {
        return Err(PrefaceFault::TooLong);
    }
    let Some(header) = buffer.get(..length) else { return Ok(None) };
    let Some(addresses) = addresses else { return Ok(Some(Preface { source: None, length })) };
    let block = header.get(FIXED..).unwrap_or_default();
    let (addresses, extensions) = block.split_at_checked(addresses).ok_or(PrefaceFault::Malformed)?;
    check_extensions(header, extensions)?;
    Ok(Some(Preface { source: source(*family, addresses), length }))
}

/// How long the addresses of a family and protocol are, in bytes; `None` if the sender says that it has none to tell.
fn addresses_length(family: u8) -> Result<Option<usize>, PrefaceFault> {
    match (family >> 4, family & 0xf) {
        (0, 0..=2) | (1..=3, 0) => Ok(None),
        (1, 1 | 2) => Ok(Some(2 * (4 + 2))),
        (2, 1 | 2) => Ok(Some(2 * (16 + 2))),
        (3, 1 | 2) => Ok(Some(2 * 108)),
        _ => Err(PrefaceFault::Malformed),
    }
}

/// The client's address; `None` if it is not TCP's.
fn source(family: u8, addresses: &[u8]) -> Option<SocketAddr> {
    match (family, addresses) {
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            Some((Ipv4Addr::new(*a, *b, *c, *d), u16::from_be_bytes([*high, *low])).into())
        }
        (0x21, _) => {
            let (ip, rest) = addresses.split_first_chunk::<16>()?;
            let (_, ports) = rest.split_first_chunk::<16>()?;
            let (port, _) = ports.split_first_chunk::<2>()?;
            Some((Ipv6Addr::from(*ip), u16::from_be_bytes(*port)).into())
        }
        _ => None,
    }
}

/// Goes through the extensions, which fill the header to its end, and holds its checksum against it if it has one.
fn check_extensions(header: &[u8], mut extensions: &[u8]) -> Result<(), PrefaceFault> {
    let mut checksum = None;
    while let [kind, high, low, rest @ ..] = extensions {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = rest.split_at_checked(length).ok_or(PrefaceFault::Malformed)?;
        if *kind == CHECKSUM {
            let said = <[u8; 4]>::try_from(value).map_err(|_| PrefaceFault::Malformed)?;
            let at = header.len() - rest.len();
            if checksum.replace((u32::from_be_bytes(said), at)).is_some() {
                return Err(PrefaceFault::Malformed);
            }
        }
        extensions = after;
    }
    if !extensions.is_empty() {
        return Err(PrefaceFault::Malformed);
    }
    match checksum {
        Some((said, at)) if said != crc32c(without(header, at)) => Err(PrefaceFault::Checksum),
        _ => Ok(()),
    }
}

/// The header with zeros in place of the checksum `at` this byte.
fn without(header: &[u8], at: usize) -> impl Iterator<Item = u8> {
    header.iter().enumerate().map(move |(place, byte)| if (at..at + 4).contains(&place) { 0 } else { *byte })
}

/// Bit by bit, without a table: a header is short, and only some have a checksum.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { CASTAGNOLI } else { 0 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), shift))
}
