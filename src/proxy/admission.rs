//! Who is let in: no more connections than the limit in all, and none more of a client that has as many as one may have.
//!
//! Over the limit in all, a connection waits in the hands of its worker, which accepts no other meanwhile: the rest wait
//! in the kernel's queue, and nothing spins. A place that comes free wakes the worker that has waited longest, whichever
//! thread it is on.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::per_client::{PerClient, Place};
use super::sender;
use crate::config::settings::ProxySettings;
use crate::metrics::{AcceptPause, ProxyMetrics};
use crate::peers::Peers;

/// The places for client connections, shared by all workers. Nothing here is touched by a request.
#[derive(Debug)]
pub struct Admission {
    limit: AtomicUsize,
    open: AtomicUsize,
    /// Whether the limit was reached and not left again, as far as the log knows.
    is_reached: AtomicBool,
    has_left: Notify,
    per_client: Arc<PerClient>,
    metrics: Arc<ProxyMetrics>,
}

/// A connection that its client may have. It is not let in yet.
#[derive(Debug)]
pub(super) struct Guest {
    _place: Option<Box<Place>>,
}

/// A connection that was let in, until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    _guest: Guest,
}

impl Admission {
    /// Room for `limit` connections in all.
    pub fn new(limit: NonZeroUsize, metrics: Arc<ProxyMetrics>) -> Self {
        Self {
            limit: AtomicUsize::new(limit.get()),
            open: AtomicUsize::new(0),
            is_reached: AtomicBool::new(false),
            has_left: Notify::new(),
            per_client: Arc::default(),
            metrics,
        }
    }

    /// Makes it room for another number. Who is in stays, if there are more than that; who waits looks again.
    pub fn set_limit(&self, limit: NonZeroUsize) {
        self.limit.store(limit.get(), Ordering::SeqCst);
        self.has_left.notify_waiters();
    }

    /// Counts a connection for its client; `None` if that one has as many as it may have by these settings. It counts
    /// only those that came since there is such a limit, and none of a balancer that has yet to say who its client is or
    /// of a peer, which speaks for many, too.
    pub(super) fn greet(&self, addr: SocketAddr, settings: &ProxySettings, peers: &Peers) -> Option<Guest> {
        let is_limited = settings.limits.connections_per_client.is_some();
        if sender::is_sender(addr, &settings.proxy_protocol) || (is_limited && peers.has_address(addr.ip())) {
            return Some(Guest { _place: None });
        }
        self.guest(addr.ip(), settings)
    }

    fn guest(&self, client: IpAddr, settings: &ProxySettings) -> Option<Guest> {
        match settings.limits.connections_per_client {
            None => Some(Guest { _place: None }),
            Some(limit) => {
                let place = self.per_client.take(client, limit, &settings.trusted_proxies)?;
                Some(Guest { _place: place.map(Box::new) })
            }
        }
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    /// Lets a connection in if there is room now.
    pub(super) fn try_admit(self: &Arc<Self>, guest: Guest) -> Result<Admitted, Guest> {
        let limit = self.limit();
        let take = |open| (open < limit).then_some(open + 1);
        match self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(self.admitted(guest)),
            Err(_) => Err(guest),
        }
    }

    /// One that there is a place for already.
    fn admitted(self: &Arc<Self>, guest: Guest) -> Admitted {
        self.metrics.connections_total.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections_open.fetch_add(1, Ordering::Relaxed);
        Admitted { admission: Arc::clone(self), _guest: guest }
    }

    /// Lets a connection in as soon as there is room; once `stop` is over also where there is none, since it has been
    /// accepted and nobody will be after it.
    pub(super) async fn admit(self: &Arc<Self>, guest: Guest, mut stop: impl Future<Output = ()> + Unpin) -> Admitted {
        let mut guest = match self.try_admit(guest) {
            Ok(admitted) => return admitted,
            Err(guest) => guest,
        };
        let _waiting = Waiting::count(&self.metrics.workers_waiting);
        self.metrics.record_accept_pause(AcceptPause::Limit);
        if !self.is_reached.swap(true, Ordering::SeqCst) {
            warn!(cause = self.limit(), "Connection limit reached: new clients wait until others leave");
        }
        loop {
            let mut has_left = pin!(self.has_left.notified());
            // Before the look, so that no place that comes free after it goes unheard.
            has_left.as_mut().enable();
            guest = match self.try_admit(guest) {
                Ok(admitted) => return admitted,
                Err(guest) => guest,
            };
            tokio::select! {
                () = has_left => {}
                () = &mut stop => {
                    self.open.fetch_add(1, Ordering::SeqCst);
                    return self.admitted(guest);
                }
            }
        }
    }

    fn leave(&self) {
        let left = self.open.fetch_sub(1, Ordering::SeqCst).saturating_sub(1);
        self.metrics.connections_open.fetch_sub(1, Ordering::Relaxed);
        self.has_left.notify_one();
        let limit = self.limit();
        // Well below it, or each client that comes and goes would be told twice.
        let is_well_below = left <= limit - (limit / 10).max(1);
        if is_well_below
            && self.metrics.workers_waiting.load(Ordering::SeqCst) == 0
            && self.is_reached.swap(false, Ordering::SeqCst)
        {
            info!(cause = limit, "Connection limit left behind: new clients do not wait any more");
        }
    }
}

impl Admitted {
    /// Counts the connection for the client that a balancer named; whether that one may have it by these settings.
    pub(super) fn claim(&mut self, client: IpAddr, settings: &ProxySettings) -> bool {
        let guest = self.admission.guest(client, settings);
        let may = guest.is_some();
        self._guest = guest.unwrap_or(Guest { _place: None });
        may
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.leave();
    }
}

/// Counts a worker that waits, however its wait ends.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicU64) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use crate::config::settings::LimitSettings;
    use crate::proxy::tests::support::DEADLINE;

    const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    fn admission(limit: usize) -> Arc<Admission> {
        Arc::new(Admission::new(NonZeroUsize::new(limit).unwrap(), Arc::default()))
    }

    /// One of the two that each client may have.
    fn guest(admission: &Admission) -> Guest {
        let limits = LimitSettings { connections_per_client: NonZeroUsize::new(2), ..LimitSettings::default() };
        let settings = ProxySettings { limits, ..ProxySettings::default() };
        admission.greet(CLIENT, &settings, &Peers::default()).unwrap()
    }

    /// One that is not counted for its client.
    fn stranger(admission: &Admission) -> Guest {
        admission.greet(CLIENT, &ProxySettings::default(), &Peers::default()).unwrap()
    }

    fn enter(admission: &Arc<Admission>) -> Option<Admitted> {
        admission.try_admit(stranger(admission)).ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_until_somebody_leaves() {
        let admission = admission(2);
        let (first, _second) = (enter(&admission).unwrap(), enter(&admission).unwrap());
        assert!(enter(&admission).is_none());
        let mut third = pin!(admission.admit(stranger(&admission), pending()));
        assert!(tokio::time::timeout(DEADLINE, &mut third).await.is_err());
        drop(first);
        let _third = tokio::time::timeout(DEADLINE, &mut third).await.unwrap();
        assert!(enter(&admission).is_none());
        let counted = [&admission.metrics.connections_open, &admission.metrics.connections_total];
        assert_eq!(counted.map(|count| count.load(Ordering::Relaxed)), [2, 3]);
        let pauses: Vec<_> = admission.metrics.accept_pauses().map(|(_, count)| count).collect();
        assert_eq!(pauses, [1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_takes_no_place_and_no_call() {
        let admission = admission(1);
        let only = admission.try_admit(guest(&admission)).unwrap();
        let given_up = admission.admit(guest(&admission), pending());
        assert!(tokio::time::timeout(Duration::from_secs(1), given_up).await.is_err());
        assert_eq!(admission.metrics.workers_waiting.load(Ordering::SeqCst), 0);
        let mut patient = pin!(admission.admit(guest(&admission), pending()));
        assert!(tokio::time::timeout(DEADLINE, &mut patient).await.is_err());
        drop(only);
        tokio::time::timeout(DEADLINE, &mut patient).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_when_all_ends_is_let_in_and_the_limit_stays() {
        let admission = admission(1);
        let _only = enter(&admission).unwrap();
        let stop = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
        let last = admission.admit(stranger(&admission), stop);
        let last = tokio::time::timeout(DEADLINE, last).await.unwrap();
        assert_eq!(admission.open.load(Ordering::SeqCst), 2);
        drop(last);
        assert!(enter(&admission).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_limit_lets_in_who_waits_and_a_lower_one_throws_nobody_out() {
        let admission = admission(1);
        let mut inside = vec![enter(&admission).unwrap()];
        let mut waits = pin!(admission.admit(stranger(&admission), pending()));
        assert!(tokio::time::timeout(DEADLINE, &mut waits).await.is_err());
        admission.set_limit(NonZeroUsize::new(3).unwrap());
        inside.push(tokio::time::timeout(DEADLINE, &mut waits).await.unwrap());
        inside.push(enter(&admission).unwrap());
        admission.set_limit(NonZeroUsize::MIN);
        assert_eq!(admission.metrics.connections_open.load(Ordering::Relaxed), 3);
        inside.truncate(1);
        assert!(enter(&admission).is_none());
        inside.clear();
        assert!(enter(&admission).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_only_told_well_below_the_limit() {
        let admission = admission(20);
        let mut inside: Vec<_> = (0..20).map(|_| enter(&admission).unwrap()).collect();
        let waits = admission.admit(stranger(&admission), pending());
        assert!(tokio::time::timeout(DEADLINE, waits).await.is_err());
        let is_reached = || admission.is_reached.load(Ordering::SeqCst);
        inside.truncate(19);
        assert!(is_reached());
        inside.truncate(18);
        assert!(!is_reached());
    }

    /// Many threads come and go at a limit of one: who is not woken by another thread waits for ever.
    #[test]
    fn who_leaves_wakes_who_waits_on_another_thread() {
        const THREADS: usize = 4;
        let admission = admission(1);
        let (done, is_done) = mpsc::channel();
        for _ in 0..THREADS {
            let (admission, done) = (Arc::clone(&admission), done.clone());
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..200 {
                        let admitted = admission.admit(stranger(&admission), pending()).await;
                        assert_eq!(admission.open.load(Ordering::SeqCst), 1);
                        // Lets the others run into the limit.
                        thread::yield_now();
                        drop(admitted);
                    }
                });
                done.send(()).unwrap();
            });
        }
        for _ in 0..THREADS {
            is_done.recv_timeout(DEADLINE).expect("every thread gets its turns");
        }
    }
}
