//! A filtering Docker socket proxy: reads only, and only what evenkeel asks for.
//!
//! It shows which endpoints are enough. In production take one of the public proxies: `deploy/examples`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::routes::Body;

/// Accepts for ever.
pub(crate) async fn run(listen: &str, socket: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    println!("listens on {}", listener.local_addr()?);
    let socket: Arc<Path> = socket.into();
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, Arc::clone(&socket)));
    }
}

async fn converse(stream: TcpStream, socket: Arc<Path>) {
    let service = service_fn(move |request| {
        let socket = Arc::clone(&socket);
        async move { Ok::<_, hyper::Error>(answer(request, &socket).await) }
    });
    // A client that breaks off is its own affair.
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, socket: &Path) -> Response<Body> {
    if !is_allowed(request.method(), request.uri().path()) {
        println!("refused {} {}", request.method(), request.uri());
        return say(StatusCode::FORBIDDEN, "not on the list\n");
    }
    match pass_on(request, socket).await {
        Ok(response) => response.map(|body| body.boxed_unsync()),
        Err(error) => say(StatusCode::BAD_GATEWAY, format!("{error}\n")),
    }
}

/// One connection to the engine per request: an event stream keeps its own for as long as it lasts.
async fn pass_on(request: Request<Incoming>, socket: &Path) -> io::Result<Response<Incoming>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(io::Error::other)
}

fn say(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// The list: `/_ping`, `/version`, `/events`, `/networks`, `/containers/json`, `/containers/ID/json`, each with or
/// without an API version before it.
fn is_allowed(method: &Method, path: &str) -> bool {
    let mut segments: Vec<_> = path.split('/').skip(1).collect();
    if segments.first().is_some_and(|first| is_api_version(first)) {
        segments.remove(0);
    }
    let is_known = match segments.as_slice() {
        ["_ping" | "version" | "events" | "networks"] | ["containers", "json"] => true,
        ["containers", id, "json"] => is_name(id),
        _ => false,
    };
    is_known && (method == Method::GET || method == Method::HEAD)
}

/// A container's id or name, in Docker's own alphabet.
fn is_name(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// `v1.41`
fn is_api_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .and_then(|version| version.split_once('.'))
        .is_some_and(|(major, minor)| major.parse::<u16>().is_ok() && minor.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_evenkeel_needs_pass() {
        for path in ["/_ping", "/version", "/events", "/networks", "/containers/json", "/containers/3f2a/json"] {
            assert!(is_allowed(&Method::GET, path), "{path}");
            assert!(is_allowed(&Method::HEAD, &format!("/v1.41{path}")), "/v1.41{path}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        assert!(!is_allowed(&Method::POST, "/containers/json"));
        assert!(!is_allowed(&Method::DELETE, "/containers/3f2a/json"));
        for path in [
            "/",
            "/containers/3f2a/logs",
            "/containers/3f2a/archive",
            "/containers//json",
            "/containers/../json",
            "/containers/%2e%2e/json",
            "/images/json",
            "/v1.41/v1.41/events",
            "/v1/events",
            "//events",
            "/events/",
        ] {
            assert!(!is_allowed(&Method::GET, path), "{path}");
        }
    }
}
