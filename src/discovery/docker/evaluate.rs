//! What is a replica: from a container and what we know of ourselves to a verdict and, if it is one, the replica.
//! Pure, so that every rule is a row in a table of the tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::container::{Container, Endpoint, RunState};
use super::identity::Identity;
use super::labels::Labels;
use super::published;
use crate::change::Sighting;
use crate::config::settings::DockerSettings;
use crate::discovery::verdict::{Considered, Verdict};
use crate::replica::{Lifecycle, ReplicaSpec};
use crate::service::ServiceName;

/// What decides which containers are ours and how they are reached.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) settings: DockerSettings,
    pub(super) me: Identity,
    /// Our own project as another engine told it, the one that runs us.
    pub(super) own_project: Option<Arc<str>>,
    /// Where the engine's host is reached, if container addresses of it are not.
    pub(super) host: Option<IpAddr>,
}

/// What came of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evaluation {
    /// The verdict, for people.
    pub(super) considered: Considered,
    /// The replica, for the registry.
    pub(super) sighting: Option<Sighting>,
}

impl Scope {
    /// The Compose project that we look after.
    pub(super) fn project(&self) -> Option<&str> {
        self.settings.project.as_deref().or(self.me.project.as_deref()).or(self.own_project.as_deref())
    }

    /// A name that is unique among all hosts.
    fn full_name(&self, name: String) -> String {
        match self.settings.provider.name() {
            Some(host) => format!("{name}@{host}"),
            None => name,
        }
    }

    /// Whether it is a container of the service that is balanced without labels.
    fn is_of_our_service(&self, container: &Container) -> bool {
        self.project().is_some_and(|ours| container.project() == Some(ours))
            && container.compose_service() == Some(self.settings.service.as_str())
    }
}

impl Evaluation {
    /// The same container after it was told to stop.
    pub(super) fn drained(mut self) -> Self {
        if let Some(sighting) = &mut self.sighting {
            sighting.lifecycle = Lifecycle::Draining;
            self.considered.verdict = Verdict::Draining;
        }
        self
    }
}

/// Judges one container. `None`: it is none of our business, or it is ourselves.
pub(super) fn evaluate(container: &Container, scope: &Scope) -> Option<Evaluation> {
    if scope.me.id.as_ref() == Some(&container.id) {
        return None;
    }
    let labels = Labels::parse(&container.labels);
    if !labels.is_any && !scope.is_of_our_service(container) {
        return None;
    }
    let service = labels.service.as_deref().or(container.compose_service()).unwrap_or(&container.name);
    let service = ServiceName::from(service);
    let (verdict, sighting) = match judge(container, scope, &labels, &service) {
        Ok(sighting) => (verdict_on(sighting.lifecycle), Some(sighting)),
        Err(verdict) => (verdict, None),
    };
    let others_bad = labels.bad.iter().filter(|bad| **bad != verdict).map(ToString::to_string);
    let considered = Considered {
        id: container.id.clone(),
        name: scope.full_name(container.name.clone()),
        service: Some(service),
        project: container.project().map(str::to_owned),
        warnings: others_bad.chain(labels.warnings.iter().cloned()).collect(),
        verdict,
    };
    Some(Evaluation { considered, sighting })
}

/// The rules in the order in which they are asked: is it ours, is it readable, does it run, can it be reached.
fn judge(container: &Container, scope: &Scope, labels: &Labels, service: &ServiceName) -> Result<Sighting, Verdict> {
    match labels.enable {
        Some(false) => return Err(Verdict::OptedOut),
        Some(true) => is_in_our_project(container, scope)?,
        None if scope.is_of_our_service(container) => {}
        // What stands in for `true` may be the label that cannot be read.
        None => return Err(labels.bad.first().cloned().unwrap_or(Verdict::NotEnabled)),
    }
    if container.is_one_off() {
        return Err(Verdict::OneOff);
    }
    if let Some(bad) = labels.bad.first() {
        return Err(bad.clone());
    }
    let lifecycle = match &container.run_state {
        RunState::Running => Lifecycle::Running,
        RunState::Starting => Lifecycle::Starting,
        RunState::Unhealthy => Lifecycle::Ailing,
        RunState::Paused => Lifecycle::Paused,
        RunState::Stopping => Lifecycle::Draining,
        RunState::Down(state) => return Err(Verdict::NotRunning { state: state.clone() }),
    };
    let (network, addr) = match scope.host {
        Some(host) => published::address(container, scope, labels.port, host)?,
        None => {
            let (network, address) = address(container, scope, labels.network.as_deref())?;
            (Some(network), SocketAddr::new(address, port(container, scope, labels.port)?))
        }
    };
    let number = container.number();
    let name = match (container.compose_service(), number) {
        (Some(service), Some(number)) => format!("{service}-{number}"),
        _ => container.name.clone(),
    };
    let spec = ReplicaSpec {
        id: container.id.clone(),
        provider: scope.settings.provider.clone(),
        service: service.clone(),
        name: scope.full_name(name),
        project: container.project().map(str::to_owned),
        number,
        image: container.image.clone(),
        network,
        addr,
        weight: labels.weight.unwrap_or(1),
        probe: labels.probe(&scope.settings.defaults.probe),
        drain_timeout: labels.drain_timeout.or(scope.settings.defaults.drain_timeout),
        max_concurrency: labels.max_concurrency.or(scope.settings.defaults.max_concurrency),
    };
    Ok(Sighting { spec, lifecycle })
}

fn is_in_our_project(container: &Container, scope: &Scope) -> Result<(), Verdict> {
    match (container.project(), scope.project()) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Err(Verdict::OtherProject { theirs: theirs.to_owned(), ours: ours.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The network to dial and the address on it: the one that was named, else one shared with us.
fn address(container: &Container, scope: &Scope, label: Option<&str>) -> Result<(String, IpAddr), Verdict> {
    let has_address = |name: &str, endpoint: &Endpoint| endpoint.address().map(|address| (name.to_owned(), address));
    if let Some(wanted) = label.or(scope.settings.network.as_deref()) {
        let (name, endpoint) = named(container, scope, wanted)
            .ok_or_else(|| Verdict::NotOnNetwork { wanted: wanted.to_owned(), theirs: container.network_names() })?;
        return has_address(name, endpoint).ok_or(Verdict::NoAddress);
    }
    let Some(ours) = &scope.me.networks else { return address_from_outside(container) };
    let shared = || container.networks.iter().filter(|(name, e)| ours.get(*name).is_some_and(|our| e.is_with(our)));
    if shared().next().is_none() {
        let (theirs, ours) = (container.network_names(), ours.keys().cloned().collect());
        return Err(Verdict::NoSharedNetwork { theirs, ours });
    }
    shared().find_map(|(name, endpoint)| has_address(name, endpoint)).ok_or(Verdict::NoAddress)
}

/// Compose calls a project's network `back` `shop_back`; both names will do.
fn named<'c>(container: &'c Container, scope: &Scope, wanted: &str) -> Option<(&'c String, &'c Endpoint)> {
    let in_project = container.project().or(scope.project()).map(|project| format!("{project}_{wanted}"));
    let networks = &container.networks;
    networks.get_key_value(wanted).or_else(|| networks.get_key_value(&in_project?))
}

/// From the engine's own host any of the container's addresses will do, but two of them need a choice.
fn address_from_outside(container: &Container) -> Result<(String, IpAddr), Verdict> {
    if container.is_on_host_network() {
        return Ok(("host".to_owned(), Ipv4Addr::LOCALHOST.into()));
    }
    let addresses = container.networks.iter().filter_map(|(name, e)| Some((name.clone(), e.address()?)));
    let mut addresses: Vec<_> = addresses.collect();
    if addresses.len() > 1 {
        let default = container.project().map(|project| format!("{project}_default"));
        addresses.retain(|(name, _)| Some(name) == default.as_ref());
        if addresses.is_empty() {
            return Err(Verdict::SeveralNetworks { theirs: container.network_names() });
        }
    }
    addresses.pop().ok_or(Verdict::NoAddress)
}

/// The port to dial: the one that was named, else the only one exposed.
pub(super) fn port(container: &Container, scope: &Scope, label: Option<u16>) -> Result<u16, Verdict> {
    if let Some(port) = label.or(scope.settings.port) {
        return Ok(port);
    }
    let mut exposed = container.ports.iter().copied();
    match (exposed.next(), exposed.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Verdict::NoPort),
        _ => Err(Verdict::SeveralPorts { ports: container.ports.iter().copied().collect() }),
    }
}

pub(in crate::discovery) fn verdict_on(lifecycle: Lifecycle) -> Verdict {
    match lifecycle {
        Lifecycle::Running => Verdict::Routed,
        Lifecycle::Starting => Verdict::Starting,
        Lifecycle::Ailing => Verdict::Unhealthy,
        Lifecycle::Paused => Verdict::Paused,
        Lifecycle::Draining => Verdict::Draining,
    }
}

#[cfg(test)]
mod tests;
