//! The resolved settings: what every flag, variable and file key came to. Pure data, one struct per room.

mod dns;
pub mod headers;
mod peers;
mod swarm;

use std::fmt;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use self::peers::{Advertised, PeerHost, PeerSettings};
use crate::metrics::Faults;
use crate::provider::Provider;
use crate::replica::{ProbeSpec, ReplicaSpec};
use crate::service::{Policy, ServiceName};

pub use self::dns::{DnsOnEmpty, DnsQuestion, DnsRules, DnsSettings, DnsTarget};
pub use self::swarm::{ManagerHost, SwarmSettings};

pub use self::headers::HeaderSettings;

/// The most field lines that a head can be allowed.
pub const MAX_HEADERS: u32 = 512;

/// Everything that `evenkeel run` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The data plane.
    pub proxy: ProxySettings,
    /// Where the admin room listens.
    pub admin_listen: SocketAddr,
    /// What a client of the admin room must show to change something; `None`: nothing can be changed.
    pub admin_token: Option<Token>,
    /// The Docker engines to follow; none with `--no-docker`.
    pub docker: Vec<DockerSettings>,
    /// The names to look up in the DNS.
    pub dns: Vec<DnsSettings>,
    /// The Swarm to follow, with `--swarm`.
    pub swarm: Option<SwarmSettings>,
    /// The replicas of `--static`.
    pub statics: Vec<ReplicaSpec>,
    /// The evenkeels on other hosts.
    pub peers: PeerSettings,
    /// Which part of a large service this evenkeel keeps to; `None`: all of it.
    pub subset: Option<SubsetSettings>,
    /// How to stop.
    pub shutdown: ShutdownSettings,
    /// What to log and how.
    pub log: LogSettings,
}

/// Which part of a large service one of several evenkeels keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubsetSettings {
    /// It keeps to about so many of a service, and never to fewer than four fifths of that.
    pub size: usize,
    /// Which evenkeel this one is, from 1.
    pub slot: usize,
    /// How many evenkeels there are, at least as many as `slot`.
    pub slots: usize,
}

/// The listener, the balancer and the HTTP path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// Where clients come in.
    pub listen: SocketAddr,
    /// Who has the listening socket already; `None`: nobody, it is made here.
    pub listen_from: Option<ListenFrom>,
    /// Data-plane threads, each with a listener and pools of its own.
    pub threads: NonZeroUsize,
    /// The service that requests go to when their Host names no other.
    pub service: ServiceName,
    /// How a replica is picked.
    pub policy: Policy,
    /// How long a connect to a replica may take.
    pub connect_timeout: Duration,
    /// How long a replica may take from the request's end to its answer's head.
    pub response_timeout: Duration,
    /// How long a new client connection may take to bring its first byte.
    pub first_byte_timeout: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a client connection may stay idle between requests.
    pub keep_alive_timeout: Duration,
    /// How long a body may make no progress in its direction.
    pub idle_timeout: Duration,
    /// How long a tunnel may make no progress in either direction.
    pub tunnel_timeout: Duration,
    /// Further attempts after a failed one; replicas that refuse at once do not count, unless it is 0.
    pub retries: u32,
    /// When a replica takes nothing for a while.
    pub eject: EjectSettings,
    /// How long the share of a replica that joins others grows; zero: it has all of it at once.
    pub slow_start: Duration,
    /// Who may say `X-Forwarded-*` about somebody else.
    pub trusted_proxies: Vec<IpNet>,
    /// Who has to say, with the PROXY protocol, on whose behalf it connects.
    pub proxy_protocol: Vec<IpNet>,
    /// The path at which a balancer in front of us is told whether to send clients; `None`: there is none.
    pub health_endpoint: Option<String>,
    /// How heads are changed on their way.
    pub headers: HeaderSettings,
    /// How requests wait that no replica can take.
    pub hold: HoldSettings,
    /// How much is taken.
    pub limits: LimitSettings,
}

/// Who keeps the port open while evenkeel is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenFrom {
    /// `evenkeel keep-port`, at this unix socket.
    Keeper(PathBuf),
    /// systemd, which started us for it.
    Systemd,
}

/// How requests wait for a replica, for each service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldSettings {
    /// How long one may wait in all; zero: not at all.
    pub time: Duration,
    /// The longest pause before replicas that have all failed a request are tried again; the first is a tenth of it.
    pub interval: Duration,
    /// How many may wait at once.
    pub requests: usize,
    /// How many bytes those may keep in memory.
    pub bytes: usize,
}

/// When a replica is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EjectSettings {
    /// What counts as a failure.
    pub on: Faults,
    /// Failures in a row that eject; 0: any number may be.
    pub failures: u32,
    /// Failures in a hundred that eject; 0: any number may be.
    pub rate: u32,
    /// How long the first ejection lasts.
    pub time: Duration,
}

impl EjectSettings {
    /// Whether anything can come to an ejection.
    pub fn is_on(&self) -> bool {
        self.failures > 0 || self.rate > 0
    }
}

/// How much of a message, and how many clients, are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Bytes of a head, of a request or an answer.
    pub head_bytes: u32,
    /// Field lines of a head, of a request or an answer.
    pub headers: u32,
    /// Bytes of a request target.
    pub target_bytes: u32,
    /// Bytes of a request's body; `None`: any number.
    pub body_bytes: Option<NonZeroU64>,
    /// Client connections in all; `None`: as many as the file-descriptor limit has room for.
    pub connections: Option<NonZeroUsize>,
    /// Connections of one client address, or of one IPv6 network of 64 bits; `None`: any number.
    pub connections_per_client: Option<NonZeroUsize>,
}

/// What holds for replicas of which their providers say nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaDefaults {
    /// How they are probed.
    pub probe: ProbeSpec,
    /// How long their requests may go on after they began to drain; `None`: until they end.
    pub drain_timeout: Option<Duration>,
    /// How many requests each may have at once; `None`: any number.
    pub max_concurrency: Option<NonZeroU32>,
}

impl ReplicaDefaults {
    /// The replica with these, whatever it had.
    pub fn on(&self, spec: ReplicaSpec) -> ReplicaSpec {
        let Self { probe, drain_timeout, max_concurrency } = self.clone();
        ReplicaSpec { probe, drain_timeout, max_concurrency, ..spec }
    }
}

/// One Docker engine to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// As which provider the registry knows it. Where that has a name, its replicas' names end in it: `gateway-3@vm-2`.
    pub provider: Provider,
    /// `unix:///path`, `tcp://host:port` or `ssh://[user@]host[:port]`.
    pub host: String,
    /// The directory of the certificates, if a `tcp://` engine speaks TLS.
    pub cert_path: Option<PathBuf>,
    /// The host's name or IP address at which the ports that its containers publish are dialled, unless one of them is
    /// evenkeel's own; `None`: the containers' own addresses are dialled.
    pub published_at: Option<String>,
    /// The Compose service that is balanced without any label.
    pub service: ServiceName,
    /// The Compose project; `None`: the sidecar's own.
    pub project: Option<String>,
    /// The network whose addresses are dialled; `None`: one shared with the sidecar.
    pub network: Option<String>,
    /// The port to dial where no label says; `None`: the only exposed TCP port.
    pub port: Option<u16>,
    /// What holds for replicas whose labels say nothing else.
    pub defaults: ReplicaDefaults,
    /// The time between two full relists.
    pub resync_interval: Duration,
}

/// How to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// How long to go on accepting after the signal, with `/readyz` at 503.
    pub lame_duck: Duration,
    /// How long requests may take to finish after that.
    pub timeout: Duration,
}

/// What to log and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A `tracing` filter: `info`, `evenkeel=debug`, …
    pub filter: String,
    /// One line of text or one JSON object per event.
    pub format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Text, Self::Json];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// A secret. Nothing prints it, `Debug` included.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

impl Token {
    /// The whole secret, for those who have to show it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether this is it. How long that takes tells nothing but whether the length was right.
    pub fn is(&self, shown: &[u8]) -> bool {
        let difference = self.0.bytes().zip(shown).fold(0, |sum, (own, shown)| sum | black_box(own ^ shown));
        self.0.len() == shown.len() && difference == 0
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(not shown)")
    }
}

/// The cores this process may use, 1 where the system does not say.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The defaults, the same as those in the table of [`keys`](super::keys).
impl Default for Settings {
    fn default() -> Self {
        Self {
            proxy: ProxySettings::default(),
            admin_listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9900)),
            admin_token: None,
            docker: vec![DockerSettings::default()],
            dns: Vec::new(),
            swarm: None,
            statics: Vec::new(),
            peers: PeerSettings::default(),
            subset: None,
            shutdown: ShutdownSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            listen_from: None,
            threads: cores(),
            service: ServiceName::from("gateway"),
            policy: Policy::default(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(60),
            first_byte_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            idle_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(3600),
            retries: 2,
            eject: EjectSettings::default(),
            slow_start: Duration::ZERO,
            trusted_proxies: Vec::new(),
            proxy_protocol: Vec::new(),
            health_endpoint: None,
            headers: HeaderSettings::default(),
            hold: HoldSettings::default(),
            limits: LimitSettings::default(),
        }
    }
}

impl Default for HoldSettings {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            interval: Duration::from_millis(250),
            requests: 10_000,
            bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for EjectSettings {
    fn default() -> Self {
        Self { on: Faults::ALL, failures: 5, rate: 50, time: Duration::from_secs(5) }
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            headers: 100,
            target_bytes: 8 * 1024,
            body_bytes: None,
            connections: None,
            connections_per_client: None,
        }
    }
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            provider: Provider::DOCKER,
            host: "unix:///var/run/docker.sock".to_owned(),
            cert_path: None,
            published_at: None,
            service: ServiceName::from("gateway"),
            project: None,
            network: None,
            port: None,
            defaults: ReplicaDefaults::default(),
            resync_interval: Duration::from_secs(30),
        }
    }
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { lame_duck: Duration::ZERO, timeout: Duration::from_secs(8) }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_it() {
        let token = Token::from("sesame-open-wide");
        for other in ["", "s", "sesame-open-wid", "sesame-open-wide ", "Sesame-open-wide", "sesame-open-widE"] {
            assert!(!token.is(other.as_bytes()), "{other:?}");
        }
        assert!(token.is(token.reveal().as_bytes()));
        assert!(!format!("{token:?}").contains("sesame"));
    }
}
