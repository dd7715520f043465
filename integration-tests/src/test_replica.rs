//! An HTTP replica inside the test's process, on a loopback address of its own.
//!
//! Every answer carries `X-Replica` with the replica's name. Paths:
//!
//! | path | answer |
//! |---|---|
//! | `/` and any other | the name |
//! | `/echo` | the request's body |
//! | `/length` | how many bytes the request's body had, once it is there |
//! | `/headers` | the request's head as it came in: the request line, then `name: value` lines |
//! | `/slow?ms=` | the name, later |
//! | `/status/404` | that status |
//! | `/stream?chunks=&ms=` | lines `chunk 0`, `chunk 1`, … that many milliseconds apart |
//! | `/upgrade` | 101, then every byte comes back |
//! | `/reset` | ten bytes of a hundred, then a TCP reset |
//! | `/health` | 200 or, after [`set_healthy(false)`](TestReplica::set_healthy), 503; not counted |

mod paths;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A replica; dropping it closes its listener and its connections.
pub struct TestReplica {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What the connections share with the handle.
struct Shared {
    name: String,
    requests: AtomicU64,
    connections_accepted: AtomicU64,
    healthy: AtomicBool,
    drop_reused: AtomicBool,
    answers: Mutex<Answers>,
    /// Whether answers are held back, see [`TestReplica::hold`].
    held: watch::Sender<bool>,
    deaf: watch::Sender<bool>,
    /// Counts the calls of [`TestReplica::close_idle`].
    idle_closed: watch::Sender<u64>,
    connections: Mutex<JoinSet<()>>,
}

#[derive(Clone, Copy, Default)]
struct Answers {
    delay: Duration,
    status: Option<u16>,
}

impl TestReplica {
    /// Starts a replica on an address of 127.0.0.0/8 that nobody else has, and any port.
    pub fn start(name: &str) -> Self {
        Self::start_many(&[name]).remove(0)
    }

    /// Starts several replicas on addresses of their own that share one port, as the containers of a service do.
    pub fn start_many(names: &[&str]) -> Vec<Self> {
        for _ in 0..100 {
            let mut port = 0;
            let start = |name: &&str| {
                let replica = Self::start_at(name, SocketAddr::new(random_loopback(), port))?;
                port = replica.addr.port();
                Ok(replica)
            };
            if let Ok(replicas) = names.iter().map(start).collect::<io::Result<_>>() {
                return replicas;
            }
        }
        panic!("no port is free on {} loopback addresses", names.len());
    }

    /// Starts a replica at this address.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start_at(name: &str, addr: SocketAddr) -> io::Result<Self> {
        let listener = listen(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            requests: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            drop_reused: AtomicBool::new(false),
            answers: Mutex::default(),
            held: watch::Sender::new(false),
            deaf: watch::Sender::new(false),
            idle_closed: watch::Sender::new(0),
            connections: Mutex::default(),
        });
        let accepting = Mutex::new(Some(tokio::spawn(accept(listener, Arc::clone(&shared)))));
        Ok(Self { shared, addr, accepting })
    }

    /// Its name, which it answers with.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of [`addr`](Self::addr) without the port.
    pub fn ip(&self) -> IpAddr {
        self.addr.ip()
    }

    /// Requests that have come in, answered or not.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Connections that have been accepted, probes' among them.
    pub fn connections(&self) -> u64 {
        self.shared.connections_accepted.load(Ordering::SeqCst)
    }

    /// Answers come this much later.
    pub fn set_delay(&self, delay: Duration) {
        lock(&self.shared.answers).delay = delay;
    }

    /// Every answer has this status; `None`: what the path says.
    pub fn set_status(&self, status: impl Into<Option<u16>>) {
        lock(&self.shared.answers).status = status.into();
    }

    /// What `/health` says.
    pub fn set_healthy(&self, healthy: bool) {
        self.shared.healthy.store(healthy, Ordering::SeqCst);
    }

    /// Keeps every answer back until [`release`](Self::release).
    pub fn hold(&self) {
        self.shared.held.send_replace(true);
    }

    /// Ends [`hold`](Self::hold).
    pub fn release(&self) {
        self.shared.held.send_replace(false);
    }

    /// Connects still succeed, in the kernel's backlog, and nobody accepts them.
    pub fn stop_accepting(&self) {
        self.shared.deaf.send_replace(true);
    }

    /// Ends [`stop_accepting`](Self::stop_accepting).
    pub fn resume_accepting(&self) {
        self.shared.deaf.send_replace(false);
    }

    /// While on, a connection's second request closes it without an answer: what a client meets whose request
    /// crosses the close of an idle connection.
    pub fn drop_reused(&self, on: bool) {
        self.shared.drop_reused.store(on, Ordering::SeqCst);
    }

    /// Closes every connection that is between two requests, and the others after their answer.
    pub fn close_idle(&self) {
        self.shared.idle_closed.send_modify(|calls| *calls += 1);
    }

    /// Refuses new connections; those that are open go on.
    pub async fn refuse(&self) {
        let accepting = lock(&self.accepting).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Refuses new connections and breaks those that are open, as a killed process does.
    pub async fn crash(&self) {
        self.refuse().await;
        let mut connections = std::mem::take(&mut *lock(&self.shared.connections));
        connections.shutdown().await;
    }

    /// Ends [`refuse`](Self::refuse) or [`crash`](Self::crash): listens at the same address again.
    pub fn come_back(&self) {
        let mut accepting = lock(&self.accepting);
        assert!(accepting.is_none(), "{} is not away", self.name());
        let listener = listen(self.addr).expect("its address is still free");
        *accepting = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }
}

impl Drop for TestReplica {
    fn drop(&mut self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
        lock(&self.shared.connections).abort_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 127.0.0.x is left to everybody else.
fn random_loopback() -> IpAddr {
    Ipv4Addr::new(127, fastrand::u8(1..=254), fastrand::u8(..), fastrand::u8(1..=254)).into()
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(addr)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut deaf = shared.deaf.subscribe();
    loop {
        let _ = deaf.wait_for(|deaf| !deaf).await;
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                shared.connections_accepted.fetch_add(1, Ordering::SeqCst);
                let connection = serve(stream, Arc::clone(&shared));
                lock(&shared.connections).spawn(connection);
            }
            _ = deaf.changed() => {}
        }
    }
}

/// A second handle of a connection's socket, by which it can be made to end in a reset.
struct ResetHandle(socket2::Socket);

impl ResetHandle {
    fn of(stream: &TcpStream) -> io::Result<Self> {
        SockRef::from(stream).try_clone().map(Self)
    }

    /// From here on a close of the connection is a TCP reset.
    fn arm(&self) {
        let _ = self.0.set_linger(Some(Duration::ZERO));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let Ok(reset) = ResetHandle::of(&stream).map(Arc::new) else { return };
    let _ = stream.set_nodelay(true);
    let mut idle_closed = shared.idle_closed.subscribe();
    let requests_here = AtomicU64::new(0);
    let answer = service_fn(|request| {
        let is_reused = requests_here.fetch_add(1, Ordering::SeqCst) > 0;
        let (shared, reset) = (Arc::clone(&shared), Arc::clone(&reset));
        async move {
            if is_reused && shared.drop_reused.load(Ordering::SeqCst) {
                return Err(io::Error::other("a reused connection, dropped by the test"));
            }
            paths::answer(shared, reset, request).await
        }
    });
    let http = hyper::server::conn::http1::Builder::new();
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer).with_upgrades());
    loop {
        tokio::select! {
            // A connection that breaks is the caller's business, or the test's intent.
            _ = connection.as_mut() => return,
            Ok(()) = idle_closed.changed() => connection.as_mut().graceful_shutdown(),
        }
    }
}

#[cfg(test)]
mod tests;
