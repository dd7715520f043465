//! The head of an answer, from a replica's bytes to a client's. The first byte of an input says who asked: bit 0 for a
//! `HEAD`, bit 1 for a client that speaks HTTP/1.0.
//!
//! - It parses, or is refused, the same however it is cut in pieces.
//! - What is taken means the same to a reader of our own: status, version, framing, and whether the connection lasts.
//! - What a client gets is one answer to a strict parser, to the last byte, with the framing that was promised and with
//!   just the fields that may pass, in their order.
//! - Header rules change just the fields that they name.

use evenkeel::config::settings::headers::{Direction, HeaderRules};
use evenkeel::proxy::http1::framing::{self, ResponseBody, ResponseFraming};
use evenkeel::proxy::http1::rewrite::{Answer, write_interim, write_response};
use evenkeel::proxy::http1::rules::Applied;
use evenkeel::proxy::http1::{Fields, Method, Parsed, Version, parse_response};
use integration_tests::wire::{self, Framing, Response};

use crate::fields::passed;
use crate::reading::elements;
use crate::rules;
use crate::splits;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const SERVED_BY: &str = "gateway-3";

/// Checks the head behind the first byte of `input`.
///
/// # Panics
/// When something does not hold.
pub fn check(input: &[u8]) {
    let Some((options, input)) = input.split_first() else { return };
    let asked = if options & 1 == 0 { Method::Get } else { Method::Head };
    let client = if options & 2 == 0 { Version::Http11 } else { Version::Http10 };
    let mut fields = Fields::default();
    let Parsed::Complete { head, length } = splits::parse(input, parse_response, &mut fields) else { return };
    let Ok(framing) = framing::response(input, &head, &fields, asked) else { return };

    let end = input.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
    assert_eq!(end, Some(length), "where the head ends");
    let meant = read(&input[..length]);
    assert_eq!(head.status, meant.response.status);
    check_framing(&meant, framing, asked);

    let mut out = Vec::new();
    if matches!(head.status, 100 | 102..=199) {
        write_interim(&mut out, input, &head, &fields, &HeaderRules::default());
        let got = as_a_client(&out, asked);
        assert_eq!((got.version.as_str(), got.status), ("HTTP/1.1", head.status));
        assert_eq!(got.fields.0, passed(&meant.response.fields, |name| name != "x-served-by"));
        return;
    }
    let body = framing::towards_client(framing.body, client);
    let (served_by, date) = (SERVED_BY.as_bytes(), DATE.as_bytes());
    for keeps_alive in [false, true] {
        let announced = framing.announced;
        let (host, is_peers) = (&b""[..], false);
        let mut answer = Answer { body, announced, client, keeps_alive, served_by, host, is_peers, date, rules: None };
        out.clear();
        write_response(&mut out, input, &head, &fields, &answer);
        check_answer(&out, &meant, &answer, asked);
        let (rules, mut ruled) = (rules::rules(Direction::Response), Vec::new());
        answer.rules = Some(Applied { rules: &rules, facts: None });
        write_response(&mut ruled, input, &head, &fields, &answer);
        check_ruled(&out, &ruled, asked);
    }
}

/// The head as it was meant.
struct Meant {
    /// Without the fields that frame it.
    response: Response,
    /// How far the body goes, unless there is none whatever the fields say.
    framing: Framing,
    /// Whether another answer may follow, as far as the fields say.
    persists: bool,
}

/// The head as it was meant: what evenkeel takes and writes anew is put right, then the strict parser reads the rest.
fn read(head: &[u8]) -> Meant {
    let text = wire::text(head);
    let mut lines: Vec<_> = text.split("\r\n").map(str::to_owned).collect();
    let is_http11 = !lines[0].starts_with("HTTP/1.0");
    lines[0].replace_range(..8, if is_http11 { "HTTP/1.1" } else { "HTTP/1.0" });
    if lines[0].len() == "HTTP/1.1 200".len() {
        lines[0].push(' ');
    }
    let named = |line: &String, names: &[&str]| {
        line.split_once(':').is_some_and(|(name, _)| names.iter().any(|one| name.eq_ignore_ascii_case(one)))
    };
    let values = |name: &str| {
        let lines = lines.iter().filter(|line| named(line, &[name])).filter_map(|line| line.split_once(':'));
        lines.map(|(_, value)| value.trim_matches([' ', '\t']).to_ascii_lowercase()).collect::<Vec<_>>()
    };
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    let framing = if codings.is_empty() {
        let mut lengths: Vec<_> = lengths.iter().flat_map(|line| line.split(',')).map(plain_length).collect();
        lengths.dedup();
        match lengths[..] {
            [] => Framing::UntilClose,
            [length] => Framing::Length(length),
            _ => panic!("{lengths:?} were taken"),
        }
    } else {
        assert!(is_http11 && codings == ["chunked"], "{codings:?} were taken");
        Framing::Chunked
    };
    let has_both = !codings.is_empty() && !lengths.is_empty();
    lines.retain(|line| !named(line, &["transfer-encoding", "content-length"]));
    let bare: Vec<u8> = lines.join("\r\n").chars().map(|c| c as u8).collect();
    let response = as_a_client(&bare, Method::Get);
    let options = elements(&response.fields, "connection");
    let says = |option: &str| options.iter().any(|one| one == option);
    let persists = !says("close") && (is_http11 || says("keep-alive")) && !has_both;
    Meant { response, framing, persists }
}

fn plain_length(text: &str) -> usize {
    let digits = text.trim_matches([' ', '\t']);
    assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), "{text:?} was taken");
    digits.parse().expect("a length below 2^63")
}

fn check_framing(meant: &Meant, framing: ResponseFraming, asked: Method) {
    let status = meant.response.status;
    let is_bodiless = matches!(status, 100..=199 | 204);
    let length = match meant.framing {
        Framing::Length(length) => Some(length as u64),
        _ => None,
    };
    let (body, announced) = match meant.framing {
        _ if is_bodiless => (ResponseBody::None, None),
        _ if asked == Method::Head || status == 304 => (ResponseBody::None, length),
        Framing::Chunked => (ResponseBody::Chunked, None),
        Framing::Length(length) => (ResponseBody::Length(length as u64), None),
        Framing::None | Framing::UntilClose => (ResponseBody::UntilClose, None),
    };
    let is_odd = is_bodiless && meant.framing == Framing::Chunked;
    let persists = meant.persists && body != ResponseBody::UntilClose && !is_odd;
    assert_eq!((framing.body, framing.announced, framing.persists), (body, announced, persists));
}

/// Checks what the client gets for a final answer.
fn check_answer(out: &[u8], meant: &Meant, answer: &Answer<'_>, asked: Method) {
    let got = as_a_client(out, asked);
    let (was, status) = (&meant.response, meant.response.status);
    assert_eq!((got.version.as_str(), got.status), ("HTTP/1.1", status));
    let passes = passed(&was.fields, |name| name != "x-served-by");
    let (passed, own) = got.fields.0.split_at(passes.len().min(got.fields.0.len()));
    assert_eq!(passed, passes, "the fields that pass");

    let own = wire::Fields(own.to_vec());
    let is_dated = passes.iter().any(|(name, _)| name == "date");
    assert_eq!(own.all("date"), if is_dated { vec![] } else { vec![DATE] });
    assert_eq!(own.all("x-served-by"), [SERVED_BY]);
    let (length, coding) = match (answer.body, answer.announced) {
        (ResponseBody::Length(length), _) | (ResponseBody::None, Some(length)) => (vec![length.to_string()], vec![]),
        (ResponseBody::Chunked, _) => (vec![], vec!["chunked"]),
        _ => (vec![], vec![]),
    };
    assert_eq!(
        (own.all("content-length"), own.all("transfer-encoding")),
        (length, coding.iter().map(|c| (*c).to_owned()).collect())
    );
    assert!(answer.client == Version::Http11 || coding.is_empty(), "chunks for HTTP/1.0");
    let keeps_alive = answer.keeps_alive && answer.body != ResponseBody::UntilClose;
    let connection: &[&str] = match answer.client {
        _ if status == 101 => &["upgrade"],
        _ if !keeps_alive => &["close"],
        Version::Http11 => &[],
        Version::Http10 => &["keep-alive"],
    };
    assert_eq!(own.all("connection"), connection);
    assert_eq!(own.all("upgrade"), if status == 101 { was.fields.all("upgrade") } else { vec![] });
    let known = ["date", "x-served-by", "content-length", "transfer-encoding", "connection", "upgrade"];
    assert!(own.0.iter().all(|(name, _)| known.contains(&&**name)), "{own:?}");
}

/// Checks the head by rules, without facts: the same answer as `plain`, whose fields differ as they say.
fn check_ruled(plain: &[u8], ruled: &[u8], asked: Method) {
    let (plain, ruled) = (as_a_client(plain, asked), as_a_client(ruled, asked));
    assert_eq!((ruled.status, ruled.framing), (plain.status, plain.framing));
    let framing = ["content-length", "transfer-encoding", "connection", "upgrade"];
    let is_framing = |(name, _): &&(String, Vec<u8>)| framing.contains(&name.as_str());
    let fields: Vec<_> = plain.fields.0.iter().filter(|field| !is_framing(field)).cloned().collect();
    let mut expected = rules::ruled(&fields, |_| String::new());
    expected.extend(plain.fields.0.iter().filter(is_framing).cloned());
    assert_eq!(ruled.fields.0, expected, "the fields by rules");
}

/// What a strict client takes `out` for: one head, and no byte more.
fn as_a_client(out: &[u8], asked: Method) -> Response {
    let end = out.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4);
    assert_eq!(end, Some(out.len()), "where the head ends: {:?}", wire::text(out));
    match wire::response(out, asked == Method::Head) {
        Ok(wire::Parsed::Whole(response, length)) if length == out.len() => response,
        Ok(wire::Parsed::Partial(Some(response))) => response,
        other => panic!("{other:?} in {:?}", wire::text(out)),
    }
}
