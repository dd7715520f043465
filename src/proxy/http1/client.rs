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
        if self.is_trusted && fields.has(Name::XForwardedFor) {
            let lines = fields.iter().filter(|f| f.id == Name::XForwardedFor && !fields.is_nominated(buffer, f));
            for line in lines.map(|field| field.value.of(buffer)).filter(|line| line.is_ascii()) {
                out.extend_from_slice(line);
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(self.as_bytes());
        let real = if self.is_trusted {
            let chain = out.get(chain_start..).and_then(|chain| str::from_utf8(chain).ok());
            first_untrusted(chain.unwrap_or_default(), self.ip, trusted)
        } else {
            self.ip
        };
        out.extend_from_slice(b"\r\nX-Real-IP: ");
        if real == self.ip {
            out.extend_from_slice(self.as_bytes());
        } else {
            // It cannot fail: a Vec takes all.
            let _ = write!(out, "{real}");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes an IPv4 address; how long it is. Formatting it costs a twentieth of a short connection's instructions.
fn render(octets: [u8; 4], text: &mut [u8; LONGEST]) -> usize {
    let digits = octets.into_iter().flat_map(|octet| {
        let hundreds = (octet > 99).then_some(b'0' + octet / 100);
        let tens = (octet > 9).then_some(b'0' + octet / 10 % 10);
        [hundreds, tens, Some(b'0' + octet % 10), Some(b'.')].into_iter().flatten()
    });
    let places = text.iter_mut().zip(digits).map(|(place, digit)| *place = digit).count();
    // But the last dot.
    places - 1
}
