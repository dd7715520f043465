//! Settings that change while clients are there: what begins afterwards goes by the new ones.

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use super::support::*;
use crate::config::settings::LimitSettings;
use crate::service::Policy;

const FORWARDED: &str = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 192.0.2.7\r\n\r\n";

#[test]
fn a_connection_that_is_open_goes_by_the_new_settings_with_its_next_request() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    let mut forwarded_for = || {
        client.ask(FORWARDED);
        replica.requests.lock().unwrap().last().unwrap().field("x-forwarded-for").unwrap()
    };
    assert_eq!(forwarded_for(), "127.0.0.1");
    proxy.change(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    eventually("the client is trusted", || forwarded_for() == "192.0.2.7, 127.0.0.1");
    proxy.change(|settings| settings.trusted_proxies.clear());
    eventually("it is not any more", || forwarded_for() == "127.0.0.1");
    assert_eq!(proxy.context.metrics.connections_total.load(Ordering::Relaxed), 1);
}

#[test]
fn heads_and_bodies_are_measured_by_the_new_limits() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let status = |request: &str| proxy.ask(request).status();
    assert_eq!((status(post), status(FORWARDED)), (200, 200));
    proxy.change(|settings| settings.limits.body_bytes = NonZeroU64::new(4));
    eventually("the body is too long", || status(post) == 413);
    proxy.change(|settings| (settings.limits.headers, settings.limits.body_bytes) = (1, None));
    eventually("there are too many fields", || status(FORWARDED) == 431);
    proxy.change(|settings| settings.limits.headers = 9);
    eventually("all is well", || (status(post), status(FORWARDED)) == (200, 200));
}

#[test]
fn a_request_is_tried_as_often_as_the_new_settings_say() {
    let (_refusing, nobody) = refusing();
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[nobody, replica.addr], |settings| settings.retries = 0);
    let are_all_answered = || (0..4).all(|_| proxy.ask(GET).status() == 200);
    assert!(!are_all_answered(), "every other one meets the replica that refuses");
    proxy.change(|settings| settings.retries = 1);
    eventually("each is tried again", are_all_answered);
}

#[test]
fn replicas_are_picked_by_the_new_policy() {
    let [one, other] = [(); 2].map(|()| FakeReplica::answering(OK));
    let proxy = Proxy::start(&[one.addr, other.addr]);
    // Idle as they are, they take turns; drawn at random, one of them has two in a row before long.
    let take_turns = || {
        let served: Vec<_> = (0..32).map(|_| proxy.ask(GET).field("x-served-by").unwrap()).collect();
        served.windows(2).all(|two| two[0] != two[1])
    };
    assert!(take_turns());
    proxy.change(|settings| settings.policy = Policy::Random);
    eventually("they are drawn at random", || !take_turns());
    proxy.change(|settings| settings.policy = Policy::RoundRobin);
    eventually("they take turns again", take_turns);
}

#[test]
fn requests_wait_as_the_new_settings_say() {
    let mut proxy = Proxy::start(&[]);
    let replica = FakeReplica::answering(OK);
    proxy.add("gateway", 1, replica.addr);
    proxy.replica("gateway", 1).set_drained_by_hand(true);
    assert_eq!(proxy.ask(GET).error(), "no-replica-ready");
    proxy.change(|settings| settings.hold.time = DEADLINE);
    let mut waiting = Vec::new();
    eventually("a request waits", || {
        let mut client = proxy.connect();
        client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        client.send(GET);
        eventually("it waits or is refused", || proxy.held() > 0 || client.stream.peek(&mut [0]).is_ok());
        client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        waiting.push(client);
        proxy.held() > 0
    });
    proxy.replica("gateway", 1).set_drained_by_hand(false);
    proxy.registry.announce();
    assert_eq!(waiting.pop().unwrap().read_message().unwrap().status(), 200);
}

#[test]
fn a_limit_of_connections_for_each_client_counts_those_that_come_afterwards() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut before: Vec<_> = (0..3).map(|_| proxy.connect()).collect();
    before.iter_mut().for_each(|client| assert_eq!(client.ask(GET).status(), 200));
    proxy.change(|settings| settings.limits.connections_per_client = NonZeroUsize::new(1));
    let mut after = Vec::new();
    let mut is_served = || {
        let mut client = proxy.connect();
        // A reset may come before all was sent.
        let is_served =
            std::io::Write::write_all(&mut client.stream, GET.as_bytes()).is_ok() && client.read_message().is_some();
        after.push(client);
        is_served
    };
    eventually("a client is refused", || !is_served());
    before.iter_mut().for_each(|client| assert_eq!(client.ask(GET).status(), 200));
    proxy.change(|settings| settings.limits.connections_per_client = None);
    eventually("it is served", is_served);
}

const PADDED: &str = "POST /a-long-target HTTP/1.1\r\nhost: a\r\nx-one: 1\r\nx-two: 2\r\ncontent-length: 41\r\n\r\n\
                      GET /smuggled HTTP/1.1\r\nhost: gateway\r\n\r\n";

/// Three ways to take back what `PADDED` needs.
const LOWER: [fn(&mut LimitSettings); 3] =
    [|limits| limits.headers = 2, |limits| limits.head_bytes = 64, |limits| limits.target_bytes = 8];

/// Waits until the worker refuses what it took before; so the desk has had another head, too.
fn lower(proxy: &Proxy, change: fn(&mut LimitSettings)) {
    const ASKED: &str = "OPTIONS /a-long-target HTTP/1.1\r\nhost: a\r\nx-one: 1\r\nmax-forwards: 0\r\n\r\n";
    assert_eq!(proxy.ask(ASKED).status(), 204, "no replica is asked");
    proxy.change(|settings| change(&mut settings.limits));
    eventually("the limit is lower", || matches!(proxy.ask(ASKED).status(), 414 | 431));
}

#[test]
fn a_request_that_waits_goes_out_whole_whatever_the_limits_are_by_then() {
    for change in LOWER {
        let replica = FakeReplica::answering(OK);
        let mut proxy = Proxy::with(&[], |settings| settings.hold.time = DEADLINE);
        let mut client = proxy.connect();
        client.send(PADDED);
        eventually("it waits", || proxy.held() == 1);
        lower(&proxy, change);
        proxy.add("gateway", 1, replica.addr);
        assert_eq!(client.read_message().unwrap().status(), 200);
        let request = replica.request();
        assert!(request.head.starts_with("POST /a-long-target HTTP/1.1\r\n"), "{request:?}");
        assert_eq!((request.field("x-two").as_deref(), request.body.len()), (Some("2"), 41));
    }
}

#[test]
fn a_request_is_tried_again_whole_whatever_the_limits_are_by_then() {
    for change in LOWER {
        let (go, wait) = mpsc::channel();
        let wait = Mutex::new(wait);
        let breaking = FakeReplica::start(move |mut served| {
            if served.request().is_some() {
                wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
            }
        });
        let mut proxy = Proxy::start(&[breaking.addr]);
        let mut client = proxy.connect();
        client.send(PADDED.replacen("POST", "PUT", 1));
        eventually("it is on its way", || breaking.count() == 1);
        lower(&proxy, change);
        let replica = FakeReplica::answering(OK);
        proxy.add("gateway", 2, replica.addr);
        go.send(()).unwrap();
        assert_eq!(client.read_message().unwrap().status(), 200);
        assert_eq!(replica.request().sorted_lines(), breaking.request().sorted_lines());
        assert_eq!(replica.request().body.len(), 41);
    }
}
