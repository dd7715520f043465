//! Picks by one and by two threads, beside a writer that does nothing and one that changes the registry without a
//! break: what it costs, and that no pick is lost.
//!
//! A pick is lost if there is none although replicas are ready throughout, or if it is of a replica that had left
//! before the pick began.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot do its work is to say so and end")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

mod gateway;

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use evenkeel::balancer::{Balancer, Tried};
use evenkeel::change::Change;
use evenkeel::provider::Provider;
use evenkeel::registry::Registry;
use evenkeel::replica::ReplicaId;
use evenkeel::service::Policy;

use crate::gateway::{Gateway, id};

/// Replicas that stay, whose weights change.
const STAYING: u32 = 8;
/// Of each kind of run.
const ROUNDS: usize = 7;
/// Of one run.
const TIME: Duration = Duration::from_millis(300);
/// Picks between two looks at whether the time is over.
const BATCH: u64 = 256;

/// What one thread, or all of them, picked.
#[derive(Clone, Copy, Default)]
struct Picks {
    all: u64,
    /// Of replicas that came and will leave.
    of_guests: u64,
    lost: u64,
    /// CPU time.
    ran: Duration,
}

/// What one run found.
struct Run {
    picks: Picks,
    changes: u64,
}

/// What writer and readers tell each other.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    /// Guests up to this number have left.
    left: AtomicU32,
}

fn main() {
    // `cargo bench` says so; whoever runs all targets as tests does not mean this one.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (mut lost, mut picks, mut guests, mut changes) = (0, 0, 0, 0);
    println!(
        "CPU time of a pick among {STAYING} replicas, relative to one thread and no change; median of {ROUNDS} rounds"
    );
    for policy in Policy::ALL {
        let mut ratios: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            let runs = [(1, false), (1, true), (2, false), (2, true)].map(|(threads, is_changing)| {
                let run = run(policy, threads, is_changing);
                (lost, picks, guests) = (lost + run.picks.lost, picks + run.picks.all, guests + run.picks.of_guests);
                changes += run.changes;
                run.picks.ran.as_secs_f64() / run.picks.all.max(1) as f64
            });
            let [alone, others @ ..] = runs;
            ratios.iter_mut().zip(others).for_each(|(ratios, cost)| ratios.push(cost / alone));
        }
        let (name, [one_changing, two, two_changing]) = (policy.to_string(), ratios.map(median));
        println!(
            "{name:>15}: 1 thread, changes {one_changing:.2}; 2 threads {two:.2}; 2 threads, changes {two_changing:.2}"
        );
    }
    println!("{picks} picks, {guests} of them of replicas that came and left; {changes} changes; {lost} lost");
    assert!(guests > 0, "no replica came and left");
    assert_eq!(lost, 0, "picks were lost");
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or_default()
}

fn run(policy: Policy, threads: u64, is_changing: bool) -> Run {
    let mut gateway = Gateway::start(STAYING);
    let (shared, registry) = (Shared::default(), gateway.registry.clone());
    thread::scope(|scope| {
        let (shared, registry) = (&shared, &registry);
        let readers: Vec<_> =
            (0..threads).map(|seed| scope.spawn(move || read(policy, seed, registry, shared))).collect();
        let changes = write(&mut gateway, is_changing, shared);
        let picks = readers.into_iter().map(|reader| reader.join().unwrap()).reduce(|sum, picks| Picks {
            all: sum.all + picks.all,
            of_guests: sum.of_guests + picks.of_guests,
            lost: sum.lost + picks.lost,
            ran: sum.ran + picks.ran,
        });
        Run { picks: picks.unwrap_or_default(), changes }
    })
}

/// Picks until it is over.
fn read(policy: Policy, seed: u64, registry: &Registry, shared: &Shared) -> Picks {
    let (balancer, tried, mut picks) =
        (Balancer::new(registry.clone(), policy, seed), Tried::default(), Picks::default());
    let began = ran();
    while !shared.is_over.load(Ordering::Relaxed) {
        for _ in 0..BATCH {
            let left = shared.left.load(Ordering::SeqCst);
            match balancer.pick("gateway", &tried) {
                Ok(lease) => {
                    let number = lease.replica().spec().number.unwrap_or_default();
                    picks.of_guests += u64::from(number > STAYING);
                    picks.lost += u64::from(number > STAYING && number <= left);
                }
                Err(_) => picks.lost += 1,
            }
        }
        picks.all += BATCH;
    }
    picks.ran = ran() - began;
    picks
}

/// Lets the time pass, with or without changes; how many.
fn write(gateway: &mut Gateway, is_changing: bool, shared: &Shared) -> u64 {
    let (end, mut changes, mut turn, mut guest) = (Instant::now() + TIME, 0, 0, STAYING + 1);
    while Instant::now() < end {
        if !is_changing {
            thread::park_timeout(end.saturating_duration_since(Instant::now()));
            continue;
        }
        // A fact of one that stays: a new list with new versions of the same replicas.
        let (round, number) = (turn / STAYING, turn % STAYING);
        changes += u64::from(upsert(gateway, 1 + number, if round % 2 == 0 { 2 } else { 1 }));
        changes += u64::from(upsert(gateway, guest, 1));
        turn += 1;
        if is_ready(gateway, guest) {
            let id = || ReplicaId::from(id(guest));
            gateway.writer.apply(Change::Drain { provider: Provider::STATIC, id: id() });
            shared.left.store(guest, Ordering::SeqCst);
            gateway.writer.apply(Change::Remove { provider: Provider::STATIC, id: id() });
            (changes, guest) = (changes + 2, guest + 1);
        }
    }
    shared.is_over.store(true, Ordering::Relaxed);
    changes
}

/// Adds a replica, or tells of another weight; whether that was new.
fn upsert(gateway: &mut Gateway, number: u32, weight: u16) -> bool {
    let change = gateway.running(number, weight);
    gateway.writer.apply(change)
}

/// Whether the replica of this number takes requests.
fn is_ready(gateway: &Gateway, number: u32) -> bool {
    let replicas = gateway.registry.replicas("gateway").unwrap();
    replicas.list().iter().any(|replica| replica.spec().number == Some(number) && replica.is_pickable())
}

/// CPU time of this thread.
fn ran() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}
