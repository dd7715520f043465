//! The connection to a Docker engine: the only file that knows bollard. Everything it hands out is in our own words.

#![expect(clippy::disallowed_types, reason = "this is the file that talks to bollard")]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, ContainerSummary,
    ContainerSummaryHealthStatusEnum, ContainerSummaryStateEnum, EndpointSettings, EventMessage, EventMessageTypeEnum,
    Health, HealthStatusEnum, PortBinding, PortMap, PortSummary, PortSummaryTypeEnum,
};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptions, ListContainersOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as BollardError};
use futures::{Stream, StreamExt as _};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(in crate::discovery) use super::error::DockerError;

use super::container::{Container, Details, Endpoint, Published, RunState, health_in_status};
use super::event::{Event, FILTERS, Filters, Message, MessageKind};
use super::signal::Signal;
use super::ssh::{Complaint, Ssh};
use super::tls::Tls;
use super::transport::{Dial, Transport, TransportError};

/// How long the engine may take for an answer of a few lines.
const SHORT_ANSWER: Duration = Duration::from_secs(3);
/// How long it may take for a list of every container.
const LONG_ANSWER: Duration = Duration::from_secs(10);
/// bollard's own timeout, in whole seconds, covers an answer's head. It matters for the event stream only, whose
/// head some filtering proxies hold back until the first event.
const STREAM_HEAD_SECONDS: u64 = 120;
/// Inspects under way at once: each is a connection of its own.
const INSPECTS: usize = 32;
/// The same where each connection is a login.
const INSPECTS_BY_SSH: usize = 3;

/// A connection to one engine. Cheap to clone; each call opens a socket of its own.
#[derive(Clone)]
pub(in crate::discovery) struct Client {
    docker: Docker,
    origin: Origin,
    inspects: Arc<Semaphore>,
}

/// Whom errors are about.
#[derive(Clone)]
struct Origin {
    host: String,
    complaint: Complaint,
}

/// An engine that is reached over connections of our own making.
fn over(dial: impl Dial + 'static) -> Result<Docker, BollardError> {
    let transport = Arc::new(Transport::new(dial));
    let send = move |request: BollardRequest| {
        let transport = Arc::clone(&transport);
        async move {
            transport.send(request).await.map_err(|error| match error {
                TransportError::Dial(error) => BollardError::from(error),
                TransportError::Http(error) => BollardError::from(error),
            })
        }
    };
    Docker::connect_with_custom_transport(send, Some("http://docker"), STREAM_HEAD_SECONDS, API_DEFAULT_VERSION)
}

impl Client {
    /// Connects to the engine and agrees on an API version.
    pub(in crate::discovery) async fn connect(host: &str, cert_path: Option<&Path>) -> Result<Self, DockerError> {
        let bad_host = || DockerError::BadHost { host: host.to_owned() };
        let origin = Origin { host: host.to_owned(), complaint: Complaint::default() };
        let (scheme, rest) = host.split_once("://").ok_or_else(bad_host)?;
        let docker = match (scheme, cert_path) {
            ("unix", _) => Docker::connect_with_unix(host, STREAM_HEAD_SECONDS, API_DEFAULT_VERSION),
            ("tcp", Some(directory)) => {
                over(Tls::new(rest, directory).map_err(|cause| DockerError::Tls { host: host.to_owned(), cause })?)
            }
            ("tcp" | "http", _) => Docker::connect_with_http(host, STREAM_HEAD_SECONDS, API_DEFAULT_VERSION),
            ("ssh", _) => over(Ssh::new(host, origin.complaint.clone())),
            _ => return Err(bad_host()),
        };
        let docker = docker.map_err(|error| origin.explain(&error))?;
        let is_ssh = scheme == "ssh";
        let inspects = Arc::new(Semaphore::new(if is_ssh { INSPECTS_BY_SSH } else { INSPECTS }));
        // To log in takes its time.
        let limit = if is_ssh { LONG_ANSWER } else { SHORT_ANSWER };
        match within(limit, "version", docker.negotiate_version()).await? {
            Ok(docker) => Ok(Self { docker, origin, inspects }),
            Err(error) => {
                if is_ssh {
                    origin.complaint.wait().await;
                }
                Err(origin.explain(&error))
            }
        }
    }

    /// Every event of a container since the given time, until the stream ends in an error.
    pub(super) fn events(&self, since: SystemTime) -> impl Stream<Item = Result<Event, DockerError>> + use<> {
        self.messages(since, FILTERS).filter_map(|message| {
            let event = message.map(|message| Event::of(&message)).transpose();
            std::future::ready(event)
        })
    }

    /// Every event since the given time that passes the filters, until the stream ends in an error.
    pub(in crate::discovery) fn messages(
        &self,
        since: SystemTime,
        filters: &Filters,
    ) -> impl Stream<Item = Result<Message, DockerError>> + use<> {
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let filters: HashMap<_, _> = filters.iter().map(|(key, values)| (*key, values.to_vec())).collect();
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        let origin = self.origin.clone();
        self.docker.events(Some(options)).filter_map(move |message| {
            let message = match message {
                Ok(message) => read_message(message).map(Ok),
                Err(error) => Some(Err(origin.explain(&error))),
            };
            std::future::ready(message)
        })
    }

    /// Every running container.
    pub(super) async fn list(&self) -> Result<Vec<Container>, DockerError> {
        self.list_with(None).await
    }

    /// Every running container that has this label.
    pub(in crate::discovery) async fn list_labelled(&self, label: &str) -> Result<Vec<Container>, DockerError> {
        let filters = HashMap::from([("label", vec![label])]);
        self.list_with(Some(ListContainersOptionsBuilder::default().filters(&filters).build())).await
    }

    async fn list_with(&self, options: Option<ListContainersOptions>) -> Result<Vec<Container>, DockerError> {
        let list = self.docker.list_containers(options);
        let rows = within(LONG_ANSWER, "the container list", list).await?.map_err(|error| self.explain(&error))?;
        Ok(rows.into_iter().filter_map(read_row).collect())
    }

    /// One container by id or id prefix; `None` if there is none.
    pub(in crate::discovery) async fn inspect(&self, id: &str) -> Result<Option<Container>, DockerError> {
        let _permit = self.inspects.acquire().await;
        let inspect = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        match within(SHORT_ANSWER, "an inspect", inspect).await? {
            Ok(answer) => Ok(read_inspect(answer)),
            Err(BollardError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// The version of the API that was agreed on: `1.41`.
    pub(in crate::discovery) fn api_version(&self) -> String {
        self.docker.client_version().to_string()
    }

    /// Asks whether the engine is there.
    pub(in crate::discovery) async fn ping(&self) -> Result<(), DockerError> {
        let answer = within(SHORT_ANSWER, "a ping", self.docker.ping()).await?;
        answer.map(drop).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &BollardError) -> DockerError {
        self.origin.explain(error)
    }
}

/// The address of a host, an IPv4 one if it has any.
pub(super) async fn resolve(host: &str) -> Result<IpAddr, DockerError> {
    let unresolved = |cause: String| DockerError::Unresolved { host: host.to_owned(), cause };
    let found = within(SHORT_ANSWER, "the DNS", lookup_host((host, 0))).await?;
    let found: Vec<_> = found.map_err(|error| unresolved(error.to_string()))?.map(|addr| addr.ip()).collect();
    found.iter().find(|ip| ip.is_ipv4()).or(found.first()).copied().ok_or_else(|| unresolved("it has none".to_owned()))
}

async fn within<T>(limit: Duration, what: &'static str, answer: impl Future<Output = T>) -> Result<T, DockerError> {
    timeout(limit, answer).await.map_err(|_| DockerError::TimedOut { what, within: limit })
}

impl Origin {
    /// Says what is wrong in terms of what the reader can do about it.
    fn explain(&self, error: &BollardError) -> DockerError {
        let host = self.host.clone();
        match error {
            BollardError::SocketNotFoundError(path) => return DockerError::NoSocket { path: path.clone() },
            BollardError::JsonDataError { message, .. } => return DockerError::Undecodable(message.clone()),
            BollardError::JsonSerdeError { err } => return DockerError::Undecodable(err.to_string()),
            BollardError::DockerResponseServerError { status_code: 400, message }
                if message.contains("HTTPS server") =>
            {
                return DockerError::WantsTls { host };
            }
            _ => {}
        }
        if let Some(told) = self.complaint.last_line() {
            return DockerError::Ssh { host, told };
        }
        let mut cause: &dyn std::error::Error = match error {
            BollardError::IOError { err } => err,
            error => error,
        };
        while let Some(source) = cause.source() {
            cause = source;
        }
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::PermissionDenied) => DockerError::Forbidden { host },
            Some(io::ErrorKind::NotFound) if host.starts_with("ssh://") => DockerError::NoSsh { host },
            Some(io::ErrorKind::NotFound) => DockerError::NoSocket { path: host },
            Some(io::ErrorKind::ConnectionRefused) => DockerError::Unreachable { host, cause: cause.to_string() },
            Some(io::ErrorKind::InvalidData) => DockerError::Tls { host, cause: cause.to_string() },
            _ => DockerError::Other(format!("{error}: {cause}")),
        }
    }
}

fn read_message(message: EventMessage) -> Option<Message> {
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

fn read_row(row: ContainerSummary) -> Option<Container> {
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

fn read_inspect(answer: ContainerInspectResponse) -> Option<Container> {
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

fn read_state(state: &ContainerState) -> RunState {
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

#[cfg(test)]
mod tests;
