//! Text → the addresses of peers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::Parsed;
use crate::config::docker_host::is_host;
use crate::config::settings::{Advertised, PeerHost};

/// The port of an admin listener of which nothing else is said.
const ADMIN_PORT: u16 = 9900;

/// `10.0.0.5:9900`, `[2001:db8::5]:9900`, `vm-2.internal`.
pub(in crate::config) fn peer(text: &str) -> Parsed<PeerHost> {
    let wrong =
        || format!("{text:?} is not the address of an admin listener, like 10.0.0.5:9900 or vm-2.internal:9900");
    if let Ok(ip) = text.parse::<Ipv6Addr>() {
        return Ok(PeerHost { host: ip.to_string(), port: ADMIN_PORT });
    }
    let is_whole = text.starts_with('[') && text.ends_with(']');
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_whole => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
        _ => (text, ADMIN_PORT),
    };
    if !is_host(host) {
        return Err(wrong());
    }
    Ok(PeerHost { host: host.trim_matches(['[', ']']).to_owned(), port })
}

/// `10.0.0.4:80`, or `80`.
pub(in crate::config) fn advertised(text: &str) -> Parsed<Advertised> {
    let of = |address, port| Advertised { address, port: Some(port) };
    let parsed = match text.parse::<SocketAddr>() {
        Ok(addr) if addr.ip().is_unspecified() => {
            return Err(format!("{text:?}: nobody can dial that, like 10.0.0.4:80"));
        }
        Ok(addr) => Some(of(Some(addr.ip()), addr.port())),
        Err(_) if text.parse::<IpAddr>().is_ok() => return Err(format!("{text:?} needs a port, like 10.0.0.4:80")),
        Err(_) => text.parse().ok().map(|port| of(None, port)),
    };
    parsed
        .filter(|parsed| parsed.port != Some(0))
        .ok_or_else(|| format!("{text:?} is neither an IP address with a port, like 10.0.0.4:80, nor a port, like 80"))
}

/// A factor, or `off`.
pub(in crate::config) fn factor(text: &str) -> Parsed<u16> {
    match text {
        super::OFF => Ok(1),
        _ => super::number(text, 2..=64, 3).map_err(|complaint| format!("{complaint}, or {}", super::OFF)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_a_host_and_the_port_of_its_admin_listener() {
        for (text, shown) in [
            ("10.0.0.5:9901", "10.0.0.5:9901"),
            ("10.0.0.5", "10.0.0.5:9900"),
            ("vm-2.internal:80", "vm-2.internal:80"),
            ("vm-2", "vm-2:9900"),
            ("[2001:db8::5]:9901", "[2001:db8::5]:9901"),
            ("[2001:db8::5]", "[2001:db8::5]:9900"),
            ("2001:db8::5", "[2001:db8::5]:9900"),
        ] {
            assert_eq!(peer(text).unwrap().to_string(), shown, "{text}");
        }
        for text in
            ["", ":9900", "vm-2:", "vm-2:0", "vm-2:x", "http://vm-2:9900", "vm 2:9900", "[::1:9900", "vm-2:70000"]
        {
            assert!(peer(text).unwrap_err().contains("like 10.0.0.5:9900"), "{text}");
        }
    }

    #[test]
    fn what_is_advertised_is_a_port_with_or_without_an_address() {
        let of = |address: Option<&str>, port| Advertised {
            address: address.map(|ip| ip.parse().unwrap()),
            port: Some(port),
        };
        assert_eq!(advertised("10.0.0.4:80"), Ok(of(Some("10.0.0.4"), 80)));
        assert_eq!(advertised("80"), Ok(of(None, 80)));
        for text in ["", "0", "10.0.0.4", "10.0.0.4:0", "0.0.0.0:80", "vm-1:80", "70000"] {
            assert!(advertised(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_factor_is_more_than_one() {
        assert_eq!([factor("off"), factor("2"), factor("64")], [Ok(1), Ok(2), Ok(64)]);
        for text in ["0", "1", "65", "1.5", "on"] {
            assert!(factor(text).unwrap_err().ends_with("from 2 to 64, like 3, or off"), "{text}");
        }
    }
}
