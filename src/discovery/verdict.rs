//! The verdict: why a container that was considered is routed, or why it is not.

use std::fmt;
use std::net::IpAddr;

use crate::replica::ReplicaId;
use crate::service::ServiceName;

/// One container that discovery looked at, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The container's id.
    pub id: ReplicaId,
    /// The container's name without Docker's leading slash; with `@` and the host's name behind it where hosts have names.
    pub name: String,
    /// The service it would belong to, where that could be told.
    pub service: Option<ServiceName>,
    /// The Compose project.
    pub project: Option<String>,
    /// Routed, or why not.
    pub verdict: Verdict,
    /// What is odd but does not keep it from being routed: an unknown label with a did-you-mean, say.
    pub warnings: Vec<String>,
}

/// Routed, or the reason why not. Probes may still keep a routed replica from requests: that is its
/// [`State`](crate::replica::State), not the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is a replica.
    Routed,
    /// A replica whose HEALTHCHECK has not passed yet.
    Starting,
    /// A replica whose HEALTHCHECK fails.
    Unhealthy,
    /// A replica that is paused.
    Paused,
    /// A replica that was told to stop.
    Draining,
    /// It does not run.
    NotRunning {
        /// Docker's word for what it does instead.
        state: String,
    },
    /// `evenkeel.enable=false`.
    OptedOut,
    /// It has `evenkeel.*` labels, but not `evenkeel.enable=true`, and is not of the service balanced without labels.
    NotEnabled,
    /// A container of `compose run` or of a Swarm job.
    OneOff,
    /// Labelled, but of a Compose project or a stack that is not ours.
    OtherProject {
        /// Its project.
        theirs: String,
        /// The project that we look after.
        ours: String,
    },
    /// A label's value cannot be used.
    BadLabel {
        /// The label.
        label: String,
        /// Its value.
        value: String,
        /// What it should look like.
        expected: String,
    },
    /// It is on none of our networks.
    NoSharedNetwork {
        /// The networks it is on.
        theirs: Vec<String>,
        /// The networks we are on.
        ours: Vec<String>,
    },
    /// It is not on the network that its label or `--network` names.
    NotOnNetwork {
        /// The network that was named.
        wanted: String,
        /// The networks it is on.
        theirs: Vec<String>,
    },
    /// It is on several networks, and nothing says which to dial.
    SeveralNetworks {
        /// The networks it is on.
        theirs: Vec<String>,
    },
    /// It runs on another host and does not publish the port where that host is reached.
    NotPublished {
        /// Its port.
        port: u16,
        /// The host's address.
        host: IpAddr,
        /// Where the port is published instead.
        at: Vec<String>,
    },
    /// It has no address to dial.
    NoAddress,
    /// It exposes no TCP port, and nothing else says which to dial.
    NoPort,
    /// It exposes several TCP ports, and nothing says which to dial.
    SeveralPorts {
        /// The ports.
        ports: Vec<u16>,
    },
}

impl Verdict {
    /// A fixed word for machines: `routed`, `no-port`, …
    pub fn code(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::NotRunning { .. } => "not-running",
            Self::OptedOut => "opted-out",
            Self::NotEnabled => "not-enabled",
            Self::OneOff => "one-off",
            Self::OtherProject { .. } => "other-project",
            Self::BadLabel { .. } => "bad-label",
            Self::NoSharedNetwork { .. } => "no-shared-network",
            Self::NotOnNetwork { .. } => "not-on-network",
            Self::SeveralNetworks { .. } => "several-networks",
            Self::NotPublished { .. } => "not-published",
            Self::NoAddress => "no-address",
            Self::NoPort => "no-port",
            Self::SeveralPorts { .. } => "several-ports",
        }
    }

    /// Whether somebody has to change something before the container can be routed.
    pub fn is_misconfigured(&self) -> bool {
        matches!(
            self,
            Self::NotEnabled
                | Self::BadLabel { .. }
                | Self::NoSharedNetwork { .. }
                | Self::NotOnNetwork { .. }
                | Self::SeveralNetworks { .. }
                | Self::NotPublished { .. }
                | Self::NoAddress
                | Self::NoPort
                | Self::SeveralPorts { .. }
        )
    }
}

/// One sentence for people that names the reason and, where there is one, the fix.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routed => f.write_str("routed"),
            Self::Starting => f.write_str("starting: its HEALTHCHECK has not passed yet"),
            Self::Unhealthy => f.write_str("unhealthy: its HEALTHCHECK fails"),
            Self::Paused => f.write_str("paused"),
            Self::Draining => f.write_str("draining: it was told to stop"),
            Self::NotRunning { state } => write!(f, "not running: it is {state}"),
            Self::OptedOut => f.write_str("opted out by evenkeel.enable=false"),
            Self::NotEnabled => {
                f.write_str("it has evenkeel.* labels but not evenkeel.enable: set evenkeel.enable=true")
            }
            Self::OneOff => f.write_str("a one-off container of `compose run`, or a Swarm job"),
            Self::OtherProject { theirs, ours } => {
                write!(f, "of Compose project or stack {theirs:?}, while this sidecar looks after {ours:?}")
            }
            Self::BadLabel { label, value, expected } => {
                write!(f, "label {label} is {value:?}: it should be {expected}")
            }
            Self::NoSharedNetwork { theirs, ours } => write!(
                f,
                "on no network of ours: it is on {}, we are on {}; put both on one network",
                names(theirs),
                names(ours)
            ),
            Self::NotOnNetwork { wanted, theirs } => {
                write!(f, "not on network {wanted:?} but on {}: correct evenkeel.network or --network", names(theirs))
            }
            Self::SeveralNetworks { theirs } => {
                write!(f, "on several networks ({}): say which with evenkeel.network or --network", names(theirs))
            }
            Self::NotPublished { port, host, at } => {
                write!(f, "it runs on another host, and its port {port} is not published at {host} there")?;
                if !at.is_empty() {
                    write!(f, " but at {}", names(at))?;
                }
                write!(f, ": publish it, like ports: [\"{port}\"]")
            }
            Self::NoAddress => f.write_str("it has no address on any network"),
            Self::NoPort => f.write_str("it exposes no TCP port: set evenkeel.port or --port"),
            Self::SeveralPorts { ports } => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                write!(f, "it exposes several TCP ports ({}): say which with evenkeel.port or --port", names(&ports))
            }
        }
    }
}

fn names(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
