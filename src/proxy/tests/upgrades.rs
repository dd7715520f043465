//! Tunnels.

use std::time::{Duration, Instant};

use super::support::*;

const ASK: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: h2c, Chat\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\nx-a: b\r\n\r\n";

/// Switches, says hello in the same breath, then echoes line by line until the client is done.
fn chatting() -> FakeReplica {
    FakeReplica::start(|mut served| {
        served.request();
        served.talk.send(format!("{SWITCH}hello\n"));
        while let Some(line) = served.talk.read_until("\n") {
            served.talk.send(line);
        }
        served.talk.send("bye\n");
    })
}

#[test]
fn an_upgrade_becomes_a_tunnel_that_holds_its_lease() {
    let replica = chatting();
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    // The first line comes right behind the request: it belongs to the tunnel.
    client.send(format!("{ASK}early\n"));
    let head = client.read_until("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("Upgrade: chat\r\n"), "{head}");
    assert!(head.contains("Connection: upgrade\r\n") && head.contains("X-Served-By: gateway-1\r\n"), "{head}");
    assert_eq!(client.read_until("\n").unwrap(), "hello\n");
    assert_eq!(client.read_until("\n").unwrap(), "early\n");
    client.send("again\n");
    assert_eq!(client.read_until("\n").unwrap(), "again\n");
    let request = replica.request();
    assert_eq!(request.fields("upgrade"), ["Chat"]);
    assert_eq!(request.fields("connection"), ["upgrade"]);
    assert_eq!((proxy.in_flight(), proxy.replica("gateway", 1).metrics().requests()), (1, 0));
    assert_eq!(proxy.replica("gateway", 1).metrics().tunnels(), 1);

    client.finish_writing();
    assert_eq!(client.read_to_end(), "bye\n");
    eventually("the lease is released", || proxy.in_flight() == 0);
    let replica = proxy.replica("gateway", 1);
    assert_eq!(replica.metrics().codes().collect::<Vec<_>>(), [(101, 1)]);
    assert_eq!((replica.metrics().tunnels(), replica.metrics().cut()), (0, 0));
}

#[test]
fn a_refused_upgrade_is_an_answer_like_any_other() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(format!("{ASK}{GET}"));
    for _ in 0..2 {
        assert_eq!(client.read_message().unwrap().body, "ok");
    }
    assert_eq!(replica.count(), 2);
}

#[test]
fn an_upgrade_to_something_else_is_502() {
    let other = SWITCH.replace("upgrade: chat", "upgrade: other");
    let replica = FakeReplica::answering(other);
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask(ASK);
    assert_eq!((answer.status(), answer.error().as_str()), (502, "replica-protocol"));
}

#[test]
fn a_silent_tunnel_is_closed() {
    let replica = chatting();
    let proxy = Proxy::with(&[replica.addr], |s| s.tunnel_timeout = Duration::from_millis(100));
    let mut client = proxy.connect();
    client.send(ASK);
    client.read_until("hello\n").unwrap();
    let since = Instant::now();
    assert!(client.is_closed());
    assert!(since.elapsed() < DEADLINE / 2);
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn a_tunnel_outlives_the_timeouts_of_requests_and_the_stop_but_not_the_abort() {
    let replica = chatting();
    let short = Duration::from_millis(50);
    let proxy = Proxy::with(&[replica.addr], |s| {
        (s.keep_alive_timeout, s.head_timeout, s.response_timeout) = (short, short, short);
        (s.first_byte_timeout, s.idle_timeout) = (short, short);
    });
    let mut client = proxy.connect();
    client.send(ASK);
    client.read_until("hello\n").unwrap();
    // Another connection meets its end by the timeout that the tunnel must not have.
    assert!(proxy.connect().is_closed());
    proxy.context.stop_accepting.cancel();
    eventually("nobody listens any more", || std::net::TcpStream::connect(proxy.addr).is_err());
    client.send("still\n");
    assert_eq!(client.read_until("\n").unwrap(), "still\n");
    assert!(!proxy.have_workers_ended());
    proxy.context.abort.cancel();
    eventually("the worker ends", || proxy.have_workers_ended());
    assert!(client.is_closed());
}

#[test]
fn a_switch_before_the_request_is_whole_is_502() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("\r\n\r\n").unwrap();
        served.talk.send(SWITCH);
        served.talk.read_to_end();
    });
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask(&ASK.replace("\r\n\r\n", "\r\ncontent-length: 5\r\n\r\nhe"));
    assert_eq!((answer.status(), answer.error().as_str()), (502, "replica-protocol"));
}
