use bollard::models::{ContainerInspectResponse, ContainerSummary};
use serde_json::json;

use super::read::read_state;
use super::*;
use crate::discovery::docker::container::{Published, RunState};
use crate::discovery::docker::signal::Signal;

/// A row as Docker 20.10 (API 1.41) sends it.
fn row() -> serde_json::Value {
    json!({
        "Id": "ffde6fef", "Names": ["/web/gw", "/shop-gateway-1"], "Image": "gateway:1", "ImageID": "sha256:ff",
        "Command": "x", "Created": 1795458956,
        "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 3001, "PublicPort": 3009, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 3001, "PublicPort": 3009, "Type": "tcp"},
            {"PrivatePort": 53, "Type": "udp"}
        ],
        "Labels": {"a": "b"}, "State": "running", "Status": "Up 2 seconds",
        "HostConfig": {"NetworkMode": "n1"},
        "NetworkSettings": {"Networks": {"n1": {
            "IPAMConfig": null, "Links": null, "NetworkID": "972f", "EndpointID": "34c7", "Gateway": "172.19.0.1",
            "IPAddress": "172.19.0.2", "IPPrefixLen": 16, "GlobalIPv6Address": "", "DriverOpts": null
        }}},
        "Mounts": []
    })
}

fn read(row: serde_json::Value) -> Container {
    read_row(serde_json::from_value(row).unwrap()).unwrap()
}

#[test]
fn a_row_is_read() {
    let container = read(row());
    assert_eq!(container.id.as_str(), "ffde6fef");
    assert_eq!(container.name, "shop-gateway-1", "an alias of a legacy link is not the name");
    assert_eq!(container.label("a"), Some("b"));
    assert_eq!(container.ports, [3001].into());
    let at = |ip: &str| Published { ip: ip.parse().ok(), public: 3009, private: 3001 };
    assert_eq!(container.published, [at("0.0.0.0"), at("::")]);
    assert_eq!(container.run_state, RunState::Running);
    assert_eq!(container.details, None);
    let endpoint = &container.networks["n1"];
    assert_eq!((endpoint.network_id.as_str(), endpoint.endpoint_id.as_str()), ("972f", "34c7"));
    assert_eq!(endpoint.address(), Some("172.19.0.2".parse().unwrap()));
    assert!(!container.is_on_host_network());
}

#[test]
fn health_is_in_a_rows_status_or_in_a_field_of_its_own() {
    let table = [
        ("running", "Up 2 seconds", None, RunState::Running),
        ("running", "Up 2 seconds (healthy)", None, RunState::Running),
        ("running", "Up 2 seconds (health: starting)", None, RunState::Starting),
        ("running", "Up 2 seconds (unhealthy)", None, RunState::Unhealthy),
        ("running", "Up 2 seconds", Some("unhealthy"), RunState::Unhealthy),
        ("running", "Up 2 seconds", Some("starting"), RunState::Starting),
        ("running", "Up 2 seconds (unhealthy)", Some("healthy"), RunState::Running),
        ("running", "Up 2 seconds", Some("none"), RunState::Running),
        ("paused", "Up 2 seconds (Paused)", None, RunState::Paused),
        ("restarting", "Restarting (1) 3 seconds ago", None, RunState::Down("restarting".to_owned())),
        ("stopping", "Up 2 seconds", None, RunState::Stopping),
        ("", "", None, RunState::Down(String::new())),
    ];
    for (state, status, health, expected) in table {
        let mut row = row();
        row["State"] = state.into();
        row["Status"] = status.into();
        if let Some(health) = health {
            row["Health"] = json!({"Status": health, "FailingStreak": 0});
        }
        assert_eq!(read(row).run_state, expected, "{state}, {status}, {health:?}");
    }
}

#[test]
fn a_row_of_next_to_nothing_is_no_panic() {
    assert_eq!(read(json!({"Id": "a"})).name, "");
    assert!(read_row(ContainerSummary::default()).is_none());
    assert!(read_inspect(ContainerInspectResponse::default()).is_none());
}

#[test]
fn an_inspect_is_read() {
    let answer = json!({
        "Id": "ffde6fef", "Name": "/shop-gateway-1", "Image": "sha256:ff",
        "State": {"Status": "running", "StartedAt": "2026-11-23T18:43:10.334278599Z"},
        "Config": {
            "Image": "gateway:1", "Labels": {"a": "b"}, "StopSignal": "SIGQUIT",
            "ExposedPorts": {"3001/tcp": {}, "53/udp": {}}
        },
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Ports": {"3002/tcp": null, "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "1"}], "3003/tcp": [{"HostIp": "::1", "HostPort": "32768"}]}, "Networks": {"n1": {"GlobalIPv6Address": "fd00::2"}}}
    });
    let container = read_inspect(serde_json::from_value(answer).unwrap()).unwrap();
    assert_eq!(container.name, "shop-gateway-1");
    assert_eq!(container.image.as_deref(), Some("gateway:1"));
    assert_eq!(container.ports, [3001, 3002, 3003].into(), "exposed by the image or published at start");
    let published = Published { ip: "::1".parse().ok(), public: 32768, private: 3003 };
    assert_eq!(container.published, [published]);
    assert_eq!(container.stop_signal(), Signal::parse("QUIT"));
    assert_eq!(container.started_at(), Some("2026-11-23T18:43:10.334278599Z"));
    assert_eq!(container.networks["n1"].address(), Some("fd00::2".parse().unwrap()));
    assert!(container.is_on_host_network());
}

#[test]
fn a_pause_is_not_taken_for_a_failed_healthcheck() {
    let table = [
        (json!(null), RunState::Running),
        (json!({"Status": "none"}), RunState::Running),
        (json!({"Status": "healthy", "FailingStreak": 1}), RunState::Running),
        (json!({"Status": "starting", "FailingStreak": 0, "Log": [{"ExitCode": 1}]}), RunState::Starting),
        (json!({"Status": "unhealthy", "FailingStreak": 3, "Log": [{"ExitCode": 1}]}), RunState::Unhealthy),
        (json!({"Status": "unhealthy"}), RunState::Unhealthy),
        // What `docker pause` leaves behind, measured: nothing failed.
        (json!({"Status": "unhealthy", "FailingStreak": 0, "Log": [{"ExitCode": 0}]}), RunState::Running),
        (json!({"Status": "unhealthy", "FailingStreak": 0, "Log": []}), RunState::Starting),
        (json!({"Status": "unhealthy", "FailingStreak": 0, "Log": [{"ExitCode": 1}]}), RunState::Starting),
    ];
    for (health, expected) in table {
        let state = serde_json::from_value(json!({"Status": "running", "Health": health})).unwrap();
        assert_eq!(read_state(&state), expected, "{health}");
    }
}

#[test]
fn events_are_read() {
    let container = |action: &str, attributes: serde_json::Value| json!({"Type": "container", "Action": action, "Actor": {"ID": "g1", "Attributes": attributes}});
    let network = |action: &str| {
        let attributes = json!({"container": "g1", "name": "shop_default", "type": "bridge"});
        json!({"Type": "network", "Action": action, "Actor": {"ID": "972f", "Attributes": attributes}})
    };
    use super::super::event::EventKind;
    let table = [
        (container("start", json!({})), Some(EventKind::Start)),
        (container("die", json!({"exitCode": "137"})), Some(EventKind::Die)),
        (container("destroy", json!(null)), Some(EventKind::Destroy)),
        (container("kill", json!({"signal": "15"})), Some(EventKind::Kill(Signal::TERM))),
        (container("kill", json!({"signal": "loud"})), None),
        (container("kill", json!({})), None),
        (container("pause", json!({})), Some(EventKind::Pause)),
        (container("unpause", json!({})), Some(EventKind::Unpause)),
        (container("rename", json!({"oldName": "/x"})), Some(EventKind::Rename)),
        (container("health_status: healthy", json!({})), Some(EventKind::Health)),
        (container("oom", json!({})), None),
        (container("exec_start: true", json!({})), None),
        (network("connect"), Some(EventKind::Connect)),
        (network("disconnect"), Some(EventKind::Disconnect("shop_default".to_owned()))),
        (network("create"), None),
        (json!({"Type": "network", "Action": "connect", "Actor": {"ID": "972f"}}), None),
        (json!({"Type": "image", "Action": "start", "Actor": {"ID": "i"}}), None),
        (json!({}), None),
    ];
    for (message, kind) in table {
        let event = kind.map(|kind| Event { id: "g1".into(), kind });
        assert_eq!(
            read_message(serde_json::from_value(message.clone()).unwrap()).as_ref().and_then(Event::of),
            event,
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    // A socket that nobody listens at any more: bound, then closed.
    drop(std::os::unix::net::UnixListener::bind(path("stale")).unwrap());
    let table = [
        (format!("unix://{}", path("missing")), format!("no Docker socket at {}: mount", path("missing")), true),
        (format!("unix://{}", path("stale")), format!("nothing listens at unix://{}: is the", path("stale")), true),
        ("ftp://somewhere".to_owned(), "--docker-host \"ftp://somewhere\" should be unix://".to_owned(), false),
        ("/var/run/docker.sock".to_owned(), "--docker-host \"/var/run/docker.sock\" should be".to_owned(), false),
    ];
    for (host, text, is_absence) in table {
        let error = Client::connect(&host, None).await.err().unwrap();
        assert!(error.to_string().starts_with(&text), "{error}");
        assert_eq!(error.is_absence(), is_absence, "{error}");
    }
}
