//! Time (rows 119 to 124).

use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::case::{get, post};
use crate::client::{Ended, Heard};
use crate::replica::{Rest, Script};
use crate::rows::Row;
use crate::world::{Settings, World};
use integration_tests::wire::Response;

const LIMIT: Duration = Duration::from_millis(500);
const HEAD: Settings = &[("EVENKEEL_HEAD_TIMEOUT", "500ms"), ("EVENKEEL_KEEP_ALIVE_TIMEOUT", "1h")];
const FIRST_BYTE: Settings = &[("EVENKEEL_FIRST_BYTE_TIMEOUT", "500ms"), ("EVENKEEL_HEAD_TIMEOUT", "1h")];
const KEEP_ALIVE: Settings = &[("EVENKEEL_HEAD_TIMEOUT", "1h"), ("EVENKEEL_KEEP_ALIVE_TIMEOUT", "500ms")];
const IDLE: Settings = &[("EVENKEEL_IDLE_TIMEOUT", "500ms"), ("EVENKEEL_RESPONSE_TIMEOUT", "1h")];

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::new(119, "partial-head", stalls(HEAD, "GET /case HTTP/1.1\r\nHost: gate", &[408])),
        Row::new(119, "partial-line", stalls(HEAD, "GE", &[408])),
        Row::new(119, "partial-second-head", second_head()),
        Row::new(119, "dripping-head", dripping_head()),
        Row::new(120, "idle-no-bytes", stalls(FIRST_BYTE, "", &[408])),
        Row::new(120, "only-crlf", stalls(HEAD, "\r\n", &[408])),
        Row::new(121, "partial-body", stalls(IDLE, post("Content-Length: 10\r\n", "hello"), &[408, 504])),
        Row::new(121, "partial-chunk", stalls(IDLE, post("Transfer-Encoding: chunked\r\n", "a\r\nhello"), &[408, 504])),
        Row::new(
            121,
            "partial-trailer",
            stalls(IDLE, post("Transfer-Encoding: chunked\r\n", "0\r\nX-T: "), &[408, 504]),
        ),
        Row::new(121, "partial-body-answered", partial_body_answered()),
        Row::new(122, "slow-reader", slow_reader()),
        Row::new(123, "keep-alive-idle", keep_alive_idle()),
        Row::new(124, "client-halfclose", half_close()),
        Row::new(124, "client-halfclose-body", half_close_in_body()),
    ]
}

/// Sends this and no more: the connection ends once the limit has passed and not before, with one of these statuses, or
/// in silence if nothing was begun.
async fn stalls(settings: Settings, sends: impl AsRef<[u8]>, statuses: &[u16]) -> Result<(), String> {
    let world = World::start(settings, Script::Echo).await?;
    let began = Instant::now();
    let mut client = world.client().await;
    client.send(&sends).await;
    let is_begun = !sends.as_ref().trim_ascii().is_empty();
    match client.hear().await {
        Heard::Answer(answer) if statuses.contains(&answer.status) => {}
        Heard::Cut(None, Ended::Closed | Ended::Reset) if !is_begun => {}
        other => return Err(format!("{other:?} in place of {statuses:?}")),
    }
    if began.elapsed() < LIMIT {
        return Err(format!("ended after {:?}", began.elapsed()));
    }
    match client.answers.end().await {
        (rest, Ended::Closed | Ended::Reset) if rest.is_empty() => {}
        end => return Err(format!("ended as {end:?}")),
    }
    drop(client);
    world.is_healthy().await?;
    let records = world.stop().await;
    let taken: Vec<_> = records.gateway.iter().map(|one| one.taken()).collect();
    let whole: Vec<_> = taken.iter().flat_map(|one| &one.requests).map(|one| one.line()).collect();
    let is_malformed = taken.iter().any(|one| matches!(one.rest, Rest::Malformed(_)));
    if whole != ["GET /healthy"] || is_malformed || !records.were_settled {
        return Err(format!("the replica got {taken:?}"));
    }
    Ok(())
}

async fn second_head() -> Result<(), String> {
    let world = World::start(HEAD, Script::Echo).await?;
    let mut client = world.client().await;
    client.ask(get("")).await?;
    client.send("GET /case HTTP/1.1\r\nHo").await;
    match client.hear().await {
        Heard::Answer(Response { status: 408, .. }) => world.is_healthy().await,
        other => Err(format!("{other:?} in place of 408")),
    }
}

/// A byte now and then does not make a head take longer.
async fn dripping_head() -> Result<(), String> {
    let world = World::start(HEAD, Script::Echo).await?;
    let mut client = world.client().await;
    client.send("GET /case HTTP/1.1\r\nX-A: ").await;
    let end = Instant::now() + PATIENCE;
    loop {
        client.send("a").await;
        match tokio::time::timeout(LIMIT / 10, client.hear()).await {
            Err(_) if Instant::now() < end => {}
            Ok(Heard::Answer(Response { status: 408, .. })) => return world.is_healthy().await,
            other => return Err(format!("{other:?} in place of 408")),
        }
    }
}

/// A body that stands still is found although the answer to it goes on.
async fn partial_body_answered() -> Result<(), String> {
    let mut world = World::start(IDLE, Script::ByHand).await?;
    let mut client = world.client().await;
    let began = Instant::now();
    client.send(post("Content-Length: 10\r\n", "hello")).await;
    let mut side = world.gateway.next_side().await?;
    let _ = side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let dripping = async {
        while side.send(b"1\r\nx\r\n").await.is_ok() && began.elapsed() < PATIENCE {
            tokio::time::sleep(LIMIT / 10).await;
        }
    };
    let ((), heard) = tokio::join!(dripping, client.hear());
    match heard {
        Heard::Cut(Some(Response { status: 200, .. }), Ended::Closed | Ended::Reset) if began.elapsed() >= LIMIT => {}
        other => return Err(format!("{other:?} after {:?}", began.elapsed())),
    }
    world.is_healthy().await
}

/// A client that does not read is cut off, and the replica with it.
async fn slow_reader() -> Result<(), String> {
    let mut world = World::start(IDLE, Script::ByHand).await?;
    let mut client = world.narrow_client();
    client.send(get("")).await;
    let mut side = world.gateway.next_side().await?;
    let _ = side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n").await;
    if !side.send_endlessly(PATIENCE).await {
        return Err("the replica's connection was not closed".into());
    }
    match client.answers.end().await {
        (_, Ended::Open) => Err("the client's connection was not closed".into()),
        _ => world.is_healthy().await,
    }
}

async fn keep_alive_idle() -> Result<(), String> {
    let world = World::start(KEEP_ALIVE, Script::Echo).await?;
    let mut client = world.client().await;
    client.ask(get("")).await?;
    let began = Instant::now();
    let end = client.answers.end().await;
    if end != (Vec::new(), Ended::Closed) || began.elapsed() < LIMIT / 2 {
        return Err(format!("ended as {end:?} after {:?}", began.elapsed()));
    }
    world.is_healthy().await
}

/// A client that has said all it has to say still gets its answer.
async fn half_close() -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(get("")).await;
    client.sender.finish().await;
    let mut side = world.gateway.next_side().await?;
    // The answer must not depend on what comes first, the replica's answer or the client's end.
    let early = tokio::time::timeout(Duration::from_millis(100), client.answers.raw(1)).await;
    if early.is_ok() {
        return Err(format!("before the replica answered: {early:?}"));
    }
    let _ = side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = client.hear().await.whole()?;
    let end = client.answers.end().await;
    if (answer.status, &answer.body[..], &end) != (200, b"ok", &(Vec::new(), Ended::Closed)) {
        return Err(format!("{answer:?}, then {end:?}"));
    }
    side.go_on();
    world.is_healthy().await
}

/// A body that ends before its length is no whole request.
async fn half_close_in_body() -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(post("Content-Length: 10\r\n", "hello")).await;
    let mut side = world.gateway.next_side().await?;
    side.read_until("half of the body", |bytes| bytes.ends_with(b"hello")).await?;
    client.sender.finish().await;
    match client.hear().await {
        Heard::Answer(Response { status: 400 | 408, .. }) => {}
        Heard::Cut(None, Ended::Closed | Ended::Reset) => {}
        other => return Err(format!("half a body got {other:?}")),
    }
    side.read_to_end().await?;
    let taken = side.taken();
    if !taken.requests.is_empty() || !matches!(taken.rest, Rest::Unfinished(Some(_))) {
        return Err(format!("the replica got {taken:?}"));
    }
    world.is_healthy().await
}
