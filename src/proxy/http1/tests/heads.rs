//! Where a head ends, what is too much of it, and what it says when it is not whole.

use super::support::*;
use crate::proxy::http1::head::MAX_FIELDS;
use crate::proxy::http1::name::Name;
use crate::proxy::http1::*;

const SMALL: Limits = Limits { head: 100, target: 20, fields: 3, body: u64::MAX };

/// The outcome with those limits, the same at once and byte by byte.
fn outcome(bytes: &[u8], limits: &Limits) -> Parsed<RequestHead> {
    let (whole, _) = parse_in_steps(bytes, [], parse_request, limits);
    assert_eq!(parse_in_steps(bytes, 0..bytes.len(), parse_request, limits).0, whole, "{:?}", text(bytes));
    whole
}

fn rejected(bytes: &[u8], limits: &Limits) -> Option<RejectReason> {
    match outcome(bytes, limits) {
        Parsed::Rejected(reason) => Some(reason),
        Parsed::Complete { .. } | Parsed::Incomplete => None,
    }
}

#[test]
fn each_limit_holds_to_the_byte() {
    let head = |length: usize| {
        let rest = length - "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(rest))
    };
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(length - 1));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(count));
    for (sent, expected) in [
        (head(100), None),
        (head(101), Some(RejectReason::HeadTooLong)),
        (target(20), None),
        (target(21), Some(RejectReason::TargetTooLong)),
        (target(500), Some(RejectReason::TargetTooLong)),
        (fields(3), None),
        (fields(4), Some(RejectReason::TooManyFields)),
        (format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(8)), None),
        (format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(9)), Some(RejectReason::RequestLine)),
        (format!("{} / HTTP/1.1\r\n\r\n", "X".repeat(32)), None),
        (format!("{} / HTTP/1.1\r\n\r\n", "X".repeat(33)), Some(RejectReason::MethodTooLong)),
    ] {
        assert_eq!(rejected(sent.as_bytes(), &SMALL), expected, "{sent:?}");
    }
    let no_limit = Limits { head: u32::MAX, target: u32::MAX, fields: u32::MAX, body: u64::MAX };
    assert_eq!(rejected(fields(MAX_FIELDS as usize).as_bytes(), &no_limit), None);
    let too_many = fields(MAX_FIELDS as usize + 1);
    assert_eq!(rejected(too_many.as_bytes(), &no_limit), Some(RejectReason::TooManyFields));
}

#[test]
fn each_line_of_a_whole_head_ends_with_cr_and_lf() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    assert_eq!(rejected(head.as_bytes(), &Limits::default()), None);
    for (lf, _) in head.match_indices('\n') {
        let without_cr = [&head[..lf - 1], &head[lf..]].concat();
        assert_eq!(rejected(without_cr.as_bytes(), &Limits::default()), Some(RejectReason::LineEnd), "{without_cr:?}");
        let without_lf = [&head[..lf], &head[lf + 1..], "\r\n"].concat();
        assert_eq!(rejected(without_lf.as_bytes(), &Limits::default()), Some(RejectReason::LineEnd), "{without_lf:?}");
    }
}

#[test]
fn what_is_wrong_is_said_as_soon_as_it_has_come() {
    for (sent, expected) in [
        ("GET /\r\n", RejectReason::RequestLine),
        ("GET / HTTP/3.0\r\n", RejectReason::VersionUnsupported),
        ("GET / HTTP/1.1\r\nX: y\rz", RejectReason::LineEnd),
        ("GET / HTTP/1.1\r\nX: y\n", RejectReason::LineEnd),
        ("\rG", RejectReason::LineEnd),
        ("\n", RejectReason::LineEnd),
        // The first thing wrong in the order of the bytes decides, or a bare CR.
        ("GET /\r\nX: y\n\r\n", RejectReason::RequestLine),
        ("GET /\r\r\n", RejectReason::LineEnd),
        ("GET / HTTP/1.1\r\nNoColon\r\nX: y\rz\r\n\r\n", RejectReason::LineEnd),
    ] {
        assert_eq!(rejected(sent.as_bytes(), &Limits::default()), Some(expected), "{sent:?}");
    }
    for sent in ["", "\r", "\r\n", "GET / HTTP/1.1\r\nX: y\r\n\r", "GET / HTTP/1.1\r\nNoColon\r\n"] {
        assert_eq!(outcome(sent.as_bytes(), &Limits::default()), Parsed::Incomplete, "{sent:?}");
    }
}

#[test]
fn a_scan_knows_whether_a_head_has_begun() {
    for (sent, expected) in [("", false), ("\r\n", false), ("\r\n\r\n", false), ("G", true), ("\r\nGET / HT", true)] {
        let mut scan = RequestScan::default();
        let outcome = parse_request(sent.as_bytes(), &mut scan, &Limits::default(), &mut Fields::default());
        assert_eq!((outcome, scan.has_begun()), (Parsed::Incomplete, expected), "{sent:?}");
    }
}

#[test]
fn a_scratch_forgets_the_head_before() {
    let mut fields = Fields::default();
    let first = b"GET / HTTP/1.1\r\nConnection: close, upgrade, keep-alive, X\r\nTE: trailers\r\n\r\n";
    let mut parse = |bytes: &[u8]| {
        let outcome = parse_request(bytes, &mut RequestScan::default(), &Limits::default(), &mut fields);
        assert!(matches!(outcome, Parsed::Complete { .. }));
        let said = [fields.says_close(), fields.says_upgrade(), fields.says_keep_alive(), !fields.may_keep_trailers()];
        (said, fields.has(Name::Te), fields.accepts_trailers(bytes), fields.iter().count())
    };
    assert_eq!(parse(first), ([true; 4], true, true, 2));
    assert_eq!(parse(b"GET / HTTP/1.1\r\nA: b\r\n\r\n"), ([false; 4], false, false, 1));
}

#[test]
fn fields_are_read_by_name() {
    let head = b"HTTP/1.1 200 OK\r\nKeep-Alive: max=9, Timeout = 7\r\nA: 1\r\na: \t2 \r\n\r\n";
    let mut fields = Fields::default();
    let outcome = parse_response(head, &mut ResponseScan::default(), &Limits::default(), &mut fields);
    assert!(matches!(outcome, Parsed::Complete { length, .. } if length == head.len()));
    assert_eq!(fields.keep_alive_timeout(head), Some(7));
    assert_eq!(fields.values(head, "A").collect::<Vec<_>>(), [&b"1"[..], b"2"]);
    assert_eq!(fields.values(head, "b").count(), 0);
    assert_eq!(Fields::default().keep_alive_timeout(head), None);
}

#[test]
fn only_safe_methods_may_be_sent_twice() {
    use Method::*;
    let idempotent = [Get, Head, Post, Put, Patch, Delete, Options, Trace, Connect, Other].map(Method::is_idempotent);
    assert_eq!(idempotent, [true, true, false, true, false, true, true, true, false, false]);
}
