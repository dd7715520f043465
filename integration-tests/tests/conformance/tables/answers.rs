//! Replicas that answer wrongly (rows 103 to 118): the client gets a right answer or sees that it is cut, and the
//! replica's connection is not used again.

use crate::case::{Case, End, Outcome, Ruled, get, want};
use crate::replica::{Script, Then};
use crate::rows::Row;
use crate::world::{Settings, World};
use integration_tests::wire;

const NO_RETRIES: Settings = &[("EVENKEEL_RETRIES", "0")];
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.extend([
        Row::new(112, "resp-empty-retried", retried(get(""), 3)),
        Row::new(112, "resp-empty-post", retried(get("").replace("GET", "POST"), 1)),
        Row::new(116, "resp-extra-later", extra_later()),
    ]);
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    [refused(), passed(), cut()].concat()
}

/// 200 with these field lines and this after them.
fn ok(fields: &str, rest: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}")
}

fn good(status: &'static [u16]) -> Outcome {
    Outcome::new(status, End::Stays).taken(want("GET /case"))
}

fn bad_gateway() -> Outcome {
    Outcome::new(&[502], End::Either).taken(want("GET /case"))
}

fn refused() -> Vec<Case> {
    let hello = |fields: &str| ok(fields, "hello");
    let chunked = |fields: &str| ok(fields, "5\r\nhello\r\n0\r\n\r\n");
    let length = "Content-Length: 5\r\n";
    let many = "X-A: 1\r\n".repeat(300);
    let long = format!("X-A: {}\r\n", "a".repeat(70_000));
    let table: [(u16, &str, String); 26] = [
        (104, "resp-cl2", hello("Content-Length: 5\r\nContent-Length: 6\r\n")),
        (104, "resp-cllist-differ", hello("Content-Length: 5, 6\r\n")),
        (106, "resp-clbad", hello("Content-Length: five\r\n")),
        (106, "resp-clplus", hello("Content-Length: +5\r\n")),
        (106, "resp-clminus", hello("Content-Length: -5\r\n")),
        (106, "resp-clempty", hello("Content-Length:\r\n")),
        (106, "resp-cloverflow", hello("Content-Length: 99999999999999999999999\r\n")),
        (107, "resp-tegzip", chunked("Transfer-Encoding: gzip, chunked\r\n")),
        (107, "resp-techunk2", chunked("Transfer-Encoding: chunked, chunked\r\n")),
        (107, "resp-techunk2hdr", chunked("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        (107, "resp-teidentity", hello("Transfer-Encoding: identity\r\nContent-Length: 5\r\n")),
        (107, "resp-teempty", hello("Transfer-Encoding:\r\nContent-Length: 5\r\n")),
        (109, "resp-obsfold", hello(&format!("X-A: 1\r\n 2\r\n{length}"))),
        (109, "resp-nocolon", hello(&format!("NoColonHere\r\n{length}"))),
        (109, "resp-nulhdr", hello(&format!("X-A: a\0b\r\n{length}"))),
        (109, "resp-crhdr", hello(&format!("X-A: a\rb\r\n{length}"))),
        (109, "resp-spacecolon", hello("Content-Length : 5\r\n")),
        (109, "resp-emptyname", hello(&format!(": 1\r\n{length}"))),
        (110, "resp-garbage", "hello\r\n\r\n".into()),
        (110, "resp-http2ver", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello".into()),
        (110, "resp-leading-space", format!(" {}", hello(length))),
        (111, "resp-status99", "HTTP/1.1 99 Odd\r\nContent-Length: 5\r\n\r\nhello".into()),
        (111, "resp-status1000", "HTTP/1.1 1000 Odd\r\nContent-Length: 5\r\n\r\nhello".into()),
        (111, "resp-status-word", "HTTP/1.1 OK 200\r\nContent-Length: 5\r\n\r\nhello".into()),
        (117, "resp-bighdr", hello(&format!("{long}{length}"))),
        (117, "resp-manyhdr", hello(&format!("{many}{length}"))),
    ];
    let case = |number, name, answer: &str, then| {
        Case::scripted(number, name, answer, then).with(NO_RETRIES).may(bad_gateway()).reused(false)
    };
    let mut cases: Vec<_> =
        table.iter().map(|(number, name, answer)| case(*number, name, answer, Then::Keep)).collect();
    cases.extend([
        case(112, "resp-empty", "", Then::Close),
        case(112, "resp-rst", "", Then::Reset),
        case(112, "resp-half-head", "HTTP/1.1 200 OK\r\nContent-Le", Then::Close),
        case(112, "resp-half-line", "HTTP/1.1 2", Then::Reset),
    ]);
    cases
}

fn passed() -> Vec<Case> {
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let clte = |first, second| ok(&format!("{first}\r\n{second}\r\n"), chunked);
    let (length, coding) = ("Content-Length: 3", "Transfer-Encoding: chunked");
    let dechunked = || good(&[200]).lacks(&["content-length"]).has("transfer-encoding", &["chunked"]).body("hello");
    let h10te = format!("HTTP/1.0 200 OK\r\n{coding}\r\n\r\n{chunked}");
    vec![
        Case::scripted(103, "resp-clte", clte(length, coding), Then::Keep).may(dechunked()).reused(false),
        Case::scripted(103, "resp-tecl", clte(coding, length), Then::Keep).may(dechunked()).reused(false),
        Case::scripted(105, "resp-cllist", ok("Content-Length: 5, 5\r\n", "hello"), Then::Keep)
            .with(NO_RETRIES)
            .may(bad_gateway())
            .may(good(&[200]).has("content-length", &["5"]).body("hello")),
        Case::scripted(105, "resp-cl2same", ok("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), Then::Keep)
            .with(NO_RETRIES)
            .may(bad_gateway())
            .may(good(&[200]).has("content-length", &["5"]).body("hello")),
        Case::scripted(106, "resp-clzeros", ok("Content-Length: 0005\r\n", "hello"), Then::Keep)
            .with(NO_RETRIES)
            .may(bad_gateway())
            .may(good(&[200]).has("content-length", &["5"]).body("hello")),
        Case::scripted(109, "resp-barelf", ok("X-A: 1\nContent-Length: 5\r\n", "hello"), Then::Keep)
            .with(NO_RETRIES)
            .may(bad_gateway())
            .may(good(&[200]).has("x-a", &["1"]).body("hello")),
        Case::scripted(108, "resp-h10te", h10te, Then::Close)
            .with(NO_RETRIES)
            .may(bad_gateway())
            .may(Outcome { end: End::Either, ..good(&[200]) }.body("hello"))
            .reused(false),
        Case::scripted(111, "resp-status999", "HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\nhello", Then::Keep)
            .may(good(&[999]).body("hello"))
            .reused(true),
        Case::scripted(111, "resp-no-reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", Then::Keep)
            .with(NO_RETRIES)
            .may(good(&[200]).body("hello"))
            .may(bad_gateway()),
        Case::scripted(116, "resp-extra", ok("Content-Length: 2\r\n", &format!("ok{POISON}")), Then::Keep)
            .may(good(&[200]).body("ok"))
            .reused(false),
        Case::scripted(
            116,
            "resp-extra-chunked",
            ok(&format!("{coding}\r\n"), &format!("{chunked}{POISON}")),
            Then::Keep,
        )
        .may(good(&[200]).body("hello"))
        .reused(false),
        Case::scripted(116, "resp-extra-304", format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}"), Then::Keep)
            .may(good(&[304]).body(""))
            .reused(false),
        Case::scripted(116, "resp-extra-head", ok("Content-Length: 5\r\n", "hello"), Then::Keep)
            .sending("HEAD /case HTTP/1.1\r\nHost: gateway\r\n\r\n")
            .may(Outcome::new(&[200], End::Stays).taken(want("HEAD /case")).body(""))
            .reused(false),
    ]
}

fn cut() -> Vec<Case> {
    let short = ok("Content-Length: 10\r\n", "hello");
    let chunked = |rest: &str| ok("Transfer-Encoding: chunked\r\n", rest);
    let http10 = "GET /case HTTP/1.0\r\nHost: gateway\r\n\r\n";
    let cut = |end| Outcome::new(&[200], end).taken(want("GET /case"));
    let hello = || cut(End::Cut).body("hello");
    let case = |number, name, answer: String, then| Case::scripted(number, name, answer, then).reused(false);
    vec![
        case(113, "resp-truncl", short.clone(), Then::Close).may(hello()),
        case(113, "resp-truncl-rst", short.clone(), Then::Reset).may(cut(End::Cut)).may(bad_gateway()),
        case(114, "resp-truncchunk", chunked("5\r\nhello\r\n"), Then::Close).may(hello()),
        case(114, "resp-truncchunk-middle", chunked("a\r\nhello"), Then::Close).may(hello()),
        case(114, "resp-badchunk", chunked("5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n"), Then::Keep).may(hello()),
        case(114, "resp-badchunk-data", chunked("5\r\nhelloXX0\r\n\r\n"), Then::Keep).may(cut(End::Cut)),
        case(114, "resp-badchunk-barelf", chunked("5\r\nhello\r\n0\n\n"), Then::Keep).may(hello()),
        case(115, "resp-truncl-http10", short, Then::Close).sending(http10).may(cut(End::Cut)),
        case(115, "resp-truncchunk-http10", chunked("5\r\nhello\r\n"), Then::Close)
            .sending(http10)
            .may(cut(End::Reset))
            .may(Outcome::new(&[502], End::Closes).taken(want("GET /case"))),
        case(115, "resp-badchunk-http10", chunked("5\r\nhello\r\nzz\r\n"), Then::Keep)
            .sending(http10)
            .may(cut(End::Reset))
            .may(Outcome::new(&[502], End::Closes).taken(want("GET /case"))),
        case(113, "resp-until-close-rst", ok("", "hello"), Then::Reset).may(cut(End::Cut)).may(bad_gateway()),
    ]
}

/// The replica closes without an answer: the client gets 502, after no more than so many attempts.
async fn retried(request: String, at_most: usize) -> Result<(), String> {
    let world = World::start(&[], Script::Answer(Vec::new(), Then::Close)).await?;
    let answer = world.client().await.ask(&request).await?;
    world.is_healthy().await?;
    let records = world.stop().await;
    let attempts = records.gateway.iter().flat_map(|one| one.taken().requests).filter(|one| one.target == "/case");
    let attempts = attempts.count();
    if answer.status == 502 && (1..=at_most).contains(&attempts) {
        return Ok(());
    }
    Err(format!("the client got {} after {attempts} attempts", answer.status))
}

/// Bytes that come when nobody asked are not the answer to who asks next.
async fn extra_later() -> Result<(), String> {
    let mut world = World::start(&[], Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(get("")).await;
    let mut side = world.gateway.next_side().await?;
    let _ = side.send(ok("Content-Length: 2\r\n", "ok").as_bytes()).await;
    client.hear().await.whole()?;
    let _ = side.send(POISON.as_bytes()).await;
    // An answer without a request: evenkeel has to give the connection up, now or when it is about to use it.
    for _ in 0..3 {
        world.is_healthy().await?;
    }
    side.read_to_end().await?;
    let taken = side.taken();
    if taken.requests.len() > 1 {
        return Err(format!("used again: {:?}", wire::text(&side.bytes())));
    }
    Ok(())
}
