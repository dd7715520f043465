//! A worker: one thread with a runtime, a listener, a balancer and a pool of its own.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalRuntime};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::admission::Admitted;
use super::bell::Bell;
use super::berths::{Berths, Visit};
use super::budget::Budget;
use super::buffers::Buffers;
use super::connection;
use super::desk::Desk;
use super::http1::Limits;
use super::http1::via::Pseudonym;
use super::listener::{Listener, adopt};
use super::pool::{Pool, is_out_of_descriptors};
use super::{Context, ProxyError};
use crate::balancer::Balancer;
use crate::config::settings::ProxySettings;
use crate::metrics::AcceptPause;

/// How long to wait for descriptors or memory to come free after an accept failed for want of them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long accepts must have gone well for a failure to be news again.
const ACCEPT_QUIET: Duration = Duration::from_secs(10);

/// How long, once we stop, a connection without a request may still bring one that was already on its way. That one
/// is answered, with `Connection: close`.
const LAST_CALL: Duration = Duration::from_millis(250);

/// Polls of tasks between two looks at the sockets: so many that a look is shared by many busy connections, so few that
/// who waits for one waits for milliseconds, and with large bodies for tens of them.
const POLLS_PER_LOOK: u32 = 256;

/// What one data-plane thread owns. Nothing here is shared with another but the [`Context`].
#[derive(Debug)]
pub struct Worker {
    pub(super) context: Arc<Context>,
    pub(super) balancer: Balancer,
    pub(super) pool: Rc<Pool>,
    pub(super) buffers: Rc<Buffers>,
    /// Borrowed only while nothing is awaited.
    pub(super) desk: RefCell<Desk>,
    pub(super) budget: RefCell<Budget>,
    /// Wakes every client connection.
    pub(super) bell: Rc<Bell>,
    /// Our name in `Via`.
    pub(super) pseudonym: Pseudonym,
    /// Replaced as a whole when they change; who began with others goes on with those.
    settings: RefCell<Rc<ProxySettings>>,
    clock: Cell<Instant>,
    /// Those of client connections: the worker ends with the last of them.
    tasks: TaskTracker,
    /// Where those wait that have none.
    pub(super) berths: Berths,
    stage: Cell<Stage>,
    started: Instant,
}

/// How far a worker is in stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// What is on its way is still taken.
    LastCall,
    /// Only what has begun goes on.
    Over,
}

impl Worker {
    /// Starts a thread named `evenkeel-w<index>` that serves the listener's clients. After `stop_accepting` it ends
    /// with its last connection; after `abort`, at once.
    pub fn spawn(index: usize, listener: Listener, context: Arc<Context>) -> Result<JoinHandle<()>, ProxyError> {
        let failed = |source| ProxyError::Spawn { index, source };
        let (made, making) = mpsc::sync_channel(1);
        let run = move || {
            // It can only run on the thread that made it.
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_all().event_interval(POLLS_PER_LOOK).build_local(Default::default());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Whoever waits for it is there until it came.
            let _ = made.send(outcome);
            if let Some(Err(error)) = runtime.map(|runtime| Self::run(&runtime, listener, context)) {
                error!(%error, "Worker failed");
            }
        };
        let thread = thread::Builder::new().name(format!("evenkeel-w{index}")).spawn(run).map_err(failed)?;
        let outcome = making.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended at once")));
        outcome.map(|()| thread).map_err(failed)
    }

    fn run(runtime: &LocalRuntime, listener: Listener, context: Arc<Context>) -> io::Result<()> {
        runtime.block_on(async move {
            let worker = Rc::new(Self::new(Arc::clone(&context)));
            tokio::task::spawn_local(Rc::clone(&worker.pool).follow(context.registry.clone()));
            tokio::task::spawn_local(Rc::clone(&worker).follow_settings());
            let held = Arc::clone(&context);
            tokio::task::spawn_local(async move { held.hold.follow(&held.registry).await });
            tokio::select! {
                outcome = worker.serve(listener) => outcome,
                () = context.abort.cancelled() => Ok(()),
            }
        })
    }

    /// A worker without a thread: whoever polls its connections is it.
    pub(super) fn new(context: Arc<Context>) -> Self {
        let settings = Rc::new(ProxySettings::clone(&context.settings.borrow()));
        let balancer = Balancer::new(context.registry.clone(), settings.policy, fastrand::u64(..));
        let bell = Rc::<Bell>::default();
        let limits = Limits::from(&settings.limits);
        let metrics = Arc::clone(&context.metrics);
        // The same for all workers, since a request may come back to any.
        let pseudonym = Pseudonym::new(context.peers.id() as u32);
        Self {
            context,
            balancer,
            pool: Rc::new(Pool::new(Rc::clone(&bell), metrics)),
            buffers: Rc::default(),
            desk: RefCell::new(Desk::new(limits)),
            budget: RefCell::default(),
            bell,
            pseudonym,
            settings: RefCell::new(settings),
            clock: Cell::new(Instant::now()),
            tasks: TaskTracker::new(),
            berths: Berths::default(),
            stage: Cell::new(Stage::Open),
            started: Instant::now(),
        }
    }

    /// The settings for what begins now.
    pub(super) fn settings(&self) -> Rc<ProxySettings> {
        Rc::clone(&self.settings.borrow())
    }

    /// Whether these are still the settings for what begins now.
    pub(super) fn goes_by(&self, settings: &Rc<ProxySettings>) -> bool {
        Rc::ptr_eq(&self.settings.borrow(), settings)
    }

    /// Lets what begins from now on go by these settings.
    pub(super) fn take_on(&self, settings: &ProxySettings) {
        self.balancer.set_policy(settings.policy);
        self.desk.borrow_mut().heads.limits = Limits::from(&settings.limits);
        self.settings.replace(Rc::new(settings.clone()));
    }

    /// Takes on every change of the settings, until nobody is left who could change them.
    async fn follow_settings(self: Rc<Self>) {
        let mut changes = self.context.settings.clone();
        while changes.changed().await.is_ok() {
            let settings = Arc::clone(&changes.borrow_and_update());
            self.take_on(&settings);
        }
    }

    /// Whether this worker stops: connections are not kept after the answer.
    pub(super) fn is_stopping(&self) -> bool {
        self.stage.get() != Stage::Open
    }

    /// Whether no request is taken any more that has not begun. The bell rings when this becomes true.
    pub(super) fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over
    }

    /// The time at which the running client's task was woken: the clock is read once for all that it then does.
    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    /// Reads the clock: a client's task was woken.
    pub(super) fn look_at_clock(&self) {
        self.clock.set(Instant::now());
    }

    /// Whole seconds since the worker was started.
    pub(super) fn seconds(&self) -> u64 {
        self.now().saturating_duration_since(self.started).as_secs()
    }

    async fn serve(self: Rc<Self>, listener: Listener) -> io::Result<()> {
        let is_kept = listener.is_kept();
        let listener = TcpListener::from_std(listener.into_std())?;
        self.accept(&listener, is_kept).await;
        self.stage.set(Stage::LastCall);
        if is_kept {
            // Who waits in the queue is for the next process.
            drop(listener);
        } else {
            self.take_queued(listener.into_std()?)?;
        }
        self.berths.close();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => return Ok(()),
            () = sleep(LAST_CALL) => {}
        }
        self.stage.set(Stage::Over);
        self.bell.ring();
        self.tasks.wait().await;
        Ok(())
    }

    /// Takes clients until we stop. One for whom there is no room waits here, and who comes after it in the kernel's
    /// queue.
    async fn accept(self: &Rc<Self>, listener: &TcpListener, is_kept: bool) {
        let admission = &self.context.admission;
        let mut stop = pin!(self.context.stop_accepting.cancelled());
        let mut last_failure: Option<Instant> = None;
        // What a connection has from our listener; it has nothing from one that is kept for us.
        let inherited = (!is_kept).then(|| self.settings().idle_timeout);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => return,
                accepted = poll_fn(|cx| listener.poll_accept(cx)) => accepted,
            };
            match accepted {
                Ok((stream, addr)) => {
                    let settings = self.settings();
                    match admission.greet(addr, &settings, &self.context.peers) {
                        Some(guest) => {
                            if inherited != Some(settings.idle_timeout) {
                                // Fails only on a connection that is over, which its task will see.
                                let _ = adopt(SockRef::from(&stream), settings.idle_timeout);
                            }
                            let admitted = admission.admit(guest, stop.as_mut()).await;
                            self.take(stream, addr, admitted);
                        }
                        None => self.refuse(&stream, addr),
                    }
                }
                Err(error) if is_client_gone(&error) => {}
                Err(error) => {
                    self.context.metrics.record_accept_pause(AcceptPause::Error);
                    if is_out_of_descriptors(&error) {
                        self.pool.make_way();
                    }
                    if last_failure.replace(Instant::now()).is_none_or(|last| last.elapsed() > ACCEPT_QUIET) {
                        warn!(%error, "Accept failed; trying again until it works");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Takes the connections that the kernel has already accepted for us, as far as there is room, then closes the
    /// listener.
    fn take_queued(self: &Rc<Self>, listener: std::net::TcpListener) -> io::Result<()> {
        let admission = &self.context.admission;
        loop {
            match listener.accept() {
                Ok((stream, addr)) => {
                    stream.set_nonblocking(true)?;
                    let stream = TcpStream::from_std(stream)?;
                    match admission
                        .greet(addr, &self.settings(), &self.context.peers)
                        .map(|guest| admission.try_admit(guest))
                    {
                        Some(Ok(admitted)) => self.take(stream, addr, admitted),
                        Some(Err(_)) => return Ok(()),
                        None => self.refuse(&stream, addr),
                    }
                }
                Err(error) if is_client_gone(&error) => {}
                // The queue is empty, or cannot be emptied.
                Err(_) => return Ok(()),
            }
        }
    }

    fn take(self: &Rc<Self>, stream: TcpStream, addr: SocketAddr, admitted: Admitted) {
        if let Err(visit) = self.berths.hand(Visit { stream, addr, admitted }) {
            self.tasks.spawn_local(connection::serve(Rc::clone(self), visit));
        }
    }

    /// Makes the close of a connection a reset, which leaves nothing behind here.
    fn refuse(&self, stream: &TcpStream, addr: SocketAddr) {
        self.context.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
        debug!(client = %addr, "Connection refused: its client has too many");
        // Fails only on a socket that is closed already.
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
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
