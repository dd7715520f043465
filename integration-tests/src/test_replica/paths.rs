//! What a test replica answers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use super::{ResetHandle, Shared, lock};
use crate::query;

type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) async fn answer(
    shared: Arc<Shared>,
    reset: Arc<ResetHandle>,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let name = HeaderValue::try_from(&shared.name).map_err(io::Error::other)?;
    let mut response = if request.uri().path() == "/health" {
        let healthy = shared.healthy.load(Ordering::SeqCst);
        with_status(if healthy { 200 } else { 503 }, "")
    } else {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        counted(&shared, reset, request).await
    };
    response.headers_mut().insert("x-replica", name);
    Ok(response)
}

async fn counted(shared: &Arc<Shared>, reset: Arc<ResetHandle>, request: Request<Incoming>) -> Response<Body> {
    let _ = shared.held.subscribe().wait_for(|held| !held).await;
    let answers = *lock(&shared.answers);
    if !answers.delay.is_zero() {
        sleep(answers.delay).await;
    }
    if let Some(status) = answers.status {
        return with_status(status, &shared.name);
    }
    let query = request.uri().query();
    let number = |key, default| query::number(query, key).unwrap_or(default);
    match request.uri().path() {
        "/echo" => echo(request),
        "/length" => length(request).await,
        "/headers" => text(&head_of(&request)),
        "/slow" => {
            sleep(Duration::from_millis(number("ms", 0))).await;
            text(&shared.name)
        }
        "/stream" => chunks(number("chunks", 3), Duration::from_millis(number("ms", 0))),
        "/upgrade" => upgrade(shared, request),
        "/reset" => reset_mid_answer(reset),
        path => match path.strip_prefix("/status/").and_then(|status| status.parse().ok()) {
            Some(status) => with_status(status, &shared.name),
            None => text(&shared.name),
        },
    }
}

fn text(body: &str) -> Response<Body> {
    Response::new(Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {}).boxed_unsync())
}

fn with_status(status: u16, body: &str) -> Response<Body> {
    let mut response = text(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

async fn length(request: Request<Incoming>) -> Response<Body> {
    match request.into_body().collect().await {
        Ok(body) => text(&body.to_bytes().len().to_string()),
        Err(error) => with_status(400, &error.to_string()),
    }
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body.map_err(io::Error::other).boxed_unsync());
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    response
}

fn head_of(request: &Request<Incoming>) -> String {
    let mut lines = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        lines.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    lines
}

fn chunks(count: u64, pause: Duration) -> Response<Body> {
    let chunks = stream::unfold(0, move |i| async move {
        if i > 0 {
            sleep(pause).await;
        }
        (i < count).then(|| (Ok(Frame::data(Bytes::from(format!("chunk {i}\n")))), i + 1))
    });
    Response::new(StreamBody::new(chunks).boxed_unsync())
}

fn upgrade(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(header::UPGRADE).cloned() else {
        return with_status(426, "say which protocol");
    };
    lock(&shared.connections).spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut from, &mut to).await;
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut to).await;
        }
    });
    let mut response = with_status(101, "");
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, protocol);
    response
}

fn reset_mid_answer(reset: Arc<ResetHandle>) -> Response<Body> {
    let body = stream::unfold((0, reset), |(step, reset)| async move {
        match step {
            0 => Some((Ok(Frame::data(Bytes::from_static(b"0123456789"))), (1, reset))),
            _ => {
                // Lets the connection flush what it has before it breaks.
                tokio::task::yield_now().await;
                reset.arm();
                Some((Err(io::Error::other("reset by the test")), (step + 1, reset)))
            }
        }
    });
    let mut response = Response::new(StreamBody::new(body).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("100"));
    response
}
