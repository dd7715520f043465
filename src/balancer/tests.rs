use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::change::{Change, Sighting};
use crate::config::settings::SubsetSettings;
use crate::metrics::Fault;
use crate::provider::Provider;
use crate::registry::fixtures::{gateway, join, running, spec};
use crate::replica::{Health, Lifecycle, ReplicaId, ReplicaSpec};

/// The numbers of the replicas picked one after the other, each lease released at once.
fn picks(balancer: &Balancer, times: usize) -> Vec<u32> {
    (0..times).map(|_| number(&balancer.pick("gateway", &Tried::default()).unwrap())).collect()
}

fn number(lease: &Lease) -> u32 {
    lease.replica().spec().number.unwrap()
}

fn counts(picks: &[u32]) -> BTreeMap<u32, usize> {
    picks.iter().fold(BTreeMap::new(), |mut counts, number| {
        *counts.entry(*number).or_default() += 1;
        counts
    })
}

fn in_flight(registry: &Registry) -> u64 {
    registry.services().iter().flat_map(|r| r.list()).map(|r| r.in_flight()).sum()
}

#[test]
fn says_why_there_is_none() {
    let (registry, _writer) = gateway(&[1]);
    let balancer = Balancer::new(registry.clone(), Policy::P2c, 1);
    let error = balancer.pick("billing", &Tried::default()).unwrap_err();
    assert_eq!(error, PickError::NoSuchService("billing".into()));
    assert_eq!(error.to_string(), "no replica of service billing was ever seen");
    registry.replicas("gateway").unwrap().list()[0].set_lifecycle(Lifecycle::Paused);
    let error = balancer.pick("gateway", &Tried::default()).unwrap_err();
    assert_eq!(error, PickError::NoneReady("gateway".into()));
    assert_eq!(error.to_string(), "no replica of service gateway is ready");
}

#[test]
fn a_retry_goes_elsewhere_until_all_were_tried() {
    for policy in Policy::ALL {
        let (registry, mut writer) = gateway(&[1, 2, 3]);
        let (balancer, mut tried) = (Balancer::new(registry, policy, 1), Tried::default());
        let mut seen = Vec::new();
        while let Ok(lease) = balancer.pick("gateway", &tried) {
            tried.add(lease.replica());
            seen.push(number(&lease));
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3], "{policy}");

        // The same containers with newer facts are still tried; one restarted elsewhere is not.
        writer.apply(running(ReplicaSpec { weight: 9, ..spec("gateway", 1) }));
        assert!(balancer.pick("gateway", &tried).is_err(), "{policy}");
        let moved = ReplicaSpec { addr: ([10, 0, 0, 9], 80).into(), ..spec("gateway", 1) };
        join(&balancer.registry, &mut writer, moved);
        assert_eq!(number(&balancer.pick("gateway", &tried).unwrap()), 1, "{policy}");
    }
}

#[test]
fn shares_are_even_at_low_load() {
    for policy in [Policy::P2c, Policy::RoundRobin, Policy::LeastRequests, Policy::Ewma] {
        let (registry, _writer) = gateway(&[1; 8]);
        let counts = counts(&picks(&Balancer::new(registry, policy, 42), 8_000));
        assert!(counts.len() == 8 && counts.values().all(|n| (980..=1_020).contains(n)), "{policy}: {counts:?}");
    }
}

#[test]
fn the_same_seed_makes_the_same_picks() {
    for policy in Policy::ALL {
        let run = |seed| picks(&Balancer::new(gateway(&[1, 2, 3, 4]).0, policy, seed), 200);
        assert_eq!(run(5), run(5), "{policy}");
        let draws = matches!(policy, Policy::P2c | Policy::Random | Policy::Ewma);
        assert_eq!(run(5) != run(6), draws, "{policy}");
    }
}

#[test]
fn round_robin_takes_each_once_across_workers() {
    for count in [6, 100] {
        let (registry, _writer) = gateway(&vec![1; count]);
        let workers: Vec<_> = (0..4)
            .map(|seed| {
                let registry = registry.clone();
                thread::spawn(move || picks(&Balancer::new(registry, Policy::RoundRobin, seed), 1_500))
            })
            .collect();
        let all: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        let counts = counts(&all);
        assert!(counts.len() == count && counts.values().all(|times| *times == 6_000 / count), "{counts:?}");
    }
}

/// Not for a moment: who waits for room, and looks then, would wait on although there is room.
#[test]
fn who_finds_a_replica_full_is_never_counted_as_one_that_it_has() {
    let (registry, mut writer) = gateway(&[]);
    join(&registry, &mut writer, ReplicaSpec { max_concurrency: NonZeroU32::new(1), ..spec("gateway", 1) });
    thread::scope(|scope| {
        for seed in 0..2 {
            let balancer = Balancer::new(registry.clone(), Policy::RoundRobin, seed);
            scope.spawn(move || {
                for lease in (0..50_000).filter_map(|_| balancer.pick("gateway", &Tried::default()).ok()) {
                    assert!((0..20).all(|_| lease.replica().in_flight() == 1));
                }
            });
        }
    });
    assert_eq!(in_flight(&registry), 0);
}

#[test]
fn a_lease_is_given_back_even_by_a_panic() {
    let (registry, _writer) = gateway(&[1, 1]);
    let balancer = Balancer::new(registry.clone(), Policy::P2c, 1);
    let held = balancer.pick("gateway", &Tried::default()).unwrap();
    assert_eq!(in_flight(&registry), 1);
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let _lease = balancer.pick("gateway", &Tried::default()).unwrap();
        assert_eq!(in_flight(&registry), 2);
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(unwound.is_err());
    assert_eq!(in_flight(&registry), 1);
    drop(held);
    assert_eq!(in_flight(&registry), 0);
}

/// Replicas drain, leave and come back while workers pick. Once a drained replica has nothing in flight it has
/// stopped, and no lease may be on it from then on.
#[test]
fn nobody_holds_a_replica_that_has_stopped() {
    for policy in Policy::ALL {
        let (registry, mut writer) = gateway(&[1; 8]);
        let (stopped, done) = (Mutex::new(HashSet::new()), AtomicBool::new(false));
        thread::scope(|scope| {
            for seed in 0..2 {
                let (balancer, stopped, done) = (Balancer::new(registry.clone(), policy, seed), &stopped, &done);
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let lease = balancer.pick("gateway", &Tried::default()).unwrap();
                        assert!(!stopped.lock().unwrap().contains(&lease.replica().incarnation()), "{policy}");
                    }
                });
            }
            for round in 0..1_500 {
                let old = Arc::clone(&registry.replicas("gateway").unwrap().list()[round % 8]);
                let id = old.id().clone();
                writer.apply(Change::Drain { provider: Provider::DOCKER, id: id.clone() });
                while old.in_flight() > 0 {
                    std::hint::spin_loop();
                }
                stopped.lock().unwrap().insert(old.incarnation());
                writer.apply(Change::Remove { provider: Provider::DOCKER, id });
                join(&registry, &mut writer, old.spec().clone());
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(in_flight(&registry), 0, "{policy}");
        assert_eq!(stopped.into_inner().unwrap().len(), 1_500, "{policy}");
    }
}

#[test]
fn when_none_is_ready_all_that_run_share_the_requests() {
    for policy in Policy::ALL {
        let (registry, mut writer) = gateway(&[1; 6]);
        let replicas = registry.replicas("gateway").unwrap();
        let [first, second, third, fourth, fifth, _] = replicas.list() else { panic!("six replicas") };
        let balancer = Balancer::new(registry.clone(), policy, 3);
        first.set_health(Health::Unhealthy);
        second.eject(Fault::Reset, 1);
        third.set_lifecycle(Lifecycle::Ailing);
        fourth.set_lifecycle(Lifecycle::Paused);
        fifth.set_health(Health::Unknown);
        assert_eq!(counts(&picks(&balancer, 90)).into_keys().collect::<Vec<_>>(), [6], "{policy}: one is ready");
        assert!(replicas.list().iter().all(|replica| replica.metrics().panic_picks() == 0));
        writer.apply(Change::Drain { provider: Provider::DOCKER, id: "gateway-6".into() });
        let counts = counts(&picks(&balancer, 300));
        assert_eq!(counts.keys().collect::<Vec<_>>(), [&1, &2, &3], "{policy}");
        let off = if policy == Policy::Random { 30 } else { 10 };
        assert!(counts.values().all(|count| count.abs_diff(100) <= off), "{policy}: {counts:?}");
        let counted: u64 = replicas.list().iter().map(|replica| replica.metrics().panic_picks()).sum();
        assert_eq!((counted, in_flight(&registry)), (300, 0));
        second.readmit();
        assert_eq!(picks(&balancer, 50), [2; 50], "{policy}: the panic is over");
    }
}

#[test]
fn nobody_is_picked_in_panic_beside_a_ready_one_that_only_has_no_room() {
    let (registry, mut writer) = gateway(&[1]);
    let limited = ReplicaSpec { max_concurrency: NonZeroU32::new(1), ..spec("gateway", 2) };
    join(&registry, &mut writer, limited);
    let replicas = registry.replicas("gateway").unwrap();
    let balancer = Balancer::new(registry.clone(), Policy::P2c, 1);
    replicas.list()[0].set_health(Health::Unhealthy);
    let held = balancer.pick("gateway", &Tried::default()).unwrap();
    assert_eq!(number(&held), 2);
    let full = PickError::NoRoom("gateway".into());
    assert_eq!(balancer.pick("gateway", &Tried::default()).unwrap_err(), full);
    replicas.list()[1].set_health(Health::Unhealthy);
    assert_eq!(number(&balancer.pick("gateway", &Tried::default()).unwrap()), 1);
    assert!(balancer.has_any("gateway") && !balancer.has_other("gateway", &Tried::default(), &replicas.list()[0]));
    replicas.list()[0].set_lifecycle(Lifecycle::Paused);
    assert_eq!(balancer.pick("gateway", &Tried::default()).unwrap_err(), full, "nor is its limit broken then");
    drop(held);
    assert_eq!(number(&balancer.pick("gateway", &Tried::default()).unwrap()), 2);
}

#[test]
fn who_was_tried_on_a_kept_connection_goes_before_who_is_not_ready() {
    let (registry, _writer) = gateway(&[1, 1, 1]);
    let replicas = registry.replicas("gateway").unwrap();
    let [first, second, third] = replicas.list() else { panic!("three replicas") };
    third.set_health(Health::Unhealthy);
    let (balancer, mut tried) = (Balancer::new(registry.clone(), Policy::RoundRobin, 1), Tried::default());
    let mut next = |note: fn(&mut Tried, &Replica), replica: &Replica| {
        note(&mut tried, replica);
        balancer.pick("gateway", &tried).ok().map(|lease| number(&lease))
    };
    assert_eq!(next(Tried::add_kept, first), Some(2));
    assert_eq!(next(Tried::add, second), Some(1), "on another connection");
    assert_eq!(next(Tried::add, first), Some(3), "the last resort");
    assert_eq!(next(Tried::add, third), None);
}

/// Where a replica is, what its probes say, whether it is ejected, and its weight.
type Condition = (Lifecycle, Health, bool, u16);

/// Whether a replica was tried, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trial {
    None,
    Kept,
    Fresh,
}

fn condition() -> impl Strategy<Value = (Condition, Trial)> {
    use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
    let lifecycle =
        prop_oneof![4 => Just(Running), 1 => prop::sample::select(vec![Starting, Ailing, Paused, Draining])];
    let health = prop_oneof![3 => Just(Health::Healthy), 1 => Just(Health::Unknown), 1 => Just(Health::Unhealthy)];
    let trial = prop_oneof![6 => Just(Trial::None), 1 => Just(Trial::Kept), 1 => Just(Trial::Fresh)];
    ((lifecycle, health, prop::bool::weighted(0.3), 0..4_u16), trial)
}

/// Who may be picked: who is ready and was not tried; else who is ready and was tried on a kept connection only; else
/// who runs and was ready once.
fn allowed(replicas: &[(Condition, Trial)]) -> Vec<u32> {
    let is_ready = |(lifecycle, health, is_ejected, weight): Condition| {
        (lifecycle, health, is_ejected) == (Lifecycle::Running, Health::Healthy, false) && weight > 0
    };
    let runs = |(lifecycle, health, _, weight): Condition| {
        matches!(lifecycle, Lifecycle::Running | Lifecycle::Ailing) && health != Health::Unknown && weight > 0
    };
    let of = |fits: &dyn Fn(Condition, Trial) -> bool| -> Vec<u32> {
        let numbered = replicas.iter().zip(1..);
        numbered.filter(|((condition, trial), _)| fits(*condition, *trial)).map(|(_, number)| number).collect()
    };
    let stages = [
        of(&|condition, trial| is_ready(condition) && trial == Trial::None),
        of(&|condition, trial| is_ready(condition) && trial != Trial::Fresh),
        of(&|condition, trial| runs(condition) && trial != Trial::Fresh),
    ];
    stages.into_iter().find(|stage| !stage.is_empty()).unwrap_or_default()
}

proptest! {
    #[test]
    fn picks_only_who_may_be_picked(conditions in prop::collection::vec(condition(), 0..12), seed: u64) {
        for policy in Policy::ALL {
            let (registry, mut writer) = gateway(&[]);
            let mut tried = Tried::default();
            for (((lifecycle, health, is_ejected, weight), trial), number) in conditions.iter().zip(1..) {
                let spec = ReplicaSpec { weight: *weight, ..spec("gateway", number) };
                let replica = Box::new(Sighting { spec, lifecycle: *lifecycle });
                writer.apply(Change::Upsert { replica });
                let replica = Arc::clone(registry.replicas("gateway").unwrap().list().last().unwrap());
                replica.set_health(*health);
                if *is_ejected {
                    replica.eject(Fault::Connect, 1);
                }
                match trial {
                    Trial::None => {}
                    Trial::Kept => tried.add_kept(&replica),
                    Trial::Fresh => tried.add(&replica),
                }
            }
            let (balancer, allowed) = (Balancer::new(registry.clone(), policy, seed), allowed(&conditions));
            for _ in 0..20 {
                match balancer.pick("gateway", &tried) {
                    Ok(lease) => prop_assert!(allowed.contains(&number(&lease)), "{} of {:?}", number(&lease), allowed),
                    Err(PickError::NoSuchService(_)) => prop_assert!(conditions.is_empty()),
                    Err(PickError::NoRoom(_)) => prop_assert!(false, "none has a limit"),
                    Err(PickError::NoneReady(_)) => prop_assert!(allowed.is_empty() && !conditions.is_empty()),
                }
            }
            prop_assert_eq!(in_flight(&registry), 0);
        }
    }

    #[test]
    fn no_replica_gets_more_than_it_may_have_and_every_room_is_found(
        limits in prop::collection::vec(1..4_u32, 1..6),
        seed: u64,
    ) {
        for policy in Policy::ALL {
            let (registry, mut writer) = gateway(&vec![1; limits.len()]);
            for (number, limit) in (1..).zip(&limits) {
                let spec = ReplicaSpec { max_concurrency: NonZeroU32::new(*limit), ..spec("gateway", number) };
                let replica = Box::new(Sighting { spec, lifecycle: Lifecycle::Running });
                writer.apply(Change::Upsert { replica });
            }
            let (balancer, room) = (Balancer::new(registry.clone(), policy, seed), limits.iter().sum::<u32>());
            let pick = || balancer.pick("gateway", &Tried::default());
            let mut leases: Vec<_> = (0..room).map(|_| pick().unwrap()).collect();
            let replicas = registry.replicas("gateway").unwrap();
            for (replica, limit) in replicas.list().iter().zip(&limits) {
                prop_assert_eq!(replica.in_flight(), u64::from(*limit));
            }
            prop_assert_eq!(pick().unwrap_err(), PickError::NoRoom("gateway".into()));
            let has_other = |holder: &Replica| balancer.has_other("gateway", &Tried::default(), holder);
            prop_assert!(!replicas.list().iter().any(|holder| has_other(holder)));
            let freed = number(&leases.remove(leases.len() / 2));
            for holder in replicas.list() {
                prop_assert_eq!(has_other(holder), holder.spec().number != Some(freed));
            }
            prop_assert_eq!(number(&pick().unwrap()), freed);
        }
    }

    #[test]
    fn round_robin_takes_each_ready_one_once(ready in prop::collection::vec(any::<bool>(), 1..12), before in 0..30_usize) {
        let (registry, _writer) = gateway(&vec![1; ready.len()]);
        let balancer = Balancer::new(registry.clone(), Policy::RoundRobin, 1);
        picks(&balancer, before);
        for (replica, ready) in registry.replicas("gateway").unwrap().list().iter().zip(&ready) {
            replica.set_health(if *ready { Health::Healthy } else { Health::Unhealthy });
        }
        let many = ready.iter().filter(|ready| **ready).count();
        for _ in 0..3 {
            let round = counts(&picks(&balancer, many));
            prop_assert!(round.len() == many && round.values().all(|times| *times == 1), "{:?}", round);
        }
    }
}

/// Ten evenkeels before two hundred replicas, each with its own part of twenty, pick as often as one another.
#[test]
fn a_fleet_that_parts_a_service_loads_each_replica_with_its_even_share() {
    let (slots, replicas, rounds) = (10, 200, 100);
    for policy in Policy::ALL {
        let mut counts: HashMap<ReplicaId, usize> = HashMap::new();
        for slot in 1..=slots {
            let (registry, writer) = Registry::new();
            let mut writer = writer.with_subset(Some(SubsetSettings { size: 20, slot, slots }));
            writer.apply_all((1..=replicas).map(|number| running(spec("gateway", number))));
            let list = registry.replicas("gateway").unwrap();
            list.list().iter().for_each(|replica| replica.set_health(Health::Healthy));
            assert_eq!((list.list().len(), list.known()), (20, 200));
            let balancer = Balancer::new(registry, policy, slot as u64);
            for _ in 0..rounds * list.list().len() {
                let lease = balancer.pick("gateway", &Tried::default()).unwrap();
                *counts.entry(lease.replica().id().clone()).or_default() += 1;
            }
        }
        let even = slots * 20 * rounds / usize::from(replicas);
        // What is left to luck is no matter of the subset.
        let most = if policy == Policy::Random { even * 6 / 10 } else { even / 10 };
        assert_eq!(counts.len(), usize::from(replicas), "{policy}");
        let off = counts.values().map(|count| count.abs_diff(even)).max();
        assert!(off <= Some(most), "{policy}: {off:?} of {even}");
    }
}
