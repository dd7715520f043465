//! The rows of who is in front of us.

use ipnet::IpNet;

use super::{ROUTING, put};
use crate::config::key::{Fallback, Key, Kind};
use crate::config::parse;

pub(super) const TRUSTED_PROXIES: Key = Key {
    name: "trusted-proxies",
    group: ROUTING,
    value: "CIDR,…",
    fallback: Fallback::Unset { means: "nobody", example: "10.0.0.0/8,192.168.1.5" },
    help: "Clients whose X-Forwarded-* are believed: addresses or networks; repeatable",
    kind: Kind::List(|d, t| add(&mut d.proxy.trusted_proxies, t)),
};

pub(super) const PROXY_PROTOCOL: Key = Key {
    name: "proxy-protocol",
    group: ROUTING,
    value: "CIDR,…",
    fallback: Fallback::Unset { means: "nobody", example: "10.0.0.0/16,192.168.1.5" },
    help: "Balancers in front that have to begin each connection with a PROXY protocol header, version 1 or 2, which says \
           who their client is: addresses or networks; repeatable",
    kind: Kind::List(|d, t| add(&mut d.proxy.proxy_protocol, t)),
};

pub(super) const HEALTH_ENDPOINT: Key = Key {
    name: "health-endpoint",
    group: ROUTING,
    value: "PATH",
    fallback: Fallback::Unset { means: "none", example: "/evenkeel-health" },
    help: "A path on --listen that evenkeel itself answers, for the health check of a balancer in front: 200, or 503 from \
           SIGTERM on and while no replica of --service could take a request",
    kind: Kind::Text(|d, t| put(&mut d.proxy.health_endpoint, parse::path(t).map(Some))),
};

/// Adds the networks of one text, and returns what is wrong with the others of it.
fn add(networks: &mut Vec<IpNet>, text: &str) -> Vec<String> {
    let (good, bad): (Vec<_>, Vec<_>) =
        text.split(',').map(|piece| parse::network(piece.trim())).partition(Result::is_ok);
    networks.extend(good.into_iter().flatten());
    bad.into_iter().filter_map(Result::err).collect()
}
