//! The header rules for requests on hyper's types, written independently of the codec and kept to test it against.

use std::net::IpAddr;

use hyper::body::SizeHint;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{HeaderMap, Version};
use ipnet::IpNet;

use crate::metrics::Refusal;
use crate::proxy::http1::forwarded::{first_untrusted, is_trusted};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Fields that concern one connection only, and `Proxy`, which CGI programs mistake for a setting.
const HOP_BY_HOP: [HeaderName; 13] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    hyper::header::TE,
    hyper::header::TRAILER,
    hyper::header::PROXY_AUTHENTICATE,
    hyper::header::PROXY_AUTHORIZATION,
    HeaderName::from_static("evenkeel-peer"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authentication-info"),
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("proxy"),
];

/// Spellings of framing fields that some servers read as the real ones.
const LOOKALIKES: [&str; 2] = ["transfer_encoding", "content_length"];

/// Removes the hop-by-hop fields and those that `Connection` names.
pub(in crate::proxy) fn strip_hop_by_hop(headers: &mut HeaderMap) {
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
pub(in crate::proxy) fn upgrade_asked(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let is_named = tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    if version != Version::HTTP_11 || !is_named {
        return None;
    }
    let wanted: Vec<_> = tokens(headers, UPGRADE).filter(|p| !p.eq_ignore_ascii_case(b"h2c")).collect();
    if wanted.is_empty() { None } else { HeaderValue::from_bytes(&wanted.join(&b", "[..])).ok() }
}

/// Says on this hop that the connection switches protocols.
pub(in crate::proxy) fn set_upgrade(headers: &mut HeaderMap, protocols: HeaderValue) {
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
pub(in crate::proxy) fn prepare_request(headers: &mut HeaderMap, body: SizeHint) -> Result<(), Refusal> {
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

/// Writes the four fields for a request that `client` sent to `host`.
pub(in crate::proxy) fn apply(headers: &mut HeaderMap, client: IpAddr, host: &HeaderValue, trusted: &[IpNet]) {
    let client = client.to_canonical();
    if !is_trusted(client, trusted) {
        remove_claims(headers);
    }
    let chain = chain(headers, client);
    let real = first_untrusted(&chain, client, trusted);
    set(headers, X_REAL_IP, real.to_string());
    set(headers, X_FORWARDED_FOR, chain);
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| HeaderValue::from_static("http"));
    headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
}

/// Removes all that a client claims about itself, also spelled with `_`, which many frameworks read as `-`.
fn remove_claims(headers: &mut HeaderMap) {
    let is_claim = |name: &HeaderName| {
        let name = name.as_str();
        name == "forwarded"
            || (name.starts_with('x') && {
                let name = name.replace('_', "-");
                name == "x-real-ip" || name.starts_with("x-forwarded-")
            })
    };
    let claims: Vec<_> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Every `X-Forwarded-For` so far and the client, in one line.
fn chain(headers: &HeaderMap, client: IpAddr) -> String {
    let mut chain = String::new();
    for line in headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        chain.push_str(line);
        chain.push_str(", ");
    }
    chain + &client.to_string()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}
