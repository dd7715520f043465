//! Docker's event in our own words. An event is a doorbell: except for what takes a replica out at once, the
//! inspect that follows it is the letter.

use super::signal::Signal;
use crate::replica::ReplicaId;

/// Something happened to one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: ReplicaId,
    pub(super) kind: EventKind,
}

/// What happened. What is not listed is of no consequence for routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Start,
    Unpause,
    Rename,
    Health,
    /// It was sent a signal, already.
    Kill(Signal),
    Pause,
    Die,
    Destroy,
    /// It joined a network.
    Connect,
    /// It left the network of this name. Docker may say so twice.
    Disconnect(String),
}

/// What we ask the engine for. Without the list of names each run of each HEALTHCHECK would be three events; a
/// filter by label would hide the network events, which carry none.
pub(super) const FILTERS: [(&str, &[&str]); 2] = [
    ("type", &["container", "network"]),
    (
        "event",
        &[
            "start",
            "die",
            "kill",
            "pause",
            "unpause",
            "destroy",
            "rename",
            "health_status",
            "oom",
            "connect",
            "disconnect",
        ],
    ),
];

impl Event {
    /// Reads an event of type `container`, whose actor is the container.
    pub(super) fn of_container(id: &str, action: &str, signal: Option<&str>) -> Option<Self> {
        // `health_status: healthy` carries its value behind a colon.
        let kind = match action.split(':').next().unwrap_or(action) {
            "start" => EventKind::Start,
            "unpause" => EventKind::Unpause,
            "rename" => EventKind::Rename,
            "health_status" => EventKind::Health,
            "kill" => EventKind::Kill(Signal::parse(signal?)?),
            "pause" => EventKind::Pause,
            "die" => EventKind::Die,
            "destroy" => EventKind::Destroy,
            _ => return None,
        };
        Some(Self { id: id.into(), kind })
    }

    /// Reads an event of type `network`, whose actor is the network.
    pub(super) fn of_network(network: &str, action: &str, container: &str) -> Option<Self> {
        let kind = match action {
            "connect" => EventKind::Connect,
            "disconnect" => EventKind::Disconnect(network.to_owned()),
            _ => return None,
        };
        Some(Self { id: container.into(), kind })
    }
}
