//! What is a replica: from a task, its service and node and what we know of ourselves to a verdict and, if it is one,
//! the replica. Pure, so that every rule is a row in a table of the tests.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::model::{Attachment, Node, Service, Task, TaskState};
use crate::change::Sighting;
use crate::config::settings::SwarmSettings;
use crate::discovery::docker::evaluate::verdict_on;
use crate::discovery::docker::identity::Identity;
use crate::discovery::docker::labels::Labels;
use crate::discovery::verdict::{Considered, Verdict};
use crate::replica::{Lifecycle, ReplicaId, ReplicaSpec};
use crate::service::ServiceName;

/// The network of a task that has none of its own.
const HOST: &str = "host";

/// What decides which services are ours and how their tasks are reached.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) settings: SwarmSettings,
    pub(super) me: Identity,
}

/// What came of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evaluation {
    /// The verdict, for people.
    pub(super) considered: Considered,
    /// The replica, for the registry.
    pub(super) sighting: Option<Sighting>,
}

/// What only the node's own engine tells of a container, or sooner than the manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) is_paused: bool,
    /// Whether its HEALTHCHECK fails.
    pub(super) is_ailing: bool,
    /// Whether it was sent its stop signal.
    pub(super) is_told: bool,
}

impl Scope {
    /// The stack that we look after.
    pub(super) fn stack(&self) -> Option<&str> {
        self.settings.project.as_deref().or(self.me.stack.as_deref())
    }

    /// Whether its tasks are balanced without labels.
    fn is_ours(&self, service: &Service) -> bool {
        let wanted = self.settings.service.as_str();
        let is_in_our_stack = service.stack.is_some() && service.stack.as_deref() == self.stack();
        service.name == wanted || (is_in_our_stack && service.short_name() == wanted)
    }

    /// Whether there is anything to be said of its tasks.
    pub(super) fn concerns(&self, service: &Service) -> bool {
        let is_labelled = |labels| Labels::parse(labels).is_any;
        self.is_ours(service) || is_labelled(&service.labels) || is_labelled(&service.container_labels)
    }

    /// How it is called here. In a stack that is not ours the stack's name stays, so that two stacks' `gateway` are two.
    fn name(&self, service: &Service, labels: &Labels) -> ServiceName {
        let is_known = self.is_ours(service) || service.stack.as_deref() == self.stack();
        let own = if is_known { service.short_name() } else { &service.name };
        // Whoever says `--service shop_gateway` asks for it by that name.
        let own = if service.name == self.settings.service.as_str() { &service.name } else { own };
        ServiceName::from(labels.service.as_deref().unwrap_or(own))
    }
}

/// Judges one task that has not ended. `None`: it is ourselves.
pub(super) fn evaluate(
    task: &Task,
    service: &Service,
    node: Option<&Node>,
    local: Local,
    scope: &Scope,
) -> Option<Evaluation> {
    if task.container.is_some() && scope.me.id == task.container {
        return None;
    }
    // What stands on the task's own container goes before what stands on the service.
    let mut all: HashMap<_, _> = service.labels.clone();
    all.extend(task.labels.iter().map(|(label, value)| (label.clone(), value.clone())));
    let labels = Labels::parse(&all);
    let name = scope.name(service, &labels);
    let (verdict, sighting) = match judge(task, service, node, local, scope, &labels, &name) {
        Ok(sighting) => (verdict_on(sighting.lifecycle), Some(sighting)),
        Err(verdict) => (verdict, None),
    };
    let others_bad = labels.bad.iter().filter(|bad| **bad != verdict).map(ToString::to_string);
    let considered = Considered {
        id: task.container.clone().unwrap_or_else(|| ReplicaId::from(&task.id)),
        name: replica_name(task, service, node),
        service: Some(name),
        project: service.stack.clone(),
        warnings: others_bad.chain(labels.warnings.iter().cloned()).collect(),
        verdict,
    };
    Some(Evaluation { considered, sighting })
}

/// `gateway.3@node-2`, or `gateway@node-2` in a global service, which has one on each node.
fn replica_name(task: &Task, service: &Service, node: Option<&Node>) -> String {
    let slot = task.slot.map(|slot| format!(".{slot}")).unwrap_or_default();
    let node = node.map(|node| node.hostname.as_str()).or(task.node.as_deref());
    let node = node.map(|node| format!("@{node}")).unwrap_or_default();
    format!("{}{slot}{node}", service.short_name())
}

/// The rules in the order in which they are asked: is it ours, is it readable, does it run, can it be reached.
fn judge(
    task: &Task,
    service: &Service,
    node: Option<&Node>,
    local: Local,
    scope: &Scope,
    labels: &Labels,
    name: &ServiceName,
) -> Result<Sighting, Verdict> {
    match labels.enable {
        Some(false) => return Err(Verdict::OptedOut),
        Some(true) => is_in_our_stack(service, scope)?,
        None if scope.is_ours(service) => {}
        // What stands in for `true` may be the label that cannot be read.
        None => return Err(labels.bad.first().cloned().unwrap_or(Verdict::NotEnabled)),
    }
    if service.is_job {
        return Err(Verdict::OneOff);
    }
    if let Some(bad) = labels.bad.first() {
        return Err(bad.clone());
    }
    let not_running = || Verdict::NotRunning { state: task.state.word().to_owned() };
    let lifecycle = match &task.state {
        TaskState::Waiting(_) | TaskState::Ended(_) => return Err(not_running()),
        _ if task.is_leaving() || local.is_told => Lifecycle::Draining,
        _ if local.is_paused => Lifecycle::Paused,
        TaskState::Starting => Lifecycle::Starting,
        TaskState::Running if local.is_ailing => Lifecycle::Ailing,
        TaskState::Running => Lifecycle::Running,
    };
    let id = task.container.clone().ok_or_else(not_running)?;
    let (network, address) = address(task, service, node, scope, labels.network.as_deref())?;
    let port = port(service, scope, labels.port)?;
    let defaults = &scope.settings.defaults;
    let spec = ReplicaSpec {
        id,
        provider: scope.settings.provider.clone(),
        service: name.clone(),
        name: replica_name(task, service, node),
        project: service.stack.clone(),
        number: task.slot,
        image: task.image.clone(),
        network: Some(network),
        addr: SocketAddr::new(address, port),
        weight: labels.weight.unwrap_or(1),
        probe: labels.probe(&defaults.probe),
        drain_timeout: labels.drain_timeout.or(defaults.drain_timeout),
        max_concurrency: labels.max_concurrency.or(defaults.max_concurrency),
    };
    Ok(Sighting { spec, lifecycle })
}

fn is_in_our_stack(service: &Service, scope: &Scope) -> Result<(), Verdict> {
    match (service.stack.as_deref(), scope.stack()) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Err(Verdict::OtherProject { theirs: theirs.to_owned(), ours: ours.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The network to dial and the address on it: the one that was named, else one shared with us, else the only one there
/// is. A task on its node's own network is at the node's address.
fn address(
    task: &Task,
    service: &Service,
    node: Option<&Node>,
    scope: &Scope,
    label: Option<&str>,
) -> Result<(String, IpAddr), Verdict> {
    let on = |attachment: &Attachment| {
        let address = attachment.address().map(|address| (attachment.network.clone(), address));
        address.ok_or(Verdict::NoAddress)
    };
    let candidates: Vec<_> = task.networks.iter().filter(|attachment| !attachment.is_ingress).collect();
    let theirs = || candidates.iter().map(|attachment| attachment.network.clone()).collect();
    if let Some(wanted) = label.or(scope.settings.network.as_deref()) {
        // `docker stack deploy` calls a stack's network `back` `shop_back`; both names will do.
        let in_stack = service.stack.as_deref().or(scope.stack()).map(|stack| format!("{stack}_{wanted}"));
        let find = |name: &str| candidates.iter().find(|attachment| attachment.network == name);
        let named = find(wanted).or_else(|| find(in_stack.as_deref()?));
        let not_there = || Verdict::NotOnNetwork { wanted: wanted.to_owned(), theirs: theirs() };
        return named.ok_or_else(not_there).and_then(|attachment| on(attachment));
    }
    if candidates.iter().any(|attachment| attachment.network == HOST) {
        let address = node.and_then(|node| node.address).ok_or(Verdict::NoAddress)?;
        return Ok((HOST.to_owned(), address));
    }
    if let Some(ours) = &scope.me.networks {
        let is_shared = |attachment: &&&Attachment| ours.values().any(|our| our.network_id == attachment.network_id);
        if let Some(shared) = candidates.iter().find(is_shared) {
            return on(shared);
        }
        return Err(Verdict::NoSharedNetwork { theirs: theirs(), ours: ours.keys().cloned().collect() });
    }
    match candidates.as_slice() {
        [] => Err(Verdict::NoAddress),
        [only] => on(only),
        _ => Err(Verdict::SeveralNetworks { theirs: theirs() }),
    }
}

/// The port to dial: the one that was named, else the only one that is published. A manager does not know what an image
/// exposes.
fn port(service: &Service, scope: &Scope, label: Option<u16>) -> Result<u16, Verdict> {
    if let Some(port) = label.or(scope.settings.port) {
        return Ok(port);
    }
    let mut published = service.ports.iter().copied();
    match (published.next(), published.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Verdict::NoPort),
        _ => Err(Verdict::SeveralPorts { ports: service.ports.iter().copied().collect() }),
    }
}

#[cfg(test)]
mod tests;
