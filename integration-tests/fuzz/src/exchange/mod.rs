//! The whole exchange: a worker as it runs in evenkeel, and on both sides of it a peer that does what the input says.
//! Bytes from 0xf5 on begin an event, see [`events`]; what comes before the first is what the client sends.
//!
//! - It ends: once both peers are done the worker has let go of every connection, and stops when it is told to.
//! - A healthy request on a fresh connection gets its answer after whatever happened.
//! - What the replica got are whole requests that a client sent, none more often than it may be repeated, none made of a
//!   part of another, and at the end of a connection maybe the beginning of one.
//! - What the client got is, to a strict parser, no more answers than it sent requests, the last maybe cut.

mod events;
mod judge;
mod peer;
mod run;
mod site;

use self::run::Run;
use self::site::SITE;

/// Plays `input` and checks what came of it.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    let site = SITE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut run = Run::start(&site);
    for event in events::read(input) {
        run.play(&event);
    }
    let (clients, replicas) = run.finish();
    judge::replicas(&clients, &replicas);
    clients.iter().for_each(judge::client);
}
