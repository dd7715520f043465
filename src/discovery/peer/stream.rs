//! One peer's news, listened to for as long as somebody wants it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::discovery::news::{HEARTBEAT, News, PATH, VERSION};
use crate::peers::{self, Peers};

/// How long a connect and an answer's head may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a peer may be silent: three heartbeats.
const SILENCE: Duration = HEARTBEAT.saturating_mul(3);
/// The first pause before a peer that was lost is looked for again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest line, in bytes.
const LONGEST_LINE: usize = 1 << 20;
/// How much is read of what a peer says instead of its news, in bytes.
const LONGEST_REFUSAL: usize = 4096;

const AGENT: &str = concat!("evenkeel-peer/", env!("CARGO_PKG_VERSION"));

/// What came from a peer.
#[derive(Debug)]
pub(super) enum Heard {
    /// All that it has said so far, of which something is new.
    News(News),
    /// It is not heard any more.
    Lost(Lost),
}

/// Why a peer is not heard.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("silent for {0:?}")]
    Silent(Duration),
    #[error("it answered {status}: {message}")]
    Refused { status: StatusCode, message: String },
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its news ended")]
    Ended,
    #[error("what it says cannot be read: {0}")]
    Malformed(String),
}

impl Lost {
    /// Whether nobody listens where it was.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Whether it spoke, but not as it should.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }
}

/// Listens to the peer whose admin room is at `addr`, and looks for it again when it is lost. Ends when nobody wants its
/// news.
pub(super) async fn listen(addr: SocketAddr, ours: Arc<Peers>, heard: mpsc::Sender<(SocketAddr, Heard)>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut has_spoken = false;
        let lost = match hear(addr, &ours, &heard, &mut has_spoken).await {
            Err(lost) => lost,
            Ok(Unheard) => return,
        };
        if heard.send((addr, Heard::Lost(lost))).await.is_err() {
            return;
        }
        pause = next_pause(pause, has_spoken);
        sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

/// How long to wait, after so long a pause before, until a peer is looked for again that has spoken meanwhile or has not.
fn next_pause(before: Duration, has_spoken: bool) -> Duration {
    if has_spoken { FIRST_PAUSE } else { (before * 2).min(LONGEST_PAUSE) }
}

/// Nobody wants any news.
struct Unheard;

async fn hear(
    addr: SocketAddr,
    ours: &Peers,
    heard: &mpsc::Sender<(SocketAddr, Heard)>,
    has_spoken: &mut bool,
) -> Result<Unheard, Lost> {
    let (mut body, _connection) = timeout(PATIENCE, ask(addr, ours)).await.unwrap_or(Err(Lost::Silent(PATIENCE)))?;
    let (mut news, mut unread) = (News::default(), Vec::new());
    loop {
        let frame = timeout(SILENCE, body.frame()).await.map_err(|_| Lost::Silent(SILENCE))?;
        let frame = frame.ok_or(Lost::Ended)??;
        let Ok(data) = frame.into_data() else { continue };
        let searched = unread.len();
        unread.extend_from_slice(&data);
        let Some(end) = memchr::memrchr(b'\n', &unread).filter(|end| *end >= searched) else {
            if unread.len() > LONGEST_LINE {
                return Err(Lost::Malformed("a line that does not end".to_owned()));
            }
            continue;
        };
        let rest = unread.split_off(end + 1);
        let has_changed = read(&mut news, &unread)?;
        unread = rest;
        *has_spoken = true;
        if has_changed && heard.send((addr, Heard::News(news.clone()))).await.is_err() {
            return Ok(Unheard);
        }
    }
}

/// Merges whole lines into the news; whether that changed anything.
fn read(news: &mut News, lines: &[u8]) -> Result<bool, Lost> {
    let mut has_changed = false;
    for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let line = serde_json::from_slice(line).map_err(|error| Lost::Malformed(error.to_string()))?;
        has_changed |= news.merge(line);
    }
    match (news.version, news.id.is_some() && news.port.is_some()) {
        (Some(VERSION), true) => Ok(has_changed),
        (Some(VERSION), false) => Err(Lost::Malformed("it says neither who nor where it is".to_owned())),
        (Some(other), _) => Err(Lost::Malformed(format!("version {other} of the format"))),
        (None, _) => Err(Lost::Malformed("it says no version of the format".to_owned())),
    }
}

/// Asks for the news, and says that we are a peer.
async fn ask(addr: SocketAddr, ours: &Peers) -> Result<(Incoming, AbortOnDropHandle<()>), Lost> {
    let stream = TcpStream::connect(addr).await.map_err(Lost::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // How it ends is seen by who reads.
    let connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let mut request = Request::get(PATH)
        .header(HOST, addr.to_string())
        .header(USER_AGENT, AGENT)
        .header(peers::FIELD, format!("{:016x}", ours.id()));
    if let Some(token) = ours.token() {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| Lost::Malformed(error.to_string()))?;
    let answer = sender.send_request(request).await?;
    match answer.status() {
        StatusCode::OK => Ok((answer.into_body(), connection)),
        _ => Err(refusal(answer).await),
    }
}

/// What an answer that is no news says.
async fn refusal(answer: Response<Incoming>) -> Lost {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST_REFUSAL).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let message =
        json.get("error").and_then(serde_json::Value::as_str).unwrap_or("is it the admin listener of an evenkeel?");
    Lost::Refused { status, message: message.chars().filter(|c| !c.is_control()).collect() }
}

#[cfg(test)]
mod tests;
