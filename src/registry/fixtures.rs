//! What the tests of several rooms fill a registry with.

use std::net::SocketAddr;

use super::{Registry, RegistryWriter};
use crate::change::{Change, Sighting};
use crate::provider::Provider;
use crate::replica::{Health, Lifecycle, ReplicaSpec};

/// A replica of weight 1 named `service-number`, at an address of its own.
pub(crate) fn spec(service: &str, number: u16) -> ReplicaSpec {
    let name = format!("{service}-{number}");
    let addr = SocketAddr::from(([10, 0, 0, 1], 3000 + number));
    let bare = ReplicaSpec::at(addr, (&name).into(), Provider::DOCKER, service.into());
    ReplicaSpec { name, project: Some("shop".into()), number: Some(number.into()), ..bare }
}

/// The Docker provider's word that a replica runs.
pub(crate) fn running(spec: ReplicaSpec) -> Change {
    Change::Upsert { replica: Box::new(Sighting { spec, lifecycle: Lifecycle::Running }) }
}

/// A registry in which the service `gateway` has a ready replica of each weight, numbered from 1.
pub(crate) fn gateway(weights: &[u16]) -> (Registry, RegistryWriter) {
    let (registry, mut writer) = Registry::new();
    for (weight, number) in weights.iter().zip(1..) {
        join(&registry, &mut writer, ReplicaSpec { weight: *weight, ..spec("gateway", number) });
    }
    (registry, writer)
}

/// Adds a replica that is ready at once.
pub(crate) fn join(registry: &Registry, writer: &mut RegistryWriter, spec: ReplicaSpec) {
    let (service, id) = (spec.service.clone(), spec.id.clone());
    writer.apply(running(spec));
    let replicas = registry.replicas(service.as_str()).unwrap();
    replicas.list().iter().find(|r| *r.id() == id).unwrap().set_health(Health::Healthy);
}
