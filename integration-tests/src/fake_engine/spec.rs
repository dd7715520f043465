//! What a container of the fake engine is created from, with the labels that Compose writes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::container::{ContainerId, random_hex};

/// What a container is created from.
#[derive(Clone, Debug)]
pub struct ContainerSpec {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) networks: BTreeMap<String, Addresses>,
    /// The container whose network it shares.
    pub(super) placed_in: Option<ContainerId>,
    pub(super) exposed: Vec<String>,
    /// Address and port of the host, and the container's TCP port that they lead to.
    pub(super) published: Vec<(SocketAddr, u16)>,
    pub(super) stop_signal: Option<String>,
    pub(super) has_healthcheck: bool,
}

/// A container's addresses on one network; a family it has no address of is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    pub(super) v4: Option<IpAddr>,
    pub(super) v6: Option<IpAddr>,
    /// Another one each time that the container joins the network, so at each start too.
    pub(super) endpoint_id: String,
}

impl Addresses {
    pub(super) fn set(&mut self, ip: IpAddr) {
        *(if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }) = Some(ip);
    }

    pub(super) fn join(&mut self) {
        self.endpoint_id = random_hex();
    }
}

impl ContainerSpec {
    /// A container that Compose does not know: no labels, no network, no port.
    pub fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: "replica:1".to_owned(),
            labels: BTreeMap::new(),
            networks: BTreeMap::new(),
            placed_in: None,
            exposed: Vec::new(),
            published: Vec::new(),
            stop_signal: None,
            has_healthcheck: false,
        }
    }

    /// The `number`th container of a service, as `docker compose up` (Compose v2) creates it.
    pub fn compose(project: &str, service: &str, number: u32) -> Self {
        Self::plain(&format!("{project}-{service}-{number}"))
            .compose_labels(project, service, number, "False", "2.26.1")
            .label("com.docker.compose.image", "sha256:5e1b6dbd7c5dfd6a1d8e2b8d9a5a6c4c")
            .label("com.docker.compose.depends_on", "")
    }

    /// The same as [`compose`](Self::compose), as Compose v1 (`docker-compose`) creates it.
    pub fn compose_v1(project: &str, service: &str, number: u32) -> Self {
        Self::plain(&format!("{project}_{service}_{number}"))
            .compose_labels(project, service, number, "False", "1.29.2")
    }

    /// A container as `docker compose run` creates it.
    pub fn one_off(project: &str, service: &str) -> Self {
        Self::plain(&format!("{project}-{service}-run-{:012x}", fastrand::u64(..1 << 48)))
            .compose_labels(project, service, 1, "True", "2.26.1")
    }

    fn compose_labels(self, project: &str, service: &str, number: u32, one_off: &str, version: &str) -> Self {
        self.label("com.docker.compose.project", project)
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", &number.to_string())
            .label("com.docker.compose.oneoff", one_off)
            .label("com.docker.compose.config-hash", "0b6f6a3d")
            .label("com.docker.compose.version", version)
    }

    /// Sets a label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Puts it on a network with this address; a second call adds the address of the other family.
    pub fn network(mut self, name: &str, ip: impl Into<IpAddr>) -> Self {
        self.networks.entry(name.to_owned()).or_default().set(ip.into());
        self
    }

    /// Shares the network of another container (`network_mode: service:other`), so that it has none of its own.
    pub fn placed_in(mut self, other: &ContainerId) -> Self {
        self.placed_in = Some(other.clone());
        self
    }

    /// Exposes a TCP port.
    pub fn expose(mut self, port: u16) -> Self {
        self.exposed.push(format!("{port}/tcp"));
        self
    }

    /// Publishes a TCP port at this address and port of the host.
    pub fn publish(mut self, at: SocketAddr, port: u16) -> Self {
        self.published.push((at, port));
        self
    }

    /// Exposes a UDP port.
    pub fn expose_udp(mut self, port: u16) -> Self {
        self.exposed.push(format!("{port}/udp"));
        self
    }

    /// Sets the signal that asks it to stop, by name: `SIGQUIT`. Without it: SIGTERM.
    pub fn stop_signal(mut self, name: &str) -> Self {
        self.stop_signal = Some(name.to_owned());
        self
    }

    /// Gives it a HEALTHCHECK, so that it is `starting` until its health is set.
    pub fn healthcheck(mut self) -> Self {
        self.has_healthcheck = true;
        self
    }

    /// Names the image it is created from.
    pub fn image(mut self, image: &str) -> Self {
        self.image = image.to_owned();
        self
    }

    pub(super) fn stop_signal_number(&self) -> u8 {
        match self.stop_signal.as_deref() {
            None | Some("SIGTERM") => 15,
            Some("SIGHUP") => 1,
            Some("SIGINT") => 2,
            Some("SIGQUIT") => 3,
            Some("SIGKILL") => 9,
            Some("SIGUSR1") => 10,
            Some("SIGUSR2") => 12,
            Some(other) => panic!("the fake engine does not know the signal {other}"),
        }
    }
}
