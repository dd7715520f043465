//! The listening socket that systemd passes to a process that it starts for a `.socket` unit: `LISTEN_FDS` says how many
//! there are, `LISTEN_PID` for whom.

use std::io;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;

/// Why there is no socket to listen on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was passed, or so much that it is not clear what is meant.
    #[error(
        "systemd passed {0} sockets, and it takes one: let a .socket unit with one ListenStream start evenkeel, \
         or leave out --listen-from systemd"
    )]
    Count(usize),
    /// It is a socket of another kind.
    #[error("what systemd passed cannot be listened on: {0}")]
    NotTcp(#[from] io::Error),
}

/// Takes the socket that was passed to this process. Reads the variables and removes them, so it works once, and must
/// come before any other thread is started.
///
/// # Errors
/// When there is not exactly one, or it is not of TCP.
pub fn take_socket() -> Result<OwnedFd, Error> {
    let mut passed = ListenFd::from_env();
    match (passed.len(), passed.take_tcp_listener(0)?) {
        (1, Some(socket)) => Ok(socket.into()),
        (count, _) => Err(Error::Count(count)),
    }
}
