//! How readers hear that something is new, and how often they look.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::watch;

use super::{Registry, Replicas};

/// Looks at so many replicas are worth a rest of a millisecond: each takes a tenth of a microsecond or less.
const AT_EASE: u64 = 1000;

impl Registry {
    /// Wakes after membership, a lifecycle or anything else changed that says whether a replica may be picked; the
    /// value counts those changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Wakes after membership or a lifecycle changed, or a drain by hand began or ended; not for what health says, which
    /// is as much as there are replicas whenever they are new.
    pub(crate) fn watch_members(&self) -> watch::Receiver<u64> {
        self.shared.members.subscribe()
    }

    /// Wakes whoever watches: the caller has changed something about a replica that it alone writes.
    pub(crate) fn announce(&self) {
        self.shared.members.send_modify(|version| *version += 1);
        self.announce_standing();
    }

    /// The same for what only health writes.
    pub(crate) fn announce_standing(&self) {
        self.shared.version.send_modify(|version| *version += 1);
    }

    /// Wakes whoever ejects: a replica has failed so often in a row that it is to be looked at. From any thread.
    pub(crate) fn raise_alarm(&self) {
        self.shared.alarm.notify_one();
    }

    /// Waits for an alarm; one that was raised before is not missed. There is one who listens.
    pub(crate) async fn alarmed(&self) {
        self.shared.alarm.notified().await;
    }
}

/// Waits for a change, after a rest for whoever has looked at so many replicas before: what changes meanwhile is looked at in
/// one go, so that looking takes a tenth of a thread however much changes. It is a millisecond for each thousand, and so
/// nothing for a small fleet. May be dropped and called again.
pub(crate) async fn change_after(
    looked_at: usize,
    changes: &mut watch::Receiver<u64>,
) -> Result<(), watch::error::RecvError> {
    rest(looked_at).await;
    changes.changed().await
}

async fn rest(looked_at: usize) {
    let pause = Duration::from_millis(looked_at as u64 / AT_EASE);
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// How many replicas these are.
pub(crate) fn count(services: &[Arc<Replicas>]) -> usize {
    services.iter().map(|replicas| replicas.list().len()).sum()
}

/// Forgets what was kept, by incarnation, of replicas that are listed no more. All that are listed have something there.
pub(crate) fn forget_unlisted<T>(kept: &mut FxHashMap<u64, T>, services: &[Arc<Replicas>]) {
    if kept.len() > count(services) {
        let listed = services.iter().flat_map(|replicas| replicas.list());
        let listed: FxHashSet<_> = listed.map(|replica| replica.incarnation()).collect();
        kept.retain(|incarnation, _| listed.contains(incarnation));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::registry::fixtures::{gateway, running, spec};

    #[test]
    fn who_follows_members_is_not_woken_by_what_only_health_says() {
        let (registry, mut writer) = gateway(&[1]);
        let (mut all, mut members) = (registry.watch(), registry.watch_members());
        let mut woken = || {
            let woken = (all.has_changed().unwrap(), members.has_changed().unwrap());
            all.mark_unchanged();
            members.mark_unchanged();
            woken
        };
        registry.announce_standing();
        assert_eq!(woken(), (true, false));
        writer.apply(running(spec("gateway", 2)));
        assert_eq!(woken(), (true, true));
        registry.announce();
        assert_eq!(woken(), (true, true));
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_looks_at_many_rests() {
        for (looked_at, pause) in [(0, 0), (999, 0), (1000, 1), (10_000, 10)] {
            let began = Instant::now();
            rest(looked_at).await;
            assert_eq!(began.elapsed(), Duration::from_millis(pause), "{looked_at}");
        }
    }
}
