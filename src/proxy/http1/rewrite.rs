//! The outgoing head: what may pass is copied raw and in order, and what we say ourselves comes last, so that nothing
//! a client names in `Connection` can remove it (RFC 9110, section 7.6.1).

use ipnet::IpNet;

use super::client::ClientAddr;
use super::framing::{RequestBody, ResponseBody};
use super::target::Target;
use super::upgrade::Protocols;
use super::via::Pseudonym;
use super::{Fields, RequestHead, ResponseHead, Version};

/// What a request's head is written with, besides what was received.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// Where it goes.
    pub target: &'a Target,
    /// The Host for a request that names none.
    pub default_host: &'a [u8],
    /// How its body goes on.
    pub body: RequestBody,
    /// Who sent it.
    pub client: &'a ClientAddr,
    /// The proxies in front of us.
    pub trusted: &'a [IpNet],
    /// Our name in `Via`.
    pub pseudonym: &'a Pseudonym,
    /// What it asks to switch to, as [`super::upgrade::asked`] said.
    pub upgrade: Option<&'a Protocols>,
}

/// Appends the head of a request as a replica is to see it. It is the same for every replica.
pub fn write_request(out: &mut Vec<u8>, buffer: &[u8], head: &RequestHead, fields: &Fields, onward: &Onward<'_>) {
    todo!()
}

/// What an answer's head is written with, besides what was received.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// How its body goes on, as [`super::framing::towards_client`] said.
    pub body: ResponseBody,
    /// The length of a body that does not follow.
    pub announced: Option<u64>,
    /// The client's version.
    pub client: Version,
    /// Whether the client's connection is kept after it.
    pub keeps_alive: bool,
    /// The replica's name, for `X-Served-By`.
    pub served_by: &'a [u8],
    /// The time now as an HTTP date, for an answer that has no `Date`.
    pub date: &'a [u8],
}

/// Appends the head of a final answer, or of a `101`, whose `Upgrade` is passed on, as the client is to see it.
pub fn write_response(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, fields: &Fields, answer: &Answer<'_>) {
    todo!()
}

/// Appends the head of a 1xx other than `101`. HTTP/1.0 clients must not get it.
pub fn write_interim(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, fields: &Fields) {
    todo!()
}
