//! The codec against header rules on hyper's types: for a request that both take, a replica gets the same fields.

use std::net::IpAddr;

use hyper::body::SizeHint;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::support::*;
use crate::proxy::tests::reference;

/// Fields that rules ask about, and some that none does. Spellings with `_` and `Via` are not among them: there the
/// codec means to differ.
const FIELDS: &[(&str, &str)] = &[
    ("Accept", "*/*"),
    ("Cookie", "a=1"),
    ("Cookie", "b=2"),
    ("X-Secret", "1"),
    ("Connection", "close"),
    ("Connection", "keep-alive, X-Secret,,"),
    ("connection", "Host, X-Forwarded-For, Upgrade"),
    ("Upgrade", "websocket"),
    ("Upgrade", "h2c, x/1"),
    ("Keep-Alive", "timeout=5"),
    ("TE", "trailers"),
    ("Trailer", "x"),
    ("Proxy", "http://evil"),
    ("Proxy-Connection", "x"),
    ("Proxy-Authorization", "x"),
    ("HTTP2-Settings", "x"),
    ("X-Forwarded-For", "6.6.6.6, 1.1.1.1"),
    ("x-forwarded-for", "10.9.9.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "front"),
    ("X-Forwarded-Port", "1"),
    ("X-Real-IP", "6.6.6.6"),
    ("Forwarded", "for=6.6.6.6"),
    ("Content-Length", "0005"),
    ("Transfer-Encoding", "chunked"),
    ("Expect", "100-continue"),
    ("Max-Forwards", "5"),
    ("Date", "x"),
];

/// What the hyper path sends, or `None` if it refuses. hyper itself sees to two framings at once.
fn by_hyper_path(fields: &[(&str, &str)], client: &str) -> Option<HeaderMap> {
    let mut map: HeaderMap = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let count = |name: &str| map.get_all(name).iter().count();
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    if lengths + codings > 1 {
        return None;
    }
    let body = match (lengths, codings) {
        (0, 0) => SizeHint::with_exact(0),
        (1, _) => SizeHint::with_exact(5),
        _ => SizeHint::new(),
    };
    let upgrade = reference::upgrade_asked(hyper::Version::HTTP_11, &map);
    reference::prepare_request(&mut map, body).ok()?;
    let host = HeaderValue::from_static("shop:80");
    reference::apply(&mut map, client.parse::<IpAddr>().unwrap(), &host, &["10.0.0.0/8".parse().unwrap()]);
    map.insert(HOST, host);
    if let Some(protocols) = upgrade {
        reference::set_upgrade(&mut map, protocols);
    }
    Some(map)
}

/// What the codec sends, without `Via`, or `None` if it refuses.
fn by_codec(fields: &[(&str, &str)], client: &str) -> Option<HeaderMap> {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let sent = format!("PUT / HTTP/1.1\r\nHost: shop:80\r\n{lines}\r\n");
    let head = pass(sent.as_bytes(), client).unwrap().ok()?.head;
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut reference = httparse::Request::new(&mut slots);
    assert_eq!(reference.parse(head.as_bytes()), Ok(httparse::Status::Complete(head.len())));
    let mut map = HeaderMap::new();
    for field in reference.headers.iter().filter(|field| field.name != "Via") {
        let value = HeaderValue::from_bytes(field.value).unwrap();
        map.append(HeaderName::from_bytes(field.name.as_bytes()).unwrap(), value);
    }
    Some(map)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn both_paths_pass_on_the_same_fields(
        fields in prop::collection::vec(prop::sample::select(FIELDS), 0..10),
        is_trusted: bool,
    ) {
        let client = if is_trusted { TRUSTED } else { UNTRUSTED };
        prop_assert_eq!(by_codec(&fields, client), by_hyper_path(&fields, client));
    }
}
