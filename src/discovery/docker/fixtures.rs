//! Containers and scopes for the tests of this room, and ways to engines.

pub(in crate::discovery) mod ways;

use std::collections::HashMap;

use super::container::{Container, Details, Endpoint, Published, RunState};
use super::evaluate::Scope;
use super::identity::Identity;
use super::signal::Signal;
use crate::config::settings::DockerSettings;
use crate::provider::{Provider, ProviderKind};

/// `--service gateway` and nothing else.
pub(super) fn settings() -> DockerSettings {
    DockerSettings::default()
}

/// We are a container of project `shop` on the given networks.
pub(super) fn inside(networks: &[&str]) -> Scope {
    let networks = networks.iter().map(|name| ((*name).to_owned(), endpoint(name, "10.0.0.2"))).collect();
    let me = Identity {
        id: Some("me".into()),
        project: Some("shop".to_owned()),
        networks: Some(networks),
        ..Identity::default()
    };
    Scope { settings: settings(), me, ..Scope::default() }
}

/// We are no container; `--project shop` was given.
pub(super) fn outside() -> Scope {
    Scope { settings: DockerSettings { project: Some("shop".to_owned()), ..settings() }, ..Scope::default() }
}

/// They run on a host of the name `vm-2` which we reach at this address; `--project shop` was given.
pub(super) fn elsewhere(host: &str) -> Scope {
    let mut scope = Scope { host: host.parse().ok(), ..outside() };
    scope.settings.provider = Provider::named(ProviderKind::Docker, "vm-2");
    scope
}

/// A place on the network of this name with this address.
pub(super) fn endpoint(network: &str, address: &str) -> Endpoint {
    Endpoint {
        network_id: format!("{network}-id"),
        endpoint_id: String::new(),
        ipv4: address.parse().ok(),
        ipv6: address.parse().ok(),
    }
}

/// `shop-gateway-<number>` with id `g<number>`, as a list row has it.
pub(super) fn gateway(number: u8) -> Container {
    let labels = [
        ("com.docker.compose.project", "shop".to_owned()),
        ("com.docker.compose.service", "gateway".to_owned()),
        ("com.docker.compose.container-number", number.to_string()),
        ("com.docker.compose.oneoff", "False".to_owned()),
    ];
    Container {
        id: format!("g{number}").into(),
        name: format!("shop-gateway-{number}"),
        image: Some("gateway:1".to_owned()),
        labels: labels.into_iter().map(|(label, value)| (label.to_owned(), value)).collect(),
        run_state: RunState::Running,
        network_mode: "shop_default".to_owned(),
        networks: [("shop_default".to_owned(), endpoint("shop_default", &format!("10.0.0.{}", 10 + number)))].into(),
        ports: [3001].into(),
        published: Vec::new(),
        details: None,
    }
}

/// A container outside Compose with these labels.
pub(super) fn labelled(labels: &[(&str, &str)]) -> Container {
    let labels: HashMap<_, _> = labels.iter().map(|(l, v)| ((*l).to_owned(), (*v).to_owned())).collect();
    Container { id: "l".into(), name: "lonely".to_owned(), labels, ..gateway(1) }
}

impl Container {
    /// The same as an inspect has it.
    pub(super) fn inspected(mut self, stop_signal: &str, started_at: &str) -> Self {
        let stop_signal = Signal::parse(stop_signal).unwrap();
        self.details = Some(Details { stop_signal, started_at: Some(started_at.to_owned()) });
        self
    }

    pub(super) fn labelled(mut self, label: &str, value: &str) -> Self {
        self.labels.insert(label.to_owned(), value.to_owned());
        self
    }

    pub(super) fn is(mut self, run_state: RunState) -> Self {
        self.run_state = run_state;
        self
    }

    /// The same on these networks instead.
    pub(super) fn on(mut self, networks: &[(&str, &str)]) -> Self {
        self.networks = networks.iter().map(|(name, ip)| ((*name).to_owned(), endpoint(name, ip))).collect();
        self
    }

    /// The same with this port of the host's address leading to that port of it.
    pub(super) fn publishing(mut self, ip: &str, public: u16, private: u16) -> Self {
        self.published.push(Published { ip: ip.parse().ok(), public, private });
        self
    }

    pub(super) fn exposing(mut self, ports: &[u16]) -> Self {
        self.ports = ports.iter().copied().collect();
        self
    }
}
