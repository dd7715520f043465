//! The provider: who tells the registry about replicas.

use std::fmt;
use std::sync::Arc;

/// Who told us about a replica. A provider's changes touch only what it said itself. Cheap to clone.
///
/// The order is that in which they are believed about one container: the first of those that name it has its facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Provider {
    kind: ProviderKind,
    /// Tells several of one kind apart.
    name: Option<Arc<str>>,
}

/// What sort of source a provider reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    /// A Swarm's manager.
    Swarm,
    /// A Docker engine.
    Docker,
    /// Another evenkeel.
    Peer,
    /// A name in the DNS.
    Dns,
    /// The settings.
    Static,
}

impl Provider {
    /// The one Docker engine, where there is one.
    pub const DOCKER: Self = Self::only(ProviderKind::Docker);
    /// The settings.
    pub const STATIC: Self = Self::only(ProviderKind::Static);

    /// The only one of its kind.
    pub const fn only(kind: ProviderKind) -> Self {
        Self { kind, name: None }
    }

    /// One of several of its kind.
    pub fn named(kind: ProviderKind, name: impl AsRef<str>) -> Self {
        Self { kind, name: Some(Arc::from(name.as_ref())) }
    }

    /// What sort of source it reads.
    pub fn kind(&self) -> ProviderKind {
        self.kind
    }

    /// What tells it from others of its kind.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl ProviderKind {
    /// The word in metrics and on pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Swarm => "swarm",
            Self::Docker => "docker",
            Self::Peer => "peer",
            Self::Dns => "dns",
            Self::Static => "static",
        }
    }
}

/// `docker`, or `docker:vm-2` for one of several.
impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => f.write_str(self.kind.as_str()),
            Some(name) => write!(f, "{}:{name}", self.kind.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_of_one_kind_go_by_their_names() {
        let (one, two) = (Provider::named(ProviderKind::Docker, "vm-1"), Provider::named(ProviderKind::Docker, "vm-2"));
        assert_ne!(one, two);
        assert_eq!([&Provider::DOCKER, &two].map(ToString::to_string), ["docker", "docker:vm-2"]);
    }

    #[test]
    fn a_swarm_is_believed_before_its_nodes_and_the_settings_last() {
        let docker = Provider::named(ProviderKind::Docker, "vm-1");
        assert!(Provider::only(ProviderKind::Swarm) < docker && docker < Provider::STATIC);
    }
}
