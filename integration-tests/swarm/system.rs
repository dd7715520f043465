//! What stands between the clients and the replicas, on the manager's node.

use std::path::Path;

use clap::ValueEnum;
use integration_tests::peer::Peer;
use serde::{Deserialize, Serialize};

use crate::Options;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// A service of the Swarm, with the manager's socket.
    Evenkeel,
    /// Debian's program, as the others in the network of a container; it asks Docker's DNS for the tasks.
    Haproxy,
    Caddy,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evenkeel => "evenkeel",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
        }
    }

    pub(crate) fn peer(self) -> Option<Peer> {
        match self {
            Self::Evenkeel => None,
            Self::Haproxy => Some(Peer::Haproxy),
            Self::Caddy => Some(Peer::Caddy),
        }
    }
}

/// The options of evenkeel's service: as the page for Swarm has them, but for the log's format and port 8080.
pub(crate) fn evenkeel(network: &str, sockets: &Path, asked: &Options) -> Vec<String> {
    let mut options: Vec<String> = [
        "--constraint=node.role==manager",
        "--no-healthcheck",
        "--publish=mode=host,target=8080,published=8080",
        "--env=EVENKEEL_SWARM=true",
        "--env=EVENKEEL_DOCKER_HOST=unix:///var/run/docker/docker.sock",
        "--env=EVENKEEL_SERVICE=gateway",
        // A manager knows images only by name.
        "--env=EVENKEEL_PORT=3001",
        "--env=EVENKEEL_LISTEN=0.0.0.0:8080",
        "--env=EVENKEEL_ADMIN_LISTEN=0.0.0.0:9900",
        "--env=EVENKEEL_LOG_FORMAT=json",
    ]
    .map(str::to_owned)
    .into();
    options.push(format!("--network={network}"));
    options.push(format!("--mount=type=bind,readonly,source={},target=/var/run/docker", sockets.display()));
    options.extend(asked.evenkeel_env.iter().map(|variable| format!("--env={variable}")));
    options.push(asked.image.clone());
    options
}
