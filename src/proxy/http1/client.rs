//! Who called us, and what a request may say about it.

use std::net::IpAddr;

use ipnet::IpNet;

/// A client's address, rendered once per connection. It holds no heap memory.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddr {
    ip: IpAddr,
    is_trusted: bool,
}

impl ClientAddr {
    /// The client at `ip`, which is believed what it says about others if it is in `trusted`.
    pub fn new(ip: IpAddr, trusted: &[IpNet]) -> Self {
        todo!()
    }
}
