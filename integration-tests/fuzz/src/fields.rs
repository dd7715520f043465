//! Which fields pass from one connection to the next: the rules once more, from the RFCs and `docs/http.md` rather than
//! from the codec.

use integration_tests::wire::Fields;

use crate::reading::elements;

/// For one connection only, or easily mistaken for something that is.
const HOP_BY_HOP: [&str; 14] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authentication-info",
    "evenkeel-peer",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What evenkeel says of the client.
const ABOUT_THE_CLIENT: [&str; 4] = ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Others that some rule is about.
const RULED: [&str; 7] = ["date", "expect", "forwarded", "max-forwards", "via", "x-served-by", "x-forwarded-"];

/// Whether a field of this name, in lower case, is one that evenkeel writes itself or never passes on.
pub(crate) fn is_never_passed(name: &str) -> bool {
    HOP_BY_HOP.contains(&name) || is_twin(name)
}

/// Whether it is spelled with `_` where a field that some rule is about has `-`.
pub(crate) fn is_twin(name: &str) -> bool {
    let plain = name.replace('_', "-");
    let known = || HOP_BY_HOP.iter().chain(&ABOUT_THE_CLIENT).chain(&RULED);
    // Of the family, the prefix counts.
    let is_in_family = plain.starts_with("x-forwarded-") && !name.starts_with("x-forwarded-");
    plain != name && (known().any(|one| *one == plain) || is_in_family)
}

/// Whether a name says who the client is or how it came.
pub(crate) fn is_about_the_client(name: &str) -> bool {
    ABOUT_THE_CLIENT.contains(&name) || name == "forwarded" || name.starts_with("x-forwarded-")
}

/// The fields that pass, in order: those that `passes`, but for those that `Connection` names and that never pass.
pub(crate) fn passed(fields: &Fields, passes: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let named = elements(fields, "connection");
    let is_passed = |name: &str| passes(name) && !is_never_passed(name) && !named.iter().any(|one| one == name);
    fields.0.iter().filter(|(name, _)| is_passed(name)).cloned().collect()
}
