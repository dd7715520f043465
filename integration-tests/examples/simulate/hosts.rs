//! Docker hosts, each a fake engine with the address of all its replicas.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use evenkeel::config::settings::{DockerSettings, Settings, SubsetSettings};
use evenkeel::provider::{Provider, ProviderKind};
use integration_tests::{ContainerId, ContainerSpec, FakeEngine};
use tokio::net::TcpListener;

use crate::fleet::{self, Churn, Row};
use crate::local;
use crate::measure::{Expected, Observer, Result};

/// One host.
pub(crate) struct Host {
    pub(crate) engine: FakeEngine,
    pub(crate) addr: SocketAddr,
    containers: Vec<ContainerId>,
    /// Containers that it has had.
    started: u32,
}

impl Host {
    /// One with so many replicas, which all listen here: enough for probes.
    pub(crate) async fn start(ip: Ipv4Addr, replicas: u32) -> Result<Self> {
        let addr = accept_all(ip).await?;
        let mut host = Self { engine: FakeEngine::start(), addr, containers: Vec::new(), started: 0 };
        (0..replicas).for_each(|_| drop(host.add()));
        Ok(host)
    }

    /// Starts another replica.
    pub(crate) fn add(&mut self) -> ContainerId {
        self.started += 1;
        let spec = ContainerSpec::compose("sim", "gateway", self.started);
        let id = self.engine.run(spec.network("sim_default", self.addr.ip()).expose(self.addr.port()));
        self.containers.push(id.clone());
        id
    }

    /// Chooses one that is to leave, if more than `least` are there.
    pub(crate) fn choose(&mut self, least: usize) -> Option<ContainerId> {
        (self.containers.len() > least).then(|| self.containers.swap_remove(fastrand::usize(..self.containers.len())))
    }

    /// Replicas that run here.
    pub(crate) fn count(&self) -> usize {
        self.containers.len()
    }

    /// How its engine is followed.
    pub(crate) fn docker(&self, name: String) -> DockerSettings {
        DockerSettings {
            provider: Provider::named(ProviderKind::Docker, name),
            host: self.engine.host(),
            project: Some("sim".to_owned()),
            network: Some("sim_default".to_owned()),
            ..DockerSettings::default()
        }
    }
}

/// An address at which every connection is accepted, and closed.
pub(crate) async fn accept_all(ip: Ipv4Addr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    Ok(addr)
}

/// Hosts with addresses of their own: the ports that closed connections keep for a minute are then a host's own, too.
pub(crate) async fn start(network: u8, hosts: u8, replicas: u32) -> Result<Vec<Host>> {
    let mut started = Vec::new();
    for number in 1..=hosts {
        started.push(Host::start(Ipv4Addr::new(127, network, number, 1), replicas).await?);
    }
    Ok(started)
}

/// One evenkeel before so many hosts, whose containers start and stop by turns.
pub(crate) async fn simulate(hosts: u8, replicas: u32, churn: Churn, subset: Option<SubsetSettings>) -> Result<Row> {
    let mut hosts = start(1, hosts, replicas).await?;
    let total = hosts.len() * replicas as usize;
    let docker = hosts.iter().enumerate().map(|(index, host)| host.docker(format!("vm-{index}"))).collect();
    let settings = Settings { docker, subset, ..local() };
    let change = |number: u32, observer: &Observer| {
        let index = fastrand::usize(..hosts.len());
        let Some(host) = hosts.get_mut(index) else { return };
        let leaver = if number % 2 == 1 { host.choose(0) } else { None };
        let at = Instant::now();
        if let Some(id) = leaver {
            observer.expect(0, id.as_str(), at, Expected::Gone);
            host.engine.remove(&id);
        } else {
            let id = host.add();
            observer.expect(0, id.as_str(), at, Expected::Ready);
        }
    };
    fleet::watch(settings, total, churn, change).await
}
