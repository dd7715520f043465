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

    type Lines = Result<Vec<(Vec<u8>, Vec<u8>)>, RejectReason>;

    /// All lines up to a blank one.
    fn all(mut lines: &[u8]) -> Lines {
        let mut found = Vec::new();
        while !lines.starts_with(b"\r\n") {
            let (name, value) = take(&mut lines)?;
            found.push((name.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    /// What a parser that many use makes of them; `None` if it waits for more.
    fn reference(lines: &[u8]) -> Option<Lines> {
        let mut slots = [httparse::EMPTY_HEADER; 64];
        match httparse::parse_headers(lines, &mut slots) {
            Ok(httparse::Status::Complete((_, found))) => {
                Some(Ok(found.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect()))
            }
            Ok(httparse::Status::Partial) => None,
            Err(httparse::Error::HeaderValue) => Some(Err(RejectReason::FieldValue)),
            Err(httparse::Error::HeaderName | httparse::Error::NewLine) => Some(Err(RejectReason::FieldName)),
            Err(error) => panic!("{error}"),
        }
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

        /// But that ours takes no line that LF alone ends, and knows when lines are over.
        #[test]
        fn lines_are_what_another_parser_says(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..8)) {
            let lines = [&pieces.concat()[..], b"\r\n"].concat();
            let is_lf_alone = |place: usize| lines[place] == b'\n' && (place == 0 || lines[place - 1] != b'\r');
            match reference(&lines) {
                Some(expected) if !(0..lines.len()).any(is_lf_alone) => prop_assert_eq!(all(&lines), expected),
                _ => {}
            }
        }
    }
}
