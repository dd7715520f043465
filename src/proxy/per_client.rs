//! How many connections each client has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;

use super::http1::forwarded::is_trusted;

/// The bits of an IPv6 address that say which network it is in: who has one address of it has them all.
const NETWORK: u128 = !0 << 64;

/// The connections of each client that has any, shared by all workers. Locked when a connection comes and goes, for as
/// long as that takes to count.
#[derive(Debug, Default)]
pub(super) struct PerClient {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of a client, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    per_client: Arc<PerClient>,
    client: IpAddr,
}

impl PerClient {
    /// Counts a connection of the client at `addr`: `None` if it has `limit` of them, `Some(None)` if it is not counted:
    /// those of `trusted` are proxies in front of us, who speak for many.
    pub(super) fn take(
        self: &Arc<Self>,
        addr: IpAddr,
        limit: NonZeroUsize,
        trusted: &[IpNet],
    ) -> Option<Option<Place>> {
        let addr = addr.to_canonical();
        if is_trusted(addr, trusted) {
            return Some(None);
        }
        let client = counted_as(addr);
        self.change(client, |count| {
            let has_room = *count < limit.get();
            *count += usize::from(has_room);
            has_room.then(|| Some(Place { per_client: Arc::clone(self), client }))
        })
    }

    fn change<T>(&self, client: IpAddr, change: impl FnOnce(&mut usize) -> T) -> T {
        // Nothing panics while it is locked.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        let outcome = change(count);
        if *count == 0 {
            open.remove(&client);
        }
        outcome
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.per_client.change(self.client, |count| *count = count.saturating_sub(1));
    }
}

/// The address that stands for a client.
fn counted_as(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => addr,
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the two that each may have.
    fn take(per_client: &Arc<PerClient>, addr: &str) -> Option<Option<Place>> {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        per_client.take(addr.parse().unwrap(), NonZeroUsize::new(2).unwrap(), &trusted)
    }

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let per_client = Arc::default();
        let (first, second) = (take(&per_client, "192.0.2.1"), take(&per_client, "::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(take(&per_client, "192.0.2.1").is_none());
        let other = take(&per_client, "192.0.2.2");
        assert!(other.is_some());
        drop(first);
        let third = take(&per_client, "192.0.2.1");
        assert!(third.is_some());
        drop((second, third, other));
        assert!(per_client.open.lock().unwrap().is_empty(), "who has left is forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let per_client = Arc::default();
        let _two = ["2001:db8::1", "2001:db8::ffff:1"].map(|addr| take(&per_client, addr).unwrap());
        assert!(take(&per_client, "2001:db8::2").is_none());
        assert!(take(&per_client, "2001:db8:0:1::2").is_some());
    }

    #[test]
    fn trusted_proxies_are_not_counted() {
        let per_client = Arc::default();
        let places: Vec<_> = (0..9).map(|_| take(&per_client, "10.1.1.1")).collect();
        assert!(places.iter().all(|place| matches!(place, Some(None))));
    }
}
