//! The tunnel behind a `101`: bytes both ways until both ends are done, or nothing moves for too long.

use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::body::Held;
use super::stream::Activity;

/// The two ends of a tunnel that is about to be.
#[derive(Debug)]
pub(super) struct Ends {
    /// Comes once the client has its `101`, with the bytes that it sent right after its request.
    pub(super) client: OnUpgrade,
    /// What the client's socket does.
    pub(super) client_activity: Activity,
    /// Comes with the bytes that the replica sent right after its `101`.
    pub(super) replica: OnUpgrade,
    /// What the replica's socket does.
    pub(super) replica_activity: Activity,
    /// Fires when the replica has drained for as long as it may.
    pub(super) cut: CancellationToken,
}

/// Runs the tunnel. `held` keeps the lease for as long as it lasts.
pub(super) async fn tunnel(ends: Ends, idle_timeout: Duration, held: Held) {
    // An error means that one end is gone before the tunnel began; nothing is left to be done.
    let Ok((client, replica)) = futures::try_join!(ends.client, ends.replica) else { return };
    let (mut client, mut replica) = (TokioIo::new(client), TokioIo::new(replica));
    tokio::select! {
        // An error is an end like any other: what it was concerns the two who talk.
        _ = copy_bidirectional(&mut client, &mut replica) => {}
        () = ends.cut.cancelled() => {}
        () = silence(|| ends.client_activity.bytes_read() + ends.replica_activity.bytes_read(), idle_timeout) => {}
    }
    drop(held);
}

/// Ends once `moved` has not changed for `limit`, or up to a quarter longer.
async fn silence(moved: impl Fn() -> u64, limit: Duration) {
    const LOOKS: u32 = 4;
    let (mut seen, mut silent_for) = (moved(), 0);
    while silent_for < LOOKS {
        sleep(limit / LOOKS).await;
        let now = moved();
        silent_for = if now == seen { silent_for + 1 } else { 0 };
        seen = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte() {
        let limit = Duration::from_secs(60);
        let (moved, start) = (Cell::new(0), Instant::now());
        let talk = async {
            for _ in 0..10 {
                sleep(limit * 9 / 10).await;
                moved.set(moved.get() + 1);
            }
        };
        tokio::join!(talk, silence(|| moved.get(), limit));
        let silent_for = start.elapsed() - limit * 9;
        assert!(silent_for >= limit && silent_for <= limit * 5 / 4, "{silent_for:?}");
    }
}
