//! The table of settings. A row is the flag, the variable, the file key, the default, the help and the parser of
//! one setting at once, so that they cannot drift apart.

pub(super) mod dns;
mod front;
mod health;
pub(super) mod peers;
mod routing;
mod scale;
mod swarm;

use super::docker_host;
use super::key::{Fallback, Key, Kind};
use super::parse::{self, Parsed};
use super::settings::{LogFormat, MAX_HEADERS};
use super::token;
use crate::service::{Policy, ServiceName};

fn put<T>(place: &mut T, parsed: Parsed<T>) -> Parsed<()> {
    *place = parsed?;
    Ok(())
}

const LISTENERS: &str = "Listeners";
const ROUTING: &str = "Routing";
const DOCKER: &str = "Docker";
const DNS: &str = "DNS";
const HEALTH: &str = "Health and draining";
const TIMEOUTS: &str = "Timeouts";
const LIMITS: &str = "Limits";
const SHUTDOWN: &str = "Shutdown";
const LOG: &str = "Logging";

/// The keys of the admin listener.
pub(super) const ADMIN_LISTEN: &str = "admin-listen";
pub(super) const ADMIN_WRITE: &str = "admin-write";
pub(super) const ADMIN_TOKEN: &str = "admin-token";
pub(super) const ADMIN_TOKEN_FILE: &str = "admin-token-file";
/// The key of the Docker engines.
pub(super) const DOCKER_HOST: &str = "docker-host";

/// The keys that keeping a port takes.
pub(super) const KEEPER: &[&str] = &["listen", "log", "log-format"];

/// Names the file. Not in [`KEYS`]: it has a flag and a variable, but a file cannot name another file.
pub static CONFIG: Key = Key {
    name: "config",
    group: "Configuration",
    value: "FILE",
    fallback: Fallback::Unset { means: "no file", example: "evenkeel.toml" },
    help: "A TOML file with the long names of these options as keys",
    kind: Kind::Text(|_, _| Ok(())),
};

/// Every setting, in the order in which people read them.
pub static KEYS: &[Key] = &[
    Key {
        name: "listen",
        group: LISTENERS,
        value: "ADDR:PORT",
        fallback: Fallback::Text("0.0.0.0:8080"),
        help: "Where clients come in",
        kind: Kind::Text(|d, t| put(&mut d.proxy.listen, parse::address(t))),
    },
    Key {
        name: "listen-from",
        group: LISTENERS,
        value: "PATH|systemd",
        fallback: Fallback::Unset { means: "it listens itself", example: "/run/evenkeel/port.sock" },
        help: "Who keeps the port open across restarts, instead of --listen: the socket of `evenkeel keep-port`, or systemd",
        kind: Kind::Text(|d, t| put(&mut d.proxy.listen_from, parse::listen_from(t).map(Some))),
    },
    Key {
        name: ADMIN_LISTEN,
        group: LISTENERS,
        value: "ADDR:PORT",
        fallback: Fallback::Text("0.0.0.0:9900"),
        help: "Where the debug page, the API, /metrics, /healthz and /readyz are",
        kind: Kind::Text(|d, t| put(&mut d.admin_listen, parse::address(t))),
    },
    Key {
        name: ADMIN_WRITE,
        group: LISTENERS,
        value: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Let whoever shows the admin token drain replicas by hand",
        kind: Kind::Switch(|d, t| put(&mut d.admin_write, parse::switch(t))),
    },
    Key {
        name: ADMIN_TOKEN,
        group: LISTENERS,
        value: "TOKEN",
        fallback: Fallback::Unset { means: "none", example: "choose-a-long-random-one" },
        help: "That token; a flag is seen by every user of the machine, so better a variable, or best a file",
        kind: Kind::Secret(|d, t| put(&mut d.admin_token, token::parse(t).map(Some))),
    },
    Key {
        name: ADMIN_TOKEN_FILE,
        group: LISTENERS,
        value: "FILE",
        fallback: Fallback::Unset { means: "none", example: "/run/secrets/evenkeel-admin-token" },
        help: "A file with that token alone, read at the start",
        kind: Kind::Text(|d, t| put(&mut d.admin_token_file, Ok(Some(t.to_owned())))),
    },
    Key {
        name: "threads",
        group: LISTENERS,
        value: "COUNT",
        fallback: Fallback::Text("cores"),
        help: "Threads that carry traffic, each with a listener and pools of its own",
        kind: Kind::Number(|d, t| put(&mut d.proxy.threads, parse::threads(t))),
    },
    Key {
        name: "service",
        group: ROUTING,
        value: "NAME",
        fallback: Fallback::Text("gateway"),
        help: "The Compose service that is balanced without any label, and that requests go to when their Host names no other",
        kind: Kind::Text(|d, t| put(&mut d.proxy.service, parse::name(t).map(ServiceName::from))),
    },
    Key {
        name: "policy",
        group: ROUTING,
        value: "POLICY",
        fallback: Fallback::Text("p2c"),
        help: "How a replica is picked: p2c (less loaded of two drawn at random), round-robin, least-requests, random, or ewma (p2c that minds latencies, for replicas of unequal speed)",
        kind: Kind::Text(|d, t| put(&mut d.proxy.policy, parse::word(t, &Policy::ALL, Policy::as_str))),
    },
    Key {
        name: "retries",
        group: ROUTING,
        value: "COUNT",
        fallback: Fallback::Text("2"),
        help: "Further attempts, on other replicas, at a request that may be sent again; a replica that refuses at once is not counted, nor are two whose hosts are silent",
        kind: Kind::Number(|d, t| put(&mut d.proxy.retries, parse::number(t, 0..=100, 2))),
    },
    Key {
        name: "hold",
        group: ROUTING,
        value: "DURATION",
        fallback: Fallback::Text("10s"),
        help: "How long a request waits for a replica that is ready and has room, before it is refused; 0s: not at all",
        kind: Kind::Text(|d, t| put(&mut d.proxy.hold.time, parse::duration(t))),
    },
    routing::HOLD_INTERVAL,
    routing::STATIC,
    scale::SUBSET,
    scale::SUBSET_SLOT,
    front::TRUSTED_PROXIES,
    front::PROXY_PROTOCOL,
    front::HEALTH_ENDPOINT,
    routing::REQUEST_HEADER,
    routing::RESPONSE_HEADER,
    Key {
        name: "no-docker",
        group: DOCKER,
        value: "BOOL",
        fallback: Fallback::Text("false"),
        help: "Watch no Docker engine; only the static replicas, those of the DNS and peers are there",
        kind: Kind::Switch(|d, t| put(&mut d.no_docker, parse::switch(t))),
    },
    Key {
        name: DOCKER_HOST,
        group: DOCKER,
        value: "[NAME=]URL,…",
        fallback: Fallback::Text("unix:///var/run/docker.sock"),
        help: "The Docker engines, each unix:///path, tcp://host:port or ssh://user@host, with ?address=HOST where its published ports are reached at another address; without it, DOCKER_HOST holds; repeatable",
        kind: Kind::List(|d, t| docker_host::add(&mut d.docker_hosts, t)),
    },
    Key {
        name: "docker-cert-path",
        group: DOCKER,
        value: "DIR",
        fallback: Fallback::Unset { means: "no TLS", example: "/etc/evenkeel/docker" },
        help: "Speak TLS to tcp:// engines, with ca.pem, cert.pem and key.pem in this directory; ?cert-path=DIR or =off for one engine; without it, DOCKER_CERT_PATH holds where DOCKER_HOST and DOCKER_TLS_VERIFY do",
        kind: Kind::Text(|d, t| put(&mut d.docker.cert_path, Ok(Some(t.into())))),
    },
    Key {
        name: "project",
        group: DOCKER,
        value: "NAME",
        fallback: Fallback::Unset { means: "the project of evenkeel's own container", example: "shop" },
        help: "The Compose project whose containers are balanced",
        kind: Kind::Text(|d, t| put(&mut d.docker.project, parse::name(t).map(|name| Some(name.to_owned())))),
    },
    Key {
        name: "network",
        group: DOCKER,
        value: "NAME",
        fallback: Fallback::Unset { means: "one that evenkeel's own container is on", example: "shop_default" },
        help: "The Docker network whose addresses are dialled",
        kind: Kind::Text(|d, t| put(&mut d.docker.network, parse::name(t).map(|name| Some(name.to_owned())))),
    },
    Key {
        name: "port",
        group: DOCKER,
        value: "PORT",
        fallback: Fallback::Unset { means: "the only TCP port that the container exposes", example: "3001" },
        help: "The port to dial where no label says",
        kind: Kind::Number(|d, t| put(&mut d.docker.port, parse::number(t, 1..=u16::MAX, 3001).map(Some))),
    },
    Key {
        name: "resync-interval",
        group: DOCKER,
        value: "DURATION",
        fallback: Fallback::Text("30s"),
        help: "The time between two full lists of the containers",
        kind: Kind::Text(|d, t| put(&mut d.docker.resync_interval, parse::positive(t))),
    },
    swarm::SWARM,
    swarm::POLL,
    swarm::IDLE_POLL,
    dns::NAMES,
    dns::SERVERS,
    dns::TIMEOUT,
    dns::MIN_TTL,
    dns::MAX_TTL,
    dns::LINGER,
    dns::ON_EMPTY,
    peers::PEER,
    peers::ADVERTISE,
    peers::NAME,
    peers::TOKEN,
    peers::TOKEN_FILE,
    peers::PREFER_LOCAL,
    health::PATH,
    health::STATUS,
    health::INTERVAL,
    health::TIMEOUT,
    health::HEALTHY_THRESHOLD,
    health::UNHEALTHY_THRESHOLD,
    health::EJECT_ON,
    health::EJECT_FAILURES,
    health::EJECT_RATE,
    health::EJECT_TIME,
    health::SLOW_START,
    health::DRAIN_TIMEOUT,
    Key {
        name: "connect-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("2s"),
        help: "How long a connect to a replica may take; half a second at the most where another replica could take the request",
        kind: Kind::Text(|d, t| put(&mut d.proxy.connect_timeout, parse::positive(t))),
    },
    Key {
        name: "response-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("60s"),
        help: "How long a replica may take from the request's end to its answer's head",
        kind: Kind::Text(|d, t| put(&mut d.proxy.response_timeout, parse::positive(t))),
    },
    Key {
        name: "first-byte-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("10s"),
        help: "How long a new connection of a client may take to bring its first byte",
        kind: Kind::Text(|d, t| put(&mut d.proxy.first_byte_timeout, parse::positive(t))),
    },
    Key {
        name: "head-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("10s"),
        help: "How long a client may take to send a request's head",
        kind: Kind::Text(|d, t| put(&mut d.proxy.head_timeout, parse::positive(t))),
    },
    Key {
        name: "keep-alive-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("75s"),
        help: "How long a client's connection may stay idle between requests",
        kind: Kind::Text(|d, t| put(&mut d.proxy.keep_alive_timeout, parse::positive(t))),
    },
    Key {
        name: "idle-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("60s"),
        help: "How long a body may make no progress in its direction",
        kind: Kind::Text(|d, t| put(&mut d.proxy.idle_timeout, parse::positive(t))),
    },
    Key {
        name: "tunnel-timeout",
        group: TIMEOUTS,
        value: "DURATION",
        fallback: Fallback::Text("1h"),
        help: "How long a tunnel, such as a WebSocket, may carry nothing in either direction",
        kind: Kind::Text(|d, t| put(&mut d.proxy.tunnel_timeout, parse::positive(t))),
    },
    Key {
        name: "max-head-bytes",
        group: LIMITS,
        value: "SIZE",
        fallback: Fallback::Text("32KiB"),
        help: "The longest head of a request or an answer",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.head_bytes, parse::size(t, 1 << 10..=1 << 20, "32KiB"))),
    },
    Key {
        name: "max-headers",
        group: LIMITS,
        value: "COUNT",
        fallback: Fallback::Text("100"),
        help: "The most field lines of such a head",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.headers, parse::number(t, 1..=MAX_HEADERS, 100))),
    },
    Key {
        name: "max-target-bytes",
        group: LIMITS,
        value: "SIZE",
        fallback: Fallback::Text("8KiB"),
        help: "The longest request target: path and query",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.target_bytes, parse::size(t, 64..=1 << 20, "8KiB"))),
    },
    Key {
        name: "max-body-bytes",
        group: LIMITS,
        value: "SIZE",
        fallback: Fallback::Text("off"),
        help: "The longest body of a request; off: any",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.body_bytes, parse::body_bytes(t))),
    },
    Key {
        name: "max-connections",
        group: LIMITS,
        value: "COUNT",
        fallback: Fallback::Text("auto"),
        help: "Client connections at once, beyond which new ones wait; auto: somewhat less than half of the file descriptors, at most 65536",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.connections, parse::connections(t))),
    },
    Key {
        name: "max-connections-per-client",
        group: LIMITS,
        value: "COUNT",
        fallback: Fallback::Text("off"),
        help: "Connections at once of one client address, or of one IPv6 /64, beyond which new ones are reset; trusted proxies and peers are not counted; off: any",
        kind: Kind::Number(|d, t| put(&mut d.proxy.limits.connections_per_client, parse::connections_per_client(t))),
    },
    Key {
        name: "max-concurrency",
        group: LIMITS,
        value: "COUNT",
        fallback: Fallback::Text("off"),
        help: "Requests that a replica may have at once, beyond which others wait as --hold says; off: any number",
        kind: Kind::Number(|d, t| put(&mut d.defaults.max_concurrency, parse::concurrency(t))),
    },
    Key {
        name: "max-held-requests",
        group: LIMITS,
        value: "COUNT",
        fallback: Fallback::Text("10000"),
        help: "Requests for one service that may wait at once, beyond which they are refused",
        kind: Kind::Number(|d, t| put(&mut d.proxy.hold.requests, parse::number(t, 1..=1 << 20, 10_000))),
    },
    Key {
        name: "max-held-bytes",
        group: LIMITS,
        value: "SIZE",
        fallback: Fallback::Text("64MiB"),
        help: "What they may keep in memory",
        kind: Kind::Number(|d, t| put(&mut d.proxy.hold.bytes, parse::held_bytes(t))),
    },
    Key {
        name: "lame-duck",
        group: SHUTDOWN,
        value: "DURATION",
        fallback: Fallback::Text("0s"),
        help: "How long to go on accepting after SIGTERM, with /readyz and --health-endpoint at 503",
        kind: Kind::Text(|d, t| put(&mut d.shutdown.lame_duck, parse::duration(t))),
    },
    Key {
        name: "shutdown-timeout",
        group: SHUTDOWN,
        value: "DURATION",
        fallback: Fallback::Text("8s"),
        help: "How long requests may take to finish after that",
        kind: Kind::Text(|d, t| put(&mut d.shutdown.timeout, parse::duration(t))),
    },
    Key {
        name: "log",
        group: LOG,
        value: "FILTER",
        fallback: Fallback::Text("info"),
        help: "What to log: a level (error, warn, info, debug, trace, off) or a filter like info,evenkeel::discovery=debug",
        kind: Kind::Text(|d, t| put(&mut d.log.filter, parse::log_filter(t))),
    },
    Key {
        name: "log-format",
        group: LOG,
        value: "FORMAT",
        fallback: Fallback::Text("text"),
        help: "How to log, on stderr: text or json",
        kind: Kind::Text(|d, t| put(&mut d.log.format, parse::word(t, &LogFormat::ALL, LogFormat::as_str))),
    },
];
