//! Bodies flow as they come, no faster than the slower side, and end with either side.

use std::io::Write;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::support::*;

/// More than the kernel keeps in its buffers on the way.
const A_LOT: usize = 64 << 20;
const CHUNK: usize = 64 << 10;

/// Writes until the other side takes nothing for a while; how much it took.
fn write_until_blocked(talk: &mut Talk) -> usize {
    talk.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let chunk = vec![b'x'; CHUNK];
    let mut written = 0;
    while written < A_LOT {
        match talk.stream.write(&chunk) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    written
}

#[test]
fn an_answer_streams_chunk_by_chunk() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
        wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        served.talk.send("3\r\ntwo\r\n0\r\n\r\n");
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    assert!(client.read_until("one\r\n").is_some());
    assert_eq!((proxy.in_flight(), proxy.replica("gateway", 1).metrics().requests()), (1, 0));
    go.send(()).unwrap();
    assert!(client.read_until("two\r\n0\r\n\r\n").is_some());
    eventually("the lease is released", || proxy.in_flight() == 0);
    assert_eq!(proxy.replica("gateway", 1).metrics().codes().collect::<Vec<_>>(), [(200, 1)]);
}

#[test]
fn a_request_streams_chunk_by_chunk() {
    let (got, has_got) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.talk.read_until("one\r\n").unwrap();
        got.send(()).unwrap();
        served.talk.read_until("0\r\n\r\n").unwrap();
        served.talk.send(OK);
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
    has_got.recv_timeout(DEADLINE).unwrap();
    assert_eq!(client.ask("3\r\ntwo\r\n0\r\n\r\n").status(), 200);
}

#[test]
fn a_slow_client_slows_the_replica_down() {
    let (report, reported) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {A_LOT}\r\n\r\n"));
        report.send(write_until_blocked(&mut served.talk)).unwrap();
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    let written = reported.recv_timeout(DEADLINE).unwrap();
    assert!(written < A_LOT / 2, "the replica could write {written} bytes");
    eventually("what was written arrives", || client.read_exact(CHUNK).len() == CHUNK);
}

#[test]
fn a_long_answer_arrives_whole_whether_its_client_keeps_up_or_not() {
    let body: Arc<str> = (0..A_LOT / 8).map(|line| format!("{line:07}\n")).collect::<String>().into();
    let sent = Arc::clone(&body);
    let (report, is_stuck) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        // Its connection is kept, so that there is no other.
        while served.index == 0 && served.request().is_some() {
            let (mut left, stream) = (sent.as_bytes(), &mut served.talk.stream);
            stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {A_LOT}\r\n\r\n").as_bytes()).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            // Of all sizes, so that pieces begin and end anywhere.
            for size in (1..).map(|turn: usize| turn * 7_919 % 300_000 + 1) {
                match stream.write(left.get(..size).unwrap_or(left)) {
                    Ok(count) => left = &left[count..],
                    Err(_) => report.send(()).unwrap(),
                }
                if left.is_empty() {
                    break;
                }
            }
        }
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    for waits in [false, true, false] {
        while is_stuck.try_recv().is_ok() {}
        client.send(GET);
        client.read_until("\r\n\r\n").unwrap();
        if waits {
            is_stuck.recv_timeout(DEADLINE).unwrap();
        }
        assert!(client.read_exact(A_LOT) == *body, "waits: {waits}");
    }
}

#[test]
fn what_there_is_of_a_long_answer_arrives_though_its_replica_pauses() {
    let (go, wait) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let sizes = [40_000, 100_000, 300_001, 2_000_000, 1, 40_000];
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", sizes.iter().sum::<usize>()));
        for size in sizes {
            served.talk.stream.write_all(&vec![b'x'; size]).unwrap();
            wait.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        }
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    client.read_until("\r\n\r\n").unwrap();
    for size in sizes {
        assert_eq!(client.read_exact(size).len(), size);
        go.send(()).unwrap();
    }
}

#[test]
fn a_long_answer_that_breaks_off_does_so_for_its_client() {
    for (sent, is_reset) in [(A_LOT - 1, false), (A_LOT / 2, false), (A_LOT / 2, true)] {
        let replica = FakeReplica::start(move |mut served| {
            served.request();
            served.talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {A_LOT}\r\n\r\n"));
            let _ = served.talk.stream.write_all(&vec![b'x'; sent]);
            if is_reset {
                served.talk.reset();
            }
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        client.send(GET);
        client.read_until("\r\n\r\n").unwrap();
        let (got, _) = client.until_the_end();
        assert!(got.len() <= sent && (is_reset || got.len() == sent), "{} of {sent}", got.len());
        eventually("the failure is counted", || proxy.replica("gateway", 1).metrics().errors() == 1);
    }
}

#[test]
fn a_slow_replica_slows_the_client_down() {
    let (done, is_done) = mpsc::channel();
    let is_done = std::sync::Mutex::new(is_done);
    let replica = FakeReplica::start(move |served| {
        is_done.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        drop(served);
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {A_LOT}\r\n\r\n"));
    let written = write_until_blocked(&mut client);
    assert!(written < A_LOT / 2, "the client could write {written} bytes");
    done.send(()).unwrap();
}

#[test]
fn a_client_that_reads_nothing_is_cut_off() {
    let (ended, has_ended) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {A_LOT}\r\n\r\n"));
        let chunk = vec![b'x'; CHUNK];
        while served.talk.stream.write_all(&chunk).is_ok() {}
        ended.send(()).unwrap();
    });
    let proxy = Proxy::with(&[replica.addr], |s| s.idle_timeout = Duration::from_millis(200));
    let mut client = proxy.connect();
    client.send(GET);
    has_ended.recv_timeout(DEADLINE).unwrap();
    eventually("the lease is released", || proxy.in_flight() == 0);
    assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0, "it was not the replica's fault");
}

#[test]
fn a_replica_that_stops_in_the_middle_is_cut_off() {
    let replica = FakeReplica::start(|mut served| {
        served.request();
        served.talk.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        served.talk.read_to_end();
    });
    let proxy = Proxy::with(&[replica.addr], |s| s.idle_timeout = Duration::from_millis(100));
    let mut client = proxy.connect();
    client.send(GET);
    assert!(client.read_to_end().ends_with("half"));
    eventually("the timeout is counted", || proxy.replica("gateway", 1).metrics().errors() == 1);
}

#[test]
fn a_client_that_leaves_takes_its_connection_to_the_replica_with_it() {
    let (ended, has_ended) = mpsc::channel();
    let replica = FakeReplica::start(move |mut served| {
        served.request();
        served.talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while served.talk.stream.write_all(b"1\r\nx\r\n").is_ok() {}
        ended.send(()).unwrap();
    });
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    client.read_until("x\r\n").unwrap();
    client.reset();
    has_ended.recv_timeout(DEADLINE).unwrap();
    eventually("the lease is released", || proxy.in_flight() == 0);
}

#[test]
fn a_client_that_leaves_before_the_answer_releases_what_it_held() {
    let leave: [fn(Talk); 2] = [drop, Talk::reset];
    for leave in leave {
        let (ended, has_ended) = mpsc::channel();
        let replica = FakeReplica::start(move |mut served| {
            served.request();
            served.talk.read_to_end();
            ended.send(()).unwrap();
        });
        let proxy = Proxy::with(&[replica.addr], |s| s.response_timeout = DEADLINE * 10);
        let mut client = proxy.connect();
        client.send(GET);
        eventually("it is under way", || replica.count() == 1);
        leave(client);
        has_ended.recv_timeout(DEADLINE).unwrap();
        eventually("the lease is released", || proxy.in_flight() == 0);
        let replica = proxy.replica("gateway", 1);
        assert_eq!((replica.metrics().requests(), replica.metrics().errors()), (0, 0));
    }
}

#[test]
fn a_client_that_has_only_finished_writing_still_gets_its_answer() {
    let replica = FakeReplica::answering(OK);
    let proxy = Proxy::start(&[replica.addr]);
    let mut client = proxy.connect();
    client.send(GET);
    client.finish_writing();
    assert_eq!(client.read_message().unwrap().status(), 200);
}

#[test]
fn a_client_that_has_only_finished_writing_gets_an_answer_that_takes_its_time() {
    let replica = FakeReplica::start(|mut served| {
        while served.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            served.talk.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalf");
        }
    });
    let proxy = Proxy::start(&[replica.addr]);
    for request in [
        GET,
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(request);
        client.finish_writing();
        assert_eq!(client.read_message().expect("an answer").body, "half", "{request}");
        assert!(client.is_closed());
    }
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_its_request_back() {
    for request in [GET, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf"] {
        let (ended, has_ended) = mpsc::channel();
        let replica = FakeReplica::start(move |mut served| {
            served.talk.read_until("\r\n\r\n").unwrap();
            served.talk.read_to_end();
            ended.send(()).unwrap();
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        client.send(request);
        eventually("it is under way", || proxy.in_flight() == 1);
        client.reset();
        has_ended.recv_timeout(DEADLINE).unwrap();
        eventually("the lease is released", || proxy.in_flight() == 0);
        assert_eq!(proxy.replica("gateway", 1).metrics().errors(), 0);
    }
}

#[test]
fn the_connection_goes_on_if_little_of_the_request_was_left_when_it_was_answered() {
    for (length, goes_on) in [(30_000, true), (1_000_000, false)] {
        let replica = FakeReplica::start(|mut served| {
            served.talk.read_until("\r\n\r\n").unwrap();
            served.talk.send(OK);
            served.talk.read_to_end();
        });
        let proxy = Proxy::start(&[replica.addr]);
        let mut client = proxy.connect();
        let answer = client.ask(&format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"));
        assert_eq!(answer.status(), 200);
        eventually("the lease is released", || proxy.in_flight() == 0);
        let _ = client.stream.write_all("x".repeat(length).as_bytes());
        if goes_on {
            assert_eq!(client.ask(GET).status(), 200);
        } else {
            assert!(client.is_closed());
        }
    }
}
