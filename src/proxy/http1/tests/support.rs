//! The codec as the exchange drives it, and every sample in every split.

use std::net::IpAddr;

use crate::config::settings::headers::HeaderRules;
use crate::proxy::http1::chunked::Decoder;
use crate::proxy::http1::client::ClientAddr;
use crate::proxy::http1::framing::{self, RequestBody, ResponseFraming};
use crate::proxy::http1::rewrite::{Answer, Onward, write_interim, write_request, write_response};
use crate::proxy::http1::rules::{Applied, Facts};
use crate::proxy::http1::upgrade::{self, Protocols};
use crate::proxy::http1::via::Pseudonym;
use crate::proxy::http1::*;

pub(super) const UNTRUSTED: &str = "192.0.2.7";
pub(super) const TRUSTED: &str = "10.0.0.1";
pub(super) const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
pub(super) const OUR_ID: u32 = 0x00c0_ffee;

/// What becomes of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Passed {
    pub(super) head: String,
    pub(super) body: RequestBody,
    pub(super) expects_continue: bool,
    pub(super) persists: bool,
    pub(super) upgrade: Option<Protocols>,
    pub(super) max_forwards: Option<u32>,
    pub(super) host_name: Option<String>,
    pub(super) length: usize,
}

/// Bytes as text, one character each.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// Everything from bytes to the outgoing head; `None` if the head is not whole.
pub(super) fn pass(bytes: &[u8], client: &str) -> Option<Result<Passed, RejectReason>> {
    pass_by(&HeaderRules::default(), bytes, client)
}

/// The same by these rules.
pub(super) fn pass_by(rules: &HeaderRules, bytes: &[u8], client: &str) -> Option<Result<Passed, RejectReason>> {
    let mut fields = Fields::default();
    match parse_request(bytes, &mut RequestScan::default(), &Limits::default(), &mut fields) {
        Parsed::Incomplete => None,
        Parsed::Rejected(reason) => Some(Err(reason)),
        Parsed::Complete { head, length } => Some(pass_on(rules, bytes, &head, &fields, length, client)),
    }
}

fn pass_on(
    rules: &HeaderRules,
    bytes: &[u8],
    head: &RequestHead,
    fields: &Fields,
    length: usize,
    client: &str,
) -> Result<Passed, RejectReason> {
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    let client = ClientAddr::new(client.parse::<IpAddr>().unwrap(), &trusted);
    let pseudonym = Pseudonym::new(OUR_ID);
    let target = target::read(bytes, head, fields)?;
    let body = framing::request_body(bytes, head, fields, &Limits::default())?;
    let expects_continue = framing::expects_continue(bytes, head, fields)?;
    if pseudonym.is_in(bytes, fields) {
        return Err(RejectReason::Loop);
    }
    let upgrade = upgrade::asked(bytes, head, fields);
    let mut out = Vec::new();
    let facts = Facts::read(bytes, fields, &target, b"gateway", (&client, &trusted), OUR_ID.into());
    let onward = Onward {
        target: &target,
        default_host: b"gateway",
        body,
        client: &client,
        trusted: &trusted,
        pseudonym: &pseudonym,
        upgrade: upgrade.as_ref(),
        rules: (!rules.is_empty()).then_some(Applied { rules, facts: Some(&facts) }),
        is_from_peer: false,
        greeting: None,
    };
    write_request(&mut out, bytes, head, fields, &onward);
    Ok(Passed {
        head: text(&out),
        body,
        expects_continue,
        persists: framing::persists(head.version, fields),
        upgrade,
        max_forwards: target.max_forwards,
        host_name: target.host_name.map(|name| text(name.of(bytes))),
        length,
    })
}

/// What becomes of an answer, its head as the client sees it first.
pub(super) fn answer(
    bytes: &[u8],
    asked: Method,
    client: Version,
) -> Option<Result<(String, ResponseFraming), RejectReason>> {
    answer_by(&HeaderRules::default(), bytes, asked, client)
}

/// The same by these rules.
pub(super) fn answer_by(
    rules: &HeaderRules,
    bytes: &[u8],
    asked: Method,
    client: Version,
) -> Option<Result<(String, ResponseFraming), RejectReason>> {
    let mut fields = Fields::default();
    let head = match parse_response(bytes, &mut ResponseScan::default(), &Limits::default(), &mut fields) {
        Parsed::Incomplete => return None,
        Parsed::Rejected(reason) => return Some(Err(reason)),
        Parsed::Complete { head, .. } => head,
    };
    let framing = match framing::response(bytes, &head, &fields, asked) {
        Ok(framing) => framing,
        Err(reason) => return Some(Err(reason)),
    };
    let mut out = Vec::new();
    if matches!(head.status, 100 | 102..200) {
        write_interim(&mut out, bytes, &head, &fields, rules);
    } else {
        let answer = Answer {
            body: framing::towards_client(framing.body, client),
            announced: framing.announced,
            client,
            keeps_alive: true,
            served_by: b"gateway-3",
            host: b"",
            is_peers: false,
            date: DATE.as_bytes(),
            rules: (!rules.is_empty()).then_some(Applied { rules, facts: None }),
        };
        write_response(&mut out, bytes, &head, &fields, &answer);
    }
    Some(Ok((text(&out), framing)))
}

/// Feeds `bytes` up to each of `stops`, then all: the first outcome that is not `Incomplete`.
pub(super) fn parse_in_steps<H: Copy>(
    bytes: &[u8],
    stops: impl IntoIterator<Item = usize>,
    parse: impl Fn(&[u8], &mut head::Scan<H>, &Limits, &mut Fields) -> Parsed<H>,
    limits: &Limits,
) -> (Parsed<H>, Vec<fields::Field>) {
    let (mut scan, mut fields) = (head::Scan::default(), Fields::default());
    for stop in stops.into_iter().chain([bytes.len()]) {
        let outcome = parse(&bytes[..stop], &mut scan, limits, &mut fields);
        match outcome {
            Parsed::Incomplete => {}
            Parsed::Complete { .. } => return (outcome, fields.iter().copied().collect()),
            Parsed::Rejected(_) => return (outcome, Vec::new()),
        }
    }
    (Parsed::Incomplete, Vec::new())
}

/// Each split in two and the one into single bytes give what the whole gives.
pub(super) fn assert_splits_agree(bytes: &[u8]) {
    fn all<H: Copy + PartialEq + std::fmt::Debug>(
        bytes: &[u8],
        parse: impl Fn(&[u8], &mut head::Scan<H>, &Limits, &mut Fields) -> Parsed<H> + Copy,
    ) {
        let limits = Limits::default();
        let whole = parse_in_steps(bytes, [], parse, &limits);
        assert_eq!(parse_in_steps(bytes, 0..bytes.len(), parse, &limits), whole, "{:?}", text(bytes));
        for split in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
            assert_eq!(parse_in_steps(bytes, [split], parse, &limits), whole, "{:?} at {split}", text(bytes));
        }
    }
    all(bytes, parse_request);
    all(bytes, parse_response);
}

/// What a chunked body comes to: the data and the trailers, how many bytes it had, and whether it was whole.
pub(super) type Body = Result<(String, String, usize, bool), RejectReason>;

/// Decodes `bytes`, which arrive up to each of `stops`.
pub(super) fn decode_in_steps(bytes: &[u8], stops: impl IntoIterator<Item = usize>) -> Body {
    let mut decoder = Decoder::default();
    let (mut data, mut at) = (Vec::new(), 0);
    for stop in stops.into_iter().chain([bytes.len()]) {
        while at < stop {
            let input = &bytes[at..stop];
            let found = decoder.decode(input)?;
            data.extend_from_slice(&input[found.data]);
            at += found.consumed;
            if found.is_done {
                return Ok((text(&data), text(decoder.trailers()), at, true));
            }
            assert!(found.consumed > 0);
        }
    }
    Ok((text(&data), String::new(), at, false))
}
