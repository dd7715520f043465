//! How long connections live, by the kernel's own table.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use integration_tests::{Result, procfs};

/// What was seen so far of the connections from one address to one listener.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// By the clients' ports: since when.
    open: HashMap<u16, Instant>,
    most: usize,
    longest: Duration,
}

impl Sockets {
    /// Looks at those that `listener` has accepted from `client`, also those that its process has closed while the
    /// kernel still has something to send.
    pub(super) fn look(&mut self, client: Ipv4Addr, listener: SocketAddr) -> Result<()> {
        self.note(&procfs::accepted(client, listener)?, Instant::now());
        Ok(())
    }

    fn note(&mut self, ports: &HashSet<u16>, now: Instant) {
        for port in ports {
            self.open.entry(*port).or_insert(now);
        }
        // One that is gone by now may have been there until now.
        let longest = self.open.values().map(|since| now - *since).max().unwrap_or_default();
        self.longest = self.longest.max(longest);
        self.open.retain(|port, _| ports.contains(port));
        self.most = self.most.max(self.open.len());
    }

    /// Open at the last look.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The most at one look.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The longest life of one, from the first look at which it was there to the first at which it was not.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_counted_anew_for_a_port_that_was_away() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let (some, none) = (HashSet::from([7]), HashSet::new());
        let mut sockets = Sockets::default();
        for (ports, second) in [(&some, 0), (&some, 2), (&none, 3), (&some, 9), (&some, 10)] {
            sockets.note(ports, at(second));
        }
        assert_eq!(sockets.longest(), Duration::from_secs(3));
    }
}
