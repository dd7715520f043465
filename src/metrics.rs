//! What is counted, as plain atomics: the data plane adds, the admin room reads at scrape time.

mod fault;
mod histogram;
mod preface;
mod reloads;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use fault::{Fault, Faults};
pub use histogram::{BUCKETS, Histogram};
pub use preface::PrefaceFault;
pub use reloads::{Newest, Reloads};

/// Why an attempt at a replica failed: the values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptFailure {
    /// No connection: refused, unreachable, or not in time.
    Connect,
    /// Connected, but no answer in time.
    Timeout,
    /// The replica closed or reset the connection before its answer was whole.
    Reset,
    /// What the replica sent is not HTTP.
    Protocol,
    /// Docker or the probes said that the replica is gone before it had answered.
    Lost,
}

impl AttemptFailure {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Timeout, Self::Reset, Self::Protocol, Self::Lost];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Protocol => "protocol",
            Self::Lost => "lost",
        }
    }
}

/// Status codes that HTTP has room for.
const CODES: std::ops::RangeInclusive<u16> = 100..=999;

/// The counters of one replica.
#[derive(Debug)]
pub struct ReplicaMetrics {
    codes: Box<[AtomicU64]>,
    failures: [AtomicU64; AttemptFailure::ALL.len()],
    faults: [AtomicU64; Fault::ALL.len()],
    broken_off: AtomicU64,
    ejections: AtomicU64,
    panic_picks: AtomicU64,
    duration: Histogram,
    tunnels: AtomicU64,
    cut: AtomicU64,
}

/// One tunnel that is open; dropped when it ends.
#[derive(Debug)]
#[must_use = "a tunnel that is dropped at once is not counted"]
pub struct OpenTunnel<'a>(&'a AtomicU64);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for ReplicaMetrics {
    fn default() -> Self {
        Self {
            codes: CODES.map(|_| AtomicU64::new(0)).collect(),
            failures: Default::default(),
            faults: Default::default(),
            broken_off: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            panic_picks: AtomicU64::new(0),
            duration: Histogram::default(),
            tunnels: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }
}

impl ReplicaMetrics {
    /// Counts an answer that ended: its status code, and the time from the request's head to the answer's end.
    pub fn record_answer(&self, code: u16, duration: Duration) {
        let place = code.checked_sub(*CODES.start()).map(usize::from);
        if let Some(count) = place.and_then(|place| self.codes.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.duration.observe(duration);
    }

    /// Counts an attempt that failed.
    pub fn record_failure(&self, failure: AttemptFailure) {
        if let Some(count) = self.failures.get(failure as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a tunnel in, until what it returns is dropped.
    pub fn open_tunnel(&self) -> OpenTunnel<'_> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        OpenTunnel(&self.tunnels)
    }

    /// Tunnels open now.
    pub fn tunnels(&self) -> u64 {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Counts a request or a tunnel that the drain timeout cut off.
    pub fn record_cut(&self) {
        self.cut.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests and tunnels that the drain timeout cut off so far.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// The codes answered so far, with their counts.
    pub fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        CODES.zip(self.codes.iter().map(|count| count.load(Ordering::Relaxed))).filter(|(_, count)| *count > 0)
    }

    /// The failed attempts so far, by reason.
    pub fn failures(&self) -> impl Iterator<Item = (AttemptFailure, u64)> {
        AttemptFailure::ALL.into_iter().zip(self.failures.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts a fault that may eject it; `broke_off`: in the midst of an answer, which is counted as such, too.
    pub fn record_fault(&self, fault: Fault, broke_off: bool) {
        if let Some(count) = self.faults.get(fault as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if broke_off {
            self.broken_off.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The faults so far, in the order of [`Fault::ALL`].
    pub fn faults(&self) -> [u64; Fault::ALL.len()] {
        self.faults.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Answers that broke off by a fault.
    pub fn broken_off(&self) -> u64 {
        self.broken_off.load(Ordering::Relaxed)
    }

    /// Counts an ejection.
    pub fn record_ejection(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Counts that it was picked although it was not ready, since no replica was.
    pub fn record_panic_pick(&self) {
        self.panic_picks.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was picked although it was not ready.
    pub fn panic_picks(&self) -> u64 {
        self.panic_picks.load(Ordering::Relaxed)
    }

    /// Answers in all.
    pub fn requests(&self) -> u64 {
        self.codes().map(|(_, count)| count).sum()
    }

    /// Failed attempts in all.
    pub fn errors(&self) -> u64 {
        self.failures().map(|(_, count)| count).sum()
    }

    /// How long the answers took.
    pub fn duration(&self) -> &Histogram {
        &self.duration
    }
}

/// Why a client got an answer of our own instead of a replica's: the values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request is not HTTP/1 as we accept it.
    BadRequest,
    /// The request's head is longer than we accept.
    HeadTooLarge,
    /// The request's body is longer than we accept.
    BodyTooLarge,
    /// A method that is not forwarded: `CONNECT`, `TRACE`.
    MethodRefused,
    /// The client did not send its request in time.
    ClientTimeout,
    /// The request names a service that nobody knows.
    NoSuchService,
    /// The service has no replica that takes requests now.
    NoReplicaReady,
    /// Every replica that is ready has as many requests as it may have.
    ReplicasBusy,
    /// There is no file descriptor for a connection to a replica.
    Overloaded,
    /// No connection to a replica: refused or unreachable.
    ConnectFailed,
    /// No connection to a replica in time.
    ConnectTimeout,
    /// The replica did not answer in time.
    ResponseTimeout,
    /// The replica closed or reset the connection before its answer.
    ReplicaReset,
    /// What the replica sent is not HTTP.
    ReplicaProtocol,
    /// A fault of our own.
    Internal,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 15] = [
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::BodyTooLarge,
        Self::MethodRefused,
        Self::ClientTimeout,
        Self::NoSuchService,
        Self::NoReplicaReady,
        Self::ReplicasBusy,
        Self::Overloaded,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::ResponseTimeout,
        Self::ReplicaReset,
        Self::ReplicaProtocol,
        Self::Internal,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::HeadTooLarge => "head-too-large",
            Self::BodyTooLarge => "body-too-large",
            Self::MethodRefused => "method-refused",
            Self::ClientTimeout => "client-timeout",
            Self::NoSuchService => "no-such-service",
            Self::NoReplicaReady => "no-replica-ready",
            Self::ReplicasBusy => "replicas-busy",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "connect-failed",
            Self::ConnectTimeout => "connect-timeout",
            Self::ResponseTimeout => "response-timeout",
            Self::ReplicaReset => "replica-reset",
            Self::ReplicaProtocol => "replica-protocol",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a worker stopped accepting for a while: the values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptPause {
    /// As many connections were open as there may be.
    Limit,
    /// The system had no descriptor or no memory for another.
    Error,
}

impl AcceptPause {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Limit, Self::Error];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Error => "error",
        }
    }
}

/// How a request's wait for a replica ended: the values of the label `outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// A replica took it.
    Released,
    /// It had waited for as long as it may.
    Expired,
    /// Its client left.
    Abandoned,
    /// It did not get to wait: too many did already.
    Shed,
}

impl HoldEnd {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Released, Self::Expired, Self::Abandoned, Self::Shed];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Abandoned => "abandoned",
            Self::Shed => "shed",
        }
    }
}

/// The counters of the proxy as a whole, shared by all data-plane threads. Nothing here is written by a request
/// that goes well on a connection that is already open.
#[derive(Debug, Default)]
pub struct ProxyMetrics {
    /// Client connections open now.
    pub connections_open: AtomicU64,
    /// Client connections let in so far.
    pub connections_total: AtomicU64,
    /// Client connections reset at once, since their client had as many as one may have.
    pub connections_refused: AtomicU64,
    /// Connections that could not be taken or made at first for want of file descriptors.
    pub descriptor_shortages: AtomicU64,
    /// Workers whose next client waits for room, so that they accept no other.
    pub workers_waiting: AtomicU64,
    /// Further attempts after a failed one.
    pub retries: AtomicU64,
    /// Requests that wait for a replica now.
    pub requests_held: AtomicU64,
    hold_ends: [AtomicU64; HoldEnd::ALL.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    accept_pauses: [AtomicU64; AcceptPause::ALL.len()],
    preface_faults: [AtomicU64; PrefaceFault::ALL.len()],
}

impl ProxyMetrics {
    /// Counts that a worker stopped accepting.
    pub fn record_accept_pause(&self, reason: AcceptPause) {
        if let Some(count) = self.accept_pauses.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often workers stopped accepting so far, by reason.
    pub fn accept_pauses(&self) -> impl Iterator<Item = (AcceptPause, u64)> {
        AcceptPause::ALL.into_iter().zip(self.accept_pauses.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts a connection that was closed for want of a right preface; how many were before, for this reason.
    pub fn record_preface_fault(&self, fault: PrefaceFault) -> u64 {
        self.preface_faults.get(fault as usize).map_or(0, |count| count.fetch_add(1, Ordering::Relaxed))
    }

    /// The connections closed for want of a right preface so far, by reason.
    pub fn preface_faults(&self) -> impl Iterator<Item = (PrefaceFault, u64)> {
        PrefaceFault::ALL.into_iter().zip(self.preface_faults.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts a request whose wait for a replica ended.
    pub fn record_hold_end(&self, end: HoldEnd) {
        if let Some(count) = self.hold_ends.get(end as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How waits for a replica ended so far, by outcome.
    pub fn hold_ends(&self) -> impl Iterator<Item = (HoldEnd, u64)> {
        HoldEnd::ALL.into_iter().zip(self.hold_ends.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts an answer of our own.
    pub fn record_refusal(&self, refusal: Refusal) {
        if let Some(count) = self.refusals.get(refusal as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The answers of our own so far, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.refusals.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn answers_are_counted_by_code() {
        let metrics = ReplicaMetrics::default();
        for code in [200, 100, 999, 200, 404] {
            metrics.record_answer(code, Duration::from_millis(3));
        }
        assert_eq!(metrics.codes().collect::<Vec<_>>(), [(100, 1), (200, 2), (404, 1), (999, 1)]);
        assert_eq!((metrics.requests(), metrics.errors()), (5, 0));
        assert_eq!(metrics.duration().read().0.iter().sum::<u64>(), 5);
    }

    #[test]
    fn a_code_that_http_has_no_room_for_is_no_other_code() {
        let metrics = ReplicaMetrics::default();
        for code in [0, 99, 1000, u16::MAX] {
            metrics.record_answer(code, Duration::ZERO);
        }
        assert_eq!(metrics.codes().count(), 0);
    }

    #[test]
    fn failures_are_counted_by_reason() {
        let metrics = ReplicaMetrics::default();
        for (times, failure) in (1..).zip(AttemptFailure::ALL) {
            (0..times).for_each(|_| metrics.record_failure(failure));
        }
        let words: Vec<_> = metrics.failures().map(|(failure, count)| (failure.as_str(), count)).collect();
        assert_eq!(words, [("connect", 1), ("timeout", 2), ("reset", 3), ("protocol", 4), ("lost", 5)]);
        assert_eq!(metrics.errors(), 15);
    }

    #[test]
    fn every_refusal_is_counted_under_its_own_word() {
        let metrics = ProxyMetrics::default();
        for (times, refusal) in Refusal::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| metrics.record_refusal(refusal));
        }
        let counted: Vec<_> = metrics.refusals().collect();
        let expected: Vec<_> = Refusal::ALL.into_iter().zip(1..).collect();
        assert_eq!(counted, expected);
        assert_eq!(Refusal::ALL.map(Refusal::as_str).into_iter().collect::<HashSet<_>>().len(), Refusal::ALL.len());
    }
}
