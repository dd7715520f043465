//! Drains by hand over a real socket: who may, what is found, and what it does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::admin::tests::{Answer, Fixture, Running, fixture, id};
use crate::change::{Change, Sighting};
use crate::provider::Provider;
use crate::replica::{Health, State as ReplicaState};

const TOKEN: &str = "a-token-of-the-tests";

impl Running {
    /// A `POST` with the right token.
    async fn post(&self, path: &str) -> Answer {
        self.post_as(path, &format!("Authorization: Bearer {TOKEN}\r\n")).await
    }

    async fn post_as(&self, path: &str, fields: &str) -> Answer {
        self.ask("POST", &format!("/api/v1/replicas/{path}"), &format!("Content-Length: 0\r\n{fields}")).await
    }
}

/// Two that are ready.
fn two_ready() -> (Fixture, [Arc<Replica>; 2]) {
    let fixture = Fixture::empty().with_token(TOKEN);
    let replicas = [fixture.add('a', "gateway-1", 3, |_| {}), fixture.add('b', "gateway-2", 4, |_| {})];
    replicas.iter().for_each(|replica| replica.set_health(Health::Healthy));
    (fixture, replicas)
}

fn error(answer: &Answer) -> String {
    answer.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_who_shows_the_token_changes_anything() {
    let (fixture, replicas) = two_ready();
    let admin = Running::new(&fixture).await;
    let refused = [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: Bearer{TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}x\r\n"),
        format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("Authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer {TOKEN}\r\n"),
        "Authorization: Bearer \u{e4}\r\n".to_owned(),
        format!("Cookie: token={TOKEN}\r\nX-Token: {TOKEN}\r\n"),
    ];
    for fields in &refused {
        // Who may not change anything does not learn either what there is.
        for path in ["gateway-1/drain", "gateway-1/undrain", "nobody/drain", "gateway-1/drain?force=perhaps"] {
            let answer = admin.post_as(path, fields).await;
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path} {fields}");
            assert!(!answer.body.contains(TOKEN), "{}", answer.body);
        }
    }
    assert!(replicas.iter().all(|replica| !replica.is_draining()));
    for fields in [format!("authorization: bearer {TOKEN}\r\n"), format!("Authorization: BEARER   {TOKEN}\r\n")] {
        assert_eq!(admin.post_as("gateway-1/drain", &fields).await.status, 200, "{fields}");
    }
    for path in ["/", "/debug/replicas", "/api/v1/replicas", "/api/v1/containers", "/metrics", "/readyz"] {
        assert!(!admin.get(path).await.body.contains(TOKEN), "{path}");
    }
}

#[tokio::test]
async fn without_the_switch_nobody_changes_anything() {
    let fixture = fixture();
    let admin = Running::new(&fixture).await;
    for path in ["gateway-1/drain?force=true", "gateway-1/undrain", "nobody/drain"] {
        let answer = admin.post(path).await;
        let expected = "nothing can be changed here; start evenkeel with --admin-write and --admin-token-file";
        assert_eq!((answer.status, error(&answer).as_str()), (403, expected), "{path}");
    }
    assert!(fixture.state.registry.replicas("gateway").unwrap().list().iter().all(|r| !r.is_drained_by_hand()));
}

#[tokio::test]
async fn only_post_changes_anything_and_other_pages_may_not_ask_browsers_to() {
    let (fixture, replicas) = two_ready();
    let admin = Running::new(&fixture).await;
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for (method, how) in
        ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"].into_iter().zip(["drain", "undrain"].into_iter().cycle())
    {
        let fields = format!("{token}Origin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n");
        let answer = admin.ask(method, &format!("/api/v1/replicas/gateway-1/{how}"), &fields).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
        if method != "HEAD" {
            assert_eq!(error(&answer), format!("{method} is not for this page: use POST"));
        }
    }
    assert!(!replicas[0].is_draining());
    let answer = admin.ask("POST", "/api/v1/replicas/gateway-1", &format!("{token}Content-Length: 0\r\n")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "the rest stays read-only");
}

#[tokio::test]
async fn a_drain_ends_with_an_undrain_and_watchers_hear_of_both() {
    let (fixture, [first, second]) = two_ready();
    let admin = Running::new(&fixture).await;
    first.in_flight_cell().store(1, std::sync::atomic::Ordering::Relaxed);
    let mut news = fixture.state.registry.watch();
    let mut heard = async || timeout(Duration::from_secs(10), news.changed()).await.expect("in time").unwrap();
    for _ in 0..2 {
        let answer = admin.post("gateway-1/drain").await;
        let shown = answer.json();
        assert_eq!(
            (answer.status, &shown["state"], &shown["drained_by_hand"]),
            (200, &json!("draining"), &json!(true))
        );
        let verdict = "drained by hand: 1 request left; undrain it to route to it again";
        assert_eq!((&shown["verdict"], &shown["health"]), (&json!(verdict), &json!("healthy")));
    }
    heard().await;
    assert!(first.is_draining() && !first.is_pickable() && second.is_pickable());
    assert_eq!(admin.get("/api/v1/replicas/gateway-1").await.json()["drained_by_hand"], true);
    for _ in 0..2 {
        let answer = admin.post("gateway-1/undrain").await;
        let shown = answer.json();
        assert_eq!((answer.status, &shown["state"], &shown["drained_by_hand"]), (200, &json!("ready"), &json!(false)));
    }
    heard().await;
    assert!(first.is_pickable());
}

#[tokio::test]
async fn the_replica_is_named_by_id_by_enough_of_it_or_by_its_name() {
    let (fixture, [first, _]) = two_ready();
    let fixed = fixture.add('c', "10.1.1.1:3001", 9, |spec| {
        (spec.id, spec.service) = ("static:web@10.1.1.1:3001".into(), "web".into());
    });
    let ipv6 = fixture.add('d', "[::1]:3001", 10, |spec| {
        (spec.id, spec.service) = ("static:web@[::1]:3001".into(), "web".into());
    });
    let admin = Running::new(&fixture).await;
    for (key, replica) in [
        ("a".repeat(64).as_str(), &first),
        ("aaaaaaaaaaaa", &first),
        ("aaaa", &first),
        ("gateway-1", &first),
        ("gateway%2D1", &first),
        ("static:web@10.1.1.1:3001", &fixed),
        ("static%3Aweb%4010.1.1.1%3A3001", &fixed),
        ("10.1.1.1:3001", &fixed),
        ("static%3Aweb%40%5B%3A%3A1%5D%3A3001", &ipv6),
        ("%5b::1%5d:3001", &ipv6),
    ] {
        assert_eq!(admin.post(&format!("{key}/drain")).await.status, 200, "{key}");
        assert!(replica.is_drained_by_hand(), "{key}");
        assert_eq!(admin.post(&format!("{key}/undrain")).await.status, 200, "{key}");
        assert!(!replica.is_draining(), "{key}");
    }
    for key in ["aaa", "gateway", "", "aaaab", "%20"] {
        assert_eq!(admin.post(&format!("{key}/drain")).await.status, 404, "{key}");
    }
    let answer = admin.post("static:web/drain").await;
    assert_eq!((answer.status, answer.json()["ids"].as_array().map(Vec::len)), (409, Some(2)));
    assert_eq!(admin.post("%FF/drain").await.status, 400);
    assert_eq!(admin.post("gateway-1/drain?force=perhaps").await.status, 400);
    assert!(fixture.state.registry.services().iter().flat_map(|s| s.list()).all(|replica| !replica.is_draining()));
}

#[tokio::test]
async fn a_name_that_two_have_means_neither() {
    let fixture = fixture().with_token(TOKEN);
    let admin = Running::new(&fixture).await;
    let answer = admin.post("gateway-3/drain").await;
    assert_eq!((answer.status, answer.json()["ids"].clone()), (409, json!(["c".repeat(64), "d".repeat(64)])));
}

#[tokio::test]
async fn the_last_ready_replica_is_drained_only_by_force() {
    let (fixture, [_, second]) = two_ready();
    let other = fixture.add('e', "web-1", 9, |spec| spec.service = "web".into());
    other.set_health(Health::Healthy);
    fixture.add('f', "gateway-3", 7, |spec| spec.weight = 0).set_health(Health::Healthy);
    let admin = Running::new(&fixture).await;
    assert_eq!(admin.post("gateway-1/drain").await.status, 200);
    let answer = admin.post("gateway-2/drain").await;
    let expected = "without gateway-2 no replica of gateway is ready: its requests would go to those that merely run, \
                    or wait and then get 503; if that is meant, add ?force=true";
    assert_eq!((answer.status, error(&answer).as_str()), (409, expected));
    assert_eq!(admin.post("gateway-2/drain?force=false").await.status, 409);
    assert!(!second.is_draining());
    assert_eq!(admin.post("gateway-2/drain?force=true").await.status, 200);
    assert!(second.is_draining());
}

#[tokio::test]
async fn nor_is_the_last_of_those_that_get_the_requests_when_none_is_ready() {
    let (fixture, [first, second]) = two_ready();
    let starting = fixture.add('c', "gateway-3", 5, |_| {});
    let admin = Running::new(&fixture).await;
    first.set_health(Health::Unhealthy);
    assert_eq!(admin.post("gateway-2/drain").await.status, 409, "it alone is ready");
    second.set_health(Health::Suspect);
    assert_eq!(admin.post("gateway-1/drain").await.status, 200);
    assert_eq!(admin.post("gateway-2/drain").await.status, 409);
    // Nothing gets worse by draining one that takes no requests.
    assert_eq!(admin.post("gateway-3/drain").await.status, 200);
    assert!(first.is_draining() && !second.is_draining() && starting.is_draining());
}

#[tokio::test]
async fn what_docker_drains_cannot_be_undrained() {
    let (fixture, [first, _]) = two_ready();
    let admin = Running::new(&fixture).await;
    assert_eq!(admin.post("gateway-1/drain").await.status, 200);
    fixture.apply(Change::Drain { provider: Provider::DOCKER, id: id('a') });
    let answer = admin.post("gateway-1/undrain").await;
    assert_eq!(
        (answer.status, error(&answer).as_str()),
        (
            409,
            "gateway-1 was told to stop or is named no more: only its next start, or to name it again, ends the drain"
        )
    );
    assert_eq!(first.state(), ReplicaState::Draining);
    let answer = admin.post("gateway-1/drain").await;
    assert_eq!((answer.status, &answer.json()["verdict"]), (200, &json!("draining: no request left")));
}

#[tokio::test]
async fn neither_a_relist_nor_a_probe_ends_it_but_a_restart_does() {
    let (fixture, [first, second]) = two_ready();
    let admin = Running::new(&fixture).await;
    assert_eq!(admin.post("gateway-1/drain").await.status, 200);
    let sightings = |weight, port| {
        let list = [&first, &second].into_iter().map(|replica| {
            let mut spec = replica.spec().clone();
            spec.weight = weight;
            spec.addr.set_port(port);
            Sighting { spec, lifecycle: Lifecycle::Running }
        });
        Change::Reset { provider: Provider::DOCKER, replicas: list.collect() }
    };
    let shown = async || -> Value { admin.get("/api/v1/replicas/gateway-1").await.json() };
    fixture.apply(sightings(1, 3001));
    first.set_health(Health::Unhealthy);
    first.set_health(Health::Healthy);
    assert_eq!(shown().await["state"], "draining");
    fixture.apply(sightings(7, 3001));
    assert_eq!((&shown().await["state"], &shown().await["weight"]), (&json!("draining"), &json!(7)));
    fixture.apply(sightings(7, 3002));
    assert_eq!(shown().await["drained_by_hand"], true, "on another network it is the same container");

    fixture.apply(Change::Remove { provider: Provider::DOCKER, id: id('a') });
    fixture.apply(sightings(1, 3001));
    assert_eq!((&shown().await["state"], &shown().await["drained_by_hand"]), (&json!("starting"), &json!(false)));
}
