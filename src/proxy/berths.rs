//! Tasks that wait for a client connection because they have served one. A new task costs a short connection more than
//! a system call: its memory, which is large, and a timer of the runtime's.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::net::TcpStream;

use super::admission::Admitted;

/// How many tasks of a worker wait at most; more end. Each takes a few KiB, as an idle client does.
const MAX_FREE: usize = 64;

/// A client connection that was let in.
#[derive(Debug)]
pub(super) struct Visit {
    /// The connection.
    pub(super) stream: TcpStream,
    /// Where it comes from.
    pub(super) addr: SocketAddr,
    /// Its place.
    pub(super) admitted: Admitted,
}

/// The tasks of one worker that wait.
#[derive(Debug, Default)]
pub(super) struct Berths {
    /// Who came last goes first: its memory is the one that the processor has at hand.
    free: RefCell<Vec<Rc<Berth>>>,
    is_closed: Cell<bool>,
}

/// Where one task waits.
#[derive(Debug, Default)]
pub(super) struct Berth {
    visit: RefCell<Option<Visit>>,
    waker: RefCell<Option<Waker>>,
}

impl Berths {
    /// Hands a connection to a task that waits; gives it back if none does.
    pub(super) fn hand(&self, visit: Visit) -> Result<(), Visit> {
        let Some(berth) = self.free.borrow_mut().pop() else { return Err(visit) };
        berth.visit.replace(Some(visit));
        berth.wake();
        Ok(())
    }

    /// Waits for another connection. `None` if there are enough who do, or once there will be none.
    pub(super) async fn wait(&self, berth: &Rc<Berth>) -> Option<Visit> {
        if self.is_closed.get() || self.free.borrow().len() >= MAX_FREE {
            return None;
        }
        self.free.borrow_mut().push(Rc::clone(berth));
        poll_fn(|cx| match berth.visit.take() {
            Some(visit) => Poll::Ready(Some(visit)),
            None if self.is_closed.get() => Poll::Ready(None),
            None => {
                let mut waker = berth.waker.borrow_mut();
                if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }

    /// Lets all who wait end, and everybody else once its connection is over.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.free.take().iter().for_each(|berth| berth.wake());
    }
}

impl Berth {
    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroUsize;
    use std::pin::pin;
    use std::sync::Arc;

    use futures::poll;
    use tokio::net::TcpListener;

    use crate::config::settings::ProxySettings;
    use crate::peers::Peers;
    use crate::proxy::admission::Admission;

    async fn visit() -> Visit {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let addr = stream.local_addr().unwrap();
        let admission = Arc::new(Admission::new(NonZeroUsize::MIN, Arc::default()));
        let guest = admission.greet(addr, &ProxySettings::default(), &Peers::default()).unwrap();
        Visit { stream, addr, admitted: admission.try_admit(guest).unwrap() }
    }

    #[tokio::test]
    async fn a_connection_goes_to_who_waits_and_back_if_nobody_does() {
        let (berths, berth, other) = (Berths::default(), Rc::default(), Rc::default());
        let visit = visit().await;
        let addr = visit.addr;
        let visit = berths.hand(visit).unwrap_err();
        let (mut waiting, mut other) = (pin!(berths.wait(&berth)), pin!(berths.wait(&other)));
        assert!(poll!(&mut other).is_pending() && poll!(&mut waiting).is_pending());
        berths.hand(visit).unwrap();
        assert!(poll!(&mut other).is_pending());
        assert_eq!(waiting.await.unwrap().addr, addr);
    }

    #[tokio::test]
    async fn who_waits_is_woken_to_end_and_nobody_waits_any_more() {
        let (berths, berth) = (Berths::default(), Rc::default());
        let (ended, ()) = tokio::join!(berths.wait(&berth), async { berths.close() });
        assert!(ended.is_none() && berths.wait(&berth).await.is_none());
        assert!(berths.hand(visit().await).is_err());
    }

    #[tokio::test]
    async fn no_more_wait_than_are_of_use() {
        let berths = Berths::default();
        let all: Vec<Rc<Berth>> = (0..=MAX_FREE).map(|_| Rc::default()).collect();
        let mut waiting: Vec<_> = all.iter().map(|berth| Box::pin(berths.wait(berth))).collect();
        assert!(poll!(waiting.pop().unwrap()).is_pending());
        for one in &mut waiting[1..] {
            assert!(poll!(one).is_pending());
        }
        assert!(waiting.swap_remove(0).await.is_none());
    }
}
