//! Keeps a port: binds it, takes no client, hands the socket to every evenkeel that asks.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::{GREETING, PortError};
use crate::proxy::Listener;

/// Processes that may wait for the socket at once.
const BACKLOG: i32 = 128;
/// How long to wait for descriptors or memory to come free after an accept failed for want of them.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is kept open, and the unix socket where it can be had.
#[derive(Debug)]
pub struct Keeper {
    port: TcpListener,
    door: Socket,
    path: PathBuf,
    /// The file of the unix socket, by which it is known from another one at the same path.
    inode: u64,
}

impl Keeper {
    /// Listens on the address and makes the unix socket, which only this user (and root) may open. One that an earlier
    /// keeper left behind is replaced.
    ///
    /// # Errors
    /// When the address or the path is taken, or the system refuses either.
    pub fn open(listen: SocketAddr, path: &Path) -> Result<Self, PortError> {
        // First of all: whoever has the port is the keeper, and may replace what is at the path.
        let port = Listener::keep(listen)?;
        make_way(path)?;
        let refused = |source| PortError::Open { path: path.to_owned(), source };
        let door = open_door(path).map_err(refused)?;
        let inode = fs::symlink_metadata(path).map_err(refused)?.ino();
        Ok(Self { port, door, path: path.to_owned(), inode })
    }

    /// The address that is kept, with the port that it really got.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    /// Hands the port to whoever asks, for ever. Nothing that one of them does keeps the next from getting it: it is
    /// sent one message, which fits into an empty queue, and hung up on.
    ///
    /// # Errors
    /// When the unix socket cannot be waited on.
    pub async fn run(&self) -> io::Result<()> {
        let door = UnixListener::from_std(self.door.try_clone()?.into())?;
        loop {
            match door.accept().await {
                Ok((stream, _)) => match hand_over(&self.port, &stream) {
                    Ok(()) => info!(client = %name_of(&stream), "Port handed over"),
                    Err(error) => debug!(%error, "Port not handed over: who asked is gone"),
                },
                Err(error) => {
                    warn!(%error, "Accept failed; trying again until it works");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Removes the unix socket's file, unless a later keeper has replaced it.
impl Drop for Keeper {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // Left behind, the next keeper replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what an earlier keeper left at the path.
fn make_way(path: &Path) -> Result<(), PortError> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(PortError::NotASocket { path: path.to_owned() });
    }
    if StdUnixStream::connect(path).is_ok() {
        return Err(PortError::Kept { path: path.to_owned() });
    }
    fs::remove_file(path).map_err(|source| PortError::Open { path: path.to_owned(), source })
}

fn open_door(path: &Path) -> io::Result<Socket> {
    let door = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Before it has a name, so that there is no moment in which somebody else could open it.
    rustix::fs::fchmod(&door, Mode::RUSR | Mode::WUSR)?;
    door.bind(&SockAddr::unix(path)?)?;
    door.listen(BACKLOG)?;
    door.set_nonblocking(true)?;
    Ok(door)
}

/// Sends the socket to the process at the other end.
pub(super) fn hand_over(port: impl AsFd, stream: impl AsFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let port = [port.as_fd()];
    if !rights.push(SendAncillaryMessage::ScmRights(&port)) {
        return Err(io::Error::other("no room for one descriptor"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let sent = sendmsg(stream, &[IoSlice::new(GREETING)], &mut rights, flags)?;
    if sent == GREETING.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The process at the other end.
fn name_of(stream: &UnixStream) -> String {
    // 0 stands for one that has no number in our container.
    let pid = stream.peer_cred().ok().and_then(|credentials| credentials.pid()).filter(|pid| *pid != 0);
    pid.map_or_else(|| "a process of another container".to_owned(), |pid| format!("process {pid}"))
}
