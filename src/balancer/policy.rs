//! The policies: which replica of a frozen list is next.

use std::cmp::Ordering;
use std::sync::Arc;
use std::{array, iter};

use fastrand::Rng;

use super::latency::{self, Moment};
use super::turn::{self, View};
use crate::registry::Replicas;
use crate::replica::{FULL_RAMP, Replica};
use crate::service::Policy;

/// Draws before [`draw`] looks further: enough unless most are not ready or the weights are far apart.
const DRAWS: usize = 8;

/// In a list of no more than these each replica may be looked at: exact, and as cheap as anything else.
const FEW: usize = 32;

/// In a longer list, looks before each is looked at after all: enough if one in thirty can be picked.
const LOOKS: usize = 128;

/// Of how many `least-requests` takes the least in a longer list.
const SAMPLE: usize = 8;

/// The next replica by `policy` of those that `fit`; `now` is asked only by a policy that minds the time.
pub(super) fn choose<'a>(
    policy: Policy,
    replicas: &'a Replicas,
    fits: impl Fn(&Replica) -> bool,
    rng: &mut Rng,
    now: impl FnOnce() -> Moment,
) -> Option<&'a Arc<Replica>> {
    let all = || replicas.list().iter().filter(|replica| fits(replica));
    match policy {
        Policy::P2c | Policy::Ewma => {
            let one = draw(replicas, rng, &fits)?;
            let other = draw(replicas, rng, |replica| fits(replica) && replica.incarnation() != one.incarnation());
            match other {
                Some(other) if policy == Policy::Ewma => latency::sooner(one, other, now()),
                _ => None,
            }
            .or_else(|| lightest([one].into_iter().chain(other), View::Drawn))
        }
        Policy::RoundRobin if is_long(replicas) => {
            turn::next(replicas, LOOKS, &fits).or_else(|| turn::take(all(), View::All))
        }
        Policy::RoundRobin => turn::take(all(), View::All),
        Policy::LeastRequests if is_long(replicas) => {
            let mut draws = scheduled(replicas, rng, &fits);
            let sample: [_; SAMPLE] = array::from_fn(|_| draws.next());
            lightest(sample.into_iter().flatten(), View::Drawn).or_else(|| lightest(all(), View::All))
        }
        Policy::LeastRequests => lightest(all(), View::All),
        Policy::Random => draw(replicas, rng, &fits),
    }
}

fn is_long(replicas: &Replicas) -> bool {
    replicas.list().len() > FEW
}

/// Draws a replica that `fits`, each with a chance in proportion to its share.
fn draw<'a>(replicas: &'a Replicas, rng: &mut Rng, fits: impl Fn(&Replica) -> bool) -> Option<&'a Arc<Replica>> {
    let list = replicas.list();
    if list.is_empty() {
        return None;
    }
    for _ in 0..DRAWS {
        let drawn = list.get(rng.usize(..list.len())).filter(|replica| fits(replica));
        if let Some(replica) = drawn
            && has_luck(replica.share(), u32::from(replicas.heaviest()) * u32::from(FULL_RAMP), rng)
        {
            return Some(replica);
        }
    }
    if is_long(replicas)
        && let Some(replica) = scheduled(replicas, rng, &fits).next()
    {
        return Some(replica);
    }
    let (mut drawn, mut total) = (None, 0);
    for replica in list.iter().filter(|replica| fits(replica)) {
        let share = u64::from(replica.share());
        total += share;
        if rng.u64(..total) < share {
            drawn = Some(replica);
        }
    }
    drawn
}

/// Replicas that `fit`, each drawn with a chance in proportion to its share, of so many draws as there may be looks.
///
/// Out of the schedule, in which who has a greater weight has more turns: so at least every other draw is good, however far
/// apart the weights are, if all of them fit.
fn scheduled<'a>(
    replicas: &'a Replicas,
    rng: &mut Rng,
    fits: impl Fn(&Replica) -> bool,
) -> impl Iterator<Item = &'a Arc<Replica>> {
    let turns = replicas.schedule().turns();
    let draw = move || {
        let turn = turns.get(rng.usize(..turns.len().max(1)))?;
        replicas
            .list()
            .get(turn.replica())
            .filter(|replica| fits(replica) && has_luck(replica.share(), turn.whole(), rng))
    };
    iter::repeat_with(draw).take(LOOKS).flatten()
}

/// Whether one with this share takes part in a draw, where the greatest share always does.
fn has_luck(share: u32, greatest: u32, rng: &mut Rng) -> bool {
    share >= greatest || rng.u32(..greatest) < share
}

/// The candidate with the fewest requests in flight for its weight; by turns where there are several.
///
/// Requests are whole, so loads within one request of each other count as equal: only a replica that has, as it
/// is, no less than another would have with this request is heavier. Without that a replica of weight 1 beside
/// one of weight 3 would get nothing at low load. For equal weights it is plainly the fewest requests.
fn lightest<'a>(candidates: impl Iterator<Item = &'a Arc<Replica>> + Clone, view: View) -> Option<&'a Arc<Replica>> {
    let lowest = candidates.clone().map(|replica| Load::with(replica, 1)).min_by(Load::compare)?;
    let light = candidates.clone().filter(|replica| Load::with(replica, 0).compare(&lowest).is_lt());
    // Other workers may have loaded every one of them by now: then they are as good as each other.
    turn::take(light, view).or_else(|| turn::take(candidates, view))
}

/// Requests in flight for each unit of its share, as a fraction.
struct Load {
    requests: u64,
    share: u32,
}

impl Load {
    /// The load that `replica` has with so many requests more.
    fn with(replica: &Arc<Replica>, more: u64) -> Self {
        Self { requests: replica.in_flight().saturating_add(more), share: replica.share() }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let scaled = |load: &Self, by: u32| u128::from(load.requests) * u128::from(by);
        scaled(self, other.share).cmp(&scaled(other, self.share))
    }
}

#[cfg(test)]
mod tests;
