//! The port between two processes: one keeps the listening socket open, and every evenkeel that runs gets it from there.
//!
//! A listening socket that no process holds any more is closed by the kernel, which refuses new connections and resets
//! those that wait. So `keeper` binds it, never accepts, and hands a duplicate to whoever connects to its unix socket;
//! `take` is the other side. While no evenkeel runs, clients wait in the kernel's queue.

mod keeper;
mod take;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use socket2::{Domain, Socket, Type};

use crate::proxy::ProxyError;

pub use keeper::Keeper;
pub use take::take;

/// What the keeper says with the socket, by which one knows it from anything else on a unix socket.
const GREETING: &[u8] = b"evenkeel port 1\n";

/// Why a port cannot be kept, or cannot be had from who keeps it. All of it is ours or the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The port could not be bound.
    #[error(transparent)]
    Listen(#[from] ProxyError),
    /// The path is not free.
    #[error("cannot make a socket at {path}: something else is there; remove it, or set another --socket")]
    NotASocket {
        /// The path asked for.
        path: PathBuf,
    },
    /// Another keeper answers at the path.
    #[error("cannot make a socket at {path}: another keeper answers there; stop it, or set another --socket")]
    Kept {
        /// The path asked for.
        path: PathBuf,
    },
    /// The system refused the unix socket.
    #[error("cannot make a socket at {path}: {source}; its directory must be there and be ours to write")]
    Open {
        /// The path asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody has made the socket, or nobody serves it any more.
    #[error("no keeper of a port at {path}: {source}; is `evenkeel keep-port --socket {path}` running?")]
    NoKeeper {
        /// The path of `--listen-from`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keeper is somebody else's.
    #[error("no permission to open {path}: run as the keeper's user")]
    Forbidden {
        /// The path of `--listen-from`.
        path: PathBuf,
    },
    /// The other side does not do what a keeper does.
    #[error("{path} is no keeper of a port: {complaint}")]
    NotAKeeper {
        /// The path of `--listen-from`.
        path: PathBuf,
        /// What it did instead.
        complaint: String,
    },
    /// What was handed over cannot be accepted from.
    #[error("what {from} passed is not a TCP socket that listens")]
    NotListening {
        /// Who passed it.
        from: String,
    },
    /// The system refused anything else.
    #[error("cannot take the port: {0}")]
    System(#[from] io::Error),
}

/// Makes sure that a socket from outside is one that connections can be accepted from.
///
/// # Errors
/// When it is not.
pub fn check(socket: OwnedFd, from: &str) -> Result<TcpListener, PortError> {
    let socket = Socket::from(socket);
    let is_inet = matches!(socket.domain(), Ok(Domain::IPV4 | Domain::IPV6));
    let is_stream = matches!(socket.r#type(), Ok(Type::STREAM));
    if is_inet && is_stream && matches!(socket.is_listener(), Ok(true)) {
        Ok(socket.into())
    } else {
        Err(PortError::NotListening { from: from.to_owned() })
    }
}
