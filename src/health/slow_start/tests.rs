use std::sync::Arc;

use super::*;
use crate::registry::RegistryWriter;
use crate::registry::fixtures::{gateway, join, running, spec};
use crate::replica::{Health, Replica};

const LENGTH: Duration = Duration::from_secs(10);

/// Replicas that have been ready for as long as a ramp takes, and more that join them.
struct Bench {
    registry: Registry,
    writer: RegistryWriter,
    slow_start: SlowStart,
    now: Instant,
}

impl Bench {
    fn of(count: usize) -> Self {
        let (registry, writer) = gateway(&vec![1; count]);
        let settings = ProxySettings { slow_start: LENGTH, ..ProxySettings::default() };
        let slow_start = SlowStart::new(registry.clone(), watch::channel(Arc::new(settings)).1);
        let mut bench = Self { registry, writer, slow_start, now: Instant::now() };
        bench.pass(0);
        bench.pass(10);
        bench
    }

    fn join(&mut self, number: u16) {
        join(&self.registry, &mut self.writer, spec("gateway", number));
        self.pass(0);
    }

    fn pass(&mut self, seconds: u64) -> bool {
        self.now += Duration::from_secs(seconds);
        self.slow_start.step(self.now)
    }

    fn replica(&self, number: u32) -> Arc<Replica> {
        let replicas = self.registry.replicas("gateway").unwrap();
        Arc::clone(replicas.list().iter().find(|replica| replica.spec().number == Some(number)).unwrap())
    }

    fn ramps(&self) -> Vec<u16> {
        self.registry.replicas("gateway").unwrap().list().iter().map(|replica| replica.ramp()).collect()
    }
}

#[test]
fn who_joins_those_who_bear_the_load_climbs_from_a_tenth() {
    let mut bench = Bench::of(2);
    assert_eq!(bench.ramps(), [256, 256]);
    bench.join(3);
    assert_eq!(bench.ramps(), [256, 256, 26]);
    assert!(bench.pass(5));
    assert_eq!(bench.ramps(), [256, 256, 141]);
    assert!(!bench.pass(5));
    assert_eq!(bench.ramps(), [256; 3]);
}

#[test]
fn whoever_is_first_bears_all_at_once() {
    assert_eq!(Bench::of(3).ramps(), [256; 3]);
    let mut bench = Bench::of(0);
    for number in 1..4 {
        bench.join(number);
        assert_eq!(bench.ramps(), vec![256; number.into()]);
    }
}

#[test]
fn a_majority_of_newcomers_climbs_no_ramp() {
    let mut bench = Bench::of(2);
    let expected: [&[u16]; 6] = [&[256, 256, 26], &[256, 256, 26, 26], &[256; 5], &[256; 6], &[256; 7], &[256; 8]];
    for (number, expected) in (3..=8).zip(expected) {
        bench.join(number);
        assert_eq!(bench.ramps(), expected);
    }
    bench.pass(5);
    bench.join(9);
    assert_eq!(bench.ramps(), [256; 9]);
    bench.pass(5);
    assert_eq!(bench.ramps(), [256; 9], "who was let off its ramp is not put back on it");
}

#[test]
fn who_was_away_climbs_again() {
    let mut bench = Bench::of(3);
    let replica = bench.replica(1);
    replica.set_health(Health::Unhealthy);
    bench.pass(1);
    assert_eq!(replica.ramp(), 26, "so that it is there from its first moment on");
    replica.set_health(Health::Healthy);
    bench.pass(1);
    assert_eq!(replica.ramp(), 26);
    bench.pass(5);
    assert_eq!(replica.ramp(), 141);
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_is_on_its_ramp_before_it_is_ready_and_is_driven_up() {
    let Bench { registry, mut writer, slow_start, .. } = Bench::of(2);
    let stop = CancellationToken::new();
    let task = tokio::spawn(slow_start.run(stop.clone()));
    sleep(LENGTH).await;
    writer.apply(running(spec("gateway", 3)));
    let replica = Arc::clone(&registry.replicas("gateway").unwrap().list()[2]);
    assert_eq!(replica.ramp(), FULL_RAMP);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(replica.ramp(), BOTTOM, "though nobody has probed it yet");
    replica.set_health(Health::Healthy);
    registry.announce();
    sleep(LENGTH / 2).await;
    assert!((135..=141).contains(&replica.ramp()), "{}", replica.ramp());
    sleep(LENGTH / 2 + STEP).await;
    assert_eq!(replica.ramp(), FULL_RAMP);
    stop.cancel();
    task.await.unwrap();
}

#[test]
fn who_is_on_a_ramp_is_let_off_when_there_are_none_any_more_and_nobody_falls_when_there_are_again() {
    let mut bench = Bench::of(2);
    bench.join(3);
    assert_eq!(bench.ramps(), [256, 256, 26]);
    bench.slow_start.set_length(Duration::ZERO);
    assert!(!bench.pass(1));
    assert_eq!(bench.ramps(), [256; 3]);
    bench.join(4);
    assert_eq!(bench.ramps(), [256; 4]);
    bench.slow_start.set_length(LENGTH);
    bench.pass(0);
    assert_eq!(bench.ramps(), [256; 4]);
    bench.pass(10);
    bench.join(5);
    assert_eq!(bench.ramps(), [256, 256, 256, 256, 26]);
}
