//! The fake engine's HTTP side: the part of Docker's API that a reader needs.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::events::Filters;
use super::{Endpoint, Engine};
use crate::query;

/// What an engine says that is no manager of a Swarm.
const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves until `stop`; then the listener and every open connection are gone.
pub(super) async fn serve(listener: UnixListener, engine: Arc<Engine>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(serve_connection(stream, Arc::clone(&engine)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve_connection(stream: UnixStream, engine: Arc<Engine>) {
    let answer = service_fn(|request| {
        let engine = Arc::clone(&engine);
        async move { Ok::<_, Infallible>(answer(&engine, request).await) }
    });
    // A connection that breaks is the reader's business, or the test's intent.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(engine: &Engine, request: Request<Incoming>) -> Response<Body> {
    let (version, path) = split_version(request.uri().path());
    let endpoint = Endpoint::of(path);
    let delay = engine.note_request(endpoint);
    if let Some(delay) = delay {
        sleep(delay).await;
    }
    let mut stalled = engine.stalled.subscribe();
    let _ = stalled.wait_for(|stalled| !stalled).await;

    let (lowest, highest) = engine.lock().api_versions;
    let mut response = match version {
        Some(asked) if asked > highest => error(
            StatusCode::BAD_REQUEST,
            &format!("client version {asked} is too new. Maximum supported API version is {highest}"),
        ),
        Some(asked) if asked < lowest => error(
            StatusCode::BAD_REQUEST,
            &format!(
                "client version {asked} is too old. Minimum supported API version is {lowest}, please upgrade your client to a newer version"
            ),
        ),
        _ if request.method() != Method::GET && request.method() != Method::HEAD => {
            error(StatusCode::NOT_FOUND, "page not found")
        }
        _ => route(engine, endpoint, path, request.uri().query()),
    };
    let headers = response.headers_mut();
    headers.insert("api-version", header::HeaderValue::try_from(highest.to_string()).expect("a version is a value"));
    headers.insert("ostype", header::HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, header::HeaderValue::from_static("Docker/20.10.24 (linux)"));
    response
}

fn route(engine: &Engine, endpoint: Endpoint, path: &str, query: Option<&str>) -> Response<Body> {
    let mut state = engine.lock();
    if state.failing[endpoint as usize] {
        return error(StatusCode::INTERNAL_SERVER_ERROR, "the test says so");
    }
    if let Some(text) = &state.garbled[endpoint as usize] {
        return answer_with(StatusCode::OK, "application/json", text.clone());
    }
    match endpoint {
        Endpoint::Ping => answer_with(StatusCode::OK, "text/plain; charset=utf-8", "OK".to_owned()),
        Endpoint::Version => {
            let (lowest, highest) = state.api_versions;
            json_body(&json!({
                "Platform": { "Name": "" },
                "Version": "20.10.24",
                "ApiVersion": highest.to_string(),
                "MinAPIVersion": lowest.to_string(),
                "GitCommit": "5d6db84",
                "GoVersion": "go1.19.8",
                "Os": "linux",
                "Arch": "amd64",
                "KernelVersion": "6.1.0",
                "BuildTime": "2026-05-07T21:09:36.000000000+00:00",
            }))
        }
        Endpoint::List => {
            let Some(filters) = Filters::parse(query::value(query, "filters").as_deref()) else {
                return error(StatusCode::BAD_REQUEST, "invalid filter");
            };
            let all = query::value(query, "all").is_some_and(|all| matches!(all.as_str(), "1" | "true" | "True"));
            let labels = filters.values("label");
            // The engine lists the newest first.
            let shown = state.containers.iter().rev().filter(|c| all || c.is_up());
            let shown = shown.filter(|c| labels.iter().all(|label| c.has_label(label)));
            json_body(&shown.map(|c| c.summary(&state.networks)).collect())
        }
        Endpoint::Inspect => {
            let name = path.trim_start_matches("/containers/").trim_end_matches("/json");
            match state.containers.iter().find(|c| c.answers_to(name)) {
                Some(container) => json_body(&container.inspect(&state.networks)),
                None => error(StatusCode::NOT_FOUND, &format!("No such container: {name}")),
            }
        }
        Endpoint::Networks => {
            let network = |(name, id)| {
                json!({
                    "Name": name, "Id": id, "Created": "2026-11-23T18:35:52.591994195Z", "Scope": "local",
                    "Driver": "bridge", "EnableIPv6": false, "Internal": false, "Attachable": false,
                    "Ingress": false, "Containers": {}, "Options": {}, "Labels": {},
                })
            };
            json_body(&state.networks.iter().map(network).collect())
        }
        Endpoint::Events => {
            let Some(filters) = Filters::parse(query::value(query, "filters").as_deref()) else {
                return error(StatusCode::BAD_REQUEST, "invalid filter");
            };
            let since = query::value(query, "since").and_then(|since| parse_time(&since));
            let events = state.hub.subscribe(filters, since, engine.stalled.subscribe());
            let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
            response.body(StreamBody::new(events).boxed_unsync()).expect("a response")
        }
        Endpoint::Services | Endpoint::Nodes | Endpoint::Tasks => {
            let Some(filters) = Filters::parse(query::value(query, "filters").as_deref()) else {
                return error(StatusCode::BAD_REQUEST, "invalid filter");
            };
            match state.swarm.as_ref().map(|swarm| swarm.answer(endpoint, &filters)) {
                Some(Ok(list)) => answer_with(StatusCode::OK, "application/json", list + "\n"),
                Some(Err((status, message))) => error(status, &message),
                None => error(StatusCode::SERVICE_UNAVAILABLE, NO_MANAGER),
            }
        }
        Endpoint::Other => error(StatusCode::NOT_FOUND, "page not found"),
    }
}

fn json_body(value: &Value) -> Response<Body> {
    answer_with(StatusCode::OK, "application/json", format!("{value}\n"))
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    answer_with(status, "application/json", format!("{}\n", json!({ "message": message })))
}

fn answer_with(status: StatusCode, content_type: &str, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, content_type);
    response.body(body).expect("a response")
}

/// Reads `1795458953.208526468` (nine digits or none), the form of `since` that carries no time zone.
fn parse_time(text: &str) -> Option<Duration> {
    let (seconds, nanos) = text.split_once('.').unwrap_or((text, "0"));
    Some(Duration::new(seconds.parse().ok()?, nanos.parse().ok()?))
}

/// A version of Docker's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(u32, u32);

impl ApiVersion {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Splits `/v1.41/events` into the version and `/events`; a path without a version stays whole.
fn split_version(path: &str) -> (Option<ApiVersion>, &str) {
    let Some((version, _)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) else {
        return (None, path);
    };
    match ApiVersion::parse(version) {
        Some(parsed) => (Some(parsed), &path[version.len() + 2..]),
        None => (None, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_prefix_is_split_off() {
        assert_eq!(split_version("/v1.41/events"), (Some(ApiVersion(1, 41)), "/events"));
        assert_eq!(split_version("/events"), (None, "/events"));
        assert_eq!(split_version("/version"), (None, "/version"));
    }
}
