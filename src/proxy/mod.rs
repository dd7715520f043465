//! The proxy: takes a client's request to a replica and the answer back.
//!
//! What decides is pure and knows no socket: `http1` (the codec), `route` (where to), `failure`, `retry` and `budget`
//! (what a failed attempt means), `tally` (what it says of its replica), `respond` (the one place that turns a cause into
//! a status), `preface` (what a balancer in front of us says of its client).
//!
//! Where requests wait: `hold` has the lines, `wait` is one request's time in one.
//!
//! What moves bytes: `listener` and `worker` take connections as far as `admission` lets them in (`per_client`,
//! `descriptors`), `sender` finds out whose they are, `connection` is one client's from accept to close, `exchange` one
//! request from top to bottom, `relay` a request (`upload`) and its answer (`download`) between one client and one replica,
//! `tunnel` what follows a `101`; `health_endpoint` answers a balancer in front of us.
//! One task does all of that for a client; it borrows from its worker `buffers`, the `desk` and the `pool` of connections
//! to replicas.

mod admission;
mod bell;
mod berths;
mod body;
mod budget;
mod buffers;
mod connection;
mod descriptors;
mod desk;
mod download;
mod exchange;
mod failure;
mod health_endpoint;
mod hold;
pub mod http1;
mod listener;
mod outbox;
mod outlet;
mod per_client;
mod pipes;
mod pool;
pub mod preface;
mod relay;
mod request;
mod respond;
mod retry;
mod route;
mod sender;
mod tally;
#[cfg(test)]
mod tests;
mod timer;
mod tunnel;
mod upload;
mod wait;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::settings::ProxySettings;
use crate::metrics::ProxyMetrics;
use crate::peers::Peers;
use crate::registry::Registry;
use crate::service::ServiceName;

pub use admission::Admission;
pub use descriptors::connection_limit;
pub use hold::Hold;
pub use listener::Listener;
pub use worker::Worker;

/// What all workers share.
#[derive(Debug)]
pub struct Context {
    /// Where the replicas are.
    pub registry: Registry,
    /// The service that requests go to when their Host names no other.
    pub service: ServiceName,
    /// How to serve, now and later. Each worker follows it with a copy of its own.
    pub settings: watch::Receiver<Arc<ProxySettings>>,
    /// What the room counts.
    pub metrics: Arc<ProxyMetrics>,
    /// Who is let in.
    pub admission: Arc<Admission>,
    /// The evenkeels on other hosts.
    pub peers: Arc<Peers>,
    /// Where requests wait that no replica can take.
    pub hold: Hold,
    /// Fires when a shutdown begins: all goes on as before, but who asks for our health is told.
    pub leaving: CancellationToken,
    /// Fires when no new connection is to be taken and the open ones are to finish.
    pub stop_accepting: CancellationToken,
    /// Fires when everything is to end at once.
    pub abort: CancellationToken,
}

/// Why the proxy could not start. All of it is ours or the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Somebody else listens on the address.
    #[error("cannot listen on {addr}: the address is taken; stop what listens there or set another --listen")]
    AddressTaken {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The system refused to listen for another reason.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket that somebody else keeps could not be shared among the workers.
    #[error("cannot share the listening socket: {source}")]
    Share {
        /// What the system said.
        source: io::Error,
    },
    /// A worker's thread or runtime could not be made.
    #[error("cannot start worker {index}: {source}")]
    Spawn {
        /// Which worker.
        index: usize,
        /// What the system said.
        source: io::Error,
    },
}
