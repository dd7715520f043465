//! What is known of all peers, and what of it the registry has to be told. Pure: it knows no socket and no clock.
//!
//! A peer is the authority on its own host. Whether it is heard decides nothing: what it said last holds for as long as
//! its traffic port answers, which its probes find out. Only one that said that it goes, and then is not there any more,
//! is gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::change::{Change, Sighting};
use crate::discovery::news::{News, Share};
use crate::provider::Provider;
use crate::replica::{Lifecycle, ProbeSpec, ReplicaId, ReplicaSpec};
use crate::service::ServiceName;

/// Between two probes of a peer's traffic port. With the time that one may take, a host that is cut off is noticed after
/// 1.6 s.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// All peers, by the address of their admin listener.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Who we are ourselves.
    own_id: String,
    peers: BTreeMap<SocketAddr, Peer>,
    /// The providers whose first full list has been told.
    synced: HashSet<Provider>,
    /// What the registry was told.
    told: BTreeMap<ReplicaId, Told>,
}

/// What is known of one peer.
#[derive(Debug)]
struct Peer {
    /// Those that list it. Never empty; what it has is the first one's.
    providers: BTreeSet<Provider>,
    link: Link,
    news: Option<News>,
}

/// Whether a peer is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// It is.
    Up,
    /// It is not, or not yet.
    Down,
    /// It is not, and nobody listens where it was.
    Refused,
}

/// One replica as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    /// Which process it is.
    id: String,
    sighting: Sighting,
}

impl Roster {
    /// Nobody yet, for the process with this id.
    pub(super) fn new(own_id: String) -> Self {
        Self { own_id, ..Self::default() }
    }

    /// Takes these for the addresses of all the provider's peers.
    pub(super) fn list(&mut self, provider: &Provider, addresses: &[SocketAddr]) {
        self.peers.retain(|addr, peer| {
            if !addresses.contains(addr) {
                peer.providers.remove(provider);
            }
            !peer.providers.is_empty()
        });
        for addr in addresses {
            let new = || Peer { providers: BTreeSet::new(), link: Link::Down, news: None };
            self.peers.entry(*addr).or_insert_with(new).providers.insert(provider.clone());
        }
    }

    /// The addresses that are to be listened to.
    pub(super) fn followed(&self) -> BTreeSet<SocketAddr> {
        self.peers.keys().copied().collect()
    }

    /// Whether it is ourselves that were found there last.
    pub(super) fn is_ours(&self, addr: SocketAddr) -> bool {
        let news = self.peers.get(&addr).and_then(|peer| peer.news.as_ref());
        news.is_some_and(|news| news.id.as_ref() == Some(&self.own_id))
    }

    /// The hosts of all that are listed, ourselves aside: what comes from our own host is not a peer's.
    pub(super) fn hosts(&self) -> HashSet<IpAddr> {
        self.peers.keys().filter(|addr| !self.is_ours(**addr)).map(|addr| addr.ip().to_canonical()).collect()
    }

    /// The providers that list a peer.
    pub(super) fn providers_of(&self, addr: SocketAddr) -> BTreeSet<Provider> {
        self.peers.get(&addr).map(|peer| peer.providers.clone()).unwrap_or_default()
    }

    /// What a peer calls itself.
    pub(super) fn name_of(&self, addr: SocketAddr) -> Option<&str> {
        self.peers.get(&addr)?.news.as_ref()?.name.as_deref()
    }

    /// Takes in all that a peer has said; whether it is ourselves.
    pub(super) fn hear(&mut self, addr: SocketAddr, news: News) -> bool {
        if let Some(peer) = self.peers.get_mut(&addr) {
            peer.link = Link::Up;
            peer.news = Some(news);
        }
        self.is_ours(addr)
    }

    /// Takes in that a peer is not heard any more; `is_refused`: nobody listens where it was.
    pub(super) fn lose(&mut self, addr: SocketAddr, is_refused: bool) {
        if let Some(peer) = self.peers.get_mut(&addr) {
            peer.link = if is_refused { Link::Refused } else { Link::Down };
        }
    }

    /// Whether every peer of the provider is heard, and there is one.
    pub(super) fn is_connected(&self, provider: &Provider) -> bool {
        let mut of_it = self.peers.values().filter(|peer| peer.providers.contains(provider)).peekable();
        of_it.peek().is_some() && of_it.all(|peer| peer.link == Link::Up)
    }

    /// What the registry has to be told now.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        let wanted = self.wanted();
        let (mut changes, mut new_providers, mut handed_over) = (Vec::new(), HashSet::new(), Vec::new());
        for provider in self.peers.values().filter(|peer| peer.news.is_some()).flat_map(|peer| &peer.providers) {
            // All that it lists may be another's: then it has nothing of its own, and says so.
            if self.synced.insert(provider.clone()) {
                let of_it = wanted.values().filter(|told| told.sighting.spec.provider == *provider);
                let replicas = of_it.map(|told| told.sighting.clone()).collect();
                changes.push(Change::Reset { provider: provider.clone(), replicas });
                new_providers.insert(provider);
            }
        }
        for (id, old) in &self.told {
            let (provider, id) = (old.sighting.spec.provider.clone(), id.clone());
            let is_draining = old.sighting.lifecycle == Lifecycle::Draining;
            match wanted.get(&id) {
                Some(new) if is_draining && old.id != new.id => changes.push(Change::Remove { provider, id }),
                Some(new) if provider == new.sighting.spec.provider => {}
                // Only after the other has named it, so that it stays what it is.
                Some(_) => handed_over.push(Change::Remove { provider, id }),
                // It lives, for all we know, and may have requests of ours.
                None if !is_draining => changes.push(Change::Retire { provider, id }),
                None => changes.push(Change::Remove { provider, id }),
            }
        }
        for (id, new) in &wanted {
            let is_told = new_providers.contains(&new.sighting.spec.provider) || self.told.get(id) == Some(new);
            if !is_told {
                changes.push(Change::Upsert { replica: Box::new(new.sighting.clone()) });
            }
        }
        changes.extend(handed_over);
        self.told = wanted;
        changes
    }

    /// All that the registry should know.
    fn wanted(&self) -> BTreeMap<ReplicaId, Told> {
        let mut wanted = BTreeMap::new();
        let mut seen = HashSet::from([self.own_id.as_str()]);
        for (addr, peer) in &self.peers {
            let Some(News { id: Some(id), port: Some(port), address, name, draining, services, .. }) = &peer.news
            else {
                continue;
            };
            let Some(provider) = peer.providers.first() else { continue };
            let is_draining = *draining == Some(true);
            let is_gone = is_draining && peer.link == Link::Refused;
            // The same process may be found at several addresses, and be ourselves.
            if is_gone || !seen.insert(id) {
                continue;
            }
            let dial = SocketAddr::new(address.unwrap_or(addr.ip()), *port);
            let name = name.as_deref().unwrap_or(id);
            for (service, share) in services.iter().filter(|(service, _)| can_be_asked_for(service)) {
                let (lifecycle, weight) = standing(*share, is_draining);
                let spec = spec(provider, service, name, dial, weight);
                let replica = spec.id.clone();
                wanted.entry(replica).or_insert(Told { id: id.clone(), sighting: Sighting { spec, lifecycle } });
            }
        }
        wanted
    }
}

/// Whether a request to a peer can name the service.
fn can_be_asked_for(service: &str) -> bool {
    !service.is_empty() && service.bytes().all(|b| b.is_ascii_graphic())
}

/// Where a peer is in its life as a replica, and what its weight is.
fn standing(share: Share, is_draining: bool) -> (Lifecycle, u16) {
    let weight = |weight: u32| u16::try_from(weight).unwrap_or(u16::MAX);
    match share {
        _ if is_draining => (Lifecycle::Draining, weight(share.weight)),
        Share { ready: 0, last_resort: 1.., .. } => (Lifecycle::Ailing, weight(share.last_resort)),
        _ => (Lifecycle::Running, weight(share.weight)),
    }
}

fn spec(provider: &Provider, service: &str, name: &str, addr: SocketAddr, weight: u16) -> ReplicaSpec {
    let id = ReplicaId::from(format!("peer:{addr}/{service}"));
    ReplicaSpec {
        name: format!("peer:{name}"),
        weight,
        probe: ProbeSpec {
            path: Some(ProbeSpec::OF_THE_PROXY.to_owned()),
            interval: PROBE_INTERVAL,
            timeout: PROBE_TIMEOUT,
            healthy_threshold: 1,
            ..ProbeSpec::default()
        },
        // The peer sees to drain timeouts and limits itself.
        ..ReplicaSpec::at(addr, id, provider.clone(), ServiceName::from(service))
    }
}

#[cfg(test)]
mod tests;
