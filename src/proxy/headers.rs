//! Which fields pass, in either direction: hop-by-hop ones never do, and our own come last, so that nothing a client
//! names in `Connection` can remove them (RFC 9110, section 7.6.1).

use hyper::body::SizeHint;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{HeaderMap, Method, StatusCode, Version};

use crate::metrics::Refusal;

/// Fields that concern one connection only, and `Proxy`, which CGI programs mistake for a setting.
const HOP_BY_HOP: [HeaderName; 12] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    hyper::header::TE,
    hyper::header::TRAILER,
    hyper::header::PROXY_AUTHENTICATE,
    hyper::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy"),
];

/// Spellings of framing fields that some servers read as the real ones.
const LOOKALIKES: [&str; 2] = ["transfer_encoding", "content_length"];

/// Removes the hop-by-hop fields and those that `Connection` names.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = tokens(headers, CONNECTION).filter_map(|token| HeaderName::from_bytes(token).ok()).collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
    for name in LOOKALIKES {
        headers.remove(name);
    }
}

/// The comma-separated values of every field with that name.
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

/// The protocols that a request asks to switch to, if it may: HTTP/1.1, an `Upgrade` that `Connection` names, and
/// something other than HTTP/2, which we do not speak to replicas.
pub(super) fn upgrade_asked(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let is_named = tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    if version != Version::HTTP_11 || !is_named {
        return None;
    }
    let wanted: Vec<_> = tokens(headers, UPGRADE).filter(|p| !p.eq_ignore_ascii_case(b"h2c")).collect();
    if wanted.is_empty() { None } else { HeaderValue::from_bytes(&wanted.join(&b", "[..])).ok() }
}

/// Whether a replica's `101` switches to something that was asked for.
pub(super) fn is_upgrade_accepted(asked: &HeaderValue, answer: &HeaderMap) -> bool {
    let mut chosen = tokens(answer, UPGRADE).peekable();
    let was_asked = |protocol: &[u8]| {
        asked.as_bytes().split(|b| *b == b',').any(|offer| offer.trim_ascii().eq_ignore_ascii_case(protocol))
    };
    chosen.peek().is_some() && chosen.all(was_asked)
}

/// Says on this hop that the connection switches protocols.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocols: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocols);
}

/// Whether a message is framed by `chunked` alone, or has no `Transfer-Encoding`. No other coding is ever passed on.
fn is_framing_plain(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    match (lines.next(), lines.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Makes a request's fields fit for a replica, up to what is added about the client.
pub(super) fn prepare_request(headers: &mut HeaderMap, body: SizeHint) -> Result<(), Refusal> {
    if !is_framing_plain(headers) {
        return Err(Refusal::BadRequest);
    }
    let had_length = headers.contains_key(CONTENT_LENGTH);
    strip_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    // The framing is written anew from what was understood, so that nobody downstream can understand it otherwise.
    match body.exact() {
        Some(0) if !had_length => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        None => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    Ok(())
}

/// Makes an answer's fields fit for the client; an error says what is wrong with the answer.
pub(super) fn prepare_answer(
    method: &Method,
    status: StatusCode,
    headers: &mut HeaderMap,
    body: SizeHint,
) -> Result<(), &'static str> {
    if !is_framing_plain(headers) {
        return Err("its Transfer-Encoding is not chunked");
    }
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    strip_hop_by_hop(headers);
    let announced = headers.remove(CONTENT_LENGTH);
    let length = if is_chunked || status == StatusCode::NO_CONTENT || status.is_informational() {
        None
    } else if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED {
        // These announce the length of a body that they do not have.
        announced.and_then(|text| content_length(&text))
    } else {
        body.exact()
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(())
}

fn content_length(text: &HeaderValue) -> Option<u64> {
    let text = text.to_str().ok()?;
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn multi(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_names_go() {
        let mut headers = multi(&[
            ("connection", "keep-alive, X-Secret,,"),
            ("connection", "\tHOST "),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("host", "a"),
            ("te", "trailers, deflate"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("transfer_encoding", "chunked"),
            ("content_length", "5"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("proxy-connection", "x"),
            ("proxy-authorization", "x"),
            ("proxy-authenticate", "x"),
            ("proxy", "http://evil"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ]);
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers, multi(&[("cookie", "a=1"), ("cookie", "b=2")]));
    }

    #[test]
    fn a_requests_framing_is_written_anew() {
        let exact = SizeHint::with_exact;
        for (fields, body, expected) in [
            (map(&[("content-length", "0005")]), exact(5), Some(map(&[("content-length", "5")]))),
            (map(&[("transfer-encoding", "Chunked")]), SizeHint::new(), Some(map(&[("transfer-encoding", "chunked")]))),
            (map(&[("content-length", "0")]), exact(0), Some(map(&[("content-length", "0")]))),
            (map(&[]), exact(0), Some(map(&[]))),
            (
                map(&[("connection", "content-length"), ("content-length", "5")]),
                exact(5),
                Some(map(&[("content-length", "5")])),
            ),
            (map(&[("transfer-encoding", "gzip, chunked")]), SizeHint::new(), None),
            (map(&[("transfer-encoding", ",chunked")]), SizeHint::new(), None),
            (multi(&[("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]), SizeHint::new(), None),
        ] {
            let mut headers = fields.clone();
            let outcome = prepare_request(&mut headers, body);
            assert_eq!(outcome.ok().map(|()| headers), expected, "{fields:?}");
        }
    }

    #[test]
    fn an_answers_framing_is_written_anew() {
        let get = (Method::GET, 200);
        for ((method, status), fields, body, expected) in [
            (get.clone(), &[("content-length", "5, 5")][..], Some(5), Some(Some("5"))),
            (get.clone(), &[("transfer-encoding", "chunked"), ("content-length", "5")], None, Some(None)),
            (get.clone(), &[("transfer-encoding", "gzip, chunked")], None, None),
            (get.clone(), &[("transfer-encoding", "chunked, chunked")], None, None),
            (get, &[("connection", "content-length"), ("content-length", "5")], Some(5), Some(Some("5"))),
            ((Method::HEAD, 200), &[("content-length", "07")], Some(0), Some(Some("7"))),
            ((Method::HEAD, 200), &[("content-length", "x")], Some(0), Some(None)),
            ((Method::HEAD, 200), &[], Some(0), Some(None)),
            ((Method::GET, 304), &[("content-length", "7")], Some(0), Some(Some("7"))),
            ((Method::GET, 204), &[("content-length", "7")], Some(0), Some(None)),
        ] {
            let mut headers = map(fields);
            let hint = body.map_or(SizeHint::new(), SizeHint::with_exact);
            let outcome = prepare_answer(&method, StatusCode::from_u16(status).unwrap(), &mut headers, hint);
            let length = headers.get(CONTENT_LENGTH).map(|l| l.to_str().unwrap());
            assert_eq!(outcome.ok().map(|()| length), expected, "{method} {status} {fields:?}");
        }
    }

    #[test]
    fn an_upgrade_must_be_asked_for_properly() {
        for (version, connection, upgrade, expected) in [
            (Version::HTTP_11, "keep-alive, Upgrade", "websocket", Some("websocket")),
            (Version::HTTP_11, "upgrade", "h2c, websocket , x/1", Some("websocket, x/1")),
            (Version::HTTP_11, "upgrade, http2-settings", "H2C", None),
            (Version::HTTP_11, "keep-alive", "websocket", None),
            (Version::HTTP_11, "upgrade", "", None),
            (Version::HTTP_10, "upgrade", "websocket", None),
        ] {
            let headers = map(&[("connection", connection), ("upgrade", upgrade)]);
            let asked = upgrade_asked(version, &headers);
            assert_eq!(asked.as_ref().map(|a| a.to_str().unwrap()), expected, "{connection} {upgrade}");
        }
    }

    #[test]
    fn an_upgrade_is_accepted_only_to_what_was_asked() {
        let asked = HeaderValue::from_static("websocket, x/1");
        for (chosen, ok) in [("WebSocket", true), ("x/1", true), ("x/1, websocket", true), ("x", false), ("", false)] {
            assert_eq!(is_upgrade_accepted(&asked, &map(&[("upgrade", chosen)])), ok, "{chosen}");
        }
        assert!(!is_upgrade_accepted(&asked, &map(&[])));
    }
}
