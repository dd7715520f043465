mod long;

use fastrand::Rng;
use proptest::prelude::*;

use super::super::latency::Moment;
use super::*;
use crate::registry::fixtures::spec;
use crate::replica::ReplicaSpec;
use crate::replica::{Health, Lifecycle};

/// Ready replicas with these weights and requests in flight.
fn frozen(loads: &[(u16, u64)]) -> Replicas {
    let replica = |(weight, in_flight): &(u16, u64), number| {
        let replica = Replica::new(ReplicaSpec { weight: *weight, ..spec("gateway", number) }, Lifecycle::Running);
        replica.set_health(Health::Healthy);
        replica.in_flight_cell().store(*in_flight, std::sync::atomic::Ordering::Relaxed);
        Arc::new(replica)
    };
    Replicas::freeze("gateway".into(), loads.iter().zip(1..).map(|(load, number)| replica(load, number)).collect())
}

/// The next one of those that are ready.
fn next<'a>(policy: Policy, replicas: &'a Replicas, rng: &mut Rng) -> Option<&'a Arc<Replica>> {
    choose(policy, replicas, Replica::is_pickable, rng, || Moment(0))
}

/// How often each is chosen of so many times.
fn chosen(policy: Policy, replicas: &Replicas, times: usize) -> Vec<usize> {
    let (rng, mut counts) = (&mut Rng::with_seed(7), vec![0; replicas.list().len()]);
    for _ in 0..times {
        let choice = next(policy, replicas, rng).unwrap();
        counts[choice.spec().number.unwrap() as usize - 1] += 1;
    }
    counts
}

#[test]
fn an_empty_list_gives_none() {
    for policy in Policy::ALL {
        let choice = next(policy, &frozen(&[]), &mut Rng::with_seed(1)).cloned();
        assert!(choice.is_none(), "{policy}");
    }
}

#[test]
fn shares_follow_the_weights_at_low_load() {
    for policy in Policy::ALL {
        for weights in [&[2, 3, 5][..], &[1, 1, 1, 5], &[900, 1000, 1100, 1200]] {
            let counts = chosen(policy, &frozen(&weights.iter().map(|w| (*w, 0)).collect::<Vec<_>>()), 100_000);
            let total = f64::from(weights.iter().sum::<u16>());
            for (count, weight) in counts.iter().zip(weights) {
                let due = 100_000.0 * f64::from(*weight) / total;
                let off = (*count as f64 - due).abs() / due;
                assert!(off < 0.02, "{policy}: {counts:?} for {weights:?}");
            }
        }
    }
}

#[test]
fn extreme_weights_hold_where_nothing_is_left_to_chance() {
    for policy in [Policy::RoundRobin, Policy::LeastRequests] {
        let counts = chosen(policy, &frozen(&[(1, 0), (65_535, 0), (1, 0)]), 65_537 * 2);
        assert!(counts[0].abs_diff(2) <= 1 && counts[2].abs_diff(2) <= 1, "{policy}: {counts:?}");
    }
}

#[test]
fn round_robin_interleaves_unequal_weights() {
    let weights = [5_u16, 1, 1, 3];
    let replicas = frozen(&weights.map(|w| (w, 0)));
    for times in 1..100 {
        for (count, weight) in chosen(Policy::RoundRobin, &frozen(&weights.map(|w| (w, 0))), times).iter().zip(weights)
        {
            let due = times as f64 * f64::from(weight) / 10.0;
            assert!((*count as f64 - due).abs() <= 1.0, "{count} of {times} at weight {weight}");
        }
    }
    assert_eq!(chosen(Policy::RoundRobin, &replicas, 1000), [500, 100, 100, 300]);
}

#[test]
fn weights_hold_under_load_too() {
    // 40 requests stay open; each new one follows the end of the oldest.
    for policy in [Policy::P2c, Policy::LeastRequests] {
        let replicas = frozen(&[(1, 0), (3, 0), (4, 0)]);
        let (rng, mut open, mut counts) = (&mut Rng::with_seed(3), std::collections::VecDeque::new(), [0_u32; 3]);
        for _ in 0..100_000 {
            if open.len() == 40 {
                open.pop_front();
            }
            let choice = next(policy, &replicas, rng).unwrap();
            counts[replicas.list().iter().position(|r| Arc::ptr_eq(r, choice)).unwrap()] += 1;
            open.push_back(super::super::Lease::claim(choice).unwrap());
        }
        for (count, due) in counts.into_iter().zip([12_500_u32, 37_500, 50_000]) {
            assert!(count.abs_diff(due) < due / 50, "{policy}: {counts:?}");
        }
    }
}

#[test]
fn a_late_replica_is_not_herded() {
    for policy in Policy::ALL {
        let replicas = frozen(&[(1, 0); 8]);
        let late = &replicas.list()[7];
        late.set_health(Health::Unhealthy);
        assert_eq!(chosen(policy, &replicas, 20_000)[7], 0, "{policy}");
        late.set_health(Health::Healthy);
        let counts = chosen(policy, &replicas, 800);
        let off = if policy == Policy::Random { 40 } else { 10 };
        assert!(counts.iter().all(|count| count.abs_diff(100) <= off), "{policy}: {counts:?}");
    }
}

#[test]
fn who_comes_back_has_one_turn_a_round() {
    for policy in [Policy::RoundRobin, Policy::LeastRequests] {
        for missed in 0..10 {
            let replicas = frozen(&[(1, 0); 4]);
            replicas.list()[0].set_health(Health::Unhealthy);
            chosen(policy, &replicas, missed);
            replicas.list()[0].set_health(Health::Healthy);
            assert_eq!(chosen(policy, &replicas, 4), [1; 4], "{policy}, {missed} missed");
        }
    }
}

#[test]
fn who_is_on_its_ramp_gets_its_part() {
    for policy in Policy::ALL {
        let replicas = frozen(&[(1, 0); 4]);
        replicas.list()[3].set_ramp(FULL_RAMP / 4);
        let counts = chosen(policy, &replicas, 13_000);
        let off = counts[3].abs_diff(1_000) + counts[0].abs_diff(4_000);
        assert!(off < 400, "{policy}: {counts:?}");
    }
}

proptest! {
    #[test]
    fn p2c_takes_the_lighter_of_two(one in 0..50_u64, other in 0..50_u64, seed: u64) {
        let replicas = frozen(&[(1, one), (1, other)]);
        let choice = next(Policy::P2c, &replicas, &mut Rng::with_seed(seed)).unwrap();
        prop_assert_eq!(choice.in_flight(), one.min(other));
    }

    #[test]
    fn p2c_never_takes_the_heavier_of_its_pair(
        loads in prop::collection::vec((1..9_u16, 0..50_u64), 2..12),
        seed: u64,
    ) {
        let replicas = frozen(&loads);
        let choice = next(Policy::P2c, &replicas, &mut Rng::with_seed(seed)).unwrap();
        // Whatever the pair was, the other of it was no lighter: so somebody is no lighter.
        let heavier = |r: &&Arc<Replica>| Load::with(choice, 0).compare(&Load::with(r, 1)).is_lt();
        prop_assert!(replicas.list().iter().filter(|r| !Arc::ptr_eq(r, choice)).any(|r| heavier(&r)));
    }

    #[test]
    fn least_requests_takes_the_fewest(loads in prop::collection::vec((Just(1_u16), 0..50_u64), 1..12)) {
        let choice = frozen(&loads);
        let choice = next(Policy::LeastRequests, &choice, &mut Rng::with_seed(1)).unwrap();
        prop_assert_eq!(choice.in_flight(), loads.iter().map(|(_, in_flight)| *in_flight).min().unwrap());
    }
}
