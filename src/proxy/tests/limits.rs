//! How much is taken: of a message, and of clients.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::support::*;
use crate::config::settings::ProxySettings;
use crate::metrics::AcceptPause;

/// How long nothing must happen that would happen at once.
const A_WHILE: Duration = Duration::from_millis(200);
/// A limit that a machine with much else to do keeps all the same.
const LONGER: Duration = Duration::from_secs(1);
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\n";

fn allow_body(bytes: u64) -> impl FnOnce(&mut ProxySettings) {
    move |settings| settings.limits.body_bytes = NonZeroU64::new(bytes)
}

fn is_silent(client: &Talk) -> bool {
    client.stream.set_read_timeout(Some(A_WHILE)).unwrap();
    let waited = client.stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    waited
}

fn pauses(proxy: &Proxy) -> u64 {
    let mut pauses = proxy.context.metrics.accept_pauses();
    pauses.find(|(reason, _)| *reason == AcceptPause::Limit).unwrap().1
}

#[test]
fn heads_fields_and_targets_have_limits_with_a_status_each() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |settings| {
        let limits = &mut settings.limits;
        (limits.head_bytes, limits.headers, limits.target_bytes) = (2000, 3, 100);
    });
    let get = |target: usize, field: usize| {
        format!("GET /{} HTTP/1.1\r\nhost: a\r\nx-a: {}\r\n\r\n", "t".repeat(target - 1), "x".repeat(field))
    };
    let longest = 2000 - get(1, 0).len();
    for (request, status) in [
        (get(1, longest), 200),
        (get(1, longest + 1), 431),
        (get(100, 1), 200),
        (get(101, 1), 414),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b: 2\r\n\r\n".to_owned(), 200),
        ("GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b: 2\r\nx-c: 3\r\n\r\n".to_owned(), 431),
    ] {
        let mut client = proxy.connect();
        let answer = client.ask(&request);
        assert_eq!(answer.status(), status, "{request}");
        if status != 200 {
            assert_eq!((answer.error().as_str(), client.is_closed()), ("head-too-large", true));
        }
    }
    assert_eq!(replica.count(), 3);
}

#[test]
fn an_answers_head_has_the_same_limits() {
    for (fields, status) in [(3, 200), (4, 502)] {
        let replica =
            FakeReplica::answering(format!("HTTP/1.1 200 OK\r\n{}\r\n", "content-length: 0\r\n".repeat(fields)));
        let proxy = Proxy::with(&[replica.addr], |settings| settings.limits.headers = 3);
        assert_eq!(proxy.ask(GET).status(), status);
    }
}

#[test]
fn a_body_that_is_announced_too_long_is_not_begun() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], allow_body(5));
    let mut client = proxy.connect();
    assert_eq!(client.ask(&format!("{POST}content-length: 5\r\n\r\nhello")).status(), 200);
    let answer = client.ask(&format!("{POST}content-length: 6\r\nexpect: 100-continue\r\n\r\n"));
    assert_eq!((answer.status(), answer.error().as_str()), (413, "body-too-large"));
    assert!(client.is_closed());
    assert_eq!((replica.count(), replica.connections.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn a_chunked_body_that_becomes_too_long_never_ends_at_the_replica() {
    let (got, has_got) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.talk.read_until("\r\n\r\n").unwrap();
        got.send(served.talk.read_to_end()).unwrap();
    });
    let proxy = Proxy::with(&[replica.addr], allow_body(5));
    let mut client = proxy.connect();
    client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n"));
    eventually("it is under way", || proxy.in_flight() == 1);
    let answer = client.ask("3\r\nlo!\r\n0\r\n\r\n");
    assert_eq!((answer.status(), answer.error().as_str()), (413, "body-too-large"));
    assert!(client.is_closed());
    assert_eq!(has_got.recv_timeout(DEADLINE).unwrap(), "3\r\nhel\r\n");
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0, "it is not the replica's fault");
}

#[test]
fn a_chunked_body_at_the_limit_passes_in_whatever_pieces() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], allow_body(5));
    for body in ["5\r\nhello\r\n0\r\n\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"] {
        assert_eq!(proxy.ask(&format!("{POST}transfer-encoding: chunked\r\n\r\n{body}")).status(), 200);
    }
    let answer = proxy.ask(&format!("{POST}transfer-encoding: chunked\r\n\r\n6\r\n"));
    assert_eq!(answer.status(), 413, "its size is enough to tell");
}

#[test]
fn an_answer_that_has_begun_is_cut_when_the_body_becomes_too_long() {
    let (got, has_got) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.talk.read_until("hel\r\n").unwrap();
        served.talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        got.send(served.talk.read_to_end()).unwrap();
    });
    let proxy = Proxy::with(&[replica.addr], allow_body(5));
    let mut client = proxy.connect();
    client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n"));
    client.read_until("first\r\n").unwrap();
    client.send("3\r\nlo!\r\n0\r\n\r\n");
    assert_eq!(client.read_to_end(), "", "no last chunk, and nothing of another answer");
    assert_eq!(has_got.recv_timeout(DEADLINE).unwrap(), "", "no more of the body, and no end of it");
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn over_the_limit_a_client_waits_for_another_to_leave_whichever_worker_has_it() {
    const CLIENTS: usize = 24;
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |settings| {
        settings.threads = NonZeroUsize::new(2).unwrap();
        settings.limits.connections = NonZeroUsize::new(1);
    });
    let mut first = proxy.connect();
    assert_eq!(first.ask(GET).status(), 200);
    let mut others: Vec<_> = (0..CLIENTS).map(|_| proxy.connect()).collect();
    others.iter_mut().for_each(|client| client.send(GET));
    assert!(is_silent(&others[0]));
    eventually("both workers have somebody who waits", || pauses(&proxy) == 2);
    assert_eq!(replica.count(), 1);
    assert_eq!(proxy.context.metrics.connections_open.load(Ordering::Relaxed), 1);
    assert_eq!(first.ask(GET).status(), 200, "who is in is served");
    drop(first);
    // Nobody knows whose turn it is; but each that has had its answer makes room for another.
    while !others.is_empty() {
        others.iter().for_each(|client| client.stream.set_nonblocking(true).unwrap());
        let mut next = None;
        eventually("the next one is let in", || {
            next = others.iter().position(|client| client.stream.peek(&mut [0]).is_ok());
            next.is_some()
        });
        let mut served = others.swap_remove(next.unwrap());
        served.stream.set_nonblocking(false).unwrap();
        assert_eq!(served.read_message().unwrap().status(), 200);
    }
    eventually("everybody has left", || proxy.context.metrics.connections_open.load(Ordering::Relaxed) == 0);
    assert_eq!(proxy.context.metrics.connections_total.load(Ordering::Relaxed), 1 + CLIENTS as u64);
}

#[test]
fn a_stop_does_not_wait_for_those_who_were_not_let_in() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |settings| settings.limits.connections = NonZeroUsize::new(1));
    let mut first = proxy.connect();
    assert_eq!(first.ask(GET).status(), 200);
    let mut others = [proxy.connect(), proxy.connect()];
    eventually("one of them waits", || pauses(&proxy) == 1);
    proxy.context.stop_accepting.cancel();
    assert!(first.is_closed());
    assert!(others.iter_mut().all(Talk::is_closed));
    eventually("the worker ends", || proxy.have_workers_ended());
    // The one that had been accepted had its last call, like the first.
    assert_eq!(proxy.context.metrics.connections_total.load(Ordering::Relaxed), 2);
}

/// A client of another address than the other clients have.
fn from_elsewhere(proxy: &Proxy) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::new(127, 0, 0, 9), 0)).into()).unwrap();
    socket.connect(&proxy.addr.into()).unwrap();
    socket.into()
}

/// The answer to a new client, unless it is reset first, maybe before it knows that it was connected.
fn enter(proxy: &Proxy) -> Option<Message> {
    let mut client = Talk::new(TcpStream::connect(proxy.addr).ok()?);
    client.stream.write_all(GET.as_bytes()).ok()?;
    client.read_message()
}

#[test]
fn a_client_with_too_many_connections_gets_no_more_but_others_do() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |settings| {
        settings.limits.connections_per_client = NonZeroUsize::new(2);
        settings.trusted_proxies = vec!["127.0.0.9".parse::<std::net::IpAddr>().unwrap().into()];
    });
    let mut inside = [proxy.connect(), proxy.connect()];
    for client in &mut inside {
        assert_eq!(client.ask(GET).status(), 200);
    }
    let refused = || proxy.context.metrics.connections_refused.load(Ordering::Relaxed);
    assert!(enter(&proxy).is_none());
    assert_eq!(refused(), 1);
    let mut proxies: Vec<_> = (0..3).map(|_| Talk::new(from_elsewhere(&proxy))).collect();
    assert!(proxies.iter_mut().all(|client| client.ask(GET).status() == 200));
    let [first, mut second] = inside;
    drop(first);
    eventually("its place is free again", || enter(&proxy).is_some());
    assert_eq!(second.ask(GET).status(), 200);
}

#[test]
fn a_peer_has_as_many_connections_as_it_needs() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |settings| {
        settings.limits.connections_per_client = NonZeroUsize::new(1);
    });
    proxy.context.peers.set_addresses(["127.0.0.9".parse().unwrap()].into());
    let mut peers: Vec<_> = (0..3).map(|_| Talk::new(from_elsewhere(&proxy))).collect();
    assert!(peers.iter_mut().all(|peer| peer.ask(GET).status() == 200));
    let mut only = proxy.connect();
    assert_eq!(only.ask(GET).status(), 200);
    assert!(enter(&proxy).is_none(), "nobody else has");
}

/// Answers with a chunk now and then for as long as anybody listens, but not for ever.
fn dripping() -> FakeReplica {
    FakeReplica::start(|mut served| {
        served.talk.read_until("half").unwrap();
        served.talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        served.talk.stream.set_read_timeout(Some(A_WHILE / 10)).unwrap();
        let end = Instant::now() + DEADLINE / 2;
        // A read that brings nothing is the pause between two chunks.
        while served.talk.stream.write_all(b"1\r\nx\r\n").is_ok() && Instant::now() < end {
            let _ = std::io::Read::read(&mut served.talk.stream, &mut [0]);
        }
    })
}

#[test]
fn a_request_that_stands_still_is_found_although_its_answer_flows() {
    let replica = dripping();
    let proxy = Proxy::with(&[replica.addr], |settings| settings.idle_timeout = A_WHILE);
    let mut client = proxy.connect();
    let began = Instant::now();
    client.send(format!("{POST}content-length: 9\r\n\r\nhalf"));
    let heard = client.read_to_end();
    assert!(heard.contains("x\r\n") && !heard.ends_with("0\r\n\r\n"), "{heard}");
    assert!(began.elapsed() >= A_WHILE && began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    eventually("the lease is released", || proxy.in_flight() == 0);
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0);
}

#[test]
fn a_request_that_goes_on_now_and_then_is_not_cut_while_its_answer_flows() {
    let replica = dripping();
    let proxy = Proxy::with(&[replica.addr], |settings| settings.idle_timeout = LONGER);
    let mut client = proxy.connect();
    let began = Instant::now();
    client.send(format!("{POST}content-length: 100\r\n\r\nhalf"));
    while began.elapsed() < LONGER * 3 / 2 {
        client.read_until("x\r\n").expect("the answer goes on");
        client.send(".");
    }
}

#[test]
fn who_had_to_wait_to_be_asked_for_its_body_has_all_the_time_from_then_on() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("\r\n\r\n").unwrap();
        served.talk.stream.set_read_timeout(Some(LONGER * 3 / 2)).unwrap();
        assert!(served.talk.stream.peek(&mut [0]).is_err(), "nobody sends before it is asked");
        served.talk.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        served.talk.send("HTTP/1.1 100 Continue\r\n\r\n");
        served.talk.read_until("body").unwrap();
        served.talk.send(OK);
    });
    let proxy = Proxy::with(&[replica.addr], |settings| settings.idle_timeout = LONGER);
    let mut client = proxy.connect();
    client.send(format!("{POST}content-length: 4\r\nexpect: 100-continue\r\n\r\n"));
    assert!(client.read_until("\r\n\r\n").unwrap().starts_with("HTTP/1.1 100 "));
    assert!(is_silent(&client));
    assert_eq!(client.ask("body").status(), 200);
}

#[test]
fn a_client_that_reads_nothing_is_found_although_it_goes_on_sending() {
    let (ended, has_ended) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.talk.read_until("half").unwrap();
        served.talk.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        let mut writing = served.talk.stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || while writing.write_all(&[b'x'; 64 << 10]).is_ok() {});
        served.talk.read_to_end();
        writer.join().unwrap();
        ended.send(()).unwrap();
    });
    let proxy = Proxy::with(&[replica.addr], |settings| settings.idle_timeout = A_WHILE);
    let mut client = proxy.connect();
    client.send(format!("{POST}content-length: 1000000\r\n\r\nhalf"));
    let deadline = Instant::now() + DEADLINE / 2;
    let mut goes_on = true;
    while goes_on && Instant::now() < deadline {
        goes_on = client.stream.write_all(b".").is_ok() && has_ended.recv_timeout(A_WHILE / 10).is_err();
    }
    assert!(!goes_on, "it was not cut");
    eventually("the lease is released", || proxy.in_flight() == 0);
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0);
}

#[test]
fn a_replica_may_be_silent_while_it_takes_a_long_request() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("half").unwrap();
        served.talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        served.talk.read_until("end").unwrap();
        served.talk.send("4\r\nlast\r\n0\r\n\r\n");
    });
    let proxy = Proxy::with(&[replica.addr], |settings| settings.idle_timeout = LONGER);
    let mut client = proxy.connect();
    client.send(format!("{POST}transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"));
    client.read_until("first\r\n").unwrap();
    let began = Instant::now();
    while began.elapsed() < LONGER * 3 / 2 {
        assert!(is_silent(&client), "cut too early");
        client.send("1\r\n.\r\n");
    }
    client.send("3\r\nend\r\n0\r\n\r\n");
    assert!(client.read_until("last\r\n0\r\n\r\n").is_some());
}
