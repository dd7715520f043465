//! Which service a request goes to.

use std::borrow::Cow;

use hyper::header::HeaderValue;

use super::target::host_part;

/// The service that the Host names, without its port, in any case, if somebody knows it; else the default service.
pub(super) fn service<'a>(
    host: Option<&'a HeaderValue>,
    is_known: impl Fn(&str) -> bool,
    default: &'a str,
) -> Cow<'a, str> {
    let named = host.and_then(|host| host_part(host.as_bytes()));
    let Some(name) = named.map(|name| name.strip_suffix('.').unwrap_or(name)) else { return Cow::Borrowed(default) };
    if name == default || is_known(name) {
        return Cow::Borrowed(name);
    }
    let has_capitals = name.bytes().any(|b| b.is_ascii_uppercase());
    let lower = has_capitals.then(|| name.to_ascii_lowercase()).filter(|lower| is_known(lower));
    lower.map_or(Cow::Borrowed(default), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_host_names_its_service_and_any_other_means_the_default() {
        for (host, expected) in [
            (Some("api"), "api"),
            (Some("api:3001"), "api"),
            (Some("API.:80"), "api"),
            (Some("Legacy"), "Legacy"),
            (Some("gateway"), "gateway"),
            (Some("unknown"), "gateway"),
            (Some("api.example.com"), "gateway"),
            (Some("10.0.0.1:80"), "gateway"),
            (Some("[::1]:80"), "gateway"),
            (None, "gateway"),
        ] {
            let host = host.map(HeaderValue::from_static);
            let known = |name: &str| name == "api" || name == "Legacy";
            assert_eq!(service(host.as_ref(), known, "gateway"), expected, "{host:?}");
        }
    }
}
