//! When a failed attempt may be followed by another.

use super::failure::Failure;

/// Whether a request that failed like this may be tried again: always if the replica saw nothing of it; if the
/// connection went away without a byte of an answer, only if it is replayable; after a timeout, never.
fn may_follow(failure: &Failure, is_replayable: bool) -> bool {
    failure.is_unsent() || (is_replayable && matches!(failure, Failure::Closed { answer_began: false, .. }))
}

/// The further attempts that one request has left.
#[derive(Debug)]
pub(super) struct Retries {
    is_allowed: bool,
    left: u32,
}

impl Retries {
    /// As many as `--retries` says; 0 allows none of any kind.
    pub(super) fn new(limit: u32) -> Self {
        Self { is_allowed: limit > 0, left: limit }
    }

    /// Whether any failure could still be followed by another attempt.
    pub(super) fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Takes one more attempt, if there may be one after this failure. A connect that was refused costs none: it takes
    /// no time and no replica's work, the next replica is another one, and when most replicas stop at once a request
    /// may well meet several of them. What may have arrived always costs one, also on a kept connection that may just
    /// have been closed too late: a request that kills whoever gets it must not go round all replicas. Unless it was
    /// on a kept connection, it has to be affordable for the worker as a whole, too.
    pub(super) fn take(
        &mut self,
        failure: &Failure,
        was_reused: bool,
        is_replayable: bool,
        is_affordable: impl FnOnce() -> bool,
    ) -> bool {
        if !self.is_allowed || !may_follow(failure, is_replayable) {
            return false;
        }
        if matches!(failure, Failure::Connect(_) | Failure::Unsent) {
            return true;
        }
        if self.left == 0 || !(was_reused || is_affordable()) {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn what_was_sent_is_not_sent_again_unless_it_may_be_replayed() {
        let closed = |answer_began| Failure::Closed { answer_began, detail: String::new() };
        for (failure, any, replayable) in [
            (Failure::Connect(io::ErrorKind::ConnectionRefused.into()), true, true),
            (Failure::ConnectTimeout, true, true),
            (Failure::Unsent, true, true),
            (closed(false), false, true),
            (closed(true), false, false),
            (Failure::ResponseTimeout, false, false),
            (Failure::OutOfDescriptors(io::Error::from_raw_os_error(24)), false, false),
            (Failure::Protocol("x"), false, false),
            (Failure::ClientBrokeOff, false, false),
            (Failure::ClientStalled, false, false),
        ] {
            assert_eq!((may_follow(&failure, false), may_follow(&failure, true)), (any, replayable), "{failure}");
        }
    }

    fn take(retries: &mut Retries, failure: Failure, was_reused: bool, is_replayable: bool) -> bool {
        retries.take(&failure, was_reused, is_replayable, || true)
    }

    #[test]
    fn only_what_took_time_or_may_have_arrived_costs_an_attempt() {
        let refused = || Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let closed = || Failure::Closed { answer_began: false, detail: String::new() };
        let mut retries = Retries::new(2);
        for _ in 0..9 {
            assert!(retries.take(&refused(), false, false, || panic!("it is free")));
        }
        assert!(retries.take(&closed(), true, true, || panic!("a kept connection says little about the replica")));
        assert!(take(&mut retries, Failure::ConnectTimeout, false, false));
        assert!(!take(&mut retries, Failure::ConnectTimeout, false, false), "both are gone");
        assert!(!take(&mut retries, closed(), true, true));
        assert!(!take(&mut retries, closed(), false, true));
        assert!(take(&mut retries, Failure::Unsent, false, false), "what costs nothing goes on");
    }

    #[test]
    fn what_the_worker_cannot_afford_is_not_taken_and_not_used_up() {
        let mut retries = Retries::new(1);
        assert!(!retries.take(&Failure::ConnectTimeout, false, false, || false));
        assert!(take(&mut retries, Failure::ConnectTimeout, false, false));
    }

    #[test]
    fn no_retries_means_none_of_any_kind() {
        let mut retries = Retries::new(0);
        assert!(!retries.is_allowed());
        assert!(!take(&mut retries, Failure::Connect(io::ErrorKind::ConnectionRefused.into()), false, true));
    }
}
