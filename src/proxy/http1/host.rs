//! Which Host is valid.

use std::net::Ipv6Addr;

use super::bytes::ByteSet;

/// What a name or an IPv4 address is made of.
static NAME: ByteSet = ByteSet::alphanumeric_and(b"-._~");

/// The host without its port, if `authority` is a valid Host: a name of letters, digits and `-._~`, an IPv4 address,
/// or an IPv6 address in brackets, each with an optional port. Stricter than RFC 3986, which lets through a `,`.
pub(super) fn host_part(authority: &[u8]) -> Option<&[u8]> {
    let (host, port) = match authority.split_at_checked(NAME.count(authority))? {
        ([], [b'[', rest @ ..]) => {
            let end = rest.iter().position(|b| *b == b']')?;
            let host = rest.get(..end)?;
            str::from_utf8(host).ok()?.parse::<Ipv6Addr>().ok()?;
            (host, rest.get(end + 1..)?)
        }
        ([], _) => return None,
        (name, port) => (name, port),
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
    use proptest::prelude::*;

    #[test]
    fn a_host_must_be_plain() {
        for (authority, host) in [
            (&b""[..], None),
            (b"a b", None),
            (b"a/b", None),
            (b"a,b", None),
            (b"u@a", None),
            (b"a:x", None),
            (b"a:65536", None),
            (b"a:+1", None),
            (b"a:1:2", None),
            (b":80", None),
            (b"\xc3\xa4", None),
            (b"[::1", None),
            (b"[::1]80", None),
            (b"[x]", None),
            (b"[::1]", Some("::1")),
            (b"[::1]:80", Some("::1")),
            (b"a:", Some("a")),
            (b"A.:80", Some("A.")),
            (b"my_service.local:65535", Some("my_service.local")),
            (b"10.0.0.1:3001", Some("10.0.0.1")),
        ] {
            assert_eq!(host_part(authority), host.map(str::as_bytes), "{}", String::from_utf8_lossy(authority));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_host_it_lets_through_is_plain(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(host) = host_part(&bytes) {
                prop_assert!(host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:".contains(b)), "{host:?}");
            }
        }

        #[test]
        fn a_host_with_any_port_is_its_name(name in "[a-z][a-z0-9_.-]{0,20}", port in any::<u16>()) {
            let authority = format!("{name}:{port}");
            prop_assert_eq!(host_part(authority.as_bytes()), Some(name.as_bytes()));
        }
    }
}
