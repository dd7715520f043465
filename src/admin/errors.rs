//! What keeps the admin room from starting.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// The admin address could not be taken: the operator's fault, and trying again changes nothing.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} for the admin pages: {source}{}", hint(.source.kind()))]
pub struct AdminError {
    /// The address that was asked for.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// What to do about it.
fn hint(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::AddrInUse => "; stop what listens there or choose another address with --admin-listen",
        ErrorKind::AddrNotAvailable => "; choose an address of this machine, or 0.0.0.0, with --admin-listen",
        ErrorKind::PermissionDenied => "; choose a port above 1023 with --admin-listen",
        _ => "; choose another address with --admin-listen",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let taken = crate::admin::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let addr = taken.local_addr().unwrap();
        let error = crate::admin::bind(addr).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {addr} for the admin pages: Address already in use")));
        assert!(error.ends_with("; stop what listens there or choose another address with --admin-listen"), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_named_too() {
        let error = crate::admin::bind(SocketAddr::from(([192, 0, 2, 1], 0))).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:0") && error.contains("an address of this machine"), "{error}");
    }
}
