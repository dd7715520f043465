use std::sync::Arc;

use super::*;
use crate::change::Change;
use crate::metrics::Faults;
use crate::provider::Provider;
use crate::registry::RegistryWriter;
use crate::registry::fixtures::gateway;
use crate::replica::Health;

const SECOND: Duration = Duration::from_secs(1);

/// Replicas of one service and their ejector, at a time that only the test lets pass.
struct Bench {
    registry: Registry,
    writer: RegistryWriter,
    ejector: Ejector,
    now: Instant,
}

impl Bench {
    fn of(count: usize) -> Self {
        Self::with(count, EjectSettings::default())
    }

    fn with(count: usize, settings: EjectSettings) -> Self {
        let (registry, writer) = gateway(&vec![1; count]);
        let settings = ProxySettings { eject: settings, ..ProxySettings::default() };
        let ejector = Ejector::new(registry.clone(), watch::channel(Arc::new(settings)).1);
        Self { registry, writer, ejector, now: Instant::now() }
    }

    fn replica(&self, number: u32) -> Arc<Replica> {
        let replicas = self.registry.replicas("gateway").unwrap();
        Arc::clone(replicas.list().iter().find(|replica| replica.spec().number == Some(number)).unwrap())
    }

    /// So many attempts that fail.
    fn fail(&self, number: u32, fault: Fault, times: u32) {
        let replica = self.replica(number);
        for _ in 0..times {
            replica.metrics().record_fault(fault, false);
            if fault.is_status() {
                replica.metrics().record_answer(fault.as_str().parse().unwrap(), Duration::ZERO);
            }
            replica.count_failure();
        }
    }

    /// So many that go well.
    fn serve(&self, number: u32, times: u32) {
        let replica = self.replica(number);
        (0..times).for_each(|_| replica.metrics().record_answer(200, Duration::ZERO));
        replica.forget_failures();
    }

    /// Lets time pass with a look every quarter of a second.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += LOOK.min(end - self.now);
            self.ejector.look(self.now, true);
        }
    }

    fn look(&mut self) {
        self.ejector.look(self.now, false);
    }

    fn ejected(&self) -> Vec<u32> {
        let replicas = self.registry.replicas("gateway").unwrap();
        let ejected = replicas.list().iter().filter(|replica| replica.state() == State::Ejected);
        ejected.map(|replica| replica.spec().number.unwrap()).collect()
    }
}

#[test]
fn failures_in_a_row_eject_and_time_readmits() {
    let mut bench = Bench::of(2);
    let mut news = bench.registry.watch();
    bench.fail(1, Fault::Connect, 4);
    bench.look();
    assert_eq!(bench.ejected(), [0; 0]);
    bench.serve(1, 1);
    bench.fail(1, Fault::Connect, 4);
    bench.look();
    assert_eq!(bench.ejected(), [0; 0], "one went well in between");
    assert!(!news.has_changed().unwrap());
    bench.fail(1, Fault::Timeout, 6);
    bench.look();
    assert_eq!(bench.ejected(), [1]);
    assert!(news.has_changed().unwrap());
    news.mark_unchanged();
    let replica = bench.replica(1);
    assert_eq!((replica.ejected_by(), replica.metrics().ejections()), (Some(Fault::Connect), 1), "8 of 14");
    bench.pass(SECOND * 5 - LOOK);
    assert_eq!(bench.ejected(), [1]);
    assert!(!news.has_changed().unwrap());
    bench.pass(LOOK);
    assert_eq!(bench.ejected(), [0; 0]);
    assert!(news.has_changed().unwrap());
    assert_eq!(replica.consecutive_failures(), 0);
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [0; 0], "what was before is forgotten");
}

#[test]
fn at_most_half_are_ejected_the_worst_first() {
    let cases: [(u32, &[u32]); 6] = [(1, &[]), (2, &[2]), (3, &[3]), (4, &[3, 4]), (5, &[4, 5]), (8, &[5, 6, 7, 8])];
    for (count, worst) in cases {
        let mut bench = Bench::of(count as usize);
        (1..=count).for_each(|number| bench.fail(number, Fault::Reset, 4 + number));
        bench.pass(SECOND);
        assert_eq!(bench.ejected(), worst, "of {count}");
    }
}

#[test]
fn who_takes_nothing_anyway_is_not_among_those_who_could_bear_the_load() {
    let mut bench = Bench::of(4);
    bench.replica(3).set_health(Health::Unhealthy);
    bench.writer.apply(Change::Drain { provider: Provider::DOCKER, id: "gateway-4".into() });
    for number in 1..=4 {
        bench.fail(number, Fault::Reset, 10 + number);
    }
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [2]);
    bench.replica(3).set_health(Health::Healthy);
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [2], "half of three is one");
}

#[test]
fn half_of_twenty_that_fail_eject_without_a_row() {
    let mut bench = Bench::of(2);
    let mixed = |bench: &Bench, times| {
        (0..times).for_each(|_| {
            bench.fail(1, Fault::Unavailable, 1);
            bench.serve(1, 1);
        });
    };
    mixed(&bench, 9);
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [0; 0], "18 are too few");
    mixed(&bench, 1);
    bench.serve(1, 1);
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [0; 0], "10 of 21");
    mixed(&bench, 1);
    bench.fail(1, Fault::Unavailable, 1);
    bench.pass(LOOK);
    assert_eq!(bench.ejected(), [1], "12 of 24");
    assert_eq!(bench.replica(1).ejected_by(), Some(Fault::Unavailable));
}

#[test]
fn failures_that_are_long_ago_do_not_count() {
    let mut bench = Bench::of(2);
    for _ in 0..9 {
        bench.fail(1, Fault::Reset, 4);
        bench.serve(1, 1);
        bench.pass(SECOND * 4);
        assert_eq!(bench.ejected(), [0; 0], "15 within ten seconds");
    }
}

#[test]
fn either_rule_can_be_off() {
    let defaults = EjectSettings::default();
    for (failures, rate, expected) in [(0, 50, [1].as_slice()), (5, 0, &[1]), (0, 0, &[])] {
        let mut bench = Bench::with(2, EjectSettings { failures, rate, ..defaults });
        bench.fail(1, Fault::Reset, 30);
        bench.pass(SECOND);
        assert_eq!(bench.ejected(), expected, "{failures} {rate}");
    }
    let mut bench = Bench::with(2, EjectSettings { rate: 0, ..defaults });
    for _ in 0..30 {
        bench.fail(1, Fault::Reset, 4);
        bench.serve(1, 1);
    }
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [0; 0]);
    assert_eq!(defaults.on, Faults::ALL);
}

#[test]
fn who_fails_again_stays_out_for_longer() {
    let mut bench = Bench::of(2);
    for seconds in [5, 10, 20] {
        bench.fail(1, Fault::Reset, 5);
        bench.look();
        bench.pass(SECOND * seconds - LOOK);
        assert_eq!(bench.ejected(), [1], "{seconds}");
        bench.pass(LOOK);
        assert_eq!(bench.ejected(), [0; 0], "{seconds}");
    }
}

#[test]
fn what_probes_have_ended_is_over() {
    let mut bench = Bench::of(2);
    let replica = bench.replica(1);
    bench.fail(1, Fault::Connect, 30);
    bench.look();
    readmit(&replica, &bench.registry, "its probes pass");
    bench.pass(SECOND);
    assert_eq!(bench.ejected(), [0; 0], "nothing of it counts any more");
    bench.fail(1, Fault::Connect, 5);
    bench.look();
    bench.pass(SECOND * 10 - LOOK);
    assert_eq!(bench.ejected(), [1], "but that it was counts for the next");
    bench.pass(LOOK);
    assert_eq!(bench.ejected(), [0; 0]);
}

#[test]
fn a_restarted_container_has_a_clean_slate_and_one_that_left_is_forgotten() {
    let mut bench = Bench::of(2);
    bench.fail(1, Fault::Connect, 5);
    bench.look();
    assert_eq!(bench.ejected(), [1]);
    let spec = bench.replica(1).spec().clone();
    bench.writer.apply(Change::Remove { provider: Provider::DOCKER, id: spec.id.clone() });
    bench.look();
    assert_eq!(bench.ejector.cases.len(), 1);
    crate::registry::fixtures::join(&bench.registry, &mut bench.writer, spec);
    bench.pass(SECOND);
    assert_eq!((bench.ejected(), bench.replica(1).state()), (vec![], State::Ready));
}

#[tokio::test(start_paused = true)]
async fn an_alarm_is_heard_at_once_and_an_ejection_ends_to_the_moment() {
    let settings = EjectSettings { time: Duration::from_millis(100), rate: 0, ..EjectSettings::default() };
    let bench = Bench::with(2, settings);
    let (stop, replica) = (CancellationToken::new(), bench.replica(1));
    let task = tokio::spawn(bench.ejector.run(stop.clone()));
    let mut news = bench.registry.watch();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!([(); 5].map(|()| replica.count_failure()), [1, 2, 3, 4, 5]);
    let start = Instant::now();
    bench.registry.raise_alarm();
    news.changed().await.unwrap();
    assert_eq!((replica.state(), start.elapsed()), (State::Ejected, Duration::ZERO));
    news.changed().await.unwrap();
    let millis = start.elapsed().as_millis();
    assert!(replica.state() == State::Ready && (100..=101).contains(&millis), "{millis}");
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn new_settings_hold_at_once_and_without_any_who_was_ejected_comes_back_in_time() {
    let (registry, _writer) = gateway(&[1, 1]);
    let with = |eject| Arc::new(ProxySettings { eject, ..ProxySettings::default() });
    let off = EjectSettings { failures: 0, rate: 0, ..EjectSettings::default() };
    let (settings, newest) = watch::channel(with(off));
    let (ejector, stop) = (Ejector::new(registry.clone(), newest), CancellationToken::new());
    let running = tokio::spawn(ejector.run(stop.clone()));
    let first = Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
    let fail = || {
        (0..3).for_each(|_| {
            first.metrics().record_fault(Fault::Reset, false);
            first.count_failure();
        });
        registry.raise_alarm();
    };
    fail();
    tokio::time::sleep(SECOND).await;
    assert_eq!(first.state(), State::Ready);
    settings.send_replace(with(EjectSettings { failures: 3, ..off }));
    tokio::time::sleep(SECOND).await;
    assert_eq!(first.state(), State::Ejected);
    settings.send_replace(with(off));
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(first.state(), State::Ready);
    fail();
    tokio::time::sleep(SECOND).await;
    assert_eq!(first.state(), State::Ready);
    stop.cancel();
    running.await.unwrap();
}
