//! How long a request is (rows 1 to 16).

use crate::case::{Case, Ruled, SMUGGLED, get, post, want};
use integration_tests::wire;

const BAD: &[u16] = &[400];
const BAD_OR_UNKNOWN: &[u16] = &[400, 501];
const EMPTY_CHUNKED: &str = "0\r\n\r\n";

/// `POST /case` with `hello` under these field lines.
fn hello(fields: &str) -> String {
    post(fields, "hello")
}

/// `POST /case` with an empty chunked body under this `Transfer-Encoding`.
fn coded(coding: &str) -> String {
    post(&format!("Transfer-Encoding: {coding}\r\n"), EMPTY_CHUNKED)
}

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), codings(), requests()].concat()
}

fn lengths() -> Vec<Case> {
    let smuggled = wire::text(SMUGGLED);
    let one_length = || want("POST /case").body("hello").has("content-length", &["5"]).lacks(&["transfer-encoding"]);
    let mut cases = vec![
        Case::new(1, "cl+te", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", EMPTY_CHUNKED)).refused(BAD),
        Case::new(1, "te+cl", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", EMPTY_CHUNKED)).refused(BAD),
        Case::new(
            2,
            "te+cl+pipelined",
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("{EMPTY_CHUNKED}{smuggled}")),
        )
        .refused(BAD),
        Case::new(
            2,
            "cl+te+hidden",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", EMPTY_CHUNKED.len() + smuggled.len()),
                &format!("{EMPTY_CHUNKED}{smuggled}"),
            ),
        )
        .refused(BAD),
        Case::new(3, "cl-cl-differ", hello("Content-Length: 5\r\nContent-Length: 6\r\n")).refused(BAD),
        Case::new(3, "cl-list-differ", hello("Content-Length: 5, 6\r\n")).refused(BAD),
        Case::new(4, "cl-cl-same", hello("Content-Length: 5\r\nContent-Length: 5\r\n"))
            .refused(BAD)
            .taken([one_length()])
            .alone(),
        Case::new(5, "cl-list-same", hello("Content-Length: 5, 5\r\n")).refused(BAD).taken([one_length()]).alone(),
    ];
    let bad = [
        ("cl-plus", "+5"),
        ("cl-minus", "-5"),
        ("cl-hex", "0x5"),
        ("cl-underscore", "0_5"),
        ("cl-trailing-junk", "5 x"),
        ("cl-empty", ""),
        ("cl-overflow", "99999999999999999999999"),
    ];
    cases.extend(
        bad.map(|(name, length)| Case::new(6, name, hello(&format!("Content-Length: {length}\r\n"))).refused(BAD)),
    );
    cases.extend([
        Case::new(7, "cl-u64max", hello("Content-Length: 18446744073709551615\r\n")).refused(&[400, 413]),
        Case::new(8, "cl-leading-zeros", hello("Content-Length: 0005\r\n")).taken([one_length()]),
    ]);
    cases
}

fn codings() -> Vec<Case> {
    let unknown = [
        ("te-xchunked", "xchunked"),
        ("te-identity", "identity"),
        ("te-gzip-only", "gzip"),
        ("te-quoted", "\"chunked\""),
        ("te-param", "chunked;q=1"),
        ("te-vtab", "\x0bchunked"),
        ("te-empty", ""),
    ];
    let not_last_alone = [
        ("te-gzip-chunked", "gzip, chunked"),
        ("te-identity-chunked-2hdr", "identity\r\nTransfer-Encoding: chunked"),
        ("te-comma-chunked", ",chunked"),
        ("te-chunked-chunked", "chunked, chunked"),
        ("te-chunked-twice", "chunked\r\nTransfer-Encoding: chunked"),
    ];
    let refused = |number| move |(name, coding)| Case::new(number, name, coded(coding)).refused(BAD_OR_UNKNOWN);
    let mut cases: Vec<_> = unknown.map(refused(9)).into();
    cases.extend(not_last_alone.map(refused(10)));
    let http10 = coded("chunked").replace("HTTP/1.1", "HTTP/1.0");
    cases.push(Case::new(11, "te-http10", http10).refused(BAD));
    cases.extend([
        Case::new(12, "te-underscore", get("Transfer_Encoding: chunked\r\n"))
            .taken([want("GET /case").lacks(&["transfer_encoding", "transfer-encoding"])])
            .refused(BAD),
        Case::new(12, "cl-underscore", get("Content_Length: 5\r\n"))
            .taken([want("GET /case").lacks(&["content_length", "content-length"])])
            .refused(BAD),
        Case::new(12, "xff-underscore", get("X_Forwarded_For: 6.6.6.6\r\n"))
            .taken([want("GET /case").lacks(&["x_forwarded_for"])])
            .refused(BAD),
        Case::new(14, "te-space-before-colon", post("Transfer-Encoding : chunked\r\n", EMPTY_CHUNKED)).refused(BAD),
        Case::new(14, "space-before-colon", get("X-A : 1\r\n")).refused(BAD),
        Case::new(15, "obs-fold-te", post("Transfer-Encoding:\r\n chunked\r\n", EMPTY_CHUNKED)).refused(BAD),
    ]);
    cases
}

fn requests() -> Vec<Case> {
    let second = "GET /second HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let with_body = "GET /case HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = post("Transfer-Encoding: chunked\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n");
    vec![
        Case::new(13, "get-with-body", with_body)
            .taken([want("GET /case").body("hello").has("content-length", &["5"]).lacks(&["transfer-encoding"])]),
        Case::new(13, "post-chunked", &chunked)
            .taken([want("POST /case").body("hello").has("transfer-encoding", &["chunked"])]),
        Case::new(13, "post-empty", post("Content-Length: 0\r\n", ""))
            .taken([want("POST /case").has("content-length", &["0"])]),
        Case::new(16, "keepalive-pipeline-2", get("") + second)
            .asking(2)
            .taken([want("GET /case"), want("GET /second")]),
        Case::new(16, "pipeline-with-bodies", format!("{}{chunked}{second}", hello("Content-Length: 5\r\n")))
            .asking(3)
            .taken([want("POST /case").body("hello"), want("POST /case").body("hello"), want("GET /second")]),
    ]
}
