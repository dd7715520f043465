//! A service whose replicas are ready. Nothing but a probe that passes makes a replica ready, so they are probed.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evenkeel::change::{Change, Sighting};
use evenkeel::health::Prober;
use evenkeel::provider::Provider;
use evenkeel::registry::{Registry, RegistryWriter};
use evenkeel::replica::{Lifecycle, ProbeSpec, ReplicaSpec};
use tokio_util::sync::CancellationToken;

/// How long replicas may take to become ready; valgrind makes all fifty times slower.
const PATIENCE: Duration = Duration::from_secs(20);

/// The service `gateway`, and the one address at which all of its replicas are.
pub(crate) struct Gateway {
    pub(crate) registry: Registry,
    pub(crate) writer: RegistryWriter,
    addr: SocketAddr,
    stop: CancellationToken,
    prober: Option<JoinHandle<()>>,
}

impl Gateway {
    /// So many replicas of weight 1, numbered from 1, all of them ready.
    pub(crate) fn start(count: u32) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (registry, writer) = Registry::new();
        let stop = CancellationToken::new();
        let (probed, stopped) = (registry.clone(), stop.clone());
        let prober = thread::spawn(move || probe(listener, probed, stopped));
        let mut gateway = Self { registry, writer, addr, stop, prober: Some(prober) };
        let changes: Vec<_> = (1..=count).map(|number| gateway.running(number, 1)).collect();
        gateway.writer.apply_all(changes);
        let deadline = Instant::now() + PATIENCE;
        while !gateway.are_ready() {
            assert!(Instant::now() < deadline, "the replicas did not become ready");
            thread::yield_now();
        }
        gateway
    }

    fn are_ready(&self) -> bool {
        self.registry.replicas("gateway").unwrap().list().iter().all(|replica| replica.is_pickable())
    }

    /// The word that the replica of this number runs and has this weight.
    pub(crate) fn running(&self, number: u32, weight: u16) -> Change {
        let spec = ReplicaSpec {
            id: id(number).into(),
            provider: Provider::STATIC,
            service: "gateway".into(),
            name: id(number),
            project: None,
            number: Some(number),
            image: None,
            network: None,
            addr: self.addr,
            weight,
            probe: ProbeSpec::default(),
            drain_timeout: None,
            max_concurrency: None,
        };
        Change::Upsert { replica: Box::new(Sighting { spec, lifecycle: Lifecycle::Running }) }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(prober) = self.prober.take() {
            prober.join().unwrap();
        }
    }
}

/// The id and the name of the replica of this number.
pub(crate) fn id(number: u32) -> String {
    format!("gateway-{number}")
}

/// Probes whatever the registry has, and takes the probes' connections, until it is told to stop.
fn probe(listener: TcpListener, registry: Registry, stop: CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let accepting = async {
            loop {
                // What becomes of a connection does not matter to a probe that only connects.
                drop(listener.accept().await);
            }
        };
        tokio::select! {
            () = Prober::new(registry).run(stop) => {}
            () = accepting => {}
        }
    });
}
