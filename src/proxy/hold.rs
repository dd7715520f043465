//! Where requests wait that no replica can take now: first come, first served, in one line per service that all
//! workers share.
//!
//! A lock guards the lines. Who has to wait takes it, and who makes way for somebody who waits; while nobody waits for any
//! service, a request only looks at a counter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use rustc_hash::FxHashMap;

use crate::config::settings::HoldSettings;
use crate::metrics::{HoldEnd, ProxyMetrics};
use crate::registry::Registry;

/// The lines of requests that wait, shared by all workers.
#[derive(Debug)]
pub struct Hold {
    /// How many wait in all.
    waiting: AtomicUsize,
    lines: Mutex<FxHashMap<String, Line>>,
    metrics: Arc<ProxyMetrics>,
}

/// The requests for one service.
#[derive(Debug, Default)]
struct Line {
    /// Who is to be woken when its turn comes, by order of arrival.
    turns: BTreeMap<u64, Waker>,
    next: u64,
    /// How many wait, whether or not they have lined up yet.
    requests: usize,
    /// What they keep in memory.
    bytes: usize,
}

/// The room that one request takes while it waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    hold: &'a Hold,
    service: String,
    turn: Option<u64>,
    bytes: usize,
}

impl Hold {
    /// Empty lines.
    pub fn new(metrics: Arc<ProxyMetrics>) -> Self {
        Self { waiting: AtomicUsize::new(0), lines: Mutex::default(), metrics }
    }

    /// How many requests wait now, for any service.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Whether a request that comes now has to wait for its turn.
    pub(super) fn has_line(&self, service: &str) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0 && self.lines().get(service).is_some_and(|line| !line.turns.is_empty())
    }

    /// Takes room for a request that keeps `bytes` of memory; `None` if as many wait for the service as may.
    pub(super) fn admit(&self, service: &str, bytes: usize, settings: &HoldSettings) -> Option<Place<'_>> {
        let mut lines = self.lines();
        let line = lines.entry(service.to_owned()).or_default();
        let held = line.bytes.saturating_add(bytes);
        if line.requests >= settings.requests || held > settings.bytes {
            if line.requests == 0 {
                lines.remove(service);
            }
            self.metrics.record_hold_end(HoldEnd::Shed);
            return None;
        }
        line.requests += 1;
        line.bytes = held;
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.metrics.requests_held.fetch_add(1, Ordering::Relaxed);
        Some(Place { hold: self, service: service.to_owned(), turn: None, bytes })
    }

    /// Wakes who is first in line for the service: a replica may have room.
    pub(super) fn wake(&self, service: &str) {
        if self.waiting.load(Ordering::SeqCst) > 0
            && let Some(line) = self.lines().get(service)
        {
            line.wake();
        }
    }

    /// Wakes who is first in each line, whenever something changes in the registry. Never ends.
    pub(super) async fn follow(&self, registry: &Registry) {
        let mut changes = registry.watch();
        while changes.changed().await.is_ok() {
            if self.waiting.load(Ordering::SeqCst) > 0 {
                self.lines().values().for_each(Line::wake);
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, FxHashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn wake(&self) {
        if let Some((_, first)) = self.turns.first_key_value() {
            first.wake_by_ref();
        }
    }
}

impl Place<'_> {
    /// Whether it is this request's turn; if not, `waker` will be woken once it is. Also while it is, for whatever may
    /// let it go on. The first call takes the last place in line.
    pub(super) fn is_next(&mut self, waker: &Waker) -> bool {
        let mut lines = self.hold.lines();
        let Some(line) = lines.get_mut(&self.service) else { return true };
        let turn = *self.turn.get_or_insert_with(|| {
            line.next += 1;
            line.next
        });
        line.turns.entry(turn).and_modify(|known| known.clone_from(waker)).or_insert_with(|| waker.clone());
        line.turns.first_key_value().is_none_or(|(first, _)| *first == turn)
    }

    /// Gives the place up and counts why.
    pub(super) fn leave(self, end: HoldEnd) {
        self.hold.metrics.record_hold_end(end);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.hold.lines();
        if let Some(line) = lines.get_mut(&self.service) {
            if let Some(turn) = self.turn {
                line.turns.remove(&turn);
            }
            line.requests -= 1;
            line.bytes -= self.bytes;
            // What let this one go on may be enough for the next, too.
            line.wake();
            if line.requests == 0 {
                lines.remove(&self.service);
            }
        }
        self.hold.waiting.fetch_sub(1, Ordering::SeqCst);
        self.hold.metrics.requests_held.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn hold() -> Hold {
        Hold::new(Arc::default())
    }

    fn room(requests: usize, bytes: usize) -> HoldSettings {
        HoldSettings { requests, bytes, ..HoldSettings::default() }
    }

    fn caller() -> (Arc<Calls>, Waker) {
        let calls = Arc::new(Calls::default());
        (Arc::clone(&calls), Waker::from(calls))
    }

    fn calls(calls: &Calls) -> usize {
        calls.0.swap(0, Ordering::Relaxed)
    }

    #[test]
    fn the_first_to_come_is_the_first_to_go_and_wakes_the_next() {
        let (hold, room) = (hold(), room(9, 9));
        assert!(!hold.has_line("a"));
        let [(first_calls, first_waker), (second_calls, second_waker)] = [caller(), caller()];
        let (mut second, mut first) = (hold.admit("a", 0, &room).unwrap(), hold.admit("a", 0, &room).unwrap());
        assert!(!hold.has_line("a"), "nobody has lined up");
        assert!(first.is_next(&first_waker));
        assert!(!second.is_next(&second_waker));
        assert!(first.is_next(&first_waker), "its turn stays its turn");
        assert!(hold.has_line("a") && !hold.has_line("b"));
        hold.wake("a");
        hold.wake("b");
        assert_eq!((calls(&first_calls), calls(&second_calls)), (1, 0));
        first.leave(HoldEnd::Released);
        assert_eq!((calls(&first_calls), calls(&second_calls)), (0, 1));
        assert!(second.is_next(&second_waker));
        drop(second);
        assert!(!hold.has_line("a"));
        assert!(hold.lines().is_empty());
        assert_eq!(hold.metrics.requests_held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_leaves_the_middle_of_the_line_does_not_hold_up_the_rest() {
        let (hold, room) = (hold(), room(9, 9));
        let callers: Vec<_> = (0..3).map(|_| caller()).collect();
        let mut places: Vec<_> = (0..3).map(|_| hold.admit("a", 0, &room).unwrap()).collect();
        for (place, (_, waker)) in places.iter_mut().zip(&callers) {
            place.is_next(waker);
        }
        drop(places.remove(1));
        drop(places.remove(0));
        assert!(calls(&callers[2].0) > 0);
        assert!(places[0].is_next(&callers[2].1));
    }

    #[test]
    fn the_room_is_bounded_in_requests_and_bytes_for_each_service() {
        let (hold, room) = (hold(), room(2, 100));
        let admit = |service, bytes| hold.admit(service, bytes, &room);
        let first = admit("a", 60).unwrap();
        assert!(admit("a", 41).is_none());
        let _second = admit("a", 40).unwrap();
        assert!(admit("a", 0).is_none());
        let _other = admit("b", 100).unwrap();
        drop(first);
        let _third = admit("a", 60).unwrap();
        assert!(admit("c", 101).is_none());
        assert_eq!(hold.lines().len(), 2);
        let shed = hold.metrics.hold_ends().find(|(end, _)| *end == HoldEnd::Shed).unwrap();
        assert_eq!(shed.1, 3);
    }
}
