//! The Host (rows 65 to 72).

use crate::case::{Case, End, Outcome, Ruled, want};

const BAD: &[u16] = &[400];

/// `GET /case` with these field lines, each ended by CRLF, and no other.
fn with(lines: &str) -> String {
    format!("GET /case HTTP/1.1\r\n{lines}\r\n")
}

pub(crate) fn cases() -> Vec<Case> {
    let bad: [(u16, &str, &str); 12] = [
        (65, "host-missing", ""),
        (66, "host-twice-differ", "Host: gateway\r\nHost: api\r\n"),
        (67, "host-twice-same", "Host: gateway\r\nHost: gateway\r\n"),
        (68, "host-space", "Host: gate way\r\n"),
        (68, "host-slash", "Host: gateway/case\r\n"),
        (69, "host-comma", "Host: gateway,api\r\n"),
        (69, "host-badport", "Host: gateway:x\r\n"),
        (69, "host-bigport", "Host: gateway:65536\r\n"),
        (69, "host-userinfo", "Host: user@gateway\r\n"),
        (69, "host-high", "Host: caf\u{e9}\r\n"),
        (69, "host-query", "Host: gateway?a\r\n"),
        (69, "host-bracket", "Host: [::1\r\n"),
    ];
    let mut cases: Vec<_> = bad.map(|(number, name, lines)| Case::new(number, name, with(lines)).refused(BAD)).into();
    let no_replica = Outcome::new(&[503], End::Either);
    cases.extend([
        Case::new(70, "host-empty", with("Host:\r\n")).refused(BAD).taken([want("GET /case")]).alone(),
        Case::new(71, "host-upper-dot", with("Host: API.:80\r\n"))
            .taken([want("GET /case").at("api").has("host", &["API.:80"])]),
        Case::new(71, "host-ipv6", with("Host: [::1]:80\r\n")).taken([want("GET /case").has("host", &["[::1]:80"])]),
        Case::new(72, "host-unknown", with("Host: unknown\r\n")).taken([want("GET /case").has("host", &["unknown"])]),
        Case::new(72, "no-such-service", with("Host: unknown\r\n"))
            .with(&[("EVENKEEL_SERVICE", "nobody")])
            .may(no_replica),
    ]);
    cases
}
