//! The settings of the evenkeels on other hosts.

use std::fmt;
use std::net::IpAddr;

use super::Token;

/// The evenkeels on other hosts, and how they know us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Where to look for them.
    pub hosts: Vec<PeerHost>,
    /// Where they are to dial our traffic port.
    pub advertise: Advertised,
    /// What they call this host; `None`: its own name.
    pub name: Option<String>,
    /// What they and we show one another; `None`: the addresses of `hosts` decide.
    pub token: Option<Token>,
    /// What the weights of our own replicas are multiplied by.
    pub prefer_local: u16,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self { hosts: Vec::new(), advertise: Advertised::default(), name: None, token: None, prefer_local: 1 }
    }
}

impl PeerSettings {
    /// Whether there are any, or may be.
    pub fn is_on(&self) -> bool {
        !self.hosts.is_empty() || self.token.is_some()
    }
}

/// The admin listener of an evenkeel, or of all that a name in the DNS stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerHost {
    /// An IP address or a name.
    pub host: String,
    /// The port of the admin listener.
    pub port: u16,
}

/// `10.0.0.5:9900`, `[2001:db8::5]:9900`, `vm-2.internal:9900`.
impl fmt::Display for PeerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Where peers are to dial our traffic port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// `None`: where they find our admin listener.
    pub address: Option<IpAddr>,
    /// `None`: the port that we listen on.
    pub port: Option<u16>,
}
