//! The room end to end: raw clients, real workers, raw replicas, all on loopback.

mod answers;
mod framing;
mod front;
mod headers;
mod hold;
mod interim;
mod kept;
mod lifecycle;
mod limits;
mod news;
mod patience;
mod polled;
mod preface;
pub(super) mod reference;
mod requests;
mod retries;
mod settings;
mod streaming;
pub(super) mod support;
mod tally;
mod upgrades;
