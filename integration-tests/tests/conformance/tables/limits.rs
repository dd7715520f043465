//! Amounts (rows 125 and 126).

use std::time::{Duration, Instant};

use integration_tests::eventually;
use tokio::time::{sleep, timeout};

use crate::PATIENCE;
use crate::case::{SMUGGLED, get, post};
use crate::client::{Client, Ended, Heard};
use crate::process::Process;
use crate::replica::{Replica, Rest, Script};
use crate::rows::Row;
use crate::world::{Settings, World};

const MAX_BODY: Settings = &[("EVENKEEL_MAX_BODY_BYTES", "1000")];
const MAX_CONNECTIONS: Settings = &[("EVENKEEL_MAX_CONNECTIONS", "2")];
const PER_CLIENT: Settings = &[("EVENKEEL_MAX_CONNECTIONS_PER_CLIENT", "2")];

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row::new(125, "body-over-limit", over_limit(post("Content-Length: 1001\r\n", ""), false)),
        Row::new(125, "chunked-over-limit", over_limit(post("Transfer-Encoding: chunked\r\n", &chunks()), true)),
        Row::new(125, "body-at-limit", at_limit()),
        Row::new(126, "connections-over-limit", connections_over_limit()),
        Row::new(126, "connections-over-default", connections_over_default()),
        Row::new(126, "client-over-limit", client_over_limit()),
        Row::new(126, "descriptors-exhausted", descriptors_exhausted()),
    ]
}

/// Ten chunks of two hundred bytes each.
fn chunks() -> String {
    format!("c8\r\n{}\r\n", "x".repeat(200)).repeat(10) + "0\r\n\r\n"
}

/// 413 and a close; what may have begun at the replica is never ended, and nothing follows it.
async fn over_limit(sends: String, may_begin: bool) -> Result<(), String> {
    let world = World::start(MAX_BODY, Script::Echo).await?;
    let mut client = world.client().await;
    client.send(sends).await;
    client.send(SMUGGLED.repeat(30)).await;
    let answer = client.hear().await.whole()?;
    let (rest, ended) = client.answers.end().await;
    if answer.status != 413 || !rest.is_empty() || ended == Ended::Open {
        return Err(format!("{} and {ended:?}", answer.status));
    }
    drop(client);
    world.is_healthy().await?;
    let records = world.stop().await;
    let taken: Vec<_> = records.gateway.iter().map(|one| one.taken()).collect();
    let whole: Vec<_> = taken.iter().flat_map(|one| &one.requests).map(|one| one.line()).collect();
    let begun = taken.iter().filter(|one| one.rest != Rest::Nothing).count();
    if whole != ["GET /healthy"] || begun > usize::from(may_begin) || !records.were_settled {
        return Err(format!("the replica got {taken:?}"));
    }
    Ok(())
}

async fn at_limit() -> Result<(), String> {
    let world = World::start(MAX_BODY, Script::Echo).await?;
    let chunked = "1f4\r\n".to_owned() + &"x".repeat(500) + "\r\n";
    for request in [
        post("Content-Length: 1000\r\n", &"x".repeat(1000)),
        post("Transfer-Encoding: chunked\r\n", &(chunked.repeat(2) + "0\r\n\r\n")),
    ] {
        let answer = world.client().await.ask(request).await?;
        if answer.status != 200 {
            return Err(format!("{}", answer.status));
        }
    }
    world.is_healthy().await
}

/// Clients that each have had an answer.
async fn served(world: &World, count: usize) -> Result<Vec<Client>, String> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = world.client().await;
        client.ask(get("")).await?;
        clients.push(client);
    }
    Ok(clients)
}

async fn is_admin_alive(world: &World) -> Result<(), String> {
    let ask = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    match world.admin().await.ask(ask).await?.status {
        200 => Ok(()),
        other => Err(format!("the admin port answers {other}")),
    }
}

/// The third connection waits, the admin port answers meanwhile, and the third is served once another leaves.
async fn connections_over_limit() -> Result<(), String> {
    let world = World::start(MAX_CONNECTIONS, Script::Echo).await?;
    let mut clients = served(&world, 2).await?;
    let mut third = world.client().await;
    third.send(get("")).await;
    if let Ok(heard) = timeout(Duration::from_millis(500), third.hear()).await {
        return Err(format!("the third connection got {heard:?}"));
    }
    is_admin_alive(&world).await?;
    clients.pop();
    let answer = third.hear().await.whole()?;
    if answer.status != 200 {
        return Err(format!("once there was room, the third got {}", answer.status));
    }
    drop((clients, third));
    world.is_healthy().await
}

/// Unless it is set, the limit leaves enough descriptors for the replicas and the admin port.
async fn connections_over_default() -> Result<(), String> {
    // Two fifths of 256 less 104.
    const LIMIT: usize = 60;
    let replica = Replica::start(Script::Echo, false).await;
    let process = Process::start(256, replica.addr(), &[]).await;
    let mut clients = vec![Client::connect(process.proxy).await];
    eventually(PATIENCE, "it serves", async || clients[0].ask(get("")).await.is_ok_and(|answer| answer.status == 200))
        .await;
    while clients.len() < LIMIT {
        let mut client = Client::connect(process.proxy).await;
        client.ask(get("")).await?;
        clients.push(client);
    }
    let mut last = Client::connect(process.proxy).await;
    last.send(get("")).await;
    if let Ok(heard) = timeout(Duration::from_millis(500), last.hear()).await {
        return Err(format!("one more connection got {heard:?}"));
    }
    let mut admin = Client::connect(process.admin).await;
    let failed = process.pauses(&mut admin).await;
    clients.pop();
    let answer = last.hear().await.whole()?;
    if (answer.status, failed > 0.0) != (200, false) {
        return Err(format!("once there was room, it got {}; {failed} accepts failed", answer.status));
    }
    Ok(())
}

/// The third connection of a client is closed at once, the admin port answers, and there is room again once one ends.
async fn client_over_limit() -> Result<(), String> {
    let world = World::start(PER_CLIENT, Script::Echo).await?;
    let mut clients = served(&world, 2).await?;
    // The reset may come before anybody has looked.
    if let Ok(mut third) = world.try_client().await {
        match third.hear().await {
            Heard::Cut(None, Ended::Closed | Ended::Reset) => {}
            other => return Err(format!("the third connection got {other:?}")),
        }
    }
    is_admin_alive(&world).await?;
    for client in &mut clients {
        client.ask(get("")).await?;
    }
    clients.pop();
    eventually(PATIENCE, "there is room again", async || match world.try_client().await {
        Ok(mut client) => client.ask(get("")).await.is_ok_and(|answer| answer.status == 200),
        Err(_) => false,
    })
    .await;
    Ok(())
}

/// With no descriptor left for another client nothing spins, who is in is served, and once there are some it goes on.
async fn descriptors_exhausted() -> Result<(), String> {
    const DESCRIPTORS: u32 = 64;
    const WINDOW: Duration = Duration::from_secs(1);
    let replica = Replica::start(Script::Echo, false).await;
    let process = Process::start(DESCRIPTORS, replica.addr(), &["--max-connections=1000"]).await;
    let mut first = Client::connect(process.proxy).await;
    eventually(PATIENCE, "it serves", async || first.ask(get("")).await.is_ok_and(|answer| answer.status == 200)).await;
    // Let in before the crowd: the admin port will have no descriptor for another client either.
    let mut admin = Client::connect(process.admin).await;
    let mut pauses = process.pauses(&mut admin).await;
    let mut crowd = Vec::new();
    for _ in 0..DESCRIPTORS * 2 {
        crowd.push(Client::connect(process.proxy).await);
    }
    eventually(PATIENCE, "an accept fails", async || {
        pauses = process.pauses(&mut admin).await;
        pauses > 0.0
    })
    .await;

    let (cpu, began) = (process.cpu(), Instant::now());
    sleep(WINDOW).await;
    let (spent, window) = (process.cpu() - cpu, began.elapsed());
    let tried = process.pauses(&mut admin).await - pauses;
    // One worker, which tries twenty times a second.
    let allowed = 20.0 * began.elapsed().as_secs_f64() + 5.0;
    if spent > window / 4 || tried < 1.0 || tried > allowed {
        return Err(format!("{tried} failed accepts and {spent:?} of CPU time in {window:?}"));
    }
    let answer = first.ask(get("")).await?;
    if answer.status != 200 {
        return Err(format!("who was in got {}", answer.status));
    }
    drop(crowd);
    eventually(PATIENCE, "a new client is served", async || {
        let asking = async { Client::connect(process.proxy).await.ask(get("")).await };
        timeout(PATIENCE / 10, asking).await.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200))
    })
    .await;
    Ok(())
}
