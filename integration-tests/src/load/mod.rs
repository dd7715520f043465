//! The load: clients that keep a connection each and ask one thing at a time, over and over. It is a process of its
//! own in the network namespace of a container, since only there Docker's DNS answers, and every system gets the same.
//!
//! - [`record`]: what is recorded of each request; [`Latency`] is what the records come to.
//! - [`witness`]: what the replicas logged of it.

mod dns;
mod latency;
mod process;
pub mod record;
pub mod witness;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use fastrand::Rng;
use tokio::io::AsyncReadExt as _;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::client::{Client, Response};
pub use latency::Latency;
pub use process::Load;

use record::{Method, Record, now};

/// A client whose request failed waits for so long, not to count one outage thousands of times.
const PAUSE: Duration = Duration::from_millis(10);
/// Largest body of a PUT or a POST; evenkeel keeps 64 KiB for a retry.
const BODY: usize = 4_096;

/// What to send.
#[derive(Clone, Debug, Args)]
pub struct Plan {
    /// `ADDR:PORT`, or `NAME:PORT` to ask Docker's DNS at every connect
    #[arg(long)]
    pub to: String,
    /// The file for what became of each request
    #[arg(long)]
    pub records: PathBuf,
    /// The first part of every id
    #[arg(long)]
    pub step: u64,
    /// What is random follows from it
    #[arg(long)]
    pub seed: u64,
    /// Clients, each with one request at a time
    #[arg(long)]
    pub connections: u64,
    /// How many requests; without it, until stdin ends
    #[arg(long)]
    pub requests: Option<u64>,
    /// Requests of a connection before the client closes it
    #[arg(long)]
    pub per_connection: u64,
    /// What a replica takes
    #[arg(long)]
    pub ms: u64,
    /// What it takes for a POST
    #[arg(long)]
    pub post_ms: u64,
    /// What it takes for one request in ten
    #[arg(long)]
    pub slow_ms: Option<u64>,
    /// How long a client waits for an answer
    #[arg(long)]
    pub patience_ms: u64,
    /// No POSTs
    #[arg(long)]
    pub idempotent: bool,
}

impl Plan {
    /// As it is passed to the process.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut pass = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        pass("to", Some(self.to.clone()));
        pass("records", Some(self.records.display().to_string()));
        pass("step", Some(self.step.to_string()));
        pass("seed", Some(self.seed.to_string()));
        pass("connections", Some(self.connections.to_string()));
        pass("requests", self.requests.map(|requests| requests.to_string()));
        pass("per-connection", Some(self.per_connection.to_string()));
        pass("ms", Some(self.ms.to_string()));
        pass("post-ms", Some(self.post_ms.to_string()));
        pass("slow-ms", self.slow_ms.map(|ms| ms.to_string()));
        pass("patience-ms", Some(self.patience_ms.to_string()));
        arguments.extend(self.idempotent.then(|| "--idempotent".to_owned()));
        arguments
    }
}

/// What the clients share.
struct Shared {
    plan: Plan,
    addr: Option<SocketAddr>,
    next: Cell<u64>,
    stopped: Cell<bool>,
    records: RefCell<BufWriter<File>>,
}

/// Sends until it has sent all, or until stdin ends: the driver closes it, on purpose or by its own end.
///
/// # Errors
/// Those of the file of records.
pub fn run(plan: Plan) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = RefCell::new(BufWriter::new(File::create(&plan.records)?));
    let addr = plan.to.parse().ok();
    let shared = Rc::new(Shared { plan, addr, next: Cell::new(0), stopped: Cell::new(false), records });
    let local = LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut clients = JoinSet::new();
        for _ in 0..shared.plan.connections {
            clients.spawn_local(client(Rc::clone(&shared)));
        }
        tokio::task::spawn_local({
            let shared = Rc::clone(&shared);
            async move {
                until_stdin_ends().await;
                shared.stopped.set(true);
            }
        });
        while let Some(outcome) = clients.join_next().await {
            outcome??;
        }
        shared.records.borrow_mut().flush()?;
        Ok::<_, Box<dyn std::error::Error>>(())
    }))?;
    // A read of stdin may still wait on a thread of its own, and would keep the runtime.
    runtime.shutdown_background();
    Ok(())
}

async fn until_stdin_ends() {
    let Ok(file) = File::open("/proc/self/fd/0") else { return };
    let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_file(file) else { return };
    let mut bytes = Vec::new();
    // An end, in whichever way.
    let _ = pipe.read_to_end(&mut bytes).await;
}

async fn client(shared: Rc<Shared>) -> io::Result<()> {
    let mut connection: Option<(Client, u64)> = None;
    while let Some(asked) = shared.next() {
        let start = now();
        let reused = connection.is_some();
        let patience = Duration::from_millis(shared.plan.patience_ms + asked.ms);
        let outcome = timeout(patience, ask(&shared, &mut connection, &asked)).await;
        let mut record = Record { number: asked.number, method: asked.method, start, reused, ..Record::default() };
        record.asked_ms = asked.ms;
        record.end = now();
        match outcome {
            Ok(Ok(answer)) => judge(&mut record, &asked, &answer),
            Ok(Err(failure)) => record.failure = Some(failure),
            Err(_) => record.failure = Some(format!("no answer within {patience:?}")),
        }
        if record.is_failed() && record.status == 0 {
            connection = None;
        }
        let failed = record.is_failed();
        shared.write(&record)?;
        if failed {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// One request as it is sent.
struct Asked {
    number: u64,
    id: String,
    method: Method,
    ms: u64,
    body: Vec<u8>,
}

impl Shared {
    /// The next request: what it is depends on the seed and on its number alone.
    fn next(&self) -> Option<Asked> {
        let number = self.next.get();
        if self.stopped.get() || self.plan.requests.is_some_and(|all| number >= all) {
            return None;
        }
        self.next.set(number + 1);
        let mut rng = Rng::with_seed(self.plan.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let method = match rng.u8(..10) {
            0..6 => Method::Get,
            6..8 => Method::Put,
            _ if self.plan.idempotent => Method::Put,
            _ => Method::Post,
        };
        let usual = if method == Method::Post { self.plan.post_ms } else { self.plan.ms };
        let ms = self.plan.slow_ms.filter(|_| rng.u8(..10) == 0).unwrap_or(usual);
        let length = if method == Method::Get { 0 } else { rng.usize(1..=BODY) };
        let body = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        Some(Asked { number, id: format!("{}-{number}", self.plan.step), method, ms, body })
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let mut records = self.records.borrow_mut();
        serde_json::to_writer(&mut *records, record)?;
        records.write_all(b"\n")
    }

    async fn connect(&self) -> io::Result<Client> {
        let addr = match (self.addr, self.plan.to.rsplit_once(':')) {
            (Some(addr), _) => addr,
            (None, Some((name, port))) => dns::resolve(name, port.parse().map_err(io::Error::other)?).await?,
            (None, None) => return Err(io::Error::other("no port")),
        };
        Client::connect(addr).await
    }
}

/// The answer; the connection is kept if it is good for another request.
async fn ask(
    shared: &Shared,
    connection: &mut Option<(Client, u64)>,
    asked: &Asked,
) -> std::result::Result<Response, String> {
    let (mut client, carried) = match connection.take() {
        Some(kept) => kept,
        None => (shared.connect().await.map_err(|error| format!("connect: {error}"))?, 0),
    };
    let path = format!("/work?id={}&ms={}", asked.id, asked.ms);
    let answer = client.request(asked.method.name(), &path, &[("X-Id", &asked.id)], &asked.body).await;
    let answer = answer.map_err(|error| format!("no answer: {error}"))?;
    let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if !closes && carried + 1 < shared.plan.per_connection {
        *connection = Some((client, carried + 1));
    }
    Ok(answer)
}

/// Whether the answer is the one to this request, and good.
fn judge(record: &mut Record, asked: &Asked, answer: &Response) {
    let header = |name| answer.header(name).unwrap_or_default().to_owned();
    record.status = answer.status;
    record.replica = header("x-replica");
    record.served_by = header("x-served-by");
    let id = answer.header("x-id");
    let due = format!("{} {} {} {:016x}\n", asked.id, asked.method.name(), asked.body.len(), hash(&asked.body));
    // What a system answers itself has no id.
    record.is_wrong = id.is_some_and(|id| id != asked.id) || (answer.status == 200 && answer.text() != due);
    if record.is_wrong {
        record.failure = Some(format!("{} was answered {:?} of {id:?}", asked.id, short(&answer.text())));
    } else if answer.status != 200 {
        record.failure = Some(format!("{} {:?}", answer.status, short(&answer.text())));
    }
}

fn short(text: &str) -> String {
    text.trim().chars().take(100).collect()
}

/// FNV-1a, as the replicas have it.
fn hash(body: &[u8]) -> u64 {
    body.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { number: 2, id: "1-2".into(), method: Method::Put, ms: 5, body: b"ab".to_vec() }
    }

    fn judged(status: u16, id: &str, body: &str) -> Record {
        let headers = vec![("X-Id".to_owned(), id.to_owned()), ("X-Replica".to_owned(), "abc".to_owned())];
        let mut record = Record::default();
        judge(&mut record, &asked(), &Response { status, headers, body: body.into() });
        record
    }

    #[test]
    fn a_plan_survives_its_way_to_the_process() {
        #[derive(clap::Parser)]
        struct Arguments {
            #[command(flatten)]
            plan: Plan,
        }
        let plan = Plan {
            to: "gateway:1".into(),
            records: "/tmp/r".into(),
            step: 3,
            seed: 4,
            connections: 5,
            requests: Some(6),
            per_connection: 7,
            ms: 8,
            post_ms: 9,
            slow_ms: Some(10),
            patience_ms: 11,
            idempotent: true,
        };
        let arguments = std::iter::once("load".to_owned()).chain(plan.arguments());
        let parsed = <Arguments as clap::Parser>::try_parse_from(arguments).unwrap().plan;
        assert_eq!(format!("{parsed:?}"), format!("{plan:?}"));
    }

    #[test]
    fn only_the_answer_to_this_very_request_is_good() {
        let due = format!("1-2 PUT 2 {:016x}\n", hash(b"ab"));
        let good = judged(200, "1-2", &due);
        assert_eq!((good.failure, good.is_wrong, good.replica.as_str()), (None, false, "abc"));
        for (id, body) in [("1-3", due.as_str()), ("1-2", &due.replace("PUT", "POST")), ("1-2", "")] {
            assert!(judged(200, id, body).is_wrong, "{id} {body}");
        }
        let refused = judged(503, "1-2", "later");
        assert_eq!((refused.failure.as_deref(), refused.is_wrong), (Some("503 \"later\""), false));
    }
}
