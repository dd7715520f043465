//! Docker's event in our own words. An event is a doorbell: except for what takes a replica out at once, the
//! inspect that follows it is the letter.

use std::collections::HashMap;

use super::signal::Signal;
use crate::replica::ReplicaId;

/// An event as the engine tells it: what happened, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Message {
    pub(in crate::discovery) kind: MessageKind,
    pub(in crate::discovery) action: String,
    /// The id of what it happened to.
    pub(in crate::discovery) actor: String,
    pub(in crate::discovery) attributes: HashMap<String, String>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::discovery) enum MessageKind {
    Container,
    Network,
    /// Of a Swarm.
    Service,
    /// Of a Swarm.
    Node,
}

impl Message {
    pub(in crate::discovery) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }
}

/// What to ask an engine for: keys, each with the values that it may have.
pub(in crate::discovery) type Filters = [(&'static str, &'static [&'static str])];

/// Something happened to one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Event {
    pub(in crate::discovery) id: ReplicaId,
    pub(in crate::discovery) kind: EventKind,
}

/// What happened. What is not listed is of no consequence for routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) enum EventKind {
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
pub(super) const FILTERS: &Filters = &[
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
    /// Reads what concerns a container.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let Message { kind, action, actor, .. } = message;
        match kind {
            MessageKind::Container => Self::of_container(actor, action, message.attribute("signal")),
            MessageKind::Network => {
                Self::of_network(message.attribute("name")?, action, message.attribute("container")?)
            }
            MessageKind::Service | MessageKind::Node => None,
        }
    }

    /// Reads an event of type `container`, whose actor is the container.
    pub(in crate::discovery) fn of_container(id: &str, action: &str, signal: Option<&str>) -> Option<Self> {
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
