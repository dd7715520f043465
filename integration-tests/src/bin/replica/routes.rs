//! What each path answers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use crate::options::Options;
use crate::work::{WorkLog, work};

pub(crate) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// What every request may look at.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) options: Options,
    pub(crate) hostname: String,
    pub(crate) ready_at: Instant,
    pub(crate) work_log: WorkLog,
    /// Tunnels outlive the connection future that opened them, and must still be waited for.
    pub(crate) tunnels: TaskTracker,
}

impl App {
    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        if path == "/ready" || path == "/healthz" {
            return if self.is_ready() {
                text(StatusCode::OK, "ready\n")
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, "not yet\n")
            };
        }
        sleep(self.options.delay).await;
        let query = |name| number(request.uri().query(), name);
        match path.as_str() {
            "/" => text(StatusCode::OK, self.whoami()),
            "/slow" => {
                sleep(Duration::from_millis(query("ms").unwrap_or(5))).await;
                text(StatusCode::OK, self.whoami())
            }
            "/stream" => {
                let pause = Duration::from_millis(query("ms").unwrap_or(100));
                Response::new(chunks(query("chunks").unwrap_or(10), pause))
            }
            "/echo" => echo(request),
            "/headers" => text(StatusCode::OK, listed(&request)),
            "/upgrade" => self.upgrade(request),
            "/work" => self.work(request).await,
            "/hang" => std::future::pending().await,
            _ => match path.strip_prefix("/status/").and_then(|code| code.parse::<StatusCode>().ok()) {
                Some(code) => text(code, format!("{code}\n")),
                None => text(StatusCode::NOT_FOUND, "no such path\n"),
            },
        }
    }

    fn is_ready(&self) -> bool {
        let up = Instant::now().checked_duration_since(self.ready_at);
        let flap = self.options.ready_flap.as_millis();
        up.is_some_and(|up| flap == 0 || (up.as_millis() / flap).is_multiple_of(2))
    }

    /// One request with an id, and who answered it.
    async fn work(&self, request: Request<Incoming>) -> Response<Body> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let Some(id) = query.split('&').find_map(|pair| pair.strip_prefix("id=")) else {
            return text(StatusCode::BAD_REQUEST, "which id?\n");
        };
        if Instant::now() < self.ready_at {
            return text(StatusCode::SERVICE_UNAVAILABLE, "not yet\n");
        }
        let took = Duration::from_millis(number(Some(&query), "ms").unwrap_or(5));
        let done = work(&self.work_log, request, id, took).await;
        let mut response = text(done.status, done.text);
        for (name, value) in [("x-id", done.id.as_str()), ("x-replica", self.hostname.as_str())] {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }

    fn whoami(&self) -> String {
        format!("{} {}", self.hostname, self.options.name).trim_end().to_owned() + "\n"
    }

    /// Switches to whatever protocol was asked for and echoes its bytes.
    fn upgrade(&self, mut request: Request<Incoming>) -> Response<Body> {
        let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
            return text(StatusCode::UPGRADE_REQUIRED, "send an Upgrade header\n");
        };
        let upgraded = hyper::upgrade::on(&mut request);
        self.tunnels.spawn(async move {
            if let Ok(tunnel) = upgraded.await {
                let (mut from, mut to) = tokio::io::split(TokioIo::new(tunnel));
                // The client closing the tunnel, in whichever way, is its normal end.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            }
        });
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().insert(UPGRADE, protocol);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn chunks(count: u64, pause: Duration) -> Body {
    let frames = stream::unfold(0, move |n| async move {
        if n == count {
            return None;
        }
        if n > 0 {
            sleep(pause).await;
        }
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(format!("chunk {n}\n")))), n + 1))
    });
    StreamBody::new(frames).map_err(|never| match never {}).boxed_unsync()
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body().boxed_unsync());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

fn listed(request: &Request<Incoming>) -> String {
    let mut lines = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        lines += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    lines
}

/// `name=5` in a query.
fn number(query: Option<&str>, name: &str) -> Option<u64> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_queries() {
        assert_eq!(number(Some("chunks=3&ms=20"), "ms"), Some(20));
        assert_eq!(number(Some("alarms=3"), "ms"), None);
        assert_eq!(number(Some("ms=soon"), "ms"), None);
        assert_eq!(number(None, "ms"), None);
    }
}
