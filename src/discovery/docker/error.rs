//! Why an engine could not be asked, or what it said.

use std::time::Duration;

/// Why the engine could not be asked, or what it said.
#[derive(Debug, thiserror::Error)]
pub(in crate::discovery) enum DockerError {
    #[error("no Docker socket at {path}: mount its directory into the container, or set --docker-host")]
    NoSocket { path: String },
    #[error(
        "no permission to open {host}: run as a user of the socket's group (group_add), or go through a socket proxy"
    )]
    Forbidden { host: String },
    #[error("nothing listens at {host}: is the Docker engine running? ({cause})")]
    Unreachable { host: String, cause: String },
    #[error(
        "no TLS to {host}: {cause}; see that ca.pem, cert.pem and key.pem are right, and the engine's name in its own"
    )]
    Tls { host: String, cause: String },
    #[error("{host} speaks TLS: say where the certificates are with --docker-cert-path")]
    WantsTls { host: String },
    #[error("there is no `ssh` here to reach {host} with: use an image that has it, or tcp:// with certificates")]
    NoSsh { host: String },
    #[error("ssh to {host} failed: {told}")]
    Ssh { host: String, told: String },
    #[error("--docker-host {host:?} should be unix:///path, tcp://host:port or ssh://user@host")]
    BadHost { host: String },
    #[error("the address of {host:?} cannot be found, so what is published there cannot be dialled: {cause}")]
    Unresolved { host: String, cause: String },
    #[error("no answer to {what} within {} s", .within.as_secs())]
    TimedOut { what: &'static str, within: Duration },
    #[error("an answer that could not be decoded: {0}")]
    Undecodable(String),
    #[error("the event stream ended")]
    StreamEnded,
    #[error("the event stream is dead: a list shows what no event told")]
    StreamDead,
    #[error("{host} is no manager of a Swarm: name a manager's socket with --docker-host, or leave out --swarm")]
    NoManager { host: String },
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{0}")]
    Other(String),
}

impl DockerError {
    /// Whether nobody was there, so that to try again costs an engine nothing. One that starts takes connections before it
    /// answers; who has waited for that in vain has waited long enough.
    pub(in crate::discovery) fn is_absence(&self) -> bool {
        matches!(self, Self::NoSocket { .. } | Self::Unreachable { .. } | Self::TimedOut { .. })
    }
}
