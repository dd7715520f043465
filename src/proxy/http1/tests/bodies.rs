//! Chunked bodies: sections B and H of the checklist, and the encoder.

use proptest::prelude::*;

use super::support::*;
use crate::proxy::http1::RejectReason;
use crate::proxy::http1::chunked::{CHUNK_END, ChunkHeader, Decoder, LAST_CHUNK, write_end};

/// Decodes at once, byte by byte and split at each place: all give the same.
fn decode(bytes: &[u8]) -> Body {
    let whole = decode_in_steps(bytes, []);
    assert_eq!(decode_in_steps(bytes, 0..bytes.len()), whole, "{:?}", text(bytes));
    for split in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
        assert_eq!(decode_in_steps(bytes, [split]), whole, "{:?} at {split}", text(bytes));
    }
    whole
}

#[test]
fn b_chunked_bodies() {
    let hello = Ok("hello");
    for (row, handle, sent, expected) in [
        (17, "chunk-barelf-size", "5\nhello\r\n0\r\n\r\n", Err(RejectReason::LineEnd)),
        (17, "chunk-barelf-last", "5\r\nhello\r\n0\n\n", Err(RejectReason::LineEnd)),
        (17, "chunk-barelf-end", "5\r\nhello\r\n0\r\n\n", Err(RejectReason::LineEnd)),
        (18, "chunk-barelf-data", "5\r\nhello\n0\r\n\r\n", Err(RejectReason::ChunkEnd)),
        (19, "chunk-0x", "0x5\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-plus", "+5\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-minus", "-5\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-lead-space", " 5\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-empty-size", "\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-empty-size-ext", ";a\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (19, "chunk-underscore", "1_0\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (20, "chunk-trail-space", "5 \r\nhello\r\n0\t\r\n\r\n", hello),
        (20, "chunk-inner-space", "5 5\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (21, "chunk-overflow", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (21, "chunk-2^63", "8000000000000000\r\nhello", Err(RejectReason::ChunkSize)),
        (21, "chunk-wraps", "10000000000000005\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkSize)),
        (22, "chunk-zeros", "0000000000000005\r\nhello\r\n000\r\n\r\n", hello),
        (22, "chunk-many-zeros", &format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(200)), Err(RejectReason::ChunkSize)),
        (23, "chunk-ext-lf", "5;a\nhello\r\n0\r\n\r\n", Err(RejectReason::LineEnd)),
        (23, "chunk-ext-cr", "5;a\rb\r\nhello\r\n0\r\n\r\n", Err(RejectReason::LineEnd)),
        (23, "chunk-ext-nul", "5;a\0\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkExtension)),
        (23, "chunk-ext-del", "5;a\u{7f}\r\nhello\r\n0\r\n\r\n", Err(RejectReason::ChunkExtension)),
        (24, "chunk-ext-64k", &format!("5;{}\r\n", "x".repeat(65_536)), Err(RejectReason::ChunkExtension)),
        (24, "chunk-padding-64k", &format!("5{}\r\n", " ".repeat(65_536)), Err(RejectReason::ChunkExtension)),
        (25, "chunk-missing-crlf", "5\r\nhello0\r\n\r\n", Err(RejectReason::ChunkEnd)),
        (25, "chunk-data-extra", "5\r\nhellox\r\n0\r\n\r\n", Err(RejectReason::ChunkEnd)),
        (27, "chunk-ext", "5;a=\"b;c\\\"\" ; d\r\nhello\r\n0;e\r\n\r\n", hello),
        (27, "upper and lower case", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", Ok("01234567890123456789")),
    ] {
        let outcome = decode(sent.as_bytes());
        let expected = expected.map(|data| (data.to_owned(), String::new(), sent.len(), true));
        assert_eq!(outcome, expected, "row {row} {handle}");
        if let Err(reason) = outcome {
            assert_eq!(reason.status(), 400, "row 28 {handle}");
        }
    }
}

#[test]
fn a_body_is_over_only_after_its_blank_line_and_nothing_after_it_is_taken() {
    let open = |bytes: &[u8]| !decode(bytes).unwrap().3;
    assert!(open(b"0\r\nXX"), "row 26 chunk-term-xx");
    assert!(open(b"5\r\nhello\r\n0\r\n\r"));
    assert!(open(b"5\r\nhel"), "row 114 resp-truncchunk");
    assert!(open(b""));
    assert_eq!(decode(b"0\r\n\r\nGET /x"), Ok((String::new(), String::new(), 5, true)), "row 2");
}

#[test]
fn h_trailers() {
    let big = format!("X: {}\r\n", "y".repeat(9000));
    let many = "X: y\r\n".repeat(65);
    for (row, handle, lines, expected) in [
        (99, "trailers", "Digest: x\r\nA:b \r\n", Ok("Digest: x\r\nA: b\r\n")),
        (
            100,
            "trailer-cl-host",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHOST: x\r\nX-Forwarded-For: 1\r\nX-Forwarded-Port: \
             1\r\nContent_Length: 5\r\nConnection: close\r\nAuthorization: x\r\nset_cookie: x\r\nGrpc-Status: 0\r\n",
            Ok("Grpc-Status: 0\r\n"),
        ),
        (101, "trailer-bad no colon", "NoColon\r\n", Err(RejectReason::Trailer)),
        (101, "trailer-bad space", "A : b\r\n", Err(RejectReason::Trailer)),
        (101, "trailer-bad fold", "A: b\r\n c\r\n", Err(RejectReason::Trailer)),
        (101, "trailer-bad nul", "A: \0\r\n", Err(RejectReason::Trailer)),
        (101, "trailer-bad lf", "A: b\n", Err(RejectReason::LineEnd)),
        (101, "trailer-bad cr", "A: b\rc\r\n", Err(RejectReason::LineEnd)),
        (101, "trailer-big", &big, Err(RejectReason::Trailer)),
        (101, "trailer-many", &many, Err(RejectReason::Trailer)),
    ] {
        let sent = format!("0\r\n{lines}\r\n");
        let expected = expected.map(|kept| (String::new(), kept.to_owned(), sent.len(), true));
        assert_eq!(decode(sent.as_bytes()), expected, "row {row} {handle}");
    }
}

#[test]
fn after_an_error_there_are_only_errors() {
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(b"x"), Err(RejectReason::ChunkSize));
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(RejectReason::ChunkSize));
    assert_eq!(decoder.trailers(), b"");
}

#[test]
fn a_chunk_header_is_its_size_in_hexadecimal() {
    for size in [1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 1 << 20, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(text(ChunkHeader::new(size).as_bytes()), format!("{size:x}\r\n"));
    }
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself_however_it_arrives(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6),
        has_trailers: bool,
        steps in prop::collection::vec(1..40_usize, 1..20),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(ChunkHeader::new(chunk.len() as u64).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(CHUNK_END);
        }
        let trailers = if has_trailers { "A: b\r\n" } else { "" };
        if has_trailers { write_end(&mut bytes, trailers.as_bytes()) } else { bytes.extend_from_slice(LAST_CHUNK) }
        let length = bytes.len();
        bytes.extend_from_slice(b"next");
        let stops = steps.iter().cycle().scan(0, |at, step| { *at += step; Some(*at) }).take_while(|at| *at < length + 4);
        let expected = (text(&chunks.concat()), trailers.to_owned(), length, true);
        prop_assert_eq!(decode_in_steps(&bytes, stops), Ok(expected));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_splits_agree(
        parts in prop::collection::vec(prop::sample::select(PIECES), 0..12),
        split in 0..60_usize,
    ) {
        let bytes = parts.concat();
        let split = split.min(bytes.len());
        prop_assert_eq!(decode_in_steps(&bytes, [split]), decode_in_steps(&bytes, []));
        prop_assert_eq!(decode_in_steps(&bytes, 0..bytes.len()), decode_in_steps(&bytes, []));
    }
}

const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"0",
    b"5",
    b"ff",
    b"hello",
    b";",
    b" ",
    b"a=b",
    b"A: b",
    b"0\r\n\r\n",
    b"\0",
    b"7fffffffffffffff",
];
