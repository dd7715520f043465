//! The verdict: why a container that was considered is routed, or why it is not.

use std::fmt;

use crate::replica::ReplicaId;
use crate::service::ServiceName;

/// One container that discovery looked at, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// The container's id.
    pub id: ReplicaId,
    /// The container's name without Docker's leading slash.
    pub name: String,
    /// The service it would belong to, where that could be told.
    pub service: Option<ServiceName>,
    /// The Compose project.
    pub project: Option<String>,
    /// Routed, or why not.
    pub verdict: Verdict,
    /// What is odd but does not keep it from being routed: an unknown label with a did-you-mean, say.
    pub warnings: Vec<String>,
}

/// Routed, or the reason why not. Probes may still keep a routed replica from requests: that is its
/// [`State`](crate::replica::State), not the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is a replica.
    Routed,
}

impl Verdict {
    /// A fixed word for machines: `routed`, `no-port`, …
    pub fn code(&self) -> &'static str {
        match self {
            Self::Routed => "routed",
        }
    }
}

/// One sentence for people that names the reason and, where there is one, the fix.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Routed => f.write_str("routed"),
        }
    }
}
