//! Switching protocols (rows 93 to 98).

use std::time::Duration;

use tokio::time::timeout;

use crate::PATIENCE;
use crate::case::{Case, End, Outcome, Ruled, get, post, want};
use crate::client::{Client, Ended};
use crate::replica::{Script, Side, Then};
use crate::rows::Row;
use crate::world::{Settings, World};
use integration_tests::wire::{self, Parsed};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ASK: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

pub(crate) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = cases().into_iter().map(Row::from).collect();
    rows.extend([
        Row::new(97, "ws-upgrade-ok", tunnel()),
        Row::new(97, "ws-client-ends", tunnel_ends(true)),
        Row::new(97, "ws-replica-ends", tunnel_ends(false)),
        Row::new(97, "ws-cut", tunnel_is_cut()),
        Row::new(98, "tunnel-idle", tunnel_idle()),
    ]);
    rows
}

pub(crate) fn cases() -> Vec<Case> {
    let no_retries: Settings = &[("EVENKEEL_RETRIES", "0")];
    let bad_gateway = || Outcome::new(&[502], End::Either).taken(want("GET /case"));
    let other = SWITCH.replace("websocket", "telnet");
    let nameless = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n";
    let second = "GET /second HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
    let switch = |number, name, sends: String, answer: &str| {
        let case = Case::scripted(number, name, format!("{answer}raw bytes"), Then::Keep).sending(sends);
        case.with(no_retries).may(bad_gateway()).reused(false)
    };
    vec![
        switch(93, "unsolicited-101", get(""), SWITCH),
        switch(93, "upgrade-no-connection", get("Upgrade: websocket\r\n"), SWITCH),
        switch(93, "upgrade-to-another", get(ASK), &other),
        switch(93, "upgrade-to-nothing", get(ASK), nameless),
        switch(93, "upgrade-http10", get(ASK).replace("HTTP/1.1", "HTTP/1.0"), SWITCH),
        Case::new(94, "upgrade-refused-pipelined", get(ASK) + second)
            .asking(2)
            .taken([want("GET /case").has("upgrade", &["websocket"]), want("GET /second")]),
        Case::new(95, "upgrade-cl-body", post(&format!("{ASK}Content-Length: 5\r\n"), "hello") + second)
            .asking(2)
            .taken([want("POST /case").body("hello"), want("GET /second")]),
        Case::new(96, "h2c-upgrade", get(h2c)).taken([want("GET /case").lacks(&["upgrade", "http2-settings"])]),
        Case::new(96, "h2c-upgrade-among-others", get("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"))
            .taken([want("GET /case").has("upgrade", &["websocket"])]),
    ]
}

/// Both ends of a tunnel, up to the client's reading of the `101`. `first` came right after the replica's `101`.
async fn open(settings: Settings, early: &str, first: &str) -> Result<(World, Client, Side), String> {
    let mut world = World::start(settings, Script::ByHand).await?;
    let mut client = world.client().await;
    client.send(format!("{}{early}", get(ASK))).await;
    let mut side = world.gateway.next_side().await?;
    let _ = side.send(format!("{SWITCH}{first}").as_bytes()).await;
    let answer = client.hear().await.whole()?;
    let upgrade = answer.fields.one("upgrade");
    if answer.status != 101 || upgrade.as_deref() != Some("websocket") {
        return Err(format!("in place of a 101 came {answer:?}"));
    }
    Ok((world, client, side))
}

/// What came to the replica after the head of the request that asked to switch.
fn through(side: &Side) -> Vec<u8> {
    match wire::request(&side.bytes()) {
        Ok(Parsed::Whole(_, length)) => side.bytes()[length..].to_vec(),
        _ => Vec::new(),
    }
}

/// Bytes around the `101` and after it arrive where they belong, whatever they look like.
async fn tunnel() -> Result<(), String> {
    let second = "GET /second HTTP/1.1\r\nHost: gateway\r\n\r\n";
    let (world, mut client, mut side) = open(&[], second, "\0first\r\n").await?;
    if client.answers.raw(8).await? != b"\0first\r\n" {
        return Err("the bytes after the 101 did not come".into());
    }
    client.send("\0more\n").await;
    side.read_until("what follows", |bytes| bytes.ends_with(b"\0more\n")).await?;
    if through(&side) != format!("{second}\0more\n").as_bytes() {
        return Err(format!("the replica got {:?}", wire::text(&side.bytes())));
    }
    drop(client);
    side.read_to_end().await?;
    world.is_healthy().await
}

/// One end says that it is done; the other may go on until it is done, too.
async fn tunnel_ends(by_client: bool) -> Result<(), String> {
    let (world, mut client, mut side) = open(&[], "", "").await?;
    if by_client {
        client.send("done").await;
        client.sender.finish().await;
        side.read_to_end().await?;
        let _ = side.send(b"goes on").await;
        side.finish().await;
    } else {
        let _ = side.send(b"goes on").await;
        side.finish().await;
        if client.answers.raw(7).await? != b"goes on" {
            return Err("what the replica sent last did not come".into());
        }
        client.send("done").await;
        client.sender.finish().await;
        side.read_to_end().await?;
    }
    let (heard, ended) = client.answers.end().await;
    let expected: &[u8] = if by_client { b"goes on" } else { b"" };
    if (through(&side), &heard[..], ended) != (b"done".to_vec(), expected, Ended::Closed) {
        return Err(format!("the replica got {:?}, the client {:?}, {ended:?}", through(&side), wire::text(&heard)));
    }
    drop(side);
    world.is_healthy().await
}

/// A replica that is gone takes the client's end with it.
async fn tunnel_is_cut() -> Result<(), String> {
    let (world, mut client, side) = open(&[], "", "").await?;
    side.reset();
    match client.answers.end().await {
        (_, Ended::Open) => Err("the client's end was left open".into()),
        _ => world.is_healthy().await,
    }
}

async fn tunnel_idle() -> Result<(), String> {
    const IDLE: Duration = Duration::from_millis(300);
    let (world, mut client, mut side) = open(&[("EVENKEEL_TUNNEL_TIMEOUT", "300ms")], "", "").await?;
    // A tunnel on which one end says something now and then is not idle.
    for _ in 0..4 {
        let lull = timeout(IDLE / 2, client.answers.raw(1)).await;
        if lull.is_ok() {
            return Err(format!("closed within the limit: {lull:?}"));
        }
        let _ = side.send(b".").await;
        client.answers.raw(1).await?;
    }
    if client.answers.end().await.1 == Ended::Open {
        return Err(format!("not closed within {PATIENCE:?}"));
    }
    side.read_to_end().await?;
    drop(side);
    world.is_healthy().await
}
