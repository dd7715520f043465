//! Where in a buffer something is.

/// A range of a buffer that the caller keeps, in bytes from the buffer's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of the range; empty if `buffer` does not have them.
    #[inline]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Where `part` is in `buffer`, of which it must be a part.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a head is shorter than 4 GiB: `Limits` counts in u32")]
    pub(super) fn within(buffer: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(buffer.as_ptr() as usize);
        Self { start: start as u32, end: start.wrapping_add(part.len()) as u32 }
    }
}
