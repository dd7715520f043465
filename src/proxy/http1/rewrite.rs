//! The outgoing head: what may pass is copied raw and in order, and what we say ourselves comes last, so that nothing
//! a client names in `Connection` can remove it (RFC 9110, section 7.6.1). Header rules come in between: they cannot touch
//! what frames the message.

use ipnet::IpNet;

use super::client::ClientAddr;
use super::framing::{RequestBody, ResponseBody};
use super::name::Name;
use super::rules::{Applied, take_away};
use super::target::{Path, Target};
use super::upgrade::Protocols;
use super::via::Pseudonym;
use super::{Fields, RequestHead, ResponseHead, Version};
use crate::config::settings::headers::HeaderRules;
use crate::peers::FIELD;

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
    /// The rules for it; `None` without any.
    pub rules: Option<Applied<'a>>,
    /// Whether a peer sent it, which has said of its client what there is to be said: a replica cannot tell it from a
    /// request that came straight to the peer.
    pub is_from_peer: bool,
    /// What a peer is to know it by, if it goes to one.
    pub greeting: Option<&'a str>,
}

/// Appends the head of a request as a replica is to see it. It is the same for every replica.
pub fn write_request(out: &mut Vec<u8>, buffer: &[u8], head: &RequestHead, fields: &Fields, onward: &Onward<'_>) {
    let Onward { target, client, .. } = onward;
    let host = target.host.map_or(onward.default_host, |host| host.of(buffer));
    out.extend_from_slice(head.method_text.of(buffer));
    match target.path {
        Path::Origin(path) => push(out, &[b" ", path.of(buffer)]),
        Path::Query(query) => push(out, &[b" /", query.of(buffer)]),
        Path::Asterisk => push(out, &[b" *"]),
    }
    let set = onward.rules.and_then(|applied| applied.rules.host());
    push(out, &[b" HTTP/1.1\r\nHost: ", set.map_or(host, str::as_bytes), b"\r\n"]);
    let first_field = out.len();

    let is_believed = client.is_trusted() || onward.is_from_peer;
    let (mut says_proto, mut says_host) = (onward.is_from_peer, onward.is_from_peer);
    fields.copy(out, buffer, |field| match field.id {
        Name::Other | Name::Date | Name::Via | Name::XServedBy => true,
        Name::Expect => head.version == Version::Http11,
        Name::MaxForwards => target.max_forwards.is_none(),
        Name::Forwarded | Name::XForwardedOther => is_believed,
        Name::XForwardedFor | Name::XRealIp => onward.is_from_peer,
        Name::XForwardedProto => {
            says_proto |= is_believed;
            is_believed
        }
        Name::XForwardedHost => {
            says_host |= is_believed;
            is_believed
        }
        _ => false,
    });

    if !onward.is_from_peer {
        client.write_addresses(out, buffer, fields, onward.trusted);
    }
    if !says_proto {
        out.extend_from_slice(b"X-Forwarded-Proto: http\r\n");
    }
    if !says_host {
        push(out, &[b"X-Forwarded-Host: ", host, b"\r\n"]);
    }
    if let Some(applied) = onward.rules {
        applied.apply(out, first_field);
    }
    let protocol: &[u8] = if head.version == Version::Http10 { b"Via: 1.0 " } else { b"Via: 1.1 " };
    push(out, &[protocol, onward.pseudonym.as_bytes(), b"\r\n"]);
    if let Some(hops) = target.max_forwards {
        push_number(out, b"Max-Forwards: ", u64::from(hops.saturating_sub(1)));
    }
    if let Some(greeting) = onward.greeting {
        push(out, &[FIELD.as_bytes(), b": ", greeting.as_bytes(), b"\r\n"]);
    }
    match onward.body {
        RequestBody::None => {}
        RequestBody::Length(length) => push_number(out, b"Content-Length: ", length),
        RequestBody::Chunked { .. } => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    if let Some(protocols) = onward.upgrade {
        push(out, &[b"Connection: upgrade\r\nUpgrade: ", protocols.as_bytes(), b"\r\n"]);
    }
    out.extend_from_slice(b"\r\n");
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
    /// Whether the client's connection is kept after it; no answer that ends with its connection keeps it.
    pub keeps_alive: bool,
    /// The replica's name, for `X-Served-By`.
    pub served_by: &'a [u8],
    /// What is said behind it: this host's name, where there are others.
    pub host: &'a [u8],
    /// Whether a peer sent it, whose word for that passes.
    pub is_peers: bool,
    /// The time now as an HTTP date, for an answer that has no `Date`.
    pub date: &'a [u8],
    /// The rules for it; `None` without any.
    pub rules: Option<Applied<'a>>,
}

/// Appends the head of a final answer, or of a `101`, whose `Upgrade` is passed on, as the client is to see it.
pub fn write_response(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, fields: &Fields, answer: &Answer<'_>) {
    push_status_line(out, buffer, head);
    let first_field = out.len();
    let mut is_dated = false;
    fields.copy(out, buffer, |field| {
        is_dated |= field.id == Name::Date;
        !is_replaced(field.id) || (answer.is_peers && field.id == Name::XServedBy)
    });
    if !(answer.is_peers && fields.has(Name::XServedBy)) {
        push(out, &[b"X-Served-By: ", answer.served_by, answer.host, b"\r\n"]);
    }
    if !is_dated {
        push(out, &[b"Date: ", answer.date, b"\r\n"]);
    }
    if let Some(applied) = answer.rules {
        applied.apply(out, first_field);
    }
    match (answer.body, answer.announced) {
        (ResponseBody::Length(length), _) | (ResponseBody::None, Some(length)) => {
            push_number(out, b"Content-Length: ", length);
        }
        (ResponseBody::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (ResponseBody::None | ResponseBody::UntilClose, _) => {}
    }
    let keeps_alive = answer.keeps_alive && answer.body != ResponseBody::UntilClose;
    match (answer.client, keeps_alive) {
        _ if head.status == 101 => {
            out.extend_from_slice(b"Connection: upgrade\r\n");
            fields.all(buffer, Name::Upgrade).for_each(|protocol| push(out, &[b"Upgrade: ", protocol, b"\r\n"]));
        }
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 1xx other than `101`, of which the rules only take away. HTTP/1.0 clients must not get it.
pub fn write_interim(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead, fields: &Fields, rules: &HeaderRules) {
    push_status_line(out, buffer, head);
    let first_field = out.len();
    fields.copy(out, buffer, |field| !is_replaced(field.id));
    take_away(rules, out, first_field);
    out.extend_from_slice(b"\r\n");
}

/// Whether an answer's field does not pass, or is ours to write.
fn is_replaced(name: Name) -> bool {
    name.is_hop_by_hop() || matches!(name, Name::ContentLength | Name::XServedBy)
}

fn push_status_line(out: &mut Vec<u8>, buffer: &[u8], head: &ResponseHead) {
    // It has three digits always.
    let [hundreds, tens, ones] = [head.status / 100, head.status / 10 % 10, head.status % 10].map(|n| b'0' + n as u8);
    out.extend_from_slice(&[b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', hundreds, tens, ones, b' ']);
    push(out, &[head.reason.of(buffer), b"\r\n"]);
}

#[inline]
fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn push_number(out: &mut Vec<u8>, name: &[u8], mut number: u64) {
    // The largest has 20 digits.
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        used += 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    push(out, &[name, digits.get(digits.len() - used..).unwrap_or_default(), b"\r\n"]);
}
