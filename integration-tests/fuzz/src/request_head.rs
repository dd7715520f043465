//! The head of a request, from a client's bytes to a replica's.
//!
//! - It parses, or is refused, the same however it is cut in pieces.
//! - What is taken means the same to a reader of our own: method, target, Host, framing, and whether more may follow.
//! - What a replica gets is one request to a strict parser, to the last byte, with one framing and one Host, and with
//!   just the fields that may pass, in their order.
//! - Header rules change just the fields that they name.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel::config::settings::headers::Direction;
use evenkeel::proxy::http1::client::ClientAddr;
use evenkeel::proxy::http1::framing::{self, RequestBody};
use evenkeel::proxy::http1::rewrite::{Onward, write_request};
use evenkeel::proxy::http1::rules::{Applied, Facts};
use evenkeel::proxy::http1::upgrade::{self, Protocols};
use evenkeel::proxy::http1::via::Pseudonym;
use evenkeel::proxy::http1::{Fields, Limits, Parsed, RejectReason, RequestHead, parse_request, target};
use integration_tests::wire::{self, Framing, Request};
use ipnet::IpNet;

use crate::fields::{is_about_the_client, passed};
use crate::reading::{self, elements};
use crate::rules;
use crate::splits;

const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const DEFAULT_HOST: &str = "gateway";

/// What becomes of a head that is taken.
struct Taken {
    out: Vec<u8>,
    /// The head by rules.
    ruled: Vec<u8>,
    body: RequestBody,
    persists: bool,
    upgrade: Option<Protocols>,
    max_forwards: Option<u32>,
}

/// Checks the head at the start of `input`.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    let mut fields = Fields::default();
    let Parsed::Complete { head, length } = splits::parse(input, parse_request, &mut fields) else { return };
    for is_trusted in [false, true] {
        let trusted: Vec<IpNet> = if is_trusted { vec![IpAddr::from(CLIENT).into()] } else { Vec::new() };
        let Ok(taken) = take(input, &head, &fields, &trusted) else { return };
        let meant = reading::head(input).expect("what is taken can be understood");
        assert_eq!(meant.length, length, "where the head ends");
        check_meaning(&meant.meant, &taken);
        check_passed(&meant.meant, &taken, is_trusted);
        check_ruled(&taken);
    }
}

fn take(input: &[u8], head: &RequestHead, fields: &Fields, trusted: &[IpNet]) -> Result<Taken, RejectReason> {
    let (client, pseudonym) = (ClientAddr::new(CLIENT.into(), trusted), Pseudonym::new(7));
    let target = target::read(input, head, fields)?;
    let body = framing::request_body(input, head, fields, &Limits::default())?;
    framing::expects_continue(input, head, fields)?;
    if pseudonym.is_in(input, fields) {
        return Err(RejectReason::Loop);
    }
    let upgrade = upgrade::asked(input, head, fields);
    let mut onward = Onward {
        target: &target,
        default_host: DEFAULT_HOST.as_bytes(),
        body,
        client: &client,
        trusted,
        pseudonym: &pseudonym,
        upgrade: upgrade.as_ref(),
        rules: None,
        is_from_peer: false,
        greeting: None,
    };
    let (mut out, mut ruled) = (Vec::new(), Vec::new());
    write_request(&mut out, input, head, fields, &onward);
    let rules = rules::rules(Direction::Request);
    let facts = Facts::read(input, fields, &target, DEFAULT_HOST.as_bytes(), (&client, trusted), 7);
    onward.rules = Some(Applied { rules: &rules, facts: Some(&facts) });
    write_request(&mut ruled, input, head, fields, &onward);
    let persists = framing::persists(head.version, fields);
    Ok(Taken { out, ruled, body, persists, upgrade, max_forwards: target.max_forwards })
}

fn check_meaning(meant: &reading::Meant, taken: &Taken) {
    assert_eq!(taken.persists, meant.persists, "whether more may follow");
    let framing = match taken.body {
        RequestBody::None => Framing::None,
        RequestBody::Length(length) => Framing::Length(usize::try_from(length).expect("64 bits")),
        RequestBody::Chunked { .. } => Framing::Chunked,
    };
    assert_eq!(framing, meant.request.framing, "how far the body goes");
}

fn check_passed(meant: &reading::Meant, taken: &Taken, is_trusted: bool) {
    let got = as_a_replica(&taken.out);
    assert_eq!(got.line(), meant.request.line());
    assert_eq!(got.framing, meant.request.framing);
    let host = meant.host.as_deref().unwrap_or(DEFAULT_HOST);
    assert_eq!(got.fields.all("host"), [host]);

    let was = passed(&meant.request.fields, |name| match name {
        "expect" => meant.is_http11,
        "max-forwards" => taken.max_forwards.is_none(),
        "host" | "x-real-ip" | "x-forwarded-for" => false,
        "x-served-by" => true,
        name if is_about_the_client(name) => is_trusted,
        _ => true,
    });
    let (passed, own) = got.fields.0.split_at(1 + was.len().min(got.fields.0.len() - 1));
    assert_eq!(passed[0].0, "host");
    assert_eq!(passed[1..], was, "the fields that pass");
    check_own(own, meant, taken, is_trusted);
}

/// Checks what evenkeel says itself, behind what passes.
fn check_own(own: &[(String, Vec<u8>)], meant: &reading::Meant, taken: &Taken, is_trusted: bool) {
    let own = wire::Fields(own.to_vec());
    for (name, _) in &own.0 {
        assert_eq!(own.all(name).len(), 1, "{name} once");
    }
    let addr = CLIENT.to_string();
    let chain = own.one("x-forwarded-for").unwrap_or_default();
    assert!(if is_trusted { chain.ends_with(&addr) } else { chain == addr }, "X-Forwarded-For: {chain}");
    let real = own.one("x-real-ip").unwrap_or_default();
    assert!(if is_trusted { real.parse::<IpAddr>().is_ok() } else { real == addr }, "X-Real-IP: {real}");
    assert!(own.one("via").is_some_and(|via| via.ends_with(" evenkeel-00000007")));
    if !is_trusted {
        assert_eq!(own.one("x-forwarded-proto").as_deref(), Some("http"));
        assert_eq!(own.one("x-forwarded-host"), Some(meant.host.clone().unwrap_or(DEFAULT_HOST.to_owned())));
    }
    let hops = taken.max_forwards.map(|hops| hops.saturating_sub(1).to_string());
    assert_eq!(own.one("max-forwards"), hops);
    let offers = if meant.is_http11 && elements(&meant.request.fields, "connection").iter().any(|one| one == "upgrade")
    {
        elements(&meant.request.fields, "upgrade")
    } else {
        Vec::new()
    };
    let offers: Vec<_> = offers.into_iter().filter(|offer| !["h2", "h2c"].contains(&offer.as_str())).collect();
    assert_eq!(elements(&own, "upgrade"), offers);
    assert_eq!(taken.upgrade.is_some(), !offers.is_empty());
    assert_eq!(elements(&own, "connection"), if offers.is_empty() { vec![] } else { vec!["upgrade"] });
    let known = ["x-forwarded-for", "x-real-ip", "via", "x-forwarded-proto", "x-forwarded-host", "max-forwards"];
    let framing = ["content-length", "transfer-encoding", "upgrade", "connection"];
    assert!(own.0.iter().all(|(name, _)| known.contains(&&**name) || framing.contains(&&**name)), "{own:?}");
}

/// Checks the head by rules: the same request, whose fields differ as they say.
fn check_ruled(taken: &Taken) {
    let (plain, ruled) = (as_a_replica(&taken.out), as_a_replica(&taken.ruled));
    assert_eq!((ruled.line(), ruled.framing), (plain.line(), plain.framing));
    // What a client sent has no place behind our `Via`, which is the last.
    let last = ["via", "max-forwards", "content-length", "transfer-encoding", "connection", "upgrade"];
    let via = plain.fields.0.iter().rposition(|(name, _)| name == "via").expect("a Via");
    let is_last = |name: &str| last.contains(&name);
    let mut expected = plain.fields.0.clone();
    let behind = expected.split_off(via);
    assert!(behind.iter().all(|(name, _)| is_last(name)));
    let real = plain.fields.one("x-real-ip").unwrap_or_default();
    let id = ruled.fields.all("x-id").pop().expect("an id");
    assert!(!id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic()), "{id:?}");
    let scheme = ruled.fields.one("x-a").and_then(|all| Some(all.split_once(';')?.1.to_owned()));
    assert!(scheme.as_deref().is_some_and(|scheme| ["http", "https"].contains(&scheme)), "{scheme:?}");
    let is = |word: &str| match word {
        "client" => real.clone(),
        "scheme" => scheme.clone().unwrap_or_default(),
        _ => id.clone(),
    };
    expected = rules::ruled(&expected, is);
    expected.extend(behind);
    assert_eq!(ruled.fields.0, expected, "the fields by rules");
}

/// What a strict replica takes `out` for: one head, and no byte more.
fn as_a_replica(out: &[u8]) -> Request {
    let end = out.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
    assert_eq!(end, Some(out.len()), "where the head for the replica ends: {:?}", wire::text(out));
    match wire::request(out) {
        Ok(wire::Parsed::Whole(request, length)) if length == out.len() => request,
        Ok(wire::Parsed::Partial(Some(request))) => request,
        other => panic!("{other:?} in {:?}", wire::text(out)),
    }
}
