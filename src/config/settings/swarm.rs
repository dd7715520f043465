//! What following a Swarm takes.

use std::path::PathBuf;
use std::time::Duration;

use super::{DockerSettings, ReplicaDefaults};
use crate::provider::{Provider, ProviderKind};
use crate::service::ServiceName;

/// The engine of one manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerHost {
    /// Where it is: `unix:///path`, `tcp://host:port` or `ssh://user@host`.
    pub host: String,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`; `None`: it does not speak TLS.
    pub cert_path: Option<PathBuf>,
}

impl From<&DockerSettings> for ManagerHost {
    fn from(engine: &DockerSettings) -> Self {
        Self { host: engine.host.clone(), cert_path: engine.cert_path.clone() }
    }
}

/// One Swarm to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmSettings {
    /// As which provider the registry knows it.
    pub provider: Provider,
    /// Its managers, in the order in which they are asked.
    pub hosts: Vec<ManagerHost>,
    /// The service that is balanced without any label, with or without the stack's name.
    pub service: ServiceName,
    /// The stack; `None`: the sidecar's own.
    pub project: Option<String>,
    /// The network whose addresses are dialled; `None`: one shared with the sidecar.
    pub network: Option<String>,
    /// The port to dial where no label says; `None`: the only one that is published.
    pub port: Option<u16>,
    /// What holds for replicas whose labels say nothing else.
    pub defaults: ReplicaDefaults,
    /// The time between two full relists.
    pub resync_interval: Duration,
    /// The time between two looks at the tasks of a service while it changes.
    pub poll: Duration,
    /// The time between two looks at all tasks when nothing changes.
    pub idle_poll: Duration,
}

impl SwarmSettings {
    /// The Swarm of which these are managers, with whatever else holds for one Docker engine.
    pub fn new(hosts: Vec<ManagerHost>, docker: &DockerSettings) -> Self {
        Self {
            provider: Provider::only(ProviderKind::Swarm),
            hosts,
            service: docker.service.clone(),
            project: docker.project.clone(),
            network: docker.network.clone(),
            port: docker.port,
            defaults: docker.defaults.clone(),
            resync_interval: docker.resync_interval,
            poll: Duration::from_millis(200),
            idle_poll: Duration::from_secs(5),
        }
    }
}
