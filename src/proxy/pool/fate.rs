//! What has become of a replica, as far as it concerns the requests that it has.

use crate::metrics::Fault;
use crate::replica::{Replica, State};

/// What has become of a replica, as far as it concerns the requests that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Fate {
    /// They go on.
    Fine,
    /// Its newest probe failed, which may mean little.
    Suspect,
    /// It is paused, ejected, or its probes or its HEALTHCHECK fail: it may never answer.
    Doubtful,
    /// It has drained for as long as it may.
    Cut,
    /// It has left: what it has not sent yet will not come.
    Gone,
}

impl Fate {
    /// What is said of the replica.
    pub(in crate::proxy) fn news(self) -> &'static str {
        match self {
            Self::Fine => "the replica is fine",
            Self::Suspect => "a probe of the replica failed",
            Self::Doubtful => "the replica was paused, ejected or declared unhealthy",
            Self::Cut => "the replica has drained for too long",
            Self::Gone => "the replica is gone",
        }
    }
}

/// What the state of a replica that is listed means for the requests that it has. One that was ejected for what it
/// answered does answer.
pub(super) fn outlook(replica: &Replica) -> Fate {
    match replica.undrained_state() {
        State::Starting | State::Ready | State::Draining => Fate::Fine,
        State::Ejected if replica.ejected_by().is_some_and(Fault::is_status) => Fate::Fine,
        State::Suspect => Fate::Suspect,
        State::Unhealthy | State::Paused | State::Ejected => Fate::Doubtful,
    }
}
