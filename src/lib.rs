//! evenkeel: a Docker-aware service-discovery sidecar and HTTP load balancer.
//!
//! A watcher subscribes to Docker events to track the containers of a service and their addresses, and feeds a
//! registry that the in-process HTTP balancer reads on each request.
//!
//! ```text
//!  Docker engine ──events──▶ discovery ──Change──▶ registry ◀──health── prober, ejector
//!                                                    │ one Arc per read
//!  client ──▶ listener (one per core) ──▶ proxy: route → pick → forward → respond ──▶ replica
//!                                                    │
//!                               admin: /debug/replicas  /api/v1  /metrics  /healthz  /readyz
//! ```
//!
//! # Where to begin
//!
//! The nouns are [`replica`], [`service`], [`provider`] and [`change`]; the three rooms of the sentence above are [`discovery`],
//! [`registry`] and [`balancer`]. [`proxy`] moves the requests, [`health`] probes and ejects, [`drain`] follows drains
//! to their end, [`admin`] tells people and drains for them, [`config`] reads what was asked for, [`port`] keeps the port
//! open across restarts, and [`app`] wires it all.
//!
//! # Invariants
//!
//! 1. No DashMap guard leaves the registry; no lock is held while choosing, awaiting, or in another room.
//! 2. One writer per fact: discovery writes membership and lifecycle, health writes health, ejections and ramps, leases
//!    write in-flight, the admin room drains by hand. A passing probe can therefore never un-drain a replica, nor can a
//!    relist.
//! 3. One store per change: a reader sees the old list or the new one, never half.
//! 4. A replica's state survives a relist: counters, health, pools and open requests of unchanged replicas stay.
//! 5. Identity is the container id, not the address. A new container with a dead one's address is a new replica
//!    with an empty pool, and so is a container that was restarted.
//! 6. Subscribe, then list, then follow. An event is a doorbell, the inspect is the letter.
//! 7. Draining is remembered by container id until `die`: a container that got SIGTERM still lists as running.
//! 8. Losing Docker loses nothing: the last truth keeps serving, and `evenkeel_discovery_connected` says so.
//! 9. No panic on anything that came from a socket, Docker's included. `unsafe` is forbidden.
//! 10. One place turns causes into status codes.

pub mod admin;
pub mod app;
pub mod balancer;
pub mod change;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod drain;
pub mod health;
pub mod metrics;
pub mod peers;
pub mod port;
pub mod provider;
pub mod proxy;
pub mod registry;
pub mod replica;
pub mod service;
pub mod telemetry;

#[cfg(test)]
mod walls;
