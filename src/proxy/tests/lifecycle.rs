//! Connections: how they are kept, how they end, and how the workers end.

use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::support::*;
use crate::replica::ReplicaSpec;

const SHORT: Duration = Duration::from_millis(100);

#[test]
fn requests_of_one_client_share_one_connection_to_the_replica() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for _ in 0..10 {
        assert_eq!(client.ask(GET).status(), 200);
    }
    client.send(GET.repeat(10));
    for _ in 0..10 {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
    assert_eq!((replica.count(), replica.connections.load(Ordering::SeqCst)), (20, 1));
    let metrics = &proxy.context.metrics;
    assert_eq!(metrics.connections_open.load(Ordering::Relaxed), 1);
    drop(client);
    eventually("the connection is gone", || metrics.connections_open.load(Ordering::Relaxed) == 0);
    assert_eq!(metrics.connections_total.load(Ordering::Relaxed), 1);
}

#[test]
fn connections_to_a_replica_that_drains_are_closed() {
    let (ended, has_ended) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        while served.request().is_some() {
            served.talk.send(OK);
        }
        ended.send(()).unwrap();
    });
    let mut proxy = Proxy::start(&[replica.addr]);
    assert_eq!(proxy.ask(GET).status(), 200);
    assert!(has_ended.try_recv().is_err());
    proxy.drain("gateway-1");
    has_ended.recv_timeout(DEADLINE).unwrap();
}

#[test]
fn a_connection_that_brings_no_whole_head_in_time_is_told_and_closed() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |s| s.head_timeout = SHORT);
    let start = Instant::now();
    let mut slow = proxy.connect();
    slow.send("GET / HT");
    assert_eq!(slow.read_message().unwrap().status(), 408);
    assert!(slow.is_closed());
    let mut blank = proxy.connect();
    blank.send("\r\n");
    assert!(blank.is_closed(), "nothing was begun that could be told of");
    let mut second = proxy.connect();
    assert_eq!(second.ask(GET).status(), 200);
    second.send("G");
    assert_eq!(second.read_message().unwrap().error(), "client-timeout");
    assert!(second.is_closed());
    assert!(start.elapsed() >= SHORT * 3);
}

#[test]
fn a_connection_that_brings_nothing_is_closed_by_a_timeout_of_its_own() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |s| s.first_byte_timeout = SHORT);
    let (mut silent, mut spoken, start) = (proxy.connect(), proxy.connect(), Instant::now());
    spoken.send("G");
    assert!(silent.is_closed());
    assert!(start.elapsed() > SHORT / 2 && start.elapsed() < DEADLINE / 2);
    assert_eq!(spoken.ask(&GET[1..]).status(), 200);
    assert_eq!(spoken.ask(GET).status(), 200, "between requests another limit counts");
}

#[test]
fn an_idle_connection_is_closed_by_a_timeout_of_its_own() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |s| s.keep_alive_timeout = SHORT);
    for request in [
        GET,
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        "OPTIONS / HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.ask(request);
        let since = Instant::now();
        assert!(client.is_closed(), "{request}");
        assert!(since.elapsed() > SHORT / 2, "{request}");
    }
}

#[test]
fn idleness_is_counted_from_the_end_of_the_last_answer() {
    let idle = Duration::from_millis(600);
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        std::thread::sleep(idle);
        served.talk.send(OK);
    });
    let proxy = Proxy::with(&[replica.addr], |s| s.keep_alive_timeout = idle);
    let mut client = proxy.connect();
    client.send("GET / HT");
    eventually("the head is begun", || proxy.context.metrics.connections_open.load(Ordering::Relaxed) == 1);
    std::thread::sleep(SHORT / 2);
    client.send("TP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read_message().unwrap().status(), 200);
    let since = Instant::now();
    assert!(client.is_closed());
    assert!(since.elapsed() > idle / 2, "{:?}", since.elapsed());
}

#[test]
fn neither_of_them_ends_a_request_that_takes_long() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        served.talk.send(OK);
    });
    let proxy = Proxy::with(&[replica.addr], |s| {
        (s.keep_alive_timeout, s.head_timeout, s.first_byte_timeout) = (SHORT, SHORT, SHORT);
    });
    let mut client = proxy.connect();
    client.send(GET);
    eventually("it is under way", || replica.count() == 1);
    assert!(proxy.connect().is_closed());
    go.send(()).unwrap();
    assert_eq!(client.read_message().unwrap().status(), 200);
}

#[test]
fn a_stop_ends_idle_connections_and_lets_requests_finish() {
    let (replica, go) = FakeReplica::slow_until_told();
    let proxy = Proxy::with(&[replica.addr], |s| s.threads = std::num::NonZeroUsize::new(2).unwrap());
    let (mut idle, mut fresh, mut busy) = (proxy.connect(), proxy.connect(), proxy.connect());
    assert_eq!(idle.ask(GET).status(), 200);
    busy.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", || replica.count() == 2);
    proxy.context.stop_accepting.cancel();
    assert!(idle.is_closed());
    assert!(fresh.is_closed());
    eventually("nobody listens any more", || TcpStream::connect(proxy.addr).is_err());
    assert!(!proxy.have_workers_ended());
    go.send(()).unwrap();
    let answer = busy.read_message().unwrap();
    assert_eq!((answer.status(), answer.fields("connection")), (200, vec!["close".to_owned()]));
    eventually("the workers end", || proxy.have_workers_ended());
}

#[test]
fn what_was_on_its_way_when_the_stop_came_is_answered() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let (mut kept, mut clients) = (proxy.connect(), Vec::new());
    assert_eq!(kept.ask(GET).status(), 200);
    for _ in 0..50 {
        let mut client = proxy.connect();
        client.send(GET);
        clients.push(client);
    }
    kept.send(GET);
    proxy.context.stop_accepting.cancel();
    for client in clients.iter_mut().chain([&mut kept]) {
        assert_eq!(client.read_message().expect("an answer").status(), 200);
    }
    eventually("the worker ends", || proxy.have_workers_ended());
}

#[test]
fn an_abort_ends_everything_at_once() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.read_to_end();
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    eventually("it is under way", || proxy.in_flight() == 1);
    proxy.context.abort.cancel();
    assert!(client.is_closed());
    eventually("the worker ends", || proxy.have_workers_ended());
    assert_eq!(proxy.in_flight(), 0);
}

#[test]
fn what_is_left_on_a_draining_replica_is_cut_at_its_drain_timeout() {
    let replica = FakeReplica::start(|mut served| {
        let request = served.request().unwrap();
        match &request.head {
            head if head.starts_with("GET /tunnel") => {
                served.talk.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
            }
            head if head.starts_with("GET /body") => {
                served.talk.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
            }
            _ => {}
        }
        served.talk.read_to_end();
    });
    let mut proxy = Proxy::start(&[replica.addr]);
    let limited = ReplicaSpec { drain_timeout: Some(SHORT), ..proxy.replica("gateway", 1).spec().clone() };
    proxy.upsert(limited);
    let mut clients: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    clients[0].send("POST /head HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    clients[1].send("GET /body HTTP/1.1\r\nhost: a\r\n\r\n");
    clients[2].send("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert!(clients[1].read_until("half").is_some() && clients[2].read_until("\r\n\r\n").is_some());
    eventually("all three are under way", || proxy.in_flight() == 3 && replica.count() == 3);
    let metrics = |proxy: &Proxy| {
        let replica = proxy.replica("gateway", 1);
        (replica.metrics().tunnels(), replica.metrics().cut())
    };
    eventually("one of them is a tunnel", || metrics(&proxy) == (1, 0));

    let since = Instant::now();
    proxy.drain("gateway-1");
    let answer = clients[0].read_message().unwrap();
    assert_eq!((answer.status(), answer.error().as_str()), (502, "replica-reset"));
    assert!(since.elapsed() >= SHORT, "not before its time");
    assert!(clients[1].is_closed() && clients[2].is_closed(), "a truncated body and a tunnel end visibly");
    eventually("the leases are released", || proxy.in_flight() == 0);
    assert_eq!(metrics(&proxy), (0, 3));
}
