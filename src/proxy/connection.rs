//! One client connection, from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::debug;

use super::pipeline;
use super::stream::{Activity, Limits, WatchedStream};
use super::worker::Worker;
use crate::metrics::Refusal;

/// How long, once we stop, a connection without a request may still bring one that was already on its way. That one
/// is answered, with `Connection: close`.
const LAST_CALL: Duration = Duration::from_millis(250);

/// Who called.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The address that the connection came from.
    pub(super) addr: SocketAddr,
    /// What its socket does.
    pub(super) activity: Activity,
}

/// Serves the connection until either end closes it.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, addr: SocketAddr) {
    let _open = Open::count(&worker);
    let settings = &worker.context.settings;
    let activity = Activity::default();
    let limits =
        Limits { head: settings.head_timeout, idle: settings.keep_alive_timeout, write: settings.idle_timeout };
    let stream = TokioIo::new(WatchedStream::to_client(stream, activity.clone(), limits));
    let client = Client { addr, activity: activity.clone() };
    let service = service_fn(|request| {
        let (worker, client) = (Rc::clone(&worker), client.clone());
        // Not in the future: hyper reads on before it first polls that.
        let exchange = client.activity.begin_exchange();
        async move { Ok::<_, Infallible>(pipeline::serve(&worker, &client, exchange, request).await) }
    });
    let mut connection = pin!(worker.http.serve_connection(stream, service).with_upgrades());
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = worker.stop.cancelled() => None,
    };
    let ended = match ended {
        None if !activity.is_in_exchange() => timeout(LAST_CALL, &mut connection).await.ok(),
        ended => ended,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // hyper has answered these itself.
        if error.is_parse() {
            let refusal = if error.is_parse_too_large() { Refusal::HeadTooLarge } else { Refusal::BadRequest };
            worker.context.metrics.record_refusal(refusal);
        }
        debug!(client = %addr, %error, "Client connection failed");
    }
}

/// Counts an open connection until it is dropped.
struct Open<'a>(&'a Worker);

impl<'a> Open<'a> {
    fn count(worker: &'a Worker) -> Self {
        let metrics = &worker.context.metrics;
        metrics.connections_total.fetch_add(1, Ordering::Relaxed);
        metrics.connections_open.fetch_add(1, Ordering::Relaxed);
        Self(worker)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.context.metrics.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}
