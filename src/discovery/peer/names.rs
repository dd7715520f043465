//! Where the peers are: the addresses of a host, asked for again and again if it has a name.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::config::settings::PeerHost;

/// The time between two questions for a name.
const EACH: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Answers in a row that an address must be missing in before it is taken to be gone: some servers give a few of many.
const MISSES: u32 = 3;

/// What an answer came to.
#[derive(Debug)]
pub(super) struct Found {
    /// Which of the hosts was asked for.
    pub(super) index: usize,
    /// Its addresses, or why there are none.
    pub(super) addresses: io::Result<Vec<SocketAddr>>,
}

/// Tells where a host is, now and whenever it is asked for anew. Ends when nobody listens.
pub(super) async fn look(index: usize, PeerHost { host, port }: PeerHost, found: mpsc::Sender<Found>) {
    if let Ok(ip) = host.parse::<IpAddr>() {
        let addresses = Ok(vec![SocketAddr::new(ip, port)]);
        // Nobody listens any more: then nobody needs it.
        let _ = found.send(Found { index, addresses }).await;
        return;
    }
    let (mut known, mut clock) = (Known::default(), interval(EACH));
    loop {
        clock.tick().await;
        let answer = timeout(PATIENCE, lookup_host((host.as_str(), port))).await;
        let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let addresses = answer.and_then(|answer| known.note(answer.map(canonical)));
        if found.send(Found { index, addresses }).await.is_err() {
            return;
        }
    }
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// The addresses of one name, with the answers in a row that each was missing in.
#[derive(Debug, Default)]
struct Known(BTreeMap<SocketAddr, u32>);

impl Known {
    /// Takes in an answer, and says what is known now.
    fn note(&mut self, answer: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
        let answer: Vec<_> = answer.collect();
        if answer.is_empty() {
            return Err(io::Error::other("the name has no address"));
        }
        self.0.values_mut().for_each(|misses| *misses += 1);
        self.0.extend(answer.into_iter().map(|addr| (addr, 0)));
        self.0.retain(|_, misses| *misses < MISSES);
        Ok(self.0.keys().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(number: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, number], 9900))
    }

    #[test]
    fn an_address_is_gone_once_three_answers_lack_it() {
        let mut known = Known::default();
        let mut note = |numbers: &[u8]| known.note(numbers.iter().map(|number| addr(*number))).ok();
        assert_eq!(note(&[2, 1]), Some(vec![addr(1), addr(2)]));
        assert_eq!(note(&[1]), Some(vec![addr(1), addr(2)]));
        assert_eq!(note(&[1]), Some(vec![addr(1), addr(2)]));
        assert_eq!(note(&[2]), Some(vec![addr(1), addr(2)]), "it was back in time");
        assert_eq!(note(&[]), None, "no answer says nothing");
        assert_eq!(note(&[2]), Some(vec![addr(1), addr(2)]));
        assert_eq!(note(&[2]), Some(vec![addr(2)]));
    }

    #[tokio::test]
    async fn an_address_is_told_once_and_a_name_with_all_that_it_has() {
        let (found, mut finds) = mpsc::channel(8);
        look(3, PeerHost { host: "10.0.0.1".to_owned(), port: 9900 }, found.clone()).await;
        let Found { index, addresses } = finds.recv().await.unwrap();
        assert_eq!((index, addresses.unwrap()), (3, vec![addr(1)]));
        let looking = tokio::spawn(look(4, PeerHost { host: "localhost".to_owned(), port: 9900 }, found));
        let Found { index, addresses } = finds.recv().await.unwrap();
        assert_eq!(index, 4);
        assert!(addresses.unwrap().contains(&SocketAddr::from(([127, 0, 0, 1], 9900))));
        looking.abort();
    }
}
