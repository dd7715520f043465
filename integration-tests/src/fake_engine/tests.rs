//! The fake engine read with bollard, as evenkeel reads a real one.
#![expect(clippy::disallowed_types, reason = "proves the fake engine to the client that evenkeel uses")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerStateStatusEnum, ContainerSummaryStateEnum, EventMessage, HealthStatusEnum};
use bollard::query_parameters::{EventsOptionsBuilder, ListContainersOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::stream::{Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::{ContainerSpec, Endpoint, FakeEngine};
use crate::eventually;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(100);

type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>>>>;

async fn docker(engine: &FakeEngine) -> Docker {
    let docker = Docker::connect_with_unix(engine.socket_path().to_str().unwrap(), 5, API_DEFAULT_VERSION).unwrap();
    docker.negotiate_version().await.unwrap()
}

/// An open stream, and the same filters evenkeel uses.
async fn follow(engine: &FakeEngine, docker: &Docker) -> Events {
    let wanted = ["start", "die", "kill", "pause", "unpause", "destroy", "rename", "health_status", "oom"];
    let filters = HashMap::from([
        ("type", vec!["container", "network"]),
        ("event", [&wanted[..], &["connect", "disconnect"]].concat()),
    ]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let mut events = Box::pin(docker.events(Some(options)));
    let before = engine.open_streams();
    // The request goes out on the first poll.
    tokio::select! {
        _ = events.next() => panic!("an event before any was emitted"),
        () = eventually(PATIENCE, "the stream opens", async || engine.open_streams() > before) => {}
    }
    events
}

async fn next(events: &mut Events) -> Option<Result<EventMessage, Error>> {
    timeout(PATIENCE, events.next()).await.expect("an event in time")
}

async fn next_actions(events: &mut Events, count: usize) -> Vec<String> {
    let mut actions = Vec::new();
    for _ in 0..count {
        actions.push(next(events).await.unwrap().unwrap().action.unwrap());
    }
    actions
}

fn gateway(number: u8) -> ContainerSpec {
    ContainerSpec::compose("shop", "gateway", number.into())
        .network("shop_default", Ipv4Addr::new(127, 1, 1, number))
        .expose(3001)
}

#[tokio::test]
async fn lists_a_container_as_a_real_engine_does() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1).network("shop_default", Ipv6Addr::LOCALHOST).expose_udp(53).image("shop/gateway:2"));

    let list = docker.list_containers(None).await.unwrap();
    assert_eq!(list.len(), 1);
    let one = &list[0];
    assert_eq!(one.id.as_deref(), Some(id.as_str()));
    assert_eq!(one.names.as_deref(), Some(&["/shop-gateway-1".to_owned()][..]));
    assert_eq!(one.image.as_deref(), Some("shop/gateway:2"));
    assert_eq!(one.state, Some(ContainerSummaryStateEnum::RUNNING));
    assert_eq!(one.status.as_deref(), Some("Up 2 seconds"));
    let labels = one.labels.as_ref().unwrap();
    assert_eq!(labels["com.docker.compose.service"], "gateway");
    assert_eq!(labels["com.docker.compose.container-number"], "1");
    assert_eq!(labels["com.docker.compose.oneoff"], "False");
    let network = &one.network_settings.as_ref().unwrap().networks.as_ref().unwrap()["shop_default"];
    assert_eq!(network.ip_address.as_deref(), Some("127.1.1.1"));
    assert_eq!(network.global_ipv6_address.as_deref(), Some("::1"));
    let ports: Vec<_> = one.ports.iter().flatten().map(|port| port.private_port).collect();
    assert_eq!(ports, [3001, 53]);
    let networks = docker.list_networks(None).await.unwrap();
    assert_eq!(networks[0].id, network.network_id);
}

#[tokio::test]
async fn inspects_by_id_name_or_prefix_and_says_no_such_container() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1).stop_signal("SIGQUIT").healthcheck());

    for name in [id.as_str(), &id.as_str()[..12], "shop-gateway-1"] {
        let one = docker.inspect_container(name, None).await.unwrap();
        assert_eq!(one.id.as_deref(), Some(id.as_str()));
        assert_eq!(one.name.as_deref(), Some("/shop-gateway-1"));
        let config = one.config.unwrap();
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(config.exposed_ports.unwrap().contains(&"3001/tcp".to_owned()));
        assert_eq!(one.state.unwrap().health.unwrap().status, Some(HealthStatusEnum::STARTING));
    }
    let missing = docker.inspect_container("missing", None).await.unwrap_err();
    assert!(matches!(missing, Error::DockerResponseServerError { status_code: 404, .. }), "{missing}");
    assert_eq!(engine.requests(Endpoint::Inspect), 4);
}

#[tokio::test]
async fn emits_the_events_of_a_life_in_the_order_of_a_real_engine() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let mut events = follow(&engine, &docker).await;

    let id = engine.run(gateway(1).healthcheck());
    engine.exec_noise(&id);
    engine.set_health(&id, "healthy");
    engine.pause(&id);
    engine.unpause(&id);
    engine.kill(&id, 1);
    engine.rename(&id, "shop-gateway-7");
    engine.disconnect(&id, "shop_default");
    engine.connect(&id, "shop_default", Ipv4Addr::new(127, 1, 1, 9));
    engine.restart(&id);
    engine.kill_at_once(&id);
    engine.destroy(&id);

    let expected = "connect|start|health_status: healthy|pause|unpause|kill|rename|disconnect|disconnect|connect|\
                    kill|die|disconnect|connect|start|kill|die|disconnect|destroy";
    let expected: Vec<_> = expected.split('|').collect();
    assert_eq!(next_actions(&mut events, expected.len()).await, expected);
}

#[tokio::test]
async fn what_happened_since_a_time_comes_first() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1));
    engine.drop_events(true);
    engine.pause(&id);
    engine.drop_events(false);
    let all = EventsOptionsBuilder::default().since("1000000000.000000001").build();
    let mut events: Events = Box::pin(docker.events(Some(all)));
    assert_eq!(next_actions(&mut events, 3).await, ["create", "connect", "start"]);
    engine.kill(&id, 1);
    assert_eq!(next_actions(&mut events, 1).await, ["kill"]);

    let none = EventsOptionsBuilder::default().since("5000000000").build();
    let mut events: Events = Box::pin(docker.events(Some(none)));
    assert!(timeout(A_WHILE, events.next()).await.is_err());
}

#[tokio::test]
async fn events_of_networks_name_the_container_and_carry_no_labels() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let mut events = follow(&engine, &docker).await;
    let id = engine.run(gateway(1));

    let connect = next(&mut events).await.unwrap().unwrap().actor.unwrap().attributes.unwrap();
    assert_eq!(connect["container"], id.as_str());
    assert_eq!(connect["name"], "shop_default");
    assert_eq!(connect.len(), 3);
    let start = next(&mut events).await.unwrap().unwrap().actor.unwrap();
    assert_eq!(start.id.as_deref(), Some(id.as_str()));
    assert_eq!(start.attributes.unwrap()["com.docker.compose.project"], "shop");

    engine.kill(&id, 15);
    let kill = next(&mut events).await.unwrap().unwrap().actor.unwrap();
    assert_eq!(kill.attributes.unwrap()["signal"], "15");
}

#[tokio::test]
async fn states_and_addresses_follow_the_life() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1));
    let status = async || docker.inspect_container(id.as_str(), None).await.unwrap().state.unwrap().status.unwrap();
    let address = async || {
        let settings = docker.inspect_container(id.as_str(), None).await.unwrap().network_settings.unwrap();
        settings.networks.unwrap()["shop_default"].ip_address.clone().unwrap()
    };

    engine.kill(&id, 15);
    assert_eq!(
        status().await,
        ContainerStateStatusEnum::RUNNING,
        "a container that got SIGTERM still lists as running"
    );
    engine.pause(&id);
    assert_eq!(status().await, ContainerStateStatusEnum::PAUSED);
    engine.unpause(&id);
    engine.restart_at(&id, "shop_default", Ipv4Addr::new(127, 1, 1, 2));
    assert_eq!(address().await, "127.1.1.2");
    engine.stop(&id);
    assert_eq!(status().await, ContainerStateStatusEnum::EXITED);
    assert_eq!(address().await, "");

    assert_eq!(docker.list_containers(None).await.unwrap(), []);
    let all = ListContainersOptionsBuilder::default().all(true).build();
    assert_eq!(docker.list_containers(Some(all.clone())).await.unwrap().len(), 1);
    engine.destroy(&id);
    assert_eq!(docker.list_containers(Some(all)).await.unwrap(), []);
}

/// A reader can tell the runs of a container apart, by its start and by its place on the network.
#[tokio::test]
async fn a_restart_is_another_run() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1));
    let run = async || {
        let one = docker.inspect_container(id.as_str(), None).await.unwrap();
        let networks = one.network_settings.unwrap().networks.unwrap();
        (one.state.unwrap().started_at.unwrap(), networks["shop_default"].endpoint_id.clone().unwrap())
    };
    let before = run().await;
    assert_eq!(run().await, before);
    engine.restart(&id);
    let after = run().await;
    assert!(before.0 != after.0 && before.1 != after.1, "{before:?} {after:?}");
}

#[tokio::test]
async fn a_pause_leaves_health_unhealthy_without_a_failure() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1).healthcheck());
    let health = async || docker.inspect_container(id.as_str(), None).await.unwrap().state.unwrap().health.unwrap();
    engine.set_health(&id, "healthy");
    assert_eq!(health().await.status, Some(HealthStatusEnum::HEALTHY));
    engine.pause(&id);
    engine.unpause(&id);
    let after = health().await;
    assert_eq!((after.status, after.failing_streak), (Some(HealthStatusEnum::UNHEALTHY), Some(0)));
    assert_eq!(after.log.unwrap()[0].exit_code, Some(0));
    engine.set_health(&id, "unhealthy");
    assert_eq!(health().await.failing_streak, Some(3));
}

#[tokio::test]
async fn lists_by_label_and_the_newest_first() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    engine.run(gateway(1));
    engine.run(ContainerSpec::plain("other"));
    engine.run(gateway(2));

    let filters = HashMap::from([("label", vec!["com.docker.compose.service=gateway"])]);
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let names: Vec<_> =
        docker.list_containers(Some(options)).await.unwrap().into_iter().flat_map(|one| one.names.unwrap()).collect();
    assert_eq!(names, ["/shop-gateway-2", "/shop-gateway-1"]);
}

#[tokio::test]
async fn dropped_doubled_and_reordered_events() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1));
    let mut events = follow(&engine, &docker).await;

    engine.drop_events(true);
    engine.kill(&id, 1);
    engine.drop_events(false);
    engine.duplicate_events(true);
    engine.pause(&id);
    engine.duplicate_events(false);
    engine.hold_events();
    engine.unpause(&id);
    engine.die(&id);
    engine.release_events(|held| held.reverse());
    assert_eq!(next_actions(&mut events, 5).await, ["pause", "pause", "disconnect", "die", "unpause"]);
}

#[tokio::test]
async fn streams_break_between_and_within_events() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;

    let mut events = follow(&engine, &docker).await;
    engine.cut_streams();
    assert!(next(&mut events).await.is_none_or(|event| event.is_err()));
    assert_eq!(engine.open_streams(), 0);

    let mut events = follow(&engine, &docker).await;
    engine.cut_streams_mid_event();
    assert!(next(&mut events).await.is_none_or(|event| event.is_err()));
}

#[tokio::test]
async fn a_cut_mid_event_leaves_half_an_event_on_the_wire() {
    let engine = FakeEngine::start();
    let mut stream = UnixStream::connect(engine.socket_path()).await.unwrap();
    stream.write_all(b"GET /v1.41/events HTTP/1.1\r\nHost: d\r\n\r\n").await.unwrap();
    eventually(PATIENCE, "the stream opens", async || engine.open_streams() == 1).await;
    engine.cut_streams_mid_event();
    let mut read = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut read)).await.unwrap().unwrap();
    assert!(read.contains("transfer-encoding: chunked") && read.ends_with("\"id\":\"0b\r\n"), "{read}");
}

#[tokio::test]
async fn an_undecodable_event_is_an_error_to_the_reader() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let mut events = follow(&engine, &docker).await;
    engine.send_raw_event("{\"Type\":\"no such type\",\"Action\":\"start\"}\n");
    assert!(next(&mut events).await.unwrap().is_err());
}

#[tokio::test]
async fn a_stalled_engine_accepts_and_says_nothing() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    let id = engine.run(gateway(1));
    let mut events = follow(&engine, &docker).await;

    engine.stall();
    engine.pause(&id);
    assert!(timeout(A_WHILE, docker.ping()).await.is_err());
    assert!(timeout(A_WHILE, events.next()).await.is_err());
    assert_eq!(engine.requests(Endpoint::Ping), 1);

    engine.unstall();
    assert_eq!(next_actions(&mut events, 1).await, ["pause"]);
    assert_eq!(docker.ping().await.unwrap(), "OK");
}

#[tokio::test]
async fn an_engine_that_went_away_comes_back_at_the_same_path() {
    let engine = FakeEngine::start();
    let docker = docker(&engine).await;
    engine.run(gateway(1));
    let mut events = follow(&engine, &docker).await;

    engine.go_away().await;
    assert!(!engine.socket_path().exists());
    assert!(docker.ping().await.is_err());
    assert!(next(&mut events).await.is_none_or(|event| event.is_err()));
    engine.come_back();
    assert_eq!(docker.list_containers(None).await.unwrap().len(), 1);

    engine.refuse().await;
    assert!(engine.socket_path().exists());
    assert!(docker.ping().await.is_err());
    engine.come_back();
    assert_eq!(docker.ping().await.unwrap(), "OK");
}

#[tokio::test(start_paused = true)]
async fn delays_answers_of_one_kind() {
    let engine = FakeEngine::start();
    engine.delay(Endpoint::List, Duration::from_secs(3));
    let docker = docker(&engine).await;
    let start = Instant::now();
    docker.ping().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    docker.list_containers(None).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn serves_only_its_api_versions() {
    let engine = FakeEngine::start_with_api("1.44", "1.52");
    for (path, status) in [("/v1.53/_ping", 400), ("/v1.43/_ping", 400), ("/v1.44/_ping", 200), ("/_ping", 200)] {
        let mut stream = UnixStream::connect(engine.socket_path()).await.unwrap();
        stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: d\r\n\r\n").as_bytes()).await.unwrap();
        let mut head = vec![0; 1024];
        let read = timeout(PATIENCE, stream.read(&mut head)).await.unwrap().unwrap();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {head}");
        assert!(head.contains("api-version: 1.52"), "{head}");
    }
}
