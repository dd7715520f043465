//! The test harness of evenkeel: everything a test needs in place of Docker and of real containers.
//!
//! - [`fake_engine`]: a Docker engine on a unix socket that can stall, drop, duplicate, reorder and die.
//! - [`dns_server`]: a DNS server that changes its answers, lies, keeps silent and comes back.
//! - [`test_replica`]: an HTTP replica on a loopback address of its own.
//! - [`callers`]: clients that go on calling while something is restarted.
//! - [`client`]: a plain HTTP client that shows what is on the wire.
//! - [`command`], [`docker_api`]: a real Docker engine, by its command and by its API.
//! - `lab`: several Docker hosts on one machine, and a Swarm of them.
//! - [`load`]: clients that record every request; [`peer`]: the balancers that get the same.
//! - [`process`], [`procfs`], [`sandbox`]: programs from outside, what the kernel says of them, and namespaces of their
//!   own for them.
//! - [`samples`]: heads as they come in life.
//! - [`wire`]: a strict reader of HTTP/1.1 messages that shares nothing with the proxy.
//! - [`eventually()`]: waits for a condition with a deadline and without sleeps of its own.
//!
//! It must not depend on the `evenkeel` crate, whose unit tests use it.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code: a harness that cannot do its work must fail the test that called it"
)]

pub mod callers;
pub mod client;
pub mod command;
pub mod dns_server;
pub mod docker_api;
mod eventually;
pub mod fake_engine;
#[cfg(any(test, feature = "docker"))]
pub mod lab;
pub mod load;
pub mod peer;
pub mod process;
pub mod procfs;
mod query;
pub mod samples;
pub mod sandbox;
pub mod test_replica;
pub mod wire;

use std::process::ExitCode;

pub use dns_server::DnsServer;
pub use eventually::{eventually, eventually_some};
pub use fake_engine::{ContainerId, ContainerSpec, FakeEngine, FakeSwarm, ServiceSpec};
pub use test_replica::TestReplica;

/// What a program of this package ends with: a failure is told.
#[expect(clippy::print_stderr, reason = "programs for people at a terminal")]
pub fn exit_code(program: &str, outcome: Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("{program}: {error}");
        ExitCode::FAILURE
    })
}

/// What the programs of this package return: nothing can be repaired by a caller, a failure is told and ends them.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
