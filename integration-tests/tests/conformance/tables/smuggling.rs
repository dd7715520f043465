//! Requests that somebody could take for two, or two for one: the well-known families, in the rows that they belong to.
//! Behind each comes another request, which is read as one only if the first is beyond doubt.

use futures::{StreamExt, stream};
use integration_tests::wire;

use crate::case::{Case, End, Outcome, Ruled, SMUGGLED, get, post, want};
use crate::rows::Row;
use crate::run::verdict;

const BAD: &[u16] = &[400];
const BAD_OR_UNKNOWN: &[u16] = &[400, 501];
const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";
const SECOND: &str = "GET /second HTTP/1.1\r\nHost: gateway\r\n\r\n";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.push(Row::new(2, "cl+te-odd", beside_lengths(true)));
    rows.push(Row::new(2, "te-odd+cl", beside_lengths(false)));
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    [codings(), lengths(), chunks(), bodies(), ends(), first_lines(), other_hops()].concat()
}

/// Spellings of `Transfer-Encoding: chunked` that some take for it and others do not, each a row, a name and the lines.
const CODINGS: [(u16, &str, &str); 26] = [
    (9, "te-vtab-after", "Transfer-Encoding: chunked\x0b"),
    (9, "te-form-feed", "Transfer-Encoding: \x0cchunked"),
    (9, "te-semicolon", "Transfer-Encoding: chunked;"),
    (9, "te-single-quoted", "Transfer-Encoding: 'chunked'"),
    (9, "te-two-words", "Transfer-Encoding: chunked identity"),
    (9, "te-chunk", "Transfer-Encoding: chunk"),
    (9, "te-nbsp", "Transfer-Encoding: \u{a0}chunked"),
    (9, "te-high-end", "Transfer-Encoding: chunked\u{ff}"),
    (10, "te-chunked-comma", "Transfer-Encoding: chunked,"),
    (10, "te-chunked-cow", "Transfer-Encoding: chunked, cow"),
    (10, "te-cow-chunked", "Transfer-Encoding: cow, chunked"),
    (10, "te-chunked-then-cow", "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow"),
    (10, "te-cow-then-chunked", "Transfer-Encoding: cow\r\nTransfer-encoding: chunked"),
    (10, "te-empty-then-chunked", "Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
    (14, "te-tab-before-colon", "Transfer-Encoding\t: chunked"),
    (15, "te-fold-after", "Transfer-Encoding: chunked\r\n , identity"),
    (15, "te-fold-before", "X: x\r\n Transfer-Encoding: chunked"),
    (31, "te-no-colon", "Transfer-Encoding chunked"),
    (33, "te-nul-after", "Transfer-Encoding: chunked\0"),
    (34, "te-cr-after", "Transfer-Encoding: chunked\r"),
    (34, "te-cr-before", "X: x\rTransfer-Encoding: chunked"),
    (37, "te-nul-in-name", "Transfer-Encoding\0: chunked"),
    (37, "te-vtab-in-name", "\x0bTransfer-Encoding: chunked"),
    (37, "te-nbsp-in-name", "Transfer-Encoding\u{a0}: chunked"),
    (38, "te-lf-before", "X: x\nTransfer-Encoding: chunked"),
    (38, "te-lf-after", "Transfer-Encoding: chunked\nX: x"),
];

/// Bytes that are one character each.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("one byte")).collect()
}

fn codings() -> Vec<Case> {
    let refused = CODINGS.map(|(number, name, line)| {
        Case::new(number, name, bytes(&post(&format!("{line}\r\n"), CHUNKS))).refused(BAD_OR_UNKNOWN)
    });
    let plain = [
        ("te-upper-case", "TRANSFER-ENCODING: CHUNKED"),
        ("te-no-space", "Transfer-Encoding:chunked"),
        ("te-tabs-around", "Transfer-Encoding:\t chunked\t "),
    ];
    let taken = plain.map(|(name, line)| {
        let hello = want("POST /case").body("hello").has("transfer-encoding", &["chunked"]).lacks(&["content-length"]);
        let sends = post(&format!("{line}\r\n"), CHUNKS) + SECOND;
        Case::new(13, name, sends).asking(2).taken([hello, want("GET /second")])
    });
    [&refused[..], &taken[..]].concat()
}

/// The same beside a length: whichever of the two a reader goes by, it must not get anything to read.
async fn beside_lengths(is_length_first: bool) -> Result<(), String> {
    let lines = CODINGS.iter().map(|(_, _, line)| *line);
    let plain = ["Transfer-Encoding: chunked", "TRANSFER-ENCODING: CHUNKED", "Transfer-Encoding:chunked"];
    let cases = lines.chain(plain).map(|line| {
        let length = format!("Content-Length: {}", CHUNKS.len());
        let (first, second) = if is_length_first { (&*length, line) } else { (line, &*length) };
        let sends = bytes(&post(&format!("{first}\r\n{second}\r\n"), CHUNKS));
        (line, Case::new(2, "te-odd", sends).refused(BAD_OR_UNKNOWN))
    });
    let verdicts = stream::iter(cases).map(async |(line, case)| (line, verdict(case).await)).buffer_unordered(4);
    let wrong = verdicts.filter_map(async |(line, verdict)| Some(format!("{line:?}: {}", verdict.err()?)));
    let wrong: Vec<_> = wrong.collect().await;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Lengths that some read and others do not.
fn lengths() -> Vec<Case> {
    let lines = [
        (3, "cl-cl-zero", "Content-Length: 5\r\nContent-Length: 0"),
        (3, "cl-zero-cl", "Content-Length: 0\r\nContent-length: 5"),
        (3, "cl-three", "Content-Length: 5\r\nX: x\r\nContent-Length: 5\r\nContent-Length: 6"),
        (6, "cl-comma-after", "Content-Length: 5,"),
        (6, "cl-comma-before", "Content-Length: ,5"),
        (6, "cl-quoted", "Content-Length: \"5\""),
        (6, "cl-decimal", "Content-Length: 5.0"),
        (6, "cl-exponent", "Content-Length: 5e0"),
        (6, "cl-octal", "Content-Length: 0o5"),
        (6, "cl-two", "Content-Length: 0 5"),
        (6, "cl-semicolon", "Content-Length: 5;a"),
        (6, "cl-high-digit", "Content-Length: \u{b2}"),
        (6, "cl-nbsp", "Content-Length: 5\u{a0}"),
        (6, "cl-wraps", "Content-Length: 18446744073709551621"),
        (14, "cl-space-before-colon", "Content-Length : 5"),
        (15, "cl-fold", "Content-Length:\r\n 5"),
        (15, "cl-fold-after", "Content-Length: 0\r\n 5"),
        (33, "cl-nul", "Content-Length: 5\0"),
        (34, "cl-cr", "Content-Length: 5\r"),
        (34, "cl-cr-before", "X: x\rContent-Length: 5"),
        (35, "cl-vtab", "Content-Length: \x0b5"),
        (37, "cl-nul-in-name", "Content-Length\0: 5"),
        (37, "cl-vtab-in-name", "Content-Length\x0b: 5"),
        (38, "cl-lf-before", "X: x\nContent-Length: 5"),
    ];
    let case =
        |(number, name, line)| Case::new(number, name, bytes(&post(&format!("{line}\r\n"), "hello"))).refused(BAD);
    lines.map(case).into()
}

/// Chunks that some read in another way than others.
fn chunks() -> Vec<Case> {
    let smuggled = wire::text(SMUGGLED);
    let hidden = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let chunks = [
        (17, "chunk-barelf-ext", "5;a\nhello\r\n0\r\n\r\n".to_owned()),
        (17, "chunk-barelf-term", format!("5;\n{hidden}")),
        (18, "chunk-barelf-last", format!("5\r\nhello\r\n0\n\r\n{hidden}")),
        (18, "chunk-barecr-data", "5\r\nhello\r0\r\n\r\n".to_owned()),
        (19, "chunk-minus", "-5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-underscore", "0_5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-suffix", "5h\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-two-sizes", "5 0\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-lead-tab", "\t5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-nul", "5\0\r\nhello\r\n0\r\n\r\n".to_owned()),
        (19, "chunk-barecr-size", "5\r\r\nhello\r\n0\r\n\r\n".to_owned()),
        (21, "chunk-wraps-64", format!("10000000000000005\r\nhello\r\n0\r\n\r\n{hidden}")),
        (21, "chunk-wraps-63", format!("8000000000000005\r\nhello\r\n0\r\n\r\n{hidden}")),
        (21, "chunk-wraps-32", format!("00000000100000000000005\r\nhello\r\n0\r\n\r\n{hidden}")),
        (23, "chunk-ext-nul", "5;a\0\r\nhello\r\n0\r\n\r\n".to_owned()),
        (25, "chunk-spill", format!("5\r\nhelloXX{hidden}")),
        (25, "chunk-spill-last", format!("5\r\nhello\r\n0\r\nXX{hidden}")),
        (25, "chunk-early-end", "6\r\nhello\r\n0\r\n\r\n".to_owned()),
        (101, "trailer-request-line", format!("0\r\n{smuggled}")),
        (101, "trailer-cr", "0\r\nX: x\ry\r\n\r\n".to_owned()),
    ];
    let chunked = |chunks: &str| post("Transfer-Encoding: chunked\r\n", chunks);
    let mut cases: Vec<_> =
        chunks.map(|(number, name, chunks)| Case::new(number, name, chunked(&chunks)).broken_off(BAD)).into();
    // A chunk that says that it goes on takes what follows for its data, for as long as it comes.
    let endless = Case::new(25, "chunk-oversized", chunked("ffff\r\nhello\r\n0\r\n\r\n"));
    cases.push(endless.with(&[("EVENKEEL_IDLE_TIMEOUT", "300ms")]).broken_off(&[400, 408]));
    cases
}

/// Bodies that look like requests: they are bodies, of whatever method, and what follows them is a request.
fn bodies() -> Vec<Case> {
    let smuggled = wire::text(SMUGGLED);
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    let hidden = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    let chunked = "Transfer-Encoding: chunked\r\n";
    let with = |method: &str, fields: &str, rest: &str| post(fields, rest).replacen("POST", method, 1) + SECOND;
    let expecting = format!("Expect: 100-continue\r\n{length}");
    let nominated = format!("Connection: Transfer-Encoding\r\n{chunked}");
    let bodies = [
        ("cl.0-post", with("POST", &length, &smuggled), "POST /case"),
        ("cl.0-get", with("GET", &length, &smuggled), "GET /case"),
        ("cl.0-delete", with("DELETE", &length, &smuggled), "DELETE /case"),
        ("cl.0-options", with("OPTIONS", &length, &smuggled), "OPTIONS /case"),
        ("te.0-get", with("GET", chunked, &hidden), "GET /case"),
        ("te.0-options", with("OPTIONS", chunked, &hidden), "OPTIONS /case"),
        ("te-nominated", with("POST", &nominated, &hidden), "POST /case"),
        ("0.cl-expect", with("GET", &expecting, &smuggled), "GET /case"),
    ];
    let mut cases: Vec<_> = bodies
        .map(|(name, sends, line)| {
            Case::new(13, name, sends).asking(2).taken([want(line).body(&smuggled), want("GET /second")])
        })
        .into();
    let h2c = format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n{length}");
    cases.extend([
        Case::new(13, "0.cl-zero", post("Content-Length: 0\r\n", SECOND))
            .asking(2)
            .taken([want("POST /case").has("content-length", &["0"]), want("GET /second")]),
        Case::new(89, "0.cl-expect-odd", post(&format!("Expect: y 100-continue\r\n{length}"), &smuggled))
            .may(Outcome::new(&[417], End::Closes)),
        Case::new(96, "h2c-with-body", post(&h2c, &smuggled) + SECOND)
            .asking(2)
            .taken([want("POST /case").body(&smuggled).lacks(&["upgrade", "http2-settings"]), want("GET /second")]),
    ]);
    cases
}

/// Requests behind which no other may come.
fn ends() -> Vec<Case> {
    let smuggled = wire::text(SMUGGLED);
    let closes = |line| Outcome::new(&[200], End::Closes).taken(want(line));
    let old = get("").replace("HTTP/1.1", "HTTP/1.0");
    let old_with = post("Content-Length: 5\r\n", "hello").replace("HTTP/1.1", "HTTP/1.0");
    let hello = || Outcome::new(&[200], End::Closes).taken(want("POST /case").body("hello"));
    vec![
        Case::new(16, "close-then-more", get("Connection: close\r\n") + &smuggled).may(closes("GET /case")),
        Case::new(16, "close-among-others", get("Connection: keep-alive, Close\r\n") + &smuggled)
            .may(closes("GET /case")),
        Case::new(84, "http10-then-more", old + &smuggled).may(closes("GET /case")),
        Case::new(84, "http10-body-then-more", old_with + &smuggled).may(hello()),
        Case::new(38, "head-ends-in-lf", "GET /case HTTP/1.1\r\nHost: gateway\r\n\n").refused(BAD),
        Case::new(38, "head-ends-in-lf-lf", "GET /case HTTP/1.1\r\nHost: gateway\n\n").refused(BAD),
        Case::new(34, "head-ends-in-cr", "GET /case HTTP/1.1\r\nHost: gateway\r\r\n\r\n").refused(BAD),
        Case::new(34, "line-ends-in-cr", "GET /case HTTP/1.1\rHost: gateway\r\n\r\n").refused(BAD),
    ]
}

fn first_lines() -> Vec<Case> {
    let lines = [
        (46, "leading-space", " GET /case HTTP/1.1"),
        (46, "vtab-sep", "GET\x0b/case\x0bHTTP/1.1"),
        (46, "nul-after-version", "GET /case HTTP/1.1\0"),
        (46, "no-method", " /case HTTP/1.1"),
        (47, "two-versions", "GET /case HTTP/1.1 HTTP/1.1"),
        (47, "tab-in-uri", "GET /ca\tse HTTP/1.1"),
        (57, "nul-in-method", "GE\0T /case HTTP/1.1"),
        (57, "high-in-method", "GET\u{a0} /case HTTP/1.1"),
    ];
    let sends = |line: &str| bytes(&format!("{line}\r\nHost: gateway\r\n\r\n"));
    lines.map(|(number, name, line)| Case::new(number, name, sends(line)).refused(BAD)).into()
}

/// Targets and Hosts that name two places.
fn other_hops() -> Vec<Case> {
    let smuggled = wire::text(SMUGGLED);
    let absolute =
        |target: &str, fields: &str, rest: &str| post(fields, rest).replace("/case HTTP", &format!("{target} HTTP"));
    let length = format!("Content-Length: {}\r\n", smuggled.len());
    let api = want("POST /case").at("api").body(&smuggled).has("host", &["api"]).has("x-forwarded-host", &["api"]);
    vec![
        Case::new(59, "absform-mismatch-body", absolute("http://api/case", &length, &smuggled) + SECOND)
            .asking(2)
            .taken([api, want("GET /second")]),
        Case::new(59, "absform-scheme-case", absolute("HTTP://gateway/case", "", "")).taken([want("POST /case")]),
        Case::new(61, "absform-at", absolute("http://gateway@api/case", "", "")).refused(BAD),
        Case::new(62, "absform-no-slashes", absolute("http:/case", "", "")).refused(BAD),
        Case::new(66, "absform-two-hosts", absolute("http://gateway/case", "Host: api\r\n", "")).refused(BAD),
        Case::new(66, "host-twice-case", post("hOST: api\r\n", "")).refused(BAD),
        Case::new(14, "host-space-before-colon", post("Host : api\r\n", "")).refused(BAD),
        Case::new(15, "host-fold", "GET /case HTTP/1.1\r\nHost: gateway\r\n .api\r\n\r\n").refused(BAD),
        Case::new(30, "host-first-space", "GET /case HTTP/1.1\r\n Host: api\r\nHost: gateway\r\n\r\n").refused(BAD),
        Case::new(69, "host-two-ports", "GET /case HTTP/1.1\r\nHost: gateway:80:80\r\n\r\n").refused(BAD),
    ]
}
