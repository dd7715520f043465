//! The syntax and the size of fields (rows 29 to 42).

use crate::case::{Case, Ruled, get, want};

const BAD: &[u16] = &[400];
const TOO_LARGE: &[u16] = &[400, 431];

pub(crate) fn cases() -> Vec<Case> {
    let lines: [(u16, &str, &str); 12] = [
        (29, "obs-fold", "X-A: 1\r\n 2"),
        (31, "no-colon", "NoColonHere"),
        (32, "empty-name", ": 1"),
        (33, "nul-in-value", "X-A: a\0b"),
        (34, "cr-in-value", "X-A: a\rb"),
        (34, "cr-te-smuggle", "X-A: a\rTransfer-Encoding: chunked"),
        (35, "ctl-in-value", "X-A: a\x01b"),
        (35, "del-in-value", "X-A: a\x7fb"),
        (37, "brackets-in-name", "X[A]: 1"),
        (37, "high-in-name", "X\u{e9}: 1"),
        (37, "space-in-name", "X A: 1"),
        (38, "bare-lf-one", "X-A: 1\nX-B: 2"),
    ];
    let mut cases: Vec<_> =
        lines.map(|(number, name, line)| Case::new(number, name, get(&format!("{line}\r\n"))).refused(BAD)).into();
    let value = "caf\u{e9} \u{20ac}";
    let latin1: String = value.bytes().map(char::from).collect();
    cases.extend([
        Case::new(30, "first-header-space", "GET /case HTTP/1.1\r\n X-A: 1\r\nHost: gateway\r\n\r\n").refused(BAD),
        Case::new(33, "host-nul", "GET /case HTTP/1.1\r\nHost: gate\0way\r\n\r\n").refused(BAD),
        Case::new(34, "bare-cr-end", "GET /case HTTP/1.1\r\nHost: gateway\r\r").refused(BAD),
        Case::new(36, "obs-text-value", get(&format!("X-A: {value}\r\n")))
            .taken([want("GET /case").has("x-a", &[&latin1])]),
        Case::new(38, "bare-lf-lines", "GET /case HTTP/1.1\nHost: gateway\n\n").refused(BAD),
        Case::new(38, "bare-lf-smuggle", get("X-A: 1\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n").refused(BAD),
        Case::new(39, "leading-crlf", format!("\r\n{}", get(""))).taken([want("GET /case")]),
        Case::new(39, "crlf-between", format!("{}\r\n{}", get(""), get("")))
            .asking(2)
            .taken([want("GET /case"), want("GET /case")]),
    ]);
    cases.extend(sizes());
    cases
}

fn sizes() -> Vec<Case> {
    let many = |count| get(&"X-A: 1\r\n".repeat(count));
    let long = |length| get(&format!("X-A: {}\r\n", "a".repeat(length)));
    let to = |length| get("").replace("/case", &format!("/{}", "a".repeat(length)));
    vec![
        Case::new(40, "hdr-90", many(90)).taken([want("GET /case")]),
        Case::new(40, "hdr-150", many(150)).refused(TOO_LARGE),
        Case::new(40, "hdr-2000", many(2000)).refused(TOO_LARGE),
        Case::new(41, "hdr-16k", long(16 << 10)).taken([want("GET /case")]).refused(TOO_LARGE).alone(),
        Case::new(41, "hdr-64k", long(64 << 10)).refused(TOO_LARGE),
        Case::new(41, "hdr-1m", long(1 << 20)).refused(TOO_LARGE),
        Case::new(41, "hdr-endless", long(1 << 20).trim_end()).refused(TOO_LARGE).alone(),
        Case::new(42, "uri-9k", to(9 << 10)).refused(&[414]),
        Case::new(42, "uri-70k", to(70 << 10)).refused(&[414]),
    ]
}
