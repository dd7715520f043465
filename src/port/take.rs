//! Takes the port from who keeps it.

use std::io::{self, ErrorKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::{GREETING, PortError, check};

/// How long a keeper that is being started may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a keeper may take to hand the socket over, which it does at once.
const ANSWER: Duration = Duration::from_secs(2);

/// The listening socket of the keeper at this path; waits up to 10 s for the keeper to be there.
///
/// # Errors
/// When there is none, or what is there is no keeper of ours.
pub async fn take(path: &Path) -> Result<TcpListener, PortError> {
    let deadline = Instant::now() + PATIENCE;
    let mut is_told = false;
    loop {
        match try_to_take(path).await {
            Err(PortError::NoKeeper { source, .. }) if Instant::now() < deadline => {
                if !is_told {
                    is_told = true;
                    info!(cause = %source, "No keeper of a port at {} yet: waiting for it", path.display());
                }
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn try_to_take(path: &Path) -> Result<TcpListener, PortError> {
    let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => PortError::Forbidden { path: path.to_owned() },
        // The last one: its queue is full, as the kernel says of unix sockets.
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::WouldBlock => {
            PortError::NoKeeper { path: path.to_owned(), source }
        }
        _ => source.into(),
    })?;
    let not_a_keeper = |complaint: String| PortError::NotAKeeper { path: path.to_owned(), complaint };
    let (greeting, socket) = match timeout(ANSWER, receive(&stream)).await {
        // It ended between our connect and its answer.
        Ok(Err(source)) if source.kind() == ErrorKind::ConnectionReset => {
            return Err(PortError::NoKeeper { path: path.to_owned(), source });
        }
        Ok(Ok((greeting, _))) if greeting.is_empty() => {
            return Err(PortError::NoKeeper { path: path.to_owned(), source: ErrorKind::UnexpectedEof.into() });
        }
        Ok(outcome) => outcome?,
        Err(_) => return Err(not_a_keeper(format!("it said nothing within {} s", ANSWER.as_secs()))),
    };
    if greeting != GREETING {
        let said = String::from_utf8_lossy(&greeting).into_owned();
        return Err(not_a_keeper(format!("it said {said:?}")));
    }
    let socket = socket.ok_or_else(|| not_a_keeper("it passed no socket".to_owned()))?;
    check(socket, &path.display().to_string())
}

/// The first message of the other side, and the first descriptor in it. Any others are closed.
async fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    stream.async_io(Interest::READABLE, || try_to_receive(stream)).await
}

fn try_to_receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = [0; GREETING.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut rights, flags)?;
    let mut descriptors = rights.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let socket = descriptors.next().and_then(|mut descriptors| descriptors.next());
    Ok((bytes.get(..received.bytes).unwrap_or_default().to_vec(), socket))
}
