//! The Docker provider: `client` talks to the engine, `tracker` decides what an event, an inspect or a list comes to,
//! `evaluate` judges one container by its `labels` and by our own `identity`, and [`Watcher`] drives it all.

pub(super) mod backoff;
pub(super) mod client;
pub(super) mod container;
mod error;
pub(super) mod evaluate;
pub(super) mod event;
#[cfg(test)]
pub(super) mod fixtures;
pub(super) mod identity;
pub(super) mod labels;
mod own_project;
mod published;
pub(super) mod signal;
mod ssh;
mod tls;
mod tracker;
mod transport;
mod watcher;

pub use own_project::OwnProject;
pub use watcher::Watcher;
