//! What a failed attempt was, whose fault it was, and what it comes to.

use std::io;

use super::http1::RejectReason;
use super::respond::Cause;
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
    /// No connection at once to a host that was silent lately, so nothing was sent.
    #[error("its host was silent lately, and no connection came at once")]
    Hasty,
    /// No connection, since this process or machine has no file descriptor left for one.
    #[error("no file descriptor for a connection: {0}")]
    OutOfDescriptors(#[source] io::Error),
    /// The connection was gone before the request was written to it.
    #[error("connection gone before the request was sent")]
    Unsent,
    /// The request's head could not be written, so nothing was sent.
    #[error("the request's head could not be written")]
    HeadLost,
    /// It is a peer that has no replica for the request, and did nothing with it.
    #[error("the peer has no replica for it")]
    Declined,
    /// The connection was closed or reset after the request, or a part of it, was sent.
    #[error("connection closed before the answer was whole: {detail}")]
    Closed {
        /// Whether any byte of an answer had come.
        answer_began: bool,
        /// What the connection said.
        detail: String,
    },
    /// Docker or the probes say that the replica is gone, or as good as gone, before its answer was whole.
    #[error("{news} before the answer was whole")]
    Lost {
        /// Whether any byte of an answer had come.
        answer_began: bool,
        /// What was said of the replica.
        news: &'static str,
    },
    /// The replica's host has not acknowledged the request, for longer than one does that got it, or has not answered the
    /// question whether it is there.
    #[error("the replica's host acknowledged nothing")]
    Silent,
    /// The request was sent, and no answer, or no more of it, came in time.
    #[error("no answer in time")]
    ResponseTimeout,
    /// What came is not an HTTP answer that may be passed on.
    #[error("not an answer that can be passed on: {0}")]
    Protocol(&'static str),
    /// The client's body is malformed.
    #[error("the client's body is malformed: {0}")]
    ClientBody(#[source] RejectReason),
    /// The client's body ended early.
    #[error("the client's body broke off")]
    ClientBrokeOff,
    /// The client sent nothing, or took nothing, for too long.
    #[error("the client stood still")]
    ClientStalled,
    /// The client is gone: nobody is left to be told.
    #[error("the client is gone: {0}")]
    ClientGone(#[source] io::Error),
}

/// What becomes of a request of a peer's that no replica has answered here: what the peer needs to know to try elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// No replica did anything with it.
    Unsent,
    /// One may have done what was asked, but its answer was lost.
    Lost,
}

impl Unanswered {
    /// What a refusal means for the peer; `None`: what it says is the answer.
    pub(super) fn of(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::NoSuchService | Refusal::NoReplicaReady | Refusal::ReplicasBusy | Refusal::Overloaded => {
                Some(Self::Unsent)
            }
            Refusal::ConnectFailed | Refusal::ConnectTimeout => Some(Self::Unsent),
            Refusal::ReplicaReset => Some(Self::Lost),
            _ => None,
        }
    }

    /// The word on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unsent => "unsent",
            Self::Lost => "lost",
        }
    }

    /// The failure that a peer's word comes to.
    pub(super) fn failure(word: &[u8]) -> Failure {
        match word {
            b"unsent" => Failure::Declined,
            b"lost" => Failure::Closed { answer_began: false, detail: "the peer's replica closed it".to_owned() },
            _ => Failure::Protocol("a peer's word that is not known"),
        }
    }
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The one who called us.
    Client,
    /// The one we called.
    Replica,
    /// Ourselves.
    Us,
}

impl Failure {
    /// Whose fault it is.
    pub(super) fn blame(&self) -> Blame {
        match self {
            Self::OutOfDescriptors(_) | Self::HeadLost => Blame::Us,
            Self::Declined => Blame::Replica,
            _ if self.counted_as().is_some() => Blame::Replica,
            _ => Blame::Client,
        }
    }

    /// What the client is told if this was the last attempt; `None` if there is nobody to be told.
    pub(super) fn cause(&self) -> Option<Cause> {
        Some(Cause::Refused(match self {
            Self::Connect(_) | Self::Unsent | Self::Hasty => Refusal::ConnectFailed,
            Self::ConnectTimeout => Refusal::ConnectTimeout,
            Self::Declined => Refusal::NoReplicaReady,
            Self::OutOfDescriptors(_) => Refusal::Overloaded,
            Self::HeadLost => Refusal::Internal,
            Self::Closed { .. } | Self::Lost { .. } | Self::Silent => Refusal::ReplicaReset,
            Self::ResponseTimeout => Refusal::ResponseTimeout,
            Self::Protocol(_) => Refusal::ReplicaProtocol,
            Self::ClientBody(reason) => return Some(Cause::Rejected(*reason)),
            Self::ClientBrokeOff => Refusal::BadRequest,
            Self::ClientStalled => Refusal::ClientTimeout,
            Self::ClientGone(_) => return None,
        }))
    }

    /// Whether the replica may have done what was asked.
    pub(super) fn may_have_arrived(&self) -> bool {
        let is_sent = matches!(self, Self::Closed { .. } | Self::Lost { .. } | Self::Silent);
        is_sent || matches!(self, Self::ResponseTimeout | Self::Protocol(_))
    }

    /// What is counted against the replica, if it was the replica's fault.
    pub(super) fn counted_as(&self) -> Option<AttemptFailure> {
        match self {
            Self::Connect(_) | Self::ConnectTimeout | Self::Unsent | Self::Hasty => Some(AttemptFailure::Connect),
            Self::Closed { .. } => Some(AttemptFailure::Reset),
            Self::Lost { .. } => Some(AttemptFailure::Lost),
            Self::ResponseTimeout | Self::Silent => Some(AttemptFailure::Timeout),
            Self::Protocol(_) => Some(AttemptFailure::Protocol),
            // That is its replicas' fault, if anybody's, and its weight will tell.
            Self::Declined => None,
            Self::OutOfDescriptors(_) | Self::HeadLost => None,
            Self::ClientBody(_) | Self::ClientBrokeOff | Self::ClientStalled | Self::ClientGone(_) => None,
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
        let gone = Failure::ClientGone(io::ErrorKind::ConnectionReset.into());
        for (failure, blame, status) in [
            (refused, Blame::Replica, Some(502)),
            (Failure::ConnectTimeout, Blame::Replica, Some(504)),
            (Failure::Declined, Blame::Replica, Some(503)),
            (Failure::OutOfDescriptors(io::Error::from_raw_os_error(24)), Blame::Us, Some(503)),
            (Failure::HeadLost, Blame::Us, Some(500)),
            (Failure::Unsent, Blame::Replica, Some(502)),
            (Failure::Hasty, Blame::Replica, Some(502)),
            (closed(true), Blame::Replica, Some(502)),
            (closed(false), Blame::Replica, Some(502)),
            (Failure::Lost { answer_began: false, news: "x" }, Blame::Replica, Some(502)),
            (Failure::Silent, Blame::Replica, Some(502)),
            (Failure::ResponseTimeout, Blame::Replica, Some(504)),
            (Failure::Protocol("x"), Blame::Replica, Some(502)),
            (Failure::ClientBody(RejectReason::ChunkSize), Blame::Client, Some(400)),
            (Failure::ClientBrokeOff, Blame::Client, Some(400)),
            (Failure::ClientStalled, Blame::Client, Some(408)),
            (gone, Blame::Client, None),
        ] {
            let told = failure.cause().map(|cause| cause.status());
            assert_eq!((failure.blame(), told), (blame, status), "{failure}");
        }
    }

    #[test]
    fn a_peer_is_told_of_what_it_may_try_elsewhere_and_nothing_else() {
        for refusal in Refusal::ALL {
            let Some(unanswered) = Unanswered::of(refusal) else { continue };
            let failure = Unanswered::failure(unanswered.as_str().as_bytes());
            match unanswered {
                Unanswered::Unsent => assert!(matches!(failure, Failure::Declined), "{refusal:?}"),
                Unanswered::Lost => assert!(matches!(failure, Failure::Closed { answer_began: false, .. })),
            }
        }
        assert_eq!(Unanswered::of(Refusal::ResponseTimeout), None, "it may still be at work");
        assert!(matches!(Unanswered::failure(b"maybe"), Failure::Protocol(_)));
    }
}
