//! The rows of the checklist that a request's head decides. Each has its number and handle there.

use super::support::*;
use crate::proxy::http1::framing::RequestBody;

/// Refused with a status; or passed on with lines that are there, and lines (or starts of lines) that are not.
#[derive(Debug)]
enum Then {
    Refused(u16),
    Passed(&'static [&'static str], &'static [&'static str]),
}
use Then::{Passed, Refused};

const OK: Then = Passed(&["GET / HTTP/1.1"], &[]);

fn post(framing: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")
}

fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

fn line(line: &str) -> String {
    format!("{line}\r\nHost: a\r\n\r\n")
}

fn host(host: &str) -> String {
    format!("GET / HTTP/1.1\r\n{host}\r\n")
}

fn check(rows: Vec<(u16, &str, String, Then)>) {
    for (row, handle, sent, then) in rows {
        // One character is one byte.
        let bytes: Vec<u8> = sent.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        assert_splits_agree(&bytes);
        let outcome = pass(&bytes, UNTRUSTED).unwrap_or_else(|| panic!("row {row} {handle}: incomplete"));
        match (then, outcome) {
            (Refused(status), Err(reason)) => assert_eq!(reason.status(), status, "row {row} {handle}: {reason:?}"),
            (Passed(there, gone), Ok(passed)) => {
                let lines: Vec<_> = passed.head.split("\r\n").collect();
                for line in there {
                    assert!(lines.contains(line), "row {row} {handle}: no {line:?} in {lines:?}");
                }
                for start in gone {
                    let mut found = lines.iter().filter(|line| line.to_lowercase().starts_with(&start.to_lowercase()));
                    assert_eq!(found.next(), None, "row {row} {handle}");
                }
            }
            (then, outcome) => panic!("row {row} {handle}: {outcome:?} instead of {then:?}"),
        }
    }
}

#[test]
fn a_request_framing() {
    let refused = |row, handle, framing: &str, status| (row, handle, post(framing), Refused(status));
    check(vec![
        refused(1, "cl+te", "Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        refused(1, "te+cl", "Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
        refused(2, "te+cl+pipelined", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\nGET /x", 400),
        refused(3, "cl-cl-differ", "Content-Length: 5\r\nContent-Length: 6", 400),
        refused(3, "cl-list-differ", "Content-Length: 5, 6", 400),
        refused(4, "cl-cl-same", "Content-Length: 5\r\nContent-Length: 5", 400),
        refused(5, "cl-list-same", "Content-Length: 5, 5", 400),
        refused(6, "cl-plus", "Content-Length: +5", 400),
        refused(6, "cl-minus", "Content-Length: -5", 400),
        refused(6, "cl-hex", "Content-Length: 0x5", 400),
        refused(6, "cl-underscore", "Content-Length: 1_0", 400),
        refused(6, "cl-trailing-junk", "Content-Length: 5 x", 400),
        refused(6, "cl-empty", "Content-Length:", 400),
        refused(6, "cl-overflow", "Content-Length: 18446744073709551621", 400),
        refused(7, "cl-u64max", "Content-Length: 18446744073709551615", 400),
        (8, "cl-leading-zeros", post("Content-Length: 0005"), Passed(&["Content-Length: 5"], &["Transfer-Encoding"])),
        refused(9, "te-xchunked", "Transfer-Encoding: xchunked", 400),
        refused(9, "te-identity", "Transfer-Encoding: identity", 400),
        refused(9, "te-gzip-only", "Transfer-Encoding: gzip", 400),
        refused(9, "te-quoted", "Transfer-Encoding: \"chunked\"", 400),
        refused(9, "te-param", "Transfer-Encoding: chunked;a=b", 400),
        refused(9, "te-vtab", "Transfer-Encoding: \u{b}chunked", 400),
        refused(9, "te-empty", "Transfer-Encoding:", 400),
        refused(10, "te-gzip-chunked", "Transfer-Encoding: gzip, chunked", 501),
        refused(10, "te-identity-chunked-2hdr", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", 400),
        refused(10, "te-comma-chunked", "Transfer-Encoding: ,chunked", 400),
        refused(10, "te-chunked-comma", "Transfer-Encoding: chunked,", 400),
        refused(10, "te-chunked-chunked", "Transfer-Encoding: chunked, chunked", 400),
        refused(10, "te-chunked-twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
        (11, "te-http10", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Refused(400)),
        (
            12,
            "te-underscore",
            get("Transfer_Encoding: chunked\r\ncontent_length: 5"),
            Passed(&[], &["transfer", "content"]),
        ),
        (
            12,
            "xff-underscore",
            get("X_Forwarded_For: 6.6.6.6\r\nx-forwarded_port: 1\r\nX_Real-IP: 6.6.6.6"),
            Passed(&["X-Forwarded-For: 192.0.2.7"], &["x_", "x-forwarded_"]),
        ),
        (13, "get-with-body", get("Content-Length: 5"), Passed(&["Content-Length: 5"], &[])),
        (13, "chunked in any case", get("transfer-encoding: CHUNKED"), Passed(&["Transfer-Encoding: chunked"], &[])),
        refused(14, "te-space-before-colon", "Transfer-Encoding : chunked", 400),
        refused(14, "space-before-colon", "X : y", 400),
        refused(15, "obs-fold-te", "Transfer-Encoding:\r\n chunked", 400),
    ]);
}

#[test]
fn c_header_syntax_and_size() {
    let refused = |row, handle, fields: &str| (row, handle, get(fields), Refused(400));
    let many = |count: usize| (0..count).map(|n| format!("X{n}: y\r\n")).collect::<String>();
    check(vec![
        refused(29, "obs-fold", "X: a\r\n b"),
        refused(29, "obs-fold by tab", "X: a\r\n\tb"),
        (30, "first-header-space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), Refused(400)),
        refused(31, "no-colon", "NoColonHere"),
        refused(32, "empty-name", ": x"),
        refused(33, "nul-in-value", "X: a\0b"),
        (33, "host-nul", host("Host: a\0b\r\n"), Refused(400)),
        refused(34, "cr-in-value", "X: a\rb"),
        refused(34, "cr-te-smuggle", "X: a\rTransfer-Encoding: chunked"),
        refused(34, "bare-cr-end", "X: a\r\r"),
        refused(35, "ctl-in-value", "X: a\u{1}b"),
        refused(35, "del-in-value", "X: a\u{7f}b"),
        (36, "obs-text-value", get("X: \u{e4}\u{ff}"), Passed(&["X: \u{e4}\u{ff}"], &[])),
        refused(37, "brackets-in-name", "X(a): y"),
        refused(37, "high-in-name", "X\u{e4}: y"),
        refused(37, "space-in-name", "X a: y"),
        (38, "bare-lf-lines", "GET / HTTP/1.1\nHost: a\n\n".into(), Refused(400)),
        (38, "bare-lf-one", get("X: y\nZ: y"), Refused(400)),
        (38, "bare-lf-end", "GET / HTTP/1.1\r\nHost: a\r\n\n".into(), Refused(400)),
        (39, "leading-crlf", format!("\r\n\r\n{}", get("X: y")), OK),
        (39, "leading-crlf without end", "\r\n".repeat(9), Refused(400)),
        (40, "hdr-99", get(&many(98)), OK),
        (40, "hdr-150", get(&many(150)), Refused(431)),
        (40, "hdr-2000", get(&many(2000)), Refused(431)),
        (41, "hdr-16k", get(&format!("X: {}", "y".repeat(16_000))), OK),
        (41, "hdr-64k", get(&format!("X: {}", "y".repeat(64_000))), Refused(431)),
        (42, "uri-8k", line(&format!("GET /{} HTTP/1.1", "x".repeat(8000))), Passed(&["Host: a"], &[])),
        (42, "uri-9k", line(&format!("GET /{} HTTP/1.1", "x".repeat(9000))), Refused(414)),
        (42, "uri-70k", line(&format!("GET /{} HTTP/1.1", "x".repeat(70_000))), Refused(414)),
    ]);
}

#[test]
fn d_request_line() {
    let refused = |row, handle, first: &str, status| (row, handle, line(first), Refused(status));
    let there = |row, handle, first: &str, there| (row, handle, line(first), Passed(there, &[]));
    check(vec![
        (43, "http09", "GET /\r\n".into(), Refused(400)),
        refused(44, "http20", "GET / HTTP/2.0", 505),
        refused(44, "http99", "GET / HTTP/9.9", 505),
        there(45, "http12", "GET / HTTP/1.2", &["GET / HTTP/1.1"]),
        refused(45, "http1.10", "GET / HTTP/1.10", 400),
        refused(45, "http in lower case", "GET / http/1.1", 400),
        refused(46, "double-space", "GET  / HTTP/1.1", 400),
        refused(46, "double-space before the version", "GET /  HTTP/1.1", 400),
        refused(46, "trailing space", "GET / HTTP/1.1 ", 400),
        refused(46, "tab-sep", "GET\t/\tHTTP/1.1", 400),
        refused(46, "no target", "GET  HTTP/1.1", 400),
        refused(47, "space-in-uri", "GET /a b HTTP/1.1", 400),
        refused(47, "uri-ctl", "GET /a\u{1}b HTTP/1.1", 400),
        refused(47, "uri-nul", "GET /a\0b HTTP/1.1", 400),
        refused(48, "uri-high", "GET /\u{c3}\u{a4} HTTP/1.1", 400),
        refused(49, "uri-fragment", "GET /a#b HTTP/1.1", 400),
        refused(50, "uri-noslash", "GET admin HTTP/1.1", 400),
        refused(51, "get-star", "GET * HTTP/1.1", 400),
        there(52, "options-star", "OPTIONS * HTTP/1.1", &["OPTIONS * HTTP/1.1"]),
        refused(53, "connect", "CONNECT a:443 HTTP/1.1", 405),
        refused(53, "connect-path", "CONNECT /x HTTP/1.1", 405),
        refused(54, "trace", "TRACE / HTTP/1.1", 405),
        refused(55, "trace-maxfwd0", "TRACE / HTTP/1.1\r\nMax-Forwards: 0", 405),
        there(56, "options-maxfwd5", "OPTIONS / HTTP/1.1\r\nMax-Forwards: 5", &["Max-Forwards: 4"]),
        there(56, "get-maxfwd5", "GET / HTTP/1.1\r\nMax-Forwards: 5", &["Max-Forwards: 5"]),
        refused(56, "options-maxfwd-bad", "OPTIONS / HTTP/1.1\r\nMax-Forwards: -1", 400),
        refused(56, "options-maxfwd-twice", "OPTIONS / HTTP/1.1\r\nMax-Forwards: 1\r\nMax-Forwards: 1", 400),
        refused(57, "method-badtoken", "G(T / HTTP/1.1", 400),
        refused(57, "method-empty", " / HTTP/1.1", 400),
        refused(58, "method-long", &format!("{} / HTTP/1.1", "X".repeat(3000)), 501),
        there(58, "method-other", "PROPFIND / HTTP/1.1", &["PROPFIND / HTTP/1.1"]),
        there(59, "absform", "GET http://b:81/x?y HTTP/1.1", &["GET /x?y HTTP/1.1", "Host: b:81"]),
        there(59, "absform-mismatch", "GET HTTP://b HTTP/1.1", &["GET / HTTP/1.1", "Host: b", "X-Forwarded-Host: b"]),
        there(59, "absform-query", "GET http://b?y HTTP/1.1", &["GET /?y HTTP/1.1", "Host: b"]),
        there(59, "absform-options", "OPTIONS http://b HTTP/1.1", &["OPTIONS * HTTP/1.1", "Host: b"]),
        (60, "absform-nohost", "GET http://b/ HTTP/1.1\r\n\r\n".into(), Refused(400)),
        refused(61, "absform-userinfo", "GET http://u@b/ HTTP/1.1", 400),
        refused(61, "absform-userinfo-password", "GET http://u:p@b/ HTTP/1.1", 400),
        refused(62, "absform-ftp", "GET ftp://b/ HTTP/1.1", 400),
        refused(62, "absform-no-authority", "GET http:///x HTTP/1.1", 400),
        refused(62, "absform-one-slash", "GET http:/x HTTP/1.1", 400),
        there(63, "uri-dotdot", "GET /a/../b//c/%2e%2e/d HTTP/1.1", &["GET /a/../b//c/%2e%2e/d HTTP/1.1"]),
        (64, "prism", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Refused(400)),
    ]);
    let options = pass(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n", UNTRUSTED).unwrap().unwrap();
    assert_eq!(options.max_forwards, Some(0), "row 55 options-maxfwd0");
}

#[test]
fn e_host() {
    let refused = |row, handle, fields: &str| (row, handle, host(fields), Refused(400));
    check(vec![
        refused(65, "host-missing", "X: y\r\n"),
        refused(65, "no field at all", ""),
        refused(66, "host-twice-differ", "Host: a\r\nHost: b\r\n"),
        refused(67, "host-twice-same", "Host: a\r\nHost: a\r\n"),
        refused(68, "host-space", "Host: a b\r\n"),
        refused(68, "host-slash", "Host: a/b\r\n"),
        refused(69, "host-comma", "Host: a,b\r\n"),
        refused(69, "host-badport", "Host: a:99999\r\n"),
        refused(69, "host-userinfo", "Host: u@a\r\n"),
        refused(69, "host-high", "Host: \u{e4}\r\n"),
        refused(70, "host-empty", "Host:\r\n"),
        (71, "host-upper-dot", host("Host: A.:80\r\n"), Passed(&["Host: A.:80"], &[])),
        (84, "http10-nohost", "GET / HTTP/1.0\r\n\r\n".into(), Passed(&["GET / HTTP/1.1", "Host: gateway"], &[])),
    ]);
    for (sent, name) in [("A.:80", "A."), ("[::1]:80", "::1"), ("10.0.0.1", "10.0.0.1")] {
        let passed = pass(host(&format!("Host: {sent}\r\n")).as_bytes(), UNTRUSTED).unwrap().unwrap();
        assert_eq!(passed.host_name.as_deref(), Some(name));
    }
}

#[test]
fn g_expect_and_upgrade() {
    check(vec![
        (87, "expect-100", get("Expect: 100-Continue"), Passed(&["Expect: 100-Continue"], &[])),
        (88, "expect-http10", "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n".into(), Passed(&[], &["expect"])),
        (89, "expect-unknown", get("Expect: 200-ok"), Refused(417)),
        (89, "expect-more", get("Expect: 100-continue, x"), Refused(417)),
        (
            94,
            "upgrade",
            get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket"),
            Passed(&["Connection: upgrade", "Upgrade: websocket"], &["connection: keep"]),
        ),
        (93, "upgrade-no-connection", get("Upgrade: websocket"), Passed(&[], &["upgrade", "connection"])),
        (
            96,
            "h2c-upgrade",
            get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x"),
            Passed(&[], &["upgrade", "connection", "http2-settings"]),
        ),
    ]);
    let waits = |head: &str| pass(head.as_bytes(), UNTRUSTED).unwrap().unwrap().expects_continue;
    assert!(waits(&get("Expect: 100-Continue")));
    assert!(!waits(&get("Expect:")));
    assert!(!waits("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"));
}

#[test]
fn a_request_says_whether_another_may_follow_it() {
    for (row, handle, version, fields, expected) in [
        (16, "keepalive-pipeline-2", "1.1", "X: y", true),
        (16, "close", "1.1", "Connection: x, Close", false),
        (84, "http10", "1.0", "X: y", false),
        (84, "http10-keepalive", "1.0", "Connection: Keep-Alive", true),
        (84, "http10-keepalive-close", "1.0", "Connection: keep-alive, close", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n\r\nGET /2 HTTP/1.1\r\n");
        let passed = pass(head.as_bytes(), UNTRUSTED).unwrap().unwrap();
        assert_eq!(passed.persists, expected, "row {row} {handle}");
        assert_eq!(&head[passed.length..], "GET /2 HTTP/1.1\r\n");
        assert_eq!(passed.body, RequestBody::None);
    }
}
