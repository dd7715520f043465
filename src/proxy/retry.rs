//! When a failed attempt may be followed by another, and what that costs.

use super::failure::Failure;

/// How many of a request's attempts may be given up for no more than that a host is silent. A node has several replicas;
/// but when many hosts are silent, the probes say so before all are used up.
const HASTY: u32 = 2;

/// What another attempt costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Price {
    /// Nothing: no time was lost and no replica had work with it.
    Nothing,
    /// One of the request's attempts.
    Attempt,
    /// One of the request's attempts, if the worker as a whole can afford it: when many replicas fail at once, each
    /// failure would otherwise bring more requests to those that are left.
    Budget,
    /// One that the request does not have. Only a replica that was told to stop excuses another: when most of a service
    /// stops at once, a request may well meet several of those.
    Overdrawn,
}

/// The further attempts that one request has left.
#[derive(Debug)]
pub(super) struct Retries {
    is_allowed: bool,
    left: u32,
    hasty: u32,
}

impl Retries {
    /// As many as `--retries` says; 0 allows none of any kind.
    pub(super) fn new(limit: u32) -> Self {
        Self { is_allowed: limit > 0, left: limit, hasty: HASTY }
    }

    /// Whether any failure could still be followed by another attempt.
    pub(super) fn is_allowed(&self) -> bool {
        self.is_allowed
    }

    /// Whether an attempt may be given up for no more than that a host is silent.
    pub(super) fn may_hurry(&self) -> bool {
        self.hasty > 0
    }

    /// Whether one that costs an attempt could.
    pub(super) fn has_left(&self) -> bool {
        self.left > 0
    }

    /// What another attempt costs after this failure; `None` if there may be none: what was sent is sent again only if
    /// no byte of an answer came and it is replayable, and after a timeout never.
    ///
    /// A connect that was refused costs nothing: the next replica is another one, and when most replicas stop at once a
    /// request may well meet several of them. What may have arrived always costs an attempt, also on a kept connection
    /// that may just have been closed too late: a request that kills whoever gets it must not go round all replicas.
    pub(super) fn price(&self, failure: &Failure, was_reused: bool, is_replayable: bool) -> Option<Price> {
        let price = match failure {
            Failure::Connect(_)
            | Failure::Hasty
            | Failure::Unsent
            | Failure::Declined
            | Failure::OutOfDescriptors(_) => Price::Nothing,
            Failure::ConnectTimeout => Price::Budget,
            // Most likely nobody got it. The budget has paid, and a request moves for that [`HASTY`] times.
            Failure::Silent if is_replayable => Price::Nothing,
            // What is declared dead is so once, and has no more requests than it had.
            Failure::Lost { answer_began: false, .. } if is_replayable => Price::Attempt,
            Failure::Closed { answer_began: false, .. } if is_replayable && was_reused => Price::Attempt,
            Failure::Closed { answer_began: false, .. } if is_replayable => Price::Budget,
            _ => return None,
        };
        match failure {
            _ if !self.is_allowed => None,
            _ if price == Price::Nothing || self.has_left() => Some(price),
            Failure::Closed { .. } => Some(Price::Overdrawn),
            _ => None,
        }
    }

    /// Takes in that an attempt has failed.
    pub(super) fn note(&mut self, failure: &Failure) {
        if matches!(failure, Failure::Silent | Failure::Hasty) {
            self.hasty = self.hasty.saturating_sub(1);
        }
    }

    /// Takes one of the request's attempts.
    pub(super) fn spend(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn refused() -> Failure {
        Failure::Connect(io::ErrorKind::ConnectionRefused.into())
    }

    fn closed(answer_began: bool) -> Failure {
        Failure::Closed { answer_began, detail: String::new() }
    }

    #[test]
    fn what_was_sent_is_not_sent_again_unless_it_may_be_replayed() {
        use Price::{Attempt, Budget, Nothing};
        let lost = |answer_began| Failure::Lost { answer_began, news: "" };
        let retries = Retries::new(1);
        // Not replayable; replayable, on a new connection and on a kept one.
        for (failure, [once, fresh, kept]) in [
            (refused(), [Some(Nothing); 3]),
            (Failure::Unsent, [Some(Nothing); 3]),
            (Failure::Declined, [Some(Nothing); 3]),
            (Failure::Hasty, [Some(Nothing); 3]),
            (Failure::Silent, [None, Some(Nothing), Some(Nothing)]),
            (Failure::ConnectTimeout, [Some(Budget); 3]),
            (closed(false), [None, Some(Budget), Some(Attempt)]),
            (closed(true), [None; 3]),
            (lost(false), [None, Some(Attempt), Some(Attempt)]),
            (lost(true), [None; 3]),
            (Failure::ResponseTimeout, [None; 3]),
            (Failure::OutOfDescriptors(io::Error::from_raw_os_error(24)), [Some(Nothing); 3]),
            (Failure::Protocol("x"), [None; 3]),
            (Failure::ClientBrokeOff, [None; 3]),
            (Failure::ClientStalled, [None; 3]),
        ] {
            let price = |was_reused, is_replayable| retries.price(&failure, was_reused, is_replayable);
            assert_eq!([price(false, false), price(false, true), price(true, true)], [once, fresh, kept], "{failure}");
        }
    }

    #[test]
    fn what_costs_nothing_goes_on_when_no_attempt_is_left() {
        let mut retries = Retries::new(1);
        assert!(retries.has_left());
        retries.spend();
        assert!(retries.is_allowed() && !retries.has_left());
        assert_eq!(retries.price(&refused(), false, false), Some(Price::Nothing));
        assert_eq!(retries.price(&Failure::ConnectTimeout, true, true), None);
        assert_eq!(retries.price(&closed(false), true, true), Some(Price::Overdrawn));
        assert_eq!(retries.price(&closed(false), true, false), None);
    }

    #[test]
    fn a_request_hurries_twice() {
        let mut retries = Retries::new(9);
        for (failure, may_hurry) in
            [(refused(), true), (Failure::Silent, true), (refused(), true), (Failure::Hasty, false)]
        {
            retries.note(&failure);
            assert_eq!(retries.may_hurry(), may_hurry, "{failure}");
        }
    }

    #[test]
    fn no_retries_means_none_of_any_kind() {
        let retries = Retries::new(0);
        assert!(!retries.is_allowed());
        assert_eq!(retries.price(&refused(), false, true), None);
    }
}
