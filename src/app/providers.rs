//! The providers: what each is to follow, and the tasks that do it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::statics::{Statics, sighting};
use crate::change::{Change, Observed};
use crate::config::settings::{DnsSettings, DockerSettings, PeerHost, Settings, SwarmSettings};
use crate::discovery::docker::OwnProject;
use crate::discovery::peer::{self, PeerWatcher};
use crate::discovery::status::DiscoveryStatus;
use crate::discovery::{dns, docker, swarm};
use crate::peers::Peers;
use crate::provider::Provider;
use crate::registry::{Registry, RegistryWriter};
use crate::replica::ReplicaSpec;

/// Changes that may wait for the registry writer. It never waits for anything else, so this is slack for a burst.
const CHANGES_WAITING: usize = 1024;
/// Of those, so many become visible at once.
const CHANGES_AT_ONCE: usize = 128;

/// The time between two looks whether replicas that are to go have ended their last request.
const LOOK: Duration = Duration::from_millis(100);

/// Every provider that the settings name, not yet started.
#[derive(Debug, Default)]
pub(super) struct Providers {
    statics: Vec<ReplicaSpec>,
    docker: Vec<(DockerSettings, Arc<DiscoveryStatus>)>,
    dns: Vec<(DnsSettings, Arc<DiscoveryStatus>)>,
    peers: Vec<(PeerHost, Arc<DiscoveryStatus>)>,
    preference: u16,
    swarm: Option<(SwarmSettings, Arc<DiscoveryStatus>)>,
}

impl Providers {
    /// Those of the settings.
    pub(super) fn new(settings: &Settings) -> Self {
        let docker = settings.docker.iter().map(|docker| (docker.clone(), status(docker.provider.clone()))).collect();
        let dns = settings.dns.iter().map(|dns| (dns.clone(), status(dns.provider.clone()))).collect();
        let peers = settings.peers.hosts.iter().map(|host| (host.clone(), status(peer::provider(host)))).collect();
        let (statics, preference) = (settings.statics.clone(), settings.peers.prefer_local);
        let swarm = settings.swarm.as_ref().map(|swarm| (swarm.clone(), status(swarm.provider.clone())));
        Self { statics, docker, swarm, dns, peers, preference }
    }

    /// What those that follow something tell about themselves.
    pub(super) fn statuses(&self) -> Vec<Arc<DiscoveryStatus>> {
        let docker = self.docker.iter().map(|(_, status)| status);
        let dns = self.dns.iter().map(|(_, status)| status);
        let swarm = self.swarm.iter().map(|(_, status)| status);
        docker.chain(swarm).chain(dns).chain(self.peers.iter().map(|(_, status)| status)).cloned().collect()
    }

    /// Tells the registry what is known at once, and starts to follow the rest, and what changes about the settings,
    /// until `stop`.
    pub(super) fn spawn(
        self,
        (registry, mut writer): (Registry, RegistryWriter),
        settings: &watch::Receiver<Arc<Settings>>,
        peers: &Arc<Peers>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let statuses = self.statuses();
        if !self.peers.is_empty() {
            writer.prefer_local(self.preference);
        }
        if !self.statics.is_empty() {
            let replicas = self.statics.iter().cloned().map(sighting).collect();
            writer.apply(Change::Reset { provider: Provider::STATIC, replicas });
        }
        // Made here: the writer ends with the last sender, so there must be none but the providers'.
        let (changes, inbox) = mpsc::channel(CHANGES_WAITING);
        let own_project = OwnProject::new(self.docker.len());
        for (docker, status) in self.docker {
            let watcher = docker::Watcher::new(docker, status, changes.clone(), Arc::clone(&own_project));
            let watcher = watcher.with_defaults_of(settings.clone());
            tasks.spawn(watcher.run(stop.clone()));
        }
        for (dns, status) in self.dns {
            tasks.spawn(dns::Watcher::new(dns, settings.clone(), status, changes.clone()).run(stop.clone()));
        }
        if let Some((swarm, status)) = self.swarm {
            let watcher = swarm::Watcher::new(swarm, status, changes.clone()).with_defaults_of(settings.clone());
            tasks.spawn(watcher.run(stop.clone()));
        }
        if !self.peers.is_empty() {
            let watcher = PeerWatcher::new(self.peers, Arc::clone(peers), changes.clone());
            tasks.spawn(watcher.run(stop.clone()));
        }
        tasks.spawn(Statics::new(self.statics, registry, changes, settings.clone()).run(stop.clone()));
        tasks.spawn(write(writer, inbox, statuses));
    }
}

fn status(provider: Provider) -> Arc<DiscoveryStatus> {
    Arc::new(DiscoveryStatus::new(provider))
}

fn is_reset(change: &Change) -> bool {
    matches!(change, Change::Reset { .. })
}

/// The registry's one writer: applies changes in the order in which they come, those that have come together at once, until
/// every provider is gone.
async fn write(mut writer: RegistryWriter, mut inbox: mpsc::Receiver<Observed>, statuses: Vec<Arc<DiscoveryStatus>>) {
    let statuses: HashMap<_, _> = statuses.into_iter().map(|status| (status.provider().clone(), status)).collect();
    let mut observed = Vec::new();
    loop {
        writer.remove_retired();
        let count = tokio::select! {
            count = inbox.recv_many(&mut observed, CHANGES_AT_ONCE) => count,
            () = sleep(LOOK), if writer.has_retiring() => continue,
        };
        if count == 0 {
            return;
        }
        let news: Vec<_> =
            observed.iter().map(|Observed { change, at }| (change.provider().clone(), is_reset(change), *at)).collect();
        let changed = writer.apply_all(observed.drain(..).map(|observed| observed.change));
        for (provider, is_reset, at) in news {
            let Some(status) = statuses.get(&provider) else { continue };
            if is_reset {
                status.set_synced();
            } else if changed {
                status.event_to_route.observe(at.elapsed());
            }
        }
    }
}
