//! Discovery: providers that turn the world into [`Change`](crate::change::Change)s.

mod defaults;
pub mod dns;
pub mod docker;
pub mod news;
pub mod peer;
pub mod status;
pub mod swarm;
pub mod verdict;
