use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::change::{Change, Sighting};
use crate::metrics::Fault;
use crate::provider::Provider;
use crate::registry::RegistryWriter;
use crate::registry::fixtures::{running, spec};
use crate::replica::{ProbeSpec, ReplicaSpec, State};

/// A prober over a registry, stopped at the end of the test.
struct Room {
    registry: Registry,
    writer: RegistryWriter,
    stop: CancellationToken,
    prober: JoinHandle<()>,
}

impl Room {
    fn open() -> Self {
        let ((registry, writer), stop) = (Registry::new(), CancellationToken::new());
        let prober = tokio::spawn(Prober::new(registry.clone()).run(stop.clone()));
        Self { registry, writer, stop, prober }
    }

    fn sees(&mut self, spec: &ReplicaSpec, lifecycle: Lifecycle) {
        let replica = Box::new(Sighting { spec: spec.clone(), lifecycle });
        self.writer.apply(Change::Upsert { replica });
    }

    fn replica(&self) -> Arc<Replica> {
        Arc::clone(&self.registry.replicas("gateway").unwrap().list()[0])
    }

    async fn becomes(&self, state: State) {
        eventually(|| self.replica().state() == state).await;
    }
}

/// Waits until `holds`, at most five seconds.
async fn eventually(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(5), wait).await.expect("in time");
}

/// An HTTP replica that answers every probe with the code that `code` holds and counts them.
async fn replica(code: &Arc<AtomicUsize>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, probes, code) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)), Arc::clone(code));
    let counted = Arc::clone(&probes);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {} Maybe\r\nContent-Length: 0\r\n\r\n", code.load(Ordering::Relaxed));
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (addr, probes)
}

/// A replica at `addr` that is asked for `/` every `interval`.
fn probed(addr: SocketAddr, interval: Duration) -> ReplicaSpec {
    let probe = ProbeSpec { path: Some("/".into()), interval, ..ProbeSpec::default() };
    ReplicaSpec { addr, probe, ..spec("gateway", 1) }
}

const OFTEN: Duration = Duration::from_millis(5);
const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn one_pass_makes_a_new_replica_ready() {
    let mut room = Room::open();
    let (addr, probes) = replica(&Arc::new(AtomicUsize::new(200))).await;
    room.sees(&probed(addr, NEVER), Lifecycle::Running);
    room.becomes(State::Ready).await;
    assert_eq!(probes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_replica_is_ready_soon_after_it_listens() {
    let mut room = Room::open();
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let spec = ReplicaSpec { addr, probe: ProbeSpec { interval: NEVER, ..ProbeSpec::default() }, ..spec("gateway", 1) };
    room.sees(&spec, Lifecycle::Running);
    eventually(|| room.replica().last_error().is_some()).await;
    assert_eq!(room.replica().last_error().unwrap(), "probe: Connection refused (os error 111)");
    assert_eq!(room.replica().state(), State::Starting);
    let _listener = TcpListener::bind(addr).await.unwrap();
    let listening = Instant::now();
    room.becomes(State::Ready).await;
    assert!(listening.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn health_falls_and_rises_with_the_answers() {
    let (mut room, code) = (Room::open(), Arc::new(AtomicUsize::new(200)));
    let (addr, _) = replica(&code).await;
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    room.becomes(State::Ready).await;
    code.store(500, Ordering::Relaxed);
    room.becomes(State::Unhealthy).await;
    assert_eq!(room.replica().last_error().unwrap(), "probe: answered 500 Internal Server Error");
    code.store(200, Ordering::Relaxed);
    room.becomes(State::Ready).await;
}

#[tokio::test]
async fn a_relist_changes_how_a_replica_is_probed() {
    let (mut room, code) = (Room::open(), Arc::new(AtomicUsize::new(200)));
    let (addr, _) = replica(&code).await;
    room.sees(&probed(addr, NEVER), Lifecycle::Running);
    room.becomes(State::Ready).await;
    code.store(500, Ordering::Relaxed);
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    room.becomes(State::Unhealthy).await;
}

#[tokio::test]
async fn pause_leaves_the_health_alone() {
    let (mut room, code) = (Room::open(), Arc::new(AtomicUsize::new(200)));
    let (addr, probes) = replica(&code).await;
    let spec = probed(addr, OFTEN);
    room.sees(&spec, Lifecycle::Running);
    room.becomes(State::Ready).await;
    room.sees(&spec, Lifecycle::Paused);
    let before = probes.load(Ordering::Relaxed);
    code.store(500, Ordering::Relaxed);
    // By the time that another replica was probed ten times, this one's probes would have failed often enough.
    let (addr, others) = replica(&Arc::new(AtomicUsize::new(200))).await;
    room.sees(&ReplicaSpec { id: "other".into(), number: Some(2), ..probed(addr, OFTEN) }, Lifecycle::Running);
    eventually(|| others.load(Ordering::Relaxed) > 10).await;
    assert!(probes.load(Ordering::Relaxed) <= before + 1, "at most one was on its way");
    assert_eq!(room.replica().health(), Health::Healthy);
    room.sees(&spec, Lifecycle::Running);
    assert_eq!(room.replica().state(), State::Ready);
    room.becomes(State::Unhealthy).await;
}

#[tokio::test]
async fn a_passing_probe_never_ends_a_drain() {
    let mut room = Room::open();
    let (addr, probes) = replica(&Arc::new(AtomicUsize::new(200))).await;
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    eventually(|| probes.load(Ordering::Relaxed) > 3).await;
    room.writer.apply(Change::Drain { provider: Provider::DOCKER, id: room.replica().id().clone() });
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    room.becomes(State::Draining).await;
    assert_eq!(room.replica().health(), Health::Healthy);
}

#[tokio::test]
async fn probes_end_with_the_replica_and_with_the_prober() {
    let mut room = Room::open();
    let (addr, _) = replica(&Arc::new(AtomicUsize::new(200))).await;
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    room.becomes(State::Ready).await;
    let first = Arc::downgrade(&room.replica());
    room.writer.apply(Change::Remove { provider: Provider::DOCKER, id: "gateway-1".into() });
    eventually(|| first.strong_count() == 0).await;
    room.writer.apply(running(probed(addr, OFTEN)));
    room.becomes(State::Ready).await;
    let second = Arc::downgrade(&room.replica());
    room.stop.cancel();
    room.prober.await.unwrap();
    room.writer.apply(Change::Remove { provider: Provider::DOCKER, id: "gateway-1".into() });
    eventually(|| second.strong_count() == 0).await;
}

#[tokio::test]
async fn probes_that_pass_end_an_ejection_if_they_say_enough() {
    let mut room = Room::open();
    let (addr, probes) = replica(&Arc::new(AtomicUsize::new(200))).await;
    let by_connect =
        ReplicaSpec { probe: ProbeSpec { path: None, ..probed(addr, OFTEN).probe }, ..probed(addr, OFTEN) };
    let mut news = room.registry.watch();
    room.sees(&by_connect, Lifecycle::Running);
    room.becomes(State::Ready).await;
    room.replica().eject(Fault::Connect, 1);
    news.mark_unchanged();
    room.becomes(State::Ready).await;
    assert!(news.has_changed().unwrap());

    room.replica().eject(Fault::Unavailable, 1);
    let before = probes.load(Ordering::Relaxed);
    eventually(|| probes.load(Ordering::Relaxed) > before + 10).await;
    assert_eq!(room.replica().state(), State::Ejected, "that it can be reached is beside the point");
    room.sees(&probed(addr, OFTEN), Lifecycle::Running);
    room.becomes(State::Ready).await;

    room.replica().eject(Fault::Unavailable, 10);
    let before = probes.load(Ordering::Relaxed);
    room.becomes(State::Ready).await;
    assert!(probes.load(Ordering::Relaxed) >= before + 20, "ten times two passes");
}

#[tokio::test]
async fn who_watches_the_registry_hears_that_a_replica_became_ready() {
    let mut room = Room::open();
    let (addr, _) = replica(&Arc::new(AtomicUsize::new(200))).await;
    room.sees(&ReplicaSpec { addr, ..spec("gateway", 1) }, Lifecycle::Running);
    let mut news = room.registry.watch();
    while room.replica().state() != State::Ready {
        timeout(Duration::from_secs(5), news.changed()).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn one_probe_that_fails_makes_a_suspect_and_one_that_passes_ends_that() {
    let mut room = Room::open();
    let code = Arc::new(AtomicUsize::new(200));
    let (addr, _) = replica(&code).await;
    let probe = ProbeSpec {
        path: Some("/".to_owned()),
        interval: Duration::from_millis(20),
        unhealthy_threshold: u32::MAX,
        ..ProbeSpec::default()
    };
    room.sees(&ReplicaSpec { addr, probe, ..spec("gateway", 1) }, Lifecycle::Running);
    room.becomes(State::Ready).await;
    let news = room.registry.watch();
    code.store(500, Ordering::SeqCst);
    room.becomes(State::Suspect).await;
    assert!(!room.replica().is_pickable() && room.replica().is_pickable_in_panic());
    assert!(news.has_changed().unwrap(), "its requests have to hear of it");
    code.store(200, Ordering::SeqCst);
    room.becomes(State::Ready).await;
}
