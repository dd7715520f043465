//! A fake Docker engine on a unix socket, for a reader of containers and events.
//!
//! It holds containers that the test starts, stops and breaks; it emits the events a real engine emits, in the
//! same order and shape; and it can be made to fail in the ways real engines and their sockets fail.
//!
//! ```
//! # use integration_tests::{ContainerSpec, FakeEngine};
//! # use std::net::Ipv4Addr;
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let engine = FakeEngine::start();
//! let address = Ipv4Addr::new(127, 0, 0, 5);
//! let id = engine.run(ContainerSpec::compose("shop", "gateway", 1).network("shop_default", address).expose(3001));
//! // … point a watcher at engine.host(), look at what it finds …
//! engine.stop(&id);
//! # }
//! ```

mod api;
mod container;
mod events;
mod lifecycle;
mod spec;
mod swarm;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::api::ApiVersion;
pub use self::container::ContainerId;
use self::container::{Container, Networks};
pub use self::events::Event;
use self::events::Hub;
pub use self::spec::ContainerSpec;
pub use self::swarm::{FakeSwarm, ServiceSpec};

/// What a request to the engine asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/_ping`
    Ping,
    /// `/version`
    Version,
    /// `/containers/json`
    List,
    /// `/containers/{id}/json`
    Inspect,
    /// `/networks`
    Networks,
    /// `/events`
    Events,
    /// `/services`
    Services,
    /// `/nodes`
    Nodes,
    /// `/tasks`
    Tasks,
    /// Anything else: 404.
    Other,
}

impl Endpoint {
    const COUNT: usize = Self::Other as usize + 1;

    fn of(path: &str) -> Self {
        match path {
            "/_ping" => Self::Ping,
            "/version" => Self::Version,
            "/containers/json" => Self::List,
            "/networks" => Self::Networks,
            "/events" => Self::Events,
            "/services" => Self::Services,
            "/nodes" => Self::Nodes,
            "/tasks" => Self::Tasks,
            _ if path.starts_with("/containers/") && path.ends_with("/json") => Self::Inspect,
            _ => Self::Other,
        }
    }
}

/// A fake Docker engine; dropping it takes its socket and all connections away.
pub struct FakeEngine {
    engine: Arc<Engine>,
    socket: PathBuf,
    server: Mutex<Option<Server>>,
    _directory: TempDir,
}

/// The task that accepts and serves.
struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What the connections share with the handle.
struct Engine {
    state: Mutex<State>,
    stalled: watch::Sender<bool>,
}

struct State {
    /// In the order of creation.
    containers: Vec<Container>,
    networks: Networks,
    hub: Hub,
    /// The lowest and the highest that are served.
    api_versions: (ApiVersion, ApiVersion),
    requests: [u64; Endpoint::COUNT],
    delays: [Option<Duration>; Endpoint::COUNT],
    failing: [bool; Endpoint::COUNT],
    garbled: [Option<String>; Endpoint::COUNT],
    /// The Swarm that it is a manager of.
    swarm: Option<FakeSwarm>,
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_request(&self, endpoint: Endpoint) -> Option<Duration> {
        let mut state = self.lock();
        state.requests[endpoint as usize] += 1;
        state.delays[endpoint as usize]
    }
}

impl FakeEngine {
    /// Starts an engine of API 1.41 without containers, on the current tokio runtime.
    pub fn start() -> Self {
        Self::start_with_api("1.12", "1.41")
    }

    /// Starts an engine that serves these API versions and refuses others.
    pub fn start_with_api(lowest: &str, highest: &str) -> Self {
        let version = |text| ApiVersion::parse(text).expect("an API version, such as 1.41");
        let state = State {
            containers: Vec::new(),
            networks: Networks::new(),
            hub: Hub::default(),
            api_versions: (version(lowest), version(highest)),
            requests: [0; Endpoint::COUNT],
            delays: [None; Endpoint::COUNT],
            failing: [false; Endpoint::COUNT],
            garbled: Default::default(),
            swarm: None,
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let this = Self {
            engine: Arc::new(Engine { state: Mutex::new(state), stalled: watch::Sender::new(false) }),
            socket: directory.path().join("docker.sock"),
            server: Mutex::new(None),
            _directory: directory,
        };
        this.come_back();
        this
    }

    /// The socket's path.
    pub fn socket_path(&self) -> &Path {
        &self.socket
    }

    /// The socket as `DOCKER_HOST` would name it: `unix:///…`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.engine.lock()
    }

    // What was asked.

    /// How many requests of this kind have come in.
    pub fn requests(&self, endpoint: Endpoint) -> u64 {
        self.lock().requests[endpoint as usize]
    }

    /// Event streams that are open now.
    pub fn open_streams(&self) -> usize {
        self.lock().hub.open_streams()
    }

    // How it fails.

    /// From now on connections are accepted, nothing is answered, and open streams are silent, as if the other
    /// end of the network had gone away without a word.
    pub fn stall(&self) {
        self.engine.stalled.send_replace(true);
    }

    /// Ends [`stall`](Self::stall): whatever is still waiting is answered, and what streams missed is sent.
    pub fn unstall(&self) {
        self.engine.stalled.send_replace(false);
    }

    /// Answers to requests of this kind come this much later.
    pub fn delay(&self, endpoint: Endpoint, delay: Duration) {
        self.lock().delays[endpoint as usize] = Some(delay);
    }

    /// While on, requests of this kind are answered with status 500.
    pub fn fail(&self, endpoint: Endpoint, on: bool) {
        self.lock().failing[endpoint as usize] = on;
    }

    /// Requests of this kind are answered with status 200 and this text; `None` ends that.
    pub fn garble(&self, endpoint: Endpoint, text: Option<&str>) {
        self.lock().garbled[endpoint as usize] = text.map(str::to_owned);
    }

    /// While on, containers change and no stream hears of it.
    pub fn drop_events(&self, on: bool) {
        self.lock().hub.dropping = on;
    }

    /// While on, every event is sent twice.
    pub fn duplicate_events(&self, on: bool) {
        self.lock().hub.duplicating = on;
    }

    /// Keeps events back until [`release_events`](Self::release_events).
    pub fn hold_events(&self) {
        self.lock().hub.hold();
    }

    /// Sends the events that were kept back, in the order that `arrange` puts them.
    pub fn release_events(&self, arrange: impl FnOnce(&mut Vec<Event>)) {
        self.lock().hub.release(arrange);
    }

    /// Writes any text on every open stream, whatever its filters.
    pub fn send_raw_event(&self, text: &str) {
        self.lock().hub.send_raw(text);
    }

    /// Breaks every open stream between two events.
    pub fn cut_streams(&self) {
        self.lock().hub.cut("");
    }

    /// Breaks every open stream in the middle of an event.
    pub fn cut_streams_mid_event(&self) {
        self.lock().hub.cut(r#"{"status":"start","id":"0b"#);
    }

    /// Closes every connection and refuses new ones; the socket file stays.
    pub async fn refuse(&self) {
        let server = self.server_slot().take();
        if let Some(server) = server {
            server.stop.cancel();
            let _ = server.task.await;
        }
    }

    /// Closes every connection and removes the socket file, as a stopped daemon does. Containers live on.
    pub async fn go_away(&self) {
        self.refuse().await;
        // Already gone is as good.
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Ends [`refuse`](Self::refuse) or [`go_away`](Self::go_away): listens at the same path again.
    pub fn come_back(&self) {
        let mut server = self.server_slot();
        assert!(server.is_none(), "the engine is not away");
        let _ = std::fs::remove_file(&self.socket);
        let listener = UnixListener::bind(&self.socket).expect("a unix socket in a temporary directory");
        let stop = CancellationToken::new();
        let task = tokio::spawn(api::serve(listener, Arc::clone(&self.engine), stop.clone()));
        *server = Some(Server { stop, task });
    }

    fn server_slot(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        if let Some(server) = self.server_slot().take() {
            server.stop.cancel();
        }
    }
}
