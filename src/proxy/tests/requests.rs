//! What a replica gets, and what is refused before one gets anything.

use super::support::*;

fn sorted_lines(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.trim_end().lines().collect();
    lines[1..].sort_unstable();
    lines
}

#[test]
fn a_replica_gets_the_end_to_end_fields_and_ours() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let answer = proxy.ask(
        "GET /a/../b?c=%20 HTTP/1.1\r\nHost: Shop:80\r\nX-Secret: 1\r\nCookie: a\r\nCookie: b\r\n\
         Connection: keep-alive, x-secret, host, x-forwarded-for\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy: x\r\n\
         Proxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
         X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.body.as_str()), (200, "ok"));
    assert_eq!(
        sorted_lines(&replica.request().head),
        [
            "GET /a/../b?c=%20 HTTP/1.1",
            "cookie: a",
            "cookie: b",
            "host: Shop:80",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: Shop:80",
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

#[test]
fn a_trusted_client_speaks_for_others() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::with(&[replica.addr], |s| s.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    proxy.ask("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\n\r\n");
    let request = replica.request();
    assert_eq!(request.fields("x-forwarded-for"), ["9.9.9.9, 127.0.0.1"]);
    assert_eq!(request.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields("x-real-ip"), ["9.9.9.9"]);
}

#[test]
fn bodies_arrive_whole_with_plain_framing() {
    for (request, framing, body) in [
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0005\r\n\r\nhello", ("content-length", "5"), "hello"),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nx-t: 1\r\n\r\n",
            ("transfer-encoding", "chunked"),
            "hello",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ("transfer-encoding", "chunked"),
            "hello",
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello", ("content-length", "5"), "hello"),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", ("content-length", "0"), ""),
    ] {
        let replica = FakeReplica::answering(OK);
        let proxy = Proxy::start(&[replica.addr]);
        assert_eq!(proxy.ask(request).status(), 200);
        let arrived = replica.request();
        assert_eq!(arrived.fields(framing.0), [framing.1], "{request}");
        assert_eq!(arrived.body, body, "{request}");
    }
}

#[test]
fn expect_continue_is_answered_and_the_body_follows() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.read_until("\r\n\r\n").unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("hi").status(), 200);
    assert_eq!(replica.request().body, "hi");
}

#[test]
fn the_host_chooses_the_service() {
    let (gateway, api) = (FakeReplica::answering(OK), FakeReplica::answering(OK));
    let mut proxy = Proxy::start(&[gateway.addr]);
    proxy.add("api", 1, api.addr);
    for (head, served_by) in [
        ("GET / HTTP/1.1\r\nhost: API.:3001", "api-1"),
        ("GET http://api/ HTTP/1.1\r\nhost: gateway", "api-1"),
        ("GET / HTTP/1.1\r\nhost: gateway:8080", "gateway-1"),
        ("GET / HTTP/1.1\r\nhost: somewhere.example", "gateway-1"),
        ("GET / HTTP/1.0", "gateway-1"),
    ] {
        let answer = proxy.ask(&format!("{head}\r\n\r\n"));
        assert_eq!(answer.fields("x-served-by"), [served_by], "{head}");
    }
    let heads: Vec<_> = api.requests.lock().unwrap().iter().map(|m| m.field("host").unwrap()).collect();
    assert_eq!(heads, ["API.:3001", "api"]);
    assert_eq!(gateway.requests.lock().unwrap().last().unwrap().field("host").unwrap(), "gateway");
}

#[test]
fn what_is_no_request_for_a_replica_is_refused() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    for (head, status, error) in [
        ("GET / HTTP/1.1", 400, "bad-request"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a", 400, "bad-request"),
        ("GET / HTTP/1.1\r\nhost: a b", 400, "bad-request"),
        ("GET admin HTTP/1.1\r\nhost: a", 400, "bad-request"),
        ("GET * HTTP/1.1\r\nhost: a", 400, "bad-request"),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a", 400, "bad-request"),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked", 400, "bad-request"),
        ("TRACE / HTTP/1.1\r\nhost: a", 405, "method-refused"),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443", 405, "method-refused"),
    ] {
        let answer = proxy.ask(&format!("{head}\r\n\r\n"));
        assert_eq!((answer.status(), answer.error().as_str()), (status, error), "{head}");
        assert_eq!(answer.fields("x-served-by"), ["evenkeel"]);
    }
    assert_eq!(replica.count(), 0);
    assert_eq!(proxy.context.metrics.refusals().map(|(_, count)| count).sum::<u64>(), 9);
    assert_eq!(proxy.ask(GET).status(), 200);
}

#[test]
fn without_a_replica_the_answer_is_503_and_says_when_to_come_back() {
    let mut proxy = Proxy::start(&[]);
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.error().as_str()), (503, "no-such-service"));
    let replica = FakeReplica::answering(OK);
    proxy.add("gateway", 1, replica.addr);
    proxy.drain("gateway-1");
    let answer = proxy.ask(GET);
    assert_eq!((answer.status(), answer.error().as_str()), (503, "no-replica-ready"));
    assert_eq!(answer.fields("retry-after"), ["1"]);
}

#[test]
fn what_cannot_be_parsed_is_refused_and_counted() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let long = "x".repeat(70_000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n".to_owned(), 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), 431),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 431),
    ] {
        let mut client = proxy.connect();
        client.send(&request);
        let answer = client.read_message().unwrap();
        assert_eq!((answer.status(), answer.fields("connection")), (status, vec!["close".to_owned()]), "{request:.60}");
        assert!(client.is_closed(), "{request:.60}");
    }
    let counted = || -> Vec<_> {
        let counts = proxy.context.metrics.refusals().filter(|(_, count)| *count > 0);
        counts.map(|(refusal, count)| (refusal.as_str(), count)).collect()
    };
    eventually("all are counted", || counted() == [("bad-request", 2), ("head-too-large", 2)]);
    assert_eq!(replica.count(), 0);
}

#[test]
fn a_request_with_two_framings_is_read_as_chunked_and_ends_its_connection() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    let answer = client.read_message().unwrap();
    assert_eq!((answer.status(), answer.fields("connection")), (200, vec!["close".to_owned()]));
    assert!(client.is_closed());
    assert_eq!(replica.request().fields("content-length"), Vec::<String>::new());
}
