//! Services, nodes and tasks for the tests of this room.

use std::collections::HashMap;

use super::evaluate::Scope;
use super::model::{Attachment, Node, Service, Task, TaskState};
use crate::config::settings::{DockerSettings, ManagerHost, SwarmSettings};
use crate::discovery::docker::container::Endpoint;
use crate::discovery::docker::identity::Identity;
use crate::discovery::docker::signal::Signal;

/// `--swarm --port 3001`, through two managers.
pub(super) fn settings() -> SwarmSettings {
    let hosts = ["unix:///a.sock", "tcp://b:2375"].map(|host| ManagerHost { host: host.to_owned(), cert_path: None });
    SwarmSettings::new(hosts.to_vec(), &DockerSettings { port: Some(3001), ..DockerSettings::default() })
}

/// We are a task of the stack `shop`, on these networks.
pub(super) fn inside(networks: &[&str]) -> Scope {
    let endpoint = |name: &str| Endpoint { network_id: format!("{name}-id"), ..Endpoint::default() };
    let networks = networks.iter().map(|name| ((*name).to_owned(), endpoint(name))).collect();
    let me = Identity {
        id: Some("me".into()),
        stack: Some("shop".to_owned()),
        networks: Some(networks),
        ..Identity::default()
    };
    Scope { settings: settings(), me }
}

/// Nobody knows where we are.
pub(super) fn outside() -> Scope {
    Scope { settings: settings(), me: Identity::default() }
}

/// `shop_gateway`, replicated, without labels of ours.
pub(super) fn service() -> Service {
    Service {
        id: "gateway-id".to_owned(),
        version: 1,
        name: "shop_gateway".to_owned(),
        stack: Some("shop".to_owned()),
        labels: HashMap::new(),
        container_labels: HashMap::new(),
        ports: [].into(),
        wanted: None,
        is_job: false,
        is_updating: false,
    }
}

/// `node-<number>`, which is well.
pub(super) fn node(number: u8) -> Node {
    Node {
        id: format!("n{number}"),
        hostname: format!("node-{number}"),
        address: format!("10.99.0.1{number}").parse().ok(),
        is_up: true,
        may_run: true,
    }
}

/// Task `t<number>` of `shop_gateway`, which runs in container `c<number>` on `node-1`.
pub(super) fn task(number: u8) -> Task {
    Task {
        id: format!("t{number}"),
        version: 1,
        service: "gateway-id".to_owned(),
        slot: Some(number.into()),
        node: Some("n1".to_owned()),
        container: Some(format!("c{number}").as_str().into()),
        state: TaskState::Running,
        desired: TaskState::Running,
        image: Some("gateway:1".to_owned()),
        stop_signal: Signal::TERM,
        labels: HashMap::new(),
        networks: vec![attachment("shop_default", &format!("10.0.1.{number}"))],
    }
}

/// A place on the network of this name with this address.
pub(super) fn attachment(network: &str, address: &str) -> Attachment {
    Attachment {
        network_id: format!("{network}-id"),
        network: network.to_owned(),
        is_ingress: false,
        addresses: address.parse().into_iter().collect(),
    }
}

/// The same as a map of labels.
pub(super) fn labels(labels: &[(&str, &str)]) -> HashMap<String, String> {
    labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
}

impl Task {
    /// The same later: in this state, meant to be in that one.
    pub(super) fn at(mut self, state: &str, desired: &str) -> Self {
        (self.state, self.desired) = (TaskState::parse(state), TaskState::parse(desired));
        self.version += 1;
        self
    }

    /// The same on these networks instead.
    pub(super) fn on(mut self, networks: &[(&str, &str)]) -> Self {
        self.networks = networks.iter().map(|(network, address)| attachment(network, address)).collect();
        self
    }
}
