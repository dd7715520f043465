use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::admin::tests::{Fixture, Running, fixture};
use crate::change::{Change, Sighting};
use crate::provider::{Provider, ProviderKind};
use crate::replica::{Health, Lifecycle};

const DEADLINE: Duration = Duration::from_secs(10);

/// Reads the news.
struct Listener(Lines<BufReader<TcpStream>>);

impl Listener {
    async fn new(admin: &Running) -> Self {
        let mut stream = TcpStream::connect(admin.addr()).await.unwrap();
        // A client of HTTP/1.0 gets no chunks.
        stream.write_all(b"GET /api/v1/watch HTTP/1.0\r\n\r\n").await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut head = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
            head.push(line);
        }
        assert!(head.contains(&"content-type: application/x-ndjson".to_owned()), "{head:?}");
        Self(lines)
    }

    /// The next line, be it a heartbeat.
    async fn line(&mut self) -> Option<String> {
        timeout(DEADLINE, self.0.next_line()).await.unwrap().unwrap()
    }

    /// The next line that says something.
    async fn news(&mut self) -> News {
        loop {
            let news = serde_json::from_str(&self.line().await.unwrap()).unwrap();
            if news != News::default() {
                return news;
            }
        }
    }
}

fn gateway(ready: u32, weight: u32, last_resort: u32) -> News {
    News { services: [("gateway".to_owned(), Share { ready, weight, last_resort })].into(), ..News::default() }
}

#[tokio::test]
async fn everything_is_told_at_first_then_what_changes_and_in_between_that_nothing_does() {
    let mut fixture = fixture();
    let herald = &mut Arc::get_mut(&mut fixture.state).unwrap().herald;
    herald.advertised = Advertised { address: None, port: Some(8080) };
    let admin = Running::new(&fixture).await;
    let mut listener = Listener::new(&admin).await;
    let first = listener.line().await.unwrap();
    let expected = r#"{"version":1,"id":"0000000000000000","name":"","port":8080,"draining":false,"services":{"gateway":{"ready":1,"weight":1,"last_resort":0}}}"#;
    assert_eq!(first, expected);
    assert_eq!(listener.line().await.unwrap(), "{}");

    fixture.add('e', "gateway-5", 9, |spec| spec.weight = 3).set_health(Health::Healthy);
    fixture.state.registry.announce();
    assert_eq!(listener.news().await, gateway(2, 4, 0));
    fixture.state.readiness.set_terminating();
    fixture.state.registry.announce();
    assert_eq!(listener.news().await, News { draining: Some(true), ..News::default() });
}

#[tokio::test]
async fn what_comes_together_is_told_together_and_what_changes_nothing_is_not_told() {
    let fixture = Fixture::empty();
    let admin = Running::new(&fixture).await;
    let mut listener = Listener::new(&admin).await;
    listener.news().await;
    let replicas: Vec<_> = ('0'..='9')
        .zip(1..)
        .map(|(digit, number)| fixture.add(digit, &format!("gateway-{number}"), number, |_| {}))
        .collect();
    for replica in &replicas {
        replica.set_health(Health::Healthy);
        fixture.state.registry.announce();
    }
    assert_eq!(listener.news().await, gateway(10, 10, 0));
    fixture.state.registry.announce();
    assert_eq!(listener.line().await.unwrap(), "{}");
}

#[test]
fn what_holds_is_found_out_once_for_all_who_read_and_wakes_them_only_for_news() {
    let fixture = Fixture::empty();
    let replica = fixture.add('a', "gateway-1", 1, |_| {});
    let mut readers = [(); 2].map(|()| fixture.state.herald.holds.subscribe());
    let mut woken = || {
        refresh(&fixture.state);
        let woken = [0, 1].map(|index| readers[index].has_changed().unwrap());
        let held = readers.each_mut().map(|reader| Arc::clone(&reader.borrow_and_update()));
        assert!(Arc::ptr_eq(&held[0], &held[1]));
        woken
    };
    assert_eq!(woken(), [true; 2]);
    assert_eq!(woken(), [false; 2]);
    replica.set_health(Health::Healthy);
    assert_eq!(woken(), [true; 2]);
    fixture.add('b', "peer:vm-2", 2, |spec| spec.provider = Provider::named(ProviderKind::Peer, "vm-2:9900"));
    assert_eq!(woken(), [false; 2], "a peer's replicas are no news of ours");
}

#[tokio::test]
async fn only_what_is_here_is_told_without_what_it_is_preferred_by() {
    let mut fixture = Fixture::empty();
    Arc::get_mut(&mut fixture.state).unwrap().herald.preference = 4;
    let own = fixture.add('a', "gateway-1", 1, |spec| spec.weight = 4);
    own.set_health(Health::Healthy);
    let peers = |spec: &mut crate::replica::ReplicaSpec| {
        spec.provider = Provider::named(ProviderKind::Peer, "vm-2:9900");
        spec.weight = 7;
    };
    fixture.add('b', "peer:vm-2", 2, peers).set_health(Health::Healthy);
    fixture.add('c', "peer:vm-2", 2, |spec| {
        peers(spec);
        spec.service = "api".into();
    });
    let services = || summary(&fixture.state).services;
    assert_eq!(services(), gateway(1, 1, 0).services, "and nothing of a service that only a peer has");
    own.set_health(Health::Unhealthy);
    assert_eq!(services(), gateway(0, 0, 1).services);
    let spec = own.spec().clone();
    fixture.apply(Change::Upsert { replica: Box::new(Sighting { spec, lifecycle: Lifecycle::Draining }) });
    assert_eq!(services(), gateway(0, 0, 0).services);
}

#[tokio::test]
async fn who_says_that_it_is_a_peer_must_be_one_and_all_others_may_read() {
    let mut fixture = Fixture::empty();
    let peers = Arc::new(Peers::new("vm-1".to_owned(), Some("sesame-open-wide".into()), true));
    Arc::get_mut(&mut fixture.state).unwrap().herald.peers = peers;
    let admin = Running::new(&fixture).await;
    for (fields, stranger) in [
        ("Evenkeel-Peer: 7\r\n", Stranger::NoToken),
        ("Evenkeel-Peer: 7\r\nAuthorization: Bearer sesame-shut-tight\r\n", Stranger::OtherToken),
    ] {
        let answer = admin.ask("GET", "/api/v1/watch", fields).await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.json()["error"], format!("you are no peer of vm-1: {stranger}"));
    }
    Listener::new(&admin).await.news().await;
}

#[test]
fn who_has_no_peers_tells_all_who_show_no_token() {
    let client = SocketAddr::from(([10, 0, 0, 2], 50_000));
    let mut headers = HeaderMap::new();
    let [alone, among] = [false, true].map(|has_peers| Peers::new(String::new(), None, has_peers));
    assert_eq!(recognise(&alone, client, &headers), Ok(()));
    assert_eq!(recognise(&among, client, &headers), Err(Stranger::UnknownAddress));
    headers.insert(header::AUTHORIZATION, "Bearer sesame-open-wide".parse().unwrap());
    assert_eq!(recognise(&alone, client, &headers), Err(Stranger::UnknownToken));
}

#[tokio::test]
async fn the_news_end_with_the_admin_room() {
    let fixture = Fixture::empty();
    let admin = Running::new(&fixture).await;
    let mut listener = Listener::new(&admin).await;
    listener.news().await;
    fixture.state.herald.end.cancel();
    while listener.line().await.is_some() {}
}
