//! What a worker needs for as long as it handles one piece of input, and no longer: so there is one of each for all of
//! its connections.

use std::time::{Duration, SystemTime};

use tokio::task::coop::has_budget_remaining;
use tokio::time::Instant;

use super::http1::{
    Fields, Limits, Parsed, RequestHead, RequestScan, ResponseHead, ResponseScan, parse_request, parse_response,
};
use super::pipes::Pipes;

/// The most that is read at once, in bytes: large bodies cost three times as much in pieces of 16 KiB.
const SCRATCH: usize = 256 * 1024;
/// The most that is read at once where the other side was slower than that, in bytes.
const SMALL_PIECE: usize = 16 * 1024;
/// What is read at once in the beginning, in bytes. With less, clients over the loopback interface were not seen to offer more room
/// than at first (docs/performance.md).
const FIRST_PIECE: usize = 64 * 1024;

/// A worker's scratch space.
#[derive(Debug)]
pub(super) struct Desk {
    /// What heads are read and written with.
    pub(super) heads: Heads,
    /// Input that needs not be kept.
    scratch: Box<[u8]>,
    /// By which long bodies pass.
    pub(super) pipes: Pipes,
}

/// How much to read at once: more as long as the other side takes it all, little when it does not, so that little is
/// kept for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach(usize);

impl Default for Reach {
    fn default() -> Self {
        Self(FIRST_PIECE)
    }
}

impl Reach {
    /// Notes whether the last piece was taken whole. If it was not since the task has had its turn, that says nothing.
    pub(super) fn note(&mut self, was_taken: bool) {
        if !(was_taken || has_budget_remaining()) {
            return;
        }
        self.0 = if was_taken { SCRATCH.min(self.0 * 2) } else { SMALL_PIECE };
    }

    /// Whether the other side did not keep up lately.
    pub(super) fn is_short(self) -> bool {
        self.0 < FIRST_PIECE
    }
}

impl Desk {
    /// An empty desk, for messages within `limits`.
    pub(super) fn new(limits: Limits) -> Self {
        let heads = Heads {
            fields: Fields::default(),
            out: Vec::new(),
            date: String::new(),
            date_holds_until: Instant::now(),
            limits,
            parses: 0,
        };
        Self { heads, scratch: vec![0; SCRATCH].into(), pipes: Pipes::default() }
    }

    /// The heads' part, and space to read so much into, but no more than `limit` bytes.
    pub(super) fn split(&mut self, reach: Reach, limit: u64) -> (&mut Heads, &mut [u8]) {
        let size = reach.0.min(usize::try_from(limit).unwrap_or(usize::MAX));
        (&mut self.heads, self.scratch.get_mut(..size).unwrap_or_default())
    }

    /// The heads' part, and a copy of `bytes` to be changed in place.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> (&mut Heads, &mut [u8]) {
        let count = bytes.len().min(self.scratch.len());
        if let (Some(copy), Some(bytes)) = (self.scratch.get_mut(..count), bytes.get(..count)) {
            copy.copy_from_slice(bytes);
        }
        (&mut self.heads, self.scratch.get_mut(..count).unwrap_or_default())
    }
}

/// What heads are read and written with.
#[derive(Debug)]
pub(super) struct Heads {
    /// The fields of the head parsed last.
    pub(super) fields: Fields,
    /// The outgoing head.
    pub(super) out: Vec<u8>,
    /// The time of the last [`Heads::look_at_clock`] as an HTTP date.
    pub(super) date: String,
    date_holds_until: Instant,
    /// How much of a message is taken.
    pub(super) limits: Limits,
    parses: u64,
}

impl Heads {
    /// The longest head, in bytes.
    pub(super) fn max_head(&self) -> usize {
        self.limits.head as usize
    }

    /// Changes with every head that is parsed: `fields` are those of a head for as long as this is the same.
    pub(super) fn ticket(&self) -> u64 {
        self.parses
    }

    /// Parses a request's head into `fields`.
    pub(super) fn parse_request(&mut self, buffer: &[u8], scan: &mut RequestScan) -> Parsed<RequestHead> {
        self.parses += 1;
        parse_request(buffer, scan, &self.limits, &mut self.fields)
    }

    /// Parses a request's head into `fields` that was within the limits when it came, whatever they are now; whether it is
    /// one.
    pub(super) fn parse_request_again(&mut self, buffer: &[u8]) -> bool {
        self.parses += 1;
        let parsed = parse_request(buffer, &mut RequestScan::default(), &Limits::NONE, &mut self.fields);
        matches!(parsed, Parsed::Complete { .. })
    }

    /// Parses an answer's head into `fields`.
    pub(super) fn parse_response(&mut self, buffer: &[u8], scan: &mut ResponseScan) -> Parsed<ResponseHead> {
        self.parses += 1;
        parse_response(buffer, scan, &self.limits, &mut self.fields)
    }

    /// Brings the date up to date. The system's clock is read once a second.
    pub(super) fn look_at_clock(&mut self, now: Instant) {
        if now < self.date_holds_until {
            return;
        }
        let time = SystemTime::now();
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let rest = Duration::from_secs(1).saturating_sub(Duration::from_nanos(since_epoch.subsec_nanos().into()));
        (self.date, self.date_holds_until) = (httpdate::fmt_http_date(time), now + rest);
    }
}
