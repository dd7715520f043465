//! The service: a named group of interchangeable containers.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The name of a service, as Compose and Swarm use the word. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for ServiceName {
    fn from(name: T) -> Self {
        Self(Arc::from(name.as_ref()))
    }
}

/// Lets a map keyed by [`ServiceName`] be asked with a `&str`.
impl Borrow<str> for ServiceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// How a service's next replica is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The one with fewer requests in flight of two drawn at random.
    #[default]
    P2c,
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests in flight: of all, or of some drawn at random where they are many.
    LeastRequests,
    /// Any.
    Random,
    /// The one that is likely to answer sooner of two drawn at random.
    Ewma,
}

impl Policy {
    /// Every policy.
    pub const ALL: [Self; 5] = [Self::P2c, Self::RoundRobin, Self::LeastRequests, Self::Random, Self::Ewma];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P2c => "p2c",
            Self::RoundRobin => "round-robin",
            Self::LeastRequests => "least-requests",
            Self::Random => "random",
            Self::Ewma => "ewma",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
