//! A balancer in front of us: whose connections its are, and what it asks us itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::*;
use crate::config::settings::ProxySettings;
use crate::replica::Health;

const SHORT: Duration = Duration::from_millis(100);
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const LINE: &str = "PROXY TCP4 192.0.2.7 127.0.0.1 56324 80\r\n";
const ENDPOINT: &str = "/lb-health";
const CHECK: &str = "GET /lb-health HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n";

/// A proxy behind a balancer at [`BALANCER`].
fn behind(replica: &FakeReplica, change: impl FnOnce(&mut ProxySettings)) -> Proxy {
    Proxy::with(&[replica.addr], |settings| {
        settings.proxy_protocol = vec![IpAddr::V4(BALANCER).into()];
        settings.health_endpoint = Some(ENDPOINT.to_owned());
        change(settings);
    })
}

fn connect_from(ip: Ipv4Addr, proxy: &Proxy) -> Talk {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
    socket.connect(&proxy.addr.into()).unwrap();
    Talk::new(TcpStream::from(socket))
}

fn balancer(proxy: &Proxy) -> Talk {
    connect_from(BALANCER, proxy)
}

/// A header of version 2 for TCP over IPv4.
fn header(source: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &source[..], &[127, 0, 0, 1, 220, 4, 0, 80]].concat()
}

fn faults(proxy: &Proxy) -> Vec<(&'static str, u64)> {
    let counted = proxy.context.metrics.preface_faults().filter(|(_, count)| *count > 0);
    counted.map(|(fault, count)| (fault.as_str(), count)).collect()
}

/// Who the replica was told is the client.
fn told(message: &Message) -> (Option<String>, Option<String>) {
    (message.field("x-forwarded-for"), message.field("x-real-ip"))
}

fn both(ip: &str) -> (Option<String>, Option<String>) {
    (Some(ip.to_owned()), Some(ip.to_owned()))
}

#[test]
fn the_client_is_whom_the_preface_names_and_no_byte_behind_it_is_lost() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |_| {});
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    for (preface, ip) in [
        (LINE.as_bytes().to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.8 ::1 1 2\r\n".to_vec(), "192.0.2.8"),
        (header([192, 0, 2, 9]), "192.0.2.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.2"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.2"),
    ] {
        // At once, with two requests behind it; then a third on the kept connection.
        let mut client = balancer(&proxy);
        client.send([&preface, GET.as_bytes(), post.as_bytes()].concat());
        assert_eq!([(); 2].map(|()| client.read_message().unwrap().status()), [200, 200]);
        assert_eq!(client.ask(GET).status(), 200);
        // Byte by byte.
        let mut client = balancer(&proxy);
        for byte in [&preface, post.as_bytes()].concat() {
            client.send([byte]);
        }
        assert_eq!(client.read_message().unwrap().status(), 200);
        let requests: Vec<_> = std::mem::take(&mut *replica.requests.lock().unwrap());
        assert_eq!(requests.iter().map(told).collect::<Vec<_>>(), vec![both(ip); 4]);
        assert_eq!([&*requests[1].body, &*requests[3].body], ["body"; 2]);
    }
    assert_eq!(faults(&proxy), []);
}

#[test]
fn from_others_none_is_expected_and_one_is_no_http() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |_| {});
    let mut other = connect_from(Ipv4Addr::new(127, 0, 0, 7), &proxy);
    assert_eq!(other.ask(GET).status(), 200);
    assert_eq!(told(&replica.request()), both("127.0.0.7"));
    for preface in [LINE.as_bytes().to_vec(), header([192, 0, 2, 9])] {
        let mut other = proxy.connect();
        other.send([&preface, GET.as_bytes()].concat());
        assert_eq!(other.read_message().unwrap().status(), 400);
        assert!(other.is_closed());
    }
    assert_eq!((replica.count(), faults(&proxy)), (1, vec![]));
}

#[test]
fn who_has_to_send_one_and_does_not_is_closed_and_counted() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |settings| {
        (settings.first_byte_timeout, settings.head_timeout) = (SHORT, SHORT);
    });
    let of_aws = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x07\xc0\0\x02\x08\0\x01\0\x50\x03\0\x04\0\0\0\0";
    let wrong: [(&[u8], &str); 9] = [
        (GET.as_bytes(), "missing"),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "missing"),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "missing"),
        (b"PROXY TCP4 192.0.2.07 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"),
        (of_aws, "checksum"),
        (&[b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat(), "too-long"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "too-long"),
        (b"PROXY TCP4 ", "late"),
        (b"", "late"),
    ];
    for (bytes, _) in &wrong {
        let mut client = balancer(&proxy);
        let since = Instant::now();
        client.send(bytes);
        let (heard, _) = client.until_the_end();
        assert_eq!(heard, "", "{:?}", String::from_utf8_lossy(bytes));
        assert!(since.elapsed() < DEADLINE / 2);
    }
    let cut_off = balancer(&proxy);
    cut_off.stream.try_clone().map(Talk::new).unwrap().send("PROX");
    drop(cut_off);
    let expected = [("missing", 3), ("malformed", 1), ("checksum", 1), ("too-long", 2), ("late", 2), ("cut-off", 1)];
    eventually("each is counted for its reason", || faults(&proxy) == expected);
    // Who only looks whether the port is open did nothing wrong.
    drop(balancer(&proxy));
    let open = || proxy.context.metrics.connections_open.load(Ordering::Relaxed);
    eventually("all are gone", || open() == 0);
    assert_eq!((faults(&proxy), replica.count()), (expected.to_vec(), 0));
    let mut client = balancer(&proxy);
    assert_eq!(client.ask(&format!("{LINE}{GET}")).status(), 200, "it goes on");
}

#[test]
fn a_preface_has_time_of_its_own_before_the_request() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |settings| settings.first_byte_timeout = SHORT);
    let mut client = balancer(&proxy);
    let since = Instant::now();
    client.send(LINE);
    assert!(client.is_closed(), "a client that says nothing");
    assert!(since.elapsed() >= SHORT && since.elapsed() < DEADLINE / 2);
    assert_eq!(faults(&proxy), [], "which is not the balancer's fault");
}

#[test]
fn what_the_client_says_of_others_is_believed_by_the_address_in_the_preface() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |settings| {
        settings.trusted_proxies = vec!["192.0.2.7".parse::<IpAddr>().unwrap().into(), IpAddr::V4(BALANCER).into()];
    });
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n\r\n";
    for preface in [LINE.as_bytes().to_vec(), header([192, 0, 2, 8]), b"PROXY UNKNOWN\r\n".to_vec()] {
        let mut client = balancer(&proxy);
        client.send([&preface, request.as_bytes()].concat());
        assert_eq!(client.read_message().unwrap().status(), 200);
    }
    let requests = replica.requests.lock().unwrap();
    let seen = |at: usize| (told(&requests[at]), requests[at].field("x-forwarded-proto").unwrap());
    let through = |by: &str| (Some(format!("203.0.113.1, {by}")), Some("203.0.113.1".to_owned()));
    assert_eq!(seen(0), (through("192.0.2.7"), "https".to_owned()));
    assert_eq!(seen(1), (both("192.0.2.8"), "http".to_owned()), "a trusted balancer trusts not everybody");
    assert_eq!(seen(2), (through("127.0.0.2"), "https".to_owned()));
}

#[test]
fn connections_are_counted_for_the_client_and_not_for_the_balancer() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |settings| settings.limits.connections_per_client = NonZeroUsize::new(2));
    let enter = |host: u8| {
        let mut client = balancer(&proxy);
        client.send([&header([192, 0, 2, host]), GET.as_bytes()].concat());
        client.read_message().map(|answer| (answer.status(), client))
    };
    let mut inside: Vec<_> = [1, 1, 2, 2, 3].map(|host| enter(host).expect("there is room")).into();
    assert!(inside.iter().all(|(status, _)| *status == 200));
    assert!(enter(1).is_none() && enter(2).is_none());
    assert_eq!(proxy.context.metrics.connections_refused.load(Ordering::Relaxed), 2);
    let own: Vec<_> =
        (0..4).map(|_| balancer(&proxy)).map(|mut own| (own.ask(&format!("PROXY UNKNOWN\r\n{GET}")), own)).collect();
    assert!(own.iter().all(|(answer, _)| answer.status() == 200), "the balancer itself is not limited");
    inside.remove(0);
    eventually("who left has made room", || enter(1).is_some());
    // Who comes without the balancer is limited as ever.
    let mut direct = [proxy.connect(), proxy.connect()];
    assert!(direct.iter_mut().all(|client| client.ask(GET).status() == 200));
    let mut third = proxy.connect();
    assert_eq!(third.until_the_end().0, "");
    assert_eq!(faults(&proxy), []);
}

#[test]
fn without_the_setting_nobody_is_asked_for_a_preface() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    assert_eq!(balancer(&proxy).ask(GET).status(), 200);
    assert_eq!(balancer(&proxy).ask(&format!("{LINE}{GET}")).status(), 400);
    assert_eq!(balancer(&proxy).ask(CHECK).status(), 200);
    assert_eq!(replica.count(), 2, "the path is like any other");
}

#[test]
fn both_settings_may_change_while_it_runs() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut open = balancer(&proxy);
    assert_eq!(open.ask(CHECK).body, "ok");
    proxy.change(|settings| {
        settings.proxy_protocol = vec![IpAddr::V4(BALANCER).into()];
        settings.health_endpoint = Some(ENDPOINT.to_owned());
    });
    eventually("the path is ours", || proxy.ask(CHECK).body == "serving\n");
    assert_eq!(open.ask(CHECK).body, "serving\n");
    assert_eq!(open.ask(GET).body, "ok", "a connection that began without a preface goes on");
    assert_eq!(balancer(&proxy).ask(&format!("{LINE}{GET}")).status(), 200);
    let mut silent = balancer(&proxy);
    silent.send(GET);
    assert_eq!(silent.until_the_end().0, "");
    assert_eq!(faults(&proxy), [("missing", 1)]);
}

#[test]
fn the_health_endpoint_is_answered_here_and_nothing_else() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |_| {});
    let mut client = proxy.connect();
    let answer = client.ask(CHECK);
    assert_eq!((answer.status(), answer.body.as_str()), (200, "serving\n"));
    assert_eq!(answer.field("x-served-by").as_deref(), Some("evenkeel"));
    client.send(CHECK.replace("GET", "HEAD"));
    let head = client.read_until("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 8\r\n"), "{head}");
    assert_eq!(client.ask(&CHECK.replace("/lb", "http://gateway/lb")).body, "serving\n");
    assert_eq!(replica.count(), 0);
    for other in [
        "GET /lb-healthy",
        "GET /lb-health?",
        "GET /lb-health?x",
        "GET /lb-health/",
        "GET /Lb-health",
        "POST /lb-health",
    ] {
        assert_eq!(client.ask(&CHECK.replace("GET /lb-health", other)).body, "ok", "{other}");
    }
    assert_eq!(client.ask(GET).status(), 200, "the connection goes on");
    assert_eq!(proxy.context.metrics.refusals().map(|(_, count)| count).sum::<u64>(), 0);
}

#[test]
fn the_health_endpoint_tells_when_to_send_nobody() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = behind(&replica, |settings| settings.hold.time = DEADLINE);
    let check = |proxy: &Proxy| {
        let answer = proxy.ask(CHECK);
        (answer.status(), answer.body.trim().to_owned())
    };
    let serving = (200, "serving".to_owned());
    assert_eq!(check(&proxy), serving);
    proxy.probed(1, Health::Unhealthy);
    assert_eq!(check(&proxy), serving, "requests still go to it, since there is no other");
    proxy.drain("gateway-1");
    let nobody = (503, "no replica takes requests".to_owned());
    assert_eq!(check(&proxy), nobody, "at once, also where a request would wait");
    proxy.add("gateway", 2, replica.addr);
    assert_eq!(check(&proxy), serving);
    proxy.remove("gateway-2");
    assert_eq!(check(&proxy), nobody);
    proxy.add("gateway", 3, replica.addr);
    assert_eq!(check(&proxy), serving);
    let mut kept = proxy.connect();
    assert_eq!(kept.ask(CHECK).status(), 200);
    proxy.context.leaving.cancel();
    assert_eq!(check(&proxy), (503, "shutting down".to_owned()));
    assert_eq!(kept.ask(CHECK).status(), 503);
    assert_eq!(kept.ask(GET).status(), 200, "all else is served still");
}

#[test]
fn a_plain_health_check_of_the_balancers_is_answered_and_nothing_behind_it() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |_| {});
    for check in [CHECK.to_owned(), CHECK.replace("GET", "HEAD"), CHECK.replace("1.1", "1.0")] {
        for behind_it in ["", GET, CHECK] {
            let mut client = balancer(&proxy);
            client.send(format!("{check}{behind_it}"));
            let heard = client.read_to_end();
            assert!(heard.starts_with("HTTP/1.1 200 OK\r\n"), "{heard}");
            assert!(heard.contains("Connection: close\r\n"), "{heard}");
            assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "{heard}");
        }
    }
    let mut slowly = balancer(&proxy);
    for byte in CHECK.bytes() {
        slowly.send([byte]);
    }
    assert!(slowly.read_to_end().starts_with("HTTP/1.1 200 OK\r\n"));
    // With a preface it is a request like others.
    let mut introduced = balancer(&proxy);
    assert_eq!(introduced.ask(&format!("{LINE}{CHECK}")).body, "serving\n");
    assert_eq!(introduced.ask(GET).body, "ok");
    assert_eq!(faults(&proxy), []);
    assert_eq!(balancer(&proxy).ask("GET /lb-health HTTP/1.1\r\n\r\n").status(), 400, "it has to be a request");
    assert_eq!((replica.count(), faults(&proxy)), (1, vec![]));
}

#[test]
fn what_only_begins_like_a_health_check_is_none() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |settings| settings.head_timeout = SHORT);
    for (start, answer) in [
        ("GET /lb-health? HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("POST /lb-health HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /lb-hea", ""),
        ("GET /lb-health HT", "HTTP/1.1 408 "),
    ] {
        let mut client = balancer(&proxy);
        client.send(start);
        let (heard, _) = client.until_the_end();
        assert!(if answer.is_empty() { heard.is_empty() } else { heard.starts_with(answer) }, "{start}: {heard}");
    }
    assert_eq!((replica.count(), faults(&proxy)), (0, vec![("missing", 2), ("late", 1)]));
}

#[test]
fn a_stop_waits_for_no_preface() {
    let replica = FakeReplica::answering(OK);
    let proxy = behind(&replica, |_| {});
    let (mut silent, mut introduced) = (balancer(&proxy), balancer(&proxy));
    introduced.send(LINE);
    let open = || proxy.context.metrics.connections_open.load(Ordering::Relaxed);
    eventually("both are in", || open() == 2);
    proxy.context.stop_accepting.cancel();
    assert!(silent.is_closed() && introduced.is_closed());
    eventually("the worker ends", || proxy.have_workers_ended());
    assert_eq!(faults(&proxy), []);
}
