//! One attempt: a request goes to one replica, and its answer's head comes back.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{timeout, timeout_at};

use super::body::{BodyError, Progress, RequestBody};
use super::failure::Failure;
use super::pool::{Connection, Pool};
use super::stream::{Activity, WatchedStream};
use super::worker::{MAX_BUFFERED_BYTES, MAX_HEAD_BYTES};
use crate::config::settings::ProxySettings;
use crate::replica::Replica;

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// Why.
    pub(super) failure: Failure,
    /// The request, if none of it was sent.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// Whether it failed on a connection that had served before, which says little about the replica.
    pub(super) was_reused: bool,
}

/// How an attempt is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether to leave idle connections alone.
    pub(super) fresh_only: bool,
    /// Whether the request may be sent again if its connection turns out to be dead.
    pub(super) is_replayable: bool,
}

/// Sends the request to the replica over an idle connection, or a new one. Idle connections that turn out to be
/// closed before anything was written to them are no failure: the next one is taken.
pub(super) async fn forward(
    pool: &Rc<Pool>,
    settings: &ProxySettings,
    replica: &Replica,
    mut request: Request<RequestBody>,
    manner: Manner,
) -> Result<(Response<Incoming>, Connection), Failed> {
    loop {
        let idle = if manner.fresh_only { None } else { take_idle(pool, replica, manner).await };
        let was_reused = idle.is_some();
        let mut connection = match idle {
            Some(connection) => connection,
            None => match connect(pool, replica, settings).await {
                Ok(connection) => connection,
                Err(failure) => return Err(Failed { failure, unsent: Some(request), was_reused }),
            },
        };
        let progress = request.body().progress();
        let read_before = connection.activity.bytes_read();
        let sending = connection.sender.try_send_request(request);
        let failure = match head_in_time(sending, &progress, settings.response_timeout).await {
            Some(Ok(answer)) => return Ok((answer, connection)),
            None => Failure::ResponseTimeout,
            Some(Err(mut error)) => match error.take_message() {
                Some(unsent) if was_reused => {
                    request = unsent;
                    continue;
                }
                Some(unsent) => return Err(Failed { failure: Failure::Unsent, unsent: Some(unsent), was_reused }),
                None => what_failed(error.error(), &progress, connection.activity.bytes_read() > read_before),
            },
        };
        return Err(Failed { failure, unsent: None, was_reused });
    }
}

/// An idle connection. For a request that could not be sent again, the runtime first gets to see whether the replica
/// has closed it meanwhile.
async fn take_idle(pool: &Pool, replica: &Replica, manner: Manner) -> Option<Connection> {
    loop {
        let connection = pool.take(replica.incarnation())?;
        if manner.is_replayable {
            return Some(connection);
        }
        tokio::task::yield_now().await;
        if connection.sender.is_ready() {
            return Some(connection);
        }
    }
}

async fn connect(pool: &Pool, replica: &Replica, settings: &ProxySettings) -> Result<Connection, Failure> {
    let connecting = TcpStream::connect(replica.spec().addr);
    let stream = timeout(settings.connect_timeout, connecting)
        .await
        .map_err(|_| Failure::ConnectTimeout)?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(Failure::Connect)?;
    let activity = Activity::default();
    let stream = TokioIo::new(WatchedStream::to_replica(stream, activity.clone(), settings.idle_timeout));
    let (sender, connection) = http1::Builder::new()
        .max_header_size(MAX_HEAD_BYTES)
        .max_buf_size(MAX_BUFFERED_BYTES)
        .handshake(stream)
        .await
        .map_err(|error| Failure::Connect(io::Error::other(error)))?;
    let cut = pool.cut(replica);
    let is_cut = cut.clone().cancelled_owned();
    tokio::task::spawn_local(async move {
        tokio::select! {
            // Its errors reach whoever waits for an answer; an idle connection that ends is seen by the pool.
            _ = connection.with_upgrades() => {}
            () = is_cut => {}
        }
    });
    Ok(Connection { sender, activity, cut })
}

/// Waits for the answer's head; `None` if for `limit` neither it came nor the replica took more of the body. The time
/// in which we wait for the client's body does not count: that has a limit of its own.
async fn head_in_time<T>(sending: impl Future<Output = T>, progress: &Progress, limit: Duration) -> Option<T> {
    let mut sending = std::pin::pin!(sending);
    loop {
        let moved_at = progress.moved_at();
        let Some(deadline) = moved_at.checked_add(limit) else { return Some(sending.await) };
        match timeout_at(deadline, &mut sending).await {
            Ok(outcome) => return Some(outcome),
            Err(_) if progress.moved_at() > moved_at => {}
            Err(_) => return None,
        }
    }
}

/// What hyper's error means.
fn what_failed(error: &hyper::Error, progress: &Progress, answer_began: bool) -> Failure {
    match progress.error() {
        Some(BodyError::Broken) => return Failure::ClientBody,
        Some(BodyError::Stalled) => return Failure::ClientStalled,
        None => {}
    }
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<io::Error>());
    if error.is_parse() {
        Failure::Protocol(error.to_string())
    } else if io.is_some_and(|io| io.kind() == io::ErrorKind::TimedOut) {
        Failure::ResponseTimeout
    } else {
        Failure::Closed { answer_began, detail: io.map_or_else(|| error.to_string(), io::Error::to_string) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tests::support::{DEADLINE, OK, settings, spec};
    use crate::replica::Lifecycle;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    fn post() -> Request<RequestBody> {
        let request = Request::post("/").header("host", "a");
        request.body(RequestBody::empty(DEADLINE)).unwrap()
    }

    /// Accepts a connection, reads what is there and answers.
    fn serve(listener: &TcpListener) -> std::net::TcpStream {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(OK.as_bytes()).unwrap();
        stream
    }

    #[tokio::test]
    async fn a_close_that_the_runtime_has_not_seen_yet_costs_no_request_that_cannot_be_replayed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let replica = Replica::new(spec("gateway", 1, listener.local_addr().unwrap()), Lifecycle::Running);
        let (pool, settings) = (Rc::new(Pool::default()), settings());
        let manner = Manner { fresh_only: false, is_replayable: false };
        let forward = || forward(&pool, &settings, &replica, post(), manner);
        let at_listener = || {
            let (listener, (served, is_served)) = (listener.try_clone().unwrap(), oneshot::channel());
            std::thread::spawn(move || served.send(serve(&listener)));
            is_served
        };
        let exchange = async {
            let first = at_listener();
            let (answer, connection) = forward().await.unwrap();
            drop(answer);
            pool.give_back(&replica, connection);
            let first = first.await.unwrap();
            let second = at_listener();
            // Nothing is awaited between the close and the next request.
            drop(first);
            assert_eq!(forward().await.unwrap().0.status(), 200);
            second.await.unwrap();
        };
        LocalSet::new().run_until(timeout(DEADLINE, exchange)).await.unwrap();
    }
}
