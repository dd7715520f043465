//! The request line (rows 43 to 64).

use crate::case::{Case, End, Outcome, Ruled, get, want};

const BAD: &[u16] = &[400];
/// The methods that are refused whatever they are about.
const REFUSED: &[u16] = &[405];

/// A request with this first line.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: gateway\r\n\r\n")
}

pub(crate) fn cases() -> Vec<Case> {
    let bad: [(u16, &str, &str); 13] = [
        (43, "http09-with-fields", "GET /case"),
        (46, "double-space", "GET  /case HTTP/1.1"),
        (46, "tab-sep", "GET\t/case\tHTTP/1.1"),
        (46, "trailing-space", "GET /case HTTP/1.1 "),
        (46, "version-lower-case", "GET /case http/1.1"),
        (47, "space-in-uri", "GET /ca se HTTP/1.1"),
        (47, "uri-ctl", "GET /ca\x01se HTTP/1.1"),
        (47, "uri-nul", "GET /ca\0se HTTP/1.1"),
        (48, "uri-high", "GET /caf\u{e9} HTTP/1.1"),
        (49, "uri-fragment", "GET /case#fragment HTTP/1.1"),
        (50, "uri-noslash", "GET case HTTP/1.1"),
        (51, "get-star", "GET * HTTP/1.1"),
        (57, "method-badtoken", "GE(T /case HTTP/1.1"),
    ];
    let mut cases: Vec<_> = bad.map(|(number, name, first)| Case::new(number, name, line(first)).refused(BAD)).into();
    cases.extend([
        Case::new(43, "http09", "GET /case\r\n").refused(BAD),
        Case::new(44, "http20", line("GET /case HTTP/2.0")).refused(&[505]),
        Case::new(44, "http99", line("GET /case HTTP/9.9")).refused(&[400, 505]),
        Case::new(45, "http12", line("GET /case HTTP/1.2")).taken([want("GET /case")]).refused(&[400, 505]).alone(),
        Case::new(58, "method-long", line(&format!("{} /case HTTP/1.1", "A".repeat(3000)))).refused(&[400, 501]),
        Case::new(64, "prism", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").refused(&[400, 505]),
    ]);
    cases.extend(methods());
    cases.extend(absolute());
    cases.extend(paths());
    cases
}

fn methods() -> Vec<Case> {
    let own = |statuses| Outcome::new(statuses, End::Either);
    let passed = |taken| Outcome::new(&[200], End::Stays).taken(taken);
    vec![
        Case::new(52, "options-star", line("OPTIONS * HTTP/1.1")).may(passed(want("OPTIONS *"))).may(own(&[200, 204])),
        Case::new(53, "connect", "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n").may(own(REFUSED)),
        Case::new(53, "connect-path", line("CONNECT /case HTTP/1.1")).may(own(&[400, 405])),
        Case::new(
            53,
            "connect-body",
            "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\nContent-Length: 5\r\n\r\nhello",
        )
        .may(own(&[400, 405])),
        Case::new(54, "trace", line("TRACE /case HTTP/1.1")).may(own(REFUSED)),
        Case::new(55, "trace-maxfwd0", "TRACE /case HTTP/1.1\r\nHost: gateway\r\nMax-Forwards: 0\r\n\r\n")
            .may(own(REFUSED)),
        Case::new(55, "options-maxfwd0", "OPTIONS /case HTTP/1.1\r\nHost: gateway\r\nMax-Forwards: 0\r\n\r\n")
            .may(own(&[200, 204])),
        Case::new(56, "options-maxfwd5", "OPTIONS /case HTTP/1.1\r\nHost: gateway\r\nMax-Forwards: 5\r\n\r\n")
            .may(passed(want("OPTIONS /case").has("max-forwards", &["4"]))),
        Case::new(56, "get-maxfwd5", get("Max-Forwards: 5\r\n"))
            .may(passed(want("GET /case").has("max-forwards", &["5"]))),
        Case::new(57, "method-unknown", line("BREW /case HTTP/1.1")).taken([want("BREW /case")]),
    ]
}

fn absolute() -> Vec<Case> {
    let api = || want("GET /case").at("api").has("host", &["api"]);
    let without_host = "GET http://gateway/case HTTP/1.1\r\n\r\n";
    vec![
        Case::new(59, "absform", line("GET http://gateway/case HTTP/1.1"))
            .taken([want("GET /case").has("host", &["gateway"])]),
        Case::new(59, "absform-mismatch", line("GET http://api/case HTTP/1.1")).taken([api()]),
        Case::new(59, "absform-port", line("GET http://API:80/case HTTP/1.1"))
            .taken([want("GET /case").at("api").has("host", &["API:80"])]),
        Case::new(59, "absform-query", line("GET http://gateway?a=b HTTP/1.1")).taken([want("GET /?a=b")]),
        Case::new(60, "absform-nohost", without_host).refused(BAD),
        Case::new(61, "absform-userinfo", line("GET http://user:word@gateway/case HTTP/1.1"))
            .refused(BAD)
            .taken([want("GET /case").has("host", &["gateway"])])
            .alone(),
        Case::new(62, "absform-ftp", line("GET ftp://gateway/case HTTP/1.1")).refused(BAD),
    ]
}

fn paths() -> Vec<Case> {
    let as_it_is = |name, sent, got| Case::new(63, name, line(&format!("{sent} HTTP/1.1"))).taken([want(got)]);
    vec![
        as_it_is("uri-dotdot", "GET /a/../case", "GET /a/../case"),
        as_it_is("uri-encdotdot", "GET /a/%2e%2E/case", "GET /a/%2e%2E/case"),
        as_it_is("uri-dblslash", "GET //case//", "GET //case//"),
        as_it_is("uri-odd", "GET /case?a|b=%zz\\^{}\"<>", "GET /case?a|b=%zz\\^{}\"<>"),
    ]
}
