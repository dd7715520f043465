//! The news of our own replicas for whoever wants to hear them, which evenkeels on other hosts do.
//!
//! A reader that is slow is told what holds by the time it reads on: nothing is kept for it but what it was told last. What
//! holds is found out once for all readers, and wakes none of them unless it is news.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::AdminState;
use super::drain::shown;
use super::pages::{Shared, problem};
use crate::config::settings::Advertised;
use crate::discovery::news::{HEARTBEAT, News, Share, VERSION};
use crate::peers::{self, Peers, Stranger};
use crate::registry::Replicas;
use crate::replica::Replica;

/// How long to wait after a change for those that come with it.
const TOGETHER: Duration = Duration::from_millis(5);

/// Strangers of whom to remember that they were told of.
const MOST_STRANGERS: usize = 64;

/// What we say of ourselves.
#[derive(Debug, Default)]
pub struct Herald {
    /// Who we are.
    pub peers: Arc<Peers>,
    /// Where our traffic port is.
    pub advertised: Advertised,
    /// What the registry multiplies the weights of our own replicas by.
    pub preference: u16,
    /// Fires when nobody is to be told anything more.
    pub end: CancellationToken,
    /// What holds, for as long as anybody reads it.
    holds: watch::Sender<Arc<News>>,
    /// Who was refused, and told of.
    strangers: Mutex<HashSet<(IpAddr, Stranger)>>,
}

impl Herald {
    /// One that has told nobody anything.
    pub fn new(peers: Arc<Peers>, advertised: Advertised, preference: u16, end: CancellationToken) -> Self {
        Self { peers, advertised, preference, end, ..Self::default() }
    }

    /// Warns of somebody who says that it is a peer, once.
    fn warn_of(&self, client: SocketAddr, stranger: Stranger) {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() >= MOST_STRANGERS {
            strangers.clear();
        }
        if strangers.insert((client.ip(), stranger)) {
            warn!(client = %client, cause = %stranger, "Peer refused");
        }
    }
}

/// Streams the news. Who says that it is a peer must be one; anybody else just reads.
pub(super) async fn watch(
    State(state): Shared,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if headers.contains_key(peers::FIELD)
        && let Err(stranger) = recognise(&state.herald.peers, client, &headers)
    {
        state.herald.warn_of(client, stranger);
        return problem(StatusCode::FORBIDDEN, format!("you are no peer of {}: {stranger}", state.herald.peers.name()));
    }
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines(state))).into_response()
}

/// Whether a client that says so is a peer. Who has no peers has nothing to tell one by, and needs not: it serves
/// everything itself.
fn recognise(peers: &Peers, client: SocketAddr, headers: &HeaderMap) -> Result<(), Stranger> {
    match (peers.recognise(shown(headers), client.ip()), peers.are_none()) {
        (Err(Stranger::UnknownAddress), true) => Ok(()),
        (outcome, _) => outcome,
    }
}

/// The lines for one reader, each made when it is asked for.
fn lines(state: Arc<AdminState>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let reader = Reader { news: state.herald.holds.subscribe(), state, told: None };
    stream::unfold(reader, |mut reader| async move {
        let line = reader.next_line().await?;
        Some((Ok(Bytes::from(line)), reader))
    })
}

/// Keeps what is told to readers true, until it is dropped.
pub(super) async fn keep(state: Arc<AdminState>) {
    let mut changes = state.registry.watch();
    while changes.changed().await.is_ok() {
        sleep(TOGETHER).await;
        changes.mark_unchanged();
        // Whoever begins to read looks for itself.
        if state.herald.holds.receiver_count() > 0 {
            refresh(&state);
        }
    }
}

/// Wakes the readers if what they were told holds no more.
fn refresh(state: &AdminState) {
    let now = summary(state);
    state.herald.holds.send_if_modified(|holds| {
        let is_new = **holds != now;
        if is_new {
            *holds = Arc::new(now);
        }
        is_new
    });
}

struct Reader {
    state: Arc<AdminState>,
    news: watch::Receiver<Arc<News>>,
    told: Option<Arc<News>>,
}

impl Reader {
    /// The next line; `None` once there is nothing more to be said.
    async fn next_line(&mut self) -> Option<String> {
        let heartbeat = Instant::now() + HEARTBEAT;
        if self.told.is_none() {
            refresh(&self.state);
            return Some(self.news().unwrap_or_default().to_line());
        }
        loop {
            tokio::select! {
                () = self.state.herald.end.cancelled() => return None,
                changed = self.news.changed() => changed.ok()?,
                () = sleep_until(heartbeat) => return Some(News::default().to_line()),
            }
            if let Some(news) = self.news() {
                return Some(news.to_line());
            }
        }
    }

    /// What was not told yet, if anything.
    fn news(&mut self) -> Option<News> {
        let now = Arc::clone(&self.news.borrow_and_update());
        let news = now.since(self.told.get_or_insert_default());
        self.told = Some(now);
        (news != News::default()).then_some(news)
    }
}

/// What there is to be said, all of it.
fn summary(state: &AdminState) -> News {
    let Herald { peers, advertised, preference, .. } = &state.herald;
    let of = |replicas: &Arc<Replicas>| {
        let local = replicas.local();
        (!local.list().is_empty())
            .then(|| (local.service().to_string(), share(&local, u32::from((*preference).max(1)))))
    };
    News {
        version: Some(VERSION),
        id: Some(format!("{:016x}", peers.id())),
        name: Some(peers.name().to_owned()),
        address: advertised.address,
        port: advertised.port,
        draining: Some(state.readiness.is_terminating()),
        services: state.registry.services().iter().filter_map(of).collect(),
    }
}

fn share(local: &Replicas, preference: u32) -> Share {
    let weight_of = |fits: fn(&Replica) -> bool| {
        let fitting = local.list().iter().filter(|replica| fits(replica));
        fitting.map(|replica| u32::from(replica.spec().weight) / preference).sum()
    };
    let ready = local.list().iter().filter(|replica| replica.is_pickable()).count();
    Share {
        ready: u32::try_from(ready).unwrap_or(u32::MAX),
        weight: weight_of(Replica::is_pickable),
        last_resort: if ready == 0 { weight_of(Replica::is_pickable_in_panic) } else { 0 },
    }
}

#[cfg(test)]
mod tests;
