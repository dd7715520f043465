//! One probe of one replica.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, MAX_FORWARDS, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::replica::{ProbeSpec, Statuses};

/// What our probes call themselves.
const AGENT: &str = concat!("evenkeel-probe/", env!("CARGO_PKG_VERSION"));

/// Why a probe failed. Always the replica's fault, but for a path that no request can have.
#[derive(Debug, Error)]
pub(super) enum ProbeError {
    #[error("{0}")]
    Connect(io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("answered {0}")]
    Status(StatusCode),
    #[error("{}", chain(.0))]
    Http(#[from] hyper::Error),
    #[error("cannot ask for this path: {0}")]
    Path(#[from] hyper::http::Error),
}

/// Asks the replica at `addr` once. With no path, a connect is enough; with one, a status that is expected.
pub(super) async fn probe(addr: SocketAddr, spec: &ProbeSpec) -> Result<(), ProbeError> {
    let attempt = async {
        let stream = TcpStream::connect(addr).await.map_err(ProbeError::Connect)?;
        match &spec.path {
            Some(path) => get(stream, addr, path, &spec.status).await,
            None => Ok(()),
        }
    };
    timeout(spec.timeout, attempt).await.unwrap_or(Err(ProbeError::Timeout(spec.timeout)))
}

async fn get(stream: TcpStream, addr: SocketAddr, path: &str, expected: &Statuses) -> Result<(), ProbeError> {
    let (is_of_proxy, path) = (path == ProbeSpec::OF_THE_PROXY, PathAndQuery::try_from(path));
    let uri = Uri::from(path.map_err(hyper::http::Error::from)?);
    let request = if is_of_proxy { Request::options(uri).header(MAX_FORWARDS, "0") } else { Request::get(uri) };
    let request = request
        .header(HOST, addr.to_string())
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // The connection's end, good or bad, is also the end of the wait for the answer, which knows more.
        _ = connection => answer.await,
    }?;
    let status = answer.status();
    if expected.has(status.as_u16()) { Ok(()) } else { Err(ProbeError::Status(status)) }
}

/// An error with its causes, which hyper's own text leaves out.
fn chain(error: &hyper::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
