//! Turns: who is next among replicas that are otherwise as good as each other.
//!
//! Every replica has a virtual time that moves on by `STRIDE / weight` with each pick, and the one that is
//! furthest behind is next. So shares follow the weights, smoothly, however the replicas are mixed from pick to
//! pick. A replica that joined late or was away for a while would be behind by all that it missed: it is owed
//! a few turns at most.
//!
//! To find it, all of them have to be looked at. Where they are many, the turns of the list's schedule are taken one after
//! the other instead: of those that can be picked each has its turn once a round, and who has less of a share than a turn is
//! worth saves it up until it has enough.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::registry::{Replicas, Turn};
use crate::replica::{FULL_RAMP, Replica};

/// How far a pick moves a replica of weight 1: fine enough for the greatest weight (64 a pick), and coarse enough
/// to last for 4·10¹² picks of one replica, years at full load.
const STRIDE: u64 = 1 << 22;

/// What the candidates are out of all that could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// All.
    All,
    /// A few drawn at random, by which luck puts one behind the others for a while.
    Drawn,
}

/// Takes the turn of the candidate that is furthest behind; of equals the first. `None` only if there is none.
///
/// No turn is taken twice: of two workers that want the same one, the second looks again.
pub(super) fn take<'a>(
    candidates: impl Iterator<Item = &'a Arc<Replica>> + Clone,
    view: View,
) -> Option<&'a Arc<Replica>> {
    loop {
        let mut next: Option<(u64, u64, &'a Arc<Replica>)> = None;
        let (mut furthest, mut longest, mut shortest) = (0, 0, u64::MAX);
        for replica in candidates.clone() {
            let turn = replica.turn_cell().at.load(Ordering::Relaxed);
            let stride = stride(replica);
            // Half a stride interleaves unequal weights: no burst of the heaviest before the others' first turn.
            let due = turn.saturating_add(stride / 2);
            if next.is_none_or(|(earliest, ..)| due < earliest) {
                next = Some((due, turn, replica));
            }
            (furthest, longest, shortest) = (turn.max(furthest), stride.max(longest), stride.min(shortest));
        }
        let (_, turn, replica) = next?;
        let debt = match view {
            // Replicas that are alike go round strictly: after its turn each is behind all others.
            View::All if shortest == longest => 0,
            View::All => longest,
            View::Drawn => longest * 4,
        };
        let moved = turn.max(furthest.saturating_sub(debt)).saturating_add(stride(replica));
        if replica.turn_cell().at.compare_exchange(turn, moved, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return Some(replica);
        }
    }
}

fn stride(replica: &Replica) -> u64 {
    let share = u64::from(replica.share().max(1));
    // What most have needs no division.
    if share == u64::from(FULL_RAMP) {
        return STRIDE;
    }
    (STRIDE * u64::from(FULL_RAMP) + share / 2) / share
}

/// Takes turns of the schedule until one is of a replica that `fits`, `looks` at most.
pub(super) fn next(replicas: &Replicas, looks: usize, fits: impl Fn(&Replica) -> bool) -> Option<&Arc<Replica>> {
    let schedule = replicas.schedule();
    (0..looks).find_map(|_| {
        let turn = schedule.take()?;
        replicas.list().get(turn.replica()).filter(|replica| fits(replica) && affords(replica, turn))
    })
}

/// Adds the replica's share to its savings, and says whether they come to a whole turn by now; then that is spent.
///
/// What is saved is counted in parts of 2^32, so that a whole turn is the carry. Not all begin with nothing: those with the
/// same share would then all take the same round's turns.
fn affords(replica: &Replica, turn: &Turn) -> bool {
    /// The part of the square root of 2 behind the point: its multiples have nothing to do with the places on the circle.
    const START: u32 = 0x6a09_e667;
    let (share, whole) = (replica.share(), turn.whole());
    if share >= whole {
        return true;
    }
    let part = (u64::from(share) << 32) / u64::from(whole);
    let part = u32::try_from(part).unwrap_or(u32::MAX);
    let saved = replica.turn_cell().savings.fetch_add(part, Ordering::Relaxed);
    let start = (replica.incarnation() as u32).wrapping_mul(START);
    saved.wrapping_add(start).overflowing_add(part).1
}
