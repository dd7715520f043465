//! Switching protocols: what a client may ask for, and what a replica may answer (RFC 9110, section 7.8).

use super::fields::elements;
use super::name::Name;
use super::{Fields, RequestHead, Version};

/// The protocols that a request asks to switch to, without HTTP/2, which we do not speak to replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols(Box<[u8]>);

impl Protocols {
    /// The value of the `Upgrade` field that goes to the replica.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether a replica's `101`, whose fields these are, switches to something that was asked for.
    pub fn are_accepted_by(&self, buffer: &[u8], fields: &Fields) -> bool {
        let was_asked = |chosen: &[u8]| elements(&self.0).any(|offer| offer.eq_ignore_ascii_case(chosen));
        let mut chosen = fields.all(buffer, Name::Upgrade).flat_map(elements).peekable();
        fields.says_upgrade() && chosen.peek().is_some() && chosen.all(was_asked)
    }
}

/// What a request asks to switch to, if it may: HTTP/1.1, and an `Upgrade` that `Connection` names.
#[inline]
pub fn asked(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Option<Protocols> {
    if head.version != Version::Http11 || !fields.says_upgrade() {
        return None;
    }
    let offers = fields.all(buffer, Name::Upgrade).flat_map(elements);
    let wanted: Vec<_> = offers.filter(|offer| !is_http2(offer)).collect();
    if wanted.is_empty() { None } else { Some(Protocols(wanted.join(&b", "[..]).into())) }
}

fn is_http2(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c") || protocol.eq_ignore_ascii_case(b"h2")
}
