//! HTTP/1.1 to an engine over connections of our own making. Where each costs a handshake, a few are kept.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Connections that are kept while nobody uses them. The event stream has one for itself.
const KEPT: usize = 4;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What requests of any kind are sent as.
type Sender = SendRequest<UnsyncBoxBody<Bytes, Cause>>;

/// A connection to an engine, whatever it runs over.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// How a connection is made.
pub(super) trait Dial: Send + Sync {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;

    /// How many connections are worth keeping.
    fn kept(&self) -> usize {
        KEPT
    }
}

/// An engine at a socket, or at a port without TLS.
pub(super) enum Plain {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

impl Dial for Plain {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
        Box::pin(async {
            Ok(match self {
                Self::Unix(path) => Box::new(UnixStream::connect(path).await?) as Box<dyn Connection>,
                Self::Tcp(addr) => Box::new(TcpStream::connect(addr).await?),
            })
        })
    }

    /// Another one costs next to nothing, and a proxy in between may just have closed one that was kept.
    fn kept(&self) -> usize {
        0
    }
}

/// Why a request was not answered.
#[derive(Debug)]
pub(super) enum TransportError {
    /// There is no connection.
    Dial(io::Error),
    /// It broke.
    Http(hyper::Error),
}

/// Sends requests, over a kept connection if one is free.
pub(super) struct Transport {
    dial: Box<dyn Dial>,
    kept: Mutex<Vec<Sender>>,
}

impl Transport {
    pub(super) fn new(dial: impl Dial + 'static) -> Self {
        Self { dial: Box::new(dial), kept: Mutex::default() }
    }

    /// Sends one request. One that a kept connection turned out to be closed for is sent over another.
    pub(super) async fn send<B>(&self, request: Request<B>) -> Result<Response<Incoming>, TransportError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Cause>,
    {
        let mut request = in_origin_form(request.map(|body| body.map_err(Into::into).boxed_unsync()));
        while let Some(mut sender) = self.take() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(TransportError::Http(error.into_error())),
                },
            }
        }
        let connection = TokioIo::new(self.dial.dial().await.map_err(TransportError::Dial)?);
        let (mut sender, driver) = http1::handshake(connection).await.map_err(TransportError::Http)?;
        // It ends with the last user of the connection; what breaks it, the user of the connection is told.
        tokio::spawn(async move { drop(driver.await) });
        let response = sender.send_request(request).await.map_err(TransportError::Http)?;
        Ok(self.keep(sender, response))
    }

    /// A connection on which no answer is under way.
    fn take(&self) -> Option<Sender> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|sender| !sender.is_closed());
        let free = kept.iter().position(SendRequest::is_ready)?;
        Some(kept.swap_remove(free))
    }

    /// Its answer is still being read, so it is not free yet.
    fn keep(&self, sender: Sender, response: Response<Incoming>) -> Response<Incoming> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.dial.kept() {
            kept.push(sender);
        }
        response
    }
}

/// As a server wants it: the path alone, and the host in a field.
fn in_origin_form<B>(mut request: Request<B>) -> Request<B> {
    let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    // An engine does not look at it; a proxy before one may.
    request.headers_mut().entry(HOST).or_insert(host.unwrap_or(HeaderValue::from_static("docker")));
    request
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::Empty;
    use integration_tests::FakeEngine;

    use super::*;

    struct Socket {
        path: PathBuf,
        dialled: Arc<AtomicUsize>,
    }

    impl Dial for Socket {
        fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>> {
            self.dialled.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(Box::new(UnixStream::connect(&self.path).await?) as Box<dyn Connection>) })
        }
    }

    #[test]
    fn the_host_of_a_url_is_told_in_its_field() {
        let request = |url: &str| in_origin_form(Request::get(url).body(()).unwrap());
        for (url, path, host) in [
            ("http://docker/v1.41/tasks?a=b", "/v1.41/tasks?a=b", "docker"),
            ("http://[fd00::1]:2375/_ping", "/_ping", "[fd00::1]:2375"),
            ("/_ping", "/_ping", "docker"),
        ] {
            let request = request(url);
            assert_eq!((request.uri().to_string().as_str(), request.headers()[HOST].to_str().unwrap()), (path, host));
        }
    }

    #[tokio::test]
    async fn a_connection_serves_one_request_after_the_other_and_is_replaced_when_it_broke() {
        let engine = FakeEngine::start();
        let dialled = Arc::new(AtomicUsize::new(0));
        let transport = Transport::new(Socket { path: engine.socket_path().to_owned(), dialled: Arc::clone(&dialled) });
        let get = async |path: &str| {
            let request = Request::get(format!("tls://engine:2376{path}")).body(Empty::<Bytes>::new()).unwrap();
            let response = transport.send(request).await?;
            assert_eq!(response.status(), 200);
            Ok::<_, TransportError>(response.into_body())
        };
        for _ in 0..3 {
            get("/containers/json").await.unwrap().collect().await.unwrap();
        }
        assert_eq!(dialled.load(Ordering::SeqCst), 1);
        let events = get("/events").await.unwrap();
        get("/_ping").await.unwrap().collect().await.unwrap();
        assert_eq!(dialled.load(Ordering::SeqCst), 2, "the stream keeps one for itself");
        drop(events);

        engine.go_away().await;
        assert!(matches!(get("/_ping").await, Err(TransportError::Dial(_) | TransportError::Http(_))));
        engine.come_back();
        get("/_ping").await.unwrap().collect().await.unwrap();
    }
}
