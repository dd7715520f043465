//! A request as far as the exchange has to know it, read from its head by the codec's rules.

use super::desk::Heads;
use super::http1::client::ClientAddr;
use super::http1::framing::{self, RequestBody};
use super::http1::name::Name;
use super::http1::rewrite::{Onward, write_request};
use super::http1::rules::{Applied, Facts};
use super::http1::target::{self, Target};
use super::http1::upgrade::{self, Protocols};
use super::http1::via::Pseudonym;
use super::http1::{RejectReason, RequestHead};
use crate::config::settings::ProxySettings;
use crate::config::settings::headers::{HeaderRules, HeaderSettings};
use ipnet::IpNet;

/// A request whose head has come. Its spans are those of the client's buffer, where the head stays for as long as the
/// request may have to be written again.
#[derive(Debug)]
pub(super) struct Request {
    /// The first line.
    pub(super) head: RequestHead,
    /// Bytes of the head.
    pub(super) length: usize,
    /// Where it goes.
    pub(super) target: Target,
    /// How its body is framed.
    pub(super) body: RequestBody,
    /// Whether the client waits for a `100 Continue`.
    pub(super) expects_continue: bool,
    /// What it asks to switch to.
    pub(super) upgrade: Option<Box<Protocols>>,
    /// Whether the client wants its connection kept.
    pub(super) persists: bool,
    /// Whether the client takes the trailers of an answer.
    pub(super) accepts_trailers: bool,
    /// Whether its own trailers may pass.
    pub(super) keeps_trailers: bool,
    /// What the placeholders of header rules stand for, if there are any.
    facts: Option<Box<Facts>>,
    /// Whether it says that a peer has sent it.
    pub(super) has_greeting: bool,
    /// Whether a peer has sent it, which has said of its client, and by its rules, what there is to be said.
    pub(super) is_from_peer: bool,
    /// Which head the desk's fields were parsed from when they were this request's.
    ticket: u64,
}

impl Request {
    /// Reads the request whose head was just parsed from the start of `buffer`.
    pub(super) fn read(
        buffer: &[u8],
        head: RequestHead,
        length: usize,
        heads: &Heads,
        pseudonym: &Pseudonym,
    ) -> Result<Self, RejectReason> {
        let fields = &heads.fields;
        let target = target::read(buffer, &head, fields)?;
        if pseudonym.is_in(buffer, fields) {
            return Err(RejectReason::Loop);
        }
        Ok(Self {
            head,
            length,
            target,
            body: framing::request_body(buffer, &head, fields, &heads.limits)?,
            expects_continue: framing::expects_continue(buffer, &head, fields)?,
            upgrade: upgrade::asked(buffer, &head, fields).map(Box::new),
            persists: framing::persists(head.version, fields),
            accepts_trailers: fields.accepts_trailers(buffer),
            keeps_trailers: fields.may_keep_trailers(),
            facts: None,
            has_greeting: fields.has(Name::EvenkeelPeer),
            is_from_peer: false,
            ticket: heads.ticket(),
        })
    }

    /// Takes note of what header rules need to know of it. Trailers do not pass where a rule takes fields away: they could
    /// say what it took.
    #[cold]
    pub(super) fn prepare(&mut self, rules: &HeaderSettings, heads: &mut Heads, buffer: &[u8], by: &Writer<'_>) {
        self.keeps_trailers &= !rules.request.take_something_away();
        self.accepts_trailers &= !rules.response.take_something_away();
        if rules.has_placeholders() && self.recall(heads, buffer) {
            let sent_by = (by.client, by.trusted);
            let facts = Facts::read(buffer, &heads.fields, &self.target, by.default_host, sent_by, fastrand::u128(..));
            self.facts = Some(Box::new(facts));
        }
    }

    /// These rules, for it or its answer.
    pub(super) fn applied<'a>(&'a self, rules: &'a HeaderRules) -> Option<Applied<'a>> {
        (!rules.is_empty() && !self.is_from_peer).then_some(Applied { rules, facts: self.facts.as_deref() })
    }

    /// Whether it may be sent a second time although the first may have arrived, as far as its head says: a method that
    /// means the same once or twice, and nothing that outlives the answer.
    pub(super) fn is_idempotent(&self) -> bool {
        self.head.method.is_idempotent() && self.upgrade.is_none()
    }

    /// Writes the head as a replica is to see it to the desk, from the buffer that it was read from; whether it could:
    /// what follows a head that is not there would be taken for one.
    #[must_use]
    pub(super) fn write(&self, heads: &mut Heads, buffer: &[u8], by: &Writer<'_>) -> bool {
        heads.out.clear();
        if !self.recall(heads, buffer) {
            return false;
        }
        let onward = Onward {
            target: &self.target,
            default_host: by.default_host,
            body: self.body,
            client: by.client,
            trusted: by.trusted,
            pseudonym: by.pseudonym,
            upgrade: self.upgrade.as_deref(),
            rules: self.applied(by.rules),
            is_from_peer: self.is_from_peer,
            greeting: by.greeting,
        };
        write_request(&mut heads.out, buffer, &self.head, &heads.fields, &onward);
        true
    }

    /// Sees to it that the desk's fields are those of this request. It was complete before, and the same bytes give the
    /// same result, so it does not fail: the limits, which may be others by now, are not asked.
    fn recall(&self, heads: &mut Heads, buffer: &[u8]) -> bool {
        heads.ticket() == self.ticket || heads.parse_request_again(buffer)
    }
}

/// What the head to a replica says besides what the client sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer<'a> {
    /// The Host for a request that names none.
    pub(super) default_host: &'a [u8],
    /// Who sent it.
    pub(super) client: &'a ClientAddr,
    /// The proxies in front of us.
    pub(super) trusted: &'a [IpNet],
    /// Our name in `Via`.
    pub(super) pseudonym: &'a Pseudonym,
    /// The rules for its fields.
    pub(super) rules: &'a HeaderRules,
    /// What a peer is to know it by, if it goes to one.
    pub(super) greeting: Option<&'a str>,
}

impl<'a> Writer<'a> {
    /// What it says of a request of this client for this service.
    pub(super) fn new(
        settings: &'a ProxySettings,
        service: &'a str,
        client: &'a ClientAddr,
        pseudonym: &'a Pseudonym,
    ) -> Self {
        let (trusted, rules) = (&settings.trusted_proxies, &settings.headers.request);
        Self { default_host: service.as_bytes(), client, trusted, pseudonym, rules, greeting: None }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::proxy::desk::Desk;
    use crate::proxy::http1::{Limits, Parsed, RequestScan};
    use crate::proxy::tests::support::settings;

    #[test]
    fn a_head_that_cannot_be_read_again_is_not_written() {
        let buffer = b"POST /pay HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nmoney";
        let (heads, pseudonym) = (&mut Desk::new(Limits::default()).heads, Pseudonym::new(7));
        let parsed = heads.parse_request(buffer, &mut RequestScan::default());
        let Parsed::Complete { head, length } = parsed else { panic!("{parsed:?}") };
        let request = Request::read(buffer, head, length, heads, &pseudonym).unwrap();
        let (settings, client) = (settings(), ClientAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), &[]));
        let writer = Writer::new(&settings, "gateway", &client, &pseudonym);
        assert!(request.write(heads, buffer, &writer));
        assert!(heads.out.starts_with(b"POST /pay HTTP/1.1\r\n"));
        let _ = heads.parse_request(b"GET / HTTP/1.1\r\nhost: b\r\n\r\n", &mut RequestScan::default());
        assert!(!request.write(heads, b"money", &writer), "the head is not there any more");
        assert_eq!(heads.out, b"");
        assert!(request.write(heads, buffer, &writer));
    }
}
