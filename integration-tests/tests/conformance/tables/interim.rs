//! Answers before the answer, and answers before the end of the request (rows 87 to 92 and 118).

use crate::case::{Case, End, Outcome, SMUGGLED, get, post, want};
use crate::client::{Client, Ended, Heard};
use crate::replica::{Recorded, Rest, Script, Then};
use crate::rows::Row;
use crate::world::World;
use integration_tests::wire::{self, Response};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.extend([
        Row::new(87, "expect-100", expect_100(true)),
        Row::new(87, "expect-100-by-nobody", expect_100(false)),
        Row::new(90, "early-refusal-close", early_answer(EARLY_REFUSAL, false, true)),
        Row::new(90, "early-refusal-expected", early_answer(EARLY_REFUSAL, true, false)),
        Row::new(90, "early-refusal", early_answer(EARLY_REFUSAL, false, false)),
        Row::new(118, "early-answer", early_answer(EARLY_ANSWER, false, false)),
        Row::new(118, "early-answer-body", early_body()),
    ]);
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Hop: 1\r\nConnection: X-Hop\r\n\r\n";
    let goes_on = "HTTP/1.1 100 Continue\r\n\r\n";
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let http10 = "GET /case HTTP/1.0\r\nHost: gateway\r\n\r\n";
    let passed = || Outcome::new(&[200], End::Stays).taken(want("GET /case")).body("ok");
    let closes = || Outcome { end: End::Closes, ..passed() };
    let expecting = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    vec![
        Case::new(87, "expect-100-impatient", post(expecting, "hello")).taken([want("POST /case").body("hello")]),
        Case::new(88, "expect-http10", post(expecting, "hello").replace("HTTP/1.1", "HTTP/1.0"))
            .may(Outcome::new(&[200], End::Closes).interims(&[]).taken(want("POST /case").body("hello"))),
        Case::new(89, "expect-unknown", get("Expect: the-unexpected\r\n"))
            .taken([want("GET /case")])
            .may(Outcome::new(&[417], End::Either)),
        Case::new(89, "expect-unknown-head", get("Expect: the-unexpected\r\n").replacen("GET", "HEAD", 1))
            .may(Outcome::new(&[417], End::Either)),
        Case::scripted(91, "resp-hints", format!("{hints}{ok}"), Then::Keep)
            .may(passed().interims(&[103]))
            .reused(true),
        Case::scripted(91, "resp-hints-twice", format!("{hints}{hints}{ok}"), Then::Keep)
            .may(passed().interims(&[103, 103])),
        Case::scripted(91, "resp-hints-http10", format!("{hints}{ok}"), Then::Keep)
            .sending(http10)
            .may(closes().interims(&[])),
        Case::scripted(91, "resp-hints-only", hints, Then::Close)
            .with(&[("EVENKEEL_RETRIES", "0")])
            .may(Outcome::new(&[502], End::Either).taken(want("GET /case")))
            .may(Outcome::new(&[], End::Cut).taken(want("GET /case"))),
        Case::scripted(92, "resp-cont2", format!("{goes_on}{goes_on}{ok}"), Then::Keep).may(passed()).reused(true),
        Case::scripted(
            92,
            "resp-interim-length",
            format!("HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n{ok}"),
            Then::Keep,
        )
        .with(&[("EVENKEEL_RETRIES", "0")])
        .may(passed())
        .may(Outcome::new(&[502], End::Either).taken(want("GET /case"))),
    ]
}

/// The client waits for a `100`, which the replica sends or leaves out.
async fn expect_100(by_replica: bool) -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(post("Expect: 100-continue\r\nContent-Length: 5\r\n", "")).await;
    let mut was_asked = false;
    // A proxy may wait for the body before it goes to a replica, but then it has to ask for it.
    let mut side = tokio::select! {
        side = world.gateway.next_side() => side?,
        heard = client.answers.next(false) => {
            was_asked = true;
            if heard.clone().whole()?.status != 100 {
                return Err(format!("before the body came {heard:?}"));
            }
            client.send("hello").await;
            world.gateway.next_side().await?
        }
    };
    if by_replica {
        let _ = side.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
    }
    if by_replica && !was_asked {
        match client.hear().await.whole()? {
            Response { status: 100, .. } => {}
            other => return Err(format!("in place of a 100 came {other:?}")),
        }
    }
    if !was_asked {
        client.send("hello").await;
    }
    side.read_until("the body", |bytes| bytes.ends_with(b"hello") || bytes.ends_with(b"0\r\n\r\n")).await?;
    let _ = side.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut answer = client.hear().await.whole()?;
    while answer.status == 100 {
        answer = client.hear().await.whole()?;
    }
    if (answer.status, &answer.body[..]) != (200, b"ok") {
        return Err(format!("the answer is {answer:?}"));
    }
    side.go_on();
    is_usable_or_closed(&mut client).await?;
    world.is_healthy().await
}

/// The next request on the connection is answered, or the connection is at its end.
async fn is_usable_or_closed(client: &mut Client) -> Result<(), String> {
    client.send("GET /after HTTP/1.1\r\nHost: gateway\r\n\r\n").await;
    match client.hear().await {
        Heard::Answer(answer) if answer.body == b"GET /after" => Ok(()),
        Heard::Cut(None, Ended::Closed | Ended::Reset) => Ok(()),
        other => Err(format!("the next request on the connection got {other:?}")),
    }
}

const EARLY_REFUSAL: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
const EARLY_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A body that looks like requests, and is announced.
fn sly_body() -> Vec<u8> {
    SMUGGLED.repeat(1000)
}

/// The replica answers when it has half of the body, and closes or goes on reading. The client gets the answer while it
/// has not sent the rest, and then sends it; nothing of it may be read as a request.
async fn early_answer(answer: &'static str, is_expected: bool, closes: bool) -> Result<(), String> {
    let mut world = World::start(&[("EVENKEEL_RETRIES", "0")], Script::ByHand).await?;
    let mut client = world.client().await;
    let body = sly_body();
    let expect = if is_expected { "Expect: 100-continue\r\n" } else { "" };
    client.send(post(&format!("{expect}Content-Length: {}\r\n", body.len()), "")).await;
    let (first, rest) = body.split_at(body.len() / 2);
    if !is_expected {
        client.send(first).await;
    }
    let mut side = world.gateway.next_side().await?;
    if !is_expected {
        side.read_until("half of the body", |bytes| bytes.len() > first.len()).await?;
    }
    let _ = side.send(answer.as_bytes()).await;
    let mut heard = client.hear().await.whole()?;
    while heard.status == 100 {
        heard = client.hear().await.whole()?;
    }
    if heard.status.to_string() != answer[9..12] {
        return Err(format!("the client got {}", heard.status));
    }
    if closes {
        side.finish().await;
        tokio::spawn(async move { side.read_to_end().await });
    } else {
        side.go_on();
    }
    client.send(if is_expected { &body } else { rest }).await;
    is_usable_or_closed(&mut client).await?;
    drop(client);
    world.is_healthy().await?;
    let records = world.stop().await;
    for taken in records.gateway.iter().map(Recorded::taken) {
        match taken.rest {
            Rest::Malformed(wrong) => return Err(wrong),
            _ if taken.requests.iter().any(|one| one.target == "/smuggled") => {
                return Err("a part of the body became a request".to_owned());
            }
            _ => {}
        }
    }
    Ok(())
}

/// The answer's body comes whole while the request's is still under way, in both directions at once.
async fn early_body() -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n")).await;
    let mut side = world.gateway.next_side().await?;
    let _ = side.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    let mut heard = Vec::new();
    for part in ["one", "two", "three"] {
        client.send(format!("{:x}\r\n{part}\r\n", part.len())).await;
        side.read_until(part, |bytes| wire::text(bytes).contains(part)).await?;
        let _ = side.send(format!("{:x}\r\n{part}\r\n", part.len()).as_bytes()).await;
        while !wire::text(&heard).contains(part) {
            heard.extend(client.answers.raw(1).await?);
        }
    }
    client.send("0\r\n\r\n").await;
    let _ = side.send(b"0\r\n\r\n").await;
    while !heard.ends_with(b"0\r\n\r\n") {
        heard.extend(client.answers.raw(1).await?);
    }
    side.read_until("the end of the body", |bytes| bytes.ends_with(b"0\r\n\r\n")).await?;
    let body = side.taken().requests.first().map(|one| one.body.clone());
    if body.as_deref() != Some(b"helloonetwothree") {
        return Err(format!("the replica got {:?}", wire::text(&side.bytes())));
    }
    side.go_on();
    is_usable_or_closed(&mut client).await?;
    world.is_healthy().await
}
