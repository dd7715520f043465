//! Trailers (rows 99 to 101).

use crate::case::{Case, End, Outcome, get, post, want};
use crate::replica::{Script, Then};
use crate::rows::Row;
use crate::world::World;

const FORBIDDEN: [&str; 8] = [
    "content-length",
    "transfer-encoding",
    "host",
    "x-forwarded-for",
    "x-real-ip",
    "via",
    "connection",
    "authorization",
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.extend([
        Row::new(99, "trailers", request_trailers("Trailer: X-T\r\n", "X-T: 1\r\n".into(), &["x-t"])),
        Row::new(100, "trailer-cl-host", request_trailers("", forbidden(), &[])),
        Row::new(
            99,
            "resp-trailers",
            answer_trailers("TE: trailers\r\nConnection: TE\r\n", "X-T: 1\r\n".into(), &["x-t"]),
        ),
        Row::new(99, "resp-trailers-unasked", answer_trailers("", "X-T: 1\r\n".into(), &[])),
        Row::new(100, "resp-trailer-cl-host", answer_trailers("TE: trailers\r\nConnection: TE\r\n", forbidden(), &[])),
    ]);
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    let bad = [
        ("trailer-no-colon", "bad trailer\r\n"),
        ("trailer-space", "X-T : 1\r\n"),
        ("trailer-fold", "X-T: 1\r\n 2\r\n"),
        ("trailer-nul", "X-T: a\0b\r\n"),
        ("trailer-barelf", "X-T: 1\nX-U: 2\r\n"),
    ];
    let mut cases: Vec<_> = bad
        .map(|(name, trailers)| {
            let sends = post("Transfer-Encoding: chunked\r\n", &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
            Case::new(101, name, sends).broken_off(&[400])
        })
        .into();
    let long = format!("X-T: {}\r\n", "a".repeat(100 << 10));
    let sends = post("Transfer-Encoding: chunked\r\n", &format!("5\r\nhello\r\n0\r\n{long}\r\n"));
    cases.push(Case::new(101, "trailer-100k", sends).broken_off(&[400, 413, 431]));
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nbad trailer\r\n\r\n";
    let cut = Outcome::new(&[200], End::Cut).taken(want("GET /case")).body("hello");
    cases.push(Case::scripted(101, "resp-trailer-bad", answer, Then::Keep).may(cut).reused(false));
    cases
}

fn forbidden() -> String {
    FORBIDDEN.iter().map(|name| format!("{name}: 6\r\n")).collect()
}

/// Only the trailers of these names may come to the replica, each once or not at all.
async fn request_trailers(fields: &str, trailers: String, passed: &[&str]) -> Result<(), String> {
    let sends = post(&format!("{fields}Transfer-Encoding: chunked\r\n"), &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let world = World::start(&[], Script::Echo).await?;
    let mut client = world.client().await;
    let answer = client.ask(sends).await?;
    drop(client);
    world.is_healthy().await?;
    let records = world.stop().await;
    let requests: Vec<_> = records.gateway.iter().flat_map(|one| one.taken().requests).collect();
    let [request, _healthy] = &requests[..] else { return Err(format!("the replica got {requests:?}")) };
    let names: Vec<_> = request.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
    if answer.status == 200 && request.body == b"hello" && (names.is_empty() || names == passed) {
        return Ok(());
    }
    Err(format!("the client got {}, the replica the trailers {names:?}", answer.status))
}

/// The client gets the trailers of just these names.
async fn answer_trailers(fields: &str, trailers: String, passed: &[&str]) -> Result<(), String> {
    let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{trailers}\r\n");
    let world = World::start(&[], Script::Answer(answer.into_bytes(), Then::Keep)).await?;
    let mut client = world.client().await;
    let answer = client.ask(get(fields)).await?;
    let names: Vec<_> = answer.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
    if answer.status != 200 || answer.body != b"hello" || names != passed {
        return Err(format!("the client got {} with the trailers {names:?}", answer.status));
    }
    client.ask("GET /after HTTP/1.1\r\nHost: gateway\r\n\r\n").await?;
    world.is_healthy().await
}
