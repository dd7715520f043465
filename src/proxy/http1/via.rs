//! Our entry in `Via`, and how we know a request that we have already seen (RFC 9110, section 7.6.3).

use super::Fields;
use super::fields::elements;
use super::name::Name;

/// The name of this process in `Via`: `evenkeel-` and eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u8; 17]);

impl Pseudonym {
    /// The name for a number that no other process of the chain has: draw it at random at start.
    pub fn new(id: u32) -> Self {
        let mut name = *b"evenkeel-00000000";
        for (place, digit) in name.iter_mut().rev().take(8).enumerate() {
            *digit = hex_digit(u64::from(id >> (4 * place)));
        }
        Self(name)
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a request has been through this process: it is to be rejected as [`super::RejectReason::Loop`].
    pub fn is_in(&self, buffer: &[u8], fields: &Fields) -> bool {
        // An entry is a protocol, who received it, and maybe a comment.
        let received_by = |entry| <[u8]>::split(entry, |b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).nth(1);
        let mut entries = fields.all(buffer, Name::Via).flat_map(elements);
        entries.any(|entry| received_by(entry).is_some_and(|name| name.eq_ignore_ascii_case(&self.0)))
    }
}

/// The hexadecimal digit for the lowest four bits.
pub(super) fn hex_digit(number: u64) -> u8 {
    let digit = (number & 0xf) as u8;
    if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }
}
