//! Reads the manager's JSON. Whatever is not needed is passed over, and whatever is missing has a meaning.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::{Deserialize, de::DeserializeOwned};

use super::model::{Attachment, Node, Service, Task, TaskState};
use crate::discovery::docker::client::DockerError;
use crate::discovery::docker::identity::STACK;
use crate::discovery::docker::signal::Signal;

type Map = Option<HashMap<String, String>>;

/// Reads a list of services.
pub(super) fn services(json: &[u8]) -> Result<Vec<Service>, DockerError> {
    Ok(rows::<ServiceRow>(json)?.into_iter().map(ServiceRow::read).collect())
}

/// Reads a list of nodes.
pub(super) fn nodes(json: &[u8]) -> Result<Vec<Node>, DockerError> {
    Ok(rows::<NodeRow>(json)?.into_iter().map(NodeRow::read).collect())
}

/// Reads a list of tasks.
pub(super) fn tasks(json: &[u8]) -> Result<Vec<Task>, DockerError> {
    Ok(rows::<TaskRow>(json)?.into_iter().map(TaskRow::read).collect())
}

fn rows<T: DeserializeOwned>(json: &[u8]) -> Result<Vec<T>, DockerError> {
    // Where there is none of them, Go writes null for the list.
    let rows: Option<Vec<T>> =
        serde_json::from_slice(json).map_err(|error| DockerError::Undecodable(error.to_string()))?;
    Ok(rows.unwrap_or_default())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersionRow {
    index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceRow {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    version: VersionRow,
    #[serde(default)]
    spec: ServiceSpecRow,
    update_status: Option<UpdateRow>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServiceSpecRow {
    name: String,
    labels: Map,
    task_template: Option<TaskSpecRow>,
    mode: Option<ModeRow>,
    endpoint_spec: Option<EndpointRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateRow {
    state: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeRow {
    replicated: Option<ReplicatedRow>,
    replicated_job: Option<serde::de::IgnoredAny>,
    global_job: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReplicatedRow {
    replicas: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointRow {
    ports: Option<Vec<PortRow>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortRow {
    protocol: Option<String>,
    target_port: Option<u16>,
}

impl ServiceRow {
    fn read(self) -> Service {
        let Self { id, version, spec, update_status } = self;
        let labels = spec.labels.unwrap_or_default();
        let container = spec.task_template.and_then(|template| template.container_spec);
        let ports = spec.endpoint_spec.and_then(|endpoint| endpoint.ports).unwrap_or_default();
        let is_tcp = |port: &PortRow| port.protocol.as_deref().is_none_or(|protocol| protocol == "tcp");
        let update = update_status.and_then(|update| update.state);
        let mode = spec.mode.as_ref();
        Service {
            id,
            version: version.index,
            name: spec.name,
            stack: labels.get(STACK).cloned(),
            container_labels: container.and_then(|container| container.labels).unwrap_or_default(),
            ports: ports.iter().filter(|port| is_tcp(port)).filter_map(|port| port.target_port).collect(),
            wanted: mode.and_then(|mode| mode.replicated.as_ref()?.replicas),
            is_job: mode.is_some_and(|mode| mode.replicated_job.is_some() || mode.global_job.is_some()),
            is_updating: matches!(update.as_deref(), Some("updating" | "rollback_started")),
            labels,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeRow {
    #[serde(rename = "ID")]
    id: String,
    spec: Option<NodeSpecRow>,
    description: Option<DescriptionRow>,
    status: Option<NodeStatusRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeSpecRow {
    availability: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DescriptionRow {
    hostname: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeStatusRow {
    state: Option<String>,
    addr: Option<String>,
}

impl NodeRow {
    fn read(self) -> Node {
        let Self { id, spec, description, status } = self;
        let availability = spec.and_then(|spec| spec.availability);
        let hostname = description.and_then(|description| description.hostname).filter(|name| !name.is_empty());
        let (state, address) = status.map(|status| (status.state, status.addr)).unwrap_or_default();
        Node {
            hostname: hostname.unwrap_or_else(|| id.clone()),
            address: address.and_then(|address| address.parse().ok()),
            is_up: !matches!(state.as_deref(), Some("down" | "disconnected")),
            may_run: availability.as_deref() != Some("drain"),
            id,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskRow {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    version: VersionRow,
    spec: Option<TaskSpecRow>,
    #[serde(rename = "ServiceID", default)]
    service: String,
    slot: Option<u32>,
    #[serde(rename = "NodeID")]
    node: Option<String>,
    #[serde(default)]
    status: StatusRow,
    #[serde(default)]
    desired_state: String,
    networks_attachments: Option<Vec<AttachmentRow>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TaskSpecRow {
    container_spec: Option<ContainerSpecRow>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerSpecRow {
    image: Option<String>,
    labels: Map,
    stop_signal: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StatusRow {
    state: String,
    container_status: Option<ContainerStatusRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerStatusRow {
    #[serde(rename = "ContainerID")]
    container_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttachmentRow {
    network: Option<NetworkRow>,
    addresses: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkRow {
    #[serde(rename = "ID")]
    id: String,
    spec: NetworkSpecRow,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSpecRow {
    name: String,
    ingress: bool,
}

impl TaskRow {
    fn read(self) -> Task {
        let Self { id, version, spec, service, slot, node, status, desired_state, networks_attachments } = self;
        let container = spec.and_then(|spec| spec.container_spec).unwrap_or_default();
        let container_id = status.container_status.and_then(|status| status.container_id);
        let attachments = networks_attachments.unwrap_or_default();
        Task {
            id,
            version: version.index,
            service,
            slot: slot.filter(|slot| *slot > 0),
            node: node.filter(|node| !node.is_empty()),
            container: container_id.filter(|id| !id.is_empty()).map(Into::into),
            state: TaskState::parse(&status.state),
            desired: TaskState::parse(&desired_state),
            image: container.image.map(tagged),
            stop_signal: container.stop_signal.as_deref().and_then(Signal::parse).unwrap_or(Signal::TERM),
            labels: container.labels.unwrap_or_default(),
            networks: attachments.into_iter().filter_map(AttachmentRow::read).collect(),
        }
    }
}

impl AttachmentRow {
    fn read(self) -> Option<Attachment> {
        let NetworkRow { id, spec } = self.network?;
        // With the length of the network's prefix: `10.0.1.5/24`.
        let address = |text: &String| text.split('/').next()?.parse::<IpAddr>().ok();
        let addresses = self.addresses.unwrap_or_default().iter().filter_map(address).collect();
        Some(Attachment { network_id: id, network: spec.name, is_ingress: spec.ingress, addresses })
    }
}

/// The image as people wrote it: where there is a registry, `docker stack deploy` adds the digest behind an @.
fn tagged(image: String) -> String {
    image.split_once("@sha256:").map(|(tagged, _)| tagged.to_owned()).unwrap_or(image)
}

#[cfg(test)]
mod tests;
