use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A replica that answers one connection with `answer` and tells what it was asked. `None`: it never answers.
async fn replica(answer: Option<&'static str>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
        if let Some(answer) = answer {
            // The prober may have hung up already: a TCP probe does.
            let _ = stream.write_all(answer.as_bytes()).await;
        } else {
            // Wait for the prober to give up.
            let _ = stream.read_buf(&mut head).await;
        }
        String::from_utf8(head).unwrap()
    });
    (addr, asked)
}

fn spec(path: Option<&str>) -> ProbeSpec {
    ProbeSpec { path: path.map(Into::into), timeout: Duration::from_secs(5), ..ProbeSpec::default() }
}

#[tokio::test]
async fn a_connect_is_enough_without_a_path() {
    let (addr, asked) = replica(Some("")).await;
    probe(addr, &spec(None)).await.unwrap();
    assert_eq!(asked.await.unwrap(), "");
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for path in [None, Some("/")] {
        let error = probe(addr, &spec(path)).await.unwrap_err();
        assert!(matches!(&error, ProbeError::Connect(e) if e.kind() == ErrorKind::ConnectionRefused));
        assert_eq!(error.to_string(), "Connection refused (os error 111)");
    }
}

#[tokio::test]
async fn any_2xx_or_3xx_passes() {
    let table = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", None),
        ("HTTP/1.1 204 No Content\r\n\r\n", None),
        ("HTTP/1.0 200 OK\r\n\r\na body until the end", None),
        ("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Some("answered 404 Not Found")),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Some("answered 503 Service Unavailable")),
        ("", Some("connection closed before message completed")),
        ("SSH-2.0-OpenSSH\r\n\r\n", Some("invalid HTTP version parsed")),
    ];
    for (answer, failure) in table {
        let (addr, asked) = replica(Some(answer)).await;
        let outcome = probe(addr, &spec(Some("/healthz?deep=1"))).await;
        assert_eq!(outcome.err().map(|e| e.to_string()).as_deref(), failure, "{answer:?}");
        let head = asked.await.unwrap().to_lowercase();
        assert!(head.starts_with("get /healthz?deep=1 http/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nhost: {addr}\r\n")), "{head}");
        assert!(head.contains(&format!("\r\nuser-agent: {AGENT}\r\n")), "{head}");
    }
}

#[tokio::test]
async fn only_the_expected_statuses_pass() {
    for (expected, status, passes) in [
        ("200", "200 OK", true),
        ("200", "204 No Content", false),
        ("200", "302 Found", false),
        ("200-299,304", "304 Not Modified", true),
        ("401", "401 Unauthorized", true),
        ("5xx", "503 Service Unavailable", true),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").leak();
        let (addr, asked) = replica(Some(answer)).await;
        let spec = ProbeSpec { status: Statuses::parse(expected).unwrap(), ..spec(Some("/")) };
        let outcome = probe(addr, &spec).await.map_err(|error| error.to_string());
        let expected_outcome = if passes { Ok(()) } else { Err(format!("answered {status}")) };
        assert_eq!(outcome, expected_outcome, "{expected}");
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn the_timeout_covers_the_wait_for_the_answer() {
    let (addr, asked) = replica(None).await;
    let spec = ProbeSpec { timeout: Duration::from_millis(50), ..spec(Some("/")) };
    assert_eq!(probe(addr, &spec).await.unwrap_err().to_string(), "no answer within 50ms");
    asked.await.unwrap();
}

#[tokio::test]
async fn a_path_is_sent_whole_or_not_at_all() {
    let (addr, asked) = replica(Some("HTTP/1.1 200 OK\r\n\r\n")).await;
    let error = probe(addr, &spec(Some("/a b\r\nX: y"))).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot ask for this path: "), "{error}");
    assert_eq!(asked.await.unwrap(), "");
}
