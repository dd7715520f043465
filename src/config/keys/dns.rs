//! The rows of names in the DNS.

use super::{DNS, put};
use crate::config::draft::Draft;
use crate::config::key::{Fallback, Key, Kind};
use crate::config::parse;
use crate::config::settings::DnsOnEmpty;

pub(in crate::config) const MIN_TTL_NAME: &str = "dns-min-ttl";

pub(super) const NAMES: Key = Key {
    name: "dns",
    group: DNS,
    value: "[SERVICE=]NAME:PORT|srv:NAME,…",
    fallback: Fallback::Unset { means: "none", example: "gateway=gateway.internal:3001" },
    help: "Names whose addresses (A, AAAA) or services (srv: SRV) are replicas, of --service where no other is named; repeatable",
    kind: Kind::List(Draft::add_dns),
};

pub(super) const SERVERS: Key = Key {
    name: "dns-server",
    group: DNS,
    value: "ADDR[:PORT],…",
    fallback: Fallback::Unset { means: "those of /etc/resolv.conf, with its search list", example: "10.0.0.2:53" },
    help: "The servers to ask instead of the system's, in this order, without its search list; repeatable",
    kind: Kind::List(Draft::add_dns_servers),
};

pub(super) const TIMEOUT: Key = Key {
    name: "dns-timeout",
    group: DNS,
    value: "DURATION",
    fallback: Fallback::Text("2s"),
    help: "How long one lookup may take in all; one that fails changes nothing",
    kind: Kind::Text(|d, t| put(&mut d.dns_rules.timeout, parse::positive(t))),
};

pub(super) const MIN_TTL: Key = Key {
    name: MIN_TTL_NAME,
    group: DNS,
    value: "DURATION",
    fallback: Fallback::Text("1s"),
    help: "How long an answer holds at least, whatever its TTL",
    kind: Kind::Text(|d, t| put(&mut d.dns_rules.min_ttl, parse::positive(t))),
};

pub(super) const MAX_TTL: Key = Key {
    name: "dns-max-ttl",
    group: DNS,
    value: "DURATION",
    fallback: Fallback::Text("5s"),
    help: "How long an answer holds at most, whatever its TTL (Docker's says 10 minutes)",
    kind: Kind::Text(|d, t| put(&mut d.dns_rules.max_ttl, parse::positive(t))),
};

pub(super) const LINGER: Key = Key {
    name: "dns-linger",
    group: DNS,
    value: "DURATION",
    fallback: Fallback::Text("0s"),
    help: "How long an address must be missing before it leaves; for servers whose answers are a changing part of the truth",
    kind: Kind::Text(|d, t| put(&mut d.dns_rules.linger, parse::duration(t))),
};

pub(super) const ON_EMPTY: Key = Key {
    name: "dns-on-empty",
    group: DNS,
    value: "keep|drain",
    fallback: Fallback::Text("keep"),
    help: "What becomes of the replicas when the name does not exist or has no addresses",
    kind: Kind::Text(|d, t| put(&mut d.dns_rules.on_empty, parse::word(t, &DnsOnEmpty::ALL, DnsOnEmpty::as_str))),
};
