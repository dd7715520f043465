//! The peers: what this evenkeel and the others of its fleet know one another by.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use crate::config::settings::Token;

/// The field by which a peer's request names its service and shows the token, and by which its answer says what became
/// of a request that no replica answered. It concerns one connection: no client sees it, and no replica.
pub const FIELD: &str = "Evenkeel-Peer";

/// Who we are to our peers, and who they are to us.
#[derive(Debug, Default)]
pub struct Peers {
    id: u64,
    name: String,
    /// `@` and the name, if there are peers.
    suffix: String,
    token: Option<Token>,
    /// The hosts of those that we were told to look for, our own only if there is another one on it.
    addresses: RwLock<HashSet<IpAddr>>,
}

/// Why somebody who says that it is a peer is not taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stranger {
    /// There is a token, and what is shown is not it.
    #[error("its --peer-token is not ours; give both the same")]
    OtherToken,
    /// There is a token, and none is shown.
    #[error("it shows no --peer-token; give both the same")]
    NoToken,
    /// There is none, and one is shown.
    #[error("it shows a --peer-token, and we have none; give both the same")]
    UnknownToken,
    /// There is none, and nobody told us of its address.
    #[error("its address is none of our peers'; list it with --peer, or give both the same --peer-token")]
    UnknownAddress,
}

impl Peers {
    /// One of many, by this name and with this token; it is given a number that no other has or had.
    pub fn new(name: String, token: Option<Token>, has_peers: bool) -> Self {
        let id = fastrand::u64(..);
        let suffix = if has_peers { format!("@{name}") } else { String::new() };
        Self { id, name, suffix, token, addresses: RwLock::default() }
    }

    /// What tells this process from every other.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What people call this host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `X-Served-By` says behind a replica's name: nothing where there are no peers.
    pub fn suffix(&self) -> &str {
        &self.suffix
    }

    /// What peers show one another.
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Takes these for the addresses of all peers: not our own, which is that of whatever else runs on this host.
    pub fn set_addresses(&self, addresses: HashSet<IpAddr>) {
        *self.addresses.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Whether somebody at `address` that shows this is a peer. Where there is a token, it decides; else the address.
    ///
    /// # Errors
    /// Why not.
    pub fn recognise(&self, shown: Option<&[u8]>, address: IpAddr) -> Result<(), Stranger> {
        match (&self.token, shown) {
            (Some(token), Some(shown)) if token.is(shown) => Ok(()),
            (Some(_), Some(_)) => Err(Stranger::OtherToken),
            (Some(_), None) => Err(Stranger::NoToken),
            (None, Some(_)) => Err(Stranger::UnknownToken),
            (None, None) => self.has_address(address).then_some(()).ok_or(Stranger::UnknownAddress),
        }
    }

    /// Whether one of those that we were told to look for is there.
    pub fn has_address(&self, address: IpAddr) -> bool {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        addresses.contains(&address.to_canonical())
    }

    /// Whether there is nothing by which a peer could be told: then every request is served here, whoever sent it.
    pub fn are_none(&self) -> bool {
        self.suffix.is_empty()
    }

    /// What a request to a peer says in [`FIELD`].
    pub fn greeting(&self, service: &str) -> String {
        match &self.token {
            Some(token) => format!("{service} {}", token.reveal()),
            None => service.to_owned(),
        }
    }

    /// The service that a request is for, if a peer at `address` has sent it, which says this in [`FIELD`].
    pub fn service_asked_for<'a>(&self, greeting: &'a [u8], address: IpAddr) -> Option<&'a str> {
        if self.are_none() {
            return None;
        }
        let mut words = greeting.splitn(2, |b| *b == b' ');
        let service = words.next().and_then(|service| str::from_utf8(service).ok())?;
        self.recognise(words.next(), address).is_ok().then_some(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

    fn peers(token: Option<&str>) -> Peers {
        let peers = Peers::new("vm-1".to_owned(), token.map(Token::from), true);
        peers.set_addresses([PEER].into());
        peers
    }

    #[test]
    fn a_token_decides_wherever_it_comes_from() {
        let peers = peers(Some("sesame-open-wide"));
        for address in [PEER, OTHER] {
            assert_eq!(peers.recognise(Some(b"sesame-open-wide"), address), Ok(()));
            assert_eq!(peers.recognise(Some(b"sesame-open-wid"), address), Err(Stranger::OtherToken));
            assert_eq!(peers.recognise(None, address), Err(Stranger::NoToken));
        }
    }

    #[test]
    fn without_a_token_the_address_decides() {
        let peers = peers(None);
        assert_eq!(peers.recognise(None, PEER), Ok(()));
        assert_eq!(peers.recognise(None, "::ffff:10.0.0.2".parse().unwrap()), Ok(()));
        assert_eq!(peers.recognise(None, OTHER), Err(Stranger::UnknownAddress));
        assert_eq!(peers.recognise(Some(b"sesame-open-wide"), PEER), Err(Stranger::UnknownToken));
    }

    #[test]
    fn a_greeting_names_the_service_if_it_is_a_peers() {
        let secret = peers(Some("sesame-open-wide"));
        let greeting = secret.greeting("gateway");
        assert_eq!(greeting, "gateway sesame-open-wide");
        assert_eq!(secret.service_asked_for(greeting.as_bytes(), OTHER), Some("gateway"));
        for forged in ["gateway", "gateway ", "gateway sesame", "gateway  sesame-open-wide", "", " sesame-open-wide x"]
        {
            assert_eq!(secret.service_asked_for(forged.as_bytes(), PEER), None, "{forged:?}");
        }
        let open = peers(None);
        assert_eq!(open.service_asked_for(open.greeting("api").as_bytes(), PEER), Some("api"));
        assert_eq!(open.service_asked_for(b"api", OTHER), None);
        assert_eq!(open.service_asked_for(b"api x", PEER), None);
        assert_eq!(open.service_asked_for(b"\xff", PEER), None);
    }

    #[test]
    fn who_has_no_peers_takes_nobody_for_one_and_says_nothing_of_its_name() {
        let alone = Peers::new("vm-1".to_owned(), None, false);
        alone.set_addresses([PEER].into());
        assert_eq!((alone.service_asked_for(b"gateway", PEER), alone.suffix()), (None, ""));
        assert_eq!(peers(None).suffix(), "@vm-1");
        assert_ne!(peers(None).id(), peers(None).id());
    }
}
