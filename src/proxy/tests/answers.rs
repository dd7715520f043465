//! What a client gets of what a replica answers.

use super::support::*;

fn relayed(answer: &str, request: &str) -> Message {
    let answer = answer.to_owned();
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send(&answer);
    });
    let mut client = Proxy::with(&[replica.addr], |s| s.retries = 0);
    let message = client.connect().ask(request);
    client.drain("gateway-1");
    message
}

#[test]
fn hop_by_hop_fields_stay_behind_and_ours_overwrite() {
    let answer = relayed(
        "HTTP/1.1 200 Fine\r\nConnection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Authenticate: x\r\nX-Served-By: me\r\nX-Served-By: too\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\
         Date: then\r\nContent-Length: 2\r\n\r\nok",
        GET,
    );
    let expected = [
        "HTTP/1.1 200 Fine",
        "content-length: 2",
        "date: then",
        "set-cookie: a",
        "set-cookie: b",
        "x-served-by: gateway-1",
    ];
    assert_eq!(answer.sorted_lines(), expected);
}

#[test]
fn what_can_be_understood_in_one_way_is_passed_on_in_that_way() {
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (answer, request, status, framing, body) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", GET, 200, "content-length: 5", "hello"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            GET,
            200,
            "transfer-encoding: chunked",
            "hello",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nhello", GET, 200, "transfer-encoding: chunked", "hello"),
        ("HTTP/1.1 204 None\r\ncontent-length: 5\r\n\r\n", GET, 204, "", ""),
        ("HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n", GET, 999, "content-length: 0", ""),
    ] {
        let message = relayed(answer, request);
        assert_eq!((message.status(), message.body.as_str()), (status, body), "{answer}");
        let head = message.head.to_lowercase();
        assert!(head.starts_with("http/1.1 ") && head.contains(framing), "{head}");
    }
    let plain = relayed_head("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n", head);
    assert!(plain.contains("content-length: 7\r\n"), "{plain}");
    let chunked = relayed_head("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", head);
    assert!(!chunked.contains("content-length"), "{chunked}");
}

fn relayed_head(answer: &str, request: &str) -> String {
    let replica = FakeReplica::answering(answer);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(request);
    let head = client.read_until("\r\n\r\n").unwrap();
    client.send(request);
    assert!(client.read_until("\r\n\r\n").unwrap().starts_with("HTTP/1.1 200 OK"), "no body in between");
    head.to_lowercase()
}

#[test]
fn what_is_no_answer_becomes_502() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    for (answer, error) in [
        ("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nraw", "replica-protocol"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "replica-protocol"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "replica-protocol"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "replica-protocol"),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nhello", "replica-protocol"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "replica-protocol"),
        ("HTTP/1.1 99 Low\r\n\r\n", "replica-protocol"),
        ("SSH-2.0-OpenSSH\r\n", "replica-protocol"),
        (long.as_str(), "replica-protocol"),
        ("HTTP/1.1 200 OK\r\nx", "replica-reset"),
        ("", "replica-reset"),
    ] {
        let message = relayed(answer, GET);
        assert_eq!((message.status(), message.error().as_str()), (502, error), "{answer:.60}");
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let replica =
        FakeReplica::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let all = client.read_to_end();
    assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("\r\n\r\nhello"), "{all}");
    let head = all.to_lowercase();
    assert!(!head.contains("transfer-encoding") && head.contains("connection: close"), "{all}");
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for answer in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhel",
    ] {
        let replica = FakeReplica::start(move |mut served| {
            served.request();
            served.talk.send(answer);
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        client.send(GET);
        let all = client.read_to_end();
        assert!(all.contains("hel") && !all.ends_with("0\r\n\r\n"), "{all}");
        let replica = proxy.replica("gateway", 1);
        eventually("the failure is counted", || replica.metrics().errors() == 1);
        assert!(replica.last_error().is_some());
        eventually("the answer is counted", || replica.metrics().requests() == 1);
    }
}

#[test]
fn an_answer_may_come_before_the_request_has_ended() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("\r\n\r\n");
        served.talk.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
        served.talk.read_to_end();
    });
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nx");
    assert_eq!((answer.status(), answer.body.as_str()), (413, "no"));
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn a_client_that_still_sends_can_read_the_answer_that_ends_its_connection() {
    let replica = FakeReplica::start(|mut served| {
        served.talk.read_until("\r\n\r\n");
        served.talk.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
        served.talk.read_to_end();
    });
    let proxy = Proxy::start(&[replica.addr]);
    for _ in 0..20 {
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 900000\r\n\r\n");
        eventually("it is answered", || client.stream.peek(&mut [0]).unwrap() > 0);
        client.send("x".repeat(500_000));
        let (all, is_reset) = client.until_the_end();
        assert!(all.ends_with("\r\n\r\nno") && !is_reset, "{all}");
    }
}
