//! A timer for "nothing happened for so long", cheap to restart on every byte.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
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
        // Who has no budget left was not heard by the timer: it has to be told at the next look.
        let at = if has_budget_remaining() { sleep.deadline() } else { now };
        self.alarm = Some(Alarm { at, sleep, waker: cx.waker().clone() });
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

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_set_without_budget_goes_off() {
        let mut timer = IdleTimer::default();
        poll_fn(|cx| {
            while has_budget_remaining() {
                let _ = tokio::task::coop::poll_proceed(cx).map(|one| one.made_progress());
            }
            assert!(timer.poll_expired(cx, Instant::now(), LIMIT).is_pending());
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        assert_eq!(timeout(LIMIT * 2, wait(&mut timer, LIMIT)).await, Ok(LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_whoever_looked_last() {
        let mut timer = IdleTimer::default();
        let mut other = Context::from_waker(Waker::noop());
        assert!(timer.poll_expired(&mut other, Instant::now(), LIMIT).is_pending());
        assert_eq!(timeout(LIMIT * 2, wait(&mut timer, LIMIT)).await, Ok(LIMIT));
    }
}
