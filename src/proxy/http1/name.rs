//! Which field a name names, for the fields that some rule asks about.

/// A field that some rule asks about, or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants are the fields' own names")]
pub enum Name {
    /// No rule asks about it.
    Other,
    /// A field that a rule asks about, spelled with `_` for `-`: many programs read it as the real one.
    Twin,
    /// Any `X-Forwarded-*` without a variant of its own.
    XForwardedOther,
    Connection,
    ContentLength,
    Date,
    /// What evenkeels say to one another.
    EvenkeelPeer,
    Expect,
    Forwarded,
    Host,
    Http2Settings,
    KeepAlive,
    MaxForwards,
    /// CGI programs mistake it for a setting of theirs.
    Proxy,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    ProxyConnection,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    Via,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    XServedBy,
}

const FORWARDED_FAMILY: &[u8] = b"x-forwarded-";

impl Name {
    /// The field called `name`, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        // Length and first letter leave one candidate each.
        let (candidate, known): (&[u8], Self) = match (name.len(), first | 0x20) {
            (2, b't') => (b"te", Self::Te),
            (3, b'v') => (b"via", Self::Via),
            (4, b'd') => (b"date", Self::Date),
            (4, b'h') => (b"host", Self::Host),
            (5, b'p') => (b"proxy", Self::Proxy),
            (6, b'e') => (b"expect", Self::Expect),
            (7, b't') => (b"trailer", Self::Trailer),
            (7, b'u') => (b"upgrade", Self::Upgrade),
            (9, b'f') => (b"forwarded", Self::Forwarded),
            (9, b'x') => (b"x-real-ip", Self::XRealIp),
            (10, b'c') => (b"connection", Self::Connection),
            (10, b'k') => (b"keep-alive", Self::KeepAlive),
            (11, b'x') => (b"x-served-by", Self::XServedBy),
            (12, b'm') => (b"max-forwards", Self::MaxForwards),
            (13, b'e') => (b"evenkeel-peer", Self::EvenkeelPeer),
            (14, b'c') => (b"content-length", Self::ContentLength),
            (14, b'h') => (b"http2-settings", Self::Http2Settings),
            (15, b'x') => (b"x-forwarded-for", Self::XForwardedFor),
            (16, b'p') => (b"proxy-connection", Self::ProxyConnection),
            (16, b'x') => (b"x-forwarded-host", Self::XForwardedHost),
            (17, b't') => (b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => (b"x-forwarded-proto", Self::XForwardedProto),
            (18, b'p') => (b"proxy-authenticate", Self::ProxyAuthenticate),
            (19, b'p') => (b"proxy-authorization", Self::ProxyAuthorization),
            (25, b'p') => (b"proxy-authentication-info", Self::ProxyAuthenticationInfo),
            (_, b'x') => return Self::in_forwarded_family(name),
            _ => return Self::Other,
        };
        if is_same(name, candidate) {
            known
        } else if is_twin(name, candidate) {
            Self::Twin
        } else if *first | 0x20 == b'x' {
            Self::in_forwarded_family(name)
        } else {
            Self::Other
        }
    }

    fn in_forwarded_family(name: &[u8]) -> Self {
        match name.get(..FORWARDED_FAMILY.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(FORWARDED_FAMILY) => Self::XForwardedOther,
            Some(prefix) if is_twin(prefix, FORWARDED_FAMILY) => Self::Twin,
            _ => Self::Other,
        }
    }

    /// Whether it concerns one connection only, or may be mistaken for a field that does: no message passes it on.
    #[inline]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::EvenkeelPeer
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::Proxy
                | Self::ProxyAuthenticate
                | Self::ProxyAuthenticationInfo
                | Self::ProxyAuthorization
                | Self::ProxyConnection
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Twin
                | Self::Upgrade
        )
    }

    /// Its place in a set of names.
    #[inline]
    pub(super) fn bit(self) -> u32 {
        1 << (self as u8)
    }
}

/// Whether the names are the same but for their case. `known` is in lower case and has only letters, digits and `-`; in
/// a name or a value, which have no control characters, nothing else becomes one of these by that bit. There is no
/// early exit: the lengths are equal and the names mostly are.
#[inline]
fn is_same(name: &[u8], known: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    let differ = |a: &[u8; 8], b: &[u8; 8]| (word(a) | word(&[0x20; 8])) ^ word(b);
    match (name.last_chunk(), known.last_chunk()) {
        // The last eight bytes may have some of the words before them again.
        (Some(last), Some(known_last)) => {
            let words = name.as_chunks().0.iter().zip(known.as_chunks().0);
            words.fold(differ(last, known_last), |differs, (a, b)| differs | differ(a, b)) == 0
        }
        _ => name.iter().zip(known).fold(0, |differs, (a, b)| differs | ((a | 0x20) ^ b)) == 0,
    }
}

/// Whether the names are the same but for `_` and `-`.
fn is_twin(name: &[u8], known: &[u8]) -> bool {
    let is_alike = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a == b'_' && *b == b'-');
    name.len() == known.len() && name.iter().zip(known).all(is_alike)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [(&str, Name); 25] = [
        ("Te", Name::Te),
        ("Via", Name::Via),
        ("Date", Name::Date),
        ("Host", Name::Host),
        ("Proxy", Name::Proxy),
        ("Expect", Name::Expect),
        ("Trailer", Name::Trailer),
        ("Upgrade", Name::Upgrade),
        ("Forwarded", Name::Forwarded),
        ("X-Real-IP", Name::XRealIp),
        ("Connection", Name::Connection),
        ("Keep-Alive", Name::KeepAlive),
        ("X-Served-By", Name::XServedBy),
        ("Max-Forwards", Name::MaxForwards),
        ("Evenkeel-Peer", Name::EvenkeelPeer),
        ("Content-Length", Name::ContentLength),
        ("HTTP2-Settings", Name::Http2Settings),
        ("X-Forwarded-For", Name::XForwardedFor),
        ("Proxy-Connection", Name::ProxyConnection),
        ("X-Forwarded-Host", Name::XForwardedHost),
        ("Transfer-Encoding", Name::TransferEncoding),
        ("X-Forwarded-Proto", Name::XForwardedProto),
        ("Proxy-Authenticate", Name::ProxyAuthenticate),
        ("Proxy-Authorization", Name::ProxyAuthorization),
        ("Proxy-Authentication-Info", Name::ProxyAuthenticationInfo),
    ];

    #[test]
    fn a_known_name_is_known_in_any_case_and_its_twin_too() {
        for (text, known) in KNOWN {
            for spelled in [text.to_owned(), text.to_lowercase(), text.to_uppercase()] {
                assert_eq!(Name::of(spelled.as_bytes()), known, "{spelled}");
            }
            let twin = text.replace('-', "_");
            let expected = if twin == text { known } else { Name::Twin };
            assert_eq!(Name::of(twin.as_bytes()), expected, "{twin}");
            let longer = format!("{text}x");
            assert!(matches!(Name::of(longer.as_bytes()), Name::Other | Name::XForwardedOther), "{longer}");
        }
    }

    #[test]
    fn a_name_that_differs_in_one_place_is_another() {
        for (text, known) in KNOWN {
            for place in 0..text.len() {
                let mut other = text.as_bytes().to_vec();
                other[place] = if other[place] | 0x20 == b'q' { b'z' } else { b'q' };
                assert_ne!(Name::of(&other), known, "{}", other.escape_ascii());
            }
        }
    }

    #[test]
    fn the_forwarded_family_is_known_and_others_are_not() {
        for (text, expected) in [
            ("x-forwarded-port", Name::XForwardedOther),
            ("X-Forwarded-Prefix-Of-Something", Name::XForwardedOther),
            ("X-Forwarded-Serve", Name::XForwardedOther),
            ("X_Forwarded-Port", Name::Twin),
            ("x-forwarded", Name::Other),
            ("x", Name::Other),
            ("cookie", Name::Other),
            ("Hosp", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(text.as_bytes()), expected, "{text}");
        }
    }
}
