//! Section F of the checklist: the whole outgoing head of a request.

use super::support::*;
use crate::proxy::http1::client::ClientAddr;
use crate::proxy::http1::upgrade::Protocols;
use crate::proxy::http1::via::Pseudonym;
use crate::proxy::http1::*;

/// The lines of the outgoing head, for a request with those fields.
fn lines(client: &str, fields: &str) -> Vec<String> {
    let sent = format!("GET /x HTTP/1.1\r\nhost: shop:80\r\n{fields}\r\n");
    let passed = pass(sent.as_bytes(), client).unwrap().unwrap();
    let head = passed.head.strip_suffix("\r\n\r\n").unwrap();
    head.split("\r\n").map(str::to_owned).collect()
}

const OURS: [&str; 5] = [
    "X-Forwarded-For: 192.0.2.7",
    "X-Real-IP: 192.0.2.7",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Host: shop:80",
    "Via: 1.1 evenkeel-00c0ffee",
];

#[test]
fn f_forwarding_of_requests() {
    for (row, handle, fields, kept) in [
        (73, "hop-by-hop", "Connection: close, X-Secret\r\nX-Secret: 1\r\nA: b\r\n", &["A: b"][..]),
        (
            73,
            "hop-by-hop in two lines",
            "A: 1\r\nConnection: ,\r\nx-secret: 1\r\nB: 2\r\nConnection: \tX-SECRET\r\n",
            &["A: 1", "B: 2"],
        ),
        (
            74,
            "keep-alive and others",
            "Keep-Alive: x\r\nProxy-Connection: x\r\nTE: x\r\nUpgrade: x\r\nTrailer: x\r\nProxy-Authorization: x\r\nA: \
             b\r\nProxy-Authentication-Info: x\r\nProxy-Authenticate: x\r\nHTTP2-Settings: x\r\n",
            &["A: b"],
        ),
        (75, "te", "TE: trailers, deflate\r\n", &[]),
        (76, "conn-nominates-host", "Connection: Host, X-Forwarded-For, X-Real-IP, Via, X-Forwarded-Host\r\n", &[]),
        (76, "conn-nominates-framing", "Connection: Content-Length\r\nContent-Length: 5\r\n", &["Content-Length: 5"]),
        (
            78,
            "xff-spoof",
            "X-Forwarded-For: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: \
             evil\r\nX-Forwarded-Port: 1\r\n",
            &[],
        ),
        (79, "proxy-hdr-httpoxy", "Proxy: http://evil\r\n", &[]),
        (80, "via-present", "Via: 1.1 front\r\n", &["Via: 1.1 front"]),
        (
            82,
            "order of repeated fields",
            "Cookie: a\r\nA: b\r\nCookie: c\r\nAccept:  d \r\n",
            &["Cookie: a", "A: b", "Cookie: c", "Accept:  d "],
        ),
    ] {
        let found = lines(UNTRUSTED, fields);
        let mut expected = vec!["GET /x HTTP/1.1", "Host: shop:80"];
        // Our framing comes last.
        let (framing, kept): (Vec<&str>, Vec<&str>) = kept.iter().partition(|line| line.starts_with("Content-Length"));
        expected.extend(kept.iter().chain(&OURS).chain(&framing));
        assert_eq!(found, expected, "row {row} {handle}");
    }
}

#[test]
fn a_trusted_client_is_believed_and_appended() {
    for (fields, expected) in [
        ("", vec!["X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1", OURS[2], OURS[3]]),
        (
            "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\nA: b\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-For: \u{e4}\r\n",
            vec![
                "A: b",
                "X-Forwarded-For: 6.6.6.6, 1.1.1.1, 10.9.9.9, 10.0.0.1",
                "X-Real-IP: 1.1.1.1",
                OURS[2],
                OURS[3],
            ],
        ),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: front\r\nX-Forwarded-Port: 1\r\nForwarded: x\r\nX-Real-IP: 6.6.6.6\r\n",
            vec![
                "X-Forwarded-Proto: https",
                "X-Forwarded-Host: front",
                "X-Forwarded-Port: 1",
                "Forwarded: x",
                "X-Forwarded-For: 10.0.0.1",
                "X-Real-IP: 10.0.0.1",
            ],
        ),
        (
            "Connection: X-Forwarded-For, X-Forwarded-Proto\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n",
            vec!["X-Forwarded-For: 10.0.0.1", "X-Real-IP: 10.0.0.1", OURS[2], OURS[3]],
        ),
    ] {
        let found = lines(TRUSTED, fields);
        assert_eq!(found[2..found.len() - 1], expected, "{fields:?}");
    }
    assert_eq!(lines("::ffff:192.0.2.7", "")[2..], OURS, "an IPv4 client of a socket for both");
    assert_eq!(lines("2001:db8::7", "")[2], "X-Forwarded-For: 2001:db8::7");
}

#[test]
fn the_longest_address_fits() {
    let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
    assert_eq!(ClientAddr::new(longest.parse().unwrap(), &[]).as_bytes(), longest.as_bytes());
}

#[test]
fn ipv4_addresses_are_written_as_the_standard_library_does() {
    for octet in 0..=u8::MAX {
        for octets in [[octet, 0, 10, 255], [100, octet, octet, octet], [9, 99, 199, octet]] {
            let ip = std::net::Ipv4Addr::from(octets);
            for addr in [ip.into(), ip.to_ipv6_mapped().into()] {
                assert_eq!(ClientAddr::new(addr, &[]).as_bytes(), ip.to_string().as_bytes());
            }
        }
    }
}

#[test]
fn connection_may_name_only_so_many_fields() {
    let named = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("x{n}")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, TE, {}\r\n\r\n", names.join(","))
    };
    assert!(pass(named(32).as_bytes(), UNTRUSTED).unwrap().is_ok());
    assert_eq!(pass(named(33).as_bytes(), UNTRUSTED), Some(Err(RejectReason::ConnectionOptions)));
}

#[test]
fn a_loop_is_seen() {
    for (row, via, is_loop) in [
        (81, "Via: 1.1 evenkeel-00c0ffee", true),
        (81, "Via: 1.0 a, 1.1  EVENKEEL-00C0FFEE (x), 1.1 b", true),
        (81, "Via: 1.1 a\r\nVia: HTTP/1.1 evenkeel-00c0ffee", true),
        (81, "Connection: Via\r\nVia: 1.1 evenkeel-00c0ffee", true),
        (81, "Via: 1.1 evenkeel-00c0ffef", false),
        (81, "Via: evenkeel-00c0ffee", false),
        (81, "X-Via: 1.1 evenkeel-00c0ffee", false),
    ] {
        let sent = format!("GET / HTTP/1.1\r\nHost: a\r\n{via}\r\n\r\n");
        let outcome = pass(sent.as_bytes(), UNTRUSTED).unwrap();
        assert_eq!(outcome == Err(RejectReason::Loop), is_loop, "row {row} {via}");
    }
    // What we write is what we look for.
    let out = pass(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", UNTRUSTED).unwrap().unwrap().head;
    assert!(out.contains("\r\nVia: 1.0 evenkeel-00c0ffee\r\n"));
    assert_eq!(pass(out.as_bytes(), UNTRUSTED), Some(Err(RejectReason::Loop)));
    assert_eq!(Pseudonym::new(0x1234_abcd).as_bytes(), b"evenkeel-1234abcd");
}

#[test]
fn an_upgrade_is_accepted_only_to_what_was_asked() {
    let asked = |fields: &str| -> Option<Protocols> {
        let sent = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        pass(sent.as_bytes(), UNTRUSTED).unwrap().unwrap().upgrade
    };
    assert_eq!(asked("Connection: upgrade\r\nUpgrade: h2c, H2C"), None);
    assert_eq!(asked("Connection: upgrade\r\nUpgrade: ,"), None);
    let protocols = asked("Connection: upgrade\r\nUpgrade: websocket, h2c\r\nUpgrade: x/1").unwrap();
    assert_eq!(text(protocols.as_bytes()), "websocket, x/1");
    for (row, fields, is_accepted) in [
        (97, "Connection: upgrade\r\nUpgrade: WebSocket", true),
        (97, "Connection: Upgrade\r\nUpgrade: x/1\r\nUpgrade: websocket", true),
        (93, "Connection: upgrade\r\nUpgrade: h2c", false),
        (93, "Connection: upgrade\r\nUpgrade: websocket, y", false),
        (93, "Connection: upgrade\r\nUpgrade:", false),
        (93, "Connection: upgrade", false),
        (93, "Upgrade: websocket", false),
    ] {
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n");
        let mut found = Fields::default();
        let outcome = parse_response(answer.as_bytes(), &mut ResponseScan::default(), &Limits::default(), &mut found);
        assert!(matches!(outcome, Parsed::Complete { .. }));
        assert_eq!(protocols.are_accepted_by(answer.as_bytes(), &found), is_accepted, "row {row} {fields}");
    }
}
