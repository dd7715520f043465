//! The connection to a Docker engine: only this file and `read` know bollard. Everything it hands out is in our own words.

#![expect(clippy::disallowed_types, reason = "this is the file that talks to bollard")]

mod read;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptions, ListContainersOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as BollardError};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(in crate::discovery) use super::error::DockerError;

use self::read::{read_inspect, read_message, read_row};
use super::container::Container;
use super::event::{Event, FILTERS, Filters, Message};
use super::ssh::{Complaint, Ssh};
use super::tls::Tls;
use super::transport::{Plain, Transport, TransportError};

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
/// The longest answer that is read for [`Client::get`], in bytes: some fifty thousand tasks of a Swarm.
const LONGEST: usize = 256 * 1024 * 1024;

/// A connection to one engine. Cheap to clone; each call opens a socket of its own, or takes one that was kept where a
/// new one costs a handshake.
#[derive(Clone)]
pub(in crate::discovery) struct Client {
    docker: Docker,
    /// The way to the same engine for what bollard has no words for.
    transport: Arc<Transport>,
    /// The engine's name in URLs.
    authority: String,
    origin: Origin,
    inspects: Arc<Semaphore>,
}

/// Whom errors are about.
#[derive(Clone)]
struct Origin {
    host: String,
    complaint: Complaint,
}

/// What bollard says to an engine that is reached over connections of our own making.
fn over(transport: &Arc<Transport>) -> Result<Docker, BollardError> {
    let transport = Arc::clone(transport);
    let send = move |request: BollardRequest| {
        let transport = Arc::clone(&transport);
        async move { transport.send(request).await.map_err(in_bollards_words) }
    };
    Docker::connect_with_custom_transport(send, Some("http://docker"), STREAM_HEAD_SECONDS, API_DEFAULT_VERSION)
}

fn in_bollards_words(error: TransportError) -> BollardError {
    match error {
        TransportError::Dial(error) => BollardError::from(error),
        TransportError::Http(error) => BollardError::from(error),
    }
}

impl Client {
    /// Connects to the engine and agrees on an API version.
    pub(in crate::discovery) async fn connect(host: &str, cert_path: Option<&Path>) -> Result<Self, DockerError> {
        Self::connect_with(host, cert_path, Ssh::PROGRAM).await
    }

    /// The same with another program in place of `ssh`.
    pub(in crate::discovery) async fn connect_with(
        host: &str,
        cert_path: Option<&Path>,
        ssh: &str,
    ) -> Result<Self, DockerError> {
        let bad_host = || DockerError::BadHost { host: host.to_owned() };
        let origin = Origin { host: host.to_owned(), complaint: Complaint::default() };
        let (scheme, rest) = host.split_once("://").ok_or_else(bad_host)?;
        let transport = Arc::new(match (scheme, cert_path) {
            ("unix", _) => Transport::new(Plain::Unix(rest.into())),
            ("tcp", Some(directory)) => Transport::new(
                Tls::new(rest, directory).map_err(|cause| DockerError::Tls { host: host.to_owned(), cause })?,
            ),
            ("tcp" | "http", _) => Transport::new(Plain::Tcp(rest.to_owned())),
            ("ssh", _) => Transport::new(Ssh::new(ssh, host, origin.complaint.clone())),
            _ => return Err(bad_host()),
        });
        let docker = match (scheme, cert_path) {
            ("unix", _) => Docker::connect_with_unix(host, STREAM_HEAD_SECONDS, API_DEFAULT_VERSION),
            ("tcp", None) | ("http", _) => Docker::connect_with_http(host, STREAM_HEAD_SECONDS, API_DEFAULT_VERSION),
            _ => over(&transport),
        };
        let docker = docker.map_err(|error| origin.explain(&error))?;
        let is_ssh = scheme == "ssh";
        let inspects = Arc::new(Semaphore::new(if is_ssh { INSPECTS_BY_SSH } else { INSPECTS }));
        let authority = if scheme == "tcp" { rest } else { "docker" }.to_owned();
        // To log in takes its time.
        let limit = if is_ssh { LONG_ANSWER } else { SHORT_ANSWER };
        match within(limit, "version", docker.negotiate_version()).await? {
            Ok(docker) => Ok(Self { docker, transport, authority, origin, inspects }),
            Err(error) => {
                if is_ssh {
                    origin.complaint.wait().await;
                }
                Err(origin.explain(&error))
            }
        }
    }

    /// What the engine answers to a `GET` of this path with its query, whole.
    ///
    /// # Errors
    /// When nobody is there, and when it takes longer than `limit`; not for a status that is an error.
    pub(in crate::discovery) async fn get(
        &self,
        target: &str,
        what: &'static str,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), DockerError> {
        let answer = async {
            let request = Request::get(format!("http://{}{target}", self.authority)).body(Empty::<Bytes>::new());
            let request = request.map_err(|error| DockerError::Other(error.to_string()))?;
            let answer = self.transport.send(request).await;
            let (head, body) = answer.map_err(|error| self.explain(&in_bollards_words(error)))?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            let body = body.map_err(|error| DockerError::Other(format!("an answer that broke off: {error}")))?;
            Ok((head.status, body.to_bytes()))
        };
        within(limit, what, answer).await?
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
            Some(io::ErrorKind::NotFound) => {
                DockerError::NoSocket { path: host.strip_prefix("unix://").unwrap_or(&host).to_owned() }
            }
            Some(
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::TimedOut,
            ) => DockerError::Unreachable { host, cause: cause.to_string() },
            Some(io::ErrorKind::InvalidData) => DockerError::Tls { host, cause: cause.to_string() },
            _ => DockerError::Other(format!("{error}: {cause}")),
        }
    }
}

#[cfg(test)]
mod tests;
