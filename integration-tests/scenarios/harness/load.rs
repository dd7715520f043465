//! Clients that keep their connections and never stop asking, and the tally of what they got.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use integration_tests::client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Connections, each with one request at a time.
pub(crate) const CONNECTIONS: u64 = 16;

/// What the clients got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// 2xx answers by `X-Served-By`.
    pub(crate) answers: BTreeMap<String, u64>,
    /// When each replica's first 2xx answer came.
    pub(crate) first_seen: BTreeMap<String, SystemTime>,
    /// The longest that a 2xx answer took.
    pub(crate) slowest: Duration,
    /// Everything else: other codes, and connections that failed.
    pub(crate) failures: Vec<Failure>,
}

/// A request without a 2xx answer.
#[derive(Clone)]
pub(crate) struct Failure {
    /// That of the answer, if one came.
    pub(crate) status: Option<u16>,
    /// When it was over.
    pub(crate) at: SystemTime,
    /// How long it took, connecting included.
    pub(crate) took: Duration,
    what: String,
}

impl Failure {
    pub(crate) fn began(&self) -> SystemTime {
        self.at - self.took
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} after {:.1?}", time_of_day(self.at), self.what, self.took)
    }
}

impl Tally {
    pub(crate) fn total(&self) -> u64 {
        self.answers.values().sum()
    }

    pub(crate) fn replicas(&self) -> Vec<&str> {
        self.answers.keys().map(String::as_str).collect()
    }

    /// # Panics
    /// If a request failed, or if there was none.
    pub(crate) fn assert_clean(&self) {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        assert!(self.failures.is_empty(), "{} of {} failed: {first:#?}", self.failures.len(), self.total());
        assert!(self.total() > 0, "no request was made");
    }

    fn record(&mut self, outcome: Result<String, (Option<u16>, String)>, took: Duration) {
        match outcome {
            Ok(replica) => {
                self.slowest = self.slowest.max(took);
                self.first_seen.entry(replica.clone()).or_insert_with(SystemTime::now);
                *self.answers.entry(replica).or_default() += 1;
            }
            Err((status, what)) => self.failures.push(Failure { status, at: SystemTime::now(), took, what }),
        }
    }
}

/// Load that goes on until it is stopped.
pub(crate) struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// Begins to `GET` the path over and over.
    pub(crate) fn start(addr: SocketAddr, path: &'static str) -> Self {
        Self::begin(addr, path, u64::MAX)
    }

    /// Makes exactly so many requests.
    pub(crate) async fn exactly(requests: u64, addr: SocketAddr, path: &'static str) -> Tally {
        let mut load = Self::begin(addr, path, requests);
        while let Some(client) = load.clients.join_next().await {
            client.unwrap();
        }
        load.tally()
    }

    fn begin(addr: SocketAddr, path: &'static str, requests: u64) -> Self {
        let (tally, stop) = (Arc::new(Mutex::new(Tally::default())), CancellationToken::new());
        let asked = Arc::new(AtomicU64::new(0));
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let (tally, asked, stop) = (Arc::clone(&tally), Arc::clone(&asked), stop.clone());
            clients.spawn(async move {
                let mut connection = None;
                while !stop.is_cancelled() && asked.fetch_add(1, Ordering::Relaxed) < requests {
                    let began = Instant::now();
                    let outcome = ask(&mut connection, addr, path).await;
                    let failed = outcome.is_err();
                    tally.lock().unwrap().record(outcome, began.elapsed());
                    if failed {
                        // Not to drown the first failures in the ones that follow from them.
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            });
        }
        Self { tally, stop, clients }
    }

    /// The tally so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Lets every open request end and returns the tally.
    pub(crate) async fn stop(mut self) -> Tally {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        self.tally()
    }
}

/// `19:11:45.227`, UTC, as in evenkeel's log.
fn time_of_day(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    let seconds = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3_600, seconds / 60 % 60, seconds % 60, since.subsec_millis())
}

/// One request, on the connection if it is still good. The name of who answered, or the status and what went wrong.
async fn ask(connection: &mut Option<Client>, addr: SocketAddr, path: &str) -> Result<String, (Option<u16>, String)> {
    let mut client = match connection.take() {
        Some(client) => client,
        None => Client::connect(addr).await.map_err(|error| (None, format!("connect: {error}")))?,
    };
    let answer = client.get(path).await.map_err(|error| (None, format!("no answer: {error}")))?;
    if answer.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
        *connection = Some(client);
    }
    let replica = answer.header("x-served-by").unwrap_or("nobody").to_owned();
    match answer.status {
        200..300 => Ok(replica),
        status => Err((Some(status), format!("{status} by {replica}: {}", answer.text()))),
    }
}
