//! One request's wait for a replica, when none is ready or none has room: in line until its turn comes and one takes it,
//! but no longer than it may, nor than its client stays.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{Claim, Exchange, refused};
use super::hold::Place;
use super::respond::Cause;
use crate::balancer::{Lease, PickError, Tried};
use crate::metrics::{HoldEnd, Refusal};

/// The part of the longest pause that the first one is, before a replica is tried again that has just failed, while there
/// is no other; each next one is twice as long.
const FIRST_PAUSE: u32 = 10;

/// What each request that waits adds to that, where they are many.
const FOR_EACH: Duration = Duration::from_micros(250);

/// What one request has waited so far, over all its attempts.
#[derive(Debug, Default)]
pub(super) struct Wait {
    began: Option<Instant>,
    /// The last pause.
    pause: Option<Duration>,
}

impl Wait {
    /// The next pause, where the longest is to be `longest`.
    fn pause(&mut self, longest: Duration) -> Duration {
        let pause = self.pause.map_or(longest / FIRST_PAUSE, |last| last * 2).min(longest);
        *self.pause.insert(pause)
    }
}

impl Exchange<'_> {
    /// Waits for a replica; or says why there is no more waiting, if there is anybody to be told. Those that were
    /// `tried` are as good as any other after a pause.
    pub(super) async fn wait(&mut self, wait: &mut Wait, tried: Tried) -> Result<Lease, Option<Cause>> {
        let worker = self.worker;
        let hold = &worker.context.hold;
        let began = *wait.began.get_or_insert(worker.now());
        let longest = self.client.settings.hold.time;
        let left = || longest.saturating_sub(worker.now().saturating_duration_since(began));
        // A request that is few bytes long takes little memory while it waits.
        self.client.settle();
        let Some(mut place) = hold.admit(&self.service, self.client.memory(), &self.client.settings.hold) else {
            let picked = worker.balancer.pick(&self.service, &Tried::default());
            // Room that is there is for who waits, who may have looked for it while this had it.
            let picked = picked.map(|lease| drop(Claim::new(lease, hold)));
            return Err(Some(picked.map_or_else(|error| refused(&error), |()| Cause::Refused(Refusal::ReplicasBusy))));
        };
        let pause = if worker.balancer.has_any(&self.service) && tried.count() > 0 {
            // Many that pause try no more often together than a few do.
            let crowd = FOR_EACH * u32::try_from(hold.waiting()).unwrap_or(u32::MAX);
            wait.pause(self.client.settings.hold.interval.max(crowd)).min(left())
        } else {
            Duration::ZERO
        };
        let mut end = self.stay(pause).await;
        let mut picked = Err(PickError::NoneReady(self.service.as_ref().into()));
        // Without the rest of its pause, who has failed just now would fail again at once, and so on without a rest.
        let is_cut_short = !pause.is_zero() && worker.is_over();
        // News may have ended the pause before its time.
        if end == HoldEnd::Expired && !left().is_zero() && !is_cut_short {
            (end, picked) = self.line_up(&mut place, left()).await;
        }
        place.leave(end);
        match end {
            HoldEnd::Abandoned => Err(None),
            _ => picked.map_err(|error| Some(refused(&error))),
        }
    }

    /// Lets time pass, or until something changes in the registry; unless the client leaves or this worker ends.
    async fn stay(&mut self, pause: Duration) -> HoldEnd {
        if pause.is_zero() {
            return HoldEnd::Expired;
        }
        let mut changes = self.worker.context.registry.watch();
        let mut has_changed = pin!(changes.changed());
        self.client.timer.progress();
        poll_fn(|cx| match has_changed.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(HoldEnd::Expired),
            Poll::Pending => self.poll_end(cx, pause),
        })
        .await
    }

    /// Waits in line for a replica.
    async fn line_up(&mut self, place: &mut Place<'_>, limit: Duration) -> (HoldEnd, Result<Lease, PickError>) {
        let worker = self.worker;
        let mut last = Err(PickError::NoneReady(self.service.as_ref().into()));
        self.client.timer.progress();
        let end = poll_fn(|cx| {
            if place.is_next(cx.waker()) {
                last = worker.balancer.pick(&self.service, &Tried::default());
                if last.is_ok() {
                    return Poll::Ready(HoldEnd::Released);
                }
            }
            self.poll_end(cx, limit)
        });
        let end = end.await;
        (end, last)
    }

    /// Why not to wait any longer.
    fn poll_end(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<HoldEnd> {
        // Nothing was done for it yet, and hardly any client stops sending and stays.
        if self.client.watch_in_place(cx).is_err() || self.client.has_finished {
            return Poll::Ready(HoldEnd::Abandoned);
        }
        if self.worker.is_over() {
            return Poll::Ready(HoldEnd::Expired);
        }
        self.client.timer.poll_expired(cx, self.worker.now(), limit).map(|()| HoldEnd::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_from_a_tenth_of_the_longest_up_to_it() {
        let milliseconds = Duration::from_millis;
        let mut wait = Wait::default();
        let pauses: Vec<_> = (0..6).map(|_| wait.pause(milliseconds(250))).collect();
        assert_eq!(pauses, [25, 50, 100, 200, 250, 250].map(milliseconds));
        assert_eq!(wait.pause(milliseconds(400)), milliseconds(400), "where many wait");
        assert_eq!(wait.pause(milliseconds(10)), milliseconds(10));
    }
}
