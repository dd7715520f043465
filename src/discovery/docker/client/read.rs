//! What an engine answers, from bollard's words into our own.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryHealthStatusEnum, ContainerSummaryStateEnum, EndpointSettings, EventMessage, EventMessageTypeEnum,
    Health, HealthStatusEnum, PortBinding, PortMap, PortSummary, PortSummaryTypeEnum,
};

use super::super::container::{Container, Details, Endpoint, Published, RunState, health_in_status};
use super::super::event::{Message, MessageKind};
use super::super::signal::Signal;

/// What an event says; `None` if it is of nothing that matters here.
pub(super) fn read_message(message: EventMessage) -> Option<Message> {
    let actor = message.actor?;
    let kind = match message.typ? {
        EventMessageTypeEnum::CONTAINER => MessageKind::Container,
        EventMessageTypeEnum::NETWORK => MessageKind::Network,
        EventMessageTypeEnum::SERVICE => MessageKind::Service,
        EventMessageTypeEnum::NODE => MessageKind::Node,
        _ => return None,
    };
    let attributes = actor.attributes.unwrap_or_default();
    Some(Message { kind, action: message.action?, actor: actor.id?, attributes })
}

/// A container as it is in a list.
pub(super) fn read_row(row: ContainerSummary) -> Option<Container> {
    let names = row.names.unwrap_or_default();
    // With legacy links a container has further names, `/other/alias`.
    let name = names.iter().find(|name| name.matches('/').count() == 1).or(names.first());
    let health = row.health.and_then(|health| health.status).and_then(|status| match status {
        ContainerSummaryHealthStatusEnum::STARTING => Some(RunState::Starting),
        ContainerSummaryHealthStatusEnum::UNHEALTHY => Some(RunState::Unhealthy),
        ContainerSummaryHealthStatusEnum::HEALTHY => Some(RunState::Running),
        ContainerSummaryHealthStatusEnum::EMPTY | ContainerSummaryHealthStatusEnum::NONE => None,
    });
    let run_state = match row.state.unwrap_or(ContainerSummaryStateEnum::EMPTY) {
        ContainerSummaryStateEnum::RUNNING => {
            health.unwrap_or_else(|| health_in_status(row.status.as_deref().unwrap_or_default()))
        }
        ContainerSummaryStateEnum::PAUSED => RunState::Paused,
        ContainerSummaryStateEnum::STOPPING => RunState::Stopping,
        other => RunState::Down(other.to_string()),
    };
    let is_tcp = |port: &PortSummary| port.typ == Some(PortSummaryTypeEnum::TCP);
    let ports: Vec<_> = row.ports.unwrap_or_default().into_iter().filter(is_tcp).collect();
    Some(Container {
        id: row.id?.into(),
        name: bare_name(name),
        image: row.image,
        labels: row.labels.unwrap_or_default(),
        run_state,
        network_mode: row.host_config.and_then(|config| config.network_mode).unwrap_or_default(),
        networks: read_networks(row.network_settings.and_then(|settings| settings.networks)),
        ports: ports.iter().map(|port| port.private_port).collect(),
        published: ports.iter().filter_map(read_published).collect(),
        details: None,
    })
}

/// A container as it is by itself.
pub(super) fn read_inspect(answer: ContainerInspectResponse) -> Option<Container> {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let stop_signal = config.stop_signal.as_deref().and_then(Signal::parse).unwrap_or(Signal::TERM);
    let settings = answer.network_settings.unwrap_or_default();
    let ports = settings.ports.unwrap_or_default();
    let published = read_port_map(&ports);
    let exposed = config.exposed_ports.unwrap_or_default().into_iter().chain(ports.into_keys());
    Some(Container {
        id: answer.id?.into(),
        name: bare_name(answer.name.as_ref()),
        image: config.image,
        labels: config.labels.unwrap_or_default(),
        run_state: read_state(&state),
        network_mode: answer.host_config.and_then(|config| config.network_mode).unwrap_or_default(),
        networks: read_networks(settings.networks),
        ports: exposed.filter_map(|port| tcp_port(&port)).collect(),
        published,
        details: Some(Details { stop_signal, started_at: state.started_at }),
    })
}

/// A row has a port that is not published as one without a public port.
fn read_published(port: &PortSummary) -> Option<Published> {
    let ip = port.ip.as_deref().and_then(|ip| ip.parse().ok());
    Some(Published { ip, public: port.public_port?, private: port.private_port })
}

/// An inspect has it as one without bindings: `"3001/tcp": null`.
fn read_port_map(ports: &PortMap) -> Vec<Published> {
    let of_port = |(port, bindings): (&String, &Option<Vec<PortBinding>>)| -> Vec<Published> {
        let Some(private) = tcp_port(port) else { return Vec::new() };
        let read = |binding: &PortBinding| {
            let ip = binding.host_ip.as_deref().and_then(|ip| ip.parse().ok());
            Some(Published { ip, public: binding.host_port.as_deref()?.parse().ok()?, private })
        };
        bindings.iter().flatten().filter_map(read).collect()
    };
    ports.iter().flat_map(of_port).collect()
}

fn tcp_port(text: &str) -> Option<u16> {
    text.strip_suffix("/tcp")?.parse().ok()
}

pub(super) fn read_state(state: &ContainerState) -> RunState {
    match state.status.unwrap_or(ContainerStateStatusEnum::EMPTY) {
        ContainerStateStatusEnum::RUNNING => state.health.as_ref().map_or(RunState::Running, read_health),
        ContainerStateStatusEnum::PAUSED => RunState::Paused,
        ContainerStateStatusEnum::STOPPING => RunState::Stopping,
        other => RunState::Down(other.to_string()),
    }
}

fn read_health(health: &Health) -> RunState {
    let last_exit_code = || health.log.as_ref()?.last()?.exit_code;
    match health.status.unwrap_or(HealthStatusEnum::EMPTY) {
        HealthStatusEnum::STARTING => RunState::Starting,
        // Pausing makes a container unhealthy without any failure, and unpausing leaves it so until the next run of
        // its HEALTHCHECK: the last run is the better witness.
        HealthStatusEnum::UNHEALTHY if health.failing_streak == Some(0) => match last_exit_code() {
            Some(0) => RunState::Running,
            _ => RunState::Starting,
        },
        HealthStatusEnum::UNHEALTHY => RunState::Unhealthy,
        HealthStatusEnum::HEALTHY | HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => RunState::Running,
    }
}

fn read_networks(networks: Option<HashMap<String, EndpointSettings>>) -> BTreeMap<String, Endpoint> {
    let networks = networks.unwrap_or_default().into_iter();
    let read = |settings: EndpointSettings| Endpoint {
        network_id: settings.network_id.unwrap_or_default(),
        endpoint_id: settings.endpoint_id.unwrap_or_default(),
        ipv4: settings.ip_address.and_then(|address| address.parse().ok()),
        ipv6: settings.global_ipv6_address.and_then(|address| address.parse().ok()),
    };
    networks.map(|(name, settings)| (name, read(settings))).collect()
}

fn bare_name(name: Option<&String>) -> String {
    name.map(|name| name.trim_start_matches('/').to_owned()).unwrap_or_default()
}
