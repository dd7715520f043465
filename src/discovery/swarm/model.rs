//! Swarm's services, nodes and tasks in our own words, as far as they decide where requests go.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::discovery::docker::signal::Signal;
use crate::replica::ReplicaId;

/// A Swarm service as the manager described it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) id: String,
    /// Goes up whenever anything about it changes.
    pub(super) version: u64,
    /// With the stack's name before it, as `docker service ls` shows it.
    pub(super) name: String,
    /// The stack that it was deployed in.
    pub(super) stack: Option<String>,
    /// What is under `deploy.labels`.
    pub(super) labels: HashMap<String, String>,
    /// What is under `labels`, for the tasks to come.
    pub(super) container_labels: HashMap<String, String>,
    /// The TCP ports in the containers that are published.
    pub(super) ports: BTreeSet<u16>,
    /// How many tasks there should be; `None`: one on each node that will do.
    pub(super) wanted: Option<u64>,
    /// Whether its tasks are there to end by themselves.
    pub(super) is_job: bool,
    /// Whether a rolling update or its rollback is under way.
    pub(super) is_updating: bool,
}

impl Service {
    /// Whether its tasks are to be judged as those of `other`: it may have been scaled or rolled on meanwhile.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let Self { version, wanted, is_updating, .. } = *other;
        Self { version, wanted, is_updating, ..self.clone() } == *other
    }

    /// Its name without the stack's.
    pub(super) fn short_name(&self) -> &str {
        let in_stack = || self.name.strip_prefix(self.stack.as_deref()?)?.strip_prefix('_');
        in_stack().filter(|name| !name.is_empty()).unwrap_or(&self.name)
    }
}

/// A node as the manager described it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) hostname: String,
    /// The address by which the managers know it.
    pub(super) address: Option<IpAddr>,
    /// Whether the managers hear of it.
    pub(super) is_up: bool,
    /// Whether its tasks may stay: it is neither drained nor being drained.
    pub(super) may_run: bool,
}

/// A task as the manager described it last: one container, from before it exists to after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) id: String,
    /// Goes up whenever anything about it changes.
    pub(super) version: u64,
    pub(super) service: String,
    /// Which of the service's replicas it is; `None` in a global service.
    pub(super) slot: Option<u32>,
    pub(super) node: Option<String>,
    /// Its container, once there is one.
    pub(super) container: Option<ReplicaId>,
    pub(super) state: TaskState,
    /// What the managers want it to do.
    pub(super) desired: TaskState,
    pub(super) image: Option<String>,
    pub(super) stop_signal: Signal,
    /// What is under `labels`, of the version of the service that it was made from.
    pub(super) labels: HashMap<String, String>,
    pub(super) networks: Vec<Attachment>,
}

/// A task's place on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) network_id: String,
    pub(super) network: String,
    /// Whether it is the one through which published ports are reached, which leads nowhere else.
    pub(super) is_ingress: bool,
    pub(super) addresses: Vec<IpAddr>,
}

impl Attachment {
    /// The address to dial: IPv6 only if there is nothing else.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.addresses.iter().find(|address| address.is_ipv4()).or(self.addresses.first()).copied()
    }
}

/// What a task does, in the order in which a task goes through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TaskState {
    /// Its container does not run yet; Swarm's word for how far it is.
    Waiting(String),
    /// Its container runs, and its HEALTHCHECK has not passed yet.
    Starting,
    Running,
    /// It ended, or is to end; Swarm's word for how.
    Ended(String),
}

impl TaskState {
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned" => Self::Ended(word.to_owned()),
            // Also what a later Swarm may call a step before `running`: whoever serves is said to run.
            _ => Self::Waiting(word.to_owned()),
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }

    pub(super) fn word(&self) -> &str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting(word) | Self::Ended(word) => word,
        }
    }
}

impl Task {
    /// Whether it was told to stop, or will not be told anything any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.desired.is_ended()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::service;
    use super::*;

    #[test]
    fn a_short_name_is_without_the_stack() {
        let table = [
            (Some("shop"), "shop_gateway", "gateway"),
            (Some("shop"), "shop_a_b", "a_b"),
            (None, "shop_gateway", "shop_gateway"),
            (Some("shop"), "shopping_gateway", "shopping_gateway"),
            (Some("shop"), "shop_", "shop_"),
            (Some("a_b"), "a_b_c", "c"),
        ];
        for (stack, name, short) in table {
            let service = Service { name: name.to_owned(), stack: stack.map(str::to_owned), ..service() };
            assert_eq!(service.short_name(), short, "{name} of {stack:?}");
        }
    }

    #[test]
    fn every_state_of_swarm_is_before_running_running_or_an_end() {
        let table = [
            ("new allocated pending assigned accepted preparing ready", 0),
            ("starting", 1),
            ("running", 2),
            ("complete shutdown failed rejected remove orphaned", 3),
            ("sleeping", 0),
        ];
        for (words, phase) in table {
            for word in words.split(' ') {
                let state = TaskState::parse(word);
                let is = match state {
                    TaskState::Waiting(_) => 0,
                    TaskState::Starting => 1,
                    TaskState::Running => 2,
                    TaskState::Ended(_) => 3,
                };
                assert_eq!((is, state.word()), (phase, word));
            }
        }
    }
}
