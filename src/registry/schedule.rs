//! The schedule of a list: the order in which its replicas have their turns, so that whoever is next, or is drawn, is found
//! without a look at all of them.
//!
//! Each replica has its place on a circle, by its incarnation and the golden ratio. So a row of newcomers that are not ready
//! yet is spread among the others, and a replica that comes or goes moves nobody else: a round that began on one list goes
//! on where it was on the next. A replica of more than the mean weight has several turns a round, as far from each other as
//! can be; one of less has one that it does not always take. How much of a turn counts is up to the balancer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

use crate::replica::{FULL_RAMP, Replica};

/// The golden ratio's part of the circle: multiples of it lie evenly apart, however many there are (Fibonacci hashing).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One turn of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Where on the circle.
    place: u64,
    /// Which replica of the list.
    replica: u32,
    /// The share that would fill the turn. The replica's own is no more.
    whole: u32,
}

impl Turn {
    /// Which replica of the list has it.
    pub(crate) fn replica(&self) -> usize {
        self.replica as usize
    }

    /// The share that would fill it; the replica's own is that or less.
    pub(crate) fn whole(&self) -> u32 {
        self.whole
    }
}

/// Where the schedule of the list before was left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    /// Where on the circle the next turn is.
    hand: u64,
    /// How much weight filled a turn; 0 if there was no schedule.
    unit: u32,
}

/// The turns of one round, and who is next.
#[derive(Debug)]
pub(crate) struct Schedule {
    turns: Box<[Turn]>,
    unit: u32,
    /// Counts on for ever. Every worker writes it, so it is on a line of its own.
    next: CachePadded<AtomicUsize>,
}

impl Schedule {
    /// The turns of this list, from where those of the one before were left.
    pub(super) fn new(list: &[Arc<Replica>], start: Start) -> Self {
        let unit = unit(list, start.unit);
        let mut turns = Vec::with_capacity(list.len());
        for (replica, index) in list.iter().zip(0..) {
            let many = u32::from(replica.spec().weight).div_ceil(unit);
            let (first, whole) = (replica.incarnation().wrapping_mul(GOLDEN), many * unit * u32::from(FULL_RAMP));
            let place = |nth: u32| first.wrapping_add(u64::MAX / u64::from(many) * u64::from(nth));
            turns.extend((0..many).map(|nth| Turn { place: place(nth), replica: index, whole }));
        }
        turns.sort_unstable_by_key(|turn| turn.place);
        let next = turns.partition_point(|turn| turn.place < start.hand);
        Self { turns: turns.into(), unit, next: CachePadded::new(AtomicUsize::new(next)) }
    }

    /// Where the next list's schedule goes on.
    pub(super) fn left(&self) -> Start {
        let next = self.at(self.next.load(Ordering::Relaxed));
        Start { hand: next.map_or(0, |turn| turn.place), unit: self.unit }
    }

    /// Takes the next turn, which nobody else gets; `None` if no replica has any.
    pub(crate) fn take(&self) -> Option<&Turn> {
        self.at(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The turn of this number, round and round.
    fn at(&self, number: usize) -> Option<&Turn> {
        self.turns.get(number.checked_rem(self.turns.len())?)
    }

    /// The turns in their order.
    pub(crate) fn turns(&self) -> &[Turn] {
        &self.turns
    }
}

/// How much weight is to fill a turn: about the mean, so that there are at most three times as many turns as replicas, and
/// at least every third of them is taken. As before if that will do, since with another one all that have several turns would
/// have others.
fn unit(list: &[Arc<Replica>], before: u32) -> u32 {
    let weights = || list.iter().map(|replica| replica.spec().weight).filter(|weight| *weight > 0);
    // The mean of such numbers is one, too.
    let mean = weights().map(u64::from).sum::<u64>() / weights().count().max(1) as u64;
    let mean = u32::try_from(mean).unwrap_or(u32::MAX).max(1);
    let are_equal = weights().all(|weight| u32::from(weight) == mean);
    if !are_equal && before <= mean * 2 && before * 2 >= mean { before } else { mean }
}

#[cfg(test)]
mod tests;
