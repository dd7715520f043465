//! The policies: which replica of a frozen list is next.

use std::cmp::Ordering;
use std::sync::Arc;

use fastrand::Rng;

use super::Tried;
use super::turn::{self, View};
use crate::registry::Replicas;
use crate::replica::Replica;
use crate::service::Policy;

/// Draws before [`draw`] looks at every replica: enough unless most are not ready or the weights are far apart.
const DRAWS: usize = 8;

/// The next replica by `policy` of those that are ready and not tried.
pub(super) fn choose<'a>(
    policy: Policy,
    replicas: &'a Replicas,
    tried: &Tried,
    rng: &mut Rng,
) -> Option<&'a Arc<Replica>> {
    let ready = |replica: &Replica| replica.is_pickable() && replica.has_room() && !tried.contains(replica);
    let all_ready = || replicas.list().iter().filter(|replica| ready(replica));
    match policy {
        Policy::P2c => {
            let one = draw(replicas, rng, ready)?;
            let other = draw(replicas, rng, |replica| ready(replica) && replica.incarnation() != one.incarnation());
            lightest([one].into_iter().chain(other), View::Pair)
        }
        Policy::RoundRobin => turn::take(all_ready(), View::All),
        Policy::LeastRequests => lightest(all_ready(), View::All),
        Policy::Random => draw(replicas, rng, ready),
    }
}

/// Draws a replica that `fits`, each with a chance in proportion to its weight.
fn draw<'a>(replicas: &'a Replicas, rng: &mut Rng, fits: impl Fn(&Replica) -> bool) -> Option<&'a Arc<Replica>> {
    let list = replicas.list();
    if list.is_empty() {
        return None;
    }
    for _ in 0..DRAWS {
        let drawn = list.get(rng.usize(..list.len())).filter(|replica| fits(replica));
        if let Some(replica) = drawn
            && (replica.spec().weight == replicas.heaviest() || rng.u16(..replicas.heaviest()) < replica.spec().weight)
        {
            return Some(replica);
        }
    }
    let (mut drawn, mut total) = (None, 0);
    for replica in list.iter().filter(|replica| fits(replica)) {
        let weight = u64::from(replica.spec().weight);
        total += weight;
        if rng.u64(..total) < weight {
            drawn = Some(replica);
        }
    }
    drawn
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

/// Requests in flight for each unit of weight, as a fraction.
struct Load {
    requests: u64,
    weight: u16,
}

impl Load {
    /// The load that `replica` has with so many requests more.
    fn with(replica: &Arc<Replica>, more: u64) -> Self {
        Self { requests: replica.in_flight().saturating_add(more), weight: replica.spec().weight }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let scaled = |load: &Self, by: u16| u128::from(load.requests) * u128::from(by);
        scaled(self, other.weight).cmp(&scaled(other, self.weight))
    }
}

#[cfg(test)]
mod tests;
