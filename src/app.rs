//! Wires the rooms, owns every task, fixes the order of shutdown.
//!
//! ```text
//! control thread:  watcher ──Change──▶ registry writer      health      drains      admin
//! worker threads:  listener → pipeline → replica (one runtime each; requests share only the registry)
//! ```

mod live;
mod providers;
mod reload;
mod signals;
mod statics;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{error, info, warn};

use crate::admin::{self, AdminState, Herald, Readiness};
use crate::config::settings::{Advertised, ListenFrom, PeerSettings, ProxySettings, Settings};
use crate::config::{Running, systemd};
use crate::discovery::status::DiscoveryStatus;
use crate::drain::Drains;
use crate::health::{Ejector, Prober, SlowStart};
use crate::metrics::{ProxyMetrics, Reloads};
use crate::peers::Peers;
use crate::port::{self, Keeper, PortError};
use crate::proxy::{Admission, Context, Hold, Listener, ProxyError, Worker, connection_limit};
use crate::registry::{Registry, RegistryWriter};
use live::Live;
use providers::Providers;
use reload::Reloader;
use signals::Signals;

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The proxy's address could not be bound.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The port could not be kept, or not be had from its keeper.
    #[error(transparent)]
    Port(#[from] PortError),
    /// systemd did not pass the port.
    #[error(transparent)]
    Systemd(#[from] systemd::Error),
    /// The admin address could not be bound.
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    /// The operating system refused a thread, a runtime or a signal handler.
    #[error("cannot {what}: {cause}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

impl Error {
    fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}

/// Runs until SIGTERM or SIGINT, then stops in order. A second signal ends the process at once. Until then the settings
/// change with their file.
///
/// # Errors
/// When a port cannot be bound or had from its keeper, or the system refuses a thread.
pub fn run(running: Running) -> Result<(), Error> {
    let settings = running.settings().clone();
    let runtime = single_threaded_runtime()?;
    // Handlers first: a signal during start-up must not kill us half-way.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let app = match &settings.proxy.listen_from {
        None => App::start(settings)?,
        Some(from) => {
            let kept = runtime.block_on(async {
                tokio::select! {
                    kept = take_port(from) => kept.map(Some),
                    // Nothing has been started that would have to be stopped.
                    _ = signals.end() => Ok(None),
                }
            });
            let Some(kept) = kept? else { return Ok(()) };
            App::start_on(settings, &kept)?
        }
    };
    runtime.block_on(async {
        let name = serve(&app, &mut signals, Reloader::new(running, Arc::clone(&app.reloads))).await;
        info!(cause = name, "Shutdown began");
        tokio::select! {
            () = app.shutdown() => info!("Shutdown ended"),
            name = signals.end() => {
                warn!(cause = name, "Second signal: exiting at once");
                std::process::exit(1);
            }
        }
    });
    // Not even a file that takes for ever to be read keeps us.
    runtime.shutdown_background();
    Ok(())
}

/// Lets the settings change with their file until a signal says that it is over, and says its name.
async fn serve(app: &App, signals: &mut Signals, mut reloader: Reloader) -> &'static str {
    loop {
        tokio::select! {
            signal = signals.next() => if let Some(name) = signal { return name },
            () = reloader.changed() => {}
        }
        tokio::select! {
            name = signals.end() => return name,
            settings = reloader.reload() => if let Some(settings) = settings { app.apply(settings) },
        }
    }
}

async fn take_port(from: &ListenFrom) -> Result<TcpListener, Error> {
    match from {
        ListenFrom::Keeper(path) => Ok(port::take(path).await?),
        ListenFrom::Systemd => Ok(port::check(systemd::take_socket()?, "systemd")?),
    }
}

/// Keeps a port open until SIGTERM or SIGINT, and hands it to every evenkeel that asks at the unix socket.
///
/// # Errors
/// When the port cannot be bound or the unix socket not be made.
pub fn keep_port(listen: SocketAddr, socket: &Path) -> Result<(), Error> {
    let runtime = single_threaded_runtime()?;
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let keeper = Keeper::open(listen, socket)?;
    let addr = keeper.local_addr().map_err(PortError::from)?;
    info!(%addr, "Port kept, at {}", socket.display());
    runtime.block_on(async {
        tokio::select! {
            outcome = keeper.run() => outcome.map_err(PortError::from)?,
            name = signals.end() => info!(cause = name, "Port given up"),
        }
        Ok(())
    })
}

fn single_threaded_runtime() -> Result<runtime::Runtime, Error> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(Error::system("start a runtime"))
}

/// A running evenkeel.
#[derive(Debug)]
pub struct App {
    registry: Registry,
    proxy_addr: SocketAddr,
    admin_addr: SocketAddr,
    readiness: Arc<Readiness>,
    live: Live,
    reloads: Arc<Reloads>,
    /// Tells balancers in front of us to send clients elsewhere.
    leaving: CancellationToken,
    /// Ends accepting, and every connection once it is idle.
    stop_accepting: CancellationToken,
    /// Ends the connections that are left.
    abort: DropGuard,
    workers: Vec<JoinHandle<()>>,
    /// Ends discovery, probes and the admin room.
    stop_control: DropGuard,
    control: JoinHandle<()>,
}

impl App {
    /// Binds the ports, then starts the workers and the control thread. Requests are answered from here on,
    /// with 503 until discovery has found a replica.
    ///
    /// # Errors
    /// When a port cannot be bound or the system refuses a thread; nothing is left running then.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        let proxy = &settings.proxy;
        let listeners = Listener::bind(proxy.listen, proxy.threads.get(), proxy.idle_timeout)?;
        Self::start_with(settings, listeners)
    }

    /// The same with clients from the listening socket that somebody else keeps. What waits in its queue is answered,
    /// and when we stop, what is left there stays.
    ///
    /// # Errors
    /// When the socket cannot be shared, the admin port cannot be bound or the system refuses a thread.
    pub fn start_on(settings: Settings, kept: &TcpListener) -> Result<Self, Error> {
        let listeners = Listener::share(kept, settings.proxy.threads.get())?;
        Self::start_with(settings, listeners)
    }

    fn start_with(settings: Settings, listeners: Vec<Listener>) -> Result<Self, Error> {
        let proxy_addr = listeners.first().map_or(settings.proxy.listen, Listener::local_addr);
        let admin_listener = admin::bind(settings.admin_listen)?;
        let admin_addr = admin_listener.local_addr().map_err(Error::system("read the admin port"))?;

        let (registry, writer) = Registry::new();
        let writer = writer.with_subset(settings.subset);
        let metrics = Arc::new(ProxyMetrics::default());
        let providers = Providers::new(&settings);
        let peers = Arc::new(ourselves(&settings.peers));
        let readiness = Arc::new(Readiness::default());
        let (leaving, stop_accepting) = (CancellationToken::new(), CancellationToken::new());
        // Dropped on every early return, and with the app: no thread outlives it.
        let abort = CancellationToken::new().drop_guard();
        let stop_control = CancellationToken::new().drop_guard();

        let admission = Arc::new(Admission::new(connection_limit(&settings.proxy), Arc::clone(&metrics)));
        let (live, reloads) = (Live::new(&settings, Arc::clone(&admission)), Arc::<Reloads>::default());
        let context = Arc::new(Context {
            registry: registry.clone(),
            service: settings.proxy.service.clone(),
            settings: live.proxy(),
            metrics: Arc::clone(&metrics),
            admission,
            peers: Arc::clone(&peers),
            hold: Hold::new(Arc::clone(&metrics)),
            leaving: leaving.clone(),
            stop_accepting: stop_accepting.clone(),
            abort: abort.token().clone(),
        });
        let mut workers = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            workers.push(Worker::spawn(index, listener, Arc::clone(&context))?);
        }
        readiness.set_listening();

        let control = Control {
            registry: registry.clone(),
            writer,
            statuses: providers.statuses(),
            proxy: live.proxy(),
            settings: live.all(),
            admin_listener,
            admin: AdminState {
                registry: registry.clone(),
                discovery: providers.statuses(),
                proxy: metrics,
                readiness: Arc::clone(&readiness),
                reloads: Arc::clone(&reloads),
                service: settings.proxy.service.clone(),
                token: settings.admin_token,
                herald: herald(&settings.peers, proxy_addr, &peers, stop_control.token()),
                version: env!("CARGO_PKG_VERSION"),
                started: SystemTime::now(),
            },
            providers,
            peers,
            stop: stop_control.token().clone(),
        };
        let runtime = single_threaded_runtime()?;
        let control = std::thread::Builder::new()
            .name("evenkeel-control".into())
            .spawn(move || runtime.block_on(control.run()))
            .map_err(Error::system("start the control thread"))?;

        info!(addr = %proxy_addr, "Proxy listening");
        info!(addr = %admin_addr, "Admin listening");
        Ok(Self {
            registry,
            proxy_addr,
            admin_addr,
            readiness,
            live,
            reloads,
            leaving,
            stop_accepting,
            abort,
            workers,
            stop_control,
            control,
        })
    }

    /// What is known of the replicas.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Where clients come in; tells the port when 0 was asked for.
    pub fn proxy_addr(&self) -> SocketAddr {
        self.proxy_addr
    }

    /// Where the admin room listens.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Lets other settings hold from now on, as far as they can change while it runs: requests that have begun go by the
    /// old ones. What is bound, connected or started once stays as it is.
    pub fn apply(&self, settings: Settings) {
        self.live.set(settings);
    }

    /// Stops in order: not ready, lame duck, no new connections, open requests finish or are cut, control last,
    /// so that health and discovery serve the last request.
    pub async fn shutdown(self) {
        self.readiness.set_terminating();
        self.leaving.cancel();
        // Peers are to hear of it at once.
        self.registry.announce();
        let settings = self.live.now().shutdown.clone();
        sleep(settings.lame_duck).await;
        self.stop_accepting.cancel();
        let mut workers_ended = tokio::task::spawn_blocking(move || join_all(self.workers));
        if timeout(settings.timeout, &mut workers_ended).await.is_err() {
            warn!(cause = ?settings.timeout, "Shutdown timeout passed: cutting the requests that are left");
            drop(self.abort);
            let _ = workers_ended.await;
        }
        drop(self.stop_control);
        let _ = tokio::task::spawn_blocking(move || join_all(vec![self.control])).await;
    }
}

/// Who we are to our peers.
fn ourselves(settings: &PeerSettings) -> Peers {
    let host_name = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let name = settings.name.clone().or_else(|| Some(host_name()).filter(|name| !name.is_empty()));
    Peers::new(name.unwrap_or_else(|| "evenkeel".to_owned()), settings.token.clone(), settings.is_on())
}

/// What our peers are told, where clients come in at `listen`.
fn herald(settings: &PeerSettings, listen: SocketAddr, peers: &Arc<Peers>, end: &CancellationToken) -> Herald {
    let Advertised { address, port } = settings.advertise;
    let advertised = Advertised { address, port: port.or(Some(listen.port())) };
    let preference = if settings.hosts.is_empty() { 1 } else { settings.prefer_local };
    Herald::new(Arc::clone(peers), advertised, preference, end.clone())
}

/// Waits for threads. A thread that panicked has already said so; the others are still waited for.
fn join_all(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        let _ = thread.join();
    }
}

/// What lives on the control thread.
struct Control {
    registry: Registry,
    writer: RegistryWriter,
    statuses: Vec<Arc<DiscoveryStatus>>,
    providers: Providers,
    peers: Arc<Peers>,
    proxy: watch::Receiver<Arc<ProxySettings>>,
    settings: watch::Receiver<Arc<Settings>>,
    admin_listener: TcpListener,
    admin: AdminState,
    stop: CancellationToken,
}

impl Control {
    async fn run(self) {
        let readiness = Arc::clone(&self.admin.readiness);
        let mut tasks = JoinSet::new();
        let registry = (self.registry.clone(), self.writer);
        self.providers.spawn(registry, &self.settings, &self.peers, &mut tasks, &self.stop);
        tasks.spawn(Drains::new(self.registry.clone()).run(self.stop.clone()));
        tasks.spawn(Ejector::new(self.registry.clone(), self.proxy.clone()).run(self.stop.clone()));
        tasks.spawn(SlowStart::new(self.registry.clone(), self.proxy).run(self.stop.clone()));
        tasks.spawn(Prober::new(self.registry).run(self.stop.clone()));
        tasks.spawn(admin::serve(self.admin_listener, Arc::new(self.admin), self.stop));
        supervise(tasks, &readiness, &self.statuses).await;
    }
}

/// Waits for every control task. One that panics takes neither the others nor the traffic with it, which goes on with
/// the last truth; but it must not look as if that truth were still kept.
async fn supervise(mut tasks: JoinSet<()>, readiness: &Readiness, statuses: &[Arc<DiscoveryStatus>]) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            error!(cause = %error, "Control task failed: going on with what is known; only a restart helps");
            readiness.set_failed();
            statuses.iter().for_each(|status| status.set_connected(false));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::provider::Provider;

    #[tokio::test]
    async fn a_control_task_that_panics_is_told_and_the_others_go_on() {
        let (readiness, status) = (Readiness::default(), Arc::new(DiscoveryStatus::new(Provider::DOCKER)));
        readiness.set_listening();
        status.set_synced();
        status.set_connected(true);
        let mut tasks = JoinSet::new();
        let (alive, mut is_alive) = mpsc::channel::<()>(1);
        tasks.spawn(async { panic!("as the test wants it") });
        tasks.spawn(async move {
            tokio::task::yield_now().await;
            alive.send(()).await.unwrap()
        });
        supervise(tasks, &readiness, std::slice::from_ref(&status)).await;
        assert_eq!(is_alive.recv().await, Some(()));
        assert_eq!(readiness.reasons(std::slice::from_ref(&status)), ["a control task failed: only a restart helps"]);
        assert!(!status.is_connected());
    }
}
