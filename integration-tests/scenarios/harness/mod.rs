//! What the scenarios share.

mod admin;
mod beside;
pub(crate) mod docker;
mod load;
mod project;
mod relay;
mod ssh;
pub(crate) mod swarm;
mod work;

pub(crate) use admin::{Admin, Replica};
pub(crate) use beside::{Evenkeel, Listening, program, run_gateway};
pub(crate) use integration_tests::lab::{Engine, PATIENCE};
pub(crate) use load::{CONNECTIONS, Failure, Load, Tally};
pub(crate) use project::{Project, Tool};
pub(crate) use relay::Relay;
pub(crate) use ssh::let_in;
pub(crate) use work::{Done, Work, work_logs};
