//! Where messages end: two requests are never made out of one, and an answer that broke off never looks whole.

use std::sync::atomic::Ordering;

use super::support::*;

/// Many chunks of many sizes, and the bytes they carry.
fn chunks(total: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut framed, mut plain) = (Vec::new(), Vec::new());
    for size in [1, 2, 10, 4095, 4096, 16_384, 70_000, 3].into_iter().cycle() {
        let data: Vec<u8> = (plain.len()..plain.len() + size).map(|at| b'a' + (at % 23) as u8).collect();
        framed.extend_from_slice(format!("{size:x};ext=\"x\"\r\n").as_bytes());
        framed.extend_from_slice(&data);
        framed.extend_from_slice(b"\r\n");
        plain.extend_from_slice(&data);
        if plain.len() >= total {
            break;
        }
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    (framed, plain)
}

#[test]
fn chunked_bodies_arrive_as_they_were_whatever_their_chunks() {
    let (framed, plain) = chunks(3 << 20);
    let answer = ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_bytes(), &framed].concat();
    let replica = FakeReplica::answering(String::from_utf8(answer).unwrap());
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for method in ["POST", "PUT"] {
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"));
        let mut writer = client.stream.try_clone().unwrap();
        let body = framed.clone();
        let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &body));
        let answer = client.read_message().unwrap();
        sending.join().unwrap().unwrap();
        assert!(answer.body.as_bytes() == plain, "{method}: the answer's body");
        let request = replica.requests.lock().unwrap().pop().unwrap();
        assert!(request.body.as_bytes() == plain, "{method}: the request's body");
    }
    assert_eq!(replica.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn requests_in_one_write_are_answered_in_order_whatever_their_framing() {
    let replica = FakeReplica::start(|mut served| {
        while let Some(request) = served.request() {
            served.talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len()));
            served.talk.send(request.body);
        }
    });
    let proxy = Proxy::start(&[replica.addr]);
    let requests = [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none",
        "\r\nPOST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nt\r\n2\r\nwo\r\n0\r\nx: y\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nfour",
    ];
    let whole = requests.concat().repeat(20);
    let mut at_once = proxy.connect();
    at_once.send(&whole);
    let mut in_pieces = proxy.connect();
    for piece in requests.concat().as_bytes().chunks(7) {
        in_pieces.send(piece);
    }
    for (client, rounds) in [(&mut at_once, 20), (&mut in_pieces, 1)] {
        for _ in 0..rounds {
            for body in ["one", "two", "", "three", "four"] {
                assert_eq!(client.read_message().unwrap().body, body);
            }
        }
    }
}

#[test]
fn nothing_after_a_request_that_is_rejected_is_read_as_one() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    for head in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nhost: a\r\nx : y\r\n\r\n",
        "GET /\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(format!("{head}{GET}"));
        let all = client.read_to_end();
        assert!(all.starts_with("HTTP/1.1 4") && all.matches("HTTP/1.1").count() == 1, "{head}: {all}");
        assert!(all.contains("Connection: close\r\n"), "{all}");
    }
    assert_eq!(proxy.ask(GET).status(), 200);
    assert_eq!(replica.count(), 1);
}

#[test]
fn what_follows_an_answer_unasked_is_not_the_next_answer() {
    for answer in [
        format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"),
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nevil".to_owned(),
        "HTTP/1.1 204 None\r\n\r\nevil".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil".to_owned(),
    ] {
        let replica = FakeReplica::answering(answer.clone());
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        for _ in 0..3 {
            client.send(GET);
            let head = client.read_until("\r\n\r\n").unwrap();
            let body = match &head {
                head if head.contains("chunked") => client.read_until("0\r\n\r\n").unwrap(),
                head if head.starts_with("HTTP/1.1 200") => client.read_exact(2),
                _ => String::new(),
            };
            assert!(!body.contains("evil"), "{answer}");
        }
        assert_eq!(replica.connections.load(Ordering::SeqCst), 3, "{answer}");
    }
}

#[test]
fn what_follows_a_long_answer_unasked_is_not_the_next_answer() {
    let body = "x".repeat(1 << 20);
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let replica =
        FakeReplica::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}{evil}", body.len()));
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    let requests = [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"];
    for request in requests.into_iter().cycle().take(8) {
        client.send(request);
        client.read_until("\r\n\r\n").unwrap();
        assert!(client.read_exact(body.len()) == body);
    }
    assert_eq!(replica.connections.load(Ordering::SeqCst), 8);
}

#[test]
fn a_truncated_answer_whose_end_would_be_the_close_ends_with_a_reset() {
    for (answer, is_whole) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel", false),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\n\r\nhello", true),
    ] {
        let replica = FakeReplica::start(move |mut served| {
            served.request();
            served.talk.send(answer);
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        client.send("GET / HTTP/1.0\r\n\r\n");
        let (all, is_reset) = client.until_the_end();
        assert_eq!(is_reset, !is_whole, "{answer}: {all}");
    }
}

#[test]
fn trailers_pass_to_who_asked_for_them() {
    let replica = FakeReplica::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n",
    );
    let proxy = Proxy::start(&[replica.addr]);
    for (te, trailers) in [("connection: te\r\nte: trailers\r\n", "X-Sum: 1\r\n"), ("", "")] {
        let answer = proxy.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{te}\r\n"));
        assert_eq!((answer.body.as_str(), answer.trailers.as_str()), ("ok", trailers));
    }
}

#[test]
fn a_request_that_has_been_here_is_a_loop() {
    let replica = FakeReplica::answering(OK);
    let mut proxy = Proxy::start(&[replica.addr]);
    proxy.add("itself", 1, proxy.addr);
    proxy.ask(GET);
    let answer = proxy.ask("GET / HTTP/1.1\r\nhost: itself\r\n\r\n");
    assert_eq!(answer.status(), 508);
    assert_eq!(answer.fields("x-served-by"), ["itself-1"], "it was found out on the second pass");
}

#[test]
fn options_for_the_last_hop_are_answered_here() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for (hops, forwarded) in [("0", None), ("5", Some("4"))] {
        client.send(format!("OPTIONS * HTTP/1.1\r\nhost: a\r\nmax-forwards: {hops}\r\n\r\n"));
        let answer = client.read_message().unwrap();
        assert_eq!(answer.status(), if forwarded.is_none() { 204 } else { 200 });
        let seen = replica.requests.lock().unwrap().pop().and_then(|request| request.field("max-forwards"));
        assert_eq!(seen.as_deref(), forwarded);
    }
}

#[test]
fn requests_that_wait_for_their_connections_keep_their_own_fields() {
    let replica = FakeReplica::start(|mut served| {
        let id = served.request().unwrap().field("x-id").unwrap();
        served.talk.send(format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{id}", id.len()));
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut clients: Vec<_> = (0..30).map(|_| proxy.connect()).collect();
    for round in 0..10 {
        let id = |index: usize| "i".repeat(round) + &index.to_string();
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(format!("GET / HTTP/1.1\r\nhost: a\r\nx-{index}: 1\r\nx-id: {}\r\n\r\n", id(index)));
        }
        for (index, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.read_message().unwrap().body, id(index));
        }
    }
}
