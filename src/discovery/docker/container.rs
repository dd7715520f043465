//! Docker's container in our own words: what a list row and an inspect have in common.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::signal::Signal;
use crate::replica::ReplicaId;

/// A container as the engine described it last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Container {
    pub(in crate::discovery) id: ReplicaId,
    /// Without Docker's leading slash.
    pub(in crate::discovery) name: String,
    pub(in crate::discovery) image: Option<String>,
    pub(in crate::discovery) labels: HashMap<String, String>,
    pub(in crate::discovery) run_state: RunState,
    pub(in crate::discovery) network_mode: String,
    pub(in crate::discovery) networks: BTreeMap<String, Endpoint>,
    /// The exposed TCP ports. A list row leaves them out for a container on the host's network or on an internal one.
    pub(in crate::discovery) ports: BTreeSet<u16>,
    /// The TCP ports of the host that lead to ports of the container.
    pub(in crate::discovery) published: Vec<Published>,
    /// What only an inspect tells.
    pub(in crate::discovery) details: Option<Details>,
}

/// A TCP port of the host that leads to one of the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Published {
    /// The host's address that it is bound to; `None` where the engine does not say, which is all of them.
    pub(in crate::discovery) ip: Option<IpAddr>,
    /// The host's port.
    pub(in crate::discovery) public: u16,
    /// The container's port.
    pub(in crate::discovery) private: u16,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.public).fmt(f),
            None => write!(f, "port {}", self.public),
        }
    }
}

/// What an inspect tells and a list row does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) struct Details {
    pub(in crate::discovery) stop_signal: Signal,
    /// Tells one run of the container from the next. `None` where the row is newer than the inspect.
    pub(in crate::discovery) started_at: Option<String>,
}

/// What the container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::discovery) enum RunState {
    /// It runs and has no HEALTHCHECK, or one that passes.
    Running,
    /// It runs, and its HEALTHCHECK has not passed yet.
    Starting,
    /// It runs, and its HEALTHCHECK fails.
    Unhealthy,
    Paused,
    /// It was told to stop and still runs (newer engines say so).
    Stopping,
    /// It does not run; Docker's word for it.
    Down(String),
}

/// A container's place on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::discovery) struct Endpoint {
    pub(in crate::discovery) network_id: String,
    /// New each time the container joins, so also on every start.
    pub(in crate::discovery) endpoint_id: String,
    pub(in crate::discovery) ipv4: Option<Ipv4Addr>,
    pub(in crate::discovery) ipv6: Option<Ipv6Addr>,
}

impl Endpoint {
    /// The address to dial: IPv6 only if there is nothing else.
    pub(in crate::discovery) fn address(&self) -> Option<IpAddr> {
        self.ipv4.map(IpAddr::V4).or(self.ipv6.map(IpAddr::V6))
    }

    /// Whether both are on one network. Two networks may have the same name; an engine that leaves the id out
    /// must be taken at the name's word.
    pub(in crate::discovery) fn is_with(&self, other: &Self) -> bool {
        self.network_id == other.network_id || self.network_id.is_empty() || other.network_id.is_empty()
    }
}

impl Container {
    pub(in crate::discovery) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    pub(in crate::discovery) fn project(&self) -> Option<&str> {
        self.label("com.docker.compose.project")
    }

    pub(in crate::discovery) fn compose_service(&self) -> Option<&str> {
        self.label("com.docker.compose.service")
    }

    pub(in crate::discovery) fn number(&self) -> Option<u32> {
        self.label("com.docker.compose.container-number")?.parse().ok()
    }

    pub(in crate::discovery) fn is_one_off(&self) -> bool {
        self.label("com.docker.compose.oneoff").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(in crate::discovery) fn is_on_host_network(&self) -> bool {
        self.network_mode == "host"
    }

    pub(in crate::discovery) fn network_names(&self) -> Vec<String> {
        self.networks.keys().cloned().collect()
    }

    pub(in crate::discovery) fn stop_signal(&self) -> Option<Signal> {
        self.details.as_ref().map(|details| details.stop_signal)
    }

    pub(in crate::discovery) fn started_at(&self) -> Option<&str> {
        self.details.as_ref()?.started_at.as_deref()
    }

    /// Fills a list row with what an earlier inspect told and a container keeps from creation to removal. When
    /// it was started is not among that: the row may be of a later run.
    pub(in crate::discovery) fn recalling(mut self, earlier: &Self) -> Self {
        if self.details.is_none()
            && let Some(details) = &earlier.details
        {
            self.details = Some(Details { stop_signal: details.stop_signal, started_at: None });
            self.ports.extend(&earlier.ports);
            self.image.clone_from(&earlier.image);
        }
        self
    }

    /// The run that it is in, as far as the description and the network that is dialled can tell.
    pub(in crate::discovery) fn run(&self, network: Option<&str>) -> Run {
        let endpoint = network.and_then(|network| Some((network.to_owned(), self.endpoint_id(network)?.to_owned())));
        Run { started_at: self.started_at().map(str::to_owned), endpoint }
    }

    fn endpoint_id(&self, network: &str) -> Option<&str> {
        self.networks.get(network).map(|endpoint| endpoint.endpoint_id.as_str()).filter(|id| !id.is_empty())
    }
}

/// One run of a container, from a start to the next `die`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::discovery) struct Run {
    pub(in crate::discovery) started_at: Option<String>,
    /// The network that is dialled, and the endpoint there.
    endpoint: Option<(String, String)>,
}

impl Run {
    /// Whether nothing is known by which another run could be told from this one.
    pub(in crate::discovery) fn is_unknown(&self) -> bool {
        self.started_at.is_none() && self.endpoint.is_none()
    }

    /// Whether the container is still in this run, unless something tells otherwise. The start decides where both
    /// know it: a container that left a network and joined it again has another endpoint in the same run.
    pub(in crate::discovery) fn goes_on_in(&self, container: &Container) -> bool {
        if let (Some(then), Some(now)) = (self.started_at.as_deref(), container.started_at()) {
            return then == now;
        }
        let Some((network, then)) = &self.endpoint else { return true };
        container.endpoint_id(network).is_none_or(|now| now == then)
    }
}

/// A list row tells a container's health in its `Status` only, before API 1.52: `Up 2 minutes (health: starting)`.
pub(in crate::discovery) fn health_in_status(status: &str) -> RunState {
    if status.ends_with("(health: starting)") {
        RunState::Starting
    } else if status.ends_with("(unhealthy)") {
        RunState::Unhealthy
    } else if status.ends_with("(Paused)") {
        RunState::Paused
    } else {
        RunState::Running
    }
}
