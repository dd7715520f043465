//! Two Docker hosts: ours, and another whose containers are dialled at the ports that they publish there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use evenkeel::config::settings::{DockerSettings, Settings};
use evenkeel::provider::{Provider, ProviderKind};
use integration_tests::client;
use integration_tests::fake_engine::Endpoint;
use integration_tests::{ContainerId, ContainerSpec, FakeEngine, TestReplica, eventually};

use crate::support::{NETWORK, PATIENCE, Sidecar, Traffic, docker};

const OTHER: &str = "provider=\"docker:vm-2\"";
/// The container's port; the host's is another.
const PORT: u16 = 3001;

/// Another Docker host, at a loopback address.
struct OtherHost {
    engine: FakeEngine,
    address: IpAddr,
}

impl OtherHost {
    /// One that is known as `vm-2` to the sidecar that gets these settings.
    fn start(settings: &mut Settings) -> Self {
        let engine = FakeEngine::start();
        let address = Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255)).into();
        let other = DockerSettings {
            provider: Provider::named(ProviderKind::Docker, "vm-2"),
            host: engine.host(),
            published_at: Some(IpAddr::to_string(&address)),
            ..docker(settings).clone()
        };
        settings.docker.push(other);
        Self { engine, address }
    }

    /// A container whose port is published at this address of its host, on any port.
    fn run(&self, number: u32, replica: &str, at: IpAddr) -> (ContainerId, TestReplica) {
        let replica = TestReplica::start_at(replica, SocketAddr::new(self.address, 0)).expect("a free port");
        let spec = ContainerSpec::compose("shop", "gateway", number).network(NETWORK, Ipv4Addr::new(10, 255, 255, 1));
        let at = SocketAddr::new(at, replica.addr().port());
        (self.engine.run(spec.expose(PORT).publish(at, PORT)), replica)
    }

    fn run_published(&self, number: u32, replica: &str) -> (ContainerId, TestReplica) {
        self.run(number, replica, Ipv4Addr::UNSPECIFIED.into())
    }
}

async fn two_hosts() -> (Sidecar, OtherHost) {
    let other = Arc::new(Mutex::new(None));
    let made = Arc::clone(&other);
    let sidecar = Sidecar::start_with(move |settings| *made.lock().expect("ours") = Some(OtherHost::start(settings)));
    let other = other.lock().expect("ours").take().expect("made");
    (sidecar, other)
}

async fn until_other_is_connected(sidecar: &Sidecar, connected: bool) {
    eventually(PATIENCE, "the other host is as connected as that", async || {
        (sidecar.metric("evenkeel_discovery_connected", &[OTHER]).await > 0.5) == connected
    })
    .await;
}

#[tokio::test]
async fn replicas_of_two_hosts_share_the_requests_and_go_by_names_of_their_own() {
    let (sidecar, other) = two_hosts().await;
    let _here = sidecar.run("gateway-1");
    let (_, _there) = other.run_published(1, "there");
    let (hidden, _) = other.run(2, "hidden", Ipv4Addr::LOCALHOST.into());
    sidecar.until_ready(&["gateway-1", "gateway-1@vm-2"]).await;

    let spread = sidecar.spread(40).await;
    assert!(spread.len() == 2 && spread["there"] > 0, "{spread:?}");
    let mut seen: Vec<_> = Vec::new();
    for _ in 0..20 {
        let response = client::get(sidecar.proxy(), "/").await.expect("a whole answer");
        seen.push(response.header("x-served-by").expect("whose it is").to_owned());
    }
    assert!(
        seen.iter().any(|name| name == "gateway-1@vm-2") && seen.iter().any(|name| name == "gateway-1"),
        "{seen:?}"
    );
    assert!(sidecar.metric("evenkeel_replica_requests_total", &["replica=\"gateway-1@vm-2\""]).await > 0.0);
    let containers = sidecar.api("containers").await;
    let hidden = containers.iter().find(|one| one["id"] == hidden.as_str()).expect("considered");
    assert_eq!(
        (hidden["name"].as_str(), hidden["verdict"].as_str()),
        (Some("shop-gateway-2@vm-2"), Some("not-published"))
    );
    assert!(hidden["message"].as_str().is_some_and(|told| told.contains("ports: [\"3001\"]")), "{hidden}");
}

#[tokio::test]
async fn a_restart_on_another_host_is_dialled_at_its_new_port() {
    let (sidecar, other) = two_hosts().await;
    let (id, before) = other.run_published(1, "before");
    sidecar.until_ready(&["gateway-1@vm-2"]).await;
    assert_eq!(sidecar.spread(5).await.into_keys().collect::<Vec<_>>(), ["before"]);
    // The old port goes on answering, so that nothing but what the engine says tells of the new one.
    let after = TestReplica::start_at("after", SocketAddr::new(other.address, 0)).expect("a free port");
    assert_ne!(before.addr(), after.addr());
    let at = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), after.addr().port());
    other.engine.restart_published(&id, at, PORT);
    let addr = after.addr().to_string();
    eventually(PATIENCE, "the same container is at the new port", async || {
        sidecar.replica("gateway-1@vm-2").await.is_some_and(|replica| {
            assert_eq!(replica["id"], id.as_str());
            replica["addr"] == addr.as_str() && replica["state"] == "ready"
        })
    })
    .await;
    let requests = before.requests();
    assert_eq!(sidecar.spread(5).await.into_keys().collect::<Vec<_>>(), ["after"]);
    assert_eq!(before.requests(), requests);
}

#[tokio::test]
async fn a_container_in_place_of_another_is_dialled_at_its_own_port() {
    let (sidecar, other) = two_hosts().await;
    let (id, before) = other.run_published(1, "before");
    sidecar.until_ready(&["gateway-1@vm-2"]).await;
    other.engine.remove(&id);
    drop(before);
    sidecar.until_gone("gateway-1@vm-2").await;
    let (_, _after) = other.run_published(1, "after");
    sidecar.until_ready(&["gateway-1@vm-2"]).await;
    assert_eq!(sidecar.spread(5).await.into_keys().collect::<Vec<_>>(), ["after"]);
}

#[tokio::test]
async fn a_host_that_is_lost_keeps_its_replicas_and_touches_no_others() {
    let (sidecar, other) = two_hosts().await;
    let _here = sidecar.run("gateway-1");
    let (_, there) = other.run_published(1, "there");
    sidecar.until_ready(&["gateway-1", "gateway-1@vm-2"]).await;
    let traffic = Traffic::start(sidecar.proxy(), 2);

    // Each way of being lost, and back: the local host goes on as if nothing was.
    for (number, way) in (2..).zip(["away", "refusing", "failing", "stalled"]) {
        match way {
            "away" => other.engine.go_away().await,
            "refusing" => other.engine.refuse().await,
            "failing" => {
                other.engine.fail(Endpoint::List, true);
                other.engine.send_raw_event("{\"Type\":\"no such type\",\"Action\":\"start\"}\n");
            }
            _ => other.engine.stall(),
        }
        until_other_is_connected(&sidecar, false).await;
        let name = format!("gateway-{number}");
        let newcomer = sidecar.run(&name);
        sidecar.until_ready(&["gateway-1", "gateway-1@vm-2", &name]).await;
        assert!(sidecar.metric("evenkeel_discovery_connected", &["provider=\"docker\""]).await > 0.5, "{way}");
        let before = there.requests();
        assert_eq!(sidecar.spread(60).await.len(), 3, "{way}");
        assert!(there.requests() > before, "{way}");
        sidecar.engine.remove(&newcomer.id);
        sidecar.until_gone(&name).await;

        match way {
            "away" | "refusing" => other.engine.come_back(),
            "failing" => other.engine.fail(Endpoint::List, false),
            _ => other.engine.unstall(),
        }
        until_other_is_connected(&sidecar, true).await;
    }
    let (_, _second) = other.run_published(2, "second");
    sidecar.until_ready(&["gateway-1", "gateway-1@vm-2", "gateway-2@vm-2"]).await;
    assert_eq!(traffic.stop().await.failures, Vec::<String>::new());
}
