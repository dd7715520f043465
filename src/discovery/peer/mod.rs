//! The evenkeels on other hosts: each of them, for each of its services, is one replica whose weight is what it has ready.
//!
//! `stream` listens to one of them, `names` keeps to what the DNS says of where they are, `roster` is what is known of
//! all of them and turns it into changes.

mod names;
mod roster;
mod stream;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};

use self::names::Found;
use self::roster::Roster;
use self::stream::Heard;
use crate::change::{Change, Observed};
use crate::config::settings::PeerHost;
use crate::discovery::status::DiscoveryStatus;
use crate::peers::Peers;
use crate::provider::{Provider, ProviderKind};

/// What may wait to be looked at. It is looked at at once, so this is slack for a burst.
const WAITING: usize = 256;

/// Follows the peers and tells the registry what they have.
#[derive(Debug)]
pub struct PeerWatcher {
    hosts: Vec<(PeerHost, Arc<DiscoveryStatus>)>,
    peers: Arc<Peers>,
    roster: Roster,
    changes: mpsc::Sender<Observed>,
    /// What was said last of each, so that one that stays away is not news each time.
    told: HashMap<SocketAddr, String>,
}

/// The provider that all the peers at one host, or of one name in the DNS, are to the registry.
pub fn provider(host: &PeerHost) -> Provider {
    Provider::named(ProviderKind::Peer, host.to_string())
}

impl PeerWatcher {
    /// One that has looked for nobody. What it learns goes to `changes`, and what it does to the status of each host.
    pub fn new(
        hosts: Vec<(PeerHost, Arc<DiscoveryStatus>)>,
        peers: Arc<Peers>,
        changes: mpsc::Sender<Observed>,
    ) -> Self {
        let roster = Roster::new(format!("{:016x}", peers.id()));
        Self { hosts, peers, roster, changes, told: HashMap::new() }
    }

    /// Follows them until `stop` (or until the receiver of the changes is gone). One that is lost is looked for again and
    /// again; what it said last holds meanwhile.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(mut self) {
        let (found, mut finds) = mpsc::channel(WAITING);
        let (heard, mut news) = mpsc::channel(WAITING);
        let mut looking = JoinSet::new();
        for (index, (host, _)) in self.hosts.iter().enumerate() {
            looking.spawn(names::look(index, host.clone(), found.clone()));
        }
        let mut listening = HashMap::new();
        loop {
            let is_heard = tokio::select! {
                Some(find) = finds.recv() => {
                    self.find(find);
                    true
                }
                Some((addr, heard)) = news.recv() => self.hear(addr, heard),
                else => return,
            };
            let followed = self.roster.followed();
            listening.retain(|addr, _| followed.contains(addr));
            for addr in followed {
                let listen = || stream::listen(addr, Arc::clone(&self.peers), heard.clone());
                listening.entry(addr).or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(listen())));
            }
            if is_heard && !self.tell().await {
                return;
            }
        }
    }

    fn find(&mut self, Found { index, addresses }: Found) {
        let Some((host, status)) = self.hosts.get(index) else { return };
        match addresses {
            Ok(addresses) => self.roster.list(&provider(host), &addresses),
            Err(cause) => {
                status.reconnects.fetch_add(1, Ordering::Relaxed);
                debug!(provider = %status.provider(), %cause, "Peers not found: those that are known stay");
            }
        }
        self.peers.set_addresses(self.roster.hosts());
    }

    /// Takes in what came from one of them; whether that is anything new.
    fn hear(&mut self, addr: SocketAddr, heard: Heard) -> bool {
        let providers = self.roster.providers_of(addr);
        let Some(provider) = providers.first() else { return false };
        let statuses = || self.hosts.iter().map(|(_, status)| status).filter(|s| providers.contains(s.provider()));
        match heard {
            Heard::News(news) => {
                statuses().for_each(|status| _ = status.events.fetch_add(1, Ordering::Relaxed));
                let was_ours = self.roster.is_ours(addr);
                let is_ours = self.roster.hear(addr, news);
                if is_ours != was_ours {
                    self.peers.set_addresses(self.roster.hosts());
                }
                let name = if is_ours { "ourselves" } else { self.roster.name_of(addr).unwrap_or_default() };
                let said = format!("Peer found: {name}");
                if self.told.get(&addr) != Some(&said) {
                    info!(provider = %provider, %addr, replica = name, "Peer found");
                    self.told.insert(addr, said);
                }
            }
            Heard::Lost(cause) => {
                for status in statuses() {
                    status.reconnects.fetch_add(1, Ordering::Relaxed);
                    if cause.is_malformed() {
                        status.decode_errors.fetch_add(1, Ordering::Relaxed);
                    }
                }
                self.roster.lose(addr, cause.is_refusal());
                let said = cause.to_string();
                if self.told.get(&addr) != Some(&said) {
                    warn!(provider = %provider, %addr, %cause, "Peer lost: what it said last holds, and its probes decide");
                    self.told.insert(addr, said);
                }
            }
        }
        true
    }

    /// Tells the registry what is new; whether it listens.
    async fn tell(&mut self) -> bool {
        for (_, status) in &self.hosts {
            status.set_connected(self.roster.is_connected(status.provider()));
        }
        for change in self.roster.changes() {
            if let Change::Upsert { replica } = &change {
                debug!(service = %replica.spec.service, replica = %replica.spec.name, weight = replica.spec.weight, "Peer has news");
            }
            if self.changes.send(Observed::from(change)).await.is_err() {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::stream::Lost;
    use super::*;
    use crate::discovery::news::News;
    use crate::peers::Stranger;

    #[test]
    fn where_we_found_ourselves_no_peer_is_expected() {
        let hosts = ["10.0.0.1", "10.0.0.2"].map(|host| PeerHost { host: host.to_owned(), port: 9900 });
        let status = |host: &PeerHost| Arc::new(DiscoveryStatus::new(provider(host)));
        let hosts = hosts.map(|host| (host.clone(), status(&host))).to_vec();
        let peers = Arc::new(Peers::new("vm-1".to_owned(), None, true));
        let (changes, _inbox) = mpsc::channel(1);
        let mut watcher = PeerWatcher::new(hosts, Arc::clone(&peers), changes);
        let [ours, other]: [SocketAddr; 2] = ["10.0.0.1:9900", "10.0.0.2:9900"].map(|addr| addr.parse().unwrap());
        let neighbour = SocketAddr::new(ours.ip(), 9901);
        let by_id = |id: u64| Heard::News(News { id: Some(format!("{id:016x}")), port: Some(80), ..News::default() });
        let find = |watcher: &mut PeerWatcher, index, addresses: &[SocketAddr]| {
            watcher.find(Found { index, addresses: Ok(addresses.to_vec()) });
        };
        find(&mut watcher, 0, &[ours]);
        find(&mut watcher, 1, &[other]);
        watcher.hear(ours, by_id(peers.id()));
        watcher.hear(other, by_id(peers.id() ^ 1));
        // A proxy on our own host, and whoever is behind it.
        assert_eq!(peers.recognise(None, ours.ip()), Err(Stranger::UnknownAddress));
        assert_eq!(peers.recognise(None, other.ip()), Ok(()));
        find(&mut watcher, 1, &[other]);
        watcher.hear(ours, Heard::Lost(Lost::Ended));
        assert_eq!(peers.recognise(None, ours.ip()), Err(Stranger::UnknownAddress), "it is ours all the same");
        // A second one on our host is to be recognised; and so is who has come to be in our place.
        find(&mut watcher, 1, &[other, neighbour]);
        assert_eq!(peers.recognise(None, ours.ip()), Ok(()));
        find(&mut watcher, 1, &[other]);
        assert_eq!(peers.recognise(None, ours.ip()), Err(Stranger::UnknownAddress));
        watcher.hear(ours, by_id(peers.id() ^ 2));
        assert_eq!(peers.recognise(None, ours.ip()), Ok(()));
    }
}
