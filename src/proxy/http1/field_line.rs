//! One field line: a name, a colon right behind it, and a value (RFC 9112, section 5). No line continues another.

use super::RejectReason;
use super::bytes::{text_length, token_length};

/// Takes the first of these lines, each of which CRLF ends: its name, and its value without the whitespace around it.
#[inline(always)]
pub(super) fn take<'b>(lines: &mut &'b [u8]) -> Result<(&'b [u8], &'b [u8]), RejectReason> {
    let (name, rest) = lines.split_at_checked(token_length(lines)).unwrap_or_default();
    let [b':', rest @ ..] = rest else { return Err(RejectReason::FieldName) };
    if name.is_empty() {
        return Err(RejectReason::FieldName);
    }
    let (value, rest) = rest.split_at_checked(text_length(rest)).unwrap_or_default();
    let [b'\r', b'\n', rest @ ..] = rest else { return Err(RejectReason::FieldValue) };
    *lines = rest;
    Ok((name, value.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All lines of a section, which a blank one ends.
    fn all(section: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut lines = section.strip_suffix(b"\r\n")?;
        let mut found = Vec::new();
        while !lines.is_empty() {
            let (name, value) = take(&mut lines).ok()?;
            found.push((name.to_vec(), value.to_vec()));
        }
        Some(found)
    }

    /// What a parser that many use makes of them.
    fn reference(section: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let Ok(httparse::Status::Complete((length, found))) = httparse::parse_headers(section, &mut slots) else {
            return None;
        };
        let found = found.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()));
        (length == section.len()).then(|| found.collect())
    }

    #[test]
    fn what_is_no_field_line_is_refused() {
        for (line, expected) in [
            (&b"a: b\r\n"[..], Ok((&b"a"[..], &b"b"[..]))),
            (b"a:b\r\n", Ok((b"a", b"b"))),
            (b"a:\r\n", Ok((b"a", b""))),
            (b"a:\t b \tc\t \r\n", Ok((b"a", b"b \tc"))),
            (b"a: :\xff\"\r\n", Ok((b"a", b":\xff\""))),
            (b"a : b\r\n", Err(RejectReason::FieldName)),
            (b" a: b\r\n", Err(RejectReason::FieldName)),
            (b": b\r\n", Err(RejectReason::FieldName)),
            (b"a\r\n", Err(RejectReason::FieldName)),
            (b"a", Err(RejectReason::FieldName)),
            (b"\xc3\xa4: b\r\n", Err(RejectReason::FieldName)),
            (b"a: b\0c\r\n", Err(RejectReason::FieldValue)),
            (b"a: b\x7f\r\n", Err(RejectReason::FieldValue)),
            (b"a: b\rc\r\n", Err(RejectReason::FieldValue)),
            (b"a: b\n", Err(RejectReason::FieldValue)),
            (b"a: b", Err(RejectReason::FieldValue)),
        ] {
            let mut lines = line;
            assert_eq!(take(&mut lines), expected, "{}", line.escape_ascii());
            assert_eq!(lines.is_empty(), expected.is_ok(), "{}", line.escape_ascii());
        }
    }

    const PIECES: &[&[u8]] = &[
        b"Host: a\r\n",
        b"X: y\r\n",
        b"x:\r\n",
        b"long-name-of-a-field: a value that is long enough to be read in words\r\n",
        b"a",
        b":",
        b": ",
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b"\0",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"(",
        b"abcdefgh",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// But that ours takes no line that LF alone ends.
        #[test]
        fn lines_are_what_another_parser_says(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..8)) {
            let section = [&pieces.concat()[..], b"\r\n"].concat();
            let has_bare_lf = section.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || section[at - 1] != b'\r'));
            let expected = if has_bare_lf { None } else { reference(&section) };
            // A blank line in the middle ends what the other reads.
            prop_assert_eq!(all(&section), expected, "{}", section.escape_ascii());
        }
    }
}
