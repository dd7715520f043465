//! What a request is aimed at: the rules for its method, its target and its Host (RFC 9112, section 3.2).

use std::net::Ipv6Addr;

use hyper::header::{HOST, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Uri};
use hyper::{Method, Version};

use crate::metrics::Refusal;

/// A request's target after the rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The authority: the Host field, or the authority of an absolute target, which overrides it. `None` for an
    /// HTTP/1.0 request that names none.
    pub(super) host: Option<HeaderValue>,
    /// What goes on the request line to a replica: origin form, or `*`.
    pub(super) uri: Uri,
}

/// Reads the target, or says why the request is refused.
pub(super) fn read(request: &Parts) -> Result<Target, Refusal> {
    if matches!(request.method, Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodRefused);
    }
    let named = host_field(request)?;
    let uri = &request.uri;
    match (uri.scheme_str(), uri.authority()) {
        (None, None) if uri.path().starts_with('/') => Ok(Target { host: named, uri: uri.clone() }),
        (None, None) if uri.path() == "*" && request.method == Method::OPTIONS => {
            Ok(Target { host: named, uri: uri.clone() })
        }
        (Some("http" | "https"), Some(authority)) if host_part(authority.as_str().as_bytes()).is_some() => {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::BadRequest)?;
            Ok(Target { host: Some(host), uri: origin_form(uri)? })
        }
        _ => Err(Refusal::BadRequest),
    }
}

/// The one valid Host field; HTTP/1.0 may leave it out.
fn host_field(request: &Parts) -> Result<Option<HeaderValue>, Refusal> {
    let mut fields = request.headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (None, _) if request.version == Version::HTTP_10 => Ok(None),
        (Some(host), None) if host_part(host.as_bytes()).is_some() => Ok(Some(host.clone())),
        _ => Err(Refusal::BadRequest),
    }
}

/// An absolute target without its scheme and authority.
fn origin_form(uri: &Uri) -> Result<Uri, Refusal> {
    let rest = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    Uri::try_from(rest).map_err(|_| Refusal::BadRequest)
}

/// The host without its port, if `authority` is a valid Host: a name of letters, digits and `-._~`, an IPv4 address,
/// or an IPv6 address in brackets, each with an optional port. Stricter than RFC 3986, which lets through a `,`.
pub(super) fn host_part(authority: &[u8]) -> Option<&str> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let end = authority.iter().position(|b| !is_name(b)).unwrap_or(authority.len());
    let (host, port) = match authority.split_at_checked(end)? {
        ([], [b'[', rest @ ..]) => {
            let end = rest.iter().position(|b| *b == b']')?;
            let host = str::from_utf8(rest.get(..end)?).ok()?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest.get(end + 1..)?)
        }
        ([], _) => return None,
        (name, port) => (str::from_utf8(name).ok()?, port),
    };
    let add = |sum: u16, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    match port {
        [] => Some(host),
        [b':', digits @ ..] => digits.iter().try_fold(0, add).map(|_| host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::Request;
    use proptest::prelude::*;

    fn ask(method: &str, version: Version, uri: &str, hosts: &[&[u8]]) -> Result<(String, String), Refusal> {
        let mut request = Request::builder().method(method).version(version).uri(uri);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let target = read(&parts)?;
        Ok((target.host.map_or("-".into(), |h| h.to_str().unwrap().into()), target.uri.to_string()))
    }

    #[test]
    fn the_host_must_be_there_once_and_valid() {
        for (hosts, ok) in [
            (&[][..], false),
            (&[&b"a"[..], b"b"], false),
            (&[b"a", b"a"], false),
            (&[b""], false),
            (&[b"a b"], false),
            (&[b"a/b"], false),
            (&[b"a,b"], false),
            (&[b"u@a"], false),
            (&[b"a:x"], false),
            (&[b"a:65536"], false),
            (&[b"a:+1"], false),
            (&[b"a:1:2"], false),
            (&[b":80"], false),
            (&[b"\xc3\xa4"], false),
            (&[b"[::1"], false),
            (&[b"[::1]80"], false),
            (&[b"[x]"], false),
            (&[b"[::1]"], true),
            (&[b"[::1]:80"], true),
            (&[b"a:"], true),
            (&[b"A.:80"], true),
            (&[b"my_service.local:65535"], true),
            (&[b"10.0.0.1:3001"], true),
        ] {
            let outcome = ask("GET", Version::HTTP_11, "/", hosts);
            assert_eq!(outcome.is_ok(), ok, "{hosts:?}");
        }
        assert_eq!(ask("GET", Version::HTTP_10, "/", &[]), Ok(("-".into(), "/".into())));
        assert_eq!(ask("GET", Version::HTTP_10, "/", &[b"a", b"b"]), Err(Refusal::BadRequest));
    }

    #[test]
    fn each_form_of_target_has_its_rule() {
        let bad = Err(Refusal::BadRequest);
        let refused = Err(Refusal::MethodRefused);
        let to = |host: &str, uri: &str| Ok((host.to_owned(), uri.to_owned()));
        for (method, uri, outcome) in [
            ("GET", "/a/../b//c?d", to("own", "/a/../b//c?d")),
            ("GET", "http://other:81/x?y", to("other:81", "/x?y")),
            ("GET", "http://other", to("other", "/")),
            ("GET", "http://other?y", to("other", "/?y")),
            ("OPTIONS", "http://other/", to("other", "/")),
            ("OPTIONS", "*", to("own", "*")),
            ("GET", "*", bad.clone()),
            ("GET", "admin", bad.clone()),
            ("GET", "ftp://other/", bad.clone()),
            ("GET", "http://user@other/", bad),
            ("CONNECT", "other:443", refused.clone()),
            ("TRACE", "/", refused),
        ] {
            assert_eq!(ask(method, Version::HTTP_11, uri, &[b"own"]), outcome, "{method} {uri}");
        }
        assert_eq!(ask("GET", Version::HTTP_11, "http://other/", &[]), Err(Refusal::BadRequest));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_host_it_lets_through_is_plain(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(host) = host_part(&bytes) {
                prop_assert!(host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:".contains(&b)), "{host}");
            }
        }

        #[test]
        fn a_host_with_any_port_is_its_name(name in "[a-z][a-z0-9_.-]{0,20}", port in any::<u16>()) {
            let authority = format!("{name}:{port}");
            prop_assert_eq!(host_part(authority.as_bytes()), Some(name.as_str()));
        }
    }
}
