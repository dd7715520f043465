//! Chunked bodies of requests (rows 17 to 28). What is wrong is 400, and the replica gets no whole request out of it.

use crate::case::{Case, Ruled, post, want};
use crate::replica::{Rest, Script};
use crate::rows::Row;
use crate::world::World;
use integration_tests::wire;

const BAD: &[u16] = &[400];

fn body(chunks: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", chunks)
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.push(Row::new(28, "chunk-bad-later", bad_later()));
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    let bad: [(u16, &str, &str); 13] = [
        (17, "chunk-barelf-size", "5\nhello\r\n0\r\n\r\n"),
        (18, "chunk-barelf-data", "5\r\nhello\n0\r\n\r\n"),
        (18, "chunk-barelf-end", "5\r\nhello\r\n0\n\n"),
        (19, "chunk-0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        (19, "chunk-plus", "+5\r\nhello\r\n0\r\n\r\n"),
        (19, "chunk-lead-space", " 5\r\nhello\r\n0\r\n\r\n"),
        (19, "chunk-empty-size", "\r\nhello\r\n0\r\n\r\n"),
        (21, "chunk-overflow", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        (23, "chunk-ext-lf", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        (23, "chunk-ext-cr", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        (25, "chunk-missing-crlf", "5\r\nhello0\r\n\r\n"),
        (25, "chunk-data-extra", "5\r\nhelloXX\r\n0\r\n\r\n"),
        (26, "chunk-term-xx-more", "5\r\nhello\r\n0\r\nXX"),
    ];
    let mut cases: Vec<_> =
        bad.map(|(number, name, chunks)| Case::new(number, name, body(chunks)).broken_off(BAD)).into();
    let hello = || want("POST /case").body("hello").has("transfer-encoding", &["chunked"]);
    let zeros = "0".repeat(200);
    let long = "x".repeat(64 * 1024);
    cases.extend([
        Case::new(20, "chunk-trail-space", body("5 \r\nhello\r\n0\r\n\r\n")).taken([hello()]),
        Case::new(22, "chunk-many-zeros", body(&format!("{zeros}5\r\nhello\r\n0\r\n\r\n")))
            .taken([hello()])
            .broken_off(BAD)
            .alone(),
        Case::new(24, "chunk-ext-64k", body(&format!("5;{long}\r\nhello\r\n0\r\n\r\n"))).broken_off(&[400, 413, 431]),
        Case::new(26, "chunk-term-xx", body("5\r\nhello\r\n0\r\nXX"))
            .with(&[("EVENKEEL_IDLE_TIMEOUT", "300ms")])
            .alone()
            .broken_off(&[400, 408]),
        Case::new(27, "chunk-ext", body("5;a=b;c=\"d;\"\r\nhello\r\n0;e\r\n\r\n")).taken([hello()]),
    ]);
    cases
}

/// A chunk that is wrong once the replica has had a part of the body.
async fn bad_later() -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(body("5\r\nhello\r\n")).await;
    let mut side = world.gateway.next_side().await?;
    side.read_until("the first chunk", |bytes| bytes.windows(5).any(|part| part == b"hello")).await?;
    client.send("zz\r\nhello\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    let answer = client.hear().await.whole()?;
    side.read_to_end().await?;
    let taken = side.taken();
    if !matches!(taken.rest, Rest::Unfinished(Some(_))) || !taken.requests.is_empty() {
        return Err(format!("the replica got {:?}", wire::text(&side.bytes())));
    }
    if answer.status != 400 {
        return Err(format!("the client got {}", answer.status));
    }
    let (rest, _) = client.answers.end().await;
    if !rest.is_empty() {
        return Err(format!("after the answer came {:?}", wire::text(&rest)));
    }
    world.is_healthy().await
}
