//! The static provider: the replicas that the settings name, after each change of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::change::{Change, Observed, Sighting};
use crate::config::settings::Settings;
use crate::provider::Provider;
use crate::registry::Registry;
use crate::replica::{Lifecycle, ReplicaId, ReplicaSpec};

/// How long those who leave stay until those who come in their stead are ready.
const HANDOVER: Duration = Duration::from_secs(3);

/// Tells the registry what changes about the static replicas.
pub(super) struct Statics {
    registry: Registry,
    changes: mpsc::Sender<Observed>,
    settings: watch::Receiver<Arc<Settings>>,
    named: Vec<ReplicaSpec>,
}

/// As the settings see a replica.
pub(super) fn sighting(spec: ReplicaSpec) -> Sighting {
    Sighting { spec, lifecycle: Lifecycle::Running }
}

impl Statics {
    /// Those of which the registry knows that these are `named` now.
    pub(super) fn new(
        named: Vec<ReplicaSpec>,
        registry: Registry,
        changes: mpsc::Sender<Observed>,
        settings: watch::Receiver<Arc<Settings>>,
    ) -> Self {
        Self { registry, changes, settings, named }
    }

    /// Follows the settings until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // Else nobody changes the settings any more, or nobody hears of it.
        let _ = stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&mut self) -> Option<()> {
        loop {
            self.settings.changed().await.ok()?;
            let named = self.settings.borrow_and_update().statics.clone();
            let ids = |specs: &[ReplicaSpec]| -> HashSet<_> { specs.iter().map(|spec| spec.id.clone()).collect() };
            let (before, now) = (ids(&self.named), ids(&named));
            for spec in named.iter().filter(|spec| !self.named.contains(spec)) {
                self.tell(Change::Upsert { replica: Box::new(sighting(spec.clone())) }).await?;
            }
            let (newcomers, leavers) = (&now - &before, &before - &now);
            if !leavers.is_empty() {
                // In vain if they do not come up; who wants others to leave gets that all the same.
                let _ = timeout(HANDOVER, self.until_ready(&newcomers)).await;
            }
            for id in leavers {
                self.tell(Change::Retire { provider: Provider::STATIC, id }).await?;
            }
            self.named = named;
        }
    }

    async fn tell(&self, change: Change) -> Option<()> {
        self.changes.send(change.into()).await.ok()
    }

    /// Waits until each of these has been ready, but for those that are to take nothing.
    async fn until_ready(&self, ids: &HashSet<ReplicaId>) {
        let mut changes = self.registry.watch();
        let mut awaited = ids.clone();
        loop {
            for replica in self.registry.services().iter().flat_map(|replicas| replicas.list()) {
                if replica.is_pickable() || replica.spec().weight == 0 {
                    awaited.remove(replica.id());
                }
            }
            if awaited.is_empty() || changes.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::registry::RegistryWriter;
    use crate::registry::fixtures::spec;
    use crate::replica::{Health, Replica, State};

    const MOMENT: Duration = Duration::from_millis(10);

    /// The provider with `gateway-1`, which is ready, and a writer that works off what it tells.
    struct Room {
        registry: Registry,
        writer: RegistryWriter,
        settings: watch::Sender<Arc<Settings>>,
        inbox: mpsc::Receiver<Observed>,
    }

    fn static_spec(number: u16) -> ReplicaSpec {
        ReplicaSpec { provider: Provider::STATIC, ..spec("gateway", number) }
    }

    impl Room {
        fn open() -> Self {
            let (registry, mut writer) = Registry::new();
            let replicas = vec![sighting(static_spec(1))];
            writer.apply(Change::Reset { provider: Provider::STATIC, replicas });
            let (settings, newest) = watch::channel(Arc::default());
            let (changes, inbox) = mpsc::channel(9);
            let statics = Statics::new(vec![static_spec(1)], registry.clone(), changes, newest);
            tokio::spawn(statics.run(CancellationToken::new()));
            let room = Self { registry, writer, settings, inbox };
            room.set_ready(1);
            room
        }

        fn name(&self, specs: impl IntoIterator<Item = ReplicaSpec>) {
            let statics = specs.into_iter().collect();
            self.settings.send_replace(Arc::new(Settings { statics, ..Settings::default() }));
        }

        /// Lets time pass, and the writer work.
        async fn pass(&mut self, time: Duration) {
            let end = Instant::now() + time;
            while Instant::now() < end {
                sleep(MOMENT).await;
                while let Ok(observed) = self.inbox.try_recv() {
                    self.writer.apply(observed.change);
                }
                self.writer.remove_retired();
            }
        }

        fn replica(&self, number: u32) -> Option<Arc<Replica>> {
            let replicas = self.registry.replicas("gateway").unwrap();
            replicas.list().iter().find(|replica| replica.spec().number == Some(number)).map(Arc::clone)
        }

        fn state(&self, number: u32) -> Option<State> {
            self.replica(number).map(|replica| replica.state())
        }

        fn set_ready(&self, number: u32) {
            self.replica(number).unwrap().set_health(Health::Healthy);
            self.registry.announce();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_stays_until_who_comes_is_ready_but_not_for_ever() {
        let mut room = Room::open();
        room.name([static_spec(2)]);
        room.pass(MOMENT * 3).await;
        assert_eq!((room.state(1), room.state(2)), (Some(State::Ready), Some(State::Starting)));
        room.set_ready(2);
        room.pass(MOMENT * 3).await;
        assert_eq!((room.state(1), room.state(2)), (None, Some(State::Ready)));
        room.name([static_spec(3)]);
        room.pass(HANDOVER / 2).await;
        assert_eq!(room.state(2), Some(State::Ready));
        room.pass(HANDOVER).await;
        assert_eq!((room.state(2), room.state(3)), (None, Some(State::Starting)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_ends_its_requests_and_who_is_named_again_meanwhile_is_what_it_was() {
        let mut room = Room::open();
        let first = room.replica(1).unwrap();
        first.in_flight_cell().fetch_add(1, Ordering::SeqCst);
        room.name([]);
        room.pass(HANDOVER * 2).await;
        assert_eq!(room.state(1), Some(State::Draining));
        room.name([static_spec(1)]);
        room.pass(MOMENT * 3).await;
        assert_eq!(room.state(1), Some(State::Ready));
        assert_eq!(room.replica(1).unwrap().incarnation(), first.incarnation());
        room.name([]);
        room.pass(MOMENT * 3).await;
        assert_eq!(room.state(1), Some(State::Draining));
        first.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
        room.pass(MOMENT * 3).await;
        assert_eq!(room.state(1), None);
        room.name([static_spec(1)]);
        room.pass(MOMENT * 3).await;
        assert_ne!(room.replica(1).unwrap().incarnation(), first.incarnation(), "that is another one");
    }

    #[tokio::test(start_paused = true)]
    async fn new_facts_of_a_replica_leave_its_life_as_it_is() {
        let mut room = Room::open();
        let first = room.replica(1).unwrap();
        room.name([ReplicaSpec { weight: 7, drain_timeout: Some(HANDOVER), ..static_spec(1) }]);
        room.pass(MOMENT * 3).await;
        let now = room.replica(1).unwrap();
        assert_eq!((now.spec().weight, now.state(), now.incarnation()), (7, State::Ready, first.incarnation()));
    }
}
