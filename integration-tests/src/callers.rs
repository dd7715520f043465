//! Clients that go on calling while something is restarted, and the tally of what they got.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::client::Client;

/// A pause after a call that failed, so that the first failures are not drowned in those that follow from them.
const AFTER_FAILURE: Duration = Duration::from_millis(10);

/// How a client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Habit {
    /// A connection for each request.
    Anew,
    /// One connection for as long as it is kept, with such a pause between an answer and the next request.
    Kept(Duration),
}

/// What the clients got.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers of status 200.
    pub answered: u64,
    /// Connections that were refused.
    pub refused: u64,
    /// Requests on a connection that had carried another and was open as far as the client knew, but that ended without
    /// an answer: they crossed its close.
    pub crossed: u64,
    /// Everything else.
    pub failures: Vec<String>,
    /// The longest time from a call's begin (its connect included, if it made one) to its answer.
    pub slowest: Duration,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.crossed += other.crossed;
        self.failures.extend(other.failures);
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Nothing was refused and nothing failed but, on a kept connection, a request that crossed its close.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.refused == 0 && self.failures.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, refused, crossed, failures, slowest } = self;
        let slowest = slowest.as_millis();
        write!(f, "{answered} answered, the slowest in {slowest} ms; {refused} refused, {} failed", failures.len())?;
        if let Some(first) = failures.first() {
            write!(f, " (first: {first})")?;
        }
        write!(f, ", {crossed} crossed a close")
    }
}

/// Clients at work until they are stopped; dropping them ends them at once.
#[derive(Debug)]
pub struct Callers {
    stop: CancellationToken,
    clients: JoinSet<Tally>,
}

impl Callers {
    /// So many clients begin to `GET` the path over and over.
    #[must_use]
    pub fn start(count: usize, habit: Habit, addr: SocketAddr, path: &'static str) -> Self {
        let (stop, mut clients) = (CancellationToken::new(), JoinSet::new());
        for _ in 0..count {
            clients.spawn(call_until(stop.clone(), habit, addr, path));
        }
        Self { stop, clients }
    }

    /// Lets each call that is under way end, and sums up.
    pub async fn stop(self) -> Tally {
        self.stop.cancel();
        let tallies = self.clients.join_all().await;
        tallies.into_iter().fold(Tally::default(), |mut sum, tally| {
            sum.add(tally);
            sum
        })
    }
}

/// Clients of three habits at once.
#[derive(Debug)]
pub struct Crowd([Callers; 3]);

impl Crowd {
    /// What they are, in the order of their tallies.
    pub const NAMES: [&str; 3] = ["a connection each", "kept and busy", "kept and idle"];
    /// Longer than evenkeel, once it stops, waits for a request on an idle connection.
    const IDLE: Duration = Duration::from_millis(400);

    /// So many clients of each habit begin to `GET` the path over and over.
    #[must_use]
    pub fn start(count: usize, addr: SocketAddr, path: &'static str) -> Self {
        let habits = [Habit::Anew, Habit::Kept(Duration::ZERO), Habit::Kept(Self::IDLE)];
        Self(habits.map(|habit| Callers::start(count, habit, addr, path)))
    }

    /// Lets each call that is under way end, and sums up.
    pub async fn stop(self) -> [Tally; 3] {
        let [anew, busy, idle] = self.0.map(Callers::stop);
        tokio::join!(anew, busy, idle).into()
    }
}

async fn call_until(stop: CancellationToken, habit: Habit, addr: SocketAddr, path: &'static str) -> Tally {
    let (mut tally, mut kept) = (Tally::default(), None);
    while !stop.is_cancelled() {
        let began = Instant::now();
        let open = kept.take().and_then(|mut client: Client| (!client.has_ended()).then_some(client));
        let has_served = open.is_some();
        match call(open, addr, path).await {
            Ok((client, is_kept)) => {
                tally.answered += 1;
                tally.slowest = tally.slowest.max(began.elapsed());
                if let Habit::Kept(pause) = habit {
                    kept = is_kept.then_some(client);
                    sleep(pause).await;
                }
                continue;
            }
            Err(Failed::Connect(error)) if error.kind() == io::ErrorKind::ConnectionRefused => tally.refused += 1,
            Err(Failed::Connect(error)) => tally.failures.push(format!("connect: {error}")),
            Err(Failed::Answer(_)) if has_served => tally.crossed += 1,
            Err(Failed::Answer(error)) => tally.failures.push(format!("no answer: {error}")),
            Err(Failed::Status(status)) => tally.failures.push(format!("status {status}")),
        }
        sleep(AFTER_FAILURE).await;
    }
    tally
}

enum Failed {
    Connect(io::Error),
    Answer(io::Error),
    Status(u16),
}

/// One request; says whether the connection can carry another.
async fn call(kept: Option<Client>, addr: SocketAddr, path: &str) -> Result<(Client, bool), Failed> {
    let mut client = match kept {
        Some(client) => client,
        None => Client::connect(addr).await.map_err(Failed::Connect)?,
    };
    let answer = client.get(path).await.map_err(Failed::Answer)?;
    if answer.status != 200 {
        return Err(Failed::Status(answer.status));
    }
    let is_kept = answer.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    Ok((client, is_kept))
}
