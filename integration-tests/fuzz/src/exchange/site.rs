//! What all runs have in common: a registry with one healthy replica, whose listener belongs to the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use evenkeel::change::{Change, Sighting};
use evenkeel::health::Prober;
use evenkeel::provider::Provider;
use evenkeel::registry::Registry;
use evenkeel::replica::{Lifecycle, ProbeSpec, Replica, ReplicaSpec};
use integration_tests::eventually;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::run::PATIENCE;

/// One run at a time: they share the replica's listener.
pub(super) static SITE: LazyLock<Mutex<Site>> = LazyLock::new(|| Mutex::new(Site::start()));

pub(super) struct Site {
    pub(super) registry: Registry,
    pub(super) replica: Arc<Replica>,
    pub(super) listener: TcpListener,
    /// Of this process alone, so that its many connections take nobody's ports.
    pub(super) ip: IpAddr,
}

impl Site {
    fn start() -> Self {
        let [.., a, b, c] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, a | 0x80, b, c | 1).into();
        let listener = TcpListener::bind((ip, 0)).expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let (registry, mut writer) = Registry::new();
        let spec = spec(listener.local_addr().expect("an address"));
        let replica = Box::new(Sighting { spec, lifecycle: Lifecycle::Running });
        writer.apply(Change::Upsert { replica });
        let replicas = registry.replicas("gateway").expect("it was just added");
        let replica = Arc::clone(&replicas.list()[0]);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // What libFuzzer starts does not ignore it, as a program of Rust's does.
            let _ = signal(SignalKind::pipe()).expect("a handler");
            let probing = tokio::spawn(Prober::new(registry.clone()).run(CancellationToken::new()));
            eventually(PATIENCE, "the replica is healthy", async || replica.is_pickable()).await;
            // It stays healthy, since nobody else says what it is.
            probing.abort();
        });
        Self { registry, replica, listener, ip }
    }
}

fn spec(addr: SocketAddr) -> ReplicaSpec {
    ReplicaSpec {
        name: "gateway-1".to_owned(),
        number: Some(1),
        probe: ProbeSpec { interval: Duration::from_secs(3600), ..ProbeSpec::default() },
        ..ReplicaSpec::at(addr, "gateway-1".into(), Provider::STATIC, "gateway".into())
    }
}
