//! Which bytes may be where, asked of many bytes at little cost.

/// Letters, digits and some other bytes.
#[derive(Debug)]
pub(super) struct ByteSet([bool; 256]);

/// What a token is made of (RFC 9110, section 5.6.2).
pub(super) static TOKEN: ByteSet = ByteSet::alphanumeric_and(b"!#$%&'*+-.^_`|~");

impl ByteSet {
    /// All ASCII letters and digits, and these.
    #[expect(clippy::indexing_slicing, reason = "it runs as this is compiled, which would fail")]
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut set = [false; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            set[byte as usize] = byte.is_ascii_alphanumeric();
            byte += 1;
        }
        let mut at = 0;
        while at < others.len() {
            set[others[at] as usize] = true;
            at += 1;
        }
        Self(set)
    }

    /// Whether the byte is one of them.
    #[inline]
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// Whether there are no other bytes.
    pub(super) fn has_all(&self, bytes: &[u8]) -> bool {
        self.count(bytes) == bytes.len()
    }

    /// How many bytes at the start are of them.
    #[inline]
    pub(super) fn count(&self, bytes: &[u8]) -> usize {
        bytes.iter().position(|byte| !self.has(*byte)).unwrap_or(bytes.len())
    }
}

/// Whether a byte may be in a field's value or a reason phrase.
#[inline]
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// How many bytes at the start may be in a token: eight at a time as long as they are letters and hyphens, as in most
/// names of fields.
#[inline]
pub(super) fn token_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match first_other_than_letter_or_hyphen(*word) {
            None => at += word.len(),
            Some(place) => {
                at += place;
                break;
            }
        }
    }
    at + TOKEN.count(bytes.get(at..).unwrap_or_default())
}

/// How many bytes at the start may be in a field's value: eight at a time as long as there are so many.
#[inline]
pub(super) fn text_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        match first_control(*word) {
            None => at += word.len(),
            Some(place) if word.get(place) == Some(&b'\t') => at += place + 1,
            Some(place) => return at + place,
        }
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !is_text(*byte)).unwrap_or(rest.len())
}

/// Eight times the number 1, a byte each: times a byte, eight of these.
const EACH: u64 = u64::from_ne_bytes([1; 8]);
/// The highest bit of each of eight bytes, which says of it what was asked.
const HIGHEST: u64 = EACH << 7;

/// Where the first byte is of which something was said.
#[inline]
fn first(said: u64) -> Option<usize> {
    (said != 0).then(|| said.trailing_zeros() as usize / 8)
}

#[inline]
fn first_other_than_letter_or_hyphen(word: [u8; 8]) -> Option<usize> {
    const LOW: u64 = !HIGHEST;
    let word = u64::from_le_bytes(word);
    // Without their highest bits, two bytes add up to less than 256: nothing is carried into the next.
    let lower = (word | (EACH * 0x20)) & LOW;
    let is_from_a_on = lower + EACH * u64::from(0x80 - b'a');
    let is_beyond_z = lower + EACH * u64::from(0x7f - b'z');
    let is_letter = is_from_a_on & !is_beyond_z & !word;
    let unlike_hyphen = word ^ (EACH * u64::from(b'-'));
    let is_no_hyphen = ((unlike_hyphen & LOW) + LOW) | unlike_hyphen;
    first(!is_letter & is_no_hyphen & HIGHEST)
}

/// Where the first byte below a space is, or the first DEL.
#[inline]
fn first_control(word: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(word);
    // True of each byte below `n`, and maybe of others, but only of such as come after one: it borrowed from them.
    let is_below = |word: u64, n: u64| word.wrapping_sub(EACH * n) & !word;
    let is_control = is_below(word, 0x20) | is_below(word ^ (EACH * 0x7f), 1);
    first(is_control & HIGHEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_made_of_what_the_standard_lists() {
        let listed = |byte: u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
        for byte in 0..=255 {
            assert_eq!(TOKEN.has(byte), listed(byte), "{byte:#x}");
        }
        for (bytes, length) in [(&b"Host: a"[..], 4), (b"Host", 4), (b"", 0), (b"X-Forwarded-For: a", 15)] {
            assert_eq!((TOKEN.count(bytes), token_length(bytes)), (length, length));
        }
    }

    #[test]
    fn every_byte_counts_at_every_place() {
        for (place, byte) in (0..24).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
            for around in [b' ', b'\t', b'~', 0x80, 0xff] {
                let mut bytes = [around; 24];
                bytes[place] = byte;
                assert_eq!(text_length(&bytes), if is_text(byte) { 24 } else { place }, "{byte:#x} at {place}");
            }
            for around in *b"aAzZ-0_~" {
                let mut bytes = [around; 24];
                bytes[place] = byte;
                assert_eq!(token_length(&bytes), if TOKEN.has(byte) { 24 } else { place }, "{byte:#x} at {place}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_first_byte_that_does_not_belong_ends_it(bytes in prop::collection::vec(any::<u8>(), 0..40), offset in 0..=255_u8) {
            // Few of the bytes there are, so that most rows of them are long.
            let near = |byte: &u8| (byte % 8).wrapping_add(offset);
            let bytes: Vec<u8> = bytes.iter().map(near).collect();
            prop_assert_eq!(text_length(&bytes), bytes.iter().take_while(|byte| is_text(**byte)).count());
            prop_assert_eq!(token_length(&bytes), TOKEN.count(&bytes));
        }
    }
}
