//! What a replica is told about the client: `X-Forwarded-For`, `-Proto`, `-Host` and `X-Real-IP`.
//!
//! A client that is not trusted gets to say nothing about itself: its copies are replaced. A trusted one (a proxy in
//! front of us) is believed, and its own address is appended.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Writes the four fields for a request that `client` sent to `host`.
pub(super) fn apply(headers: &mut HeaderMap, client: IpAddr, host: &HeaderValue, trusted: &[IpNet]) {
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

/// The first address from the right that is not a trusted proxy's: the one that no untrusted party can have made up.
pub(super) fn first_untrusted(chain: &str, client: IpAddr, trusted: &[IpNet]) -> IpAddr {
    let mut last = client;
    for hop in chain.rsplit(',').map(str::trim) {
        let Ok(hop) = hop.parse::<IpAddr>() else { return last };
        last = hop.to_canonical();
        if !is_trusted(last, trusted) {
            return last;
        }
    }
    last
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRUSTED: &str = "10.0.0.0/8";

    fn after(client: &str, sent: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, value.parse().unwrap());
        }
        let host = HeaderValue::from_static("shop:80");
        apply(&mut headers, client.parse().unwrap(), &host, &[TRUSTED.parse().unwrap()]);
        headers
    }

    fn all(headers: &HeaderMap) -> [&str; 4] {
        [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_REAL_IP].map(|name| {
            assert_eq!(headers.get_all(&name).iter().count(), 1);
            headers[name].to_str().unwrap()
        })
    }

    #[test]
    fn an_untrusted_client_says_nothing_about_itself() {
        let spoofed = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-port", "443"),
            ("x_forwarded_for", "1.1.1.1"),
            ("forwarded", "for=1.1.1.1"),
        ];
        let headers = after("192.0.2.7", &spoofed);
        assert_eq!(all(&headers), ["192.0.2.7", "http", "shop:80", "192.0.2.7"]);
        assert_eq!(headers.len(), 4);
        assert_eq!(all(&after("::ffff:192.0.2.7", &spoofed)), all(&headers));
    }

    #[test]
    fn a_trusted_client_is_believed_and_appended() {
        let cases: [(&[&str], [&str; 2]); 6] = [
            (&[], ["10.0.0.1", "10.0.0.1"]),
            (&["1.1.1.1"], ["1.1.1.1, 10.0.0.1", "1.1.1.1"]),
            (&["6.6.6.6, 1.1.1.1", "10.9.9.9"], ["6.6.6.6, 1.1.1.1, 10.9.9.9, 10.0.0.1", "1.1.1.1"]),
            (&["10.1.1.1, 10.2.2.2"], ["10.1.1.1, 10.2.2.2, 10.0.0.1", "10.1.1.1"]),
            (&["1.1.1.1, unknown, 10.2.2.2"], ["1.1.1.1, unknown, 10.2.2.2, 10.0.0.1", "10.2.2.2"]),
            (&["2001:db8::1"], ["2001:db8::1, 10.0.0.1", "2001:db8::1"]),
        ];
        for (sent, [forwarded, real]) in cases {
            let sent: Vec<_> = sent.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(all(&after("10.0.0.1", &sent)), [forwarded, "http", "shop:80", real]);
        }
        let kept = after("10.0.0.1", &[("x-forwarded-proto", "https"), ("x-forwarded-host", "front")]);
        assert_eq!(all(&kept), ["10.0.0.1", "https", "front", "10.0.0.1"]);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_the_real_ip_is_an_address(sent in proptest::collection::vec(any::<u8>(), 0..60), trusted: bool) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(&sent) {
                headers.append(X_FORWARDED_FOR, value);
            }
            let client = if trusted { [10, 0, 0, 1] } else { [192, 0, 2, 1] };
            apply(&mut headers, client.into(), &HeaderValue::from_static("h"), &[TRUSTED.parse().unwrap()]);
            prop_assert!(headers[X_REAL_IP].to_str().unwrap().parse::<IpAddr>().is_ok());
            prop_assert!(trusted || headers[X_REAL_IP] == "192.0.2.1");
        }
    }
}
