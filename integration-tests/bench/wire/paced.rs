//! An open loop: requests at a constant rate, whether or not earlier ones have been answered.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use serde::{Deserialize, Serialize};

use super::message;
use super::replicas::ignore_signals;

const TIMER: Token = Token(usize::MAX);

/// What to send.
pub(crate) struct Plan {
    /// Where to.
    pub(crate) addr: SocketAddr,
    /// Requests per second.
    pub(crate) rate: u32,
    /// Keep-alive connections.
    pub(crate) clients: usize,
    /// How long to send.
    pub(crate) time: Duration,
    /// Bytes in each answer.
    pub(crate) size: usize,
}

/// What came of it. Latency counts from when a request was due, so that a queue here is not hidden.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Requests that were answered with 200.
    pub(crate) requests: u64,
    /// Requests that were not.
    pub(crate) errors: u64,
    /// Half of the answers took no longer, in µs.
    pub(crate) p50_us: u64,
    /// 99 of 100 answers took no longer, in µs.
    pub(crate) p99_us: u64,
}

struct Connection {
    socket: TcpStream,
    input: Vec<u8>,
    /// When the request that is under way was due.
    due: Option<Instant>,
}

/// Sends and waits for the last answers, but no longer than a second.
///
/// # Errors
///
/// A connection could not be opened or broke off.
pub(crate) fn run(plan: &Plan) -> io::Result<Outcome> {
    let mut poll = Poll::new()?;
    let period = Duration::from_secs(1) / plan.rate.max(1);
    let timer = timer(period)?;
    poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
    let mut connections = Vec::new();
    for index in 0..plan.clients {
        // Blocking until connected, so that nothing is due before it can be sent.
        let socket = std::net::TcpStream::connect(plan.addr)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(socket);
        poll.registry().register(&mut socket, Token(index), Interest::READABLE)?;
        connections.push(Connection { socket, input: Vec::new(), due: None });
    }

    let request = message::request(plan.size);
    let mut idle: VecDeque<usize> = (0..plan.clients).collect();
    let mut waiting: VecDeque<Instant> = VecDeque::new();
    let (mut latencies, mut errors, mut sent) = (Vec::new(), 0, 0u32);
    let mut scratch = vec![0; 64 * 1024];
    let mut events = Events::with_capacity(1024);
    let total = u32::try_from(plan.time.as_nanos() / period.as_nanos().max(1)).unwrap_or(u32::MAX);
    let began = Instant::now();
    let deadline = began + plan.time + Duration::from_secs(1);
    while (latencies.len() + errors) < total as usize && Instant::now() < deadline {
        poll.poll(&mut events, Some(Duration::from_millis(100))).or_else(ignore_signals)?;
        for event in &events {
            if event.token() == TIMER {
                // Reading it resets it; how often it fired does not matter, the clock below does.
                let _ = rustix::io::read(&timer, &mut [0; 8]);
                continue;
            }
            let Token(index) = event.token();
            let Some(connection) = connections.get_mut(index) else { continue };
            if let Some((status, latency)) = connection.answer(&mut scratch)? {
                idle.push_back(index);
                if status == 200 { latencies.push(latency) } else { errors += 1 }
            }
        }
        let now = Instant::now();
        while sent < total && began + period * sent <= now {
            waiting.push_back(began + period * sent);
            sent += 1;
        }
        while let (Some(due), Some(index)) = (waiting.front().copied(), idle.front().copied()) {
            waiting.pop_front();
            idle.pop_front();
            if let Some(connection) = connections.get_mut(index) {
                // A request this small always fits into an empty socket buffer.
                connection.socket.write_all(&request)?;
                connection.due = Some(due);
            }
        }
    }
    let lost = (total as usize).saturating_sub(latencies.len());
    Ok(Outcome::of(latencies, lost as u64))
}

fn timer(period: Duration) -> io::Result<rustix::fd::OwnedFd> {
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    let period = Timespec { tv_sec: period.as_secs().cast_signed(), tv_nsec: period.subsec_nanos().into() };
    let spec = Itimerspec { it_interval: period, it_value: period };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
    Ok(timer)
}

impl Connection {
    /// The status and latency of the answer, once it is whole.
    fn answer(&mut self, scratch: &mut [u8]) -> io::Result<Option<(u16, Duration)>> {
        loop {
            match self.socket.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(scratch.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
            if message::length(&self.input)?.is_some() {
                let status = message::status(&self.input).unwrap_or_default();
                self.input.clear();
                return Ok(self.due.take().map(|due| (status, due.elapsed())));
            }
        }
    }
}

impl Outcome {
    fn of(mut latencies: Vec<Duration>, errors: u64) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(0, |latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX))
        };
        Self { requests: latencies.len() as u64, errors, p50_us: at(50), p99_us: at(99) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::thread;

    use super::super::replicas;
    use super::*;

    #[test]
    fn the_rate_is_kept_and_every_answer_counted() {
        let listener = mio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || replicas::answer(vec![listener]));
        let began = Instant::now();
        let outcome =
            run(&Plan { addr, rate: 1000, clients: 4, time: Duration::from_millis(250), size: 1024 }).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (250, 0));
        assert!(began.elapsed() >= Duration::from_millis(249), "sent ahead of time");
    }

    #[test]
    fn what_is_never_answered_is_an_error() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let outcome = run(&Plan { addr, rate: 100, clients: 1, time: Duration::from_millis(50), size: 0 }).unwrap();
        assert_eq!((outcome.requests, outcome.errors), (0, 5));
    }

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let outcome = Outcome::of((1..=200).rev().map(Duration::from_micros).collect(), 0);
        assert_eq!((outcome.p50_us, outcome.p99_us), (101, 199));
        assert_eq!(Outcome::of(Vec::new(), 3).p99_us, 0);
    }
}
