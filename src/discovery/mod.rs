//! Discovery: providers that turn the world into [`Change`](crate::change::Change)s.

pub mod dns;
pub mod docker;
pub mod status;
pub mod verdict;
