//! What is looked up in the DNS.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::ReplicaDefaults;
use crate::provider::Provider;
use crate::service::ServiceName;

/// One name to look up, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// As which provider the registry knows it.
    pub provider: Provider,
    /// What is asked.
    pub question: DnsQuestion,
    /// Whom the answer is for; never empty.
    pub targets: Vec<DnsTarget>,
    /// How it is asked, and what is made of the answer.
    pub rules: DnsRules,
    /// What holds for the replicas.
    pub defaults: ReplicaDefaults,
}

/// What is asked. A name that ends with a dot is whole; to another one the system's search list applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsQuestion {
    /// The addresses of a host: A and AAAA.
    Host(String),
    /// The hosts and ports of a service: SRV, and the hosts' addresses.
    Srv(String),
}

impl fmt::Display for DnsQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => f.write_str(name),
            Self::Srv(name) => write!(f, "srv:{name}"),
        }
    }
}

/// Whom an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsTarget {
    /// The service that the replicas belong to.
    pub service: ServiceName,
    /// The port to dial; `None`: the answer says it.
    pub port: Option<u16>,
}

/// How names are asked for, and what is made of the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsRules {
    /// The servers to ask, in this order; none: those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one lookup may take in all.
    pub timeout: Duration,
    /// An answer holds at least this long, whatever its TTL.
    pub min_ttl: Duration,
    /// An answer holds at most this long, whatever its TTL.
    pub max_ttl: Duration,
    /// How long an address must be missing from the answers before it leaves.
    pub linger: Duration,
    /// What it means that a name has no addresses.
    pub on_empty: DnsOnEmpty,
}

impl Default for DnsRules {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(5),
            linger: Duration::ZERO,
            on_empty: DnsOnEmpty::Keep,
        }
    }
}

/// What it means that a name does not exist or has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsOnEmpty {
    /// A mistake: the replicas that are known stay.
    Keep,
    /// The truth: all of them drain.
    Drain,
}

impl DnsOnEmpty {
    /// Every meaning.
    pub const ALL: [Self; 2] = [Self::Keep, Self::Drain];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drain => "drain",
        }
    }
}
