use std::io::ErrorKind;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::TestReplica;
use crate::client::{Client, get};
use crate::eventually;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const A_WHILE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn replicas_share_a_port_on_addresses_of_their_own() {
    let replicas = TestReplica::start_many(&["a", "b", "c"]);
    for replica in &replicas {
        assert_eq!(replica.addr().port(), replicas[0].addr().port());
        let response = get(replica.addr(), "/").await.unwrap();
        assert_eq!((response.text().as_str(), response.header("x-replica")), (replica.name(), Some(replica.name())));
        assert_eq!(replica.requests(), 1);
    }
    assert_ne!(replicas[0].ip(), replicas[1].ip());
}

#[tokio::test]
async fn answers_by_path() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    assert_eq!(client.request("POST", "/echo", &[], b"hello").await.unwrap().text(), "hello");
    assert_eq!(client.request("POST", "/length", &[], b"hello").await.unwrap().text(), "5");
    assert_eq!(client.get("/status/418").await.unwrap().status, 418);
    assert_eq!(client.get("/stream?chunks=2&ms=1").await.unwrap().text(), "chunk 0\nchunk 1\n");
    let head = client.request("GET", "/headers?x=1", &[("X-Test", "yes")], b"").await.unwrap().text();
    assert_eq!(head, "GET /headers?x=1 HTTP/1.1\nhost: gateway\nx-test: yes\n");
    assert_eq!(client.get("/health").await.unwrap().status, 200);
    replica.set_healthy(false);
    assert_eq!(client.get("/health").await.unwrap().status, 503);
    replica.set_status(500);
    assert_eq!(client.get("/").await.unwrap().status, 500);
    assert_eq!((replica.requests(), replica.connections()), (6, 1));
}

#[tokio::test]
async fn echoes_a_body_larger_than_every_buffer() {
    let replica = TestReplica::start("a");
    let body = vec![b'x'; 8 << 20];
    let mut client = Client::connect(replica.addr()).await.unwrap();
    assert!(client.request("POST", "/echo", &[], &body).await.unwrap().body == body);
}

#[tokio::test(start_paused = true)]
async fn answers_late() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    let start = Instant::now();
    client.get("/slow?ms=2000").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    replica.set_delay(Duration::from_secs(3));
    client.get("/").await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn holds_answers_back_until_released() {
    let replica = TestReplica::start("a");
    replica.hold();
    let mut client = Client::connect(replica.addr()).await.unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually(PATIENCE, "the request arrives", async || replica.requests() == 1).await;
    assert!(timeout(A_WHILE, client.read_head()).await.is_err());
    replica.release();
    assert_eq!(client.read_response().await.unwrap().text(), "a");
}

#[tokio::test]
async fn upgrades_and_echoes() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    let upgrade = [("Connection", "upgrade"), ("Upgrade", "echo")];
    let response = client.request("GET", "/upgrade", &upgrade, b"").await.unwrap();
    assert_eq!((response.status, response.header("upgrade")), (101, Some("echo")));
    client.send(b"ping").await.unwrap();
    assert_eq!(client.read_exactly(4).await.unwrap(), b"ping");
    client.finish_sending().await.unwrap();
    assert_eq!(client.read_to_end().await.unwrap(), b"");
}

#[tokio::test]
async fn resets_in_the_middle_of_an_answer() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    client.send(b"GET /reset HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = client.read_head().await.unwrap();
    assert_eq!(head.header("content-length"), Some("100"));
    assert_eq!(client.read_exactly(10).await.unwrap(), b"0123456789");
    assert_eq!(client.read_to_end().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn closes_idle_connections() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    client.get("/").await.unwrap();
    replica.close_idle();
    assert_eq!(client.read_to_end().await.unwrap(), b"");
}

#[tokio::test]
async fn drops_reused_connections_without_an_answer() {
    let replica = TestReplica::start("a");
    replica.drop_reused(true);
    let mut client = Client::connect(replica.addr()).await.unwrap();
    client.get("/").await.unwrap();
    assert!(client.get("/").await.is_err());
    assert_eq!(replica.requests(), 1);
}

#[tokio::test]
async fn refuses_crashes_and_comes_back_at_the_same_address() {
    let replica = TestReplica::start("a");
    let mut client = Client::connect(replica.addr()).await.unwrap();
    client.get("/").await.unwrap();

    replica.refuse().await;
    assert_eq!(get(replica.addr(), "/").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.get("/").await.unwrap();
    replica.crash().await;
    assert!(client.get("/").await.is_err());
    replica.come_back();
    assert_eq!(get(replica.addr(), "/").await.unwrap().text(), "a");
}

#[tokio::test]
async fn a_deaf_replica_lets_connects_succeed() {
    let replica = TestReplica::start("a");
    replica.stop_accepting();
    let mut client = Client::connect(replica.addr()).await.unwrap();
    assert!(timeout(A_WHILE, client.get("/")).await.is_err());
    assert_eq!(replica.requests(), 0);
    replica.resume_accepting();
    assert_eq!(client.read_response().await.unwrap().text(), "a");
}
