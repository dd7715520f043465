//! Where a container of another host is dialled: container addresses do not route from there to here, so at the host's
//! address, and at the port of it that the container publishes.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::container::{Container, Published};
use super::evaluate::{Scope, port};
use crate::discovery::verdict::Verdict;

/// Where the container is dialled on `host`, and the network if it is the host's.
pub(super) fn address(
    container: &Container,
    scope: &Scope,
    label: Option<u16>,
    host: IpAddr,
) -> Result<(Option<String>, SocketAddr), Verdict> {
    let named = port(container, scope, label);
    if container.is_on_host_network() {
        return Ok((Some(container.network_mode.clone()), SocketAddr::new(host, named?)));
    }
    // What is published says as well which port is meant.
    let private = named.or_else(|verdict| only_one(container).ok_or(verdict))?;
    // Without a network it has nothing published, whatever was said before it left.
    let is_reachable = !container.networks.is_empty();
    let of_it: Vec<_> = container.published.iter().filter(|port| is_reachable && port.private == private).collect();
    match of_it.iter().filter(|port| port.is_at(host)).map(|port| port.public).min() {
        Some(public) => Ok((None, SocketAddr::new(host, public))),
        None => Err(Verdict::NotPublished { port: private, host, at: of_it.iter().map(ToString::to_string).collect() }),
    }
}

/// The container's port that is published, if it is one only.
fn only_one(container: &Container) -> Option<u16> {
    let ports: BTreeSet<_> = container.published.iter().map(|port| port.private).collect();
    ports.first().copied().filter(|_| ports.len() == 1)
}

impl Published {
    /// Whether who dials this address of the host comes to it.
    fn is_at(&self, host: IpAddr) -> bool {
        match self.ip {
            None => true,
            Some(ip) => ip == host || (ip.is_unspecified() && ip.is_ipv4() == host.is_ipv4()),
        }
    }
}
