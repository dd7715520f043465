//! The way of an answer's bytes to its client: by a pipe or copied, and the more at once the better the client keeps up.

use std::io;
use std::task::{Context, Poll};

use tokio::net::TcpStream;

use super::desk::Reach;
use super::outbox::Outbox;
use super::pipes::{Pipe, Pipes, ROOM};

/// What is left of a body is copied if it is shorter, in bytes: less than a page of each packet is no gain.
const MIN_SPLICED: u64 = 32 * 1024;

/// What the client has not taken yet, and how much to offer it next. Whoever fills it waits until it is empty.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    /// By which what is copied goes out.
    pub(super) outbox: Outbox,
    pipe: Option<Pipe>,
    reach: Reach,
}

impl Outlet {
    /// Whether the client has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.pipe.is_none()
    }

    /// How much to read at once, of what is copied.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Notes whether the client took all that was copied last.
    pub(super) fn note_copied(&mut self) {
        self.reach.note(self.outbox.is_empty());
    }

    /// Moves some of a body of which so much is left from its replica into a pipe, for the next flush: how much, 0 at the
    /// stream's end. `None` if it has to be copied, since it is short, or for want of a pipe, or since the client does not keep
    /// up, for whom a pipe would be lent for long.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &mut Pipes,
        replica: &TcpStream,
        left: u64,
    ) -> Option<Poll<io::Result<usize>>> {
        if left < MIN_SPLICED || self.reach.is_short() {
            return None;
        }
        let filled = pipes.poll_fill(cx, replica, left.min(ROOM as u64) as usize)?;
        Some(filled.map_ok(|pipe| {
            let held = pipe.held();
            if held > 0 {
                self.pipe = Some(pipe);
            } else {
                pipes.take_back(pipe);
            }
            held
        }))
    }

    /// Sends what waits for the client: how much, and ready when nothing waits any more.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        pipes: &mut Pipes,
        client: &mut TcpStream,
    ) -> (usize, Poll<io::Result<()>>) {
        let Some(mut pipe) = self.pipe.take() else { return self.outbox.poll_flush(cx, client) };
        let (moved, drained) = pipe.poll_drain(cx, client);
        if drained.is_ready() {
            pipes.take_back(pipe);
        } else {
            self.reach.note(false);
            self.pipe = Some(pipe);
        }
        (moved, drained)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;
    use crate::proxy::tests::support::pair;

    /// An outlet between two connections, and the far ends of these: the replica's and the client's.
    struct Between {
        outlet: Outlet,
        pipes: Pipes,
        from: TcpStream,
        to: TcpStream,
    }

    impl Between {
        async fn new() -> (Self, TcpStream, TcpStream) {
            let ((replica, from), (to, client)) = (pair().await, pair().await);
            (Self { outlet: Outlet::default(), pipes: Pipes::default(), from, to }, replica, client)
        }

        /// How much was moved into a pipe; `None` if it has to be copied.
        async fn fill(&mut self, left: u64) -> Option<usize> {
            poll_fn(|cx| match self.outlet.poll_fill(cx, &mut self.pipes, &self.from, left) {
                Some(filled) => filled.map(|count| Some(count.unwrap())),
                None => Poll::Ready(None),
            })
            .await
        }

        fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.outlet.poll_flush(cx, &mut self.pipes, &mut self.to).1.map(Result::unwrap)
        }
    }

    #[tokio::test]
    async fn long_bodies_go_by_a_pipe_and_short_ones_are_copied() {
        let (mut between, mut replica, mut client) = Between::new().await;
        replica.write_all(&[b'x'; 5000]).await.unwrap();
        assert_eq!(between.fill(MIN_SPLICED - 1).await, None);
        assert_eq!(between.fill(MIN_SPLICED).await, Some(5000));
        assert!(!between.outlet.is_empty());
        poll_fn(|cx| between.flush(cx)).await;
        assert!(between.outlet.is_empty() && between.pipes.has_spare());
        let mut got = [0; 5000];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, [b'x'; 5000]);
        drop(replica);
        assert_eq!(between.fill(MIN_SPLICED).await, Some(0));
        assert!(between.outlet.is_empty() && between.pipes.has_spare());
    }

    #[tokio::test]
    async fn who_does_not_keep_up_is_copied_for_until_it_does() {
        let (mut between, mut replica, mut client) = Between::new().await;
        let sending = tokio::spawn(async move { replica.write_all(&vec![0; 64 << 20]).await });
        loop {
            assert!(between.fill(u64::MAX).await.is_some_and(|count| count > 0));
            let is_stuck = poll_fn(|cx| match between.flush(cx) {
                Poll::Pending if !has_budget_remaining() => Poll::Pending,
                flushed => Poll::Ready(flushed.is_pending()),
            });
            if is_stuck.await {
                break;
            }
        }
        tokio::spawn(async move { while client.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} });
        poll_fn(|cx| between.flush(cx)).await;
        assert!(between.outlet.is_empty() && between.pipes.has_spare());
        assert_eq!(between.fill(u64::MAX).await, None);
        between.outlet.note_copied();
        assert_eq!(between.fill(u64::MAX).await, None);
        between.outlet.note_copied();
        assert!(between.fill(u64::MAX).await.is_some());
        sending.abort();
    }

    #[tokio::test]
    async fn a_task_whose_turn_is_over_says_nothing_of_the_client() {
        let (mut between, mut replica, _client) = Between::new().await;
        replica.write_all(b"x").await.unwrap();
        assert_eq!(between.fill(u64::MAX).await, Some(1));
        let is_over = poll_fn(|cx| {
            while has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            Poll::Ready(between.flush(cx).is_pending())
        });
        assert!(is_over.await);
        poll_fn(|cx| between.flush(cx)).await;
        replica.write_all(b"y").await.unwrap();
        assert_eq!(between.fill(u64::MAX).await, Some(1));
    }
}
