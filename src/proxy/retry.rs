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
pub(super) fn may_follow(failure: &Failure, is_replayable: bool) -> bool {
    failure.is_unsent() || (is_replayable && matches!(failure, Failure::Closed { answer_began: false, .. }))
}

/// Whether a further attempt is free, that is, not one of `--retries`: the replica said no at once, or all that failed
/// was a kept connection. A service that is scaled down refuses in many places at once, and whoever is left can take
/// the request; no replica is tried twice, so this ends.
pub(super) fn is_free(failure: &Failure, was_reused: bool) -> bool {
    match failure {
        Failure::Connect(_) | Failure::Unsent => true,
        Failure::Closed { answer_began, .. } => was_reused && !answer_began,
        _ => false,
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
    fn only_what_cost_no_time_is_free() {
        let closed = |answer_began| Failure::Closed { answer_began, detail: String::new() };
        for (failure, fresh, reused) in [
            (Failure::Connect(io::ErrorKind::ConnectionRefused.into()), true, true),
            (Failure::Unsent, true, true),
            (closed(false), false, true),
            (closed(true), false, false),
            (Failure::ConnectTimeout, false, false),
            (Failure::ResponseTimeout, false, false),
        ] {
            assert_eq!((is_free(&failure, false), is_free(&failure, true)), (fresh, reused), "{failure}");
        }
    }
}
