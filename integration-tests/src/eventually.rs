//! Waiting for a condition with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Returns as soon as `condition` holds.
///
/// # Panics
/// When it does not hold within `deadline`; the message says `what` was waited for.
pub async fn eventually(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually_some(deadline, what, async || condition().await.then_some(())).await;
}

/// Returns the first value that `find` finds.
///
/// # Panics
/// When it finds none within `deadline`; the message says `what` was waited for.
pub async fn eventually_some<T>(deadline: Duration, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn returns_as_soon_as_the_condition_holds() {
        let mut polls = 0;
        let start = Instant::now();
        eventually(Duration::from_secs(60), "three polls", async || {
            polls += 1;
            polls == 3
        })
        .await;
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "not within 3s: pigs fly")]
    async fn fails_at_the_deadline_and_says_what_was_awaited() {
        eventually(Duration::from_secs(3), "pigs fly", async || false).await;
    }
}
