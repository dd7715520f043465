//! The Docker provider: `client` talks to the engine, `tracker` decides what an event, an inspect or a list comes to,
//! `evaluate` judges one container by its `labels` and by our own `identity`, and [`Watcher`] drives it all.

mod backoff;
mod client;
mod container;
mod evaluate;
mod event;
#[cfg(test)]
mod fixtures;
mod identity;
mod labels;
mod own_project;
mod published;
mod signal;
mod ssh;
mod tls;
mod tracker;
mod transport;
mod watcher;

pub use own_project::OwnProject;
pub use watcher::Watcher;
