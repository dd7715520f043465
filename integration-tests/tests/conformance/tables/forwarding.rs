//! What is passed on, in either direction (rows 73 to 86).

use crate::case::{Case, End, Outcome, Ruled, get, post, want};
use crate::replica::{Script, Then};
use crate::rows::Row;
use crate::run::is_proper;
use crate::world::World;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.push(Row::new(81, "loop", own_via_comes_back()));
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    [requests(), about_the_client(), old_clients(), answers(), bodiless()].concat()
}

fn requests() -> Vec<Case> {
    let hop_by_hop = "Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nTE: gzip\r\nTrailer: X-T\r\n\
        Upgrade: websocket\r\nX-Kept: 1\r\n";
    let gone = ["x-secret", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade"];
    let own = "Connection: Host, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Real-IP, Via, Content-Length\r\n\
        Content-Length: 5\r\n";
    let repeated = "X-A: 1\r\nCookie: a=b\r\nX-A: 2\r\nCookie: c=d\r\nx-a: 3\r\n";
    vec![
        Case::new(73, "connection-names", get("Connection: X-Secret,,\tx-other \r\nX-Secret: 1\r\nX-Other: 2\r\n"))
            .taken([want("GET /case").lacks(&["x-secret", "x-other"])]),
        Case::new(74, "hop-by-hop", get(hop_by_hop)).taken([want("GET /case").lacks(&gone).has("x-kept", &["1"])]),
        Case::new(75, "te-trailers-deflate", get("TE: trailers, deflate\r\nConnection: TE\r\n"))
            .taken([want("GET /case").lacks(&["trailer"])]),
        Case::new(76, "conn-nominates-host", post(own, "hello")).taken([want("POST /case")
            .body("hello")
            .has("content-length", &["5"])
            .has("host", &["gateway"])
            .has("x-forwarded-host", &["gateway"])
            .has("x-forwarded-proto", &["http"])]),
        Case::new(79, "proxy-hdr-httpoxy", get("Proxy: http://evil\r\n")).taken([want("GET /case").lacks(&["proxy"])]),
        Case::new(80, "via-added", get("")).taken([want("GET /case").ends("via", &[], is_own_via)]),
        Case::new(80, "via-present", get("Via: 1.0 fred, 1.1 p.example\r\n")).taken([want("GET /case").ends(
            "via",
            &["1.0 fred", "1.1 p.example"],
            is_own_via,
        )]),
        Case::new(82, "repeated-fields", get(repeated))
            .taken([want("GET /case").has("x-a", &["1", "2", "3"]).has("cookie", &["a=b", "c=d"])]),
    ]
}

/// `1.1 evenkeel-` and eight hexadecimal digits.
fn is_own_via(via: &str) -> bool {
    via.strip_prefix("1.1 evenkeel-").is_some_and(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn about_the_client() -> Vec<Case> {
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\nX-Real-IP: 6.6.6.6\r\n\
        X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n";
    vec![
        Case::new(78, "xff-spoof", get(spoofed)).taken([want("GET /case")
            .has("x-forwarded-for", &["127.0.0.1"])
            .has("x-real-ip", &["127.0.0.1"])
            .has("x-forwarded-proto", &["http"])
            .has("x-forwarded-host", &["gateway"])
            .lacks(&["forwarded"])]),
    ]
}

fn old_clients() -> Vec<Case> {
    let http10 = |fields: &str| format!("GET /case HTTP/1.0\r\n{fields}\r\n");
    let closes = || Outcome::new(&[200], End::Closes).lacks(&["transfer-encoding"]);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    vec![
        Case::new(84, "http10-nohost", http10("")).may(closes().taken(want("GET /case")).body("GET /case")),
        Case::new(84, "http10-keepalive", http10("Host: gateway\r\nConnection: keep-alive\r\n"))
            .may(Outcome::new(&[200], End::Stays).taken(want("GET /case")).has("connection", &["keep-alive"]))
            .may(closes().taken(want("GET /case"))),
        Case::scripted(84, "http10-chunked-answer", chunked, Then::Keep)
            .sending(http10("Host: gateway\r\n"))
            .may(closes().taken(want("GET /case")).body("hello")),
        Case::scripted(84, "http10-keepalive-chunked-answer", chunked, Then::Keep)
            .sending(http10("Host: gateway\r\nConnection: keep-alive\r\n"))
            .may(closes().taken(want("GET /case")).body("hello")),
        Case::new(84, "http11-close", get("Connection: close\r\n"))
            .may(Outcome::new(&[200], End::Closes).taken(want("GET /case")).has("connection", &["close"])),
    ]
}

fn answers() -> Vec<Case> {
    let hop_by_hop = "HTTP/1.1 200 OK\r\nConnection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Authenticate: Basic\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTrailer: X-T\r\n\
        Set-Cookie: a=b\r\nX-A: caf\u{e9}\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok";
    let gone = ["x-secret", "keep-alive", "proxy-authenticate", "proxy-connection", "upgrade", "trailer"];
    let passed = || Outcome::new(&[200], End::Stays).taken(want("GET /case"));
    vec![
        Case::scripted(77, "resp-hop", hop_by_hop, Then::Keep)
            .may(passed().lacks(&gone).has("content-length", &["2"]).body("ok"))
            .reused(true),
        Case::scripted(
            77,
            "resp-length-named",
            "HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok",
            Then::Keep,
        )
        .may(passed().has("content-length", &["2"]).body("ok")),
        Case::scripted(82, "resp-repeated-fields", hop_by_hop, Then::Keep)
            .may(passed().has("set-cookie", &["a=b", "c=d"]).has("x-a", &["caf\u{c3}\u{a9}"])),
        Case::scripted(83, "resp-h10", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Then::Keep)
            .may(passed().body("ok"))
            .reused(false),
        Case::scripted(83, "resp-h10-until-close", "HTTP/1.0 200 OK\r\n\r\nhello", Then::Close)
            .may(passed().body("hello"))
            .may(Outcome::new(&[200], End::Closes).taken(want("GET /case")).body("hello")),
        Case::scripted(
            83,
            "resp-close",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            Then::Keep,
        )
        .may(passed().body("ok"))
        .reused(false),
    ]
}

/// Answers that have no body whatever they say.
fn bodiless() -> Vec<Case> {
    let length = "Content-Length: 5\r\n\r\n";
    let to_head = "HEAD /case HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let passed = |statuses| Outcome::new(statuses, End::Stays).body("");
    vec![
        Case::scripted(85, "resp-304-length", format!("HTTP/1.1 304 Not Modified\r\n{length}"), Then::Keep)
            .may(passed(&[304]).taken(want("GET /case")).has("content-length", &["5"]))
            .reused(true),
        Case::scripted(85, "resp-head-length", format!("HTTP/1.1 200 OK\r\n{length}"), Then::Keep)
            .sending(to_head)
            .may(passed(&[200]).taken(want("HEAD /case")).has("content-length", &["5"]))
            .reused(true),
        Case::scripted(85, "resp-head-chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Then::Keep)
            .sending(to_head)
            .may(passed(&[200]).taken(want("HEAD /case")).lacks(&["content-length"]))
            .reused(true),
        Case::scripted(86, "resp-r204body", format!("HTTP/1.1 204 No Content\r\n{length}hello"), Then::Keep)
            .may(passed(&[204]).taken(want("GET /case")).lacks(&["content-length", "transfer-encoding"]))
            .may(Outcome::new(&[502], End::Either).taken(want("GET /case")))
            .reused(false),
        Case::scripted(
            86,
            "resp-204-chunked",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Then::Keep,
        )
        .may(passed(&[204]).taken(want("GET /case")).lacks(&["content-length", "transfer-encoding"]))
        .may(Outcome::new(&[502], End::Either).taken(want("GET /case")))
        .reused(false),
    ]
}

/// What evenkeel says of itself in `Via` comes in again.
async fn own_via_comes_back() -> Result<(), String> {
    let world = World::start(&[], Script::Echo).await?;
    let mut client = world.client().await;
    client.ask(get("")).await?;
    let request = world.gateway.recorded().first().map(|one| one.taken().requests);
    let request = request.and_then(|requests| requests.into_iter().next()).ok_or("no request came")?;
    is_proper(&request)?;
    let via = request.fields.one("via").ok_or("no Via")?;
    let answer = world.client().await.ask(get(&format!("Via: 1.0 fred\r\nVia: {via}, 1.1 other\r\n"))).await?;
    let requests: usize = world.gateway.recorded().iter().map(|one| one.taken().requests.len()).sum();
    if ![400, 502, 503, 508].contains(&answer.status) || requests != 1 {
        return Err(format!("the client got {}, the replica {requests} requests", answer.status));
    }
    world.is_healthy().await
}
