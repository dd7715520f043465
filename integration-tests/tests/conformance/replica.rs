//! A replica that records every byte it gets and answers with bytes that a test wrote.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{PATIENCE, paced, pause};
use integration_tests::wire::{self, Parsed, Request};

/// What the requests of a case get. Those to `/after` and `/healthy` always get [`Script::Echo`].
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// 200, and the request line without its version as the body.
    Echo,
    /// These bytes once the request is whole, then this.
    Answer(Vec<u8>, Then),
    /// These bytes in two pieces; the path says where they are cut: `/17`.
    InTwo(Vec<u8>),
    /// The connection goes to the test once a head is there: see [`Replica::next_side`].
    ByHand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
    Reset,
}

/// What came on one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) has_ended: bool,
}

/// What a recording comes to when read strictly.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) requests: Vec<Request>,
    /// What follows them.
    pub(crate) rest: Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    /// A request that is not whole; its head may be.
    Unfinished(Option<Request>),
    Malformed(String),
}

impl Recorded {
    pub(crate) fn taken(&self) -> Taken {
        let mut requests = Vec::new();
        let mut bytes = &self.bytes[..];
        let rest = loop {
            match wire::request(bytes) {
                Ok(Parsed::Whole(request, length)) => {
                    requests.push(request);
                    bytes = &bytes[length..];
                }
                Ok(Parsed::Partial(None)) if bytes.is_empty() => break Rest::Nothing,
                Ok(Parsed::Partial(request)) => break Rest::Unfinished(request),
                Err(wrong) => break Rest::Malformed(format!("{wrong}, in {:?}", wire::short(bytes))),
            }
        };
        Taken { requests, rest }
    }
}

type Log = Arc<Mutex<Vec<Recorded>>>;

#[derive(Debug)]
pub(crate) struct Replica {
    addr: SocketAddr,
    log: Log,
    sides: mpsc::UnboundedReceiver<Side>,
    _accepting: JoinSet<()>,
}

impl Replica {
    /// `piecewise`: answers are written byte by byte.
    pub(crate) async fn start(script: Script, piecewise: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (hand, sides) = mpsc::unbounded_channel();
        let log = Log::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, script, piecewise, Arc::clone(&log), hand));
        Self { addr, log, sides, _accepting: accepting }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The connections on which anything came.
    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        let log = self.log.lock().expect("no panic elsewhere");
        log.iter().filter(|one| !one.bytes.is_empty()).cloned().collect()
    }

    /// Whether every request that began is whole, or its connection gone.
    pub(crate) fn is_settled(&self) -> bool {
        self.recorded().iter().all(|one| one.has_ended || one.taken().rest == Rest::Nothing)
    }

    /// The connection on which the next request of the case comes, if one comes. Only with [`Script::ByHand`].
    pub(crate) async fn next_side(&mut self) -> Result<Side, String> {
        let side = timeout(PATIENCE, self.sides.recv()).await.ok().flatten();
        side.ok_or_else(|| "no request came to the replica".to_owned())
    }
}

async fn accept(listener: TcpListener, script: Script, piecewise: bool, log: Log, hand: mpsc::UnboundedSender<Side>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("nodelay");
        let index = {
            let mut log = log.lock().expect("no panic elsewhere");
            log.push(Recorded::default());
            log.len() - 1
        };
        let side = Side { stream, log: Arc::clone(&log), index, piecewise, answered: 0 };
        connections.spawn(serve(side, script.clone(), hand.clone()));
    }
}

async fn serve(mut side: Side, script: Script, hand: mpsc::UnboundedSender<Side>) {
    loop {
        let taken = side.taken();
        while let Some(request) = taken.requests.get(side.answered) {
            match &script {
                Script::ByHand if !is_ours(request) => return hand.send(side).unwrap_or_default(),
                Script::Answer(bytes, then) if !is_ours(request) => {
                    let _ = side.send(bytes).await;
                    match then {
                        Then::Keep => {}
                        Then::Close => return,
                        Then::Reset => return side.reset(),
                    }
                }
                Script::InTwo(bytes) if !is_ours(request) => {
                    let at = request.target[1..].parse().expect("a number");
                    let (first, rest) = bytes.split_at(at);
                    let _ = side.send(first).await;
                    pause().await;
                    let _ = side.send(rest).await;
                }
                _ => {
                    let _ = side.send(&echo(request)).await;
                }
            }
            side.answered += 1;
        }
        match (&script, &taken.rest) {
            (Script::ByHand, Rest::Unfinished(Some(request))) if !is_ours(request) => {
                return hand.send(side).unwrap_or_default();
            }
            _ => {}
        }
        if !matches!(side.read().await, Ok(1..)) {
            return;
        }
    }
}

/// Whether a request belongs to the frame of a case rather than to the case.
fn is_ours(request: &Request) -> bool {
    ["/after", "/healthy"].contains(&request.target.as_str())
}

fn echo(request: &Request) -> Vec<u8> {
    let line = request.line();
    let body = if request.method == "HEAD" { "" } else { &line };
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", line.len()).into_bytes()
}

/// The replica's side of one connection.
#[derive(Debug)]
pub(crate) struct Side {
    stream: TcpStream,
    log: Log,
    index: usize,
    piecewise: bool,
    /// How many requests have been.
    answered: usize,
}

impl Side {
    fn with_record<T>(&self, change: impl FnOnce(&mut Recorded) -> T) -> T {
        change(&mut self.log.lock().expect("no panic elsewhere")[self.index])
    }

    fn ended(&self) {
        self.with_record(|record| record.has_ended = true);
    }

    pub(crate) fn taken(&self) -> Taken {
        self.with_record(|record| record.taken())
    }

    /// Every byte that came so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with_record(|record| record.bytes.clone())
    }

    /// Reads what is there; 0 at the end.
    pub(crate) async fn read(&mut self) -> io::Result<usize> {
        let mut chunk = vec![0; 16 * 1024];
        let count = self.stream.read(&mut chunk).await;
        self.with_record(|record| match &count {
            Ok(1..) => record.bytes.extend_from_slice(&chunk[..*count.as_ref().unwrap_or(&0)]),
            _ => record.has_ended = true,
        });
        count
    }

    /// Reads until the bytes so far are enough, or says what was waited for.
    pub(crate) async fn read_until(&mut self, what: &str, enough: impl Fn(&[u8]) -> bool) -> Result<(), String> {
        let reading = async {
            while !enough(&self.bytes()) {
                if !matches!(self.read().await, Ok(1..)) {
                    return Err(format!("the replica's connection ended before {what}"));
                }
            }
            Ok(())
        };
        timeout(PATIENCE, reading).await.unwrap_or_else(|_| Err(format!("the replica waited too long for {what}")))
    }

    /// Reads to the end, however it comes.
    pub(crate) async fn read_to_end(&mut self) -> Result<(), String> {
        let reading = async { while matches!(self.read().await, Ok(1..)) {} };
        timeout(PATIENCE, reading).await.map_err(|_| "the replica's connection was not closed".to_owned())
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.piecewise { paced(&mut self.stream, bytes).await } else { self.stream.write_all(bytes).await }
    }

    /// Sends until the other side is gone or takes nothing for so long; `true` if it is gone.
    pub(crate) async fn send_endlessly(&mut self, at_most: Duration) -> bool {
        let filler = vec![b'x'; 64 * 1024];
        let sending = async { while self.stream.write_all(&filler).await.is_ok() {} };
        timeout(at_most, sending).await.is_ok()
    }

    /// Goes on by itself: the first request has been answered, all others get [`Script::Echo`].
    pub(crate) fn go_on(mut self) {
        self.answered = 1;
        let (hand, _) = mpsc::unbounded_channel();
        tokio::spawn(serve(self, Script::Echo, hand));
    }

    /// Half-closes.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    pub(crate) fn reset(self) {
        self.ended();
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.ended();
    }
}
