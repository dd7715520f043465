//! However a message arrives, it means the same: every case that is data is delivered byte by byte, by the client and by
//! the replica, and some messages are cut in two at every place.

use futures::{StreamExt, stream};

use crate::case::{Case, get, post};
use crate::client::Heard;
use crate::replica::Script;
use crate::rows::{AT_ONCE, is_pending};
use crate::run::{Observed, Piecewise, judge, run};
use crate::world::World;
use crate::{pause, tables};
use integration_tests::wire::{self, Response};

/// Longer ones are about amounts, and would take long.
const LONGEST: usize = 700;

/// What of a run does not depend on time and ports, nor on what is free to differ.
fn summary(observed: &Observed) -> impl PartialEq + std::fmt::Debug {
    let of =
        |answers: &[Response]| -> Vec<_> { answers.iter().map(|one| (one.status, wire::text(&one.body))).collect() };
    (of(&observed.interims), of(&observed.answers), observed.cut.is_some(), observed.fault.is_some())
}

/// The bytes that the replica of the case sends.
fn script(case: &Case) -> &[u8] {
    match &case.script {
        Script::Answer(bytes, _) => bytes,
        _ => &[],
    }
}

/// Runs a case in one piece and then in bytes: the outcome is the same, and right.
async fn compare(case: Case, piecewise: Piecewise) -> Result<(), String> {
    let (whole, _) = run(&case, Piecewise::default()).await?;
    let (pieces, records) = run(&case, piecewise).await?;
    judge(&case, &pieces, &records)?;
    if summary(&whole) == summary(&pieces) {
        return Ok(());
    }
    Err(format!("{:?} in one piece, {:?} byte by byte", summary(&whole), summary(&pieces)))
}

async fn compare_all(mut cases: Vec<Case>, piecewise: Piecewise) {
    cases.retain(|case| !is_pending(case.number, case.handle));
    let count = cases.len();
    assert!(count > 20, "only {count} cases are short enough");
    let mut wrong: Vec<_> = stream::iter(cases)
        .map(async |case| {
            let name = format!("{} {}", case.number, case.handle);
            compare(case, piecewise).await.err().map(|wrong| format!("{name}: {wrong}"))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn requests_may_come_byte_by_byte() {
    let mut cases = tables::cases();
    cases.retain(|case| case.bytes().len() <= LONGEST && script(case).is_empty());
    compare_all(cases, Piecewise { requests: true, answers: false }).await;
}

#[tokio::test]
async fn answers_may_come_byte_by_byte() {
    let mut cases = tables::cases();
    cases.retain(|case| (1..=LONGEST).contains(&script(case).len()));
    // What follows an answer comes after the next request then, and is taken for the answer to that by anybody.
    cases.retain(|case| ![86, 116].contains(&case.number));
    compare_all(cases, Piecewise { requests: false, answers: true }).await;
}

/// A request, and what comes of it: the statuses of the answers, and the lines and bodies at the replica.
type Sample = (String, Vec<u16>, Vec<(&'static str, &'static str)>);

fn requests() -> Vec<Sample> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut requests = vec![
        (get("Connection: x-a\r\nX-A: 1\r\n"), vec![200], vec![("GET /case", "")]),
        (post("Content-Length: 5\r\n", "hello"), vec![200], vec![("POST /case", "hello")]),
        (
            post(chunked, "3;a=\"b\"\r\nhel\r\n02\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"),
            vec![200],
            vec![("POST /case", "hello")],
        ),
        (
            format!("\r\n{}{}", post("Content-Length: 5\r\n", "hello"), get("")),
            vec![200, 200],
            vec![("POST /case", "hello"), ("GET /case", "")],
        ),
        (get("X-A: 1\r\n 2\r\n"), vec![400], vec![]),
        (get("X-A: a\rb\r\n"), vec![400], vec![]),
    ];
    if !is_pending(1, "cl+te") {
        requests.push((post(&format!("Content-Length: 5\r\n{chunked}"), "0\r\n\r\n"), vec![400], vec![]));
    }
    requests
}

/// Sends a request in two pieces, and collects the statuses of as many final answers.
async fn send_in_two(world: &World, (first, rest): (&[u8], &[u8]), count: usize) -> Result<Vec<u16>, String> {
    let mut client = world.client().await;
    client.send(first).await;
    pause().await;
    client.send(rest).await;
    let mut statuses = Vec::new();
    while statuses.len() < count {
        let answer = client.hear().await.whole().map_err(|wrong| format!("{wrong} after {statuses:?}"))?;
        statuses.extend(Some(answer.status).filter(|status| *status >= 200));
    }
    Ok(statuses)
}

#[tokio::test]
async fn requests_may_be_cut_at_every_place() {
    for (request, statuses, taken) in requests() {
        let world = World::start(&[], Script::Echo).await.expect("settings");
        let cuts = 1..request.len();
        for at in cuts.clone() {
            let heard = send_in_two(&world, request.as_bytes().split_at(at), statuses.len()).await;
            assert_eq!(heard.as_ref(), Ok(&statuses), "cut at {at}: {request:?}");
        }
        let records = world.stop().await;
        assert!(records.were_settled, "{request:?}");
        let mut got: Vec<_> = records.gateway.iter().flat_map(|one| one.taken().requests).collect();
        let mut got: Vec<_> = got.drain(..).map(|one| format!("{} {}", one.line(), wire::text(&one.body))).collect();
        let mut wanted: Vec<_> = cuts.flat_map(|_| taken.iter().map(|(line, body)| format!("{line} {body}"))).collect();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{request:?}");
    }
}

/// Answers, each with what the client gets: status, body, and whether all of it.
fn answers() -> Vec<(String, u16, &'static str, bool)> {
    let ok = |fields: &str, rest: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    vec![
        (ok("Content-Length: 5\r\n", "hello"), 200, "hello", true),
        (ok(chunked, "3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"), 200, "hello", true),
        (ok("X-A: 1\r\nContent-Length: 0\r\n", ""), 200, "", true),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), 204, "", true),
        (format!("HTTP/1.1 100 Continue\r\n\r\n{}", ok("Content-Length: 2\r\n", "ok")), 200, "ok", true),
        (ok(chunked, "5\r\nhello\r\nzz\r\n"), 200, "hello", false),
        (ok("X-A: a\rb\r\nContent-Length: 5\r\n", "hello"), 502, "", true),
    ]
}

#[tokio::test]
async fn answers_may_be_cut_at_every_place() {
    for (sent, status, body, is_whole) in answers() {
        let script = Script::InTwo(sent.clone().into_bytes());
        let world = World::start(&[("EVENKEEL_RETRIES", "0")], script).await.expect("settings");
        for at in 1..sent.len() {
            let mut client = world.client().await;
            client.send(format!("GET /{at} HTTP/1.1\r\nHost: gateway\r\n\r\n")).await;
            let heard = loop {
                match client.hear().await {
                    Heard::Answer(Response { status: 100..=199, .. }) => {}
                    heard => break heard,
                }
            };
            let got = match &heard {
                Heard::Answer(answer) => Some((answer.status, true, &answer.body)),
                Heard::Cut(Some(answer), _) => Some((answer.status, false, &answer.body)),
                _ => None,
            };
            let is_right = got.is_some_and(|(got_status, was_whole, got_body)| {
                (got_status, was_whole) == (status, is_whole) && (status == 502 || got_body == body.as_bytes())
            });
            assert!(is_right, "cut at {at}, {sent:?} becomes {heard:?}");
        }
    }
}
