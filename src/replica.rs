//! The replica: one running container of a service, with the address we dial.
//!
//! A [`Replica`] is a [`ReplicaSpec`] (facts, frozen) and a [`ReplicaState`] (atomics, shared by every later
//! version of the same replica). Each fact has one writer: the registry writes the lifecycle on behalf of
//! discovery, `health` writes the health, whether it is ejected and its ramp, `admin` a drain by hand, a lease the
//! in-flight count.

mod condition;
mod probe;
mod standing;

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crossbeam_utils::CachePadded;

use self::standing::{LatencyCell, Load, TurnCell};
use crate::metrics::ReplicaMetrics;
use crate::provider::{Provider, ProviderKind};
use crate::service::ServiceName;

pub use self::condition::{Health, Lifecycle, State};
pub use self::probe::{ProbeSpec, Statuses};
pub use self::standing::FULL_RAMP;

/// What makes a replica the same replica: the container id (or, for a static replica, its service and address).
/// Never the address alone, which the next container may reuse at once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(Arc<str>);

impl ReplicaId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters of a container id, as `docker ps` shows it; any other id whole.
    pub fn short(&self) -> &str {
        let is_hex = self.0.len() == 64 && self.0.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hex { self.0.get(..12).unwrap_or(&self.0) } else { &self.0 }
    }
}

impl<T: AsRef<str>> From<T> for ReplicaId {
    fn from(id: T) -> Self {
        Self(Arc::from(id.as_ref()))
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// The facts of one replica, as its provider tells them. Frozen; a new fact is a new spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSpec {
    /// The identity.
    pub id: ReplicaId,
    /// Who told of it.
    pub provider: Provider,
    /// The service it belongs to.
    pub service: ServiceName,
    /// What `X-Served-By` says: `gateway-3`, or the container's own name outside Compose.
    pub name: String,
    /// The Compose project.
    pub project: Option<String>,
    /// Compose's container number.
    pub number: Option<u32>,
    /// The image's name as the container was created from it.
    pub image: Option<String>,
    /// The network that `addr` belongs to.
    pub network: Option<String>,
    /// What we dial.
    pub addr: SocketAddr,
    /// Its share relative to the others of the service; 0 takes no new requests.
    pub weight: u16,
    /// How it is probed.
    pub probe: ProbeSpec,
    /// How long its requests may go on after it began to drain; `None`: until they end.
    pub drain_timeout: Option<Duration>,
    /// How many requests it may have at once; `None`: any number.
    pub max_concurrency: Option<NonZeroU32>,
}

impl ReplicaSpec {
    /// Of a replica of which only the address is known: it goes by that, and is no container.
    pub fn at(addr: SocketAddr, id: ReplicaId, provider: Provider, service: ServiceName) -> Self {
        Self {
            id,
            provider,
            service,
            name: addr.to_string(),
            project: None,
            number: None,
            image: None,
            network: None,
            addr,
            weight: 1,
            probe: ProbeSpec::default(),
            drain_timeout: None,
            max_concurrency: None,
        }
    }
}

/// Tells incarnations of one container apart: a container that was restarted is a new one of these.
static NEXT_INCARNATION: AtomicU64 = AtomicU64::new(1);

/// The living part of a replica: shared by every version of it, from the first sighting to its removal.
#[derive(Debug)]
pub struct ReplicaState {
    incarnation: u64,
    lifecycle: AtomicU8,
    drained_by_hand: AtomicBool,
    is_set_aside: AtomicBool,
    /// Its health, and by which fault it is ejected; see [`standing`].
    standing: AtomicU8,
    ejection_depth: AtomicU32,
    /// How much of its weight counts, in [`FULL_RAMP`]ths.
    ramp: AtomicU16,
    /// Leases held and failures in a row, and the balancer's own bookkeeping: written on every request, so on lines of
    /// their own.
    load: CachePadded<Load>,
    turn: CachePadded<TurnCell>,
    latency: CachePadded<LatencyCell>,
    metrics: ReplicaMetrics,
    story: Mutex<Story>,
}

/// What only people read, and only on rare changes: kept behind a lock that the data plane never takes
/// unless an attempt failed.
#[derive(Clone, Debug)]
struct Story {
    since: SystemTime,
    last_error: Option<String>,
}

impl ReplicaState {
    fn new(lifecycle: Lifecycle) -> Self {
        Self {
            incarnation: NEXT_INCARNATION.fetch_add(1, Ordering::Relaxed),
            lifecycle: AtomicU8::new(lifecycle as u8),
            drained_by_hand: AtomicBool::new(false),
            is_set_aside: AtomicBool::new(false),
            standing: AtomicU8::new(Health::Unknown as u8),
            ejection_depth: AtomicU32::new(0),
            ramp: AtomicU16::new(FULL_RAMP),
            load: CachePadded::default(),
            turn: CachePadded::default(),
            latency: CachePadded::default(),
            metrics: ReplicaMetrics::default(),
            story: Mutex::new(Story { since: SystemTime::now(), last_error: None }),
        }
    }

    fn story(&self) -> MutexGuard<'_, Story> {
        self.story.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One replica as the registry publishes it.
#[derive(Debug)]
pub struct Replica {
    spec: ReplicaSpec,
    state: Arc<ReplicaState>,
}

impl Replica {
    /// A replica seen for the first time: no counters, unknown health.
    pub fn new(spec: ReplicaSpec, lifecycle: Lifecycle) -> Self {
        Self { spec, state: Arc::new(ReplicaState::new(lifecycle)) }
    }

    /// The same replica with newer facts: counters, health and open requests go on.
    pub fn with_spec(&self, spec: ReplicaSpec) -> Self {
        Self { spec, state: Arc::clone(&self.state) }
    }

    /// The facts.
    pub fn spec(&self) -> &ReplicaSpec {
        &self.spec
    }

    /// The identity.
    pub fn id(&self) -> &ReplicaId {
        &self.spec.id
    }

    /// Whether it stands for all that another evenkeel has of the service.
    #[inline]
    pub fn is_peer(&self) -> bool {
        self.spec.provider.kind() == ProviderKind::Peer
    }

    /// A number that no other replica of this process has or had; a restarted container gets a new one.
    /// Pools are keyed by it, so a connection can never outlive the process it led to.
    pub fn incarnation(&self) -> u64 {
        self.state.incarnation
    }

    /// Where it is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        match self.state.lifecycle.load(Ordering::SeqCst) {
            x if x == Lifecycle::Starting as u8 => Lifecycle::Starting,
            x if x == Lifecycle::Running as u8 => Lifecycle::Running,
            x if x == Lifecycle::Ailing as u8 => Lifecycle::Ailing,
            x if x == Lifecycle::Paused as u8 => Lifecycle::Paused,
            _ => Lifecycle::Draining,
        }
    }

    /// Whether somebody drains it through the admin room, whatever discovery says.
    pub fn is_drained_by_hand(&self) -> bool {
        self.state.drained_by_hand.load(Ordering::SeqCst)
    }

    /// Whether it takes nothing new and finishes what it has, whoever wants it so.
    pub fn is_draining(&self) -> bool {
        self.lifecycle() == Lifecycle::Draining || self.is_drained_by_hand()
    }

    /// Lifecycle, health, a drain by hand and an ejection in one word.
    pub fn state(&self) -> State {
        if self.is_drained_by_hand() { State::Draining } else { self.undrained_state() }
    }

    /// What its state would be without a drain by hand.
    pub fn undrained_state(&self) -> State {
        let (health, ejected_by) = self.standing();
        match (self.lifecycle(), health) {
            (Lifecycle::Draining, _) => State::Draining,
            (Lifecycle::Paused, _) => State::Paused,
            (Lifecycle::Ailing, _) => State::Unhealthy,
            (Lifecycle::Starting, _) | (Lifecycle::Running, Health::Unknown) => State::Starting,
            (Lifecycle::Running, Health::Unhealthy) => State::Unhealthy,
            (Lifecycle::Running, Health::Healthy | Health::Suspect) if ejected_by > 0 => State::Ejected,
            (Lifecycle::Running, Health::Suspect) => State::Suspect,
            (Lifecycle::Running, Health::Healthy) => State::Ready,
        }
    }

    /// Whether it may get a new request now.
    pub fn is_pickable(&self) -> bool {
        self.spec.weight > 0 && !self.is_set_aside() && self.state() == State::Ready
    }

    /// Whether it is outside of the subset by now: it takes nothing new, though it may be ready, and finishes what it has.
    pub fn is_set_aside(&self) -> bool {
        self.state.is_set_aside.load(Ordering::SeqCst)
    }

    /// Records whether it is outside of the subset. Only the registry calls this.
    pub(crate) fn set_aside(&self, is_set_aside: bool) {
        self.state.is_set_aside.store(is_set_aside, Ordering::SeqCst);
    }

    /// Whether it has fewer requests than it may have.
    pub fn has_room(&self) -> bool {
        self.spec.max_concurrency.is_none_or(|limit| self.in_flight() < u64::from(limit.get()))
    }

    /// Records where discovery sees it now. Only the registry calls this, which leaves `Draining` only where nothing told the
    /// replica to stop.
    pub(crate) fn set_lifecycle(&self, lifecycle: Lifecycle) {
        let before = self.state();
        self.state.lifecycle.store(lifecycle as u8, Ordering::SeqCst);
        self.note_transition(before);
    }

    /// Records that somebody drains it, or does so no more. Only `admin` calls this, and the registry for a replica that
    /// takes over from this one.
    pub(crate) fn set_drained_by_hand(&self, is_drained: bool) {
        let before = self.state();
        self.state.drained_by_hand.store(is_drained, Ordering::SeqCst);
        self.note_transition(before);
    }

    fn note_transition(&self, before: State) {
        if self.state() != before {
            self.state.story().since = SystemTime::now();
        }
    }

    /// When its [`State`] last changed.
    pub fn since(&self) -> SystemTime {
        self.state.story().since
    }

    /// The newest failure of an attempt or a probe, for people.
    pub fn last_error(&self) -> Option<String> {
        self.state.story().last_error.clone()
    }

    /// Records a failure of an attempt or a probe, for people.
    pub fn set_last_error(&self, error: impl fmt::Display) {
        self.state.story().last_error = Some(error.to_string());
    }

    /// Leases held now: requests whose answer has not ended.
    pub fn in_flight(&self) -> u64 {
        self.state.load.in_flight.load(Ordering::SeqCst)
    }

    /// The in-flight count itself; only a lease writes it.
    pub(crate) fn in_flight_cell(&self) -> &AtomicU64 {
        &self.state.load.in_flight
    }

    /// The balancer's bookkeeping for fair turns; only the balancer reads or writes it.
    pub(crate) fn turn_cell(&self) -> &TurnCell {
        &self.state.turn
    }

    /// What it has served so far.
    pub fn metrics(&self) -> &ReplicaMetrics {
        &self.state.metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixtures::spec;

    const LIFECYCLES: [Lifecycle; 5] =
        [Lifecycle::Starting, Lifecycle::Running, Lifecycle::Ailing, Lifecycle::Paused, Lifecycle::Draining];
    const HEALTHS: [Health; 4] = [Health::Unknown, Health::Healthy, Health::Suspect, Health::Unhealthy];

    #[test]
    fn lifecycle_and_health_come_to_one_word() {
        use State::{Draining, Paused, Ready, Starting, Suspect, Unhealthy};
        let running = [Starting, Ready, Suspect, Unhealthy];
        let table = [[Starting; 4], running, [Unhealthy; 4], [Paused; 4], [Draining; 4]];
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Starting);
        for (lifecycle, row) in LIFECYCLES.into_iter().zip(table) {
            for (health, state) in HEALTHS.into_iter().zip(row) {
                replica.set_lifecycle(lifecycle);
                replica.set_health(health);
                assert_eq!((replica.lifecycle(), replica.health()), (lifecycle, health));
                assert_eq!(replica.state(), state, "{lifecycle:?} {health:?}");
                assert_eq!(replica.is_pickable(), state == Ready);
            }
        }
    }

    #[test]
    fn a_drain_by_hand_goes_before_everything_and_changes_nothing_else() {
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Starting);
        for (lifecycle, health) in LIFECYCLES.into_iter().flat_map(|l| HEALTHS.map(|h| (l, h))) {
            replica.set_lifecycle(lifecycle);
            replica.set_health(health);
            let before = (replica.state(), replica.is_pickable(), replica.is_draining());
            replica.set_drained_by_hand(true);
            assert_eq!((replica.state(), replica.is_pickable(), replica.is_draining()), (State::Draining, false, true));
            assert_eq!((replica.lifecycle(), replica.health()), (lifecycle, health));
            assert!(replica.with_spec(spec("gateway", 1)).is_drained_by_hand());
            replica.set_drained_by_hand(false);
            assert_eq!((replica.state(), replica.is_pickable(), replica.is_draining()), before);
        }
    }

    #[test]
    fn weight_zero_takes_nothing() {
        let replica = Replica::new(ReplicaSpec { weight: 0, ..spec("gateway", 1) }, Lifecycle::Running);
        replica.set_health(Health::Healthy);
        assert_eq!((replica.state(), replica.is_pickable()), (State::Ready, false));
    }

    #[test]
    fn who_is_set_aside_takes_nothing_and_is_what_it_was() {
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Running);
        replica.set_health(Health::Healthy);
        replica.set_aside(true);
        assert_eq!((replica.state(), replica.is_draining()), (State::Ready, false));
        assert!(!replica.is_pickable() && !replica.is_pickable_in_panic());
        assert!(replica.with_spec(spec("gateway", 1)).is_set_aside());
        replica.set_aside(false);
        assert!(replica.is_pickable() && replica.is_pickable_in_panic());
    }

    #[test]
    fn newer_facts_leave_the_living_part_as_it_is() {
        let old = Replica::new(spec("gateway", 1), Lifecycle::Running);
        let new = old.with_spec(ReplicaSpec { weight: 7, ..spec("gateway", 1) });
        old.set_health(Health::Healthy);
        old.set_last_error("reset");
        old.in_flight_cell().fetch_add(1, Ordering::Relaxed);
        assert_eq!((new.incarnation(), new.health(), new.in_flight()), (old.incarnation(), Health::Healthy, 1));
        assert_eq!((new.last_error().as_deref(), new.since()), (Some("reset"), old.since()));
        assert_ne!(Replica::new(spec("gateway", 1), Lifecycle::Running).incarnation(), old.incarnation());
    }

    #[test]
    fn since_is_when_the_state_changed() {
        let replica = Replica::new(spec("gateway", 1), Lifecycle::Starting);
        let born = replica.since();
        replica.set_health(Health::Healthy);
        assert_eq!(replica.since(), born, "healthy or not, it was and is starting");
        while SystemTime::now() == born {}
        replica.set_lifecycle(Lifecycle::Running);
        assert!(replica.since() > born);
    }

    #[test]
    fn only_container_ids_are_cut() {
        let id = "0123456789ab".repeat(6)[..64].to_owned();
        assert_eq!(ReplicaId::from(&id).to_string(), "0123456789ab");
        assert_eq!(ReplicaId::from(&id).as_str(), id);
        for other in ["", "gateway@10.1.1.1:3001", &"é".repeat(32), &"z".repeat(64)] {
            assert_eq!(ReplicaId::from(other).short(), other);
        }
    }
}
