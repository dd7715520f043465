//! The whole of evenkeel in this process, between a client, a fake Docker engine and replicas on loopback addresses.

mod admin;
mod balancing;
mod discovery;
mod discovery_faults;
mod draining;
mod proxy;
mod shutdown;
mod support;
