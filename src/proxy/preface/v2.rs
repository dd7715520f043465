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
    // Of a connection of the sender's own the family is to be ignored, whatever it is.
    let kind = match family_of(*family) {
        Some(kind) => kind,
        None if is_local => Family { addresses: 0, tells: false },
        None => return Err(PrefaceFault::Malformed),
    };
    let (Some(high), Some(low)) = (buffer.get(14), buffer.get(15)) else { return Ok(None) };
    let length = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST {
        return Err(PrefaceFault::TooLong);
    }
    let Some(header) = buffer.get(..length) else { return Ok(None) };
    let block = header.get(FIXED..).unwrap_or_default();
    if is_local || !kind.tells {
        check_what_is_ignored(header, block, kind.addresses)?;
        return Ok(Some(Preface { source: None, length }));
    }
    let (addresses, extensions) = block.split_at_checked(kind.addresses).ok_or(PrefaceFault::Malformed)?;
    hold_against(header, checksum(header, extensions)?)?;
    Ok(Some(Preface { source: source(*family, addresses), length }))
}

/// What a family and protocol say of the block behind them.
#[derive(Clone, Copy)]
struct Family {
    /// How long its addresses are, in bytes.
    addresses: usize,
    /// Whether they are there for sure.
    tells: bool,
}

/// A family and protocol; `None` if there is no such thing.
fn family_of(family: u8) -> Option<Family> {
    let addresses = match family >> 4 {
        0 => 0,
        1 => 2 * (4 + 2),
        2 => 2 * (16 + 2),
        3 => 2 * 108,
        _ => return None,
    };
    match family & 0xf {
        0 => Some(Family { addresses, tells: false }),
        1 | 2 => Some(Family { addresses, tells: addresses > 0 }),
        _ => None,
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

/// A checksum as the header has it, and at which of its bytes.
type Said = (u32, usize);

/// Goes through the extensions, which fill the header to its end; its checksum, if it has one.
fn checksum(header: &[u8], mut extensions: &[u8]) -> Result<Option<Said>, PrefaceFault> {
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
    if extensions.is_empty() { Ok(checksum) } else { Err(PrefaceFault::Malformed) }
}

/// Holds a checksum against its header.
fn hold_against(header: &[u8], checksum: Option<Said>) -> Result<(), PrefaceFault> {
    match checksum {
        Some((said, at)) if said != crc32c(without(header, at)) => Err(PrefaceFault::Checksum),
        _ => Ok(()),
    }
}

/// A block of which nothing is to be taken may be anything. But if it can be read as extensions with a checksum, this one
/// guards the whole header, the command that says so included. Whether they begin behind addresses, nobody knows: AWS
/// names a family and leaves the addresses out.
fn check_what_is_ignored(header: &[u8], block: &[u8], addresses: usize) -> Result<(), PrefaceFault> {
    let mut readings = [addresses, 0].into_iter().filter_map(|start| checksum(header, block.get(start..)?).ok()?);
    hold_against(header, readings.next())
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
