//! Which service a request goes to.

use std::borrow::Cow;

/// The service that the host (without a port) names, in any case, if somebody knows it; else the default service.
pub(super) fn service<'d>(host: Option<&[u8]>, is_known: impl Fn(&str) -> bool, default: &'d str) -> Cow<'d, str> {
    let name = host.map(|host| host.strip_suffix(b".").unwrap_or(host));
    let Some(name) = name.filter(|name| *name != default.as_bytes()) else { return Cow::Borrowed(default) };
    let Ok(name) = str::from_utf8(name) else { return Cow::Borrowed(default) };
    if is_known(name) {
        return Cow::Owned(name.to_owned());
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
            (Some("API."), "api"),
            (Some("Legacy"), "Legacy"),
            (Some("gateway"), "gateway"),
            (Some("unknown"), "gateway"),
            (Some("api.example.com"), "gateway"),
            (Some("10.0.0.1"), "gateway"),
            (Some("::1"), "gateway"),
            (None, "gateway"),
        ] {
            let known = |name: &str| name == "api" || name == "Legacy";
            assert_eq!(service(host.map(str::as_bytes), known, "gateway"), expected, "{host:?}");
        }
    }
}
