//! When a failed attempt may be followed by another.

use hyper::Method;

use super::failure::Failure;

/// Whether a request may be sent a second time although the first may have arrived: nothing to repeat but its head,
/// and a method that means the same once or twice (RFC 9110, section 9.2.2).
pub(super) fn is_replayable(method: &Method, has_body: bool) -> bool {
    !has_body && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

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
    /// have been closed too late: a request that kills whoever gets it must not go round all replicas.
    pub(super) fn take(&mut self, failure: &Failure, is_replayable: bool) -> bool {
        if !self.is_allowed || !may_follow(failure, is_replayable) {
            return false;
        }
        if matches!(failure, Failure::Connect(_) | Failure::Unsent) {
            return true;
        }
        let had_one = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn only_idempotent_requests_without_a_body_are_replayable() {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert!(is_replayable(&method, false), "{method}");
            assert!(!is_replayable(&method, true), "{method}");
        }
        for method in ["POST", "PATCH", "LOCK", "get"] {
            assert!(!is_replayable(&Method::from_bytes(method.as_bytes()).unwrap(), false), "{method}");
        }
    }

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
            (Failure::Protocol("x".into()), false, false),
            (Failure::ClientBody, false, false),
            (Failure::ClientStalled, false, false),
        ] {
            assert_eq!((may_follow(&failure, false), may_follow(&failure, true)), (any, replayable), "{failure}");
        }
    }

    #[test]
    fn only_what_took_time_or_may_have_arrived_costs_an_attempt() {
        let refused = || Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let closed = || Failure::Closed { answer_began: false, detail: String::new() };
        let mut retries = Retries::new(2);
        for _ in 0..9 {
            assert!(retries.take(&refused(), false));
        }
        assert!(retries.take(&Failure::ConnectTimeout, false) && retries.take(&closed(), true));
        assert!(!retries.take(&Failure::ConnectTimeout, false), "both are gone");
        assert!(!retries.take(&closed(), true));
        assert!(retries.take(&Failure::Unsent, false), "what costs nothing goes on");
    }

    #[test]
    fn no_retries_means_none_of_any_kind() {
        let mut retries = Retries::new(0);
        assert!(!retries.is_allowed());
        assert!(!retries.take(&Failure::Connect(io::ErrorKind::ConnectionRefused.into()), true));
    }
}
