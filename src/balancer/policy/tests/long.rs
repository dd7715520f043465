//! Lists in which not every replica is looked at.

use std::cell::Cell;
use std::collections::VecDeque;

use super::*;
use crate::balancer::Lease;

const COUNTS: [usize; 3] = [10, 1000, 10_000];

/// Replicas of weights that are drawn from these.
fn of_weights(weights: &[u16], count: usize, rng: &mut Rng) -> Replicas {
    frozen(&(0..count).map(|_| (weights[rng.usize(..weights.len())], 0)).collect::<Vec<_>>())
}

/// Leaves about this part of them ready, and says how many those are.
fn leave_ready(replicas: &Replicas, part: f64, rng: &mut Rng) -> usize {
    for replica in replicas.list() {
        replica.set_health(if rng.f64() < part { Health::Healthy } else { Health::Unhealthy });
    }
    ready(replicas).count()
}

fn ready(replicas: &Replicas) -> impl Iterator<Item = &Arc<Replica>> {
    replicas.list().iter().filter(|replica| replica.is_pickable())
}

/// The furthest that a ready replica's count is from its due; whoever is not ready had none.
fn furthest_off(replicas: &Replicas, counts: &[usize]) -> f64 {
    let weight = |replica: &Arc<Replica>| f64::from(replica.spec().weight);
    let each = counts.iter().sum::<usize>() as f64 / ready(replicas).map(weight).sum::<f64>();
    let off = replicas.list().iter().zip(counts).map(|(replica, count)| {
        let due = if replica.is_pickable() { each * weight(replica) } else { 0.0 };
        (*count as f64 - due).abs()
    });
    off.fold(0.0, f64::max)
}

/// How many replicas the policy looked at in each of so many picks: the most and the mean.
fn looks(policy: Policy, replicas: &Replicas, times: usize) -> (usize, usize) {
    let (rng, looks, mut most, mut all) = (&mut Rng::with_seed(5), Cell::new(0), 0, 0);
    for _ in 0..times {
        let fits = |replica: &Replica| {
            looks.set(looks.get() + 1);
            replica.is_pickable()
        };
        assert!(choose(policy, replicas, fits, rng, || Moment(0)).unwrap().is_pickable());
        let took = looks.replace(0);
        (most, all) = (most.max(took), all + took);
    }
    (most, all / times)
}

#[test]
fn a_pick_looks_at_as_many_however_many_there_are() {
    let rng = &mut Rng::with_seed(3);
    for (weights, part, mean) in [(&[1][..], 1.0, 16), (&[1, 100], 1.0, 24), (&[1, 2, 3], 0.25, 80), (&[9], 0.1, 112)] {
        for count in COUNTS {
            let replicas = of_weights(weights, count, rng);
            leave_ready(&replicas, part, rng);
            replicas.list()[0].set_health(Health::Healthy);
            for policy in Policy::ALL {
                let (most, looked) = looks(policy, &replicas, 500);
                assert!(most <= 2 * (DRAWS + LOOKS), "{policy}: {most} looks at once at {part} of {count}");
                // Of few, all are looked at, and perhaps looked at again.
                let mean = if count <= FEW { 3 * count } else { mean };
                assert!(looked <= mean, "{policy}: {looked} looks at {part} of {count}, weights {weights:?}");
            }
        }
    }
}

#[test]
fn one_that_can_be_picked_is_found_among_any_number_of_others() {
    let replicas = frozen(&[(1, 0); 10_000]);
    leave_ready(&replicas, 0.0, &mut Rng::with_seed(1));
    for policy in Policy::ALL {
        assert!(next(policy, &replicas, &mut Rng::with_seed(1)).is_none(), "{policy}");
        for index in [0, 4_321, 9_999] {
            let one = &replicas.list()[index];
            one.set_health(Health::Healthy);
            for seed in 0..3 {
                assert!(Arc::ptr_eq(next(policy, &replicas, &mut Rng::with_seed(seed)).unwrap(), one), "{policy}");
            }
            one.set_health(Health::Unhealthy);
        }
    }
}

/// Nearly all picks end in a look at all of them then.
#[test]
fn round_robin_is_even_among_a_few_ready_ones_of_many() {
    let replicas = frozen(&[(1, 0); 3000]);
    leave_ready(&replicas, 0.0, &mut Rng::with_seed(1));
    replicas.list()[500..507].iter().for_each(|replica| replica.set_health(Health::Healthy));
    let counts = chosen(Policy::RoundRobin, &replicas, 700);
    assert!(furthest_off(&replicas, &counts) <= 2.0, "{:?}", &counts[500..507]);
}

#[test]
fn a_great_weight_has_no_bursts() {
    let mut loads = vec![(1, 0); 100];
    loads[30].0 = 99;
    let (replicas, rng) = (frozen(&loads), &mut Rng::with_seed(1));
    let picks: Vec<_> =
        (0..2000).map(|_| next(Policy::RoundRobin, &replicas, rng).unwrap().spec().weight > 1).collect();
    for window in picks.windows(20) {
        let of_it = window.iter().filter(|is_it| **is_it).count();
        assert!((7..=13).contains(&of_it), "{of_it} of 20 picks");
    }
}

#[test]
fn who_is_on_its_ramp_gets_its_part_of_many() {
    for (policy, off) in [(Policy::RoundRobin, 1.0), (Policy::LeastRequests, 10.0)] {
        let replicas = frozen(&[(1, 0); 400]);
        replicas.list()[300..].iter().for_each(|replica| replica.set_ramp(FULL_RAMP / 4));
        let counts = chosen(policy, &replicas, 325 * 40);
        let (whole, ramping) = counts.split_at(300);
        let furthest = |counts: &[usize], due: f64| counts.iter().map(|n| (*n as f64 - due).abs()).fold(0.0, f64::max);
        assert!(furthest(whole, 40.0) <= off && furthest(ramping, 10.0) <= off, "{policy}: {counts:?}");
    }
}

#[test]
fn least_requests_of_many_are_nearly_as_even_as_of_few() {
    for weights in [&[1][..], &[1, 3]] {
        let (rng, count) = (&mut Rng::with_seed(11), 1000);
        let replicas = of_weights(weights, count, rng);
        let total: u64 = replicas.list().iter().map(|replica| u64::from(replica.spec().weight)).sum();
        // Ten open for each unit of weight; which of them ends is a matter of chance.
        let mut open = VecDeque::new();
        for turn in 0..30 * total {
            if turn >= 10 * total {
                let ends = rng.usize(..open.len());
                open.swap(0, ends);
                open.pop_front();
            }
            open.push_back(Lease::claim(next(Policy::LeastRequests, &replicas, rng).unwrap()).unwrap());
        }
        let loads = replicas.list().iter().map(|r| r.in_flight() as f64 / f64::from(r.spec().weight));
        let most = loads.fold(0.0, f64::max);
        assert!(most <= 12.0, "{most} where ten would be even, weights {weights:?}");
    }
}

#[test]
fn least_requests_passes_over_who_hangs() {
    let loads: Vec<_> = (0..1000).map(|number| (1, if number % 10 == 0 { 500 } else { 0 })).collect();
    let counts = chosen(Policy::LeastRequests, &frozen(&loads), 18_000);
    let (mut hung, mut others) = (0, Vec::new());
    counts.iter().enumerate().for_each(|(i, n)| if i % 10 == 0 { hung += n } else { others.push(*n) });
    assert_eq!(hung, 0);
    assert!(
        others.iter().all(|count| count.abs_diff(20) <= 6),
        "{:?} to {:?}",
        others.iter().min(),
        others.iter().max()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn round_robin_takes_each_ready_one_once_a_round(
        count in prop::sample::select(&COUNTS[..]),
        part in 0.3..1.0,
        before in 0..5000_usize,
        seed: u64,
    ) {
        let (replicas, rng) = (frozen(&vec![(1, 0); count]), &mut Rng::with_seed(seed));
        chosen(Policy::RoundRobin, &replicas, before);
        let many = leave_ready(&replicas, part, rng);
        prop_assume!(many > 0);
        for _ in 0..2 {
            let counts = chosen(Policy::RoundRobin, &replicas, many);
            for (replica, count) in replicas.list().iter().zip(counts) {
                prop_assert_eq!(count, usize::from(replica.is_pickable()));
            }
        }
    }

    #[test]
    fn shares_follow_the_weights_however_many_there_are(
        count in prop::sample::select(&COUNTS[..]),
        weights in prop::collection::vec(1..30_u16, 1..6),
        part in 0.5..1.0,
        seed: u64,
    ) {
        let rng = &mut Rng::with_seed(seed);
        let replicas = of_weights(&weights, count, rng);
        prop_assume!(leave_ready(&replicas, part, rng) > 0);
        // At any time, not only where a round ends.
        let mut counts = vec![0; count];
        for _ in 0..6 {
            let more = chosen(Policy::RoundRobin, &replicas, rng.usize(1..=count));
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
            let off = furthest_off(&replicas, &counts);
            prop_assert!(off <= 2.5, "{}", off);
        }
    }

    #[test]
    fn shares_stay_even_while_replicas_come_and_go(
        weights in prop::sample::select(vec![vec![1], vec![1, 3]]),
        picks in 1..60_usize,
        seed: u64,
    ) {
        let rng = &mut Rng::with_seed(seed);
        let mut replicas = of_weights(&weights, 300, rng);
        let staying: Vec<_> = replicas.list()[..200].to_vec();
        let mut counts = vec![0; 200];
        for _ in 0..200 {
            for (count, more) in counts.iter_mut().zip(chosen(Policy::RoundRobin, &replicas, picks)) {
                *count += more;
            }
            // One in ten of the last hundred leaves, and a newcomer takes its number.
            let mut list = replicas.list().to_vec();
            for old in list.iter_mut().skip(200) {
                if rng.u8(..10) > 0 {
                    continue;
                }
                let weight = weights[rng.usize(..weights.len())];
                let new = Replica::new(ReplicaSpec { weight, ..old.spec().clone() }, Lifecycle::Running);
                new.set_health(Health::Healthy);
                *old = Arc::new(new);
            }
            replicas = Replicas::freeze_after(Some(&replicas), "gateway".into(), list);
        }
        let staying = Replicas::freeze("gateway".into(), staying);
        let off = furthest_off(&staying, &counts);
        prop_assert!(off <= if weights.len() == 1 { 1.0 } else { 3.0 }, "{}", off);
    }
}
