//! The settings while the table fills them in.

mod dns;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::docker_host::{self, DockerHost};
use super::parse::{self, StaticReplica};
use super::settings::headers::{Direction, HeaderRules};
use super::settings::{
    DnsRules, DockerSettings, LogSettings, ManagerHost, PeerSettings, ProxySettings, ReplicaDefaults, Settings,
    ShutdownSettings, SubsetSettings, SwarmSettings, Token,
};
use crate::provider::Provider;
use crate::replica::{ReplicaId, ReplicaSpec};

/// The settings while the table fills them in.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) proxy: ProxySettings,
    pub(super) admin_listen: SocketAddr,
    pub(super) admin_write: bool,
    pub(super) admin_token: Option<Token>,
    /// The path of the file with the token.
    pub(super) admin_token_file: Option<String>,
    pub(super) defaults: ReplicaDefaults,
    /// What all Docker engines have in common.
    pub(super) docker: DockerSettings,
    pub(super) docker_hosts: Vec<DockerHost>,
    pub(super) no_docker: bool,
    /// Whether the engine is a manager whose Swarm is followed.
    pub(super) is_swarm: bool,
    pub(super) swarm_poll: Duration,
    pub(super) swarm_idle_poll: Duration,
    pub(super) statics: Vec<StaticReplica>,
    pub(super) dns: Vec<parse::DnsEntry>,
    pub(super) dns_rules: DnsRules,
    pub(super) peers: PeerSettings,
    /// The path of the file with the peers' token.
    pub(super) peer_token_file: Option<String>,
    pub(super) subset: Option<NonZeroUsize>,
    /// Which of how many evenkeels this one is.
    pub(super) subset_slot: Option<(usize, usize)>,
    pub(super) shutdown: ShutdownSettings,
    pub(super) log: LogSettings,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            proxy: ProxySettings::default(),
            admin_listen: Settings::default().admin_listen,
            admin_write: false,
            admin_token: None,
            admin_token_file: None,
            defaults: ReplicaDefaults::default(),
            docker: DockerSettings::default(),
            docker_hosts: Vec::new(),
            no_docker: false,
            is_swarm: false,
            swarm_poll: Duration::ZERO,
            swarm_idle_poll: Duration::ZERO,
            statics: Vec::new(),
            dns: Vec::new(),
            dns_rules: DnsRules::default(),
            peers: PeerSettings::default(),
            peer_token_file: None,
            subset: None,
            subset_slot: None,
            shutdown: ShutdownSettings::default(),
            log: LogSettings::default(),
        }
    }
}

impl Draft {
    /// Adds the rules of one text, one a line, and returns what is wrong with the others of it.
    pub(super) fn add_rules(rules: &mut HeaderRules, text: &str, direction: Direction) -> Vec<String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.filter_map(|line| rules.push(line, direction).err()).collect()
    }

    /// Adds the peers of one text, and returns what is wrong with the others of it.
    pub(super) fn add_peers(&mut self, text: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        for parsed in text.split(',').map(|piece| parse::peer(piece.trim())) {
            match parsed {
                Ok(peer) if self.peers.hosts.contains(&peer) => {
                    complaints.push(format!("\"{peer}\" is there twice; list each peer once"));
                }
                Ok(peer) => self.peers.hosts.push(peer),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints
    }

    /// Adds the replicas of one text, and returns what is wrong with the others of it.
    pub(super) fn add_replicas(&mut self, text: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        for parsed in parse::replicas(text) {
            match parsed.and_then(|replica| self.is_new(replica)) {
                Ok(replica) => self.statics.push(replica),
                Err(complaint) => complaints.push(complaint),
            }
        }
        complaints
    }

    fn is_new(&self, replica: StaticReplica) -> Result<StaticReplica, String> {
        let StaticReplica { service, addr, name, .. } = &replica;
        let mut others = self.statics.iter().filter(|other| other.service == *service);
        match others.find(|other| other.addr == *addr || (name.is_some() && other.name == *name)) {
            None => Ok(replica),
            Some(other) if other.addr == *addr => {
                Err(format!("\"{service}={addr}\" is there twice; list each address of a service once"))
            }
            Some(_) => {
                let name = name.as_deref().unwrap_or_default();
                Err(format!("{name:?} is the name of two replicas of {service}; give each its own"))
            }
        }
    }

    /// What keeps a Swarm from being followed as it was asked for.
    pub(super) fn complaint_about_managers(&self) -> Option<&'static str> {
        let is_without = self.is_swarm && self.no_docker;
        is_without.then_some("true needs an engine, which is a manager of the Swarm; leave out --no-docker")
    }

    /// What the filled-in draft comes to.
    pub(super) fn finish(mut self) -> Settings {
        self.docker.service = self.proxy.service.clone();
        self.docker.defaults = self.defaults.clone();
        let dns = self.dns_settings();
        let engines = if self.no_docker { Vec::new() } else { docker_host::settings(&self.docker_hosts, &self.docker) };
        let hosts = engines.iter().map(ManagerHost::from).collect();
        let swarm = self.is_swarm.then(|| SwarmSettings {
            poll: self.swarm_poll,
            idle_poll: self.swarm_idle_poll,
            ..SwarmSettings::new(hosts, &self.docker)
        });
        let statics = self.statics.iter().map(|replica| self.static_replica(replica)).collect();
        let parts = self.subset.zip(self.subset_slot);
        let subset = parts.map(|(size, (slot, slots))| SubsetSettings { size: size.get(), slot, slots });
        Settings {
            proxy: self.proxy,
            admin_listen: self.admin_listen,
            admin_token: self.admin_token.filter(|_| self.admin_write),
            dns,
            docker: if self.is_swarm { Vec::new() } else { engines },
            swarm,
            statics,
            peers: self.peers,
            subset,
            shutdown: self.shutdown,
            log: self.log,
        }
    }

    fn static_replica(&self, replica: &StaticReplica) -> ReplicaSpec {
        let StaticReplica { service, addr, name, weight } = replica;
        let id = ReplicaId::from(format!("static:{service}@{addr}"));
        let bare = ReplicaSpec::at(*addr, id, Provider::STATIC, service.clone());
        let name = name.clone().unwrap_or_else(|| bare.name.clone());
        self.defaults.on(ReplicaSpec { name, weight: *weight, ..bare })
    }
}
