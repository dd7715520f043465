//! Who called us, and what a request may say about it: an untrusted client says nothing about itself, a trusted one (a
//! proxy in front of us) is believed, and its own address is appended.

use std::io::Write;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Fields;
use super::forwarded::{first_untrusted, is_trusted};
use super::name::Name;

/// The longest IPv6 address in text, with an IPv4 address at its end.
const LONGEST: usize = 45;

/// A client's address, rendered once per connection. It holds no heap memory.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr {
    ip: IpAddr,
    is_trusted: bool,
    text: [u8; LONGEST],
    length: u8,
}

impl ClientAddr {
    /// The client at `ip`, which is believed what it says about others if it is in `trusted`.
    pub fn new(ip: IpAddr, trusted: &[IpNet]) -> Self {
        let ip = ip.to_canonical();
        let mut text = [0; LONGEST];
        let length = match ip {
            IpAddr::V4(ip) => render(ip.octets(), &mut text),
            IpAddr::V6(ip) => {
                let mut free = text.as_mut_slice();
                // It cannot fail: no address is longer.
                let _ = write!(free, "{ip}");
                LONGEST - free.len()
            }
        };
        Self { ip, is_trusted: is_trusted(ip, trusted), text, length: u8::try_from(length).unwrap_or(0) }
    }

    /// The address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Whether it is believed what it says about others.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The address as text.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Writes `X-Forwarded-For` and `X-Real-IP`.
    #[inline]
    pub(super) fn write_addresses(&self, out: &mut Vec<u8>, buffer: &[u8], fields: &Fields, trusted: &[IpNet]) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        let chain_start = out.len();
        self.write_chain(out, buffer, fields);
        let real = self.real(out.get(chain_start..).unwrap_or_default(), trusted);
        out.extend_from_slice(b"\r\nX-Real-IP: ");
        self.write(out, real);
        out.extend_from_slice(b"\r\n");
    }

    /// Writes the address that nobody untrusted can have made up: what `X-Real-IP` says.
    pub(super) fn write_real(&self, out: &mut Vec<u8>, buffer: &[u8], fields: &Fields, trusted: &[IpNet]) {
        let mut chain = Vec::new();
        self.write_chain(&mut chain, buffer, fields);
        self.write(out, self.real(&chain, trusted));
    }

    /// Writes what a trusted client says of those before it, and its own address.
    #[inline(always)]
    fn write_chain(&self, out: &mut Vec<u8>, buffer: &[u8], fields: &Fields) {
        if self.is_trusted && fields.has(Name::XForwardedFor) {
            for line in fields.passing(buffer, |field| field.id == Name::XForwardedFor).filter(|line| line.is_ascii()) {
                out.extend_from_slice(line);
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(self.as_bytes());
    }

    #[inline]
    fn real(&self, chain: &[u8], trusted: &[IpNet]) -> IpAddr {
        if self.is_trusted {
            first_untrusted(str::from_utf8(chain).unwrap_or_default(), self.ip, trusted)
        } else {
            self.ip
        }
    }

    #[inline(always)]
    fn write(&self, out: &mut Vec<u8>, address: IpAddr) {
        if address == self.ip {
            out.extend_from_slice(self.as_bytes());
        } else {
            // It cannot fail: a Vec takes all.
            let _ = write!(out, "{address}");
        }
    }
}

/// Writes an IPv4 address; how long it is. Formatting it costs a twentieth of a short connection's instructions.
fn render(octets: [u8; 4], text: &mut [u8; LONGEST]) -> usize {
    let mut places = text.iter_mut();
    let mut length = 0;
    let mut put = |digit| {
        if let Some(place) = places.next() {
            *place = digit;
            length += 1;
        }
    };
    for octet in octets {
        if octet > 99 {
            put(b'0' + octet / 100);
        }
        if octet > 9 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
        put(b'.');
    }
    // But the last dot.
    length - 1
}
