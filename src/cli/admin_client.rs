//! One request to the admin listener of a running evenkeel.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::config::settings::Token;

/// Longer than a sidecar that is alive takes, shorter than the timeout of any HEALTHCHECK.
const TIMEOUT: Duration = Duration::from_secs(2);
/// More than the table of 10,000 replicas.
const LARGEST: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The process has no file descriptor left, or the like.
    #[error("cannot start: {0}")]
    Start(io::Error),
    /// Nobody listens there.
    #[error("cannot connect to {0}: {1}; is evenkeel running, and this its admin-listen?")]
    Connect(SocketAddr, io::Error),
    /// Somebody listens there, but does not answer.
    #[error("no answer from {0} within {limit}", limit = humantime::format_duration(TIMEOUT))]
    Timeout(SocketAddr),
    /// What listens there does not speak HTTP.
    #[error("no HTTP answer from {0}: {1}")]
    Http(SocketAddr, #[source] hyper::Error),
    /// The answer broke off, or is larger than any of ours.
    #[error("the answer of {0} broke off: {1}")]
    Body(SocketAddr, Box<dyn std::error::Error + Send + Sync>),
    /// It answers no.
    #[error("{path} of {addr} says {status}: {}", body.lines().next().unwrap_or_default())]
    Status {
        /// Who was asked.
        addr: SocketAddr,
        /// What was asked.
        path: String,
        /// The answer.
        status: StatusCode,
        /// The answer's body.
        body: String,
    },
}

/// The body of a 200 answer from whoever listens on `listen`.
pub(super) fn get(listen: SocketAddr, path: &str) -> Result<String, Error> {
    send(listen, Method::GET, path, None)
}

/// Asks whoever listens on `listen` to change something; the body of the 200 answer.
pub(super) fn post(listen: SocketAddr, path: &str, token: &Token) -> Result<String, Error> {
    send(listen, Method::POST, path, Some(token))
}

/// A piece of a path, whatever is in it.
pub(super) fn escaped(piece: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    piece.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn send(listen: SocketAddr, method: Method, path: &str, token: Option<&Token>) -> Result<String, Error> {
    let addr = dialable(listen);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let answer = async { tokio::time::timeout(TIMEOUT, ask(addr, method, path, token)).await };
    runtime.block_on(answer).unwrap_or(Err(Error::Timeout(addr)))
}

/// Listening on all addresses includes the loopback.
fn dialable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(addr: SocketAddr, method: Method, path: &str, token: Option<&Token>) -> Result<String, Error> {
    let stream = TcpStream::connect(addr).await.map_err(|error| Error::Connect(addr, error))?;
    let http = |error| Error::Http(addr, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    // Ends with the runtime; what goes wrong there, the answer says.
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = method;
    *request.uri_mut() = hyper::Uri::try_from(path).unwrap_or_default();
    if let Ok(host) = addr.to_string().try_into() {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(Ok(shown)) = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.reveal()))) {
        request.headers_mut().insert(AUTHORIZATION, shown);
    }
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send_request(request).await.map_err(http)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| Error::Body(addr, error))?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    if status == StatusCode::OK { Ok(body) } else { Err(Error::Status { addr, path: path.to_owned(), status, body }) }
}
