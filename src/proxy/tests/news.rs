//! What Docker or the probes say of a replica that has requests: these do not wait for what will not come.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use super::patience::our_end;
use super::support::*;
use crate::metrics::AttemptFailure;
use crate::replica::{Health, Lifecycle, Replica};
use crate::service::Policy;

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

/// Takes requests and never answers any.
fn silent() -> FakeReplica {
    FakeReplica::start(|mut served| {
        served.request();
        served.talk.read_to_end();
    })
}

/// A client whose request is at the first replica, and that replica's silence.
fn stuck(proxy: &Proxy, replica: &FakeReplica, request: &str) -> Talk {
    let (mut client, before) = (proxy.connect(), replica.count());
    client.send(request);
    eventually("the replica has it", || replica.count() == before + 1);
    client
}

fn assert_moved(mut client: Talk) {
    assert_eq!(client.read_message().unwrap().field("x-served-by").as_deref(), Some("gateway-2"));
}

#[test]
fn when_a_replica_leaves_its_safe_requests_move_on_and_the_others_are_told_at_once() {
    let (first, second) = (silent(), FakeReplica::answering(OK));
    let mut proxy = Proxy::start(&[first.addr]);
    let (get, mut post) = (stuck(&proxy, &first, GET), stuck(&proxy, &first, POST));
    proxy.add("gateway", 2, second.addr);
    let since = Instant::now();
    proxy.remove("gateway-1");
    assert_moved(get);
    let answer = post.read_message().unwrap();
    assert_eq!((answer.status(), answer.error().as_str()), (502, "replica-reset"));
    assert!(since.elapsed() < DEADLINE / 2, "no timeout was waited for");
    assert_eq!(second.count(), 1, "what may have been done is not done again");
}

#[test]
fn more_requests_move_on_than_the_budget_would_pay_for() {
    let (first, second) = (silent(), FakeReplica::answering(OK));
    let mut proxy = Proxy::start(&[first.addr]);
    let clients: Vec<_> = (0..12).map(|_| stuck(&proxy, &first, GET)).collect();
    proxy.add("gateway", 2, second.addr);
    proxy.remove("gateway-1");
    for mut client in clients {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
}

#[test]
fn connections_that_close_before_docker_says_why_do_not_use_up_the_budget() {
    let all_there = Arc::new(Barrier::new(13));
    let close = Arc::clone(&all_there);
    let first = FakeReplica::start(move |mut served| {
        served.request();
        close.wait();
    });
    let second = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[first.addr]);
    let clients: Vec<_> = (0..12).map(|_| stuck(&proxy, &first, GET)).collect();
    proxy.add("gateway", 2, second.addr);
    all_there.wait();
    // Whoever found its connection closed and no budget left waits for this.
    proxy.drain("gateway-1");
    for mut client in clients {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
}

#[test]
fn when_a_replica_is_paused_only_its_safe_requests_move_on() {
    let (told, tell) = mpsc::channel::<()>();
    let tell = Mutex::new(tell);
    let first = FakeReplica::start(move |mut served| {
        if served.request().is_some_and(|request| request.head.starts_with("POST")) {
            tell.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            served.talk.send(OK);
        }
        served.talk.read_to_end();
    });
    let second = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[first.addr]);
    let (get, mut post) = (stuck(&proxy, &first, GET), stuck(&proxy, &first, POST));
    proxy.sees(1, Lifecycle::Paused);
    proxy.add("gateway", 2, second.addr);
    assert_moved(get);
    proxy.sees(1, Lifecycle::Running);
    told.send(()).unwrap();
    let answer = post.read_message().unwrap();
    assert_eq!((answer.status(), answer.field("x-served-by").as_deref()), (200, Some("gateway-1")));
}

#[test]
fn when_the_probes_fail_the_safe_requests_move_on_as_soon_as_another_replica_is_ready() {
    let (first, second) = (silent(), FakeReplica::answering(OK));
    let mut proxy = Proxy::start(&[first.addr]);
    let get = stuck(&proxy, &first, GET);
    proxy.probed(1, Health::Unhealthy);
    assert_eq!(proxy.in_flight(), 1, "where should it go?");
    proxy.add("gateway", 2, second.addr);
    assert_moved(get);
}

#[test]
fn a_safe_request_that_does_not_arrive_moves_before_it_is_sent_again() {
    // So long that it counts as some kilobytes.
    let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(4_096));
    let length = long.len();
    let held = Arc::new(Mutex::new(Vec::new()));
    let hold = Arc::clone(&held);
    let deaf = FakeReplica::start(move |served| {
        let stream = &served.talk.stream;
        let mut unread = vec![0; length];
        eventually("the whole request is there", || stream.peek(&mut unread).unwrap() == length);
        deafen(stream);
        { stream }.write_all(OK.as_bytes()).unwrap();
        // Open, and unread, to the end of the test.
        hold.lock().unwrap().push(served);
    });
    let second = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[deaf.addr]);
    assert_eq!(proxy.ask(&long).field("x-served-by").as_deref(), Some("gateway-1"));
    proxy.add("gateway", 2, second.addr);
    eventually("one goes to the first", || {
        assert_eq!(proxy.ask(&long).field("x-served-by").as_deref(), Some("gateway-2"));
        count(&proxy, AttemptFailure::Timeout) == 1
    });
}

/// A replica that answers, and its ends of the connections that it gets.
fn with_ends() -> (FakeReplica, Arc<Mutex<Vec<TcpStream>>>) {
    let ends = Arc::<Mutex<Vec<TcpStream>>>::default();
    let all = Arc::clone(&ends);
    let replica = FakeReplica::start(move |mut served| {
        all.lock().unwrap().push(served.talk.stream.try_clone().unwrap());
        while served.request().is_some() {
            served.talk.send(OK);
        }
    });
    (replica, ends)
}

/// How many attempts at any replica of the service failed like that.
fn count(proxy: &Proxy, failure: AttemptFailure) -> u64 {
    let replicas = proxy.context.registry.replicas("gateway").unwrap();
    let of =
        |replica: &Arc<Replica>| replica.metrics().failures().find(|(of, _)| *of == failure).map(|(_, count)| count);
    replicas.list().iter().filter_map(of).sum()
}

#[test]
fn a_request_leaves_two_silent_hosts_and_waits_at_the_third() {
    let there = FakeReplica::answering(OK);
    let mut proxy = Proxy::with(&[there.addr], |settings| settings.policy = Policy::LeastRequests);
    // As if it had a request, so that it is taken last.
    proxy.replica("gateway", 1).in_flight_cell().fetch_add(1, Ordering::Relaxed);
    let others: Vec<_> = (0..3).map(|_| with_ends()).collect();
    (2..).zip(&others).for_each(|(number, (replica, _))| proxy.add("gateway", number, replica.addr));
    eventually("each has a connection", || {
        assert_eq!(proxy.ask(GET).status(), 200);
        others.iter().all(|(_, ends)| !ends.lock().unwrap().is_empty())
    });
    others.iter().for_each(|(_, ends)| ends.lock().unwrap().iter().for_each(drop_all));
    assert_eq!(proxy.ask(GET).field("x-served-by").as_deref(), Some("gateway-1"));
    assert_eq!((count(&proxy, AttemptFailure::Timeout), count(&proxy, AttemptFailure::Reset)), (2, 1));
}

#[test]
fn a_silent_host_gets_a_request_again_if_no_other_replica_takes_it() {
    let (_refusing, refusing) = refusing();
    let (silent, ends) = with_ends();
    let mut proxy = Proxy::with(&[silent.addr], |settings| {
        settings.hold.time = Duration::ZERO;
        settings.policy = Policy::LeastRequests;
    });
    assert_eq!(proxy.ask(GET).status(), 200);
    ends.lock().unwrap().iter().for_each(drop_all);
    proxy.add("gateway", 2, refusing);
    // As if it had a request, so that it is taken last.
    proxy.replica("gateway", 2).in_flight_cell().fetch_add(1, Ordering::Relaxed);
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.field("x-served-by").as_deref()), (200, Some("gateway-1")));
    assert_eq!((count(&proxy, AttemptFailure::Timeout), count(&proxy, AttemptFailure::Connect)), (1, 1));
}

/// Clients whose requests are at the first replica, which accepts them by this listener, and the second is ready; and the
/// replica's ends.
fn stuck_at(
    listener: &Socket,
    addr: SocketAddr,
    second: &FakeReplica,
    requests: &[&str],
) -> (Proxy, Vec<Talk>, Vec<Talk>) {
    let mut proxy = Proxy::start(&[]);
    proxy.add("gateway", 2, second.addr);
    // Who moves costs the budget something, which these pay for.
    assert!((0..100).all(|_| proxy.ask(GET).status() == 200));
    proxy.remove("gateway-2");
    proxy.add("gateway", 1, addr);
    let stuck = |request: &&str| {
        let mut client = proxy.connect();
        client.send(request);
        let mut end = Talk::new(listener.accept().unwrap().0.into());
        assert!(end.read_message().is_some());
        (client, end)
    };
    let (clients, ends) = requests.iter().map(stuck).unzip();
    proxy.add("gateway", 2, second.addr);
    (proxy, clients, ends)
}

#[test]
fn safe_requests_whose_host_is_gone_after_it_has_acknowledged_them_move_soon() {
    let (listener, addr) = with_short_queue();
    let second = FakeReplica::answering(OK);
    let (_proxy, mut clients, ends) = stuck_at(&listener, addr, &second, &[GET, GET, GET, POST]);
    ends.iter().for_each(|end| drop_all(&end.stream));
    let (mut post, since) = (clients.pop().unwrap(), Instant::now());
    clients.into_iter().for_each(assert_moved);
    assert!(since.elapsed() < DEADLINE / 2, "{:?}", since.elapsed());
    SockRef::from(&ends[3].stream).detach_filter().unwrap();
    { &ends[3].stream }.write_all(OK.as_bytes()).unwrap();
    assert_eq!(post.read_message().unwrap().field("x-served-by").as_deref(), Some("gateway-1"));
}

#[test]
fn safe_requests_do_not_leave_a_slow_replica_that_has_no_room_for_connections() {
    let (listener, addr) = with_short_queue();
    let second = FakeReplica::answering(OK);
    let (proxy, mut clients, mut ends) = stuck_at(&listener, addr, &second, &[GET; 6]);
    // Others, which it will take when it has answered these.
    let _queued = fill_queue(addr);
    let ours: Vec<_> = ends.iter().map(|end| our_end(end.stream.peer_addr().unwrap())).collect();
    let is_asked = |socket: &Socket| socket.tcp_keepalive_time().unwrap() == Duration::from_secs(1);
    eventually("its host is asked whether it is there", || ours.iter().all(is_asked));
    eventually("it has answered that", || ours.iter().all(|socket| !socket.keepalive().unwrap()));
    assert_eq!(proxy.replica("gateway", 1).consecutive_failures(), 0);
    ends.iter_mut().for_each(|end| end.send(OK));
    for client in &mut clients {
        assert_eq!(client.read_message().unwrap().field("x-served-by").as_deref(), Some("gateway-1"));
    }
}

#[test]
fn without_retries_nothing_moves() {
    let (first, second) = (silent(), FakeReplica::answering(OK));
    let mut proxy = Proxy::with(&[first.addr], |settings| {
        settings.retries = 0;
        settings.response_timeout = Duration::from_millis(200);
    });
    let mut get = stuck(&proxy, &first, GET);
    proxy.add("gateway", 2, second.addr);
    proxy.probed(1, Health::Unhealthy);
    assert_eq!(get.read_message().unwrap().status(), 504);
    assert_eq!(second.count(), 0);
}

#[test]
fn an_answer_that_has_begun_and_a_tunnel_end_with_their_replica() {
    let replica = FakeReplica::start(|mut served| {
        let request = served.request().unwrap();
        served.talk.send(match request.head.starts_with("GET /tunnel") {
            true => "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            false => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        });
        served.talk.read_to_end();
    });
    let mut proxy = Proxy::start(&[replica.addr]);
    let (mut body, mut tunnel) = (proxy.connect(), proxy.connect());
    body.send(GET);
    tunnel.send("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert!(body.read_until("half").is_some() && tunnel.read_until("\r\n\r\n").is_some());
    proxy.sees(1, Lifecycle::Paused);
    assert_eq!(proxy.in_flight(), 2, "a pause ends");
    proxy.remove("gateway-1");
    assert!(body.is_closed() && tunnel.is_closed());
}

#[test]
fn a_connect_that_hangs_does_not_outlast_its_replica() {
    let (mut proxy, mut client, _second, _held) = hanging_at_the_first_of_two(POST);
    let since = Instant::now();
    proxy.remove("gateway-1");
    assert_eq!(client.read_message().unwrap().status(), 200, "nothing was sent, so any request may go elsewhere");
    assert!(since.elapsed() < DEADLINE / 2);
}

#[test]
fn an_answer_that_has_begun_is_waited_for_whatever_the_probes_say() {
    let (finish, is_wanted) = mpsc::channel::<()>();
    let is_wanted = Mutex::new(is_wanted);
    let first = FakeReplica::start(move |mut served| {
        served.request();
        let (begin, rest) = OK.split_at(20);
        served.talk.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{begin}"));
        is_wanted.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        served.talk.send(rest);
        served.talk.read_to_end();
    });
    let second = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[first.addr]);
    let mut get = stuck(&proxy, &first, GET);
    assert!(get.read_until("\r\n\r\n").is_some(), "it has begun");
    proxy.add("gateway", 2, second.addr);
    proxy.probed(1, Health::Unhealthy);
    assert_eq!(proxy.ask(GET).field("x-served-by").as_deref(), Some("gateway-2"), "the news is known");
    finish.send(()).unwrap();
    assert_eq!(get.read_message().unwrap().field("x-served-by").as_deref(), Some("gateway-1"));
}

#[test]
fn one_probe_that_failed_moves_no_more_than_the_budget_pays_for() {
    let (first, second) = (silent(), FakeReplica::answering(OK));
    let mut proxy = Proxy::start(&[first.addr]);
    let clients: Vec<_> = (0..12).map(|_| stuck(&proxy, &first, GET)).collect();
    proxy.add("gateway", 2, second.addr);
    proxy.probed(1, Health::Suspect);
    eventually("some have moved", || second.count() == 3);
    assert_eq!(proxy.ask(GET).field("x-served-by").as_deref(), Some("gateway-2"), "the news is known");
    assert_eq!(proxy.replica("gateway", 1).in_flight(), 9);
    // Now it is for sure.
    proxy.probed(1, Health::Unhealthy);
    for mut client in clients {
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
}

#[test]
fn replicas_that_were_told_to_stop_cost_a_request_no_attempt_and_those_that_die_do() {
    for is_told in [true, false] {
        let (close, is_wanted) = mpsc::channel::<()>();
        let is_wanted = Arc::new(Mutex::new(is_wanted));
        let replicas: Vec<_> = (0..4)
            .map(|_| {
                let is_wanted = Arc::clone(&is_wanted);
                FakeReplica::start(move |mut served| {
                    served.request();
                    is_wanted.lock().unwrap().recv_timeout(DEADLINE).unwrap();
                })
            })
            .collect();
        let last = FakeReplica::answering(OK);
        let addrs: Vec<_> = replicas.iter().map(|replica| replica.addr).collect();
        let mut proxy = Proxy::with(&addrs, |settings| settings.retries = 1);
        let mut client = proxy.connect();
        client.send(GET);
        let mut left: Vec<_> = (1..).zip(&replicas).collect();
        for _ in 0..if is_told { 4 } else { 2 } {
            eventually("somebody has it", || left.iter().any(|(_, replica)| replica.count() > 0));
            let at = left.iter().position(|(_, replica)| replica.count() > 0).unwrap();
            let (number, _) = left.remove(at);
            if left.is_empty() {
                proxy.add("gateway", 5, last.addr);
            }
            close.send(()).unwrap();
            let id = format!("gateway-{number}");
            if is_told { proxy.drain(&id) } else { proxy.remove(&id) }
        }
        assert_eq!(client.read_message().unwrap().status(), if is_told { 200 } else { 502 });
    }
}
