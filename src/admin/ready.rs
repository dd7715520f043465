//! Readiness: whether we take requests. It never depends on replicas: a sidecar without any is still up, and a
//! restart would not bring them.

use std::sync::Arc;
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

    /// Why we are not ready; empty if we are. One provider of several that cannot be reached is no reason: its replicas
    /// are missing, but to take us out would take the others' away, too.
    pub fn reasons(&self, discovery: &[Arc<DiscoveryStatus>]) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.listening.load(Ordering::Acquire) {
            reasons.push("the proxy does not listen yet".to_owned());
        }
        let is_any_synced = discovery.iter().any(|status| status.is_synced());
        let is_awaited = |status: &DiscoveryStatus| match is_any_synced {
            true => status.is_first_sync_under_way(),
            false => true,
        };
        let awaited = discovery.iter().filter(|status| is_awaited(status));
        reasons.extend(awaited.map(|status| format!("first sync with {} is not done", status.provider())));
        if self.failed.load(Ordering::Acquire) {
            reasons.push("a control task failed: only a restart helps".to_owned());
        }
        if self.is_terminating() {
            reasons.push("shutting down".to_owned());
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Provider, ProviderKind};

    #[test]
    fn one_of_several_that_cannot_be_reached_is_not_waited_for() {
        let readiness = Readiness::default();
        readiness.set_listening();
        let one = |name| Arc::new(DiscoveryStatus::new(Provider::named(ProviderKind::Docker, name)));
        let both = [one("a"), one("b")];
        let [a, b] = &both;
        b.reconnects.fetch_add(1, Ordering::Relaxed);
        let not_done = |name: &str| format!("first sync with docker:{name} is not done");
        assert_eq!(readiness.reasons(&both), [not_done("a"), not_done("b")], "nothing is known of any replica");
        a.set_synced();
        assert_eq!(readiness.reasons(&both), [""; 0]);
        b.reconnects.store(0, Ordering::Relaxed);
        assert_eq!(readiness.reasons(&both), [not_done("b")], "it may be there in a moment");
    }

    #[test]
    fn every_condition_counts_and_losing_docker_later_does_not() {
        let (readiness, docker) = (Readiness::default(), Arc::new(DiscoveryStatus::new(Provider::DOCKER)));
        let reasons = || readiness.reasons(std::slice::from_ref(&docker));
        assert_eq!(reasons(), ["the proxy does not listen yet", "first sync with docker is not done"]);
        readiness.set_listening();
        assert_eq!(reasons(), ["first sync with docker is not done"]);
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
        assert_eq!(readiness.reasons(&[]), ["the proxy does not listen yet"]);
        readiness.set_listening();
        assert!(readiness.reasons(&[]).is_empty());
    }
}
