//! The test harness of evenkeel: everything a test needs in place of Docker and of real containers.
//!
//! - [`client`]: a plain HTTP client that shows what is on the wire.
//! - [`eventually()`]: waits for a condition with a deadline and without sleeps of its own.

pub mod client;
mod eventually;

pub use eventually::{eventually, eventually_some};
