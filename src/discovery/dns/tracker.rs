//! What an answer changes about the replicas, without I/O.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::resolver::{Families, Found};
use crate::change::{Change, Sighting};
use crate::config::settings::{DnsSettings, DnsTarget};
use crate::discovery::verdict::{Considered, Verdict};
use crate::replica::{Lifecycle, ReplicaId, ReplicaSpec};

/// An address that left and is back within this time may have been there all along.
const ROTATION: Duration = Duration::from_secs(60);
/// So many of those are no chance.
const RETURNS: usize = 5;

/// What is known of one question.
#[derive(Debug)]
pub(super) struct Tracker {
    settings: DnsSettings,
    known: BTreeMap<SocketAddr, Known>,
    /// Who left a short while ago, and when.
    left: BTreeMap<SocketAddr, Instant>,
    /// How many of those are back.
    returns: usize,
    is_synced: bool,
}

/// An address that counts.
#[derive(Debug)]
struct Known {
    weight: u16,
    /// When the first of the newest answers came that did not have it.
    missing_since: Option<Instant>,
}

impl Tracker {
    /// One that knows nothing.
    pub(super) fn new(settings: DnsSettings) -> Self {
        Self { settings, known: BTreeMap::new(), left: BTreeMap::new(), returns: 0, is_synced: false }
    }

    /// What follows from an answer with addresses.
    pub(super) fn found(&mut self, found: &Found, now: Instant) -> Vec<Change> {
        self.left.retain(|_, left| now.saturating_duration_since(*left) < ROTATION);
        let mut changes = Vec::new();
        for (&addr, &weight) in &found.weights {
            let known = self.known.insert(addr, Known { weight, missing_since: None });
            self.returns += usize::from(self.left.remove(&addr).is_some());
            if known.is_none_or(|known| known.weight != weight) {
                changes.extend(
                    self.sightings(addr, weight).map(|sighting| Change::Upsert { replica: Box::new(sighting) }),
                );
            }
        }
        for addr in self.leavers(found, now) {
            self.known.remove(&addr);
            self.left.insert(addr, now);
            let ids = self.settings.targets.iter().map(|target| id(target, addr));
            changes.extend(ids.map(|id| Change::Retire { provider: self.settings.provider.clone(), id }));
        }
        if !self.is_synced {
            self.is_synced = true;
            let replicas = self.known.iter().flat_map(|(addr, known)| self.sightings(*addr, known.weight)).collect();
            return vec![Change::Reset { provider: self.settings.provider.clone(), replicas }];
        }
        changes
    }

    /// What follows from the DNS saying that there is nothing, if that is to be believed.
    pub(super) fn emptied(&mut self, now: Instant) -> Vec<Change> {
        let nothing = Found { weights: BTreeMap::new(), in_doubt: Families::default(), ttl: Duration::ZERO };
        self.found(&nothing, now)
    }

    /// Takes on other rules and defaults, and says what they change about the replicas.
    pub(super) fn adopt(&mut self, settings: DnsSettings) -> Vec<Change> {
        let has_news = settings.defaults != self.settings.defaults;
        self.settings = settings;
        let known = self.known.iter().filter(|_| has_news);
        let sightings = known.flat_map(|(addr, known)| self.sightings(*addr, known.weight));
        sightings.map(|sighting| Change::Upsert { replica: Box::new(sighting) }).collect()
    }

    /// Notes who is missing; those that have been for long enough leave.
    fn leavers(&mut self, found: &Found, now: Instant) -> Vec<SocketAddr> {
        let linger = self.settings.rules.linger;
        let is_missing = |addr: &SocketAddr| !found.weights.contains_key(addr) && !found.in_doubt.contain(addr);
        let missing = self.known.iter_mut().filter(|(addr, _)| is_missing(addr));
        let is_over =
            |known: &mut Known| now.saturating_duration_since(*known.missing_since.get_or_insert(now)) >= linger;
        missing.filter_map(|(addr, known)| is_over(known).then_some(*addr)).collect()
    }

    /// Whether the answers seem to be changing parts of the truth. Says so once.
    pub(super) fn is_rotation_news(&mut self) -> bool {
        let is_news = self.returns == RETURNS;
        self.returns += usize::from(is_news);
        is_news
    }

    /// Every replica that counts.
    pub(super) fn considered(&self) -> impl Iterator<Item = Considered> {
        let all = self.known.iter().flat_map(|(addr, known)| self.sightings(*addr, known.weight));
        all.map(|Sighting { spec, .. }| Considered {
            id: spec.id,
            name: spec.name,
            service: Some(spec.service),
            project: None,
            verdict: Verdict::Routed,
            warnings: Vec::new(),
        })
    }

    /// The replicas that an address is: one for each service that needs the answer.
    fn sightings(&self, addr: SocketAddr, weight: u16) -> impl Iterator<Item = Sighting> {
        let DnsSettings { provider, targets, defaults, .. } = &self.settings;
        targets.iter().map(move |target| {
            let addr = dialled(target, addr);
            let bare = ReplicaSpec::at(addr, id(target, addr), provider.clone(), target.service.clone());
            Sighting { spec: defaults.on(ReplicaSpec { weight, ..bare }), lifecycle: Lifecycle::Running }
        })
    }
}

/// The address with the port that the settings or the answer say.
fn dialled(target: &DnsTarget, addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), target.port.unwrap_or(addr.port()))
}

/// Two names that have the same address speak of one replica.
fn id(target: &DnsTarget, addr: SocketAddr) -> ReplicaId {
    ReplicaId::from(format!("dns:{}@{}", target.service, dialled(target, addr)))
}

#[cfg(test)]
mod tests;
