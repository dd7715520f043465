//! Requests that no replica can take now: they wait for one, in order, for as long as they may.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::support::*;
use crate::config::settings::{HoldSettings, ProxySettings};
use crate::metrics::HoldEnd;
use crate::replica::{Health, ReplicaSpec};

const SHORT: Duration = Duration::from_millis(100);
const POST: &str = "POST /pay HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nmoney";

fn holding(settings: &mut ProxySettings) {
    settings.hold.time = DEADLINE;
}

/// A replica's facts with a limit of requests at once.
fn limited(replica: &FakeReplica, limit: u32) -> ReplicaSpec {
    ReplicaSpec { max_concurrency: NonZeroU32::new(limit), ..spec("gateway", 1, replica.addr) }
}

/// What was asked of the replica, in order.
fn targets(replica: &FakeReplica) -> Vec<String> {
    let requests = replica.requests.lock().unwrap();
    requests.iter().map(|request| request.head.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn a_request_waits_for_a_replica_and_goes_out_whole_when_one_is_ready() {
    for request in [GET, POST] {
        let replica = FakeReplica::answering(OK);
        let mut proxy = Proxy::with(&[], holding);
        let mut client = proxy.connect();
        client.send(request);
        eventually("it waits", || proxy.held() == 1);
        proxy.add("gateway", 1, replica.addr);
        assert_eq!(client.read_message().unwrap().status(), 200);
        assert_eq!(replica.request().body, if request == POST { "money" } else { "" });
        assert_eq!((proxy.held(), proxy.holds_that(HoldEnd::Released)), (0, 1));
        assert_eq!(client.ask(request).status(), 200, "the connection goes on");
    }
}

#[test]
fn a_long_body_waits_at_its_clients() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[], holding);
    let mut client = proxy.connect();
    let body = "x".repeat(1 << 20);
    let mut sender = Talk::new(client.stream.try_clone().unwrap());
    let request = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let sending = thread::spawn(move || sender.send(request));
    eventually("it waits", || proxy.held() == 1);
    proxy.add("gateway", 1, replica.addr);
    assert_eq!(client.read_message().unwrap().status(), 200);
    sending.join().unwrap();
    assert_eq!(replica.request().body, body);
}

#[test]
fn the_first_to_come_is_the_first_to_be_served() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[], holding);
    let mut clients = Vec::new();
    for number in 0..5 {
        let mut client = proxy.connect();
        client.send(format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"));
        eventually("it waits", || proxy.held() == number + 1);
        clients.push(client);
    }
    proxy.upsert(limited(&replica, 1));
    proxy.probed(1, Health::Healthy);
    for client in &mut clients {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
    assert_eq!(targets(&replica), ["/0", "/1", "/2", "/3", "/4"]);
}

#[test]
fn who_has_waited_for_as_long_as_it_may_is_refused_and_may_ask_again() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[], |settings| settings.hold.time = SHORT);
    let (mut client, began) = (proxy.connect(), Instant::now());
    let answer = client.ask(POST);
    assert_eq!((answer.status(), answer.error().as_str()), (503, "no-such-service"));
    assert!(began.elapsed() >= SHORT && answer.field("retry-after").is_some());
    proxy.upsert(spec("gateway", 1, replica.addr));
    let answer = client.ask(POST);
    assert_eq!((answer.status(), answer.error().as_str()), (503, "no-replica-ready"));
    assert_eq!((proxy.held(), proxy.holds_that(HoldEnd::Expired)), (0, 2));
    proxy.probed(1, Health::Healthy);
    assert_eq!(client.ask(POST).status(), 200);
}

#[test]
fn who_leaves_is_not_served() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[], holding);
    let mut clients = [proxy.connect(), proxy.connect(), proxy.connect()];
    for (client, target) in clients.iter_mut().zip(["/closed", "/reset", "/stays"]) {
        client.send(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    let [closed, reset, mut stays] = clients;
    eventually("all wait", || proxy.held() == 3);
    drop(closed);
    reset.reset();
    eventually("two are gone", || proxy.held() == 1);
    assert_eq!(proxy.holds_that(HoldEnd::Abandoned), 2);
    proxy.add("gateway", 1, replica.addr);
    assert_eq!(stays.read_message().unwrap().status(), 200);
    assert!(replica.request().head.starts_with("GET /stays"));
}

#[test]
fn who_finds_no_room_to_wait_is_refused_at_once() {
    for bound in [|s: &mut ProxySettings| s.hold.requests = 1, |s: &mut ProxySettings| s.hold.bytes = 1024] {
        let proxy = Proxy::with(&[], |settings| {
            holding(settings);
            bound(settings);
        });
        let mut first = proxy.connect();
        first.send(GET);
        eventually("it waits", || proxy.held() == 1);
        assert_eq!(proxy.ask(GET).status(), 503);
        assert_eq!((proxy.held(), proxy.holds_that(HoldEnd::Shed)), (1, 1));
    }
}

/// Many clients on two workers: who frees the room wakes who waits for it, also on the other thread.
#[test]
fn a_replica_gets_no_more_at_once_than_it_may_and_all_get_their_turn() {
    const LIMIT: usize = 2;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, highest) = (Arc::clone(&now), Arc::clone(&most));
    let replica = FakeReplica::start(move |mut served| {
        while served.request().is_some() {
            highest.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::yield_now();
            count.fetch_sub(1, Ordering::SeqCst);
            served.talk.send(OK);
        }
    });
    let mut proxy = Proxy::with(&[], |settings| {
        holding(settings);
        settings.threads = 2.try_into().unwrap();
    });
    proxy.upsert(limited(&replica, LIMIT as u32));
    proxy.probed(1, Health::Healthy);
    let addr = proxy.addr;
    let clients: Vec<_> = (0..12)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Talk::new(std::net::TcpStream::connect(addr).unwrap());
                (0..50).for_each(|_| assert_eq!(client.ask(POST).status(), 200));
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
    assert!(proxy.holds_that(HoldEnd::Released) > 0);
    eventually("nothing is left", || proxy.held() + proxy.in_flight() == 0);
}

#[test]
fn without_a_hold_a_busy_replica_is_a_refusal() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.read_to_end();
    });
    let mut proxy = Proxy::with(&[], |_| {});
    proxy.upsert(limited(&replica, 1));
    proxy.probed(1, Health::Healthy);
    let mut first = proxy.connect();
    first.send(GET);
    eventually("it is there", || replica.count() == 1);
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.error().as_str()), (503, "replicas-busy"));
}

/// What `docker compose up -d` does with a service of one replica: the old one is gone before the new one is there.
#[test]
fn the_gap_of_a_recreate_loses_nothing() {
    let (old, new) = (FakeReplica::answering(OK), FakeReplica::answering(OK));
    let mut proxy = Proxy::with(&[old.addr], holding);
    let mut clients = [proxy.connect(), proxy.connect()];
    for client in &mut clients {
        assert_eq!(client.ask(GET).status(), 200);
    }
    proxy.drain("gateway-1");
    for (client, request) in clients.iter_mut().zip([GET, POST]) {
        client.send(request);
    }
    eventually("they wait", || proxy.held() == 2);
    proxy.remove("gateway-1");
    proxy.add("gateway", 2, new.addr);
    for client in &mut clients {
        assert_eq!(client.read_message().unwrap().field("x-served-by").as_deref(), Some("gateway-2"));
    }
}

#[test]
fn the_only_replica_is_tried_again_while_it_refuses() {
    let (socket, addr) = refusing();
    let proxy = Proxy::with(&[addr], holding);
    let mut client = proxy.connect();
    client.send(POST);
    eventually("it was tried, and again", || proxy.replica("gateway", 1).metrics().errors() > 2);
    socket.listen(1).unwrap();
    let mut served = Talk::new(std::net::TcpListener::from(socket).accept().unwrap().0);
    assert_eq!(served.read_message().unwrap().body, "money");
    served.send(OK);
    assert_eq!(client.read_message().unwrap().status(), 200);
}

#[test]
fn how_often_replicas_that_all_refuse_are_tried_again_is_a_setting() {
    let attempts = |interval| {
        let ((_one, first), (_two, second)) = (refusing(), refusing());
        let proxy = Proxy::with(&[first, second], |settings| {
            (settings.hold.time, settings.hold.interval) = (SHORT * 3, interval);
        });
        assert_eq!(proxy.ask(POST).status(), 502);
        [1, 2].map(|number| proxy.replica("gateway", number).metrics().errors()).iter().sum::<u64>()
    };
    // Pauses of 50, 100 and 200 ms at most; or thirty of 10 ms, fewer where the machine is busy.
    let (rarely, often) = (attempts(Duration::from_millis(500)), attempts(Duration::from_millis(10)));
    assert!((4..=8).contains(&rarely) && often > rarely, "{rarely} and {often} attempts");
}

/// A request's last pause is as long as it may still wait, and news ended that pause and with it the wait.
#[test]
fn news_during_a_pause_takes_nothing_of_the_time_that_a_request_may_wait() {
    let (_socket, addr) = refusing();
    let mut proxy = Proxy::with(&[addr], |settings| {
        (settings.hold.time, settings.hold.interval) = (SHORT * 6, DEADLINE);
    });
    let mut client = proxy.connect();
    let began = Instant::now();
    client.send(POST);
    eventually("it failed once and pauses", || proxy.held() == 1);
    proxy.add("other", 1, addr);
    assert_eq!(client.read_message().unwrap().status(), 502);
    assert!(began.elapsed() >= SHORT * 6, "{:?}", began.elapsed());
}

#[test]
fn what_the_last_attempt_said_is_the_answer_when_time_is_up() {
    let (_socket, addr) = refusing();
    let proxy = Proxy::with(&[addr], |settings| settings.hold.time = SHORT);
    let (answer, errors) = (proxy.ask(POST), || proxy.replica("gateway", 1).metrics().errors());
    assert_eq!((answer.status(), answer.error().as_str()), (502, "connect-failed"));
    assert!((2..10).contains(&errors()), "{} attempts", errors());
}

#[test]
fn who_waits_when_the_worker_ends_is_told() {
    let proxy = Proxy::with(&[], holding);
    let (mut client, (ended, has_ended)) = (proxy.connect(), mpsc::channel());
    client.send(GET);
    eventually("it waits", || proxy.held() == 1);
    proxy.context.stop_accepting.cancel();
    thread::spawn(move || ended.send(client.read_message().unwrap()).unwrap());
    let answer = has_ended.recv_timeout(DEADLINE / 2).expect("long before the hold is over");
    assert_eq!((answer.status(), answer.field("connection").as_deref()), (503, Some("close")));
    eventually("the worker ends", || proxy.have_workers_ended());
}

#[test]
fn nobody_overtakes_who_waits() {
    let (answer, is_wanted) = mpsc::channel::<()>();
    let is_wanted = std::sync::Mutex::new(is_wanted);
    let replica = FakeReplica::start(move |mut served| {
        while served.request().is_some() {
            is_wanted.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            served.talk.send(OK);
        }
    });
    let mut proxy = Proxy::with(&[], holding);
    proxy.upsert(limited(&replica, 1));
    proxy.probed(1, Health::Healthy);
    let (mut busy, mut patient) = (proxy.connect(), proxy.connect());
    busy.send("GET /busy-1 HTTP/1.1\r\nhost: a\r\n\r\nGET /busy-2 HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is there", || replica.count() == 1);
    patient.send("GET /patient HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it waits", || proxy.held() == 1);
    (0..3).for_each(|_| answer.send(()).unwrap());
    let answers = [busy.read_message(), patient.read_message(), busy.read_message()];
    assert_eq!(answers.map(|answer| answer.unwrap().status()), [200; 3]);
    assert_eq!(targets(&replica), ["/busy-1", "/patient", "/busy-2"]);
}

#[test]
fn a_request_waits_for_a_descriptor() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], holding);
    let mut client = proxy.connect();
    eventually("it is let in", || proxy.context.metrics.connections_open.load(Ordering::SeqCst) == 1);
    let shortage = NoDescriptors::for_anybody();
    client.send(POST);
    eventually("it waits", || proxy.held() == 1);
    drop(shortage);
    assert_eq!(client.read_message().unwrap().status(), 200);
    assert_eq!(replica.count(), 1);
}

#[test]
fn who_tries_again_when_the_worker_ends_is_told_and_does_not_go_on_without_a_pause() {
    let (_socket, addr) = refusing();
    let proxy = Proxy::with(&[addr], holding);
    let (mut client, (ended, has_ended)) = (proxy.connect(), mpsc::channel());
    client.send(POST);
    let replica = proxy.replica("gateway", 1);
    eventually("it was tried, and again", || replica.metrics().errors() > 2);
    proxy.context.stop_accepting.cancel();
    thread::spawn(move || ended.send(client.read_message().unwrap()).unwrap());
    let answer = has_ended.recv_timeout(DEADLINE / 2).expect("long before the hold is over");
    assert_eq!((answer.status(), answer.error().as_str()), (502, "connect-failed"));
    assert!(replica.metrics().errors() < 20, "{} attempts", replica.metrics().errors());
    eventually("the worker ends", || proxy.have_workers_ended());
}

/// Who is first may have looked for room while the other, who finds no room to wait, had it.
#[test]
fn who_finds_no_room_to_wait_wakes_who_waits_for_the_room_that_it_found_at_a_replica() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[], |settings| {
        holding(settings);
        settings.hold.requests = 1;
    });
    proxy.upsert(limited(&replica, 1));
    proxy.probed(1, Health::Healthy);
    let mut client = proxy.connect();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let mut first = proxy.context.hold.admit("gateway", 0, &HoldSettings::default()).unwrap();
    assert!(first.is_next(&Waker::from(Arc::clone(&woken))));
    // More often than the news of the replica does.
    for _ in 0..10 {
        let answer = client.ask(GET);
        assert_eq!((answer.status(), answer.error().as_str()), (503, "replicas-busy"));
    }
    let woken = woken.0.load(Ordering::SeqCst);
    assert!(woken >= 10, "{woken} times");
}
