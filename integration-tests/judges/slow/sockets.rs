//! How long connections live, by the kernel's own table.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use integration_tests::Result;

/// Connections that are over but for the memory of them: TIME_WAIT, CLOSE.
const OVER: [&str; 2] = ["06", "07"];

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
        let ports = ports(&fs::read_to_string("/proc/net/tcp")?, client, listener);
        self.note(&ports, Instant::now());
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

/// The ports of `client` in the kernel's table that are connected to `listener`.
fn ports(table: &str, client: Ipv4Addr, listener: SocketAddr) -> HashSet<u16> {
    let connections = table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (address(words.next()?)?, address(words.next()?)?, words.next()?);
        Some((local, remote, state))
    });
    connections
        .filter(|(local, remote, state)| {
            SocketAddr::V4(*local) == listener && *remote.ip() == client && !OVER.contains(state)
        })
        .map(|(_, remote, _)| remote.port())
        .collect()
}

/// An address as the kernel writes it: the IP in the byte order of this machine, the port as a number.
fn address(text: &str) -> Option<SocketAddrV4> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(ip.to_ne_bytes()), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_connection_is_in_the_kernels_table_until_it_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(addr).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut sockets = Sockets::default();
        sockets.look(Ipv4Addr::LOCALHOST, addr).unwrap();
        assert_eq!((sockets.open(), sockets.most()), (1, 1));
        assert!(sockets.open.contains_key(&client.local_addr().unwrap().port()));
        sockets.look(Ipv4Addr::new(127, 0, 0, 2), addr).unwrap();
        assert_eq!(sockets.open(), 0, "of another client");
        drop(client);
        drop(server);
        sockets.look(Ipv4Addr::LOCALHOST, addr).unwrap();
        assert_eq!((sockets.open(), sockets.most()), (0, 1));
    }

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
