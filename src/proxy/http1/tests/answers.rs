//! The rows of the checklist that an answer's head decides.

use super::support::*;
use crate::proxy::http1::framing::ResponseBody::{self, Chunked, Length, None as Nothing, UntilClose};
use crate::proxy::http1::{Method, Version};

/// What the client gets for a row's answer, after its status line; an error is a 502.
type Row<'a> = (u16, &'a str, &'a str, Outcome<'a>);
type Outcome<'a> = Result<(ResponseBody, bool, &'a [&'a str]), ()>;

const OURS: [&str; 2] = ["X-Served-By: gateway-3", "Date: Sun, 06 Nov 1994 08:49:37 GMT"];

fn check(method: Method, client: Version, rows: &[Row<'_>]) {
    for (row, handle, sent, expected) in rows {
        let bytes: Vec<u8> = sent.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        assert_splits_agree(&bytes);
        let outcome = answer(&bytes, method, client).unwrap_or_else(|| panic!("row {row} {handle}: incomplete"));
        match (expected, outcome) {
            (Err(()), Err(_)) => {}
            (Ok((body, persists, lines)), Ok((head, framing))) => {
                assert_eq!((framing.body, framing.persists), (*body, *persists), "row {row} {handle}");
                let mut found: Vec<_> = head.split("\r\n").collect();
                assert!(found.remove(0).starts_with("HTTP/1.1 "), "row {row} {handle}: {head}");
                assert_eq!(found.split_off(found.len() - 2), ["", ""]);
                found.retain(|line| !OURS.contains(line));
                assert_eq!(&found, lines, "row {row} {handle}");
            }
            (expected, outcome) => panic!("row {row} {handle}: {outcome:?} instead of {expected:?}"),
        }
    }
}

fn ok<'a>(body: ResponseBody, persists: bool, lines: &'a [&'a str]) -> Outcome<'a> {
    Ok((body, persists, lines))
}

#[test]
fn i_misbehaving_replica() {
    let one = &["Content-Length: 5"][..];
    let many: String = (0..300).map(|n| format!("X{n}: y\r\n")).collect();
    check(
        Method::Get,
        Version::Http11,
        &[
            (
                103,
                "resp-clte",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                ok(Chunked, false, &["Transfer-Encoding: chunked"]),
            ),
            (
                103,
                "resp-clbad-te",
                "HTTP/1.1 200 OK\r\nContent-Length: five\r\nTransfer-Encoding: chunked\r\n\r\n",
                ok(Chunked, false, &["Transfer-Encoding: chunked"]),
            ),
            (104, "resp-cl2", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", Err(())),
            (
                104,
                "resp-cl2-same",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\n",
                ok(Length(5), true, one),
            ),
            (105, "resp-cllist", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", ok(Length(5), true, one)),
            (105, "resp-cllist-differ", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", Err(())),
            (105, "resp-cllist-gap", "HTTP/1.1 200 OK\r\nContent-Length: 5,,5\r\n\r\n", Err(())),
            (106, "resp-clbad", "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n", Err(())),
            (106, "resp-clempty", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", Err(())),
            (106, "resp-clbig", "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n", Err(())),
            (107, "resp-tegzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Err(())),
            (107, "resp-techunk2", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", Err(())),
            (108, "resp-h10te", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Err(())),
            (109, "resp-obsfold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Err(())),
            (109, "resp-nocolon", "HTTP/1.1 200 OK\r\nNoColon\r\n\r\n", Err(())),
            (109, "resp-nulhdr", "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Err(())),
            (109, "resp-spacecolon", "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", Err(())),
            (109, "resp-barelf", "HTTP/1.1 200 OK\nX: a\n\n", Err(())),
            (110, "resp-garbage", "garbage\r\n\r\n", Err(())),
            (110, "resp-blank-first", "\r\nHTTP/1.1 200 OK\r\n\r\n", Err(())),
            (110, "resp-http2ver", "HTTP/2.0 200 OK\r\n\r\n", Err(())),
            (110, "resp-http2", "HTTP/2 200 OK\r\n\r\n", Err(())),
            (111, "resp-status99", "HTTP/1.1 99 OK\r\n\r\n", Err(())),
            (111, "resp-status099", "HTTP/1.1 099 OK\r\n\r\n", Err(())),
            (111, "resp-1000", "HTTP/1.1 1000 OK\r\n\r\n", Err(())),
            (111, "resp-del-reason", "HTTP/1.1 200 O\u{7f}K\r\n\r\n", Err(())),
            (111, "resp-nul-reason", "HTTP/1.1 200 O\0K\r\n\r\n", Err(())),
            (111, "resp-999", "HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n", ok(Length(5), true, one)),
            (111, "resp-no-reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", ok(Length(5), true, one)),
            (117, "resp-bighdr", &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000)), Err(())),
            (117, "resp-manyhdr", &format!("HTTP/1.1 200 OK\r\n{many}\r\n"), Err(())),
        ],
    );
}

#[test]
fn f_forwarding_of_answers() {
    let chunked = &["Transfer-Encoding: chunked"][..];
    check(
        Method::Get,
        Version::Http11,
        &[
            (
                77,
                "resp-hop",
                "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nA: b\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: \
                 x\r\nUpgrade: h2c\r\nTrailer: x\r\nA: c\r\nX-Served-By: them\r\nContent-Length: 1\r\n\r\n",
                ok(Length(1), true, &["A: b", "A: c", "Content-Length: 1"]),
            ),
            (83, "resp-h10", "HTTP/1.0 200 OK\r\n\r\n", ok(UntilClose, false, chunked)),
            (
                83,
                "resp-h10-keepalive",
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
                ok(Length(1), true, &["Content-Length: 1"]),
            ),
            (
                85,
                "304",
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
                ok(Nothing, true, &["Content-Length: 7"]),
            ),
            (86, "resp-r204body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", ok(Nothing, true, &[])),
            (
                86,
                "resp-r204chunked",
                "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
                ok(Nothing, false, &[]),
            ),
            (
                91,
                "resp-hints",
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\n\r\n",
                ok(Nothing, true, &["Link: </a>"]),
            ),
            (
                97,
                "ws-upgrade-ok",
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n",
                ok(Nothing, true, &["A: b", "Connection: upgrade", "Upgrade: websocket"]),
            ),
            (112, "resp-close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", ok(UntilClose, false, chunked)),
        ],
    );
    check(
        Method::Head,
        Version::Http11,
        &[
            (85, "head-cl", "HTTP/1.1 200 OK\r\nContent-Length: 07\r\n\r\n", ok(Nothing, true, &["Content-Length: 7"])),
            (85, "head-te", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ok(Nothing, true, &[])),
            (
                103,
                "head-clte",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                ok(Nothing, false, &[]),
            ),
            (85, "head-none", "HTTP/1.1 200 OK\r\n\r\n", ok(Nothing, true, &[])),
        ],
    );
    check(
        Method::Get,
        Version::Http10,
        &[
            (
                84,
                "http10-chunked",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                ok(Chunked, true, &["Connection: close"]),
            ),
            (
                84,
                "http10-keepalive",
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
                ok(Length(1), true, &["Content-Length: 1", "Connection: keep-alive"]),
            ),
        ],
    );
}

#[test]
fn an_answer_gets_a_date_only_if_it_has_none_that_passes() {
    for (fields, expected) in [
        ("", vec![OURS[1]]),
        ("Date: Mon\r\n", vec!["Date: Mon"]),
        ("Connection: date\r\nDate: Mon\r\n", vec![OURS[1]]),
    ] {
        let (head, _) = answer(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), Method::Get, Version::Http11)
            .unwrap()
            .unwrap();
        let dates: Vec<_> = head.split("\r\n").filter(|line| line.starts_with("Date")).collect();
        assert_eq!(dates, expected, "{fields:?}");
    }
}
