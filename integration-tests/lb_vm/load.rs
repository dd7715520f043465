//! Clients that keep a connection each and ask one thing at a time, over and over, and what they got.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use integration_tests::client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const CLIENTS: u64 = 16;
/// What a replica takes for a request.
const WORK: &str = "/slow?ms=5";
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// A client whose request failed waits for so long, not to count one outage thousands of times.
const PAUSE: Duration = Duration::from_millis(10);

/// What the clients got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    latencies: Vec<Duration>,
    failed_idempotent: u64,
    failed_posts: u64,
    causes: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed_idempotent += other.failed_idempotent;
        self.failed_posts += other.failed_posts;
        other.causes.into_iter().for_each(|(cause, count)| *self.causes.entry(cause).or_default() += count);
    }

    fn note(&mut self, method: &str, latency: Duration, outcome: Result<(), String>) {
        self.latencies.push(latency);
        if let Err(cause) = outcome {
            if method == "POST" {
                self.failed_posts += 1
            } else {
                self.failed_idempotent += 1
            }
            *self.causes.entry(format!("{method}: {cause}")).or_default() += 1;
        }
    }

    pub(crate) fn failed_idempotent(&self) -> u64 {
        self.failed_idempotent
    }

    /// Why requests failed, and how many.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&str, u64)> {
        self.causes.iter().map(|(cause, count)| (cause.as_str(), *count))
    }
}

/// The cells of a table: requests, failures, then p50, p99, p99.9 and the worst in milliseconds, failures included.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        write!(f, "{} | {} | {}", sorted.len(), self.failed_idempotent, self.failed_posts)?;
        for of_thousand in [500, 990, 999, 1000] {
            let at = (sorted.len() * of_thousand).div_ceil(1000).saturating_sub(1);
            let latency = sorted.get(at).copied().unwrap_or_default();
            write!(f, " | {:.1}", latency.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// Clients at work until they are stopped.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<Tally>,
}

impl Load {
    pub(crate) fn start(addr: SocketAddr) -> Self {
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        for seed in 0..CLIENTS {
            clients.spawn(ask_until(stop.clone(), addr, Rng::with_seed(seed)));
        }
        Self { stop, clients }
    }

    pub(crate) async fn stop(self) -> Tally {
        self.stop.cancel();
        let mut sum = Tally::default();
        self.clients.join_all().await.into_iter().for_each(|tally| sum.add(tally));
        sum
    }
}

/// Six in ten requests are GETs, two PUTs and two POSTs.
async fn ask_until(stop: CancellationToken, addr: SocketAddr, mut rng: Rng) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    while !stop.is_cancelled() {
        let method = match rng.u8(..10) {
            0..6 => "GET",
            6..8 => "PUT",
            _ => "POST",
        };
        let began = Instant::now();
        let outcome = timeout(PATIENCE, ask(&mut kept, addr, method)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let has_failed = outcome.is_err();
        tally.note(method, began.elapsed(), outcome);
        if has_failed {
            sleep(PAUSE).await;
        }
    }
    tally
}

/// The connection is kept if it is good for another request.
async fn ask(kept: &mut Option<Client>, addr: SocketAddr, method: &str) -> Result<(), String> {
    let mut client = match kept.take() {
        Some(client) => client,
        None => Client::connect(addr).await.map_err(|error| format!("connect: {error}"))?,
    };
    let body: &[u8] = if method == "GET" { b"" } else { b"hello" };
    let answer = client.request(method, WORK, &[], body).await.map_err(|error| format!("no answer: {error}"))?;
    if answer.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
        *kept = Some(client);
    }
    if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_failures_by_method_and_shows_the_worst() {
        let mut tally = Tally::default();
        for millis in 1..=999 {
            tally.note("GET", Duration::from_millis(millis), Ok(()));
        }
        let mut other = Tally::default();
        other.note("POST", Duration::from_millis(5_000), Err("status 502".into()));
        tally.add(other);
        assert_eq!(tally.to_string(), "1000 | 0 | 1 | 500.0 | 990.0 | 999.0 | 5000.0");
        tally.note("PUT", Duration::ZERO, Err("status 502".into()));
        assert_eq!(tally.failed_idempotent(), 1);
        let causes: Vec<_> = tally.failures().collect();
        assert_eq!(causes, [("POST: status 502", 1), ("PUT: status 502", 1)]);
    }
}
