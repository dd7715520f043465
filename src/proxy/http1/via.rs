//! Our entry in `Via`, and how we know a request that we have already seen (RFC 9110, section 7.6.3).

use super::Fields;

/// The name of this process in `Via`: `evenkeel-` and eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudonym([u8; 17]);

impl Pseudonym {
    /// The name for a number that no other process of the chain has: draw it at random at start.
    pub fn new(id: u32) -> Self {
        todo!()
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a request has been through this process: it is to be rejected as [`super::RejectReason::Loop`].
    pub fn is_in(&self, buffer: &[u8], fields: &Fields) -> bool {
        todo!()
    }
}
