use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;

use super::super::{Lease, policy};
use super::*;
use crate::registry::Replicas;
use crate::registry::fixtures::spec;
use crate::replica::{FULL_RAMP, Health, Lifecycle, ReplicaSpec};
use crate::service::Policy;

const MILLI: Duration = Duration::from_millis(1);

fn replica(number: u16) -> Arc<Replica> {
    weighing(1, number)
}

fn weighing(weight: u16, number: u16) -> Arc<Replica> {
    let replica = Replica::new(ReplicaSpec { weight, ..spec("gateway", number) }, Lifecycle::Running);
    replica.set_health(Health::Healthy);
    Arc::new(replica)
}

fn frozen(count: u16) -> Replicas {
    Replicas::freeze("gateway".into(), (1..=count).map(replica).collect())
}

fn at(seconds: u64) -> Moment {
    Moment(seconds * 1_000_000_000)
}

/// What is expected of it, in milliseconds.
fn millis(replica: &Replica, now: Moment) -> Option<f64> {
    expected(replica, now).map(|nanos| nanos / 1e6)
}

#[test]
fn a_rise_is_followed_at_once_and_a_fall_slowly() {
    let replica = replica(1);
    let _busy = Lease::claim(&replica).unwrap();
    assert_eq!(millis(&replica, at(0)), None);
    note(&replica, Latency::Is(MILLI), at(0));
    note(&replica, Latency::Is(MILLI * 101), at(0));
    assert_eq!(millis(&replica, at(9)), Some(101.0));
    note(&replica, Latency::Is(MILLI), at(10));
    let average = millis(&replica, at(10)).unwrap();
    assert!((average - (1.0 + 100.0 / std::f64::consts::E)).abs() < 0.01, "{average}");
    for second in 11..80 {
        note(&replica, Latency::Is(MILLI), at(second));
    }
    assert!(millis(&replica, at(80)).unwrap() < 1.1);
}

#[test]
fn to_fail_at_once_is_not_to_be_quick() {
    let replica = replica(1);
    let _busy = Lease::claim(&replica).unwrap();
    note(&replica, Latency::Is(MILLI * 20), at(0));
    note(&replica, Latency::AtLeast(MILLI), at(30));
    assert_eq!(millis(&replica, at(30)), Some(20.0));
    note(&replica, Latency::AtLeast(MILLI * 500), at(30));
    assert_eq!(millis(&replica, at(30)), Some(500.0));
}

#[test]
fn what_is_known_of_an_idle_replica_fades() {
    let replica = replica(1);
    note(&replica, Latency::Is(MILLI * 100), at(0));
    assert!((millis(&replica, at(10)).unwrap() - 36.8).abs() < 0.1);
    let _busy = Lease::claim(&replica).unwrap();
    assert_eq!(millis(&replica, at(10)), Some(100.0), "one request is enough to find out");
}

#[test]
fn the_sooner_of_two_has_the_lower_latency_for_its_requests() {
    let (quick, slow) = (replica(1), replica(2));
    let is_quick = || sooner(&slow, &quick, at(0)).map(|choice| Arc::ptr_eq(choice, &quick));
    assert_eq!(is_quick(), None, "nothing is known of either");
    note(&quick, Latency::Is(MILLI), at(0));
    assert_eq!(is_quick(), None, "nor of the other");
    note(&slow, Latency::Is(MILLI + MILLI / 2), at(0));
    assert_eq!(is_quick(), None, "they are much the same");
    note(&slow, Latency::Is(MILLI * 10), at(0));
    let mut leases: Vec<_> = (0..8).map(|_| Lease::claim(&quick).unwrap()).collect();
    assert_eq!(is_quick(), Some(true), "nine times 1 ms is less than 10 ms");
    leases.extend((0..2).map(|_| Lease::claim(&quick).unwrap()));
    assert_eq!(is_quick(), Some(false), "eleven times is more");
    slow.set_ramp(FULL_RAMP / 2);
    assert_eq!(is_quick(), Some(true), "it has half of its share");
}

#[test]
fn a_newcomer_is_neither_herded_nor_shunned() {
    let (replicas, rng) = (frozen(4), &mut Rng::with_seed(1));
    for replica in &replicas.list()[..3] {
        note(replica, Latency::Is(MILLI), at(0));
    }
    let mut leases = Vec::new();
    for _ in 0..80 {
        let choice = policy::choose(Policy::Ewma, &replicas, Replica::is_pickable, rng, || at(0)).unwrap();
        leases.push(Lease::claim(choice).unwrap());
    }
    let open: Vec<_> = replicas.list().iter().map(|replica| replica.in_flight()).collect();
    assert!(open.iter().all(|open| open.abs_diff(20) <= 2), "{open:?}");
}

#[test]
fn shares_follow_the_weights_where_all_are_about_as_quick() {
    let (weights, rng) = ([2, 3, 5], &mut Rng::with_seed(1));
    let all = weights.into_iter().zip(1..).map(|(weight, number)| weighing(weight, number)).collect();
    let (replicas, mut counts) = (Replicas::freeze("gateway".into(), all), [0_u32; 3]);
    for step in 0..10_000 {
        let now = Moment(step * 1_000_000);
        let choice = policy::choose(Policy::Ewma, &replicas, Replica::is_pickable, rng, || now).unwrap();
        counts[replicas.list().iter().position(|replica| Arc::ptr_eq(replica, choice)).unwrap()] += 1;
        note(choice, Latency::Is(MILLI + MILLI.mul_f64(rng.f64() * 0.8)), now);
    }
    for (count, weight) in counts.into_iter().zip(weights) {
        assert!(count.abs_diff(u32::from(weight) * 1_000) < 60, "{counts:?}");
    }
}

/// Clients that each send a request as soon as the last one was answered, to replicas that take their time for each,
/// give or take a half, however many they have. The latencies in microseconds, sorted, without those of the first second.
fn closed_loop(policy: Policy, means: &[u64], clients: usize, seed: u64) -> Vec<u64> {
    const WARM: u64 = 1_000_000;
    let replicas = frozen(u16::try_from(means.len()).unwrap());
    let (rng, mut latencies) = (&mut Rng::with_seed(seed), Vec::new());
    // The requests under way, the next to be answered first: until when, since when, at which replica.
    let mut open: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
    let mut leases: Vec<Vec<Lease>> = means.iter().map(|_| Vec::new()).collect();
    let mut now = 0;
    while latencies.len() < 50_000 {
        if open.len() == clients {
            let Reverse((end, start, place)) = open.pop().unwrap();
            now = end;
            leases[place].pop();
            note(&replicas.list()[place], Latency::Is(Duration::from_micros(end - start)), Moment(now * 1_000));
            if start > WARM {
                latencies.push(end - start);
            }
        }
        let moment = || Moment(now * 1_000);
        let choice = policy::choose(policy, &replicas, Replica::is_pickable, rng, moment).unwrap();
        let place = replicas.list().iter().position(|replica| Arc::ptr_eq(replica, choice)).unwrap();
        leases[place].push(Lease::claim(choice).unwrap());
        let mean = means[place];
        open.push(Reverse((now + rng.u64(mean / 2..mean * 3 / 2), now, place)));
    }
    latencies.sort_unstable();
    latencies
}

fn p99(policy: Policy, means: &[u64], clients: usize, seed: u64) -> f64 {
    let latencies = closed_loop(policy, means, clients, seed);
    latencies[latencies.len() * 99 / 100] as f64 / 1_000.0
}

const ONE_SLOW: [u64; 8] = [5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 50_000];

#[test]
#[expect(clippy::print_stdout, reason = "docs/balancing.md quotes it")]
fn one_slow_replica_of_eight_does_not_show_in_the_tail() {
    let p99s = |policy| [16, 64].map(|clients| p99(policy, &ONE_SLOW, clients, 7));
    let [ewma, p2c, round_robin] = [Policy::Ewma, Policy::P2c, Policy::RoundRobin].map(p99s);
    println!("p99 in ms with 16 and 64 clients: ewma {ewma:?}, p2c {p2c:?}, round-robin {round_robin:?}");
    for clients in 0..2 {
        assert!(ewma[clients] < 7.6, "no slower than a quick one: {ewma:?}");
        assert!(p2c[clients] > 30.0 && round_robin[clients] > 50.0, "{p2c:?} {round_robin:?}");
    }
}

#[test]
fn equal_replicas_are_served_as_well_as_by_p2c() {
    for clients in [4, 16, 64] {
        let [ewma, p2c] = [Policy::Ewma, Policy::P2c].map(|policy| p99(policy, &[5_000; 8], clients, 7));
        assert!((ewma - p2c).abs() < 0.1, "{clients} clients: {ewma} {p2c}");
    }
}
