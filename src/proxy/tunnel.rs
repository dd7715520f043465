//! The tunnel behind a `101`: bytes both ways until both ends are done, or nothing moves for too long.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::connection::Client;
use super::desk::{Desk, Reach};
use super::listener::limit_unread;
use super::outbox::{Outbox, poll_read};
use super::pool::{Connection, Fate};
use super::worker::Worker;

/// How long a client may take nothing of what waits for it before the kernel cuts it off: about as long as it waits by
/// itself for a client that has vanished.
const VANISHED: Duration = Duration::from_secs(15 * 60);

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    outbox: Outbox,
    reach: Reach,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// The source has ended; what is left is on its way.
    Ending,
    Ended,
}

impl Flow {
    /// A direction in which something waits to be sent.
    fn with(outbox: Outbox) -> Self {
        Self { outbox, ..Self::default() }
    }

    /// Moves what can be moved; whether anything was. An error ends the tunnel.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        desk: &mut Desk,
        from: &mut TcpStream,
        to: &mut TcpStream,
    ) -> std::io::Result<bool> {
        let mut has_moved = false;
        while self.state != State::Ended {
            let (moved, flushed) = self.outbox.poll_flush(cx, to);
            has_moved |= moved > 0;
            match flushed {
                Poll::Ready(outcome) => outcome?,
                Poll::Pending => break,
            }
            if self.state == State::Ending {
                // A socket's shutdown never waits.
                let _ = Pin::new(&mut *to).poll_shutdown(cx)?;
                self.state = State::Ended;
                return Ok(true);
            }
            let (_, space) = desk.split(self.reach, u64::MAX);
            match poll_read(cx, from, space) {
                Poll::Ready(Ok(0)) => self.state = State::Ending,
                Poll::Ready(Ok(count)) => {
                    self.outbox.send_bytes(cx, to, space.get(..count).unwrap_or_default())?;
                    self.reach.note(self.outbox.is_empty());
                    has_moved = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        Ok(has_moved)
    }
}

/// Runs the tunnel. What either end sent right behind its head comes first: the client's is in its buffer, the
/// replica's is `surplus`, behind what the client has not taken yet of the `101`.
pub(super) async fn run(
    worker: &Worker,
    client: &mut Client,
    connection: &mut Connection,
    surplus: &[u8],
    unsent: Outbox,
) {
    let (mut up, mut down) = (Flow::default(), Flow::with(unsent));
    let limit = client.settings.tunnel_timeout;
    let early = client.take_buffered();
    client.timer.progress();
    // Fails only on a socket that is closed already, which the first read will tell.
    let _ = limit_unread(SockRef::from(&*client.stream()), limit.min(VANISHED));
    poll_fn(|cx| {
        let up_sent = up.outbox.send_bytes(cx, &mut connection.stream, &early);
        let down_sent = down.outbox.send_bytes(cx, client.stream(), surplus);
        Poll::Ready(up_sent.and(down_sent))
    })
    .await
    .unwrap_or_default();
    if client.has_finished {
        up.state = State::Ending;
    }
    poll_fn(|cx| {
        let fate = connection.fate();
        if fate == Fate::Cut {
            return Poll::Ready(());
        }
        let desk = &mut *worker.desk.borrow_mut();
        let moved_up = up.poll(cx, desk, client.stream(), &mut connection.stream);
        let moved_down = down.poll(cx, desk, &mut connection.stream, client.stream());
        match (moved_up, moved_down) {
            // An error is an end like any other: what it was concerns the two who talk.
            (Err(_), _) | (_, Err(_)) => return Poll::Ready(()),
            (Ok(false), Ok(false)) => {}
            _ => client.timer.progress(),
        }
        // What it sent in time is still read and passed on. Nothing but this look tells that it was all.
        if fate == Fate::Gone && down.outbox.is_empty() && connection.is_quiet() {
            return Poll::Ready(());
        }
        if up.state == State::Ended && down.state == State::Ended {
            return Poll::Ready(());
        }
        client.timer.poll_expired(cx, worker.now(), limit)
    })
    .await;
}
