use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::change::{Change, Provider, Sighting};
use crate::registry::fixtures::{gateway, join, running, spec};
use crate::replica::{Health, Lifecycle, ReplicaSpec};

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
    registry.replicas("gateway").unwrap().list()[0].set_health(Health::Unhealthy);
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
    for policy in [Policy::P2c, Policy::RoundRobin, Policy::LeastRequests] {
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
        let draws = matches!(policy, Policy::P2c | Policy::Random);
        assert_eq!(run(5) != run(6), draws, "{policy}");
    }
}

#[test]
fn round_robin_takes_each_once_across_workers() {
    let (registry, _writer) = gateway(&[1; 6]);
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let registry = registry.clone();
            thread::spawn(move || picks(&Balancer::new(registry, Policy::RoundRobin, seed), 1_500))
        })
        .collect();
    let all: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert!(counts(&all).values().all(|count| *count == 1_000), "{:?}", counts(&all));
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
                writer.apply(Change::Drain { provider: Provider::Docker, id: id.clone() });
                while old.in_flight() > 0 {
                    std::hint::spin_loop();
                }
                stopped.lock().unwrap().insert(old.incarnation());
                writer.apply(Change::Remove { provider: Provider::Docker, id });
                join(&registry, &mut writer, old.spec().clone());
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(in_flight(&registry), 0, "{policy}");
        assert_eq!(stopped.into_inner().unwrap().len(), 1_500, "{policy}");
    }
}

/// A replica's condition: where it is, what its probes say, its weight, and whether it was tried.
type Condition = (Lifecycle, Health, u16, bool);

fn condition() -> impl Strategy<Value = Condition> {
    use Lifecycle::{Ailing, Draining, Paused, Running, Starting};
    let lifecycle =
        prop_oneof![4 => Just(Running), 1 => prop::sample::select(vec![Starting, Ailing, Paused, Draining])];
    let health = prop_oneof![3 => Just(Health::Healthy), 1 => Just(Health::Unknown), 1 => Just(Health::Unhealthy)];
    (lifecycle, health, 0..4_u16, prop::bool::weighted(0.2))
}

proptest! {
    #[test]
    fn picks_only_what_is_ready_and_not_tried(
        conditions in prop::collection::vec(condition(), 0..12),
        seed: u64,
    ) {
        for policy in Policy::ALL {
            let (registry, mut writer) = gateway(&[]);
            let (mut tried, mut ready) = (Tried::default(), Vec::new());
            for ((lifecycle, health, weight, was_tried), number) in conditions.iter().zip(1..) {
                let spec = ReplicaSpec { weight: *weight, ..spec("gateway", number) };
                let replica = Box::new(Sighting { spec, lifecycle: *lifecycle });
                writer.apply(Change::Upsert { provider: Provider::Docker, replica });
                let replica = Arc::clone(registry.replicas("gateway").unwrap().list().last().unwrap());
                replica.set_health(*health);
                if *was_tried {
                    tried.add(&replica);
                }
                if (*lifecycle, *health, *was_tried) == (Lifecycle::Running, Health::Healthy, false) && *weight > 0 {
                    ready.push(u32::from(number));
                }
            }
            let balancer = Balancer::new(registry.clone(), policy, seed);
            for _ in 0..20 {
                match balancer.pick("gateway", &tried) {
                    Ok(lease) => prop_assert!(ready.contains(&number(&lease)), "{} of {:?}", number(&lease), ready),
                    Err(PickError::NoSuchService(_)) => prop_assert!(conditions.is_empty()),
                    Err(PickError::NoneReady(_)) => prop_assert!(ready.is_empty() && !conditions.is_empty()),
                    Err(PickError::NoRoom(_)) => prop_assert!(false, "none has a limit"),
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
                writer.apply(Change::Upsert { provider: Provider::Docker, replica });
            }
            let (balancer, room) = (Balancer::new(registry.clone(), policy, seed), limits.iter().sum::<u32>());
            let pick = || balancer.pick("gateway", &Tried::default());
            let mut leases: Vec<_> = (0..room).map(|_| pick().unwrap()).collect();
            for (replica, limit) in registry.replicas("gateway").unwrap().list().iter().zip(&limits) {
                prop_assert_eq!(replica.in_flight(), u64::from(*limit));
            }
            prop_assert_eq!(pick().unwrap_err(), PickError::NoRoom("gateway".into()));
            prop_assert!(!balancer.has_other("gateway", &Tried::default()));
            let freed = number(&leases.remove(leases.len() / 2));
            prop_assert!(balancer.has_other("gateway", &Tried::default()));
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
