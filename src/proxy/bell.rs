//! Rare news that concerns many client connections of a worker: that a replica's connections are cut, that idle ones
//! are to end. Nothing is registered per request: the bell wakes every connection, and each looks for itself.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustc_hash::FxHashMap;

/// Wakes every task that listens.
#[derive(Debug, Default)]
pub(super) struct Bell {
    wakers: RefCell<FxHashMap<u64, Waker>>,
    next: Cell<u64>,
}

/// A task that listens, until this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    bell: Rc<Bell>,
    id: u64,
}

impl Bell {
    /// Lets the calling task hear the bell: it will be polled once for every ring.
    pub(super) async fn listen(self: &Rc<Self>) -> Listening {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let id = self.next.get();
        self.next.set(id + 1);
        self.wakers.borrow_mut().insert(id, waker);
        Listening { bell: Rc::clone(self), id }
    }

    /// Wakes everybody.
    pub(super) fn ring(&self) {
        self.wakers.borrow().values().for_each(Waker::wake_by_ref);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.bell.wakers.borrow_mut().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::task::LocalSet;

    #[tokio::test]
    async fn who_listens_is_polled_for_a_ring_and_who_left_is_forgotten() {
        let (bell, polls) = (Rc::new(Bell::default()), Rc::new(Cell::new(0)));
        let (heard, rung) = (Rc::clone(&polls), Rc::clone(&bell));
        let listener = async move {
            let _listening = rung.listen().await;
            poll_fn(|_| {
                heard.set(heard.get() + 1);
                if heard.get() == 2 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        let ringer = async {
            let listener = tokio::task::spawn_local(listener);
            while polls.get() == 0 {
                tokio::task::yield_now().await;
            }
            bell.ring();
            listener.await.unwrap();
        };
        LocalSet::new().run_until(ringer).await;
        assert_eq!((polls.get(), bell.wakers.borrow().len()), (2, 0));
    }
}
