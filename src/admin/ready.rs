//! Readiness: whether we take requests. It never depends on replicas: a sidecar without any is still up, and a
//! restart would not bring them.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::discovery::status::DiscoveryStatus;

/// What the app tells about itself.
#[derive(Debug, Default)]
pub struct Readiness {
    listening: AtomicBool,
    terminating: AtomicBool,
    failed: AtomicBool,
}

impl Readiness {
    /// Records that the proxy accepts connections.
    pub fn set_listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// Records that a shutdown has begun.
    pub fn set_terminating(&self) {
        self.terminating.store(true, Ordering::Release);
    }

    /// Whether a shutdown has begun.
    pub fn is_terminating(&self) -> bool {
        self.terminating.load(Ordering::Acquire)
    }

    /// Records that discovery, health or the admin room ended in a panic.
    pub fn set_failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Why we are not ready; empty if we are. `discovery` is `None` with `--no-docker`.
    pub fn reasons(&self, discovery: Option<&DiscoveryStatus>) -> Vec<&'static str> {
        let mut reasons = Vec::new();
        if !self.listening.load(Ordering::Acquire) {
            reasons.push("the proxy does not listen yet");
        }
        if discovery.is_some_and(|docker| !docker.is_synced()) {
            reasons.push("first sync with Docker is not done");
        }
        if self.failed.load(Ordering::Acquire) {
            reasons.push("a control task failed: only a restart helps");
        }
        if self.is_terminating() {
            reasons.push("shutting down");
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_counts_and_losing_docker_later_does_not() {
        let (readiness, docker) = (Readiness::default(), DiscoveryStatus::default());
        let reasons = || readiness.reasons(Some(&docker));
        assert_eq!(reasons(), ["the proxy does not listen yet", "first sync with Docker is not done"]);
        readiness.set_listening();
        assert_eq!(reasons(), ["first sync with Docker is not done"]);
        docker.set_synced();
        assert!(reasons().is_empty());
        docker.set_connected(false);
        assert!(reasons().is_empty());
        readiness.set_terminating();
        assert_eq!(reasons(), ["shutting down"]);
    }

    #[test]
    fn without_docker_the_listener_is_enough() {
        let readiness = Readiness::default();
        assert_eq!(readiness.reasons(None), ["the proxy does not listen yet"]);
        readiness.set_listening();
        assert!(readiness.reasons(None).is_empty());
    }
}
