//! What evenkeel does on a real Docker engine: `just integration`.
//!
//! Each scenario starts the Compose file at the root, with a file of its own on top where it differs, under a project
//! name of its own, and removes it again; `engine_restart`, `host_examples`, `lab`, `peers`, `several_hosts` and `swarm` start engines of their own, for which they need root.
//! They need the images of `just image`, and run one at a time.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test program: what goes wrong must fail the scenario, loudly"
)]

mod harness;

mod balancer_restart;
mod cloud_lb;
mod daemon_away;
mod drop_in;
mod engine_restart;
mod host_examples;
mod hup;
mod kill_nine;
mod lab;
mod moved;
mod network_disconnect;
mod one_off;
mod pause;
mod peers;
mod recreate;
mod restart;
mod scale_down;
mod scale_up;
mod several_hosts;
mod socket_proxy;
mod stop;
mod swarm;
mod two_networks;
