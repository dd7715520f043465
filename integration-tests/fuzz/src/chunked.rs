//! A chunked body, decoded and written anew.
//!
//! - However it is cut in pieces, the decoder finds the same data, the same end, or the same fault.
//! - A reader of our own finds the same data and the same end in it; in a body that is refused, at least the data that
//!   was passed on before the fault.
//! - What is written anew is, to a strict parser, the same data, to the last byte, and trailers of which none frames,
//!   routes or trusts a message; a body that is not whole does not end.

use evenkeel::proxy::http1::RejectReason;
use evenkeel::proxy::http1::chunked::{CHUNK_END, ChunkHeader, Decoder, write_end};
use integration_tests::wire::{self, Parsed, Request};

use crate::fields::{is_about_the_client, is_never_passed};
use crate::reading;
use crate::splits::CUTS;

/// What the decoder made of a body.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    data: Vec<u8>,
    /// Bytes of the body, up to its end or its fault.
    consumed: usize,
    trailers: Vec<u8>,
    end: Option<Result<(), RejectReason>>,
}

/// Checks the body at the start of `input`.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    let mut out = Vec::new();
    let whole = decode(input, &mut std::iter::empty(), &mut out);
    let mut again = Vec::new();
    // After a fault, how much came before it in one call is not told.
    let same = |one: &Decoded| {
        let consumed = if one.end.is_some_and(|end| end.is_err()) { 0 } else { one.consumed };
        (one.data.clone(), consumed, one.trailers.clone(), one.end)
    };
    let bytes = decode(input, &mut (0..input.len()), &mut again);
    assert_eq!(same(&bytes), same(&whole), "byte by byte");
    check_written(&again, &bytes);
    for stop in (1..input.len()).step_by(1 + input.len() / CUTS) {
        again.clear();
        let cut = decode(input, &mut std::iter::once(stop), &mut again);
        assert_eq!(same(&cut), same(&whole), "cut at {stop}");
    }
    check_written(&out, &whole);

    let meant = reading::chunks(input);
    match whole.end {
        Some(Ok(())) => {
            assert_eq!(meant.length, Some(whole.consumed), "where the body ends");
            assert_eq!(meant.data, whole.data);
        }
        _ => assert!(meant.data.starts_with(&whole.data), "data that was not sent"),
    }
}

/// Decodes what arrives up to each of `stops` and then all, and writes it anew to `out`, as an exchange does.
fn decode(input: &[u8], stops: &mut dyn Iterator<Item = usize>, out: &mut Vec<u8>) -> Decoded {
    let mut decoder = Decoder::default();
    let mut so_far = Decoded::default();
    for stop in stops.chain([input.len()]) {
        while so_far.consumed < stop {
            let piece = &input[so_far.consumed..stop];
            let found = match decoder.decode(piece) {
                Ok(found) => found,
                Err(reason) => {
                    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(reason), "a fault is forgotten");
                    so_far.end = Some(Err(reason));
                    return so_far;
                }
            };
            assert!(found.consumed > 0 && found.data.end <= found.consumed, "{found:?}");
            let data = &piece[found.data];
            if !data.is_empty() {
                out.extend_from_slice(ChunkHeader::new(data.len() as u64).as_bytes());
                out.extend_from_slice(data);
                out.extend_from_slice(CHUNK_END);
            }
            so_far.data.extend_from_slice(data);
            so_far.consumed += found.consumed;
            if found.is_done {
                so_far.trailers = decoder.trailers().to_owned();
                write_end(out, &so_far.trailers);
                so_far.end = Some(Ok(()));
                return so_far;
            }
        }
    }
    assert!(!decoder.is_done() && decoder.trailers().is_empty());
    so_far
}

/// Checks that what was written anew is just what was decoded.
fn check_written(out: &[u8], decoded: &Decoded) {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let message = [HEAD, out].concat();
    let is_whole = decoded.end == Some(Ok(()));
    let request: Request = match wire::request(&message) {
        Ok(Parsed::Whole(request, length)) if is_whole && length == message.len() => request,
        Ok(Parsed::Partial(Some(request))) if !is_whole => request,
        other => panic!("{other:?} in {:?}", wire::text(&message)),
    };
    assert_eq!(request.body, decoded.data);
    for (name, _) in &request.trailers.0 {
        let is_fine = !is_never_passed(name) && !is_about_the_client(name) && !NEVER.contains(&&**name);
        assert!(is_fine, "the trailer {name} was passed on");
    }
}

/// Fields that have no place in trailers.
const NEVER: [&str; 10] = [
    "host",
    "authorization",
    "cookie",
    "set-cookie",
    "content-type",
    "content-encoding",
    "expect",
    "range",
    "via",
    "date",
];
