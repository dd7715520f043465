//! Names in the DNS whose addresses are replicas.
//!
//! - `resolver`: asks; nobody else knows the library.
//! - `tracker`: what an answer changes, without I/O.
//! - `watcher`: asks again and again, and tells the registry.

mod resolver;
mod tracker;
mod watcher;

pub use watcher::Watcher;
