//! A timer for "nothing happened for so long", cheap to restart on every byte.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Tells when a wait has lasted too long. Progress only clears a field; the runtime's timer is touched when the wait
/// really is long.
#[derive(Debug, Default)]
pub(super) struct IdleTimer {
    waiting_since: Option<Instant>,
    alarm: Option<Alarm>,
}

/// A timer of the runtime's that is set.
#[derive(Debug)]
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// When it ends, kept here so that an early look needs not go to the timer.
    at: Instant,
    /// Whom it wakes.
    waker: Waker,
}

impl IdleTimer {
    /// Something happened: the next wait starts anew.
    pub(super) fn progress(&mut self) {
        self.waiting_since = None;
    }

    /// When the present wait began, if there is one.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.waiting_since
    }

    /// What is waited for has not happened since then.
    pub(super) fn wait_from(&mut self, since: Instant) {
        self.waiting_since = Some(since);
    }

    /// Ready once the present wait has lasted for `limit`. The wait starts with the first call after progress; `now` is
    /// when the task was woken.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>, now: Instant, limit: Duration) -> Poll<()> {
        let since = *self.waiting_since.get_or_insert(now);
        let Some(deadline) = since.checked_add(limit) else { return Poll::Pending };
        // One that was set in an earlier wait may end before our deadline, and is then set again; never after it.
        if let Some(alarm) = &self.alarm
            && now < alarm.at
            && alarm.at <= deadline
            && alarm.waker.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        let mut sleep = self.alarm.take().map_or_else(|| Box::pin(sleep_until(deadline)), |alarm| alarm.sleep);
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if now >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.alarm = Some(Alarm { at: sleep.deadline(), sleep, waker: cx.waker().clone() });
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{advance, timeout};

    const LIMIT: Duration = Duration::from_secs(10);

    async fn wait(timer: &mut IdleTimer, limit: Duration) -> Duration {
        let start = Instant::now();
        poll_fn(|cx| timer.poll_expired(cx, Instant::now(), limit)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_after_its_limit_counted_from_the_last_progress() {
        let mut timer = IdleTimer::default();
        assert_eq!(wait(&mut timer, LIMIT).await, LIMIT);
        timer.progress();
        assert!(timeout(LIMIT * 9 / 10, wait(&mut timer, LIMIT)).await.is_err());
        timer.progress();
        advance(LIMIT / 2).await;
        assert_eq!(wait(&mut timer, LIMIT).await, LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_began_earlier_ends_earlier() {
        let mut timer = IdleTimer::default();
        assert_eq!(timer.waiting_since(), None);
        let began = Instant::now();
        advance(LIMIT / 2).await;
        assert!(timeout(LIMIT / 4, wait(&mut timer, LIMIT)).await.is_err());
        assert_eq!(timer.waiting_since(), Some(began + LIMIT / 2));
        timer.wait_from(began);
        assert_eq!(wait(&mut timer, LIMIT).await, LIMIT / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_limit_counts_at_once_and_an_endless_one_never_ends() {
        let mut timer = IdleTimer::default();
        assert!(timeout(LIMIT / 10, wait(&mut timer, LIMIT)).await.is_err());
        timer.progress();
        assert_eq!(wait(&mut timer, LIMIT / 5).await, LIMIT / 5);
        timer.progress();
        assert!(timeout(LIMIT * 1000, wait(&mut timer, Duration::MAX)).await.is_err());
    }
}
