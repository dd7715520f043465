//! Switching protocols: what a client may ask for, and what a replica may answer (RFC 9110, section 7.8).

use super::{Fields, RequestHead};

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
        todo!()
    }
}

/// What a request asks to switch to, if it may: HTTP/1.1, and an `Upgrade` that `Connection` names.
pub fn asked(buffer: &[u8], head: &RequestHead, fields: &Fields) -> Option<Protocols> {
    todo!()
}
