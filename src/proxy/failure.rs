//! What a failed attempt was, whose fault it was, and what it comes to.

use std::io;

use crate::metrics::{AttemptFailure, Refusal};

/// Why an attempt at a replica failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection, so nothing was sent.
    #[error("connect failed: {0}")]
    Connect(#[source] io::Error),
    /// No connection in time, so nothing was sent.
    #[error("connect timed out")]
    ConnectTimeout,
    /// A new connection was gone before the request was written to it.
    #[error("connection gone before the request was sent")]
    Unsent,
    /// The connection was closed or reset after the request, or a part of it, was sent.
    #[error("connection closed before the answer was whole: {detail}")]
    Closed {
        /// Whether any byte of an answer had come.
        answer_began: bool,
        /// What the connection said.
        detail: String,
    },
    /// The request was sent, and no answer came in time.
    #[error("no answer in time")]
    ResponseTimeout,
    /// What came is not an HTTP answer that may be passed on.
    #[error("not an answer that can be passed on: {0}")]
    Protocol(String),
    /// The client's body is malformed or ended early.
    #[error("the client's body broke off")]
    ClientBody,
    /// The client's body stood still for too long.
    #[error("the client's body stood still")]
    ClientStalled,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The one who called us.
    Client,
    /// The one we called.
    Replica,
}

impl Failure {
    /// Whose fault it is.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::ClientBody | Self::ClientStalled => Blame::Client,
            _ => Blame::Replica,
        }
    }

    /// Whether the replica cannot have seen any of the request.
    pub(super) fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout | Self::Unsent)
    }

    /// What the client is told if this was the last attempt.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(_) | Self::Unsent => Refusal::ConnectFailed,
            Self::ConnectTimeout => Refusal::ConnectTimeout,
            Self::Closed { .. } => Refusal::ReplicaReset,
            Self::ResponseTimeout => Refusal::ResponseTimeout,
            Self::Protocol(_) => Refusal::ReplicaProtocol,
            Self::ClientBody => Refusal::BadRequest,
            Self::ClientStalled => Refusal::ClientTimeout,
        }
    }

    /// What is counted against the replica, if it was the replica's fault.
    pub(super) fn counted_as(&self) -> Option<AttemptFailure> {
        match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::Unsent => Some(AttemptFailure::Connect),
            Self::Closed { .. } => Some(AttemptFailure::Reset),
            Self::ResponseTimeout => Some(AttemptFailure::Timeout),
            Self::Protocol(_) => Some(AttemptFailure::Protocol),
            Self::ClientBody | Self::ClientStalled => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_replicas_faults_are_counted_against_it() {
        let closed = |answer_began| Failure::Closed { answer_began, detail: String::new() };
        let refused = Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        for (failure, blame, unsent, refusal) in [
            (refused, Blame::Replica, true, Refusal::ConnectFailed),
            (Failure::ConnectTimeout, Blame::Replica, true, Refusal::ConnectTimeout),
            (Failure::Unsent, Blame::Replica, true, Refusal::ConnectFailed),
            (closed(true), Blame::Replica, false, Refusal::ReplicaReset),
            (closed(false), Blame::Replica, false, Refusal::ReplicaReset),
            (Failure::ResponseTimeout, Blame::Replica, false, Refusal::ResponseTimeout),
            (Failure::Protocol("x".into()), Blame::Replica, false, Refusal::ReplicaProtocol),
            (Failure::ClientBody, Blame::Client, false, Refusal::BadRequest),
            (Failure::ClientStalled, Blame::Client, false, Refusal::ClientTimeout),
        ] {
            assert_eq!(
                (failure.blame(), failure.is_unsent(), failure.refusal()),
                (blame, unsent, refusal),
                "{failure}"
            );
            assert_eq!(failure.counted_as().is_some(), blame == Blame::Replica, "{failure}");
        }
    }
}
