//! The change: a fact that a provider tells the registry.

use std::time::Instant;

use crate::provider::Provider;
use crate::replica::{Lifecycle, ReplicaId, ReplicaSpec};

/// What a provider knows of one replica: the fixed facts and where it is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The facts that do not change while the container runs (a rename aside).
    pub spec: ReplicaSpec,
    /// Where the container is in its life, as discovery sees it.
    pub lifecycle: Lifecycle,
}

/// A fact for the registry. Applying the same change twice is the same as applying it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The provider's whole truth: what is not listed is removed, what is listed is upserted.
    Reset {
        /// Whose truth it is.
        provider: Provider,
        /// Every replica that the provider knows.
        replicas: Vec<Sighting>,
    },
    /// A replica is there, or some of its facts are new. Never ends a drain.
    Upsert {
        /// The replica, as its provider sees it.
        replica: Box<Sighting>,
    },
    /// No new requests for this replica; the old ones finish. Lasts until `Remove`.
    Drain {
        /// Who says so.
        provider: Provider,
        /// Which replica.
        id: ReplicaId,
    },
    /// The provider names the replica no more, though nothing says that it stops: no new requests for it, and it is
    /// removed after the last of the old ones. An `Upsert` before that takes it back.
    Retire {
        /// Who says so.
        provider: Provider,
        /// Which replica.
        id: ReplicaId,
    },
    /// The replica is gone.
    Remove {
        /// Who says so.
        provider: Provider,
        /// Which replica.
        id: ReplicaId,
    },
}

impl Change {
    /// Who says so.
    pub fn provider(&self) -> &Provider {
        match self {
            Self::Reset { provider, .. }
            | Self::Drain { provider, .. }
            | Self::Retire { provider, .. }
            | Self::Remove { provider, .. } => provider,
            Self::Upsert { replica } => &replica.spec.provider,
        }
    }
}

/// A change with the moment at which its provider learnt of it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The fact.
    pub change: Change,
    /// When the event or the answer that it follows from arrived.
    pub at: Instant,
}

impl From<Change> for Observed {
    fn from(change: Change) -> Self {
        Self { change, at: Instant::now() }
    }
}
