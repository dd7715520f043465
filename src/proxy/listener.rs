//! Sockets to listen on: one per worker, all on one address, among which the kernel spreads the connections; or one that
//! another process keeps, shared by all workers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::ProxyError;

/// Connections that the kernel holds for us per listener; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A socket that listens for clients.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    is_kept: bool,
}

impl Listener {
    /// Listens on `addr` with one socket per thread. With port 0 the first gets a free one and the others share it.
    /// An address that any other process listens on is an error, also if that process would let us share it: half of
    /// its requests would come to us.
    ///
    /// A client that takes nothing of an answer for `patience` is cut off by the kernel: an answer may be in the
    /// kernel's buffer as a whole, and then nobody else would wait for its being read, not even when the connection is
    /// closed.
    pub fn bind(addr: SocketAddr, threads: usize, patience: Duration) -> Result<Vec<Self>, ProxyError> {
        let bind = |addr, is_shared| bind_one(addr, is_shared, patience).map_err(|source| explain(addr, source));
        if addr.port() != 0 {
            drop(bind(addr, false)?);
        }
        let first = bind(addr, true)?;
        let addr = first.addr;
        let others = (1..threads).map(|_| bind(addr, true));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// One listener per thread on the one socket that somebody else keeps, and in whose queue connections may wait
    /// already. Whichever worker is free takes the next one.
    ///
    /// # Errors
    /// If the socket cannot be duplicated.
    pub fn share(kept: &TcpListener, threads: usize) -> Result<Vec<Self>, ProxyError> {
        let share = || {
            kept.set_nonblocking(true)?;
            Ok(Self { socket: kept.try_clone()?, addr: kept.local_addr()?, is_kept: true })
        };
        (0..threads).map(|_| share().map_err(|source| ProxyError::Share { source })).collect()
    }

    /// Listens on an address for others to take clients from it, and takes none.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn keep(addr: SocketAddr) -> Result<TcpListener, ProxyError> {
        let bind = || {
            let socket = open(addr, false)?;
            socket.listen(BACKLOG)?;
            Ok(TcpListener::from(socket))
        };
        bind().map_err(|source| explain(addr, source))
    }

    /// Whether its queue outlives us: what waits there is for whoever comes after us.
    pub(super) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The address that it listens on, with the port that it really got.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn into_std(self) -> TcpListener {
        self.socket
    }
}

/// Gives a connection what it inherits from a listener of ours: it may have come before we had the listener.
pub(super) fn adopt(socket: SockRef<'_>, patience: Duration) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    limit_unread(socket, patience)
}

/// Lets the kernel end a connection whose other side takes nothing for `patience`.
pub(super) fn limit_unread(socket: SockRef<'_>, patience: Duration) -> io::Result<()> {
    // The kernel counts milliseconds, and no more than this.
    let most = Duration::from_millis(i32::MAX.unsigned_abs().into());
    socket.set_tcp_user_timeout(Some(patience.min(most)))
}

fn explain(addr: SocketAddr, source: io::Error) -> ProxyError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ProxyError::AddressTaken { addr },
        _ => ProxyError::Listen { addr, source },
    }
}

/// A socket that is bound to the address and does not listen yet.
fn open(addr: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process may linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    // The connections that it accepts inherit this.
    socket.set_tcp_nodelay(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn bind_one(addr: SocketAddr, is_shared: bool, patience: Duration) -> io::Result<Listener> {
    let socket = open(addr, is_shared)?;
    // Inherited, too.
    limit_unread(SockRef::from(&socket), patience)?;
    if is_shared {
        socket.listen(BACKLOG)?;
    }
    let socket = TcpListener::from(socket);
    let addr = socket.local_addr()?;
    Ok(Listener { socket, addr, is_kept: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::net::TcpStream;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn port_0_gives_all_listeners_one_free_port() {
        let listeners = Listener::bind(ANY, 3, PATIENCE).unwrap();
        let addrs: HashSet<_> = listeners.iter().map(Listener::local_addr).collect();
        assert_eq!((listeners.len(), addrs.len()), (3, 1));
        let addr = listeners[0].local_addr();
        assert_ne!(addr.port(), 0);
        TcpStream::connect(addr).unwrap();
    }

    #[test]
    fn accepted_connections_send_at_once() {
        let listener = Listener::bind(ANY, 1, PATIENCE).unwrap().remove(0);
        let _client = TcpStream::connect(listener.local_addr()).unwrap();
        let socket = listener.into_std();
        socket.set_nonblocking(false).unwrap();
        assert!(socket.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_it_also_if_its_owner_would_share_it() {
        let plain = TcpListener::bind(ANY).unwrap();
        let shared = Listener::bind(ANY, 2, PATIENCE).unwrap();
        for addr in [plain.local_addr().unwrap(), shared[0].local_addr()] {
            let error = Listener::bind(addr, 1, PATIENCE).unwrap_err();
            assert!(matches!(error, ProxyError::AddressTaken { addr: a } if a == addr), "{error}");
            assert!(error.to_string().contains(&addr.to_string()), "{error}");
        }
        let addr = shared[0].local_addr();
        drop(shared);
        assert_eq!(Listener::bind(addr, 2, PATIENCE).unwrap().len(), 2);
    }

    #[test]
    fn an_address_that_is_not_ours_says_why() {
        let error = Listener::bind("192.0.2.1:80".parse().unwrap(), 1, PATIENCE).unwrap_err();
        assert!(matches!(error, ProxyError::Listen { .. }), "{error}");
        assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
    }
}
