//! A client that has nothing to do with the attack: a request every few milliseconds, each on a new connection.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use integration_tests::Result;

use crate::{evenkeel, http};

/// Another address than the attackers', so that connections can be told apart.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PAUSE: Duration = Duration::from_millis(20);

/// The running client.
pub(super) struct Healthy {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Served>,
}

/// What it got.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) requests: u64,
    /// Of a connect, a request and its whole answer.
    pub(super) slowest: Duration,
    pub(super) failures: Vec<String>,
}

impl Healthy {
    pub(super) fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut served = Served::default();
            while !stop.load(Ordering::Relaxed) {
                served.ask();
                thread::sleep(PAUSE);
            }
            served
        });
        Self { is_over, thread }
    }

    pub(super) fn stop(self) -> Result<Served> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the other client panicked".into())
    }
}

impl Served {
    fn ask(&mut self) {
        let began = Instant::now();
        match http::get(evenkeel::LISTEN, FROM, "/") {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => self.failures.push(format!("status {}", answer.status)),
            Err(error) => self.failures.push(error.to_string()),
        }
        self.requests += 1;
        self.slowest = self.slowest.max(began.elapsed());
    }
}
