use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const FIRST: &str = r#"{"version":1,"id":"7","name":"vm-2","port":8080,"services":{"gateway":{"ready":2,"weight":2}}}"#;

/// A listener that answers each connection with the next of these and then closes it, or keeps it open for ever; and what
/// each was asked.
async fn peer(answers: Vec<(String, bool)>) -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (addr, (asked, questions)) = (listener.local_addr().unwrap(), mpsc::channel(8));
    tokio::spawn(async move {
        let mut open = Vec::new();
        for (answer, stays) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|count| count > 0) {}
            asked.send(String::from_utf8(head).unwrap()).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            if stays {
                open.push(stream);
            }
        }
        std::future::pending::<()>().await;
    });
    (addr, questions)
}

fn saying(lines: &[&str]) -> String {
    format!("HTTP/1.1 200 OK\r\n\r\n{}\n", lines.join("\n"))
}

fn start(addr: SocketAddr, token: Option<&str>) -> (mpsc::Receiver<(SocketAddr, Heard)>, AbortOnDropHandle<()>) {
    let (heard, hears) = mpsc::channel(8);
    let ours = Arc::new(Peers::new("vm-1".to_owned(), token.map(Into::into), true));
    (hears, AbortOnDropHandle::new(tokio::spawn(listen(addr, ours, heard))))
}

async fn news(hears: &mut mpsc::Receiver<(SocketAddr, Heard)>) -> News {
    match hears.recv().await.unwrap().1 {
        Heard::News(news) => news,
        Heard::Lost(lost) => panic!("lost: {lost}"),
    }
}

async fn loss(hears: &mut mpsc::Receiver<(SocketAddr, Heard)>) -> String {
    match hears.recv().await.unwrap().1 {
        Heard::News(news) => panic!("news: {news:?}"),
        Heard::Lost(lost) => lost.to_string(),
    }
}

#[tokio::test]
async fn what_is_said_line_by_line_is_heard_as_a_whole_and_what_is_not_new_is_not() {
    let more = r#"{"draining":true}"#;
    let (addr, mut questions) = peer(vec![(saying(&[FIRST, "{}", more, "{}"]), false), (saying(&[FIRST]), true)]).await;
    let (mut hears, _listening) = start(addr, Some("sesame-open-wide"));
    let heard = news(&mut hears).await;
    let heard = if heard.draining.is_none() { news(&mut hears).await } else { heard };
    assert_eq!((heard.draining, heard.services["gateway"].ready, heard.port), (Some(true), 2, Some(8080)));
    assert_eq!(loss(&mut hears).await, "its news ended");
    assert_eq!(news(&mut hears).await.draining, None, "what it said before is forgotten");
    let question = questions.recv().await.unwrap().to_lowercase();
    for line in
        ["get /api/v1/watch http/1.1\r\n", "\r\nauthorization: bearer sesame-open-wide\r\n", "\r\nevenkeel-peer: "]
    {
        assert!(question.contains(line), "{question}");
    }
}

#[tokio::test(start_paused = true)]
async fn three_heartbeats_that_do_not_come_are_a_loss() {
    let (addr, _questions) = peer(vec![(saying(&[FIRST]), true)]).await;
    let (mut hears, _listening) = start(addr, None);
    news(&mut hears).await;
    let began = tokio::time::Instant::now();
    assert_eq!(loss(&mut hears).await, "silent for 1.5s");
    assert!(began.elapsed() < Duration::from_millis(1600), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_is_no_news_says_what_it_is() {
    let refusal = r#"{"error":"you are no peer of vm-2: its --peer-token is not ours; give both the same"}"#;
    let refused = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {}\r\n\r\n{refusal}", refusal.len());
    let absent = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno".to_owned();
    let answers = vec![
        (refused, false),
        (absent, false),
        (saying(&["{}"]), false),
        (saying(&[r#"{"version":2,"id":"7","port":1}"#]), false),
        (saying(&[r#"{"version":1,"id":"7"}"#]), false),
        (saying(&["hello"]), false),
    ];
    let (addr, _questions) = peer(answers).await;
    let (mut hears, _listening) = start(addr, None);
    for expected in [
        "it answered 403 Forbidden: you are no peer of vm-2: its --peer-token is not ours; give both the same",
        "it answered 404 Not Found: is it the admin listener of an evenkeel?",
        "what it says cannot be read: it says no version of the format",
        "what it says cannot be read: version 2 of the format",
        "what it says cannot be read: it says neither who nor where it is",
        "what it says cannot be read: expected value at line 1 column 1",
    ] {
        assert_eq!(loss(&mut hears).await, expected);
    }
}

#[tokio::test]
async fn a_line_without_an_end_is_no_news_and_takes_no_memory() {
    let (addr, _questions) =
        peer(vec![(saying(&[&"x".repeat(LONGEST_LINE + 100_000)]).trim_end().to_owned(), true)]).await;
    let (mut hears, _listening) = start(addr, None);
    assert_eq!(loss(&mut hears).await, "what it says cannot be read: a line that does not end");
}

#[tokio::test]
async fn nobody_there_is_told_from_one_that_is_silent() {
    let addr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (mut hears, _listening) = start(addr, None);
    let Heard::Lost(lost) = hears.recv().await.unwrap().1 else { panic!("news of nobody") };
    assert!(lost.is_refusal(), "{lost}");
    assert!(!Lost::Silent(PATIENCE).is_refusal() && !Lost::Ended.is_refusal());
}

#[test]
fn pauses_grow_until_the_peer_has_spoken() {
    let mut pause = FIRST_PAUSE;
    for expected in [100, 200, 400, 800, 1000, 1000] {
        pause = next_pause(pause, false);
        assert_eq!(pause, Duration::from_millis(expected));
    }
    assert_eq!(next_pause(pause, true), FIRST_PAUSE);
}

#[tokio::test]
async fn a_line_is_heard_however_it_is_cut_and_only_if_it_says_something_new() {
    let more = r#"{"draining":true}"#;
    let (head, tail) = FIRST.split_at(20);
    let answer = |pieces: &[&str]| {
        let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")
    };
    // The end of a line by itself, as the last that comes; then a line without news before one with some.
    let pieces = [head, tail, "\n"];
    let (addr, _questions) = peer(vec![(answer(&pieces), true)]).await;
    let (mut hears, _listening) = start(addr, None);
    assert_eq!(news(&mut hears).await.draining, None);
    let pieces = [FIRST, "\n", "{}\n", &format!("{more}\n")];
    let (addr, _questions) = peer(vec![(answer(&pieces), true)]).await;
    let (mut hears, _listening) = start(addr, None);
    assert_eq!(news(&mut hears).await.draining, None);
    assert_eq!(news(&mut hears).await.draining, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_connections_and_says_nothing_is_lost_after_a_second() {
    let (addr, _questions) = peer(vec![(String::new(), true)]).await;
    let began = tokio::time::Instant::now();
    let (mut hears, _listening) = start(addr, None);
    assert_eq!(loss(&mut hears).await, "silent for 1s");
    assert!(began.elapsed() < Duration::from_millis(1100), "{:?}", began.elapsed());
}
