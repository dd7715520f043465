//! Which requests get another attempt, and what the client is told when none is left.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::*;
use crate::metrics::AttemptFailure;
use crate::proxy::pool::PATIENCE;

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";

#[test]
fn a_refused_connection_sends_any_request_to_another_replica() {
    let (_held, dead) = refusing();
    let alive = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[dead, alive.addr]);
    for request in [GET, POST].repeat(10) {
        let answer = proxy.ask(request);
        assert_eq!((answer.status(), answer.field("x-served-by").as_deref()), (200, Some("gateway-2")));
    }
    assert_eq!(alive.count(), 20);
    let dead = proxy.replica("gateway", 1);
    assert!(dead.metrics().errors() > 0);
    assert!(dead.last_error().unwrap().contains("connect failed"), "{:?}", dead.last_error());
    assert_eq!(proxy.context.metrics.retries.load(Ordering::Relaxed), dead.metrics().errors());
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn when_every_replica_refuses_the_answer_is_502() {
    let (_a, first) = refusing();
    let (_b, second) = refusing();
    let proxy = Proxy::start(&[first, second]);
    let answer = proxy.ask(POST);
    assert_eq!((answer.status(), answer.error().as_str()), (502, "connect-failed"));
    let errors = [1, 2].map(|number| proxy.replica("gateway", number).metrics().errors());
    assert_eq!(errors, [1, 1], "each is tried once");
    assert_eq!(proxy.context.metrics.retries.load(Ordering::Relaxed), 1, "only what was really tried again counts");
}

#[test]
fn no_more_attempts_are_made_than_allowed() {
    let breaks_off = || FakeReplica::start(|mut served| drop(served.request()));
    let replicas: Vec<_> = (0..5).map(|_| breaks_off()).collect();
    let addrs: Vec<_> = replicas.iter().map(|replica| replica.addr).collect();
    for retries in [0, 1, 3] {
        let before: usize = replicas.iter().map(FakeReplica::count).sum();
        assert_eq!(Proxy::with(&addrs, |s| s.retries = retries).ask(GET).status(), 502);
        let after: usize = replicas.iter().map(FakeReplica::count).sum();
        assert_eq!(after - before, retries as usize + 1);
    }
}

#[test]
fn replicas_that_refuse_at_once_use_up_no_retry() {
    let dead: Vec<_> = (0..6).map(|_| refusing()).collect();
    let alive = FakeReplica::answering(OK);
    let addrs: Vec<_> = dead.iter().map(|(_, addr)| *addr).chain([alive.addr]).collect();
    let proxy = Proxy::with(&addrs, |s| s.retries = 1);
    for request in [GET, POST].repeat(20) {
        assert_eq!(proxy.ask(request).status(), 200);
    }
    assert_eq!(alive.count(), 40);
}

#[test]
fn without_retries_a_refusal_is_the_answer() {
    let dead: Vec<_> = (0..5).map(|_| refusing()).collect();
    let addrs: Vec<_> = dead.iter().map(|(_, addr)| *addr).collect();
    let proxy = Proxy::with(&addrs, |s| s.retries = 0);
    assert_eq!(proxy.ask(GET).status(), 502);
    let attempts: u64 = (1..=5).map(|number| proxy.replica("gateway", number).metrics().errors()).sum();
    assert_eq!(attempts, 1);
}

#[test]
fn a_connect_that_hangs_is_504() {
    let (_held, addr) = hanging();
    // Longer than it would have where another replica could answer.
    let limit = PATIENCE + Duration::from_millis(50);
    let proxy = Proxy::with(&[addr], |s| s.connect_timeout = limit);
    let since = Instant::now();
    let answer = proxy.ask(POST);
    assert_eq!((answer.status(), answer.error().as_str()), (504, "connect-timeout"));
    assert!(since.elapsed() >= limit, "{:?}", since.elapsed());
}

#[test]
fn a_connect_that_hangs_is_given_up_soon_where_another_replica_may_answer() {
    let (proxy, _client, _second, _held) = hanging_at_the_first_of_two(POST);
    let mut others = proxy.connect();
    let since = Instant::now();
    // Round robin: one of the two is sent to the first.
    assert_eq!([others.ask(POST).status(), others.ask(POST).status()], [200; 2]);
    assert!(since.elapsed() < DEADLINE / 2, "{:?}", since.elapsed());
}

/// Answers the first request of its first connection, then does `then` to that connection; later ones just work.
fn first_connection_dies(then: impl Fn(Served) + Send + Sync + 'static) -> FakeReplica {
    FakeReplica::start(move |mut served| {
        while served.request().is_some() {
            served.talk.send(OK);
            if served.index == 0 {
                return then(served);
            }
        }
    })
}

#[test]
fn a_kept_connection_that_is_closed_meanwhile_costs_no_request() {
    for request in [GET, POST] {
        let (closed, is_closed) = std::sync::mpsc::channel();
        let replica = first_connection_dies(move |served| {
            drop(served);
            closed.send(()).unwrap();
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        assert_eq!(client.ask(request).status(), 200);
        is_closed.recv_timeout(DEADLINE).unwrap();
        assert_eq!(client.ask(request).status(), 200);
        assert_eq!((replica.count(), replica.connections.load(Ordering::SeqCst)), (2, 2));
        assert_eq!(proxy.context.metrics.retries.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_kept_connection_that_dies_under_a_request_lets_only_replayable_ones_try_again() {
    let dies: [fn(Served); 2] = [
        |mut served| drop(served.request()),
        |mut served| {
            served.request();
            served.talk.reset();
        },
    ];
    for die in dies {
        for (request, status, arrivals) in [(GET, 200, 3), (POST, 502, 2)] {
            let replica = first_connection_dies(die);
            let proxy = Proxy::start(&[replica.addr]);
            let mut client = proxy.connect();
            assert_eq!(client.ask(request).status(), 200);
            assert_eq!(client.ask(request).status(), status, "{request}");
            assert_eq!(replica.count(), arrivals, "{request}");
            let failures: Vec<_> = proxy.replica("gateway", 1).metrics().failures().filter(|(_, n)| *n > 0).collect();
            assert_eq!(failures, [(AttemptFailure::Reset, 1)]);
        }
    }
}

#[test]
fn a_request_that_kills_who_gets_it_does_not_go_round_all_replicas() {
    let replicas: Vec<_> = (0..8)
        .map(|_| {
            FakeReplica::start(|mut served| {
                while served.request().is_some_and(|request| !request.head.starts_with("GET /kill")) {
                    served.talk.send(OK);
                }
            })
        })
        .collect();
    let addrs: Vec<_> = replicas.iter().map(|replica| replica.addr).collect();
    let proxy = Proxy::with(&addrs, |s| s.retries = 2);
    let mut client = proxy.connect();
    for _ in &replicas {
        assert_eq!(client.ask(GET).status(), 200);
    }
    assert_eq!(client.ask("GET /kill HTTP/1.1\r\nhost: a\r\n\r\n").status(), 502);
    let arrivals: usize = replicas.iter().map(FakeReplica::count).sum();
    assert_eq!(arrivals, replicas.len() + 3, "the request and two retries");
}

#[test]
fn an_answer_that_began_is_not_asked_for_again() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.send("HTTP/1.1 200");
    });
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.error().as_str()), (502, "replica-reset"));
    assert_eq!(replica.count(), 1);
}

#[test]
fn a_replica_that_does_not_answer_is_504_and_not_asked_again() {
    let silent = || {
        FakeReplica::start(|mut served| {
            served.request();
            served.talk.read_to_end();
        })
    };
    let (first, second) = (silent(), silent());
    let proxy = Proxy::with(&[first.addr, second.addr], |s| s.response_timeout = Duration::from_millis(50));
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.error().as_str()), (504, "response-timeout"));
    assert_eq!(first.count() + second.count(), 1);
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn a_head_that_trickles_in_is_no_answer_in_time() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.send("HTTP/1.1 200 OK\r\nx: ");
        while served.talk.stream.write_all(b"x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
    });
    let proxy = Proxy::with(&[replica.addr], |s| s.response_timeout = Duration::from_millis(100));
    assert_eq!(proxy.ask(GET).error(), "response-timeout");
}

#[test]
fn a_broken_body_is_the_clients_fault() {
    let replica = FakeReplica::start(|mut served| drop(served.talk.read_to_end()));
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    assert_eq!((answer.status(), answer.error().as_str()), (400, "bad-request"));
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0);
}

#[test]
fn a_body_that_stands_still_is_the_clients_fault_and_does_not_count_as_a_silent_replica() {
    let replica = FakeReplica::start(|mut served| drop(served.talk.read_to_end()));
    let proxy = Proxy::with(&[replica.addr], |s| {
        s.response_timeout = Duration::from_millis(20);
        s.idle_timeout = Duration::from_millis(200);
    });
    let answer = proxy.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    assert_eq!((answer.status(), answer.error().as_str()), (408, "client-timeout"));
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0);
}

#[test]
fn a_short_body_is_sent_again_with_a_method_that_allows_it() {
    let long = "x".repeat(100_000);
    let short = "x".repeat(60_000);
    for (method, body, status) in
        [("PUT", "hi", 200), ("DELETE", "hi", 200), ("PUT", &short, 200), ("PUT", &long, 502), ("PATCH", "hi", 502)]
    {
        for is_chunked in [false, true] {
            let dies = FakeReplica::start(|mut served| drop(served.request()));
            let lives = FakeReplica::answering(OK);
            let proxy = Proxy::start(&[dies.addr, lives.addr]);
            let request = if is_chunked {
                let size = body.len();
                format!(
                    "{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{size:x}\r\n{body}\r\n0\r\n\r\n"
                )
            } else {
                format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
            };
            let mut client = proxy.connect();
            assert_eq!(client.ask(&request).status(), status, "{method} {} {is_chunked}", body.len());
            if status == 200 {
                assert!(lives.request().body == *body && dies.request().body == *body);
                assert_eq!(client.ask(GET).status(), 200, "what was kept is used up");
            }
        }
    }
}

#[test]
fn retries_that_cost_something_have_a_budget() {
    let replicas: Vec<_> = (0..4).map(|_| FakeReplica::start(|mut served| drop(served.request()))).collect();
    let addrs: Vec<_> = replicas.iter().map(|replica| replica.addr).collect();
    let proxy = Proxy::start(&addrs);
    for _ in 0..10 {
        assert_eq!(proxy.ask(GET).status(), 502);
    }
    let attempts: usize = replicas.iter().map(FakeReplica::count).sum();
    assert_eq!(attempts, 13, "ten requests, and the three retries that are always allowed");
}

#[test]
fn after_a_kept_connection_that_was_dead_no_other_kept_one_is_tried() {
    let both_there = std::sync::Barrier::new(2);
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        if served.index < 2 {
            both_there.wait();
            served.talk.send(OK);
            served.request();
        } else {
            served.talk.send(OK);
        }
    });
    let proxy = Proxy::with(&[replica.addr], |s| s.retries = 1);
    let (mut one, mut other) = (proxy.connect(), proxy.connect());
    one.send(GET);
    other.send(GET);
    for client in [&mut one, &mut other] {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
    assert_eq!(one.ask(GET).status(), 200, "the one retry is not spent on the other dead connection");
    assert_eq!((replica.count(), replica.connections.load(Ordering::SeqCst)), (4, 3));
}

#[test]
fn a_peer_is_told_that_its_request_is_lost_once_any_replica_has_got_it() {
    let breaking = FakeReplica::start(|mut served| drop(served.request()));
    let (_held, dead) = refusing();
    let said = |replicas: &[SocketAddr]| -> Vec<_> {
        let proxy = Proxy::for_peers(replicas);
        // Whichever of them is the first.
        let asked = (0..2).map(|_| proxy.ask("GET / HTTP/1.1\r\nhost: a\r\nevenkeel-peer: gateway\r\n\r\n"));
        asked.map(|answer| (answer.status(), answer.error(), answer.field("evenkeel-peer").unwrap())).collect()
    };
    let lost = (502, "replica-reset".to_owned(), "lost".to_owned());
    let unsent = (502, "connect-failed".to_owned(), "unsent".to_owned());
    assert_eq!(said(&[breaking.addr, dead]), [lost.clone(), lost]);
    assert_eq!(breaking.count(), 2);
    assert_eq!(said(&[dead]), [unsent.clone(), unsent]);
}
