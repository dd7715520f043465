//! What goes through the proxy, what it adds and takes away, and what it answers itself.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use integration_tests::{TestReplica, eventually, procfs};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::{NEVER, PATIENCE, Sidecar, docker, spec_of};
use evenkeel::config::settings::Settings;

/// The request's head as a replica saw it, names in lower case.
async fn seen_head(sidecar: &Sidecar, headers: &[(&str, &str)]) -> Vec<String> {
    let response = sidecar.client().await.request("GET", "/headers", headers, b"").await.expect("a whole answer");
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().lines().map(str::to_owned).collect()
}

/// The value that a replica saw of a field.
fn value<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn hop_by_hop_fields_stay_on_their_hop() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let sent = [
        ("Connection", "keep-alive, X-Secret"),
        ("X-Secret", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic x"),
        ("TE", "trailers, deflate"),
        ("Trailer", "X-T"),
        ("X-Kept", "2"),
    ];
    let head = seen_head(&sidecar, &sent).await;
    for gone in ["x-secret", "keep-alive", "proxy-connection", "proxy-authorization", "trailer"] {
        assert_eq!(value(&head, gone), None, "{gone} in {head:?}");
    }
    assert!(!value(&head, "te").unwrap_or_default().contains("deflate"), "{head:?}");
    assert!(!value(&head, "connection").unwrap_or_default().to_lowercase().contains("x-secret"), "{head:?}");
    assert_eq!(value(&head, "x-kept"), Some("2"));
    assert_eq!(value(&head, "host"), Some("gateway"));
}

#[tokio::test]
async fn forwarded_fields_say_who_called() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let spoofed = [("X-Forwarded-For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("X-Forwarded-Proto", "https")];
    let named_in_connection = [("Connection", "X-Forwarded-For, X-Real-IP")];
    for sent in [&[][..], &spoofed, &named_in_connection] {
        let head = seen_head(&sidecar, sent).await;
        assert_eq!(value(&head, "x-forwarded-for"), Some("127.0.0.1"), "{sent:?}");
        assert_eq!(value(&head, "x-real-ip"), Some("127.0.0.1"), "{sent:?}");
        assert_eq!(value(&head, "x-forwarded-proto"), Some("http"), "{sent:?}");
        assert_eq!(value(&head, "x-forwarded-host"), Some("gateway"), "{sent:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let trust = "127.0.0.0/8".parse().expect("a network");
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |settings| settings.proxy.trusted_proxies = vec![trust]).await;
    let sent =
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "shop.example")];
    let head = seen_head(&sidecar, &sent).await;
    assert_eq!(value(&head, "x-forwarded-for"), Some("203.0.113.7, 127.0.0.1"));
    assert_eq!(value(&head, "x-forwarded-proto"), Some("https"));
    assert_eq!(value(&head, "x-forwarded-host"), Some("shop.example"));
}

#[tokio::test]
async fn answers_name_the_replica_that_gave_them() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let answer = sidecar.get("/status/404").await;
    assert_eq!((answer.status, answer.header("x-served-by")), (404, Some("gateway-1")));
}

#[tokio::test]
async fn a_head_answer_has_no_body_and_the_connection_goes_on() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let mut client = sidecar.client().await;
    assert_eq!(client.request("HEAD", "/", &[], b"").await.expect("an answer").header("content-length"), Some("9"));
    assert_eq!(client.get("/").await.expect("an answer").text(), "gateway-1");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let mut client = sidecar.client().await;
    client.send(b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n").await.expect("sent");
    assert_eq!(client.read_head().await.expect("a head before the body ends").status, 200);
    for word in ["first", "later"] {
        client.send(format!("5\r\n{word}\r\n").as_bytes()).await.expect("sent");
        assert_eq!(client.read_chunk().await.expect("a chunk"), Some(word.as_bytes().to_vec()));
    }
    client.send(b"0\r\n\r\n").await.expect("sent");
    assert_eq!(client.read_chunk().await.expect("the end"), None);
    assert_eq!(client.get("/").await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let body: Vec<u8> = (0..251).cycle().take(4 << 20).collect();
    let answer = sidecar.client().await.request("POST", "/echo", &[], &body).await.expect("a whole answer");
    assert!(answer.status == 200 && answer.body == body);
}

#[tokio::test]
async fn upgrades_are_tunnelled() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let mut client = sidecar.client().await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "eA==")];
    let answer = client.request("GET", "/upgrade", &upgrade, b"").await.expect("an answer");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    for message in [&b"ping"[..], b"pong"] {
        client.send(message).await.expect("the tunnel is open");
        assert_eq!(client.read_exactly(4).await.expect("an echo"), message);
    }
    client.finish_sending().await.expect("half closed");
    assert_eq!(client.read_to_end().await.expect("the other half closes"), b"");
}

/// A short JSON body names the reason.
async fn assert_own_answer(sidecar: &Sidecar, status: u16) {
    let answer = sidecar.get("/").await;
    assert_eq!(answer.status, status, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert!(body["error"].is_string(), "{body}");
    assert_eq!(answer.header("x-served-by"), Some("evenkeel"));
    assert_eq!(answer.header("retry-after").is_some(), status == 503, "{:?}", answer.headers);
}

#[tokio::test]
async fn no_replica_is_503_with_retry_after() {
    let sidecar = Sidecar::start_with(|settings| settings.proxy.hold.time = Duration::ZERO);
    assert_own_answer(&sidecar, 503).await;
}

#[tokio::test]
async fn a_refused_connect_is_502_when_there_is_nobody_else() {
    let change = |settings: &mut Settings| {
        docker(settings).defaults.probe.interval = NEVER;
        settings.proxy.hold.time = Duration::from_millis(100);
    };
    let (sidecar, gateways) = Sidecar::with_replicas(1, change).await;
    gateways[0].replica.crash().await;
    assert_own_answer(&sidecar, 502).await;
}

#[tokio::test]
async fn a_replica_that_does_not_answer_is_504() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(1, |settings| settings.proxy.response_timeout = Duration::from_millis(100)).await;
    gateways[0].replica.hold();
    assert_own_answer(&sidecar, 504).await;
    gateways[0].replica.release();
    assert_eq!(sidecar.get("/").await.status, 200);
}

#[tokio::test]
async fn a_request_that_was_refused_goes_to_another_replica() {
    let (sidecar, gateways) =
        Sidecar::with_replicas(2, |settings| docker(settings).defaults.probe.interval = NEVER).await;
    gateways[0].replica.crash().await;
    for _ in 0..20 {
        let mut client = sidecar.client().await;
        let answer = client.request("POST", "/echo", &[], b"once").await.expect("a whole answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "once"));
    }
    assert_eq!(gateways[1].replica.requests(), 20);
}

#[tokio::test]
async fn a_stale_pooled_connection_costs_no_request() {
    let (sidecar, gateways) = Sidecar::with_replicas(2, |_| {}).await;
    assert_eq!(sidecar.spread(20).await.len(), 2);
    for gateway in &gateways {
        gateway.replica.close_idle();
    }
    sidecar.spread(20).await;

    gateways[0].replica.drop_reused(true);
    assert_eq!(sidecar.spread(40).await.values().sum::<usize>(), 40);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_ended_as_if_it_were_whole() {
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |_| {}).await;
    let mut client = sidecar.client().await;
    let error = client.get("/reset").await.expect_err("an answer that is not whole");
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    assert_eq!(sidecar.get("/").await.status, 200);
}

#[tokio::test]
async fn a_malformed_request_is_400_and_never_reaches_a_replica() {
    let (sidecar, gateways) = Sidecar::with_replicas(1, |_| {}).await;
    for request in [
        &b"GET / HTTP/1.1\r\nHost: gateway\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"[..],
        b"GET / HTTP/1.1\r\nHost : gateway\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let answer =
            integration_tests::client::exchange(sidecar.proxy(), request).await.expect("an answer, then a close");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400"), "{:?}: {answer}", String::from_utf8_lossy(request));
    }
    assert_eq!(gateways[0].replica.requests(), 0);
}

#[tokio::test]
async fn a_replica_on_ipv6_is_reached() {
    let sidecar = Sidecar::start();
    let addr: SocketAddr = "[::1]:0".parse().expect("an address");
    // Machines without IPv6 have nothing to test here.
    let Ok(replica) = TestReplica::start_at("gateway-1", addr) else { return };
    sidecar.engine.run(spec_of(&replica));
    sidecar.until_ready(&["gateway-1"]).await;
    assert_eq!(sidecar.get("/").await.text(), "gateway-1");
}

/// A client with little room for what it does not read, and its port.
fn small_reader(proxy: SocketAddr) -> (TcpStream, u16) {
    let socket = Socket::new(Domain::for_address(proxy), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&proxy.into()).expect("the proxy accepts");
    let client = TcpStream::from(socket);
    client.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let port = client.local_addr().expect("an address").port();
    (client, port)
}

/// More than such a client's buffer takes, less than the kernel keeps for evenkeel.
static UNREAD: [u8; 200_000] = [b'x'; 200_000];

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off_though_its_answer_was_sent_whole_but_not_from_a_tunnel() {
    let limit = Duration::from_millis(300);
    let (sidecar, _gateways) = Sidecar::with_replicas(1, |settings| {
        settings.proxy.idle_timeout = limit;
        settings.proxy.keep_alive_timeout = limit;
    })
    .await;
    let SocketAddr::V4(proxy) = sidecar.proxy() else { panic!("not IPv4") };
    let is_there = |port: u16| procfs::accepted(*proxy.ip(), proxy.into()).expect("the kernel's table").contains(&port);

    let (mut tunnel, tunnel_port) = small_reader(proxy.into());
    let switch = "GET /upgrade HTTP/1.1\r\nHost: gateway\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    tunnel.write_all(&[switch.as_bytes(), &UNREAD].concat()).expect("all that is to be echoed goes out");
    let is_echoed = || tunnel.peek(&mut [0; 1024]).is_ok_and(|there| there == 1024);
    tunnel.set_nonblocking(true).expect("a look does not wait");
    eventually(PATIENCE, "the echo comes", async || is_echoed()).await;
    tunnel.set_nonblocking(false).expect("reading does");

    // Once is enough to show it; after the second, the tunnel was long overdue.
    for _ in 0..2 {
        let (mut client, port) = small_reader(proxy.into());
        let request = "POST /echo HTTP/1.1\r\nHost: gateway\r\nContent-Length: 200000\r\n\r\n";
        client.write_all(&[request.as_bytes(), &UNREAD].concat()).expect("the request goes out");
        assert!(is_there(port));
        eventually(PATIENCE, "the connection is gone", async || !is_there(port)).await;
    }

    // It has read as little, but may: its limit is the tunnel's.
    assert!(is_there(tunnel_port));
    tunnel.shutdown(Shutdown::Write).expect("it is still open");
    let reading = tokio::task::spawn_blocking(move || {
        let mut got = Vec::new();
        tunnel.read_to_end(&mut got).map(|_| got)
    });
    let got = reading.await.expect("no panic").expect("all that was echoed, then the end");
    assert!(got.ends_with(&UNREAD), "{} bytes", got.len());
}
