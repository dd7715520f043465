//! Header rules at work: on the lines of a head that is written, so that a head without rules costs nothing.

use ipnet::IpNet;
use memchr::memchr;

use super::client::ClientAddr;
use super::name::Name;
use super::target::Target;
use super::via::hex_digit;
use super::{Fields, Span};
use crate::config::settings::headers::{HeaderRules, Piece, Placeholder};

/// The longest `X-Request-Id` that is taken over, in bytes.
const LONGEST_ID: usize = 200;

/// The rules for a head, and what their placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// The rules.
    pub rules: &'a HeaderRules,
    /// `None` where no rule has a placeholder.
    pub facts: Option<&'a Facts>,
}

/// What placeholders stand for in one request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    text: Vec<u8>,
    client: Span,
    host: Span,
    request_id: Span,
    scheme: &'static [u8],
}

impl Facts {
    /// What they stand for in the request whose fields these are; `id` is a number that no other request has.
    pub fn read(
        buffer: &[u8],
        fields: &Fields,
        target: &Target,
        default_host: &[u8],
        (client, trusted): (&ClientAddr, &[IpNet]),
        id: u128,
    ) -> Self {
        let mut text = Vec::with_capacity(128);
        client.write_real(&mut text, buffer, fields, trusted);
        let mut ended = Span { start: 0, end: end(&text) };
        let client_at = ended;
        let mut push = |write: &dyn Fn(&mut Vec<u8>)| {
            write(&mut text);
            ended = Span { start: ended.end, end: end(&text) };
            ended
        };
        let host = push(&|text| text.extend_from_slice(target.host.map_or(default_host, |host| host.of(buffer))));
        let given = given_id(buffer, fields).filter(|_| client.is_trusted());
        let request_id = push(&|text| match given {
            Some(given) => text.extend_from_slice(given),
            None => text.extend((0..32).rev().map(|place| hex_digit((id >> (4 * place)) as u64))),
        });
        let is_https = client.is_trusted() && says_https(buffer, fields);
        Self { text, client: client_at, host, request_id, scheme: if is_https { b"https" } else { b"http" } }
    }

    fn of(&self, placeholder: Placeholder) -> &[u8] {
        match placeholder {
            Placeholder::Client => self.client.of(&self.text),
            Placeholder::Host => self.host.of(&self.text),
            Placeholder::Scheme => self.scheme,
            Placeholder::RequestId => self.request_id.of(&self.text),
        }
    }
}

fn end(text: &[u8]) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// The only `X-Request-Id`, if that is one that a field can carry on.
fn given_id<'b>(buffer: &'b [u8], fields: &Fields) -> Option<&'b [u8]> {
    let mut ids = fields.passing(buffer, |field| field.name.of(buffer).eq_ignore_ascii_case(b"x-request-id"));
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let is_plain = (1..=LONGEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    is_plain.then_some(id)
}

/// Whether the last `X-Forwarded-Proto` is `https`.
fn says_https(buffer: &[u8], fields: &Fields) -> bool {
    let protos = fields.passing(buffer, |field| field.id == Name::XForwardedProto);
    protos.last().is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"))
}

impl Applied<'_> {
    /// Takes away and adds field lines: all of `out` from `start` on are such lines.
    #[cold]
    pub(super) fn apply(&self, out: &mut Vec<u8>, start: usize) {
        take_away(self.rules, out, start);
        for (name, pieces) in self.rules.lines() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            for piece in pieces {
                out.extend_from_slice(match piece {
                    Piece::Text(text) => text.as_bytes(),
                    Piece::Placeholder(placeholder) => self.facts.map_or(b"", |facts| facts.of(*placeholder)),
                });
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Takes away field lines: all of `out` from `start` on are such lines.
pub(super) fn take_away(rules: &HeaderRules, out: &mut Vec<u8>, start: usize) {
    if !rules.take_something_away() {
        return;
    }
    let (mut read, mut kept) = (start, start);
    while let Some(line) = out.get(read..).filter(|rest| !rest.is_empty()) {
        let length = memchr(b'\n', line).map_or(line.len(), |at| at + 1);
        let name = line.get(..memchr(b':', line).unwrap_or(length)).unwrap_or_default();
        if !rules.takes_away(name) {
            out.copy_within(read..read + length, kept);
            kept += length;
        }
        read += length;
    }
    out.truncate(kept);
}
