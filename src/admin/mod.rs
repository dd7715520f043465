//! The admin room: JSON API, debug page, metrics, on a listener of its own. It reads; the one thing that it writes, and
//! only for who shows a token, is a drain by hand.

mod drain;
mod errors;
mod metrics;
mod pages;
mod ready;
mod replicas;
mod table;
#[cfg(test)]
mod tests;
mod watch;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::settings::Token;
use crate::discovery::status::DiscoveryStatus;
use crate::metrics::{ProxyMetrics, Reloads};
use crate::registry::Registry;
use crate::service::ServiceName;

pub use errors::AdminError;
pub use ready::Readiness;
pub use watch::Herald;

/// How long requests under way may take to finish after `stop`.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// What the admin pages show.
#[derive(Debug)]
pub struct AdminState {
    /// The replicas.
    pub registry: Registry,
    /// The providers that follow something; none with static replicas only.
    pub discovery: Vec<Arc<DiscoveryStatus>>,
    /// The proxy's own counters.
    pub proxy: Arc<ProxyMetrics>,
    /// Whether we take requests.
    pub readiness: Arc<Readiness>,
    /// What became of settings that were read again.
    pub reloads: Arc<Reloads>,
    /// The default service: its metrics are there even while it has no replica.
    pub service: ServiceName,
    /// What who changes something has to show; `None`: nothing can be changed.
    pub token: Option<Token>,
    /// What peers are told of us.
    pub herald: Herald,
    /// Our own version.
    pub version: &'static str,
    /// When the process started.
    pub started: SystemTime,
}

/// Takes the address. Fails if the address is taken, not ours or not allowed.
pub fn bind(addr: SocketAddr) -> Result<TcpListener, AdminError> {
    let bind = || {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| AdminError { addr, source })
}

/// Serves the admin pages until `stop`, then lets requests under way finish for at most a second.
pub async fn serve(listener: TcpListener, state: Arc<AdminState>, stop: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return error!(%error, "Admin listener failed"),
    };
    let stopping = stop.clone();
    let news = watch::keep(Arc::clone(&state));
    let pages = pages::router(state).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, pages).with_graceful_shutdown(stop.cancelled_owned());
    tokio::select! {
        // It outlives every failed accept and so ends in no error.
        _ = serving => {}
        () = news => {}
        () = async { stopping.cancelled().await; tokio::time::sleep(STOP_GRACE).await } => {}
    }
}
