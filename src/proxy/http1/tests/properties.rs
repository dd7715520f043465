//! What holds for every head.

use proptest::prelude::*;

use super::support::*;
use crate::proxy::http1::framing::RequestBody;
use crate::proxy::http1::*;

/// Pieces of heads, right and wrong ones, so that random rows of them get far.
const PIECES: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\n",
    b"POST http://b/x HTTP/1.0\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 304 \r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close, x\r\n",
    b"X: y\r\n",
    b"X-Forwarded-For: 1.1.1.1\r\n",
    b"Max-Forwards: 1\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r",
    b"\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\xff",
    b"GET",
    b"GET / HTTP/1.1",
    b"HTTP/2.0",
    b"x",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![8 => prop::sample::select(PIECES).prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..4)];
    let anything = prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    // Most random rows are no heads: these mostly are.
    let line = prop::sample::select(&PIECES[..12]).prop_map(<[u8]>::to_vec);
    let likely = (0..3_usize, prop::collection::vec(line, 0..6)).prop_map(|(first, lines)| {
        let lines = lines.into_iter().filter(|line| !line.windows(5).any(|part| part == b"HTTP/"));
        [PIECES[first], &lines.collect::<Vec<_>>().concat(), b"Accept: x\r\nHost: a\r\n\r\n"].concat()
    });
    prop_oneof![anything, likely]
}

/// A valid head: one request line, fields whose names no rule asks about, and one Host.
fn valid() -> impl Strategy<Value = (String, String, Vec<(String, String)>)> {
    let field = ("q[a-zA-Z0-9!#$%&'*+.^_`|~-]{0,12}", "([!-~\u{80}-\u{ff}]([ -~\u{80}-\u{ff}\t]{0,12}[!-~])?)?");
    (
        prop::sample::select(&["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "BREW"][..]).prop_map(str::to_owned),
        "/[!\"$-~]{0,20}",
        prop::collection::vec(field, 0..40),
    )
}

proptest! {
    #[test]
    fn no_bytes_make_the_codec_panic_and_splits_agree(bytes in pieces(), splits in prop::collection::vec(0..200_usize, 0..6)) {
        let mut stops: Vec<_> = splits.iter().map(|split| split % (bytes.len() + 1)).collect();
        stops.sort_unstable();
        let limits = Limits { head: 150, target: 16, fields: 6, body: u64::MAX };
        let whole = parse_in_steps(&bytes, [], parse_request, &limits);
        prop_assert_eq!(parse_in_steps(&bytes, stops.iter().copied(), parse_request, &limits), whole.clone());
        prop_assert_eq!(parse_in_steps(&bytes, 0..bytes.len(), parse_request, &limits), whole);
        let whole = parse_in_steps(&bytes, [], parse_response, &limits);
        prop_assert_eq!(parse_in_steps(&bytes, stops, parse_response, &limits), whole.clone());
        prop_assert_eq!(parse_in_steps(&bytes, 0..bytes.len(), parse_response, &limits), whole);
        let _ = pass(&bytes, TRUSTED);
        let _ = answer(&bytes, Method::Get, Version::Http11);
    }

    #[test]
    fn what_is_passed_on_parses_to_what_was_meant(bytes in pieces()) {
        let Some(Ok(passed)) = pass(&bytes, UNTRUSTED) else { return Ok(()) };
        let mut once_more = passed.head.replace("\r\nVia: 1.", "\r\nX-Was: 1.");
        // A replica takes the same head and the same framing from it, to the last byte.
        let again = pass(once_more.as_bytes(), UNTRUSTED);
        let Some(Ok(again)) = again else { return Err(TestCaseError::fail(format!("{again:?} after {once_more:?}"))) };
        prop_assert_eq!(again.length, once_more.len());
        prop_assert_eq!(again.body, passed.body);
        prop_assert_eq!(&again.host_name.is_some(), &true);
        once_more.truncate(once_more.find("\r\n").unwrap());
        prop_assert!(again.head.starts_with(&once_more) || passed.max_forwards.is_some());
    }

    #[test]
    fn a_valid_head_parses_to_what_it_was_made_of((method, target, fields) in valid(), has_rest: bool) {
        let mut sent: Vec<u8> = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in &fields {
            sent.extend(format!("{name}: {value}\r\n").chars().map(|c| c as u8));
        }
        sent.extend_from_slice(b"\r\n");
        let length = sent.len();
        if has_rest {
            sent.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
        }

        let mut found = Fields::default();
        let outcome = parse_request(&sent, &mut RequestScan::default(), &Limits::default(), &mut found);
        let Parsed::Complete { head, length: parsed } = outcome else { return Err(TestCaseError::fail(format!("{outcome:?}"))) };
        prop_assert_eq!(parsed, length);
        prop_assert_eq!(text(head.method_text.of(&sent)), method.clone());
        prop_assert_eq!(text(head.target.of(&sent)), target.clone());
        let pairs: Vec<_> = found.iter().skip(1).map(|f| (text(f.name.of(&sent)), text(f.value.of(&sent)))).collect();
        prop_assert_eq!(&pairs, &fields);

        // Another parser sees the same in it.
        let mut slots = [httparse::EMPTY_HEADER; 50];
        let mut reference = httparse::Request::new(&mut slots);
        prop_assert_eq!(reference.parse(&sent), Ok(httparse::Status::Complete(length)));
        prop_assert_eq!((reference.method, reference.path), (Some(method.as_str()), Some(target.as_str())));
        let names = reference.headers.iter().skip(1).map(|h| (h.name.to_owned(), text(h.value)));
        prop_assert!(names.eq(pairs));

        // And all of it is passed on, as it was and in its order.
        let passed = pass(&sent, UNTRUSTED).unwrap().unwrap();
        prop_assert_eq!(passed.body, RequestBody::None);
        let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let expected: String = [format!("{method} {target} HTTP/1.1\r\nHost: a\r\n")].into_iter().chain(lines).collect();
        prop_assert!(passed.head.starts_with(&expected), "{:?} is not the start of {:?}", expected, passed.head);
    }
}
