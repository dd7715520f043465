//! What a replica can be: to discovery, to its probes, and all in one word.

use std::fmt;

/// Where a replica is in its life, as discovery sees it; the worse, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Lifecycle {
    /// It runs, and its HEALTHCHECK, if any, says healthy.
    Running,
    /// It runs, but its HEALTHCHECK has not passed yet.
    Starting,
    /// It runs, and its HEALTHCHECK says unhealthy.
    Ailing,
    /// `docker pause`.
    Paused,
    /// It was told to stop, or is named no more: no new requests. Left by removal only, or where it is named again.
    Draining,
}

/// What the probes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Health {
    /// No probe has passed yet.
    Unknown,
    /// The probes pass.
    Healthy,
    /// It was healthy, and the newest probe failed.
    Suspect,
    /// The probes fail.
    Unhealthy,
}

/// The one word that lifecycle, health and a drain by hand come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Not yet ready for the first time.
    Starting,
    /// Takes requests.
    Ready,
    /// Takes nothing for a while: too many of its requests failed.
    Ejected,
    /// Its newest probe failed: it takes requests only where no other replica is ready.
    Suspect,
    /// Its probes or its HEALTHCHECK fail.
    Unhealthy,
    /// `docker pause`.
    Paused,
    /// Finishes what it has and takes nothing new.
    Draining,
}

impl State {
    /// Every state, in the order in which lists and metrics show them.
    pub const ALL: [Self; 7] =
        [Self::Starting, Self::Ready, Self::Ejected, Self::Suspect, Self::Unhealthy, Self::Paused, Self::Draining];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Ejected => "ejected",
            Self::Suspect => "suspect",
            Self::Unhealthy => "unhealthy",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Health {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
