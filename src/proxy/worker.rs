//! A worker: one thread with a runtime, a listener, a balancer and a pool of its own.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::connection;
use super::listener::Listener;
use super::pool::Pool;
use super::{Context, ProxyError};
use crate::balancer::Balancer;

/// The longest head of a request or an answer, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The size of each of hyper's buffers, in bytes: a slow client costs a few of these, wherever its answer is on the way.
pub(super) const MAX_BUFFERED_BYTES: usize = 64 * 1024;
/// How long to wait for descriptors or memory to come free after an accept failed for want of them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one data-plane thread owns. Nothing here is shared with another but the [`Context`].
#[derive(Debug)]
pub struct Worker {
    pub(super) context: Arc<Context>,
    pub(super) balancer: Balancer,
    pub(super) pool: Rc<Pool>,
    pub(super) http: http1::Builder,
    /// Client connections and tunnels: the worker ends with the last of them.
    pub(super) tasks: TaskTracker,
    /// `stop_accepting` for this thread alone, so that asking it shares no lock.
    pub(super) stop: CancellationToken,
}

impl Worker {
    /// Starts a thread named `evenkeel-w<index>` that serves the listener's clients. After `stop_accepting` it ends
    /// with its last connection; after `abort`, at once.
    pub fn spawn(index: usize, listener: Listener, context: Arc<Context>) -> Result<JoinHandle<()>, ProxyError> {
        let failed = |source| ProxyError::Spawn { index, source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let run = move || {
            if let Err(error) = Self::run(&runtime, listener, context) {
                error!(%error, "Worker failed");
            }
        };
        thread::Builder::new().name(format!("evenkeel-w{index}")).spawn(run).map_err(failed)
    }

    fn run(runtime: &Runtime, listener: Listener, context: Arc<Context>) -> io::Result<()> {
        LocalSet::new().block_on(runtime, async move {
            let listener = TcpListener::from_std(listener.into_std())?;
            let worker = Rc::new(Self::new(Arc::clone(&context)));
            tokio::task::spawn_local(Rc::clone(&worker.pool).follow(context.registry.clone()));
            tokio::select! {
                outcome = worker.serve(listener) => outcome,
                () = context.abort.cancelled() => Ok(()),
            }
        })
    }

    fn new(context: Arc<Context>) -> Self {
        let balancer = Balancer::new(context.registry.clone(), context.settings.policy, fastrand::u64(..));
        let mut http = http1::Builder::new();
        http.max_header_size(MAX_HEAD_BYTES).max_buf_size(MAX_BUFFERED_BYTES);
        let stop = context.stop_accepting.child_token();
        Self { context, balancer, pool: Rc::default(), http, tasks: TaskTracker::new(), stop }
    }

    async fn serve(self: Rc<Self>, listener: TcpListener) -> io::Result<()> {
        let mut is_failing = false;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, addr)) => {
                        is_failing = false;
                        self.take(stream, addr);
                    }
                    Err(error) if is_client_gone(&error) => {}
                    Err(error) => {
                        if !is_failing {
                            warn!(%error, "Accept failed; trying again until it works");
                        }
                        is_failing = true;
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
        self.take_queued(listener.into_std()?)?;
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    /// Takes the connections that the kernel has already accepted for us, then closes the listener.
    fn take_queued(self: &Rc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, addr)) => {
                    stream.set_nonblocking(true)?;
                    self.take(TcpStream::from_std(stream)?, addr);
                }
                Err(error) if is_client_gone(&error) => {}
                // The queue is empty, or cannot be emptied.
                Err(_) => return Ok(()),
            }
        }
    }

    fn take(self: &Rc<Self>, stream: TcpStream, addr: SocketAddr) {
        // Fails only on a socket that is already dead, which the first read will tell.
        let _ = stream.set_nodelay(true);
        self.tasks.spawn_local(connection::serve(Rc::clone(self), stream, addr));
    }
}

/// Whether an accept failed because that one client hung up first; any other error is about us and may last.
fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_hung_up_needs_no_pause() {
        // Linux's numbers: EINTR, ECONNABORTED, then ENOMEM, ENFILE, EMFILE, ENOBUFS.
        for (errno, gone) in [(4, true), (103, true), (12, false), (23, false), (24, false), (105, false)] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(is_client_gone(&error), gone, "{error}");
        }
    }
}
