//! Interim answers, and clients that wait for one before they send.

use super::support::*;

const EXPECT: &str = "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";

#[test]
fn every_interim_answer_is_passed_on_and_none_is_the_answer() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let replica = FakeReplica::answering(format!("HTTP/1.1 100 Continue\r\n\r\n{hints}{hints}{OK}"));
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(GET);
        for interim in ["HTTP/1.1 100 Continue\r\n\r\n", hints, hints] {
            assert_eq!(client.read_until("\r\n\r\n").unwrap(), interim);
        }
        assert_eq!(client.read_message().unwrap().body, "ok");
    }
    let mut old = proxy.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert!(old.read_to_end().starts_with("HTTP/1.1 200 OK\r\n"), "HTTP/1.0 knows none");
    assert_eq!(replica.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn hints_come_before_the_answer_is_there() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        served.talk.send(OK);
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    assert!(client.read_until("\r\n\r\n").unwrap().starts_with("HTTP/1.1 103 "));
    go.send(()).unwrap();
    assert_eq!(client.read_message().unwrap().body, "ok");
}

#[test]
fn a_final_answer_instead_of_continue_ends_the_connection() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("\r\n\r\n").unwrap();
        served.talk.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
        assert_eq!(served.talk.read_to_end(), "", "the body that nobody wants is not sent");
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    let answer = client.ask(EXPECT);
    assert_eq!((answer.status(), answer.body.as_str()), (413, "no"));
    assert_eq!(answer.fields("connection"), ["close"]);
    assert!(client.is_closed());
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn a_refusal_instead_of_continue_ends_the_connection() {
    let proxy = Proxy::start(&[]);
    let mut client = proxy.connect();
    let answer = client.ask(EXPECT);
    assert_eq!((answer.status(), answer.fields("connection")), (503, vec!["close".to_owned()]));
    client.send("hi");
    assert!(client.is_closed());
}

#[test]
fn who_does_not_wait_for_continue_needs_none() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for _ in 0..2 {
        assert_eq!(client.ask(&format!("{EXPECT}hi")).status(), 200);
    }
    assert_eq!(replica.requests.lock().unwrap()[1].body, "hi");
}
