//! The engine's socket as evenkeel sees it: a relay in a directory to mount, which can be cut off or fall silent.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use integration_tests::Result;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::engine::SOCKET;

/// What the relay does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Carry,
    /// The socket is gone and every connection broken, as with an engine or a proxy that stopped.
    Cut,
    /// Connections stay and carry nothing, as with a proxy that hangs.
    Silent,
    End,
}

/// The relay; dropping it ends it.
pub(crate) struct Relay {
    directory: TempDir,
    mode: watch::Sender<Mode>,
}

impl Relay {
    /// Begins to carry, on a thread of its own: what the driver does meanwhile must not delay events.
    pub(crate) fn begin() -> Result<Self> {
        let directory = TempDir::new()?;
        let (mode, followed) = watch::channel(Mode::Carry);
        let socket = directory.path().join("docker.sock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::spawn(move || runtime.block_on(serve(&socket, followed)));
        Ok(Self { directory, mode })
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(crate) fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    pub(crate) fn heal(&self) {
        self.mode.send_replace(Mode::Carry);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::End);
    }
}

async fn serve(socket: &PathBuf, mut mode: watch::Receiver<Mode>) {
    loop {
        match mode.wait_for(|mode| *mode != Mode::Cut).await.as_deref() {
            Err(_) | Ok(Mode::End) => return,
            Ok(_) => {}
        }
        let _ = std::fs::remove_file(socket);
        let Ok(listener) = UnixListener::bind(socket) else { return };
        let mut changed = mode.clone();
        let cut = async move { changed.wait_for(|mode| matches!(mode, Mode::Cut | Mode::End)).await.is_err() };
        tokio::select! {
            _ = cut => {}
            () = accept(&listener, &mode) => {}
        }
        let _ = std::fs::remove_file(socket);
    }
}

async fn accept(listener: &UnixListener, mode: &watch::Receiver<Mode>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(client, mode.clone()));
    }
}

/// Carries bytes while it may; bytes in a silence wait for its end.
async fn carry(mut client: UnixStream, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    let mut engine = UnixStream::connect(SOCKET).await?;
    let mut carried = std::pin::pin!(copy_bidirectional(&mut client, &mut engine));
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut | Mode::End => return Ok(()),
            Mode::Silent => {
                if mode.changed().await.is_err() {
                    return Ok(());
                }
            }
            Mode::Carry => tokio::select! {
                _ = &mut carried => return Ok(()),
                changed = mode.changed() => if changed.is_err() { return Ok(()) },
            },
        }
    }
}
