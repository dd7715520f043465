//! The whole of evenkeel in this process, between a client, a fake Docker engine and replicas on loopback addresses.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: what is not as expected must fail the test"
)]

mod admin;
mod admin_drain;
mod balancing;
mod discovery;
mod discovery_faults;
mod dns;
mod draining;
mod peers;
mod proxy;
mod reload;
mod several_hosts;
mod shutdown;
mod support;
mod swarm;
mod swarm_faults;
