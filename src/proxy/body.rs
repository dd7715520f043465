//! The two bodies: the request's, which says how it fares, and the answer's, which holds the lease until it ends.
//! Neither keeps more than the frame at hand, so the slower side sets the pace.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::pool::{Connection, Pool};
use super::stream::Exchange;
use super::timer::IdleTimer;
use crate::balancer::Lease;
use crate::metrics::AttemptFailure;

/// Why a body did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is malformed, or its sender went away.
    #[error("the body broke off")]
    Broken,
    /// Its sender sent nothing for too long.
    #[error("the body stood still")]
    Stalled,
}

/// How the sending of a request's body fares.
#[derive(Debug)]
pub(super) struct Progress {
    moved_at: Cell<Instant>,
    waits_for_client: Cell<bool>,
    error: Cell<Option<BodyError>>,
}

impl Progress {
    /// When the replica last took something, or we last waited for the client.
    pub(super) fn moved_at(&self) -> Instant {
        if self.waits_for_client.get() { Instant::now() } else { self.moved_at.get() }
    }

    /// What the client did wrong, if it did.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.error.get()
    }
}

/// Reads the next frame, or says that there was none for `limit`.
fn poll_frame(
    body: &mut Incoming,
    timer: &mut IdleTimer,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    match Pin::new(body).poll_frame(cx) {
        Poll::Ready(frame) => {
            timer.progress();
            Poll::Ready(frame.map(|frame| frame.map_err(|_| BodyError::Broken)))
        }
        Poll::Pending => timer.poll_expired(cx, limit).map(|()| Some(Err(BodyError::Stalled))),
    }
}

/// A request's body on its way to a replica.
#[derive(Debug)]
pub(super) struct RequestBody {
    incoming: Option<Incoming>,
    timer: IdleTimer,
    limit: Duration,
    progress: Rc<Progress>,
}

impl RequestBody {
    /// The body a client sends; `limit` is how long it may stand still.
    pub(super) fn new(incoming: Incoming, limit: Duration) -> Self {
        let mut body = Self::empty(limit);
        body.incoming = Some(incoming).filter(|incoming| !incoming.is_end_stream());
        body
    }

    /// A body without a byte.
    pub(super) fn empty(limit: Duration) -> Self {
        let progress =
            Progress { moved_at: Cell::new(Instant::now()), waits_for_client: Cell::default(), error: Cell::default() };
        Self { incoming: None, timer: IdleTimer::default(), limit, progress: Rc::new(progress) }
    }

    /// How it fares; also once the body itself is with hyper.
    pub(super) fn progress(&self) -> Rc<Progress> {
        self.progress.moved_at.set(Instant::now());
        Rc::clone(&self.progress)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { incoming, timer, limit, progress } = &mut *self;
        let Some(body) = incoming else { return Poll::Ready(None) };
        let outcome = poll_frame(body, timer, *limit, cx);
        progress.waits_for_client.set(outcome.is_pending());
        progress.moved_at.set(Instant::now());
        if let Poll::Ready(Some(Err(error))) = &outcome {
            progress.error.set(Some(*error));
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.progress.waits_for_client.set(false);
    }
}

/// What an exchange holds until its answer has ended, and settles then.
#[derive(Debug)]
pub(super) struct Held {
    /// The claim on the replica.
    pub(super) lease: Lease,
    /// When the request's head had come.
    pub(super) began: Instant,
    /// The answer's status code.
    pub(super) code: u16,
    /// Keeps the client's connection from counting as idle.
    pub(super) _exchange: Exchange,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lease.replica().metrics().record_answer(self.code, self.began.elapsed());
    }
}

/// An answer's body on its way to the client.
#[derive(Debug)]
pub(super) struct AnswerBody {
    incoming: Incoming,
    timer: IdleTimer,
    limit: Duration,
    held: Held,
    connection: Option<Connection>,
    pool: Rc<Pool>,
}

impl AnswerBody {
    /// The body that `connection` reads; `limit` is how long it may stand still.
    pub(super) fn new(incoming: Incoming, limit: Duration, held: Held, connection: Connection, pool: Rc<Pool>) -> Self {
        let timer = IdleTimer::default();
        Self { incoming, timer, limit, held, connection: Some(connection), pool }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let Self { incoming, timer, limit, .. } = &mut *self;
        let outcome = poll_frame(incoming, timer, *limit, cx);
        if let Poll::Ready(Some(Err(error))) = &outcome {
            let replica = self.held.lease.replica();
            replica.set_last_error(error);
            replica.metrics().record_failure(match error {
                BodyError::Broken => AttemptFailure::Reset,
                BodyError::Stalled => AttemptFailure::Timeout,
            });
        }
        outcome
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Also if the answer has not ended: hyper lets nobody have a connection that is in the middle of something.
        if let Some(connection) = self.connection.take() {
            self.pool.give_back(self.held.lease.replica(), connection);
        }
    }
}
