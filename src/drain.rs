//! Drains, followed to their end: says when the last request of a replica that drains has ended, and how many the
//! drain timeout cut off. It only reads; who drains is written by discovery and by the admin room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::registry::{Registry, change_after, count};
use crate::replica::Replica;

/// Between two looks at the requests of replicas that drain. Nothing is looked at while none does.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Every drain that is known, by the replica's incarnation.
#[derive(Debug)]
pub struct Drains {
    registry: Registry,
    changes: watch::Receiver<u64>,
    drains: HashMap<u64, Drain>,
    /// How many replicas were looked at.
    looked_at: usize,
}

/// One replica that drains.
#[derive(Debug)]
struct Drain {
    replica: Arc<Replica>,
    /// What was cut before: in an earlier drain, if that was ended by hand.
    cut_before: u64,
    /// Its last request has ended, and that was said.
    is_over: bool,
}

impl Drains {
    /// Every drain of `registry`, now and later.
    pub fn new(registry: Registry) -> Self {
        Self { changes: registry.watch_members(), registry, drains: HashMap::new(), looked_at: 0 }
    }

    /// Follows them until `stop` is cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.changes.mark_unchanged();
            self.follow();
            let is_waiting = self.drains.values().any(|drain| !drain.is_over);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = change_after(self.looked_at, &mut self.changes) => if changed.is_err() { return },
                () = sleep(LOOK_INTERVAL), if is_waiting => {}
            }
        }
    }

    /// Takes up drains that have begun, and drops those that were ended by hand or are over with their replica gone.
    fn follow(&mut self) {
        let services = self.registry.services();
        let listed = || services.iter().flat_map(|replicas| replicas.list());
        for replica in listed().filter(|replica| replica.is_draining()) {
            self.drains.entry(replica.incarnation()).or_insert_with(|| Drain::new(replica));
        }
        self.looked_at = count(&services);
        if self.drains.is_empty() {
            return;
        }
        let listed: HashSet<_> = listed().map(|replica| replica.incarnation()).collect();
        self.drains.retain(|incarnation, drain| {
            drain.look();
            drain.replica.is_draining() && (listed.contains(incarnation) || !drain.is_over)
        });
    }
}

impl Drain {
    fn new(replica: &Arc<Replica>) -> Self {
        Self { replica: Arc::clone(replica), cut_before: replica.metrics().cut(), is_over: false }
    }

    fn look(&mut self) {
        if self.is_over || !self.replica.is_draining() || self.replica.in_flight() > 0 {
            return;
        }
        self.is_over = true;
        let (service, name) = (&self.replica.spec().service, &self.replica.spec().name);
        match self.replica.metrics().cut().saturating_sub(self.cut_before) {
            0 => info!(service = %service, replica = %name, "Replica drained"),
            1 => info!(service = %service, replica = %name, cause = "1 request cut off", "Replica drained"),
            cut => {
                info!(service = %service, replica = %name, cause = %format_args!("{cut} requests cut off"), "Replica drained")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use tokio::task::JoinHandle;
    use tokio::time::timeout;
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::change::Change;
    use crate::provider::Provider;
    use crate::registry::RegistryWriter;
    use crate::registry::fixtures::{running, spec};

    /// Everything that is logged on this thread.
    #[derive(Clone, Debug, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The room over a registry with one replica, on a clock that only waiting moves.
    struct Room {
        registry: Registry,
        writer: RegistryWriter,
        replica: Arc<Replica>,
        log: Log,
        stop: CancellationToken,
        following: JoinHandle<()>,
        _guard: DefaultGuard,
    }

    impl Room {
        fn open() -> Self {
            let log = Log::default();
            let writer = log.clone();
            let format = tracing_subscriber::fmt().without_time().with_ansi(false).with_target(false);
            let guard = tracing::subscriber::set_default(format.with_writer(move || writer.clone()).finish());
            let ((registry, mut writer), stop) = (Registry::new(), CancellationToken::new());
            writer.apply(running(spec("gateway", 1)));
            let replica = Arc::clone(&registry.replicas("gateway").unwrap().list()[0]);
            let following = tokio::spawn(Drains::new(registry.clone()).run(stop.clone()));
            Self { registry, writer, replica, log, stop, following, _guard: guard }
        }

        fn drain(&mut self) {
            self.writer.apply(Change::Drain { provider: Provider::DOCKER, id: self.replica.id().clone() });
        }

        fn drain_by_hand(&self, is_drained: bool) {
            self.replica.set_drained_by_hand(is_drained);
            self.registry.announce();
        }

        fn begin_request(&self) {
            self.replica.in_flight_cell().fetch_add(1, Ordering::SeqCst);
        }

        fn end_request(&self) {
            self.replica.in_flight_cell().fetch_sub(1, Ordering::SeqCst);
        }

        /// What was said of ended drains, after time enough to say it.
        async fn said(&self) -> Vec<String> {
            sleep(LOOK_INTERVAL * 3).await;
            let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
            text.lines().filter_map(|line| Some(line.split_once("Replica drained")?.1.trim().to_owned())).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_drain_is_said_once() {
        let mut room = Room::open();
        room.begin_request();
        room.drain();
        assert_eq!(room.said().await, [""; 0], "a request is left");
        room.end_request();
        assert_eq!(room.said().await, ["service=gateway replica=gateway-1"]);
        room.registry.announce();
        room.writer.apply(Change::Remove { provider: Provider::DOCKER, id: room.replica.id().clone() });
        assert_eq!(room.said().await.len(), 1);
        room.stop.cancel();
        timeout(LOOK_INTERVAL, room.following).await.expect("it ends").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_left_before_its_last_request_ended_is_followed_on() {
        let mut room = Room::open();
        room.begin_request();
        room.drain();
        assert_eq!(room.said().await, [""; 0]);
        room.writer.apply(Change::Remove { provider: Provider::DOCKER, id: room.replica.id().clone() });
        assert_eq!(room.said().await, [""; 0]);
        room.replica.metrics().record_cut();
        room.end_request();
        assert_eq!(room.said().await, ["service=gateway replica=gateway-1 cause=\"1 request cut off\""]);
        assert_eq!(Arc::strong_count(&room.replica), 1, "and forgotten then");
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_was_ended_by_hand_is_none_and_the_next_counts_anew() {
        let room = Room::open();
        room.begin_request();
        room.replica.metrics().record_cut();
        room.drain_by_hand(true);
        assert_eq!(room.said().await, [""; 0]);
        room.drain_by_hand(false);
        room.end_request();
        assert_eq!(room.said().await, [""; 0], "it does not drain any more");
        room.drain_by_hand(true);
        assert_eq!(room.said().await, ["service=gateway replica=gateway-1"]);
        room.drain_by_hand(false);
        assert_eq!(room.said().await.len(), 1);
        room.begin_request();
        room.drain_by_hand(true);
        assert_eq!(room.said().await.len(), 1);
        (0..3).for_each(|_| room.replica.metrics().record_cut());
        room.end_request();
        assert_eq!(room.said().await[1..], ["service=gateway replica=gateway-1 cause=3 requests cut off"]);
    }
}
