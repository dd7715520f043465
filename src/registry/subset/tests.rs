use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::change::Change;
use crate::provider::Provider;
use crate::registry::Registry;
use crate::registry::fixtures::{running, spec};
use crate::replica::{Health, ReplicaId, ReplicaSpec};

/// How often each of so many replicas is taken by a fleet, and the greatest distance of its share of the fleet's requests
/// from an even one, in parts of that; each evenkeel has as many requests as any other and parts them evenly.
fn fleet(count: usize, size: usize, slots: usize) -> (Vec<usize>, f64) {
    let (mut times, mut shares) = (vec![0; count], vec![0.0; count]);
    for slot in 1..=slots {
        let part = part(count, SubsetSettings { size, slot, slots }).unwrap_or(0..count);
        assert!(part.len() >= if count <= size { count } else { size * 4 / 5 } && part.len() <= count, "{part:?}");
        let share = 1.0 / (slots * part.len()) as f64;
        for index in part {
            times[index % count] += 1;
            shares[index % count] += share;
        }
    }
    let off = shares.iter().map(|share| (share * count as f64 - 1.0).abs()).fold(0.0, f64::max);
    (times, off)
}

proptest! {
    #[test]
    fn every_replica_is_in_as_many_parts_as_any_other(
        (count, size, slots) in (1..3000_usize, 20..300_usize, 1..60_usize),
    ) {
        let (times, off) = fleet(count, size, slots);
        prop_assert!(times.iter().all(|n| *n == times[0] && *n > 0), "{times:?}");
        prop_assert!(off < 0.1, "{off}");
    }

    #[test]
    fn one_replica_more_moves_a_part_by_a_few(
        (count, size, slots) in (40..1000_usize, 20..100_usize, 2..40_usize),
        (slot, rank) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let subset = SubsetSettings { size, slot: slot.index(slots) + 1, slots };
        let pieces = |count: usize| (slots * size * 4).div_ceil(count * 5);
        let (Some(before), Some(after)) = (part(count, subset), part(count + 1, subset)) else { return Ok(()) };
        prop_assume!(pieces(count) == pieces(count + 1));
        // The newcomer stands at this place, and whoever stood there or behind it one further.
        let rank = rank.index(count + 1);
        let moved: HashSet<_> = before.map(|i| i % count).map(|i| if i < rank { i } else { i + 1 }).collect();
        let after: HashSet<_> = after.map(|i| i % (count + 1)).collect();
        prop_assert!(moved.symmetric_difference(&after).count() <= 4, "{moved:?} {after:?}");
    }
}

#[test]
fn ten_thousand_among_twenty_are_as_even_as_can_be() {
    let (times, off) = fleet(10_000, 500, 20);
    assert_eq!((times, off < 1e-9), (vec![1; 10_000], true));
    let (times, off) = fleet(10_007, 500, 20);
    assert_eq!(times, vec![1; 10_007]);
    assert!(off < 0.002, "{off}");
}

/// What an evenkeel would do by itself: take those of which a hash of its own name and the replica's is greatest.
#[test]
fn parts_that_each_draws_for_itself_are_uneven() {
    let (count, size, slots) = (10_000, 500, 20);
    let mut times = vec![0; count];
    for slot in 0..slots {
        let mut rng = fastrand::Rng::with_seed(slot);
        let mut ranks: Vec<_> = (0..count).map(|index| (rng.u64(..), index)).collect();
        ranks.sort();
        ranks.iter().take(size).for_each(|(_, index)| times[*index] += 1);
    }
    let share = |times: usize| times as f64 * count as f64 / (size as f64 * slots as f64);
    let idle = times.iter().filter(|times| **times == 0).count();
    assert!(idle > count / 4, "{idle} get nothing");
    assert!(times.iter().any(|times| share(*times) >= 4.0), "and some four times their share");
}

#[test]
fn the_hash_is_the_published_one() {
    let known = [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)];
    assert!(known.iter().all(|(text, value)| fnv(text) == *value));
}

#[test]
fn replicas_of_a_like_name_are_not_neighbours() {
    let mut ring: Vec<_> = (0..1000).map(|number| (hash(&format!("gateway-{number}")), number)).collect();
    ring.sort();
    let neighbours = ring.windows(2).filter(|pair| pair[0].1 / 100 == pair[1].1 / 100).count();
    assert!(neighbours < 200, "{neighbours} of about 100 by chance");
}

/// Several evenkeels that hear the same.
struct Fleet(Vec<(Registry, RegistryWriter)>);

impl Fleet {
    fn new(size: usize, slots: usize) -> Self {
        let evenkeel = |slot| {
            let (registry, writer) = Registry::new();
            (registry, writer.with_subset(Some(SubsetSettings { size, slot, slots })))
        };
        Self((1..=slots).map(evenkeel).collect())
    }

    fn apply(&mut self, changes: &[Change]) {
        for (_, writer) in &mut self.0 {
            writer.apply_all(changes.iter().cloned());
        }
    }

    /// With replicas of these numbers.
    fn of(size: usize, slots: usize, numbers: Range<u16>) -> Self {
        let mut fleet = Self::new(size, slots);
        fleet.apply(&numbers.map(|number| running(spec("gateway", number))).collect::<Vec<_>>());
        fleet
    }

    fn list(&self, evenkeel: usize) -> Vec<Arc<Replica>> {
        self.0[evenkeel].0.replicas("gateway").unwrap().list().to_vec()
    }

    fn ids(&self, evenkeel: usize) -> HashSet<ReplicaId> {
        self.list(evenkeel).iter().map(|replica| replica.id().clone()).collect()
    }
}

fn id(number: u16) -> ReplicaId {
    spec("gateway", number).id
}

fn drain(number: u16) -> Change {
    Change::Drain { provider: Provider::DOCKER, id: id(number) }
}

fn remove(number: u16) -> Change {
    Change::Remove { provider: Provider::DOCKER, id: id(number) }
}

/// The number of one that the first evenkeel keeps to.
fn one_of(fleet: &Fleet) -> u16 {
    u16::try_from(fleet.list(0)[0].spec().number.unwrap()).unwrap()
}

#[test]
fn each_publishes_its_part_and_says_of_how_many() {
    let fleet = Fleet::of(10, 4, 0..40);
    let parts: Vec<_> = (0..4).map(|evenkeel| fleet.ids(evenkeel)).collect();
    assert!(parts.iter().all(|part| part.len() == 10));
    assert_eq!(parts.iter().flatten().collect::<HashSet<_>>().len(), 40, "each is somebody's");
    assert_eq!(fleet.0[0].0.replicas("gateway").unwrap().known(), 40);
}

#[test]
fn a_small_service_is_whole_and_becomes_so_again() {
    let mut fleet = Fleet::of(10, 4, 0..10);
    assert!((0..4).all(|evenkeel| fleet.list(evenkeel).len() == 10));
    fleet.apply(&(10..40).map(|number| running(spec("gateway", number))).collect::<Vec<_>>());
    assert_eq!((0..4).map(|evenkeel| fleet.list(evenkeel).len()).collect::<Vec<_>>(), [10; 4], "of 40");
    fleet.apply(&(10..40).map(remove).collect::<Vec<_>>());
    assert!((0..4).all(|evenkeel| fleet.list(evenkeel).len() == 10));
    assert!((0..4).all(|evenkeel| fleet.list(evenkeel).iter().all(|replica| !replica.is_set_aside())));
}

#[test]
fn a_drain_makes_room_for_another_and_who_drains_stays_until_it_is_removed() {
    let mut fleet = Fleet::of(10, 4, 0..40);
    let number = one_of(&fleet);
    let before = fleet.ids(0);
    fleet.apply(&[drain(number)]);
    let (now, list) = (fleet.ids(0), fleet.list(0));
    assert!(now.contains(&id(number)), "it may have requests");
    let able = list.iter().filter(|replica| !replica.is_draining() && !replica.is_set_aside()).count();
    assert!(able >= 9, "{able}");
    assert!(before.symmetric_difference(&now).count() <= 8);
    fleet.apply(&[remove(number)]);
    assert!((0..4).all(|evenkeel| !fleet.ids(evenkeel).contains(&id(number))));
}

#[test]
fn weight_0_is_in_nobodys_part_and_counts_for_none() {
    let mut fleet = Fleet::of(10, 4, 0..40);
    let idle = |number| running(ReplicaSpec { weight: 0, ..spec("gateway", number) });
    fleet.apply(&(40..80).map(idle).collect::<Vec<_>>());
    assert!((0..4).all(|evenkeel| fleet.list(evenkeel).len() == 10));
    assert!((0..4).all(|evenkeel| fleet.list(evenkeel).iter().all(|replica| replica.spec().weight > 0)));
}

/// A fleet whose parts shrink once [`MORE`] come, and those of the first evenkeel that it leaves then.
fn before_a_step() -> (Fleet, Vec<Arc<Replica>>) {
    let (fleet, larger) = (Fleet::of(10, 4, 0..MORE.start), Fleet::of(10, 4, 0..MORE.end));
    let stay = larger.ids(0);
    let leavers: Vec<_> = fleet.list(0).into_iter().filter(|replica| !stay.contains(replica.id())).collect();
    assert!(leavers.len() > 2, "{leavers:?}");
    (fleet, leavers)
}

const MORE: Range<u16> = 31..60;

fn more() -> Vec<Change> {
    MORE.map(|number| running(spec("gateway", number))).collect()
}

#[test]
fn who_leaves_the_subset_ends_its_requests_first_and_takes_none() {
    let (mut fleet, leavers) = before_a_step();
    let replica = Arc::clone(&leavers[0]);
    replica.set_health(Health::Healthy);
    replica.in_flight_cell().fetch_add(1, Ordering::SeqCst);
    fleet.apply(&more());
    let is_listed = |fleet: &Fleet| fleet.list(0).iter().any(|other| other.incarnation() == replica.incarnation());
    assert!(is_listed(&fleet), "it has a request");
    assert!(!replica.is_draining() && !replica.is_pickable() && !replica.is_pickable_in_panic());
    let (registry, writer) = &mut fleet.0[0];
    let version = *registry.watch().borrow();
    writer.remove_retired();
    assert!(writer.has_retiring() && *registry.watch().borrow() == version, "nothing is new");
    replica.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
    writer.remove_retired();
    assert!(!writer.has_retiring() && *registry.watch().borrow() == version + 1);
    assert!(!is_listed(&fleet));
    assert!(replica.is_draining(), "whoever still holds it finds that out");
}

#[test]
fn who_comes_back_is_what_it_was_or_a_newcomer_if_it_was_away() {
    let (mut fleet, leavers) = before_a_step();
    let (busy, idle) = (&leavers[0], &leavers[1]);
    for replica in [busy, idle] {
        replica.set_health(Health::Healthy);
        replica.set_drained_by_hand(true);
    }
    busy.in_flight_cell().fetch_add(1, Ordering::SeqCst);
    fleet.apply(&more());
    let find = |fleet: &Fleet, replica: &Replica| fleet.list(0).into_iter().find(|other| other.id() == replica.id());
    assert!(find(&fleet, busy).unwrap().is_set_aside() && find(&fleet, idle).is_none());
    fleet.apply(&MORE.map(remove).collect::<Vec<_>>());
    let now = find(&fleet, busy).unwrap();
    assert_eq!((now.incarnation(), now.health(), now.is_set_aside()), (busy.incarnation(), Health::Healthy, false));
    let now = find(&fleet, idle).unwrap();
    assert_ne!(now.incarnation(), idle.incarnation());
    assert_eq!((now.health(), now.is_drained_by_hand()), (Health::Unknown, true));
}

fn step() -> impl Strategy<Value = Change> {
    let number = || 0..60_u16;
    prop_oneof![
        6 => number().prop_map(|number| running(spec("gateway", number))),
        1 => number().prop_map(|number| running(ReplicaSpec { weight: 0, ..spec("gateway", number) })),
        2 => number().prop_map(drain),
        1 => number().prop_map(|number| Change::Retire { provider: Provider::DOCKER, id: id(number) }),
        2 => number().prop_map(remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_fleet_that_hears_the_same_shares_evenly_and_cuts_nobody(
        slots in 1..7_usize,
        steps in prop::collection::vec((prop::collection::vec(step(), 1..12), any::<prop::sample::Index>()), 1..25),
    ) {
        let (size, mut fleet) = (10, Fleet::new(10, slots));
        fleet.apply(&[running(spec("gateway", 0))]);
        for (changes, luck) in steps {
            let before: Vec<_> = (0..slots).map(|evenkeel| fleet.list(evenkeel)).collect();
            // One of them gets a request for as long as this step.
            let busy = before.get(luck.index(slots)).and_then(|list| list.get(luck.index(list.len().max(1)))).cloned();
            if let Some(replica) = &busy {
                replica.in_flight_cell().fetch_add(1, Ordering::SeqCst);
            }
            fleet.apply(&changes);
            let (mut times, mut able) = (BTreeMap::<ReplicaId, usize>::new(), HashSet::new());
            for (evenkeel, before) in before.iter().enumerate() {
                let (registry, writer) = &fleet.0[evenkeel];
                let list = registry.replicas("gateway").unwrap();
                let takes = |r: &&Arc<Replica>| r.lifecycle() != Lifecycle::Draining && r.spec().weight > 0;
                able.extend(writer.known.values().map(|known| &known.replica).filter(takes).map(|r| r.id().clone()));
                let part: Vec<_> = list.list().iter().filter(|r| takes(r) && !r.is_set_aside()).collect();
                prop_assert!(part.len() >= (size * 4 / 5).min(able.len()), "{} of {}", part.len(), able.len());
                part.iter().for_each(|replica| *times.entry(replica.id().clone()).or_default() += 1);
                let listed: HashSet<_> = list.list().iter().map(|replica| replica.incarnation()).collect();
                for left in before.iter().filter(|replica| !listed.contains(&replica.incarnation())) {
                    prop_assert_eq!(left.lifecycle(), Lifecycle::Draining);
                    let is_named = |change: &Change| match change {
                        Change::Remove { id, .. } => id == left.id(),
                        _ => false,
                    };
                    prop_assert!(left.in_flight() == 0 || changes.iter().any(is_named), "a request was cut");
                }
                for replica in list.list().iter().filter(|replica| replica.is_set_aside()) {
                    prop_assert!(replica.in_flight() > 0);
                }
            }
            prop_assert_eq!(times.keys().collect::<HashSet<_>>(), able.iter().collect::<HashSet<_>>());
            prop_assert!(times.values().all(|n| Some(n) == times.values().next()), "{:?}", times);
            if let Some(replica) = &busy {
                replica.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
            }
            fleet.0.iter_mut().for_each(|(_, writer)| writer.remove_retired());
            for (registry, writer) in &fleet.0 {
                prop_assert!(!writer.has_retiring());
                prop_assert!(registry.replicas("gateway").unwrap().list().iter().all(|r| !r.is_set_aside()));
            }
        }
    }
}
