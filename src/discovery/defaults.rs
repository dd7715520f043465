//! What holds for replicas of which nothing else is said, while the settings change.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use crate::config::settings::{ReplicaDefaults, Settings};

/// Waits until the settings have other defaults than those `known`, where `ours` finds them; for ever without settings to
/// follow. May be dropped and called again.
pub(super) async fn other_defaults(
    newest: &mut Option<watch::Receiver<Arc<Settings>>>,
    known: &ReplicaDefaults,
    ours: impl Fn(&Settings) -> Option<&ReplicaDefaults>,
) -> ReplicaDefaults {
    let Some(newest) = newest else { return pending().await };
    while newest.changed().await.is_ok() {
        let settings = newest.borrow_and_update();
        if let Some(defaults) = ours(&settings).filter(|defaults| *defaults != known) {
            return defaults.clone();
        }
    }
    pending().await
}
