//! What attempts and answers say of their replica: what counts against it, what for it, and what for neither.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::*;
use crate::metrics::Fault;
use crate::proxy::failure::Failure;
use crate::proxy::{Worker, tally};
use crate::replica::{Health, Replica};
use crate::service::Policy;

const UNAVAILABLE: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
const FAILING: &str = "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";

/// Failures in a row, and faults so far.
fn row(replica: &Replica) -> (u32, u64) {
    (replica.consecutive_failures(), replica.metrics().faults().iter().sum())
}

/// A replica whose answer to a request is its path, by a name.
fn obedient() -> FakeReplica {
    FakeReplica::start(|mut served| {
        while let Some(request) = served.request() {
            match request.head.split(' ').nth(1).unwrap() {
                "/503" => served.talk.send(UNAVAILABLE),
                "/500" => served.talk.send(FAILING),
                "/cut" => return served.talk.send(CUT),
                "/gibberish" => return served.talk.send("SSH-2.0-x\r\n\r\n"),
                "/hang-up" => return,
                _ => served.talk.send(OK),
            }
        }
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")
}

/// Asks for a path, and then for something that evenkeel answers itself: by then all is counted that the first came to.
fn settled(proxy: &Proxy, path: &str) -> Message {
    let mut client = proxy.connect();
    let answer = client.ask(&get(path));
    client.ask("OPTIONS / HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n");
    answer
}

#[test]
fn failures_in_a_row_are_counted_and_an_answer_ends_the_row() {
    let replica = obedient();
    let proxy = Proxy::with(&[replica.addr], |s| s.retries = 0);
    let counted = proxy.replica("gateway", 1);
    let course = [
        ("/503", 1, 1),
        ("/503", 2, 2),
        ("/", 0, 2),
        ("/cut", 1, 3),
        ("/cut", 2, 4),
        ("/gibberish", 3, 5),
        ("/503", 4, 6),
        ("/500", 0, 6),
    ];
    for (path, failures, faults) in course {
        let mut client = proxy.connect();
        client.send(get(path));
        eventually(path, || row(&counted) == (failures, faults));
    }
    let faults = Fault::ALL.into_iter().zip(counted.metrics().faults()).filter(|(_, count)| *count > 0);
    let expected = [(Fault::Reset, 2), (Fault::Protocol, 1), (Fault::Unavailable, 3)];
    assert_eq!(faults.collect::<Vec<_>>(), expected);
    assert_eq!(counted.metrics().broken_off(), 2);
}

#[test]
fn what_is_not_asked_for_does_not_count() {
    let replica = obedient();
    let proxy = Proxy::with(&[replica.addr], |s| {
        s.retries = 0;
        s.eject.on = [Fault::Connect, Fault::Reset].into_iter().collect();
    });
    let counted = proxy.replica("gateway", 1);
    assert_eq!(settled(&proxy, "/503").status(), 503);
    assert_eq!(proxy.ask(&get("/gibberish")).status(), 502);
    assert_eq!(row(&counted), (0, 0));
    // On a connection of its own, for after one that was kept nobody knows who closed it first.
    assert_eq!(proxy.ask(&get("/hang-up")).status(), 502);
    assert_eq!(row(&counted), (1, 1));
    assert_eq!(proxy.ask(&get("/gibberish")).status(), 502);
    assert_eq!(row(&counted), (1, 1), "nothing is known of it");
    assert_eq!(settled(&proxy, "/503").status(), 503);
    assert_eq!(row(&counted), (0, 1), "an answer like any other");
}

#[test]
fn a_kept_connection_that_was_closed_says_nothing_of_the_replica() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.send(OK);
        served.request();
    });
    let proxy = Proxy::start(&[replica.addr]);
    for _ in 0..10 {
        assert_eq!(proxy.ask(GET).status(), 200);
    }
    let counted = proxy.replica("gateway", 1);
    assert!(counted.metrics().errors() > 0);
    assert_eq!(row(&counted), (0, 0));
}

#[test]
fn a_clients_fault_counts_neither_way() {
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let replica = FakeReplica::start(move |mut served| {
        while let Some(request) = served.request() {
            if request.head.starts_with("GET /wait") {
                eventually("the client has gone", || gate.load(Ordering::SeqCst));
            }
            served.talk.send(UNAVAILABLE);
        }
    });
    let proxy = Proxy::start(&[replica.addr]);
    let counted = proxy.replica("gateway", 1);
    assert_eq!(settled(&proxy, "/").status(), 503);
    let mut client = proxy.connect();
    client.send(get("/wait"));
    eventually("the replica has it", || replica.count() == 2);
    client.reset();
    eventually("the lease is released", || proxy.in_flight() == 0);
    is_open.store(true, Ordering::SeqCst);
    assert_eq!(row(&counted), (1, 1));
    client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n");
    assert_eq!(client.read_message().unwrap().status(), 400);
    assert_eq!(row(&counted), (1, 1));
}

#[test]
fn a_connect_counts_unless_it_is_ours_or_old_news_that_it_failed() {
    let proxy = Proxy::start(&[SocketAddr::from(([127, 0, 0, 1], 9))]);
    let (worker, counted) = (Worker::new(Arc::clone(&proxy.context)), proxy.replica("gateway", 1));
    let no_ports = io::ErrorKind::AddrNotAvailable.into();
    let cases = [
        (Failure::Connect(io::ErrorKind::ConnectionRefused.into()), 1),
        (Failure::Connect(no_ports), 1),
        (Failure::Connect(io::Error::other("the replica is gone")), 1),
        (Failure::OutOfDescriptors(io::Error::from_raw_os_error(24)), 1),
        (Failure::Lost { answer_began: false, news: "the replica was paused" }, 1),
        (Failure::ConnectTimeout, 2),
    ];
    for (failure, failures) in cases {
        tally::failed(&worker, &counted, &failure, false);
        assert_eq!(counted.consecutive_failures(), failures, "{failure}");
    }
}

#[test]
fn an_answer_that_breaks_off_by_its_clients_fault_counts_neither_way() {
    let proxy = Proxy::start(&[SocketAddr::from(([127, 0, 0, 1], 9))]);
    let (worker, counted) = (Worker::new(Arc::clone(&proxy.context)), proxy.replica("gateway", 1));
    tally::ended(&worker, &counted, 503, None);
    let gone = Failure::ClientGone(io::ErrorKind::ConnectionReset.into());
    for (status, failure) in [(200, &gone), (503, &gone), (200, &Failure::ClientStalled)] {
        tally::ended(&worker, &counted, status, Some(failure));
        assert_eq!(row(&counted), (1, 1), "{status} {failure}");
    }
}

#[test]
fn who_is_late_is_at_fault() {
    let replica = FakeReplica::start(|mut served| while served.request().is_some() {});
    let proxy = Proxy::with(&[replica.addr], |s| s.response_timeout = Duration::from_millis(50));
    assert_eq!(proxy.ask(GET).status(), 504);
    let counted = proxy.replica("gateway", 1);
    assert_eq!((row(&counted), counted.metrics().faults()[Fault::Timeout as usize]), ((1, 1), 1));
}

#[test]
fn the_alarm_is_raised_once_when_the_row_is_long_enough() {
    let replica = obedient();
    let proxy = Proxy::with(&[replica.addr], |s| s.eject.failures = 3);
    let is_raised = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::ZERO, proxy.registry.alarmed()).await.is_ok() })
    };
    let fail = || {
        assert_eq!(settled(&proxy, "/503").status(), 503);
        is_raised()
    };
    assert_eq!([fail(), fail(), fail(), fail()], [false, false, true, false]);
}

#[test]
fn latencies_are_learnt_only_where_the_policy_minds_them() {
    let replica = obedient();
    for policy in Policy::ALL {
        let proxy = Proxy::with(&[replica.addr], |s| s.policy = policy);
        let replica = proxy.replica("gateway", 1);
        let average = &replica.latency_cell().average;
        settled(&proxy, "/");
        assert_eq!(average.load(Ordering::Relaxed) > 0, policy == Policy::Ewma, "{policy}");
        // As slow as can be, so that anything else would show.
        const SLOW: u64 = 1 << 40;
        average.store(SLOW, Ordering::Relaxed);
        (0..5).for_each(|_| drop(settled(&proxy, "/503")));
        assert_eq!(average.load(Ordering::Relaxed), SLOW, "to say that it failed is not to be quick");
        settled(&proxy, "/");
        assert_eq!(average.load(Ordering::Relaxed) < SLOW, policy == Policy::Ewma, "{policy}");
    }
}

#[test]
fn when_none_is_ready_requests_go_to_whoever_runs() {
    let (first, second) = (FakeReplica::answering(OK), FakeReplica::answering(OK));
    let proxy = Proxy::start(&[first.addr, second.addr]);
    proxy.replica("gateway", 1).set_health(Health::Unhealthy);
    proxy.replica("gateway", 2).eject(Fault::Connect, 1);
    for _ in 0..10 {
        assert_eq!(proxy.ask(GET).status(), 200);
    }
    assert_eq!((first.count(), second.count()), (5, 5));
}

#[test]
fn in_panic_a_replica_that_refuses_is_not_asked_without_a_pause() {
    let (_held, dead) = refusing();
    let proxy = Proxy::with(&[dead], |s| s.hold.time = Duration::from_millis(400));
    let replica = proxy.replica("gateway", 1);
    replica.set_health(Health::Unhealthy);
    assert_eq!(proxy.ask(GET).status(), 502);
    let tries = replica.metrics().errors();
    assert!((2..10).contains(&tries), "{tries} tries");
}

#[test]
fn an_ejection_moves_the_safe_requests_of_a_replica_that_may_never_answer() {
    for (fault, moves) in [(Fault::Timeout, true), (Fault::Unavailable, false)] {
        let is_open = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&is_open);
        let first = FakeReplica::start(move |mut served| {
            served.request();
            eventually("the test has seen enough", || gate.load(Ordering::SeqCst));
            served.talk.send(OK);
        });
        let second = FakeReplica::answering(OK);
        let mut proxy = Proxy::start(&[first.addr]);
        let mut client = proxy.connect();
        client.send(GET);
        eventually("the replica has it", || first.count() == 1);
        proxy.add("gateway", 2, second.addr);
        proxy.replica("gateway", 1).eject(fault, 1);
        proxy.registry.announce();
        // By then every worker has heard the news.
        assert_eq!(proxy.ask(GET).status(), 200);
        is_open.store(!moves, Ordering::SeqCst);
        let served_by = client.read_message().unwrap().field("x-served-by");
        is_open.store(true, Ordering::SeqCst);
        assert_eq!(served_by.as_deref(), Some(if moves { "gateway-2" } else { "gateway-1" }), "{fault}");
    }
}
