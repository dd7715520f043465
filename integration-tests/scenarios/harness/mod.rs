//! What the scenarios share.

mod admin;
pub(crate) mod docker;
mod engine;
mod load;
mod project;
mod relay;

use std::time::Duration;

pub(crate) use admin::Admin;
pub(crate) use engine::Engine;
pub(crate) use load::{CONNECTIONS, Failure, Load, Tally};
pub(crate) use project::{Project, Tool};
pub(crate) use relay::Relay;

/// How long anything may take that depends on the engine: it starts eight containers in a few seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
