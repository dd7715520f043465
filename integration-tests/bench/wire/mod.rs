//! The small programs around a contender: what it forwards to, what loads it, and the relay that is the floor.

pub(crate) mod message;
pub(crate) mod paced;
pub(crate) mod relay;
pub(crate) mod replicas;
mod slots;
pub(crate) mod steady;
